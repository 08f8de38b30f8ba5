"""The page in Chromium, against the real application; the model is a script but in the last test."""

import json
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, Request, expect
from starlette.responses import JSONResponse

from lamps_jax.engine.engine import Engine
from lamps_jax.serve.app import ServerState, create_app
from lamps_jax.serve.async_engine import AsyncEngine
from lamps_jax.tools.calculator import CALCULATOR
from lamps_jax.tools.tool import Tool, one_string
from tests.fakes import ScriptedExecutor, make_engine, wait_until
from tests.serve.browser import CHROMIUM, launched, served
from tests.serve.page_checks import low_contrast, misbuilt, overflow, unnamed

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not on this machine; on Debian: apt-get install chromium")

SIZES = {1440: 900, 390: 844}
SCHEMES = ("light", "dark")


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


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as one:
        yield one


@pytest.fixture
def open_site() -> Iterator[Callable[..., Site]]:
    """Starts a site, with its engine unless told not to."""
    running: list[tuple[Site, Any]] = []

    def open_one(site: Site | None = None, *, loaded: bool = True) -> Site:
        site = site or Site()
        if loaded:
            site.start_engine()
        server = served(site.app)
        site.url = server.__enter__()
        running.append((site, server))
        return site

    yield open_one
    for site, server in running:
        site.release.set()
        server.__exit__(None, None, None)
        assert site.engine.num_unfinished == 0


@pytest.fixture
def site(open_site) -> Site:
    return open_site()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Opens a page; in the end nothing may have gone wrong in it, and nothing have been asked of anybody else."""
    pages: list[tuple[Page, str, list[str], list[str]]] = []

    def open_one(url: str, *, width: int = 1440, scheme: str = "light", **options: Any) -> Page:
        size = {"width": width, "height": SIZES[width]}
        context = browser.new_context(viewport=size, color_scheme=scheme, **options)  # pyright: ignore[reportArgumentType]
        page = context.new_page()
        page.set_default_timeout(10_000)
        complaints, asked = list[str](), list[str]()
        page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        pages.append((page, url, complaints, asked))
        page.goto(url)
        return page

    yield open_one
    for page, url, complaints, asked in pages:
        page.context.close()
        assert [text for text in complaints if not text.startswith("Failed to load resource")] == []
        assert asked and all(each.startswith(url.partition("#")[0]) for each in asked)


def ask(page: Page, question: str) -> None:
    page.get_by_label("Your question").fill(question)
    page.get_by_role("button", name="Ask", exact=True).click()


def facts_of_call(page: Page, tool: str) -> dict[str, str]:
    """The lines of the card of a call."""
    card = page.get_by_label(f"Call of the tool {tool}")
    return dict(zip(card.locator("dt").all_inner_texts(), card.locator("dd").all_inner_texts(), strict=True))


@pytest.mark.parametrize(("policy", "memory"), [("preserve", "kept on the device"), ("vllm", "freed while the tool ran")])
def test_a_question_is_answered_with_each_call_its_result_its_time_and_its_handling(open_site, open_page, policy, memory):
    page = open_page(open_site(Site(policy=policy)).url)
    page.get_by_role("button", name="What is 48*37?").click()
    expect(page.locator(".turn .text")).to_have_text("It is 1776.")
    expect(page.get_by_role("button", name="Copy")).to_be_visible()
    facts = facts_of_call(page, "Calculator")
    assert (facts["expression"], facts["result"]) == ("48*37", "1776")
    assert re.fullmatch(r"[\d.]+ ms", facts["waited"]) and memory in facts["memory"]
    assert re.search(
        r"first token .* total .* 20 tokens read, \d+ written", page.locator(".turn .facts").inner_text().replace("\n", " ")
    )


def test_a_call_that_runs_shows_that_it_is_waited_for(site, open_page):
    page = open_page(site.url)
    ask(page, "Hang")
    card = page.get_by_label("Call of the tool Slow")
    expect(card.locator(".spinner")).to_be_visible()
    expect(card).to_contain_text("waiting")
    expect(page.locator(".answer")).to_have_attribute("aria-busy", "true")
    site.release.set()
    expect(page.locator(".turn .text")).to_have_text("The tool said: at last.")
    assert facts_of_call(page, "Slow")["result"] == "at last"
    expect(page.locator(".answer")).to_have_attribute("aria-busy", "false")


@pytest.mark.parametrize("way", ["button", "escape"])
def test_an_answer_comes_piece_by_piece_and_can_be_stopped(site, open_page, way):
    page = open_page(site.url)
    ask(page, "Count")
    expect(page.locator(".turn .text")).to_contain_text("tick tick")
    if way == "button":
        page.get_by_role("button", name="Stop").click()
    else:
        page.keyboard.press("Escape")
    expect(page.locator(".turn .error")).to_have_text("Stopped.")
    wait_until(lambda: site.engine.num_unfinished == 0)
    ask(page, "Hello")
    expect(page.locator(".turn").nth(1).locator(".text")).to_have_text("Hello to you, with an é and a 🙂.")


def test_an_answer_is_copied(site, browser, open_page):
    page = open_page(site.url, permissions=["clipboard-read", "clipboard-write"])
    ask(page, "Hello")
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == "Hello to you, with an é and a 🙂."


def test_what_the_server_refuses_is_told_and_can_be_asked_again(site, open_page):
    page = open_page(site.url)
    ask(page, "x" * 600)
    expect(page.locator(".turn .error")).to_contain_text("That did not work: this model's context is 512 tokens")
    expect(page.get_by_role("button", name="Try again")).to_be_visible()
    page.get_by_label("Most tokens").fill("0")
    ask(page, "Hello")
    expect(page.locator(".turn")).to_have_count(1)
    page.get_by_label("Most tokens").fill("5")
    page.get_by_role("button", name="Ask", exact=True).click()
    expect(page.locator(".turn").nth(1)).to_contain_text("The answer was cut")


def test_an_engine_that_fails_is_told_in_the_answer_and_at_the_top(site, open_page, caplog):
    page = open_page(site.url)
    ask(page, "Count")
    expect(page.locator(".turn .text")).to_contain_text("tick")
    site.executor.failure = RuntimeError("device lost")
    expect(page.locator(".turn .error")).to_contain_text("device lost")
    page.reload()
    expect(page.get_by_role("status").first).to_contain_text("device lost")
    expect(page.get_by_role("button", name="Ask", exact=True)).to_be_disabled()


def bodies(page: Page) -> list[dict[str, Any]]:
    """What the page asks of the model from now on."""
    seen: list[dict[str, Any]] = []

    def note(request: Request) -> None:
        if request.method == "POST":
            seen.append(json.loads(request.post_data or ""))

    page.on("request", note)
    return seen


def test_settings_and_the_conversation_are_sent_as_they_were_chosen(site, open_page):
    page = open_page(site.url)
    sent = bodies(page)
    expect(page.get_by_label("Send the conversation so far")).to_be_checked()
    page.get_by_label("Send the conversation so far").uncheck()
    ask(page, "Hello")
    expect(page.get_by_role("button", name="Copy")).to_have_count(1)
    page.get_by_label("System message").fill("Be brief.")
    page.get_by_label("Temperature").fill("0.7")
    page.get_by_label("Most tokens").fill("40")
    page.get_by_label("Let the model call tools").uncheck()
    page.get_by_label("Send the conversation so far").check()
    ask(page, "What is 48*37?")
    expect(page.locator(".turn").nth(1)).to_contain_text("[Calculator(48*37)")
    page.get_by_role("button", name="New conversation").click()
    expect(page.locator(".turn")).to_have_count(0)
    first, second = sent
    assert first["messages"] == [{"role": "user", "content": "Hello"}]
    assert (first["temperature"], "max_tokens" in first, "tool_choice" in first) == (0, False, False)
    assert [message["role"] for message in second["messages"]] == ["system", "user", "assistant", "user"]
    assert second["messages"][2]["content"] == "Hello to you, with an é and a 🙂."
    assert (second["temperature"], second["max_tokens"], second["tool_choice"]) == (0.7, 40, "none")


class Doorkeeper:
    """Lets only those see more than the page who have the key."""

    def __init__(self, app: Any):
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        is_open = scope["type"] != "http" or scope["path"] in ("/", "/health") or scope["path"].startswith("/web/")
        if is_open or (b"authorization", b"Bearer sesame") in scope["headers"]:
            await self._app(scope, receive, send)
            return
        error = {"message": "wrong key", "type": "invalid_request_error", "param": None, "code": "invalid_api_key"}
        await JSONResponse({"error": error}, status_code=401)(scope, receive, send)


def test_a_key_is_asked_for_where_it_is_needed_and_kept_in_this_tab_alone(open_site, open_page):
    site = Site()
    site.app.add_middleware(Doorkeeper)
    page = open_page(open_site(site).url)
    expect(page.get_by_role("status").first).to_have_text("needs an API key")
    ask(page, "Hello")
    dialog = page.get_by_role("dialog", name="API key")
    for key, then in (("guess", "does not know this key"), ("sesame", None)):
        expect(dialog.get_by_label("Key")).to_be_focused()
        dialog.get_by_label("Key").fill(key)
        page.keyboard.press("Enter")
        if then:
            expect(dialog).to_contain_text(then)
    expect(page.locator(".turn .text")).to_have_text("Hello to you, with an é and a 🙂.")
    page.get_by_role("link", name="Live").click()
    expect(page.locator("#live-what")).to_contain_text("toy under the policy preserve")
    assert page.evaluate("[sessionStorage.length, localStorage.length, document.cookie]") == [1, 0, ""]
    page.get_by_role("button", name="API key").click()
    dialog.get_by_label("Key").fill("")
    dialog.get_by_role("button", name="Use it").click()
    expect(page.get_by_role("dialog", name="API key")).to_be_visible()
    page.keyboard.press("Escape")
    page.get_by_role("link", name="Playground").click()
    ask(page, "Hello")
    dialog.get_by_role("button", name="Cancel").click()
    expect(page.locator(".turn .error")).to_have_text("That did not work: wrong key")


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


def cells(page: Page, label: str) -> list[list[str]]:
    rows = page.get_by_role("table", name=label).get_by_role("row").all()
    return [row.locator("th, td").all_inner_texts() for row in rows]


def legend(page: Page, panel: str) -> dict[str, int]:
    """Figures of a chart by their names."""
    texts = page.locator(f"#{panel} .legend li").all_inner_texts()
    return {name: int(number) for name, number in (text.rsplit(maxsplit=1) for text in texts)}


@pytest.mark.parametrize(("policy", "handling"), [("preserve", "kept"), ("vllm", "freed")])
def test_the_live_view_shows_the_queue_in_order_and_whose_the_blocks_are(open_site, open_page, policy, handling):
    site = open_site(Site(policy=policy, max_num_seqs=1))
    threads = [site.post("Hang")]
    wait_until(lambda: site.engine.scheduler.num_in_api_call == 1)
    threads.append(site.post("Count", ignore_eos=True))
    wait_until(lambda: site.engine.scheduler.num_running == 1)
    for number in (2, 3):
        threads.append(site.post("Hello"))
        wait_until(lambda number=number: site.engine.scheduler.num_waiting == number - 1)
    page = open_page(f"{site.url}/#live")
    expect(page.get_by_role("table", name="Order of service").get_by_role("row")).to_have_count(5)
    header, *rows = cells(page, "Order of service")
    by_request = [dict(zip(header, row, strict=True)) for row in rows]
    assert [row["State"] for row in by_request] == ["running", "waiting", "waiting", "in Slow"]
    assert [row["Request"] for row in by_request] == ["#1", "#2", "#3", "#0"]
    ranks = [int(row["Rank"]) for row in by_request[:3]]
    assert ranks == sorted(ranks)
    assert by_request[3]["Memory"] == handling and re.fullmatch(r"[\d.]+ m?s", by_request[3]["Call"])
    assert by_request[3]["Blocks"] == ("2" if policy == "preserve" else "0")
    assert page.locator("#tiles dd").all_inner_texts()[:3] == ["1of 1", "2", "1"]
    memory = site.engine.memory_state()
    device = legend(page, "chart-device")
    assert sum(device.values()) == memory["device_blocks"]
    assert device["in a call"] == (2 if policy == "preserve" else 0) and device["running"] > 0
    assert legend(page, "chart-requests") == {"running": 1, "waiting": 2, "in a call": 1}
    assert page.locator("#chart-device path.layer").count() == 6
    expect(page.locator("#chart-host")).to_be_hidden()
    assert not re.search("Hang|tick|Hello", page.locator("#view-live").inner_html())
    site.release.set()
    for thread in threads:
        thread.join()
    expect(page.get_by_role("table", name="Latencies").get_by_role("row")).to_have_count(4)
    expect(page.get_by_text("No request is being served.")).to_be_visible()
    _, (tool, calls, *_) = cells(page, "Calls by tool")
    assert (tool, calls) == ("Slow", "1")


def test_the_live_view_tells_of_loading_of_failure_and_of_a_pause(open_site, open_page):
    site = open_site(loaded=False)
    site.state.progress = "compiling, 2 of 7"
    page = open_page(f"{site.url}/#live")
    state = page.locator("#live-state")
    expect(state).to_have_text("Loading: compiling, 2 of 7.")
    site.start_engine()
    expect(page.locator("#live-what")).to_contain_text("toy under the policy preserve")
    expect(state).to_have_text("")
    page.get_by_role("button", name="Pause").click()
    expect(state).to_have_text("Paused.")
    page.get_by_role("button", name="Go on").click()
    assert site.state.async_engine is not None
    site.state.async_engine.stop()
    expect(state).to_have_text("the engine was stopped")


def test_the_engine_is_asked_only_while_the_live_view_is_seen(site, open_page, monkeypatch):
    asked: list[None] = []
    assert site.state.async_engine is not None
    answer = site.state.async_engine.ask
    monkeypatch.setattr(site.state.async_engine, "ask", lambda question: asked.append(None) or answer(question))
    page = open_page(site.url)
    page.wait_for_timeout(1500)
    assert not asked
    page.get_by_role("link", name="Live").click()
    expect(page.locator("#live-what")).to_contain_text("toy")
    page.get_by_role("link", name="Playground").click()
    page.wait_for_timeout(300)
    before = len(asked)
    page.wait_for_timeout(1500)
    assert len(asked) == before > 0


@pytest.mark.parametrize("scheme", SCHEMES)
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


def test_the_parts_of_the_page_are_typed_kept_and_asked_for_again(site):
    html = httpx.get(f"{site.url}/")
    assert html.headers["content-type"].startswith("text/html")
    parts = re.findall(r'(?:href|src)="(web/[^"]+)"', html.text)
    kinds = {"css": "text/css", "js": "javascript", "svg": "image/svg+xml"}
    assert {part.rpartition(".")[2] for part in parts} == set(kinds)
    for path in ("", *parts):
        part = httpx.get(f"{site.url}/{path}")
        assert part.status_code == 200 and kinds.get(path.rpartition(".")[2], "text/html") in part.headers["content-type"]
        assert (
            "default-src 'none'" in part.headers["content-security-policy"]
            and part.headers["x-content-type-options"] == "nosniff"
        )
        assert part.headers["cache-control"] == "no-cache"
        again = httpx.get(f"{site.url}/{path}", headers={"If-None-Match": part.headers["etag"]})
        assert again.status_code == 304 and not again.content
        assert not re.search(r"https?://(?!www\.w3\.org/)", part.text)
    for path in ("web/nothing.js", "web/../app.py", "web/%2e%2e/app.py", "web/"):
        assert httpx.get(f"{site.url}/{path}").status_code == 404
    assert httpx.post(f"{site.url}/web/main.js").status_code == 405


SERVE = "from lamps_jax.cli import main; main()"


@pytest.fixture
def embedded_url() -> Iterator[str]:
    """The address of a server of the embedded model, started as its users do."""
    from tests.serve.test_run import free_port, is_ready

    port = free_port()
    options = "--policy lamps --predictor history --max-num-seqs 2 --max-model-len 256"  # few programs to compile
    command = [sys.executable, "-c", SERVE, "serve", "--port", str(port), *options.split()]
    with subprocess.Popen(command, cwd=Path(__file__).parents[2], stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: is_ready(port) or process.poll() is not None, timeout_s=240)
            assert process.poll() is None, f"the server ended with status {process.returncode}"
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


@pytest.mark.slow
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
