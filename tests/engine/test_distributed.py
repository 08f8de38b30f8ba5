"""Several processes compute what one does, end together, and say why where they cannot work together.

The processes are real, on this machine's loopback; each has one CPU device.
"""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamps_jax.engine import distributed
from lamps_jax.engine.distributed import Leader, Processes, Run, decode, encode, follow
from tests.factories import gptj_config, save_tiny_tokenizer, save_torch_gptj

ROOT = Path(__file__).parents[2]
LAMPS = "from lamps_jax.cli import main; main()"
ENVIRONMENT = {
    **os.environ,
    "JAX_PLATFORMS": "cpu",
    "XLA_FLAGS": "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true",  # compiles quicker
}


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (("node0", 2, 0), "must be HOST:PORT of process 0, got 'node0'"),
        ((":1234", 2, 0), "must be HOST:PORT of process 0, got ':1234'"),
        (("node0:http", 2, 0), "must be HOST:PORT of process 0, got 'node0:http'"),
        (("node0:1234", 0, 0), "the number of processes must be positive, got 0"),
        (("node0:1234", 2, 2), "the process id must be between 0 and 1, got 2"),
        (("node0:1234", 2, -1), "the process id must be between 0 and 1, got -1"),
    ],
)
def test_processes_that_cannot_find_each_other_are_refused(values: tuple[str, int, int], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Processes(*values)


def test_an_address_may_be_of_version_6() -> None:
    assert Processes("[::1]:1234", 2, 1).process_id == 1


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["prefill", "decode", "swap_out", "bring", "swap_in"]),
            st.lists(st.integers(0, 5), min_size=1, max_size=2),
            st.integers(0, 99),
        )
    )
)
def test_a_message_says_what_was_put_into_it(plan: list[tuple[str, list[int], int]]) -> None:
    runs = [(name, np.random.default_rng(seed).integers(-(2**31), 2**31, shape, dtype=np.int32)) for name, shape, seed in plan]
    read = decode(encode(runs))
    assert [name for name, _ in read] == [name for name, _ in runs]
    for (_, ours), (_, theirs) in zip(runs, read, strict=True):
        assert theirs.dtype == np.int32
        np.testing.assert_array_equal(ours, theirs)


class Store:
    """A key-value store in this process."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.gone = False

    def key_value_set(self, key: str, value: str) -> None:
        self.values[key] = value

    key_value_set_bytes = key_value_set

    def blocking_key_value_get_bytes(self, key: str, timeout_ms: int) -> bytes:
        if key not in self.values:
            raise jax.errors.JaxRuntimeError("UNAVAILABLE: no route" if self.gone else f"DEADLINE_EXCEEDED: no {key}\nat length")
        return self.values[key]

    def key_value_dir_get(self, folder: str) -> list[tuple[str, str]]:
        return [(key, value) for key, value in self.values.items() if key.startswith(f"{folder}/")]

    def key_value_delete(self, folder: str) -> None:
        assert folder.endswith("/")
        self.values = {key: value for key, value in self.values.items() if not key.startswith(folder)}


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Store:
    store = Store()
    monkeypatch.setattr(distributed, "_client", lambda: store)
    return store


def run_of(number: int) -> tuple[str, np.ndarray]:
    return ("decode" if number % 2 else "prefill", np.full(3, number, np.int32))


@pytest.mark.parametrize("how", ["well", "badly"])
def test_a_follower_runs_every_step_in_order_and_learns_how_it_ended(how: str, store: Store) -> None:
    leader, seen = Leader(), []
    for number in range(0, 200, 2):
        leader.send([run_of(number), run_of(number + 1)])
    store.key_value_set("lamps_jax/end/how", how)
    assert follow(lambda runs: seen.extend((name, packed.tolist()) for name, packed in runs)) == (how == "well")
    assert seen == [(name, packed.tolist()) for name, packed in map(run_of, range(200))]


def test_messages_that_every_process_has_run_are_forgotten(store: Store) -> None:
    leader = Leader()
    sent = [leader.send([run_of(number)]) for number in range(300)]
    leader.received(sent[210])
    kept = sorted(int(key.rsplit("/", 1)[1]) for key in store.values)
    assert kept[-1] == 299
    assert 210 - distributed._STEPS_PER_FOLDER < kept[0] <= 211


def test_a_follower_whose_leader_is_gone_says_so(store: Store) -> None:
    store.gone = True
    with pytest.raises(ConnectionError, match="process 0 is gone: UNAVAILABLE: no route"):
        follow(lambda runs: None)


def test_the_first_signal_to_a_follower_is_left_to_the_leader(store: Store) -> None:
    leader = Leader()
    leader.send([run_of(0)])
    before = signal.getsignal(signal.SIGTERM)

    def run(runs: list[Run]) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        store.key_value_set("lamps_jax/end/how", "well")

    assert follow(run)
    assert signal.getsignal(signal.SIGTERM) is before


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start(program: str, *arguments: str, **variables: str) -> subprocess.Popen[str]:
    command, environment = [sys.executable, "-c", program, *arguments], {**ENVIRONMENT, **variables}
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@contextmanager
def pair(program: str, *arguments: Sequence[str]) -> Iterator[tuple[subprocess.Popen[str], subprocess.Popen[str]]]:
    """Two processes of a program, one for each list of arguments, or for the same one twice."""
    address = ["--coordinator-address", f"127.0.0.1:{free_port()}", "--num-processes", "2", "--process-id"]
    processes = [start(program, *arguments[index % len(arguments)], *address, str(index)) for index in range(2)]
    try:
        yield processes[0], processes[1]
    finally:
        for process in processes:
            process.kill()
            process.communicate()


@pytest.fixture(scope="module")
def generate(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A command that generates from a small model."""
    directory = tmp_path_factory.mktemp("model")
    save_torch_gptj(directory, gptj_config(vocab_size=257, num_heads=4, num_layers=1))
    save_tiny_tokenizer(directory)
    return [
        "generate", "What is it?", "--raw", "--json", "--ignore-eos", "--model", str(directory), "--compile-cache", "",
        "--max-tokens", "20", "--max-model-len", "48",
    ]  # fmt: skip


@pytest.mark.slow
def test_two_processes_generate_what_one_does(generate: list[str]) -> None:
    with pair(LAMPS, [*generate, "--tensor-parallel", "2"]) as (leader, follower):
        alone = subprocess.run(
            [sys.executable, "-c", LAMPS, *generate], cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=True
        )
        (printed, said), (followed, also_said) = leader.communicate(timeout=200), follower.communicate(timeout=60)
    assert (leader.returncode, follower.returncode) == (0, 0), said + also_said
    ours, expected = json.loads(printed), json.loads(alone.stdout)
    assert len(expected["token_ids"]) == 20
    assert (ours["text"], ours["token_ids"]) == (expected["text"], expected["token_ids"])
    assert followed == ""


@pytest.mark.long
@pytest.mark.slow
def test_processes_with_other_options_say_which_and_end(generate: list[str]) -> None:
    command = [*generate, "--tensor-parallel", "2"]
    with pair(LAMPS, command, [*command, "--dtype", "bfloat16"]) as processes:
        printed = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [2, 2]
    assert [err.splitlines()[-1] for _, err in printed] == [
        "lamps-jax: process 0 was started with other options than process 1: dtype is 'float32' here and 'bfloat16' there",
        "lamps-jax: process 1 was started with other options than process 0: dtype is 'bfloat16' here and 'float32' there",
    ]


@pytest.mark.slow
@pytest.mark.long
def test_several_processes_must_share_the_devices_equally(generate: list[str]) -> None:
    with pair(LAMPS, generate) as (leader, _):
        _, said = leader.communicate(timeout=120)
    assert leader.returncode == 2
    assert said.splitlines()[-1] == (
        "lamps-jax: tensor_parallel must be a multiple of the 2 processes that run together, got 1; "
        "with all their devices it is 2"
    )


@pytest.mark.long
def test_one_of_several_processes_must_be_told_where_the_others_are() -> None:
    clusters = ("SLURM_", "OMPI_", "KUBERNETES_", "TPU_", "MEGASCALE_", "JAX_COORDINATOR")
    environment = {name: value for name, value in ENVIRONMENT.items() if not name.startswith(clusters)}
    command = [sys.executable, "-c", LAMPS, "generate", "hi", "--multi-host"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.endswith("; give --coordinator-address, --num-processes and --process-id\n")


SWAPPING = """
import sys
from lamps_jax.engine.distributed import Processes, joined
from lamps_jax.sched.plan import BlockCopy, Decode, PrefillChunk, StepPlan
from lamps_jax.sched.request import SamplingParams

HOME, ELSEWHERE, TEXT = list(range(1, 17)), list(range(40, 24, -1)), [*range(60, 90)]


def prefill(tokens, blocks, slot, start=0):
    return StepPlan(0, (PrefillChunk("r", slot, tokens, start, blocks, SamplingParams(), sample=True, ban_eos=False),))


def decode(blocks, slot):
    return StepPlan(0, decodes=(Decode("r", slot, 7, 30, blocks, ban_eos=False),))


with joined(Processes(sys.argv[2], int(sys.argv[4]), int(sys.argv[6]))) as leads:
    from lamps_jax.engine.jax_executor import JaxExecutor
    from lamps_jax.models.sharding import tensor_parallel_mesh
    from tests.engine.tensor_parallel_program import on
    from tests.factories import engine_config, gptj_config, lively_model

    model = lively_model(gptj_config(num_layers=1))
    config = engine_config(max_num_seqs=2, max_chunk_tokens=32, max_model_len=64, host_kv_bytes=2**15)
    executor = JaxExecutor(on(tensor_parallel_mesh(2, model.config), model), config, num_blocks=49)
    if not leads:
        sys.exit(0 if executor.follow() else 1)
    executor.submit(prefill(TEXT, HOME, 0))
    expected = executor.collect(executor.submit(decode(HOME, 0)))
    executor.submit(StepPlan(0, swap_outs=tuple(map(BlockCopy, HOME, range(16)))))
    executor.submit(prefill(TEXT[::-1], HOME, 0))
    executor.submit(prefill([1], ELSEWHERE, 1, start=63))
    executor.submit(StepPlan(0, swap_ins=tuple(map(BlockCopy, ELSEWHERE, range(16)))))
    swapped = executor.collect(executor.submit(decode(ELSEWHERE, 1)))
    overwritten = executor.collect(executor.submit(decode(HOME, 0)))
    print(expected.sampled == swapped.sampled != overwritten.sampled)
"""


@pytest.mark.long
def test_each_process_keeps_its_share_of_the_swapped_blocks() -> None:
    with pair(SWAPPING, []) as (leader, follower):
        (printed, said), (_, also_said) = leader.communicate(timeout=280), follower.communicate(timeout=60)
    assert (leader.returncode, follower.returncode) == (0, 0), said + also_said
    assert printed == "True\n"


JOINING = """
import jax
from lamps_jax.engine.distributed import joined

with joined() as leads:
    print(leads, jax.process_count(), jax.device_count())
"""


@pytest.mark.slow
def test_tasks_of_slurm_find_each_other() -> None:
    job = {"SLURM_JOB_ID": "1", "SLURM_STEP_NODELIST": "localhost", "SLURM_NTASKS": "2", "JAX_COORDINATOR_PORT": str(free_port())}
    processes = [start(JOINING, **job, SLURM_PROCID=number, SLURM_LOCALID=number) for number in ("0", "1")]
    try:
        printed = [process.communicate(timeout=100) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], printed
    assert [out for out, _ in printed] == ["True 2 2\n", "False 2 2\n"]


WAITING = """
import sys, time
from lamps_jax.engine.distributed import Processes, follow, joined

with joined(Processes(sys.argv[2], int(sys.argv[4]), int(sys.argv[6]))) as leads:
    print("joined", flush=True)
    if leads:
        time.sleep(1000)
    else:
        follow(lambda runs: None)
"""


@pytest.mark.slow
def test_a_process_whose_leader_is_killed_ends_with_a_failure() -> None:
    with pair(WAITING, []) as (leader, follower):
        for process in (leader, follower):
            assert process.stdout is not None and process.stdout.readline() == "joined\n"
        leader.kill()
        follower.communicate(timeout=distributed.HEARTBEAT_TIMEOUT_S + 30)
        assert follower.returncode != 0


@pytest.mark.slow
def test_processes_that_are_all_told_to_end_do_so_in_peace() -> None:
    with pair(WAITING, []) as processes:
        for process in processes:
            assert process.stdout is not None and process.stdout.readline() == "joined\n"
        for process in processes:
            process.terminate()
        said = [process.communicate(timeout=60)[1] for process in processes]
        assert processes[0].returncode == 128 + signal.SIGTERM, said
        assert processes[1].returncode in (0, 128 + signal.SIGTERM), said  # the latter if it was told before it followed
