"""How the server deals with those who ask: who may, how many, for how long, and what is told of it."""

import math
import re
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

KEY_PATTERN = re.compile(r"[\x21-\x7e]{8,512}")
"""What a key may be: it has to travel in a header, and not be guessed."""

ORIGIN_PATTERN = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#@\s]+")
"""How browsers write where a page is from."""

ANY_ORIGIN = "*"

METRICS_ALIASES = ("vllm", "sglang")
LOG_FORMATS = ("text", "json")
LOG_LEVELS = ("debug", "info", "warning", "error")

_SECRETS = ("api_keys", "metrics_key")


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """Options of the server that do not concern the model. A limit that is None is none.

    Attributes:
        api_keys: Those who send one of them are served; with none, here and in `api_key_file`, everybody is.
        api_key_file: More of them, one a line, or ``name:key``; read again at SIGHUP.
        metrics_key: Needed for ``/metrics``, which is open otherwise.
        allowed_origins: Of web pages that may use the server beside its own; ``*`` for all.
        max_queue_len: Requests that may wait to be begun, beyond those for which there is a place in the batch.
        max_concurrent_requests: Requests of the API under way at once, from their heads to the ends of their answers.
        requests_per_minute: For each key, or for all together where there are no keys.
        max_priority: Highest priority that a request may have; None for any, but where several names have keys 0: then no client
            may go before another's unless the operator lets it.
        max_n: Most replies to one prompt that a request may ask for; None for as many as there can be.
        request_timeout_s: From a request's arrival to its end, calls included.
        queue_timeout_s: From a request's arrival to its first step.
        shutdown_timeout_s: How long requests that are under way may go on once the server is told to end.
        exit_on_failure: Whether the process ends when the engine has failed, or stays to say so.
        log_level: The least that is logged.
        log_format: ``json`` for one object a line.
        otlp_endpoint: Where traces are sent to; None leaves it to OTEL_EXPORTER_OTLP_ENDPOINT.
        metrics_aliases: Whose names of metrics are told beside our own.
    """

    api_keys: tuple[str, ...] = field(default=(), repr=False)
    api_key_file: Path | None = None
    metrics_key: str | None = field(default=None, repr=False)
    allowed_origins: tuple[str, ...] = ()
    max_queue_len: int | None = None
    max_concurrent_requests: int | None = None
    requests_per_minute: float | None = None
    max_priority: int | None = None
    max_n: int | None = None
    request_timeout_s: float | None = None
    queue_timeout_s: float | None = None
    shutdown_timeout_s: float = 30.0
    exit_on_failure: bool = False
    log_level: str = "info"
    log_format: str = "text"
    otlp_endpoint: str | None = None
    metrics_aliases: tuple[str, ...] = ("vllm",)

    def __post_init__(self) -> None:
        for number, key in enumerate(self.api_keys, start=1):
            check_key(key, f"API key {number} of {len(self.api_keys)}")
        if self.metrics_key is not None:
            check_key(self.metrics_key, "the key for the metrics")
        for origin in self.allowed_origins:
            if origin != ANY_ORIGIN and not ORIGIN_PATTERN.fullmatch(origin):
                raise ValueError(f"allowed_origins must be like https://chat.example.org, or *, got {origin!r}")
        if self.max_queue_len is not None and self.max_queue_len < 0:
            raise ValueError(f"max_queue_len must be 0 (nobody waits) or more, or left out, got {self.max_queue_len}")
        if self.max_concurrent_requests is not None and self.max_concurrent_requests < 1:
            raise ValueError(f"max_concurrent_requests must be at least 1, or left out, got {self.max_concurrent_requests}")
        if self.max_priority is not None and not 0 <= self.max_priority <= 100:
            raise ValueError(f"max_priority must be between 0 (that of others) and 100, or left out, got {self.max_priority}")
        if self.max_n is not None and self.max_n < 1:
            raise ValueError(f"max_n must be at least 1, or left out, got {self.max_n}")
        for name in ("requests_per_minute", "request_timeout_s", "queue_timeout_s"):
            if (value := getattr(self, name)) is not None and not 0.0 < value < math.inf:
                raise ValueError(f"{name} must be positive, or left out, got {value}")
        if not 0.0 <= self.shutdown_timeout_s < math.inf:
            raise ValueError(f"shutdown_timeout_s must be 0 (end at once) or more, got {self.shutdown_timeout_s}")
        for name, known in (("log_level", LOG_LEVELS), ("log_format", LOG_FORMATS)):
            if (value := getattr(self, name)) not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r}")
        if unknown := [alias for alias in self.metrics_aliases if alias not in METRICS_ALIASES]:
            raise ValueError(f"metrics_aliases must be of {', '.join(METRICS_ALIASES)}, got {unknown[0]!r}")
        if self.otlp_endpoint is not None and not self.otlp_endpoint.startswith(("http://", "https://")):
            raise ValueError(f"otlp_endpoint must be an http:// or https:// URL, got {self.otlp_endpoint!r}")

    def shown(self) -> dict[str, Any]:
        """The options by name, in values that JSON knows; of secrets only how many there are."""
        shown: dict[str, Any] = {}
        for each in fields(self):
            value = getattr(self, each.name)
            if each.name in _SECRETS:
                given = value if isinstance(value, tuple) else [value] * (value is not None)
                value = f"{len(given)} given" if given else None
            elif isinstance(value, Path):
                value = str(value)
            shown[each.name] = value
        return shown


DEFAULT_SERVER = ServerConfig()
"""Everybody is served, with no limits."""


def check_key(key: str, what: str) -> None:
    """Passes what can be a key; the message does not hold it.

    Raises:
        ValueError: If it cannot be one.
    """
    if not KEY_PATTERN.fullmatch(key):
        raise ValueError(
            f"{what} must have 8 to 512 printable ASCII characters and no blanks, got {len(key)} characters; "
            "make one with: python -c 'import secrets; print(secrets.token_urlsafe(32))'"
        )
