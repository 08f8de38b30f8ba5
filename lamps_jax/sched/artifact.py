"""What the code released with LAMPS computes, which is not what its paper says: wastes, choice and score, quirks included.

Source: github.com/mars-repository/mars-codebase (Apache-2.0): `classify`, `discard_waste` and `swap_waste` of
vllm/core/scheduler_v2.py, class `V2` of vllm/core/policy.py; re-stated here, not copied. Everything is in tokens and seconds.

Where it departs from the paper:

- A context is the **original** prompt and the segment predicted; tokens generated or returned before are not counted.
- Contexts are rounded up to whole blocks; a request's own memory is charged the time of a full step for each chunk, that of the
  others only the part of it that grows with the chunk.
- The discard waste drops a chunk of every context that is a whole number of chunks: it counts one less than there are, and then
  what is left over, which is nothing.
- The constants of the swap waste were fitted to no stated machine. A port to a later vLLM found it some 1000 times what an
  overlapped swap costs: in practice the released code never swaps.
- The score has constants of its own, which the benchmark scripts leave alone; takes as much to follow a call as precedes it; and
  has a placeholder of 2 for the rate of transfer, by which it divides blocks where tokens or seconds are meant.
"""

from dataclasses import dataclass

from lamps_jax.sched.quantities import check_counts, check_quantities
from lamps_jax.sched.request import Handling
from lamps_jax.sched.waste import Wastes


@dataclass(frozen=True, slots=True)
class ArtifactConstants:
    """Numbers that the released code has in its text.

    Attributes:
        saturation_tokens: S, tokens of a step that fills the device. `384` in every formula.
        block_size: Tokens of a block; `blocksize` of policy.py, and what the attention kernel imposes for heads of 65 to 256
            dimensions.
        discard_per_token_ms: a of `discard_waste`.
        discard_base_ms: c of `discard_waste`.
        swap_stall_per_token_ms: a1 of `swap_waste`: what a chunk of others is held up by.
        swap_step_per_token_ms: a2 of `swap_waste`.
        swap_step_base_ms: c of `swap_waste`.
        score_per_token_ms: a of `calculate_memory_time_blocks`.
        score_base_ms: c of `calculate_memory_time_blocks`.
        score_discard_api_weight: `integral_recompute_weight`.
        score_swap_api_weight: `integral_swap_weight`.
        score_transfer_rate: `cpu_to_gpu_transfer_rate`, marked there as to be fixed.
    """

    saturation_tokens: int = 384
    block_size: int = 64
    discard_per_token_ms: float = 0.0463
    discard_base_ms: float = 10.0
    swap_stall_per_token_ms: float = 0.136
    swap_step_per_token_ms: float = 0.181
    swap_step_base_ms: float = 22.5
    score_per_token_ms: float = 0.1
    score_base_ms: float = 10.0
    score_discard_api_weight: float = 0.0
    score_swap_api_weight: float = 0.1
    score_transfer_rate: float = 2.0

    def __post_init__(self) -> None:
        check_counts(saturation_tokens=self.saturation_tokens, block_size=self.block_size)
        check_quantities(**{name: getattr(self, name) for name in self.__dataclass_fields__})
        if not self.score_transfer_rate:
            raise ValueError("score_transfer_rate must be above 0, got 0: it divides; the released code has 2")


AS_RELEASED = ArtifactConstants()
"""As the files say; also InferCept's own fit of GPT-J-6B on an A100."""

GPTJ_6B_BENCH = ArtifactConstants(discard_per_token_ms=0.0408, discard_base_ms=16.92)
"""As exps/6B_bench.sh overwrites them before it runs: what the paper's GPT-J figures were made with."""


@dataclass(frozen=True, slots=True)
class Running:
    """The running requests at the moment of a decision.

    Attributes:
        inflight_tokens: Tokens of theirs that are still to be computed; one for each that decodes.
        held_tokens: Room of their blocks on the device.
    """

    inflight_tokens: int = 0
    held_tokens: int = 0

    def __post_init__(self) -> None:
        check_quantities(inflight_tokens=self.inflight_tokens, held_tokens=self.held_tokens)


@dataclass(frozen=True, slots=True)
class ArtifactSegment:
    """What the released code looks at of a request.

    Attributes:
        prompt_tokens: Of the original prompt, in the second segment and later too.
        output_tokens: Predicted until the segment's call, or its end.
        returned_tokens: What the call returns.
        api_duration_s: Predicted; 0 if there is no call.
        calls: Whether the segment ends with a call.
    """

    prompt_tokens: int
    output_tokens: int
    returned_tokens: int = 0
    api_duration_s: float = 0.0
    calls: bool = True

    def __post_init__(self) -> None:
        check_quantities(
            prompt_tokens=self.prompt_tokens,
            output_tokens=self.output_tokens,
            returned_tokens=self.returned_tokens,
            api_duration_s=self.api_duration_s,
        )


def artifact_wastes(segment: ArtifactSegment, running: Running, constants: ArtifactConstants = GPTJ_6B_BENCH) -> Wastes:
    """Token-seconds under each handling; `Wastes.least` is the released code's choice, `classify`."""
    context = constants.block_size * _blocks(segment.prompt_tokens + segment.output_tokens, constants)
    return Wastes(
        preserve=segment.api_duration_s * context,
        discard=_discard_waste(context, running, constants),
        swap=_swap_waste(context, running, constants),
    )


def artifact_score(
    segment: ArtifactSegment, handling: Handling, running: Running, constants: ArtifactConstants = GPTJ_6B_BENCH
) -> float:
    """What waiting and swapped requests are sorted by, ascending; of the running ones only the in-flight tokens count.

    The handling is the one of the last `classify`, at arrival or at the return of a call.
    """
    before = _blocks(segment.prompt_tokens + segment.output_tokens, constants)
    after = _blocks(segment.output_tokens + segment.returned_tokens, constants)

    def memory_time(blocks: int) -> float:
        return _memory_time(blocks * constants.block_size, running, constants)

    if handling is Handling.PRESERVE:
        return memory_time(before) + before * constants.block_size * segment.api_duration_s + memory_time(after)
    if handling is Handling.DISCARD:
        until_return = memory_time(before) + constants.score_discard_api_weight * segment.api_duration_s
        return until_return * segment.calls + memory_time(before + after)
    copy = before * (before / constants.score_transfer_rate) / 2
    until_return = memory_time(before) + copy + constants.score_swap_api_weight * segment.api_duration_s
    return until_return * segment.calls + copy + memory_time(after)


def _blocks(tokens: int, constants: ArtifactConstants) -> int:
    return -(-tokens // constants.block_size)


def _chunk(running: Running, constants: ArtifactConstants) -> int:
    """What a step has left for a request beside the running ones."""
    return max(constants.saturation_tokens - running.inflight_tokens, 1)


def _discard_waste(context: int, running: Running, constants: ArtifactConstants) -> float:
    chunk = _chunk(running, constants)
    full = max(-(-context // chunk) - 1, 0)
    last = context % chunk
    per_token_s = constants.discard_per_token_ms / 1000
    step_s = per_token_s * constants.saturation_tokens + constants.discard_base_ms / 1000
    own = step_s * (1 + full) * full / 2 * chunk
    others = per_token_s * chunk * full * running.held_tokens
    return own + others + per_token_s * last * (running.held_tokens + last)


def _swap_waste(context: int, running: Running, constants: ArtifactConstants) -> float:
    chunk = _chunk(running, constants)
    steps = max(-(-context // chunk) - 1, 1)
    step_s = (constants.swap_step_per_token_ms * constants.saturation_tokens + constants.swap_step_base_ms) / 1000
    stall_s = constants.swap_stall_per_token_ms * chunk / 1000
    return step_s * steps * context + 2 * stall_s * steps * running.held_tokens


def _memory_time(tokens: int, running: Running, constants: ArtifactConstants) -> float:
    """Token-seconds of `tokens` that are computed chunk by chunk, each chunk held from the beginning of its step."""
    chunk = _chunk(running, constants)
    steps = max(-(-tokens // chunk), 1)
    step_s = (constants.score_per_token_ms * constants.saturation_tokens + constants.score_base_ms) / 1000
    return step_s * (1 + steps) * steps / 2 * chunk
