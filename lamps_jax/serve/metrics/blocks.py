"""How long KV blocks of the device stay to be found again, and how long they lie until they are."""

from prometheus_client import CollectorRegistry

from lamps_jax.serve.metrics import buckets
from lamps_jax.serve.metrics.weighted import WeightedHistogram


class BlockMetrics:
    """Watches a tier; for the engine's thread."""

    def __init__(self, registry: CollectorRegistry):
        def histogram(name: str, what: str) -> WeightedHistogram:
            return WeightedHistogram(f"lamps:{name}", what, buckets=buckets.SECONDS, registry=registry)

        self.lifetimes = histogram("kv_block_lifetime_seconds", "How long evicted KV blocks could be found.")
        self.idle = histogram("kv_block_idle_before_evict_seconds", "How long nobody had held them by then.")
        self.gaps = histogram("kv_block_reuse_gap_seconds", "How long nobody had held KV blocks that were found again.")

    def reused(self, idle_s: float) -> None:
        """Counts a block that was found."""
        self.gaps.observe(idle_s)

    def evicted(self, lifetime_s: float, idle_s: float) -> None:
        """Counts a block that was given up."""
        self.lifetimes.observe(lifetime_s)
        self.idle.observe(idle_s)
