import json
import re
from typing import Any

import pytest
from playwright.sync_api import Page, Request, expect
from starlette.responses import JSONResponse

from tests.fakes import wait_until
from tests.serve.web.site import Site, ask


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
