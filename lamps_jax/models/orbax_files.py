"""Orbax checkpoints: what ``lamps-jax convert`` writes, and what is restored sharded onto whatever mesh there is.

A converted directory holds ``config.json``, the tokenizer's files, ``lamps_jax.json`` (type and quantisation of the weights) and
``weights/``, an Orbax checkpoint of one array a parameter. It appears under its name only when it is complete.
"""

import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from jax.sharding import Sharding

from lamps_jax.models.weights import CheckpointError, Parameters

WEIGHTS = "weights"
DESCRIPTION = "lamps_jax.json"
FORMAT = 1

COPIED = ("*.json", "*.txt", "*.model", "*.jinja", "additional_chat_templates/*.jinja")
"""Files of a Hugging Face directory that go along: configuration and tokenizer."""

NOT_COPIED = ".index.json"
"""End of the names of files that list shards of weights."""


def is_orbax_directory(directory: Path) -> bool:
    """Whether `directory` was written by `save`."""
    return (directory / DESCRIPTION).is_file()


def save(
    source: Path,
    out: Path,
    parameters: Parameters,
    *,
    dtype: str,
    quantize: str | None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Writes `parameters` with configuration and tokenizer from `source` into the new directory `out`.

    Everything is written beside `out` first and renamed at the end, so that an interruption leaves nothing of that name.

    Raises:
        CheckpointError: If `out` exists already.
    """
    if out.exists():
        raise CheckpointError(f"{out} exists already; remove it, or give a directory that does not exist")
    total = sum(parameter.nbytes for parameter in parameters.values())
    progress(0, total)
    out.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{out.name}-unfinished-", dir=out.parent)).absolute()
    try:
        for file in (file for pattern in COPIED for file in source.glob(pattern)):
            if not file.name.endswith(NOT_COPIED):
                target = unfinished / file.relative_to(source)
                target.parent.mkdir(exist_ok=True)
                shutil.copyfile(file, target)
        with ocp.StandardCheckpointer() as checkpointer:
            checkpointer.save(unfinished / WEIGHTS, dict(parameters))
            checkpointer.wait_until_finished()
        description = {"format": FORMAT, "dtype": dtype, "quantize": quantize}
        (unfinished / DESCRIPTION).write_text(json.dumps(description, indent=2) + "\n")
        unfinished.chmod(0o755)  # mkdtemp keeps others out
        unfinished.rename(out)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    progress(total, total)


def describe(directory: Path) -> dict[str, Any]:
    """What `save` noted of the weights in `directory`: ``dtype`` and ``quantize``.

    Raises:
        CheckpointError: If the note cannot be read, or a newer version wrote it.
    """
    path = directory / DESCRIPTION
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
        if description["format"] != FORMAT:
            raise ValueError(f"format {description['format']} is not known; a newer lamps-jax may have written it")
        return {"dtype": str(description["dtype"]), "quantize": description["quantize"]}
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise CheckpointError(f"cannot read {path}: {error}") from error


def restore(
    directory: Path,
    abstract: Mapping[str, jax.ShapeDtypeStruct],
    *,
    shardings: Mapping[str, Sharding] | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Parameters:
    """The parameters of shapes and types `abstract` from what `save` wrote, each in its place.

    Raises:
        CheckpointError: If the checkpoint is damaged or holds other parameters.
    """
    total = sum(value.size * value.dtype.itemsize for value in abstract.values())
    progress(0, total)
    device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    wanted = {
        name: jax.ShapeDtypeStruct(value.shape, value.dtype, sharding=(shardings or {}).get(name, device))
        for name, value in abstract.items()
    }
    try:
        with ocp.StandardCheckpointer() as checkpointer:
            _check_shapes(directory, checkpointer, wanted)
            parameters = checkpointer.restore((directory / WEIGHTS).absolute(), wanted)
    except CheckpointError:
        raise
    except Exception as error:  # orbax and tensorstore raise what their parts raise
        first_line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CheckpointError(f"cannot restore {directory / WEIGHTS}: {first_line}; is the checkpoint complete?") from error
    progress(total, total)
    return {name: parameters[name] for name in abstract}


def _check_shapes(directory: Path, checkpointer: ocp.StandardCheckpointer, wanted: Mapping[str, jax.ShapeDtypeStruct]) -> None:
    stored: Mapping[str, Any] = checkpointer.metadata((directory / WEIGHTS).absolute()).item_metadata or {}
    problems = [f"missing: {name}" for name in wanted if name not in stored]
    problems += [f"not part of this model: {name}" for name in stored if name not in wanted]
    problems += [
        f"{name} is {list(stored[name].shape)}, not {list(value.shape)}"
        for name, value in wanted.items()
        if name in stored and tuple(stored[name].shape) != value.shape
    ]
    if problems:
        raise CheckpointError(f"the weights in {directory} do not fit its configuration; {'; '.join(problems)}")
