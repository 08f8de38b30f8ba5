"""Which attention the engine uses: chosen in Python when it starts, by platform, and only what has computed correctly here."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import jax

from lamps_jax.models.attention.backend import PagedAttention
from lamps_jax.models.attention.self_test import AttentionShape, SelfTest, load_backend, self_test

logger = logging.getLogger(__name__)

FALL_BACK = "xla"
"""Runs everywhere, in any shape."""

FASTEST = {"cpu": "llvm_cpu", "gpu": "pallas_gpu", "tpu": "pallas_tpu"}
"""What "auto" tries first, by platform."""


@dataclass(frozen=True, slots=True)
class SelectedAttention:
    """The attention that an engine uses.

    Attributes:
        name: Its backend.
        attend: The function.
        self_tests: What every backend that was tried came to.
    """

    name: str
    attend: PagedAttention
    self_tests: tuple[SelfTest, ...]


def select_attention(
    name: str, shape: AttentionShape, *, load: Callable[[str], PagedAttention] = load_backend
) -> SelectedAttention:
    """The backend called `name`, or with "auto" the fastest that passes its self-test here, with `xla` behind it.

    `xla` and `reference` are plain JAX and go untested. A kernel that is passed over is a warning in the log.

    Args:
        name: One of `BACKENDS`, or "auto".
        shape: The model's, on one device.
        load: How an implementation is found.

    Raises:
        ValueError: If there is no such backend, or it was asked for by its own name and cannot run here, refuses the shape or
            fails its self-test.
    """
    chosen = FASTEST.get(jax.default_backend(), FALL_BACK) if name == "auto" else name
    if chosen not in FASTEST.values():
        return SelectedAttention(chosen, load(chosen), ())
    results = _tested(chosen, shape, load)
    reason = next((f"{test.outcome} ({test.case}): {test.detail}" for test in results if test.outcome != "passed"), None)
    if reason is None:
        return SelectedAttention(chosen, load(chosen), results)
    if name != "auto":
        raise ValueError(f"attention backend {name!r} {reason}; use auto or {FALL_BACK}")
    logger.warning("attention backend %s %s; falling back to %s, which is slower", chosen, reason, FALL_BACK)
    return SelectedAttention(FALL_BACK, load(FALL_BACK), results)


@cache
def _tested(name: str, shape: AttentionShape, load: Callable[[str], PagedAttention]) -> tuple[SelfTest, ...]:
    """What the self-test comes to, which does not change within a process: engines are built there again and again."""
    return self_test(name, shape, load=load)
