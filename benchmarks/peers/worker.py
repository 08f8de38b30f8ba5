"""One engine in a process of its own, which measures what it is told: a line of JSON in, a line of JSON out.

    python -m benchmarks.peers.worker ENGINE CHECKPOINT DTYPE BATCH CONTEXT

Each engine brings a runtime of threads; in one process they would stand in each other's way.
"""

import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.peers.engines import ENGINES, prompt_of


def main() -> None:
    """Serves until its input ends."""
    name, checkpoint, dtype, batch, context = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints is no answer
    try:
        engine = ENGINES[name](Path(checkpoint), dtype, batch=int(batch), context=int(context))
    except ImportError as error:
        _say(answers, {"missing": str(error)})
        return
    _say(answers, {"ready": True})
    for line in sys.stdin:
        act, *arguments = json.loads(line)
        wall, cpu = time.perf_counter(), time.process_time()
        if act == "greedy":
            result: Any = engine.greedy(prompt_of(*arguments[:1]), arguments[1])
        else:
            result = {"prefill": engine.prefill_s, "decode": engine.decode_s}[act](*arguments)
        cores = (time.process_time() - cpu) / max(time.perf_counter() - wall, 1e-9)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        _say(answers, {"result": result, "cores": cores, "peak_bytes": peak})


def _say(answers: Any, what: dict[str, Any]) -> None:
    answers.write(json.dumps(what) + "\n")
    answers.flush()


if __name__ == "__main__":
    main()
