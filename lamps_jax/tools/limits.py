"""The limits of tools that a TOML file describes, the same for each kind."""

from dataclasses import KW_ONLY
from typing import Any

import jsonschema
import pydantic
from pydantic.dataclasses import dataclass

STRICT = pydantic.ConfigDict(extra="forbid", strict=True)
"""No unknown names, and no text where a number belongs."""


@dataclass(frozen=True, config=STRICT)
class ToolLimits:
    """Limits as `lamps_jax.tools.tool.Tool` has and checks them."""

    _: KW_ONLY
    timeout_s: float = 10.0
    max_concurrency: int | None = None
    max_retries: int = 0
    retry_delay_s: float = 0.5
    max_result_chars: int = 4000

    @property
    def limits(self) -> dict[str, Any]:
        """The limits by name, as `Tool` takes them."""
        return {
            "timeout_s": self.timeout_s,
            "max_concurrency": self.max_concurrency,
            "max_retries": self.max_retries,
            "retry_delay_s": self.retry_delay_s,
            "max_result_chars": self.max_result_chars,
        }


def check_schema(schema: Any) -> None:
    """Refuses what is no JSON schema.

    Raises:
        ValueError: Says what is wrong, and where.
    """
    try:
        jsonschema.Draft202012Validator.check_schema(schema)
    except jsonschema.SchemaError as error:
        raise ValueError(f"the parameters are no JSON schema: {error.json_path}: {error.message}") from None
