import json
from pathlib import Path
from typing import Any

import pytest

from lamps_jax.serve.server_config import ServerConfig

KEY = "a-key-that-nobody-guesses"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"api_keys": (KEY, "short")}, "API key 2 of 2 must have 8 to 512 printable ASCII characters"),
        ({"api_keys": ("with a blank",)}, "no blanks, got 12 characters"),
        ({"metrics_key": "é" * 9}, "the key for the metrics"),
        ({"max_queue_len": -1}, "max_queue_len must be 0 (nobody waits) or more, or left out, got -1"),
        ({"max_concurrent_requests": 0}, "at least 1, or left out, got 0"),
        ({"max_priority": 101}, "max_priority must be between 0 (that of others) and 100, or left out, got 101"),
        ({"max_priority": -1}, "or left out, got -1"),
        ({"max_n": 0}, "max_n must be at least 1, or left out, got 0"),
        ({"requests_per_minute": 0.0}, "requests_per_minute must be positive, or left out, got 0.0"),
        ({"request_timeout_s": float("nan")}, "request_timeout_s must be positive, or left out, got nan"),
        ({"queue_timeout_s": float("inf")}, "queue_timeout_s must be positive"),
        ({"shutdown_timeout_s": -1.0}, "shutdown_timeout_s must be 0 (end at once) or more, got -1.0"),
        ({"log_level": "loud"}, "log_level must be one of debug, info, warning, error, got 'loud'"),
        ({"log_format": "xml"}, "log_format must be one of text, json, got 'xml'"),
        ({"metrics_aliases": ("vllm", "tgi")}, "metrics_aliases must be of vllm, sglang, got 'tgi'"),
        ({"otlp_endpoint": "collector:4318"}, "must be an http:// or https:// URL, got 'collector:4318'"),
    ],
)
def test_what_cannot_be_is_refused_with_the_value_but_without_the_keys(options: dict[str, Any], says: str):
    with pytest.raises(ValueError, match="must") as refused:
        ServerConfig(**options)
    assert says in str(refused.value)
    assert not any(key in str(refused.value) for key in ("short", "with a blank", KEY))


def test_secrets_show_neither_in_what_is_logged_nor_in_what_is_printed():
    config = ServerConfig(api_keys=(KEY, KEY[::-1]), metrics_key=KEY, api_key_file=Path("/run/keys"))
    shown = config.shown()
    assert (shown["api_keys"], shown["metrics_key"], shown["api_key_file"]) == ("2 given", "1 given", "/run/keys")
    for text in (json.dumps(shown), repr(config), str(config)):
        assert KEY not in text and KEY[::-1] not in text


def test_what_is_not_given_is_shown_as_none():
    shown = ServerConfig().shown()
    assert shown["api_keys"] is None and shown["metrics_key"] is None and shown["max_queue_len"] is None
