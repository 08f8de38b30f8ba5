"""A field that is wrong is named with its file, its line and what it holds."""

from typing import Any

import pytest

from lamps_jax.sim.traces.record import Record, TraceError


def record(**values: Any) -> Record:
    return Record("trace.jsonl", 7, values, "segments[2].")


def test_numbers_are_read_from_json_and_from_text() -> None:
    assert record(a=3, b="4", c=2.5, d="1e-3").count("a") == 3
    assert record(b="4").count("b") == 4 and record(c=2.5).number("c") == 2.5 and record(d="1e-3").number("d") == 1e-3
    assert record(a=-2).count("a", least=-8) == -2 and record(a=5.0).count("a") == 5


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (None, "is missing"),
        ("", "must be a number, got ''"),
        ("many", "must be a number, got 'many'"),
        (True, "must be a number, got True"),
        ([1], r"must be a number, got \[1\]"),
        (float("nan"), "must be a number, got nan"),
        ("inf", "must be a number, got 'inf'"),
        (10**400, "must be a number, got 1000"),
        (-1, "must be at least 0, got -1"),
        (1.5, "must be a whole number, got 1.5"),
    ],
)
def test_a_count_that_is_none_is_an_error_that_names_it(value: object, problem: str) -> None:
    with pytest.raises(TraceError, match=rf"^trace.jsonl, line 7, field segments\[2\].a: {problem}"):
        record(a=value).count("a")


def test_a_field_that_is_not_there_is_missing() -> None:
    with pytest.raises(TraceError, match=r"field segments\[2\].a: is missing"):
        record().number("a")
    assert record(a="", b=None).is_blank("a") and record(b=None).is_blank("b") and record().is_blank("c")
    assert "a" in record(a=1) and "b" not in record(a=1)


@pytest.mark.parametrize("value", [3, "", ["a"]])
def test_a_text_that_is_none_is_an_error(value: object) -> None:
    with pytest.raises(TraceError, match="must be a text that is not empty"):
        record(a=value).text("a")


def test_nested_objects_know_where_they_are() -> None:
    (inner,) = record(calls=[{"tokens": -1}]).records("calls")
    with pytest.raises(TraceError, match=r"field segments\[2\].calls\[0\].tokens: must be at least 0, got -1"):
        inner.count("tokens")


@pytest.mark.parametrize(
    ("value", "problem"), [([], "an array of at least 1"), ("ab", "an array"), ([1], r"calls\[0\]: .* an object")]
)
def test_an_array_of_something_else_is_an_error(value: object, problem: str) -> None:
    with pytest.raises(TraceError, match=problem):
        record(calls=value).records("calls")
