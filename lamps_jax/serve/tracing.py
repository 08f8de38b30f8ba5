"""Traces for OpenTelemetry, made of a request's timestamps once it has ended: nothing is done for them before."""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lamps_jax.engine.events import ApiCall, RequestOutput
from lamps_jax.sched.request import FinishReason
from lamps_jax.serve.account import Account

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import SpanProcessor

ENVIRONMENT = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")

Attributes = Mapping[str, str | int | float | bool | list[str]]


class Tracer:
    """Makes a span of each request, below whatever traceparent it came with, and in it spans of what it went through.

    ``queue`` until its first step, ``prefill`` until its first token, ``decode`` while it samples, ``tool`` for each call, and
    ``resume`` from a call's return to the next token, which is when KV is swapped in or computed again.

    Args:
        processor: Takes the spans that have ended.

    Raises:
        ImportError: If the SDK of OpenTelemetry is not installed.
    """

    def __init__(self, processor: "SpanProcessor", *, model_name: str):
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        named = {} if os.environ.get("OTEL_SERVICE_NAME") else {"service.name": "lamps-jax"}
        self._provider = TracerProvider(resource=Resource.create(named), shutdown_on_exit=False)
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("lamps_jax")
        self._propagator, self._model_name = TraceContextTextMapPropagator(), model_name

    def report(self, account: Account) -> None:
        """Traces a request that has ended, if it was for work of the model."""
        if not account.is_generation or account.ended_s is None:
            return
        from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context

        offset_s = account.arrival_unix_s - account.arrival_s
        span = self._tracer.start_span(
            f"{account.method} {account.path[:64]}",
            context=self._propagator.extract(account.trace_headers),
            kind=SpanKind.SERVER,
            attributes=dict(_request_attributes(account, self._model_name)),
            start_time=_nanoseconds(account.arrival_unix_s),
        )
        if account.status >= 500 or account.error_code is not None:
            span.set_status(Status(StatusCode.ERROR, account.error_code))
        context = set_span_in_context(span)
        for output in account.outputs:
            self._trace_output(output, context, offset_s)
        span.end(_nanoseconds(account.ended_s + offset_s))

    def stop(self) -> None:
        """Sends what has not been sent; a second time does nothing."""
        self._provider.shutdown()

    def _trace_output(self, output: RequestOutput, context: "Context", offset_s: float) -> None:
        for name, start_s, end_s, attributes in spans_of(output):
            span = self._tracer.start_span(
                name,
                context=context,
                attributes={"lamps.request_id": output.request_id, **attributes},
                start_time=_nanoseconds(start_s + offset_s),
            )
            span.end(_nanoseconds(max(start_s, end_s) + offset_s))


def tracer_for(endpoint: str | None, *, model_name: str) -> Tracer | None:
    """A tracer that sends to `endpoint`, or where the environment says; None if neither says anything.

    Raises:
        ValueError: If OpenTelemetry is not installed.
    """
    if endpoint is None and not any(os.environ.get(name) for name in ENVIRONMENT):
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise ValueError("traces need OpenTelemetry: pip install 'lamps-jax[otel]', or give no OTLP endpoint") from error
    url = None if endpoint is None else f"{endpoint.rstrip('/').removesuffix('/v1/traces')}/v1/traces"
    return Tracer(BatchSpanProcessor(OTLPSpanExporter(endpoint=url)), model_name=model_name)


def spans_of(output: RequestOutput) -> list[tuple[str, float, float, dict[str, Any]]]:
    """Name, start, end and attributes of each stretch of a request that has ended, on the engine's clock, in their order."""
    times = output.timestamps
    end_s = times.arrival_s if times.finished_s is None else times.finished_s
    begun: list[tuple[str, float, dict[str, Any]]] = [("queue", times.arrival_s, {})]
    if times.scheduled_s is not None:
        begun.append(("prefill", times.scheduled_s, {"lamps.cached_tokens": output.num_cached_prompt_tokens}))
    if times.first_token_s is not None:
        begun.append(("decode", times.first_token_s, {}))
    for call in output.calls:
        if call.returned_s is None and output.finish_reason is FinishReason.TOOL_CALLS:
            continue  # the client runs it: it is not part of this request
        begun.append(("tool", call.called_s, _call_attributes(call)))
        if call.returned_s is not None:
            begun.append(("resume", call.returned_s, _handling(call)))
        if call.resumed_s is not None:
            begun.append(("decode", call.resumed_s, {}))
    ends_s = [start_s for _, start_s, _ in begun[1:]] + [end_s]
    return [(name, start_s, until_s, given) for (name, start_s, given), until_s in zip(begun, ends_s, strict=True)]


def _call_attributes(call: ApiCall) -> dict[str, Any]:
    return {"gen_ai.tool.name": call.name, "gen_ai.tool.call.id": call.call_id, "lamps.failed": call.failed, **_handling(call)}


def _handling(call: ApiCall) -> dict[str, Any]:
    return {} if call.handling is None else {"lamps.handling": call.handling.value}


def _request_attributes(account: Account, model_name: str) -> Attributes:
    outputs = account.outputs
    attributes: dict[str, Any] = {
        "http.request.method": account.method,
        "url.path": account.path[:256],
        "http.response.status_code": account.status,
        "lamps.http_request_id": account.request_id,
        "gen_ai.request.model": model_name,
        "gen_ai.usage.input_tokens": sum(output.num_prompt_tokens for output in outputs),
        "gen_ai.usage.output_tokens": sum(len(output.token_ids) for output in outputs),
        "lamps.cached_tokens": sum(output.num_cached_prompt_tokens for output in outputs),
        "gen_ai.response.finish_reasons": [each.finish_reason.value for each in outputs if each.finish_reason is not None],
    }
    if account.session:
        attributes["lamps.session"] = account.session
    if account.error_code is not None:
        attributes["error.type"] = account.error_code
    return attributes


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)
