"""Measures the embedded model on held-out questions, through the real engine and the real tools, with greedy decoding.

    python -m lamps_jax.embedded.evaluate --per-kind 300

A question counts as right when the tools called are the right ones, in order, and the final answer is right letter for letter.
"""

import json
import math
import random
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
from lamps_jax.tools.call_format import parse_arguments, render_result
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
        arguments = parse_arguments(tool, call.arguments)
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
    generations = llm.generate([question.text for question in questions], SamplingParams(max_tokens=400))
    right_tools, right, wrong = 0, 0, []
    for question, generation in zip(questions, generations, strict=True):
        tools_agree = [call.name for call in generation.calls] == [call.tool for call in question.calls]
        agrees = tools_agree and generation.text.strip() == question.answer
        right_tools += tools_agree
        right += agrees
        if not agrees:
            calls = ((call.tool, call.arguments, call.result) for call in question.calls)
            wrong.append((question.text, _text(calls, question.answer), _generated(generation)))
    return Score(kind, len(questions), right_tools, right, tuple(wrong))


def _generated(generation: Generation) -> str:
    return _text(((call.name, call.written, call.result or "") for call in generation.calls), generation.text)


def _text(calls: Iterable[tuple[str, str, str]], answer: str) -> str:
    return "".join(f"[{name}({arguments}) ->{render_result(result)} " for name, arguments, result in calls) + answer


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
    per_kind: Annotated[int, typer.Option(help="Questions of each kind.")] = 300,
    seed: Annotated[int, typer.Option(help="Seed of the questions.")] = 1,
    out: Annotated[Path | None, typer.Option(help="Write the scores as JSON, and every wrong answer, to this file.")] = None,
    show_wrong: Annotated[bool, typer.Option("--show-wrong", help="Print the wrong answers.")] = False,
) -> None:
    """Measures a tool-calling model on held-out questions through the real engine."""
    tools = evaluation_tools()
    config = EngineConfig(SchedulerConfig(max_num_seqs=32, max_chunk_tokens=128, max_model_len=512))
    llm = LLM(str(model), tools=tools.values(), config=config)
    scores = []
    for kind in GENERATORS:
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
