"""Invented articles: plausible people, works and places with random facts; with them training teaches reading."""

import random
from collections.abc import Callable

from lamps_jax.embedded.questions.invented_words import (
    ADJECTIVES,
    BUILDINGS,
    CITIES,
    CONTINENTS,
    CURRENCIES,
    DEVICE_ADJECTIVES,
    DEVICES,
    FIRST_NAMES,
    LAST_NAMES,
    NOUNS,
    OCCUPATIONS,
    PLANETS,
)
from lamps_jax.embedded.questions.question import Split, belongs_to
from lamps_jax.tools.encyclopedia import Article, write_article

_ONSETS = "b c d f g h j k l m n p r s t v w z br bl cr ch cl dr fr fl gr gl kr kl pr pl ph qu sc sh sk sl sp st".split()
_ONSETS += "str sw tr th tw vl wh y".split() + [""] * 6
_VOWELS = "a e i o u ".split() * 4 + "ai au ea ee ei ia ie io oa oo ou ue y".split()
_CODAS = [""] * 24 + "n r s l m t d k th nd rt ng st x ck ll rn nn sk ss p b g v z lm rd".split()


def invent(rng: random.Random, kind: str, split: Split = "train") -> Article:
    """An article of `kind` whose title belongs to `split`; its facts are random, as likely false as not."""
    while not belongs_to(split, title := _TITLES[kind](rng)):
        pass
    return write_article(kind, title, _FACTS[kind](rng, title))


def invent_person_name(rng: random.Random) -> str:
    """A name such as ``Clara Vondeis``, ``J. R. Hill`` or ``Otto de Brune``."""
    first = rng.choice(FIRST_NAMES) if rng.random() < 0.6 else _word(rng, 1, 3)
    last = rng.choice(LAST_NAMES) if rng.random() < 0.25 else _word(rng, 1, 4)
    form = rng.random()
    if form < 0.7:
        return f"{first} {last}"
    if form < 0.78:
        return f"{first} {rng.choice(('de', 'van', 'von', 'da', 'di', 'van der', 'Le', 'du', 'ibn'))} {last}"
    if form < 0.86:
        return f"{first} {rng.choice(FIRST_NAMES)} {last}"
    if form < 0.91:
        return f"{_letter(rng)}. {_letter(rng)}. {last}" if rng.random() < 0.6 else f"{first} {_letter(rng)}. {last}"
    return f"{first}-{rng.choice(FIRST_NAMES)} {last}" if form < 0.95 else last


def _word(rng: random.Random, least: int, most: int) -> str:
    word = ""
    while len(word) < 2 or len(word) > 13:
        word = "".join(rng.choice(_ONSETS) + rng.choice(_VOWELS) + rng.choice(_CODAS) for _ in range(rng.randint(least, most)))
    return word.capitalize()


def _letter(rng: random.Random) -> str:
    return rng.choice("ABCDEFGHIJKLMNOPRSTVWZ")


def _place(rng: random.Random) -> str:
    if rng.random() < 0.35:
        return rng.choice(CITIES)
    word = _word(rng, 1, 3)
    ending = rng.choice(("", "", "", "", "burg", "ton", "ville", "stad", "ford", " Bay", "-on-Sea"))
    return rng.choice(("", "", "", "", "", "", "New ", "San ", "St. ", "Port ")) + word + ending


def _work_title(rng: random.Random) -> str:
    adjective, noun, other = rng.choice(ADJECTIVES), rng.choice(NOUNS), rng.choice(NOUNS)
    word = _word(rng, 1, 4)
    forms: tuple[Callable[[], str], ...] = (
        lambda: f"The {adjective} {noun}",
        lambda: f"{adjective} {noun}{rng.choice(('', 's'))}",
        lambda: f"The {noun}{rng.choice(('', 's'))}",
        lambda: f"{noun} and {other}",
        lambda: f"{noun}s and {other}s",
        lambda: f"The {noun} of {rng.choice((_place(rng), other, f'the {other}'))}",
        lambda: f"The {noun} {rng.choice(('and', 'in', 'on', 'with', 'at', 'under', 'without'))} the {other}",
        lambda: f"A {noun} {rng.choice(('in', 'for', 'of', 'from', 'to'))} {rng.choice((_place(rng), _word(rng, 2, 3)))}",
        lambda: f"{rng.choice(FIRST_NAMES)}'s {noun}",
        lambda: f"{rng.choice(('To', 'In', 'Under', 'Beyond', 'After', 'Before', 'Of', 'On'))} the {noun}",
        lambda: f"{noun} {rng.choice(('of', 'in', 'at', 'without', 'with', 'over'))} {other}s",
        lambda: f"{rng.choice(('The ', ''))}{rng.randint(2, 999)} {noun}s",
        lambda: f"{noun}{rng.choice((' ', '-'))}{rng.randint(2, 999)}",
        lambda: f"{rng.choice(('Mrs', 'Mr', 'Dr.', 'Lord', 'Lady', 'Uncle', 'Saint', 'King', 'Don', 'Captain'))} {word}",
        lambda: f"{rng.choice(('La', 'Le', 'Der', 'Das', 'El', 'Il', 'Les', 'Los'))} {word}",
        lambda: f"{rng.choice(('The Adventures of', 'The Death of', 'Portrait of', 'The Life of', 'Return to'))} {word}",
        lambda: f"{word}-{_word(rng, 1, 2)}",
        lambda: word,
        lambda: word,
        lambda: word,
        lambda: f"{word} {_word(rng, 1, 3)}",
        lambda: f"{word}'s {noun}",
        lambda: f"The {word} {noun}",
        lambda: f"{rng.choice(FIRST_NAMES)} {word}",
    )
    return rng.choice(forms)()


def _country(rng: random.Random) -> str:
    word = _word(rng, 1, 2) + rng.choice(("ia", "land", "stan", "a", "o", "ania", "esia", "e", "ey", "", "", "", ""))
    return rng.choice(("", "", "", "", "", "", "New ", "South ", "North ", "San ", "Upper ")) + word


def _element(rng: random.Random) -> str:
    return _word(rng, 1, 3).lower() + rng.choice(("ium", "ium", "ium", "on", "ine", "gen", "um", "ver", "ic", "", "", "ur"))


def _invention(rng: random.Random) -> str:
    form = rng.random()
    if form < 0.35:
        end = rng.choice(
            (
                "scope",
                "graph",
                "meter",
                "phone",
                "tron",
                "stat",
                "mobile",
                "gram",
                "type",
                "ine",
                "er",
                "copter",
                "ophone",
            )
        )
        return _word(rng, 1, 3).lower() + end
    device = rng.choice(DEVICES)
    if form < 0.65:
        return f"{_word(rng, 1, 3)} {device}"
    if form < 0.75:
        return f"{_word(rng, 1, 3)}'s {device}"
    return f"{rng.choice(DEVICE_ADJECTIVES) if rng.random() < 0.7 else _word(rng, 1, 2).lower()} {device}"


def _river(rng: random.Random) -> str:
    return _word(rng, 1, 3) + rng.choice(("", "", "", "", "", "", " River", " Creek"))


def _mountain(rng: random.Random) -> str:
    front = rng.choice(("Mount ", "Mount ", "Mount ", "", "", "", "", "Ben ", "Pico de ", "Monte ", "Piz ", "Gran ", "Cerro "))
    return front + _word(rng, 1, 3) + rng.choice(("", "", "", "", "", "", " Peak", " Pike", "horn", "spitze"))


def _building(rng: random.Random) -> str:
    name = rng.choice((_word(rng, 1, 3), _word(rng, 1, 3), rng.choice(ADJECTIVES), rng.choice(LAST_NAMES), _place(rng)))
    return name if rng.random() < 0.08 else f"{name} {rng.choice(BUILDINGS)}"


def _year(rng: random.Random) -> str:
    return str(rng.randint(1420, 2024) if rng.random() < 0.5 else rng.randint(1750, 2010))


def _person_facts(rng: random.Random, _title: str) -> dict[str, str]:
    born = rng.randint(1420, 1980)
    return {
        "occupation": rng.choice(OCCUPATIONS),
        "birthplace": _place(rng),
        "born": str(born),
        "died": str(min(2024, born + (rng.randint(18, 99) if rng.random() < 0.5 else rng.randint(35, 90)))),
        "pronoun": rng.choice(("he", "she")),
    }


def _element_facts(rng: random.Random, title: str) -> dict[str, str]:
    second = rng.choice(title[1:] + " ").strip()
    first = title[0] if rng.random() < 0.75 else rng.choice("abcdefghiklmnoprstuvwxyz")
    return {"symbol": first.upper() + second, "number": str(rng.randint(1, 199))}


def _made_by(role: str) -> Callable[[random.Random, str], dict[str, str]]:
    return lambda rng, _title: {role: invent_person_name(rng), "year": _year(rng)}


def _sea(rng: random.Random) -> str:
    form = rng.choice(("{} Sea", "{} Sea", "{} Ocean", "Gulf of {}", "Bay of {}", "Sea of {}", "{} Channel", "Lake {}"))
    return form.format(rng.choice((_word(rng, 1, 3), _word(rng, 1, 3), "North", "Black", "Red", "White", "Atlantic", "Pacific")))


_TITLES: dict[str, Callable[[random.Random], str]] = {
    "person": invent_person_name,
    "book": _work_title,
    "painting": _work_title,
    "film": _work_title,
    "music": _work_title,
    "country": _country,
    "element": _element,
    "invention": _invention,
    "river": _river,
    "mountain": _mountain,
    "moon": lambda rng: _word(rng, 1, 4),
    "building": _building,
}
_FACTS: dict[str, Callable[[random.Random, str], dict[str, str]]] = {
    "person": _person_facts,
    "book": _made_by("author"),
    "painting": _made_by("artist"),
    "film": _made_by("director"),
    "music": _made_by("composer"),
    "country": lambda rng, _title: {
        "capital": _place(rng),
        "continent": rng.choice(CONTINENTS),
        "currency": rng.choice(CURRENCIES) if rng.random() < 0.4 else _word(rng, 1, 3).lower(),
    },
    "element": _element_facts,
    "invention": _made_by("inventor"),
    "river": lambda rng, _title: {"length": f"{rng.randint(40, 7000)} km", "mouth": _sea(rng)},
    "mountain": lambda rng, _title: {
        "height": f"{rng.randint(300, 8900)} m",
        "place": _place(rng) if rng.random() < 0.5 else _country(rng),
    },
    "moon": lambda rng, _title: {
        "planet": rng.choice(PLANETS) if rng.random() < 0.6 else _word(rng, 1, 3),
        "discoverer": invent_person_name(rng),
        "year": _year(rng),
    },
    "building": lambda rng, _title: {"city": _place(rng), "year": _year(rng)},
}
