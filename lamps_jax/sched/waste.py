"""Waste of an API call: token-seconds of KV held on the device while they serve no computation, for each handling.

The equations are InferCept's (Abhyankar et al., ICML 2024, section 4), of which LAMPS (NeurIPS 2025, appendix A.3) reprints
three. Common to all of them is a factor M, the bytes of a token, which is left out here: it changes no comparison. Symbols:

- C_i, `context_tokens`: context of the request at its call;
- C_other, `other_tokens`: contexts of the other requests in its batch;
- T_INT, `api_duration_s`: from the call to its return. Before the call it is a prediction; while the call runs, InferCept
  estimates what is still to come by what has passed, now - call, or knows it (its code);
- T_fwd, T_swap: `CostModel.forward_s` and `CostModel.swap_s`.

One departure runs through all: T_fwd has a term for reading the context, which InferCept's linear fit lacks. Of a cost model
without that term the equations come out as printed.
"""

import math
from dataclasses import dataclass

from lamps_jax.sched.cost_model import CostModel
from lamps_jax.sched.quantities import check_counts, check_quantities
from lamps_jax.sched.request import Handling


@dataclass(frozen=True, slots=True)
class Wastes:
    """Token-seconds that one call wastes under each handling; infinite under one that is not to be had."""

    preserve: float
    discard: float
    swap: float = math.inf

    def least(self) -> tuple[Handling, float]:
        """The handling that wastes least, and what it wastes; of equals preserve, then swap, then discard.

        The papers say nothing of equals; the order is the one of the LAMPS authors' code (`classify`).
        """
        if self.preserve <= self.discard and self.preserve <= self.swap:
            return Handling.PRESERVE, self.preserve
        if self.swap <= self.discard:
            return Handling.SWAP, self.swap
        return Handling.DISCARD, self.discard


def preserve_waste(context_tokens: float, api_duration_s: float) -> float:
    """Token-seconds of a context that stays on the device through its call: T_INT C_i.

    Raises:
        ValueError: If a number is negative.

    Source: InferCept, equation 2; LAMPS, equation 1 of appendix A.3.
    """
    check_quantities(context_tokens=context_tokens, api_duration_s=api_duration_s)
    return context_tokens * api_duration_s


def discard_waste(cost_model: CostModel, context_tokens: float, *, other_tokens: float) -> float:
    """Token-seconds of a context that is computed again in one step: T_fwd(C_i) C_i + T_fwd(C_i) C_other.

    The step holds the whole context from its beginning, and all others wait for it.

    Raises:
        ValueError: If a number is negative.

    Source: InferCept, equation 1; LAMPS, equation 2 of appendix A.3.
    """
    check_quantities(context_tokens=context_tokens, other_tokens=other_tokens)
    return recompute_s(cost_model, context_tokens, num_chunks=1) * (context_tokens + other_tokens)


def chunked_discard_waste(cost_model: CostModel, context_tokens: float, *, other_tokens: float, chunk_tokens: float) -> float:
    """Token-seconds of a context that is computed again in n equal chunks: T_fwd(C_i) C_i / 2 + n T_fwd(C_i / n) C_other.

    Args:
        cost_model: Of this machine.
        context_tokens: To compute again.
        other_tokens: Contexts of the others in the batch.
        chunk_tokens: Most tokens of it that a step can compute, beside those of the others: n = ceil(C_i / chunk_tokens).

    Raises:
        ValueError: If a number is negative, or a chunk smaller than a token.

    Source: InferCept, equation 4. Its first term, like the equation's, takes the time of one undivided step for the ramp of the
    memory, though the n chunks take n - 1 base times longer; `memory_over_time` has the exact area.
    """
    check_quantities(context_tokens=context_tokens, other_tokens=other_tokens)
    num_chunks = chunks_of(context_tokens, chunk_tokens)
    own = recompute_s(cost_model, context_tokens, num_chunks=1) * context_tokens / 2
    return own + recompute_s(cost_model, context_tokens, num_chunks=num_chunks) * other_tokens


def marginal_discard_waste(cost_model: CostModel, context_tokens: float, *, other_tokens: float, chunk_tokens: float) -> float:
    """Token-seconds of a context that is computed again in steps that are taken anyway: T (C / 2 + C_other).

    T is the time by which those steps become longer: that of its tokens and of the contexts read, without any base.

    Raises:
        ValueError: If a number is negative, or a chunk smaller than a token.

    Source: derived here. InferCept's equation 4 charges each chunk a whole step, as if nothing else ran; in a batch that never
    empties the base is paid by those who decode.
    """
    check_quantities(context_tokens=context_tokens, other_tokens=other_tokens)
    num_chunks = chunks_of(context_tokens, chunk_tokens)
    longer_s = recompute_s(cost_model, context_tokens, num_chunks=num_chunks) - num_chunks * cost_model.forward_base_s
    return max(longer_s, 0.0) * (context_tokens / 2 + other_tokens)


def swap_waste(cost_model: CostModel, context_tokens: float, *, other_tokens: float, block_size: int) -> float:
    """Token-seconds of a context that goes to the host and back while everybody waits: 2 T_swap(C_i) (C_i + C_other).

    Raises:
        ValueError: If a number is negative, or a block smaller than a token.

    Source: InferCept, equation 3, with C_batch = C_i + C_other; LAMPS, equation 3 of appendix A.3. Departure: whole blocks move.
    """
    check_quantities(context_tokens=context_tokens, other_tokens=other_tokens)
    return 2 * swap_tokens_s(cost_model, context_tokens, block_size) * (context_tokens + other_tokens)


def overlapped_swap_waste(
    cost_model: CostModel, context_tokens: float, *, other_tokens: float, block_size: int, hidden_s: float = math.inf
) -> float:
    """Token-seconds of a context that goes to the host and back while the others compute: T C_i + 2 max(T - hidden, 0) C_other.

    With T = T_swap(C_i). On the way out each block is free as soon as it is moved, so that the memory held falls evenly from C_i
    to 0: C_i T / 2 token-seconds of tokens that are on the move and compute nothing. On the way in it rises from 0 to C_i: as
    many again. The others lose only what of either copy outlasts the computation that it hides behind.

    Args:
        cost_model: Of this machine.
        context_tokens: To move.
        other_tokens: Contexts of the others in the batch.
        block_size: Tokens of a block.
        hidden_s: Computation that goes on during either copy; without end where a step moves no more than it has time for.

    Raises:
        ValueError: If a number is negative, or a block smaller than a token.

    Source: derived here, for a swap limited as in InferCept's section 4.1. A port of LAMPS to a later vLLM
    (OmarBasit1/mars-codebase, mars_port/COMPARISON.md) has T C_i + max(T - hidden, 0) C_other: its host holds a copy of
    everything from the start, so that nothing goes out, and a request takes all its memory before the first block comes in. Our
    halves add up to the same first term. A call that is shorter than its copy out would also delay the request, but is never
    swapped: preserving wastes less then.
    """
    check_quantities(context_tokens=context_tokens, other_tokens=other_tokens)
    if not hidden_s >= 0:
        raise ValueError(f"hidden_s must not be negative, got {hidden_s}")
    copy_s = swap_tokens_s(cost_model, context_tokens, block_size)
    return copy_s * context_tokens + 2 * max(copy_s - hidden_s, 0.0) * other_tokens


def lamps_wastes(
    cost_model: CostModel, context_tokens: float, *, api_duration_s: float, other_tokens: float, block_size: int
) -> Wastes:
    """What LAMPS weighs before a request is scheduled, from its predicted context and call duration.

    Source: LAMPS, section 3 and appendix A.3, equations 1-3.
    """
    return Wastes(
        preserve=preserve_waste(context_tokens, api_duration_s),
        discard=discard_waste(cost_model, context_tokens, other_tokens=other_tokens),
        swap=swap_waste(cost_model, context_tokens, other_tokens=other_tokens, block_size=block_size),
    )


def infercept_wastes(
    cost_model: CostModel, context_tokens: float, *, api_duration_s: float, other_tokens: float, chunk_tokens: float
) -> Wastes:
    """What InferCept weighs in every step for every request in a call; the largest waste is what it spends its swap budget on.

    Source: InferCept, equation 5: min(WastePreserve, WasteChunkD). Swapping has no waste of its own there, it is free within the
    budget.
    """
    return Wastes(
        preserve=preserve_waste(context_tokens, api_duration_s),
        discard=chunked_discard_waste(cost_model, context_tokens, other_tokens=other_tokens, chunk_tokens=chunk_tokens),
    )


def chunks_of(tokens: float, chunk_tokens: float) -> int:
    """Steps that `tokens` take with at most `chunk_tokens` of them in each; at least one.

    Raises:
        ValueError: If a chunk is smaller than a token.
    """
    if not chunk_tokens >= 1:
        raise ValueError(f"chunk_tokens must be at least 1, got {chunk_tokens}")
    return max(math.ceil(tokens / chunk_tokens), 1)


def recompute_s(cost_model: CostModel, tokens: float, *, num_chunks: int, held_tokens: float = 0) -> float:
    """Time of `num_chunks` steps that compute `tokens` in equal parts behind those held, and nothing else: n T_fwd(C / n).

    Chunk j of n reads j / n of the tokens, (n + 1) / 2 times all of them together, and each what is held. Nothing is computed of
    nothing, in no time.
    """
    if tokens == 0:
        return 0.0
    return num_chunks * cost_model.forward_s(tokens / num_chunks, held_tokens + tokens * (num_chunks + 1) / 2 / num_chunks)


def swap_tokens_s(cost_model: CostModel, tokens: float, block_size: int) -> float:
    """Time to move the blocks of `tokens` one way.

    Raises:
        ValueError: If a block is smaller than a token.
    """
    check_counts(block_size=block_size)
    return cost_model.swap_s(math.ceil(tokens / block_size))
