"""The embedded model's tokenizer: a small byte-level BPE in which spaces, digits and signs stand alone.

A name is therefore cut into the same tokens wherever it stands, after a space, a parenthesis or a quote, so that copying it from
a question into a call is copying tokens.
"""

import random
from collections.abc import Iterator
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from lamps_jax.embedded.text import CHAT_TEMPLATE, END_OF_TEXT, draw, pieces


def train_tokenizer(*, vocab_size: int, num_questions: int, seed: int) -> PreTrainedTokenizerFast:
    """A tokenizer fitted to `num_questions` training questions."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"[A-Za-z]+|[^A-Za-z]"), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_training_texts(num_questions, seed), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=END_OF_TEXT,
        eos_token=END_OF_TEXT,
        pad_token=END_OF_TEXT,
        chat_template=CHAT_TEMPLATE,
        model_max_length=1024,
        clean_up_tokenization_spaces=False,
    )


def save_tokenizer(tokenizer: PreTrainedTokenizerFast, directory: Path) -> None:
    """Writes ``tokenizer.json``, ``tokenizer_config.json`` and the chat template into `directory`."""
    tokenizer.save_pretrained(directory)


def _training_texts(num_questions: int, seed: int) -> Iterator[str]:
    rng = random.Random(seed)
    for _ in range(num_questions):
        yield "".join(piece.text for piece in pieces(draw(rng, "train")))
