"""A load generator, as it comes, against a server: it finds the lengths that it asked for."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from benchmarks.server_process import ServerProcess
from tests.clients.conftest import OFFLINE, ROOT

pytestmark = pytest.mark.slow

MODEL = ROOT / "lamps_jax" / "embedded" / "model"
PROMPT_TOKENS, OUTPUT_TOKENS, REQUESTS = 32, 24, 20


def requests_of(clients: Path, server: ServerProcess, folder: Path, *, route: str, data: str = "") -> dict[str, list[Any]]:
    """What guidellm says of the requests of a short run at a constant rate."""
    arguments = {
        "backend": f"kind=openai_http,target={server.url},model=embedded,request_format={route}",
        "profile": "kind=constant,rate=2",
        "constraint": f"kind=max_requests,count={REQUESTS}",
        "tokenizer": f"kind=huggingface_auto,model={MODEL}",
        "data": f"kind=synthetic_text,prompt_tokens={PROMPT_TOKENS},output_tokens={OUTPUT_TOKENS}{data}",
        "output": f"kind=json,path={folder / 'report.json'}",
    }
    options = [part for name, value in arguments.items() for part in (f"--{name}", value)]
    command = [clients / "guidellm", "run", *options, "--disable-console"]
    finished = subprocess.run(command, env=os.environ | OFFLINE, capture_output=True, text=True, timeout=200)
    assert finished.returncode == 0, finished.stderr[-3000:]
    (benchmark,) = json.loads((folder / "report.json").read_text())["benchmarks"]
    return benchmark["requests"]


@pytest.mark.long
def test_guidellm_finds_exact_lengths_of_completions(clients: Path, server: ServerProcess, tmp_path: Path) -> None:
    requests = requests_of(clients, server, tmp_path, route="/v1/completions")
    assert (len(requests["successful"]), requests["errored"]) == (REQUESTS, [])
    assert {each["output_tokens"] for each in requests["successful"]} == {OUTPUT_TOKENS}
    assert {each["prompt_tokens"] for each in requests["successful"]} == {PROMPT_TOKENS}


@pytest.mark.long
def test_guidellm_finds_exact_lengths_of_chats_and_its_tools_called(clients: Path, server: ServerProcess, tmp_path: Path) -> None:
    requests = requests_of(clients, server, tmp_path, route="/v1/chat/completions", data=",turns=2,tool_call_turns=1")
    assert (len(requests["successful"]), requests["errored"]) == (REQUESTS, [])
    texts, called = [], []
    for each in requests["successful"]:
        (called if each["tool_calls"] else texts).append(each)
    assert texts and {each["output_tokens"] for each in texts} == {OUTPUT_TOKENS}
    assert called and any(each["cached_tokens"] for each in texts)
