"""What a step and a swap cost on this machine, in seconds: the measure behind budgets and, later, every handling decision."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CostModel:
    """Times as linear functions, fitted to what was measured where the engine runs (`engine.measure`).

    Attributes:
        forward_base_s: What a step costs that computes nothing.
        forward_per_token_s: For each token computed.
        forward_per_context_token_s: For each token whose keys and values are read: each chunk's and each decode's context once,
            its own tokens included.
        swap_base_s: What a transfer between device and host costs that moves nothing.
        swap_per_block_s: For each block moved, one way.
        forward_per_chunk_s: For each chunk of a prompt, which has a program of its own; 0 where tokens and contexts say it all.
    """

    forward_base_s: float
    forward_per_token_s: float
    forward_per_context_token_s: float
    swap_base_s: float
    swap_per_block_s: float
    forward_per_chunk_s: float = 0.0

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            if not 0.0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name} must be a finite number of seconds and not negative, got {getattr(self, name)}")

    def forward_s(self, num_tokens: float, num_context_tokens: float = 0, num_chunks: float = 0) -> float:
        """Time of a step of `num_tokens` in decodes and `num_chunks` chunks, whose contexts sum to `num_context_tokens`.

        All may be expectations, and so fractions.

        Source: InferCept (Abhyankar et al., 2024), T_fwd, with terms for reading the context and for the chunks.
        """
        return (
            self.forward_base_s
            + num_tokens * self.forward_per_token_s
            + num_context_tokens * self.forward_per_context_token_s
            + num_chunks * self.forward_per_chunk_s
        )

    def swap_s(self, num_blocks: int) -> float:
        """Time to move `num_blocks` between device and host, one way; nothing for none.

        Source: InferCept, T_swap.
        """
        return self.swap_base_s + num_blocks * self.swap_per_block_s if num_blocks else 0.0

    def blocks_swapped_within(self, seconds: float) -> int:
        """The most blocks N with ``swap_s(N) <= seconds``.

        Source: InferCept, section 4.1: the swap limit N_i of an iteration, T_swap(N_i) = T_fwd(B_i).
        """
        if seconds <= self.swap_base_s:
            return 0
        if self.swap_per_block_s == 0.0:
            return 2**31 - 1
        return int((seconds - self.swap_base_s) / self.swap_per_block_s * (1 + 1e-12))
