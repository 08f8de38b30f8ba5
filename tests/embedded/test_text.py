import random
from pathlib import Path

import pytest

from lamps_jax.embedded.questions.question import Call, Question
from lamps_jax.embedded.text import GENERATORS, draw, pieces, prompt
from lamps_jax.engine.build import EMBEDDED_MODEL
from lamps_jax.models.tokenizer import Tokenizer


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_directory(EMBEDDED_MODEL)


def test_a_question_reads_as_toolformer_writes_it() -> None:
    question = Question("calculator", "What is 48*37?", (Call("Calculator", "48*37", "1776"),), "1776")
    assert "".join(piece.text for piece in pieces(question, " ")) == "Q: What is 48*37? A: [Calculator(48*37) -> 1776] 1776"


def test_only_calls_and_answers_are_the_models_own_text() -> None:
    question = Question("calculator", "What is 48*37?", (Call("Calculator", "48*37", "1776"),), "1776")
    assert [piece.text for piece in pieces(question) if piece.own] == [" [Calculator(48*37) ->", " 1776"]


def test_the_chat_template_writes_a_conversation_as_it_was_trained_on(tokenizer: Tokenizer) -> None:
    call = {"type": "function", "function": {"name": "Calculator", "arguments": "48*37"}}
    messages = [
        {"role": "user", "content": "Hello!", "tool_calls": None},
        {"role": "assistant", "content": "Hello! What can I do for you?", "tool_calls": None},
        {"role": "user", "content": "What is 48*37?", "tool_calls": None},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "1776", "tool_calls": None},
    ]
    text = tokenizer.hf.apply_chat_template(messages, tokenize=False)
    assert text == (
        "Q: Hello!\nA: Hello! What can I do for you?<|endoftext|>" + prompt("What is 48*37?") + " [Calculator(48*37) -> 1776]"
    )


def test_a_text_has_the_same_tokens_whole_and_in_the_pieces_in_which_the_engine_meets_it(tokenizer: Tokenizer) -> None:
    rng = random.Random(0)
    for _ in range(200):
        parts = [piece.text for piece in pieces(draw(rng, "train"))]
        assert tokenizer.encode_prompt("".join(parts)) == [token for part in parts for token in tokenizer.encode_prompt(part)]


def test_a_name_has_the_same_tokens_wherever_it_stands(tokenizer: Tokenizer) -> None:
    name = tokenizer.encode_prompt("Zorblatt")
    for text in ("Who is Zorblatt?", "[Search(Zorblatt) ->", '"Zorblatt"', "Zorblatt, who"):
        tokens = tokenizer.encode_prompt(text)
        assert any(tokens[at : at + len(name)] == name for at in range(len(tokens))), text


def test_some_training_questions_have_a_failing_tool_and_no_held_out_ones_do() -> None:
    rng = random.Random(1)
    failed = {
        split: sum(call.result.startswith("error:") for _ in range(1500) for call in draw(rng, split).calls)
        for split in ("train", "held_out")
    }
    assert failed["train"] > 5
    assert failed["held_out"] == 0


@pytest.mark.parametrize("kind", GENERATORS)
def test_every_held_out_question_fits_the_models_context_with_room_to_spare(kind: str, tokenizer: Tokenizer) -> None:
    rng = random.Random(2)
    for _ in range(100):
        question = GENERATORS[kind][0](rng, "held_out")
        assert len(tokenizer.encode_prompt("".join(piece.text for piece in pieces(question)))) < 300


def test_the_model_directory_is_small_and_plain() -> None:
    files = {path.name for path in Path(EMBEDDED_MODEL).iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"} <= files
    assert sum(path.stat().st_size for path in Path(EMBEDDED_MODEL).iterdir()) <= 12_000_000
