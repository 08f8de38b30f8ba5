"""Which MCP server to use, how to reach it, and what of it a model may call."""

from dataclasses import KW_ONLY

from pydantic import Field
from pydantic.dataclasses import dataclass

from lamps_jax.tools.limits import STRICT, ToolLimits


@dataclass(frozen=True, config=STRICT)
class McpServerConfig(ToolLimits):
    """An MCP server: a command to start and speak with over its standard input and output, or a URL of streamable HTTP.

    Attributes:
        name: For logs and errors.
        command: Program to start.
        args: Its arguments.
        env: Environment variables it gets, besides the few that say who and where it is (``PATH``, ``HOME``, …).
        cwd: Directory it runs in.
        url: Address of a server that runs already.
        headers: Sent with each request to it.
        allow: Names of the tools that models may call, as the server has them; None: all that it has.
        prefix: Put before their names.
        start_timeout_s: Seconds within which it must have started and listed its tools.
    """

    name: str
    _: KW_ONLY
    command: str | None = None
    args: list[str] = Field(default_factory=list, repr=False)
    env: dict[str, str] = Field(default_factory=dict, repr=False)
    cwd: str | None = None
    url: str | None = Field(default=None, repr=False)
    headers: dict[str, str] = Field(default_factory=dict, repr=False)
    allow: list[str] | None = None
    prefix: str = ""
    start_timeout_s: float = 30.0

    def __post_init__(self) -> None:
        if (self.command is None) == (self.url is None):
            raise ValueError("give either command, for a server to start, or url, for one that runs already")
        if self.url is not None and (self.args or self.env or self.cwd):
            raise ValueError("args, env and cwd belong to a command; a url takes headers")
        if self.url is None and self.headers:
            raise ValueError("headers belong to a url; a command takes args and env")
        if self.url is not None and not self.url.startswith(("http://", "https://")):
            raise ValueError("url must begin with http:// or https://")
        if any(character in value for value in self.headers.values() for character in "\r\n"):
            raise ValueError("a header has a line break in it; look at the environment variables it is made of")
        if self.start_timeout_s <= 0:
            raise ValueError(f"start_timeout_s must be positive, got {self.start_timeout_s}")
