"""An MCP server that keeps notes as long as it runs; `tools.toml` beside it uses it."""

import os

from mcp.server import MCPServer

server = MCPServer("notes", log_level="ERROR")
notes: list[str] = []


@server.tool()
def add_note(text: str) -> str:
    """Keeps a note."""
    notes.append(text)
    return f"kept as number {len(notes)}"


@server.tool()
def list_notes() -> str:
    """Reads all notes out."""
    return "\n".join([f"{os.environ['NOTES_TITLE']}:", *notes])


@server.tool()
def delete_all_notes() -> str:
    """Deletes every note; `tools.toml` does not allow it."""
    notes.clear()
    return "deleted"


if __name__ == "__main__":
    server.run("stdio")
