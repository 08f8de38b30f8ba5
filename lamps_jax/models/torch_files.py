"""Files written by ``torch.save``, read without PyTorch and without running anything that they hold.

Such a file is a zip archive: ``data.pkl`` is a pickle of the state dict in which each tensor names a storage, and ``data/<key>``
holds that storage's bytes. A pickle is a program; here it may call a few functions that make named tuples, and nothing else.

Source: PyTorch, ``torch/serialization.py`` and ``torch/_utils.py``.
"""

import io
import pickle
import pickletools
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Iterable
from functools import partial
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import jax.numpy as jnp
import numpy as np

from lamps_jax.models.stored_tensor import CheckpointError, StoredTensor, unreadable

FLOAT_TYPES: dict[str, np.dtype[Any]] = {
    name: np.dtype(dtype)
    for name, dtype in {
        "float64": np.float64,
        "float32": np.float32,
        "float16": np.float16,
        "bfloat16": jnp.bfloat16,
        "float8_e4m3fn": jnp.float8_e4m3fn,
        "float8_e4m3fnuz": jnp.float8_e4m3fnuz,
        "float8_e5m2": jnp.float8_e5m2,
        "float8_e5m2fnuz": jnp.float8_e5m2fnuz,
    }.items()
}
"""PyTorch's types of floating point."""

STORAGES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "ComplexDoubleStorage": "complex128",
    "ComplexFloatStorage": "complex64",
}
"""PyTorch's classes of storage that say their tensors' type."""

TYPE_NAMES = {*FLOAT_TYPES, *STORAGES.values(), "uint16", "uint32", "uint64"}
"""All types that a tensor may have."""

DAMAGE = (zipfile.BadZipFile, zlib.error, OSError, EOFError, NotImplementedError, RuntimeError, ValueError, OverflowError)
"""What reading an archive raises that is damaged, encrypted or compressed in an unknown way."""

IGNORED_VALUES = (bool, int, float, complex, str, bytes, type(None))
"""What may stand beside the tensors of a state dict."""


class _Storage(NamedTuple):
    type_name: Any
    key: Any


class _Tensor(NamedTuple):
    """What a pickle says of a tensor: nothing in it is checked yet."""

    storage: Any
    offset: Any
    shape: Any
    strides: Any
    type_name: Any
    metadata: Any


def read_torch_file(path: Path) -> dict[str, StoredTensor]:
    """The tensors of a state dict, by name; their data are read later, one tensor at a time.

    The state dict may be a value of a dictionary, such as ``{"state_dict": …, "epoch": 3}``.

    Raises:
        CheckpointError: If the file cannot be read, is of before PyTorch 1.6, needs more than tensors, or holds none.
    """
    _refuse_other_formats(path)
    try:
        with zipfile.ZipFile(path) as archive:
            entries = {entry.filename: entry for entry in archive.infolist()}
            pickles = [name for name in entries if name.endswith("data.pkl")]
            if len(pickles) != 1:
                raise zipfile.BadZipFile(f"it has {len(pickles)} entries data.pkl, not one")
            folder = pickles[0].removesuffix("data.pkl")
            if folder + "byteorder" in entries and archive.read(folder + "byteorder") != b"little":
                raise CheckpointError(f"{path} was saved on a big-endian machine; save it again as safetensors")
            loaded = _unpickle(archive.read(pickles[0]), path)
        with path.open("rb") as file:
            return {
                name: _stored(path, file, entries, folder, name, tensor) for name, tensor in _state_dict(loaded, path).items()
            }
    except CheckpointError:
        raise
    except DAMAGE as error:
        raise unreadable(path, error) from error


def _refuse_other_formats(path: Path) -> None:
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except OSError as error:
        raise unreadable(path, error) from error
    if start[:1] == b"\x80":
        raise CheckpointError(
            f"{path} is in PyTorch's format from before 1.6; load it in a current PyTorch and torch.save it again, "
            "or save it as safetensors"
        )
    if start != b"PK\x03\x04":
        raise unreadable(path, "it is no zip archive, which torch.save writes")


class _Refused(Exception):
    """A pickle asks for a class or function that no tensor needs."""


class _Unpickler(pickle.Unpickler):
    """Knows only stand-ins that are made anew for each file, so that a pickle that edits one spoils nothing."""

    def __init__(self, data: bytes) -> None:
        super().__init__(io.BytesIO(data), encoding="utf-8")
        self.known: dict[tuple[str, str], Any] = {
            ("collections", "OrderedDict"): OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): lambda storage, offset, shape, strides, grad=None, hooks=None, meta=None: (
                _Tensor(storage, offset, shape, strides, None, meta)
            ),
            ("torch._utils", "_rebuild_tensor_v3"): lambda storage, offset, shape, strides, grad, hooks, dtype, meta=None: (
                _Tensor(storage, offset, shape, strides, dtype, meta)
            ),
            ("torch._utils", "_rebuild_parameter"): lambda tensor, grad=None, hooks=None: tensor,
            ("torch._utils", "_rebuild_parameter_with_state"): lambda tensor, grad, hooks, state: tensor,
            ("torch.storage", "UntypedStorage"): "untyped",
        }
        self.known |= {("torch", storage): type_name for storage, type_name in STORAGES.items()}
        self.known |= {("torch", dtype): dtype for dtype in TYPE_NAMES}

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        try:
            return self.known[module_name, global_name]
        except KeyError:
            raise _Refused(f"{module_name}.{global_name}") from None

    def persistent_load(self, pid: Any) -> _Storage:
        kind, type_name, key, _device, _size = pid
        if kind != "storage":
            raise pickle.UnpicklingError(f"it refers to a {kind!r}, not to a storage")
        return _Storage(type_name, key)


def _unpickle(data: bytes, path: Path) -> Any:
    try:
        for opcode, argument, _ in pickletools.genops(data):
            if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and int(argument or 0) > len(data):
                raise pickle.UnpicklingError(f"it has a memo of {argument}")  # for which pickle would take memory first
        return _Unpickler(data).load()
    except _Refused as refused:
        raise CheckpointError(
            f"{path} wants to run {refused}, which no tensor needs; nothing of it was run. "
            "Save the model's state_dict(), best as safetensors"
        ) from None
    except Exception as error:  # a broken pickle may raise anything
        raise unreadable(path, f"data.pkl: {type(error).__name__}: {error}") from error


def _state_dict(loaded: Any, path: Path) -> dict[str, _Tensor]:
    """The one dictionary of tensors that `loaded` is, or that it has among its values."""
    inner = {key: value for key, value in _items(loaded) if _holds_tensors(value)}
    if _holds_tensors(loaded):
        chosen = loaded
    elif len(inner) == 1:
        (chosen,) = inner.values()
    else:
        which = f"state dicts under {', '.join(sorted(map(repr, inner)))}" if inner else "no state dict of tensors"
        raise CheckpointError(f"{path} holds {which}; save the model's state_dict() alone")
    for name, value in _items(chosen):
        if not isinstance(name, str) or not isinstance(value, (_Tensor, *IGNORED_VALUES)):
            kind = "tensor" if isinstance(value, _Tensor) else type(value).__name__
            raise CheckpointError(f"{path} holds a {kind} under {name!r}; a state dict has tensors under names")
    return {name: value for name, value in _items(chosen) if isinstance(value, _Tensor)}


def _holds_tensors(value: Any) -> bool:
    return any(isinstance(item, _Tensor) for _, item in _items(value))


def _items(value: Any) -> Iterable[tuple[Any, Any]]:
    """Those of a dictionary; asked of its class, because a pickle can give an `OrderedDict` an attribute ``items``."""
    return dict.items(value) if isinstance(value, dict) else ()


def _stored(
    path: Path, file: BinaryIO, entries: dict[str, zipfile.ZipInfo], folder: str, name: str, tensor: _Tensor
) -> StoredTensor:
    """Checks all that a pickle said of a tensor, and finds its bytes."""
    storage, offset, shape, strides, type_name, metadata = tensor
    if not isinstance(storage, _Storage):
        raise unreadable(path, f"{name} has no storage")
    type_name = storage.type_name if type_name is None else type_name
    if not (
        isinstance(type_name, str)
        and type_name in TYPE_NAMES
        and all(isinstance(side, tuple) for side in (shape, strides))
        and all(type(number) is int and number >= 0 for number in (offset, *shape, *strides))
        and len(shape) == len(strides)
    ):
        raise unreadable(path, f"{name} is a {type_name} tensor of shape {shape}, strides {strides} and offset {offset}")
    if metadata:
        raise CheckpointError(f"{name} in {path} is stored with {metadata}, which is not supported; save it as safetensors")
    dtype = FLOAT_TYPES.get(type_name)
    if dtype is None:
        return StoredTensor(path, type_name, None, shape)
    entry = entries.get(f"{folder}data/{storage.key}")
    span = 1 + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True)) if prod(shape) else 0
    if entry is None or (span and (offset + span) * dtype.itemsize > entry.file_size):
        raise unreadable(path, f"the data of {name} are not in it")
    if entry.compress_type == zipfile.ZIP_STORED and _is_row_after_row(shape, strides):
        return StoredTensor(path, type_name, dtype, shape, _data_start(file, entry) + offset * dtype.itemsize)
    gather = partial(_gather, path, entry.filename, dtype, offset, span, shape, strides)
    return StoredTensor(path, type_name, dtype, shape, entry.header_offset, gather)


def _is_row_after_row(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    expected = 1
    for size, stride in zip(reversed(shape), reversed(strides), strict=True):
        if size != 1 and stride != expected:
            return not prod(shape)
        expected *= size
    return True


def _data_start(file: BinaryIO, entry: zipfile.ZipInfo) -> int:
    """The byte at which an uncompressed entry begins, behind its local header of 30 bytes, a name and padding."""
    file.seek(entry.header_offset)
    header = file.read(30)
    if len(header) < 30 or header[:4] != b"PK\x03\x04":
        raise zipfile.BadZipFile(f"the header of {entry.filename} is damaged")
    start = entry.header_offset + 30 + int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
    if file.seek(0, 2) < start + entry.file_size:
        raise zipfile.BadZipFile(f"{entry.filename} is cut off")
    return start


def _gather(
    path: Path, entry: str, dtype: np.dtype[Any], offset: int, span: int, shape: tuple[int, ...], strides: tuple[int, ...]
) -> np.ndarray:
    """Reads a tensor that is compressed, or whose elements are not row after row."""
    try:
        with zipfile.ZipFile(path) as archive, archive.open(entry) as stream:
            stream.seek(offset * dtype.itemsize)
            data = stream.read(span * dtype.itemsize)
        return np.ndarray(shape, dtype, buffer=data, strides=tuple(stride * dtype.itemsize for stride in strides))
    except (*DAMAGE, TypeError) as error:  # numpy's where fewer bytes were read
        raise unreadable(path, error) from error
