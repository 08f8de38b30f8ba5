"""Weights come back as they were saved, and a file that does not fit is refused with every tensor that is wrong."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from safetensors.numpy import load_file, save_file
from safetensors.torch import save_file as save_torch_file
from transformers import GPTJForCausalLM

from lamps_jax.models import stored_tensor
from lamps_jax.models.gptj import GPTJ, HF_BUFFERS, HF_NAMES
from lamps_jax.models.layers import quantize_int8
from lamps_jax.models.weights import (
    CheckpointError,
    Parameters,
    abstract_parameters,
    bind,
    hf_names,
    initial_parameters,
    load_hf_weights,
    random_parameters,
    save_hf_directory,
)
from tests.factories import gptj_config, save_torch_gptj

CONFIG = gptj_config()
ROOT = Path(__file__).parents[2]


def build() -> GPTJ:
    return GPTJ(CONFIG, rngs=nnx.Rngs(3))


def load(
    directory: Path,
    *,
    build: Callable[[], GPTJ] = build,
    base_prefix: str = "",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Parameters:
    abstract = abstract_parameters(build)[1]
    names = hf_names(HF_NAMES, abstract, CONFIG.num_layers)
    return load_hf_weights(directory, abstract, names, ignored=HF_BUFFERS, base_prefix=base_prefix, progress=progress)


@pytest.fixture(scope="module")
def parameters() -> Parameters:
    return initial_parameters(build)[1]


@pytest.fixture
def saved(parameters: Parameters, tmp_path: Path) -> Path:
    save_hf_directory(tmp_path, CONFIG, parameters, dtype=jnp.float32)
    return tmp_path


def assert_equal(loaded: Parameters, expected: Parameters) -> None:
    assert list(loaded) == list(expected)
    for name, value in expected.items():
        np.testing.assert_array_equal(loaded[name], value, err_msg=name)


def edit(directory: Path, change: Callable[[dict[str, np.ndarray]], object]) -> None:
    path = directory / "model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


def test_parameters_survive_saving_and_loading(saved: Path, parameters: Parameters) -> None:
    assert_equal(load(saved), parameters)


def test_abstract_parameters_are_the_shapes_of_the_initial_ones() -> None:
    graph, parameters = initial_parameters(build)
    abstract_graph, abstract = abstract_parameters(build)
    assert graph == abstract_graph
    assert {name: (x.shape, x.dtype) for name, x in parameters.items()} == {
        name: (x.shape, x.dtype) for name, x in abstract.items()
    }


def test_bound_model_has_the_parameters_given_to_it() -> None:
    graph, parameters = initial_parameters(build)
    bound = bind(graph, {name: value + 1 for name, value in parameters.items()})
    np.testing.assert_array_equal(bound.blocks[1].q_proj.weight[...], parameters["blocks.1.q_proj.weight"] + 1)


def test_every_parameter_has_one_name_of_its_own_in_a_checkpoint() -> None:
    names = hf_names(HF_NAMES, abstract_parameters(build)[1], CONFIG.num_layers)
    assert set(names) == set(abstract_parameters(build)[1])
    assert len(set(names.values())) == len(names)


def test_transformers_reads_what_we_save(saved: Path, parameters: Parameters) -> None:
    model, report = GPTJForCausalLM.from_pretrained(saved, output_loading_info=True)
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    theirs = dict(model.named_parameters())
    for name, value in parameters.items():
        np.testing.assert_array_equal(theirs[hf_names(HF_NAMES, parameters, 2)[name]].detach().numpy(), value, err_msg=name)


def test_bfloat16_checkpoint_keeps_its_bits(tmp_path: Path) -> None:
    save_torch_gptj(tmp_path, CONFIG).to(torch.bfloat16).save_pretrained(tmp_path)
    theirs = GPTJForCausalLM.from_pretrained(tmp_path, dtype=torch.bfloat16).lm_head.weight.detach().float().numpy()
    np.testing.assert_array_equal(load(tmp_path)["output.weight"], theirs)


def test_shards_give_what_one_file_gives(tmp_path: Path) -> None:
    model = save_torch_gptj(tmp_path / "whole", CONFIG)
    model.save_pretrained(tmp_path / "shards", max_shard_size="20KB")
    assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 2
    assert_equal(load(tmp_path / "shards"), load(tmp_path / "whole"))


def test_progress_counts_the_bytes_of_the_checkpoint(tmp_path: Path) -> None:
    save_torch_gptj(tmp_path / "whole", CONFIG).half().save_pretrained(tmp_path / "shards", max_shard_size="20KB")
    shards = [load_file(path) for path in sorted((tmp_path / "shards").glob("*.safetensors"))]
    sizes = [sum(tensor.nbytes for tensor in shard.values()) for shard in shards]
    seen: list[tuple[int, int]] = []
    load(tmp_path / "shards", progress=lambda done, total: seen.append((done, total)))
    assert {total for _, total in seen} == {sum(sizes)}
    done = [done for done, _ in seen]
    assert done == sorted(set(done)) and len(done) == sum(map(len, shards))
    assert {sum(sizes[:number]) for number in range(1, len(sizes) + 1)} <= set(done)  # one shard after the other


def test_buffers_of_old_checkpoints_are_passed_over(saved: Path) -> None:
    edit(saved, lambda tensors: tensors.update({f"transformer.h.0{end}": np.zeros(1, np.float32) for end in HF_BUFFERS}))
    load(saved)


def test_all_that_does_not_fit_is_named_in_one_error(saved: Path) -> None:
    def spoil(tensors: dict[str, np.ndarray]) -> None:
        del tensors["transformer.h.1.attn.k_proj.weight"], tensors["lm_head.bias"]
        tensors["transformer.h.0.attn.k_proj.bias"] = tensors["transformer.h.2.ln_1.bias"] = np.zeros(3, np.float32)
        tensors["transformer.wte.weight"] = np.zeros((5, 32), np.float32)
        tensors["transformer.ln_f.weight"] = np.zeros((32, 1), np.float32)

    edit(saved, spoil)
    with pytest.raises(CheckpointError) as caught:
        load(saved)
    message = str(caught.value)
    assert str(saved) in message
    assert "missing: lm_head.bias, transformer.h.1.attn.k_proj.weight;" in message
    assert "not part of this model: transformer.h.0.attn.k_proj.bias, transformer.h.2.ln_1.bias;" in message
    assert "transformer.ln_f.weight is [32, 1], not [32]" in message
    assert "transformer.wte.weight is [5, 32], not [96, 32]" in message


@pytest.mark.parametrize("kept_bytes", [0, 5, 200, -100])
def test_truncated_file_is_named_with_the_question_whether_it_is_complete(saved: Path, kept_bytes: int) -> None:
    path = saved / "model.safetensors"
    path.write_bytes(path.read_bytes()[:kept_bytes])
    with pytest.raises(CheckpointError, match=r"cannot read .*model\.safetensors: .*; is the file complete\?"):
        load(saved)


def test_bin_file_gives_what_safetensors_give(tmp_path: Path) -> None:
    model = save_torch_gptj(tmp_path / "safe", CONFIG)
    (tmp_path / "bin").mkdir()
    torch.save(model.state_dict(), tmp_path / "bin/pytorch_model.bin")
    assert_equal(load(tmp_path / "bin"), load(tmp_path / "safe"))


def test_sharded_bin_files_give_what_safetensors_give(tmp_path: Path) -> None:
    state_dict = save_torch_gptj(tmp_path / "safe", CONFIG).state_dict()
    (tmp_path / "bin").mkdir()
    shard_of = {name: f"pytorch_model-0000{1 + number % 3}-of-00003.bin" for number, name in enumerate(state_dict)}
    for shard in set(shard_of.values()):
        torch.save({name: tensor for name, tensor in state_dict.items() if shard_of[name] == shard}, tmp_path / "bin" / shard)
    (tmp_path / "bin/pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": shard_of}))
    assert_equal(load(tmp_path / "bin"), load(tmp_path / "safe"))


def test_weights_that_pytorch_saved_transposed_or_shared_are_read(tmp_path: Path) -> None:
    state_dict = save_torch_gptj(tmp_path / "safe", CONFIG).state_dict()
    (tmp_path / "bin").mkdir()
    both = torch.cat([state_dict["lm_head.weight"], state_dict["transformer.wte.weight"]])
    state_dict["lm_head.weight"], state_dict["transformer.wte.weight"] = both[:96], both[96:]
    for name, tensor in state_dict.items():
        if "mlp" in name and tensor.ndim == 2:
            state_dict[name] = tensor.T.contiguous().T
    torch.save({"state_dict": state_dict, "epoch": 1}, tmp_path / "bin/pytorch_model.bin")
    assert_equal(load(tmp_path / "bin"), load(tmp_path / "safe"))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("ours", ["float32", "bfloat16", "float16"])
def test_every_type_is_cast_to_every_other(tmp_path: Path, dtype: torch.dtype, ours: str) -> None:
    model = save_torch_gptj(tmp_path, CONFIG).to(dtype)
    model.save_pretrained(tmp_path)
    loaded = load(tmp_path, build=lambda: GPTJ(CONFIG, dtype=ours, rngs=nnx.Rngs(0)))
    assert loaded["output.weight"].dtype == ours
    theirs = model.lm_head.weight.detach().to(getattr(torch, ours)).double().numpy()
    np.testing.assert_array_equal(loaded["output.weight"].astype(np.float32), theirs.astype(np.float32))
    assert loaded["output.bias"].dtype == np.float32


def test_checkpoint_whose_names_lack_the_prefix_is_read(saved: Path, parameters: Parameters) -> None:
    def shorten(tensors: dict[str, np.ndarray]) -> None:
        for name in list(tensors):
            tensors[name.removeprefix("transformer.")] = tensors.pop(name)

    edit(saved, shorten)
    assert_equal(load(saved, base_prefix="transformer."), parameters)
    with pytest.raises(CheckpointError, match=r"missing: transformer\.h\.0.*not part of this model: h\.0"):
        load(saved)


def test_many_problems_are_counted_and_the_first_are_named(saved: Path) -> None:
    def rename(tensors: dict[str, np.ndarray]) -> None:
        for name in [name for name in tensors if name != "lm_head.weight"]:
            tensors[f"model.{name}"] = tensors.pop(name)

    edit(saved, rename)
    missing = len(hf_names(HF_NAMES, abstract_parameters(build)[1], CONFIG.num_layers)) - 1
    with pytest.raises(CheckpointError) as caught:
        load(saved)
    first, second = str(caught.value).split("; ")[1:]
    for text, what in ((first, "missing"), (second, "not part of this model")):
        names, rest = text.removeprefix(f"{what}: ").split(" and ")
        assert len(names.split(", ")) == 20
        assert rest == f"{missing - 20} more"


def test_problems_of_all_shards_and_kinds_are_named_before_anything_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state_dict = save_torch_gptj(tmp_path / "safe", CONFIG).state_dict()
    state_dict["transformer.wte.weight"] = torch.ones(5, 32)
    state_dict["lm_head.bias"] = torch.ones(96, dtype=torch.int64)
    state_dict["surplus"] = state_dict.pop("transformer.ln_f.bias")
    shard_of = {name: f"{number % 4}.bin" for number, name in enumerate(state_dict)}
    for shard in set(shard_of.values()):
        torch.save({name: tensor for name, tensor in state_dict.items() if shard_of[name] == shard}, tmp_path / shard)
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": shard_of}))
    monkeypatch.setattr(stored_tensor, "read_bytes", lambda *_: pytest.fail("data were read"))
    with pytest.raises(CheckpointError) as caught:
        load(tmp_path, progress=lambda *_: pytest.fail("progress was made"))
    assert str(caught.value) == (
        f"the weights in {tmp_path} do not fit its configuration; missing: transformer.ln_f.bias; "
        "not part of this model: surplus; "
        "of another shape: transformer.wte.weight is [5, 32], not [96, 32]; "
        "not of floating point: lm_head.bias is int64"
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_quantised_parameters_are_those_of_the_float_weights(tmp_path: Path, dtype: torch.dtype) -> None:
    save_torch_gptj(tmp_path, CONFIG).to(dtype).save_pretrained(tmp_path)
    plain = load(tmp_path)
    quantised = load(tmp_path, build=lambda: GPTJ(CONFIG, quantize="int8", rngs=nnx.Rngs(0)))
    assert list(quantised) == list(abstract_parameters(lambda: GPTJ(CONFIG, quantize="int8", rngs=nnx.Rngs(0)))[1])
    assert {name for name in quantised if name not in plain} == {
        name.removesuffix("weight") + "scale" for name in plain if plain[name].ndim == 2 and name != "embedding.weight"
    }
    for name, value in plain.items():
        if (scale_name := name.removesuffix("weight") + "scale") in quantised:
            weight, scale = quantize_int8(value)
            np.testing.assert_allclose(quantised[scale_name], scale, rtol=1e-6)
            off = np.abs(np.asarray(quantised[name], np.int32) - np.asarray(weight, np.int32))
            assert off.max() <= 1 and off.mean() < 0.01  # where a last bit decides between two integers
            assert quantised[name].dtype == np.int8
        else:
            np.testing.assert_array_equal(quantised[name], value, err_msg=name)


def run_python(program: str, *arguments: object, **environment: str) -> dict[str, Any]:
    """What a program prints as JSON that starts with nothing imported."""
    command = [sys.executable, "-W", "error", "-c", program, *map(str, arguments)]
    out = subprocess.check_output(command, text=True, env=os.environ | environment, timeout=240, cwd=ROOT)
    return json.loads(out)


ON_EIGHT_DEVICES = """
import hashlib, json, sys
from pathlib import Path
import jax, numpy as np
from lamps_jax.models.registry import load_model

def digests(model):
    return [hashlib.sha256(np.asarray(weight).tobytes()).hexdigest() for weight in model.weights]

mesh = jax.make_mesh((2, 4), ("data", "model"))
report = {"devices": len(jax.devices())}
for load_format, quantize in (("auto", None), ("auto", "int8"), ("dummy", "int8")):
    model = load_model(Path(sys.argv[1]), dtype="bfloat16", quantize=quantize, load_format=load_format, mesh=mesh)
    alone = load_model(Path(sys.argv[1]), dtype="bfloat16", quantize=quantize, load_format=load_format)
    shapes = [weight.addressable_shards[0].data.shape for weight in model.weights]
    report[f"{load_format} {quantize}"] = {
        "alike": digests(model) == digests(alone),
        "shards": dict(zip(model.parameter_names, shapes)),
        "devices": {len(weight.sharding.device_set) for weight in model.weights} == {8},
    }
print(json.dumps(report))
"""


@pytest.mark.slow
def test_weights_on_eight_devices_are_those_on_one(tmp_path: Path) -> None:
    save_torch_gptj(tmp_path, gptj_config(num_layers=1))
    report = run_python(ON_EIGHT_DEVICES, tmp_path, XLA_FLAGS="--xla_force_host_platform_device_count=8")
    assert report.pop("devices") == 8
    for kind, values in report.items():
        assert values["alike"] and values["devices"], kind
        shards = values["shards"]
        assert shards["blocks.0.q_proj.weight"] == [8, 32]
        assert shards["blocks.0.fc_out.weight"] == [32, 12]
        assert shards["norm.bias"] == [32]
        if kind.endswith("int8"):
            assert shards["blocks.0.q_proj.scale"] == [8]
            assert shards["blocks.0.fc_out.scale"] == [32]


PEAK_MEMORY = """
import gc, json, sys
from pathlib import Path
import jax
from lamps_jax.models.registry import load_model

def status(key):
    return 1024 * int(Path("/proc/self/status").read_text().partition(key + ":")[2].split()[0])

report = {}
load_model(Path(sys.argv[1]), dtype="bfloat16")  # whatever is made only once
for directory in sys.argv[1:]:
    for dtype, quantize in (("bfloat16", None), ("float32", None), ("bfloat16", "int8")):
        gc.collect()
        before = status("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts again here
        model = load_model(Path(directory), dtype=dtype, quantize=quantize)
        report[f"{Path(directory).name} {dtype} {quantize}"] = {
            "over": status("VmHWM") - status("VmRSS"), "grown": status("VmRSS") - before, "weights": model.weight_bytes,
        }
        del model
print(json.dumps(report))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="measures memory as Linux reports it")
def test_memory_never_holds_much_more_than_the_weights(tmp_path: Path) -> None:
    config = gptj_config(vocab_size=16_384, hidden_size=1024, num_layers=4, num_heads=8, rotary_dim=64, intermediate_size=8192)
    abstract = abstract_parameters(lambda: GPTJ(config, rngs=nnx.Rngs(0)))[1]
    names = hf_names(HF_NAMES, abstract, config.num_layers)
    values = torch.randn(2**20)
    tensors = {
        names[name]: values.repeat(wanted.size // len(values) + 1)[: wanted.size].reshape(wanted.shape).bfloat16()
        for name, wanted in abstract.items()
    }
    total = sum(tensor.nbytes for tensor in tensors.values())
    assert total > 220e6
    for end in ("safe", "bin"):
        (tmp_path / end).mkdir()
        (tmp_path / end / "config.json").write_text(json.dumps(config.to_hf(dtype="bfloat16")))
    save_torch_file(tensors, tmp_path / "safe/model.safetensors")
    torch.save(tensors, tmp_path / "bin/pytorch_model.bin")
    del tensors
    for kind, memory in run_python(PEAK_MEMORY, tmp_path / "safe", tmp_path / "bin").items():
        assert memory["over"] <= 2**26, kind  # less than two of the largest tensor: a few pieces a thread, no second copy
        assert memory["grown"] <= memory["weights"] + 2**26, kind


def test_random_matrices_have_the_deviation_of_fresh_ones_and_norms_are_one() -> None:
    config = gptj_config(num_layers=1, hidden_size=64, intermediate_size=256)
    drawn = random_parameters(abstract_parameters(lambda: GPTJ(config, rngs=nnx.Rngs(0)))[1])
    for name, value in drawn.items():
        if value.ndim == 2:
            assert np.std(value) == pytest.approx(0.02, rel=0.05) and abs(np.mean(value)) < 0.002, name
        else:
            assert np.unique(value).tolist() == [1.0 if name.endswith("weight") else 0.0], name


def test_random_quantised_matrices_have_the_same_deviation() -> None:
    config = gptj_config(num_layers=1, hidden_size=64, intermediate_size=256)
    drawn = random_parameters(abstract_parameters(lambda: GPTJ(config, dtype="bfloat16", quantize="int8", rngs=nnx.Rngs(0)))[1])
    scales = [name for name in drawn if name.endswith(".scale")]
    assert len(scales) == 7
    for name in scales:
        weight, scale = np.asarray(drawn[name.replace("scale", "weight")]), np.asarray(drawn[name])
        assert weight.dtype == np.int8 and scale.dtype == np.float32
        assert (scale > 0).all()
        assert np.std(weight * scale[:, None]) == pytest.approx(0.02, rel=0.05), name
    assert drawn["embedding.weight"].dtype == "bfloat16"


def test_random_parameters_are_fixed_by_the_seed_and_differ_from_each_other() -> None:
    abstract = abstract_parameters(build)[1]
    once, again, other = (random_parameters(abstract, seed=seed) for seed in (5, 5, 6))
    assert_equal(once, again)
    assert not np.array_equal(once["output.weight"], other["output.weight"])
    assert not np.array_equal(once["blocks.0.q_proj.weight"], once["blocks.1.q_proj.weight"])


def test_random_parameters_compile_one_program_a_shape() -> None:
    config = gptj_config(num_layers=9, hidden_size=40, num_heads=5)
    abstract = abstract_parameters(lambda: GPTJ(config, rngs=nnx.Rngs(0)))[1]
    random_parameters({name: wanted for name, wanted in abstract.items() if wanted.ndim == 1})  # drawing keys compiles too
    compiled: list[str] = []

    def listen(event: str, duration: float, **_: Any) -> None:
        if "backend_compile" in event:
            compiled.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        random_parameters({name: wanted for name, wanted in abstract.items() if wanted.ndim == 2})
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    shapes = {wanted.shape for wanted in abstract.values() if wanted.ndim == 2}
    assert len(compiled) <= len(shapes) + 3  # with the splitting of as many keys


def test_progress_of_random_parameters_counts_their_bytes() -> None:
    seen: list[tuple[int, int]] = []
    drawn = random_parameters(abstract_parameters(build)[1], progress=lambda done, total: seen.append((done, total)))
    total = sum(value.nbytes for value in drawn.values())
    assert seen[-1] == (total, total) and len(seen) == len(drawn)
