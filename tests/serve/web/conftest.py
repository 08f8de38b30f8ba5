"""Chromium, sites for it to look at, and pages in which nothing may go wrong."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.serve.browser import CHROMIUM, launched, served
from tests.serve.web.site import SIZES, Site


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("chromium is not on this machine; on Debian: apt-get install chromium")
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
