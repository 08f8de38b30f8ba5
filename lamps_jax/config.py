"""Configuration of the engine: frozen, checked when built, never edited after."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SchedulerConfig:
    """Limits under which the scheduler plans.

    Attributes:
        policy: Name of a system in `lamps_jax.sched.policy.SYSTEMS`.
        token_budget: Most tokens computed in one step.
        max_chunk_tokens: Most tokens of one prefill chunk.
        max_num_seqs: Most requests running at once.
        max_model_len: Most tokens of one request, prompt and results included.
        max_calls: Most API calls of one request; further ones get an error as their result.
        prefix_cache: Whether full blocks can be found again by their content, by the same request or another.
        eviction: Which cached block goes first: "cost" the one that is cheapest to lose, "lru" the one held longest ago.
        cache_decay_s: With "cost": after how long without use a block is worth half.
        preserve_limit_s: How long a call may keep blocks on the device under `preserve` before they are swapped out or discarded;
            None for as long as it takes.
    """

    policy: str = "preserve"
    token_budget: int = 512
    max_chunk_tokens: int = 256
    max_num_seqs: int = 32
    max_model_len: int = 1024
    max_calls: int = 16
    prefix_cache: bool = True
    eviction: str = "cost"
    cache_decay_s: float = 60.0
    preserve_limit_s: float | None = None

    def __post_init__(self) -> None:
        for name in ("token_budget", "max_chunk_tokens", "max_num_seqs", "max_model_len"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        if self.max_calls < 0:
            raise ValueError(f"max_calls must be 0 or more, got {self.max_calls}")
        if self.eviction not in ("cost", "lru"):
            raise ValueError(f"eviction must be cost or lru, got {self.eviction!r}")
        if not self.cache_decay_s > 0:
            raise ValueError(f"cache_decay_s must be positive, got {self.cache_decay_s}")
        if self.preserve_limit_s is not None and not self.preserve_limit_s >= 0:
            raise ValueError(f"preserve_limit_s must be 0 or more, or left out, got {self.preserve_limit_s}")
        if self.token_budget < self.max_num_seqs:
            raise ValueError(
                f"token_budget must let every running request decode, got {self.token_budget} for {self.max_num_seqs} requests; "
                "raise token_budget or lower max_num_seqs"
            )


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """Everything the engine is told at start-up beside the model.

    Attributes:
        block_size: Tokens in one KV block.
        num_blocks: Blocks in the pool, the null block included; None sizes it so that every running request may be full.
        host_kv_bytes: Bytes of host memory for blocks that are swapped out; 0 for none.
        attention: Name of the attention backend; "auto" takes the fastest that passes its self-test on this platform.
        dtype: Type of the weights' matrices: float32, bfloat16 or float16.
        compile_cache: Directory of compiled programs; empty for none.
        tensor_parallel: Devices over which the heads and the weights are split.
        quantize: "int8" stores the weights' matrices as 8-bit integers with one scale an output; None as `dtype`.
        load_format: "auto" reads the weights of the model; "dummy" draws random ones, for benchmarks.
    """

    scheduler: SchedulerConfig = SchedulerConfig()
    block_size: int = 16
    num_blocks: int | None = None
    host_kv_bytes: int = 0
    attention: str = "auto"
    dtype: str = "float32"
    compile_cache: str = ""
    tensor_parallel: int = 1
    quantize: str | None = None
    load_format: str = "auto"

    def __post_init__(self) -> None:
        if self.block_size < 1:
            raise ValueError(f"block_size must be positive, got {self.block_size}")
        if self.num_blocks is not None and (self.num_blocks - 1) * self.block_size < self.scheduler.max_model_len:
            raise ValueError(
                f"{self.num_blocks} KV blocks of {self.block_size} tokens (one of them unusable) cannot hold one request of "
                f"max_model_len {self.scheduler.max_model_len}; use at least {self.min_num_blocks} blocks or lower max_model_len"
            )
        if self.host_kv_bytes < 0:
            raise ValueError(f"host_kv_bytes must be 0 (none) or more, got {self.host_kv_bytes}")
        if self.dtype not in ("float32", "bfloat16", "float16"):
            raise ValueError(f"dtype must be float32, bfloat16 or float16, got {self.dtype!r}")
        if self.tensor_parallel < 1:
            raise ValueError(f"tensor_parallel must be positive, got {self.tensor_parallel}")
        if self.quantize not in (None, "int8"):
            raise ValueError(f"quantize must be int8 or left out, got {self.quantize!r}")
        if self.load_format not in ("auto", "dummy"):
            raise ValueError(f"load_format must be auto or dummy, got {self.load_format!r}")

    @property
    def min_num_blocks(self) -> int:
        """Blocks that hold one full request, and the null block."""
        return self.max_blocks_per_request + 1

    @property
    def max_blocks_per_request(self) -> int:
        """Blocks that hold `max_model_len` tokens: the width of a block table."""
        return -(-self.scheduler.max_model_len // self.block_size)
