"""The endpoint under load, and what HTTP and streaming cost against the same requests in process.

    python -m benchmarks.serving --out benchmarks/results/serving.json

Starts ``lamps-jax serve`` on a free port (or takes ``--url``), and sends it two workloads with so many clients at a time:
*lengths*, prompts of fixed length with answers of exact length (``ignore_eos``), and *calls*, questions that make the embedded
model call its tools. Each client sends its next request when the last has ended. In process, the same prompts go through
``LLM.generate``.
"""

import argparse
import asyncio
import itertools
import json
import random
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from benchmarks.document import summary, write_document
from lamps_jax.config import EngineConfig, SchedulerConfig
from lamps_jax.embedded.questions import arithmetic, encyclopedia
from lamps_jax.llm import LLM
from lamps_jax.sched.request import SamplingParams

OUTPUT_TOKENS = 64
PROMPT = "Q: " + "one two three four five six seven eight nine ten " * 4 + "\nA:"


@dataclass(slots=True)
class Measured:
    """What one client saw of one request; all times in seconds."""

    ttft_s: float
    e2e_s: float
    gaps_s: list[float]
    num_tokens: int


async def complete(client: httpx.AsyncClient, body: dict[str, Any]) -> Measured:
    """Streams one completion."""
    sent = time.perf_counter()
    arrivals, num_tokens = [], 0
    async with client.stream("POST", "/v1/completions", json=body) as response:
        response.raise_for_status()
        async for line in response.aiter_lines():
            if not line.startswith("data: ") or line == "data: [DONE]":
                continue
            chunk = json.loads(line.removeprefix("data: "))
            if any(choice["text"] for choice in chunk["choices"]):
                arrivals.append(time.perf_counter())
            if chunk.get("usage"):
                num_tokens = chunk["usage"]["completion_tokens"]
    end = time.perf_counter()
    gaps = [later - earlier for earlier, later in itertools.pairwise(arrivals)]
    return Measured((arrivals or [end])[0] - sent, end - sent, gaps, num_tokens)


async def load(url: str, bodies: list[dict[str, Any]], num_clients: int) -> tuple[list[Measured], float]:
    """All requests, `num_clients` at a time, and the seconds they took together."""
    waiting, measured = list(reversed(bodies)), list[Measured]()
    async with httpx.AsyncClient(base_url=url, timeout=120) as client:

        async def one_client() -> None:
            while waiting:
                measured.append(await complete(client, waiting.pop()))

        start = time.perf_counter()
        await asyncio.gather(*(one_client() for _ in range(num_clients)))
        return measured, time.perf_counter() - start


def run_of(workload: str, num_clients: int, measured: list[Measured], window_s: float) -> dict[str, Any]:
    """The results document's entry for one load."""
    num_tokens = sum(request.num_tokens for request in measured)
    return {
        "workload": workload,
        "clients": num_clients,
        "finished": len(measured),
        "window_s": window_s,
        "throughput_rps": len(measured) / window_s,
        "tokens_per_s": num_tokens / window_s,
        "ttft_s": summary([request.ttft_s for request in measured]),
        "e2e_s": summary([request.e2e_s for request in measured]),
        "itl_s": summary([gap for request in measured for gap in request.gaps_s] or [0.0]),
    }


def bodies_of(workload: str, number: int) -> list[dict[str, Any]]:
    """Requests of one workload."""
    usage = {"model": "embedded", "stream": True, "stream_options": {"include_usage": True}, "temperature": 0}
    if workload == "lengths":
        exact = {"max_tokens": OUTPUT_TOKENS, "min_tokens": OUTPUT_TOKENS, "ignore_eos": True}
        return [{**usage, **exact, "prompt": f"{index} {PROMPT}"} for index in range(number)]
    rng = random.Random(5)
    questions = [rng.choice((arithmetic, encyclopedia)).generate(rng, "held_out").text for _ in range(number)]
    return [{**usage, "max_tokens": 200, "prompt": f"Q: {question}\nA:"} for question in questions]


def in_process(number: int, num_clients: int) -> dict[str, Any]:
    """The *lengths* workload through ``LLM.generate``, with the server's limits."""
    config = EngineConfig(SchedulerConfig(max_num_seqs=16, max_model_len=1024))
    llm = LLM(tools=(), config=config)
    prompts = [body["prompt"] for body in bodies_of("lengths", number)]
    sampling = SamplingParams(max_tokens=OUTPUT_TOKENS, ignore_eos=True)
    start, tokens = time.perf_counter(), 0
    for begin in range(0, number, num_clients):
        tokens += sum(
            len(generation.token_ids) for generation in llm.generate(prompts[begin : begin + num_clients], sampling, raw=True)
        )
    seconds = time.perf_counter() - start
    return {"workload": "lengths in process", "clients": num_clients, "window_s": seconds, "tokens_per_s": tokens / seconds}


def start_server(compile_cache: str) -> tuple[subprocess.Popen[bytes], str, float]:
    """A server on a free port of this machine, its address, and the seconds until it was ready."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ["--port", str(port), "--max-num-seqs", "16", "--compile-cache", compile_cache]
    process = subprocess.Popen([sys.executable, "-c", "from lamps_jax.cli import main; main()", "serve", *options])
    url, start = f"http://127.0.0.1:{port}", time.perf_counter()
    while True:
        if process.poll() is not None or time.perf_counter() - start > 300:
            raise SystemExit(f"the server did not become ready (exit status {process.poll()})")
        try:
            if httpx.get(f"{url}/health").status_code == 200:
                return process, url, time.perf_counter() - start
        except httpx.HTTPError:
            pass
        time.sleep(0.2)


def stop_server(process: subprocess.Popen[bytes]) -> None:
    """Ends a server and waits for it."""
    process.terminate()
    process.wait(30)


def measure(url: str, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Both workloads with each number of clients."""
    runs = []
    for workload in ("lengths", "calls"):
        for num_clients in map(int, arguments.clients.split(",")):
            measured, window_s = asyncio.run(load(url, bodies_of(workload, arguments.requests), num_clients))
            runs.append(run_of(workload, num_clients, measured, window_s))
    return runs


def measure_started(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """The same with a server of our own, started twice: without compiled programs, and with those of the first start."""
    runs = []
    with tempfile.TemporaryDirectory() as compile_cache:
        for workload in ("first start", "second start"):
            process, url, ready_s = start_server(compile_cache)
            print(f"{workload}: ready after {ready_s:.1f} s")
            runs.append({"workload": workload, "ready_s": ready_s})
            try:
                if workload == "second start":
                    runs += measure(url, arguments)
            finally:
                stop_server(process)
    return runs


def main() -> None:
    """Measures, prints a table and writes the document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/serving.json"), help="where to write the results")
    parser.add_argument("--url", help="a server that runs already; by default one is started")
    parser.add_argument("--clients", default="1,4,16", help="clients at a time")
    parser.add_argument("--requests", type=int, default=64, help="requests of each load")
    arguments = parser.parse_args()
    runs = measure(arguments.url, arguments) if arguments.url else measure_started(arguments)
    most_clients = max(map(int, arguments.clients.split(",")))
    served = next(run for run in runs if run["workload"] == "lengths" and run["clients"] == most_clients)
    alone = in_process(arguments.requests, most_clients)
    print(f"{'workload':20} {'clients':>7} {'req/s':>7} {'tokens/s':>9} {'TTFT ms':>8} {'E2E ms':>8} {'ITL p99 ms':>10}")
    for run in runs:
        if "clients" in run:
            print(
                f"{run['workload']:20} {run['clients']:7} {run['throughput_rps']:7.1f} {run['tokens_per_s']:9.0f} "
                f"{1e3 * run['ttft_s']['p50']:8.1f} {1e3 * run['e2e_s']['p50']:8.1f} {1e3 * run['itl_s']['p99']:10.1f}"
            )
    alone["served_over_in_process"] = served["tokens_per_s"] / alone["tokens_per_s"]
    print(f"served / in process at {most_clients} clients: {alone['served_over_in_process']:.2f}")
    write_document(arguments.out, "serving", [*runs, alone])


if __name__ == "__main__":
    main()
