import json

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from lamps_jax.serve.all_replicas import all_health, all_metrics
from lamps_jax.serve.asgi_call import Answer

REFUSED = Answer(401, [], b'{"error": {}}')


def health(**kv: int) -> Answer:
    return Answer(200, [], json.dumps({"status": "ok", "kv": kv}).encode())


def metrics(running: int, served: int) -> Answer:
    registry = CollectorRegistry()
    Gauge("lamps:running", "Requests.", registry=registry).set(running)
    Counter("lamps:served", "Requests.", ["how"], registry=registry).labels("well").inc(served)
    Histogram("lamps:seconds", "Durations.", buckets=(1.0,), registry=registry).observe(served)
    return Answer(200, [(b"content-type", b"text/plain; version=0.0.4"), (b"content-length", b"3")], generate_latest(registry))


def test_health_is_that_of_each_replica_and_the_sum():
    answer = all_health({"b": health(free=2, held=1), "a": health(free=3, held=0), "c": Answer(503, [], b"")})
    body = json.loads(answer.body)
    assert (answer.status, body["status"], body["kv"]) == (200, "ok", {"free": 5, "held": 1})
    assert list(body["replicas"]) == ["a", "b"]


def test_without_a_healthy_replica_health_says_why():
    assert all_health({"a": REFUSED}) == REFUSED
    nobody = all_health({})
    assert (nobody.status, json.loads(nobody.body)["error"]["code"]) == (503, "loading")


def test_every_sample_names_its_replica_and_each_family_comes_once():
    answer = all_metrics({"b": metrics(1, 7), "a": metrics(2, 5)})
    assert (answer.status, answer.headers) == (200, [(b"content-type", b"text/plain; version=0.0.4")])
    text = answer.body.decode()
    assert text.count("# TYPE lamps:running gauge") == text.count("# TYPE lamps:seconds histogram") == 1
    samples = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert samples["lamps:running", ("replica", "a")] == 2
    assert samples["lamps:running", ("replica", "b")] == 1
    assert samples["lamps:served_total", ("how", "well"), ("replica", "a")] == 5
    assert samples["lamps:seconds_bucket", ("le", "1.0"), ("replica", "b")] == 0
    assert samples["lamps:seconds_sum", ("replica", "b")] == 7


def test_metrics_that_are_refused_stay_refused():
    assert all_metrics({"a": metrics(1, 1), "b": REFUSED}) == REFUSED
    assert all_metrics({}).status == 503
