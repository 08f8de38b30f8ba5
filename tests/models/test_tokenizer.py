"""Text to tokens and back: special tokens only where they are meant, and never half a character."""

from pathlib import Path

import jax.numpy as jnp
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lamps_jax.engine.build import build_engine
from lamps_jax.models.registry import random_model
from lamps_jax.models.tokenizer import Tokenizer
from lamps_jax.models.weights import CheckpointError, save_hf_directory
from tests.factories import END_OF_TEXT, engine_config, gptj_config, save_tiny_tokenizer, tiny_tokenizer
from tests.fakes import make_tokenizer

TOKENIZER = Tokenizer(tiny_tokenizer(extra_tokens=["<|call|>"]))
CHARACTERS = st.text(st.characters(exclude_categories=["Cs"]))


def test_saved_tokenizer_is_read_back(tmp_path: Path) -> None:
    save_tiny_tokenizer(tmp_path)
    tokenizer = Tokenizer.from_directory(tmp_path)
    assert tokenizer.vocab_size == 257
    assert tokenizer.decode(tokenizer.encode_prompt("Grüße, 世界 🎉")) == "Grüße, 世界 🎉"


def test_special_tokens_count_in_a_prompt_and_a_chat_but_are_spelled_out_in_text_from_outside() -> None:
    text = f"a{END_OF_TEXT}b<|call|>"
    special = [TOKENIZER.hf.convert_tokens_to_ids(token) for token in (END_OF_TEXT, "<|call|>")]
    for encode in (TOKENIZER.encode_prompt, TOKENIZER.encode_chat):
        assert [token for token in encode(text) if token in special] == special
    outside = TOKENIZER.encode_text(text)
    assert not set(outside) & set(special)
    assert TOKENIZER.decode(outside) == text
    assert TOKENIZER.encode_prompt(text)[1] == special[0]  # and they count again afterwards


@given(CHARACTERS)
def test_text_from_outside_comes_back_as_it_was(text: str) -> None:
    assert TOKENIZER.decode(TOKENIZER.encode_text(text)) == text


@given(CHARACTERS, CHARACTERS)
@example("é", "👩‍👩‍👧")
def test_stream_gives_the_text_after_its_context_in_whole_characters(context: str, text: str) -> None:
    stream = TOKENIZER.stream(TOKENIZER.encode_text(context))
    pieces = [stream.push(token) for token in TOKENIZER.encode_text(text)]
    assert "".join(pieces) == text


def test_stream_is_silent_until_a_character_is_whole() -> None:
    stream = TOKENIZER.stream([])
    assert [stream.push(token) for token in TOKENIZER.encode_text("a🎉b")] == ["a", "", "", "", "🎉", "b"]


def test_stream_leaves_special_tokens_out() -> None:
    stream = TOKENIZER.stream([])
    assert [stream.push(token) for token in (*TOKENIZER.encode_text("a"), 0, *TOKENIZER.encode_text("b"))] == ["a", "", "b"]


def test_directory_without_tokenizer_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=rf"{tmp_path} has no tokenizer\.json; save the tokenizer of the model there"):
        Tokenizer.from_directory(tmp_path)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"model": {"type": "BPE"}}'])
def test_broken_tokenizer_is_named(tmp_path: Path, content: str) -> None:
    save_tiny_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(CheckpointError, match=f"cannot read the tokenizer in {tmp_path}"):
        Tokenizer.from_directory(tmp_path)


def test_tokenizer_with_more_tokens_than_the_model_is_refused_with_both_numbers(tmp_path: Path) -> None:
    model = random_model(gptj_config(num_layers=1, vocab_size=200))
    save_hf_directory(tmp_path, model.config, dict(zip(model.parameter_names, model.weights, strict=True)), dtype=jnp.float32)
    save_tiny_tokenizer(tmp_path)
    with pytest.raises(CheckpointError, match=rf"the tokenizer in {tmp_path} has 257 tokens, the model 200"):
        build_engine(tmp_path, engine_config(), ())


def test_a_context_that_ends_in_half_a_character_does_not_leak_into_the_text() -> None:
    tokenizer = make_tokenizer()
    context = tokenizer.encode_prompt("ab") + tokenizer.encode_prompt("é")[:1]
    stream = tokenizer.stream(context)
    assert "".join(stream.push(token) for token in tokenizer.encode_prompt("cd")) == "cd"
