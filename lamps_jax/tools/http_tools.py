"""Tools that are HTTP endpoints: arguments go out as a query or as JSON, what comes back is read within bounds."""

import asyncio
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import KW_ONLY
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, Literal
from urllib.parse import quote

import httpx
from pydantic import Field
from pydantic.dataclasses import dataclass

from lamps_jax.tools.background import BackgroundLoop
from lamps_jax.tools.limits import STRICT, ToolLimits, check_schema
from lamps_jax.tools.tool import Tool, ToolError, ToolUnavailable

MAX_JSON_BYTES = 1 << 20
"""Longest response out of which a part is taken."""

MAX_ERROR_CHARS = 200
"""How much of a response that reports an error is shown to the model."""

_QUERY_METHODS = ("GET", "DELETE")
_TRY_AGAIN = (429, 502, 503, 504)
_PLACEHOLDER = re.compile(r"\{([^{}/]+)\}")


@dataclass(frozen=True, config=STRICT)
class HttpToolConfig(ToolLimits):
    """An HTTP endpoint that a model may call.

    Attributes:
        name: Of the tool.
        url: Where it is. ``{argument}`` in the path stands for an argument; host and query are the same for every call.
        method: GET and DELETE send the arguments as a query, the others as a JSON object.
        headers: Sent with each request.
        parameters: JSON schema of the arguments.
        result: JSON pointer (RFC 6901) to the part of the response that is shown to the model; None: all of it.
    """

    name: str
    url: str = Field(repr=False)
    _: KW_ONLY
    description: str = ""
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "GET"
    headers: dict[str, str] = Field(default_factory=dict, repr=False)
    parameters: dict[str, Any] = Field(default_factory=dict)
    result: str | None = None

    def __post_init__(self) -> None:
        address, _, query = self.url.partition("?")
        if not re.match(r"https?://[^/{}]+(/|$)", address) or "{" in query or "#" in self.url:
            raise ValueError("url must begin with http:// or https:// and a host; {argument} may stand in its path only")
        try:
            httpx.URL(address)
        except httpx.InvalidURL as error:
            raise ValueError(f"url is no address: {error}") from None
        if any(character in value for value in self.headers.values() for character in "\r\n"):
            raise ValueError("a header has a line break in it; look at the environment variables it is made of")
        check_schema(self.parameters)
        properties, required = self.parameters.get("properties", {}), self.parameters.get("required", [])
        for name in self.path_parameters:
            if name not in properties or name not in required:
                raise ValueError(f"the url has {{{name}}}, so {name} must be one of the parameters and required")
        if taken := sorted(set(httpx.QueryParams(query)) & set(properties)):
            raise ValueError(f"the url sets {taken[0]} already, so it cannot be a parameter")
        if self.result is not None and self.result and not self.result.startswith("/"):
            raise ValueError(f"result must be a JSON pointer such as /current/summary, got {self.result!r}")

    @property
    def path_parameters(self) -> tuple[str, ...]:
        """Arguments that stand in the path."""
        return tuple(_PLACEHOLDER.findall(self.url))


class HttpTools:
    """Endpoints that share one client and its connections, on an event loop in the background."""

    def __init__(self, loop: BackgroundLoop):
        self._loop = loop
        self._client: httpx.AsyncClient | None = None

    def tools(self, configs: Iterable[HttpToolConfig]) -> tuple[Tool, ...]:
        """A tool for each endpoint."""
        return tuple(self._tool(config) for config in configs)

    def stop(self) -> None:
        """Closes the connections."""
        client, self._client = self._client, None
        if client is not None:
            self._loop.run(client.aclose())

    def _tool(self, config: HttpToolConfig) -> Tool:
        async def call(**arguments: Any) -> str:
            return await asyncio.wrap_future(self._loop.submit(self._call(config, arguments)))

        parameters = {"type": "object", "properties": {}, "additionalProperties": False} | config.parameters
        return Tool(config.name, config.description, parameters, call, **config.limits)

    async def _call(self, config: HttpToolConfig, arguments: Mapping[str, Any]) -> str:
        if self._client is None:
            self._client = _client()
        request = _request(self._client, config, arguments)
        host = request.url.host
        try:
            async with asyncio.timeout(config.timeout_s):
                response = await self._client.send(request, stream=True, follow_redirects=False)
                try:
                    return await _read(response, config)
                finally:
                    await response.aclose()
        except httpx.ConnectError as error:
            raise ToolUnavailable(f"{host} cannot be reached") from error
        except httpx.TransportError as error:
            raise ToolUnavailable(f"the connection to {host} broke") from error


def _client() -> httpx.AsyncClient:
    # What one user's call is answered must not travel along with another's: no cookie is kept.
    cookies = CookieJar(policy=DefaultCookiePolicy(allowed_domains=[]))
    # A compressed answer could be a thousand times as long as what is read of it.
    headers = {"User-Agent": "lamps-jax", "Accept": "*/*", "Accept-Encoding": "identity"}
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=20)
    return httpx.AsyncClient(headers=headers, cookies=cookies, limits=limits, timeout=None)


def _request(client: httpx.AsyncClient, config: HttpToolConfig, arguments: Mapping[str, Any]) -> httpx.Request:
    path, _, query = config.url.partition("?")
    url = httpx.URL(_filled(path, arguments))
    rest = {name: value for name, value in arguments.items() if name not in config.path_parameters}
    pairs = list(httpx.QueryParams(query).multi_items())
    body = None
    if config.method in _QUERY_METHODS:
        pairs += [pair for name, value in rest.items() for pair in _query(name, value)]
    else:
        body = rest
    return client.build_request(config.method, url.copy_with(params=pairs) if pairs else url, json=body, headers=config.headers)


def _filled(path: str, arguments: Mapping[str, Any]) -> str:
    """The path with arguments in their places; none of them can lead to another place than its own."""
    segments = []
    for segment in path.split("/"):
        filled = _PLACEHOLDER.sub(lambda found: quote(_plain(arguments.get(found[1])), safe=""), segment)
        if filled != segment and filled in ("", ".", ".."):
            raise ToolError(f"{_PLACEHOLDER.findall(segment)[0]} must be a name, got {filled!r}")
        segments.append(filled)
    return "/".join(segments)


def _query(name: str, value: Any) -> list[tuple[str, str]]:
    if value is None:
        return []
    return [(name, _plain(each)) for each in (value if isinstance(value, list) else [value])]


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


async def _read(response: httpx.Response, config: HttpToolConfig) -> str:
    if response.headers.get("content-encoding", "identity") != "identity":
        raise ToolError("the response is compressed, which was not asked for")
    if not response.is_success:
        raise _status_error(response, await _text(response, 4 * MAX_ERROR_CHARS))
    if config.result is None:
        return await _text(response, 4 * config.max_result_chars + 1)  # no character has more bytes than four
    text = await _text(response, MAX_JSON_BYTES + 1)
    if response.num_bytes_downloaded > MAX_JSON_BYTES:
        raise ToolError(f"the response has more than {MAX_JSON_BYTES} bytes")
    try:
        found = _pointed_at(json.loads(text), config.result)
    except (ValueError, RecursionError) as error:
        raise ToolError("the response is not JSON") from error
    return _plain(found)


async def _text(response: httpx.Response, max_bytes: int) -> str:
    """The first bytes of the response, as text."""
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk[: max_bytes - len(body)]
        if len(body) >= max_bytes:
            break
    try:
        return body.decode(response.charset_encoding or "utf-8", "replace")
    except LookupError:
        return body.decode("utf-8", "replace")


def _status_error(response: httpx.Response, text: str) -> ToolError:
    redirected = ", and redirects are not followed" if response.is_redirect else ""
    said = f": {' '.join(text.split())[:MAX_ERROR_CHARS]}" if text.strip() and not response.is_redirect else ""
    message = f"status {response.status_code}{redirected}{said}"
    return (ToolUnavailable if response.status_code in _TRY_AGAIN else ToolError)(message)


def _pointed_at(document: Any, pointer: str) -> Any:
    """The part of a JSON document that a pointer leads to."""
    part = document
    for key in pointer.split("/")[1:]:
        key = key.replace("~1", "/").replace("~0", "~")
        if isinstance(part, dict) and key in part:
            part = part[key]
        elif isinstance(part, list) and key.isdecimal() and int(key) < len(part):
            part = part[int(key)]
        else:
            raise ToolError(f"the response has nothing at {pointer}")
    return part
