"""Tools for ``lamps-jax serve --tools``: each leaves a ticket in a ledger when it runs, and answers with it, hangs or fails."""

import os
import time
import uuid
from pathlib import Path
from typing import Any

from lamps_jax.tools.define import tool

LEDGER = Path(os.environ["LAMPS_SOAK_LEDGER"])
HANGS_FOR_S = 1.5
GIVEN_UP_AFTER_S = 0.5


def issue(name: str, state: dict[str, Any]) -> str:
    """A ticket that names the request and how often it has called the tool; the ledger has a line for each."""
    owner = state.setdefault("owner", uuid.uuid4().hex[:12])
    state["number"] = state.get("number", 0) + 1
    ticket = f"{name}-{owner}-{state['number']}"
    with LEDGER.open("a") as ledger:
        ledger.write(f"{ticket}\n")
    return ticket


@tool(name="Calculator", stateful=True)
def calculator(expression: str, state: dict[str, Any]) -> str:
    """What the embedded model calls of its own accord; it gets a ticket for a result."""
    ticket = issue("Calculator", state)
    time.sleep(len(expression) % 8 / 100)
    return ticket


@tool(name="Hang", stateful=True, timeout_s=GIVEN_UP_AFTER_S)
def hang(text: str, state: dict[str, Any]) -> str:
    """Takes longer than it may."""
    issue("Hang", state)
    time.sleep(HANGS_FOR_S)
    return text


@tool(name="Crash", stateful=True)
def crash(text: str, state: dict[str, Any]) -> str:
    """Fails in a way that it does not foresee."""
    raise KeyError(issue("Crash", state))
