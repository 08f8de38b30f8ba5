"""What a length predictor is worth: accuracy over bins and sizes, and latency over accuracy.

    python -m benchmarks.prediction --out benchmarks/results/prediction.json

*Accuracy.* Predictors of several sizes, with bins of several widths, are trained on conversations of the embedded model's own
workload, and judged on conversations whose numbers, names and dates none of them has seen.

*Real text.* Where logs of mini-swe-agent are at hand (``--text``), a predictor is trained on them too: few conversations, of one
agent.

*Worth.* The same conversations become the scripts of a simulation on an A100 with GPT-J-6B: prompts, outputs and results with
their true lengths times `TOKEN_SCALE`, and calls that last as tools of their kind do. Every system has the same arrivals. `lamps`
is given everything (`oracle`), lengths from a trained predictor and all else true (`lengths`), lengths from it and all else
learned (`served`), what is learned (`history`), nothing (`none`), lengths with normal errors, and lengths of which a share is
another segment's: down to a predictor that knows nothing, and through 70 to 80 % accuracy.
"""

import argparse
import math
import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from benchmarks.document import write_document
from lamps_jax import terminal
from lamps_jax.embedded.conversations import conversations
from lamps_jax.engine.build import EMBEDDED_MODEL
from lamps_jax.models.tokenizer import Tokenizer
from lamps_jax.sim.hardware import HARDWARE
from lamps_jax.sim.spec import RunSpec
from lamps_jax.sim.sweep import simulate_all
from lamps_jax.sim.workload import Call, Script, Segment, Span, Workload
from lamps_jax.train_predictor.config import DataConfig, OptimisationConfig, PredictorConfig, TrainingConfig
from lamps_jax.train_predictor.data import examples_of
from lamps_jax.train_predictor.lengths import POINT_ESTIMATES
from lamps_jax.train_predictor.predict import LengthPredictor
from lamps_jax.train_predictor.records import Conversation, from_record, write_conversations
from lamps_jax.train_predictor.run import output_tokens, prompt_tokens
from lamps_jax.train_predictor.run import run as run_training

WIDTHS = (1, 2, 4, 8)
"""Bins of so many tokens; outputs of this workload are a fifth as long as those of the papers, whose bins are 5 to 50 wide."""

SIZES = {"small": (48, 1), "medium": (96, 2), "large": (192, 4)}
"""Features and layers."""

DEFAULT = ("medium", 2)

REAL_TEXT = Path(__file__).parents[2] / "shared/data/text/miniswe_agent_calls.jsonl.gz"

TOKEN_SCALE = 12
"""Times the true lengths, so that a context of the embedded model becomes one of GPT-J's."""

CALL_S = {"Calculator": (0.1, 0.5), "Calendar": (0.5, 0.5), "Search": (5.0, 1.0), "World": (12.0, 1.0)}
"""Median of each tool's calls and deviation of their logarithm: from a calculation to a person who does something."""

RIGHT_SHARES = (1.0, 0.9, 0.8, 0.7, 0.5, 0.3, 0.1, 0.0)
NOISES = (0.05, 0.1, 0.3, 0.6)


@dataclass(frozen=True, slots=True)
class Texts:
    """Conversations with what simulations need of them: tokens of everything."""

    conversations: list[Conversation]
    prompt_lengths: list[int]
    lengths: list[list[int]]
    returned: list[list[int]]


def make_conversations(count: int, *, held_out: bool) -> list[Conversation]:
    """Conversations of the embedded model's workload."""
    records = conversations(count, seed=7, split="held_out" if held_out else "train")
    return [from_record(Path("generated"), number, record) for number, record in enumerate(records, 1)]


def train_one(size: str, width: int, data: DataConfig, out: Path, *, epochs: int, longest: int) -> dict[str, Any]:
    """Trains a predictor; gives its report.

    Args:
        longest: Tokens that the bins cover.
    """
    hidden_size, num_layers = SIZES[size]
    predictor = PredictorConfig(
        tokenizer=EMBEDDED_MODEL,
        hidden_size=hidden_size,
        num_layers=num_layers,
        bin_width_tokens=width,
        num_bins=math.ceil(longest / width),
    )
    return run_training(TrainingConfig(data, predictor, OptimisationConfig(epochs=epochs, learning_rate=2e-3, patience=2)), out)


def real_text(text: Path, out: Path) -> list[dict[str, Any]]:
    """What a predictor and the baselines make of real logs; nothing where there are none."""
    if not text.exists():
        print(f"no real text: {text} is absent")
        return []
    report = train_one("medium", 20, DataConfig((text,), max_length=512), out, epochs=15, longest=1000)
    counts = {name: report[name] for name in ("num_train", "num_validation", "num_examples")}
    judged = {name: judgement_of(each) for name, each in report["predictors"].items()}
    return [{"what": "real text", "predictor": name, **counts, **each} for name, each in judged.items()]


def judgement_of(judged: dict[str, Any]) -> dict[str, Any]:
    """What is kept of what a report says of a predictor."""
    by_mean = judged["estimates"]["mean"]
    return {
        "exact": judged["accuracy_0_bins"], "within_one": judged["accuracy_1_bins"], "ece": judged["ece"],
        "nll_nats": judged["nll_nats"], "mae_tokens": by_mean["mae_tokens"], "kendall_tau": by_mean["kendall_tau"],
    }  # fmt: skip


def tokens_of(held: list[Conversation], tokenizer: Tokenizer) -> Texts:
    """Lengths of everything in conversations."""
    count = output_tokens(tokenizer)
    return Texts(
        held,
        [len(row) for row in count([conversation.prompt or "" for conversation in held])],
        [[len(row) for row in count([segment.text or "" for segment in each.segments])] for each in held],
        [[len(row) for row in count([segment.returned_text or "" for segment in each.segments])] for each in held],
    )


def predicted_lengths(predictor: LengthPredictor, texts: Texts, tokenizer: Tokenizer) -> list[list[float]]:
    """What a predictor says of each segment, knowing what has been said before it."""
    each = [[example.text for example in examples_of(conversation)] for conversation in texts.conversations]
    rows = prompt_tokens(tokenizer)([text for texts_before in each for text in texts_before])
    estimates = POINT_ESTIMATES["mean"](predictor.bins, predictor.probabilities(rows)).tolist()
    return [[estimates.pop(0) for _ in texts_before] for texts_before in each]


def degraded(lengths: list[list[int]], right_share: float, seed: int) -> list[list[float]]:
    """True lengths, of which all but a share are those of segments drawn from everywhere."""
    rng, pool = Random(f"degraded {seed}"), [length for row in lengths for length in row]
    return [[float(length if rng.random() < right_share else rng.choice(pool)) for length in row] for row in lengths]


def workload_of(texts: Texts, predicted: list[list[float]] | None) -> Workload:
    """The scripts of conversations, whose types are the tools that they begin with, with what is predicted of them."""
    rng, scripts = Random("durations"), []
    for at, conversation in enumerate(texts.conversations):
        segments = []
        for place, segment in enumerate(conversation.segments):
            call = None
            if segment.tool is not None:
                median, sigma = CALL_S.get(segment.tool, (1.0, 0.5))
                duration_s = min(60.0, rng.lognormvariate(math.log(median), sigma))
                call = Call(segment.tool, duration_s, TOKEN_SCALE * texts.returned[at][place])
            length = None if predicted is None else TOKEN_SCALE * predicted[at][place]
            segments.append(Segment(TOKEN_SCALE * texts.lengths[at][place], call, length))
        kind = conversation.segments[0].tool or "no tool"
        scripts.append(Script(kind, (Span(TOKEN_SCALE * texts.prompt_lengths[at]),), tuple(segments)))
    return Workload("embedded conversations", tuple(scripts), ())


def simulations(
    texts: Texts, predicted: list[list[float]], *, rate: float, window_s: float, seeds: Sequence[int]
) -> dict[str, list[RunSpec]]:
    """The runs of each system, by its label."""
    machine = HARDWARE["a100-40gb-gptj-6b"]
    plain, trained = workload_of(texts, None), workload_of(texts, predicted)

    def specs(label: str, policy: str, workload: Workload = plain, **options: Any) -> tuple[str, list[RunSpec]]:
        base = RunSpec(workload, machine, machine.scheduler_config(policy), rate, window_s=window_s, drain=True, label=label)
        return label, [replace(base, seed=seed, **options) for seed in seeds]

    return dict(
        [
            specs("infercept", "infercept"),
            specs("lamps, oracle", "lamps"),
            specs("lamps, trained, all else true", "lamps", trained, prediction="lengths"),
            specs("lamps, trained, all else learned", "lamps", trained, prediction="served"),
            specs("lamps, history", "lamps", prediction="history"),
            specs("lamps, none", "lamps", prediction="none"),
            *(specs(f"lamps, errors of {100 * noise:g} %", "lamps", noise=noise, noisy="lengths") for noise in NOISES),
            *(
                specs(
                    f"lamps, {100 * share:g} % right",
                    "lamps",
                    workload_of(texts, degraded(texts.lengths, share, 0)),
                    prediction="lengths",
                )
                for share in RIGHT_SHARES
            ),
        ]
    )


def summary_of(label: str, runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Means over seeds of what arrived and was served to its end."""

    def mean(read: Callable[[dict[str, Any]], float]) -> float:
        return statistics.fmean(read(run) for run in runs)

    return {
        "what": "worth", "system": label, "seeds": len(runs),
        "e2e_mean_s": mean(lambda run: run["e2e_s"]["mean"]), "e2e_p99_s": mean(lambda run: run["e2e_s"]["p99"]),
        "ttft_mean_s": mean(lambda run: run["ttft_s"]["mean"]), "throughput_rps": mean(lambda run: run["throughput_rps"]),
    }  # fmt: skip


def accuracy_table(runs: Sequence[dict[str, Any]]) -> str:
    """Markdown: accuracy over widths and sizes."""
    head = (
        "| size | parameters | bin, tokens | exact bin, % | within a bin, % | MAE, tokens | Kendall τ | ECE, % | one input, ms |"
    )
    lines = [head, "|---|---:|---:|---:|---:|---:|---:|---:|---:|"]
    for run in (run for run in runs if run["what"] == "accuracy"):
        shares = f"{100 * run['exact']:.1f} | {100 * run['within_one']:.1f}"
        rest = f"{run['mae_tokens']:.2f} | {run['kendall_tau']:.3f} | {100 * run['ece']:.1f} | {run['latency_ms']:.2f}"
        lines.append(f"| {run['size']} | {run['parameters']:,} | {run['bin_width_tokens']} | {shares} | {rest} |")
    return "\n".join(lines)


def real_table(runs: Sequence[dict[str, Any]]) -> str:
    """Markdown: a predictor and baselines on real logs."""
    lines = [
        "| predictor | exact bin, % | within a bin, % | NLL, nats | MAE, tokens | Kendall τ |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for run in (run for run in runs if run["what"] == "real text"):
        tau = "–" if run["kendall_tau"] is None else f"{run['kendall_tau']:.3f}"
        shares = f"{100 * run['exact']:.1f} | {100 * run['within_one']:.1f} | {run['nll_nats']:.2f}"
        lines.append(f"| {run['predictor']} | {shares} | {run['mae_tokens']:.1f} | {tau} |")
    return "\n".join(lines)


def worth_table(runs: Sequence[dict[str, Any]]) -> str:
    """Markdown: latency of each system, and against InferCept."""
    worth = [run for run in runs if run["what"] == "worth"]
    peer = next(run for run in worth if run["system"] == "infercept")
    lines = ["| system | E2E mean, s | against infercept | E2E P99, s | TTFT mean, s | req/s |", "|---|---:|---:|---:|---:|---:|"]
    for run in worth:
        change = f"{100 * (run['e2e_mean_s'] / peer['e2e_mean_s'] - 1):+.1f} %".replace("-", "\N{MINUS SIGN}")
        tails = f"{run['e2e_p99_s']:.0f} | {run['ttft_mean_s']:.2f} | {run['throughput_rps']:.2f}"
        numbers = f"{run['e2e_mean_s']:.1f} | {change} | {tails}"
        lines.append(f"| {run['system']} | {numbers} |")
    return "\n".join(lines)


def main() -> None:
    """Trains, simulates, prints the tables and writes the document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/prediction.json"), help="where to write the results")
    parser.add_argument("--conversations", type=int, default=6000, help="to train on")
    parser.add_argument("--epochs", type=int, default=4, help="of each training")
    parser.add_argument("--text", type=Path, default=REAL_TEXT, help="logs of mini-swe-agent; left out where they are absent")
    parser.add_argument("--rate", type=float, default=4.0, help="requests a second in the simulations")
    parser.add_argument("--window", type=float, default=600.0, help="seconds in which they arrive")
    parser.add_argument("--seeds", type=int, default=5, help="of the arrivals")
    arguments = parser.parse_args()
    tokenizer, runs = Tokenizer.from_directory(EMBEDDED_MODEL), list[dict[str, Any]]()
    held = make_conversations(max(1000, arguments.conversations // 4), held_out=True)
    with tempfile.TemporaryDirectory() as folder, terminal.progress_bar() as progress:
        data = DataConfig((Path(folder) / "train.jsonl",), test=(Path(folder) / "test.jsonl",), max_length=512)
        write_conversations(data.train[0], make_conversations(arguments.conversations, held_out=False))
        write_conversations(data.test[0], held)
        cases = [(size, DEFAULT[1]) for size in SIZES] + [(DEFAULT[0], width) for width in WIDTHS if width != DEFAULT[1]]
        for done, (size, width) in enumerate(cases):
            progress("training", done, len(cases))
            out = Path(folder) / f"{size}-{width}"
            report = train_one(size, width, data, out, epochs=arguments.epochs, longest=100)
            runs.append(accuracy_of(size, width, report, out))
        runs += real_text(arguments.text, Path(folder) / "real")
        texts = tokens_of(held, tokenizer)
        predictor = LengthPredictor.from_directory(Path(folder) / f"{DEFAULT[0]}-{DEFAULT[1]}")
        predicted = predicted_lengths(predictor, texts, tokenizer)
        systems = simulations(texts, predicted, rate=arguments.rate, window_s=arguments.window, seeds=range(arguments.seeds))
        specs = [spec for each in systems.values() for spec in each]
        results = simulate_all(specs, progress=lambda done, total: progress("simulating", done, total))
    for number, (label, each) in enumerate(systems.items()):
        runs.append(summary_of(label, results[number * len(each) : (number + 1) * len(each)]))
    print(accuracy_table(runs), real_table(runs), worth_table(runs), sep="\n\n")
    write_document(arguments.out, "prediction", runs)


def accuracy_of(size: str, width: int, report: dict[str, Any], out: Path) -> dict[str, Any]:
    """What is kept of a training's report."""
    judged = report["predictors"]["predictor"]
    weights = (out / "model.safetensors").stat().st_size // np.dtype(np.float32).itemsize
    return {
        "what": "accuracy", "size": size, "parameters": int(weights), "bin_width_tokens": width,
        "latency_ms": judged["latency_ms"], **judgement_of(judged),
    }  # fmt: skip


if __name__ == "__main__":
    main()
