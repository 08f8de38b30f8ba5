"""InferCept's two forms give the same scripts, and refuse the same mistakes."""

import json
from pathlib import Path
from typing import Any

import pytest

from lamps_jax.sim.traces.read import read_trace
from lamps_jax.sim.traces.record import TraceError
from lamps_jax.sim.workload import Call, Script, Segment, Span
from tests.sim.published import published, read_published

DERIVED: dict[str, Any] = {
    "id": "one",
    "type": "image",
    "prompt_tokens": 12,
    "segments": [
        {"prompt_tokens": 12, "gen_tokens": 30, "api_s": 11.5, "ret_tokens": 8},
        {"prompt_tokens": 49, "gen_tokens": 7, "api_s": 20.0, "ret_tokens": -2},
        {"prompt_tokens": 60, "gen_tokens": 5, "api_s": None, "ret_tokens": 0},
    ],
}

ORIGINAL: dict[str, Any] = {
    "one": [
        {"type": "image", "prompt_tokens": 12, "completion_tokens": 30, "api_token_length": 8, "api_time": 11.5},
        {"prompt_tokens": 49, "completion_tokens": 7, "api_token_length": -2, "api_time": 20.0},
        {"prompt_tokens": 60, "completion_tokens": 5},
    ]
}

SCRIPT = Script(
    "image",
    (Span(12),),
    (Segment(30, Call("image", 11.5, 8)), Segment(7, Call("image reply", 20.0, 0)), Segment(5)),
)


def written(folder: Path, *documents: Any, indent: int | None = None) -> Path:
    path = folder / "trace.json"
    path.write_text("\n".join(json.dumps(document, indent=indent) for document in documents), encoding="utf-8")
    return path


@pytest.mark.parametrize(("document", "indent"), [(DERIVED, None), (ORIGINAL, None), (ORIGINAL, 2)])
def test_both_forms_give_the_same_script(tmp_path: Path, document: Any, indent: int | None) -> None:
    assert read_trace(written(tmp_path, document, indent=indent)).scripts == (SCRIPT,)


def test_texts_without_lengths_are_counted_by_the_given_tokenizer(tmp_path: Path) -> None:
    segments = [
        {"prompt": "What is two and two ?", "completion": "two + two =", "api_token": "4", "api_time": 1e-4},
        {"prompt": "unused", "completion": "It is 4 ."},
    ]
    path = written(tmp_path, {"sum": segments})
    (made,) = read_trace(path, count_tokens=lambda text: len(text.split())).scripts
    assert made == Script("api", (Span(6),), (Segment(4, Call("api", 1e-4, 1)), Segment(4)))
    with pytest.raises(TraceError, match=r"line 1, field sum\[0\].api_token: is text without api_token_length beside it"):
        read_trace(path)


def test_a_text_of_no_tokens_is_an_error(tmp_path: Path) -> None:
    path = written(tmp_path, {"sum": [{"prompt": "What?", "completion": ""}]})
    with pytest.raises(TraceError, match=r"field sum\[0\].completion: must have at least 1 token, got 0"):
        read_trace(path, count_tokens=lambda text: len(text.split()))


def changed(segment: int, **values: Any) -> dict[str, Any]:
    copy = json.loads(json.dumps(DERIVED))
    copy["segments"][segment].update(values)
    return copy


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        (changed(1, gen_tokens=-3), r"field segments\[1\].gen_tokens: must be at least 1, got -3"),
        (changed(1, gen_tokens="few"), r"field segments\[1\].gen_tokens: must be a number, got 'few'"),
        (changed(0, api_s=-0.5), r"field segments\[0\].api_s: must be at least 0, got -0.5"),
        (changed(0, ret_tokens=-9), r"field segments\[0\].ret_tokens: must be at least -8, got -9"),
        (changed(0, api_s=None), r"field segments\[0\]: has no call, which only the last of 3 segments may lack"),
        ({**DERIVED, "segments": []}, "field segments: must be an array of at least 1"),
        ({**DERIVED, "prompt_tokens": 0}, "field prompt_tokens: must be at least 1, got 0"),
        ({"type": "math", "prompt_tokens": 3, "segments": [{}]}, r"field segments\[0\].gen_tokens: is missing"),
    ],
)
def test_a_wrong_line_is_named_with_its_field(tmp_path: Path, document: Any, problem: str) -> None:
    path = written(tmp_path, DERIVED, document)
    with pytest.raises(TraceError, match=f"trace.json, line 2, {problem}"):
        read_trace(path)


def test_the_published_traces_have_as_many_requests_and_calls_as_they_say() -> None:
    multi, single = read_published("infercept_multi_api.jsonl"), read_published("infercept_single_api.jsonl")
    assert (len(multi.scripts), sum(len(made.calls) for made in multi.scripts)) == (397, 1841)
    assert (len(single.scripts), sum(len(made.calls) for made in single.scripts)) == (397, 397)
    assert sum(made.segments[-1].call is not None for made in multi.scripts) == 184


def test_the_published_trace_in_the_original_form_gives_the_same_scripts(tmp_path: Path) -> None:
    original = {}
    for line in published("infercept_multi_api.jsonl").read_text().splitlines():
        request = json.loads(line)
        segments = []
        for number, segment in enumerate(request["segments"]):
            made = {"prompt_tokens": segment["prompt_tokens"], "completion_tokens": segment["gen_tokens"]}
            made |= {"type": request["type"]} if number == 0 else {}
            if segment["api_s"] is not None:
                made |= {"api_time": segment["api_s"], "api_token_length": segment["ret_tokens"]}
            segments.append(made)
        original[request["type"] + request["id"]] = segments
    assert read_trace(written(tmp_path, original)).scripts == read_published("infercept_multi_api.jsonl").scripts
