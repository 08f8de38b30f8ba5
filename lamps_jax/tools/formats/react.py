"""Calls as ReAct prompts have them: ``Thought: …``, ``Action: NAME``, ``Action Input: {…}``, each on a line of its own.

The engine puts in ``Observation: RESULT`` and the next ``Thought:``. What is shown are the thoughts and the answer, without their
labels.

Sources: Yao et al., 2022, ReAct; Qin et al., 2023, ToolLLM, whose models write their last answer as a call of ``Finish``.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lamps_jax.tools.formats.arguments import check_arguments, cut, decoded, read_object, typed_argument
from lamps_jax.tools.formats.call_format import AnsweredCall, CallParser, Turn, WrittenCall, plain_message
from lamps_jax.tools.formats.json_format import arguments_rule
from lamps_jax.tools.formats.react_parser import OBSERVATION, ReactCallParser
from lamps_jax.tools.tool import Tool, ToolError

_INPUT = "\nAction Input: "

MAX_THOUGHT_CHARS = 400
"""Longest thought before a call that has to be made."""


@dataclass(frozen=True, slots=True)
class ReactFormat:
    """Calls in lines that begin with labels. A name that no tool has makes a call nevertheless, whose error the model is told."""

    name: str = "react"
    allows_parallel: bool = False
    markers: tuple[str, ...] = ()
    strips_text: bool = True
    begins_lines: bool = True
    lists_tools: bool = True

    def parser(self, tools: Mapping[str, Tool]) -> CallParser:
        return ReactCallParser(frozenset(tools))

    def parse_arguments(self, tool: Tool, written: WrittenCall) -> dict[str, Any]:
        """As in `CallFormat`; an input that is no object is the argument of a tool that takes one."""
        text, names = written.arguments, tool.parameter_names
        if not text.startswith("{") and not names and text.strip("\"'`") in ("", "None", "none", "null"):
            text = "{}"
        if text.startswith("{"):
            arguments = read_object(text, f"the Action Input of {tool.name}")
        else:
            required = tuple(tool.parameters.get("required", ()))
            only = names if len(names) == 1 else required
            if len(only) != 1:
                wanted = f"with {', '.join(names)}" if names else "without anything in it"
                raise ToolError(f"the Action Input of {tool.name} must be a JSON object {wanted}, got {cut(text, 60)!r}")
            quoted = decoded(text)
            arguments = {only[0]: typed_argument(tool, only[0], quoted if isinstance(quoted, str) else text)}
        check_arguments(tool, arguments)
        return arguments

    def grammar(self, tools: Sequence[Tool], *, parallel: bool) -> str:
        """A short thought may stand before the call."""
        if not tools:
            raise ValueError("there are no tools to call; give some")
        calls = [f"{json.dumps(f'Action: {tool.name}{_INPUT}')} {arguments_rule(tool)}" for tool in tools]
        thought = rf'thought: "Thought: " /[^\n]{{1,{MAX_THOUGHT_CHARS}}}/ "\n"'
        return f'start: " "? thought? call\n{thought}\ncall: ' + "\n    | ".join(calls) + "\n"

    def result_text(self, call: WrittenCall, result: str) -> str:
        return f"{OBSERVATION} {result.strip()}\nThought:"

    def template_messages(self, turns: Sequence[Turn]) -> list[dict[str, Any]]:
        """Calls and results are text of the assistant's, one message of it up to its answer."""
        shaped: list[dict[str, Any]] = []
        unfinished: str | None = None
        for turn in turns:
            if turn.calls:
                unfinished = "\n".join([*([unfinished] if unfinished else []), *_lines(turn)])
            elif unfinished and turn.role == "assistant":
                shaped.append({"role": "assistant", "content": f"{unfinished}\nFinal Answer: {turn.content}"})
                unfinished = None
            else:
                if unfinished:
                    shaped.append({"role": "assistant", "content": unfinished})
                    unfinished = None
                shaped.append(plain_message(turn))
        if unfinished:
            shaped.append({"role": "assistant", "content": f"{unfinished}\nThought:", "unfinished": True})
        return shaped

    def tool_prompt(self, definitions: Sequence[Mapping[str, Any]]) -> str:
        if not definitions:
            return ""
        functions = [definition["function"] for definition in definitions]
        described = "\n".join(map(_description, functions))
        return _PROMPT.format(tools=described, names=", ".join(function["name"] for function in functions))


REACT = ReactFormat()

_PROMPT = """\
Answer as well as you can. You may use these tools:

{tools}

To use a tool, write exactly these three lines and then wait:

Thought: what you want to find out
Action: the name of one tool, out of {names}
Action Input: a JSON object with the tool's arguments

The result is then given to you in a line that begins with "Observation:". You may use tools as often as you need. As soon as \
you know the answer, or if no tool is needed, write:

Thought: I know the answer.
Final Answer: the answer to the question"""


def _description(function: Mapping[str, Any]) -> str:
    schema: Mapping[str, Any] = function.get("parameters") or {}
    arguments = json.dumps(schema.get("properties", {}), ensure_ascii=False, default=dict)
    required = ", ".join(schema.get("required", ()))
    about = f" {function['description']}" if function.get("description") else ""
    return f"{function['name']}:{about} Arguments: {arguments}" + (f" Required: {required}" if required else "")


def _lines(turn: Turn) -> list[str]:
    content = (turn.content or "").strip()
    return [*([f"Thought: {content}"] if content else []), *(_call_and_result(call) for call in turn.calls)]


def _call_and_result(call: AnsweredCall) -> str:
    return f"Action: {call.name}{_INPUT}{call.arguments or '{}'}{OBSERVATION} {call.result.strip()}"
