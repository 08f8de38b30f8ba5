"""Shapes of published models: benchmarks give them random weights, since speed does not depend on what the weights are."""

from lamps_jax.models.architecture import ModelConfig
from lamps_jax.models.gptj import GPTJConfig
from lamps_jax.models.llama import LlamaConfig
from lamps_jax.models.rope import Rope

GPTJ_124M = GPTJConfig(
    vocab_size=25_216, hidden_size=768, num_layers=12, num_heads=12, rotary_dim=32, intermediate_size=3072, max_position=2048
)
GPTJ_200M = GPTJConfig(
    vocab_size=50_400, hidden_size=1024, num_layers=8, num_heads=16, rotary_dim=64, intermediate_size=4096, max_position=2048
)
GPTJ_6B = GPTJConfig(
    vocab_size=50_400, hidden_size=4096, num_layers=28, num_heads=16, rotary_dim=64, intermediate_size=16_384, max_position=2048
)
TINYLLAMA = LlamaConfig(
    vocab_size=32_000, hidden_size=2048, num_layers=22, num_heads=32, num_kv_heads=4, head_dim=64, intermediate_size=5632,
    max_position=2048, rope=Rope(64), windows=(None,) * 22, rms_norm_eps=1e-5,
)  # fmt: skip
VICUNA_13B = LlamaConfig(
    vocab_size=32_000, hidden_size=5120, num_layers=40, num_heads=40, num_kv_heads=40, head_dim=128, intermediate_size=13_824,
    max_position=4096, rope=Rope(128), windows=(None,) * 40, rms_norm_eps=1e-5,
)  # fmt: skip

SHAPES: dict[str, ModelConfig] = {
    "gpt-j-124m": GPTJ_124M,
    "gpt-j-6b": GPTJ_6B,
    "tinyllama-1.1b": TINYLLAMA,
    "vicuna-13b": VICUNA_13B,
}
"""Those that a benchmark takes by name; their head sizes are 64, 256, 64 with grouped key-value heads, and 128."""
