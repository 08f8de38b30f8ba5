"""What the command line shows: progress on standard error, the text as it comes on standard output, calls set apart."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn, filesize
from rich.text import Text

from lamps_jax.engine.events import Event

if TYPE_CHECKING:  # a simulation, which shows its progress too, needs neither JAX nor a tokenizer, which take seconds to import
    from lamps_jax.engine.build import Progress as ProgressCallback
    from lamps_jax.llm import Generation
    from lamps_jax.train_predictor.train import Progress as TrainingProgress


class Amount(ProgressColumn):
    """How much of a task is done: pieces, or for weights bytes and bytes per second."""

    def render(self, task: Task) -> Text:
        """The column's text."""
        done, total = int(task.completed), int(task.total or 0)
        if "weights" not in task.description:
            return Text(f"{done}/{total}", style="progress.download")
        speed = task.finished_speed or task.speed
        rate = f" at {filesize.decimal(int(speed))}/s" if speed else ""
        return Text(f"{filesize.decimal(done)} of {filesize.decimal(total)}{rate}", style="progress.download")


@contextmanager
def progress_bar() -> Iterator["ProgressCallback"]:
    """A progress bar on standard error for the work before an engine is ready; gone when it is done."""
    columns = (TextColumn("{task.description}"), BarColumn(), Amount(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        tasks: dict[str, Any] = {}

        def update(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total)
            bar.update(tasks[what], completed=done, total=total)

        yield update


@contextmanager
def training_progress() -> Iterator[tuple[Callable[["TrainingProgress"], None], "ProgressCallback"]]:
    """A progress bar on standard error for training, with loss, tokens a second and time left, and one for the work around it."""
    columns = (TextColumn("{task.description}"), BarColumn(), Amount(), TextColumn("{task.fields[said]}"), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        tasks: dict[str, Any] = {}

        def update(what: str, done: int, total: int, said: str = "") -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total, said=said)
            bar.update(tasks[what], completed=done, total=total, said=said)

        def on_step(progress: "TrainingProgress") -> None:
            left = timedelta(seconds=round(progress.seconds_left))
            said = f"epoch {progress.epoch + 1}, loss {progress.loss:.3f}, {progress.tokens_per_s:,.0f} tokens/s, {left} left"
            update("training", progress.step, progress.num_steps, said)

        yield on_step, update


def show_event(index: int, event: Event) -> None:
    """Prints a change of a request's output: text as it is, each call and its result on a line of their own."""
    console = Console(highlight=False, soft_wrap=True)
    if event.kind == "text":
        sys.stdout.write(event.text)
        sys.stdout.flush()
    elif event.kind == "call" and event.call:
        console.print(f"[cyan]▸ {escape(event.call.name)}({escape(event.call.written)})[/cyan]", end=" ")
    elif event.kind == "result" and event.call:
        colour, duration = "red" if event.call.failed else "green", event.call.duration_s or 0.0
        console.print(f"→ [{colour}]{escape(event.call.result or '')}[/{colour}] [dim]{1e3 * duration:.1f} ms[/dim]")
    elif event.kind == "finished":
        sys.stdout.write("\n")


def as_document(generation: "Generation") -> dict[str, Any]:
    """A generation as `--json` prints it."""
    return {
        "text": generation.text,
        "token_ids": generation.token_ids,
        "calls": [call.as_dict() for call in generation.calls],
        "finish_reason": generation.finish_reason.value,
        "usage": {"prompt_tokens": generation.num_prompt_tokens, "completion_tokens": len(generation.token_ids)},
        "timings": generation.timings.as_dict(),
    }
