"""Builders of wordings for questions about one fact of an encyclopedia article.

They are written with two shorthands, which `relation` replaces: ``@`` is how the kind's titles are put into a
sentence, and each clause and noun is combined with the same openings (``Do you know ...``, ``What is the ...``).
"""

import re

from lamps_jax.embedded.questions.phrasing import Phrasings

_REFERENCES = {
    "person": "{name}",
    "book": "(|the book |the novel )({name}|{name}|\"{name}\"|'{name}')",
    "painting": "(|the painting |the picture )({name}|{name}|\"{name}\"|'{name}')",
    "film": "(|the film |the movie )({name}|{name}|\"{name}\"|'{name}')",
    "music": "(|the work |the music |the piece )({name}|{name}|\"{name}\"|'{name}')",
    "country": "{name}",
    "element": "(|the element |the chemical element ){name}",
    "invention": "the {name}",
    "river": "the (|river ){name}",
    "mountain": "(|the mountain ){name}",
    "moon": "(|the moon ){name}",
    "building": "the {name}",
}
_BEFORE_CLAUSE = (
    "(Do you know|I'd like to know|Can you tell me|Could you tell me|Tell me|I want to know|I would like to know|"
    "I wonder|I need to know|Any idea|Please tell me|Do you happen to know|I was wondering|Can you find out|"
    "Remind me|Say|I forgot|Can you say|Find out|My friend asked me)"
)
_BEFORE_NOUN = (
    "(What is the|What's the|Tell me the|Give me the|I need the|I am looking for the|Find the|Look up the|"
    "Can you find the|Do you know the|Could you give me the|What was the|Please give me the|I would like the|"
    "I want the|Can you tell me the|I want to know the|Find me the|Search for the)"
)
_BEFORE_WHO = (
    "(Who is the|Who was the|Who's the|Name the|Tell me the|Do you know the|Find the|Give me the|"
    "Can you tell me who was the|And who is the)"
)


def relation(
    kind: str,
    *,
    direct: tuple[str, ...],
    clauses: tuple[str, ...],
    nouns: tuple[str, ...] = (),
    people: tuple[str, ...] = (),
    held_out: tuple[str, ...],
) -> Phrasings:
    """The wordings for one fact of `kind`; `clauses` follow ``Do you know``, the nouns ``What is the``."""
    train = (
        *direct,
        *(f"{_BEFORE_CLAUSE} {clause}(?|.)" for clause in clauses),
        *(f"{_BEFORE_NOUN} {noun}(?|.|)" for noun in nouns),
        *(f"{_BEFORE_WHO} {noun}(?|.|)" for noun in people),
        *(f"(|the ){noun}(?|)" for noun in nouns + people),
    )
    return Phrasings(
        tuple(_expand(template, _REFERENCES[kind]) for template in train),
        tuple(_expand(template, _REFERENCES[kind]) for template in held_out),
    )


def _expand(template: str, reference: str) -> str:
    """`template` with each ``@`` replaced: inside alternatives, which do not nest, by the plain form of `reference`."""
    plain = "the {name}" if reference.startswith("the ") else "{name}"
    template = re.sub(r"\([^()]*\)", lambda group: group[0].replace("@", plain), template).replace("@", reference)
    return re.sub(r"\(([^()|]*)\)", r"\1", template)  # a group of one is no choice


def maker(kind: str, *, verbs: str, noun: str, done: str, thing: str) -> Phrasings:
    """Questions for who made something; past tenses, participles and nouns for the maker are separated by bars."""
    first_noun = noun.split("|")[0]
    return relation(
        kind,
        direct=(
            f"Who ({verbs}) @?",
            f"Who ({verbs}) @?",
            f"Who was it that ({verbs}) @?",
            f"(Which|What) ({noun}) ({verbs}) @?",
            f"By whom was @ ({done})?",
            f"Who was @ ({done}) by?",
            f"@ was ({done}) by (whom|who)?",
            f"@ is by (whom|who|which {first_noun})?",
            "Who is @ by?",
            f"Who ({verbs}) (the {thing} called|the famous {thing}|the {thing}) {{name}}?",
            f"{{name}} was ({done}) by (whom|who|which person)?",
            f"{{name}}, who ({verbs}) it?",
            f"{{name}}(, | - |: | )({noun})(?|)",
            f"(What is|What was|What's) the name of the ({noun}) (of|behind) @?",
            f"Whose (work|{thing}) is @?",
            f"@ is the work of (whom|which {first_noun})?",
        ),
        clauses=(
            f"who ({verbs}) @",
            f"who ({verbs}) @",
            f"(which|what) ({noun}) ({verbs}) @",
            f"who the ({noun}) of @ (is|was)",
            f"by whom @ was ({done})",
            f"who @ was ({done}) by",
        ),
        nouns=(f"name of the ({noun}) (of|behind) @",),
        people=(f"({noun}) of @", f"person who ({verbs}) @", f"({noun}) who ({verbs}) @", f"({noun}) behind @"),
        held_out=(
            f"Would you know who ({verbs}) @?",
            f"Which person ({verbs}) @?",
            f"@: who is the ({noun})?",
            f"I'd like the name of the ({noun}) who ({verbs}) @.",
            f"Is it known who ({verbs}) @?",
        ),
    )


def when(kind: str, *, done: str, event: str, thing: str) -> Phrasings:
    """Questions for a year: participles `done` and nouns for what happened, `event`, separated by bars."""
    return relation(
        kind,
        direct=(
            f"When was @ ({done})?",
            f"When was @ ({done})?",
            f"(In what|In which|What|Which) year was @ ({done})?",
            f"(What|Which) year was it when @ was ({done})?",
            f"@ was ({done}) (when|in what year|in which year)?",
            f"When was the {thing} (called |){{name}} ({done})?",
            f"{{name}} was ({done}) (when|in what year)?",
            f"{{name}}, (when|in which year) was it ({done})?",
            "{name}(, | - |: | )(what year|which year|when|year)(?|)",
            f"When was the ({event}) of @?",
            f"In (what|which) year was the ({event}) of @?",
            "From (what|which) year is @?",
            "@ is from (what|which) year?",
        ),
        clauses=(
            f"when @ was ({done})",
            f"when @ was ({done})",
            f"(what year|which year|in what year|in which year) @ was ({done})",
            f"(when|in which year|what year) the ({event}) of @ was",
        ),
        nouns=(
            f"(year|date) of the ({event}) of @",
            f"year (when|in which|that) @ was ({done})",
            f"year @ was ({done})",
        ),
        held_out=(
            f"Would you know when @ was ({done})?",
            f"@: in what year was it ({done})?",
            f"I'd like the year when @ was ({done}).",
            f"Which was the year in which @ was ({done})?",
            f"Is it known in which year @ was ({done})?",
        ),
    )


def of(kind: str, *, noun: str, direct: tuple[str, ...], clauses: tuple[str, ...], held_out: tuple[str, ...]) -> Phrasings:
    """Questions for a property: the nouns `noun` for it, separated by bars, and its own wordings."""
    return relation(
        kind,
        direct=(
            *direct,
            f"What is the ({noun}) of @?",
            f"What's the ({noun}) of @?",
            f"{{name}}(, | - |: | )({noun})(?|)",
            f"{{name}}, what is (its|the) ({noun})?",
            f"@ has (what|which) ({noun})?",
            f"(What|Which) ({noun}) does @ have?",
        ),
        clauses=(*clauses, f"what the ({noun}) of @ is"),
        nouns=(f"({noun}) of @",),
        held_out=(
            *held_out,
            f"Would you know the ({noun}) of @?",
            f"@: what is the ({noun})?",
            f"I'd like the ({noun}) of @.",
        ),
    )
