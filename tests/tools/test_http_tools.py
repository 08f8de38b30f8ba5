import json
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pydantic
import pytest

from lamps_jax.tools.background import BackgroundLoop
from lamps_jax.tools.http_tools import MAX_ERROR_CHARS, HttpToolConfig, HttpTools
from lamps_jax.tools.tool import Tool
from tests.tools.calls import Caller
from tests.tools.endpoints import Endpoints, endpoints

ANYTHING = {"additionalProperties": True}
Make = Callable[..., Tool]


@pytest.fixture(scope="module")
def server() -> Iterator[Endpoints]:
    with endpoints() as server:
        yield server


@pytest.fixture
def make(server: Endpoints) -> Iterator[Make]:
    loop = BackgroundLoop("test")
    made = HttpTools(loop)

    def make(path: str, **options: Any) -> Tool:
        url = path if path.startswith("http") else server.url + path
        (tool,) = made.tools([HttpToolConfig("Ask", url, **{"parameters": ANYTHING, **options})])
        return tool

    yield make
    made.stop()
    loop.stop()


def parameters(*names: str) -> dict[str, Any]:
    return {"properties": {name: {"type": "string"} for name in names}, "required": list(names)}


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_arguments_go_out_as_a_query(method: Any, make: Make, caller: Caller):
    tool = make("/echo?units=metric", method=method)
    said = json.loads(caller.result(tool, city="Tromsø & Bodø", days=3, near=True, tags=["a", "b"], where={"x": 1}, no=None))
    assert (said["method"], said["path"], said["body"]) == (method, "/echo", "")
    assert said["query"] == [
        ["units", "metric"], ["city", "Tromsø & Bodø"], ["days", "3"], ["near", "true"],
        ["tags", "a"], ["tags", "b"], ["where", '{"x": 1}'],
    ]  # fmt: skip


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_arguments_go_out_as_json(method: Any, make: Make, caller: Caller):
    said = json.loads(caller.result(make("/echo?v=2", method=method), city="Tromsø", days=[1, None]))
    assert (said["method"], said["type"], said["query"]) == (method, "application/json", [["v", "2"]])
    assert json.loads(said["body"]) == {"city": "Tromsø", "days": [1, None]}


def test_a_call_without_arguments_has_no_query(make: Make, caller: Caller, server: Endpoints):
    caller.result(make("/echo/plain"))
    assert server.requests[-1] == "GET /echo/plain"


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ("Oslo", "/echo/Oslo/now"),
        ("a b", "/echo/a%20b/now"),
        ("../admin", "/echo/..%2Fadmin/now"),
        ("a?b=c#d", "/echo/a%3Fb%3Dc%23d/now"),
        ("%2e%2e", "/echo/%252e%252e/now"),
        ("@evil.example", "/echo/%40evil.example/now"),
        ("ü", "/echo/%C3%BC/now"),
        (7, "/echo/7/now"),
    ],
)
def test_an_argument_in_the_path_stays_in_its_place(value: Any, path: str, make: Make, caller: Caller, server: Endpoints):
    tool = make("/echo/{city}/now", parameters=parameters("city", "days"))
    said = json.loads(caller.result(tool, city=value, days="2"))
    assert server.requests[-1] == f"GET {path}?days=2"
    assert said["query"] == [["days", "2"]]


@pytest.mark.parametrize("value", ["", ".", ".."])
def test_an_argument_that_would_lead_to_another_path_is_refused(value: str, make: Make, caller: Caller, server: Endpoints):
    before = len(server.requests)
    error = caller.error(make("/echo/{city}/now", parameters=parameters("city")), city=value)
    assert error == f"error: city must be a name, got {value!r}"
    assert len(server.requests) == before


def test_headers_are_sent_and_no_cookie_travels_from_one_call_to_the_next(make: Make, caller: Caller):
    tool = make("/echo", headers={"X-Key": "secret"})
    assert [json.loads(caller.result(tool))[name] for name in ("key", "cookie")] == ["secret", None]
    assert json.loads(caller.result(tool))["cookie"] is None


@pytest.mark.parametrize("status", [400, 401, 404, 500])
@pytest.mark.parametrize("max_retries", [0, 2])
def test_a_status_that_is_no_success_is_told_once(status: int, max_retries: int, make: Make, caller: Caller, server: Endpoints):
    before = len(server.requests)
    tool = make(f"/status/{status}", max_retries=max_retries, retry_delay_s=0)
    assert caller.error(tool) == f"error: status {status}: because of this"
    assert len(server.requests) == before + 1


@pytest.mark.parametrize("status", [429, 502, 503, 504])
@pytest.mark.parametrize("max_retries", [0, 2])
def test_a_server_that_is_busy_is_asked_again_if_the_tool_says_so(
    status: int, max_retries: int, make: Make, caller: Caller, server: Endpoints
):
    before = len(server.requests)
    tool = make(f"/status/{status}", max_retries=max_retries, retry_delay_s=0)
    assert caller.error(tool) == f"error: status {status}: because of this"
    assert len(server.requests) == before + 1 + max_retries


@pytest.mark.parametrize(("path", "status"), [("/redirect", 302), ("/elsewhere", 307)])
def test_a_redirect_is_not_followed(path: str, status: int, make: Make, caller: Caller, server: Endpoints):
    before = len(server.requests)
    assert caller.error(make(path)) == f"error: status {status}, and redirects are not followed"
    assert len(server.requests) == before + 1


def test_a_server_that_hangs_times_out_and_its_connection_is_given_up(make: Make, caller: Caller, server: Endpoints):
    server.gone.clear()
    assert caller.error(make("/hang", timeout_s=0.2)) in ("error: timed out after 0.2 s", "error: timed out")
    assert server.gone.wait(10)


def test_a_server_that_drips_times_out_too(make: Make, caller: Caller, server: Endpoints):
    server.gone.clear()
    assert caller.error(make("/drip", timeout_s=0.2)).startswith("error: timed out")
    assert server.gone.wait(10)


def test_a_client_that_leaves_ends_the_request(make: Make, caller: Caller, server: Endpoints):
    server.gone.clear()
    before = len(server.requests)
    caller.start("r", make("/hang"))
    while len(server.requests) == before:
        time.sleep(0.002)
    caller.runner.cancel("r")
    assert server.gone.wait(10)


def test_of_a_response_without_end_only_the_beginning_is_read(make: Make, caller: Caller, server: Endpoints):
    server.gone.clear()
    assert caller.result(make("/huge", max_result_chars=50)) == "x" * 47 + "..."
    assert server.gone.wait(10)


@pytest.mark.parametrize("max_retries", [0, 1])
def test_a_connection_that_breaks_is_an_error_and_is_made_again_only_if_the_tool_says_so(
    max_retries: int, make: Make, caller: Caller, server: Endpoints
):
    server.broken_times, before = 1, len(server.requests)
    outcome = caller.call(make("/flaky", max_retries=max_retries, retry_delay_s=0))
    assert outcome.result == ("well again" if max_retries else "error: the connection to 127.0.0.1 broke")
    assert len(server.requests) == before + 1 + max_retries
    server.broken_times = 0


def test_half_a_response_is_none(make: Make, caller: Caller):
    assert caller.error(make("/break")) == "error: the connection to 127.0.0.1 broke"


def test_a_server_that_is_not_there_cannot_be_reached(make: Make, caller: Caller):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/"
        assert caller.error(make(url)) == "error: 127.0.0.1 cannot be reached"


def test_a_compressed_response_is_not_unpacked(make: Make, caller: Caller):
    assert caller.error(make("/gzip")) == "error: the response is compressed, which was not asked for"


def test_text_is_read_in_its_own_encoding_and_unreadable_text_is_no_failure(make: Make, caller: Caller):
    assert caller.result(make("/latin")) == "schön"
    assert caller.result(make("/nonsense")) == "��"


@pytest.mark.parametrize(
    ("pointer", "found"),
    [
        ("/a~1b/text", "said"),
        ("/a~1b/list/1/x", "ä"),
        ("/a~1b/list", '[1, {"x": "ä"}]'),
        ("/a~1b/none", "null"),
        ("", '{"a/b": {"list": [1, {"x": "ä"}], "text": "said", "none": null}}'),
    ],
)
def test_a_pointer_picks_a_part_of_the_response(pointer: str, found: str, make: Make, caller: Caller):
    assert caller.result(make("/json", result=pointer)) == found


@pytest.mark.parametrize(
    ("path", "pointer", "told"),
    [
        ("/json", "/a~1b/list/2", "the response has nothing at /a~1b/list/2"),
        ("/json", "/a~1b/text/0", "the response has nothing at /a~1b/text/0"),
        ("/latin", "/a", "the response is not JSON"),
        ("/big_json", "/a", "the response has more than 1048576 bytes"),
    ],
)
def test_a_pointer_that_leads_nowhere_is_told(path: str, pointer: str, told: str, make: Make, caller: Caller):
    assert caller.error(make(path, result=pointer)) == f"error: {told}"


def test_a_response_that_reports_an_error_is_cut(make: Make, caller: Caller):
    assert MAX_ERROR_CHARS == 200
    assert len(caller.error(make("/status/404"))) < 300


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"url": "ftp://a/b"}, "url must begin with http:// or https:// and a host"),
        ({"url": "https:///b"}, "url must begin with http:// or https:// and a host"),
        ({"url": "http://{host}/"}, "url must begin with http:// or https:// and a host"),
        ({"url": "http://a/?q={q}"}, "url must begin with http:// or https:// and a host"),
        ({"url": "http://a:port/"}, "url is no address"),
        ({"url": "http://a/{b}"}, "the url has {b}, so b must be one of the parameters and required"),
        ({"url": "http://a/?key=1", "parameters": parameters("key")}, "the url sets key already"),
        ({"headers": {"A": "b\nC: d"}}, "a header has a line break in it"),
        ({"parameters": {"type": "objekt"}}, "the parameters are no JSON schema: \\$.type"),
        ({"result": "a.b"}, "result must be a JSON pointer such as /current/summary, got 'a.b'"),
        ({"method": "HEAD"}, "Input should be 'GET', 'POST'"),
        ({"timeout_s": "5"}, "Input should be a valid number"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_configuration_that_makes_no_sense_is_refused(fields: dict[str, Any], said: str):
    with pytest.raises(pydantic.ValidationError, match=said):
        HttpToolConfig(**({"name": "Ask", "url": "http://a/"} | fields))


def test_neither_the_url_nor_the_headers_are_part_of_how_a_tool_looks(make: Make):
    config = HttpToolConfig("Ask", "http://a/?key=secret", headers={"A": "secret"})
    assert "secret" not in repr(config) + repr(make("/echo", headers={"A": "secret"}))


def test_an_endpoint_without_parameters_takes_none(make: Make):
    assert make("/echo", parameters={}).parameters == {"type": "object", "properties": {}, "additionalProperties": False}
