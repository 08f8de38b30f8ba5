import json
from typing import Any

import pytest
from jsonschema import validate
from llguidance import LLMatcher
from llguidance.hf import from_tokenizer

from lamps_jax.sched.request import Constraint
from lamps_jax.serve.bodies.chat import ChatBody
from lamps_jax.serve.bodies.completion import CompletionBody
from lamps_jax.serve.constraints import constraint_of
from lamps_jax.serve.protocol import RequestError, parse_body
from lamps_jax.tools.calculator import CALCULATOR
from tests.fakes import make_tokenizer
from tests.serve.fed_engine import FedEngine, play

SCHEMA = {
    "type": "object",
    "properties": {"city}": {"type": "string", "maxLength": 9}, "days": {"type": "integer"}},
    "required": ["city}"],
    "additionalProperties": False,
}
JSON_SCHEMA = {"type": "json_schema", "json_schema": {"name": "weather", "strict": True, "schema": SCHEMA}}
JSON_OBJECT = {"type": "json_object"}
LOOK = {"type": "function", "function": {"name": "look", "parameters": {"properties": {"place": {"type": "string"}}}}}


class Shouted:
    """A form of calls for these tests: LOOK{"place": "x"}!"""

    allows_parallel = True

    def grammar(self, tools: Any, *, parallel: bool) -> str:
        if any(tool.name == "unwritable" for tool in tools):
            raise ValueError("it has no letters")
        names = " | ".join(f'"{tool.name.upper()}"' for tool in tools)
        return f'start: call{"+" if parallel else ""}\ncall: ({names}) arguments "!" // }}\narguments: %json {{"type": "object"}}'


def make_engine(**options: Any) -> FedEngine:
    return FedEngine(lambda index, sampling: play(), **{"call_format": Shouted(), **options})


def constraint(engine: FedEngine, **fields: Any) -> Constraint | None:
    body = parse_body(ChatBody, json.dumps({"messages": [{"role": "user", "content": "hi"}], **fields}).encode())
    return constraint_of(body, engine, body.client_tools())  # pyright: ignore[reportArgumentType]


def takes(made: Constraint | None, text: str) -> bool:
    """Whether `text` is of a language, as llguidance itself says."""
    assert made is not None
    hf = make_tokenizer().hf
    grammar = {
        "lark": lambda: LLMatcher.grammar_from_lark(made.text),
        "json_schema": lambda: LLMatcher.grammar_from_json_schema(made.text),
        "json_object": lambda: LLMatcher.grammar_from_json_schema('{"type": "object"}'),
    }[made.kind]()
    matcher = LLMatcher(from_tokenizer(hf), grammar, log_level=0)
    assert not matcher.get_error()
    token_ids = hf.encode(text)
    return matcher.try_consume_tokens(token_ids) == len(token_ids) and matcher.is_accepting()


@pytest.mark.parametrize("fields", [{}, {"tools": [LOOK]}, {"tool_choice": "none"}, {"response_format": {"type": "text"}}])
def test_nothing_is_asked_of_most_replies(fields):
    engine = make_engine()
    assert constraint(engine, **fields) is None and engine.checked == []


def test_json_alone_is_asked_for_where_nothing_can_be_called():
    engine = make_engine()
    made = constraint(engine, response_format=JSON_SCHEMA, tool_choice="none")
    assert made is not None and made.kind == "json_schema" and json.loads(made.text) == SCHEMA and engine.checked == [made]
    assert constraint(engine, response_format=JSON_OBJECT, tool_choice="none") == Constraint("json_object")
    assert constraint(make_engine(tools={}), response_format=JSON_OBJECT, tool_choice="auto") == Constraint("json_object")


def test_who_only_wants_json_gets_no_calls_of_the_servers_in_between():
    assert constraint(make_engine(), response_format=JSON_OBJECT) == Constraint("json_object")


def test_where_tools_may_be_called_each_stretch_is_a_call_or_the_json():
    made = constraint(make_engine(), response_format=JSON_SCHEMA, tools=[LOOK])
    assert made is not None and made.each_segment
    for text in ('LOOK{"place": "Oslo"}!', 'CALCULATOR{"expression": "1"}!', '{"city}": "Oslo", "days": 3}', '{"city}":\n"é"}'):
        assert takes(made, text), text
    for text in ('SEE{"a": 1}!', '{"days": 3}', "LOOK{}", "So.", '{"city}":         "Oslo"}'):
        assert not takes(made, text), text
    validate({"city}": "Oslo", "days": 3}, SCHEMA)


def test_any_json_object_is_an_answer_to_whom_that_is_enough():
    made = constraint(make_engine(), response_format=JSON_OBJECT, tool_choice="auto")
    assert takes(made, '{"anything": [1, null]}') and takes(made, "CALCULATOR{}!") and not takes(made, "[1]")


def test_completions_may_be_json_too():
    body = parse_body(CompletionBody, json.dumps({"prompt": "x", "response_format": JSON_OBJECT}).encode())
    engine: Any = make_engine()
    assert constraint_of(body, engine, {}) == Constraint("json_object")


@pytest.mark.parametrize(
    ("choice", "called", "not_called"),
    [
        ("required", ["LOOK{}!"], ["CALCULATOR{}!", "So."]),
        ({"type": "function", "function": {"name": "look"}}, ["LOOK{}!"], ["CALCULATOR{}!", "LOOK{}!LOOK{}!"]),
        ({"type": "function", "function": {"name": "Calculator"}}, ["CALCULATOR{}!"], ["LOOK{}!"]),
    ],
)
def test_a_call_that_is_wanted_comes_first(choice, called, not_called):
    made = constraint(make_engine(), tools=[LOOK], tool_choice=choice)
    assert made is not None and made.kind == "lark" and not made.each_segment
    assert all(takes(made, text) for text in called) and not any(takes(made, text) for text in not_called)


def test_several_calls_are_let_in_unless_the_client_or_the_form_knows_one():
    assert takes(constraint(make_engine(), tools=[LOOK], tool_choice="required"), "LOOK{}!LOOK{}!")
    one = constraint(make_engine(), tools=[LOOK], tool_choice="required", parallel_tool_calls=False)
    assert takes(one, "LOOK{}!") and not takes(one, "LOOK{}!LOOK{}!")
    form = Shouted()
    form.allows_parallel = False
    assert constraint(make_engine(call_format=form), tools=[LOOK], tool_choice="required") == one


def test_a_tool_that_the_form_cannot_write_is_an_error_only_where_it_is_wanted():
    unwritable = {"type": "function", "function": {"name": "unwritable"}}
    made = constraint(make_engine(), tools=[LOOK, unwritable], response_format=JSON_OBJECT)
    assert takes(made, "LOOK{}!") and takes(made, "{}")
    with pytest.raises(RequestError, match="tool_choice: it has no letters") as refused:
        constraint(make_engine(), tools=[unwritable], tool_choice="required")
    assert refused.value.param == "tool_choice"


def test_a_schema_that_cannot_be_kept_to_is_refused_by_what_is_wrong_with_it():
    engine = make_engine(refusal='the JSON schema cannot be used: Unimplemented keys: ["not"]')
    with pytest.raises(RequestError, match='Unimplemented keys: \\["not"\\]') as refused:
        constraint(engine, response_format=JSON_SCHEMA)
    assert refused.value.param == "response_format" and refused.value.status == 400


def test_json_is_not_promised_behind_a_call_of_the_servers_that_is_wanted():
    wanted = {"type": "function", "function": {"name": CALCULATOR.name}}
    with pytest.raises(RequestError, match="response_format cannot be kept") as refused:
        constraint(make_engine(), tool_choice=wanted, response_format=JSON_OBJECT)
    assert refused.value.param == "tool_choice"
    assert constraint(make_engine(), tools=[LOOK], tool_choice="required", response_format=JSON_OBJECT) is not None
