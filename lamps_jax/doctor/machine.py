"""What there is: versions, devices, kinds of memory."""

import os
import platform
import re
from importlib import metadata
from pathlib import Path
from typing import Any

import jax

import lamps_jax
from lamps_jax.doctor.check import Check, Status
from lamps_jax.report.machine import processor

SUPPORTED: dict[str, tuple[str, str]] = {
    "python": ("3.11", ""),
    "jax": ("0.10.2", "0.12"),
    "jaxlib": ("0.10.2", "0.12"),
    "flax": ("0.12", "0.13"),
    "numpy": ("2.0", "3"),
}
"""First version that is supported, and the first that is not any more."""

ACCELERATOR_FILES = ("/dev/nvidia0", "/dev/accel0", "/dev/vfio/0")
"""What a machine has that has an NVIDIA GPU or a TPU, whatever JAX sees."""


def versions() -> dict[str, str]:
    """Versions of what results depend on."""
    packages = {name: metadata.version(name) for name in SUPPORTED if name != "python"}
    return {"lamps_jax": lamps_jax.__version__, "python": platform.python_version(), **packages}


def machine() -> dict[str, Any]:
    """The facts that figures depend on."""
    device = jax.devices()[0]
    return {
        "platform": device.platform,
        "device": device.device_kind,
        "num_devices": jax.device_count(),
        "cpu": processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": platform.platform(),
    }


def check_versions() -> Check:
    """Whether all versions are among those that are tested."""
    found = versions()
    outside = [name for name, (first, end) in SUPPORTED.items() if not is_within(found[name], first, end)]
    listing = ", ".join(f"{name} {version}" for name, version in found.items())
    if not outside:
        return Check("versions", Status.PASS, listing, {"versions": found})
    wanted = "; ".join(f"{name} {_range(*SUPPORTED[name])}" for name in outside)
    return Check("versions", Status.WARN, f"{listing}; tested are {wanted}", {"versions": found})


def is_within(version: str, first: str, end: str) -> bool:
    """Whether `version` is `first` or later and before `end`; an empty `end` is none."""
    return _numbers(first) <= _numbers(version) and (not end or _numbers(version) < _numbers(end))


def check_devices() -> Check:
    """Which devices JAX computes on, and whether it overlooks one."""
    facts, devices = machine(), jax.devices()
    rows = [{"id": device.id, "kind": device.device_kind, "memory": _memory(device)} for device in devices]
    listing = (
        f"{len(devices)} {facts['platform']} ({facts['device']}); host: {facts['cpu']}, {facts['cores']} cores, "
        f"{facts['memory_bytes'] / 2**30:.1f} GiB"
    )
    limits = [row["memory"]["bytes_limit"] for row in rows if "bytes_limit" in row["memory"]]
    if limits:
        listing += f"; device memory {min(limits) / 2**30:.1f} GiB each"
    overlooked = [file for file in ACCELERATOR_FILES if Path(file).exists()]
    data = {"devices": rows, "machine": facts}
    if facts["platform"] == "cpu" and overlooked:
        remedy = "install lamps-jax[cuda] or lamps-jax[tpu], and unset JAX_PLATFORMS"
        return Check("devices", Status.WARN, f"{listing}; there is {overlooked[0]}, but JAX runs on the CPU: {remedy}", data)
    return Check("devices", Status.PASS, listing, data)


def check_memory_kinds() -> Check:
    """Whether the device reaches host memory that stays where it is, which swapped blocks lie in."""
    kinds = sorted(memory.kind for memory in jax.devices()[0].addressable_memories())
    data = {"memory_kinds": kinds}
    if "pinned_host" in kinds:
        return Check("memory kinds", Status.PASS, ", ".join(kinds), data)
    detail = f"no pinned_host among {', '.join(kinds) or 'none'}: KV blocks cannot be swapped to the host; use --host-kv-bytes 0"
    return Check("memory kinds", Status.WARN, detail, data)


def _memory(device: Any) -> dict[str, int]:
    """What the device says of its memory; nothing on a CPU."""
    stats = device.memory_stats() or {}
    return {name: stats[name] for name in ("bytes_limit", "bytes_in_use", "peak_bytes_in_use") if name in stats}


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])


def _range(first: str, end: str) -> str:
    return f"from {first}" + (f" to before {end}" if end else "")
