"""Machines that the simulator knows: what steps and copies cost on them, and how much KV they hold.

H200 rows were measured with this engine, and so is what a file of `lamps-jax doctor --json` brings. A100 rows follow what
InferCept (ICML 2024) and LAMPS (NeurIPS 2025) published or released; what they leave out is derived or calibrated, and said so.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lamps_jax.config import SchedulerConfig
from lamps_jax.sched.cost_model import CostModel

GPTJ_6B_KV_BYTES, VICUNA_13B_KV_BYTES, TINYLLAMA_KV_BYTES, LLAMA_70B_KV_BYTES = 458_752, 819_200, 22_528, 327_680
"""Bytes of keys and values of one token in 16 bits: 2 x layers x heads x size of a head x 2."""

SATURATION_TOKENS = 384
"""Tokens of a step that fills an A100; `384` in the released codes of InferCept and LAMPS."""

A100_READS_PER_S = 0.382e12
"""Bytes a second at which attention reads keys and values there; calibrated (`benchmarks.calibrate`), not from a data sheet.

With it InferCept saturates near 2 requests a second on its mixture with GPT-J-6B, as its paper and LAMPS's have it.
"""


@dataclass(frozen=True, slots=True)
class Hardware:
    """One machine with one model.

    Attributes:
        model: What is served.
        kv_tokens: Room of the device's pool.
        host_kv_tokens: Room of the host's.
        source: Where the figures come from.
    """

    name: str
    model: str
    cost_model: CostModel
    block_size: int
    kv_tokens: int
    host_kv_tokens: int
    token_budget: int = SATURATION_TOKENS
    max_num_seqs: int = 256
    max_model_len: int = 2048
    source: str = ""

    def __post_init__(self) -> None:
        if self.kv_tokens < self.max_model_len:
            raise ValueError(f"{self.name} has room for {self.kv_tokens} tokens, less than one request of {self.max_model_len}")

    @property
    def num_blocks(self) -> int:
        """Blocks of the device's pool, the null block included."""
        return self.kv_tokens // self.block_size + 1

    @property
    def num_host_blocks(self) -> int:
        """Blocks of the host's pool."""
        return self.host_kv_tokens // self.block_size

    def scheduler_config(self, policy: str, **options: Any) -> SchedulerConfig:
        """What the scheduler is told on this machine; without a prefix cache, as the papers' systems, unless asked for."""
        limits = {
            "token_budget": self.token_budget,
            "max_chunk_tokens": self.token_budget,
            "max_num_seqs": min(self.max_num_seqs, self.token_budget),
            "max_model_len": self.max_model_len,
            "max_calls": 10**9,
            "prefix_cache": False,
        }
        return SchedulerConfig(policy=policy, **(limits | options))

    def reading(self, per_context_token_s: float) -> "Hardware":
        """The same machine, taking so long to read a token of context."""
        return replace(self, cost_model=replace(self.cost_model, forward_per_context_token_s=per_context_token_s))


def _swap_per_block_s(kv_bytes: int, block_size: int, bytes_per_s: float) -> float:
    return kv_bytes * block_size / bytes_per_s


def _host_tokens(gib: float, kv_bytes: int) -> int:
    return int(gib * 2**30) // kv_bytes


_GPTJ_FIT = (16.92e-3, 40.8e-6)
_GPTJ_SOURCE = (
    "T_fwd 16.92 ms + 0.0408 ms a token: LAMPS's script for GPT-J-6B; KV room: 90 % of 40 GB less weights and activations; "
    "link 10.0 GB/s: implied by InferCept's swap constants; host 32 GiB: LAMPS's scripts"
)

HARDWARE: dict[str, Hardware] = {
    hardware.name: hardware
    for hardware in (
        Hardware(
            "a100-40gb-gptj-6b",
            "GPT-J-6B",
            CostModel(*_GPTJ_FIT, GPTJ_6B_KV_BYTES / A100_READS_PER_S, 0.0, _swap_per_block_s(GPTJ_6B_KV_BYTES, 64, 10e9)),
            64,
            55_000,
            _host_tokens(32, GPTJ_6B_KV_BYTES),
            source=_GPTJ_SOURCE + "; reading the context: calibrated (docs/simulator.md)",
        ),
        Hardware(
            "a100-40gb-gptj-6b-linear",
            "GPT-J-6B",
            CostModel(*_GPTJ_FIT, 0.0, 0.0, _swap_per_block_s(GPTJ_6B_KV_BYTES, 64, 10e9)),
            64,
            55_000,
            _host_tokens(32, GPTJ_6B_KV_BYTES),
            source=_GPTJ_SOURCE + "; the published fit alone: contexts are read in no time",
        ),
        Hardware(
            "a100-40gb-vicuna-13b",
            "Vicuna-13B",
            CostModel(
                26.0e-3, 55.8e-6, VICUNA_13B_KV_BYTES / A100_READS_PER_S, 0.0, _swap_per_block_s(VICUNA_13B_KV_BYTES, 64, 10e9)
            ),
            64,
            13_700,
            _host_tokens(32, VICUNA_13B_KV_BYTES),
            source="InferCept's fit for two GPUs is 15.4 ms + 0.0279 ms a token; on one, derived: twice the time a token, and "
            "26 ms for reading 26 GB of weights at two thirds of the bandwidth, with 6 ms besides; KV room: 90 % of 40 GB less "
            "weights and activations; link, host and reading as for GPT-J",
        ),
        Hardware(
            "a100-80gb-tinyllama-1.1b",
            "TinyLlama-1.1B",
            CostModel(9e-3, 15e-6, TINYLLAMA_KV_BYTES / A100_READS_PER_S, 0.0, _swap_per_block_s(TINYLLAMA_KV_BYTES, 128, 10e9)),
            128,
            3_000_000,
            _host_tokens(32, TINYLLAMA_KV_BYTES),
            source="derived: 2.2 GB of weights, 22 layers of launches, 2.2 GFLOP a token at half the peak; blocks of 128 as "
            "DeepSpeed's attention imposes for heads of 64; link, host and reading as for GPT-J",
        ),
        Hardware(
            "a100-80gb-llama3-70b-tp2",
            "Llama-3-70B on 2 GPUs",
            CostModel(
                64e-3, 0.45e-3, LLAMA_70B_KV_BYTES / 2 / A100_READS_PER_S, 0.0, _swap_per_block_s(LLAMA_70B_KV_BYTES, 64, 20e9)
            ),
            64,
            9_000,
            _host_tokens(32, LLAMA_70B_KV_BYTES),
            source="derived: 70.5 GB of weights on each GPU, 140 GFLOP a token over two at half the peak; KV room: 90 % of 160 "
            "GB less weights and activations; 10 GB/s a GPU; host and reading as for GPT-J",
        ),
        Hardware(
            "h200-gptj-6b",
            "GPT-J-6B",
            CostModel(3.394e-3, 14.72e-6, 0.1287e-6, 0.784e-3, 4 * 0.1789e-3),
            64,
            245_000,
            _host_tokens(64, GPTJ_6B_KV_BYTES),
            token_budget=1024,
            source="measured by benchmarks/gpu.sh on one H200 with this engine (docs/performance.md); a block of 64 is "
            "swapped like four of the measured ones; KV room: 90 % of 141 GB less weights and activations",
        ),
        Hardware(
            "h200-vicuna-13b",
            "Vicuna-13B",
            CostModel(8.033e-3, 36.6e-6, 0.1725e-6, 0.784e-3, 4 * 0.1789e-3 * VICUNA_13B_KV_BYTES / GPTJ_6B_KV_BYTES),
            64,
            120_000,
            _host_tokens(64, VICUNA_13B_KV_BYTES),
            token_budget=1024,
            source="fitted, within 5 %, to steps that benchmarks/gpu.sh measured on one H200 with this engine; swaps as fast a "
            "byte as GPT-J's there; KV room as for GPT-J",
        ),
    )
}
"""Every machine that `--hardware` knows, by name."""


def hardware_named(name: str | Path) -> Hardware:
    """The machine of that name, or the one that a file of ``lamps-jax doctor --json`` describes.

    Raises:
        ValueError: If there is neither, or the file does not describe one.
    """
    if known := HARDWARE.get(str(name)):
        return known
    if not Path(name).is_file():
        raise ValueError(
            f"no hardware and no file is called {str(name)!r}; use one of {', '.join(HARDWARE)}, "
            "or what `lamps-jax doctor --json` writes"
        )
    try:
        document = json.loads(Path(name).read_text(encoding="utf-8"))
        profile: Mapping[str, Any] = document["profile"]
        block_size, max_num_seqs = int(profile["block_size"]), int(profile["max_num_seqs"])
        return Hardware(
            Path(name).stem,
            str(profile["model"]),
            CostModel(**profile["cost_model"]),
            block_size,
            int(profile["kv_tokens"]),
            int(profile["host_blocks"]) * block_size,
            int(profile["token_budget"]),
            max_num_seqs,
            int(profile["max_model_len"]),
            source=f"measured by lamps-jax doctor ({document['machine']})",
        )
    except (KeyError, TypeError, ValueError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{name} holds no hardware profile ({type(error).__name__}: {error}); "
            f"write one with `lamps-jax doctor --json > {name}`"
        ) from None
