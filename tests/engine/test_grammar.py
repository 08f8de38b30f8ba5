"""Constraints become masks of tokens: every text that they let through is of the language, as other libraries judge it."""

import json
import re
from typing import Any

import jsonschema
import numpy as np
import pytest
from llguidance import LLParserLimits

from lamps_jax.engine import grammar
from lamps_jax.engine.control import ConstraintFailed
from lamps_jax.engine.grammar import MAX_COMPILED, MAX_GRAMMAR_CHARS, Grammars, Matcher
from lamps_jax.sched.request import Constraint
from lamps_jax.tools.calculator import CALCULATOR
from lamps_jax.tools.formats.inline import INLINE
from lamps_jax.tools.search import SEARCH
from lamps_jax.tools.tool import Tool
from tests.fakes import make_tokenizer

TOKENIZER = make_tokenizer()
EOS = TOKENIZER.vocab_size - 1

SCHEMAS: list[dict[str, Any]] = [
    {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}, "required": ["city", "days"]},
    {"type": "array", "items": {"enum": ["a", "b", 3, None]}, "minItems": 1, "maxItems": 4},
    {"anyOf": [{"type": "boolean"}, {"type": "object", "properties": {}, "additionalProperties": False}]},
    {"type": "object", "properties": {"x": {"$ref": "#/$defs/leaf"}}, "required": ["x"], "$defs": {"leaf": {"const": "é"}}},
]


def grammars(**options: Any) -> Grammars:
    return Grammars(TOKENIZER, **({"vocab_size": TOKENIZER.vocab_size, "eos_token_ids": [EOS]} | options))


def allowed_tokens(matcher: Matcher) -> list[int]:
    return np.flatnonzero(np.unpackbits(matcher.allowed().view(np.uint8), bitorder="little")).tolist()


def walk(matcher: Matcher, seed: int, *, most: int = 400) -> str | None:
    """A text of allowed tokens, the end as soon as it is allowed every second time; None if it comes to no end."""
    rng, token_ids = np.random.default_rng(seed), list[int]()
    for _ in range(most):
        if matcher.is_over:
            return TOKENIZER.decode(token_ids)
        choices = allowed_tokens(matcher)
        token_id = EOS if EOS in choices and rng.random() < 0.5 else int(rng.choice(choices))
        matcher.accept(token_id)
        if token_id == EOS:
            return TOKENIZER.decode(token_ids)
        token_ids.append(token_id)
    return None


@pytest.mark.parametrize("schema", SCHEMAS, ids=range(len(SCHEMAS)))
def test_every_walk_over_allowed_tokens_is_a_text_that_jsonschema_finds_valid(schema: dict[str, Any]) -> None:
    ours = grammars()
    texts = [walk(ours.start(Constraint("json_schema", json.dumps(schema))), seed) for seed in range(30)]
    ended = [text for text in texts if text is not None]
    assert len(ended) > 10
    for text in ended:
        jsonschema.validate(json.loads(text), schema)
    assert len(set(ended)) > 1 or "const" in json.dumps(schema)


def test_a_json_object_is_any_and_nothing_else() -> None:
    ours = grammars()
    texts = [walk(ours.start(Constraint("json_object")), seed) for seed in range(40)]
    assert all(isinstance(json.loads(text), dict) for text in texts if text is not None)
    assert sum(text is not None for text in texts) > 5


def test_a_regular_expression_lets_through_what_python_s_matches() -> None:
    ours, pattern = grammars(), r"(cat|dog)-[0-9]{2,4}"
    texts = [walk(ours.start(Constraint("regex", pattern)), seed) for seed in range(20)]
    assert all(text is not None and re.fullmatch(pattern, text) for text in texts)


def test_a_grammar_ends_where_it_says() -> None:
    matcher = grammars().start(Constraint("lark", 'start: "yes" | "no"'))
    for letter in "yes":
        assert not matcher.is_over
        matcher.accept(TOKENIZER.encode_text(letter)[0])
    assert matcher.is_over
    matcher.accept(EOS)  # what comes behind the end is nobody's business
    assert matcher.is_over


def test_two_requests_of_one_constraint_go_their_own_ways() -> None:
    ours = grammars()
    first, second = (ours.start(Constraint("lark", 'start: "ab"')) for _ in range(2))
    first.accept(TOKENIZER.encode_text("a")[0])
    assert allowed_tokens(first) == TOKENIZER.encode_text("b")
    assert allowed_tokens(second) == TOKENIZER.encode_text("a")


def test_masks_are_as_long_as_the_model_s_vocabulary_and_allow_no_token_that_is_none() -> None:
    ours = grammars(vocab_size=TOKENIZER.vocab_size + 100)
    matcher = ours.start(Constraint("regex", "(?s:.)*"))
    assert matcher.allowed().shape == (ours.num_words,)
    assert ours.num_words == -(-(TOKENIZER.vocab_size + 100) // 32)
    assert max(allowed_tokens(matcher)) < TOKENIZER.vocab_size


def test_each_of_several_ends_is_allowed_and_one_that_the_tokenizer_does_not_have_is_left_out() -> None:
    other = TOKENIZER.encode_text("&")[0]
    ours = grammars(vocab_size=TOKENIZER.vocab_size + 100, eos_token_ids=[other, TOKENIZER.vocab_size + 7, EOS])
    for end in (other, EOS):
        matcher = ours.start(Constraint("lark", 'start: "a" "b"?'))
        matcher.accept(TOKENIZER.encode_text("a")[0])
        assert {other, EOS} == {token_id for token_id in allowed_tokens(matcher) if token_id not in TOKENIZER.encode_text("b")}
        matcher.accept(end)
        assert matcher.is_over


@pytest.mark.parametrize(
    ("constraint", "says"),
    [
        (Constraint("json_schema", '{"type": "nope"}'), "JSON schema cannot be used: .*nope"),
        (Constraint("json_schema", "[1"), "JSON schema cannot be used"),
        (Constraint("json_schema", '{"$ref": "#"}'), "JSON schema cannot be used"),
        (Constraint("regex", "("), "regular expression cannot be used"),
        (Constraint("lark", "start: missing"), "grammar cannot be used: .*missing"),
        (Constraint("regex", "a" * (MAX_GRAMMAR_CHARS + 1)), f"may have {MAX_GRAMMAR_CHARS} characters"),
    ],
)
def test_what_cannot_be_compiled_is_refused_with_the_reason_on_one_line(constraint: Constraint, says: str) -> None:
    with pytest.raises(ValueError, match=says) as caught:
        grammars().start(constraint)
    assert "\n" not in str(caught.value)


def test_a_token_that_is_not_allowed_is_an_error_and_not_a_wrong_text() -> None:
    matcher = grammars().start(Constraint("lark", 'start: "ab"'))
    with pytest.raises(RuntimeError, match="cannot be kept to"):
        matcher.accept(TOKENIZER.encode_text("z")[0])


def test_only_so_many_grammars_are_kept() -> None:
    ours = grammars()
    for number in range(MAX_COMPILED + 10):
        ours.start(Constraint("regex", f"a{{{number + 1}}}"))
    assert len(ours._compiled) == MAX_COMPILED


@pytest.mark.parametrize("tool", [CALCULATOR, SEARCH], ids=["Calculator", "Search"])
def test_a_forced_call_can_be_written_in_any_number_of_ways_and_leaves_its_grammar_as_it_was(tool: Tool) -> None:
    ours, constraint = grammars(), Constraint("lark", INLINE.grammar([tool], parallel=False))
    for seed in range(150):
        walk(ours.start(constraint), seed, most=120)
    assert allowed_tokens(ours.start(constraint)) == allowed_tokens(grammars().start(constraint))


def test_a_forced_call_keeps_to_the_lengths_of_its_argument() -> None:
    text = {"type": "string", "minLength": 30, "maxLength": 32}
    tool = Tool("work", "", {"type": "object", "properties": {"text": text}, "required": ["text"]}, str)
    ours, constraint = grammars(), Constraint("lark", INLINE.grammar([tool], parallel=False))
    for seed in range(40):
        written = walk(ours.start(constraint), seed)
        assert written is not None
        _, call = INLINE.parser({"work": tool}).feed(written)
        assert call is not None
        assert 30 <= len(INLINE.parse_arguments(tool, call)["text"]) <= 32


GROWING = Constraint("regex", "(a|b)*a(a|b){12}c")
"""Knows 8,192 ways in which the last letters may have been written, and has a state for each that it has met."""


def write(matcher: Matcher, text: str) -> None:
    for token_id in TOKENIZER.encode_text(text):
        matcher.allowed()
        matcher.accept(token_id)


def letters(seed: int, count: int) -> str:
    return "".join(np.random.default_rng(seed).choice(["a", "b"], count))


def test_a_text_for_which_a_grammar_grows_too_complex_is_told_what_to_ask_for_instead() -> None:
    matcher = grammars(limits=LLParserLimits(max_lexer_states=60)).start(GROWING)
    with pytest.raises(ConstraintFailed, match=r"response_format.*too complex.*too many states.*shorter patterns") as failed:
        write(matcher, letters(0, 500))
    assert "\n" not in str(failed.value)


def test_other_texts_of_a_grammar_that_has_grown_too_complex_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grammar, "MAX_RENEWAL_S", 60.0)
    ours, others = grammars(limits=LLParserLimits(max_lexer_states=60)), grammars()
    greedy, begun, fresh = (ours.start(GROWING) for _ in range(3))
    write(begun, "ab")
    with pytest.raises(ConstraintFailed):
        write(greedy, letters(0, 500))
    undisturbed = others.start(GROWING)
    write(undisturbed, "ab")
    assert allowed_tokens(begun) == allowed_tokens(undisturbed)
    write(begun, "abbabab")
    write(undisturbed, "abbabab")
    assert allowed_tokens(begun) == allowed_tokens(undisturbed)
    assert allowed_tokens(fresh) == allowed_tokens(ours.start(GROWING)) == allowed_tokens(others.start(GROWING))


def test_what_many_short_texts_have_taught_a_grammar_ends_none_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grammar, "MAX_RENEWAL_S", 60.0)
    ours = grammars(limits=LLParserLimits(max_lexer_states=60))
    for seed in range(60):
        write(ours.start(GROWING), letters(seed, 14))


def test_a_grammar_that_takes_long_is_not_compiled_anew_while_all_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grammar, "MAX_RENEWAL_S", -1.0)
    ours = grammars(limits=LLParserLimits(max_lexer_states=60))
    matcher, other = ours.start(GROWING), ours.start(GROWING)
    for each, text in ((matcher, letters(0, 500)), (other, "a")):
        with pytest.raises(ConstraintFailed):
            write(each, text)
    write(ours.start(GROWING), "a")
