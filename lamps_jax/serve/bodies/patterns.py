"""How many regular expressions a JSON schema has one text match at once: to compile n of them takes time and memory of 2^n."""

from collections.abc import Iterable, Mapping
from typing import Any

MAX_COMBINED = 8
"""Most patterns and formats that one text may have to match."""

_NO_SCHEMAS = frozenset({"$defs", "definitions", "enum", "const", "default", "examples", "required", "x-guidance"})


def check_patterns(schema: Mapping[str, Any]) -> None:
    """Passes a schema that combines no more patterns than can be compiled.

    Raises:
        ValueError: If it combines more.
    """
    if (found := _Count(schema).within(schema)) > MAX_COMBINED:
        raise ValueError(
            f"the schema has one text match up to {found} patterns and formats at once; at most {MAX_COMBINED} may be"
        )


class _Count:
    """Counts in one schema. Where it cannot tell what meets in one text, it counts too many rather than too few."""

    def __init__(self, root: Mapping[str, Any]):
        self._root = root
        self._referred: dict[str, int] = {}

    def within(self, schema: Any) -> int:
        """Of what a value, or a part of it, must match at once because of `schema`."""
        if not isinstance(schema, Mapping):
            return 0
        total = sum(name in schema for name in ("pattern", "format"))
        total += sum(map(self.within, _list(schema, "allOf")))
        total += self._most(_list(schema, "anyOf")) + self._most(_list(schema, "oneOf"))
        if isinstance(reference := schema.get("$ref"), str):
            total += self._behind(reference)
        return total + self._most(_parts(schema))

    def _most(self, schemas: Iterable[Any]) -> int:
        return max(map(self.within, schemas), default=0)

    def _behind(self, reference: str) -> int:
        if reference not in self._referred:
            self._referred[reference] = 0  # of one that leads back to itself nothing is added
            self._referred[reference] = self.within(self._at(reference))
        return self._referred[reference]

    def _at(self, reference: str) -> Any:
        found: Any = self._root
        for key in reference.removeprefix("#").split("/")[1:]:
            key = key.replace("~1", "/").replace("~0", "~")
            if isinstance(found, Mapping):
                found = found.get(key)
            elif isinstance(found, list) and key.isdecimal() and len(key) < 10 and int(key) < len(found):
                found = found[int(key)]
            else:
                return None
        return found


def _list(schema: Mapping[str, Any], name: str) -> list[Any]:
    value = schema.get(name)
    return value if isinstance(value, list) else []


def _parts(schema: Mapping[str, Any]) -> Iterable[Any]:
    """The schemas of the parts of a value."""
    for name, value in schema.items():
        if name in _NO_SCHEMAS or name in ("allOf", "anyOf", "oneOf"):
            continue
        if isinstance(value, Mapping):
            yield value
            yield from value.values()  # of properties and the like
        elif isinstance(value, list):
            yield from value
