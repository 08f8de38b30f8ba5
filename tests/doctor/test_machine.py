"""What there is, and what is missing, is said."""

import tomllib
from pathlib import Path

import pytest

from lamps_jax.doctor import machine
from lamps_jax.doctor.check import Status
from lamps_jax.doctor.machine import SUPPORTED, check_devices, check_memory_kinds, check_versions, is_within

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"


def test_supported_versions_are_those_that_the_package_requires() -> None:
    project = tomllib.loads(PYPROJECT.read_text())["project"]
    required = dict(part.split(">=") for part in project["dependencies"])
    for name in ("jax", "flax", "numpy"):
        assert required[name] == ",<".join(SUPPORTED[name])
    assert project["requires-python"] == ">=" + SUPPORTED["python"][0]
    assert SUPPORTED["jaxlib"] == SUPPORTED["jax"]


@pytest.mark.parametrize(
    ("version", "within"),
    [("0.10.2", True), ("0.10.1", False), ("0.11.0", True), ("0.11.2.dev20260101", True), ("0.12", False), ("1.0", False)],
)
def test_version_is_within_its_range_by_number(version: str, within: bool) -> None:
    assert is_within(version, "0.10.2", "0.12") is within


def test_versions_here_are_supported() -> None:
    check = check_versions()
    assert check.status is Status.PASS
    assert check.data["versions"]["jax"] in check.detail


def test_version_that_is_not_supported_is_a_warning_with_the_range(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SUPPORTED, "flax", ("99.0", "100"))
    check = check_versions()
    assert check.status is Status.WARN
    assert "tested are flax from 99.0 to before 100" in check.detail


def test_accelerator_that_jax_does_not_use_is_a_warning(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(machine, "ACCELERATOR_FILES", (str(tmp_path / "nvidia0"),))
    assert check_devices().status is Status.PASS
    (tmp_path / "nvidia0").touch()
    check = check_devices()
    assert check.status is Status.WARN
    assert "lamps-jax[cuda]" in check.detail


def test_devices_have_the_facts_of_the_machine() -> None:
    data = check_devices().data
    assert data["machine"]["cores"] >= 1 and data["machine"]["memory_bytes"] > 2**28
    assert len(data["devices"]) == data["machine"]["num_devices"]


def test_machine_without_pinned_host_memory_cannot_swap(monkeypatch: pytest.MonkeyPatch) -> None:
    class Device:
        def addressable_memories(self) -> list[object]:
            return []

    assert check_memory_kinds().status is Status.PASS
    monkeypatch.setattr(machine.jax, "devices", lambda: [Device()])
    check = check_memory_kinds()
    assert check.status is Status.WARN
    assert "--host-kv-bytes 0" in check.detail
