"""Tools of one's own, in Python: run the server with `--tools examples/tools.py`, or give them to `LLM(tools=[…])`."""

import asyncio
from dataclasses import dataclass
from typing import Annotated, Literal

from lamps_jax.tools.define import tool
from lamps_jax.tools.tool import ToolError

TEMPERATURES = {"oslo": 4.0, "rome": 18.5, "cairo": 29.0}


@dataclass
class Reading:
    """What `temperature` returns; the model sees it as JSON."""

    city: str
    degrees: float
    unit: str


@tool
def roman(number: Annotated[int, "From 1 to 39"]) -> str:
    """Writes a number in Roman numerals."""
    if not 0 < number < 40:
        raise ToolError("give a number from 1 to 39")
    tens, ones = divmod(number, 10)
    return "X" * tens + ("", "I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX")[ones]


@tool(timeout_s=2.0, max_concurrency=8, max_retries=2)
async def temperature(city: str, unit: Literal["celsius", "kelvin"] = "celsius") -> Reading:
    """Says how warm it is in a city.

    It may be tried again, and no more than eight of its calls run at once.

    Args:
        city: Oslo, Rome or Cairo.
        unit: What the temperature is measured in.
    """
    await asyncio.sleep(0.01)  # where a real one would ask somebody
    if city.lower() not in TEMPERATURES:
        raise ToolError(f"there is no thermometer in {city}")
    return Reading(city, TEMPERATURES[city.lower()] + (273.15 if unit == "kelvin" else 0.0), unit)


if __name__ == "__main__":
    print(f"roman(number=14) -> {roman.function(number=14)}")
    print(f"temperature(city='Rome') -> {asyncio.run(temperature.function(city='Rome'))}")
