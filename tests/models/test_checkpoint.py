"""The files of a Hugging Face directory are found, and one that is missing or wrong is named."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from lamps_jax.models.checkpoint import read_checkpoint
from lamps_jax.models.stored_tensor import CheckpointError


def save(path: Path, **tensors: torch.Tensor) -> None:
    save_file(tensors, path) if path.suffix == ".safetensors" else torch.save(tensors, path)


def save_index(directory: Path, kind: str, shard_of: dict[str, str]) -> None:
    (directory / f"{kind}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": shard_of}))


def test_file_that_transformers_prefers_is_read_where_there_are_several(tmp_path: Path) -> None:
    for name, shape in (("model.safetensors", 1), ("pytorch_model.bin", 2)):
        save(tmp_path / name, w=torch.ones(shape))
    (stored,) = read_checkpoint(tmp_path).values()
    assert stored.shape == (1,)


@pytest.mark.parametrize("end", ["safetensors", "bin"])
def test_tensors_of_all_shards_are_listed(tmp_path: Path, end: str) -> None:
    kind = "model.safetensors" if end == "safetensors" else "pytorch_model.bin"
    save(tmp_path / f"1.{end}", a=torch.ones(2), b=torch.ones(3, dtype=torch.float16))
    save(tmp_path / f"2.{end}", c=torch.ones(4, dtype=torch.int32))
    save_index(tmp_path, kind, {"a": f"1.{end}", "b": f"1.{end}", "c": f"2.{end}"})
    stored = read_checkpoint(tmp_path)
    assert {name: (tensor.path.name, tensor.shape, tensor.dtype) for name, tensor in stored.items()} == {
        "a": (f"1.{end}", (2,), np.float32),
        "b": (f"1.{end}", (3,), np.float16),
        "c": (f"2.{end}", (4,), None),
    }


def test_tensor_that_two_shards_hold_is_read_from_where_the_index_says(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        save(tmp_path / f"{number}.safetensors", a=torch.ones(number), **{f"only{number}": torch.ones(1)})
    save_index(tmp_path, "model.safetensors", {"a": "2.safetensors", "only1": "1.safetensors", "only3": "3.safetensors"})
    stored = read_checkpoint(tmp_path)
    assert sorted(stored) == ["a", "only1", "only2", "only3"]
    assert stored["a"].shape == (2,)


def test_shards_that_the_index_names_but_are_missing_are_all_named(tmp_path: Path) -> None:
    save(tmp_path / "2.bin", a=torch.ones(1))
    save_index(tmp_path, "pytorch_model.bin", {"a": "2.bin", "b": "1.bin", "c": "3.bin"})
    with pytest.raises(
        CheckpointError, match=r"weights not found: .*/1\.bin, .*/3\.bin; pytorch_model\.bin\.index\.json names them"
    ):
        read_checkpoint(tmp_path)


def test_directory_without_weights_is_named_with_all_that_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / "weights.pt").touch()
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(tmp_path)
    assert str(caught.value) == (
        f"weights not found in {tmp_path}; looked for model.safetensors.index.json, model.safetensors, "
        "pytorch_model.bin.index.json, pytorch_model.bin"
    )


@pytest.mark.parametrize("text", ["{", "[]", "{}", *(json.dumps({"weight_map": wrong}) for wrong in ([1], {}, {"a": 1}, None))])
@pytest.mark.parametrize("kind", ["model.safetensors", "pytorch_model.bin"])
def test_broken_index_is_named(tmp_path: Path, kind: str, text: str) -> None:
    (tmp_path / f"{kind}.index.json").write_text(text)
    with pytest.raises(CheckpointError, match=rf"cannot read .*{kind}\.index\.json: "):
        read_checkpoint(tmp_path)


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_pointer_of_git_lfs_is_told_from_a_damaged_file(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n")
    with pytest.raises(CheckpointError, match=rf"{name} only points to the weights; fetch them with 'git lfs pull'"):
        read_checkpoint(tmp_path)


def test_unknown_type_of_a_tensor_is_no_obstacle_to_the_others(tmp_path: Path) -> None:
    save(tmp_path / "model.safetensors", a=torch.ones(2), flags=torch.ones(2, dtype=torch.bool))
    stored = read_checkpoint(tmp_path)
    assert (stored["flags"].type_name, stored["flags"].dtype) == ("BOOL", None)
    assert (stored["a"].type_name, stored["a"].dtype) == ("F32", np.float32)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2"])
def test_every_type_of_floating_point_is_known(tmp_path: Path, dtype: str) -> None:
    values = torch.arange(6).reshape(2, 3).to(getattr(torch, dtype))
    save(tmp_path / "model.safetensors", first=torch.ones(3), w=values)
    stored = read_checkpoint(tmp_path)["w"]
    assert stored.dtype is not None and stored.dtype.name == dtype
    with stored.path.open("rb") as file:
        file.seek(stored.start)
        np.testing.assert_array_equal(
            np.frombuffer(file.read(stored.nbytes), stored.dtype).reshape(2, 3).astype(float), values.double().numpy()
        )
