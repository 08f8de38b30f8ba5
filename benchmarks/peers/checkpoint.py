"""A checkpoint of the LLaMA family with random weights, in the formats that the engines read.

It is made by transformers; lamps-jax reads it as it is, CTranslate2 through its own converter, llama.cpp as a GGUF file that the
`gguf` package writes as llama.cpp's converter does.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SHAPES: dict[str, dict[str, int]] = {
    "tiny": {"hidden_size": 64, "layers": 2, "heads": 4, "kv_heads": 2, "intermediate_size": 128, "vocab_size": 512},
    "124m": {"hidden_size": 768, "layers": 12, "heads": 12, "kv_heads": 12, "intermediate_size": 2048, "vocab_size": 25_216},
    "1.1b": {"hidden_size": 2048, "layers": 22, "heads": 32, "kv_heads": 4, "intermediate_size": 5632, "vocab_size": 32_000},
}
"""The two that are measured are LLaMA's version of GPT-2's smallest, and TinyLlama's; "tiny" is for tests."""

MAX_POSITION = 2048


def make_checkpoint(directory: Path, shape: str) -> Path:
    """Writes a checkpoint unless it is there, and returns its directory."""
    target = directory / shape
    if (target / "done").exists():
        return target
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = SHAPES[shape]
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=sizes["vocab_size"], hidden_size=sizes["hidden_size"], num_hidden_layers=sizes["layers"],
        num_attention_heads=sizes["heads"], num_key_value_heads=sizes["kv_heads"], intermediate_size=sizes["intermediate_size"],
        max_position_embeddings=MAX_POSITION, rms_norm_eps=1e-5, tie_word_embeddings=False, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    target.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(target)
    _save_tokenizer(target, sizes["vocab_size"])
    (target / "done").touch()
    return target


def token_text(token_id: int) -> str:
    """How a token of these checkpoints is spelled."""
    return {0: "<unk>", 1: "<s>", 2: "</s>"}.get(token_id, f"t{token_id}")


def _save_tokenizer(target: Path, vocab_size: int) -> None:
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(WordLevel({token_text(token_id): token_id for token_id in range(vocab_size)}, unk_token="<unk>"))
    words.pre_tokenizer = WhitespaceSplit()  # pyright: ignore[reportAttributeAccessIssue]
    fast = PreTrainedTokenizerFast(tokenizer_object=words, bos_token="<s>", eos_token="</s>", unk_token="<unk>")
    fast.save_pretrained(target)


def ctranslate2_model(checkpoint: Path, compute_type: str) -> Path:
    """The same weights as CTranslate2's converter writes them."""
    target = checkpoint / f"ctranslate2-{compute_type}"
    if not (target / "model.bin").exists():
        from ctranslate2.converters import TransformersConverter

        TransformersConverter(str(checkpoint)).convert(str(target), quantization=compute_type, force=True)
    return target


def gguf_model(checkpoint: Path, dtype: str) -> Path:
    """The same weights in llama.cpp's format: its types "f32", "bf16", or "q8_0", 8-bit integers in blocks of 32."""
    target = checkpoint / f"model-{dtype}.gguf"
    if not target.exists():
        partial = target.with_suffix(".partial")
        _write_gguf(checkpoint, partial, dtype)
        partial.rename(target)
    return target


def _write_gguf(checkpoint: Path, path: Path, dtype: str) -> None:
    import gguf
    from safetensors.numpy import load_file

    config: Mapping[str, Any] = json.loads((checkpoint / "config.json").read_text())
    weights = {name: array for file in sorted(checkpoint.glob("*.safetensors")) for name, array in load_file(file).items()}
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_rope_dimension_count(config["hidden_size"] // config["num_attention_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(10_000.0)
    writer.add_vocab_size(config["vocab_size"])
    tokens = [token_text(token_id) for token_id in range(config["vocab_size"])]
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * len(tokens))
    writer.add_token_types(
        [gguf.TokenType.UNKNOWN, gguf.TokenType.CONTROL, gguf.TokenType.CONTROL] + [gguf.TokenType.NORMAL] * (len(tokens) - 3)
    )
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config["num_hidden_layers"])
    heads = {"q_proj": config["num_attention_heads"], "k_proj": config["num_key_value_heads"]}
    for name, array in weights.items():
        module = name.split(".")[-2]
        if module in heads:  # llama.cpp rotates neighbouring dimensions, transformers the two halves
            rows, columns = array.shape
            array = array.reshape(heads[module], 2, rows // heads[module] // 2, columns).swapaxes(1, 2).reshape(rows, columns)
        theirs = names.get_name(name, try_suffixes=(".weight",))
        assert theirs is not None, f"llama.cpp has no name for {name}"
        if dtype != "f32" and array.ndim == 2:
            kind = gguf.GGMLQuantizationType[dtype.upper()]
            writer.add_tensor(theirs, gguf.quants.quantize(array, kind), raw_dtype=kind)
        else:
            writer.add_tensor(theirs, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
