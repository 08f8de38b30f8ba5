"""Names of tools as labels: clients may make up as many as they like, and each label value costs memory for good."""

from collections.abc import Iterable

MAX_CLIENT_TOOLS = 20
"""Tools of clients that are told apart; all further ones are called `OTHER`."""

OTHER = "other"


class ToolNames:
    """Says as what a tool is counted: the server's own under their names, and the first so many of the clients'."""

    def __init__(self, *, most: int = MAX_CLIENT_TOOLS):
        self._most, self._own, self._clients = most, frozenset[str](), set[str]()

    def own(self, names: Iterable[str]) -> None:
        """These are the server's."""
        self._own = frozenset(names)

    def label(self, name: str) -> str:
        """The name under which a tool is counted."""
        if name in self._own or name in self._clients:
            return name
        if len(self._clients) >= self._most:
            return OTHER
        self._clients.add(name)
        return name
