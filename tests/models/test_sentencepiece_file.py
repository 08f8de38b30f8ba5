"""A fast tokenizer made of a SentencePiece file encodes and decodes as SentencePiece itself does."""

import struct
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lamps_jax.models.sentencepiece_file import SPACE, read_sentencepiece
from tests.models.tokenizer_files import LINES, processor, sentencepiece_model

CHARACTERS = st.characters(exclude_categories=["Cs"])
TEXTS = st.one_of(
    st.text(CHARACTERS),
    st.lists(
        st.sampled_from([*" \n\t 123abthe", SPACE, "  ", "   ", "the", "aaa", "ban", "世界", "🎉", "é", "</s>", "<0x41>"])
    ).map("".join),
    st.sampled_from(LINES),
)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("sentencepiece") / "tokenizer.model"
    file.write_bytes(sentencepiece_model())
    return file


@pytest.mark.parametrize("settings", [{}, {"unknown": "unk"}, {"one_space": True}, {"dummy_prefix": False}], ids=str)
def test_texts_have_the_tokens_that_sentencepiece_gives_them(tmp_path: Path, settings: dict) -> None:
    model = sentencepiece_model(**settings)
    (tmp_path / "tokenizer.model").write_bytes(model)
    fast, own = read_sentencepiece(tmp_path / "tokenizer.model").fast_tokenizer(prefix_every_text=True), processor(model)
    fast.encode_special_tokens = True

    @given(TEXTS)
    @example("  leading")
    @example("\x85 next line")
    @example(" ")
    @example("\n\n  two  spaces   three ")
    def check(text: str) -> None:
        token_ids = own.encode(text)
        assert fast.encode(text, add_special_tokens=False).ids == token_ids
        if settings != {"unknown": "unk"}:  # SentencePiece shows unknown characters as a sign of its own
            assert fast.decode(token_ids) == own.decode(token_ids)

    check()


def test_only_the_first_text_gets_a_prefix_where_that_is_asked_for(file: Path) -> None:
    first, every = (read_sentencepiece(file).fast_tokenizer(prefix_every_text=every) for every in (False, True))
    assert first.encode("the</s>the").tokens == [f"{SPACE}the", "</s>", "t", "he"]
    assert every.encode("the</s>the").tokens == [f"{SPACE}the", "</s>", f"{SPACE}the"]


def test_control_pieces_are_special_and_bytes_and_words_are_not(file: Path) -> None:
    fast = read_sentencepiece(file).fast_tokenizer(prefix_every_text=True)
    assert {token.content for token in fast.get_added_tokens_decoder().values() if token.special} == {"<s>", "</s>"}
    assert read_sentencepiece(file).special == {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}


@pytest.mark.parametrize("cut", [0, 1, 7, 1000, -1])
def test_a_file_that_was_cut_off_is_refused(file: Path, tmp_path: Path, cut: int) -> None:
    (tmp_path / "tokenizer.model").write_bytes(file.read_bytes()[:cut])
    with pytest.raises(ValueError, match=r"^tokenizer\.model is not a SentencePiece model"):
        read_sentencepiece(tmp_path / "tokenizer.model")


@given(st.binary(max_size=60))
@example(b"IQ== 0\nIg== 1\n")
def test_any_other_file_is_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    file = tmp_path_factory.getbasetemp() / "other.model"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r"^other\.model "):
        read_sentencepiece(file)


def message(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2, len(content)]) + content


PIECE = message(1, message(1, b"a") + b"\x15" + struct.pack("<f", -1.0))


@pytest.mark.parametrize(
    ("trainer", "complaint"),
    [
        (b"", r"has model type 1; only byte-pair encoding \(2\) can be run"),
        (b"\x18\x03", r"has model type 3; only byte-pair encoding"),
        (b"\x18\x02\xc0\x01\x01", r"has words that end in a space"),
    ],
)
def test_models_of_other_kinds_are_named(tmp_path: Path, trainer: bytes, complaint: str) -> None:
    (tmp_path / "tokenizer.model").write_bytes(PIECE + message(2, trainer))
    with pytest.raises(ValueError, match=complaint):
        read_sentencepiece(tmp_path / "tokenizer.model")
