"""The Search tool: full-text search over the bundled encyclopedia in SQLite FTS5, which ranks by BM25."""

import re
import sqlite3
import threading
import unicodedata
from collections.abc import Callable, Sequence

from lamps_jax.tools import encyclopedia
from lamps_jax.tools.encyclopedia import Article
from lamps_jax.tools.tool import Tool, ToolError, one_string

NOTHING_FOUND = "nothing found"

_TITLE_WEIGHT = 10.0
_TEXT_WEIGHT = 1.0
_MAX_WORDS = 24
_LITTLE_WORDS = frozenset(
    "a an and are at by did do does for from how in is it of on or s the to was were what when where which who with".split()
)


def make_search(articles: Callable[[], Sequence[Article]] = encyclopedia.articles) -> Tool:
    """A Search tool over what `articles` returns; it is called, and the index built, at the first search."""
    return Tool(
        name="Search",
        description="Looks a name or title up in an encyclopedia and returns the article.",
        parameters=one_string("query", "The name or title to look up."),
        function=_Index(articles).find,
        max_result_chars=400,
    )


class _Index:
    """An in-memory index, built at the first use; one lock guards it, for calls come from several threads."""

    def __init__(self, read_articles: Callable[[], Sequence[Article]]) -> None:
        self._read_articles = read_articles
        self._lock = threading.Lock()
        self._database: sqlite3.Connection | None = None
        self._text_of_title: dict[str, str] = {}

    def find(self, query: str) -> str:
        """Text of the article titled `query`, else of the best match with more than half of the query's words.

        Raises:
            ToolError: If `query` is empty.
        """
        if not query.strip():
            raise ToolError("empty query, give a name or a title")
        words = _words(query)
        with self._lock:
            if self._database is None:
                self._database = self._build()
            exact = self._text_of_title.get(_title_key(words))
            return exact or self._best_match(self._database, [word for word in words if word not in _LITTLE_WORDS])

    def _build(self) -> sqlite3.Connection:
        database = sqlite3.connect(":memory:", check_same_thread=False)
        database.execute("CREATE VIRTUAL TABLE article USING fts5(title, text, tokenize = 'unicode61 remove_diacritics 2')")
        for article in self._read_articles():
            database.execute("INSERT INTO article VALUES (?, ?)", (article.title, article.text))
            self._text_of_title[_title_key(_words(article.title))] = article.text
        return database

    def _best_match(self, database: sqlite3.Connection, words: list[str]) -> str:
        words = list(dict.fromkeys(words))[:_MAX_WORDS]
        if not words:
            return NOTHING_FOUND
        rows = database.execute(
            "SELECT title, text FROM article WHERE article MATCH ? ORDER BY bm25(article, ?, ?), rowid",
            (" OR ".join(f'"{word}"' for word in words), _TITLE_WEIGHT, _TEXT_WEIGHT),
        )
        for title, text in rows:
            found = set(_words(f"{title} {text}"))
            if 2 * sum(word in found for word in words) > len(words):
                return str(text)
        return NOTHING_FOUND


def _words(text: str) -> list[str]:
    """Words of `text` in lower case and without accents; whatever FTS5 could take for syntax is gone."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.findall(r"[a-z0-9]+", plain.lower())


def _title_key(words: Sequence[str]) -> str:
    """What titles are compared by: an article at the front does not count."""
    return " ".join(words[1:] if len(words) > 1 and words[0] in ("the", "a", "an") else words)


SEARCH = make_search()
