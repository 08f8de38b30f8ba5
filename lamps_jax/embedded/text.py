"""How a question, its calls and its answer stand in the text that the embedded model reads and writes.

    Q: What is 48*37?
    A: [Calculator(48*37) -> 1776] 1776<|endoftext|>

The model writes what follows ``A:`` except the results, which come from the tools.
"""

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from lamps_jax.embedded.questions import arithmetic, conversation, dates, encyclopedia, text_world, two_steps
from lamps_jax.embedded.questions.question import Question, Split

END_OF_TEXT = "<|endoftext|>"

CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{%- if message['role'] == 'user' -%}"
    "{{ 'Q: ' + message['content'] + '\\nA:' }}"
    "{%- elif message['role'] == 'assistant' -%}"
    "{%- if message['content'] -%}{{ ' ' + message['content'] }}{%- endif -%}"
    "{%- for call in message['tool_calls'] or [] -%}"
    "{{ ' [' + call['function']['name'] + '(' + call['function']['arguments'] + ') ->' }}"
    "{%- endfor -%}"
    "{%- if not message['tool_calls'] -%}{{ eos_token }}{%- endif -%}"
    "{%- elif message['role'] == 'tool' -%}"
    "{{ ' ' + message['content'] + ']' }}"
    "{%- endif -%}"
    "{%- endfor -%}"
)
"""Chat messages in that form. System messages are left out: the model was not trained to follow any."""

GENERATORS: dict[str, tuple[Callable[[random.Random, Split], Question], float]] = {
    "calculator": (arithmetic.generate, 0.22),
    "search": (encyclopedia.generate, 0.20),
    "calendar": (dates.generate, 0.14),
    "text world": (text_world.generate, 0.22),
    "two steps": (two_steps.generate, 0.14),
    "no tool": (conversation.generate, 0.08),
}
"""Each kind of question with its share of the training text."""

PLAIN_TEXT_WORLD = "plain text world"

NAMED_CONTAINER = "named container"

EXERCISES: dict[str, Callable[[random.Random, Split], Question]] = {
    PLAIN_TEXT_WORLD: text_world.generate_plain,
    NAMED_CONTAINER: text_world.generate_with_container,
}
"""What is asked in training only, to teach one skill by itself."""

_FAILURES = (
    "timed out after 10 s",
    "timed out after 2 s",
    "timed out after 30 s",
    "division by zero",
    "result too large",
    "the tool is not available",
    "no such date",
    "the expression is too long",
    "unknown command",
    "too many calls",
    "connection refused",
    "the tool failed",
)


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of text, and whether the model is to write it."""

    text: str
    own: bool


def prompt(question: str, separator: str = "\n") -> str:
    """What the model is given when somebody asks `question`."""
    return f"Q: {question}{separator}A:"


def pieces(question: Question, separator: str = "\n") -> Iterator[Piece]:
    """The whole text of `question` in the pieces in which the engine meets it; the end-of-text token is not among them."""
    yield Piece(prompt(question.text, separator), own=False)
    for call in question.calls:
        yield Piece(f" [{call.tool}({call.arguments}) ->", own=True)
        yield Piece(f" {call.result}]", own=False)
    yield Piece(f" {question.answer}", own=True)


def draw(rng: random.Random, split: Split, shares: Mapping[str, float] | None = None) -> Question:
    """A question of a random kind, or by `shares` of kinds and exercises; in training, now and then one whose tool fails."""
    generators = {kind: generate for kind, (generate, _) in GENERATORS.items()} | EXERCISES
    shares = shares or {kind: share for kind, (_, share) in GENERATORS.items()}
    generate = generators[rng.choices(list(shares), list(shares.values()))[0]]
    question = generate(rng, split)
    if question.calls and split == "train" and rng.random() < 0.02:
        return _with_failure(rng, question)
    return question


def _with_failure(rng: random.Random, question: Question) -> Question:
    """`question` as it ends when one of its calls gives an error."""
    failing = rng.randrange(len(question.calls))
    message = rng.choice(_FAILURES)
    failed = replace(question.calls[failing], result=f"error: {message}")
    return replace(question, calls=(*question.calls[:failing], failed), answer=f"Sorry, that did not work: {message}.")
