"""A histogram that takes many equal values at once: one step yields as many gaps between tokens as requests run."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector


class WeightedHistogram(Collector):
    """Counts values in buckets; one thread observes, any collects."""

    def __init__(self, name: str, what: str, *, buckets: Sequence[float], registry: CollectorRegistry):
        self._name, self._what, self._limits = name, what, tuple(buckets)
        self._counts, self._sum = [0] * (len(self._limits) + 1), 0.0
        registry.register(self)

    def observe(self, value: float, count: int = 1) -> None:
        """Counts a value, so many times."""
        self._counts[bisect_left(self._limits, value)] += count
        self._sum += value * count

    def collect(self) -> Iterable[Metric]:
        """The histogram as it is."""
        family = HistogramMetricFamily(self._name, self._what)
        limits = [*map(float, self._limits), float("inf")]
        totals = accumulate(self._counts)
        buckets = [(_shown(limit), total) for limit, total in zip(limits, totals, strict=True)]
        family.add_metric([], buckets, self._sum)
        yield family


def _shown(limit: float) -> str:
    return "+Inf" if limit == float("inf") else repr(limit)
