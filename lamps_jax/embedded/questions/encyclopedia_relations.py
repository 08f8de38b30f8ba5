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
    "Remind me|Say|I forgot|Can you say|Find out|My friend asked me|Would you tell me|Would you say|Would you happen to know|"
    "Might you know|Would you remind me|I'd love to know|I'd like to find out|I'd like to learn|I'd like to hear|"
    "I'd be glad to know|Is it known to you|Is it written anywhere|Do we know|May I know|Would anybody know)"
)
_BEFORE_NOUN = (
    "(What is the|What's the|Tell me the|Give me the|I need the|I am looking for the|Find the|Look up the|"
    "Can you find the|Do you know the|Could you give me the|What was the|Please give me the|I would like the|"
    "I want the|Can you tell me the|I want to know the|Find me the|Search for the|I'd like to have the|I'd love to know the|"
    "I'd like to hear the|Would you tell me the|Would you give me the|Would you look up the|Would you happen to know the|"
    "Might I have the|Might you know the|I'd like to find the)"
)
_BEFORE_WHO = (
    "(Who is the|Who was the|Who's the|Name the|Tell me the|Do you know the|Find the|Give me the|"
    "Can you tell me who was the|And who is the|I'd like to know the|I'd love to know the|Would you tell me the|"
    "Would you name the|Might you know the|Would you happen to know the|Which person is the|Is it known who was the)"
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
            f"Who ({verbs}) @?",
            f"Who ({verbs}) {{name}}?",
            f"{{name}}: who ({verbs}) it?",
            f"@: who ({verbs}) it?",
            f"@: who was the ({noun})?",
            f"@: who was it ({done}) by?",
            f"@: by whom was it ({done})?",
            f"{{name}}: (which|what) ({noun}) ({verbs}) it?",
            "@: who is it by?",
            f"{{name}}: do you know the ({noun})?",
            f"{{name}}: what is the name of the ({noun})?",
            f"{{name}}: name the ({noun})(.|)",
            f"@ - who was the ({noun})?",
            f"(Which|What) (man or woman|people|human being) ({verbs}) @?",
            f"Which person was it who ({verbs}) @?",
            f"Which person is the ({noun}) of @?",
            f"By which person was @ ({done})?",
            f"Which was the ({noun}) (who|that) ({verbs}) @?",
            f"I'd like (to have |)the name of the ({noun}) of @(.|)",
            f"I'd love the name of the person who ({verbs}) @(.|)",
            f"I'd like to know the name of whoever ({verbs}) @(.|)",
            f"I'd like the ({noun}) of @(.|)",
            f"Is it known by whom @ was ({done})?",
            f"Is it known which ({noun}) ({verbs}) @?",
            f"Is the ({noun}) of @ known?",
            f"Would you know the ({noun}) of @?",
            f"Would you know by whom @ was ({done})?",
            f"Might you know who ({verbs}) @?",
            f"I want to thank the ({noun}) of @. Who is it?",
            f"I like @. Who ({verbs}) it?",
            f"I'd like to see @. Who ({verbs}) it?",
            f"Did you say who ({verbs}) @?",
            "Whom do we thank for @?",
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


def when(kind: str, *, done: str, event: str, thing: str, did: str, past: str) -> Phrasings:
    """Questions for a year: participles `done`, nouns `event`, and what the thing itself `did`, also in the past tense."""
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
            f"When was @ ({done})?",
            f"When was {{name}} ({done})?",
            f"When did @ ({did})?",
            f"When did {{name}} ({did})?",
            f"(In what|In which|What|Which) year did @ ({did})?",
            f"Did @ ({did}) in (what|which) year?",
            f"@: when was it ({done})?",
            f"{{name}}: when was it ({done})?",
            f"@: (what|which) year was it ({done})?",
            f"{{name}}: in which year was it ({done})?",
            f"@: in (what|which) year did it ({did})?",
            f"{{name}}: when did it ({did})?",
            f"@: when was the ({event})?",
            f"@: in what year was the ({event})?",
            "@: (from what year is it|what year is it from|which year is it from|since when do we have it)?",
            f"{{name}}: what is the year of the ({event})?",
            f"{{name}}: tell me the year of the ({event})(.|)",
            f"Which was the year of the ({event}) of @?",
            f"Which was the year (when|that) @ was ({done})?",
            f"Which is the year in which @ was ({done})?",
            f"Which was the year in which @ ({past})?",
            f"I'd like the year of the ({event}) of @(.|)",
            f"I'd like the year in which @ was ({done})(.|)",
            f"I'd like to know when @ was ({done})(.|)",
            f"I'd love to know the year when @ was ({done})(.|)",
            f"Is it known when @ was ({done})?",
            f"Is it known in which year @ ({past})?",
            f"Is the year of the ({event}) of @ known?",
            f"Would you know the year of the ({event}) of @?",
            f"Would you know in (what|which) year @ was ({done})?",
            f"Would you know when @ ({past})?",
            f"Might you know when @ was ({done})?",
            "Since (what|which) year (do we have|has there been) @?",
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
            f"What is the ({noun}) of @?",
            f"What is the ({noun}) of {{name}}?",
            f"{{name}}: what is its ({noun})?",
            f"@: what is its ({noun})?",
            f"@: (which|what) ({noun}) does it have?",
            f"@: which is the ({noun})?",
            f"{{name}}: (tell me|I need|give me|find) (the|its) ({noun})(.|)",
            f"{{name}}: what would its ({noun}) be?",
            f"@: what's the ({noun})?",
            f"@ - what is its ({noun})?",
            f"Which is the ({noun}) of @?",
            f"Which is the ({noun}) that belongs to @?",
            f"What would the ({noun}) of @ be?",
            f"I'd like to know the ({noun}) of @(.|)",
            f"I'd love (to know|to have|to hear) the ({noun}) of @(.|)",
            f"I'd like {{name}}'s ({noun})(.|)",
            f"Would you know {{name}}'s ({noun})?",
            f"Would you know what the ({noun}) of @ is?",
            f"Would you (say|tell me|give me) the ({noun}) of @?",
            f"Might you know the ({noun}) of @?",
            f"Is the ({noun}) of @ known?",
            f"Is it known what the ({noun}) of @ is?",
            f"Is there a ({noun}) (of @|that @ has), and what is it?",
            f"I am reading about @. What is the ({noun})?",
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
