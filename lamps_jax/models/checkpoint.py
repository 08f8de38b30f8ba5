"""The tensors of a Hugging Face directory: in safetensors files or those of ``torch.save``, in one file or in shards."""

import json
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError, safe_open

from lamps_jax.models.stored_tensor import CheckpointError, StoredTensor, unreadable
from lamps_jax.models.torch_files import read_torch_file

SOURCES = (
    "model.safetensors.index.json",
    "model.safetensors",
    "pytorch_model.bin.index.json",
    "pytorch_model.bin",
)
"""Files that weights are looked for in; the first that exists is read, and no other but those that an index names."""

SAFETENSORS_TYPES: dict[str, np.dtype[Any]] = {
    name: np.dtype(dtype)
    for name, dtype in {
        "F64": np.float64,
        "F32": np.float32,
        "F16": np.float16,
        "BF16": jnp.bfloat16,
        "F8_E4M3": jnp.float8_e4m3fn,
        "F8_E5M2": jnp.float8_e5m2,
    }.items()
}
"""The types of floating point of safetensors files."""


def read_checkpoint(directory: Path) -> dict[str, StoredTensor]:
    """All tensors of the checkpoint in `directory`, by name; no data are read yet.

    Raises:
        CheckpointError: If there is no checkpoint, shards are missing, or a file cannot be read.
    """
    source = next((directory / name for name in SOURCES if (directory / name).exists()), None)
    if source is None:
        raise CheckpointError(f"weights not found in {directory}; looked for {', '.join(SOURCES)}")
    shard_of = _read_index(source) if source.suffix == ".json" else {}
    shards = sorted({directory / shard for shard in shard_of.values()}) or [source]
    if absent := [str(shard) for shard in shards if not shard.exists()]:
        raise CheckpointError(f"weights not found: {', '.join(absent)}; {source.name} names them")
    return {
        name: tensor
        for shard in shards
        for name, tensor in _read_file(shard).items()
        if shard_of.get(name, shard.name) == shard.name  # of a tensor that two shards hold, the index says which counts
    }


def _read_index(path: Path) -> dict[str, str]:
    try:
        shard_of = json.loads(path.read_text(encoding="utf-8"))["weight_map"]
        if not shard_of or not all(isinstance(shard, str) for shard in shard_of.values()):
            raise TypeError("weight_map does not name a file for each tensor")
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise CheckpointError(f"cannot read {path}: {error}") from error
    return shard_of


def _read_file(path: Path) -> dict[str, StoredTensor]:
    with path.open("rb") as file:
        if file.read(23) == b"version https://git-lfs":
            raise CheckpointError(f"{path} only points to the weights; fetch them with 'git lfs pull'")
    return _read_safetensors(path) if path.suffix == ".safetensors" else read_torch_file(path)


def _read_safetensors(path: Path) -> dict[str, StoredTensor]:
    try:
        with safe_open(path, framework="np"):  # checks that the header is sound, and that the file is as long as it says
            pass
        with path.open("rb") as file:
            header_bytes = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(header_bytes))
    except (SafetensorError, OSError, ValueError) as error:
        raise unreadable(path, error) from error
    return {
        name: StoredTensor(
            path,
            type_name=entry["dtype"],
            dtype=SAFETENSORS_TYPES.get(entry["dtype"]),
            shape=tuple(entry["shape"]),
            start=8 + header_bytes + entry["data_offsets"][0],
        )
        for name, entry in header.items()
        if name != "__metadata__"
    }
