"""Several processes as one engine: process 0 decides, the others run the same programs in the same order.

A program over the devices of several processes runs only if each of them starts it. Before process 0 starts the programs of a
step, it writes their packed integers into the key-value store of JAX's coordination service; the others read them there and start
the same programs. Nothing else passes between the hosts: samples stay on the devices, and process 0 alone reads them.

If process 0 ends, the others end too: told so within `POLL_S`; or, if it died, as soon as they miss it, within
`HEARTBEAT_TIMEOUT_S`.
"""

import json
import logging
import os
import signal
import sys
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

logger = logging.getLogger(__name__)

Run = tuple[str, NDArray[np.int32]]
"""Name of a program, and its packed integers."""

CONNECT_TIMEOUT_S = 300
"""How long a process waits for the others at the start."""

HEARTBEAT_TIMEOUT_S = 30
"""How long a process may be silent before the others take it for dead."""

SHUTDOWN_TIMEOUT_S = 15
"""How long a process that ends waits for the others to end."""

POLL_S = 1.0
"""How long a process waits for a step before it asks whether process 0 has ended."""

_STEPS, _END, _OPTIONS = "lamps_jax/steps", "lamps_jax/end", "lamps_jax/options"
"""Folders of the key-value store."""

_STEPS_PER_FOLDER = 64


@dataclass(frozen=True, slots=True)
class Processes:
    """Where this process finds the others; each of them is given the same but for `process_id`.

    Attributes:
        coordinator_address: ``HOST:PORT`` on which process 0 listens.
    """

    coordinator_address: str
    num_processes: int
    process_id: int

    def __post_init__(self) -> None:
        host, _, port = self.coordinator_address.rpartition(":")
        if not host or not port.isdigit():
            raise ValueError(f"the coordinator address must be HOST:PORT of process 0, got {self.coordinator_address!r}")
        if self.num_processes < 1:
            raise ValueError(f"the number of processes must be positive, got {self.num_processes}")
        if not 0 <= self.process_id < self.num_processes:
            raise ValueError(f"the process id must be between 0 and {self.num_processes - 1}, got {self.process_id}")


@contextmanager
def joined(processes: Processes | None = None) -> Iterator[bool]:
    """Makes this process one of several while the context lasts; gives whether it is process 0, which leads.

    To be entered in the main thread, before anything asks JAX for its devices. At its end, also by SIGINT or SIGTERM, process 0
    tells the others to end, and they wait for each other.

    Args:
        processes: Where they are; None asks Slurm, Open MPI, Kubernetes or the TPU pod, whichever started this process.

    Raises:
        ValueError: If `processes` is None and nothing of these is found.
        ConnectionError: If there is an error on the way to them. If they do not come within `CONNECT_TIMEOUT_S`, or one dies
            later, JAX ends this process with SIGABRT and says why on standard error.
    """
    with _native_output_diverted(), _sigterm_raised():
        _connect(processes)
        leads, well = jax.process_index() == 0, False
        logger.info("process %d of %d, with %d of %d devices", jax.process_index(), jax.process_count(),
                    jax.local_device_count(), jax.device_count())  # fmt: skip
        try:
            yield leads
            well = True
        except (KeyboardInterrupt, SystemExit):
            well = True  # somebody told it to end
            raise
        finally:
            if leads:
                _client().key_value_set(f"{_END}/how", "well" if well else "badly")
            if well:  # otherwise others may never come, and whoever waits for them cannot say what is wrong
                jax.distributed.shutdown()


def _connect(processes: Processes | None) -> None:
    jax.config.update("jax_enable_preemption_service", False)  # it would swallow SIGTERM
    try:
        jax.distributed.initialize(
            processes and processes.coordinator_address,
            processes and processes.num_processes,
            processes and processes.process_id,
            cluster_detection_method=processes and "deactivate",  # it would also choose devices
            initialization_timeout=CONNECT_TIMEOUT_S,
            heartbeat_timeout_seconds=HEARTBEAT_TIMEOUT_S,
            shutdown_timeout_seconds=SHUTDOWN_TIMEOUT_S,
        )
    except ValueError as error:
        raise ValueError(
            "found no Slurm step, Open MPI run, Kubernetes job or TPU pod that this process belongs to "
            f"({_first_line(error).rstrip('.')}); give --coordinator-address, --num-processes and --process-id"
        ) from error
    except RuntimeError as error:
        raise ConnectionError(f"cannot join the other processes: {_first_line(error)}") from error


@contextmanager
def _sigterm_raised() -> Iterator[None]:
    """Makes SIGTERM raise SystemExit, so that a process can tell the others before it ends."""
    before = signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _native_output_diverted() -> Iterator[None]:
    """Sends to standard error what libraries below Python, such as Gloo, write to standard output, which is for results."""
    sys.stdout.flush()
    native = os.dup(1)
    os.dup2(2, 1)
    try:
        with os.fdopen(native, "w", encoding=sys.stdout.encoding, closefd=False) as results, redirect_stdout(results):
            yield
    finally:
        os.dup2(native, 1)
        os.close(native)


def agree(options: Mapping[str, Any]) -> None:
    """Compares `options` with those of the other processes: programs that differ would wait for each other for ever.

    Raises:
        ValueError: If they differ; the message names those that do.
        ConnectionError: If a process does not come to compare its own within `CONNECT_TIMEOUT_S`.
    """
    if jax.process_count() == 1:
        return
    client, here = _client(), jax.process_index()
    mine = {name: repr(value) for name, value in options.items()}
    client.key_value_set(f"{_OPTIONS}/{here}", json.dumps(mine))
    for other in range(1, jax.process_count()) if here == 0 else (0,):
        try:
            theirs = json.loads(client.blocking_key_value_get(f"{_OPTIONS}/{other}", 1000 * CONNECT_TIMEOUT_S))
        except jax.errors.JaxRuntimeError as error:
            raise ConnectionError(f"process {other} is gone: {_first_line(error)}") from error
        differing = [
            f"{name} is {mine.get(name)} here and {theirs.get(name)} there"
            for name in sorted(mine.keys() | theirs.keys())
            if mine.get(name) != theirs.get(name)
        ]
        if differing:
            raise ValueError(f"process {here} was started with other options than process {other}: {'; '.join(differing)}")


class Leader:
    """Process 0's side: tells the others what to run."""

    def __init__(self) -> None:
        self._client = _client()
        self._num_sent = 0
        self._oldest_folder = 0

    def send(self, runs: Sequence[Run]) -> int:
        """Tells the other processes to run `runs`; returns the message's number."""
        number, self._num_sent = self._num_sent, self._num_sent + 1
        self._client.key_value_set_bytes(_step_key(number), encode(runs))
        return number

    def received(self, number: int) -> None:
        """Forgets the messages up to `number`: all processes have run them."""
        while (self._oldest_folder + 1) * _STEPS_PER_FOLDER <= number:
            self._client.key_value_delete(f"{_STEPS}/{self._oldest_folder}/")
            self._oldest_folder += 1


def follow(run: Callable[[list[Run]], object]) -> bool:
    """Calls `run` with what process 0 runs at a time, until that ends; whether it ended well.

    The first SIGINT or SIGTERM is left to process 0, which gets one too where all processes are told to end, and wants to end its
    requests first; a second one ends this process.

    Raises:
        ConnectionError: If process 0 is gone without a word.
    """
    client, number = _client(), 0
    with _first_signal_ignored():
        while True:
            try:
                message = client.blocking_key_value_get_bytes(_step_key(number), int(1000 * POLL_S))
            except jax.errors.JaxRuntimeError as error:
                if "DEADLINE_EXCEEDED" not in str(error):
                    raise ConnectionError(f"process 0 is gone: {_first_line(error)}") from error
                for _, how in client.key_value_dir_get(_END):
                    return how == "well"
                continue
            run(decode(message))
            number += 1


def encode(runs: Sequence[Run]) -> bytes:
    """Runs as one message: a line of JSON with names and shapes, then the integers."""
    header = json.dumps([[name, packed.shape] for name, packed in runs]).encode()
    return header + b"\n" + b"".join(packed.astype("<i4").tobytes() for _, packed in runs)


def decode(message: bytes) -> list[Run]:
    """The runs of a message."""
    header, _, integers = message.partition(b"\n")
    runs, rest = [], np.frombuffer(integers, "<i4").astype(np.int32)
    for name, shape in json.loads(header):
        size = int(np.prod(shape))
        runs.append((name, rest[:size].reshape(shape)))
        rest = rest[size:]
    return runs


def _step_key(number: int) -> str:
    return f"{_STEPS}/{number // _STEPS_PER_FOLDER}/{number}"


def _client() -> Any:
    from jax._src import distributed  # the only way to JAX's key-value store, which checkpointing libraries use too

    return distributed.global_state.client


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


@contextmanager
def _first_signal_ignored() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def take(number: int, frame: types.FrameType | None) -> None:
        logger.warning("leaving the end to process 0; a second signal ends this process")
        restore()

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    for number in before:
        signal.signal(number, take)
    try:
        yield
    finally:
        restore()
