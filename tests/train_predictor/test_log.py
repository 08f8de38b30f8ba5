import csv
from pathlib import Path

import pytest

from lamps_jax.train_predictor.log import COLUMNS, TrainingLog


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write(path: Path, steps: range, *, from_step: int, steps_an_epoch: int = 4) -> None:
    with TrainingLog(path, from_step=from_step) as log:
        for step in steps:
            epoch = (step - 1) // steps_an_epoch
            log.step(step, epoch, loss=1 / step, learning_rate=1e-3 / step, tokens_per_s=1000.4)
            if step % steps_an_epoch == 0:
                log.epoch(step, epoch, validation_loss=2 / step)


def test_a_line_a_step_and_one_an_epoch_can_be_read_as_numbers(tmp_path: Path) -> None:
    path = tmp_path / "new" / "log.csv"
    write(path, range(1, 9), from_step=0)
    read = rows(path)
    assert tuple(read[0]) == COLUMNS
    assert [row["step"] for row in read] == "1 2 3 4 4 5 6 7 8 8".split()
    assert [row["epoch"] for row in read] == "1 1 1 1 1 2 2 2 2 2".split()
    ends = [row for row in read if row["validation_loss"]]
    assert [float(row["validation_loss"]) for row in ends] == [0.5, 0.25]
    assert all(row["loss"] == row["learning_rate"] == row["tokens_per_s"] == "" for row in ends)
    steps = [row for row in read if row["loss"]]
    assert [float(row["loss"]) for row in steps] == pytest.approx([1 / step for step in range(1, 9)], rel=1e-5)
    assert float(steps[7]["learning_rate"]) == pytest.approx(1.25e-4)
    assert steps[0]["tokens_per_s"] == "1000"


def test_a_line_is_in_the_file_as_soon_as_it_is_noted(tmp_path: Path) -> None:
    with TrainingLog(tmp_path / "log.csv", from_step=0) as log:
        log.step(1, 0, 0.5, 0.1, 10.0)
        assert len(rows(tmp_path / "log.csv")) == 1


@pytest.mark.parametrize("from_step", range(10))
def test_a_run_that_goes_on_from_any_step_leaves_the_log_of_one_that_never_stopped(tmp_path: Path, from_step: int) -> None:
    write(tmp_path / "whole.csv", range(1, 13), from_step=0)
    write(tmp_path / "stopped.csv", range(1, 10), from_step=0)
    write(tmp_path / "stopped.csv", range(from_step + 1, 13), from_step=from_step)
    assert (tmp_path / "stopped.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_a_line_that_was_cut_short_anywhere_is_dropped(tmp_path: Path) -> None:
    write(tmp_path / "whole.csv", range(1, 13), from_step=0)
    write(tmp_path / "ten.csv", range(1, 11), from_step=0)
    content = (tmp_path / "ten.csv").read_bytes()
    last = content.rstrip().rindex(b"\n") + 1
    for end in range(last, len(content) - len(b",\r\n")):
        (tmp_path / "cut.csv").write_bytes(content[:end])
        write(tmp_path / "cut.csv", range(10, 13), from_step=9)
        assert (tmp_path / "cut.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes(), content[last:end]


def test_the_old_log_stays_until_the_new_one_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "log.csv", range(1, 9), from_step=0)
    before = (tmp_path / "log.csv").read_bytes()

    def killed(self: Path, target: Path) -> Path:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            TrainingLog(tmp_path / "log.csv", from_step=2)
    assert (tmp_path / "log.csv").read_bytes() == before
    write(tmp_path / "log.csv", range(3, 9), from_step=2)
    assert (tmp_path / "log.csv").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["log.csv"]
