"""What `convert` writes comes back bit for bit, on one device or many; what is half written or damaged is refused."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
from transformers import LlamaConfig

from lamps_jax.models.orbax_files import DESCRIPTION, WEIGHTS
from lamps_jax.models.registry import LoadedModel, convert, load_model
from lamps_jax.models.weights import CheckpointError
from tests.factories import save_tiny_tokenizer
from tests.models.torch_pair import save_torch

CONFIG = LlamaConfig(
    vocab_size=96, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=8, max_position_embeddings=64,
    bos_token_id=0, eos_token_id=7, pad_token_id=0,
)  # fmt: skip


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("source")
    save_torch(directory, CONFIG)
    save_tiny_tokenizer(directory)
    return directory


def parameters(model: LoadedModel) -> dict[str, np.ndarray]:
    return {name: np.asarray(value) for name, value in zip(model.parameter_names, model.weights, strict=True)}


@pytest.mark.parametrize(("dtype", "quantize"), [("float32", None), ("bfloat16", None), ("bfloat16", "int8")])
def test_the_round_trip_is_bit_exact(dtype: str, quantize: str | None, source: Path, tmp_path: Path) -> None:
    convert(source, tmp_path / "out", dtype=dtype, quantize=quantize)
    before, after = load_model(source, dtype=dtype, quantize=quantize), load_model(tmp_path / "out", dtype=dtype)
    assert parameters(before).keys() == parameters(after).keys()
    for name, value in parameters(before).items():
        assert value.dtype == parameters(after)[name].dtype
        np.testing.assert_array_equal(value, parameters(after)[name], err_msg=name)
    assert after.eos_token_ids == before.eos_token_ids == (7,)


def test_without_a_type_the_checkpoints_own_is_kept(source: Path, tmp_path: Path) -> None:
    convert(source, tmp_path / "out")
    assert json.loads((tmp_path / "out" / DESCRIPTION).read_text()) == {"format": 1, "dtype": "float32", "quantize": None}


def test_configuration_and_tokenizer_go_along_and_nothing_else(source: Path, tmp_path: Path) -> None:
    directory = Path(shutil.copytree(source, tmp_path / "source"))
    (directory / "additional_chat_templates").mkdir()
    (directory / "additional_chat_templates" / "tool_use.jinja").write_text("{{ messages }}")
    (directory / "tokenizer.model").write_bytes(b"pieces")
    (directory / "pytorch_model.bin.index.json").write_text("{}")
    convert(directory, tmp_path / "out")
    for name in ("config.json", "tokenizer.json", "tokenizer.model", "additional_chat_templates/tool_use.jinja"):
        assert (tmp_path / "out" / name).read_bytes() == (directory / name).read_bytes()
    assert not any((tmp_path / "out" / name).exists() for name in ("model.safetensors", "pytorch_model.bin.index.json"))
    assert {path.name for path in tmp_path.iterdir()} == {"source", "out"}


@pytest.mark.slow
def test_weights_may_be_restored_as_another_type(source: Path, tmp_path: Path) -> None:
    convert(source, tmp_path / "out", dtype="float32")
    for name, value in parameters(load_model(source, dtype="bfloat16")).items():
        np.testing.assert_array_equal(parameters(load_model(tmp_path / "out", dtype="bfloat16"))[name], value, err_msg=name)


def test_an_existing_directory_is_not_touched(source: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="exists already; remove it"):
        convert(source, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_float_weights_are_not_quantised_in_passing(source: Path, tmp_path: Path) -> None:
    convert(source, tmp_path / "out")
    with pytest.raises(CheckpointError, match="are not quantised; convert them with --quantize int8"):
        load_model(tmp_path / "out", quantize="int8")


def test_weights_that_do_not_fit_the_configuration_are_named(source: Path, tmp_path: Path) -> None:
    convert(source, tmp_path / "out")
    config = json.loads((tmp_path / "out/config.json").read_text())
    (tmp_path / "out/config.json").write_text(json.dumps(config | {"num_hidden_layers": 3, "intermediate_size": 95}))
    with pytest.raises(CheckpointError, match=r"missing: blocks\.2\.\S+weight; .*up_proj\.weight is \[96, 64\], not \[95, 64\]"):
        load_model(tmp_path / "out")


@pytest.mark.parametrize("damage", ["a lost file", "a shortened file", "no description"])
def test_a_damaged_checkpoint_is_refused_in_one_line(damage: str, source: Path, tmp_path: Path) -> None:
    convert(source, tmp_path / "out")
    largest = max((tmp_path / "out" / WEIGHTS).rglob("*"), key=lambda path: path.stat().st_size if path.is_file() else 0)
    if damage == "a lost file":
        largest.unlink()
    elif damage == "a shortened file":
        os.truncate(largest, largest.stat().st_size // 2)
    else:
        (tmp_path / "out" / DESCRIPTION).write_text("{")
    # In a process of its own: Orbax leaves coroutines behind that it never awaited, and Python warns of them when it ends.
    program = f"""
        from pathlib import Path
        from lamps_jax.models.registry import load_model
        from lamps_jax.models.weights import CheckpointError

        try:
            load_model(Path({str(tmp_path / "out")!r}))
        except CheckpointError as error:
            print(error)
    """
    child = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True)
    assert re.fullmatch(r"cannot (restore|read) [^\n]+\n", child.stdout)


@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.long)])
@pytest.mark.slow
def test_an_interrupted_conversion_leaves_nothing_that_looks_finished(kind: signal.Signals, source: Path, tmp_path: Path) -> None:
    program = f"""
        import signal, time
        from pathlib import Path
        import orbax.checkpoint as ocp
        from lamps_jax.models.registry import convert

        signal.signal(signal.SIGINT, signal.default_int_handler)  # it may have been ignored where the tests were started
        wait = ocp.StandardCheckpointer.wait_until_finished
        def hang(self):
            wait(self)
            print("written", flush=True)
            time.sleep(60)
        ocp.StandardCheckpointer.wait_until_finished = hang
        convert(Path({str(source)!r}), Path({str(tmp_path / "out")!r}))
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None and process.stdout.readline() == b"written\n"
        time.sleep(0.1)
        process.send_signal(kind)
    assert process.returncode != 0
    assert not (tmp_path / "out").exists()
    assert all(path.name.startswith(".out-unfinished-") for path in tmp_path.iterdir())
    convert(source, tmp_path / "out")  # what is left does not stand in the way
    load_model(tmp_path / "out")


@pytest.mark.slow
def test_weights_are_restored_in_parts_onto_eight_devices(source: Path, tmp_path: Path) -> None:
    convert(source, tmp_path / "out")
    program = f"""
        import jax, numpy as np
        from pathlib import Path
        from jax.sharding import Mesh
        from lamps_jax.models.registry import load_model

        mesh = Mesh(np.array(jax.devices()).reshape(1, 8), ("data", "model"))
        whole, parts = load_model(Path({str(tmp_path / "out")!r})), load_model(Path({str(tmp_path / "out")!r}), mesh=mesh)
        for name, one, many in zip(whole.parameter_names, whole.weights, parts.weights, strict=True):
            np.testing.assert_array_equal(np.asarray(one), np.asarray(many), err_msg=name)
            if "proj.weight" in name:
                assert many.addressable_shards[0].data.size == one.size // 8, name
    """
    environment = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=8", "JAX_PLATFORMS": "cpu"}
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], env=environment, check=True)
