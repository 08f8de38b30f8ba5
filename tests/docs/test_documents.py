"""What documents show is so: links lead somewhere, commands and programs run, examples do what they are for."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.environment import ENVIRONMENT
from tests.docs.markdown import DOCUMENTS, ROOT, blocks, links

README = ROOT / "README.md"
COMMANDS = [line for block in blocks(README, "bash") for line in block.splitlines() if line]
PROGRAMS = [
    pytest.param(document, number, id=f"{document.name}-{number}")
    for document in DOCUMENTS
    for number, _ in enumerate(blocks(document, "python"))
]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_every_link_of_a_document_leads_to_a_file(document: Path) -> None:
    assert [str(link) for link in links(document) if not link.exists()] == []


def test_every_path_of_the_readme_tree_exists() -> None:
    tree = next(block for block in blocks(README, "") if block.startswith("lamps_jax/\n"))
    parent = ROOT
    for line in tree.splitlines():
        name = line.split()[0]
        parent = ROOT / "lamps_jax" if line.startswith("  ") else ROOT
        assert (parent / name).exists(), name


@pytest.mark.slow
def test_the_sample_answer_in_the_readme_is_what_the_command_prints() -> None:
    transcript = next(block for block in blocks(README, "") if block.startswith("$ "))
    command, _, expected = transcript.partition("\n")
    printed = run(command.removeprefix("$ "))
    assert without_times(printed) == without_times(expected)


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_of_the_readme_runs(command: str) -> None:
    assert run(command).strip()


@pytest.mark.slow
@pytest.mark.parametrize(("document", "number"), PROGRAMS)
def test_every_program_in_a_document_runs_and_prints_what_it_says(document: Path, number: int, server_url: str) -> None:
    program = blocks(document, "python")[number].replace("http://127.0.0.1:8000", server_url)
    printed = run_python("-c", program)
    for expected in re.findall(r"print\(.*\)  # (.+)$", program, re.MULTILINE):
        assert expected in printed


def test_every_example_has_a_test_here() -> None:
    source = (ROOT / "tests/docs/test_documents.py").read_text()
    assert [path.name for path in (ROOT / "examples").glob("*.py") if f"examples/{path.name}" not in source] == []


@pytest.mark.long
@pytest.mark.slow
def test_the_offline_example_calls_the_calculator() -> None:
    printed = run_python("examples/generate.py")
    assert "1776" in printed
    assert "Calculator(48*37) -> 1776" in printed


def test_the_tools_of_the_example_run_and_its_server_is_part_of_the_toml_file() -> None:
    assert "roman(number=14) -> XIV" in run_python("examples/tools.py")
    assert Path("examples/notes_server.py").name in (ROOT / "examples/tools.toml").read_text()


@pytest.mark.slow
def test_the_agent_loop_runs_both_tools_in_the_client(server_url: str) -> None:
    printed = run_python("examples/agent_loop.py", "--url", f"{server_url}/v1")
    assert "Search(" in printed
    assert "Calculator(" in printed
    assert printed.strip().endswith("76")


@pytest.mark.slow
def test_the_streaming_example_shows_each_call_of_the_text_world(server_url: str) -> None:
    printed = run_python("examples/chat_stream.py", "--url", f"{server_url}/v1")
    assert "[World(take brass key) -> Taken.]" in printed
    assert printed.strip().endswith("I have the brass key.")


def run_python(*arguments: str) -> str:
    """Standard output of Python with `arguments`."""
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def run(command: str) -> str:
    """Standard output of a command of the README, run in the environment of the tests."""
    words = [
        str(Path(sys.executable).parent / Path(word).name) if word.startswith(".venv/bin/") else word
        for word in shlex.split(command)
    ]
    done = subprocess.run(words, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def without_times(text: str) -> str:
    return re.sub(r"[\d.]+ ms", "… ms", text).strip()
