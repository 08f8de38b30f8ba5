"""All checks in their order, and the document that they make."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from lamps_jax.config import EngineConfig
from lamps_jax.doctor import machine, rates
from lamps_jax.doctor.check import Check, Status, failed, guarded
from lamps_jax.doctor.reference import check_reference, read_reference
from lamps_jax.doctor.served_model import Progress, ServedModel
from lamps_jax.report.machine import commit as source_commit

SCHEMA = 1

COLOURS = {Status.PASS: "green", Status.WARN: "yellow", Status.FAIL: "red"}


def examine(
    directory: Path,
    config: EngineConfig,
    *,
    reference: Path | None = None,
    progress: Progress = lambda what, done, total: None,
    on_check: Callable[[Check], None] = lambda check: None,
) -> dict[str, Any]:
    """Looks at the machine, and at the model in `directory` as `config` would serve it; `on_check` hears of each finding at once.

    Args:
        reference: File to compare logits with, or to write them to if it does not exist.

    Raises:
        CheckpointError: If there is no model that is known in `directory`.
        ReferenceFileError: If `reference` is a file that nothing can be compared with.
    """
    served = ServedModel(directory, config, progress)
    stored = read_reference(reference) if reference is not None and reference.exists() else None
    checks: list[Check] = []

    def note(found: Iterator[Check]) -> None:
        for check in found:
            checks.append(check)
            on_check(check)

    note(_machine_checks(config))
    note(_model_checks(served))
    if reference is not None:
        compare = check_reference(reference, stored, progress=lambda done, total: progress("computing logits", done, total))
        try:
            note(compare)
        except Exception as error:
            note(iter([failed("reference", error)]))
    document = {"schema": SCHEMA, "machine": machine.machine(), "versions": machine.versions()}
    if commit := source_commit():
        document["commit"] = commit
    return document | {"profile": served.profile(), "checks": [check.as_dict() for check in checks]}


def exit_status(document: dict[str, Any]) -> int:
    """1 if anything failed, else 0."""
    return int(any(check["status"] == Status.FAIL.value for check in document["checks"]))


def show(check: Check) -> None:
    """Prints one line: coloured on a terminal, plain elsewhere."""
    line = Text.assemble((f"{check.status.value:4}", COLOURS[check.status]), f"  {check.name}: {check.detail}")
    Console(highlight=False, soft_wrap=True).print(line)


def _machine_checks(config: EngineConfig) -> Iterator[Check]:
    yield guarded("versions", machine.check_versions)
    yield guarded("devices", machine.check_devices)
    yield guarded("memory kinds", machine.check_memory_kinds)
    yield guarded("copy bandwidth", rates.check_copy_bandwidth)
    yield guarded("host transfer", rates.check_host_transfer)
    yield guarded("matrix rate", lambda: rates.check_matrix_rate(config.dtype))


def _model_checks(served: ServedModel) -> Iterator[Check]:
    yield guarded("model", served.check_model)
    yield guarded("programs", served.check_programs)
    yield guarded("compile cache", served.check_compile_cache)
    yield guarded("attention", served.check_attention)
    yield guarded("cost model", served.check_cost_model)
    yield guarded("KV round trip", served.check_kv_round_trip)
