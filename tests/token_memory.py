"""An executor whose blocks hold the tokens themselves, so that a wrong block, slot or position is seen at once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lamps_jax.config import SchedulerConfig
from lamps_jax.sched.block_manager import NULL_BLOCK, BlockManager
from lamps_jax.sched.plan import Decode, PrefillChunk, StepPlan, StepResult


@dataclass(frozen=True)
class Cell:
    """What one token place of a block, or one slot, holds."""

    request_id: str
    position: int
    token_id: int


class TokenMemory:
    """Runs plans as a device would: only what lies in the blocks of a request counts as its context.

    Args:
        next_token: The model: the token that follows a context.
    """

    def __init__(self, next_token: Callable[[Sequence[int]], int], config: SchedulerConfig, blocks: BlockManager):
        self._next_token, self._config = next_token, config
        self._block_size, self._num_blocks = blocks.block_size, blocks.num_blocks
        self._cells: dict[tuple[int, int], Cell] = {}
        self._last: dict[int, Cell] = {}
        self._computed: dict[str, int] = {}
        self.plans: list[StepPlan] = []

    def submit(self, plan: StepPlan) -> StepResult:
        """Checks a plan and runs it at once; the samples are known here, but not yet to whoever collects later."""
        self.plans.append(plan)
        self._check(plan)
        sampled = {}
        for chunk in plan.prefills:
            self._write(chunk, chunk.start, chunk.token_ids)
            if chunk.sample:
                sampled[chunk.request_id] = self._sample(chunk, chunk.start + len(chunk.token_ids))
        for decode in plan.decodes:
            self._write(decode, decode.position, [self._input(decode)])
            sampled[decode.request_id] = self._sample(decode, decode.position + 1)
        return StepResult(plan.step_id, sampled)

    def collect(self, handle: StepResult) -> StepResult:
        return handle

    def _check(self, plan: StepPlan) -> None:
        rows = [*plan.prefills, *plan.decodes]
        assert rows, "an empty plan was submitted"
        assert sum(len(chunk.token_ids) for chunk in plan.prefills) + len(plan.decodes) <= self._config.token_budget
        assert all(0 < len(chunk.token_ids) <= self._config.max_chunk_tokens for chunk in plan.prefills)
        assert len({row.request_id for row in rows}) == len(rows), "a request is in the plan twice"
        slots = [row.slot for row in rows]
        assert len(set(slots)) == len(slots), "two requests share a slot"
        assert all(0 <= slot < self._config.max_num_seqs for slot in slots)
        block_ids = [block for row in rows for block in row.block_ids]
        assert len(set(block_ids)) == len(block_ids), "two requests share a block"
        assert all(NULL_BLOCK < block < self._num_blocks for block in block_ids)

    def _input(self, decode: Decode) -> int:
        if decode.token_id is not None:
            return decode.token_id
        last = self._last[decode.slot]
        assert (last.request_id, last.position) == (decode.request_id, decode.position), "the slot's last token is another one"
        return last.token_id

    def _write(self, row: PrefillChunk | Decode, start: int, token_ids: Sequence[int]) -> None:
        assert start <= self._computed.get(row.request_id, 0), "positions are left out"
        end = start + len(token_ids)
        assert end <= self._config.max_model_len, "beyond the context"
        assert end <= len(row.block_ids) * self._block_size, "the blocks do not hold the tokens"
        for position, token_id in enumerate(token_ids, start):
            self._cells[self._place(row, position)] = Cell(row.request_id, position, token_id)
        self._computed[row.request_id] = end

    def _sample(self, row: PrefillChunk | Decode, position: int) -> int:
        context = [self._cells[self._place(row, at)] for at in range(position)]
        for at, cell in enumerate(context):
            assert (cell.request_id, cell.position) == (row.request_id, at), f"{row.request_id} reads what {cell} left behind"
        token_id = self._next_token([cell.token_id for cell in context])
        self._last[row.slot] = Cell(row.request_id, position, token_id)
        return token_id

    def _place(self, row: PrefillChunk | Decode, position: int) -> tuple[int, int]:
        return row.block_ids[position // self._block_size], position % self._block_size
