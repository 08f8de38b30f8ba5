"""Tokenizers fitted to a few lines, in the files in which the directories of real models hold them."""

import io
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import sentencepiece
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

LINES = (
    "A chat between a curious user and an artificial intelligence assistant. USER: Hello! ASSISTANT: Hi!</s>",
    "The assistant gives helpful, detailed, and polite answers to the user's questions.",
    "def double(numbers):\n    return [2 * number for number in numbers]\n\n\t# 1234567890",
    "Grüße aus Köln und Århus; déjà vu, naïve façade.  Two  spaces,   three   spaces.",
    "世界のニュース 日本語 中文 한국어 Привет мир αβγ 🎉🙂",
    "the then there these theme aaaa aaaaaaa banana bananas",
)


@cache
def sentencepiece_model(*, unknown: str = "bytes", one_space: bool = False, dummy_prefix: bool = True) -> bytes:
    """A ``tokenizer.model`` with the settings of Llama 2's, but few pieces."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(LINES * 5),
        model_writer=model,
        model_type="bpe",
        vocab_size=480 if unknown == "bytes" else 220,
        byte_fallback=unknown == "bytes",
        normalization_rule_name="nmt_nfkc" if one_space else "identity",
        remove_extra_whitespaces=one_space,
        add_dummy_prefix=dummy_prefix,
        allow_whitespace_only_pieces=not one_space,
        split_digits=True,
        character_coverage=0.99,
        minloglevel=2,
    )
    return model.getvalue()


def processor(model: bytes) -> sentencepiece.SentencePieceProcessor:
    """SentencePiece's own tokenizer."""
    return sentencepiece.SentencePieceProcessor(model_proto=model)


def without_dummy_prefix(model: bytes) -> bytes:
    """`model` that puts no space before a text: field 3 of its normalizer's settings, which stand last, before field 4."""
    before, prefixed, after = model.rpartition(b"\x18\x01\x20")
    assert prefixed
    return before + b"\x18\x00\x20" + after


def special_token(content: str, *, normalized: bool = False) -> dict[str, Any]:
    """A special token as configurations write it."""
    return {"content": content, "lstrip": False, "normalized": normalized, "rstrip": False, "single_word": False}


def save_vicuna(directory: Path, *, legacy: bool | None = False, config: Mapping[str, Any] | None = None) -> None:
    """The three files of Vicuna's tokenizer; version 1.3 says nothing of `legacy`, version 1.5 that it is false."""
    (directory / "tokenizer.model").write_bytes(sentencepiece_model())
    # Version 1.3 calls its special tokens normalized, which they never were.
    names = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    tokens = {name: special_token(content, normalized=legacy is None) for name, content in names.items()}
    settings = {"add_bos_token": True, "add_eos_token": False, "clean_up_tokenization_spaces": False, "sp_model_kwargs": {}}
    settings |= {"model_max_length": 4096, "pad_token": None, "padding_side": "right", "tokenizer_class": "LlamaTokenizer"}
    settings |= {name: {"__type": "AddedToken", **token} for name, token in tokens.items()}
    settings |= {} if legacy is None else {"legacy": legacy}
    (directory / "tokenizer_config.json").write_text(json.dumps(settings | dict(config or {})))
    (directory / "special_tokens_map.json").write_text(json.dumps({**tokens, "pad_token": "<unk>"}))


@cache
def _byte_pairs(special: tuple[str, ...]) -> str:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=480, special_tokens=list(special), initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(LINES, trainer)
    return tokenizer.to_str()


def byte_pairs(*special: str) -> Tokenizer:
    """A byte-level tokenizer as GPT-2's, with the tokens `special` first."""
    return Tokenizer.from_str(_byte_pairs(special))


def save_opt(directory: Path) -> Tokenizer:
    """The files of OPT's tokenizer; returns the tokenizer that they were made of."""
    tokenizer = byte_pairs("<s>", "<pad>", "</s>", "<unk>")
    tokenizer.model.save(str(directory))
    end = {"__type": "AddedToken", **special_token("</s>", normalized=True)}
    settings = {"add_bos_token": True, "add_prefix_space": False, "errors": "replace", "tokenizer_class": "GPT2Tokenizer"}
    settings |= {"bos_token": end, "eos_token": end, "unk_token": end, "pad_token": {**end, "content": "<pad>"}}
    (directory / "tokenizer_config.json").write_text(json.dumps(settings))
    return tokenizer


def save_gptj(directory: Path, *, num_extra_tokens: int) -> Tokenizer:
    """The files of GPT-J's tokenizer, with tokens beyond GPT-2's; returns the tokenizer that they were made of."""
    tokenizer = byte_pairs("<|endoftext|>")
    tokenizer.model.save(str(directory))
    size = tokenizer.get_vocab_size()
    extra = {f"<|extratoken_{number + 1}|>": size + number for number in range(num_extra_tokens)}
    (directory / "added_tokens.json").write_text(json.dumps(extra))
    settings = {"add_prefix_space": False, "errors": "replace", "tokenizer_class": "GPT2Tokenizer"}
    settings |= dict.fromkeys(("bos_token", "eos_token", "unk_token"), "<|endoftext|>")
    (directory / "tokenizer_config.json").write_text(json.dumps(settings))
    return tokenizer
