"""Token ids of spans: what is the same content has the same ids, and nothing else has."""

import hashlib
from collections.abc import Iterable, Sequence
from random import Random

from lamps_jax.sim.workload import Span

_SPAN_BITS = 24
"""No span is longer than 2**24 tokens, so that the ranges of two keys do not meet."""


def token_ids(key: str, num_tokens: int, *, vocab_size: int | None = None) -> Sequence[int]:
    """The first `num_tokens` ids of the content named `key`.

    Without a vocabulary they are consecutive numbers from a place that a hash of the key chooses: as good as any to a scheduler
    that compares them, and made in no time. With one, they are drawn from it, and are what a real engine can be fed.
    """
    if vocab_size is not None:
        return Random(key).choices(range(vocab_size), k=num_tokens)
    place = int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "little") >> (_SPAN_BITS + 1)
    return range(place << _SPAN_BITS, (place << _SPAN_BITS) + num_tokens)


def prompt_ids(spans: Iterable[Span], owner: str, *, vocab_size: int | None = None) -> list[int]:
    """Ids of the spans in a row; content that has no key belongs to `owner`, which names an arrival and its turn."""
    ids: list[int] = []
    for number, span in enumerate(spans):
        key = f"private/{owner}/{number}" if span.key is None else f"shared/{span.key}"
        ids.extend(token_ids(key, span.num_tokens, vocab_size=vocab_size))
    return ids
