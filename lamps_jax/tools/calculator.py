"""The Calculator tool: arithmetic as people type it, in symbols or in words, exact where that is possible."""

import decimal
import math
import re
from fractions import Fraction

from lamps_jax.tools.tool import Tool, ToolError, one_string

MAX_EXPRESSION_CHARS = 200
MAX_RESULT_DIGITS = 50
MAX_DECIMALS = 6
_MAX_DEPTH = 30
_MAX_BITS = 4096
_IRRATIONAL_DIGITS = 50

_SYMBOLS = {"×": "*", "÷": "/", "−": "-", "–": "-", "²": " squared ", "³": " cubed ", "√": " sqrt ", "^": "**"}
UNIT_WORDS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
)
TENS_WORDS = "twenty thirty forty fifty sixty seventy eighty ninety"
_NUMBER_WORDS = {word: value for value, word in enumerate(UNIT_WORDS.split())}
_NUMBER_WORDS |= {word: 10 * value for value, word in enumerate(TENS_WORDS.split(), start=2)}
_NUMBER_WORDS |= {"hundred": 100, "thousand": 1000, "million": 1_000_000}
_MULTIPLES = {
    "half": Fraction(1, 2),
    "third": Fraction(1, 3),
    "quarter": Fraction(1, 4),
    "double": Fraction(2),
    "twice": Fraction(2),
    "triple": Fraction(3),
}
_PHRASES = {
    "plus": "+",
    "added to": "+",
    "minus": "-",
    "less": "-",
    "take away": "-",
    "subtracted from": "from",
    "times": "*",
    "multiplied by": "*",
    "x": "*",
    "divided by": "/",
    "over": "/",
    "mod": "mod",
    "modulo": "mod",
    "to the power of": "**",
    "to the power": "**",
    "raised to": "**",
    "squared": "squared",
    "cubed": "cubed",
    "percent": "percent",
    "per cent": "percent",
    "of": "of",
    "square root of": "sqrt",
    "square root": "sqrt",
    "sqrt of": "sqrt",
    "sqrt": "sqrt",
}


def _either(words: dict[str, object]) -> str:
    return "|".join(word.replace(" ", " +") for word in sorted(words, key=len, reverse=True))


_NUMBER_WORD = f"(?:{_either(dict(_NUMBER_WORDS))})"
_TOKEN = re.compile(
    r"(?P<space>[\s$]+|(?:the|a)\b)"
    r"|(?P<number>\d{1,3}(?:,\d{3})+(?!\d)(?:\.\d+)?|\d+(?:\.\d*)?|\.\d+)"
    rf"|(?P<words>{_NUMBER_WORD}(?:(?: +|-|(?<=hundred) and |(?<=thousand) and ){_NUMBER_WORD})*)(?![a-z])"
    rf"|(?P<multiple>{_either(dict(_MULTIPLES))})(?: +of)?\b"
    rf"|(?P<phrase>{_either(dict(_PHRASES))})(?![a-z])"
    r"|(?P<symbol>\*\*|//|[-+*/%()])"
)

_Token = Fraction | str


def calculate(expression: str) -> str:
    """Value of `expression` in plain decimals: integers exact, others rounded to six significant decimals.

    Reads ``+ - * / // % ** ^``, parentheses, ``sqrt``, thousands commas, percentages (``15% of 80``; ``80 - 15%`` takes
    15 % of the 80 off) and the same in words (``48 times 37``, ``7 squared``, ``half of ninety``). Work and size are
    bounded before anything is computed.

    Raises:
        ToolError: If the expression cannot be read, has no value among the real numbers, or is too large.
    """
    if len(expression) > MAX_EXPRESSION_CHARS:
        raise ToolError(f"expression too long: {len(expression)} characters, at most {MAX_EXPRESSION_CHARS}")
    return _written(_Reader(_tokens(expression)).value())


def _tokens(expression: str) -> list[_Token]:
    text = expression.lower()
    for symbol, plain in _SYMBOLS.items():
        text = text.replace(symbol, plain)
    text = text.strip().rstrip("=?. ")
    tokens: list[_Token] = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise ToolError(f"cannot read {text[at : at + 12]!r} as arithmetic")
        at = match.end()
        found = match.group()
        if match.lastgroup == "number":
            tokens.append(Fraction(found.replace(",", "")))
        elif match.lastgroup == "words":
            tokens.append(Fraction(_number_in_words(found)))
        elif match.lastgroup == "multiple":
            tokens += [_MULTIPLES[match.group("multiple")], "*"]
        elif match.lastgroup == "phrase":
            tokens.append(_PHRASES[" ".join(found.split())])
        elif match.lastgroup == "symbol":
            tokens.append(found)
    return tokens


def _number_in_words(text: str) -> int:
    total = current = 0
    for word in re.findall("[a-z]+", text):
        if word == "and":
            continue
        value = _NUMBER_WORDS[word]
        if value >= 1000:
            total, current = total + max(current, 1) * value, 0
        elif value == 100:
            current = max(current, 1) * value
        elif current % 100 == 0 or (current % 10 == 0 and current % 100 >= 20 and value < 10):
            current += value
        else:
            raise ToolError(f"cannot read {text!r} as one number")
    return total + current


class _Reader:
    """Recursive descent over tokens; every level returns the exact value of what it has read."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._at = 0
        self._depth = 0

    def value(self) -> Fraction:
        """Value of all the tokens."""
        if not self._tokens:
            raise ToolError("empty expression")
        value = self._sum()
        if self._at < len(self._tokens):
            raise ToolError(f"unexpected {self._shown()} in the expression")
        return value

    def _sum(self) -> Fraction:
        value = self._product()
        while (operator := self._take("+", "-", "from")) is not None:
            start = self._at
            right = self._product()
            if operator == "from":
                value = _bounded(right - value)
                continue
            if self._tokens[start + 1 : self._at] in (["%"], ["percent"]):
                right = _bounded(value * right)
            value = _bounded(value + right if operator == "+" else value - right)
        return value

    def _product(self) -> Fraction:
        value = self._signed()
        while True:
            operator = self._take("*", "/", "//", "%", "mod")
            if operator is None and self._peek() != "(":
                return value
            right = self._signed()
            if operator in ("/", "//", "%", "mod") and right == 0:
                raise ToolError("division by zero")
            if operator == "/":
                value = value / right
            elif operator == "//":
                value = Fraction(value // right)
            elif operator in ("%", "mod"):
                value = value % right
            else:
                value = value * right
            value = _bounded(value)

    def _signed(self) -> Fraction:
        sign = 1
        while (operator := self._take("+", "-")) is not None:
            sign = -sign if operator == "-" else sign
        value = self._marked()
        if self._take("**") is not None:
            value = _power(value, self._signed())
        return sign * value

    def _marked(self) -> Fraction:
        value = self._atom()
        while True:
            if self._take("squared") is not None:
                value = _power(value, Fraction(2))
            elif self._take("cubed") is not None:
                value = _power(value, Fraction(3))
            elif self._peek() == "percent" or (self._peek() == "%" and not self._operand_follows()):
                self._at += 1
                value /= 100
                if self._peek() == "of":
                    self._tokens[self._at] = "*"
            else:
                return value

    def _operand_follows(self) -> bool:
        following = self._tokens[self._at + 1 : self._at + 2]
        return bool(following) and (isinstance(following[0], Fraction) or following[0] in ("(", "sqrt"))

    def _atom(self) -> Fraction:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise ToolError(f"expression nested too deeply, at most {_MAX_DEPTH} levels")
        token = self._peek()
        if token is None:
            raise ToolError("the expression ends too early")
        if isinstance(token, Fraction):
            self._at += 1
            value = token
        elif self._take("sqrt") is not None:
            negative = self._take("-") is not None
            value = _power(-self._atom() if negative else self._atom(), Fraction(1, 2))
        elif self._take("(") is not None:
            value = self._sum()
            if self._take(")") is None:
                raise ToolError("a closing parenthesis is missing")
        else:
            raise ToolError(f"unexpected {self._shown()} in the expression")
        self._depth -= 1
        return value

    def _peek(self) -> _Token | None:
        return self._tokens[self._at] if self._at < len(self._tokens) else None

    def _take(self, *wanted: str) -> str | None:
        token = self._peek()
        if isinstance(token, str) and token in wanted:
            self._at += 1
            return token
        return None

    def _shown(self) -> str:
        token = self._peek()
        return _written(token) if isinstance(token, Fraction) else repr(token)


def _bits(value: Fraction) -> int:
    return max(value.numerator.bit_length(), value.denominator.bit_length())


def _bounded(value: Fraction) -> Fraction:
    if _bits(value) > _MAX_BITS:
        raise ToolError("number too large")
    return value


def _power(base: Fraction, exponent: Fraction) -> Fraction:
    if base == 0 and exponent < 0:
        raise ToolError("division by zero")
    if base not in (-1, 0, 1) and abs(exponent) * _bits(base) > _MAX_BITS:
        raise ToolError("number too large")
    if exponent.denominator == 1:
        return base ** (exponent.numerator % 2 if base in (-1, 1) else exponent.numerator)
    if base < 0:
        raise ToolError("a negative number has no such root")
    if exponent.denominator == 2:
        top, bottom = math.isqrt(base.numerator), math.isqrt(base.denominator)
        if top * top == base.numerator and bottom * bottom == base.denominator:
            return Fraction(top, bottom) ** exponent.numerator
    with decimal.localcontext() as context:
        context.prec = _IRRATIONAL_DIGITS
        plain_base = decimal.Decimal(base.numerator) / decimal.Decimal(base.denominator)
        plain_exponent = decimal.Decimal(exponent.numerator) / decimal.Decimal(exponent.denominator)
        return _bounded(Fraction(plain_base**plain_exponent))


def _written(value: Fraction) -> str:
    magnitude = abs(value)
    if magnitude >= 10**MAX_RESULT_DIGITS:
        raise ToolError(f"number too large, at most {MAX_RESULT_DIGITS} digits")
    if value.denominator == 1:
        return str(value.numerator)
    decimals = MAX_DECIMALS
    while magnitude * 10 ** (decimals - MAX_DECIMALS + 1) < 1 and decimals < 30:
        decimals += 1
    scaled = math.floor(magnitude * 10**decimals + Fraction(1, 2))
    whole, part = divmod(scaled, 10**decimals)
    text = f"{whole}.{part:0{decimals}d}".rstrip("0").rstrip(".")
    return f"-{text}" if value < 0 and scaled else text


CALCULATOR = Tool(
    name="Calculator",
    description="Works out an arithmetic expression such as 48*37, 15% of 80 or sqrt(144).",
    parameters=one_string("expression", "Arithmetic in symbols or words"),
    function=calculate,
    timeout_s=2.0,
    max_result_chars=80,
)
