"""The self-test passes what is right and says what is wrong with the rest."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from lamps_jax.models.attention import llvm_cpu, pallas_gpu, pallas_tpu, reference, xla
from lamps_jax.models.attention.backend import PagedAttention, Unsupported
from lamps_jax.models.attention.self_test import (
    BACKENDS,
    AttentionShape,
    SelfTest,
    load_backend,
    obstacle,
    self_test,
    self_test_all,
)

SHAPE = AttentionShape(num_heads=2, num_kv_heads=2, head_dim=16, block_size=4, max_blocks=8, max_batch=5, dtype="float32")


def always(attention: Callable[..., Any]) -> Callable[[str], PagedAttention]:
    return lambda name: attention


def outcomes(results: tuple[SelfTest, ...]) -> set[str]:
    return {result.outcome for result in results}


@pytest.mark.slow
def test_plain_xla_passes_on_grouped_heads_and_windows() -> None:
    results = self_test("xla", replace(SHAPE, num_heads=6, windows=(None, 5), dtype="bfloat16"))
    assert outcomes(results) == {"passed"}
    assert [result.case for result in results] == [
        "decode", "chunk", "chunk after a prefix", "decode, window 5", "chunk, window 5", "chunk after a prefix, window 5"
    ]  # fmt: skip
    assert all(result.backend == "xla" and result.max_error is not None and result.max_error < 1e-5 for result in results)


@pytest.mark.parametrize("changes", [{"max_blocks": 1, "max_batch": 1}, {"max_blocks": 300, "max_batch": 64}])
def test_table_may_be_as_narrow_or_as_wide_as_the_engine_s(changes: dict[str, int]) -> None:
    assert outcomes(self_test("xla", replace(SHAPE, **changes))) == {"passed"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "changes"),
    [
        (pallas_gpu, {"head_dim": 64, "dtype": "float32"}),
        (pallas_tpu, {"head_dim": 128, "block_size": 8, "windows": (12,)}),
    ],
    ids=["pallas_gpu", "pallas_tpu"],
)
def test_interpreted_kernels_pass(module: Any, changes: dict[str, Any]) -> None:
    attention = partial(module.paged_attention, interpret=True)
    assert outcomes(self_test("xla", replace(SHAPE, **changes), load=always(attention))) == {"passed"}


def test_backend_that_breaks_fails_with_the_first_line_of_its_error() -> None:
    def broken(*arguments: Any, window: int | None = None) -> Any:
        raise RuntimeError("no such instruction\non this chip")

    for result in self_test("xla", SHAPE, load=always(broken)):
        assert (result.outcome, result.max_error, result.detail) == ("failed", None, "RuntimeError: no such instruction")


def test_backend_that_refuses_is_told_from_one_that_breaks() -> None:
    def refuses(*arguments: Any, window: int | None = None) -> Any:
        raise Unsupported("heads of 16 are too small")

    assert {(result.outcome, result.detail) for result in self_test("xla", SHAPE, load=always(refuses))} == {
        ("refused", "heads of 16 are too small")
    }


def test_backend_that_misses_one_token_fails_with_its_error() -> None:
    def forgetful(q: Any, blocks: Any, table: Any, positions: Any, window: int | None = None) -> Any:
        return xla.paged_attention(q, blocks, table, jnp.maximum(positions - 1, 0), window)

    for result in self_test("xla", replace(SHAPE, dtype="bfloat16"), load=always(forgetful)):
        assert result.outcome == "failed" and result.max_error is not None and result.max_error > 0.05
        assert result.detail.startswith("off by")


def test_backend_that_does_not_heed_the_window_fails_though_the_window_is_wider_than_any_case() -> None:
    def unbounded(*arguments: Any, window: int | None = None) -> Any:
        return xla.paged_attention(*arguments)

    results = self_test("xla", replace(SHAPE, windows=(4096,)), load=always(unbounded))
    assert [result.outcome for result in results] == ["failed"] * 3


def test_numbers_that_are_not_finite_fail_even_in_padding_rows() -> None:
    def infinite(q: Any, blocks: Any, table: Any, positions: Any, window: int | None = None) -> Any:
        attended = xla.paged_attention(q, blocks, table, positions, window)
        return jnp.where((table[:, 0] == 0)[:, None, None, None], jnp.nan, attended)

    results = self_test("xla", SHAPE, load=always(infinite))
    assert [result.outcome for result in results] == ["failed", "passed", "passed"]
    assert "not finite" in results[0].detail


def test_backend_whose_module_does_not_import_fails() -> None:
    def missing(name: str) -> PagedAttention:
        raise ImportError("jax.experimental.pallas.triton is gone")

    [result] = self_test("xla", SHAPE, load=missing)
    assert (result.outcome, result.case) == ("failed", "import") and "is gone" in result.detail


def test_kernels_of_other_platforms_are_refused_in_words() -> None:
    results = self_test_all(replace(SHAPE, max_blocks=1, max_batch=1))
    assert {result.backend for result in results} == set(BACKENDS)
    details = {result.backend: result.detail for result in results if result.outcome == "refused"}
    assert details == {
        "pallas_gpu": "pallas_gpu needs an NVIDIA GPU, and JAX computes on cpu here",
        "pallas_tpu": "pallas_tpu needs a TPU, and JAX computes on cpu here",
    }


@pytest.mark.parametrize(
    ("version", "capability", "reason"),
    [
        ("cuda 12090", "9.0", ""),
        ("cuda 12090", "12.0", ""),
        ("cuda 12090", "7.5", "needs compute capability 8.0 (A100) or later, and this GPU has 7.5"),
        ("rocm 60400", "gfx942", "needs an NVIDIA GPU"),
    ],
)
def test_gpu_kernels_need_an_nvidia_card_from_the_a100_on(
    version: str, capability: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = SimpleNamespace(client=SimpleNamespace(platform_version=version), compute_capability=capability)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(jax, "local_devices", lambda: [device])
    assert reason in obstacle("pallas_gpu")
    assert bool(obstacle("pallas_gpu")) == bool(reason)


def test_cpu_kernel_needs_a_cpu_and_is_tested_on_decodes_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    [result] = self_test("llvm_cpu", SHAPE)
    assert (result.case, result.outcome) == ("decode", "passed")
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert obstacle("llvm_cpu") == "llvm_cpu needs a CPU, and JAX computes on gpu here"


def test_every_name_has_its_implementation_and_others_are_refused() -> None:
    modules = {"reference": reference, "xla": xla, "llvm_cpu": llvm_cpu, "pallas_gpu": pallas_gpu, "pallas_tpu": pallas_tpu}
    assert {name: load_backend(name) for name in BACKENDS} == {name: module.paged_attention for name, module in modules.items()}
    with pytest.raises(
        ValueError, match="unknown attention backend 'flash'; known are reference, xla, llvm_cpu, pallas_gpu, pallas_tpu"
    ):
        self_test("flash", SHAPE)
