import math

import pytest

from lamps_jax.sched.quantities import check_counts, check_quantities


@pytest.mark.parametrize("value", [-1, -1e-9, math.inf, math.nan])
def test_what_is_no_quantity_is_an_error_that_names_it(value: float):
    with pytest.raises(ValueError, match=f"second must be a finite number and not negative, got {value}"):
        check_quantities(first=0, second=value)


@pytest.mark.parametrize("value", [0, 0.5, math.inf, math.nan])
def test_what_is_no_count_is_an_error_that_names_it(value: float):
    with pytest.raises(ValueError, match=f"second must be a finite number and at least 1, got {value}"):
        check_counts(first=1, second=value)
