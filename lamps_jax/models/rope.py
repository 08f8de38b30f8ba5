"""Rotary position embedding of the LLaMA family: halves rotated against each other, with the known ways to stretch it.

Sources: Su et al., 2021, RoFormer; linear: Chen et al., 2023, Extending context window by position interpolation; dynamic: the
NTK-aware scaling of bloc97 and emozilla; yarn: Peng et al., 2023; llama3: Grattafiori et al., 2024, The Llama 3 herd of models.
Keys as in transformers' ``rope_parameters`` and, before version 5, ``rope_theta`` with ``rope_scaling``.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

KINDS = ("default", "linear", "dynamic", "llama3", "yarn")
"""Known ways to compute the frequencies."""


@dataclass(frozen=True, slots=True)
class Rope:
    """How positions turn into angles.

    Attributes:
        dim: Dimensions of a head, all of them rotated.
        theta: Base of the wavelengths.
        kind: One of `KINDS`.
        factor: How many times longer than the model was trained for its texts may be.
        trained_length: Length that the model was trained for; what stretching starts from.
        low_freq_factor: (llama3) Wavelengths above ``trained_length / low_freq_factor`` are stretched by `factor`.
        high_freq_factor: (llama3) Wavelengths below ``trained_length / high_freq_factor`` stay.
        beta_fast: (yarn) Dimensions that turn more often than this within `trained_length` stay.
        beta_slow: (yarn) Dimensions that turn less often than this are stretched by `factor`.
        truncate: (yarn) Whether the bounds between them are rounded outwards to whole dimensions.
        magnitude: (yarn) What cosines and sines are multiplied with.
    """

    dim: int
    theta: float = 10_000.0
    kind: str = "default"
    factor: float = 1.0
    trained_length: int = 0
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    truncate: bool = True
    magnitude: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"rope_type {self.kind!r} is not supported; known are {', '.join(KINDS)}")
        if self.dim <= 0 or self.dim % 2:
            raise ValueError(f"the head size must be even for rotary embedding, got {self.dim}")
        if self.theta <= 0 or self.factor <= 0:
            raise ValueError(f"rope_theta and the scaling factor must be positive, got {self.theta} and {self.factor}")
        if self.kind in ("dynamic", "llama3", "yarn") and self.trained_length <= 0:
            raise ValueError(f"{self.kind} scaling needs original_max_position_embeddings or max_position_embeddings")

    @classmethod
    def from_hf(cls, config: Mapping[str, Any], *, dim: int, default_theta: float = 10_000.0) -> "Rope":
        """Reads ``rope_parameters``, or ``rope_theta`` and ``rope_scaling``, of a ``config.json``.

        Raises:
            ValueError: If the type is unknown or lacks a key.
        """
        given = {**(config.get("rope_scaling") or {}), **(config.get("rope_parameters") or {})}
        kind = str(given.get("rope_type") or given.get("type") or "default")
        theta = float(given.get("rope_theta") or config.get("rope_theta") or default_theta)
        if float(given.get("partial_rotary_factor") or config.get("partial_rotary_factor") or 1.0) != 1.0:
            raise ValueError("partial_rotary_factor is not supported; every dimension of a head is rotated")
        if kind == "default":
            return cls(dim, theta)
        longest = int(config.get("max_position_embeddings") or 0)
        trained = longest if kind == "dynamic" else int(given.get("original_max_position_embeddings") or longest)
        if kind in ("linear", "dynamic", "llama3") and given.get("factor") is None:
            raise ValueError(f"the rope scaling {kind} lacks the key 'factor'")
        factor = float(given.get("factor") or longest / max(1, trained))
        return cls(
            dim,
            theta,
            kind,
            factor,
            trained,
            low_freq_factor=float(given.get("low_freq_factor") or 1.0),
            high_freq_factor=float(given.get("high_freq_factor") or 4.0),
            beta_fast=float(given.get("beta_fast") or 32.0),
            beta_slow=float(given.get("beta_slow") or 1.0),
            truncate=bool(given.get("truncate", True)),
            magnitude=_yarn_magnitude(given, factor) if kind == "yarn" else 1.0,
        )

    @property
    def longest(self) -> int:
        """Most positions that stretching reaches from `trained_length`; 0 if nothing is stretched."""
        return int(self.factor * self.trained_length) if self.kind in ("linear", "dynamic", "yarn") else 0

    def frequencies(self) -> np.ndarray:
        """Angle per position of each pair of dimensions, `[dim / 2]`; for ``dynamic`` those of texts up to `trained_length`."""
        plain = 1.0 / self.theta ** (np.arange(0, self.dim, 2, dtype=np.float32) / self.dim)
        if self.kind == "linear":
            return plain / np.float32(self.factor)
        if self.kind == "llama3":
            return self._llama3(plain)
        if self.kind == "yarn":
            return self._yarn(plain)
        return plain

    def angles(self, positions: Int[Array, "batch length"]) -> Float[Array, "batch length half"]:
        """The angle of each position and pair of dimensions.

        With ``dynamic`` scaling they depend on how long each row's text is so far, as in transformers; keys cached earlier keep
        the angles that they had.
        """
        if self.kind != "dynamic":
            return positions[..., None].astype(jnp.float32) * jnp.asarray(self.frequencies())
        length = jnp.maximum(positions.max(-1) + 1, self.trained_length).astype(jnp.float32)  # [batch]
        stretch = self.factor * length / self.trained_length - (self.factor - 1)
        theta = self.theta * stretch ** (self.dim / (self.dim - 2))
        frequencies = theta[:, None] ** (-jnp.arange(0, self.dim, 2, dtype=jnp.float32) / self.dim)
        return positions[..., None].astype(jnp.float32) * frequencies[:, None]

    def _llama3(self, plain: np.ndarray) -> np.ndarray:
        longest_wave = self.trained_length / self.low_freq_factor
        shortest_wave = self.trained_length / self.high_freq_factor
        wave = 2 * math.pi / plain
        stretched = plain / self.factor
        kept = (self.trained_length / wave - self.low_freq_factor) / (self.high_freq_factor - self.low_freq_factor)
        blended = (1 - kept) * stretched + kept * plain
        return np.where(wave > longest_wave, stretched, np.where(wave < shortest_wave, plain, blended)).astype(np.float32)

    def _yarn(self, plain: np.ndarray) -> np.ndarray:
        def dimension_turning(times: float) -> float:
            return self.dim * math.log(self.trained_length / (times * 2 * math.pi)) / (2 * math.log(self.theta))

        low, high = dimension_turning(self.beta_fast), dimension_turning(self.beta_slow)
        if self.truncate:
            low, high = math.floor(low), math.ceil(high)
        low, high = max(low, 0), min(high, self.dim - 1)
        ramp = np.clip((np.arange(self.dim // 2) - low) / (high - low if high != low else 0.001), 0, 1)
        return (plain * (1 - ramp) + plain / self.factor * ramp).astype(np.float32)


def rotate_half(
    x: Float[Array, "batch length heads head_dim"], positions: Int[Array, "batch length"], rope: Rope
) -> Float[Array, "batch length heads head_dim"]:
    """Rotary embedding that pairs dimension i with i + head_dim / 2, as LLaMA has it."""
    angles = rope.angles(positions)[:, :, None]  # [batch, length, 1, head_dim / 2]
    cos, sin = jnp.cos(angles) * rope.magnitude, jnp.sin(angles) * rope.magnitude
    first, second = jnp.split(x, 2, axis=-1)
    return jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)


def _yarn_magnitude(given: Mapping[str, Any], factor: float) -> float:
    if given.get("attention_factor") is not None:
        return float(given["attention_factor"])

    def magnitude(weight: float) -> float:
        return 0.1 * weight * math.log(factor) + 1.0 if factor > 1 else 1.0

    if given.get("mscale") and given.get("mscale_all_dim"):
        return magnitude(float(given["mscale"])) / magnitude(float(given["mscale_all_dim"]))
    return magnitude(1.0)
