"""Text to tokens and back: special tokens only where they are meant, and never half a character."""

import copy
import json
import re
import sys
from pathlib import Path

import jax.numpy as jnp
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizers import AddedToken, normalizers, pre_tokenizers
from tokenizers import Tokenizer as FastTokenizer
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from lamps_jax.engine.build import build_engine
from lamps_jax.models.registry import random_model
from lamps_jax.models.sentencepiece_file import SPACE
from lamps_jax.models.tokenizer import Tokenizer
from lamps_jax.models.weights import CheckpointError, save_hf_directory
from tests.factories import END_OF_TEXT, engine_config, gptj_config, save_tiny_tokenizer, tiny_tokenizer
from tests.fakes import make_tokenizer
from tests.models.tokenizer_files import (
    LINES,
    byte_pairs,
    processor,
    save_gptj,
    save_opt,
    save_vicuna,
    sentencepiece_model,
    without_dummy_prefix,
)

TOKENIZER = Tokenizer(tiny_tokenizer(extra_tokens=["<|call|>"]))
CHARACTERS = st.text(st.characters(exclude_categories=["Cs"]))

SENTENCEPIECE = processor(sentencepiece_model())
INSIDE = processor(without_dummy_prefix(sentencepiece_model()))
BEGIN, END = SENTENCEPIECE.bos_id(), SENTENCEPIECE.eos_id()
SENTENCES = st.one_of(
    CHARACTERS, st.sampled_from(LINES), st.lists(st.sampled_from([*" \n\tab1", SPACE, "the", "🎉", "世"])).map("".join)
).filter(lambda text: not re.search("<unk>|</?s>", text))


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


@given(CHARACTERS)
def test_the_spellings_of_tokens_in_a_row_are_the_bytes_of_the_text(text: str) -> None:
    assert b"".join(map(TOKENIZER.spell, TOKENIZER.encode_text(text))) == text.encode()


def test_special_tokens_are_spelled_by_name_and_what_is_no_token_not_at_all() -> None:
    special = TOKENIZER.hf.convert_tokens_to_ids("<|call|>")
    assert TOKENIZER.is_special(special) and TOKENIZER.spell(special) == b"<|call|>"
    assert not any(map(TOKENIZER.is_special, TOKENIZER.encode_text("<|call|>")))
    assert TOKENIZER.spell(TOKENIZER.vocab_size + 7) == b""


def test_stream_leaves_special_tokens_out() -> None:
    stream = TOKENIZER.stream([])
    assert [stream.push(token) for token in (*TOKENIZER.encode_text("a"), 0, *TOKENIZER.encode_text("b"))] == ["a", "", "b"]


def test_a_context_that_ends_in_half_a_character_does_not_leak_into_the_text() -> None:
    tokenizer = make_tokenizer()
    context = tokenizer.encode_prompt("ab") + tokenizer.encode_prompt("é")[:1]
    stream = tokenizer.stream(context)
    assert "".join(stream.push(token) for token in tokenizer.encode_prompt("cd")) == "cd"


def test_a_copy_encodes_and_decodes_alike() -> None:
    other = copy.deepcopy(TOKENIZER)
    token_ids = other.encode_text(f"a{END_OF_TEXT}é")
    assert token_ids == TOKENIZER.encode_text(f"a{END_OF_TEXT}é")
    assert other.decode(token_ids) == f"a{END_OF_TEXT}é"


@pytest.mark.parametrize("files", [(), ("vocab.json",), ("merges.txt", "tokenizer_config.json")])
def test_directory_without_tokenizer_is_named_with_what_was_looked_for(tmp_path: Path, files: tuple[str, ...]) -> None:
    for name in files:
        (tmp_path / name).write_text("{}")
    complaint = r"neither tokenizer\.json, nor tokenizer\.model, nor vocab\.json with merges\.txt; save the tokenizer"
    with pytest.raises(CheckpointError, match=rf"^{tmp_path} has no tokenizer: {complaint}"):
        Tokenizer.from_directory(tmp_path)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"model": {"type": "BPE"}}'])
def test_broken_tokenizer_is_named(tmp_path: Path, content: str) -> None:
    save_tiny_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(CheckpointError, match=f"cannot read the tokenizer in {tmp_path}") as caught:
        Tokenizer.from_directory(tmp_path)
    assert "\n" not in str(caught.value)


def test_tokenizer_with_more_tokens_than_the_model_is_refused_with_both_numbers(tmp_path: Path) -> None:
    model = random_model(gptj_config(num_layers=1, vocab_size=200))
    save_hf_directory(tmp_path, model.config, dict(zip(model.parameter_names, model.weights, strict=True)), dtype=jnp.float32)
    save_tiny_tokenizer(tmp_path)
    with pytest.raises(CheckpointError, match=rf"the tokenizer in {tmp_path} has 257 tokens, the model 200"):
        build_engine(tmp_path, engine_config(), ())


@pytest.fixture(scope="module")
def vicunas(tmp_path_factory: pytest.TempPathFactory) -> dict[bool | None, Tokenizer]:
    """Vicuna's tokenizer, by what its configuration says of `legacy`."""

    def read(legacy: bool | None) -> Tokenizer:
        directory = tmp_path_factory.mktemp("vicuna")
        save_vicuna(directory, legacy=legacy)
        return Tokenizer.from_directory(directory)

    return {legacy: read(legacy) for legacy in (None, True, False)}


@given(SENTENCES)
@example("  two leading spaces")
@example("")
def test_a_prompt_has_sentencepieces_tokens_behind_the_beginning_of_text(vicunas: dict, text: str) -> None:
    for tokenizer in vicunas.values():
        assert tokenizer.encode_prompt(text) == [BEGIN, *SENTENCEPIECE.encode(text)]
        assert tokenizer.encode_chat(text) == SENTENCEPIECE.encode(text)
        assert tokenizer.decode(tokenizer.encode_prompt(text)) == text.replace(SPACE, " ")


def chat_tokens(text: str, legacy: bool | None, typed: str) -> list[int]:
    """What SentencePiece makes of a chat: "</s>" ends a turn, and `typed` stands for where somebody wrote "</s>"."""
    token_ids, behind = list[int](), False
    for piece in re.split("(</s>)", text):
        own = SENTENCEPIECE if legacy is not False or not behind else INSIDE
        token_ids += [END] if piece == "</s>" else own.encode(piece.replace(typed, "</s>"))
        behind = behind or bool(piece)
    return token_ids


CHATS = st.lists(st.sampled_from(["the", " ", "  ", "</s>", "</s>", "\ue000", "a\n", "🎉", SPACE])).map("".join)


@given(CHATS)
@example("the</s>the")
@example("\ue000</s> the\ue000")
@example("  </s>  \ue000")
def test_in_a_chat_turns_end_and_typed_special_tokens_are_text(vicunas: dict, text: str) -> None:
    for legacy, tokenizer in vicunas.items():
        assert tokenizer.encode_chat(text, spelled={"\ue000": "</s>"}) == chat_tokens(text, legacy, "\ue000")


@given(SENTENCES, SENTENCES)
@example("a", " b")
@example("a", "b</s><s>c<unk>")
def test_text_that_goes_on_gets_no_space_and_obeys_no_special_token(vicunas: dict, before: str, text: str) -> None:
    for tokenizer in vicunas.values():
        token_ids = tokenizer.encode_text(text)
        assert token_ids == INSIDE.encode(text)
        assert b"".join(map(tokenizer.spell, token_ids)) == text.replace(SPACE, " ").encode()
        if before:
            context = tokenizer.encode_prompt(before)
            assert tokenizer.decode(context + token_ids) == (before + text).replace(SPACE, " ")
            stream = tokenizer.stream(context)
            assert "".join(map(stream.push, token_ids)) == text.replace(SPACE, " ")


def in_json(tokenizer: Tokenizer, form: str, directory: Path) -> Tokenizer:
    """Vicuna's tokenizer in ``tokenizer.json``, with the space before a text where directories of its kind have it."""
    fast = FastTokenizer.from_str(tokenizer.hf.backend_tokenizer.to_str())
    if form != "Prepend":
        fast.normalizer = normalizers.Sequence([])
        fast.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Metaspace(replacement=SPACE, prepend_scheme=form, split=False)]  # type: ignore[arg-type]
        )
    PreTrainedTokenizerFast(tokenizer_object=fast, bos_token="<s>", eos_token="</s>").save_pretrained(directory)
    return Tokenizer.from_directory(directory)


@pytest.mark.parametrize("form", ["Prepend", "first", "always"])
def test_the_same_holds_where_tokenizer_json_puts_the_space(vicunas: dict, tmp_path: Path, form: str) -> None:
    tokenizer = in_json(vicunas[True], form, tmp_path)
    assert tokenizer.encode_prompt("the")[-1:] == SENTENCEPIECE.encode("the")

    @given(CHATS)
    def check(text: str) -> None:
        assert tokenizer.encode_text(text) == INSIDE.encode(text)
        assert tokenizer.encode_chat(text, spelled={"\uf8ff": "</s>"}) == tokenizer.encode_chat(text)

    check()


def test_byte_level_tokenizers_that_put_a_space_first_leave_it_out_inside_a_text() -> None:
    fast = byte_pairs(END_OF_TEXT)
    fast.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer = Tokenizer(PreTrainedTokenizerFast(tokenizer_object=fast, eos_token=END_OF_TEXT))
    assert tokenizer.decode(tokenizer.encode_chat("the")) == " the"
    assert tokenizer.encode_text("the") == byte_pairs(END_OF_TEXT).encode("the").ids


def test_special_tokens_that_swallow_spaces_do_so_in_pieces_too() -> None:
    hf = tiny_tokenizer()
    swallowing = [AddedToken("<|l|>", lstrip=True, special=True), AddedToken("<|r|>", rstrip=True, special=True)]
    hf.add_special_tokens({"additional_special_tokens": swallowing}, replace_extra_special_tokens=False)
    tokenizer = Tokenizer(hf)
    text = " a <|l|> b <|r|> \n c<|l|><|r|>  "
    token_ids = tokenizer.encode_chat(text, spelled={"\ue000": END_OF_TEXT})
    assert token_ids == tokenizer.encode_chat(text)
    assert tokenizer.decode(token_ids) == " a b c"


def test_sentencepiece_itself_is_not_needed_to_run_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    monkeypatch.setitem(sys.modules, "google.protobuf", None)
    save_vicuna(tmp_path)
    assert Tokenizer.from_directory(tmp_path).encode_prompt("the") == [BEGIN, *SENTENCEPIECE.encode("the")]


NO_NAMES = {"bos_token": "", "eos_token": "", "unk_token": "", "tokenizer_class": "LlamaTokenizer"}


@pytest.mark.parametrize("config", [None, {}, NO_NAMES], ids=["no file", "empty", "empty names"])
def test_what_a_configuration_does_not_say_is_read_from_the_model(tmp_path: Path, config: dict | None) -> None:
    (tmp_path / "tokenizer.model").write_bytes(sentencepiece_model())
    if config is not None:
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    tokenizer = Tokenizer.from_directory(tmp_path)
    assert tokenizer.encode_prompt("the</s>") == [BEGIN, *SENTENCEPIECE.encode("the"), END]
    assert (tokenizer.hf.bos_token_id, tokenizer.hf.eos_token_id) == (BEGIN, END)
    assert tokenizer.vocab_size == SENTENCEPIECE.get_piece_size()


def test_a_configuration_may_ask_for_no_beginning_and_an_end_of_text(tmp_path: Path) -> None:
    save_vicuna(tmp_path, config={"add_bos_token": False, "add_eos_token": True})
    assert Tokenizer.from_directory(tmp_path).encode_prompt("the") == [*SENTENCEPIECE.encode("the"), END]


def test_added_tokens_come_behind_sentencepieces_own(tmp_path: Path) -> None:
    save_vicuna(tmp_path)
    (tmp_path / "added_tokens.json").write_text(json.dumps({"[PAD]": SENTENCEPIECE.get_piece_size()}))
    tokenizer = Tokenizer.from_directory(tmp_path)
    assert tokenizer.vocab_size == SENTENCEPIECE.get_piece_size() + 1
    assert tokenizer.encode_prompt("[PAD]") == [BEGIN, SENTENCEPIECE.get_piece_size()]


def test_tokenizer_json_goes_before_tokenizer_model(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.model").write_bytes(sentencepiece_model())
    save_tiny_tokenizer(tmp_path)
    assert Tokenizer.from_directory(tmp_path).vocab_size == 257


def test_tokenizer_model_of_another_kind_is_named(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.model").write_bytes(b"IQ== 0\nIg== 1\n")
    complaint = rf"cannot read the tokenizer in {tmp_path}: tokenizer\.model is not a SentencePiece model"
    with pytest.raises(CheckpointError, match=complaint):
        Tokenizer.from_directory(tmp_path)


@given(CHARACTERS)
@example(" the  leading\n\nspaces ")
def test_opt_has_the_tokens_that_its_vocabulary_and_merges_say(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    directory = tmp_path_factory.getbasetemp() / "opt"
    directory.mkdir(exist_ok=True)
    fitted = save_opt(directory)
    tokenizer = Tokenizer.from_directory(directory)
    end = fitted.token_to_id("</s>")
    assert tokenizer.encode_prompt(text) == [end, *fitted.encode(text).ids]
    assert tokenizer.encode_text(text) == fitted.encode(text).ids
    assert tokenizer.decode(tokenizer.encode_prompt(text)) == text
    assert tokenizer.encode_prompt(text) == AutoTokenizer.from_pretrained(directory, local_files_only=True).encode(text)


def test_gptj_has_the_tokens_beyond_gpt_2s(tmp_path: Path) -> None:
    fitted = save_gptj(tmp_path, num_extra_tokens=3)
    tokenizer = Tokenizer.from_directory(tmp_path)
    assert tokenizer.vocab_size == fitted.get_vocab_size() + 3
    assert tokenizer.encode_prompt("the <|extratoken_2|>")[-1] == fitted.get_vocab_size() + 1
    assert tokenizer.encode_prompt(" the theme") == fitted.encode(" the theme").ids
    (tmp_path / "tokenizer_config.json").unlink()
    assert Tokenizer.from_directory(tmp_path).encode_prompt(" the theme") == fitted.encode(" the theme").ids


def test_the_configuration_tells_how_a_text_is_cut_into_words(tmp_path: Path) -> None:
    byte_pairs(END_OF_TEXT).model.save(str(tmp_path))
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "Qwen2TokenizerFast"}')
    text = "the theme 12345's\n\n  the "
    expected = AutoTokenizer.from_pretrained(tmp_path, local_files_only=True)
    assert type(expected).__name__ == "Qwen2Tokenizer"
    assert Tokenizer.from_directory(tmp_path).encode_prompt(text) == expected.encode(text)
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "CLIPTokenizer"}')
    with pytest.raises(CheckpointError, match=rf"^the tokenizer in {tmp_path} is a CLIPTokenizer, .* save it as tokenizer\.json"):
        Tokenizer.from_directory(tmp_path)
