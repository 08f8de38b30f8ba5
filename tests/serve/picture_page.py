"""Takes the pictures of the page in docs/images/page: ``.venv/bin/python -m tests.serve.picture_page``.

What they show is real: the embedded model under the policy `lamps`, whose tools are slowed down so that calls can be seen, and
a pool of blocks small enough to be short of.
"""

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
from PIL import Image
from playwright.sync_api import Browser, Page

from lamps_jax.config import EngineConfig, SchedulerConfig
from lamps_jax.embedded.text import draw
from lamps_jax.engine.build import build_engine
from lamps_jax.options import default_compile_cache
from lamps_jax.serve.app import ServerState, create_app
from lamps_jax.serve.async_engine import AsyncEngine
from lamps_jax.tools.builtin import BUILTIN_TOOLS
from lamps_jax.tools.tool import Tool
from tests.serve.browser import launched, served

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs/images/page"
NUM_CLIENTS = 22
QUESTION = "How many years lie between 1500 and the completion of Oath of the Horatii?"


def slowed(tool: Tool, mean_s: float) -> Tool:
    """`tool`, taking a random time."""

    def function(**arguments: object) -> str:
        time.sleep(random.expovariate(1 / mean_s))
        return tool.function(**arguments)

    return replace(tool, function=function, timeout_s=60.0)


@contextmanager
def demonstration() -> Iterator[str]:
    """A server that is busy; gives its address."""
    tools = [slowed(tool, mean_s) for tool, mean_s in zip(BUILTIN_TOOLS, (0.7, 2.0, 4.0, 1.2), strict=True)]
    config = EngineConfig(
        scheduler=SchedulerConfig(policy="lamps", max_num_seqs=4, max_model_len=256),
        num_blocks=41,
        host_kv_bytes=4 * 2**20,
        compile_cache=default_compile_cache(),
    )
    state = ServerState()
    engine = build_engine(ROOT / "lamps_jax/embedded/model", config, tools)
    state.async_engine = AsyncEngine(engine, on_finished=state.recent.request_over)
    over = threading.Event()
    with served(create_app(state, model_name="embedded")) as url:
        clients = [threading.Thread(target=ask_on, args=(url, seed, over)) for seed in range(NUM_CLIENTS)]
        for client in clients:
            client.start()
        yield url
        over.set()
        for client in clients:
            client.join()


def ask_on(url: str, seed: int, over: threading.Event) -> None:
    """Asks one question after the other, with pauses between them; of some it wants long answers."""
    rng = random.Random(seed)
    while not over.wait(rng.expovariate(1.0)):
        body: dict[str, object] = {"messages": [{"role": "user", "content": draw(rng, "train").text}], "temperature": 0}
        if seed % 3 == 0:
            body |= {"tool_choice": "none", "ignore_eos": True, "max_tokens": rng.randrange(60, 180)}
        httpx.post(f"{url}/v1/chat/completions", json=body, timeout=60)


def take(browser: Browser, url: str, folder: Path, *, width: int, height: int, scheme: str, act: Callable[[Page], None]) -> None:
    """A picture of the page as `act` leaves it."""
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme, reduced_motion="reduce")
    page = context.new_page()
    page.goto(url)
    act(page)
    path = folder / f"{act.__name__}-{width}-{scheme}.png"
    page.screenshot(path=path)
    context.close()
    Image.open(path).convert("RGB").quantize(256, method=Image.Quantize.MEDIANCUT).save(path, optimize=True)


def playground(page: Page) -> None:
    """A question with two calls, answered."""
    page.get_by_label("Your question").fill(QUESTION)
    page.get_by_role("button", name="Ask").click()
    page.get_by_role("button", name="Copy").wait_for(timeout=60_000)


def live(page: Page) -> None:
    """The live view, after some time."""
    page.get_by_role("link", name="Live").click()
    page.wait_for_timeout(45_000)


def main() -> None:
    """Takes them all."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with demonstration() as url, launched() as browser:
        take(browser, url, FOLDER, width=1200, height=760, scheme="light", act=playground)
        take(browser, url, FOLDER, width=1200, height=1180, scheme="light", act=live)
        take(browser, url, FOLDER, width=390, height=844, scheme="dark", act=playground)


if __name__ == "__main__":
    main()
