"""What HTTP and streaming cost: the tokens per second of the endpoint over those of ``LLM.generate``, and where the time goes.

    python -m benchmarks.overhead --out benchmarks/results/overhead.json

The same prompts, with answers of exact length, go through ``LLM.generate`` in this process, and whole and streamed through
``lamps-jax serve`` in another, in turns, so that what else the machine does falls on all of them. The clients share the cores
with the server, and so are part of what is measured; what processors work for the server and for the clients is told apart. The
embedded model's tokens are as cheap as an accelerator's; one of 124 million parameters, with random weights, costs a processor
what models do. With ``--profile`` py-spy, if it is installed, looks at the server under load.
"""

import argparse
import asyncio
import json
import re
import shutil
import statistics
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from benchmarks.document import write_document
from benchmarks.server_process import ServerProcess, options_of, serving
from lamps_jax.config import EngineConfig, SchedulerConfig
from lamps_jax.engine.build import EMBEDDED_MODEL
from lamps_jax.llm import LLM
from lamps_jax.options import COMPILE_CACHE
from lamps_jax.sched.request import SamplingParams

OUTPUT_TOKENS = 64
WORDS = "one two three four five six seven eight nine ten "
PROFILED_S = 10.0
SHOWN = 20
MODELS: dict[str, dict[str, int]] = {
    "embedded": {},
    "124m": {"n_embd": 768, "n_layer": 12, "n_head": 12, "n_inner": 3072},
}
"""What is served: the embedded model, or one of another shape with its tokenizer."""

IDLE = "_worker (concurrent/futures/thread.py"
"""Where a thread of a pool waits for work."""


def questions(number: int, *, first: int) -> list[str]:
    """Prompts of which no two begin alike."""
    return [f"{first + index} {WORDS * 3}" for index in range(number)]


def in_process(llm: LLM, asked: Sequence[str], concurrency: int) -> float:
    """Tokens per second of `LLM.generate`, so many prompts at a time."""
    sampling, began_s, num_tokens = SamplingParams(max_tokens=OUTPUT_TOKENS, ignore_eos=True), time.perf_counter(), 0
    for start in range(0, len(asked), concurrency):
        generations = llm.generate(asked[start : start + concurrency], sampling)
        num_tokens += sum(len(generation.token_ids) for generation in generations)
    return num_tokens / (time.perf_counter() - began_s)


async def served(url: str, asked: Sequence[str], concurrency: int, *, stream: bool) -> float:
    """Tokens per second of the endpoint, so many prompts at a time.

    Raises:
        RuntimeError: If one is refused or cut off.
    """
    waiting, num_tokens = list(reversed(asked)), 0

    async def one_client() -> None:
        nonlocal num_tokens
        while waiting:
            sampled = await _ask(url, waiting.pop(), stream=stream)
            num_tokens += sampled

    began_s = time.perf_counter()
    await asyncio.gather(*(one_client() for _ in range(concurrency)))
    return num_tokens / (time.perf_counter() - began_s)


class _Listener(asyncio.Protocol):
    """Keeps what comes until the other side is through: the least that a client can do."""

    def __init__(self) -> None:
        self.ended: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._received = bytearray()

    def data_received(self, data: bytes) -> None:
        self._received += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set_result(bytes(self._received))


async def _ask(url: str, question: str, *, stream: bool) -> int:
    """Sends one request and reads its answer to the end; tokens that were sampled."""
    body: dict[str, Any] = {
        "model": "embedded", "messages": [{"role": "user", "content": question}], "temperature": 0,
        "max_tokens": OUTPUT_TOKENS, "min_tokens": OUTPUT_TOKENS, "ignore_eos": True,
    }  # fmt: skip
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    content, address = json.dumps(body).encode(), urlsplit(url)
    assert address.hostname and address.port, "a server on a free port of this machine"
    head = "POST /v1/chat/completions HTTP/1.1", f"Host: {address.netloc}", f"Content-Length: {len(content)}", "Connection: close"
    transport, listener = await asyncio.get_running_loop().create_connection(_Listener, address.hostname, address.port)
    transport.write("\r\n".join((*head, "Content-Type: application/json", "", "")).encode() + content)
    answer = await listener.ended
    sampled = re.search(rb'"completion_tokens": ?(\d+)', answer)
    if sampled is None or (stream and b"data: [DONE]" not in answer):
        raise RuntimeError(f"an answer did not end as it should: {answer[:1000].decode(errors='replace')}")
    return int(sampled[1])


class Measured(NamedTuple):
    """One turn of one way.

    Attributes:
        rate: Tokens per second.
        engine_us: Work of processors a token in the engine's process.
        clients_us: The same in the clients'; 0 where there are none.
    """

    rate: float
    engine_us: float
    clients_us: float


def one_turn(server: ServerProcess, llm: LLM, way: str, asked: Sequence[str], concurrency: int) -> Measured:
    """All of `asked`, one way."""
    server_s, own_s, num_tokens = server.processor_s(), time.process_time(), OUTPUT_TOKENS * len(asked)
    if way == "in process":
        rate = in_process(llm, asked, concurrency)
        return Measured(rate, 1e6 * (time.process_time() - own_s) / num_tokens, 0.0)
    rate = asyncio.run(served(server.url, asked, concurrency, stream=way == "streamed"))
    work_s = server.processor_s() - server_s, time.process_time() - own_s
    return Measured(rate, *(1e6 * each / num_tokens for each in work_s))


def model_of_shape(name: str, directory: Path) -> str:
    """What `--model` takes for a name of `MODELS`: a directory without weights, but for the embedded one."""
    if not MODELS[name]:
        return name
    target = directory / name
    shutil.copytree(EMBEDDED_MODEL, target, ignore=shutil.ignore_patterns("*.safetensors"))
    config = json.loads((target / "config.json").read_text())
    (target / "config.json").write_text(json.dumps(config | MODELS[name]))
    return str(target)


def measure(name: str, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """The ways to serve one model, and what py-spy sees of the server if it is asked to."""
    scheduler = SchedulerConfig(max_num_seqs=32, max_model_len=1024)
    load_format = "dummy" if MODELS[name] else "auto"
    with tempfile.TemporaryDirectory() as folder:
        model = model_of_shape(name, Path(folder))
        llm = LLM(model, tools=(), config=EngineConfig(scheduler, load_format=load_format, compile_cache=COMPILE_CACHE))
        options = options_of(model=model, load_format=load_format, policy="preserve", max_num_seqs=32)
        with serving([*options, "--no-tools"]) as server:
            runs = [{"model": name} | run for run in turns_of(server, llm, arguments)]
            if arguments.profile:
                functions = profile(server, arguments)
                runs.append({"workload": "profile", "model": name, "functions": functions})
                for function in functions[:SHOWN]:
                    print(f"{function['own']:6.1%} {function['with_callees']:6.1%} {function['function']}")
    return runs


def turns_of(server: ServerProcess, llm: LLM, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """All ways with each number of clients, in turns; the first turn, which compiles what is compiled late, does not count."""
    runs, first = list[dict[str, Any]](), 0
    for concurrency in map(int, arguments.clients.split(",")):
        turns: dict[str, list[Measured]] = {"in process": [], "whole": [], "streamed": []}
        for turn in range(arguments.rounds + 1):
            for way, measured in turns.items():
                asked, first = questions(arguments.requests, first=first), first + arguments.requests
                found = one_turn(server, llm, way, asked, concurrency)
                measured += [found] if turn else []
        runs += [run_of(way, concurrency, measured, turns["in process"]) for way, measured in turns.items()]
        show(runs[-3:])
    return runs


def run_of(way: str, concurrency: int, turns: Sequence[Measured], alone: Sequence[Measured]) -> dict[str, Any]:
    """The results document's entry for one way: ratios are of neighbouring turns."""
    rates = [turn.rate for turn in turns]
    ratios = [turn.rate / reference.rate for turn, reference in zip(turns, alone, strict=True)]
    extra_us = [1e6 / turn.rate - 1e6 / reference.rate for turn, reference in zip(turns, alone, strict=True)]
    return {
        "workload": way,
        "clients": concurrency,
        "rounds": len(rates),
        "tokens_per_s": spread(rates),
        "over_in_process": spread(ratios),
        "extra_us_a_token": spread(extra_us),
        "engine_processor_us_a_token": spread([turn.engine_us for turn in turns]),
        "clients_processor_us_a_token": spread([turn.clients_us for turn in turns]),
    }


def spread(values: Sequence[float]) -> dict[str, float]:
    """The median, and what it lies between."""
    return {"median": statistics.median(values), "least": min(values), "most": max(values)}


def show(runs: Sequence[dict[str, Any]]) -> None:
    """Rows of the table."""
    for run in runs:
        rate, ratio, extra = run["tokens_per_s"], run["over_in_process"], run["extra_us_a_token"]
        work = [run[f"{whose}_processor_us_a_token"]["median"] for whose in ("engine", "clients")]
        print(
            f"{run['workload']:10} {run['clients']:7} {rate['median']:9.0f} {ratio['median']:11.2f} "
            f"{ratio['least']:6.2f}-{ratio['most']:4.2f} {extra['median']:15.0f} {work[0]:15.0f} {work[1]:15.0f}"
        )


def profile(server: ServerProcess, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Where the server's threads are while streams are asked for: the functions in which they are most often.

    Raises:
        SystemExit: If there is no py-spy.
    """
    program = shutil.which("py-spy")
    if program is None:
        raise SystemExit("py-spy is not on the PATH; install it (pip install py-spy), or leave --profile out")
    with tempfile.TemporaryDirectory() as folder:
        stacks = Path(folder) / "stacks"
        command = [program, "record", "--pid", str(server.process.pid), "--duration", str(round(PROFILED_S)), "--format", "raw"]
        watching = subprocess.Popen([*command, "--threads", "--output", str(stacks)], stdout=subprocess.DEVNULL)
        most, first = max(map(int, arguments.clients.split(","))), 10**6
        while watching.poll() is None:
            asyncio.run(served(server.url, questions(2 * most, first=first), most, stream=True))
            first += 2 * most
        return most_often(stacks.read_text().splitlines())


def most_often(stacks: Sequence[str]) -> list[dict[str, Any]]:
    """Shares of the samples in which a thread was at work: of each function itself, and of each with what it calls."""
    own, whole, total = Counter[str](), Counter[str](), 0
    for line in stacks:
        stack, _, count = line.rpartition(" ")
        frames = [frame.rsplit(":", 1)[0] for frame in stack.split(";")]
        if frames[-1].startswith(IDLE):
            continue
        total += int(count)
        own[frames[-1]] += int(count)
        for frame in set(frames):
            whole[frame] += int(count)
    shown = {*dict(own.most_common(SHOWN)), *(frame for frame, _ in whole.most_common() if "(lamps_jax/" in frame)}
    functions = [{"function": frame, "own": own[frame] / total, "with_callees": whole[frame] / total} for frame in shown]
    return sorted(functions, key=lambda function: (-function["own"], -function["with_callees"]))


def main() -> None:
    """Measures, prints tables and writes the document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/overhead.json"), help="where to write the results")
    parser.add_argument("--clients", default="1,8,32", help="requests at a time")
    parser.add_argument("--requests", type=int, default=64, help="requests of each load")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each way")
    parser.add_argument("--models", default="embedded", help=f"with commas between, of {', '.join(MODELS)}")
    parser.add_argument("--profile", action="store_true", help="also look at the server with py-spy")
    parser.add_argument("--append", action="store_true", help="adds to the results that are there")
    arguments = parser.parse_args()
    runs = json.loads(arguments.out.read_text())["runs"] if arguments.append else []
    for name in arguments.models.split(","):
        heads = f"{name:10} {'clients':>7} {'tokens/s':>9} {'/ in process':>11} {'spread':>11} {'extra µs/token':>15}"
        print(f"{heads} {'server works':>15} {'clients work':>15}")
        runs += measure(name, arguments)
    write_document(arguments.out, "overhead", runs)


if __name__ == "__main__":
    main()
