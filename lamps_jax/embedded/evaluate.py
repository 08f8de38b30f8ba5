"""Measures the embedded model on held-out questions, through the real engine and the real tools, with greedy decoding.

    python -m lamps_jax.embedded.evaluate --per-kind 300
    python -m lamps_jax.embedded.evaluate --questions benchmarks/questions.jsonl

A question counts as right when the tools called are the right ones, in order, and the final answer is right letter for letter.
The second form asks questions from a file, whose wordings need not come from any template.
"""

import json
import math
import random
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import typer

from lamps_jax.config import EngineConfig, SchedulerConfig
from lamps_jax.embedded.questions.question import Call, Question
from lamps_jax.embedded.text import GENERATORS
from lamps_jax.llm import LLM, Generation
from lamps_jax.sched.request import SamplingParams
from lamps_jax.tools.builtin import BUILTIN_TOOLS
from lamps_jax.tools.calendar import make_calendar
from lamps_jax.tools.formats.call_format import WrittenCall
from lamps_jax.tools.formats.inline import INLINE
from lamps_jax.tools.tool import Tool, ToolError

TODAY = date(2026, 3, 14)
"""What the calendar takes for today while it is measured."""


@dataclass(frozen=True, slots=True)
class Score:
    """How many of the held-out questions of one kind were answered."""

    kind: str
    num_questions: int
    num_right_tools: int
    num_right: int
    wrong: tuple[tuple[str, str, str], ...]  # (question, right text, the model's text)

    @property
    def share_right(self) -> float:
        """Right tools and right answer."""
        return self.num_right / self.num_questions

    @property
    def interval(self) -> tuple[float, float]:
        """95 % confidence interval of `share_right`. Source: Wilson, 1927."""
        n, p, z = self.num_questions, self.share_right, 1.96
        centre, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        return (centre - half) / (1 + z * z / n), (centre + half) / (1 + z * z / n)

    def as_dict(self) -> dict[str, Any]:
        """The score by name."""
        return {
            "kind": self.kind,
            "questions": self.num_questions,
            "right_tools": round(self.num_right_tools / self.num_questions, 4),
            "right": round(self.share_right, 4),
            "interval_95": [round(bound, 4) for bound in self.interval],
        }


def evaluation_tools() -> dict[str, Tool]:
    """The built-in tools, with a calendar whose today never changes."""
    return {tool.name: tool for tool in (*BUILTIN_TOOLS, make_calendar(lambda: TODAY))}


def held_out_questions(kind: str, number: int, *, seed: int, tools: Mapping[str, Tool]) -> list[Question]:
    """Distinct held-out questions of one kind, their results made by `tools`."""
    rng, questions = random.Random(f"{seed} {kind}"), dict[str, Question]()
    generate, _ = GENERATORS[kind]
    for _ in range(50 * number):
        question = generate(rng, "held_out")
        questions.setdefault(question.text, replay(question, tools))
        if len(questions) == number:
            break
    return list(questions.values())


def replay(question: Question, tools: Mapping[str, Tool]) -> Question:
    """`question` with the results that `tools` give today, and the answer that follows from them."""
    calls, answer, state = [], question.answer, dict[str, dict[str, Any]]()
    for call in question.calls:
        tool = tools[call.tool]
        arguments = INLINE.parse_arguments(tool, WrittenCall(call.tool, call.arguments))
        if tool.stateful:
            arguments["state"] = state.setdefault(tool.name, {})
        try:
            result = tool.function(**arguments)
        except ToolError as error:
            result = f"error: {error}"
        answer = answer.replace(call.result, result)
        calls.append(Call(call.tool, call.arguments, result))
    return replace(question, calls=tuple(calls), answer=answer)


def evaluate(llm: LLM, questions: Sequence[Question], kind: str) -> Score:
    """Answers `questions` with the engine of `llm`, all at once."""
    expected = [Expected(question.text, tuple(call.tool for call in question.calls), question.answer) for question in questions]
    right = [
        _text(((call.tool, call.arguments, call.result) for call in question.calls), question.answer) for question in questions
    ]
    return _score(llm, kind, expected, right)


@dataclass(frozen=True, slots=True)
class Expected:
    """What a right reply to a question has.

    Attributes:
        tools: Names of the tools called, in order; ``("World",)`` stands for one call or more.
        answer: The text after the last call; a tuple of words that must stand in it; or None if any will do.
    """

    question: str
    tools: tuple[str, ...]
    answer: str | tuple[str, ...] | None

    def has_tools(self, generation: Generation) -> bool:
        """Whether `generation` calls the right tools."""
        called = tuple(call.name for call in generation.calls)
        return called == self.tools or (self.tools == ("World",) and set(called) == {"World"})

    def has_answer(self, generation: Generation) -> bool:
        """Whether `generation` ends in the right answer."""
        text = generation.text.strip()
        if isinstance(self.answer, tuple):
            return set(self.answer) <= set(re.findall(r"\w+", text))
        return self.answer is None or text == self.answer


def read_questions(path: Path) -> dict[str, list[Expected]]:
    """Questions by kind from a file with one JSON object a line: ``kind``, ``question``, ``tools`` and ``answer``.

    Raises:
        ValueError: If a line is not such an object.
    """
    by_kind: dict[str, list[Expected]] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            entry = json.loads(line)
            answer = entry["answer"]
            if isinstance(answer, dict):
                answer = tuple(word for words in answer["must_contain"] for word in words.split())
            by_kind.setdefault(entry["kind"], []).append(Expected(entry["question"], tuple(entry["tools"]), answer))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path}, line {number}: needs kind, question, tools and answer ({error!r})") from error
    return by_kind


def _score(llm: LLM, kind: str, questions: Sequence[Expected], right_texts: Sequence[str]) -> Score:
    generations = llm.generate([question.question for question in questions], SamplingParams(max_tokens=400))
    right_tools, right, wrong = 0, 0, []
    for question, right_text, generation in zip(questions, right_texts, generations, strict=True):
        tools_agree = question.has_tools(generation)
        agrees = tools_agree and question.has_answer(generation)
        right_tools += tools_agree
        right += agrees
        if not agrees:
            wrong.append((question.question, right_text, _generated(generation)))
    return Score(kind, len(questions), right_tools, right, tuple(wrong))


def _generated(generation: Generation) -> str:
    return _text(((call.name, call.written, call.result or "") for call in generation.calls), generation.text)


def _text(calls: Iterable[tuple[str, str, str]], answer: str) -> str:
    return "".join(_call_text(WrittenCall(name, arguments), result) for name, arguments, result in calls) + answer


def _call_text(call: WrittenCall, result: str) -> str:
    return f"[{call.name}({call.arguments}) ->{INLINE.result_text(call, result)} "


def as_markdown(scores: Sequence[Score]) -> str:
    """The scores as the table that stands in the documentation."""
    lines = ["| kind | questions | right tools | right tools and answer | 95 % interval |", "|---|---|---|---|---|"]
    for score in scores:
        low, high = score.interval
        lines.append(
            f"| {score.kind} | {score.num_questions} | {score.num_right_tools / score.num_questions:.1%} "
            f"| {score.share_right:.1%} | {low:.1%} to {high:.1%} |"
        )
    return "\n".join(lines)


def main(
    model: Annotated[str, typer.Option(help="'embedded', or the directory of another model of the same kind.")] = "embedded",
    questions: Annotated[Path | None, typer.Option(help="Ask the questions of this file, one JSON object a line.")] = None,
    per_kind: Annotated[int, typer.Option(help="Held-out questions of each kind, if there is no file.")] = 300,
    seed: Annotated[int, typer.Option(help="Seed of the held-out questions.")] = 1,
    out: Annotated[Path | None, typer.Option(help="Write the scores as JSON, and every wrong answer, to this file.")] = None,
    show_wrong: Annotated[bool, typer.Option("--show-wrong", help="Print the wrong answers.")] = False,
) -> None:
    """Measures a tool-calling model on held-out questions, or on those of a file, through the real engine."""
    tools = evaluation_tools()
    config = EngineConfig(SchedulerConfig(max_num_seqs=32, max_chunk_tokens=128, max_model_len=512))
    llm = LLM(str(model), tools=tools.values(), config=config)
    scores = []
    from_file = read_questions(questions) if questions else {}
    for kind in from_file or GENERATORS:
        if expected := from_file.get(kind):
            score = _score(llm, kind, expected, [f"{' '.join(one.tools)}: {one.answer}" for one in expected])
        else:
            score = evaluate(llm, held_out_questions(kind, per_kind, seed=seed, tools=tools), kind)
        scores.append(score)
        sys.stderr.write(f"{kind}: {score.share_right:.1%} of {score.num_questions}\n")
        if show_wrong:
            for question, right, written in score.wrong:
                sys.stderr.write(f"  {question}\n    right: {right}\n    wrote: {written}\n")
    sys.stdout.write(as_markdown(scores) + "\n")
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        document = {"seed": seed, "scores": [{**score.as_dict(), "wrong": score.wrong} for score in scores]}
        out.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
