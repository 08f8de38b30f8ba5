"""What ``/metrics`` shows, in Prometheus's text format: our own names begin with ``lamps:``, others' are told beside them."""

from lamps_jax.serve.metrics.server_metrics import CONTENT_TYPE, ServerMetrics

__all__ = ["CONTENT_TYPE", "ServerMetrics"]
