"""Where each parameter lies on a mesh. What programs compute there is tested in `tests.engine.test_tensor_parallel`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import AbstractMesh, PartitionSpec

from lamps_jax.models.layers import Linear
from lamps_jax.models.registry import ARCHITECTURES, random_model
from lamps_jax.models.sharding import (
    AXES,
    bytes_per_device,
    parameter_shardings,
    sum_of,
    tensor_parallel_mesh,
    whole_logits,
)
from tests.factories import gptj_config

ROWS, COLUMNS, WHOLE = PartitionSpec("model"), PartitionSpec(None, "model"), PartitionSpec()


def specs(shapes: dict[str, tuple[int, ...]], *, devices: int = 4) -> dict[str, PartitionSpec]:
    abstract = {name: jax.ShapeDtypeStruct(shape, jnp.float32) for name, shape in shapes.items()}
    shardings = parameter_shardings(AbstractMesh((1, devices), AXES), abstract)  # pyright: ignore[reportArgumentType]
    return {name: sharding.spec for name, sharding in shardings.items()}


def test_layers_are_split_by_output_or_by_input_and_the_rest_is_whole() -> None:
    assert specs(
        {
            "embedding.weight": (96, 32),
            "position_embedding.weight": (96, 32),
            "blocks.0.norm.weight": (32,),
            "blocks.0.q_proj.weight": (32, 32),
            "blocks.11.q_proj.bias": (32,),
            "blocks.0.q_norm.weight": (32,),
            "blocks.0.gate_proj.weight": (48, 32),
            "blocks.0.out_proj.weight": (32, 32),
            "blocks.0.fc_out.weight": (32, 48),
            "blocks.0.fc_out.bias": (32,),
            "output.weight": (96, 32),
            "output.bias": (96,),
        }
    ) == {
        "embedding.weight": ROWS,
        "position_embedding.weight": WHOLE,
        "blocks.0.norm.weight": WHOLE,
        "blocks.0.q_proj.weight": ROWS,
        "blocks.11.q_proj.bias": ROWS,
        "blocks.0.q_norm.weight": WHOLE,
        "blocks.0.gate_proj.weight": ROWS,
        "blocks.0.out_proj.weight": COLUMNS,
        "blocks.0.fc_out.weight": COLUMNS,
        "blocks.0.fc_out.bias": WHOLE,
        "output.weight": ROWS,
        "output.bias": ROWS,
    }


def test_scales_of_quantised_layers_lie_like_biases() -> None:
    assert specs({"blocks.0.fc_in.scale": (48,), "blocks.0.fc_out.scale": (32,)}) == {
        "blocks.0.fc_in.scale": ROWS,
        "blocks.0.fc_out.scale": WHOLE,
    }


def test_what_the_devices_do_not_divide_is_whole_on_each_in_both_layers_of_an_mlp() -> None:
    shapes = {"blocks.0.fc_in.weight": (50, 32), "blocks.0.fc_in.bias": (50,), "blocks.0.fc_out.weight": (32, 50)}
    assert set(specs({**shapes, "embedding.weight": (97, 32)}).values()) == {WHOLE}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_layer_of_every_architecture_is_in_the_table_or_meant_to_be_whole(name: str) -> None:
    layers = {parameter.split(".")[-2] for parameter in ARCHITECTURES[name].names}
    assert {layer for layer in layers if set(specs({f"{layer}.weight": (32, 32)}).values()) == {WHOLE}} <= {
        "norm", "attention_norm", "mlp_norm", "q_norm", "k_norm", "position_embedding", "project_in", "project_out"
    }  # fmt: skip


def test_one_device_needs_no_mesh() -> None:
    assert tensor_parallel_mesh(1, gptj_config()) is None


def test_more_devices_than_there_are_is_refused_with_both_numbers() -> None:
    if jax.device_count() > 1:
        pytest.skip("there are more here")
    with pytest.raises(ValueError, match=r"tensor_parallel is 2, but there is only 1 .* device; lower it, or run on more"):
        tensor_parallel_mesh(2, gptj_config(num_heads=2))


def test_heads_that_cannot_be_divided_are_refused_with_the_sizes_that_divide_them() -> None:
    config = gptj_config(num_heads=40, hidden_size=320)
    with pytest.raises(ValueError, match=r"the model's 40 heads, got 3; valid sizes for it are 1, 2, 4, 5, 8, 10, 20, 40$"):
        tensor_parallel_mesh(3, config)


def test_on_one_device_a_sum_of_layers_is_just_that_and_logits_are_whole() -> None:
    rngs = nnx.Rngs(0)
    first, second = (Linear(size, 5, bias=True, dtype=jnp.float32, rngs=rngs) for size in (3, 4))
    x, y = jnp.ones((2, 3)), jnp.ones((2, 4))
    np.testing.assert_array_equal(sum_of((first, x), (second, y)), first(x) + second(y))
    assert whole_logits(x, 3) is x


def test_one_device_holds_all_bytes() -> None:
    model = random_model(gptj_config())
    assert bytes_per_device(model.weights) == model.weight_bytes
