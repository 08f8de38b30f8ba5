"""Questions that need the Calculator: expressions as typed, operations named in words, and short stories with numbers.

The call copies an expression verbatim (``48 times 37``); an operation or story becomes ``a+b``, ``a-b``, ``a*b`` and so
on, its numbers as typed. The answer is the result alone.
"""

import random

from lamps_jax.embedded.questions.phrasing import Phrasings, Typed, type_question
from lamps_jax.embedded.questions.question import Call, Question, Split, belongs_to
from lamps_jax.tools.calculator import CALCULATOR, TENS_WORDS, UNIT_WORDS, calculate

MAX_QUESTION_CHARS = 160

EXPRESSIONS = Phrasings(
    train=(
        "(What is|What's|Whats) {expression}?",
        "What (does|would|will) {expression} (equal|make|give|give you|come to|work out to|add up to)?",
        "What do (you|I|we) get (for|from|with) {expression}?",
        "What do (you|I|we) get (when|if) (you|I|we) (compute|calculate|work out|evaluate|do) {expression}?",
        "What is the (value|result|answer) (of|to|for) {expression}?",
        "What's the (value|result|answer|outcome) of {expression}?",
        "What (number|value|result) is {expression}?",
        "(How much|How many) is {expression}?",
        "How much (does|would) {expression} (make|come to|amount to|give)?",
        "(Calculate|Compute|Evaluate|Solve|Work out|Find|Determine) {expression}.",
        "(Please|Can you please|Could you please|Kindly) (calculate|compute|evaluate|solve|work out) {expression}.",
        "(Can|Could|Would|Will) you (calculate|compute|evaluate|solve|work out|do|figure out) {expression} (for me|)?",
        "(Can|Could) you tell me (what {expression} is|the value of {expression}|the answer to {expression})?",
        "(Can|Could) you (help|assist) me (with|calculate|compute|solve) {expression}?",
        "{expression}",
        "{expression}?",
        "{expression} =",
        "{expression} = ?",
        "{expression}=?",
        "{expression} is (what|how much)?",
        "{expression} (equals|makes|gives|comes to) (what|how much|what number)?",
        "{expression}, what (is it|is that|does it make|does that give)?",
        "{expression}, how much is (it|that)?",
        "Tell me (what {expression} is|the value of {expression}|the result of {expression}|how much {expression} is).",
        "Give me (the value of|the result of|the answer to|the answer for|) {expression}.",
        "Show me (the result of|the answer to|what you get for) {expression}.",
        "Do you know (what {expression} is|what {expression} gives|how much {expression} is)?",
        "I (need|want|would like|have) to (know|find out|work out|calculate|compute) {expression}.",
        "I (need|want|would like) to know (what {expression} is|how much {expression} is|the result of {expression}).",
        "I (need|want) (the answer to|the result of|the value of) {expression}.",
        "I (am|'m) (trying|struggling) to (calculate|compute|solve|work out) {expression}.",
        "I (can't|cannot) (work out|figure out|compute|do) {expression} (in my head|myself|).",
        "(Math|Maths|Calculation|Sum|Arithmetic) (question|problem|time|): {expression}",
        "(Math|Maths|Homework) (question|problem|), what is {expression}?",
        "(Do|Run) the (math|maths|calculation|sum) (for|on): {expression}",
        "(Calculator|Calculate|Compute|Solve|Answer|Result): {expression}",
        "Help me (with|solve|calculate|compute|work out) {expression}.",
        "Use (the|a|your) calculator (for|on|to work out|to compute) {expression}.",
        "Type {expression} into (the|a|your) calculator.",
        "My (homework|teacher|daughter|son|friend|boss) asks (what {expression} is|for {expression}).",
        "My (son|daughter|kid|friend|teacher) wants to know (what {expression} is|{expression}).",
        "For my (homework|budget|spreadsheet|exam|invoice) I need {expression}.",
        "If (I|you|we) (calculate|compute|work out|type) {expression}, what (comes out|is the result|do I get)?",
        "What comes out (of|when I compute|if I calculate) {expression}?",
        "Is there a number for {expression}?",
        "Check (this|my math|my homework) for me: {expression}",
        "How would you (solve|work out|calculate) {expression}?",
        "Let's (compute|calculate|work out|do|solve) {expression}.",
        "Quickly (compute|calculate|work out), what is {expression}?",
        "Any idea (what {expression} is|how much {expression} makes|what {expression} comes to)?",
        "Find (the value of|the result of|the answer to|out what is) {expression}.",
        "(Simplify|Reduce|Process) {expression}.",
        "Exactly how much is {expression}?",
        "I forgot (what {expression} is|how much {expression} is|my calculator, what is {expression}).",
        "The (problem|task|exercise|question) (is|says|reads) {expression}.",
        "{expression} (please|thanks|, quickly|, thank you)",
        "{expression} (in numbers|as a number|as a decimal)?",
        "{expression} - do you know (it|the answer|the result)?",
    ),
    held_out=(
        "What might {expression} be?",
        "So what is {expression} equal to?",
        "What value does {expression} have?",
        "Could I get the result for {expression}?",
        "Let me know the answer to {expression}.",
        "Work this out for me: {expression}",
        "I wonder what {expression} makes.",
        "I was asked to compute {expression}.",
        "Would you happen to know what {expression} comes to?",
        "I'd like the value of {expression}.",
        "The answer to {expression} is what?",
        "How much do I get for {expression}?",
        "Can you do this sum: {expression}",
        "Please tell me how much {expression} gives.",
        "Which number is {expression}?",
        "My calculator is broken, what does {expression} give?",
        "Find me {expression}.",
        "Need the result of {expression}.",
    ),
)

NAMED = {
    "{a}+{b}": Phrasings(
        train=(
            "What is the (sum|total) of {a} and {b}?",
            "(Find|Calculate|Compute|Give me|Tell me) the (sum|total) of {a} and {b}.",
            "(Add|Sum) {a} (and|to|with) {b}.",
            "(Can|Could) you add {a} (and|to) {b} (for me|)?",
            "What do (you|I|we) get (if|when) (you|I|we) add {a} (and|to) {b}?",
            "How much (is|are) {a} and {b} (together|combined|in total|added up)?",
            "What (number|value) is {b} (more|greater|larger) than {a}?",
            "If I add {a} and {b}, what (is the total|is the sum|do I get)?",
            "{a} and {b} (together|added|in total|summed) (is|makes) how much?",
        ),
        held_out=(
            "What total do {a} and {b} make?",
            "What is the result of adding {a} and {b}?",
            "Sum up {a} and {b} for me.",
        ),
    ),
    "{a}-{b}": Phrasings(
        train=(
            "(Subtract|Take away|Take|Deduct) {b} from {a}.",
            "What is the difference between {a} and {b}?",
            "(Find|Calculate|Compute|Tell me) the difference (between|of) {a} and {b}.",
            "What is {a} (reduced|decreased|lowered) by {b}?",
            "What (is left|remains) (if|when) (I|you|we) (take|subtract|take away) {b} from {a}?",
            "How much (more|larger|greater|bigger) is {a} than {b}?",
            "What (number|value) is {b} (less|smaller) than {a}?",
            "(Can|Could) you (subtract|take|deduct) {b} from {a} (for me|)?",
            "What do (you|I|we) get (if|when) (you|I|we) subtract {b} from {a}?",
        ),
        held_out=(
            "What is the result of subtracting {b} from {a}?",
            "By how much is {a} larger than {b}?",
            "{a} take away {b}, what remains?",
        ),
    ),
    "{a}*{b}": Phrasings(
        train=(
            "What is the product of {a} and {b}?",
            "(Find|Calculate|Compute|Give me|Tell me) the product of {a} and {b}.",
            "(Multiply|Can you multiply|Could you multiply|Please multiply) {a} (by|and|with) {b}.",
            "What do (you|I|we) get (if|when) (you|I|we) multiply {a} (by|and|with) {b}?",
            "If I multiply {a} (by|and|with) {b}, what (is the result|comes out|do I get)?",
            "How much is {a} (lots|groups|sets) of {b}?",
        ),
        held_out=(
            "What is the result of multiplying {a} by {b}?",
            "{a} and {b} multiplied together makes what?",
            "Work out the product of {a} and {b}.",
        ),
    ),
    "{a}/{b}": Phrasings(
        train=(
            "(Divide|Can you divide|Could you divide|Please divide|Split) {a} by {b}.",
            "What is the quotient of {a} and {b}?",
            "(Find|Calculate|Compute|Tell me) the quotient of {a} and {b}.",
            "What do (you|I|we) get (if|when) (you|I|we) divide {a} by {b}?",
            "How (many times|often) does {b} (go|fit) into {a}?",
            "If I divide {a} by {b}, what (is the result|comes out|do I get)?",
            "What is {a} (split|shared|divided) (into|among) {b} (equal parts|parts)?",
        ),
        held_out=(
            "What is the result of dividing {a} by {b}?",
            "{a} shared by {b}, how much is it?",
            "How often can {b} be taken out of {a}?",
        ),
    ),
    "{percent}% of {b}": Phrasings(
        train=(
            "What is {percent} percent of {b}?",
            "(Calculate|Compute|Find|Work out) {percent} (percent|per cent) of {b}.",
            "How much is {percent} (percent|per cent|pct) of {b}?",
            "(Take|Give me|Tell me) {percent} (percent|per cent) of {b}.",
            "If I (take|have|get) {percent} percent of {b}, (how much is that|what do I get)?",
            "What is a {percent}% (share|tip|fee|tax|commission) on {b} (dollars|euros|pounds|)?",
            "A (meal|dinner|lunch|taxi ride) costs {b} dollars. What is a {percent}% tip?",
        ),
        held_out=(
            "What does {percent} percent of {b} come to?",
            "My bill is {b} dollars. How much is a {percent}% tip?",
        ),
    ),
    "{b}-{percent}%": Phrasings(
        train=(
            "What is {percent}% off {b}?",
            "How much is {b} (dollars|euros|) (with|after) a {percent}% discount?",
            "A (coat|lamp|book|phone|game) costs {b} dollars and is {percent}% off. What (is the new price|do I pay)?",
            "What is {b} (reduced|decreased|lowered) by {percent}%?",
            "Take {percent}% off {b}.",
            "The price was {b} dollars and it dropped by {percent}%. What is it now?",
        ),
        held_out=(
            "What do I pay for a {b} dollar jacket with {percent}% off?",
            "How much is left of {b} after taking {percent}% off?",
        ),
    ),
    "sqrt({square})": Phrasings(
        train=(
            "What (number|value) (squared|times itself) (is|gives|makes) {square}?",
            "(Find|Calculate|Compute|Give me|Tell me) the square root of {square}.",
            "What is the (square root|sqrt) of {square}?",
            "How much is the (square root|sqrt|root) of {square}?",
            "Take the (square root|sqrt) of {square}.",
        ),
        held_out=("What square root does {square} have?", "Work out the square root of {square} for me."),
    ),
    "{base}**{exponent}": Phrasings(
        train=(
            "(Raise|Take) {base} to the power of {exponent}.",
            "What is {base} raised to (the power of|the power) {exponent}?",
            "What do (you|I|we) get (if|when) (you|I|we) raise {base} to the power of {exponent}?",
            "(Calculate|Compute|Find) {base} raised to the power (of|) {exponent}.",
        ),
        held_out=("What is the result of raising {base} to the power of {exponent}?",),
    ),
}

STORIES = {
    "{a}+{b}": Phrasings(
        train=(
            "{person} has {a} {item} and (gets|buys|finds|wins) {b} more. How many {item} does {person} have (now|)?",
            "I (have|own|count) {a} {item}. (My friend|My brother|My sister) gives me {b} more. How many do I have?",
            "There are {a} {item} in one box and {b} in another. How many (are there|{item} are there|in total)?",
            "{person} walked {a} (miles|steps|km) in the morning and {b} in the evening. How far is that in total?",
            "A class has {a} boys and {b} girls. How many (children|students|pupils) are (there|in the class)?",
            "We drove {a} (miles|km) (yesterday|on Monday) and {b} (today|on Tuesday). How far did we drive?",
            "{person} spent {a} dollars on (food|rent|gifts) and {b} dollars on {item}. How much (is that|in all)?",
            "A shop sold {a} {item} (on Monday|yesterday) and {b} (on Tuesday|today). How many did it sell?",
            "{person} scored {a} points (in|during) the first game and {b} in the second. What is the total?",
            "I read {a} pages (yesterday|on Sunday) and {b} (today|on Monday). How many pages (have I read|is that)?",
            "One bag weighs {a} (kg|pounds|grams) and the other weighs {b}. What do they weigh together?",
            "A train carries {a} people and {b} more get on. How many (people|passengers) are on (it|the train) now?",
            "The library had {a} books and bought {b} new ones. How many books does it have now?",
            "If I pay ${a} for shoes and ${b} for a bag, how much do I pay?",
        ),
        held_out=(
            "{person} picked {a} {item} and later picked {b} more. What is the total?",
            "My sister has {a} {item} and I have {b}. How many do we have together?",
            "A farmer owns {a} sheep and buys {b} more. How many sheep does the farmer have now?",
            "I paid {a} dollars for a chair and {b} dollars for a desk. How much was that in total?",
        ),
    ),
    "{a}-{b}": Phrasings(
        train=(
            "{person} has {a} {item} and (gives away|loses|sells|uses|breaks|eats) {b}. How many are left?",
            "{person} had {a} {item} and (gave {b} to a friend|lost {b}|sold {b}). How many (are left|remain)?",
            "There (are|were) {a} {item} in (a box|a bag|the shop). {b} are (taken|sold|gone). How many remain?",
            "A book has {a} pages and I have read {b}. How many pages (are left|remain|do I still have)?",
            "I have {a} dollars and spend {b}. How (much|many dollars) do I have left?",
            "A bus has {a} (people|passengers) and {b} get off. How many are (still on it|left|on the bus now)?",
            "{person} needs {a} dollars and has saved {b}. How much (is missing|more is needed)?",
            "The trip is {a} (miles|km) long and we have done {b}. How far is it (still|to go)?",
            "Of {a} {item}, {b} are broken. How many are (fine|good|not broken)?",
            "A tank holds {a} liters and {b} liters (leak out|are used). How many liters are left?",
            "A school has {a} students and {b} are (sick|absent|away). How many are (there|at school|present)?",
            "I paid with ${a} and the bill was ${b}. How much change (do I get|should I get)?",
            "{person} is {a} years old and {person2} is {b}. How much older is {person}?",
            "The tower is {a} feet tall and the tree is {b} feet. How much taller is the tower?",
        ),
        held_out=(
            "{person} bought {a} {item} and {b} of them were eaten. How many remain?",
            "A shop had {a} {item} and sold {b} today. How many does it still have?",
            "From {a} dollars I used {b}. How much money is left?",
            "A hall has {a} seats and {b} are taken. How many seats are free?",
        ),
    ),
    "{a}*{b}": Phrasings(
        train=(
            "A box holds {a} {item}. How many {item} are in {b} boxes?",
            "(A|Each|Every) (bag|crate|basket|carton) (has|contains|holds) {a} {item}. How many are in {b} of them?",
            "There are {a} (boxes|bags|shelves|rows) with {b} {item} each. How many {item} (are there|in total)?",
            "{person} buys {a} {item} for {b} dollars each. How much (is that|does it cost|does {person} pay)?",
            "One ticket costs {a} dollars. How much (do|would|will) {b} tickets cost?",
            "{person} (earns|makes|gets) {a} dollars an hour. How much is that for {b} hours?",
            "I (read|write|type) {a} pages (a day|every day|per day). How many pages is that in {b} days?",
            "A car drives {a} (miles|km) (an hour|per hour). How far does it get in {b} hours?",
            "If (one|a single) (shirt|lamp|book|cake) costs ${a}, what do {b} cost?",
            "A (hall|theater|room|plane) has {a} rows (of|with) {b} seats. How many seats (are there|does it have)?",
            "{a} (friends|people|children|workers) (each get|get|each carry) {b} {item} each. How many {item} is that?",
            "Every week {person} saves {a} dollars. How much is saved (after|in) {b} weeks?",
            "A field is {a} (meters|feet|yards) long and {b} wide. What is its area?",
            "A machine makes {a} {item} (a minute|per minute|an hour). How many does it make in {b}?",
            "I need {a} {item} for each of my {b} guests. How many (do I need|{item} is that)?",
        ),
        held_out=(
            "A pack has {a} {item}. How many do I have in {b} packs?",
            "{person} runs {a} miles each day. How many miles is that in {b} days?",
            "A garden has {a} rows with {b} trees each. How many trees are there?",
            "Each of {a} students brings {b} {item}. How many {item} are there in total?",
        ),
    ),
    "{a}/{b}": Phrasings(
        train=(
            "{a} {item} are (shared|split|divided) (equally|evenly) among {b} people. How many does each get?",
            "{person} (splits|shares|divides) {a} {item} among {b} friends. How many does each (get|friend get)?",
            "I (put|pack|sort) {a} {item} into {b} (boxes|bags|rows) evenly. How many are in each?",
            "{a} {item} go into boxes of {b}. How many boxes (are needed|do I need|is that)?",
            "A rope of {a} (meters|feet) is cut into {b} equal pieces. How long is each (piece|)?",
            "{b} (people|friends) share a bill of {a} dollars. (How much|What) does each (pay|owe)?",
            "{b} tickets cost {a} dollars. How much is one (ticket|)?",
            "We drove {a} (miles|km) in {b} hours. What (is|was) our (average|) speed?",
            "A book has {a} pages and I read {b} a day. How many days (do I need|does it take|is that)?",
            "{person} earned {a} dollars in {b} hours. How much is that (per|an) hour?",
            "A teacher puts {a} students into groups of {b}. How many groups (are there|is that)?",
            "How many bags of {b} {item} can I fill (with|from) {a} {item}?",
            "{a} liters are poured into {b} equal tanks. How many liters are in each?",
            "If {b} {item} weigh {a} grams, how heavy is one?",
        ),
        held_out=(
            "{b} children share {a} {item} evenly. How many are there for each child?",
            "{a} {item} are packed in bags of {b}. How many bags are there?",
            "We pay {a} dollars for {b} nights. How much is one night?",
            "A ribbon of {a} inches is cut into {b} equal parts. How long is one part?",
        ),
    ),
}

PEOPLE = (
    "Anna Ben Carla David Emma Felix Grace Henry Ivy Jack Kate Liam Mia Noah Olivia Paul Quinn Rosa Sam Tara Uma "
    "Victor Wendy Xavier Yara Zoe Ahmed Bianca Chen Diego Elena Farid Hana Ingrid Jonas Kofi Lena Marco Nina Omar "
    "Priya Rahul"
)
ITEMS = (
    "apples oranges pears plums eggs books pens pencils marbles stickers coins stamps cards balls toys cups plates "
    "bottles chairs candles flowers roses cookies muffins sandwiches tickets photos shells stones buttons beads "
    "bricks nails screws potatoes tomatoes onions carrots lemons peaches bananas cherries nuts sweets postcards "
    "magazines notebooks erasers magnets batteries bulbs boxes bags socks shirts hats"
)

_KINDS = {"expression": 54, "named": 20, "story": 26}
_EXPRESSION_FORMS = {
    "one": 58,
    "two": 12,
    "parenthesised": 8,
    "power": 6,
    "percent": 8,
    "root": 3,
    "words": 3,
    "multiple": 2,
}
_NAMED_WEIGHTS = (18, 18, 18, 18, 12, 6, 6, 4)
_STORY_WEIGHTS = (18, 18, 22, 18)
_WORDS = {"+": (" plus ",), "-": (" minus ",), "*": (" times ", " multiplied by "), "/": (" divided by ",)}
_MULTIPLES = ("half of", "a third of", "a quarter of", "twice", "double")


def generate(rng: random.Random, split: Split) -> Question:
    """A question of kind ``calculator`` whose wording and numbers both belong to `split`."""
    kind = _drawn(rng, _KINDS)
    while True:
        if kind == "expression":
            written, key = _expression(rng)
            if not belongs_to(split, key):
                continue
            typed = type_question(rng, split, EXPRESSIONS, expression=written)
            arguments = typed.slots["expression"]
        else:
            named = kind == "named"
            table, weights = (NAMED, _NAMED_WEIGHTS) if named else (STORIES, _STORY_WEIGHTS)
            pattern = rng.choices(tuple(table), weights)[0]
            numbers = _named_numbers(rng, pattern) if named else _story_numbers(rng, pattern)
            if not belongs_to(split, _key(pattern.format(**numbers))):
                continue
            things = {} if named else _things(rng, split)
            typed = type_question(rng, split, table[pattern], **numbers, **things)
            arguments = pattern.format(**typed.slots)
        if len(typed.text) <= MAX_QUESTION_CHARS:
            return _answered(typed, arguments)


def _answered(typed: Typed, arguments: str) -> Question:
    result = calculate(arguments)
    return Question("calculator", typed.text, (Call(CALCULATOR.name, arguments, result),), result)


def _key(expression: str) -> str:
    """What decides the split: no spaces or thousands commas, and two summands or factors always in the same order."""
    plain = expression.replace(" ", "").replace(",", "")
    for operator in "+*":
        left, found, right = plain.partition(operator)
        if found and all(part.replace(".", "", 1).isdigit() for part in (left, right)):
            return operator.join(sorted((left, right)))
    return plain


def _expression(rng: random.Random) -> tuple[str, str]:
    """An expression as somebody writes it, and the key that decides its split."""
    form = _drawn(rng, _EXPRESSION_FORMS)
    spelling = _spelling(rng)
    if form == "words":
        operator = rng.choice("+-*")
        left, right = rng.randint(2, 99), rng.randint(2, 20)
        return _in_words(left) + rng.choice(_WORDS[operator]) + _in_words(right), _key(f"{left}{operator}{right}")
    if form == "multiple":
        multiple, number = rng.choice(_MULTIPLES), _number(rng)
        return f"{multiple} {number}", f"{multiple}{number}"
    if form == "root":
        radicand = str(rng.randint(2, 60) ** 2 if rng.random() < 0.7 else rng.randint(2, 999))
        written = rng.choice(("sqrt({})", "sqrt({})", "sqrt {}", "the square root of {}", "square root of {}"))
        return written.format(radicand), f"sqrt({radicand})"
    if form == "power":
        base, exponent = rng.randint(2, 40), rng.randint(2, 4)
        written = rng.choice(("{}^{}", "{}**{}", "{} ^ {}", "{} to the power of {}", "{} to the power {}", ""))
        if not written:
            base, exponent = rng.randint(2, 300), rng.choice((2, 2, 3))
            written = "{} squared" if exponent == 2 else "{} cubed"
        return written.format(base, exponent), f"{base}**{exponent}"
    if form == "percent":
        percent, whole = _percent(rng), _number(rng)
        if rng.random() < 0.15:
            sign = rng.choice("+-")
            return f"{whole}{spelling[sign]}{percent}%", _key(f"{whole}{sign}{percent}%")
        return f"{percent}{rng.choice(('%', '%', ' percent'))} of {whole}", _key(f"{percent}% of {whole}")
    if form == "one":
        operator = rng.choice("+-*/")
        left, right = _operands(rng, operator)
        if operator != "/" and rng.random() < 0.04:
            left = f"-{left}"
        return left + spelling[operator] + right, _key(left + operator + right)
    return _longer_expression(rng, spelling, parenthesised=form == "parenthesised")


def _longer_expression(rng: random.Random, spelling: dict[str, str], *, parenthesised: bool) -> tuple[str, str]:
    first, second = rng.choice("+-" if parenthesised else "+-*/"), rng.choice("+-*")
    numbers = [_number(rng, longest=3) for _ in range(3)]
    if parenthesised:
        inner, outer = (rng.choice((operator, f" {operator} ")) for operator in (first, rng.choice("**/")))
        written = rng.choice(("({0}{inner}{1}){outer}{2}", "({0}{inner}{1}){outer}{2}", "{2}{outer}({0}{inner}{1})"))
        if outer.strip() == "/":
            written, numbers[2] = "({0}{inner}{1}){outer}{2}", str(rng.randint(2, 20))
        expression = written.format(*numbers, inner=inner, outer=outer)
        return expression, _key(expression)
    if first == "/":
        numbers[0], numbers[1] = _operands(rng, "/")
    written = numbers[0] + spelling[first] + numbers[1] + spelling[second] + numbers[2]
    return written, _key(numbers[0] + first + numbers[1] + second + numbers[2])


def _spelling(rng: random.Random) -> dict[str, str]:
    """How one person writes each operator: all in symbols or all in words, with or without spaces."""
    if rng.random() < 0.3:
        return {operator: rng.choice(words) for operator, words in _WORDS.items()}
    spaced = rng.random() < 0.6
    cross = rng.random() < 0.3
    symbols = {"+": "+", "-": "-", "*": "x" if cross else "*", "/": "/"}
    return {operator: f" {symbol} " if spaced else symbol for operator, symbol in symbols.items()}


def _operands(rng: random.Random, operator: str) -> tuple[str, str]:
    if operator == "/" and rng.random() < 0.75:
        divisor = rng.randint(2, 99)
        return str(divisor * rng.randint(2, 150)), str(divisor)
    left, right = _number(rng), _number(rng)
    return left, "7" if operator == "/" and float(right.replace(",", "")) == 0 else right


def _number(rng: random.Random, longest: int = 6) -> str:
    """A number from 0 on, most often of two or three digits, now and then with decimals or a thousands comma."""
    digits = min(longest, rng.choices((1, 2, 3, 4, 5, 6), (20, 40, 24, 11, 3, 2))[0])
    value = rng.randrange(10 ** (digits - 1) if digits > 1 else 0, 10**digits)
    if rng.random() < 0.07:
        return f"{value}.{rng.randint(1, 99)}"
    return f"{value:,}" if rng.random() < 0.25 else str(value)


def _percent(rng: random.Random) -> str:
    return str(rng.choice((5, 10, 15, 20, 25, 30, 40, 50, 75)) if rng.random() < 0.5 else rng.randint(1, 99))


def _named_numbers(rng: random.Random, pattern: str) -> dict[str, str]:
    a, b = _operands(rng, "/" if "/" in pattern else "+")
    if "-" in pattern and float(a.replace(",", "")) < float(b.replace(",", "")):
        a, b = b, a
    numbers = {
        "a": a,
        "b": b,
        "percent": _percent(rng),
        "square": str(rng.randint(2, 60) ** 2 if rng.random() < 0.8 else rng.randint(2, 999)),
        "base": str(rng.randint(2, 40)),
        "exponent": str(rng.randint(2, 4)),
    }
    return {name: value for name, value in numbers.items() if f"{{{name}}}" in pattern}


def _story_numbers(rng: random.Random, pattern: str) -> dict[str, str]:
    small, large = rng.randint(2, 30), rng.randint(2, rng.choice((40, 200, 999)))
    a, b = large, small
    if pattern == "{a}+{b}":
        b = rng.randint(2, rng.choice((40, 200, 999)))
    elif pattern == "{a}-{b}":
        other = rng.randint(2, 60)
        a, b = max(a, other) + 1, min(a, other)
    elif pattern == "{a}/{b}":
        a = b * rng.randint(2, 60)
    return {"a": str(a), "b": str(b)}


def _things(rng: random.Random, split: Split) -> dict[str, str]:
    person, other = rng.sample([name for name in PEOPLE.split() if belongs_to(split, name)], 2)
    item = rng.choice([name for name in ITEMS.split() if belongs_to(split, name)])
    return {"person": person, "person2": other, "item": item}


def _in_words(number: int) -> str:
    if number < 20:
        return UNIT_WORDS.split()[number]
    tens, units = divmod(number, 10)
    return TENS_WORDS.split()[tens - 2] + (f"-{UNIT_WORDS.split()[units]}" if units else "")


def _drawn(rng: random.Random, weights: dict[str, int]) -> str:
    return rng.choices(tuple(weights), tuple(weights.values()))[0]
