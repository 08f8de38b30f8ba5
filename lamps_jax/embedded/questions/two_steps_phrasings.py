"""Wordings of questions that need a year from the encyclopedia and then a difference of years."""

from lamps_jax.embedded.questions.phrasing import Phrasings

_DID = {
    "birth": "come into the world|come into the world",
    "publication": "come out|appear",
    "completion": "come into being|get finished",
    "release": "come out|appear",
    "first performance": "come out|first appear",
    "invention": "appear|come into being",
    "discovery": "become known|come to light",
}
"""What something did in the year asked for, by the first noun for it."""

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
        "How old was {name} when {pronoun} died?",
        "How old did {name} get?",
        "{name}: how old did {pronoun} (get|become|grow)?",
        "{name}: how old was {pronoun} (at the end|on dying|when {pronoun} passed away|at the time of death)?",
        "{name}: at (what|which) age did {pronoun} (die|pass away)?",
        "{name}: what age did {pronoun} (reach|live to|get to|die at)?",
        "{name}: how (long|many years) did {pronoun} live?",
        "{name}: how many years old was {pronoun} (at death|when {pronoun} died)?",
        "{name}: what was {possessive} age (at death|when {pronoun} died)?",
        "{name}: how old (when {pronoun} died|at death|at the end)?",
        "{name}: age at death(?|)",
        "When {name} died, (what age was {pronoun}|how many years old was {pronoun}|what age had {pronoun} reached)?",
        "When {name} passed away, how (old was {pronoun}|many years old was {pronoun})?",
        "When death came, how old was {name}?",
        "When death came to {name}, what was {possessive} age?",
        "When {pronoun} (died|passed away), what was the age of {name}?",
        "How many years old (was {name} at the end|was {name} on dying|did {name} get|did {name} become)?",
        "I'd like to know (the age of {name} at death|how old {name} got|how long {name} lived)(.|)",
        "I'd like to know the age that {name} reached(.|)",
        "I'd like to know at which age {name} (died|passed away)(.|)",
        "I'd love to know the age at which {name} (died|passed away)(.|)",
        "I'd love to know how old {name} was when {pronoun} (died|passed away)(.|)",
        "What was the age at which {name} (died|passed away)?",
        "Which was the age at which {name} died?",
        "Would you know how (old {name} got|long {name} lived|many years {name} lived)?",
        "Would you know at (what|which) age {name} (died|passed away)?",
        "Would you (tell me|say) how old {name} was (at death|when {pronoun} died)?",
        "Might you know how old {name} was when {pronoun} died?",
        "Is it known how old {name} (got|was at death|was when {pronoun} died)?",
        "What age did {name} (reach|live to|get to)?",
        "To (what|which) age did {name} live?",
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
        "How old was {name} in {year}?",
        "How old was {name} in {year}?",
        "{name}: how old in {year}?",
        "{name}: how old (did {pronoun} get|did {pronoun} turn|did {pronoun} become) in {year}?",
        "{name}: how old was {pronoun} (by|in the year) {year}?",
        "{name}: (what|which) age was {pronoun} in {year}?",
        "{name}: what was {possessive} age in (the year |){year}?",
        "{name}: what age did {pronoun} (reach|have|turn) in {year}?",
        "{name}: how many years old was {pronoun} in {year}?",
        "{name}: age in {year}(?|)",
        "In {year}, {name} was how old?",
        "{year}: how old was {name}?",
        "{name} in {year}: how old was {pronoun}?",
        "In the year {year}, (what age was {name}|what was {name}'s age|how many years old was {name})?",
        "In the year {year}, which age (did {name} have|did {name} reach|was {name})?",
        "In {year}, (which|what) age did {name} (reach|have)?",
        "Which age (was {name} in|was reached by {name} in|did {name} turn in) (the year |){year}?",
        "To which age did {name} get in {year}?",
        "I'd like to know (how old {name} was|what age {name} had|which age {name} reached) in {year}(.|)",
        "I'd like to know the age (of {name}|that {name} reached|{name} had) in {year}(.|)",
        "I'd like to know the age that {name} had by {year}(.|)",
        "I'd love to know the age that {name} had in {year}(.|)",
        "I'd love to know how old {name} was in {year}(.|)",
        "What was the age that {name} had in {year}?",
        "Which was the age of {name} in {year}?",
        "Would you know (what|which) age {name} (had|reached|was) in {year}?",
        "Would you know the age of {name} in {year}?",
        "Would you (tell me|say) how old {name} was in {year}?",
        "Might you know how old {name} was in {year}?",
        "Is it known how old {name} was in {year}?",
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
    did = _DID[event.split("|")[0]]
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
            f"How many years before {{year}} was {name} ({done})?",
            f"How many years before {{year}} did {name} ({did})?",
            f"How long before {{year}} did {name} ({did})?",
            f"In {{year}}, how many years ago did {name} ({did})?",
            f"{{year}}: how (long|many years) ago was {name} ({done})?",
            f"By how many years (was|is) the ({event}) of {name} earlier than {{year}}?",
            f"By how many years did the ({event}) of {name} (precede|go before) {{year}}?",
            f"By how much did the ({event}) of {name} (come before|precede) {{year}}?",
            f"By how many years was {name} ({done}) before {{year}}?",
            f"By how many years does {{year}} come after the ({event}) of {name}?",
            f"How many years did the ({event}) of {name} (come before|precede) {{year}}?",
            f"How many years earlier than {{year}} was the ({event}) of {name}?",
            f"How many years earlier than {{year}} was {name} ({done})?",
            f"From the ({event}) of {name} (until|up to) {{year}}, how many years (passed|went by|is it|are there)?",
            f"From the ({event}) of {name} (to|until) {{year}}, how (long|much time) (is it|was it)?",
            f"From the ({event}) of {name} on, how many years (passed|went by) (until|to) {{year}}?",
            f"From the year of the ({event}) of {name} to {{year}}, how long is it?",
            f"(Seen|Viewed|Reckoned|Looking back) from {{year}}, how (long|many years) ago was the ({event}) of {name}?",
            f"(Viewed|Reckoned|Looking back|Looking) from {{year}}, how (long|many years) ago was {name} ({done})?",
            f"(Seen|Viewed|Reckoned) from {{year}}, how many years (before|earlier|back) was {name} ({done})?",
            f"(Seen|Viewed) from {{year}}, how (long|many years) ago did {name} ({did})?",
            f"(Seen|Viewed) from {{year}}, the ({event}) of {name} was how (long|many years) ago?",
            f"(I'd like|I'd love) to know how many years before {{year}} {name} was ({done})(.|)",
            f"(I'd like|I'd love) to know how long ago {name} was ({done}), seen from {{year}}(.|)",
            f"Would you (tell me|say|happen to know) how many years before {{year}} {name} was ({done})?",
            f"Would you know how (long|many years) before {{year}} the ({event}) of {name} was?",
            f"Would you know how long before {{year}} {name} was ({done})?",
            f"Might you know how many years before {{year}} {name} was ({done})?",
            f"Is it known how many years before {{year}} {name} was ({done})?",
            f"{{year}} came how many years after the ({event}) of {name}?",
            f"The ({event}) of {name} (was|came) how (many years|long) before {{year}}?",
            f"Since the ({event}) of {name}, how many years (passed|went by|had passed) (by|until) {{year}}?",
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
    did = _DID[event.split("|")[0]]
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
            f"How many years after {{year}} was {name} ({done})?",
            f"How many years after {{year}} did {name} ({did})?",
            f"How long after {{year}} did {name} ({did})?",
            f"{{year}}: how (long|many years) until {name} was ({done})?",
            f"By how many years (was|is) the ({event}) of {name} later than {{year}}?",
            f"By how many years did the ({event}) of {name} follow {{year}}?",
            f"By how much did the ({event}) of {name} (come after|follow) {{year}}?",
            f"By how many years was {name} ({done}) after {{year}}?",
            f"By how many years does {{year}} come before the ({event}) of {name}?",
            f"How many years did the ({event}) of {name} (come after|follow) {{year}}?",
            f"How many years later than {{year}} was the ({event}) of {name}?",
            f"How many years before the ({event}) of {name} (is|was|came) {{year}}?",
            f"{{year}} (is|was|came) how many years before the ({event}) of {name}?",
            f"From {{year}} (until|up to) the ({event}) of {name}, how many years (passed|went by|is it|are there)?",
            f"From {{year}} (to|until) the ({event}) of {name}, how (long|much time) (is it|was it)?",
            f"From {{year}} (on|onwards), how (long|many years) until {name} was ({done})?",
            f"From {{year}} (on|onwards), how many years (passed|went by) (until|to) the ({event}) of {name}?",
            f"From the year {{year}} to the ({event}) of {name}, how long is it?",
            f"(Seen|Viewed|Reckoned|Looking) from {{year}}, how (long|much) later was {name} ({done})?",
            f"(Viewed|Reckoned|Looking|Looking ahead) from {{year}}, how many years later was {name} ({done})?",
            f"(Seen|Viewed|Reckoned) from {{year}}, how many years (later|after) was the ({event}) of {name}?",
            f"(Seen|Viewed) from {{year}}, how many years (later|after) did {name} ({did})?",
            f"(Seen|Viewed) from {{year}}, the ({event}) of {name} was how (many years|long) later?",
            f"(I'd like|I'd love) to know how many years after {{year}} {name} was ({done})(.|)",
            f"(I'd like|I'd love) to know how long it took from {{year}} until {name} was ({done})(.|)",
            f"Would you (tell me|say|happen to know) how many years after {{year}} {name} was ({done})?",
            f"Would you know how (long|many years) after {{year}} the ({event}) of {name} was?",
            f"Would you know how long after {{year}} {name} was ({done})?",
            f"Might you know how many years after {{year}} {name} was ({done})?",
            f"Is it known how many years after {{year}} {name} was ({done})?",
            f"The ({event}) of {name} (was|came) how (many years|long) after {{year}}?",
            f"It is {{year}}. How (many years|long) until the ({event}) of {name}?",
            f"In {{year}}, how many years (was it|were there) until the ({event}) of {name}?",
        ),
        (
            f"Would you know how many years after {{year}} {name} was ({done})?",
            f"By how many years did the ({event}) of {name} come after {{year}}?",
            f"From {{year}} to the ({event}) of {name}, how many years (passed|went by|is it)?",
            f"Seen from {{year}}, how many years later was {name} ({done})?",
        ),
    )
