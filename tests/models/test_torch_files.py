"""Files of torch.save are read as PyTorch reads them, and nothing in them is ever run."""

import io
import os
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lamps_jax.models.stored_tensor import CheckpointError, StoredTensor, read_cast
from lamps_jax.models.torch_files import FLOAT_TYPES, read_torch_file
from tests.properties import examples

DTYPES = [getattr(torch, name) for name in FLOAT_TYPES]


def bits(tensor: torch.Tensor) -> bytes:
    plain = torch.empty(tensor.numel(), dtype=tensor.dtype)  # contiguous also where PyTorch would not mind
    return plain.copy_(tensor.detach().reshape(-1)).view(torch.uint8).numpy().tobytes()


def read(tensor: StoredTensor) -> np.ndarray:
    assert tensor.dtype is not None
    with ThreadPoolExecutor(2) as executor:
        return read_cast(tensor, tensor.dtype, tuple(slice(0, size) for size in tensor.shape), executor)


def check(path: Path, expected: dict[str, torch.Tensor]) -> None:
    """The file at `path` holds what PyTorch finds in it, bit for bit."""
    stored = read_torch_file(path)
    assert list(stored) == list(expected)
    for name, tensor in expected.items():
        assert f"torch.{stored[name].type_name}" == str(tensor.dtype)
        assert stored[name].shape == tuple(tensor.shape)
        assert read(stored[name]).tobytes() == bits(tensor), name


def edit_archive(path: Path, change: Callable[[dict[str, bytes]], object], *, compression: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    change(entries)
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)


def save_pickle(path: Path, data: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", data)
        archive.writestr("archive/data/0", bytes(64))
        archive.writestr("archive/version", b"3\n")
    return path


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    path = tmp_path / "pytorch_model.bin"
    torch.save({"weight": torch.randn(5, 7), "bias": torch.randn(7).bfloat16()}, path)
    return path


@st.composite
def state_dicts(draw: st.DrawFn) -> dict[str, torch.Tensor]:
    """Tensors of every type of floating point, some of them views of one another in every way that PyTorch has."""
    tensors: list[torch.Tensor] = []
    for _ in range(draw(st.integers(1, 5))):
        if tensors and draw(st.booleans()):
            tensor = draw(st.sampled_from(tensors))
        else:
            shape = draw(st.lists(st.integers(0, 4), max_size=3))
            raw = torch.tensor(draw(st.lists(st.floats(-9, 9, width=32), min_size=1, max_size=8)))
            size = int(np.prod(shape, dtype=int))
            tensor = raw.repeat(size // len(raw) + 1)[:size].reshape(shape).to(draw(st.sampled_from(DTYPES)))
        for _ in range(draw(st.integers(0, 2))):
            if not tensor.ndim:
                break
            axis = draw(st.integers(0, tensor.ndim - 1))
            match draw(st.sampled_from(["transpose", "step", "narrow", "expand", "select"])):
                case "transpose":
                    tensor = tensor.transpose(0, axis)
                case "step":
                    index = [slice(None)] * tensor.ndim
                    index[axis] = slice(draw(st.integers(0, 1)), None, draw(st.integers(1, 3)))
                    tensor = tensor[tuple(index)]
                case "narrow":
                    tensor = tensor.narrow(axis, begin := draw(st.integers(0, tensor.shape[axis])), tensor.shape[axis] - begin)
                case "expand":
                    tensor = tensor.unsqueeze(axis).expand(*tensor.shape[:axis], 2, *tensor.shape[axis:])
                case "select" if tensor.shape[axis]:
                    tensor = tensor.select(axis, draw(st.integers(0, tensor.shape[axis] - 1)))
        tensors.append(tensor)
    return {f"layer.{number}": tensor for number, tensor in enumerate(tensors)}


@settings(max_examples=examples(100))
@given(state_dict=state_dicts(), compression=st.sampled_from([None, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]))
def test_every_state_dict_is_read_bit_for_bit_as_pytorch_reads_it(
    state_dict: dict[str, torch.Tensor], compression: int | None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "random.bin"
    torch.save(state_dict, path)
    if compression is not None:
        edit_archive(path, lambda entries: None, compression=compression)
    check(path, torch.load(path, weights_only=True))


def test_state_dict_of_a_module_with_its_metadata_is_read(tmp_path: Path) -> None:
    module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.LayerNorm(4), torch.nn.BatchNorm1d(4)).half()
    torch.save(module.state_dict(), tmp_path / "model.bin")
    stored = read_torch_file(tmp_path / "model.bin")
    assert stored.pop("2.num_batches_tracked").dtype is None
    for name, tensor in stored.items():
        assert read(tensor).tobytes() == bits(module.state_dict()[name]), name


def test_parameters_are_tensors(tmp_path: Path) -> None:
    weight = torch.nn.Parameter(torch.randn(2, 3))
    torch.save({"weight": weight}, tmp_path / "model.bin")
    check(tmp_path / "model.bin", {"weight": weight})


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.bool, torch.complex64, torch.uint16])
def test_tensor_that_is_not_of_floating_point_keeps_the_name_of_its_type(tmp_path: Path, dtype: torch.dtype) -> None:
    torch.save({"ids": torch.zeros(2, 3, dtype=dtype), "w": torch.ones(1)}, tmp_path / "model.bin")
    stored = read_torch_file(tmp_path / "model.bin")["ids"]
    assert (f"torch.{stored.type_name}", stored.dtype, stored.shape) == (str(dtype), None, (2, 3))


def test_no_tensor_is_read_before_it_is_asked_for(saved: Path) -> None:
    stored = read_torch_file(saved)["weight"]
    with saved.open("r+b") as file:
        file.seek(stored.start)
        file.write(np.full((5, 7), 3, np.float32).tobytes())
    np.testing.assert_array_equal(read(stored), np.full((5, 7), 3))


@pytest.mark.parametrize("around", [{}, {"epoch": 3, "optimizer": {"state": {0: {"step": 1}}, "param_groups": [{"lr": 0.1}]}}])
@pytest.mark.parametrize("key", ["state_dict", "model"])
def test_state_dict_inside_a_dictionary_is_found(tmp_path: Path, key: str, around: dict[str, Any]) -> None:
    state_dict = {"weight": torch.randn(3)}
    torch.save(around | {key: state_dict}, tmp_path / "model.bin")
    check(tmp_path / "model.bin", state_dict)


def test_plain_values_beside_tensors_are_passed_over(tmp_path: Path) -> None:
    torch.save({"epoch": 3, "name": "x", "none": None, "loss": 0.5, "weight": torch.ones(2)}, tmp_path / "model.bin")
    check(tmp_path / "model.bin", {"weight": torch.ones(2)})


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({}, "holds no state dict of tensors"),
        ([torch.ones(1)], "holds no state dict of tensors"),
        ({"epoch": 3}, "holds no state dict of tensors"),
        (torch.ones(1), "holds no state dict of tensors"),
        ({"b": {"w": torch.ones(1)}, "a": {"w": torch.ones(1)}}, "holds state dicts under 'a', 'b'; save the model's state_dict"),
        ({"w": torch.ones(1), "more": [torch.ones(1)]}, "holds a list under 'more'"),
        ({"w": torch.ones(1), 7: torch.ones(1)}, "holds a tensor under 7"),
    ],
)
def test_file_that_is_no_state_dict_is_refused_with_what_it_holds(tmp_path: Path, value: Any, message: str) -> None:
    torch.save(value, tmp_path / "model.bin")
    with pytest.raises(CheckpointError, match=f"model.bin {message}"):
        read_torch_file(tmp_path / "model.bin")


def test_whole_module_is_refused_with_its_class_and_what_to_save_instead(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(2, 2), tmp_path / "model.bin")
    with pytest.raises(
        CheckpointError, match=r"model.bin wants to run torch\.nn\.modules\.linear\.Linear.*Save the model's state_dict\(\)"
    ):
        read_torch_file(tmp_path / "model.bin")


def test_sparse_tensor_is_refused_by_name(tmp_path: Path) -> None:
    with torch.sparse.check_sparse_tensor_invariants(False):
        torch.save({"w": torch.eye(3).to_sparse()}, tmp_path / "model.bin")
    with pytest.raises(CheckpointError, match=r"_rebuild_sparse_tensor"):
        read_torch_file(tmp_path / "model.bin")


class Calls:
    """Pickled as a call of `function`."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def touch(path: str) -> str:
    return f"__import__('pathlib').Path('{path}').touch()"


def opcodes(text: str) -> Callable[[str], bytes]:
    return lambda path: text.replace("CODE", touch(path)).replace("SHELL", f"touch {path}").encode()


def nested_file(path: str) -> bytes:
    torch.save(Calls(eval, touch(path)), stream := io.BytesIO())
    return stream.getvalue()


def dotted_name(path: str) -> bytes:
    """A call of ``os.system`` by way of a module that has imported ``os``."""
    names = b"".join(b"\x8c" + bytes([len(name)]) + name for name in (b"torch.serialization", b"os.system"))
    return b"\x80\x04" + names + b"\x93" + pickle.dumps((f"touch {path}",), protocol=4)[2:-1] + b"R."


ATTACKS: dict[str, Callable[[str], bytes]] = {
    "os.system": lambda path: pickle.dumps(Calls(os.system, f"touch {path}")),
    "os.system in protocol 0": lambda path: pickle.dumps(Calls(os.system, f"touch {path}"), protocol=0),
    "exec": lambda path: pickle.dumps(Calls(exec, touch(path))),
    "eval among tensors": lambda path: pickle.dumps({"weight": Calls(eval, touch(path))}, protocol=2),
    "eval in the arguments of a tensor": lambda path: pickle.dumps(
        Calls(torch._utils._rebuild_parameter, Calls(eval, touch(path)), False, None), protocol=2
    ),
    "functools.partial": lambda path: pickle.dumps(Calls(partial(eval, touch(path)))),
    "opening a file": lambda path: pickle.dumps(Calls(open, path, "w"), protocol=2),
    "getattr of a module": opcodes('cbuiltins\ngetattr\n(cbuiltins\n__import__\n(S"os"\ntRS"system"\ntR(S"SHELL"\ntR.'),
    "dotted name": dotted_name,
    "GLOBAL": opcodes('cbuiltins\nexec\n(S"CODE"\ntR.'),
    "GLOBAL in Python 2": opcodes('c__builtin__\neval\n(S"CODE"\ntR.'),
    "INST": opcodes('(S"SHELL"\nios\nsystem\n.'),
    "OBJ": opcodes('(cpathlib\nPath\nS"/"\no0cbuiltins\neval\n(S"CODE"\ntR.'),
    "state of a known class": opcodes('ccollections\nOrderedDict\n)R(dS"a"\ncbuiltins\neval\n(S"CODE"\ntRsb.'),
    "persistent id": lambda path: pickle.dumps(Calls(eval, touch(path)), protocol=2)[:-1] + b"Q.",
    "pickle in a storage": lambda path: pickle.dumps(Calls(torch.storage._load_from_bytes, nested_file(path)), protocol=2),
}


class TrustingUnpickler(pickle.Unpickler):
    def persistent_load(self, pid: Any) -> None:
        return None


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_attack_that_pickle_falls_for_is_refused_and_not_run(tmp_path: Path, attack: str) -> None:
    victim = tmp_path / "victim"
    payload = ATTACKS[attack](str(victim))
    TrustingUnpickler(io.BytesIO(payload)).load()
    assert victim.exists(), "the attack is none"
    victim.unlink()
    with pytest.raises(CheckpointError, match=r"wants to run [\w.]+, which no tensor needs; nothing of it was run"):
        read_torch_file(save_pickle(tmp_path / "model.bin", payload))
    assert not victim.exists()


def test_file_cannot_change_how_the_next_one_is_read(tmp_path: Path, saved: Path) -> None:
    expected = torch.load(saved, weights_only=True)
    for function in ("_rebuild_tensor_v2", "_rebuild_parameter"):
        for state in ('}S"x"\nI1\ns', '(N}S"__defaults__"\n(tst', '(N}S"__call__"\nI1\nst'):
            path = save_pickle(tmp_path / "model.bin", f"ctorch._utils\n{function}\n{state}b.".encode())
            with pytest.raises(CheckpointError):
                read_torch_file(path)
    check(saved, expected)


class Reference:
    """Pickled as a reference to a storage."""

    def __init__(self, *pid: Any) -> None:
        self.pid = pid


class ReferencePickler(pickle.Pickler):
    def persistent_id(self, obj: Any) -> Any:
        return obj.pid if isinstance(obj, Reference) else None


def tensor_pickle(
    *, storage: Any = None, offset: Any = 0, shape: Any = (2, 2), strides: Any = (2, 1), metadata: Any = None, protocol: int = 2
) -> bytes:
    """A pickle of a tensor on the storage ``data/0`` of 64 bytes."""
    storage = storage or Reference("storage", torch.FloatStorage, "0", "cpu", 16)
    arguments = (storage, offset, shape, strides, False, None, metadata)
    ReferencePickler(stream := io.BytesIO(), protocol).dump({"w": Calls(torch._utils._rebuild_tensor_v2, *arguments)})
    return stream.getvalue()


@pytest.mark.parametrize("protocol", range(6))
def test_tensor_of_every_protocol_is_read(tmp_path: Path, protocol: int) -> None:
    stored = read_torch_file(save_pickle(tmp_path / "model.bin", tensor_pickle(protocol=max(1, protocol))))["w"]
    np.testing.assert_array_equal(read(stored), np.zeros((2, 2)))


@pytest.mark.parametrize(
    "wrong",
    [
        {"offset": 13},
        {"offset": -1},
        {"offset": "0"},
        {"shape": (2, 8), "strides": (9, 1)},
        {"shape": (2**62, 2**62)},
        {"shape": (-2, 2)},
        {"shape": (2,)},
        {"shape": [2, 2]},
        {"strides": (-2, 1)},
        {"strides": (2.0, 1.0)},
        {"storage": "0"},
        {"storage": Reference("storage", torch.FloatStorage, "1", "cpu", 16)},
        {"storage": Reference("storage", torch.storage.UntypedStorage, "0", "cpu", 16)},
        {"storage": Reference("storage", ["float32"], "0", "cpu", 16)},
        {"storage": Reference("module", torch.FloatStorage, "0", "cpu", 16)},
        {"storage": Reference("storage", torch.FloatStorage, "0")},
        {"storage": Reference()},
        {"metadata": {"neg": True}},
    ],
    ids=lambda wrong: ", ".join(f"{key} {getattr(value, 'pid', value)}" for key, value in wrong.items()),
)
def test_tensor_that_its_file_does_not_hold_is_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    path = save_pickle(tmp_path / "model.bin", tensor_pickle(**wrong))
    with pytest.raises(CheckpointError, match=r"model\.bin"):
        read_torch_file(path)


def test_dictionary_whose_methods_the_pickle_replaces_is_read_all_the_same(tmp_path: Path) -> None:
    class Disguised(dict[str, Any]):
        def __reduce__(self) -> Any:
            return OrderedDict, (), {"items": OrderedDict, "values": OrderedDict}, None, iter(dict.items(self))

    storage = Reference("storage", torch.FloatStorage, "0", "cpu", 16)
    tensor = Calls(torch._utils._rebuild_tensor_v2, storage, 0, (2, 2), (2, 1), False, None)
    ReferencePickler(stream := io.BytesIO(), 2).dump(Disguised(w=tensor))
    assert list(read_torch_file(save_pickle(tmp_path / "model.bin", stream.getvalue()))) == ["w"]


def test_memo_that_would_take_gigabytes_is_refused(tmp_path: Path) -> None:
    path = save_pickle(tmp_path / "model.bin", b"\x80\x02Nr\xff\xff\xff\xff.")
    with pytest.raises(CheckpointError, match=r"cannot read .*model\.bin: data\.pkl: .* memo"):
        read_torch_file(path)


def test_format_of_before_1_6_is_refused_with_the_remedy(tmp_path: Path) -> None:
    torch.save({"w": torch.ones(2)}, tmp_path / "model.bin", _use_new_zipfile_serialization=False)
    with pytest.raises(CheckpointError, match=r"model\.bin is in PyTorch's format from before 1\.6; .*torch\.save it again"):
        read_torch_file(tmp_path / "model.bin")


def test_big_endian_file_is_refused(saved: Path) -> None:
    edit_archive(saved, lambda entries: entries.update({"pytorch_model/byteorder": b"big"}))
    with pytest.raises(CheckpointError, match=r"pytorch_model\.bin was saved on a big-endian machine"):
        read_torch_file(saved)


@pytest.mark.parametrize("content", [b"", b"P", b"garbage", b"PK\x03\x04", b"\x00" * 100])
def test_file_that_is_no_archive_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.bin").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"cannot read .*model\.bin: .*; is the file complete\?"):
        read_torch_file(tmp_path / "model.bin")


def test_archive_without_one_pickle_is_named(saved: Path) -> None:
    edit_archive(saved, lambda entries: entries.pop("pytorch_model/data.pkl"))
    with pytest.raises(CheckpointError, match=r"it has 0 entries data\.pkl"):
        read_torch_file(saved)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99, 0.999])
def test_file_cut_off_anywhere_is_named(saved: Path, share: float) -> None:
    saved.write_bytes(saved.read_bytes()[: int(share * saved.stat().st_size)])
    with pytest.raises(CheckpointError, match=r"cannot read .*pytorch_model\.bin: .*; is the file complete\?"):
        read_torch_file(saved)


def test_file_cut_off_after_it_was_opened_is_named(saved: Path) -> None:
    stored = read_torch_file(saved)["weight"]
    saved.write_bytes(saved.read_bytes()[: stored.start + 8])
    with pytest.raises(CheckpointError, match=r"cannot read .*pytorch_model\.bin: it ends 132 bytes before the end of a tensor"):
        read(stored)


def test_compressed_file_that_is_damaged_is_named(saved: Path) -> None:
    edit_archive(saved, lambda entries: None, compression=zipfile.ZIP_DEFLATED)
    stored = read_torch_file(saved)["weight"]
    content = bytearray(saved.read_bytes())
    content[stored.start + 60 : stored.start + 90] = bytes(30)
    saved.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"cannot read .*pytorch_model\.bin"):
        read(stored)


@settings(max_examples=examples(200), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=st.floats(0, 1, exclude_max=True), byte=st.integers(0, 255), compressed=st.booleans())
def test_file_with_a_wrong_byte_is_read_or_refused(saved: Path, where: float, byte: int, compressed: bool) -> None:
    path = saved.parent / "spoilt.bin"
    path.write_bytes(saved.read_bytes())
    if compressed:
        edit_archive(path, lambda entries: None, compression=zipfile.ZIP_DEFLATED)
    content = bytearray(path.read_bytes())
    content[int(where * len(content))] = byte
    path.write_bytes(content)
    try:
        for tensor in read_torch_file(path).values():
            if tensor.dtype is not None and tensor.nbytes < 2**20:
                read(tensor)
    except CheckpointError as error:
        assert "spoilt.bin" in str(error)


@settings(max_examples=examples(200), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_pickle_with_wrong_bytes_is_read_or_refused(saved: Path, data: st.DataObject) -> None:
    path = saved.parent / "spoilt.bin"
    path.write_bytes(saved.read_bytes())

    def spoil(entries: dict[str, bytes]) -> None:
        content = bytearray(entries["pytorch_model/data.pkl"])
        for at in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=4)):
            content[at] = data.draw(st.integers(0, 255))
        entries["pytorch_model/data.pkl"] = bytes(content)

    edit_archive(path, spoil)
    try:
        read_torch_file(path)
    except CheckpointError as error:
        assert "spoilt.bin" in str(error)
