"""How fast devices could be, on paper: docs/scaling.md, from bytes, operations and data sheets, beside what was measured.

    python -m benchmarks.scaling        # writes docs/scaling.md and docs/images/scaling.png; seconds

A decode step reads every weight once and the keys and values of every context, and multiplies each weight with each row; it
takes as long as the slower of the two. Over several devices both are divided, and each layer adds two sums over all of them. A
prompt is bound by operations. What a data sheet promises is multiplied by what copies and products reached on the one device
measured.
"""

import argparse
import json
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.beyond.numbers import filled, table
from benchmarks.shapes import GPTJ_6B, VICUNA_13B
from lamps_jax.models.architecture import ModelConfig
from lamps_jax.report.figures.style import COLOURS, grid, legend_below, new_figure, save_figure, styled
from lamps_jax.sim.workloads import load_workload

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROOT = Path(__file__).parents[1]
MEASURED = ROOT / "benchmarks/results/accelerator.json"
BYTES = 2
"""Of a bfloat16."""

SUM_LATENCY_S = 10e-6
"""Of a sum over devices, beside its bytes."""

RESERVED = 0.1
"""Share of memory for activations and programs."""


@dataclass(frozen=True, slots=True)
class Device:
    """What a data sheet says.

    Attributes:
        bytes_per_s: Of its memory.
        flop_per_s: Dense bfloat16.
        link_bytes_per_s: To the other devices, one way.
    """

    name: str
    memory_gb: float
    bytes_per_s: float
    flop_per_s: float
    link_bytes_per_s: float


DEVICES = (
    Device("A100 40 GB", 40, 1.555e12, 312e12, 300e9),
    Device("A100 80 GB", 80, 2.039e12, 312e12, 300e9),
    Device("H100 80 GB", 80, 3.35e12, 989e12, 450e9),
    Device("H200 141 GB", 141, 4.8e12, 989e12, 450e9),
    Device("TPU v5e", 16, 0.819e12, 197e12, 200e9),
    Device("TPU v6e", 32, 1.64e12, 918e12, 448e9),
)
"""NVIDIA's and Google's data sheets; links are NVLink and ICI."""

H200 = DEVICES[3]
MODELS: dict[str, ModelConfig] = {"GPT-J-6B": GPTJ_6B, "Vicuna-13B": VICUNA_13B}
WEIGHTS = {"GPT-J-6B": 6.05e9, "Vicuna-13B": 13.0e9}


@dataclass(frozen=True, slots=True)
class Reached:
    """What share of a data sheet a plain copy and a large product reach."""

    copy: float
    product: float


def reached() -> Reached:
    """On the H200, where both were measured."""
    limits = next(run for run in json.loads(MEASURED.read_text())["runs"] if run["phase"] == "limits")
    return Reached(limits["copy_bytes_per_s"] / H200.bytes_per_s, limits["matmul_flop_per_s"] / H200.flop_per_s)


def kv_bytes(model: ModelConfig) -> float:
    """Of a token."""
    return 2 * BYTES * model.num_layers * model.num_kv_heads * model.head_dim


def pool_tokens(device: Device, name: str, devices: int = 1) -> float:
    """Tokens whose keys and values fit beside the weights; below 0 if the weights do not."""
    room = devices * device.memory_gb * 1e9 * (1 - RESERVED) - BYTES * WEIGHTS[name]
    return room / kv_bytes(MODELS[name])


def decode_s(device: Device, name: str, share: Reached, *, batch: int, context: float, devices: int = 1) -> float:
    """Of a step that gives each of `batch` requests a token."""
    model = MODELS[name]
    read = BYTES * WEIGHTS[name] + batch * context * kv_bytes(model)
    operations = 2 * WEIGHTS[name] * batch
    alone = max(read / (device.bytes_per_s * share.copy), operations / (device.flop_per_s * share.product)) / devices
    if devices == 1:
        return alone
    moved = 2 * (devices - 1) / devices * batch * model.hidden_size * BYTES
    return alone + 2 * model.num_layers * (SUM_LATENCY_S + moved / device.link_bytes_per_s)


def prefill_tokens_per_s(device: Device, name: str, share: Reached) -> float:
    """Of long chunks, attention left out."""
    return device.flop_per_s * share.product / (2 * WEIGHTS[name])


@dataclass(frozen=True, slots=True)
class Mixture:
    """The mean request of the paper's Multi-API mixture.

    Attributes:
        context_tokens: While it decodes.
        call_token_s: Its context times the duration of its call, over all calls.
    """

    context_tokens: float
    generated_tokens: float
    call_token_s: float


def mixture() -> Mixture:
    """From the workload that is simulated."""
    scripts = load_workload("multi-api").scripts
    return Mixture(
        statistics.fmean((script.num_prompt_tokens + script.num_final_tokens) / 2 for script in scripts),
        statistics.fmean(script.num_generated_tokens for script in scripts),
        statistics.fmean(sum(tokens * call.duration_s for tokens, call in script.contexts_at_calls()) for script in scripts),
    )


def full_batch(device: Device, name: str, context: float, devices: int = 1) -> int:
    """Requests that fill the pool."""
    return int(pool_tokens(device, name, devices) // context)


def check(share: Reached) -> str:
    """Measured decode steps and prefills beside the model's."""
    rows = []
    for run in json.loads(MEASURED.read_text())["runs"]:
        name = {"gpt-j-6b": "GPT-J-6B", "vicuna-13b": "Vicuna-13B"}.get(run["part"].split()[0])
        if name is None or "share_of_limit" not in run:
            continue
        if run["phase"] == "decode":
            paper = decode_s(H200, name, share, batch=run["batch"], context=run["context_tokens"])
        else:
            paper = run["context_tokens"] / prefill_tokens_per_s(H200, name, share)
        size = run["batch"] if run["phase"] == "decode" else run["context_tokens"]
        rows.append(
            [name, run["phase"], str(size), f"{1e3 * paper:.2f}", f"{1e3 * run['step_s']:.2f}", f"{paper / run['step_s']:.2f}"]
        )
    return table(["model", "phase", "rows, or tokens", "on paper, ms", "measured, ms", "ratio"], rows)


def speeds(name: str, share: Reached) -> str:
    """Tokens a second by batch, and where the pool is full."""
    rows = []
    for device in DEVICES:
        for devices in (1, 4):
            pool = pool_tokens(device, name, devices)
            label = device.name if devices == 1 else f"{devices} x {device.name}"
            if pool < 2048:
                rows.append([label, "does not fit", *[""] * 6])
                continue
            cells = [
                f"{batch / decode_s(device, name, share, batch=batch, context=1024, devices=devices):,.0f}"
                if batch * 1024 <= pool
                else ""
                for batch in (1, 8, 32, 128)
            ]
            full = full_batch(device, name, 1024, devices)
            best = full / decode_s(device, name, share, batch=full, context=1024, devices=devices)
            seconds = 1e6 * devices / best
            rows.append([label, f"{pool / 1e3:,.0f}", *cells, f"{best:,.0f} at {full}", f"{seconds:,.0f}"])
    heads = ["devices", "pool, thousand tokens", *(f"tokens/s at {batch}" for batch in (1, 8, 32, 128)), "with a full pool"]
    return table([*heads, "device-seconds a million tokens"], rows)


def gains(share: Reached, mean: Mixture) -> str:
    """What calls hold if nothing is given up, beside what computing holds."""
    rows = []
    for name in MODELS:
        for device in DEVICES:
            full = full_batch(device, name, mean.context_tokens)
            if full < 1:
                continue
            step_s = decode_s(device, name, share, batch=full, context=mean.context_tokens)
            computing = mean.context_tokens * mean.generated_tokens * step_s
            pool = pool_tokens(device, name)
            bound = "operations" if _is_bound_by_operations(device, name, share, full, mean.context_tokens) else "memory"
            rows.append(
                [
                    name,
                    device.name,
                    f"{1e3 * step_s:.1f}",
                    bound,
                    f"{computing / 1e3:,.1f}",
                    f"{mean.call_token_s / computing:.1f}",
                    f"{pool / (computing + mean.call_token_s):.2f}",
                    f"{pool / computing:.2f}",
                ]
            )
    heads = ["model", "device", "step with a full pool, ms", "bound by", "computing, thousand token·s a request"]
    return table([*heads, "calls to computing", "req/s, all kept", "req/s, nothing kept"], rows)


def _is_bound_by_operations(device: Device, name: str, share: Reached, batch: int, context: float) -> bool:
    read = (BYTES * WEIGHTS[name] + batch * context * kv_bytes(MODELS[name])) / (device.bytes_per_s * share.copy)
    return 2 * WEIGHTS[name] * batch / (device.flop_per_s * share.product) > read


@styled
def figure(share: Reached) -> "Figure":
    """Tokens a second against the batch, at three contexts."""
    drawn = new_figure("Decode on paper", "one device, bfloat16; a line ends where the pool is full", 7.2, 4.6)
    panels = grid(drawn, 4, 2)
    for row, name in enumerate(MODELS):
        for column, context in enumerate((512, 2048)):
            panel = panels[2 * row + column]
            for device, colour in zip(DEVICES, COLOURS, strict=False):
                full = full_batch(device, name, context)
                batches = [batch for batch in (1, 2, 4, 8, 16, 32, 64, 128, 256, 512) if batch <= full]
                values = [batch / decode_s(device, name, share, batch=batch, context=context) for batch in batches]
                if batches:
                    panel.plot(batches, values, "o-", color=colour, label=device.name)
            panel.set(xscale="log", yscale="log", title=f"{name}, context {context:,}")
            panel.set_xlabel("batch" if row == 1 else "")
            panel.set_ylabel("tokens/s" if column == 0 else "")
    legend_below(drawn, panels)
    return drawn


def text(share: Reached, mean: Mixture) -> str:
    """The page."""
    ratios = {device.name: calls_to_computing(device, "GPT-J-6B", share, mean) for device in DEVICES}
    swap_ms = 1e3 * mean.context_tokens * kv_bytes(GPTJ_6B) / 25e9
    again_ms = [1e3 * mean.context_tokens / prefill_tokens_per_s(device, "GPT-J-6B", share) for device in (DEVICES[0], H200)]
    page = f"""# On paper: how fast other devices could be

`python -m benchmarks.scaling` writes this page from data sheets, from the shapes of the models, and from what was measured
on an H200
(`benchmarks/results/accelerator.json`). There a plain copy reached {100 * share.copy:.0f} % of the data sheet's bandwidth
and a large bfloat16 product
{100 * share.product:.0f} % of its rate; every device below is given the same shares. Nothing but the H200 was measured: the
other rows are expectations, for
TPUs on the assumption that they come as near to their data sheets.

A decode step of B requests with C tokens each reads W + B C K bytes, W of weights and K of keys and values a token, and
takes 2 B P operations for
P parameters; it lasts as long as the slower of the two. With tensor parallelism over n devices both are divided by n, and
every layer adds two
sums over all devices, each {1e6 * SUM_LATENCY_S:.0f} µs and its bytes. Not counted: attention's operations, sampling, the
host. {100 * RESERVED:.0f} % of memory is left for
activations and programs.

## Against what was measured

{check(share)}

Steps of one row and prefills take longer than on paper: small products do not reach the bandwidth of a copy, and short
prompts do not fill the
device.

## Tokens a second

{speeds("GPT-J-6B", share)}

Vicuna-13B:

{speeds("Vicuna-13B", share)}

![Tokens a second against the batch, for six devices, two models and two contexts](images/scaling.png)

## Where LAMPS's gain grows, and where it vanishes

The mean request of the Multi-API mixture samples {mean.generated_tokens:.0f} tokens behind a context of
{mean.context_tokens:.0f}, and would hold
{mean.call_token_s / 1e3:,.0f} thousand token·s during its calls if its KV were kept. With a full pool, what computing holds
is context x tokens x time of a step.
Their ratio is what handling calls can win at most, if memory is what there is too little of:

{gains(share, mean)}

- It *grows* with the speed of a device: calls last as long as before, computing does not. From an A100 to an H100 with as
  much memory it goes from {ratios["A100 80 GB"]:.1f} to {ratios["H100 80 GB"]:.1f}. It *falls* with memory at the same speed: a
  fuller batch takes longer for a step, so that computing holds more; from an A100 of 40 GB to one of 80 GB it goes from
  {ratios["A100 40 GB"]:.1f} to {ratios["A100 80 GB"]:.1f}.
- It *vanishes* with the load: below the rate that the pool serves with everything kept, nobody waits, and every handling is
  as good.
- It *shrinks* where the batch is bound by operations before the pool is full: more running requests then bring no more
  tokens. With contexts of
  a few hundred tokens none of these devices gets there with these models; grouped key-value heads would bring them there
  sooner, since K falls and P
  does not.
- Giving up is never free: swapping {mean.context_tokens:.0f} tokens of GPT-J takes {swap_ms:.0f} ms over a link of 25 GB/s,
  and computing them again {again_ms[1]:.0f} ms on an H200, so that on fast devices discarding comes as cheap as swapping; on an
  A100, {again_ms[0]:.0f} ms.
"""
    return "\n\n".join(map(filled, page.strip().split("\n\n"))) + "\n"


def calls_to_computing(device: Device, name: str, share: Reached, mean: Mixture) -> float:
    """What the mean request would hold during calls over what it holds while it computes, the pool being full."""
    batch = full_batch(device, name, mean.context_tokens)
    step_s = decode_s(device, name, share, batch=batch, context=mean.context_tokens)
    return mean.call_token_s / (mean.context_tokens * mean.generated_tokens * step_s)


def main() -> None:
    """Writes the page and its picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "docs", help="directory of the page")
    out: Path = parser.parse_args().out
    share = reached()
    (out / "images").mkdir(parents=True, exist_ok=True)
    save_figure(figure(share), out / "images/scaling.png")
    (out / "scaling.md").write_text(text(share, mixture()), encoding="utf-8")


if __name__ == "__main__":
    main()
