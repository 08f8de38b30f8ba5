"""What all requests of the API have in common: how a body is read, and how it is told what is wrong with it.

Fields that nobody knows are ignored, as clients send many; known fields that this server does not support are refused unless
they have the value that changes nothing.
"""

import asyncio
import re
from collections.abc import Mapping
from typing import Any, ClassVar, NoReturn, TypeVar

from fastapi import Request
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import from_json

MAX_BODY_BYTES = 8 * 2**20
"""Bodies longer than this are refused before they are read as JSON; no context holds so much."""

MAX_PARTS = 2**16
"""Most names, objects and lists of a body; each costs as much as hundreds of characters of text."""

LARGE_BODY_BYTES = 64 * 2**10
"""Bodies longer than this are not parsed on the event loop."""

MAX_SHOWN_CHARS = 60
"""A wrong value is shown in a message only if it is no longer."""


class RequestError(Exception):
    """A request that cannot be served; the client is told why.

    Args:
        status: HTTP status.
        param: Field of the request that is to blame.
        code: Word by which programs tell errors apart.
        headers: Of the answer that tells of it.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ):
        super().__init__(message)
        self.message, self.status, self.param, self.code, self.headers = message, status, param, code, headers

    def body(self) -> dict[str, Any]:
        """The error as the OpenAI API shows it."""
        kind = "server_error" if self.status >= 500 else "invalid_request_error"
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}


def refuse(message: str, param: str) -> NoReturn:
    """Raises the error that blames one field."""
    raise RequestError(message, param=param)


class Part(BaseModel):
    """A JSON object of a request: its values are taken as they are or refused, never converted."""

    model_config = ConfigDict(strict=True, extra="allow", use_attribute_docstrings=True)


def at_most(count: int) -> Any:
    """How many items a list may have. Checking ends at the first item that is wrong: there may be millions."""
    return Field(max_length=count, fail_fast=True)


def entries_at_most(count: int) -> Any:
    """How many entries an object may have, counted before they are looked at."""

    def check(value: Any) -> Any:
        if isinstance(value, dict) and len(value) > count:
            raise ValueError(f"there may be {count} entries, not {len(value)}")
        return value

    return BeforeValidator(check)


class Body(Part):
    """The JSON object that is a request.

    Attributes:
        NEUTRAL_VALUES: Of each field that is known and not supported, the values that change nothing.
    """

    NEUTRAL_VALUES: ClassVar[Mapping[str, tuple[Any, ...]]] = {}

    model: str | None = None
    """The served model's name, if any is given."""

    def check(self) -> None:
        """Refuses what the types of the fields cannot say.

        Raises:
            RequestError: If the body asks for what cannot be served.
        """
        for name, value in (self.model_extra or {}).items():
            neutral = self.NEUTRAL_VALUES.get(name)
            if neutral is None or value is None or any(type(value) is type(item) and value == item for item in neutral):
                continue
            refuse(f"{name} is not supported; leave it out{f' or send {neutral[0]!r}' if neutral else ''}", name)


AnyBody = TypeVar("AnyBody", bound=Body)


async def take_body(kind: type[AnyBody], request: Request) -> AnyBody:
    """The body of `request`, read and checked; a large one off the event loop.

    Raises:
        RequestError: As `parse_body`.
    """
    body = await read_body(request)
    if len(body) > LARGE_BODY_BYTES:
        return await asyncio.to_thread(parse_body, kind, body)
    return parse_body(kind, body)


async def read_body(request: Request) -> bytes:
    """The body of `request`, refused unread if its head says that it is too long, and otherwise as soon as it is.

    Who waits to be told to go on (``Expect: 100-continue``) is told so by the first reading, and thus not if it is refused.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdecimal():
        check_size(int(declared[:20]))
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        check_size(len(body))
    return bytes(body)


def parse_body(kind: type[AnyBody], body: bytes) -> AnyBody:
    """The body of a request, checked.

    Raises:
        RequestError: If it is too long or not JSON, a field has a wrong type, or it asks for something that is not supported.
    """
    check_size(len(body))
    _check_parts(body)
    try:
        content = from_json(body, allow_inf_nan=False)  # numbers that JSON does not have are taken below
    except ValueError as error:
        raise RequestError(f"the body is not JSON: {error}", code="invalid_json") from error
    if not isinstance(content, dict):
        raise RequestError("the body must be a JSON object")
    try:
        parsed = kind.model_validate_json(body)
    except ValidationError as error:
        raise _explain(error) from error
    parsed.check()
    return parsed


def check_size(num_bytes: int) -> None:
    """Refuses a body of `num_bytes` and more; what is left of it is not worth a connection.

    Raises:
        RequestError: If that is too long.
    """
    if num_bytes > MAX_BODY_BYTES:
        message = f"the body has {num_bytes} bytes or more, at most {MAX_BODY_BYTES} are taken; send less"
        raise RequestError(message, status=413, headers={"Connection": "close"})


_MARKS = re.compile(rb'\\.|"|[:{\[]+', re.DOTALL)
"""What tells where strings of JSON begin and end, and how many parts are between them."""


def _check_parts(body: bytes) -> None:
    """Refuses what has so many parts that to build them would hold everybody up: no thread gives way while it does that.

    Raises:
        RequestError: If so.
    """
    if sum(body.count(mark) for mark in (b":", b"{", b"[")) <= MAX_PARTS:  # those in strings included
        return
    found, in_text = 0, False
    for mark in _MARKS.finditer(body):
        if mark[0] == b'"':
            in_text = not in_text
        elif not in_text:
            found += len(mark[0])
        if found > MAX_PARTS:
            raise RequestError(f"the body has more than {MAX_PARTS} names, objects and lists; send less", status=413)


def _explain(error: ValidationError) -> RequestError:
    """The first wrong field, with all that it might have been."""
    problems = error.errors(include_url=False, include_context=False)
    place = problems[0]["loc"]
    about = [problem for problem in problems if problem["loc"][0] == place[0]]
    field = ".".join(str(part) for part in place) if len(about) == 1 else str(place[0])
    messages = " or ".join(dict.fromkeys(problem["msg"].removeprefix("Value error, ") for problem in about))
    return RequestError(f"{field}: {messages}{_shown(problems[0]['input'])}", param=str(place[0]))


def _shown(value: Any) -> str:
    if not isinstance(value, str | int | float):
        return ""
    if isinstance(value, int) and value.bit_length() > 4 * MAX_SHOWN_CHARS:
        return ""
    shown = repr(value)
    return f", got {shown}" if len(shown) <= MAX_SHOWN_CHARS else ""
