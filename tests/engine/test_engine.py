"""What a request's life looks like from outside, with a model that says what the test has written down."""

import itertools
import threading

import pytest

from lamps_jax.engine.api_runner import ThreadApiRunner
from lamps_jax.sched.policy import SYSTEMS
from lamps_jax.sched.request import FinishReason, RequestState, SamplingParams
from lamps_jax.tools.tool import Tool, ToolError, one_string
from tests.engine.helpers import EOS, Clock, Gate, Given, ManualRunner, Stage, ask, counted, echo_tool, run, stage

every_system = pytest.mark.parametrize("system", SYSTEMS)


def state_of(asked_stage: Stage, request_id: str) -> RequestState:
    request = asked_stage.engine.scheduler.get(request_id)
    assert request is not None
    return request.state


# Text and ends.


def test_a_request_yields_what_the_model_says_up_to_its_end():
    scene = stage()
    scene.says("Hi", " there", EOS)
    output = scene.answer("Hi").output
    assert (output.text, output.finish_reason) == (" there", FinishReason.STOP)
    assert len(output.token_ids) == 7
    assert output.num_prompt_tokens == 2


def test_pieces_of_text_add_up_to_the_output():
    scene = stage()
    scene.says("Hi", "a é 漢 b", EOS)
    asked = scene.answer("Hi")
    assert "".join(event.text for event in asked.events) == asked.output.text == "a é 漢 b"


@pytest.mark.parametrize("words", [(), ("X STO",), ("P now",), ("OP",), ("a STOP b",)])
def test_a_stop_text_ends_the_request_wherever_token_borders_fall(words: tuple[str, ...]):
    scene = stage(words=words)
    text = "a STOP b" if words == ("a STOP b",) else "X STOP now"
    head, _, tail = text.partition(words[0]) if words else (text, "", "")
    scene.says("q", *([head, words[0], tail] if words else [text]))
    output = scene.answer("q", SamplingParams(stop=("STOP", "never"))).output
    assert (output.text, output.finish_reason) == (text.partition("STOP")[0], FinishReason.STOP)


def test_a_stop_text_at_the_very_start_leaves_no_text():
    scene = stage()
    scene.says("q", "END of it")
    asked = scene.answer("q", SamplingParams(stop=("END",)))
    assert asked.story == ["<finished>"]


def test_a_stop_text_of_blanks_is_met_with_tools_too():
    scene = stage(echo_tool())
    scene.says("q", "one\ntwo", EOS)
    output = scene.answer("q", SamplingParams(stop=("\n",))).output
    assert (output.text, len(output.token_ids)) == ("one", 4)


@pytest.mark.parametrize(("ending", "reason"), [((EOS,), FinishReason.STOP), (("zz",), FinishReason.LENGTH)])
def test_text_held_back_for_a_stop_text_is_shown_in_the_end(ending: tuple[str, ...], reason: FinishReason):
    scene = stage()
    scene.says("q", "a ST", *ending)
    output = scene.answer("q", SamplingParams(stop=("STOP",), max_tokens=5 if ending == (EOS,) else 4)).output
    assert (output.text, output.finish_reason) == ("a ST", reason)


def test_text_that_only_looked_like_a_call_is_shown_in_the_end():
    scene = stage(echo_tool())
    scene.says("q", "see [Echo(1", EOS)
    output = scene.answer("q").output
    assert (output.text, output.calls) == ("see [Echo(1", [])


def test_with_ignore_eos_a_request_goes_on_to_its_last_token():
    scene = stage()
    scene.says("q", "a", EOS, "b", EOS, "cdef")
    output = scene.answer("q", SamplingParams(ignore_eos=True, max_tokens=6)).output
    assert (output.text, output.finish_reason) == ("abcd", FinishReason.LENGTH)


def test_a_stop_text_is_shown_and_passed_over_before_min_tokens():
    scene = stage()
    scene.says("q", "aSbScS", EOS)
    output = scene.answer("q", SamplingParams(stop=("S",), min_tokens=5)).output
    assert (output.text, len(output.token_ids)) == ("aSbSc", 6)


@pytest.mark.parametrize("max_tokens", [1, 2, 5])
def test_max_tokens_are_reached_exactly(max_tokens: int):
    scene = stage()
    scene.says("q", "abcdefgh", EOS)
    output = scene.answer("q", SamplingParams(max_tokens=max_tokens)).output
    assert (output.text, output.finish_reason) == ("abcdefgh"[:max_tokens], FinishReason.LENGTH)
    assert len(output.token_ids) == max_tokens


def test_a_full_context_ends_the_request():
    scene = stage(max_model_len=12)
    scene.says("12345", "abcdefghijkl")
    output = scene.answer("12345").output
    assert (output.text, output.finish_reason) == ("abcdefg", FinishReason.LENGTH)


@pytest.mark.parametrize("prompt", ["", "x" * 128])
def test_a_refused_prompt_leaves_nothing_behind(prompt: str):
    scene = stage()
    with pytest.raises(ValueError, match="prompt"):
        scene.ask(prompt)
    assert scene.engine.num_unfinished == 0
    assert not scene.engine.step()


def test_times_are_in_order_and_calls_are_counted_apart():
    clock = Clock()
    scene = stage(echo_tool(), clock=clock)
    scene.says("q", "ab[Echo(1) ->", Given(" 1]"), "c", EOS)
    asked = scene.ask("q")
    while not asked.ended:
        clock.now += 1
        scene.engine.step()
    times = asked.output.timestamps
    assert times.first_token_s is not None
    assert times.last_token_s is not None
    assert times.arrival_s < times.first_token_s < times.last_token_s
    assert times.last_token_s == times.finished_s
    assert times.api_s == 1.0


# Calls.


def test_a_call_is_run_and_its_result_put_behind_the_arrow():
    tool = echo_tool(lambda text: text[::-1])
    scene = stage(tool)
    scene.says("q", "It is [Echo(abc) ->", Given(" cba]"), " cba.", EOS)
    asked = scene.answer("q")
    assert asked.output.text == "It is cba."
    assert counted(tool) == [{"text": "abc"}]
    (call,) = asked.output.calls
    assert (call.name, call.arguments, call.result, call.failed) == ("Echo", {"text": "abc"}, "cba", False)
    story = [step for step in asked.story if step.startswith("<")]
    assert story == ["<call>", "<result>", "<finished>"]


def test_arguments_with_parentheses_and_commas_reach_the_tool_whole():
    tool = echo_tool(lambda text: "ok")
    scene = stage(tool)
    scene.says("q", "[Echo((41+22)/sqrt(9), it's)->", Given(" ok]"), EOS)
    scene.answer("q")
    assert counted(tool) == [{"text": "(41+22)/sqrt(9), it's"}]


def test_several_calls_each_get_their_own_result():
    tool = echo_tool(lambda text: text * 2)
    scene = stage(tool)
    scene.says("q", "[Echo(a) ->", Given(" aa]"), " then [Echo(b) ->", Given(" bb]"), " and [Echo(c) ->", Given(" cc]"), "!", EOS)
    output = scene.answer("q").output
    assert [(call.arguments["text"], call.result) for call in output.calls] == [("a", "aa"), ("b", "bb"), ("c", "cc")]
    assert output.text == "then and!"
    assert len({call.call_id for call in output.calls}) == 3


def test_a_call_too_many_is_told_so_and_not_run():
    tool = echo_tool()
    scene = stage(tool, max_calls=1)
    refused = " error: no more than 1 calls are allowed]"
    scene.says("q", "[Echo(a) ->", Given(" a]"), "[Echo(b) ->", Given(refused), "ok", EOS)
    output = scene.answer("q").output
    assert (output.text, len(counted(tool))) == ("ok", 1)
    assert [call.failed for call in output.calls] == [False, True]


def test_a_tool_error_is_shown_to_the_model():
    def refuse(text: str) -> str:
        raise ToolError("no such thing")

    scene = stage(echo_tool(refuse))
    scene.says("q", "[Echo(a) ->", Given(" error: no such thing]"), "sorry", EOS)
    output = scene.answer("q").output
    assert (output.text, output.calls[0].failed) == ("sorry", True)


def test_a_tool_that_raises_does_not_show_its_secrets_to_the_model():
    def break_down(text: str) -> str:
        raise RuntimeError("password 123")

    scene = stage(echo_tool(break_down), runner=ThreadApiRunner())
    scene.says("q", "[Echo(a) ->", Given(" error: the tool failed (RuntimeError)]"), "sorry", EOS)
    output = scene.answer("q").output
    assert (output.text, output.calls[0].failed) == ("sorry", True)


def test_a_tool_that_hangs_is_given_up_after_its_timeout():
    gate, clock = Gate(), Clock()
    scene = stage(echo_tool(gate.hang, timeout_s=3.0), runner=ThreadApiRunner(clock=clock), clock=clock)
    scene.says("q", "[Echo(a) ->", Given(" error: timed out after 3 s]"), "sorry", EOS)
    asked = scene.ask("q")
    while scene.engine.step():
        pass
    assert not asked.ended
    assert gate.entered.acquire(timeout=10)
    clock.now = 3.0
    run(scene.engine)
    assert (asked.output.text, asked.output.calls[0].failed) == ("sorry", True)
    gate.open()


def test_a_result_that_is_too_long_is_cut():
    scene = stage(echo_tool(lambda text: "x" * 100, max_result_chars=10), runner=ThreadApiRunner())
    scene.says("q", "[Echo(a) ->", Given(" xxxxxxx...]"), "ok", EOS)
    assert scene.answer("q").output.text == "ok"


@pytest.mark.parametrize(
    ("result", "given"),
    [
        ("", " ]"),
        ("  \n ", " ]"),
        ("a\n\nb\tc", " a b c]"),
        ("a] [Echo(x) -> b", " a] [Echo(x) -> b]"),
        ("é漢", " é漢]"),
    ],
)
def test_whatever_a_tool_returns_stays_one_line_of_plain_text(result: str, given: str):
    tool = echo_tool(lambda text: result)
    scene = stage(tool)
    scene.says("q", "[Echo(a) ->", Given(given), "ok", EOS)
    assert scene.answer("q").output.text == "ok"
    assert len(counted(tool)) == 1


def test_special_tokens_in_a_result_are_spelled_out():
    scene = stage(echo_tool(lambda text: EOS))
    scene.says("q", "[Echo(a) ->", Given(" <eos>]"), "ok", EOS)
    asked = scene.ask("q")
    seen = scene.engine.scheduler.get(asked.request_id)
    assert seen is not None
    run(scene.engine)
    assert asked.output.text == "ok"
    assert seen.token_ids.count(0) == 1, "the model's own end of text only"


def test_an_unknown_tool_is_plain_text():
    tool = echo_tool()
    scene = stage(tool)
    scene.says("q", "[Ekho(a) -> b]", EOS)
    assert scene.answer("q").output.text == "[Ekho(a) -> b]"
    assert counted(tool) == []


def test_calls_are_plain_text_where_they_are_not_to_be_recognised():
    tool = echo_tool()
    scene = stage(tool)
    scene.says("q", " [Echo(a) -> b]", EOS)
    assert scene.answer("q", recognise_calls=False).output.text == " [Echo(a) -> b]"
    assert counted(tool) == []


def test_wrong_arguments_are_told_to_the_model_and_the_tool_is_not_run():
    schema = {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}, "required": ["a", "b"]}
    tool = echo_tool(lambda a, b: str(a + b), name="Add", parameters=schema)
    scene = stage(tool)
    scene.says("q", "[Add(1) ->", Given(" error: Add takes the arguments a, b]"), "[Add(1, 2) ->", Given(" 3]"), "3", EOS)
    assert scene.answer("q").output.text == "3"
    assert counted(tool) == [{"a": 1, "b": 2}]


def test_the_last_allowed_token_completes_a_call_and_the_tool_is_not_run():
    tool = echo_tool()
    scene = stage(tool)
    written = "hm [Echo(a) ->"
    scene.says("q", written, Given(" a]"))
    output = scene.answer("q", SamplingParams(max_tokens=len(written))).output
    assert (output.text, output.finish_reason, output.calls) == ("hm", FinishReason.LENGTH, [])
    assert counted(tool) == []


def test_a_result_that_fills_the_context_leaves_one_token_to_say():
    scene = stage(echo_tool(lambda text: "123456789"), max_model_len=20)
    scene.says("q", "[Echo(a) ->", Given(" 123456"), "z")  # 1 + 11 + 7 + 1 = 20
    output = scene.answer("q").output
    assert (output.text, output.finish_reason) == ("z", FinishReason.LENGTH)


def test_a_call_whose_result_has_no_room_ends_the_request():
    scene = stage(echo_tool(), max_model_len=13)
    scene.says("q", "[Echo(a) ->")  # 1 + 11 = 12, and a result must leave room for one more
    output = scene.answer("q").output
    assert output.finish_reason is FinishReason.LENGTH
    assert output.calls[0].result == "a"


@pytest.mark.parametrize("word", ["->7", "-> 1]x", ") -> nonsense"])
def test_what_the_model_wrote_behind_the_arrow_in_the_same_token_is_taken_back(word: str):
    tool = echo_tool(lambda text: "ok")
    scene = stage(tool, words=(word,))
    surplus = word.partition("->")[2]
    scene.says("q", "[Echo(a" + ("" if ")" in word else ") "), word, Given(" ok]", instead_of=surplus), "fine", EOS)
    asked = scene.answer("q")
    assert (asked.output.text, counted(tool)) == ("fine", [{"text": "a"}])


def remembering_tool() -> Tool:
    def remember(text: str, state: dict[str, list[str]]) -> str:
        seen = state.setdefault("seen", [])
        seen.append(text)
        return "".join(seen)

    return Tool("Echo", "", one_string("text", ""), remember, stateful=True)


def test_a_stateful_tool_remembers_within_a_request_and_forgets_between_requests():
    scene = stage(remembering_tool())
    for prompt in "pq":
        scene.says(prompt, "[Echo(a) ->", Given(" a]"), "[Echo(b) ->", Given(" ab]"), "ok", EOS)
    together = [scene.ask(prompt) for prompt in "pq"]
    run(scene.engine)
    later = scene.answer("p")
    assert [asked.output.text for asked in (*together, later)] == ["ok"] * 3


def test_a_call_of_a_client_tool_ends_the_request():
    mine, theirs = echo_tool(), echo_tool(name="Theirs")
    scene = stage(mine)
    scene.says("q", "[Echo(a) ->", Given(" a]"), "so [Theirs(b) ->", Given(" b]"), EOS)
    asked = scene.answer("q", client_tools={"Theirs": theirs})
    assert (asked.output.finish_reason, asked.output.text) == (FinishReason.TOOL_CALLS, "so")
    assert [(call.name, call.result, call.handling is None) for call in asked.output.calls] == [
        ("Echo", "a", False),
        ("Theirs", None, False),
    ]
    assert [call.is_clients for call in asked.output.calls] == [False, True]
    assert (len(counted(mine)), len(counted(theirs))) == (1, 0)


def test_a_client_tool_goes_before_the_engines_own_of_the_same_name():
    mine, theirs = echo_tool(), echo_tool()
    scene = stage(mine)
    scene.says("q", "[Echo(a) ->")
    asked = scene.answer("q", client_tools={"Echo": theirs})
    assert asked.output.finish_reason is FinishReason.TOOL_CALLS
    assert (counted(mine), counted(theirs)) == ([], [])


# Ends from outside.


def paused_scene() -> tuple[Stage, ManualRunner]:
    runner = ManualRunner(delay_polls=None)
    scene = stage(echo_tool(), runner=runner, max_num_seqs=2)
    for prompt in "pqr":
        scene.says(prompt, "[Echo(a) ->", Given(" a]"), "ok", EOS)
    return scene, runner


@pytest.mark.parametrize("num_steps", range(18))
def test_an_abort_at_any_moment_ends_one_request_and_leaves_the_others_alone(num_steps: int):
    scene, runner = paused_scene()
    asked = [scene.ask(prompt) for prompt in "pqr"]
    scene.steps(num_steps)
    scene.engine.abort(asked[1].request_id)
    assert asked[1].output.finish_reason is FinishReason.ABORT
    while not all(other.ended for other in asked):
        runner.release()
        scene.steps(1)
    run(scene.engine)
    assert [asked[0].output.text, asked[2].output.text] == ["ok", "ok"]
    assert [other.events[-1].kind for other in asked] == ["finished"] * 3
    assert sum(event.kind == "finished" for event in asked[1].events) == 1


def test_an_aborted_call_is_cancelled_and_its_outcome_ignored():
    scene, runner = paused_scene()
    asked = scene.ask("p")
    scene.steps(14)
    assert state_of(scene, asked.request_id) is RequestState.IN_API_CALL
    scene.engine.abort(asked.request_id)
    assert runner.cancelled == [asked.request_id]
    num_events = len(asked.events)
    runner.release()
    run(scene.engine)
    assert len(asked.events) == num_events


def test_aborting_a_request_that_has_ended_or_never_was_is_no_error():
    scene = stage()
    scene.says("q", "a", EOS)
    asked = scene.answer("q")
    scene.engine.abort(asked.request_id)
    scene.engine.abort("nobody")
    assert asked.output.finish_reason is FinishReason.STOP


def test_fail_all_ends_every_request_with_the_message_and_the_engine_serves_on():
    scene, _ = paused_scene()
    asked = [scene.ask(prompt) for prompt in "pqr"]
    scene.steps(14)
    states = {state_of(scene, other.request_id) for other in asked}
    assert RequestState.IN_API_CALL in states
    scene.engine.fail_all("out of order")
    assert [other.output.finish_reason for other in asked] == [FinishReason.ERROR] * 3
    assert {other.output.error for other in asked} == {"out of order"}
    run(scene.engine)
    scene.says("s", "fine", EOS)
    assert scene.answer("s").output.text == "fine"


# Many at once.


@every_system
@pytest.mark.parametrize("delay_polls", [0, 4])
def test_no_tool_runs_twice_for_one_call_although_requests_are_preempted_and_computed_again(system: str, delay_polls: int):
    tool = echo_tool(lambda text: text)
    scene = stage(
        tool, runner=ManualRunner(delay_polls), policy=system, max_model_len=48, num_blocks=25, max_num_seqs=8, token_budget=16
    )
    letters = "abcdefghijkl"
    for letter in letters:
        scene.says(
            letter, f"[Echo({letter}1) ->", Given(f" {letter}1]"), f"x[Echo({letter}2) ->", Given(f" {letter}2]"), "done", EOS
        )
    asked = [scene.ask(letter) for letter in letters]
    run(scene.engine)
    assert [other.output.text for other in asked] == ["xdone"] * len(letters)
    assert sorted(call["text"] for call in counted(tool)) == sorted(f"{letter}{n}" for letter in letters for n in (1, 2))
    assert scene.engine.scheduler.num_preemptions > 0


@every_system
def test_a_request_in_a_crowd_says_what_it_says_alone(system: str):
    scene = stage(
        echo_tool(), policy=system, max_model_len=40, num_blocks=24, max_num_seqs=6, token_budget=12, max_chunk_tokens=5
    )
    prompts = [f"{number} questions" for number in range(15)]
    for number, prompt in enumerate(prompts):
        scene.says(prompt, f"hm [Echo({number}) ->", Given(f" {number}]"), f" {number}!", EOS)
    asked = []
    for prompt in prompts:
        asked.append(scene.ask(prompt))
        scene.steps(2)
    run(scene.engine)
    assert [other.output.text for other in asked] == [f"hm {number}!" for number in range(15)]


def test_a_sink_hears_nothing_after_the_end():
    scene = stage(echo_tool())
    scene.says("q", "a[Echo(1) ->", Given(" 1]"), "b", EOS)
    asked = scene.answer("q")
    kinds = [event.kind for event in asked.events]
    assert kinds.index("finished") == len(kinds) - 1


def test_a_request_is_told_of_its_start_once_and_its_times_are_in_order():
    scene = stage(echo_tool())
    scene.engine.clock = itertools.count(1.0).__next__
    scene.says("q", "a[Echo(1) ->", Given(" 1]"), "b", EOS)
    asked = scene.answer("q")
    assert [event.kind for event in asked.events].count("started") == 1 and asked.events[0].kind == "started"
    times, (call,) = asked.output.timestamps, asked.output.calls
    assert times.scheduled_s is not None and call.returned_s is not None and call.resumed_s is not None
    assert times.arrival_s <= times.scheduled_s < times.first_token_s < call.called_s  # pyright: ignore
    assert call.called_s <= call.returned_s < call.resumed_s <= times.last_token_s  # pyright: ignore


def test_whoever_wants_to_is_told_of_every_step_and_how_long_the_one_before_took():
    scene = stage()
    scene.engine.clock = itertools.count(1.0).__next__
    steps: list[tuple[int, float]] = []
    scene.engine.on_step = lambda plan, seconds: steps.append((plan.step_id, seconds))
    scene.says("q", "abc", EOS)
    scene.answer("q")
    assert len(steps) >= 4 and [step_id for step_id, _ in steps] == sorted(step_id for step_id, _ in steps)
    assert steps[0][1] == 0.0 and all(seconds > 0 for _, seconds in steps[1:])
    assert scene.engine.num_sampled_tokens == 4
    num_steps = len(steps)
    scene.answer("q")
    assert steps[num_steps][1] == 0.0  # nothing was under way


def test_an_idle_engine_says_so_and_waking_it_up_ends_its_wait():
    scene = stage()
    assert not scene.engine.step()
    waker = threading.Thread(target=scene.engine.wake_up)
    waker.start()
    scene.engine.wait(30.0)
    waker.join()


def test_a_wait_is_over_when_the_first_tool_runs_out_of_time():
    gate, clock = Gate(), Clock()
    scene = stage(echo_tool(gate.hang, timeout_s=5.0), runner=ThreadApiRunner(clock=clock), clock=clock)
    scene.says("q", "[Echo(a) ->", Given(" error: timed out after 5 s]"), EOS)
    ask(scene.engine, "q")
    while scene.engine.step():
        pass
    clock.now = 5.0
    scene.engine.wait()  # for ever, if it did not know of the tool
    run(scene.engine)
    gate.open()


def test_a_result_that_is_no_unicode_reaches_the_model_as_text():
    scene = stage(echo_tool(lambda text: "half \ud83d pair"), runner=ThreadApiRunner())
    scene.says("q", "[Echo(a) ->", Given(" half ? pair]"), "fine", EOS)
    assert scene.answer("q").output.text == "fine"


def test_what_goes_wrong_for_one_request_ends_that_one_alone(monkeypatch):
    scene = stage()
    scene.says("q", "fine", EOS)
    scene.says("r", "fine", EOS)
    bad, good = ask(scene.engine, "q"), ask(scene.engine, "r")
    stream = scene.engine._live[bad.request_id].reader
    monkeypatch.setattr(stream, "push", lambda *_, **__: 1 / 0)
    run(scene.engine)
    assert bad.output.finish_reason is FinishReason.ERROR
    assert "ZeroDivisionError" in bad.output.error
    assert good.output.text == "fine"
    scene.engine.scheduler.check()
