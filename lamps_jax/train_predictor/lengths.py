"""Output lengths as classes: bins of one width, and what a distribution over them says in one number."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

TAIL = 0.1
"""Share of the distribution that `tail_inflated` takes for its tail."""


@dataclass(frozen=True, slots=True)
class Bins:
    """Classes of output lengths: `count` bins of `width_tokens`, of which the last takes all that is longer.

    The default values in the paper are 50 bins of 10 tokens.

    Raises:
        ValueError: If there are fewer than two bins, or they are empty.
    """

    width_tokens: int = 10
    count: int = 50

    def __post_init__(self) -> None:
        if self.width_tokens < 1:
            raise ValueError(f"bin_width_tokens must be at least 1, got {self.width_tokens}")
        if self.count < 2:
            raise ValueError(f"num_bins must be at least 2, got {self.count}")

    @property
    def limit_tokens(self) -> int:
        """The first length that is clamped into the last bin though it lies beyond its width."""
        return self.width_tokens * self.count

    @property
    def centres(self) -> Float[np.ndarray, " bins"]:
        """The length that stands for each bin, in tokens.

        Source: the code released with the paper, ten times the bin and five.
        """
        return (np.arange(self.count) + 0.5) * self.width_tokens

    def labels(self, lengths: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
        """The bin of each length."""
        return np.minimum(np.asarray(lengths) // self.width_tokens, self.count - 1)

    def clamped(self, lengths: Int[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
        """Which lengths the bins do not cover."""
        return np.asarray(lengths) >= self.limit_tokens


def mode(bins: Bins, probabilities: Float[np.ndarray, "n bins"]) -> Float[np.ndarray, " n"]:
    """The centre of the likeliest bin: the paper's estimate."""
    return bins.centres[probabilities.argmax(-1)]


def mean(bins: Bins, probabilities: Float[np.ndarray, "n bins"]) -> Float[np.ndarray, " n"]:
    """The expected length."""
    return probabilities @ bins.centres


def quantile(bins: Bins, probabilities: Float[np.ndarray, "n bins"], q: float) -> Float[np.ndarray, " n"]:
    """The length below which a share `q` lies, linear within a bin."""
    ends = probabilities.cumsum(-1)
    at = np.minimum((ends < q).sum(-1), bins.count - 1)
    rows = np.arange(len(probabilities))
    inside = probabilities[rows, at]
    begins = ends[rows, at] - inside
    return (at + np.clip((q - begins) / np.maximum(inside, 1e-12), 0.0, 1.0)) * bins.width_tokens


def median(bins: Bins, probabilities: Float[np.ndarray, "n bins"]) -> Float[np.ndarray, " n"]:
    """The length that as much of the distribution lies below as above."""
    return quantile(bins, probabilities, 0.5)


def tail_inflated(bins: Bins, probabilities: Float[np.ndarray, "n bins"]) -> Float[np.ndarray, " n"]:
    """Half the expected length and half that of the longest tenth of the distribution: who may be very long counts as longer.

    Source: the idea of TIE (2026), which orders by a tail-inflated expectation; the weights are ours.
    """
    beyond = probabilities[:, ::-1].cumsum(-1)[:, ::-1] - probabilities  # what lies above each bin
    in_tail = np.clip(TAIL - beyond, 0.0, probabilities)
    return 0.5 * mean(bins, probabilities) + 0.5 * (in_tail @ bins.centres) / np.maximum(in_tail.sum(-1), 1e-12)


POINT_ESTIMATES: dict[str, Callable[[Bins, Float[np.ndarray, "n bins"]], Float[np.ndarray, " n"]]] = {
    "mode": mode,
    "mean": mean,
    "median": median,
    "tail-inflated": tail_inflated,
}
"""One number for a distribution, by name."""
