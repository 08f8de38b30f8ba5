"""Small files of logs, and what is read from one."""

import json
from pathlib import Path
from typing import Any

from lamps_jax.train_predictor.records import Conversation, Segment

KNOWN = r"records .*OpenAI chats .*mini-swe-agent calls .*ToolBench answers .*ToolLLaMA conversations"


def lines(path: Path, *records: object) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def document(path: Path, content: object, *, indent: int | None = 2) -> Path:
    path.write_text(json.dumps(content, indent=indent), encoding="utf-8")
    return path


def message(role: str, content: str | None, *calls: tuple[str, str]) -> dict[str, Any]:
    functions = [{"id": "1", "type": "function", "function": {"name": name, "arguments": given}} for name, given in calls]
    return {"role": role, "content": content} | ({"tool_calls": functions} if calls else {})


CHAT = {
    "id": "c",
    "messages": [
        message("system", "Be brief."),
        message("user", "Weather in Rome?"),
        message("assistant", None, ("weather", '{"city": "Rome"}')),
        message("tool", "rain"),
        message("assistant", "It rains."),
    ],
}
CHAT_READ = Conversation(
    "Weather in Rome?\n",
    (Segment('weather({"city": "Rome"})', tool="weather", returned_text="\nrain\n"), Segment("It rains.")),
    id="c",
)


def words(conversations: list[Conversation]) -> list[int]:
    return sorted(len((segment.text or "").split()) for conversation in conversations for segment in conversation.segments)
