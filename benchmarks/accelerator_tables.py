"""What was measured on an accelerator, as the tables of docs/performance.md: ``python -m benchmarks.accelerator_tables``."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results" / "accelerator.json"

Run = Mapping[str, Any]


def tables(runs: Sequence[Run]) -> str:
    """Steps, swaps, decode beside swaps, and everything else, one table below the other."""
    return "\n\n".join((steps(runs), swaps(runs), beside(runs), others(runs)))


def steps(runs: Iterable[Run]) -> str:
    """Decode steps beside the bandwidth of a copy, and prefills beside the rate of a large product."""
    rows = [
        (
            run["part"].split()[0], run["phase"], run["batch"], run["context_tokens"], f"{1e3 * run['step_s']:.2f}",
            f"{run['tokens_per_s']:.0f}", f"{run['bytes_per_step'] / 1e9:.1f}" if "bytes_per_step" in run else "",
            f"{run['share_of_limit']:.2f}",
        )
        for run in runs if "share_of_limit" in run
    ]  # fmt: skip
    return _table("model | phase | batch | context | ms | tokens/s | GB/step | of the limit", rows)


def swaps(runs: Iterable[Run]) -> str:
    """Swaps beside plain copies."""
    rows = [
        (
            run["phase"], run["blocks"], f"{run['bytes'] / 1e6:.0f}", f"{run['swap_bytes_per_s'] / 1e9:.1f}",
            f"{run['copy_bytes_per_s'] / 1e9:.1f}", f"{run['share_of_copy']:.2f}",
        )
        for run in runs if run["phase"] in ("out", "in")
    ]  # fmt: skip
    return _table("direction | blocks | MB | swap GB/s | copy GB/s | of copy", rows)


def beside(runs: Iterable[Run]) -> str:
    """Decode steps with and without swaps."""
    rows = [
        (
            run["blocks"], f"{run['bytes'] / 1e6:.0f}", f"{1e3 * run['alone_s']:.2f}", f"{1e3 * run['beside_swap_s']:.2f}",
            f"{run['slowdown']:.2f}",
        )
        for run in runs if "slowdown" in run
    ]  # fmt: skip
    return _table("blocks out and in | MB a step | alone ms | beside the swap ms | ratio", rows)


def others(runs: Iterable[Run]) -> str:
    """What stands by itself, a row a figure."""
    rows: list[tuple[str, str]] = []
    for run in runs:
        match run["phase"]:
            case "sampling":
                steps = ", ".join(f"{name} {1e3 * run[f'{name}_step_s']:.2f} ms" for name in ("greedy", "drawn", "filtered"))
                rows.append((f"a step of {run['batch']} rows by how they sample (filtered: top-k and top-p)", steps))
            case "host":
                what = f"the host's time of a step, {run['running']} running, {run['waiting']} waiting"
                rows.append((what, f"{1e3 * run['host_s']:.2f} ms, {1e3 * run['submit_s']:.2f} of them to pack and dispatch"))
            case "serving":
                what = f"{run['requests']} requests, {run['concurrency']} at a time, {run['prompt_tokens']} tokens of prompts"
                rows.append((what, f"{run['generated_tokens_per_s']:.0f} generated tokens/s"))
            case "serving by transformers":
                figures = (
                    f"{run['generated_tokens_per_s']:.0f} generated tokens/s: lamps-jax gives {run['speedup']:.1f} times that"
                )
                rows.append((f"the same by transformers' `generate`, in batches of {run['concurrency']}", figures))
            case "costs":
                per_token_us, per_context_us = 1e6 * run["forward_per_token_s"], 1e6 * run["forward_per_context_token_s"]
                figures = (
                    f"{1e3 * run['forward_base_s']:.2f} ms + {per_token_us:.1f} µs a token + {per_context_us:.3f} µs a token of"
                )
                rows.append(("T_fwd, fitted", f"{figures} context"))
                figures = f"{1e3 * run['swap_base_s']:.2f} ms + {1e3 * run['swap_per_block_s']:.3f} ms a block"
                rows.append(("T_swap, fitted", figures))
            case "start":
                rows.append((f"{run['part']}: compiling its programs", f"{run['compile_s']:.0f} s"))
            case _:
                pass
    return _table("what | figure", rows)


def _table(header: str, rows: Iterable[Sequence[object]]) -> str:
    titles = header.split(" | ")
    lines = [f"| {header} |", "|" + "---|" * len(titles)]
    return "\n".join([*lines, *(f"| {' | '.join(map(str, row))} |" for row in rows)])


if __name__ == "__main__":
    print(tables(json.loads(RESULTS.read_text())["runs"]))
