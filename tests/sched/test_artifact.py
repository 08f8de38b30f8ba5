"""The released code's numbers, against values that were worked out apart from this code, and against its known oddities."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamps_jax.sched.artifact import (
    AS_RELEASED,
    GPTJ_6B_BENCH,
    ArtifactConstants,
    ArtifactSegment,
    Running,
    artifact_score,
    artifact_wastes,
)
from lamps_jax.sched.request import Handling

P, D, S = Handling.PRESERVE, Handling.DISCARD, Handling.SWAP
IDLE, BUSY = Running(), Running(inflight_tokens=50, held_tokens=25_600)
MATH, QA = ArtifactSegment(405, 153, 21, 8.3e-5), ArtifactSegment(934, 254, 57, 0.71)
VE, CHAT, IMAGE = ArtifactSegment(1973, 4, 2, 0.085), ArtifactSegment(108, 56, 40, 28.2), ArtifactSegment(108, 56, 8, 11.5)
SEGMENTS = {"math": MATH, "QA": QA, "VE": VE, "chat": CHAT, "image": IMAGE}


def to_the_digits_of(text: str) -> object:
    return pytest.approx(float(text), abs=0.5000001 * 10.0 ** -len(text.partition(".")[2]))


@pytest.mark.parametrize(
    ("name", "running", "preserve", "discard", "swap", "choice", "score"),
    [
        ("math", IDLE, "0.0478", "14.0175", "52.9943", P, "74.390"),
        ("QA", IDLE, "863.36", "75.248", "335.631", D, "371.712"),
        ("VE", IDLE, "168.64", "187.869", "912.680", P, "577.523"),
        ("chat", IDLE, "5414.4", "1.5041", "17.6648", D, "37.171"),
        ("image", IDLE, "2208", "1.5041", "17.6648", D, "37.171"),
        ("math", BUSY, "0.0478", "614.894", "2378.703", P, "64.710"),
        ("QA", BUSY, "863.36", "1337.261", "7312.757", P, "1041.182"),
        ("VE", BUSY, "168.64", "2239.533", "12541.224", P, "524.283"),
        ("chat", BUSY, "5414.4", "202.044", "2343.374", D, "32.331"),
        ("image", BUSY, "2208", "202.044", "2343.374", D, "32.331"),
    ],
)
def test_wastes_choice_and_score_are_those_of_the_released_code(
    name: str, running: Running, preserve: str, discard: str, swap: str, choice: Handling, score: str
):
    wastes = artifact_wastes(SEGMENTS[name], running)
    assert wastes.preserve == to_the_digits_of(preserve)
    assert wastes.discard == to_the_digits_of(discard)
    assert wastes.swap == to_the_digits_of(swap)
    handling, _ = wastes.least()
    assert handling is choice
    assert artifact_score(SEGMENTS[name], handling, running) == to_the_digits_of(score)


def test_the_files_and_the_benchmark_differ_in_the_two_constants_that_the_script_overwrites():
    """A step of 384 tokens takes 27.8 ms by the files and 32.6 ms by the script."""
    files, bench = (artifact_wastes(QA, IDLE, constants) for constants in (AS_RELEASED, GPTJ_6B_BENCH))
    full, last = 1216 // 384, 1216 % 384
    for wastes, per_token_s, base_s in ((files, 46.3e-6, 10e-3), (bench, 40.8e-6, 16.92e-3)):
        steps = (per_token_s * 384 + base_s) * full * (full + 1) / 2 * 384
        assert wastes.discard == pytest.approx(steps + per_token_s * last * last)
    assert (files.preserve, files.swap) == (bench.preserve, bench.swap)


def test_a_context_of_whole_chunks_is_discarded_for_less_than_one_that_is_a_block_shorter():
    """Six blocks are one chunk of 384 tokens, of which none is counted; five are charged as what is left over."""
    assert artifact_wastes(ArtifactSegment(384, 0), IDLE).discard == 0.0
    assert artifact_wastes(ArtifactSegment(320, 0), IDLE).discard == pytest.approx(40.8e-6 * 320 * 320)


def test_a_swap_is_charged_a_whole_step_for_a_context_of_one_chunk():
    assert artifact_wastes(ArtifactSegment(64, 0), IDLE).swap == pytest.approx((0.181 * 384 + 22.5) / 1000 * 64)


def test_more_running_tokens_than_a_step_holds_leave_one_token_a_step():
    assert artifact_wastes(CHAT, Running(384)).discard == artifact_wastes(CHAT, Running(5000)).discard
    assert artifact_score(CHAT, D, Running(384)) == artifact_score(CHAT, D, Running(5000))


def test_the_released_code_never_swaps_what_the_traces_ask_of_it():
    handlings = {
        artifact_wastes(segment, Running(inflight, held)).least()[0]
        for segment in SEGMENTS.values()
        for inflight in range(0, 384, 8)
        for held in range(0, 55_000, 64 * 20)
    }
    assert handlings == {P, D}


def test_the_score_takes_as_much_to_follow_a_call_as_precedes_it():
    """By hand: steps of 48.4 ms and 384 tokens; 24 blocks before the call and 1 behind it, or 1 before and 24 behind."""
    step_s, chunk = 0.0484, 384
    mt = {1: step_s * chunk, 24: step_s * 4 * 5 / 2 * chunk, 25: step_s * 5 * 6 / 2 * chunk}
    long_prompt = ArtifactSegment(1500, 4, 2, 3.0)
    assert artifact_score(long_prompt, P, IDLE) == pytest.approx(mt[24] + 24 * 64 * 3.0 + mt[1])
    assert artifact_score(long_prompt, D, IDLE) == pytest.approx(mt[24] + mt[25])
    assert artifact_score(long_prompt, S, IDLE) == pytest.approx(mt[24] + 2 * (24 * 12 / 2) + 0.3 + mt[1])


def test_without_a_call_a_discarded_request_is_scored_once_and_a_swapped_one_without_its_beginning():
    call, last = ArtifactSegment(1500, 4, 0, 0.0), ArtifactSegment(1500, 4, 0, 0.0, calls=False)
    assert artifact_score(last, D, IDLE) == pytest.approx(0.0484 * 384 * 15)
    assert artifact_score(last, S, IDLE) == pytest.approx(24 * 12 / 2 + 0.0484 * 384)
    assert artifact_score(last, P, IDLE) == artifact_score(call, P, IDLE)


@given(
    prompt=st.integers(0, 3000),
    output=st.integers(0, 500),
    returned=st.integers(0, 500),
    call_s=st.floats(0, 60),
    more=st.integers(1, 64),
)
def test_no_score_falls_as_a_request_grows(prompt: int, output: int, returned: int, call_s: float, more: int):
    segment = ArtifactSegment(prompt, output, returned, call_s)
    for handling in Handling:
        its = artifact_score(segment, handling, BUSY)
        for name in ("prompt_tokens", "output_tokens", "returned_tokens", "api_duration_s"):
            assert artifact_score(replace(segment, **{name: getattr(segment, name) + more}), handling, BUSY) >= its


@pytest.mark.parametrize("name", ["prompt_tokens", "output_tokens", "returned_tokens", "api_duration_s"])
def test_a_negative_prediction_is_an_error_that_names_it(name: str):
    with pytest.raises(ValueError, match=f"{name} must be a finite number and not negative, got -1"):
        replace(MATH, **{name: -1})


def test_a_batch_or_constants_that_cannot_be_are_errors_that_name_them():
    with pytest.raises(ValueError, match="inflight_tokens must be a finite number and not negative, got -1"):
        Running(-1)
    with pytest.raises(ValueError, match="held_tokens must be a finite number and not negative, got -1"):
        Running(0, -1)
    with pytest.raises(ValueError, match="block_size must be a finite number and at least 1, got 0"):
        ArtifactConstants(block_size=0)
    with pytest.raises(ValueError, match="score_base_ms must be a finite number and not negative, got -1"):
        ArtifactConstants(score_base_ms=-1.0)
    with pytest.raises(ValueError, match="score_transfer_rate must be above 0, got 0"):
        ArtifactConstants(score_transfer_rate=0.0)
