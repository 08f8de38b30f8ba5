"""What the server logs: lines of text or JSON objects, one for each request that has ended, and never what is in it.

Neither prompts nor outputs, neither arguments nor results of calls, and no keys.
"""

import json
import logging
import platform
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import jax

import lamps_jax
from lamps_jax.config import EngineConfig
from lamps_jax.engine.events import RequestOutput
from lamps_jax.metrics import latencies
from lamps_jax.serve.account import Account
from lamps_jax.serve.server_config import ServerConfig

logger = logging.getLogger(__name__)
access_logger = logging.getLogger("lamps_jax.access")

QUIET_PATHS = ("/health", "/metrics", "/web/", "/live")
"""Who looks at these does so all the time: their lines are logged at the level debug."""

MAX_SHOWN_CHARS = 256
"""A path is shown no further."""


class TextFormatter(logging.Formatter):
    """Lines like ``2026-01-31T12:00:00.123Z INFO lamps_jax.access: POST /v1/completions 200 …``."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, with what `extra` gave as ``fields`` behind it."""
        fields = getattr(record, "fields", None)
        text = f"{_time_of(record)} {record.levelname} {record.name}: {record.getMessage()}"
        if fields:
            text += " " + " ".join(f"{name}={_plain(value)}" for name, value in fields.items() if value not in (None, "", []))
        return text + _trace_of(self, record)


class JsonFormatter(logging.Formatter):
    """One JSON object a record: time, level, logger, message, and what `extra` gave as ``fields``."""

    def format(self, record: logging.LogRecord) -> str:
        """The object, in one line."""
        shown: dict[str, Any] = {
            "time": _time_of(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if trace := _trace_of(self, record):
            shown["exception"] = trace.strip()
        return json.dumps(shown, default=str)


FORMATTERS: dict[str, type[logging.Formatter]] = {"text": TextFormatter, "json": JsonFormatter}


def configure_logging(config: ServerConfig) -> None:
    """Has this process log to standard error, as `config` says; what other libraries say, from warnings on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(FORMATTERS[config.log_format]())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)


def log_configuration(model: str, engine: EngineConfig, server: ServerConfig) -> None:
    """Logs with what the server begins, in one line."""
    fields = {
        "lamps_jax": lamps_jax.__version__,
        "jax": jax.__version__,
        "python": platform.python_version(),
        "model": model,
        "engine": asdict(engine),
        "server": server.shown(),
    }
    logger.info("configuration", extra={"fields": fields})


def log_access(account: Account) -> None:
    """Logs the line of a request that has ended."""
    level = logging.DEBUG if account.path.startswith(QUIET_PATHS) else logging.INFO
    if access_logger.isEnabledFor(level):
        path = account.path[:MAX_SHOWN_CHARS].encode("unicode_escape").decode("ascii")  # nobody shall write lines of their own
        message = f"{account.method} {path} {account.status or '-'}"
        access_logger.log(level, message, extra={"fields": access_fields(account)})


def access_fields(account: Account) -> dict[str, Any]:
    """What is told of a request: who, how long, how much, and what it called; nothing of what it said."""
    fields: dict[str, Any] = {
        "request_id": account.request_id,
        "method": account.method,
        "path": account.path[:MAX_SHOWN_CHARS],
        "status": account.status,
        "duration_s": None if account.ended_s is None else round(account.ended_s - account.arrival_s, 6),
        "key": account.key_name,
        "error": account.error_code,
    }
    outputs = account.outputs
    if outputs:
        fields |= {
            "session": account.session,
            "engine_ids": [output.request_id for output in outputs],
            "prompt_tokens": sum(output.num_prompt_tokens for output in outputs),
            "cached_tokens": sum(output.num_cached_prompt_tokens for output in outputs),
            "completion_tokens": sum(len(output.token_ids) for output in outputs),
            "finish_reasons": [output.finish_reason.value for output in outputs if output.finish_reason is not None],
            "timings": [_timings(output) for output in outputs],
            "calls": [_call(call) for output in outputs for call in output.calls],
        }
    return fields


def _timings(output: RequestOutput) -> dict[str, float | None]:
    times = output.timestamps
    queue_s = None if times.scheduled_s is None else round(times.scheduled_s - times.arrival_s, 6)
    return {"queue_s": queue_s, **latencies(times, len(output.token_ids)).as_dict()}


def _call(call: Any) -> dict[str, Any]:
    shown = call.as_dict()
    return {name: shown[name] for name in ("name", "duration_s", "handling", "failed")}


def _plain(value: Any) -> str:
    is_plain = isinstance(value, str) and value.isprintable() and " " not in value
    return value if is_plain else json.dumps(value, default=str, separators=(",", ":"))


def _time_of(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _trace_of(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    parts = [formatter.formatException(record.exc_info)] if record.exc_info else []
    parts += [formatter.formatStack(record.stack_info)] if record.stack_info else []
    return "".join(f"\n{part}" for part in parts)
