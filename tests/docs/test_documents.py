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
    printed = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=240, check=False
    )
    assert printed.returncode == 0, printed.stderr
    for expected in re.findall(r"print\(.*\)  # (.+)$", program, re.MULTILINE):
        assert expected in printed.stdout


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
