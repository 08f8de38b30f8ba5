"""A server under everything that can go wrong: clients that leave or send nonsense, tools that hang and die.

    python -m benchmarks.soak --minutes 10 --out benchmarks/results/soak.json

Starts ``lamps-jax serve`` with a small KV pool, and tools that keep a ledger of their runs: Python functions, one of which hangs
and one of which fails, an HTTP tool and an MCP server, which are killed every now and then. So many clients at a time visit it in
ways that chance decides. Then it looks at what came of it; the exit status is 1 if something is not as it should be.
"""

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.chat_streams import many_connections
from benchmarks.document import write_document
from benchmarks.server_process import ServerProcess, options_of, serving
from benchmarks.soak import judge
from benchmarks.soak.faults import RemoteTools
from benchmarks.soak.visits import Visit, Visitor

TOOLS = Path(__file__).with_name("tools.py")
KEY = "key-of-the-soak"
KEEP_S = 5.0
LIMIT_S = 60.0
SAMPLE_EVERY_S = 1.0
OPTIONS = {
    "api_key": KEY, "kv_blocks": 160, "host_kv_bytes": "8M", "max_num_seqs": 8, "max_queue_len": 12, "client_keep_s": KEEP_S,
    "policy": "lamps",
}  # fmt: skip


async def visits_until(end_s: float, server: ServerProcess, *, clients: int, seed: int) -> list[Visit]:
    """What `clients` at a time do until then."""
    done = list[Visit]()
    async with many_connections(server.url) as connections:

        async def come_and_go(number: int) -> None:
            visitor = Visitor(connections, random.Random(f"{seed}/{number}"), KEY)
            while time.monotonic() < end_s:
                began_s = time.monotonic()
                try:
                    async with asyncio.timeout(LIMIT_S):
                        done.append(await visitor.visit())
                except TimeoutError:
                    done.append(Visit("any", problem=f"a visit had not ended after {time.monotonic() - began_s:.0f} s"))

        await asyncio.gather(*(come_and_go(number) for number in range(clients)))
    return done


async def watch_memory(server: ServerProcess, samples: list[tuple[float, int]]) -> None:
    """Takes the server's resident memory every second."""
    while True:
        samples.append((time.monotonic(), server.resident_bytes()))
        await asyncio.sleep(SAMPLE_EVERY_S)


async def soak(
    server: ServerProcess, remote: RemoteTools, arguments: argparse.Namespace
) -> tuple[list[Visit], list[tuple[float, int]]]:
    """The visits, and the server's memory meanwhile."""
    samples = list[tuple[float, int]]()
    beside = [
        asyncio.create_task(remote.kill_now_and_then(random.Random(arguments.seed), every_s=arguments.fault_every_s)),
        asyncio.create_task(watch_memory(server, samples)),
    ]
    try:
        end_s = time.monotonic() + 60 * arguments.minutes
        return await visits_until(end_s, server, clients=arguments.clients, seed=arguments.seed), samples
    finally:
        for task in beside:
            task.cancel()
        for outcome in await asyncio.gather(*beside, return_exceptions=True):
            if isinstance(outcome, Exception):
                raise outcome


def run(arguments: argparse.Namespace) -> tuple[list[judge.Verdict], dict[str, Any]]:
    """The verdicts, and the results document's entry."""
    with tempfile.TemporaryDirectory() as folder:
        ledger = Path(folder) / "ledger"
        ledger.touch()
        remote, log = RemoteTools(Path(folder), ledger), arguments.log or Path(folder) / "server.log"
        asyncio.run(remote.start())
        options = [
            *options_of(**OPTIONS),
            *options_of(tools=TOOLS),
            *options_of(tools=remote.file),
            "--no-builtin-tools",
        ]
        try:
            with serving(options, log=log, environment={"LAMPS_SOAK_LEDGER": str(ledger)}) as server:
                visits, samples = asyncio.run(soak(server, remote, arguments))
                held = server.unfinished(within_s=KEEP_S * 3 + LIMIT_S / 2)
                has_ended = server.process.poll()
        finally:
            remote.stop()
        verdicts = [
            judge.Verdict("the server is still there", has_ended is None, has_ended),
            *judge.answers(visits),
            *judge.tools_ran_once(visits, ledger.read_text().splitlines()),
            *judge.nothing_left(held),
            *judge.memory_is_flat(samples),
            *judge.log_is_clean([line for level in ("ERROR", "CRITICAL") for line in server.log_lines(level)]),
        ]
    return verdicts, report(visits, verdicts, samples, remote, arguments)


def report(
    visits: Sequence[Visit],
    verdicts: Sequence[judge.Verdict],
    samples: Sequence[tuple[float, int]],
    remote: RemoteTools,
    arguments: argparse.Namespace,
) -> dict[str, Any]:
    """The results document's entry."""
    began_s = samples[0][0]
    return {
        "workload": "soak",
        "minutes": arguments.minutes,
        "clients": arguments.clients,
        "seed": arguments.seed,
        "visits": dict(Counter(visit.kind for visit in visits)),
        "statuses": {
            str(status): count for status, count in Counter(each for visit in visits for each in visit.statuses).items()
        },
        "calls": sum(len(visit.calls) for visit in visits),
        "killed": dict(remote.killed),
        "verdicts": {verdict.name: {"holds": verdict.holds, "found": verdict.found} for verdict in verdicts},
        "resident_mb": [[round(at - began_s, 1), round(size / 1e6, 1)] for at, size in samples],
    }


def main() -> None:
    """Soaks, prints the report and writes the document."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.soak", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/soak.json"), help="where to write the results")
    parser.add_argument("--minutes", type=float, default=10.0, help="how long clients come")
    parser.add_argument("--clients", type=int, default=24, help="clients at a time")
    parser.add_argument("--seed", type=int, default=0, help="of what they do, as far as time allows it to be repeated")
    parser.add_argument("--fault-every-s", type=float, default=10.0, help="seconds between two kills, in the mean")
    parser.add_argument("--log", type=Path, help="where to keep the server's log")
    arguments = parser.parse_args()
    verdicts, entry = run(arguments)
    for name in ("visits", "statuses", "calls", "killed"):
        print(f"{name}: {entry[name]}")
    for verdict in verdicts:
        print(f"{'ok    ' if verdict.holds else 'FAILED'} {verdict.name}: {verdict.found}")
    write_document(arguments.out, "soak", [entry])
    sys.exit(not all(verdict.holds for verdict in verdicts))


if __name__ == "__main__":
    main()
