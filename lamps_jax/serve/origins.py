"""Which web pages may use the server: its own, and those that it is told of.

A browser sends what any page asks it to, also to a server that only this machine reaches. It says for whom, in the header
``Origin``, wherever a request could have an effect; programs that are no browsers send none, and are not concerned.
"""

import ipaddress
import re
from collections.abc import Sequence

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from lamps_jax.serve.account import account_of
from lamps_jax.serve.errors import error_response
from lamps_jax.serve.protocol import RequestError
from lamps_jax.serve.server_config import ANY_ORIGIN
from lamps_jax.serve.traffic import header_of

EXPOSED_HEADERS = ("X-Request-Id", "Retry-After")
"""What scripts of other pages may read of an answer's headers, beside those that they always may."""

PREFLIGHT_S = 600
"""For how long browsers may remember what they have been allowed."""

_LOCAL_SUFFIXES = (".localhost", ".local", ".internal", ".home.arpa")


class OriginMiddleware:
    """Refuses what the pages of others ask for, with 403.

    Args:
        has_keys: Whether the server knows its clients by keys. One that does not takes a name by which it is called for its own
            only if no foreigner can own it: a page may have the name that it came under lead to this machine afterwards.
    """

    def __init__(self, app: ASGIApp, *, allowed: Sequence[str], has_keys: bool):
        self._app, self._allowed, self._has_keys = app, frozenset(allowed), has_keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        origin = header_of(scope["headers"], b"origin") if scope["type"] == "http" else None
        if origin is None or self._may_ask(origin, header_of(scope["headers"], b"host") or ""):
            await self._app(scope, receive, send)
            return
        message = (
            f"pages of {origin[:100]!r} may not use this server; a browser asked for one. Start the server with "
            "--allowed-origin and that origin if they shall"
        )
        error = RequestError(message, status=403, code="foreign_origin")
        account_of(scope).error_code = error.code
        await error_response(error)(scope, receive, send)

    def _may_ask(self, origin: str, host: str) -> bool:
        if ANY_ORIGIN in self._allowed or origin in self._allowed:
            return True
        _, separator, place = origin.partition("://")
        return bool(separator) and place.lower() == host.lower() and (self._has_keys or _is_local_name(place))


def add_cors(app: FastAPI, allowed: Sequence[str]) -> None:
    """Lets browsers show the answers of `app` to pages of those origins."""
    if allowed:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(allowed),
            allow_methods=["GET", "POST"],
            allow_headers=["*"],
            expose_headers=EXPOSED_HEADERS,
            max_age=PREFLIGHT_S,
        )


def _is_local_name(place: str) -> bool:
    """Whether a host, with its port or not, is an address, or a name that is not looked up where anybody may register one."""
    name = re.sub(r":\d*$", "", place.lower()).removesuffix(".")
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return "." not in name or name.endswith(_LOCAL_SUFFIXES)
    return True
