"""How much of its prompts a workload could find in a cache that never forgets."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from lamps_jax.sim.workload import Script, Span


@dataclass(slots=True)
class _Node:
    """Spans that have followed a beginning: the longest of each key, and what has followed each."""

    longest: dict[str, int] = field(default_factory=dict)
    children: dict[tuple[str, int], "_Node"] = field(default_factory=dict)


def prefix_hit_rate(scripts: Iterable[Script], *, block_size: int = 1) -> float:
    """Share of all turns' prompt tokens that an infinite cache holds already when the scripts come in this order.

    A turn after the first finds what the client kept of the turn before. A first turn finds the longest beginning that an earlier
    prompt has had. Only whole blocks of `block_size` tokens are found.

    Raises:
        ValueError: If `block_size` is not positive.
    """
    if block_size < 1:
        raise ValueError(f"block_size must be at least 1 token, got {block_size}")
    root, num_found, num_prompt_tokens = _Node(), 0, 0
    for script in scripts:
        for number, turn in enumerate(script.turns()):
            found = turn.num_kept_tokens if number else _find_and_insert(root, turn.added)
            num_found += found // block_size * block_size
            num_prompt_tokens += turn.num_prompt_tokens
    return num_found / num_prompt_tokens if num_prompt_tokens else 0.0


def _find_and_insert(root: _Node, spans: tuple[Span, ...]) -> int:
    """Length of the longest beginning that was inserted before; the spans up to the first private one are inserted."""
    node, found, still_found = root, 0, True
    for span in spans:
        if span.key is None:
            break
        longest = node.longest.get(span.key, 0)
        child = node.children.get((span.key, span.num_tokens))
        found += min(span.num_tokens, longest) if still_found else 0
        # What follows is the same only behind a span that ended at the same place.
        still_found = still_found and child is not None
        node.longest[span.key] = max(span.num_tokens, longest)
        if child is None:
            child = node.children[span.key, span.num_tokens] = _Node()
        node = child
    return found
