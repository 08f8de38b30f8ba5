"""What a router goes by of a request: its session, the calls it answers, and digests of its beginning.

No text is kept: a conversation becomes a chain of digests, each of everything up to some place in it. Two requests with the same
beginning have the same first digests, and the number of those says how far they are alike.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

CHUNK_BYTES = 64
"""About as much text as a KV block holds."""

GROWTH = 16
"""Behind the first chunks each is a sixteenth of what is before it, so that a long text has few digests."""

DIGEST_BYTES = 16

SESSION_HEADER = b"x-session-id"


@dataclass(frozen=True, slots=True, eq=False)
class RequestKey:
    """One request, as a router sees it; equal to no other.

    Attributes:
        session: Digest of the session's name and its tenant; None where the request names none.
        answered_calls: Ids of the calls whose results the request brings.
        beginnings: Digests of ever more of its text, the shortest part first.
    """

    session: bytes | None = None
    answered_calls: tuple[str, ...] = ()
    beginnings: tuple[bytes, ...] = ()


def request_key(headers: Iterable[tuple[bytes, bytes]], body: bytes) -> RequestKey:
    """The key of an HTTP request, whose header names are in lower case; one that cannot be read is like no other."""
    try:
        fields = json.loads(body) if body else {}
    except (ValueError, RecursionError):
        fields = {}
    if not isinstance(fields, dict):
        fields = {}
    tenant = _digest(b"", str(fields.get("cache_salt") or "").encode(errors="replace"))
    named = fields.get("session_id")
    session = named.encode(errors="replace") if isinstance(named, str) else dict(headers).get(SESSION_HEADER, b"")
    return RequestKey(
        _digest(tenant, session) if session else None,
        tuple(_answered_calls(fields)),
        tuple(_beginnings(tenant, _text(fields))),
    )


def _beginnings(tenant: bytes, text: bytes) -> Iterator[bytes]:
    digest, start = tenant, 0
    while (end := start + max(CHUNK_BYTES, start // GROWTH)) <= len(text):
        digest = _digest(digest, text[start:end])
        yield digest
        start = end


def _digest(before: bytes, text: bytes) -> bytes:
    return hashlib.blake2b(before + text, digest_size=DIGEST_BYTES).digest()


def _text(fields: Mapping[str, Any]) -> bytes:
    """What a model reads of a request, in the order in which it does, and the same for the same content."""
    if "messages" in fields:
        tools = fields.get("tools") if fields.get("tool_choice") != "none" else None
        pieces = [json.dumps(tool, sort_keys=True) for tool in _dicts(tools)]
        pieces += [piece for message in _dicts(fields["messages"]) for piece in _message(message)]
        return "\0".join(pieces).encode(errors="replace")
    prompt = fields.get("prompt")
    if isinstance(prompt, list) and prompt and not isinstance(prompt[0], int):
        prompt = prompt[0]  # of several the first stands for all
    if isinstance(prompt, list):
        return " ".join(map(str, prompt)).encode(errors="replace")
    return prompt.encode(errors="replace") if isinstance(prompt, str) else b""


def _message(message: Mapping[str, Any]) -> Iterator[str]:
    yield str(message.get("role"))
    content = message.get("content")
    if isinstance(content, str):
        yield content
    else:
        yield "".join(str(part.get("text", "")) for part in _dicts(content))
    for call in _dicts(message.get("tool_calls")):
        yield json.dumps(call.get("function"), sort_keys=True)


def _answered_calls(fields: Mapping[str, Any]) -> Iterator[str]:
    for message in reversed(_dicts(fields.get("messages"))):
        if message.get("role") != "tool":
            return
        if isinstance(call_id := message.get("tool_call_id"), str):
            yield call_id


def _dicts(value: object) -> Sequence[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
