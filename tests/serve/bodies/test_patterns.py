import time
from typing import Any

import pytest

from lamps_jax.serve.bodies.patterns import MAX_COMBINED, check_patterns

MANY = MAX_COMBINED + 1


def text(number: int = 0) -> dict[str, Any]:
    return {"type": "string", "pattern": f".*{chr(97 + number)}.{{20}}"}


def all_of(count: int) -> dict[str, Any]:
    return {"allOf": [text(number) for number in range(count)]}


def chain(count: int) -> dict[str, Any]:
    steps = {f"d{step}": {"pattern": "x", "$ref": f"#/$defs/d{step + 1}"} for step in range(count - 1)}
    return {"$ref": "#/$defs/d0", "$defs": {**steps, f"d{count - 1}": text()}}


@pytest.mark.parametrize(
    "schema",
    [
        all_of(MANY),
        {"properties": {"a": {"items": all_of(MANY)}}},
        {"allOf": [{"properties": {"a": text(number)}} for number in range(MANY)]},
        {"allOf": [{"anyOf": [{}, text(number)]} for number in range(MANY)]},
        {"allOf": [{"$ref": "#/$defs/text"}] * MANY, "$defs": {"text": text()}},
        {"allOf": [{"$ref": "#/$defs/a~1b/0"}] * MANY, "$defs": {"a/b": [text()]}},
        {"pattern": "a", "format": "date", "allOf": [text()] * (MANY - 2)},
        chain(MANY),
    ],
)
def test_a_schema_that_combines_too_many_patterns_is_refused(schema):
    with pytest.raises(ValueError, match=f"match up to {MANY} patterns and formats at once"):
        check_patterns(schema)


@pytest.mark.parametrize(
    "schema",
    [
        all_of(MAX_COMBINED),
        chain(MAX_COMBINED),
        {"properties": {f"p{number}": text(number % 26) for number in range(100)}},
        {"anyOf": [text(number % 26) for number in range(100)]},
        {"prefixItems": [text()] * 100, "items": text()},
        {"$ref": "#/$defs/node", "$defs": {"node": {**text(), "properties": {"next": {"$ref": "#/$defs/node"}}}}},
        {"$ref": "#/nowhere/7"},
        {"enum": [{"pattern": 1}] * 20, "allOf": 5, "properties": {"a": True}},
    ],
)
def test_any_number_of_patterns_may_stand_beside_each_other(schema):
    check_patterns(schema)


def test_references_that_stand_for_endless_work_are_counted_at_once():
    steps = {f"d{step}": {"allOf": [{"$ref": f"#/$defs/d{step + 1}"}] * 2} for step in range(60)}
    began = time.perf_counter()
    with pytest.raises(ValueError, match="patterns and formats at once"):
        check_patterns({"$ref": "#/$defs/d0", "$defs": {**steps, "d60": text()}})
    assert time.perf_counter() - began < 5
