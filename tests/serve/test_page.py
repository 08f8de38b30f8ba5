import re
from collections.abc import Iterator

import httpx
import pytest

from lamps_jax.serve.app import ServerState, create_app
from lamps_jax.serve.page import WEB
from tests.serve.browser import served

TYPES = {"html": "text/html", "css": "text/css", "js": "javascript", "svg": "image/svg+xml"}


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with served(create_app(ServerState(), model_name="toy")) as url, httpx.Client(base_url=url) as one:
        yield one


def paths() -> list[str]:
    """Where each file of the page is served."""
    return ["/", *(f"/web/{file.name}" for file in sorted(WEB.iterdir()))]


def test_the_page_is_served_before_the_engine_is_there_and_names_files_that_exist(client):
    page = client.get("/")
    assert page.status_code == 200
    assert set(re.findall(r'(?:href|src)="(web/[^"]+)"', page.text)) <= {path[1:] for path in paths()}


@pytest.mark.parametrize("path", paths())
def test_each_file_has_its_type_and_headers_that_bind_it_to_this_server(client, path):
    file = client.get(path)
    assert TYPES[(path.rpartition(".")[2] if path != "/" else "html")] in file.headers["content-type"]
    assert "default-src 'none'" in file.headers["content-security-policy"]
    assert file.headers["x-content-type-options"] == "nosniff"
    assert not re.search(r"https?://(?!www\.w3\.org/)", file.text)


@pytest.mark.parametrize("path", paths())
def test_a_file_that_has_not_changed_is_not_sent_again(client, path):
    tag = client.get(path).headers["etag"]
    again = client.get(path, headers={"If-None-Match": tag})
    assert again.status_code == 304 and not again.content and again.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("path", ["/web/nothing.js", "/web/%2e%2e/app.py", "/web/", "/web"])
def test_nothing_else_is_served_there(client, path):
    answer = client.get(path, follow_redirects=True)
    assert answer.status_code == 404 and answer.json()["error"]["message"]


def test_files_are_only_to_be_read(client):
    assert client.post("/web/main.js").status_code == 405
    assert client.head("/").status_code == 200
