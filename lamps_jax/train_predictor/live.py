"""Predictions while requests are served: made by a thread of their own, so that no step waits for one.

A request is queued with what is known of its like. Its own estimate is asked for at the same time, together with those of all
that came meanwhile, and takes the place of the first one as soon as it is there.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from lamps_jax.sched.estimates import HistoryPredictor, RememberedSegments, SeenSegment
from lamps_jax.sched.request import Request
from lamps_jax.sched.segments import PredictedSegment
from lamps_jax.train_predictor.lengths import POINT_ESTIMATES
from lamps_jax.train_predictor.predict import BATCH_SIZES, LengthPredictor

logger = logging.getLogger(__name__)

MOST_WAITING = 1024
"""Requests that wait for a prediction; beyond them, those that have waited longest go without."""

Report = Callable[[float, int], None]
"""Told the predicted and the actual tokens of a segment that is over."""


class _Asked(NamedTuple):
    """A request at the beginning of one of its segments, and all its tokens until there."""

    request_id: str
    position: int
    token_ids: list[int]


class LivePredictor:
    """Output lengths from a trained predictor, everything else from what requests of the same type did.

    The engine's thread calls all methods but `stop`.

    Args:
        lengths: The trained predictor, which from now on belongs to the thread.
        decode: Text of the served model's tokens; None where the predictor reads those tokens themselves.
        estimate: What becomes of a distribution, by name.
        wake_up: Called on the thread whenever estimates have arrived.
        report: Told what was predicted and what came.
    """

    def __init__(
        self,
        lengths: LengthPredictor,
        history: HistoryPredictor,
        *,
        decode: Callable[[list[int]], str] | None = None,
        estimate: str = "mean",
        wake_up: Callable[[], None] = lambda: None,
        report: Report = lambda predicted, actual: None,
    ):
        if estimate not in POINT_ESTIMATES:
            raise ValueError(f"there is no estimate {estimate!r}; known are {', '.join(POINT_ESTIMATES)}")
        if decode is not None and lengths.tokenizer is None:
            raise ValueError("a predictor that reads texts needs its tokenizer")
        self._lengths, self._history, self._decode = lengths, history, decode
        self._point, self._wake_up, self._report = POINT_ESTIMATES[estimate], wake_up, report
        self._known: dict[str, tuple[int, float]] = {}  # the segment that it is of, and its tokens
        self._asked: deque[_Asked] = deque(maxlen=MOST_WAITING)
        self._answered: deque[tuple[str, int, float]] = deque()
        self._changed, self._stopping = threading.Condition(), False
        self._thread = threading.Thread(target=self._run, name="length predictor", daemon=True)
        self._thread.start()

    def predict(self, request: Request) -> tuple[PredictedSegment, ...]:
        """What its type does, with its own length if that is known already; else that is asked for."""
        first, *rest = self._history.predict(request)
        position, tokens = self._known.get(request.request_id, (-1, 0.0))
        if position == request.num_calls:
            tokens = min(tokens, max(0.0, request.max_tokens_left))
            return PredictedSegment(tokens, first.api_duration_s, first.returned_tokens, first.handling), *rest
        with self._changed:
            self._asked.append(_Asked(request.request_id, request.num_calls, list(request.token_ids)))
            self._changed.notify()
        return first, *rest

    def observe(self, request: Request, segment: SeenSegment) -> None:
        """Takes in a segment that is over."""
        self._history.observe(request, segment)
        position, tokens = self._known.pop(request.request_id, (-1, 0.0))
        if position == segment.position:
            self._report(tokens, segment.output_tokens)

    def forget(self, request_id: str) -> None:
        """Drops what is known of a request that has ended."""
        self._known.pop(request_id, None)

    def remembered(self) -> list[RememberedSegments]:
        """All that was learned of types of requests."""
        return self._history.remembered()

    def restore(self, remembered: Iterable[RememberedSegments]) -> None:
        """Begins with what another predictor remembered."""
        self._history.restore(remembered)

    def arrived(self) -> list[str]:
        """The requests of which something was predicted since this was last asked; `predict` now says it."""
        request_ids = []
        while self._answered:
            request_id, position, tokens = self._answered.popleft()
            self._known[request_id] = (position, tokens)
            request_ids.append(request_id)
        return request_ids

    def stop(self) -> None:
        """Ends the thread."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._asked or self._stopping)
                if self._stopping:
                    return
                batch = [self._asked.popleft() for _ in range(min(len(self._asked), BATCH_SIZES[-1]))]
            try:
                tokens = self._point(self._lengths.bins, self._probabilities(batch))
            except Exception:  # a request without its own estimate is served all the same
                logger.exception("no lengths could be predicted for %d requests", len(batch))
                continue
            self._answered.extend(
                (asked.request_id, asked.position, float(most)) for asked, most in zip(batch, tokens, strict=True)
            )
            self._wake_up()

    def _probabilities(self, batch: list[_Asked]) -> Float[np.ndarray, "n bins"]:
        rows = [asked.token_ids for asked in batch]
        if self._decode is not None:
            assert self._lengths.tokenizer is not None
            rows = [self._lengths.tokenizer.encode_prompt(self._decode(row)) for row in rows]
        return self._lengths.probabilities(rows)
