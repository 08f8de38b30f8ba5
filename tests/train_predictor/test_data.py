"""Examples against a plain loop over characters, splits as a ledger, and what is kept between runs."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamps_jax.engine.build import EMBEDDED_MODEL
from lamps_jax.models.tokenizer import Tokenizer
from lamps_jax.train_predictor import data
from lamps_jax.train_predictor.data import Examples, Side, check_disjoint, examples_of, split, tokenised
from lamps_jax.train_predictor.records import Conversation, Segment
from lamps_jax.train_predictor.run import output_tokens, prompt_tokens


def characters(texts: list[str]) -> list[list[int]]:
    return [[ord(character) for character in text] for text in texts]


def words(texts: list[str]) -> list[list[int]]:
    return [[len(word) for word in text.split()] for text in texts]


TALK = Conversation(
    "Rain in Rome? ",
    (
        Segment("weather(Rome)", tool="weather", returned_text=" -> rain "),
        Segment("clock()", num_tokens=77, tool="clock"),
        Segment("Yes, now."),
    ),
)
LENGTHS_ALONE = Conversation(None, (Segment(num_tokens=3, tool="x"), Segment(num_tokens=4)), prompt_tokens=9)
TEXT_ENDS = Conversation("Hi", (Segment("f()", tool="f"), Segment(num_tokens=5, tool="g"), Segment("lost")))

names = st.sampled_from("fgh")
texts = st.text("ab ", max_size=8)
calls = st.builds(Segment, text=texts, tool=names, num_tokens=st.none() | st.integers(0, 9), returned_text=st.none() | texts)
talks = st.builds(
    lambda prompt, called, last: Conversation(prompt, (*called, last)),
    prompt=st.text("ab ", min_size=1, max_size=8),
    called=st.lists(calls, max_size=3),
    last=st.builds(Segment, text=texts),
)


def test_an_example_is_a_segment_and_all_that_came_before_it() -> None:
    assert [(example.text, example.length, example.written, example.key) for example in examples_of(TALK)] == [
        ("Rain in Rome? ", None, "weather(Rome)", ""),
        ("Rain in Rome? weather(Rome) -> rain ", 77, "clock()", "weather"),
        ("Rain in Rome? weather(Rome) -> rain clock()", None, "Yes, now.", "clock"),
    ]


def test_what_follows_a_text_that_was_not_recorded_is_no_example() -> None:
    assert [(example.text, example.length) for example in examples_of(TEXT_ENDS)] == [("Hi", None), ("Hif()", 5)]
    assert list(examples_of(LENGTHS_ALONE)) == []


@given(st.lists(talks, min_size=1, max_size=6), st.integers(1, 12), st.sampled_from(("left", "right")))
def test_tokens_lengths_and_keys_are_those_of_a_plain_loop(talked: list[Conversation], max_length: int, cut: Side) -> None:
    wanted, num_truncated = list[tuple[str, int, str]](), 0
    for talk in talked:
        text, key = talk.prompt or "", ""
        for segment in talk.segments:
            length = segment.num_tokens if segment.num_tokens is not None else len((segment.text or "").split())
            num_truncated += len(text) > max_length
            kept = text[max(0, len(text) - max_length) :] if cut == "left" else text[:max_length]
            wanted.append((kept, length, key))
            text, key = text + (segment.text or "") + (segment.returned_text or ""), segment.tool or ""
    made = tokenised(talked, characters, max_length=max_length, cut=cut, lengths_by=words)
    got = ["".join(map(chr, made.token_ids(index))) for index in range(len(made))]
    assert list(zip(got, made.lengths.tolist(), made.keys, strict=True)) == wanted
    assert made.num_truncated == num_truncated
    assert made.num_tokens.tolist() == [len(text) for text in got]


def test_texts_are_tokenised_a_few_at_a_time_and_it_is_told_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "TEXTS_AT_ONCE", 2)
    sizes, told = list[int](), list[tuple[str, int, int]]()

    def counted(texts: list[str]) -> list[list[int]]:
        sizes.append(len(texts))
        return characters(texts)

    tokenised([TALK, TEXT_ENDS], counted, max_length=99, lengths_by=words, progress=lambda *done: told.append(done))
    assert sizes == [2, 2, 1]
    assert told == [("tokenising", done, 5) for done in (0, 2, 4, 5)]


def test_lengths_are_counted_in_tokens_of_the_model_without_those_around_a_text() -> None:
    tokenizer = Tokenizer.from_directory(EMBEDDED_MODEL)
    made = tokenised([TALK], prompt_tokens(tokenizer), max_length=99, lengths_by=output_tokens(tokenizer))
    assert made.lengths.tolist() == [
        len(tokenizer.encode_prompt("weather(Rome)")),
        77,
        len(tokenizer.encode_prompt("Yes, now.")),
    ]
    assert made.token_ids(0).tolist() == tokenizer.encode_prompt("Rain in Rome? ")


def test_half_an_emoji_is_read_as_a_question_mark() -> None:
    tokenizer = Tokenizer.from_directory(EMBEDDED_MODEL)
    cut, whole = (
        tokenised([Conversation(f"a{mark}", (Segment(f"{mark}b"),))], prompt_tokens(tokenizer), max_length=9)
        for mark in ("\ud83d", "?")
    )
    assert_same(cut, whole)


def test_conversations_without_prompts_or_tokens_teach_nothing() -> None:
    with pytest.raises(ValueError, match="none of the 2 conversations has a prompt to predict from; record prompts too"):
        tokenised([LENGTHS_ALONE] * 2, characters, max_length=9)
    with pytest.raises(ValueError, match="1 of 4 prompts have no token; remove those conversations"):
        tokenised([TALK, Conversation("", (Segment("a"),))], characters, max_length=9)


def many(prompts: list[str]) -> list[Conversation]:
    return [Conversation(prompt, (Segment("x"),), id=str(place)) for place, prompt in enumerate(prompts)]


@given(
    st.lists(st.sampled_from("abcdefghijklmnop"), min_size=3, max_size=40),
    st.floats(0.01, 0.99),
    st.floats(0.01, 0.99),
    st.integers(0, 3),
)
def test_every_conversation_is_in_one_part_with_all_that_begin_as_it_does(
    prompts: list[str], test_share: float, validation_share: float, seed: int
) -> None:
    conversations = many(prompts)
    if len(set(prompts)) < 3:
        with pytest.raises(ValueError, match=f"{len(set(prompts))} different conversations cannot be split"):
            split(conversations, test_share=test_share, validation_share=validation_share, seed=seed)
        return
    made = split(conversations, test_share=test_share, validation_share=validation_share, seed=seed)
    parts = (made.train, made.validation, made.test)
    assert Counter(each.id for part in parts for each in part) == Counter(each.id for each in conversations)
    begun = [{each.prompt for each in part} for part in parts]
    assert all(begun)
    assert sum(map(len, begun)) == len(set(prompts))
    for mine, theirs in ((0, 1), (0, 2), (1, 2)):
        check_disjoint(parts[mine], parts[theirs])
    again = split(conversations[::-1], test_share=test_share, validation_share=validation_share, seed=seed)
    assert [{each.prompt for each in part} for part in (again.train, again.validation, again.test)] == begun


def test_parts_have_their_shares_and_another_seed_others() -> None:
    conversations = many([f"p{number}" for number in range(100)])
    made = {seed: split(conversations, test_share=0.2, validation_share=0.1, seed=seed) for seed in (42, 43)}
    assert [len(part) for part in (made[42].train, made[42].validation, made[42].test)] == [72, 8, 20]
    assert made[42] == split(conversations, test_share=0.2, validation_share=0.1, seed=42)
    assert made[42].test != made[43].test


def test_a_prompt_on_both_sides_is_a_leak_and_lengths_alone_are_none() -> None:
    train, test = many(["a", "b", "c"]), many(["d", "c" * 3, "b", "b"])
    with pytest.raises(ValueError, match=r"2 conversations of the test data are in the training data too, the first is 'b'; rem"):
        check_disjoint(train, test)
    check_disjoint([*train, LENGTHS_ALONE], [*test[:2], LENGTHS_ALONE])


def assert_same(ours: Examples, theirs: Examples) -> None:
    for name in ("tokens", "ends", "lengths"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name), err_msg=name)
    assert (ours.keys, ours.num_truncated) == (theirs.keys, theirs.num_truncated)


class Kept:
    """Examples kept in a directory, and how often they were tokenised."""

    def __init__(self, cache: Path):
        self.cache, self.times = cache, 0

    def tokenize(self, texts: list[str]) -> list[list[int]]:
        self.times += 1
        return characters(texts)

    def __call__(self, conversation: Conversation = TALK, max_length: int = 20, cut: Side = "left", fingerprint: str = "f"):
        return tokenised(
            [conversation],
            self.tokenize,
            max_length=max_length,
            cut=cut,
            lengths_by=words,
            cache=self.cache,
            fingerprint=fingerprint,
        )


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path / "examples")


def test_what_was_kept_is_what_was_made_and_is_not_made_again(kept: Kept) -> None:
    made = tokenised([TALK], characters, max_length=20, lengths_by=words)
    for _ in range(3):
        assert_same(kept(), made)
    assert kept.times == 1
    assert isinstance(kept().tokens, np.memmap)


@pytest.mark.parametrize(
    "other",
    [
        {"max_length": 21},
        {"cut": "right"},
        {"fingerprint": "g"},
        {"conversation": replace(TALK, prompt="Rain in Rome?  ")},
        {"conversation": replace(TALK, segments=(replace(TALK.segments[0], num_tokens=5), *TALK.segments[1:]))},
        {"conversation": replace(TALK, segments=(replace(TALK.segments[0], tool="wind"), *TALK.segments[1:]))},
        {"conversation": replace(TALK, segments=(*TALK.segments[:2], Segment("No.")))},
    ],
)
def test_what_was_kept_for_another_option_or_text_is_not_taken(kept: Kept, other: dict[str, object]) -> None:
    kept()
    kept(**other)  # pyright: ignore[reportArgumentType]
    assert kept.times == 2
    kept()
    assert kept.times == 2


@pytest.mark.parametrize("cut_short_at", ["savez", "table"])
def test_what_was_half_written_when_a_run_was_killed_is_not_taken(
    kept: Kept, monkeypatch: pytest.MonkeyPatch, cut_short_at: str
) -> None:
    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(*((np, "savez") if cut_short_at == "savez" else (Path, "write_text")), killed)
        with pytest.raises(KeyboardInterrupt):
            kept()
    assert len(list(kept.cache.iterdir())) == 1
    assert_same(kept(), tokenised([TALK], characters, max_length=20, lengths_by=words))
    assert kept.times == 2


def test_half_of_a_copy_is_made_anew(kept: Kept) -> None:
    kept()
    (directory,) = kept.cache.iterdir()
    (directory / "table.json").unlink()
    assert_same(kept(), tokenised([TALK], characters, max_length=20, lengths_by=words))
    assert (kept.times, list(kept.cache.iterdir())) == (2, [directory])


def test_of_two_that_make_the_same_at_once_the_first_is_taken(kept: Kept) -> None:
    first = Kept(kept.cache)

    def overtaken(texts: list[str]) -> list[list[int]]:
        first()
        return characters(texts)

    kept.tokenize = overtaken
    assert_same(kept(), first())
    assert first.times == 1
    assert len(list(kept.cache.iterdir())) == 1
