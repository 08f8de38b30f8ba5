"""A thousand chats streamed at once: whether each is whole and right, what they wait, and what slow readers cost the others.

    python -m benchmarks.streams --out benchmarks/results/streams.json

Starts ``lamps-jax serve`` with the embedded model, and asks it one question of each kind alone: what it says then is what it has
to say under load. Every second chat calls the server's tools; the others have an exact length. Then all come at once, twice: all
read as fast as they can, and every tenth reads one byte a second, and leaves when the others have ended. At the end the server
must hold nothing.
"""

import argparse
import asyncio
import itertools
import json
import random
import resource
import socket
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks.chat_streams import SeenStream, latencies, many_connections, stream_chat
from benchmarks.document import write_document
from benchmarks.server_process import ServerProcess, options_of, serving
from lamps_jax.embedded.questions import arithmetic, encyclopedia

EXACT_TOKENS = 48
SLOW_SHARE = 0.1
SPARE_FILES = 64
SLOW_RECEIVE_BYTES = 4096


def bodies(number: int) -> list[dict[str, Any]]:
    """Requests of different texts: questions that make the model call tools, and answers of exact length in turns."""
    rng = random.Random(7)
    exact = {"max_tokens": EXACT_TOKENS, "min_tokens": EXACT_TOKENS, "ignore_eos": True, "tool_choice": "none"}
    return [
        {
            "messages": [{"role": "user", "content": rng.choice((arithmetic, encyclopedia)).generate(rng, "held_out").text}],
            "temperature": 0,
            **(exact if index % 2 else {"max_tokens": 200}),
        }
        for index in range(number)
    ]


def allow_open_files(number: int) -> None:
    """Raises the limit of open files of this process, and of those that it starts.

    Raises:
        SystemExit: If the system does not let it.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < number:
        if hard not in (resource.RLIM_INFINITY,) and hard < number:
            raise SystemExit(f"{number} files must be open at once, and the limit is {hard}; raise it (ulimit -n), or --streams")
        resource.setrlimit(resource.RLIMIT_NOFILE, (number, hard))


async def together(url: str, asked: list[dict[str, Any]], *, slow_every: int | None) -> tuple[dict[int, SeenStream], float]:
    """All streams at once, by index without those that are read slowly, and the seconds until the last of them had ended."""
    slow = {index for index in range(len(asked)) if slow_every and index % slow_every == slow_every - 1}
    loop = asyncio.get_running_loop()
    async with many_connections(url) as client:
        dawdling = [asyncio.create_task(read_slowly(url, asked[index])) for index in sorted(slow)]
        began_s = loop.time()
        quick = [index for index in range(len(asked)) if index not in slow]
        streams = await asyncio.gather(*(stream_chat(client, asked[index]) for index in quick))
        seconds = loop.time() - began_s
        for task in dawdling:
            task.cancel()
        for outcome in await asyncio.gather(*dawdling, return_exceptions=True):
            if isinstance(outcome, Exception):
                raise outcome
    return dict(zip(quick, streams, strict=True)), seconds


async def read_slowly(url: str, body: dict[str, Any]) -> None:
    """Asks for a stream and reads a byte of it a second, with the least that the system keeps back for it, until cancelled."""
    place, loop = urlsplit(url), asyncio.get_running_loop()
    content = json.dumps({"model": "embedded", **body, "stream": True}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {place.netloc}\r\nContent-Length: {len(content)}\r\n\r\n"
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SLOW_RECEIVE_BYTES)
        connection.setblocking(False)
        await loop.sock_connect(connection, (place.hostname, place.port))
        await loop.sock_sendall(connection, head.encode() + content)
        while await loop.sock_recv(connection, 1):
            await asyncio.sleep(1.0)


def run_of(
    workload: str, server: ServerProcess, streams: dict[int, SeenStream], seconds: float, alone: list[SeenStream]
) -> dict[str, Any]:
    """The results document's entry for streams that ran at once."""
    ended = [stream for stream in streams.values() if stream.is_complete]
    num_tokens = sum(stream.num_tokens for stream in ended)
    failed = [stream for stream in streams.values() if not stream.is_complete]
    errors = sorted({stream.error or f"ended with {stream.finish_reason}" for stream in failed})
    same = [saw_the_same(stream, alone[index % len(alone)]) for index, stream in streams.items() if stream.is_complete]
    return {
        "workload": workload,
        "streams": len(streams),
        "complete": len(ended),
        "as_alone": sum(same),
        "errors": errors[:10],
        "window_s": seconds,
        "tokens_per_s": num_tokens / seconds,
        "server_calls": sum(len(stream.server_calls) // 2 for stream in ended),
        "resident_bytes": server.resident_bytes(),
        **latencies(ended or list(streams.values())),
    }


def saw_the_same(stream: SeenStream, alone: SeenStream) -> bool:
    """Whether a stream said and called what it did alone."""

    def told(seen: SeenStream) -> list[tuple[str, Any, str | None]]:
        return [(call["name"], call["arguments"], call["result"]) for call in seen.server_calls]

    return (stream.text, stream.finish_reason, told(stream)) == (alone.text, alone.finish_reason, told(alone))


async def one_by_one(url: str, asked: list[dict[str, Any]]) -> list[SeenStream]:
    """Each stream alone.

    Raises:
        SystemExit: If one does not end: then there is nothing to compare with.
    """
    async with many_connections(url) as client:
        streams = [await stream_chat(client, body) for body in asked]
    for stream in streams:
        if not stream.is_complete:
            raise SystemExit(f"a stream alone did not end as it should: {stream.error or stream}")
    return streams


def measure(server: ServerProcess, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """All loads, each followed by a look at what the server still holds."""
    questions = bodies(arguments.questions)
    alone = asyncio.run(one_by_one(server.url, questions))
    asked = list(itertools.islice(itertools.cycle(questions), arguments.streams))
    slow_every = round(1 / SLOW_SHARE)
    runs = [{"workload": "before", "resident_bytes": server.resident_bytes(), **server.unfinished()}]
    for workload, every in (("all at once", None), ("one of ten reads slowly", slow_every)):
        streams, seconds = asyncio.run(together(server.url, asked, slow_every=every))
        runs.append(run_of(workload, server, streams, seconds, alone) | {"left_over": server.unfinished()})
        if every is None:
            others = {index: stream for index, stream in streams.items() if index % slow_every != slow_every - 1}
            runs[-1]["of_the_nine_of_ten"] = latencies(list(others.values()))
    return runs


def show(runs: list[dict[str, Any]]) -> None:
    """The table."""
    print(
        f"{'':24} {'streams':>7} {'whole':>6} {'right':>6} {'tokens/s':>8} "
        f"{'TTFT s: p50':>11} {'p99':>6} {'E2E s: p50':>10} {'p99':>6} {'MB':>6}"
    )
    for run in runs[1:]:
        ttft, e2e = run["ttft_s"], run["e2e_s"]
        print(
            f"{run['workload']:24} {run['streams']:7} {run['complete']:6} {run['as_alone']:6} {run['tokens_per_s']:8.0f} "
            f"{ttft['p50']:11.1f} {ttft['p99']:6.1f} {e2e['p50']:10.1f} {e2e['p99']:6.1f} {run['resident_bytes'] / 1e6:6.0f}"
        )
        for error in run["errors"]:
            print(f"  {error}")
        if any(run["left_over"].values()):
            print(f"  the server still holds {run['left_over']}")
    fast, slow = runs[1]["of_the_nine_of_ten"]["e2e_s"], runs[2]["e2e_s"]
    print(f"E2E of the other nine of ten: {fast['mean']:.1f} s without slow readers, {slow['mean']:.1f} s beside them (means)")
    print(f"resident memory of the server before: {runs[0]['resident_bytes'] / 1e6:.0f} MB")


def main() -> None:
    """Measures, prints a table and writes the document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/streams.json"), help="where to write the results")
    parser.add_argument("--streams", type=int, default=1000, help="streams at once")
    parser.add_argument("--questions", type=int, default=50, help="different texts among them")
    parser.add_argument("--max-num-seqs", type=int, default=32, help="the server's option")
    arguments = parser.parse_args()
    allow_open_files(arguments.streams + SPARE_FILES)
    with serving(options_of(max_num_seqs=arguments.max_num_seqs)) as server:
        runs = measure(server, arguments)
    show(runs)
    write_document(arguments.out, "streams", runs)


if __name__ == "__main__":
    main()
