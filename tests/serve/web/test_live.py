import re

import pytest
from playwright.sync_api import Page, expect

from tests.fakes import wait_until
from tests.serve.web.site import Site


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
    in_call = 2 if policy == "preserve" else 0
    wait_until(lambda: legend(page, "chart-device")["in a call"] == in_call)  # the charts are drawn a moment after the tables
    device = legend(page, "chart-device")
    assert sum(device.values()) == memory["device_blocks"]
    assert device["in a call"] == in_call and device["running"] > 0
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


@pytest.mark.slow
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
