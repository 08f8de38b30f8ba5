import pytest

from lamps_jax.config import EngineConfig, SchedulerConfig
from lamps_jax.engine.events import Event
from lamps_jax.llm import LLM
from lamps_jax.sched.request import FinishReason, Handling, SamplingParams

pytestmark = pytest.mark.usefixtures("optimised", "compiled_before")


@pytest.fixture(scope="module")
def llm() -> LLM:
    return LLM(config=EngineConfig(SchedulerConfig(max_num_seqs=4, max_chunk_tokens=64, max_model_len=512)))


def test_the_embedded_model_calls_the_calculator(llm: LLM) -> None:
    (generation,) = llm.generate(["What is 48*37?"])
    (call,) = generation.calls
    assert (call.name, call.arguments, call.result) == ("Calculator", {"expression": "48*37"}, "1776")
    assert call.handling is Handling.PRESERVE
    assert generation.text == "1776"
    assert generation.finish_reason is FinishReason.STOP


def test_prompts_served_together_get_the_answers_they_get_alone(llm: LLM) -> None:
    prompts = ["What is 12+30?", "Hello!", "Who wrote Moby-Dick?", "What is 7 squared?", "Fetch the brass key from the cellar."]
    together = [generation.token_ids for generation in llm.generate(prompts)]
    assert together == [llm.generate([prompt])[0].token_ids for prompt in prompts]


def test_events_tell_the_same_story_as_the_generation(llm: LLM) -> None:
    events: list[tuple[int, Event]] = []
    (generation,) = llm.generate(["Fetch the brass key from the cellar."], on_event=lambda *event: events.append(event))
    assert "".join(event.text for _, event in events if event.kind == "text") == generation.text
    assert [event.kind for _, event in events if event.kind in ("call", "result")] == ["call", "result"] * len(generation.calls)
    assert events[-1][1].kind == "finished"


def test_a_raw_prompt_is_taken_as_it_is(llm: LLM) -> None:
    (raw,) = llm.generate(["Q: What is 48*37? A:"], raw=True)
    assert raw.text == "1776"


def test_one_bad_prompt_leaves_nothing_behind(llm: LLM) -> None:
    with pytest.raises(ValueError, match="shorten it"):
        llm.generate(["Hello!", "word " * 1000])
    assert llm.engine.num_unfinished == 0
    llm.engine.scheduler.check()
    assert llm.generate(["Hello!"])[0].text


def test_seeded_sampling_repeats_itself_and_other_seeds_differ(llm: LLM) -> None:
    def tokens(seed: int) -> list[int]:
        return llm.generate(["Tell me something."], SamplingParams(temperature=3.0, seed=seed, max_tokens=20))[0].token_ids

    assert tokens(1) == tokens(1)
    assert tokens(1) != tokens(2)


@pytest.mark.slow
def test_discarding_the_blocks_of_a_call_changes_no_token(llm: LLM) -> None:
    discarding = LLM(config=EngineConfig(SchedulerConfig("vllm-head", max_num_seqs=4, max_chunk_tokens=64, max_model_len=512)))
    prompts = ["How old was Albert Einstein when he died?", "Fetch the brass key from the cellar."]
    preserved, discarded = llm.generate(prompts), discarding.generate(prompts)
    assert [generation.token_ids for generation in preserved] == [generation.token_ids for generation in discarded]
    assert {call.handling for generation in discarded for call in generation.calls} == {Handling.DISCARD}
