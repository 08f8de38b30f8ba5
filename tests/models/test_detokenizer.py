"""The text of a stream of tokens is the text of all of them, comes in whole characters, and costs the same at any length."""

from pathlib import Path

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models

from lamps_jax.models.detokenizer import ByteDetokenizer, LibraryDetokenizer, Spelling, read_spelling
from lamps_jax.models.sentencepiece_file import SPACE, read_sentencepiece
from tests.models.tokenizer_files import byte_pairs, processor, sentencepiece_model

UNKNOWN = "\N{REPLACEMENT CHARACTER}"


def spelling_of(tokenizer: Tokenizer) -> Spelling:
    spelling = read_spelling(tokenizer)
    assert spelling is not None
    return spelling


BYTE_LEVEL = byte_pairs("<|endoftext|>")
BYTE_LEVEL.add_tokens([AddedToken("<tool_call>", special=False), AddedToken(" ü Ġ", special=False)])
BYTE_SPELLING = spelling_of(BYTE_LEVEL)
BYTE_TOKENS = {BYTE_SPELLING.bytes_of(token_id): token_id for token_id in range(BYTE_LEVEL.get_vocab_size())}
SENTENCEPIECE = processor(sentencepiece_model())
FIRST_BYTE_PIECE = SENTENCEPIECE.piece_to_id("<0x00>")


@pytest.fixture(scope="module")
def sentences(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    file = tmp_path_factory.mktemp("sentencepiece") / "tokenizer.model"
    file.write_bytes(sentencepiece_model())
    return read_sentencepiece(file).fast_tokenizer(prefix_every_text=True)


ANY_BYTES = st.binary(max_size=6)
SOME_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)


@st.composite
def byte_level_tokens(draw: st.DrawFn) -> list[int]:
    """Tokens of all sorts, most of them parts of text."""
    parts = draw(st.lists(st.one_of(SOME_TEXT, ANY_BYTES, st.integers(0, BYTE_LEVEL.get_vocab_size() + 1)), max_size=8))
    token_ids: list[int] = []
    for part in parts:
        if isinstance(part, int):
            token_ids.append(part)
        elif isinstance(part, bytes):
            token_ids += [BYTE_TOKENS[bytes([byte])] for byte in part]
        else:
            token_ids += BYTE_LEVEL.encode(part).ids
    return token_ids


@st.composite
def sentencepiece_tokens(draw: st.DrawFn) -> list[int]:
    parts = draw(st.lists(st.one_of(SOME_TEXT, ANY_BYTES, st.integers(3, SENTENCEPIECE.get_piece_size() - 1)), max_size=8))
    token_ids: list[int] = []
    for part in parts:
        if isinstance(part, int):
            token_ids.append(part)
        elif isinstance(part, bytes):
            token_ids += [FIRST_BYTE_PIECE + byte for byte in part]
        else:
            token_ids += SENTENCEPIECE.encode(part)
    # A first byte that is a space is dropped by Hugging Face's tokenizers and shown by SentencePiece.
    assume(token_ids[:1] != [FIRST_BYTE_PIECE + 0x20])
    return token_ids


def streamed(spelling: Spelling, token_ids: list[int], context: list[int] | None = None) -> tuple[list[str], str]:
    detokenizer = ByteDetokenizer(spelling, context or [])
    return [detokenizer.push(token_id) for token_id in token_ids], detokenizer.flush()


@given(byte_level_tokens())
def test_byte_level_tokens_give_the_text_that_the_library_decodes(token_ids: list[int]) -> None:
    pieces, rest = streamed(BYTE_SPELLING, token_ids)
    assert "".join(pieces) + rest == BYTE_LEVEL.decode(token_ids, skip_special_tokens=True)
    assert rest in ("", UNKNOWN)


@given(sentencepiece_tokens())
def test_sentencepiece_tokens_give_the_text_that_sentencepiece_decodes(sentences: Tokenizer, token_ids: list[int]) -> None:
    pieces, rest = streamed(spelling_of(sentences), token_ids)
    text = "".join(pieces) + rest
    assert text == SENTENCEPIECE.decode(token_ids)
    if UNKNOWN not in text:  # else the library shows every byte of a run of bytes as unknown, even those that are text
        assert text == sentences.decode(token_ids, skip_special_tokens=True)


@given(SOME_TEXT, SOME_TEXT)
@example("e", "🎉")
def test_every_piece_of_a_text_is_whole_characters(sentences: Tokenizer, before: str, text: str) -> None:
    assume(UNKNOWN not in before + text)
    context = BYTE_LEVEL.encode(before).ids
    for token_ids in (BYTE_LEVEL.encode(text).ids, [BYTE_TOKENS[bytes([byte])] for byte in text.encode()]):
        pieces, rest = streamed(BYTE_SPELLING, token_ids, context)
        assert (rest, "".join(pieces)) == ("", text)
    pieces, rest = streamed(spelling_of(sentences), SENTENCEPIECE.encode(text))
    assert (rest, "".join(pieces)) == ("", text.replace(SPACE, " "))


def endless(spelling: Spelling, token_ids: list[int], *, times: int) -> None:
    """Nothing is ever held back but what may still become a character."""
    detokenizer, shown, spelled = ByteDetokenizer(spelling), 0, 0
    for token_id in token_ids * times:
        spelled += len(spelling.bytes_of(token_id))
        shown += len(detokenizer.push(token_id).encode("utf-8"))
        assert spelled - shown <= 3


@pytest.mark.parametrize("run", [b"\x80", b"\xff", b"\xe4", b"\xe4\xb8", b"\xf0\x9f\x8e", b"\xe4\xb8\x96\xff"], ids=bytes.hex)
def test_endless_bytes_that_are_no_text_are_shown_as_they_come(sentences: Tokenizer, run: bytes) -> None:
    """As each push decodes what was held back and one token, its work does not grow with what came before."""
    endless(BYTE_SPELLING, [BYTE_TOKENS[bytes([byte])] for byte in run], times=20_000 // len(run))
    endless(spelling_of(sentences), [FIRST_BYTE_PIECE + byte for byte in run], times=20_000 // len(run))


def test_a_space_is_dropped_where_the_text_begins_and_nowhere_else(sentences: Tokenizer) -> None:
    spelling, (the,) = spelling_of(sentences), SENTENCEPIECE.encode("the")
    begin = SENTENCEPIECE.bos_id()
    assert streamed(spelling, [the, the])[0] == ["the", " the"]
    assert streamed(spelling, [the, the], [begin])[0] == ["the", " the"]
    assert streamed(spelling, [the], [begin, the])[0] == [" the"]
    space = SENTENCEPIECE.piece_to_id("▁")
    assert streamed(spelling, [space, the])[0] == ["", " the"]
    assert streamed(spelling, [the], [space])[0] == [" the"]


def test_numbers_beyond_the_vocabulary_have_no_text() -> None:
    assert streamed(BYTE_SPELLING, [BYTE_LEVEL.get_vocab_size() + 5]) == ([""], "")


def test_other_decoders_are_left_to_the_library(tmp_path: Path) -> None:
    words = Tokenizer(models.WordLevel({"ab": 0, "c": 1, "é": 2}, unk_token="c"))
    words.decoder = decoders.WordPiece()
    assert read_spelling(words) is None
    detokenizer = LibraryDetokenizer(words, [0])
    assert [detokenizer.push(token_id) for token_id in (1, 2)] == [" c", " é"]
    words.decoder = decoders.Sequence([decoders.Replace("_", " "), decoders.Fuse()])
    assert read_spelling(words) is None
