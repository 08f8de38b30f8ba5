"""Engines that are set beside ours compute the same before anybody times them."""

import importlib.util
import itertools
import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.peers.__main__ import OURS, EngineFailed, Worker, compared, measured, print_table
from benchmarks.peers.checkpoint import make_checkpoint, token_text
from benchmarks.peers.engines import ENGINES, REFERENCE, prompt_of

LIBRARIES = {"ctranslate2": "ctranslate2", "llama.cpp": "llama_cpp"}
INSTALLED = [name for name in ENGINES if importlib.util.find_spec(LIBRARIES.get(name, "torch"))]
MISSING = [name for name in ENGINES if name not in INSTALLED]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("peers"), "tiny")


class Clock:
    """A worker that takes the times that it is told to."""

    def __init__(self, engine: str, *seconds: float):
        self.engine, self._seconds, self.asked = engine, list(seconds), list[tuple[object, ...]]()

    def ask(self, *command: object) -> dict[str, float]:
        self.asked.append(command)
        return {"result": self._seconds[len(self.asked) - 1], "cores": 1.9}


def test_a_ratio_is_the_median_of_pairs_without_the_first() -> None:
    ours, peer = Clock(OURS, 9.0, 1.0, 2.0, 1.0), Clock("other", 9.0, 2.0, 2.0, 3.0)
    (run,) = measured(ours, peer, [("decode", 8, 128, 4)], 3, lambda done, total: None)  # pyright: ignore[reportArgumentType]
    assert run["speedup"] == {"median": 2.0, "least": 1.0, "most": 3.0}
    assert (run["tokens_per_s"], run["peer_tokens_per_s"]) == (8.0, 4.0)
    assert len(ours.asked) == len(peer.asked) == 4


def test_prompts_repeat_no_token_at_once_and_have_none_that_is_special() -> None:
    prompt = prompt_of(512)
    assert min(prompt) >= 3 and all(one != next_one for one, next_one in itertools.pairwise(prompt))


@pytest.mark.long
@pytest.mark.parametrize("peer", [name for name in INSTALLED if name not in (OURS, REFERENCE, "transformers compiled")])
def test_an_engine_that_is_installed_gives_the_same_tokens_and_is_timed(checkpoint: Path, peer: str) -> None:
    runs = compared(checkpoint, "float32", peer, [("decode", 2, 16, 2), ("prefill", 16)], 1, batch=2, context=32)
    assert [run["phase"] for run in runs] == ["decode", "prefill"]
    assert all(run["speedup"]["median"] > 0 and run["peak_bytes"] > 0 for run in runs)


@pytest.mark.parametrize("peer", MISSING)
def test_an_engine_that_is_not_installed_says_how_to_get_it(checkpoint: Path, peer: str) -> None:
    with (
        pytest.raises(EngineFailed, match=r"is not installed here .*`make peers`"),
        Worker(peer, checkpoint, "float32", batch=1, context=32),
    ):
        pass


class Stranger(Clock):
    """A worker whose engine has read other weights."""

    def __init__(self, engine: str, *arguments: object, **sizes: int):
        super().__init__(engine)

    def __enter__(self) -> "Stranger":
        return self

    def __exit__(self, *exception: object) -> None: ...

    def ask(self, *command: object) -> dict[str, object]:
        assert command[0] == "greedy", "it is timed"
        return {"result": [1, 2, 3] if self.engine in (OURS, REFERENCE) else [1, 2, 4]}


def test_an_engine_that_gives_other_tokens_is_not_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.peers.__main__.Worker", Stranger)
    with pytest.raises(EngineFailed, match=r"other gives other tokens than transformers: \[1, 2, 4\], not \[1, 2, 3\]"):
        compared(tmp_path, "float32", "other", [("prefill", 16)], 1, batch=1, context=32)


def test_an_engine_that_ends_says_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(EngineFailed, match="has ended"), Worker(REFERENCE, tmp_path / "nothing", "float32", batch=1, context=8):
        pass


def test_the_checkpoint_is_made_once_and_spells_its_tokens(checkpoint: Path) -> None:
    before = (checkpoint / "config.json").stat().st_mtime_ns
    assert make_checkpoint(checkpoint.parent, "tiny") == checkpoint and (checkpoint / "config.json").stat().st_mtime_ns == before
    assert json.loads((checkpoint / "tokenizer.json").read_text())["model"]["vocab"][token_text(7)] == 7


def test_what_was_not_measured_is_a_line_of_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([{"model": "tiny", "dtype": "float32", "peer": "llama.cpp", "reason": "is not installed"}])
    assert "llama.cpp" in (shown := capsys.readouterr().out) and "is not installed" in shown


@pytest.mark.long
def test_the_command_writes_a_document_in_which_a_missing_peer_has_its_reason(checkpoint: Path, tmp_path: Path) -> None:
    peers = [REFERENCE, *MISSING]
    sizes = ["--shapes", "tiny", "--dtypes", "float32", "--batches", "2", "--contexts", "16", "--prompts", "16", "--rounds", "1"]
    paths = ["--out", tmp_path / "peers.json", "--checkpoints", checkpoint.parent]
    subprocess.run(
        [sys.executable, "-m", "benchmarks.peers", *sizes, *paths, "--steps", "2", "--peers", ",".join(peers)],
        check=True,
        timeout=200,
    )
    document = json.loads((tmp_path / "peers.json").read_text())
    assert document["benchmark"] == "peers"
    assert {run["peer"] for run in document["runs"] if "speedup" in run} == {REFERENCE}
    assert {run["peer"] for run in document["runs"] if "reason" in run} == set(MISSING)
