"""Configuration of the engine: frozen, checked when built, never edited after."""

from dataclasses import dataclass
from typing import Literal

CHOICES = {
    "eviction": ("cost", "lru"),
    "admission": ("whole-context", "next-chunk", "predicted-peak", None),
    "starvation_scope": ("waiting", "started", None),
    "apply_handling": ("at-call", "lazily", None),
    "lookahead": ("next-call", "program", "gittins", None),
    "call_duration": ("expected", "elapsed"),
    "call_costs": ("paper", "marginal", None),
    "demotion": ("ahead", "on-demand", None),
    "program_limit": ("aimd", None),
}
"""What options of the scheduler that are words may be."""


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
        client_keep_s: How long the blocks of a reply that ends in calls of the client's are kept for the request that brings the
            results, where nothing is known yet of how long such calls take; 0 for not at all.
        admission: When a waiting request may start: "whole-context" if all that is known of it fits, "next-chunk" if its next
            chunk does, "predicted-peak" if it and all that run fit even as large as they are predicted to grow. None leaves it
            to the policy.
        starvation_threshold: Steps that a request waits before it goes ahead of all that do not starve, until it ends; 0 for
            never. Policies that serve in order of arrival need no such guard and have none.
        starvation_scope: Whose steps count: "waiting" those of every request, "started" those of requests that have run before,
            as in the code released with LAMPS. None leaves it to the policy.
        rank_refresh_steps: Ranks that change with what else runs are computed anew, some in each step, all within so many steps
            or as many as there are requests for each of 16 a step; new and returning requests are ranked at once. 0 for never.
        rank_preemption: Whether a waiting request of better rank takes the place of a running one. None leaves it to the policy.
        apply_handling: When a handling chosen ahead takes effect: "at-call", or "lazily", in the steps after it, and not on the
            request that wastes most, which gives way when memory is wanted. None leaves it to the policy.
        lookahead: What a rank foresees: up to the return of the "next-call"; the whole "program", if it is as long as is
            likeliest; or how likely it is to end at each of its calls, of which the "gittins" index is made. None: as the policy
            says.
        call_duration: What is taken for the time that a running call still needs: what it is "expected" to, or as much as has
            "elapsed".
        aging: Ranks are divided by (1 + age / `aging_s`) ** `aging`, in place of the starvation threshold; 0 for not. None leaves
            it to the policy.
        aging_s: Seconds. None leaves it to the policy.
        call_costs: What is weighed to handle a call: "paper" the wastes of LAMPS, "marginal" what each handling adds to steps
            that are taken anyway. None leaves it to the policy.
        program_limit: "aimd" bounds the requests that are under way, fewer when tokens come to be computed again and more when
            not: `sched.program_limit`. None for no such bound.
        demotion: When that is done: "ahead", before a request runs, or "on-demand", when somebody waits for memory. None leaves
            it to the policy.
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
    client_keep_s: float = 60.0
    admission: Literal["next-chunk", "whole-context", "predicted-peak"] | None = None
    starvation_threshold: int = 100
    starvation_scope: Literal["waiting", "started"] | None = None
    rank_refresh_steps: int = 16
    rank_preemption: bool | None = None
    apply_handling: Literal["at-call", "lazily"] | None = None
    lookahead: Literal["next-call", "program", "gittins"] | None = None
    call_duration: Literal["expected", "elapsed"] = "elapsed"
    aging: float | None = None
    aging_s: float | None = None
    call_costs: Literal["paper", "marginal"] | None = None
    demotion: Literal["ahead", "on-demand"] | None = None
    program_limit: Literal["aimd"] | None = None

    def __post_init__(self) -> None:
        for name in ("token_budget", "max_chunk_tokens", "max_num_seqs", "max_model_len"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        for name in ("max_calls", "starvation_threshold", "rank_refresh_steps"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be 0 or more, got {getattr(self, name)}")
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be {' or '.join(str(choice) for choice in known)}, got {getattr(self, name)!r}")
        if self.aging is not None and not 0.0 <= self.aging <= 16.0:
            raise ValueError(f"aging must be between 0 (none) and 16, or left out, got {self.aging}")
        if self.aging_s is not None and not 0.0 < self.aging_s < float("inf"):
            raise ValueError(f"aging_s must be a positive number of seconds, or left out, got {self.aging_s}")
        if not self.cache_decay_s > 0:
            raise ValueError(f"cache_decay_s must be positive, got {self.cache_decay_s}")
        if self.preserve_limit_s is not None and not self.preserve_limit_s >= 0:
            raise ValueError(f"preserve_limit_s must be 0 or more, or left out, got {self.preserve_limit_s}")
        if not 0.0 <= self.client_keep_s < float("inf"):
            raise ValueError(f"client_keep_s must be 0 (keep nothing) or more, got {self.client_keep_s}")
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
        num_blocks: Blocks in the pool, the null block included; None lets `kv_fraction` or the free memory decide.
        kv_fraction: Share of the memory that is free beside the weights for the pool; None for as much as every running request
            can use, if it is there.
        host_kv_bytes: Bytes of host memory for blocks that are swapped out; 0 for none.
        attention: Name of the attention backend; "auto" takes the fastest that passes its self-test on this platform.
        dtype: Type of the weights' matrices: float32, bfloat16 or float16.
        compile_cache: Directory of compiled programs; empty for none.
        tensor_parallel: Devices over which the heads and the weights are split.
        quantize: "int8" stores the weights' matrices as 8-bit integers with one scale an output; None as `dtype`.
        load_format: "auto" reads the weights of the model; "dummy" draws random ones, for benchmarks.
        tool_format: The form in which the model writes calls, by its name in `lamps_jax.tools.formats`; "auto" as its chat
            template says.
    """

    scheduler: SchedulerConfig = SchedulerConfig()
    block_size: int = 16
    num_blocks: int | None = None
    kv_fraction: float | None = None
    host_kv_bytes: int = 0
    attention: str = "auto"
    dtype: str = "float32"
    compile_cache: str = ""
    tensor_parallel: int = 1
    quantize: str | None = None
    load_format: str = "auto"
    tool_format: str = "auto"

    def __post_init__(self) -> None:
        if self.block_size < 1:
            raise ValueError(f"block_size must be positive, got {self.block_size}")
        if self.num_blocks is not None and (self.num_blocks - 1) * self.block_size < self.scheduler.max_model_len:
            raise ValueError(
                f"{self.num_blocks} KV blocks of {self.block_size} tokens (one of them unusable) cannot hold one request of "
                f"max_model_len {self.scheduler.max_model_len}; use at least {self.min_num_blocks} blocks or lower max_model_len"
            )
        if self.kv_fraction is not None and not 0.0 < self.kv_fraction <= 1.0:
            raise ValueError(f"kv_fraction must be above 0 and at most 1, got {self.kv_fraction}")
        if self.kv_fraction is not None and self.num_blocks is not None:
            raise ValueError("num_blocks and kv_fraction both size the pool; give one of them")
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
