"""How weights and KV blocks lie on a mesh of devices: tensor parallelism over the axis ``model``, copies over ``data``."""

from collections.abc import Mapping

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

AXES = ("data", "model")
"""Axes of every mesh here."""

BY_OUTPUT = ("q_proj", "k_proj", "v_proj", "fc_in", "gate_proj", "up_proj", "output", "embedding")
"""Layers split by the rows of their weight, so that each device holds some of the outputs (for the embedding, of the tokens)."""

BY_INPUT = ("out_proj", "fc_out", "down_proj")
"""Layers split by the columns of their weight: each device adds up a part, and the sum needs an all-reduce."""


def parameter_shardings(mesh: Mesh, abstract: Mapping[str, jax.ShapeDtypeStruct]) -> dict[str, NamedSharding]:
    """Where each parameter lies on `mesh`; one whose split axis the mesh does not divide lies whole on every device."""
    return {name: NamedSharding(mesh, _spec(mesh, name, value.shape)) for name, value in abstract.items()}


def _spec(mesh: Mesh, name: str, shape: tuple[int, ...]) -> PartitionSpec:
    *_, layer, parameter = name.split(".")
    axis = 0 if layer in BY_OUTPUT else 1 if layer in BY_INPUT and parameter == "weight" else None
    if axis is None or shape[axis] % mesh.shape["model"]:
        return PartitionSpec()
    return PartitionSpec("model", None)[: len(shape)] if axis == 0 else PartitionSpec(None, "model")
