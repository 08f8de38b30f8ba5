"""Reads what ``/metrics`` shows with Prometheus's own parser."""

from fastapi import FastAPI
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from tests.serve.test_app import send


def families(text: str) -> dict[str, Metric]:
    """Each family by the name under which its type is told."""
    return {family.name: family for family in text_string_to_metric_families(text)}


def samples(text: str) -> dict[str, float]:
    """Each sample by its name and the values of its labels, but for ``model_name``."""
    return {
        " ".join([sample.name, *(value for name, value in sample.labels.items() if name != "model_name")]): sample.value
        for family in families(text).values()
        for sample in family.samples
    }


def scraped(app: FastAPI) -> str:
    """What an application shows."""
    response = send(app, "GET", "/metrics")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    return response.text
