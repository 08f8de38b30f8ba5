# Everything that people do with a clone. Each target sets up what it needs first; a second run starts at once.

VENV := .venv
BIN := $(VENV)/bin
PORT ?= 8000
ARGS ?=
TEST_PROCESSES ?= 2
PYTHON ?= $(firstword $(foreach name,python3 python3.13 python3.12 python3.11 python3.14,$(shell \
	$(name) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $(name))))

.DEFAULT_GOAL := help
.PHONY: help serve test test-long test-fast lint format reproduce reproduce-quick train-predictor train-embedded aot aot-tpu aot-cuda peers clean

help:  ## Lists the targets
	@sed -n 's/^\([a-z-]*\):.*##  *\(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 24

serve: $(VENV)/.serve  ## Serves the embedded model on http://127.0.0.1:$(PORT); options in ARGS
	$(BIN)/lamps-jax serve --host 127.0.0.1 --port $(PORT) $(ARGS)

PYTEST = $(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder

test: $(VENV)/.test $(VENV)-clients/.ready  ## Runs the tests, but for those that take most of a minute each
	$(PYTEST) -m "not long" $(ARGS)

test-long: $(VENV)/.test $(VENV)-clients/.ready  ## Runs those
	$(PYTEST) -m long $(ARGS)

test-fast: $(VENV)/.test  ## Runs the tests of the inner loop
	$(PYTEST) -m "not slow and not long" $(ARGS)

lint: $(VENV)/.dev  ## Checks style and types, as CI does
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright

format: $(VENV)/.dev  ## Formats the code and mends what ruff can
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

reproduce: $(VENV)/.serve  ## Simulates the paper's figures into docs/reproduction.md (about 45 minutes on two cores)
	$(BIN)/python -m benchmarks.reproduction $(ARGS)

reproduce-quick: $(VENV)/.serve  ## The same in two minutes, into build/reproduction-quick: to see that it works
	$(BIN)/python -m benchmarks.reproduction --quick $(ARGS)

train-predictor: $(VENV)/.serve  ## Trains a length predictor for the embedded model into build/predictor (a few minutes)
	test -s build/conversations.jsonl || $(BIN)/python -m lamps_jax.embedded.conversations --out build/conversations.jsonl
	$(BIN)/lamps-jax train-predictor --config examples/predictor.toml --out build/predictor

train-embedded: $(VENV)/.serve  ## Trains the embedded model anew (about two hours on two cores)
	$(BIN)/python -m lamps_jax.embedded.train --out build/embedded-model

aot: aot-tpu aot-cuda  ## Compiles the programs for TPUs and NVIDIA GPUs, which need not be here (docs/portability.md)
	$(VENV)-aot-cuda/bin/python -m benchmarks.aot --merge

aot-tpu: $(VENV)-aot-tpu/.ready
	$(VENV)-aot-tpu/bin/python -m benchmarks.aot --target v5e,v6e $(ARGS)

aot-cuda: $(VENV)-aot-cuda/.ready
	$(VENV)-aot-cuda/bin/python -m benchmarks.aot --target a100,h200 $(ARGS)

peers: $(VENV)-peers/.ready  ## Compares decode and prefill on this CPU with transformers, CTranslate2 and llama.cpp
	$(VENV)-peers/bin/python -m benchmarks.peers $(ARGS)

clean:  ## Removes the environments and caches
	rm -rf $(VENV) $(VENV)-aot-* $(VENV)-clients $(VENV)-peers $(VENV)-ray *.egg-info .pytest_cache .ruff_cache .hypothesis

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "lamps-jax needs Python 3.11 or newer; install one, or name it: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "python cannot make a virtual environment; on Debian: apt install python3-venv" >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip

$(VENV)/.serve: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing lamps-jax into $(VENV); the first time takes a minute or two ..."
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/.test: pyproject.toml constraints.txt | $(VENV)/.serve
	@echo "Installing what the tests need ..."
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[test]"
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/.test
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $@

# An environment with Ray, under which several replicas serve (docs/replicas.md); the tests of that run only where it is.
$(VENV)-ray/.ready: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "lamps-jax needs Python 3.11 or newer; install one, or name it: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	@test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D) || { rm -rf $(@D); echo "python cannot make a virtual environment; on Debian: apt install python3-venv" >&2; exit 1; }
	@echo "Installing lamps-jax, its tests and Ray into $(@D) ..."
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[test,ray]"
	@touch $@

# Other engines, beside which ours is measured. llama.cpp is compiled for this machine's instructions, which takes ten minutes.
$(VENV)-peers/.ready: benchmarks/peers/constraints.txt constraints.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "lamps-jax needs Python 3.11 or newer; install one, or name it: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	@test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D) || { rm -rf $(@D); echo "python cannot make a virtual environment; on Debian: apt install python3-venv" >&2; exit 1; }
	@echo "Installing lamps-jax and its peers into $(@D); llama.cpp is compiled here, which takes ten minutes ..."
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -c benchmarks/peers/constraints.txt \
		-e . torch ctranslate2 gguf llama-cpp-python
	@touch $@

# The clients that tests/clients runs against a server: their versions would contradict those of lamps-jax.
$(VENV)-clients/.ready: tests/clients/constraints.txt
	@test -n "$(PYTHON)" || { echo "lamps-jax needs Python 3.11 or newer; install one, or name it: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	@test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D) || { rm -rf $(@D); echo "python cannot make a virtual environment; on Debian: apt install python3-venv" >&2; exit 1; }
	@echo "Installing the clients of the tests into $(@D); the first time takes some minutes ..."
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check -c tests/clients/constraints.txt litellm langchain-openai openai-agents guidellm
	@touch $@

# An environment that compiles for a device which the machine lacks: lamps-jax with the compiler of tpu or of cuda.
$(VENV)-aot-%/.ready: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "lamps-jax needs Python 3.11 or newer; install one, or name it: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	@test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D) || { rm -rf $(@D); echo "python cannot make a virtual environment; on Debian: apt install python3-venv" >&2; exit 1; }
	@echo "Installing lamps-jax and the compiler for $* into $(@D); this downloads up to 3 GB ..."
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[$*]"
	@touch $@
