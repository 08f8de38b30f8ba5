"""The table behind the generators holds the numbers of the published traces."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, pstdev

import pytest

from lamps_jax.sim.distributions import BetaBinomial, Constant, Lognormal
from lamps_jax.sim.profiles import AGENT, MULTI_API, SINGLE_API, Profile
from lamps_jax.sim.workload import Call, Script, Segment
from tests.sim.published import read_published


def scripts_of(file: str, request_type: str) -> list[Script]:
    return [made for made in read_published(file).scripts if made.request_type == request_type]


def assert_moments(
    distribution: object, values: Sequence[float], *, mean_tolerance: float = 0.005, std_tolerance: float = 0.005
) -> None:
    if isinstance(distribution, Constant):
        assert set(values) == {distribution.value}
        return
    assert isinstance(distribution, Lognormal | BetaBinomial)
    assert fmean(values) == pytest.approx(distribution.mean, rel=mean_tolerance)
    assert pstdev(values) == pytest.approx(distribution.std, rel=std_tolerance)
    assert distribution.least <= min(values) and max(values) <= distribution.most * 1.01


@dataclass(frozen=True)
class CallSegments:
    """Segments of all requests of a type that stand at one place of the round, with their calls."""

    segments: list[Segment]
    calls: list[Call]


def at_phase(scripts: list[Script], phase: int, num_phases: int, *, skip_first: bool) -> CallSegments:
    chosen = [
        (segment, segment.call)
        for made in scripts
        for number, segment in enumerate(made.segments)
        if segment.call is not None and number % num_phases == phase
    ]
    kept = [
        segment
        for made in scripts
        for number, segment in enumerate(made.segments)
        if segment.call is not None and number % num_phases == phase and not (skip_first and number == 0)
    ]
    return CallSegments(kept, [call for _, call in chosen])


@pytest.mark.parametrize(
    ("file", "profile"),
    [("infercept_multi_api.jsonl", profile) for profile in MULTI_API]
    + [("infercept_single_api.jsonl", profile) for profile in SINGLE_API],
    ids=lambda value: value.request_type if isinstance(value, Profile) else value,
)
def test_a_profile_has_the_moments_of_the_trace(file: str, profile: Profile) -> None:
    scripts = scripts_of(file, profile.request_type)
    assert len(scripts) == profile.weight
    assert_moments(profile.prompt, [made.num_prompt_tokens for made in scripts])
    assert_moments(profile.num_rounds, [len(made.calls) / len(profile.round) for made in scripts])
    if profile.first_generated is not None:
        assert_moments(profile.first_generated, [made.segments[0].num_generated_tokens for made in scripts])
    if profile.last_generated is not None:
        assert_moments(profile.last_generated, [made.segments[-1].num_generated_tokens for made in scripts])
    assert (profile.last_generated is None) == (scripts[0].segments[-1].call is not None)
    for number, phase in enumerate(profile.round):
        found = at_phase(scripts, number, len(profile.round), skip_first=profile.first_generated is not None)
        generated = [segment.num_generated_tokens for segment in found.segments]
        # Chats, pictures and voices have one row for what is generated, though the latter two have a part of it.
        tolerance = 0.005 if profile.request_type not in ("image", "tts") else 0.05
        assert_moments(phase.generated, generated, mean_tolerance=tolerance, std_tolerance=tolerance)
        assert {call.name for call in found.calls} == {phase.call}
        assert_moments(phase.duration_s, [call.duration_s for call in found.calls])
        assert_moments(phase.returned, [call.num_returned_tokens for call in found.calls])


def test_contexts_of_alfworld_are_filled_up_in_the_trace() -> None:
    (profile,) = (each for each in MULTI_API if each.final_tokens is not None)
    assert profile.request_type == "ve"
    finals = [made.num_final_tokens for made in scripts_of("infercept_multi_api.jsonl", "ve")]
    assert fmean(finals) == pytest.approx(profile.final_tokens, rel=0.002) and max(finals) - min(finals) <= 2


QUANTILES: list[tuple[str, Callable[[Script], list[float]], list[float]]] = [
    ("tool", lambda made: [call.duration_s for call in made.calls if call.name == "tool"], [5, 9, 20, 78]),
    ("user", lambda made: [call.duration_s for call in made.calls if call.name == "user"], [32, 89, 305, 2079]),
    ("reply", lambda made: [segment.num_generated_tokens for segment in made.segments], [138, 216, 431, 897]),
]


@pytest.mark.parametrize(("values", "quantiles"), [row[1:] for row in QUANTILES], ids=[row[0] for row in QUANTILES])
def test_agents_have_the_quantiles_that_the_table_was_fitted_to(
    values: Callable[[Script], list[float]], quantiles: list[float]
) -> None:
    ordered = sorted(value for made in read_published("agent_gaps.csv").scripts for value in values(made))
    assert [ordered[int(len(ordered) * share)] for share in (0.25, 0.5, 0.75, 0.9)] == pytest.approx(quantiles, rel=0.05)


def test_agents_sessions_are_as_long_as_the_table_says() -> None:
    scripts = read_published("agent_gaps.csv").scripts
    num_turns = [len(made.turns()) for made in scripts]
    assert isinstance(AGENT.num_turns, Lognormal)
    assert fmean(num_turns) == pytest.approx(AGENT.num_turns.mean, rel=0.03)
    assert pstdev(num_turns) == pytest.approx(AGENT.num_turns.std, rel=0.03)
    calls = [call for made in scripts for call in made.calls]
    assert sum(call.name == "user" for call in calls) / len(calls) == pytest.approx(AGENT.user_share, abs=0.005)
