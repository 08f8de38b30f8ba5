"""The page as a whole: by keyboard, for every eye and ear, and with the embedded model behind it."""

import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.fakes import wait_until
from tests.serve.web.checks import low_contrast, misbuilt, overflow, unnamed
from tests.serve.web.site import SIZES, ask


def focused(page: Page) -> str:
    """What the keyboard is at, by its name."""
    return page.evaluate(
        """() => {
          const node = document.activeElement, style = getComputedStyle(node);
          const visible = node === document.body || style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
          const name = node.labels?.[0]?.textContent ?? node.textContent.trim();
          return (visible ? "" : "unseen: ") + (node === document.body ? "" : name);
        }"""
    )


def test_everything_can_be_done_with_the_keyboard_in_an_order_that_makes_sense(site, open_page):
    page = open_page(site.url)
    expect(page.get_by_role("status").first).to_have_text("toy is ready")
    page.locator("#skip").focus()
    names = [focused(page)]
    while names.count(names[0]) < 2 and len(names) < 40:
        page.keyboard.press("Tab")
        names.append(focused(page))
    around = [name for name in names[:-1] if name]
    assert around[:3] == ["Skip to the content", "Playground", "Live"]
    assert around[3:10] == [
        *("What is 48*37?", "Who wrote Moby-Dick?", "What day of the week is 2030-10-15?"),
        "How many years lie between 1500 and the completion of Oath of the Horatii?",
        *("In the kitchen there is a ladle. Take the ladle.", "Hello!", "Your question"),
    ]
    assert around[10:] == [
        *("Ask", "Settings", "System message", "Temperature", "Most tokens", "Let the model call tools"),
        *("Send the conversation so far", "New conversation"),
    ]
    page.keyboard.press("Enter")  # the skip link has the focus again
    assert page.evaluate("document.activeElement.id") == "main"
    for _ in range(7):
        page.keyboard.press("Tab")
    page.keyboard.type("What is 48*37?")
    page.keyboard.press("Enter")
    expect(page.locator(".turn .text")).to_have_text("It is 1776.")
    assert focused(page) == "Your question"
    while focused(page) != "Live":
        page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Order of service")).to_be_visible()
    while focused(page) != "As a table":
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("cell", name="now").or_(page.get_by_role("rowheader", name="now")).first).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", SIZES)
def test_nothing_is_cut_off_unnamed_or_hard_to_read(site, open_page, width, scheme):
    def check() -> None:
        assert (overflow(page), low_contrast(page), unnamed(page), misbuilt(page)) == (0, [], [], [])

    page = open_page(site.url, width=width, scheme=scheme, reduced_motion="reduce")
    expect(page.get_by_role("status").first).to_have_text("toy is ready")
    page.locator("#settings").evaluate("(node) => { node.open = true; }")
    check()
    ask(page, "What is 48*37?")
    expect(page.get_by_role("button", name="Copy")).to_be_visible()
    ask(page, "x" * 600)
    expect(page.get_by_role("button", name="Try again")).to_be_visible()
    ask(page, "Hang")
    expect(page.locator(".spinner")).to_be_visible()
    assert page.locator(".spinner").evaluate("(node) => getComputedStyle(node).animationName") == "none"
    check()
    page.get_by_role("link", name="Live").click()
    expect(page.get_by_role("table", name="Latencies")).to_be_visible()
    page.evaluate("for (const node of document.querySelectorAll('#view-live details')) node.open = true")
    expect(page.get_by_role("table", name="Order of service")).to_contain_text("in Slow")
    check()


SERVE = "from lamps_jax.cli import main; main()"


@pytest.fixture
def embedded_url() -> Iterator[str]:
    """The address of a server of the embedded model, started as its users do."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    options = "--policy lamps --predictor history --max-num-seqs 2 --max-model-len 256"  # few programs to compile
    command = [sys.executable, "-c", SERVE, "serve", "--port", str(port), *options.split()]
    with subprocess.Popen(command, cwd=Path(__file__).parents[3], stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: is_ready(url) or process.poll() is not None, timeout_s=240)
            assert process.poll() is None, f"the server ended with status {process.returncode}"
            yield url
        finally:
            process.terminate()


def is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", timeout=5.0).status_code == 200
    except httpx.HTTPError:
        return False


@pytest.mark.long
def test_the_embedded_model_answers_the_examples_of_the_page(embedded_url, open_page):
    page = open_page(embedded_url)
    examples = page.locator("#examples button").all_inner_texts()
    for number, example in enumerate(examples):
        expect(page.get_by_role("button", name="Ask", exact=True)).to_be_enabled()
        ask(page, example)
        expect(page.get_by_role("button", name="Copy")).to_have_count(number + 1, timeout=60_000)
    expect(page.get_by_label("Send the conversation so far")).not_to_be_checked()
    answers = [text.strip() for text in page.locator(".turn .text").all_inner_texts()]
    assert answers[:5] == ["1776", "Herman Melville", "Tuesday", "284", "I have the ladle."]
    tools = [re.sub("Call of the tool ", "", node.get_attribute("aria-label") or "") for node in page.locator(".call").all()]
    assert tools == ["Calculator", "Search", "Calendar", "Search", "Calculator", "World", "World"]
    page.get_by_role("link", name="Live").click()
    expect(page.locator("#live-what")).to_contain_text("embedded under the policy lamps")
