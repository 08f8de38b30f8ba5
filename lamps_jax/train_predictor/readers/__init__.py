"""Logs of other programs as conversations."""

from lamps_jax.train_predictor.readers.read import read_any

__all__ = ["read_any"]
