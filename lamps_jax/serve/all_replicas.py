"""What several replicas say of themselves, as one."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from lamps_jax.serve.asgi_call import Answer
from lamps_jax.serve.protocol import RequestError

LABEL = "replica"

_JSON = [(b"content-type", b"application/json")]


def error_answer(error: RequestError) -> Answer:
    """An error as the OpenAI API shows it."""
    return Answer(error.status, _JSON, json.dumps(error.body()).encode())


def all_health(answers: Mapping[str, Answer]) -> Answer:
    """Ready if one replica is: what ``/health`` says of each, and the sum of their KV memory; else what one of them says."""
    well = {name: json.loads(answer.body) for name, answer in sorted(answers.items()) if answer.status == 200}
    if not well:
        return next(iter(answers.values()), _NOBODY)
    kv = Counter[str]()
    for health in well.values():
        kv.update({name: value for name, value in health.get("kv", {}).items() if isinstance(value, int | float)})
    return Answer(200, _JSON, json.dumps({"status": "ok", "kv": dict(kv), "replicas": well}).encode())


def all_metrics(answers: Mapping[str, Answer]) -> Answer:
    """``/metrics`` of each replica, every sample with a label that names it; if one refuses, its refusal."""
    if not answers:
        return _NOBODY
    if refused := next((answer for answer in answers.values() if answer.status != 200), None):
        return refused
    merged: dict[str, Metric] = {}
    for name, answer in sorted(answers.items()):
        for family in text_string_to_metric_families(answer.body.decode()):
            metric = merged.setdefault(family.name, Metric(family.name, family.documentation, family.type, family.unit))
            metric.samples += [sample._replace(labels={LABEL: name, **sample.labels}) for sample in family.samples]
    registry = CollectorRegistry()
    registry.register(_Merged(merged.values()))
    headers = [(name, value) for name, value in next(iter(answers.values())).headers if name == b"content-type"]
    return Answer(200, headers, generate_latest(registry))


_NOBODY = error_answer(RequestError("no replica is ready; try again soon", status=503, code="loading"))


class _Merged(Collector):
    def __init__(self, metrics: Iterable[Metric]):
        self._metrics = list(metrics)

    def collect(self) -> Iterable[Metric]:
        return self._metrics
