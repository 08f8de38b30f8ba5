"""The report beyond the paper says what its runs say."""

import json
from pathlib import Path

import pytest

from benchmarks.beyond import document, numbers
from benchmarks.beyond.__main__ import RESULTS
from benchmarks.beyond.cases import QUICK, TUNING_SEED, WHOLE, all_cases, tuning
from benchmarks.reproduction.case import GPTJ
from benchmarks.reproduction.pool import Committed
from lamps_jax.sim.spec import RunSpec

REPORT = Path(__file__).parents[2] / "docs" / "report.md"


def test_every_case_of_the_report_can_be_told_to_the_simulator_and_no_two_share_a_key() -> None:
    cases = set(all_cases(WHOLE))
    assert len({case.key for case in cases}) == len(cases) > 150
    for case in all_cases(QUICK):
        assert isinstance(case.spec(), RunSpec)


def test_the_seed_that_tunables_were_chosen_with_is_in_no_other_table() -> None:
    tuned = {case for cases in tuning(WHOLE, GPTJ).values() for case in cases}
    assert {case.seed for case in tuned} == {TUNING_SEED}
    assert {case for case in all_cases(WHOLE) if case.seed == TUNING_SEED and case.hardware == GPTJ} == tuned


def test_the_report_is_what_the_committed_results_say() -> None:
    results = Committed(json.loads(RESULTS.read_text(encoding="utf-8")))
    assert document.text(WHOLE, results) == REPORT.read_text(encoding="utf-8")


@pytest.mark.parametrize(("share", "written"), [(0.123, "+12 %"), (-0.3549, "\N{MINUS SIGN}35 %"), (-0.001, "0 %")])
def test_changes_are_written_in_whole_percent(share: float, written: str) -> None:
    assert numbers.percent(share) == written
