"""The tools that come with the package. They reach neither files nor the network."""

from lamps_jax.tools.calculator import CALCULATOR
from lamps_jax.tools.calendar import CALENDAR
from lamps_jax.tools.search import SEARCH
from lamps_jax.tools.text_world import WORLD
from lamps_jax.tools.tool import Tool

BUILTIN_TOOLS: tuple[Tool, ...] = (CALCULATOR, SEARCH, CALENDAR, WORLD)
"""What the embedded model knows how to call."""
