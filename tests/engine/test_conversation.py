import json
from typing import Any

import pytest

from lamps_jax.engine.conversation import conversation_token_ids, definition_of
from lamps_jax.models.tokenizer import Tokenizer
from lamps_jax.tools.formats.call_format import CallFormat, Turn
from lamps_jax.tools.formats.hermes import HERMES
from lamps_jax.tools.formats.inline import INLINE
from lamps_jax.tools.formats.react import REACT
from tests.fakes import make_tokenizer
from tests.tools.formats.reading import NOW, SEARCH, make_tool

TEMPLATE = (
    "{% for tool in tools or [] %}<{{ tool | tojson }}>{% endfor %}"
    "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}"
    "{{ 'assistant:' if add_generation_prompt else '' }}"
)
THEIRS = {"type": "function", "function": {"name": "now", "description": "Theirs."}}


def told(call_format: CallFormat, turns: list[Turn], *, definitions: Any = (), tools: Any = (SEARCH, NOW)) -> str:
    hf = make_tokenizer().hf
    hf.chat_template = TEMPLATE
    tokenizer = Tokenizer(hf)
    return tokenizer.decode(
        conversation_token_ids(tokenizer, turns, call_format=call_format, definitions=definitions, tools=tools)
    )


HELLO = [Turn("user", "Hello")]


def test_a_model_that_knows_its_tools_is_told_of_the_clients_alone():
    assert told(INLINE, HELLO) == "user: Hello\nassistant:"
    assert told(INLINE, HELLO, definitions=[THEIRS]) == f"<{json.dumps(THEIRS)}>user: Hello\nassistant:"


def test_a_template_that_lists_tools_lists_the_servers_too_but_for_those_that_the_client_has():
    listed = f"<{json.dumps(THEIRS)}><{json.dumps(definition_of(SEARCH))}>"
    assert told(HERMES, HELLO, definitions=[THEIRS]) == f"{listed}user: Hello\nassistant:"
    assert told(HERMES, HELLO, tools=()) == "user: Hello\nassistant:"


@pytest.mark.parametrize("system", [None, "Be brief."])
def test_a_model_that_has_to_be_told_is_told_in_the_system_message_and_not_by_the_template(system: str | None):
    turns = [Turn("system", system), *HELLO] if system else HELLO
    prompt = REACT.tool_prompt([THEIRS, definition_of(SEARCH)])
    head = f"{system}\n\n{prompt}" if system else prompt
    assert told(REACT, turns, definitions=[THEIRS]) == f"system: {head}\nuser: Hello\nassistant:"
    assert told(REACT, turns, tools=()) == ("system: Be brief.\n" if system else "") + "user: Hello\nassistant:"


def test_a_tool_is_described_as_the_openai_api_does():
    tool = make_tool("look", where="string")
    assert definition_of(tool) == {
        "type": "function",
        "function": {"name": "look", "description": "Does look.", "parameters": tool.parameters},
    }
