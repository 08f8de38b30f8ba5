"""Questions that need the Calculator: expressions as typed, operations named in words, and short stories with numbers.

The call copies an expression verbatim (``48 times 37``); an operation or story becomes ``a+b``, ``a-b``, ``a*b`` and so
on, its numbers as typed. The answer is the result alone.
"""

import random

from lamps_jax.embedded.questions.arithmetic_wordings import EXPRESSIONS, ITEMS, NAMED, PEOPLE, STORIES
from lamps_jax.embedded.questions.phrasing import Typed, type_question
from lamps_jax.embedded.questions.question import Call, Question, Split, belongs_to
from lamps_jax.tools.calculator import CALCULATOR, TENS_WORDS, UNIT_WORDS, calculate

MAX_QUESTION_CHARS = 160

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
