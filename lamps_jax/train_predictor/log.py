"""The log of a training run: a CSV file that a run which goes on continues without a gap or a repetition."""

import csv
from pathlib import Path

COLUMNS: tuple[str, ...] = ("step", "epoch", "loss", "learning_rate", "tokens_per_s", "validation_loss")


class TrainingLog:
    """One line a step, and one an epoch with its validation loss.

    Args:
        from_step: Lines of later steps were written before the run was stopped, and are dropped: those steps come again. So is
            a line that was cut short, whose number may be the beginning of another.
    """

    def __init__(self, path: Path, *, from_step: int):
        kept = []
        if path.exists():
            with path.open(newline="", encoding="utf-8") as file:
                whole = [row for row in csv.DictReader(file) if None not in row.values()]
            kept = [row for row in whole if row["step"].isdigit() and int(row["step"]) <= from_step]
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".unfinished")  # a log that is cut short by a kill must not take the old one's place
        with unfinished.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows({name: row.get(name) or "" for name in COLUMNS} for row in kept)
        unfinished.replace(path)
        self._file = path.open("a", newline="", encoding="utf-8")
        self._writer = csv.DictWriter(self._file, COLUMNS)

    def __enter__(self) -> "TrainingLog":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def step(self, step: int, epoch: int, loss: float, learning_rate: float, tokens_per_s: float) -> None:
        """Notes a step."""
        self._write(
            step=step,
            epoch=epoch + 1,
            loss=f"{loss:.6g}",
            learning_rate=f"{learning_rate:.6g}",
            tokens_per_s=f"{tokens_per_s:.0f}",
        )

    def epoch(self, step: int, epoch: int, validation_loss: float) -> None:
        """Notes the end of an epoch."""
        self._write(step=step, epoch=epoch + 1, validation_loss=f"{validation_loss:.6g}")

    def _write(self, **row: object) -> None:
        self._writer.writerow(row)
        self._file.flush()
