"""Who says what requests will do: what `--predictor` names."""

import copy
from collections.abc import Callable
from pathlib import Path

import lamps_jax
from lamps_jax.config import SchedulerConfig
from lamps_jax.engine.build import EMBEDDED_MODEL, PredictorFactory, Progress
from lamps_jax.models.tokenizer import Tokenizer
from lamps_jax.sched.estimates import HintedPredictor, HistoryPredictor, NoPredictor, Predictor
from lamps_jax.sched.forecast import asks_predictor
from lamps_jax.sched.policy import system_of
from lamps_jax.train_predictor.live import LivePredictor, Report
from lamps_jax.train_predictor.predict import DESCRIPTION, LengthPredictor

EMBEDDED_PREDICTOR = Path(lamps_jax.__file__).parent / "embedded" / "predictor"
"""Directory of the length predictor that ships with the package, for the embedded model's own workload."""

NAMES = ("auto", "history", "oracle-hints", "none")


def check_predictor(name: str) -> None:
    """Passes what `predictor_named` knows.

    Raises:
        ValueError: If it does not know `name`.
    """
    if name not in NAMES and not (Path(name) / DESCRIPTION).is_file():
        raise ValueError(
            f"--predictor must be {', '.join(NAMES)} or a directory that 'lamps-jax train-predictor' has written, got {name!r}"
        )


def predictor_named(
    name: str,
    model: Path,
    scheduler: SchedulerConfig,
    *,
    report: Report = lambda predicted, actual: None,
    progress: Progress = lambda what, done, total: None,
) -> PredictorFactory | None:
    """What makes the predictor called `name`; None for what the scheduler has by itself, which is history.

    Args:
        model: Directory of the model that is served; ``auto`` takes for the embedded one the predictor that ships with it, and
            history for any other, and for policies that rank by where programs end: a prediction costs as much as fifty tokens of
            that model, and says only how long the next segment is.
        report: Told the predicted and the actual tokens of each segment of which a trained predictor has said anything.

    Raises:
        ValueError: If `name` is not known.
        CheckpointError: If the directory's predictor cannot be read.
    """
    check_predictor(name)
    if name == "none":
        return lambda tokenizer, wake_up: NoPredictor()
    if name == "oracle-hints":
        return lambda tokenizer, wake_up: HintedPredictor()
    ships = name == "auto" and model == EMBEDDED_MODEL and system_of(scheduler).looks_ahead != "gittins"
    directory = EMBEDDED_PREDICTOR if ships else Path(name)
    if name in ("auto", "history") and directory != EMBEDDED_PREDICTOR:
        return None
    if not asks_predictor(system_of(scheduler), scheduler):
        return None  # nobody would ask it

    def make(tokenizer: Tokenizer, wake_up: Callable[[], None]) -> Predictor:
        lengths = LengthPredictor.from_directory(directory)
        lengths.warm_up(lambda done, total: progress("compiling the predictor", done, total))
        decode = None if _same_tokens(lengths.tokenizer, tokenizer) else copy.deepcopy(tokenizer).decode
        return LivePredictor(lengths, HistoryPredictor(), decode=decode, wake_up=wake_up, report=report)

    return make


def _same_tokens(ours: Tokenizer | None, theirs: Tokenizer) -> bool:
    """Whether the predictor reads the served model's own tokens."""
    return ours is not None and ours.hf.backend_tokenizer.to_str() == theirs.hf.backend_tokenizer.to_str()
