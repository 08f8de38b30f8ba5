"""A reference compares equal where it was written, and what was changed in it is found where it was changed."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from lamps_jax.doctor.check import Check, Status
from lamps_jax.doctor.reference import STORED, ReferenceFileError, check_reference, difference, read_reference, write_reference
from tests.doctor.conftest import TINY, Computed

pytestmark = pytest.mark.slow


def change(path: Path, edit: Callable[[dict[str, np.ndarray], dict[str, str]], None]) -> None:
    """Rewrites a reference with what `edit` makes of its tensors and metadata."""
    with safe_open(path, "numpy") as file:
        metadata, tensors = file.metadata(), {name: file.get_tensor(name).copy() for name in file.keys()}  # noqa: SIM118
    edit(tensors, metadata)
    save_file(tensors, path, metadata)


@pytest.fixture
def compare(computed: Computed, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], list[Check]]:
    """Compares with a file as a machine does whose logits are those that were computed already."""
    monkeypatch.setattr(
        "lamps_jax.doctor.reference.prompt_logits", lambda model, *, dtype, precise, new_tokens: computed[model, dtype]
    )
    return lambda path: list(check_reference(path, read_reference(path)))


@pytest.mark.usefixtures("compare")
def test_file_that_does_not_exist_is_written(tmp_path: Path, stored: Path) -> None:
    path, progress = tmp_path / "new" / "there.safetensors", []
    (written,) = check_reference(path, None, progress=lambda done, total: progress.append((done, total)))
    assert written.status is Status.PASS and str(path) in written.detail
    assert progress == [(0, 2), (1, 2), (2, 2)]
    assert read_reference(path).metadata == read_reference(stored).metadata
    assert path.stat().st_size == stored.stat().st_size
    assert [file.name for file in path.parent.iterdir()] == ["there.safetensors"]


def test_computing_again_gives_every_bit_again(stored: Path) -> None:
    checks = list(check_reference(stored, read_reference(stored)))
    assert [check.name for check in checks] == [f"reference: {TINY} float32", f"reference: {TINY} bfloat16"]
    for check in checks:
        assert check.status is Status.PASS
        assert check.data["max_absolute"] == check.data["max_relative"] == 0.0
        assert check.data["first_differing_token"] is None


def test_file_holds_what_was_written_and_where(stored: Path, computed: Computed) -> None:
    reference = read_reference(stored)
    for key, prompts in computed.items():
        for was, now in zip(prompts, reference.logits[key], strict=True):
            np.testing.assert_array_equal(was.logits, now.logits)
            assert (was.positions, was.new_tokens) == (now.positions, now.new_tokens)
    assert {"platform", "device", "jax", "lamps_jax"} <= reference.metadata.keys()


@pytest.mark.parametrize(("dtype", "prompt", "row"), [("float32", 0, 0), ("float32", 2, 7), ("bfloat16", 3, 16)])
def test_changed_token_is_found_in_its_model_prompt_and_position(
    stored: Path, computed: Computed, compare: Callable[[Path], list[Check]], dtype: str, prompt: int, row: int
) -> None:
    def edit(tensors: dict[str, np.ndarray], metadata: dict[str, str]) -> None:
        logits = tensors[f"{TINY}/{dtype}/{prompt}/logits"][row]
        logits[logits.argmin()] = logits.max() + 1.0

    change(stored, edit)
    checks = compare(stored)
    status = {check.data["dtype"]: check for check in checks}
    position = computed[TINY, dtype][prompt].positions[row]
    assert status[dtype].status is Status.FAIL
    assert status[dtype].data["first_differing_token"] == {"prompt": prompt, "position": position}
    assert f"{TINY}, prompt {prompt}, position {position}" in status[dtype].detail
    assert all(check.status is Status.PASS for check in checks if check.data["dtype"] != dtype)


@pytest.mark.parametrize("variant", STORED, ids=lambda variant: variant.dtype)
@pytest.mark.parametrize(("share", "expected"), [(0.5, Status.PASS), (2.0, Status.FAIL)])
def test_error_passes_up_to_the_tolerance(
    stored: Path, compare: Callable[[Path], list[Check]], variant: object, share: float, expected: Status
) -> None:
    assert variant in STORED
    at = STORED.index(variant)

    def edit(tensors: dict[str, np.ndarray], metadata: dict[str, str]) -> None:
        logits = tensors[f"{TINY}/{STORED[at].dtype}/1/logits"]
        largest = np.abs(logits[3]).max()
        logits[3, logits[3].argmin() - 1] -= share * STORED[at].tolerance * largest

    change(stored, edit)
    found = compare(stored)[at]
    assert found.status is expected
    assert found.data["max_relative"] == pytest.approx(share * STORED[at].tolerance, rel=0.2)


def test_two_tokens_as_likely_within_the_tolerance_are_a_warning(
    stored: Path, compare: Callable[[Path], list[Check]], computed: Computed
) -> None:
    found = computed[TINY, "bfloat16"][1]
    second, first = np.sort(found.logits[4])[-2:]
    found.logits[4, found.logits[4].argmax()] = second + 1e-3  # so close that bfloat16 may swap them
    try:

        def edit(tensors: dict[str, np.ndarray], metadata: dict[str, str]) -> None:
            logits = tensors[f"{TINY}/bfloat16/1/logits"][4]
            logits[logits.argmax()] = second - 1e-3

        change(stored, edit)
        check = compare(stored)[1]
    finally:
        found.logits[4, found.logits[4].argmax()] = first
    assert check.status is Status.WARN
    assert check.data["first_differing_token"] == {"prompt": 1, "position": found.positions[4]}


def test_logits_that_are_no_numbers_are_infinitely_wrong(computed: Computed) -> None:
    expected = computed[TINY, "float32"]
    broken = [replace(prompt, logits=prompt.logits.copy()) for prompt in expected]
    broken[1].logits[2, 3] = np.nan
    assert difference(expected, broken).max_relative == np.inf
    with pytest.raises(ValueError, match="can be no reference"):
        write_reference(Path("unused"), {(TINY, "float32"): broken})


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda path: path.write_bytes(b""), "not a reference"),
        (lambda path: path.write_text("Dear diary"), "not a reference"),
        (lambda path: path.write_bytes(path.read_bytes()[:-100]), "not a reference"),
        (lambda path: save_file({"x": np.zeros(3, np.float32)}, path), "its kind is None"),
        (lambda path: change(path, lambda tensors, metadata: metadata.update(fingerprint="0")), "other seeded models"),
        (lambda path: change(path, lambda tensors, metadata: tensors.pop(f"{TINY}/float32/0/logits")), "float32/0/logits"),
        (lambda path: change(path, lambda tensors, metadata: tensors[f"{TINY}/bfloat16/1/logits"].fill(np.nan)), "1/logits"),
        (lambda path: change(path, lambda tensors, metadata: tensors[f"{TINY}/float32/2/new_tokens"].fill(999)), "new_tokens"),
    ],
    ids=["empty", "text", "cut", "foreign", "other models", "a tensor less", "not numbers", "no such token"],
)
def test_file_that_cannot_be_compared_with_is_refused(stored: Path, damage: Callable[[Path], object], said: str) -> None:
    damage(stored)
    with pytest.raises(ReferenceFileError, match=said) as refused:
        read_reference(stored)
    assert str(stored) in str(refused.value)


def test_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ReferenceFileError, match="not a reference"):
        read_reference(tmp_path)
