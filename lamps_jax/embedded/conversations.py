"""Conversations with the embedded model, for a length predictor: ``python -m lamps_jax.embedded.conversations --out FILE``.

Questions are drawn as they are for the model's own training, and what is written is what the model was taught to write. Whatever
is held out there is not among them.
"""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from lamps_jax.embedded.questions.question import Split
from lamps_jax.embedded.text import END_OF_TEXT, draw, pieces


def conversations(count: int, *, seed: int = 0, split: Split = "train") -> Iterator[dict[str, Any]]:
    """So many conversations, as the records that `train-predictor` reads; no two begin with the same question."""
    rng, seen = random.Random(f"{seed} {split} conversations"), set[str]()
    while len(seen) < count:
        question = draw(rng, split)
        beginning, *rest = (piece.text for piece in pieces(question))
        if beginning in seen:
            continue
        seen.add(beginning)
        segments: list[dict[str, Any]] = [
            {"text": written, "tool": call.tool, "returned_text": returned}
            for call, written, returned in zip(question.calls, rest[::2], rest[1::2], strict=False)
        ]
        segments.append({"text": rest[-1] + END_OF_TEXT, "tool": None})
        yield {"id": f"{split}-{len(seen)}", "prompt": beginning, "segments": segments}


def main(
    out: Annotated[Path, typer.Option(help="File of JSON lines to write.")],
    count: Annotated[int, typer.Option(min=1, help="Conversations.")] = 20_000,
    seed: Annotated[int, typer.Option(help="Same seed, same conversations.")] = 0,
    held_out: Annotated[bool, typer.Option("--held-out", help="Of numbers, names and dates that the model never saw.")] = False,
) -> None:
    """Writes conversations with the embedded model, to train a length predictor with or to judge it by."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("w", encoding="utf-8") as file:
        for record in conversations(count, seed=seed, split="held_out" if held_out else "train"):
            file.write(json.dumps(record, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    typer.run(main)
