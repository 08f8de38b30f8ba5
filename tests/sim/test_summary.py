"""Numbers of a workload, computed by hand and compared with the published ones."""

import pytest

from lamps_jax.sim.summary import Spread, Summary, spread_of, summarize, summarize_by_type
from lamps_jax.sim.workload import Segment, Workload
from tests.sim.published import read_published
from tests.sim.scripts import client_call, script, server_call


def test_a_spread_is_of_the_values_themselves() -> None:
    assert spread_of([2.0, 12.0]) == Spread(2, 7.0, 5.0, 2.0, 7.0, 11.0, 11.9, 12.0)
    hundred = spread_of(range(101))
    assert hundred is not None and (hundred.p90, hundred.p99) == (90, 99)
    assert spread_of([]) is None


def test_a_summary_counts_scripts_turns_and_calls() -> None:
    one = script(Segment(2, server_call(3.0, 4)), Segment(6, client_call(5.0, 8)), Segment(1))
    summary = summarize([one, script(Segment(9))])
    assert (summary.num_scripts, summary.num_turns) == (2, 3)
    assert (summary.num_calls.mean, summary.generated_tokens.mean, summary.final_tokens.most) == (1.0, 4.5, 31)
    assert summary.call_context_tokens is not None and summary.call_context_tokens.mean == (12 + 22) / 2
    assert summary.total_call_s.most == 8.0 and summary.preserve_token_s.most == 12 * 3.0 + 22 * 5.0


def test_without_calls_there_is_nothing_to_say_of_them() -> None:
    summary = summarize([script(Segment(9))])
    assert summary.call_s is None and summary.returned_tokens is None and summary.total_call_s.most == 0.0


def test_no_script_is_an_error() -> None:
    with pytest.raises(ValueError, match="no script to summarize"):
        summarize([])


def test_types_are_summarized_apart() -> None:
    workload = Workload("w", (script(Segment(1), request_type="b"), script(Segment(2), request_type="a")))
    assert [(name, summary.generated_tokens.mean) for name, summary in summarize_by_type(workload).items()] == [
        ("b", 1.0),
        ("a", 2.0),
    ]


PUBLISHED_MULTI_API = {
    "math": (98, "8.3e-05", "4.8e-05", "2.81", "1.32", "405", "18", "125", "139", "153", "106", "21.0", "4.9", "762", "246"),
    "qa": (50, "0.709", "0.209", "3.04", "1.18", "934", "7", "183", "137", "254", "148", "56.7", "8.5", "1417", "254"),
    "ve": (54, "0.085", "0.015", "5.35", "1.02", "1973", "0", "4", "0", "4", "0", "10.2", "10.7", "2001", "23"),
    "chatbot": (65, "28.2", "18.4", "3.46", "1.96", "108", "263", "114", "158", "56", "17", "39.7", "112", "300", "246"),
    "image": (65, "19.9", "15.4", "6.92", "3.92", "108", "263", "32.8", "28.5", "56", "17", "23.9", "80.9", "334", "260"),
    "tts": (65, "17.1", "17.2", "6.92", "3.92", "108", "263", "32.8", "28.5", "56", "17", "24.4", "80.8", "336.5", "261"),
}
"""By type: scripts; then mean and deviation, as printed, of calls' durations, calls, prompts, generated tokens per segment and of
first segments, returned tokens, contexts at calls."""


def printed(value: float, text: str) -> bool:
    """Whether a value rounds to the printed text."""
    mantissa, _, exponent = text.partition("e")
    digits = len(mantissa.partition(".")[2])
    return abs(value - float(text)) <= 0.5 * 10 ** (int(exponent or 0) - digits) * (1 + 1e-9)


def moments(summary: Summary) -> list[float]:
    spreads = (
        summary.call_s,
        summary.num_calls,
        summary.prompt_tokens,
        summary.generated_tokens,
        summary.first_generated_tokens,
        summary.returned_tokens,
        summary.call_context_tokens,
    )
    return [moment for spread in spreads if spread is not None for moment in (spread.mean, spread.std)]


@pytest.mark.parametrize("request_type", PUBLISHED_MULTI_API)
def test_multi_api_has_its_published_statistics(request_type: str) -> None:
    summary = summarize_by_type(read_published("infercept_multi_api.jsonl"))[request_type]
    num_scripts, *expected = PUBLISHED_MULTI_API[request_type]
    assert summary.num_scripts == num_scripts
    found = moments(summary)
    assert [printed(value, str(text)) for value, text in zip(found, expected, strict=True)] == [True] * 14, found


def test_multi_api_as_a_whole_has_its_published_statistics() -> None:
    summary = summarize(read_published("infercept_multi_api.jsonl").scripts)
    expected = "12.6 16.7 4.64 3.09 539 655 71.6 112 97.9 107.5 26.1 70 745 668".split()
    found = moments(summary)
    assert [printed(value, text) for value, text in zip(found, expected, strict=True)] == [True] * 14, found
    assert printed(summary.final_tokens.mean, "1031") and printed(summary.final_tokens.std, "669")
    total = summary.total_call_s
    assert (
        printed(total.mean, "58.3") and printed(total.median, "3.3") and printed(total.p99, "339") and printed(total.most, "404")
    )
    assert printed(summary.total_generated_tokens.mean, "371") and printed(summary.preserve_token_s.mean / 1000, "20.4")


def test_single_api_has_its_published_statistics() -> None:
    workload = read_published("infercept_single_api.jsonl")
    summary = summarize(workload.scripts)
    assert summary.call_s is not None
    found = (summary.call_s.mean, summary.call_s.std, summary.call_s.median, summary.call_s.p99, summary.prompt_tokens.mean)
    assert [printed(value, text) for value, text in zip(found, "7.66 12.9 0.91 60 539".split(), strict=True)] == [True] * 5
    found = (summary.total_generated_tokens.mean, summary.final_tokens.mean, summary.preserve_token_s.mean / 1000)
    assert [printed(value, text) for value, text in zip(found, "178 742 1.34".split(), strict=True)] == [True] * 3, found
    by_type = {name: each.call_s.mean for name, each in summarize_by_type(workload).items() if each.call_s is not None}
    expected = {"math": "9e-05", "qa": "0.66", "ve": "0.085", "chatbot": "29.0", "image": "11.5", "tts": "5.8"}
    assert {name for name, text in expected.items() if printed(by_type[name], text)} == set(expected)
