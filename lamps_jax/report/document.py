"""The results document: what `simulate` and `bench` write, and what every table and figure is made from."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from lamps_jax.report.machine import commit, host

Kind = Literal["simulate", "bench"]
State = Literal["waiting", "prefill", "decode", "call-preserve", "call-discard", "call-swap", "swapping in"]
Count = Annotated[int, Field(ge=0)]
Amount = Annotated[float, Field(ge=0)]


class Record(BaseModel):
    """Part of a document. Fields that are not named here are kept, and read by nobody."""

    model_config = ConfigDict(frozen=True, strict=True, extra="allow", allow_inf_nan=False)


class Spread(Record):
    """How a quantity is spread over requests or steps; null where there were none."""

    mean: float | None = None
    p50: float | None = None
    p90: float | None = None
    p99: float | None = None


class AllArrivals(Record):
    """Latencies over every arrival. One that did not finish counts up to the end of the window: these are lower bounds."""

    e2e_s: Spread | None = None
    ttft_s: Spread | None = None


class TypeResults(Record):
    """What became of the requests of one type; latencies are of those that finished."""

    arrived: Count
    finished: Count
    e2e_s: Spread | None = None
    ttft_s: Spread | None = None


class Waste(Record):
    """Token-seconds of KV held without computing, by cause."""

    preserved: Amount
    recomputed: Amount
    swapped: Amount


class Samples(Record):
    """A latency of each finished request."""

    e2e_s: list[Amount] = Field(default_factory=list)
    ttft_s: list[Amount] = Field(default_factory=list)


def _same_length(record: Record, names: Iterable[str]) -> None:
    lengths = {name: len(getattr(record, name)) for name in names}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"lists must have one value per time, but have {lengths}")


class Occupancy(Record):
    """KV tokens over time, by what they are held for; `host` is the host's tier, the others add up to the device's pool."""

    time_s: list[float]
    computing: list[Amount]
    preserved: list[Amount]
    cached: list[Amount]
    free: list[Amount]
    host: list[Amount]

    @model_validator(mode="after")
    def _check(self) -> Self:
        _same_length(self, type(self).model_fields)
        return self


class RunningMean(Record):
    """The mean E2E latency of the requests finished so far, over time."""

    time_s: list[float]
    mean_s: list[float | None]

    @model_validator(mode="after")
    def _check(self) -> Self:
        _same_length(self, type(self).model_fields)
        return self


class RequestTimeline(Record):
    """What a request went through, as ``(state, start_s, end_s)``."""

    request: int | str
    type: str = ""
    arrival_s: float
    spans: list[tuple[State, float, float]]


class Slowdowns(Record):
    """How many times longer some requests took than they would have alone.

    Attributes:
        isolated_s: What they would have taken.
        slowdown: Of those that finished; null if none did.
    """

    arrived: Count
    finished: Count
    isolated_s: Spread | None
    slowdown: Spread | None


class Run(Record):
    """One system on one workload at one rate with one seed.

    Attributes:
        kind: Set where runs of several kinds were merged; the document's otherwise.
        label: What tables and figures call the system; the policy's name if empty.
        rate_rps: Requests per second offered; null if all came at once.
        window_s: End of the measurement; null if there was none.
        drained: Whether everything that arrived was served to its end.
        e2e_s: Of finished requests, as are the other latencies.
        window_throughput_rps: What finished within the window, also where the run was drained.
        slowdown_by_decile: Of the tenths of requests by how long they take alone, the shortest first.
        pool_tokens: KV tokens that the device has room for.
        simulated_s: How long the run took on its own clock.
        options: What differs from the defaults.
    """

    kind: Kind | None = None
    policy: str
    label: str = ""
    workload: str
    model: str
    hardware: str
    rate_rps: Annotated[float, Field(gt=0)] | None
    seed: int
    window_s: float | None = None
    drained: bool = False
    arrived: Count
    finished: Count
    refused: Count = 0
    e2e_s: Spread | None
    service_s: Spread | None = None
    ttft_s: Spread | None
    tpot_s: Spread | None = None
    itl_s: Spread | None = None
    all_arrivals: AllArrivals | None = None
    by_type: dict[str, TypeResults] = Field(default_factory=dict)
    throughput_rps: Amount | None = None
    window_throughput_rps: Amount | None = None
    slowdown: Spread | None = None
    slowdown_by_type: dict[str, Slowdowns] = Field(default_factory=dict)
    slowdown_by_decile: list[Slowdowns] = Field(default_factory=list)
    goodput_rps: Amount | None = None
    tokens_per_s: Amount | None = None
    waste_token_s: Waste | None = None
    pool_tokens: Annotated[float, Field(gt=0)] | None = None
    preemptions: Count | None = None
    simulated_s: Amount | None = None
    step_s: Spread | None = None
    schedule_s: Spread | None = None
    options: dict[str, Any] = Field(default_factory=dict)
    latencies: Samples | None = None
    occupancy: Occupancy | None = None
    running_mean_e2e: RunningMean | None = None
    timeline: list[RequestTimeline] | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.finished + self.refused > self.arrived:
            raise ValueError(f"{self.finished} finished and {self.refused} refused are more than the {self.arrived} that arrived")
        return self

    @property
    def name(self) -> str:
        """What the system is called."""
        return self.label or self.policy

    @property
    def unfinished(self) -> int:
        """Requests that arrived, and had not finished at the end; those refused are not among them."""
        return self.arrived - self.finished - self.refused


class Document(Record):
    """Runs, and where they come from. `machine` and `commit` are null where merged documents differ: runs tell then."""

    schema_version: Literal[1] = Field(default=1, alias="schema")
    kind: Kind
    machine: dict[str, Any] | None
    commit: str | None
    runs: list[Run]


def new_document(kind: Kind, runs: Sequence[Mapping[str, Any]], machine: Mapping[str, Any] | None = None) -> Document:
    """A checked document of what this machine has just run; `machine` adds facts, as of an accelerator, to the host's.

    Raises:
        ValueError: If a run does not follow the schema.
    """
    facts = {**host(), **(machine or {})}
    return parse({"schema": 1, "kind": kind, "machine": facts, "commit": commit() or "unknown", "runs": list(runs)})


def parse(document: Mapping[str, Any] | str, source: str = "results document") -> Document:
    """A document that follows the schema, from a dictionary or from JSON.

    Raises:
        ValueError: If it does not follow it; the message names the source and the first field that is wrong.
    """
    try:
        text = document if isinstance(document, str) else json.dumps(document, allow_nan=False)
        return Document.model_validate_json(text)
    except ValidationError as error:
        wrong = error.errors(include_url=False)
        first, field = wrong[0], ".".join(str(part) for part in wrong[0]["loc"]) or "the whole"
        got = (
            "" if isinstance(first["input"], dict | list | str) and len(str(first["input"])) > 80 else f", got {first['input']!r}"
        )
        more = f" ({len(wrong) - 1} more are wrong)" if len(wrong) > 1 else ""
        raise ValueError(
            f"{source}: {field}: {first['msg']}{got}{more}; `lamps-jax simulate` and `bench` write documents of schema 1"
        ) from None
    except (TypeError, ValueError) as error:
        raise ValueError(f"{source}: no JSON can be made of it: {error}; use plain finite numbers, strings and lists") from None


def read_document(path: Path) -> Document:
    """The document in a file.

    Raises:
        ValueError: If the file cannot be read or does not follow the schema; the message names file and field.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ValueError(f"{path} cannot be read: {reason}; name a results.json that `simulate` or `bench` wrote") from None
    return parse(text, str(path))


def write_document(path: Path, document: Document) -> None:
    """Writes a document, a run a line, so that two documents are compared run by run."""
    save(path, document.model_dump(mode="json", by_alias=True, exclude_unset=True), one_line=("runs",))


def save(path: Path, document: Mapping[str, Any], one_line: Sequence[str] = ()) -> None:
    """Writes any JSON document, the items of the lists named by `one_line` each on one line; makes the directory if need be.

    Raises:
        ValueError: If a number is not finite.
    """
    parts = []
    for name, value in document.items():
        if name in one_line and value:
            items = ",\n  ".join(json.dumps(item, allow_nan=False) for item in value)
            parts.append(f" {json.dumps(name)}: [\n  {items}\n ]")
        else:
            lines = json.dumps(value, indent=1, allow_nan=False).replace("\n", "\n ")
            parts.append(f" {json.dumps(name)}: {lines}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="utf-8")


def merge_documents(documents: Sequence[Document]) -> Document:
    """All runs in one document; where kinds, machines or commits differ, each run carries its own.

    Raises:
        ValueError: If there is no document.
    """
    if not documents:
        raise ValueError("no results document to merge; name at least one")
    shared = {name: _the_same([getattr(document, name) for document in documents]) for name in ("kind", "machine", "commit")}
    runs: list[dict[str, Any]] = []
    for document in documents:
        own = {name: getattr(document, name) for name, value in shared.items() if value is None}
        runs += [own | run.model_dump(mode="json", exclude_unset=True) for run in document.runs]
    # A document needs a kind of its own; runs that differ from it say so themselves.
    shared["kind"] = shared["kind"] or documents[0].kind
    return parse({"schema": 1, **shared, "runs": runs}, "merged documents")


_T = TypeVar("_T")


def _the_same(values: Sequence[_T]) -> _T | None:
    return values[0] if all(value == values[0] for value in values) else None


def read_documents(paths: Sequence[Path]) -> Document:
    """The documents of several files as one.

    Raises:
        ValueError: As `read_document` and `merge_documents` do.
    """
    return merge_documents([read_document(path) for path in paths])
