"""The command line of those who study policies."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow  # each starts the command line

QUICK = ("--policy", "vllm,lamps", "--rate", "2", "--window", "15", "--num-scripts", "50")


def simulate(*arguments: str) -> subprocess.CompletedProcess[str]:
    return command("simulate", *arguments)


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from lamps_jax.cli import main; main()", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )


def test_a_study_prints_a_table_and_writes_results_tables_and_figures(tmp_path: Path):
    done = simulate(*QUICK, "--rate", "1,2", "--seed", "0,1", "--details", "--out", str(tmp_path / "study"))
    assert done.returncode == 0, done.stderr
    assert "lamps" in done.stdout
    names = {path.name for path in (tmp_path / "study").iterdir()}
    assert {"results.json", "table.txt", "table.md", "latency.png", "occupancy-rate-2.png", "timeline-rate-1.png"} <= names
    runs = json.loads((tmp_path / "study" / "results.json").read_text())["runs"]
    assert [(run["policy"], run["rate_rps"], run["seed"]) for run in runs] == [
        (policy, rate, seed) for rate in (1.0, 2.0) for policy in ("vllm", "lamps") for seed in (0, 1)
    ]


def test_json_is_one_document_and_nothing_else_on_standard_output():
    done = simulate(*QUICK, "--json")
    document = json.loads(done.stdout)
    assert (document["schema"], document["kind"]) == (1, "simulate")
    arrived = [run["arrived"] for run in document["runs"]]
    assert arrived[0] == arrived[1] > 0


def test_every_option_of_the_scheduler_reaches_it():
    options = {
        "token_budget": 512,
        "admission": "predicted-peak",
        "starvation_threshold": 7,
        "starvation_scope": "started",
        "rank_refresh_steps": 3,
        "apply_handling": "lazily",
        "lookahead": "program",
        "call_duration": "expected",
    }
    arguments = [text for name, value in options.items() for text in (f"--{name.replace('_', '-')}", str(value))]
    (run,) = json.loads(simulate(*QUICK, "--policy", "lamps", "--rank-preemption", *arguments, "--json").stdout)["runs"]
    assert run["options"] == options | {"rank_preemption": True, "max_chunk_tokens": 512}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--policy", "fcfs"), "unknown policy 'fcfs'; known are preserve"),
        (("--workload", "tetris"), "no workload and no file is called 'tetris'; use one of single-api"),
        (("--rate", "0"), "--rate must be a positive number of requests per second, got 0"),
        (("--rate", "fast"), "--rate must be requests per second, with commas between, or trace, got 'fast'"),
        (("--seed", "x"), "--seed must be whole numbers with commas between, got 'x'"),
        (("--hardware", "abacus"), "no hardware and no file is called 'abacus'"),
        (("--window", "-1"), "window_s must be a positive number of seconds, got -1.0"),
        (("--prediction", "magic"), "unknown prediction 'magic'"),
        (("--admission", "all"), "'all' is not one of 'next-chunk', 'whole-context', 'predicted-peak'"),
        (("--workload", "mixed", "--trace", "x.jsonl"), "--workload and --trace both say what clients ask for"),
        (
            ("--goodput", "ttft:2,speed:1"),
            "each of a positive number of seconds, got 'speed:1'",
        ),
        (("--noise", "-1"), "the noise of predictions must not be negative, got -1.0"),
        (("--jobs", "0"), "jobs must be at least 1, got 0"),
    ],
)
def test_what_cannot_be_simulated_gets_one_line_and_status_2(arguments: tuple[str, ...], says: str):
    done = simulate("--window", "5", "--num-scripts", "20", *arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert says in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_malformed_trace_names_file_line_and_field(tmp_path: Path):
    trace = tmp_path / "bad.jsonl"
    good = '{"prompt_tokens": 5, "segments": [{"generated_tokens": 3}]}'
    trace.write_text(good + "\n" + good.replace("3", "-3") + "\n")
    done = simulate("--trace", str(trace), "--rate", "1")
    assert done.returncode == 2
    assert "bad.jsonl" in done.stderr


@pytest.mark.long
@pytest.mark.slow
def test_a_bench_serves_on_the_engine_of_this_process_and_writes_what_a_simulation_does(tmp_path: Path):
    limits = ("--kv-blocks", "33", "--max-num-seqs", "4", "--max-model-len", "128", "--duration-scale", "0.01")
    wanted = ("--policy", "vllm,lamps", "--rate", "8", "--window", "3", "--drain", "--details")
    done = command("bench", *limits, *wanted, "--out", str(tmp_path / "bench"), "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert (document["kind"], [run["policy"] for run in document["runs"]]) == ("bench", ["vllm", "lamps"])
    for run in document["runs"]:
        assert run["finished"] == run["arrived"] > 10
        assert run["hardware"] == "this machine"
        assert run["schedule_s"]["mean"] < run["step_s"]["mean"] < 1.0
    names = {path.name for path in (tmp_path / "bench").iterdir()}
    assert {"results.json", "table.md", "occupancy.png", "timeline.png"} <= names


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--policy", "fcfs"), "unknown policy 'fcfs'; known are preserve"),
        (("--workload", "tetris"), "no workload and no file is called 'tetris'; use one of single-api"),
        (("--rate", "0"), "--rate must be a positive number of requests per second, got 0"),
        (
            ("--url", "http://127.0.0.1:9"),
            "nothing answers at http://127.0.0.1:9 (ConnectError); start one with `lamps-jax serve`",
        ),
        (("--kv-blocks", "4"), "cannot hold one request of max_model_len 512; use at least 33 blocks"),
        (("--host-kv-bytes", "many"), "--host-kv-bytes must be bytes, or a number with K, M, G or T behind it, got 'many'"),
        (("--duration-scale", "0"), "factors must be positive, got tokens=0.25 and durations=0.0"),
        (("--model", "/nowhere"), "/nowhere"),
    ],
)
def test_what_cannot_be_benched_gets_one_line_and_status_2(arguments: tuple[str, ...], says: str):
    done = command("bench", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr
    assert done.stderr.count("\n") == 1
