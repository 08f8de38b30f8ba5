"""What a docstring in Google's style says of a function and of its parameters."""

import inspect
import re

_SECTION = re.compile(r"(?P<name>Args|Arguments|Parameters):\s*$")
_ENTRY = re.compile(r"(?P<name>\w+)(?:\s*\([^)]*\))?:\s*(?P<text>.*)$")


def first_paragraph(docstring: str) -> str:
    """The first paragraph, on one line."""
    return " ".join(re.split(r"\n\s*\n", inspect.cleandoc(docstring), maxsplit=1)[0].split())


def argument_descriptions(docstring: str) -> dict[str, str]:
    """What the section ``Args:`` says of each parameter, each on one line."""
    described: dict[str, list[str]] = {}
    entry_indent: int | None = None
    inside, current = False, ""
    for line in inspect.cleandoc(docstring).splitlines():
        indent = len(line) - len(line.lstrip())
        if not indent and line.strip():
            inside, entry_indent = _SECTION.match(line) is not None, None
        elif inside and line.strip():
            entry_indent = indent if entry_indent is None else entry_indent
            entry = _ENTRY.match(line.strip()) if indent == entry_indent else None
            if entry:
                current = entry["name"]
                described[current] = [entry["text"]]
            elif current in described:
                described[current].append(line.strip())
    return {name: " ".join(" ".join(lines).split()) for name, lines in described.items()}
