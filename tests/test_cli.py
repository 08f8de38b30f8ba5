import json
import sys
from pathlib import Path

import pytest

import lamps_jax
from lamps_jax.cli import main

pytestmark = pytest.mark.usefixtures("optimised", "compiled_before")


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["lamps-jax", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("generate", "hi", "--model", "/no/such/model"), "/no/such/model does not exist"),
        (("generate", "hi", "--max-tokens", "0"), "max_tokens must be at least 1, got 0"),
        (("generate", "hi", "--temperature", "-1"), "temperature must be between 0 and 10, got -1.0"),
        (("generate", "hi", "--top-p", "0"), "top_p must be above 0 and at most 1, got 0.0"),
        (("generate", "hi", "--policy", "magic"), "unknown policy 'magic'; known are preserve, swap, vllm, vllm-head"),
        (("generate", "hi", "--dtype", "int3"), "dtype must be float32, bfloat16 or float16, got 'int3'"),
        (("generate", "hi", "--kv-blocks", "3"), "use at least 65 blocks"),
        (("generate", "hi", "--max-tokens", "many"), "got 'many'"),
        (("generate", "hi", "--quantize", "int3"), "quantize must be int8 or left out, got 'int3'"),
        (("generate", "hi", "--load-format", "pickle"), "load_format must be auto or dummy, got 'pickle'"),
        (("generate", "hi", "--tensor-parallel", "0"), "tensor_parallel must be positive, got 0"),
        (("generate", "hi", "--tensor-parallel", "3"), "tensor_parallel is 3, but there is only 1 cpu device"),
        (("generate", "hi", "--tensor-parallel", "2"), "the model's 3 heads, got 2; valid sizes for it are 1, 3"),
        (("serve", "--tensor-parallel", "2"), "the model's 3 heads, got 2; valid sizes for it are 1, 3"),
        (("generate", "hi", "--host-kv-bytes", "8Q"), "--host-kv-bytes must be bytes, or a number with K, M, G or T"),
        (("generate", "hi", "--host-kv-bytes", "-1"), "got '-1'"),
        (("serve", "--kv-fraction", "2"), "kv_fraction must be above 0 and at most 1, got 2.0"),
        (("serve", "--kv-fraction", "0.5", "--kv-blocks", "100"), "both size the pool; give one of them"),
        (("serve", "--record-prompts"), "give --record FILE"),
        (("serve", "--record", "r", "--record-max-bytes", "many"), "--record-max-bytes must be bytes"),
        (("serve", "--record", "r", "--record-max-bytes", "0"), "a record needs at least one byte and one file, got 0"),
        (("serve", "--record", "/no/such/folder/r"), "/no/such/folder/r"),
        (("serve", "--history", "/no/such/folder/h"), "cannot use the history file /no/such/folder/h"),
        (("serve", "--api-key", "short"), "API key 1 of 1 must have 8 to 512 printable ASCII characters and no blanks, got 5"),
        (("serve", "--api-key-file", "/no/such/keys"), "/no/such/keys"),
        (("serve", "--max-queue-len", "-1"), "max_queue_len must be 0 (nobody waits) or more, or left out, got -1"),
        (("serve", "--request-timeout", "0"), "request_timeout_s must be positive, or left out, got 0.0"),
        (("serve", "--log-format", "xml"), "got 'xml'"),
        (("serve", "--metrics-aliases", "tgi"), "metrics_aliases must be of vllm, sglang, got 'tgi'"),
        (("serve", "--otlp-endpoint", "collector"), "otlp_endpoint must be an http:// or https:// URL, got 'collector'"),
        (("serve", "--eviction", "fifo"), "eviction must be cost or lru, got 'fifo'"),
        (("serve", "--preserve-limit-s", "-2"), "preserve_limit_s must be 0 or more, or left out, got -2.0"),
        (("generate", "hi", "--attention", "flash"), "flash"),
        (("generate", "hi", "--num-processes", "2"), "--coordinator-address, --num-processes and --process-id go together"),
        (("serve", "--process-id", "1"), "--coordinator-address, --num-processes and --process-id go together"),
        (("generate",), "Missing argument"),
        (("generate", "hi", "--wings"), "--wings"),
        (("fly",), "fly"),
        (("serve", "--model", "/no/such/model"), "/no/such/model does not exist"),
        (("serve", "--policy", "magic"), "unknown policy 'magic'"),
        (("serve", "--port", "99999"), "got '99999'"),
        (("serve", "--tools", "/no/such/tools.py"), "cannot load tools from /no/such/tools.py: there is no such file"),
        (("generate", "hi", "--tools", "a.py", "--no-tools"), "--no-tools runs no tools at all, so there can be no --tools"),
    ],
)
def test_a_wrong_argument_gets_one_line_and_exit_status_2(
    arguments: tuple[str, ...], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, *arguments) == 2
    printed = capsys.readouterr()
    assert said in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""


def test_a_broken_checkpoint_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.json").write_text("{")
    assert run(monkeypatch, "generate", "hi", "--model", str(tmp_path)) == 2
    assert f"cannot read {tmp_path / 'config.json'}" in capsys.readouterr().err


@pytest.mark.slow
def test_a_prompt_longer_than_the_context_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "generate", "word " * 200, "--max-model-len", "64", "--compile-cache", "") == 2
    assert "exceeds the context of 64" in capsys.readouterr().err


@pytest.mark.slow
def test_json_output_is_one_document_with_the_call_in_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "generate", "What is 48*37?", "--json", "--compile-cache", "") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["text"] == "1776"
    assert document["token_ids"]
    assert document["calls"][0]["arguments"] == {"expression": "48*37"}
    assert document["timings"]["e2e_s"] > 0


def test_the_version_and_the_help_are_printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "--version") == 0
    assert lamps_jax.__version__ in capsys.readouterr().out
    assert run(monkeypatch, "generate", "--help") == 0
    assert "--max-tokens" in capsys.readouterr().out
