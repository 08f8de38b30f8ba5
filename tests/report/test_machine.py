import subprocess
from pathlib import Path

import pytest

import lamps_jax
from lamps_jax.report.machine import commit, host


def git(root: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=nobody", "-c", "user.email=nobody@example.com"]
    return subprocess.run(["git", *identity, *arguments], cwd=root, capture_output=True, text=True, check=True).stdout.strip()


def test_the_commit_is_that_of_the_source_with_a_plus_if_it_was_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "lamps_jax" / "__init__.py"
    source.parent.mkdir()
    source.write_text("")
    monkeypatch.setattr(lamps_jax, "__file__", str(source))
    assert commit() is None
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "Begin")
    assert commit() == git(tmp_path, "rev-parse", "--short", "HEAD")
    source.write_text("changed\n")
    assert commit() == git(tmp_path, "rev-parse", "--short", "HEAD") + "+"


def test_the_host_names_what_figures_depend_on() -> None:
    facts = host()
    assert facts["cpu"] and facts["cores"] >= 1 and facts["memory_gib"] > 0
    assert facts["lamps_jax"] == lamps_jax.__version__
