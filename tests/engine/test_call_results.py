import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken

from lamps_jax.engine.call_results import templated_result, working_format
from lamps_jax.engine.conversation import conversation_token_ids
from lamps_jax.engine.text_stream import TextStream
from lamps_jax.models.tokenizer import Tokenizer
from lamps_jax.tools.formats.call_format import AnsweredCall, CallFormat, Turn
from lamps_jax.tools.formats.detect import format_named
from lamps_jax.tools.formats.inline import INLINE
from tests.fakes import END_OF_TEXT, make_tokenizer
from tests.models.tokenizer_files import save_vicuna
from tests.models.tool_templates import HERMES, LLAMA, QWEN
from tests.tools.formats.reading import SEARCH, WEATHER, named

SPECIAL = ["<|im_start|>", "<|im_end|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>", "<|python_tag|>"]
TAGS = ["<tool_call>", "</tool_call>", "<tool_response>"]
TEMPLATES = {"hermes": HERMES, "qwen": QWEN, "llama3": LLAMA}
TOOLS = [WEATHER, SEARCH]


def chat_tokenizer(template: str | None, *, special_tags: bool = False, **options) -> Tokenizer:
    """A token a byte, and those of chat templates; the tags are tokens too, as Qwen's, or special ones."""
    hf = make_tokenizer().hf
    hf.add_special_tokens({"additional_special_tokens": SPECIAL})
    hf.add_tokens([AddedToken(tag, special=special_tags, normalized=False) for tag in TAGS], special_tokens=special_tags)
    hf.chat_template = template
    return Tokenizer(hf, **options)


def written(name: str, call: AnsweredCall) -> str:
    """A call as the model writes it, just as its chat template would."""
    arguments = json.dumps(json.loads(call.arguments), ensure_ascii=False)
    if name == "llama3":
        return f'{{"name": "{call.name}", "parameters": {arguments}}}'
    if name == "react":
        return f"Action: {call.name}\nAction Input: {call.arguments}"
    return f'<tool_call>\n{{"name": "{call.name}", "arguments": {arguments}}}\n</tool_call>'


def loop(tokenizer: Tokenizer, call_format: CallFormat, replies: Sequence[tuple[str, str]]) -> list[int]:
    """The context of a request that begins with a question, writes these texts, and gets these results."""
    token_ids = conversation_token_ids(tokenizer, [QUESTION], call_format=call_format, tools=TOOLS)
    stream = TextStream(tokenizer.stream(token_ids), stop=(), call_format=call_format, tools=named(*TOOLS), tokenizer=tokenizer)
    for text, result in replies:
        sampled = tokenizer.hf.encode(text, add_special_tokens=False)
        steps = [stream.push(token_id, stop_allowed=True) for token_id in sampled]
        assert [step.call is None for step in steps] == [True] * (len(steps) - 1) + [False]
        answer = stream.result_token_ids(result)
        stream.inject(answer)
        token_ids += [*sampled, *answer]
    return token_ids


QUESTION = Turn("user", "Oslo?")
ONE = AnsweredCall("call_1", "get_weather", '{"city": "Oslo"}', "Rain")
TWO = AnsweredCall(
    "call_2", "Search", '{"query": "what {is} \\"rain\\" é"}', "Water\n from above <|im_end|> <|eot_id|> " + "x" * 30
)


def rendered(tokenizer: Tokenizer, call_format: CallFormat, turns: Sequence[Turn]) -> list[int]:
    return conversation_token_ids(tokenizer, [QUESTION, *turns], call_format=call_format, tools=TOOLS)


@pytest.mark.parametrize("special_tags", [False, True])
@pytest.mark.parametrize("name", TEMPLATES)
def test_calls_and_results_leave_what_the_template_would_write_anew(name: str, special_tags: bool):
    tokenizer = chat_tokenizer(TEMPLATES[name], special_tags=special_tags)
    call_format = format_named("auto", tokenizer)
    assert call_format.name == ("llama3" if name == "llama3" else "hermes")
    replies = [(written(name, ONE), ONE.result), (written(name, TWO), TWO.result)]
    turns = [Turn("assistant", None, (ONE,)), Turn("assistant", None, (TWO,))]
    for reply, turn in zip(replies, turns, strict=True):
        assert loop(tokenizer, call_format, [reply]) == rendered(tokenizer, call_format, [turn])
    if name != "hermes":  # whose template puts a line break behind a result as soon as something follows it
        assert loop(tokenizer, call_format, replies) == rendered(tokenizer, call_format, turns)


def test_text_before_a_call_is_part_of_the_same_turn():
    tokenizer = chat_tokenizer(QWEN)
    call_format = format_named("auto", tokenizer)
    context = loop(tokenizer, call_format, [(f"I look.\n{written('qwen', ONE)}", ONE.result)])
    assert context == rendered(tokenizer, call_format, [Turn("assistant", "I look.", (ONE,))])


@given(result=st.text("aé\n<|im_end|>}?", max_size=20) | st.just("What comes out of it?"))
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=40)
@pytest.mark.parametrize("name", TEMPLATES)
def test_whatever_the_result_says_only_the_template_ends_turns(name: str, result: str):
    tokenizer = chat_tokenizer(TEMPLATES[name])
    call_format = format_named("auto", tokenizer)
    said, nothing = (templated_result(tokenizer, call_format, "f", text) for text in (result, "nothing"))
    ends = [tokenizer.hf.convert_tokens_to_ids(token) for token in SPECIAL]
    assert [said.count(end) for end in ends] == [nothing.count(end) for end in ends]


def test_a_tool_that_there_is_not_is_answered_like_any_other():
    tokenizer = chat_tokenizer(QWEN)
    call_format = format_named("auto", tokenizer)
    token_ids = templated_result(tokenizer, call_format, "no such tool!", "error: there is none")
    assert tokenizer.hf.decode(token_ids, skip_special_tokens=False) == (
        "<|im_end|>\n<|im_start|>user\n<tool_response>\nerror: there is none\n</tool_response><|im_end|>\n<|im_start|>assistant\n"
    )


def test_a_template_that_writes_calls_otherwise_is_refused():
    tokenizer = chat_tokenizer("{% for m in messages %}{{ m.role }}: {{ m.content }} {{ m.tool_calls }}\n{% endfor %}")
    with pytest.raises(ValueError, match="does not write calls in the form hermes"):
        templated_result(tokenizer, format_named("hermes", tokenizer), "f", "x")


def test_a_format_is_tried_before_it_is_used(caplog: pytest.LogCaptureFixture):
    assert working_format("auto", chat_tokenizer(QWEN)).name == "hermes"
    assert working_format("react", chat_tokenizer(None)).name == "react"
    without_calls = "{{ messages }} {{ tools }} <tool_call> arguments"
    with pytest.raises(ValueError, match="does not write calls in the form hermes"):
        working_format("hermes", chat_tokenizer(without_calls))
    assert working_format("auto", chat_tokenizer(without_calls)) is INLINE
    assert "calls are read as inline ones" in caplog.text


REACT_REPLIES = [
    (f" Thought: I look.\n{written('react', ONE)}", ONE.result),
    (f" And now that.\n{written('react', TWO)}", TWO.result),
]
REACT_TURNS = [Turn("assistant", "I look.", (ONE,)), Turn("assistant", "And now that.", (TWO,))]


def test_react_goes_on_in_the_same_turn_as_if_it_had_been_told_the_whole():
    tokenizer = chat_tokenizer(None, model_names=("vicuna-7b", ""))
    call_format = format_named("react", tokenizer)
    context = loop(tokenizer, call_format, REACT_REPLIES)
    assert context == rendered(tokenizer, call_format, REACT_TURNS)
    text = tokenizer.hf.decode(context, skip_special_tokens=False)
    assert (
        text.endswith(f"{written('react', TWO)}\nObservation: {TWO.result}\nThought:")
        and END_OF_TEXT not in text[len(END_OF_TEXT) :]
    )


def test_a_vicuna_of_its_own_tokens_reads_the_same_text_either_way(tmp_path: Path):
    directory = tmp_path / "vicuna"
    directory.mkdir()
    save_vicuna(directory)
    tokenizer = Tokenizer.from_directory(directory)
    call_format = format_named("react", tokenizer)
    context = loop(tokenizer, call_format, [])
    for text, result in REACT_REPLIES:
        context += [*tokenizer.encode_text(text), *tokenizer.encode_text(f"\nObservation: {result}\nThought:")]
    assert tokenizer.decode(context) == tokenizer.decode(rendered(tokenizer, call_format, REACT_TURNS))


def test_an_inline_call_goes_on_behind_its_result():
    tokenizer = make_tokenizer()
    context = loop(tokenizer, INLINE, [(" [Search(rain) ->", "a\nb"), (" [Search(snow) ->", "c")])
    calls = [AnsweredCall("1", "Search", '{"query": "rain"}', "a\nb"), AnsweredCall("2", "Search", '{"query": "snow"}', "c")]
    assert context == rendered(tokenizer, INLINE, [Turn("assistant", None, (call,)) for call in calls])
    assert tokenizer.decode(context) == "Q: Oslo?\nA: [Search(rain) -> a b] [Search(snow) -> c]"
