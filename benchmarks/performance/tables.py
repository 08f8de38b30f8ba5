"""The tables of docs/performance.md, each from the runs of one benchmark."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmarks import cpu

Run = Mapping[str, Any]


def run_of(runs: Iterable[Run], **facts: Any) -> Run:
    """The first run of which all `facts` are true.

    Raises:
        LookupError: If there is none.
    """
    for run in runs:
        if all(run.get(name) == value for name, value in facts.items()):
            return run
    raise LookupError(f"no run has {facts}")


def measured_on(document: Mapping[str, Any]) -> str:
    """Where a document comes from, in a line."""
    machine = document["machine"]
    device = "" if machine["platform"] == "cpu" else f"{machine['device']}, "
    return (
        f"{device}{machine['cores']} cores of {machine['cpu']}, {machine['memory_gib']} GiB, JAX {machine['jax']}, "
        f"Python {machine['python']}, commit {document['commit'].rstrip('+')}"
    )


def steps(runs: Iterable[Run]) -> str:
    """Decode steps beside the bandwidth of a copy and the same model's dense step; prefills."""
    rows = []
    for run in runs:
        decodes = run["phase"] == "decode"
        moved = f"{run['bytes_per_step'] / 1e6:.1f}" if decodes else ""
        share = f"{run['bytes_per_s'] / run['copy_bytes_per_s']:.2f}" if decodes else ""
        dense = f"{run['paged_to_dense']:.2f}" if decodes else ""
        rows.append((
            run["model"], run["phase"], run["batch"], run["context_tokens"], f"{1e3 * run['step_s']:.2f}",
            f"{run['tokens_per_s']:.0f}", moved, share, dense,
        ))  # fmt: skip
    return table("model | phase | batch | context | ms | tokens/s | MB/step | of copy bandwidth | to dense", rows)


def swaps(runs: Iterable[Run]) -> str:
    """Swaps beside plain copies."""
    rows = [
        (
            run["model"], run["phase"], run["blocks"], f"{run['bytes'] / 1e6:.2f}", f"{run['swap_bytes_per_s'] / 1e9:.2f}",
            f"{run['copy_bytes_per_s'] / 1e9:.2f}", f"{run['share_of_copy']:.2f}",
        )
        for run in runs if run["phase"] in ("out", "in")
    ]  # fmt: skip
    return table("model | direction | blocks | MB | swap GB/s | copy GB/s | of copy", rows)


def beside_swaps(runs: Iterable[Run]) -> str:
    """Decode steps with and without swaps."""
    rows = [
        (
            run["model"], run["blocks"], f"{run['bytes'] / 1e6:.2f}", f"{1e3 * run['alone_s']:.2f}",
            f"{1e3 * run['beside_swap_s']:.2f}", f"{run['slowdown']:.2f}",
        )
        for run in runs if "slowdown" in run
    ]  # fmt: skip
    return table("model | blocks out and in | MB a step | alone ms | beside the swap ms | ratio", rows)


def schedule(runs: Sequence[Run]) -> str:
    """Microseconds of ``schedule()``: a policy a row, numbers of waiting requests across."""
    sizes = list(dict.fromkeys(run["waiting"] for run in runs))
    rows = [
        (policy, *(f"{1e6 * run_of(runs, policy=policy, waiting=size)['schedule_s']['p50']:.0f}" for size in sizes))
        for policy in dict.fromkeys(run["policy"] for run in runs)
    ]
    return table(" | ".join(["policy", *(f"{size:,} waiting" for size in sizes)]), rows)


def endpoint(runs: Iterable[Run]) -> str:
    """The server under load."""
    rows = [
        (
            run["workload"], run["clients"], f"{run['throughput_rps']:.1f}", f"{run['tokens_per_s']:.0f}",
            f"{1e3 * run['ttft_s']['p50']:.0f}", f"{1e3 * run['e2e_s']['p50']:.0f}", f"{1e3 * run['itl_s']['p99']:.1f}",
        )
        for run in runs if "ttft_s" in run
    ]  # fmt: skip
    return table(
        "workload | clients | requests/s | tokens/s | TTFT ms (median) | E2E ms (median) | ITL ms (99th percentile)", rows
    )


def products(runs: Sequence[Run]) -> str:
    """How many times as fast as XLA's a product is: a matrix a row, numbers of rows of the other factor across."""
    sizes = list(dict.fromkeys(run["rows"] for run in runs))
    rows = []
    for outputs, inputs, dtype in dict.fromkeys((run["outputs"], run["inputs"], run["dtype"]) for run in runs):
        found = [run_of(runs, outputs=outputs, inputs=inputs, dtype=dtype, rows=size) for size in sizes]
        read = f"{found[0]['matrix_bytes_per_s'] / 1e9:.1f}"
        computed = f"{max(run['flop_per_s'] for run in found) / 1e9:.0f}"
        rows.append((f"{outputs:,} × {inputs:,}", dtype, *(f"{run['speedup']['median']:.2f}" for run in found), read, computed))
    heads = [f"{size} rows" if size > 1 else "1 row" for size in sizes]
    return table(" | ".join(["matrix", "type", *heads, "GB/s at 1 row", "GFLOP/s at most"]), rows)


def overhead(runs: Iterable[Run]) -> str:
    """The server beside `LLM.generate`, and what processors work for a token in each process."""
    rows = []
    for run in runs:
        if "over_in_process" in run:
            ratio = run["over_in_process"]
            work = [f"{run[f'{whose}_processor_us_a_token']['median']:.0f}" for whose in ("engine", "clients")]
            spread = "" if run["workload"] == "in process" else f" ({ratio['least']:.2f}–{ratio['most']:.2f})"
            rate, extra = f"{run['tokens_per_s']['median']:.0f}", f"{run['extra_us_a_token']['median']:.0f}"
            rows.append((run["model"], run["clients"], run["workload"], rate, f"{ratio['median']:.2f}{spread}", extra, *work))
    heads = "model | requests at once | way | tokens/s | ratio | extra µs a token"
    return table(f"{heads} | work of the engine's process, µs | of the clients', µs", rows)


def agent_gaps(runs: Iterable[Run]) -> str:
    """What is found of prompts that come back after a tool, and how long they take."""
    rows = [
        (
            run["policy"], f"{run['client_keep_s']:g}", f"{100 * run['cached_share']:.0f} %",
            *(f"{1e3 * run[name]['mean']:.0f}, {1e3 * run[name]['p99']:.0f}" for name in ("resume_ttft_s", "e2e_s")),
        )
        for run in runs
    ]  # fmt: skip
    head = "policy | `--client-keep-s` | prompt tokens found | first token after a gap, ms (mean, P99) | a turn, ms (mean, P99)"
    return table(head, rows)


def behind(runs: Iterable[Run], dtype: str) -> str:
    """Where a peer is the faster one by more than the tenth that two runs differ by, in words; empty if it is nowhere."""
    return ", ".join(
        f"{run['phase']} of {run['batch']} beside {run['peer']} ({run['model']}, {run['speedup']['median']:.2f})"
        for run in runs
        if run["dtype"] == dtype and "speedup" in run and run["speedup"]["median"] < 0.9
    )


def peers(runs: Iterable[Run]) -> str:
    """Other engines beside ours, pair by pair."""
    rows = [
        (
            run["model"], run["dtype"], run["peer"], run["phase"], run["batch"], run["context_tokens"],
            f"{run['tokens_per_s']:.1f}", f"{run['peer_tokens_per_s']:.1f}", f"{run['speedup']['median']:.2f}",
            f"{run['speedup']['least']:.2f}–{run['speedup']['most']:.2f}",
            f"{run['peak_bytes'] / 1e6:.0f} / {run['peer_peak_bytes'] / 1e6:.0f}",
        )
        for run in runs if "speedup" in run
    ]  # fmt: skip
    header = (
        "model | type | peer | phase | batch | context | ours, tokens/s | the peer's | ratio | least–most | MB, ours / the peer's"
    )
    return table(header, rows)


def not_measured(runs: Iterable[Run]) -> str:
    """Peers of which there are no figures, and why: the items of a list."""
    return "\n".join(f"- {run['model']} {run['dtype']}, {run['peer']}: {run['reason']}" for run in runs if "reason" in run)


def shares(runs: Sequence[Run]) -> str:
    """What `benchmarks.cpu` measured beside what could be had."""
    rows = [(what, f"{share:.2f}", limit) for what, share, limit in cpu.shares(runs)]
    return table("what | ratio | of", rows)


def table(header: str, rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [f"| {header} |", "|" + "---|" * len(header.split(" | "))]
    return "\n".join([*lines, *(f"| {' | '.join(map(str, row))} |" for row in rows)])
