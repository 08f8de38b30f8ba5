"""How far our logits are from PyTorch's, for every architecture and option: the table of docs/models.md.

    python -m benchmarks.parity [--only llama,opt] [--out benchmarks/results/parity.json]

Random small checkpoints, their values ones that bfloat16 has, are written with transformers and read by the ordinary loader.
Figures in float32 are the largest absolute difference of any logit: of whole texts, token by token through the decode
program, and in chunks through the prefill program. For bfloat16 and int8 they are the norm of the difference as a share of
the norm, against our own float32.
"""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track

from benchmarks.document import write_document
from lamps_jax.models.registry import load_model
from tests.models.test_parity import CONFIGS, MODERATE_GAIN, NUM_GENERATED
from tests.models.torch_pair import Pair, dense_logits, paired, random_tokens, relative_error, save_torch

HEADER = (
    "| configuration | whole text | decode | prefill | 64 greedy tokens | bfloat16 | int8 |",
    "|---|---|---|---|---|---|---|",
)


def compare(name: str) -> dict[str, Any]:
    """The figures of one configuration."""
    with tempfile.TemporaryDirectory() as folder, paired(Path(folder), CONFIGS[name]) as pair:
        token_ids, ends = random_tokens(2, 46, seed=2), np.cumsum([5, 16, 1, 9, 13, 2])
        theirs, ours = pair.torch_logits(token_ids), pair.dense_logits(token_ids)
        decoded = pair.decode_logits(token_ids[:, :20])
        prefilled = pair.prefill_logits(token_ids[0], ends)
        run = {
            "model": name,
            "whole_max_error": float(np.abs(ours - theirs).max()),
            "decode_max_error": float(np.abs(decoded - theirs[:, :20]).max()),
            "prefill_max_error": float(np.abs(prefilled - theirs[0, ends - 1]).max()),
            "greedy_identical": greedy_identical(pair),
            "largest_logit": float(np.abs(theirs).max()),
        }
    with tempfile.TemporaryDirectory() as folder:
        save_torch(Path(folder), CONFIGS[name], gain=MODERATE_GAIN)
        exact = dense_logits(load_model(Path(folder)))(token_ids)
        for kind, options in (("bfloat16", {"dtype": "bfloat16"}), ("int8", {"quantize": "int8"})):
            logits = dense_logits(load_model(Path(folder), **options))(token_ids)
            run[f"{kind}_relative_error"] = relative_error(logits, exact)
    return run


def greedy_identical(pair: Pair) -> bool:
    """Whether three continuations through the paged programs are PyTorch's, token for token."""
    prompts = [random_tokens(length, seed=length).tolist() for length in (3, 21, 40)]
    return pair.runner.generate_batch(prompts, NUM_GENERATED, chunk=8) == [
        pair.torch_greedy(prompt, NUM_GENERATED) for prompt in prompts
    ]


def as_markdown(runs: Sequence[dict[str, Any]]) -> str:
    """The figures as the table of the documentation."""
    rows = [
        f"| {run['model'].replace('_', ' ')} | {run['whole_max_error']:.1e} | {run['decode_max_error']:.1e} "
        f"| {run['prefill_max_error']:.1e} | {'identical' if run['greedy_identical'] else 'DIFFERENT'} "
        f"| {run['bfloat16_relative_error']:.1%} | {run['int8_relative_error']:.1%} |"
        for run in runs
    ]
    return "\n".join([*HEADER, *rows])


def main() -> None:
    """Compares, prints the table and writes the document."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--only", help="names of configurations, separated by commas")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "parity.json")
    arguments = parser.parse_args()
    names = arguments.only.split(",") if arguments.only else list(CONFIGS)
    if unknown := set(names) - set(CONFIGS):
        parser.error(f"unknown configurations {', '.join(sorted(unknown))}; known are {', '.join(CONFIGS)}")
    runs = [compare(name) for name in track(names, "comparing", transient=True)]
    print(as_markdown(runs))
    write_document(arguments.out, "parity", runs)


if __name__ == "__main__":
    main()
