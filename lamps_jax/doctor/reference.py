"""Stored logits of the seeded models: written on one machine, compared on another.

A file is written where there is none; where there is one, the same is computed and compared. The tokens behind the prompts are those
of the file, so that one token that differs does not make all after it differ.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from lamps_jax.doctor.check import Check, Status
from lamps_jax.doctor.logits import NUM_NEW_TOKENS, PromptLogits, prompt_logits
from lamps_jax.doctor.machine import machine, versions
from lamps_jax.doctor.seeded_models import MODELS, PROMPT_LENGTHS, VOCAB_SIZE, fingerprint

KIND = "lamps-jax logits 1"


class ReferenceFileError(ValueError):
    """A file that is not a reference, or not one of these models."""


@dataclass(frozen=True, slots=True)
class Variant:
    """How the models are computed.

    Attributes:
        precise: Whether float32 products are computed as such; accelerators shorten the factors by default.
        tolerance: Largest error, as a share of the largest logit at its position, that different orders of summation explain.
    """

    dtype: str
    precise: bool
    tolerance: float

    @property
    def label(self) -> str:
        """What it is called in a check's name."""
        return self.dtype if self.precise or self.dtype != "float32" else "float32 as served"


STORED = (Variant("float32", precise=True, tolerance=1e-4), Variant("bfloat16", precise=False, tolerance=3e-2))
"""What a file holds. In bfloat16 the tolerance is twice the error of that type itself, as measured against float32."""

AS_SERVED = Variant("float32", precise=False, tolerance=3e-2)
"""Compared in addition on accelerators, whose default products of float32 have TF32 or bfloat16 factors."""


@dataclass(frozen=True, slots=True)
class Reference:
    """The contents of a file: metadata, and by model and dtype what the model says of each prompt."""

    metadata: dict[str, str]
    logits: dict[tuple[str, str], list[PromptLogits]]


@dataclass(frozen=True, slots=True)
class Difference:
    """How far two runs of one model are apart.

    Attributes:
        max_absolute: Largest difference of two logits.
        max_relative: The same as a share of the largest logit at its position; infinite where a logit is not a number.
        first_token: Prompt and position of the first likeliest token that differs; None if there is none.
    """

    max_absolute: float
    max_relative: float
    first_token: tuple[int, int] | None


def difference(expected: list[PromptLogits], got: list[PromptLogits]) -> Difference:
    """Compares what a model says here of each prompt with what it said elsewhere."""
    absolute, relative, first_token = 0.0, 0.0, None
    for prompt, (wanted, found) in enumerate(zip(expected, got, strict=True)):
        errors = np.abs(wanted.logits - found.logits).max(axis=1)
        errors = np.where(np.isfinite(errors), errors, np.inf)
        absolute = max(absolute, float(errors.max()))
        relative = max(relative, float((errors / np.abs(wanted.logits).max(axis=1)).max()))
        differing = np.flatnonzero(wanted.logits.argmax(axis=1) != found.logits.argmax(axis=1))
        if first_token is None and differing.size:
            first_token = (prompt, wanted.positions[differing[0]])
    return Difference(absolute, relative, first_token)


def check_reference(
    path: Path, reference: Reference | None, *, progress: Callable[[int, int], None] = lambda done, total: None
) -> Iterator[Check]:
    """Writes `path` if there is no `reference`, else compares with it; a check for each model and dtype."""
    computed: dict[tuple[str, str], list[PromptLogits]] = {}
    variants = STORED if reference is None or jax.default_backend() == "cpu" else (*STORED, AS_SERVED)
    for done, (model, variant) in enumerate(work := [(model, variant) for model in MODELS for variant in variants]):
        progress(done, len(work))
        key = (model, variant.dtype)
        chosen = None if reference is None else [prompt.new_tokens for prompt in reference.logits[key]]
        found = prompt_logits(model, dtype=variant.dtype, precise=variant.precise, new_tokens=chosen)
        if reference is not None:
            yield _compared(model, variant, difference(reference.logits[key], found))
        computed[key] = found
    progress(len(work), len(work))
    if reference is None:
        write_reference(path, computed)
        detail = f"wrote {path}; give it to the doctor of another machine with --reference"
        yield Check("reference", Status.PASS, detail, {"written": str(path)})


def _compared(model: str, variant: Variant, found: Difference) -> Check:
    """The token is exact where the error is within the tolerance, but for two that are as likely within it."""
    data = {
        "model": model, "dtype": variant.dtype, "precise": variant.precise, "tolerance": variant.tolerance,
        "max_absolute": _json_number(found.max_absolute), "max_relative": _json_number(found.max_relative),
        "first_differing_token": found.first_token and {"prompt": found.first_token[0], "position": found.first_token[1]},
    }  # fmt: skip
    detail = f"largest error {found.max_absolute:.1e}, {found.max_relative:.1e} of the largest logit"
    where = "all likeliest tokens equal"
    if found.first_token is not None:
        where = f"likeliest token differs first in {model}, prompt {found.first_token[0]}, position {found.first_token[1]}"
    status = Status.PASS if found.first_token is None else Status.WARN
    if not found.max_relative <= variant.tolerance:
        status, detail = Status.FAIL, f"{detail}, which is above {variant.tolerance:.0e}"
    return Check(f"reference: {model} {variant.label}", status, f"{detail}; {where}", data)


def write_reference(path: Path, logits: dict[tuple[str, str], list[PromptLogits]]) -> None:
    """Writes a file that `read_reference` reads; it appears when it is complete."""
    tensors: dict[str, np.ndarray] = {}
    for (model, dtype), prompts in logits.items():
        for number, prompt in enumerate(prompts):
            if not np.isfinite(prompt.logits).all():
                raise ValueError(f"{model} in {dtype} has logits here that are not numbers; they can be no reference")
            tensors[f"{model}/{dtype}/{number}/logits"] = prompt.logits.astype(np.float32)
            tensors[f"{model}/{dtype}/{number}/positions"] = np.array(prompt.positions, np.int32)
            tensors[f"{model}/{dtype}/{number}/new_tokens"] = np.array(prompt.new_tokens, np.int32)
    facts = {name: str(value) for name, value in {**machine(), **versions()}.items()}
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.unfinished")
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, unfinished, {"kind": KIND, "fingerprint": fingerprint(), **facts})
    unfinished.replace(path)


def read_reference(path: Path) -> Reference:
    """The contents of a file that `write_reference` wrote.

    Raises:
        ReferenceFileError: If it is none, is damaged, or is one of other models than these.
    """
    try:
        with safe_open(path, "numpy") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dictionary
    except (SafetensorError, OSError, ValueError) as error:
        raise _refused(path, str(error)) from error
    if metadata.get("kind") != KIND:
        raise _refused(path, f"its kind is {metadata.get('kind')!r}, not {KIND!r}")
    if metadata.get("fingerprint") != fingerprint():
        version = f"lamps-jax {metadata.get('lamps_jax')} wrote it"
        raise _refused(path, f"it is of other seeded models than those of this version ({version})")
    try:
        return Reference(metadata, {
            (model, variant.dtype): [_read_prompt(tensors, model, variant.dtype, at) for at in range(len(PROMPT_LENGTHS))]
            for model in MODELS
            for variant in STORED
        })  # fmt: skip
    except (KeyError, ValueError) as error:
        raise _refused(path, f"it lacks or has wrong {error}") from error


def _read_prompt(tensors: dict[str, np.ndarray], model: str, dtype: str, number: int) -> PromptLogits:
    name = f"{model}/{dtype}/{number}"
    logits, positions, new_tokens = (tensors[f"{name}/{part}"] for part in ("logits", "positions", "new_tokens"))
    if logits.shape != (len(positions), VOCAB_SIZE) or not np.isfinite(logits).all() or not logits.any(axis=1).all():
        raise ValueError(f"{name}/logits")
    if new_tokens.shape != (NUM_NEW_TOKENS,) or not ((new_tokens >= 0) & (new_tokens < VOCAB_SIZE)).all():
        raise ValueError(f"{name}/new_tokens")
    return PromptLogits(tuple(positions.tolist()), logits, tuple(new_tokens.tolist()))


def _refused(path: Path, reason: str) -> ReferenceFileError:
    return ReferenceFileError(
        f"{path} is not a reference that can be compared with: {reason}; give a file that --reference wrote, or a new name"
    )


def _json_number(value: float) -> float | None:
    return value if np.isfinite(value) else None
