import json
import random
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from lamps_jax.embedded import conversations as module
from lamps_jax.embedded.conversations import conversations, main
from lamps_jax.embedded.questions.question import Question, Split
from lamps_jax.embedded.text import END_OF_TEXT, draw, pieces
from lamps_jax.train_predictor.readers import read_any
from lamps_jax.train_predictor.records import Conversation, conversation_of

COUNT = 300
SPLITS: tuple[Split, ...] = ("train", "held_out")


def whole(record: dict[str, Any]) -> str:
    return record["prompt"] + "".join(segment["text"] + segment.get("returned_text", "") for segment in record["segments"])


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Question]:
    """The questions that conversations were made of, as they come."""
    questions: list[Question] = []

    def watched(rng: random.Random, split: Split) -> Question:
        questions.append(draw(rng, split))
        return questions[-1]

    monkeypatch.setattr(module, "draw", watched)
    return questions


@pytest.mark.parametrize("split", SPLITS)
def test_prompt_texts_and_returns_in_a_row_are_the_text_that_the_model_was_trained_on(
    split: Split, drawn: list[Question]
) -> None:
    kinds = set[str]()
    for record in conversations(COUNT, split=split):
        question = drawn[-1]
        kinds.add(question.kind)
        parts = list(pieces(question))
        assert whole(record) == "".join(part.text for part in parts) + END_OF_TEXT
        own = [part.text for part in parts if part.own]
        assert [segment["text"] for segment in record["segments"]] == [*own[:-1], own[-1] + END_OF_TEXT]
        assert [segment["tool"] for segment in record["segments"]] == [*(call.tool for call in question.calls), None]
    assert len(kinds) > 5


def test_there_are_answers_at_once_and_after_one_call_and_more() -> None:
    assert {len(record["segments"]) for record in conversations(COUNT)} >= {1, 2, 3}


def test_no_two_begin_alike_and_none_has_the_id_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "draw", lambda rng, split: draw(random.Random(rng.randrange(20)), split))  # often the same
    records = list(conversations(15))
    assert len({record["prompt"] for record in records}) == len({record["id"] for record in records}) == len(records) == 15


def test_what_is_held_out_is_not_among_what_is_trained_on() -> None:
    trained, held_out = ({record["prompt"] for record in conversations(2000, split=split)} for split in SPLITS)
    assert not trained & held_out


@pytest.mark.parametrize("split", SPLITS)
def test_the_same_seed_gives_the_same_and_fewer_of_them_are_the_first(split: Split) -> None:
    records = list(conversations(COUNT, seed=3, split=split))
    assert list(conversations(COUNT, seed=3, split=split)) == records
    assert list(conversations(40, seed=3, split=split)) == records[:40]
    assert list(islice(conversations(COUNT, seed=4, split=split), 40)) != records[:40]


def written(out: Path, *arguments: str) -> list[Conversation]:
    app = typer.Typer()
    command: Callable[..., None] = app.command()(main)
    assert command is main
    result = CliRunner().invoke(app, ["--out", str(out), *arguments])
    assert result.exit_code == 0, result.output
    return read_any(out)


def test_the_command_writes_what_train_predictor_reads(tmp_path: Path) -> None:
    read = written(tmp_path / "new" / "a.jsonl", "--count", "50", "--seed", "7")
    assert read == [conversation_of("", record) for record in conversations(50, seed=7)]
    held_out = written(tmp_path / "b.jsonl", "--count", "50", "--held-out")
    assert held_out == [conversation_of("", record) for record in conversations(50, split="held_out")]
    assert all(json.loads(line)["id"].startswith("held_out-") for line in (tmp_path / "b.jsonl").read_text().splitlines())
