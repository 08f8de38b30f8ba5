"""Options of ``lamps-jax serve`` that concern those who ask, and not the model."""

from pathlib import Path
from typing import Annotated, Literal

import typer

ApiKeyOption = Annotated[
    list[str] | None,
    typer.Option(
        "--api-key",
        metavar="KEY",
        envvar="LAMPS_API_KEY",
        help="Serve only those who send KEY as 'Authorization: Bearer KEY'; may be given several times, in the variable with "
        "blanks between. What stands in a command line others on the machine can see: better use the variable, or a file.",
    ),
]
ApiKeyFileOption = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="More keys, one a line, or NAME:KEY; the log speaks of NAME. Read again at SIGHUP."),
]
MetricsKeyOption = Annotated[
    str | None,
    typer.Option(metavar="KEY", envvar="LAMPS_METRICS_KEY", help="Show /metrics only to those who send KEY; by default to all."),
]
AllowedOriginOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="ORIGIN",
        help="Serve web pages from ORIGIN (https://chat.example.org, or * for any) besides the server's own; may be given "
        "several times.",
    ),
]
MaxQueueLenOption = Annotated[
    int | None,
    typer.Option(help="Most requests that wait to be begun, beyond free places in the batch; more get 429. By default no limit."),
]
MaxConcurrentOption = Annotated[
    int | None, typer.Option(help="Most requests of the API under way at once; more get 429. By default no limit.")
]
RequestsPerMinuteOption = Annotated[
    float | None, typer.Option(help="Requests a minute for each key, or for all where there are none; more get 429.")
]
MaxPriorityOption = Annotated[
    int | None,
    typer.Option(
        help="Highest priority that a request may have; higher ones get 400. By default any, but 0 where several names have keys."
    ),
]
MaxNOption = Annotated[
    int | None, typer.Option("--max-n", help="Most replies to one prompt; requests for more get 400. By default 128.")
]
RequestTimeoutOption = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS",
        help="Give a request up, with 504, that has not ended so long after it arrived, its calls included. By default never; a "
        "request may set a shorter time by timeout_s or X-Request-Timeout-S.",
    ),
]
QueueTimeoutOption = Annotated[
    float | None,
    typer.Option(metavar="SECONDS", help="Give a request up, with 408, that has not been begun so long after it arrived."),
]
ShutdownTimeoutOption = Annotated[
    float,
    typer.Option(
        metavar="SECONDS",
        help="How long requests under way may go on after SIGTERM or SIGINT; new ones get 503. A second one ends them at once.",
    ),
]
ExitOnFailureOption = Annotated[
    bool,
    typer.Option("--exit-on-failure", help="End with status 1 when the engine has failed, instead of saying so at /health."),
]
LogFormatOption = Annotated[Literal["text", "json"], typer.Option(help="What is logged, on standard error: text, or JSON lines.")]
LogLevelOption = Annotated[
    Literal["debug", "info", "warning", "error"],
    typer.Option(help="The least that is logged; requests are at 'info', and the address is always."),
]
OtlpEndpointOption = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="Send a trace of each request to this OpenTelemetry collector (OTLP over HTTP); needs 'lamps-jax[otel]'. "
        "By default where OTEL_EXPORTER_OTLP_ENDPOINT says, if it does.",
    ),
]
MetricsAliasesOption = Annotated[
    str,
    typer.Option(metavar="NAMES", help="Whose names /metrics has beside its own: 'vllm', 'sglang', both with a comma, or ''."),
]
