"""The bundled encyclopedia: short articles written from facts in ``encyclopedia.tsv``, one row per article.

A row holds the kind, the title and the facts in the order of `FACTS`. The text comes from one of the kind's
sentences; which one is decided by a hash of the title, so that a fact is not at the same place in every article.
"""

import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

FACTS: dict[str, tuple[str, ...]] = {
    "person": ("occupation", "birthplace", "born", "died", "pronoun"),
    "book": ("author", "year"),
    "painting": ("artist", "year"),
    "film": ("director", "year"),
    "music": ("composer", "year"),
    "country": ("capital", "continent", "currency"),
    "element": ("symbol", "number"),
    "invention": ("inventor", "year"),
    "river": ("length", "mouth"),
    "mountain": ("height", "place"),
    "moon": ("planet", "discoverer", "year"),
    "building": ("city", "year"),
}
"""Names of the facts of each kind, in the order of the columns after kind and title."""

_SENTENCES: dict[str, tuple[str, ...]] = {
    "person": (
        "{title} was {a_occupation} born in {birthplace} in {born}. {pronoun} died in {died}.",
        "{title}, {a_occupation}, was born in {born} in {birthplace}. {pronoun} died in {died}.",
        "Born in {birthplace} in {born}, {title} was {a_occupation}; {pronoun} died in {died}.",
        "{title} ({born}-{died}) was {a_occupation}. The place where {pronoun} was born is {birthplace}.",
    ),
    "book": (
        "{title} is a book by {author}, first published in {year}. It has been read ever since.",
        "The book {title} was written by {author} and first published in {year}.",
        "First published in {year}, {title} is a well-known book written by {author}.",
        "{author} wrote {title}, a book that first came out in {year}.",
    ),
    "painting": (
        "{title} is a painting by {artist}, finished in {year}. It is widely known.",
        "The painting {title} is a work of {artist} and was finished in {year}.",
        "Finished in {year}, {title} is a famous painting by {artist}.",
        "{artist} painted {title}, a picture that was finished in {year}.",
    ),
    "film": (
        "{title} is a film directed by {director} that was released in {year}.",
        "The film {title} was released in {year}. Its director was {director}.",
        "Released in {year}, {title} is a well-known film by the director {director}.",
        "{director} directed {title}, a film that came to cinemas in {year}.",
    ),
    "music": (
        "{title} is a work by the composer {composer}, first performed in {year}.",
        "The music of {title} was composed by {composer}. It was first performed in {year}.",
        "First performed in {year}, {title} is a well-known work composed by {composer}.",
        "{composer} composed {title}, which was first heard in public in {year}.",
    ),
    "country": (
        "{title} is a country in {continent}. Its capital is {capital} and its currency is the {currency}.",
        "The capital of {title}, a country in {continent}, is {capital}. People there pay with the {currency}.",
        "{title} lies in {continent}. The currency is the {currency} and the capital is {capital}.",
        "{capital} is the capital of {title}, a country in {continent} whose currency is the {currency}.",
    ),
    "element": (
        "{title} is a chemical element with the symbol {symbol} and the atomic number {number}.",
        "The chemical element {title} has the atomic number {number}. Its symbol is {symbol}.",
        "{title} (symbol {symbol}) is a chemical element. Its atomic number is {number}.",
        "With the atomic number {number}, {title} is a chemical element written as {symbol}.",
    ),
    "invention": (
        "The {title} was invented by {inventor} in {year} and soon came into use.",
        "The inventor of the {title} was {inventor}, who built the first one in {year}.",
        "In {year} the {title} was invented. It is the work of {inventor}.",
        "{inventor} invented the {title} in {year}, and it became widely known.",
    ),
    "river": (
        "The {title} is a river that is about {length} long. It flows into the {mouth}.",
        "The {title} is a river flowing into the {mouth}; it is about {length} long.",
        "About {length} long, the {title} is a river that ends in the {mouth}.",
        "The river {title} reaches the {mouth} after a course of about {length}.",
    ),
    "mountain": (
        "{title} is a mountain in {place}. Its summit is {height} above the sea.",
        "The mountain {title} rises to a height of {height} and stands in {place}.",
        "At {height}, {title} is one of the best-known mountains of {place}.",
        "{title}, a mountain in {place}, is {height} high and often climbed.",
    ),
    "moon": (
        "{title} is a moon of {planet}. It was discovered by {discoverer} in {year}.",
        "The moon {title} goes around {planet}. {discoverer} discovered it in {year}.",
        "Discovered in {year} by {discoverer}, {title} is one of the moons of {planet}.",
        "{discoverer} discovered {title}, a moon that goes around {planet}, in {year}.",
    ),
    "building": (
        "The {title} is a landmark in {city}. It was completed in {year}.",
        "The {title} was completed in {year} and is one of the sights of {city}.",
        "Completed in {year}, the {title} stands in {city} and draws many visitors.",
        "{city} is home to the {title}, a landmark that was completed in {year}.",
    ),
}


@dataclass(frozen=True, slots=True)
class Article:
    """One article.

    Attributes:
        title: Unique in the encyclopedia; written as inside a sentence (``telephone``, ``Jane Eyre``), without "the"
            where the kind always takes it (inventions, rivers, buildings).
        text: 57 to 150 characters in which every fact stands word for word, but for a pronoun's capital.
        kind: A key of `FACTS`.
        facts: Values by the names in `FACTS`.
    """

    title: str
    text: str
    kind: str
    facts: Mapping[str, str]


def write_article(kind: str, title: str, facts: Mapping[str, str]) -> Article:
    """The article of `kind` about `title` with `facts`; the same input always gives the same text."""
    sentences = _SENTENCES[kind]
    digest = hashlib.blake2b(title.lower().encode(), digest_size=4, person=b"article").digest()
    text = sentences[int.from_bytes(digest, "little") % len(sentences)].format(
        title=title, a_occupation=_with_article(facts.get("occupation", "")), **facts
    )
    return Article(title, _with_capitals(text), kind, dict(facts))


@functools.cache
def articles() -> tuple[Article, ...]:
    """All bundled articles, in the order of the file."""
    lines = Path(__file__).with_suffix(".tsv").read_text(encoding="ascii").splitlines()
    return tuple(_read_row(line) for line in lines if line)


def _read_row(line: str) -> Article:
    kind, title, *values = line.split("\t")
    return write_article(kind, title, dict(zip(FACTS[kind], values, strict=True)))


def _with_article(noun: str) -> str:
    return f"{'an' if noun[:1].lower() in 'aeiou' else 'a'} {noun}"


def _with_capitals(text: str) -> str:
    """`text` with a capital at its start and after each full stop that a sentence of `_SENTENCES` puts there."""
    for pronoun in ("he", "she", "they"):
        text = text.replace(f". {pronoun} ", f". {pronoun.capitalize()} ")
    text = text.replace(". the ", ". The ")
    return text[:1].upper() + text[1:]
