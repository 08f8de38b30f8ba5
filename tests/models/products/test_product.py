"""The products that models are made of, beside NumPy's in double precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import export
from jaxtyping import Array

from lamps_jax.models.products import product as products
from lamps_jax.models.products.product import product
from tests.properties import examples

TYPES = ("float32", "bfloat16", "int8")


def operands(rows: int, outputs: int, inputs: int, stored: str, *, seed: int = 0) -> tuple[Array, Array]:
    """Numbers that every type holds exactly."""
    random = np.random.default_rng(seed)
    x = random.integers(-8, 9, (rows, inputs)) / 4
    return jnp.asarray(x, jnp.float32), jnp.asarray(random.integers(-127, 128, (outputs, inputs)), stored)


def expected(x: Array, matrix: Array) -> np.ndarray:
    return np.asarray(x, np.float64) @ np.asarray(matrix.astype(jnp.float32), np.float64).T


@settings(max_examples=examples(15))
@given(
    st.integers(1, 70), st.integers(1, 70), st.integers(1, 80).map(lambda n: 16 * n), st.sampled_from(TYPES), st.integers(0, 99)
)
def test_a_product_is_numpys_whatever_its_shape_and_the_type_of_its_matrix(
    rows: int, outputs: int, inputs: int, stored: str, seed: int
) -> None:
    x, matrix = operands(rows, outputs, inputs, stored, seed=seed)
    found = product(x, matrix, "bfloat16" if stored == "bfloat16" else "float32")
    assert found.dtype == jnp.float32
    np.testing.assert_array_equal(np.asarray(found), expected(x, matrix))  # sums of so small numbers are exact in float32


@pytest.mark.parametrize("stored", TYPES)
def test_rounded_numbers_come_within_what_float32_sums_lose(stored: str) -> None:
    x = jax.random.normal(jax.random.key(0), (2, 3, 1520))
    matrix = (30 * jax.random.normal(jax.random.key(1), (67, 1520))).astype(stored)
    found = jax.jit(lambda x: product(x, matrix, "float32"))(x)
    np.testing.assert_allclose(np.asarray(found), expected(x, matrix), rtol=1e-5, atol=1e-2)


@pytest.mark.parametrize("stored", TYPES)
def test_the_numbers_of_a_row_depend_neither_on_its_company_nor_on_its_place(stored: str) -> None:
    x = jax.random.normal(jax.random.key(0), (23, 768))
    matrix = (30 * jax.random.normal(jax.random.key(1), (130, 768))).astype(stored)
    together = np.asarray(products.by_kernel(x, matrix))
    for row in range(len(x)):
        np.testing.assert_array_equal(np.asarray(products.by_kernel(x[row : row + 1], matrix))[0], together[row])


@pytest.mark.parametrize(("rows", "inputs"), [(1, 16), (2, 24), (3, 7), (40, 32), (0, 16)])
def test_what_the_kernel_does_not_take_is_xlas(rows: int, inputs: int) -> None:
    x, matrix = operands(rows, 5, inputs, "float32")
    assert "custom_call" not in jax.jit(product, static_argnums=2).lower(x, matrix, "float32").as_text()
    np.testing.assert_array_equal(np.asarray(product(x, matrix, "float32")), expected(x, matrix))


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_other_devices_get_a_matrix_product(platform: str) -> None:
    x, matrix = operands(2, 32, 32, "float32")
    multiply = jax.jit(lambda x, matrix: product(x, matrix, "float32"))
    assert "lamps_product" not in export.export(multiply, platforms=[platform])(x, matrix).mlir_module()
    assert "lamps_product" in multiply.lower(x, matrix).as_text()


def test_gradients_are_those_of_a_matrix_product() -> None:
    x, matrix = operands(3, 20, 32, "float32")

    def loss(x: Array, matrix: Array) -> Array:
        return jnp.sin(product(x, matrix, "float32")).sum()

    slope = np.cos(expected(x, matrix))
    of_x, of_matrix = jax.grad(loss, argnums=(0, 1))(x, matrix)
    np.testing.assert_allclose(np.asarray(of_x), slope @ np.asarray(matrix), rtol=1e-4, atol=1e-2)
    np.testing.assert_allclose(np.asarray(of_matrix), slope.T @ np.asarray(x), rtol=1e-4, atol=1e-2)


def test_a_kernel_that_computes_wrongly_is_said_to_and_left_out(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(products, "_largest_error", lambda kernel, stored: 0.5)
    assert products._register.__wrapped__("float32") is None
    assert "products of few rows with float32 are wrong by 0.5 here" in caplog.text
