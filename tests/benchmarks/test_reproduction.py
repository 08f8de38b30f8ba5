"""The reproduction runs what it says, once, and tells what came of it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.reproduction import claims, paper, studies, tables
from benchmarks.reproduction.case import GPTJ, Case, Experiment, compare
from benchmarks.reproduction.paper import QUICK, WHOLE
from benchmarks.reproduction.pool import Committed, Pool
from lamps_jax.sim.fleet import FleetSpec
from lamps_jax.sim.run import simulate
from lamps_jax.sim.spec import RunSpec

SHORT = Case("lamps", window_s=10.0, rate_rps=2.0)


def nothing(done: int, total: int) -> None:
    """No progress to show."""


def small() -> Experiment:
    return compare("small", {"ours": SHORT, "theirs": replace(SHORT, policy="vllm")}, (1.0, 2.0), (0, 1))


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    pool = Pool(tmp_path_factory.mktemp("pool"))
    pool.run(small().cases, nothing, jobs=1)
    return pool


def test_no_two_cases_share_a_key():
    cases = {case for experiment in (*paper.experiments(WHOLE), *studies.experiments(WHOLE)) for case in experiment.cases}
    assert len({case.key for case in cases}) == len(cases) > 1000


def test_every_case_can_be_told_to_the_simulator():
    for experiment in (*paper.experiments(QUICK), *studies.experiments(QUICK)):
        for case in experiment.cases:
            spec = case.spec()
            run = spec.run if isinstance(spec, FleetSpec) else spec
            assert (run.rate_rps, run.scheduler.policy) == (case.rate_rps, case.policy)


def test_a_figure_of_the_paper_has_five_seeds_at_every_rate():
    for experiment in paper.experiments(WHOLE)[:-1]:
        for _, cases in experiment.systems:
            seeds = {rate: {case.seed for case in cases if case.rate_rps == rate} for rate in {case.rate_rps for case in cases}}
            assert all(found == {0, 1, 2, 3, 4} for found in seeds.values())


def test_results_are_those_of_the_simulator(pool: Pool):
    run = simulate(SHORT.spec())
    assert pool[SHORT]["e2e_s"]["mean"] == pytest.approx(run["e2e_s"]["mean"], rel=1e-4)
    assert (pool[SHORT]["arrived"], pool[SHORT]["finished"]) == (run["arrived"], run["finished"])


def test_an_interrupted_reproduction_runs_only_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    cases = list(small().cases)
    Pool(tmp_path).run(cases[:2], nothing, jobs=1)
    (file,) = tmp_path.iterdir()
    lines = file.read_text().splitlines(keepends=True)
    file.write_text(lines[0] + lines[1][:40])  # killed in the middle of a line
    ran: list[str] = []
    again = Pool(tmp_path)

    def simulate_all(specs, *, jobs, progress, keep):
        for place, spec in enumerate(specs):
            ran.append(spec.scheduler.policy)
            keep(place, simulate(spec))

    monkeypatch.setattr("benchmarks.reproduction.pool.simulate_all", simulate_all)
    again.run(cases[:2], nothing)
    assert len(ran) == 1
    assert [Pool(tmp_path)[case]["seed"] for case in cases[:2]] == [again[case]["seed"] for case in cases[:2]] == [0, 1]


def test_committed_results_read_as_the_runs_themselves(pool: Pool):
    committed = Committed(json.loads(json.dumps({"runs": [{"case": case.key} | pool[case] for case in small().cases]})))
    mine, theirs = (tables.comparison(small(), results) for results in (pool, committed))
    assert tables.table(mine, tables.WINDOWED) == tables.table(theirs, tables.WINDOWED)


def test_a_change_is_the_difference_of_means_over_seeds(pool: Pool):
    found = tables.comparison(small(), pool)
    means = [
        sum(pool[replace(SHORT, policy=policy, seed=seed)]["e2e_s"]["mean"] for seed in (0, 1)) / 2
        for policy in ("lamps", "vllm")
    ]
    assert tables.change(found, 2.0, tables.E2E_MEAN, "ours", "theirs") == pytest.approx(means[0] / means[1] - 1)
    assert tables.percent(-0.253) == "\N{MINUS SIGN}25 %" and tables.percent(-0.001) == "0 %" and tables.percent(0.5) == "+50 %"
    with pytest.raises(ValueError, match="nobody has no value"):
        tables.value(found, "nobody", 2.0, tables.E2E_MEAN)


def test_the_share_that_finishes_is_told_by_type(pool: Pool):
    found = tables.comparison(small(), pool)
    assert "| ours | 2 |" in tables.table_by_type(found)
    share = tables.value(found, "ours", 2.0, lambda run: tables.finished_of_type(run, kind="math"))
    assert 0 < share <= 1


def test_a_claim_holds_only_if_all_of_it_does():
    rows = claims.as_markdown([claims.Claim("here", "this", "that", "holds")])
    assert rows.splitlines()[-1] == "| here | this | that | **holds** |"


def test_a_case_names_what_differs_from_the_usual():
    assert Case("lamps").key == "policy=lamps"
    assert Case("vllm", hardware=GPTJ, seed=3).key == "policy=vllm seed=3"
    spec = Case("vllm").spec()
    assert isinstance(spec, RunSpec) and spec.scheduler.token_budget == 2048
