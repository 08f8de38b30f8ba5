import random

from prometheus_client import CollectorRegistry, Histogram, generate_latest

from lamps_jax.serve.metrics.weighted import WeightedHistogram
from tests.serve.metrics.scrape import families


def test_it_shows_what_prometheus_own_histogram_would_of_the_same_values():
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    weighted = WeightedHistogram("x", "What.", buckets=(0.5, 1.0, 2.5), registry=ours)
    plain = Histogram("x", "What.", buckets=(0.5, 1.0, 2.5), registry=theirs)
    rng = random.Random(0)
    for _ in range(50):
        value, count = rng.choice([0.25, 0.5, 0.75, 1.0, 2.0, 2.5, 4.0]), rng.randrange(4)
        weighted.observe(value, count)
        for _ in range(count):
            plain.observe(value)

    def shown(registry: CollectorRegistry) -> list[tuple[str, dict[str, str], float]]:
        (family,) = [each for name, each in families(generate_latest(registry).decode()).items() if name == "x"]
        assert family.type == "histogram"
        return [(sample.name, sample.labels, sample.value) for sample in family.samples if sample.name != "x_created"]

    assert shown(ours) == shown(theirs)
