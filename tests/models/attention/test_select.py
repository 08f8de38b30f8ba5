"""The engine gets the fastest attention that computes correctly here, and is told of what it does not get."""

import logging
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import pytest

from lamps_jax.engine.jax_executor import JaxExecutor
from lamps_jax.models.attention import llvm_cpu, reference, select, self_test, xla
from lamps_jax.models.attention.backend import PagedAttention, Unsupported
from lamps_jax.models.attention.select import select_attention
from lamps_jax.models.attention.self_test import AttentionShape
from tests.factories import engine_config, gptj_config, lively_model

SHAPE = AttentionShape(num_heads=2, num_kv_heads=1, head_dim=16, block_size=4, max_blocks=4, max_batch=2, dtype="float32")


def good(*arguments: Any, window: int | None = None) -> Any:
    return xla.paged_attention(*arguments, window=window)


def breaks(*arguments: Any, window: int | None = None) -> Any:
    raise RuntimeError("ptxas: out of registers")


def refuses(*arguments: Any, window: int | None = None) -> Any:
    raise Unsupported("no heads of 16")


def is_wrong(*arguments: Any, window: int | None = None) -> Any:
    return jnp.zeros_like(arguments[0])


@pytest.fixture
def kernel_machine(monkeypatch: pytest.MonkeyPatch) -> Callable[[PagedAttention], Callable[[str], PagedAttention]]:
    """A machine whose kernel is `pallas_gpu`, in the implementation given; returns how to load backends there."""
    monkeypatch.setattr(select, "FASTEST", {"cpu": "pallas_gpu"})
    monkeypatch.setattr(self_test, "obstacle", lambda name: "")
    return lambda kernel: lambda name: kernel if name == "pallas_gpu" else self_test.load_backend(name)


@pytest.mark.parametrize("name", ["auto", "llvm_cpu"])
def test_cpu_gets_its_kernel_tested_once_in_a_process(name: str) -> None:
    selected = select_attention(name, SHAPE)
    assert (selected.name, selected.attend) == ("llvm_cpu", llvm_cpu.paged_attention)
    assert [test.outcome for test in selected.self_tests] == ["passed"]
    assert select_attention(name, SHAPE).self_tests is selected.self_tests


def test_cpu_without_a_compiler_gets_xla_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    def load(name: str) -> PagedAttention:
        if name == "llvm_cpu":
            raise ImportError("No module named 'llvmlite'")
        return self_test.load_backend(name)

    with caplog.at_level(logging.WARNING):
        assert select_attention("auto", SHAPE, load=load).attend is xla.paged_attention
    assert "llvm_cpu failed (import): ImportError: No module named 'llvmlite'; falling back to xla" in caplog.text


def test_xla_is_taken_without_a_test() -> None:
    selected = select_attention("xla", SHAPE)
    assert (selected.name, selected.attend, selected.self_tests) == ("xla", xla.paged_attention, ())


def test_reference_can_be_asked_for() -> None:
    assert select_attention("reference", SHAPE).attend is reference.paged_attention


@pytest.mark.parametrize("name", ["auto", "pallas_gpu"])
def test_kernel_that_passes_is_taken(name: str, kernel_machine: Any, caplog: pytest.LogCaptureFixture) -> None:
    selected = select_attention(name, SHAPE, load=kernel_machine(good))
    assert (selected.name, selected.attend) == ("pallas_gpu", good)
    assert {test.outcome for test in selected.self_tests} == {"passed"}
    assert caplog.records == []


@pytest.mark.parametrize(
    ("kernel", "why"),
    [
        (breaks, "failed (decode): RuntimeError: ptxas: out of registers"),
        (refuses, "refused (decode): no heads of 16"),
        (is_wrong, "failed (decode): off by"),
    ],
)
def test_kernel_that_does_not_pass_is_replaced_by_xla_with_a_warning_that_says_why(
    kernel: Any, why: str, kernel_machine: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        selected = select_attention("auto", SHAPE, load=kernel_machine(kernel))
    assert (selected.name, selected.attend) == ("xla", xla.paged_attention)
    assert {test.backend for test in selected.self_tests} == {"pallas_gpu"}
    [record] = caplog.records
    assert record.getMessage().startswith(f"attention backend pallas_gpu {why}")
    assert record.getMessage().endswith("falling back to xla, which is slower")


@pytest.mark.parametrize("kernel", [breaks, refuses, is_wrong])
def test_kernel_that_was_asked_for_by_name_and_does_not_pass_is_an_error(kernel: Any, kernel_machine: Any) -> None:
    with pytest.raises(ValueError, match=r"attention backend 'pallas_gpu' (failed|refused) \(decode\): .*; use auto or xla"):
        select_attention("pallas_gpu", SHAPE, load=kernel_machine(kernel))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("pallas_gpu", "'pallas_gpu' refused .*needs an NVIDIA GPU, and JAX computes on cpu here; use auto or xla"),
        ("pallas_tpu", "'pallas_tpu' refused .*needs a TPU"),
        ("flash", "unknown attention backend 'flash'"),
    ],
)
def test_backend_that_this_machine_cannot_run_is_an_error(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        select_attention(name, SHAPE)


def test_engine_attends_with_what_its_configuration_names() -> None:
    model = lively_model(gptj_config())
    executor = JaxExecutor(model, engine_config(attention="reference"), num_blocks=30)
    assert executor.attention.name == "reference"
    with pytest.raises(ValueError, match="attention backend 'pallas_tpu' refused"):
        JaxExecutor(model, engine_config(attention="pallas_tpu"), num_blocks=30)
