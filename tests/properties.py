"""How many examples of a property are tried."""

import hypothesis

THOROUGH = 10


def examples(count: int) -> int:
    """`count`, and `THOROUGH` times as many in the thorough profile."""
    return count * (THOROUGH if hypothesis.settings.get_current_profile_name() == "thorough" else 1)
