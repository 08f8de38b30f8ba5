"""Texts that a grammar allows, drawn at random, and whether it takes a given one."""

import random
from functools import cache

import llguidance.hf
from llguidance import LLMatcher, LLTokenizer
from tokenizers import AddedToken

from lamps_jax.models.tokenizer import Tokenizer
from tests.fakes import make_tokenizer


@cache
def tokenizer(*words: str, special: bool = False) -> Tokenizer:
    """A token a byte, and one for each of `words`."""
    made = make_tokenizer()
    made.hf.add_tokens([AddedToken(word, special=special, normalized=False) for word in words], special_tokens=special)
    return Tokenizer(made.hf)


@cache
def _guide(tokens: Tokenizer) -> LLTokenizer:
    return llguidance.hf.from_tokenizer(tokens.hf)


def _matcher(grammar: str, tokens: Tokenizer) -> LLMatcher:
    matcher = LLMatcher(_guide(tokens), grammar, log_level=0)
    assert not matcher.is_error(), matcher.get_error()
    return matcher


def allows(grammar: str, text: str, tokens: Tokenizer) -> bool:
    """Whether `text` is of the language of `grammar`."""
    token_ids = tokens.hf.encode(text, add_special_tokens=False)
    matcher = _matcher(grammar, tokens)
    return matcher.try_consume_tokens(token_ids) == len(token_ids) and matcher.is_accepting()


def walk(grammar: str, tokens: Tokenizer, *, seed: int, max_tokens: int = 4000) -> str | None:
    """A text of the language of `grammar`, each of its tokens drawn among those that are allowed; None if it gets too long.

    What ends a string or an object is drawn more often, and letters more often than other characters, lest texts never end.
    """
    rng, matcher, token_ids = random.Random(seed), _matcher(grammar, tokens), list[int]()
    eos, ends = tokens.hf.eos_token_id, set(tokens.hf.convert_tokens_to_ids(list('"}]),')))
    letters = set(tokens.hf.convert_tokens_to_ids(list("abcdefghijklmnopqrstuvwxyz")))
    while len(token_ids) < max_tokens and not matcher.is_stopped():
        if matcher.is_accepting() and rng.random() < 0.7:
            return tokens.hf.decode(token_ids, skip_special_tokens=False)
        mask = matcher.compute_logit_bias()
        allowed = [token_id for token_id, bias in enumerate(mask) if bias and token_id != eos]
        wanted = [token_id for token_id in allowed if token_id in ends and rng.random() < 0.5]
        usual = [token_id for token_id in allowed if token_id in letters and rng.random() < 0.8]
        token_id = rng.choice(wanted or usual or allowed)
        assert matcher.consume_token(token_id)
        token_ids.append(token_id)
    return tokens.hf.decode(token_ids, skip_special_tokens=False) if matcher.is_accepting() else None
