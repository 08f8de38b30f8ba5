from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lamps_jax.engine.text_stream import StopTexts, TextStep, TextStream
from lamps_jax.models.tokenizer import Tokenizer
from lamps_jax.tools.formats.call_format import CallFormat, WrittenCall
from lamps_jax.tools.formats.hermes import HERMES
from lamps_jax.tools.formats.inline import INLINE
from lamps_jax.tools.formats.llama3 import LLAMA3
from lamps_jax.tools.formats.react import REACT
from lamps_jax.tools.tool import Tool, one_string
from tests.engine.helpers import byte_tokenizer
from tests.fakes import make_tokenizer

TOOLS = {name: Tool(name, "", one_string("text", ""), str) for name in ("Echo", "Calculator")}
CALL = "[Echo(1) ->"

TOKENIZER = byte_tokenizer()
texts = st.text(st.sampled_from("ab \n[(E"), max_size=12)
stops = st.lists(st.text("ab\n", min_size=1, max_size=4), max_size=3).map(tuple)


def cut(text: str, at: list[int]) -> list[str]:
    """`text` in pieces, cut at the given places."""
    borders = sorted({0, len(text), *(place % (len(text) + 1) for place in at)})
    return [text[start:end] for start, end in pairwise(borders)]


def stop_at_once(text: str, stop: tuple[str, ...]) -> tuple[str, bool]:
    """The naive rule: the shortest beginning of `text` that ends in a stop text, without the longest that it ends in."""
    for end in range(len(text) + 1):
        if met := [one for one in stop if text[:end].endswith(one)]:
            return text[: end - max(map(len, met))], True
    return text, False


@given(st.text("ab\n", max_size=20), stops, st.lists(st.integers(0, 100), max_size=8))
@example("abcd", ("abcd", "bc"), [1, 2, 3])
def test_stop_texts_are_found_the_same_however_the_text_is_cut(text: str, stop: tuple[str, ...], at: list[int]):
    finder, shown, stopped = StopTexts(stop), "", False
    for piece in cut(text, at):
        more, stopped = finder.feed(piece)
        shown += more
        if stopped:
            break
    if not stopped:
        shown += finder.flush()
    assert (shown, stopped) == stop_at_once(text, stop)


@given(st.text("ab", max_size=20), stops)
def test_no_more_is_held_back_than_a_stop_text_could_need(text: str, stop: tuple[str, ...]):
    finder, shown = StopTexts(stop), ""
    for character in text:
        more, stopped = finder.feed(character)
        if stopped:
            return
        shown += more
    assert len(text) - len(shown) <= max(0, max(map(len, stop), default=0) - 1)


class Pieces:
    """A detokenizer whose tokens are the indices of pieces of text."""

    def __init__(self, pieces: list[str]):
        self._pieces = pieces

    def push(self, token_id: int) -> str:
        return self._pieces[token_id]


def told(
    pieces: list[str], *, tools: dict[str, Tool] = TOOLS, stop: tuple[str, ...] = (), call_format: CallFormat = INLINE
) -> tuple[str, list[str], bool]:
    """All text shown, with a mark for each call; the arguments of the calls; whether a stop text was met."""
    stream = TextStream(Pieces(pieces), call_format=call_format, tools=tools, stop=stop)  # type: ignore[arg-type]
    shown, calls = "", list[str]()
    for token_id in range(len(pieces)):
        step = stream.push(token_id, stop_allowed=True)
        assert step.token_text == pieces[token_id]
        shown += step.text
        if step.stopped:
            return shown, calls, True
        if step.call:
            shown += "|"
            calls.append(step.call.arguments)
    return shown + stream.flush().text, calls, False


@given(st.lists(texts, min_size=1, max_size=4), stops, st.lists(st.integers(0, 100), max_size=10))
def test_text_calls_and_stops_are_the_same_however_the_tokens_are_cut(parts: list[str], stop: tuple[str, ...], at: list[int]):
    written = [part + CALL for part in parts[:-1]] + parts[-1:]
    pieces = [piece for part in written for piece in cut(part, at)]
    assert told(pieces, stop=stop) == told([part for part in written if part], stop=stop)


@given(st.text(max_size=20), st.lists(st.integers(0, 100), max_size=6))
def test_without_tools_every_character_is_shown(text: str, at: list[int]):
    assert told(cut(text, at), tools={}) == (text, [], False)


@given(texts, st.lists(st.integers(0, 100), max_size=6))
def test_with_tools_only_blanks_at_the_ends_are_left_out(text: str, at: list[int]):
    assert told(cut(text, at)) == (text.strip(), [], False)


def test_blanks_before_a_call_are_folded_and_those_behind_it_kept():
    assert told(["It is ", CALL, " 7."]) == ("It is| 7.", ["1"], False)


def test_blanks_are_not_shown_before_the_first_text_even_behind_a_call():
    assert told([" ", CALL, " 7."]) == ("|7.", ["1"], False)


def test_a_stop_text_of_blanks_is_met_before_they_are_folded():
    assert told(["a", "\n", "b"], stop=("\n",)) == ("a", [], True)
    assert told(["a\n", CALL], stop=("\n",)) == ("a", [], True)


def test_a_stop_text_does_not_reach_across_a_call_and_what_was_held_back_is_shown_before_it():
    assert told(["aST", CALL, "OPb"], stop=("STOP",)) == ("aST|OPb", ["1"], False)


def test_where_stop_texts_are_not_allowed_yet_they_are_shown():
    stream = TextStream(Pieces(["aS", "bS", "S"]), tools={}, stop=("S",))  # type: ignore[arg-type]
    steps = [stream.push(token_id, stop_allowed=token_id == 2) for token_id in range(3)]
    assert [(step.text, step.stopped) for step in steps] == [("aS", False), ("bS", False), ("", True)]


def test_the_token_that_completes_a_call_reports_its_surplus():
    stream = TextStream(Pieces(["x [Echo(1) ", "->7"]), call_format=INLINE, tools=TOOLS, stop=())  # type: ignore[arg-type]
    assert stream.push(0, stop_allowed=True).text == "x"
    step = stream.push(1, stop_allowed=True)
    assert (step.token_text, step.text, step.call) == ("->7", "", WrittenCall("Echo", "1", "7"))


def test_half_a_character_is_shown_when_its_other_half_comes():
    stream = TextStream(TOKENIZER.stream(TOKENIZER.encode_text("q")), call_format=INLINE, tools=TOOLS, stop=())
    shown = [stream.push(token_id, stop_allowed=True).text for token_id in TOKENIZER.encode_text("é漢")]
    assert shown == ["", "é", "", "", "漢"]


def test_injected_tokens_are_context_and_not_output():
    stream = TextStream(TOKENIZER.stream([]), call_format=INLINE, tools=TOOLS, stop=("7",))
    stream.inject(TOKENIZER.encode_text(" 7] [Echo(1) ->"))
    steps = [stream.push(token_id, stop_allowed=True) for token_id in TOKENIZER.encode_text("ok")]
    assert [(step.text, step.call, step.stopped) for step in steps] == [("o", None, False), ("k", None, False)]


def test_a_text_that_does_not_begin_with_a_call_holds_none_where_that_is_said():
    json_text = '{"a": "[Echo(x) ->"}'
    for pieces in ([json_text], list(json_text), ["{", json_text[1:]]):
        stream = TextStream(Pieces(pieces), stop=(), call_format=INLINE, tools=TOOLS, calls_first=True)
        steps = [stream.push(index, stop_allowed=True) for index in range(len(pieces))]
        assert "".join(step.text for step in steps) + stream.flush().text == json_text
        assert not any(step.call for step in steps)
    stream = TextStream(Pieces([" [Echo(x) -> y"]), stop=(), call_format=INLINE, tools=TOOLS, calls_first=True)
    assert stream.push(0, stop_allowed=True).call == WrittenCall("Echo", "x", " y")


TAGGED = '<tool_call>{"name": "Echo", "arguments": {"text": "1"}}</tool_call>'
OBJECT = '{"name": "Echo", "parameters": {"text": "1"}}'
WRITTEN = '{"text": "1"}'


@given(st.text("a \n<{", max_size=20), st.lists(st.integers(0, 100), max_size=6))
@example(" a \n", [])
def test_in_other_formats_text_without_calls_is_shown_as_it_is(text: str, at: list[int]):
    for call_format in (HERMES, LLAMA3):
        shown, calls, stopped = told(cut(text, at), call_format=call_format)
        assert (calls, stopped) == ([], False)
        assert shown == (text if text.strip() else "")


def test_blanks_around_calls_are_not_shown_and_those_of_the_text_are():
    assert told([" I look.\n", TAGGED, "\n", TAGGED, "\n"], call_format=HERMES) == (" I look.||", [WRITTEN] * 2, False)
    assert told(["\n", OBJECT, "; ", OBJECT], call_format=LLAMA3) == ("||", [WRITTEN] * 2, False)
    assert told([TAGGED, " So. "], call_format=HERMES) == ("| So. ", [WRITTEN], False)


def special_tokenizer(*words: str) -> Tokenizer:
    hf = make_tokenizer().hf
    hf.add_special_tokens({"additional_special_tokens": list(words)})
    return Tokenizer(hf)


@pytest.mark.parametrize(
    ("call_format", "specials", "text"),
    [
        (HERMES, ["<tool_call>", "</tool_call>"], f"é {TAGGED}"),
        (HERMES, [], f"é {TAGGED}"),
        (LLAMA3, ["<|python_tag|>", "<|eom_id|>"], f"é <|python_tag|>{OBJECT}<|eom_id|>"),
    ],
)
def test_tags_that_are_special_tokens_are_read_though_they_are_no_text(call_format: CallFormat, specials: list[str], text: str):
    tokenizer = special_tokenizer(*specials)
    stream = TextStream(tokenizer.stream([]), call_format=call_format, tools=TOOLS, stop=(), tokenizer=tokenizer)
    token_ids = tokenizer.hf.encode(text, add_special_tokens=False)
    steps = [stream.push(token_id, stop_allowed=True) for token_id in token_ids]
    assert len(token_ids) < len(text.encode()) or not specials
    assert "".join(step.text for step in steps) == "é"
    assert [step.call for step in steps if step.call] == [WrittenCall("Echo", WRITTEN)]


def test_other_special_tokens_stay_unseen():
    tokenizer = special_tokenizer("<|eom_id|>")
    stream = TextStream(tokenizer.stream([]), call_format=LLAMA3, tools=TOOLS, stop=(), tokenizer=tokenizer)
    (token_id,) = tokenizer.hf.encode("<|eom_id|>", add_special_tokens=False)
    assert stream.push(token_id, stop_allowed=True) == TextStep("", "", None, stopped=False)


def test_a_reply_goes_on_behind_a_call_with_what_the_same_token_brought():
    pieces = Pieces([f"{TAGGED}\n{TAGGED} end", "STOP"])
    stream = TextStream(pieces, call_format=HERMES, tools=TOOLS, stop=("STOP",))  # type: ignore[arg-type]
    first = stream.push(0, stop_allowed=True)
    assert first.call is not None and first.text == ""
    second = stream.go_on(first.call)
    assert second.call is not None and second.token_text == "\n" + TAGGED + " end"
    assert stream.go_on(second.call) == TextStep(" end", " end", None, stopped=False)
    assert stream.push(1, stop_allowed=True).stopped


def test_a_call_that_only_the_end_completes_comes_with_it():
    pieces = Pieces(["Thought: I look.\nAction: Echo\nAction Input: x", " y"])
    stream = TextStream(pieces, call_format=REACT, tools=TOOLS, stop=())  # type: ignore[arg-type]
    shown = stream.push(0, stop_allowed=True).text + stream.push(1, stop_allowed=True).text
    assert shown == "I look."
    assert stream.flush() == TextStep("", "", WrittenCall("Echo", "x y"), stopped=False)
    assert stream.flush() == TextStep("", "", None, stopped=False)


def test_a_result_that_the_model_began_to_write_is_written_on():
    stream = TextStream(TOKENIZER.stream([]), call_format=REACT, tools=TOOLS, stop=(), tokenizer=TOKENIZER)
    for token_id in TOKENIZER.encode_text("Action: Echo\nAction Input: x\nObservation:"):
        step = stream.push(token_id, stop_allowed=True)
    assert step.call is not None and stream.arguments(TOOLS["Echo"], step.call) == {"text": "x"}
    assert TOKENIZER.decode(stream.result_token_ids("1")) == " 1\nThought:"
