"""HTTP requests by where they went and how they ended."""

from prometheus_client import CollectorRegistry, Counter, Gauge

from lamps_jax.serve.account import Account

METHODS = ("GET", "HEAD", "POST")
ROUTES = (
    "/", "/health", "/live", "/metrics", "/version", "/web", "/openapi.json", "/tokenize", "/detokenize", "/v1/models",
    "/v1/completions", "/v1/chat/completions",
)  # fmt: skip
"""Paths that are told apart; what lies below one of them counts as it."""

OTHER = "other"

KNOWN_CODES = (
    "queue_full", "too_many_requests", "rate_limit_exceeded", "invalid_api_key", "foreign_origin", "draining", "shutting_down",
    "deadline_exceeded", "queue_timeout", "invalid_timeout",
)  # fmt: skip


class HttpMetrics:
    """Counts HTTP requests.

    Attributes:
        under_way: Those that are being answered.
    """

    def __init__(self, registry: CollectorRegistry):
        labels = ["method", "route", "status"]
        self._answers = Counter("lamps:http_requests", "HTTP requests that have been answered.", labels, registry=registry)
        self._refusals = Counter(
            "lamps:refused_requests", "Requests that were refused or given up, by why.", ["code"], registry=registry
        )
        self.under_way = Gauge("lamps:http_requests_under_way", "Requests of the API that are being answered.", registry=registry)
        for code in KNOWN_CODES:
            self._refusals.labels(code)

    def request_over(self, account: Account) -> None:
        """Counts a request whose answer has ended."""
        method = account.method if account.method in METHODS else OTHER
        self._answers.labels(method, route_of(account.path), str(account.status)).inc()
        if account.error_code in KNOWN_CODES:
            self._refusals.labels(account.error_code).inc()


def route_of(path: str) -> str:
    """The route that a path counts as; nobody shall be able to make up labels."""
    if path in ROUTES:
        return path
    return next((route for route in ROUTES if route != "/" and path.startswith(f"{route}/")), OTHER)
