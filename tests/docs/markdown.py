"""Fenced blocks and links of the project's documents."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\]\((?!https?:)([^)#]+)")


def blocks(document: Path, language: str) -> list[str]:
    """Contents of the fenced blocks of `language`."""
    return [text for name, text in _BLOCK.findall(document.read_text(encoding="utf-8")) if name == language]


def links(document: Path) -> list[Path]:
    """Files that the document points to."""
    return [document.parent / link for link in _LINK.findall(document.read_text(encoding="utf-8"))]
