"""The application on a scripted engine, as the page's tests use it."""

import threading
from typing import Any

import httpx
from playwright.sync_api import Page

from lamps_jax.engine.engine import Engine
from lamps_jax.serve.app import ServerState, create_app
from lamps_jax.serve.async_engine import AsyncEngine
from lamps_jax.tools.calculator import CALCULATOR
from lamps_jax.tools.tool import Tool, one_string
from tests.fakes import ScriptedExecutor, make_engine

SIZES = {1440: 900, 390: 844}
"""Width to height of the windows in which the page is looked at."""


class Site:
    """The application on a scripted engine, with a tool that returns when it is told to."""

    def __init__(self, **options: Any):
        self.release = threading.Event()
        slow = Tool("Slow", "Waits.", one_string("text", "Anything."), lambda text: self.release.wait(30.0) and "at last")
        self.executor = ScriptedExecutor(step_s=0.003)
        self.engine: Engine = make_engine(self.executor, tools=[CALCULATOR, slow], **options)
        self.state = ServerState()
        self.app = create_app(self.state, model_name="toy")
        self.url = ""

    def start_engine(self) -> None:
        """Has the engine there."""
        self.state.async_engine = AsyncEngine(self.engine, on_finished=self.state.recent.request_over)

    def post(self, question: str, **fields: Any) -> threading.Thread:
        """Asks beside the page."""
        body = {"messages": [{"role": "user", "content": question}], **fields}
        thread = threading.Thread(target=lambda: httpx.post(f"{self.url}/v1/chat/completions", json=body, timeout=60))
        thread.start()
        return thread


def ask(page: Page, question: str) -> None:
    page.get_by_label("Your question").fill(question)
    page.get_by_role("button", name="Ask", exact=True).click()
