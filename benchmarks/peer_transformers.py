"""The same weights in transformers' PyTorch model on the same device, with its own batched generation: the peer of the engine."""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.scripted_engine import Lengths, random_prompt
from lamps_jax.models import gptj
from lamps_jax.models.registry import LoadedModel
from lamps_jax.models.weights import hf_names


def gptj_peer(model: LoadedModel, dtype: str) -> Any:
    """A transformers GPT-J whose parameters are `model`'s arrays, not copies of them."""
    import torch
    from transformers import AutoModelForCausalLM, GPTJConfig
    from transformers.models.gptj.modeling_gptj import create_sinusoidal_positions

    assert isinstance(model.config, gptj.GPTJConfig), "the peer is GPT-J"
    config = GPTJConfig(**model.config.to_hf(dtype=dtype))
    with torch.device("meta"):
        peer = AutoModelForCausalLM.from_config(config, dtype=getattr(torch, dtype))
    names = hf_names(gptj.HF_NAMES, model.parameter_names, model.config.num_layers)
    arrays = dict(zip(model.parameter_names, model.weights, strict=True))
    state = {theirs: torch.from_dlpack(arrays[ours]).to(getattr(torch, dtype)) for ours, theirs in names.items()}
    peer.load_state_dict(state, assign=True)
    device = next(iter(state.values())).device
    for layer in peer.transformer.h:  # a table that is computed and not loaded
        layer.attn.embed_positions = create_sinusoidal_positions(config.n_positions, config.rotary_dim).to(device)
    return peer.eval()


def generate(peer: Any, requests: Sequence[Lengths], *, batch: int) -> tuple[float, list[list[int]]]:
    """Seconds in which transformers generates for all `requests` in batches in their order, and the tokens of each.

    A batch is padded to its longest prompt and goes on until its longest answer is there; what a shorter one brings beyond its
    length is dropped.
    """
    import torch

    device = next(iter(peer.parameters())).device
    began, answers = time.perf_counter(), []
    for start in range(0, len(requests), batch):
        part = requests[start : start + batch]
        longest = max(lengths.num_prompt_tokens for lengths in part)
        tokens = np.zeros((len(part), longest), np.int64)
        mask = np.zeros_like(tokens)
        for row, lengths in enumerate(part):
            tokens[row, longest - lengths.num_prompt_tokens :] = random_prompt(lengths, start + row, peer.config.vocab_size)
            mask[row, longest - lengths.num_prompt_tokens :] = 1
        count = max(lengths.num_generated_tokens for lengths in part)
        with torch.inference_mode():
            output = peer.generate(
                torch.tensor(tokens, device=device), attention_mask=torch.tensor(mask, device=device), do_sample=False,
                max_new_tokens=count, min_new_tokens=count, pad_token_id=0,
            )  # fmt: skip
        new = output[:, longest:].tolist()
        answers += [row[: lengths.num_generated_tokens] for row, lengths in zip(new, part, strict=True)]
    return time.perf_counter() - began, answers
