"""Wordings of questions that need a year from the encyclopedia and then a difference of years."""

from lamps_jax.embedded.questions.phrasing import Phrasings

AGE_AT_DEATH = Phrasings(
    (
        "How old was {name} when {pronoun} died?",
        "How old was {name} when {pronoun} died?",
        "How old was {name} (when {pronoun} passed away|at the time of death|at the end|on dying)?",
        "How old did {name} (get|become|grow)?",
        "At (what|which) age did {name} (die|pass away)?",
        "What age was {name} when {pronoun} (died|passed away)?",
        "What was the age of {name} at (death|the time of death)?",
        "What was {name}'s age at (death|the time of death)?",
        "How (long|many years) did {name} live?",
        "For how many years did {name} live?",
        "{name} (died at what age|lived how many years|lived for how long|got how old|was how old at death)?",
        "{name}(, | - )(age at death|how old at death|age when {pronoun} died)(?|)",
        (
            "(Tell me|Do you know|Can you tell me|I want to know|I wonder|I would like to know|Please tell me|"
            "Say) how old {name} was when {pronoun} died(?|.)"
        ),
        (
            "(Tell me|Do you know|Can you tell me|I want to know|I wonder|I was wondering|Find out) (how old "
            "{name} got|how long {name} lived)(?|.)"
        ),
        (
            "(Tell me|Do you know|Can you tell me|I want to know|I wonder|Find out) at (what|which) age {name} "
            "(died|passed away)(?|.)"
        ),
        "How many years (lie|are|were|passed) between the birth and the death of {name}?",
        "How many years after {possessive} birth did {name} die?",
        "(Find|Give me|I need|Tell me|What is|What was) the age of {name} (at death|when {pronoun} died)(?|.|)",
        "How many years (did the life of {name} last|was {name} alive|old was {name} at death)?",
        "Work out how old {name} (was at death|got|was when {pronoun} died)(|.)",
        "When {name} died, how old was {pronoun}?",
        "How old was {name} at death?",
    ),
    (
        "Would you know how old {name} was (at death|when {pronoun} died)?",
        "When {name} (died|passed away), what was {possessive} age?",
        "I'd like to know the age at which {name} (died|passed away).",
        "{name}: how old was {pronoun} (at death|when {pronoun} died)?",
        "How many years old was {name} when {pronoun} (died|passed away)?",
    ),
)

AGE_IN_YEAR = Phrasings(
    (
        "How old was {name} in {year}?",
        "How old was {name} in {year}?",
        "How old (was {name} in the year|did {name} turn in|did {name} get in|was {name} by|did {name} become in) {year}?",
        "What age (was {name} in|did {name} turn in|did {name} reach in|did {name} have in) {year}?",
        "What was the age of {name} in (the year |){year}?",
        "What was {name}'s age in (the year |){year}?",
        "In {year}, how old was {name}?",
        "In {year}, (what age was {name}|what was the age of {name}|what was {name}'s age)?",
        "{name}(, | - )(age in|how old in) {year}(?|)",
        "{name} was how old in (the year |){year}?",
        (
            "(Tell me|Do you know|Can you tell me|I want to know|I wonder|I would like to know|Please tell me|"
            "Find out) how old {name} was in {year}(?|.)"
        ),
        (
            "(Tell me|Do you know|Can you tell me|I want to know|I wonder|Say) (what age|which age) {name} (had|"
            "reached|turned) in {year}(?|.)"
        ),
        "(Find|Give me|I need|Tell me|What is|What was) the age of {name} in (the year |){year}(?|.|)",
        "It is {year}. How old is {name}?",
        "In the year {year}, how old (was|is) {name}?",
        "Work out how old {name} (was|turned) in {year}(|.)",
        "How many years old was {name} in {year}?",
        "How many years after {possessive} birth was it in {year} for {name}?",
        "How many years passed (between the birth of {name} and|from the birth of {name} to) {year}?",
        "When it was {year}, how old was {name}?",
    ),
    (
        "Would you know how old {name} was in {year}?",
        "In the year {year}, what was the age of {name}?",
        "I'd like to know the age that {name} had in {year}.",
        "{name}: how old was {pronoun} in {year}?",
        "Which age did {name} (reach|have) in (the year |){year}?",
    ),
)


def years_after(name: str, *, done: str, event: str) -> Phrasings:
    """How long before the named year something was `done`, or its `event` was; `name` stands in the sentence so."""
    return Phrasings(
        (
            f"How many years before {{year}} was {name} ({done})?",
            f"How many years before {{year}} was the ({event}) of {name}?",
            f"How many years ago was {name} ({done}), (counting|counted|seen) from {{year}}?",
            f"Counting from {{year}}, how many years ago was {name} ({done})?",
            f"(In|As of) {{year}}, how many years ago was {name} ({done})?",
            f"In {{year}}, how long ago was {name} ({done})?",
            f"How many years (passed|went by|lie|are there) between the ({event}) of {name} and {{year}}?",
            f"How many years (passed|went by) from the ({event}) of {name} (to|until) {{year}}?",
            f"How long (is it|was it) from the ({event}) of {name} (to|until) {{year}}?",
            f"How much time (passed|went by) between the ({event}) of {name} and {{year}}?",
            f"{{year}} is how many years after the ({event}) of {name}?",
            f"How many years after the ({event}) of {name} (is|was|came) {{year}}?",
            (
                f"(Tell me|Do you know|Can you tell me|I want to know|I wonder|Find out) how many years before "
                f"{{year}} {name} was ({done})(?|.)"
            ),
            (
                f"(Tell me|Do you know|Can you tell me|I want to know|I wonder) how many years (passed|lie) "
                f"between the ({event}) of {name} and {{year}}(?|.)"
            ),
            f"How many years had passed since the ({event}) of {name} in {{year}}?",
            f"How many years was it since the ({event}) of {name} (in|by) {{year}}?",
            f"{name} was ({done}) how many years before {{year}}?",
            f"It is {{year}}. How (many years|long) ago was {name} ({done})?",
            f"How long before {{year}} was {name} ({done})?",
        ),
        (
            f"Would you know how many years before {{year}} {name} was ({done})?",
            f"By how many years did the ({event}) of {name} come before {{year}}?",
            f"From the ({event}) of {name} to {{year}}, how many years (passed|went by|is it)?",
            f"Seen from {{year}}, how (long|many years) ago was {name} ({done})?",
        ),
    )


def years_before(name: str, *, done: str, event: str) -> Phrasings:
    """How long after the named year something was `done`, or its `event` was; `name` stands in the sentence so."""
    return Phrasings(
        (
            f"How many years after {{year}} was {name} ({done})?",
            f"How many years after {{year}} was {name} ({done})?",
            f"How many years after {{year}} was the ({event}) of {name}?",
            f"How long after {{year}} was {name} ({done})?",
            f"How many years (passed|went by) from {{year}} (to|until) the ({event}) of {name}?",
            f"How many years (passed|lie|are there|went by) between {{year}} and the ({event}) of {name}?",
            f"How long (is it|was it) from {{year}} (to|until) the ({event}) of {name}?",
            f"(Counting|Starting) from {{year}}, (how many years|how long) did it take until {name} was ({done})?",
            f"How many years later than {{year}} was {name} ({done})?",
            f"{name} was ({done}) how many years after {{year}}?",
            (
                f"(Tell me|Do you know|Can you tell me|I want to know|I wonder|Find out) how many years after "
                f"{{year}} {name} was ({done})(?|.)"
            ),
            (
                f"(Tell me|Do you know|Can you tell me|I want to know|I wonder) how many years (passed|lie) "
                f"between {{year}} and the ({event}) of {name}(?|.)"
            ),
            f"After {{year}}, how (many years|long) did it take until {name} was ({done})?",
            f"How many years did it take from {{year}} until {name} was ({done})?",
            f"How much time (passed|went by) between {{year}} and the ({event}) of {name}?",
        ),
        (
            f"Would you know how many years after {{year}} {name} was ({done})?",
            f"By how many years did the ({event}) of {name} come after {{year}}?",
            f"From {{year}} to the ({event}) of {name}, how many years (passed|went by|is it)?",
            f"Seen from {{year}}, how many years later was {name} ({done})?",
        ),
    )
