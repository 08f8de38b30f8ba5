import math

import pytest

from lamps_jax.engine.events import TokenLogprob
from lamps_jax.serve.replies.logprobs import CompletionLogprobs, chat_logprobs
from tests.fakes import make_tokenizer

TOKENIZER = make_tokenizer()
END = TOKENIZER.vocab_size - 1


def sampled(text: str, *likeliest: str) -> list[TokenLogprob]:
    beside = tuple((TOKENIZER.encode_text(other)[0], -1.0 - place) for place, other in enumerate(likeliest))
    return [TokenLogprob(token_id, -0.25, beside) for token_id in TOKENIZER.encode_text(text)]


def test_a_token_of_a_chat_has_its_text_its_bytes_and_the_likeliest_in_its_place():
    (entry,) = chat_logprobs(TOKENIZER, sampled("a", "b", "c"))["content"]
    assert (entry["token"], entry["logprob"], entry["bytes"]) == ("a", -0.25, [97])
    assert entry["top_logprobs"] == [
        {"token": "b", "logprob": -1.0, "bytes": [98]},
        {"token": "c", "logprob": -2.0, "bytes": [99]},
    ]


def test_the_bytes_of_tokens_that_split_a_character_make_it_whole():
    content = chat_logprobs(TOKENIZER, sampled("é🙂"))["content"]
    assert len(content) == 6 and {entry["token"] for entry in content} == {"\N{REPLACEMENT CHARACTER}"}
    assert bytes(byte for entry in content for byte in entry["bytes"]).decode() == "é🙂"


def test_tokens_that_are_no_text_are_left_out_but_shown_by_name_among_the_likeliest():
    shown = chat_logprobs(TOKENIZER, [*sampled("a"), TokenLogprob(END, -0.1, ((END, -0.1),))])
    assert [entry["token"] for entry in shown["content"]] == ["a"]
    (entry,) = chat_logprobs(TOKENIZER, [TokenLogprob(TOKENIZER.encode_text("a")[0], -3.0, ((END, -0.1),))])["content"]
    assert entry["top_logprobs"][0]["token"] == "<|endoftext|>"


def test_what_is_impossible_is_a_number_too():
    (entry,) = chat_logprobs(TOKENIZER, [TokenLogprob(5, -math.inf, ((6, -math.inf),))])["content"]
    assert entry["logprob"] == entry["top_logprobs"][0]["logprob"] == -9999.0


def test_a_completion_has_a_row_for_each_of_four_things():
    shown = CompletionLogprobs(TOKENIZER).next([*sampled("ab", "b", "c"), TokenLogprob(END, -0.1)])
    assert shown == {
        "tokens": ["a", "b"],
        "token_logprobs": [-0.25, -0.25],
        "top_logprobs": [{"b": -1.0, "c": -2.0, "a": -0.25}, {"b": -1.0, "c": -2.0}],
        "text_offset": [0, 1],
    }


@pytest.mark.parametrize("cut", range(11))
def test_offsets_count_whole_characters_across_stretches(cut):
    tokens, logprobs = sampled("aé🙂b\nc"), CompletionLogprobs(TOKENIZER)
    assert len(tokens) == 10
    offsets = logprobs.next(tokens[:cut])["text_offset"] + logprobs.next(tokens[cut:])["text_offset"]
    assert offsets == [0, 1, 1, 2, 2, 2, 2, 3, 4, 5]
