"""Who may ask: API keys, sent as ``Authorization: Bearer KEY``, and compared in the same time whichever is right."""

import hashlib
import hmac
import logging
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from starlette.types import ASGIApp, Receive, Scope, Send

from lamps_jax.serve.account import account_of
from lamps_jax.serve.errors import error_response
from lamps_jax.serve.protocol import RequestError
from lamps_jax.serve.server_config import ServerConfig, check_key

logger = logging.getLogger(__name__)

OPEN_PATHS = frozenset({"/", "/health", "/version"})
"""What everybody may see. A path that is not named here needs a key."""

OPEN_PREFIX = "/web/"
"""Below it lies what the page is made of."""

METRICS_PATH = "/metrics"

_BEARER = re.compile(rb"bearer +([\x21-\x7e]+) *", re.IGNORECASE)
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")


class ApiKeys:
    """The keys that are known, each with a name by which it may be spoken of; only their digests are kept.

    Args:
        keys: Known for good; their names count them.
        file: Holds more of them: one a line, ``name:key`` or ``key``; empty lines and those that begin with ``#`` do not count.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it holds no key, or something that cannot be one.
    """

    def __init__(self, keys: Sequence[str] = (), file: Path | None = None):
        self._given = tuple((f"key-{number}", _digest(key.encode())) for number, key in enumerate(keys, start=1))
        self._file = file
        self._digests = self._given if file is None else (*self._given, *_read(file))

    def __bool__(self) -> bool:
        return bool(self._digests)

    @property
    def names(self) -> tuple[str, ...]:
        """What the keys are called."""
        return tuple(name for name, _ in self._digests)

    def name_of(self, key: bytes) -> str | None:
        """The name of `key`, if it is known; in a time that tells nothing of which it is, or how near to one."""
        given, found = _digest(key), None
        for name, digest in self._digests:
            if hmac.compare_digest(digest, given):
                found = name
        return found

    def reload(self) -> None:
        """Reads the file again; if that cannot be, the keys stay what they were and the log says why."""
        if self._file is None:
            return
        try:
            self._digests = (*self._given, *_read(self._file))
        except (OSError, ValueError) as error:
            logger.error("the API keys stay what they were: %s", error)
        else:
            logger.info("read %s: %d API keys are known", self._file, len(self._digests))


class AuthMiddleware:
    """Lets through who has a key, and whoever wants what is open to all; answers 401 otherwise."""

    def __init__(self, app: ASGIApp, *, keys: ApiKeys, metrics_key: str | None):
        self._app, self._keys = app, keys
        self._metrics_keys = ApiKeys(() if metrics_key is None else (metrics_key,))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        keys = self._keys_for(scope)
        if not keys:
            await self._app(scope, receive, send)
            return
        given = bearer_key(scope["headers"])
        name = None if given is None else keys.name_of(given)
        if name is not None:
            account_of(scope).key_name = name
            await self._app(scope, receive, send)
            return
        message = "this server needs an API key; send it in the header Authorization: Bearer KEY"
        if given is not None:
            message = "this API key is not known here"
        error = RequestError(message, status=401, code="invalid_api_key", headers={"WWW-Authenticate": "Bearer"})
        account_of(scope).error_code = error.code
        await error_response(error)(scope, receive, send)

    def _keys_for(self, scope: Scope) -> ApiKeys | None:
        """The keys of which one is needed; None, or none at all, where everybody may pass."""
        if scope["type"] != "http" or scope["path"] in OPEN_PATHS or scope["path"].startswith(OPEN_PREFIX):
            return None
        return self._metrics_keys if scope["path"] == METRICS_PATH else self._keys


def make_keys(config: ServerConfig) -> ApiKeys:
    """The keys that a configuration names.

    Raises:
        OSError: If their file cannot be read.
        ValueError: If it holds no key, or something that cannot be one.
    """
    return ApiKeys(config.api_keys, config.api_key_file)


def bearer_key(headers: Iterable[tuple[bytes, bytes]]) -> bytes | None:
    """The key in the headers of a request; None if there is none, or more than one."""
    given = [value for name, value in headers if name == b"authorization"]
    match = _BEARER.fullmatch(given[0]) if len(given) == 1 else None
    return None if match is None else match[1]


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()


def _read(file: Path) -> list[tuple[str, bytes]]:
    try:
        content = file.read_text(encoding="utf-8")
    except OSError as error:
        raise OSError(f"cannot read the API keys in {file}: {error.strerror or error}") from error
    digests: list[tuple[str, bytes]] = []
    for number, line in enumerate(content.splitlines(), start=1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        name, colon, key = line.partition(":")
        if not (colon and _NAME.fullmatch(name)):
            name, key = f"line-{number}", line
        check_key(key, f"line {number} of {file}")
        digests.append((name, _digest(key.encode())))
    if not digests:
        raise ValueError(f"{file} holds no API key; write one a line, or leave the option out to serve everybody")
    return digests
