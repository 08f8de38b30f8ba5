"""What a reply is to be: text, JSON, or JSON of some schema."""

import json
from typing import Annotated, Any, Literal

from pydantic import Field

from lamps_jax.sched.request import Constraint
from lamps_jax.serve.bodies.patterns import check_patterns
from lamps_jax.serve.protocol import Part


class TextFormat(Part):
    """Any text."""

    type: Literal["text"]


class JsonObjectFormat(Part):
    """A JSON object, whatever is in it."""

    type: Literal["json_object"]

    def constraint(self) -> Constraint:
        """By which the reply is such."""
        return Constraint("json_object")

    def grammar(self) -> str:
        """The same as a rule of a grammar."""
        return _json_rule({"type": "object"})


class NamedSchema(Part):
    """A JSON schema, with a name. The reply keeps to it whether `strict` or not."""

    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
    description: str | None = None
    content: dict[str, Any] = Field(alias="schema")
    strict: bool | None = None


class JsonSchemaFormat(Part):
    """JSON of a schema."""

    type: Literal["json_schema"]
    json_schema: NamedSchema

    def constraint(self) -> Constraint:
        """By which the reply is such.

        Raises:
            ValueError: If it combines too many patterns.
        """
        check_patterns(self.json_schema.content)
        return Constraint("json_schema", json.dumps(self.json_schema.content))

    def grammar(self) -> str:
        """The same as a rule of a grammar.

        Raises:
            ValueError: If it combines too many patterns.
        """
        check_patterns(self.json_schema.content)
        return _json_rule(self.json_schema.content)


ResponseFormat = Annotated[TextFormat | JsonObjectFormat | JsonSchemaFormat, Field(discriminator="type")]


def call_or_answer(call: str, answer: str) -> str:
    """A grammar of texts of either of two: the grammar `call`, or the rule `answer`."""
    return f"start: call | answer\ncall: %lark {{\n{call}\n}}\nanswer: {answer}\n"


def _json_rule(schema: dict[str, Any]) -> str:
    blanks = {"x-guidance": {"whitespace_pattern": r"[ \n]{0,1}"}}  # lest a model write blanks for ever
    return f"%json {json.dumps({**schema, **blanks})}"
