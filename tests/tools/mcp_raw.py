"""An MCP server that is written by hand, of the oldest kind, with the faults that are asked for.

usage: mcp_raw.py FAULT …; silent: never answers. stubborn: ends neither when its input is closed nor when it is told to.
chatty: prints lines that are no messages. circle: its list of tools has no end. pages: it has three.
"""

import json
import signal
import sys
import time
from typing import Any

FAULTS = sys.argv[1:]
WORD = {"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]}


def tools(cursor: str | None) -> dict[str, Any]:
    page = int(cursor or 0)
    listed = {"tools": [{"name": f"tool{page}", "inputSchema": WORD}]}
    if "circle" in FAULTS or ("pages" in FAULTS and page < 2):
        listed["nextCursor"] = str(page + 1)
    return listed


def answer(method: str, params: dict[str, Any]) -> dict[str, Any] | None:
    match method:
        case "initialize":
            server = {"name": "raw", "version": "1"}
            return {"protocolVersion": "2024-11-05", "capabilities": {"tools": {}}, "serverInfo": server}
        case "tools/list":
            return tools(params.get("cursor"))
        case "tools/call":
            if "chatty" in FAULTS:
                print("working on it …", flush=True)  # noqa: T201
            return {"content": [{"type": "text", "text": f"{params['name']}: {params['arguments']['word']}"}]}
    return None


def main() -> None:
    if "stubborn" in FAULTS:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for line in sys.stdin:
        request = json.loads(line)
        if "id" not in request or "silent" in FAULTS:
            continue
        result = answer(request["method"], request.get("params") or {})
        reply = {"error": {"code": -32601, "message": "what?"}} if result is None else {"result": result}
        sys.stdout.write(json.dumps({"jsonrpc": "2.0", "id": request["id"], **reply}) + "\n")
        sys.stdout.flush()
    while "stubborn" in FAULTS:
        time.sleep(1)


if __name__ == "__main__":
    main()
