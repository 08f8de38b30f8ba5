"""``lamps-jax serve`` as a process of its own, on a free port of this machine, with its log and its memory in view."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

READY_WITHIN_S = 300.0
"""A first start compiles every program."""

_ADDRESS = re.compile(r"(http://\S+?)/health says when it is ready")


@dataclass(frozen=True, slots=True)
class ServerProcess:
    """A server that takes requests.

    Attributes:
        ready_s: From its start to that.
        log: File of what it has written.
    """

    process: subprocess.Popen[bytes]
    url: str
    ready_s: float
    log: Path

    def memory_state(self) -> dict[str, int]:
        """What ``/health`` says of the KV memory."""
        return httpx.get(f"{self.url}/health", timeout=30.0).raise_for_status().json()["kv"]

    def resident_bytes(self) -> int:
        """Its memory, as the kernel counts it."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def processor_s(self) -> float:
        """Seconds that processors have worked for it, its threads together."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # in user mode, and in the kernel

    def unfinished(self, *, within_s: float = 10.0) -> dict[str, int]:
        """What it still holds once no request should be left: blocks, requests by state; all 0 if nothing is lost.

        Blocks kept for results that clients may yet bring are waited for no longer than `within_s`.
        """
        deadline = time.monotonic() + within_s
        while True:
            kv = self.memory_state()
            held = {
                "device_blocks": kv["device_blocks"] - kv["free_device_blocks"],
                "host_blocks": kv["host_blocks"] - kv["free_host_blocks"],
                **{name: kv[name] for name in ("running_requests", "waiting_requests", "requests_in_api_call")},
            }
            if not any(held.values()) or time.monotonic() > deadline:
                return held
            time.sleep(0.1)

    def log_lines(self, level: str) -> list[str]:
        """Lines of one level in its log."""
        return [line for line in self.log.read_text(errors="replace").splitlines() if f" {level} " in line[:48]]


@contextmanager
def serving(
    options: Sequence[str] = (), *, log: Path | None = None, environment: Mapping[str, str] | None = None
) -> Iterator[ServerProcess]:
    """A server of the embedded model with `options`, until the block ends.

    Args:
        log: Where its standard error goes; a temporary file by default.
        environment: Variables besides those of this process.

    Raises:
        RuntimeError: If it does not become ready; the end of its log says why.
    """
    with tempfile.TemporaryDirectory() as folder:
        log = log or Path(folder) / "server.log"
        command = [sys.executable, "-c", "from lamps_jax.cli import main; main()", "serve", "--port", "0", *options]
        with log.open("wb") as stderr:
            process = subprocess.Popen(
                command, stdout=stderr, stderr=stderr, env={**os.environ, **(environment or {})}, start_new_session=True
            )
        try:
            yield _ready(process, log)
        finally:
            _end(process)


def _ready(process: subprocess.Popen[bytes], log: Path) -> ServerProcess:
    began = time.monotonic()
    while process.poll() is None and time.monotonic() - began < READY_WITHIN_S:
        address = _ADDRESS.search(log.read_text(errors="replace"))
        if address is not None and _is_ready(address[1]):
            return ServerProcess(process, address[1], time.monotonic() - began, log)
        time.sleep(0.1)
    end = log.read_text(errors="replace")[-2000:]
    raise RuntimeError(f"the server did not become ready (exit status {process.poll()}); its log ends with:\n{end}")


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", timeout=10.0).status_code == 200
    except httpx.HTTPError:
        return False


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends it as an operator would, twice if need be, and by force if it does not listen."""
    for sign, patience_s in ((signal.SIGTERM, 10.0), (signal.SIGTERM, 20.0), (signal.SIGKILL, None)):
        if process.poll() is None:
            process.send_signal(sign)
        try:
            process.wait(patience_s)
            return
        except subprocess.TimeoutExpired:
            continue


def options_of(**options: Any) -> list[str]:
    """Command-line options: ``kv_blocks=64`` becomes ``--kv-blocks 64``; what is None is left out."""
    return [part for name, value in options.items() if value is not None for part in (f"--{name.replace('_', '-')}", str(value))]
