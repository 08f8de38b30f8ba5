"""Durations and token counts that formulas may be given."""

import math


def check_quantities(**quantities: float) -> None:
    """Passes finite numbers from 0 on.

    Raises:
        ValueError: If one is negative, infinite or not a number; the message names it.
    """
    for name, value in quantities.items():
        if not 0 <= value < math.inf:
            raise ValueError(f"{name} must be a finite number and not negative, got {value}")


def check_counts(**counts: float) -> None:
    """Passes finite numbers from 1 on: sizes of blocks and chunks, by which something is divided.

    Raises:
        ValueError: If one is smaller, infinite or not a number; the message names it.
    """
    for name, value in counts.items():
        if not 1 <= value < math.inf:
            raise ValueError(f"{name} must be a finite number and at least 1, got {value}")
