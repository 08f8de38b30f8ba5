import pytest

from lamps_jax.metrics import Latencies, Objectives, Timestamps, latencies


def test_latencies_are_those_worked_out_by_hand():
    # Arrived at 10, first token at 12, then four more until 20 with a call of 3 s among them, ended at 21.
    times = Timestamps(arrival_s=10.0, first_token_s=12.0, last_token_s=20.0, finished_s=21.0, api_s=3.0)
    assert latencies(times, num_tokens=5) == Latencies(ttft_s=2.0, tpot_s=2.0, e2e_s=11.0, service_s=8.0, api_s=3.0)


def test_a_request_of_one_token_has_no_gap_between_tokens():
    times = Timestamps(arrival_s=1.0, first_token_s=2.5, last_token_s=2.5, finished_s=3.0)
    assert latencies(times, num_tokens=1) == Latencies(ttft_s=1.5, tpot_s=None, e2e_s=2.0, service_s=2.0, api_s=0.0)


def test_a_request_aborted_before_its_first_token_has_only_an_end():
    times = Timestamps(arrival_s=1.0, finished_s=4.0)
    assert latencies(times, num_tokens=0) == Latencies(ttft_s=None, tpot_s=None, e2e_s=3.0, service_s=3.0, api_s=0.0)


def test_an_unfinished_request_has_no_latencies():
    with pytest.raises(ValueError, match="not finished"):
        latencies(Timestamps(1.0, 2.0, 2.0), 1)


def test_latencies_are_reported_to_the_microsecond_under_their_names():
    times = Timestamps(arrival_s=0.0, first_token_s=0.12345678, last_token_s=0.12345678, finished_s=1 / 3)
    assert latencies(times, 1).as_dict() == {
        "ttft_s": 0.123457,
        "tpot_s": None,
        "e2e_s": 0.333333,
        "service_s": 0.333333,
        "api_s": 0.0,
    }


def test_objectives_are_met_by_requests_that_keep_within_all_of_them():
    objectives = Objectives(ttft_s=2.0, tpot_s=0.5)
    assert objectives.met_by(Latencies(2.0, 0.5, 100.0, 100.0, 0.0))
    assert not objectives.met_by(Latencies(2.1, 0.1, 3.0, 3.0, 0.0))
    assert not objectives.met_by(Latencies(1.0, 0.6, 3.0, 3.0, 0.0))
    assert objectives.met_by(Latencies(1.0, None, 1.0, 1.0, 0.0))
    assert not Objectives(e2e_s=2.0).met_by(Latencies(1.0, None, 3.0, 1.0, 2.0))
    assert not Objectives()


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf")])
def test_an_objective_that_is_no_time_is_refused(seconds: float):
    with pytest.raises(ValueError, match="objective tpot_s must be a positive number"):
        Objectives(tpot_s=seconds)
