import numpy as np
import pytest
from transformers import PreTrainedTokenizerFast

from lamps_jax.embedded.batches import CONTEXT_WEIGHT, Rows, make_batch
from lamps_jax.embedded.tokenizer import train_tokenizer


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return train_tokenizer(vocab_size=300, num_questions=100, seed=0)


@pytest.fixture(scope="module")
def batch(tokenizer: PreTrainedTokenizerFast) -> Rows:
    return make_batch(tokenizer, rows=6, length=320, seed=3, step=4)


def test_a_batch_is_a_function_of_the_seed_and_the_step(tokenizer: PreTrainedTokenizerFast, batch: Rows) -> None:
    again = make_batch(tokenizer, rows=6, length=320, seed=3, step=4)
    other = make_batch(tokenizer, rows=6, length=320, seed=3, step=5)
    assert np.array_equal(batch.token_ids, again.token_ids)
    assert not np.array_equal(batch.token_ids, other.token_ids)


def test_every_segment_begins_with_a_question_and_ends_with_the_end_of_text(
    tokenizer: PreTrainedTokenizerFast, batch: Rows
) -> None:
    for row in range(len(batch.segments)):
        for segment in range(1, batch.segments[row].max() + 1):
            tokens = batch.token_ids[row, :-1][batch.segments[row] == segment]
            assert tokenizer.decode(tokens).startswith("Q: ")
            assert tokens[-1] == tokenizer.eos_token_id


def test_no_token_is_asked_for_across_the_border_of_two_questions(batch: Rows) -> None:
    segments, weights = batch.segments, batch.weights
    crossing = segments[:, :-1] != segments[:, 1:]
    assert not weights[:, :-1][crossing].any()
    assert not weights[segments == 0].any()


def test_what_the_model_writes_itself_weighs_more_than_what_it_reads(tokenizer: PreTrainedTokenizerFast, batch: Rows) -> None:
    assert set(np.unique(batch.weights)) == {np.float32(0), np.float32(CONTEXT_WEIGHT), np.float32(1)}
    own = batch.token_ids[:, 1:][batch.weights == 1]
    assert "[" in tokenizer.decode(own)
    assert "Q" not in tokenizer.decode(own)


def test_most_places_of_a_batch_are_used(batch: Rows) -> None:
    assert (batch.segments > 0).mean() > 0.7
