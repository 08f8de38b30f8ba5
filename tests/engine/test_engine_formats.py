"""The engine with models that write calls in other forms than inline.

The model here knows what to say only in the very contexts that a fresh rendering of the conversation has.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from lamps_jax.config import SchedulerConfig
from lamps_jax.engine.call_results import templated_result
from lamps_jax.engine.control import Control
from lamps_jax.engine.conversation import conversation_token_ids
from lamps_jax.engine.engine import Engine
from lamps_jax.engine.events import Event, RequestOutput
from lamps_jax.engine.grammar import Grammars
from lamps_jax.engine.options import RequestOptions
from lamps_jax.models.tokenizer import Tokenizer
from lamps_jax.sched.block_manager import BlockManager
from lamps_jax.sched.plan import StepResult
from lamps_jax.sched.request import Constraint, FinishReason, SamplingParams
from lamps_jax.sched.scheduler import Scheduler
from lamps_jax.tools.formats.call_format import AnsweredCall, CallFormat, Turn
from lamps_jax.tools.formats.detect import format_named
from lamps_jax.tools.tool import Tool
from tests.engine.helpers import Clock, ManualRunner, run
from tests.engine.test_call_results import QUESTION, TEMPLATES, chat_tokenizer, written
from tests.token_memory import TokenMemory
from tests.tools.formats.reading import make_tool, named


def weather(city: str, days: int = 1) -> str:
    return f"{city}: rain for {days}"


WEATHER = Tool("get_weather", "", make_tool("x", ("city",), city="string", days="integer").parameters, weather)
THEIRS = make_tool("lookup-it", query="string")


class Unchanged(TokenMemory):
    """Whose model keeps to its constraints by itself."""

    def choose(self, handle: StepResult, controls: Sequence[Control]) -> StepResult:
        return handle


@dataclass
class Model:
    """What a model says in each context; a question mark in any other."""

    tokenizer: Tokenizer
    call_format: CallFormat
    says: dict[tuple[int, ...], int] = field(default_factory=dict)

    def prompt(self, *turns: Turn) -> list[int]:
        tools = [] if self.call_format.name == "react" else [WEATHER]
        return conversation_token_ids(self.tokenizer, [QUESTION, *turns], call_format=self.call_format, tools=tools)

    def reply(self, turns: Sequence[Turn], text: str, *, ends: bool = False) -> None:
        """Writes down what it says behind `turns`."""
        context = self.prompt(*turns)
        token_ids = self.tokenizer.hf.encode(text, add_special_tokens=False)
        for token_id in [*token_ids, *([self.end] if ends else [])]:
            self.says[tuple(context)] = token_id
            context.append(token_id)

    @property
    def end(self) -> int:
        (token_id,) = self.tokenizer.hf.encode("<|im_end|>", add_special_tokens=False)
        return token_id

    def __call__(self, context: Sequence[int]) -> int:
        return self.says.get(tuple(context), self.tokenizer.hf.convert_tokens_to_ids("?"))

    def answer(
        self, sampling: SamplingParams | None = None, *, client: bool = False, eos_token_ids: tuple[int, ...] | None = None
    ) -> RequestOutput:
        """What an engine makes of the question."""
        config = SchedulerConfig(token_budget=64, max_chunk_tokens=64, max_num_seqs=2, max_model_len=4096)
        blocks = BlockManager(600, 16)
        engine = Engine(
            scheduler=Scheduler(config, blocks),
            executor=Unchanged(self, config, blocks),
            api_runner=ManualRunner(),
            tokenizer=self.tokenizer,
            tools=named(WEATHER),
            eos_token_ids=(self.end,) if eos_token_ids is None else eos_token_ids,
            call_format=self.call_format,
            grammars=Grammars(self.tokenizer, vocab_size=self.tokenizer.vocab_size, eos_token_ids=(self.end,)),
            clock=Clock(),
        )
        events: list[Event] = []
        options = RequestOptions(client_tools=named(THEIRS) if client else {})
        engine.add(self.prompt(), sampling or SamplingParams(max_tokens=120), on_event=events.append, options=options)
        run(engine)
        return events[-1].output


FORMATS = [*TEMPLATES, "react"]


def model(name: str) -> Model:
    if name == "react":
        tokenizer = chat_tokenizer(None, model_names=("vicuna",))
        return Model(tokenizer, format_named("react", tokenizer))
    tokenizer = chat_tokenizer(TEMPLATES[name])
    return Model(tokenizer, format_named("auto", tokenizer))


def beginning(name: str) -> str:
    """What Vicuna writes before the first word of a turn."""
    return " " if name == "react" else ""


def call(arguments: dict, result: str, *, name: str = "get_weather") -> AnsweredCall:
    return AnsweredCall("1", name, json.dumps(arguments, ensure_ascii=False), result)


OSLO = call({"city": "Osló", "days": 2}, "Osló: rain for 2")


@pytest.mark.parametrize("name", FORMATS)
def test_a_call_is_run_and_the_model_goes_on_as_if_it_had_been_told_the_whole(name: str):
    says = model(name)
    says.reply([], beginning(name) + written(name, OSLO))
    says.reply([Turn("assistant", None, (OSLO,))], "Take an umbrella.", ends=True)
    output = says.answer()
    assert (output.text, output.finish_reason) == ("Take an umbrella.", FinishReason.STOP)
    assert [(made.name, made.arguments, made.result) for made in output.calls] == [
        ("get_weather", {"city": "Osló", "days": 2}, "Osló: rain for 2")
    ]


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(
    ("made", "problem"),
    [
        (call({"city": 7}, "error: city: 7 is not of type 'string'"), "city: 7 is not"),
        (call({"town": "Oslo"}, "error: 'city' is a required property"), "required"),
    ],
)
def test_the_model_is_told_what_is_wrong_with_its_arguments(name: str, made: AnsweredCall, problem: str):
    says = model(name)
    says.reply([], written(name, made))
    output = says.answer()
    (failed,) = output.calls
    assert failed.failed and failed.result is not None and problem in failed.result
    assert failed.returned_token_ids


@pytest.mark.parametrize("name", FORMATS)
def test_a_tool_that_there_is_not_is_an_error_that_names_those_there_are(name: str):
    says = model(name)
    says.reply([], written(name, call({}, "", name="nobody")))
    (failed,) = says.answer().calls
    assert failed.failed and failed.result is not None
    assert "no tool 'nobody'" in failed.result and "get_weather" in failed.result


@pytest.mark.parametrize("name", ["qwen", "llama3"])
def test_a_reply_may_hold_several_calls_of_the_clients(name: str):
    says = model(name)
    calls = [call({"query": text}, "", name=THEIRS.name) for text in ("a", 'b"}')]
    between = {"qwen": "\n", "llama3": "; "}[name]
    says.reply([], between.join(written(name, made) for made in calls), ends=True)
    output = says.answer(client=True)
    assert output.finish_reason is FinishReason.TOOL_CALLS and output.text == ""
    assert [made.arguments for made in output.calls] == [{"query": "a"}, {"query": 'b"}'}]


def test_a_call_that_only_the_end_of_the_turn_completes_is_run():
    says = model("react")
    says.reply([], " Action: get_weather\nAction Input: Oslo", ends=True)
    plain = AnsweredCall("1", "get_weather", "Oslo", "Oslo: rain for 1")
    says.reply([Turn("assistant", None, (plain,))], " I know.\nFinal Answer: Rain.", ends=True)
    output = says.answer()
    assert (output.text, [made.result for made in output.calls]) == ("I know.\nRain.", ["Oslo: rain for 1"])


UNFINISHED = " Action: get_weather\nAction Input: Oslo"


def test_a_call_that_the_end_completes_is_not_run_where_no_token_is_left_for_what_follows():
    says = model("react")
    says.reply([], UNFINISHED, ends=True)
    num_tokens = len(says.tokenizer.hf.encode(UNFINISHED, add_special_tokens=False)) + 1
    output = says.answer(SamplingParams(max_tokens=num_tokens))
    assert (output.finish_reason, output.calls, len(output.token_ids)) == (FinishReason.LENGTH, [], num_tokens)


def test_a_stop_token_completes_a_call_like_the_end_of_the_turn():
    says = model("react")
    says.reply([], UNFINISHED, ends=True)
    plain = AnsweredCall("1", "get_weather", "Oslo", "Oslo: rain for 1")
    says.reply([Turn("assistant", None, (plain,))], " I know.\nFinal Answer: Rain.", ends=True)
    output = says.answer(SamplingParams(max_tokens=120, stop_token_ids=(says.end,)), eos_token_ids=())
    assert (output.text, output.finish_reason) == ("I know.\nRain.", FinishReason.STOP)
    assert [made.result for made in output.calls] == ["Oslo: rain for 1"]


def test_a_call_that_the_end_of_its_grammar_completes_keeps_its_last_token():
    says, text = model("qwen"), '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Oslo"}}'
    says.reply([], text)
    result = templated_result(says.tokenizer, says.call_format, "get_weather", "Oslo: rain for 1")
    context = [*says.prompt(), *says.tokenizer.hf.encode(text, add_special_tokens=False), *result]
    says.says[tuple(context)] = says.end
    tag, rest = text[: len("<tool_call>")], text[len("<tool_call>") :]
    grammar = Constraint("lark", f"start: {tag} {json.dumps(rest)}", each_segment=False)
    output = says.answer(SamplingParams(max_tokens=120, constraint=grammar))
    assert (output.text, output.finish_reason) == ("", FinishReason.STOP)
    assert [made.result for made in output.calls] == ["Oslo: rain for 1"]
