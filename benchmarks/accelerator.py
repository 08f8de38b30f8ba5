"""Everything that counts on a device, each figure as a share of a limit that was measured in the same run.

    benchmarks/gpu.sh        # and benchmarks/cpu.sh, with smaller shapes in float32

GPT-J-6B and Vicuna-13B with random bfloat16 weights, on one device: decode against the bandwidth of a copy, prefill against the
rate of a large product of matrices, swaps against a plain copy to pinned memory and beside decode, sampling, the host's time per
step, what a step's time goes to, and serving against transformers' batched generation with the same weights. What does not fit
the device's memory, or fails, says so in its place, and the document is written anew after each part: a run that is cut short
leaves what it measured.
"""

import argparse
import gc
import json
import statistics
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks import swap
from benchmarks.document import write_document
from benchmarks.host import measure_host
from benchmarks.kernels import print_kernels, profile
from benchmarks.limits import copy_bandwidth, host_copy_rates, matmul_rate
from benchmarks.scripted_engine import Lengths, scripted_serving
from benchmarks.shapes import SHAPES
from benchmarks.step import ROOM, measure_decode, measure_prefill, ready_to_decode, step_times
from lamps_jax.config import EngineConfig, SchedulerConfig
from lamps_jax.engine.jax_executor import JaxExecutor
from lamps_jax.engine.measure import measure_cost_model
from lamps_jax.engine.pool_size import block_bytes_per_device, free_bytes
from lamps_jax.models.registry import LoadedModel, random_model
from lamps_jax.sched.plan import PrefillChunk, StepPlan
from lamps_jax.sched.request import SamplingParams

BATCHES = (1, 8, 32, 64)
DRAWN = SamplingParams(temperature=0.8, top_k=50, top_p=0.95)
OF_EACH_MODEL = ("decode", "prefill", "costs", "kernels")
"""Parts that every model has; the others are measured with the first."""

NUM_SERVED = 96
CONCURRENCY = 32


class Report:
    """Runs by and by, each written as soon as it is there."""

    def __init__(self, path: Path, limits: dict[str, float], deadline_s: float, *, append: bool):
        self.path, self.limits, self.deadline_s = path, limits, deadline_s
        self.runs: list[dict[str, Any]] = json.loads(path.read_text())["runs"] if append and path.exists() else []
        self.runs.append({"part": "limits", "phase": "limits"} | limits)

    def part(self, name: str, measure: Callable[[], Iterable[dict[str, Any]]]) -> None:
        """Measures a part, unless the time is over; what goes wrong is noted and stops nothing else."""
        began = time.perf_counter()
        if began > self.deadline_s:
            self._note({"part": name, "phase": "skipped", "reason": "no time was left"})
            return
        try:
            for run in measure():
                self._note({"part": name} | run)
        except Exception as error:  # whatever a driver or a compiler raises is a result
            traceback.print_exc()
            self._note({"part": name, "phase": "failed", "reason": f"{type(error).__name__}: {str(error)[:500]}"})
        print(f"  [{name}: {time.perf_counter() - began:.1f} s]", flush=True)

    def _note(self, run: dict[str, Any]) -> None:
        self.runs.append(run)
        print(described(run), flush=True)
        if "kernels" in run:
            print_kernels(run)
        write_document(self.path, "accelerator", self.runs, quiet=True)


def described(run: dict[str, Any]) -> str:
    """A run on a line."""
    figures = {key: value for key, value in run.items() if isinstance(value, int | float)}
    words = " ".join(str(run[key]) for key in ("part", "phase", "reason") if key in run)
    return f"{words:28} " + " ".join(
        f"{key.removesuffix('_s')}={1e3 * value:.3f}ms" if key.endswith("_s") and not key.endswith("per_s")
        else f"{key}={value / 1e9:.1f}G" if isinstance(value, float) and value > 1e8
        else f"{key}={value:.3f}" if isinstance(value, float) else f"{key}={value}"
        for key, value in figures.items()
    )  # fmt: skip


class Bench:
    """One model on the device, with an executor that has room for as many requests as fit."""

    def __init__(self, name: str, dtype: str, report: Report, batches: tuple[int, ...], chunks: tuple[int, ...], context: int):
        self.name, self.dtype, self.report = name, dtype, report
        self.chunks, self.context, self.chunk = chunks, context, max(chunks)
        began = time.perf_counter()
        self.model: LoadedModel = random_model(SHAPES[name], dtype=dtype)
        loaded_s = time.perf_counter() - began
        limits = SchedulerConfig(
            max_num_seqs=max(batches),
            max_model_len=context + ROOM,
            token_budget=self.chunk + max(batches),
            max_chunk_tokens=self.chunk,
        )
        config = EngineConfig(limits, dtype=dtype)
        free, each = free_bytes(), block_bytes_per_device(self.model.config, config)
        spare = 2 << 30
        fitting = (free - spare) // each - 1 - swap.LARGEST_SWAP if free is not None else 1 << 30
        self.batches = tuple(batch for batch in batches if batch * config.max_blocks_per_request <= fitting)
        limits = replace(limits, max_num_seqs=max(self.batches), token_budget=self.chunk + max(self.batches))
        self.config = replace(config, scheduler=limits, host_kv_bytes=swap.NUM_HOST_BLOCKS * each)
        self.num_blocks = max(self.batches) * config.max_blocks_per_request + 1 + swap.LARGEST_SWAP
        self.executor = JaxExecutor(self.model, self.config, num_blocks=self.num_blocks)
        began = time.perf_counter()
        self.executor.compile(self.executor.shapes())
        self.start = {
            "phase": "start",
            "load_s": loaded_s,
            "compile_s": time.perf_counter() - began,
            "weight_bytes": self.model.weight_bytes,
            "num_blocks": self.num_blocks,
            "largest_batch": max(self.batches),
            "attention": self.executor.attention.name,
        }

    def part(self, name: str, measure: Callable[[], Iterable[dict[str, Any]]]) -> None:
        """Adds a part of this model to the report."""
        self.report.part(f"{self.name} {name}", measure)

    def decode(self, steps: int) -> Iterable[dict[str, Any]]:
        """Decode steps of every batch size."""
        for batch in self.batches:
            run = measure_decode(
                self.model, self.executor, self.dtype, batch=batch, context=self.context, steps=steps, dense=False
            )
            yield run | {"share_of_limit": run["bytes_per_s"] / self.report.limits["copy_bytes_per_s"]}

    def prefill(self) -> Iterable[dict[str, Any]]:
        """Prompts of one chunk."""
        for tokens in self.chunks:
            run = measure_prefill(self.model, self.executor, tokens=tokens, chunk=tokens, repeats=8)
            yield run | {"share_of_limit": run["flop_per_s"] / self.report.limits["matmul_flop_per_s"]}

    def kernels(self) -> Iterable[dict[str, Any]]:
        """What the device does in decode steps and in a prefill."""
        for batch in (self.batches[0], self.batches[-1]):
            plan = StepPlan(0, (), ready_to_decode(self.executor, batch=batch, context=self.context))
            step_times(self.executor, plan, 2)
            yield {"phase": "decode", "batch": batch} | profile(lambda plan=plan: step_times(self.executor, plan, 3), steps=4)
        table = tuple(range(1, 1 + self.config.max_blocks_per_request))
        part = PrefillChunk("0", 0, [1] * self.chunk, 0, table, SamplingParams(), sample=True, ban_eos=False)
        plan = StepPlan(0, (part,), ())
        yield {"phase": "prefill", "chunk_tokens": self.chunk} | profile(lambda: step_times(self.executor, plan, 2), steps=3)

    def swap(self) -> Iterable[dict[str, Any]]:
        """Swaps of several sizes, and decode steps beside them."""
        yield from swap.measure_copies(self.executor, 5)
        batch = min(8, max(self.batches))
        for blocks in (1, 8):
            yield swap.measure_decode(self.executor, batch=batch, context=self.context, blocks=blocks, steps=20)
        plan = swap.swapping_plan(self.executor, batch=batch, context=self.context, blocks=8)
        yield {"phase": "decode beside swap", "batch": batch, "blocks": 8} | profile(
            lambda: step_times(self.executor, plan, 3), steps=4
        )

    def costs(self) -> Iterable[dict[str, Any]]:
        """The costs that the scheduler weighs, fitted to steps of this machine: what a simulator needs of it."""
        measured = measure_cost_model(
            self.executor, self.config, num_blocks=self.num_blocks, num_host_blocks=self.executor.num_host_blocks, budget_s=6.0
        )
        self.executor.host_pool.clear()
        fits = {"forward": measured.forward, "swap": measured.swap}
        yield (
            {"phase": "costs"}
            | asdict(measured.cost_model)
            | {f"{name}_fit_error": fit.median_relative_error for name, fit in fits.items() if fit is not None}
        )

    def sampling(self) -> Iterable[dict[str, Any]]:
        """Steps whose rows draw, and take the likeliest."""
        batch = max(self.batches)
        seconds: dict[str, float] = {}
        for name, sampling in {"greedy": SamplingParams(), "drawn": SamplingParams(temperature=0.8), "filtered": DRAWN}.items():
            decodes = ready_to_decode(self.executor, batch=batch, context=self.context, sampling=sampling)
            plan = StepPlan(0, (), decodes)
            step_times(self.executor, plan, 3)
            seconds[name] = statistics.median(step_times(self.executor, plan, 15))
        yield {"phase": "sampling", "batch": batch} | {f"{name}_step_s": value for name, value in seconds.items()}

    def host(self) -> Iterable[dict[str, Any]]:
        """The host's time of a step."""
        config = replace(self.config, scheduler=replace(self.config.scheduler, policy="lamps", max_num_seqs=max(self.batches)))
        serving = scripted_serving(self.model, self.executor, config, self.num_blocks)
        yield measure_host(serving, running=max(self.batches), waiting=1000, steps=60)

    def serving(self) -> Iterable[dict[str, Any]]:
        """Requests of several lengths against transformers."""
        random = np.random.default_rng(0)
        requests = [Lengths(int(random.choice([128, 256, 512])), int(random.integers(16, 257))) for _ in range(NUM_SERVED)]
        served = scripted_serving(self.model, self.executor, self.config, self.num_blocks)
        served.serve(requests[:4], 4)  # warms
        seconds, ours = served.serve(requests, CONCURRENCY)
        count = sum(map(len, ours))
        run = {
            "phase": "serving", "requests": len(requests), "concurrency": CONCURRENCY, "generated_tokens": count,
            "prompt_tokens": sum(lengths.num_prompt_tokens for lengths in requests),
            "wall_s": seconds, "generated_tokens_per_s": count / seconds,
        }  # fmt: skip
        yield run
        from benchmarks.peer_transformers import generate, gptj_peer  # only now: PyTorch takes memory of the device

        peer = gptj_peer(self.model, self.dtype)
        generate(peer, [Lengths(128, 4)] * CONCURRENCY, batch=CONCURRENCY)
        seconds, theirs = generate(peer, requests, batch=CONCURRENCY)
        same = statistics.fmean(mine[0] == other[0] for mine, other in zip(ours, theirs, strict=True))
        yield run | {
            "phase": "serving by transformers", "wall_s": seconds, "generated_tokens_per_s": count / seconds,
            "speedup": seconds / run["wall_s"], "same_first_token": same,
        }  # fmt: skip


def main() -> None:
    """Measures all parts and writes the document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--out", type=Path, default=Path("benchmarks/results/accelerator.json"), help="where to write the results"
    )
    parser.add_argument("--models", default="gpt-j-6b,vicuna-13b", help=f"of {', '.join(SHAPES)}")
    parser.add_argument("--dtype", default="bfloat16", help="type of weights, keys and values")
    parser.add_argument("--batches", default=",".join(map(str, BATCHES)), help="decode batch sizes")
    parser.add_argument("--chunks", default="512,1024", help="tokens of prompts")
    parser.add_argument("--context", type=int, default=1024, help="tokens of context of a decoding request")
    parser.add_argument("--steps", type=int, default=40, help="decode steps timed for each figure")
    parser.add_argument("--budget", type=float, default=540.0, help="seconds after which no further part begins")
    parser.add_argument("--parts", default="decode,prefill,swap,costs,sampling,host,serving,kernels", help="what to measure")
    parser.add_argument("--matmul-size", type=int, default=8192, help="rows of the matrices whose product is the limit")
    parser.add_argument("--append", action="store_true", help="adds to the results that are there")
    arguments = parser.parse_args()
    deadline_s = time.perf_counter() + arguments.budget
    copies = host_copy_rates()
    limits = {
        "copy_bytes_per_s": copy_bandwidth(1024), "matmul_flop_per_s": matmul_rate(arguments.dtype, arguments.matmul_size),
        "to_host_bytes_per_s": copies["out"], "from_host_bytes_per_s": copies["in"],
    }  # fmt: skip
    print(jax.devices()[0].device_kind, described(limits), flush=True)
    report = Report(arguments.out, limits, deadline_s, append=arguments.append)
    batches, chunks = (tuple(map(int, text.split(","))) for text in (arguments.batches, arguments.chunks))
    parts = arguments.parts.split(",")
    for number, name in enumerate(arguments.models.split(",")):
        first = number == 0  # what does not depend on the model is measured with one

        def measure(name: str = name, first: bool = first) -> Iterable[dict[str, Any]]:
            bench = Bench(name, arguments.dtype, report, batches, chunks, arguments.context)
            yield bench.start
            acts: dict[str, Callable[[], Iterable[dict[str, Any]]]] = {
                "decode": lambda: bench.decode(arguments.steps),
                "prefill": bench.prefill,
                "swap": bench.swap,
                "costs": bench.costs,
                "sampling": bench.sampling,
                "host": bench.host,
                "serving": bench.serving,
                "kernels": bench.kernels,
            }
            for part in parts:
                if first or part in OF_EACH_MODEL:
                    bench.part(part, acts[part])

        report.part(name, measure)
        gc.collect()  # the weights and the pool, which the next model needs the room of


if __name__ == "__main__":
    main()
