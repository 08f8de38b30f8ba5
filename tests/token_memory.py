"""An executor whose blocks hold the tokens themselves, so that a wrong block, slot or position is seen at once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lamps_jax.config import SchedulerConfig
from lamps_jax.sched.block_manager import NULL_BLOCK, BlockManager
from lamps_jax.sched.plan import BlockCopy, Decode, PrefillChunk, StepPlan, StepResult

JUNK = (-7,) * 1000
"""Tokens that nobody ever has."""


@dataclass(frozen=True)
class Cell:
    """What one token place of a block holds: like keys and values, it depends on all tokens up to its own."""

    token_ids: tuple[int, ...]

    @property
    def position(self) -> int:
        return len(self.token_ids) - 1


@dataclass(frozen=True)
class Sample:
    """What one slot holds."""

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
        self._block_size, self._num_blocks, self._num_host_blocks = blocks.block_size, blocks.num_blocks, len(blocks.host.ids)
        self._cells: dict[tuple[int, int], Cell] = {}
        self._host: dict[int, dict[int, Cell]] = {}
        self._arriving: list[tuple[BlockCopy, dict[int, Cell] | None]] = []
        self._last: dict[int, Sample] = {}
        self._lost: set[int] = set()
        self.failing_ins: set[int] = set()
        self.failing_outs: set[int] = set()
        self.plans: list[StepPlan] = []

    def submit(self, plan: StepPlan) -> StepResult:
        """Checks a plan and runs it at once; the samples are known here, but not yet to whoever collects later."""
        self.plans.append(plan)
        self._check(plan)
        lost = self._arrive()
        lost_host = frozenset(copy.host_block for copy in plan.swap_outs if copy.host_block in self.failing_outs)
        for copy in plan.swap_outs:
            self._host[copy.host_block] = self._cells_of(copy.device_block)
        for host_block in lost_host:
            del self._host[host_block]
        self._arriving = [(copy, self._host.get(copy.host_block)) for copy in plan.swap_ins]
        sampled = {}
        for chunk in plan.prefills:
            self._write(chunk, chunk.start, chunk.token_ids)
            if chunk.sample:
                sampled[chunk.request_id] = self._sample(chunk, chunk.start + len(chunk.token_ids))
        for decode in plan.decodes:
            self._write(decode, decode.position, [self._input(decode)])
            sampled[decode.request_id] = self._sample(decode, decode.position + 1)
        return StepResult(plan.step_id, sampled, lost, lost_host)

    def _arrive(self) -> frozenset[int]:
        """Puts what the plan before swapped in where it belongs; returns the blocks whose content did not come."""
        lost = set()
        for copy, cells in self._arriving:
            self._clear(copy.device_block)
            if cells is None or copy.host_block in self.failing_ins:
                lost.add(copy.device_block)
                self._lost.add(copy.device_block)
            else:
                self._cells.update({(copy.device_block, slot): cell for slot, cell in cells.items()})
        return frozenset(lost)

    def _cells_of(self, block: int) -> dict[int, Cell]:
        return {slot: self._cells[block, slot] for slot in range(self._block_size) if (block, slot) in self._cells}

    def _clear(self, block: int) -> None:
        for slot in range(self._block_size):
            self._cells.pop((block, slot), None)

    def collect(self, handle: StepResult) -> StepResult:
        return handle

    def _check(self, plan: StepPlan) -> None:
        rows = [*plan.prefills, *plan.decodes]
        assert plan, "an empty plan was submitted"
        self._check_copies(plan)
        assert sum(len(chunk.token_ids) for chunk in plan.prefills) + len(plan.decodes) <= self._config.token_budget
        assert all(0 < len(chunk.token_ids) <= self._config.max_chunk_tokens for chunk in plan.prefills)
        assert len({row.request_id for row in rows}) == len(rows), "a request is in the plan twice"
        slots = [row.slot for row in rows]
        assert len(set(slots)) == len(slots), "two requests share a slot"
        assert all(0 <= slot < self._config.max_num_seqs for slot in slots)
        block_ids = [block for row in rows for block in row.block_ids]
        assert all(NULL_BLOCK < block < self._num_blocks for block in block_ids)
        for row in rows:
            assert len(set(row.block_ids)) == len(row.block_ids), "a request has a block twice"
            start, end = self._written(row)
            for block in row.block_ids[start // self._block_size : -(-end // self._block_size)]:
                assert block_ids.count(block) == 1, "a block that is written has another reader"
                assert block not in {copy.device_block for copy in plan.swap_ins}, "a block is written while it arrives"

    def _check_copies(self, plan: StepPlan) -> None:
        arriving = [copy.device_block for copy in plan.swap_ins]
        assert len(set(arriving)) == len(arriving), "two copies go into one block"
        read = {block for row in (*plan.prefills, *plan.decodes) for block in row.block_ids}
        assert not read & set(arriving), "a block is read before its content is there"
        assert not {copy.host_block for copy in plan.swap_ins} & {copy.host_block for copy in plan.swap_outs}
        for copy in (*plan.swap_ins, *plan.swap_outs):
            assert NULL_BLOCK < copy.device_block < self._num_blocks
            assert 0 <= copy.host_block < self._num_host_blocks

    @staticmethod
    def _written(row: PrefillChunk | Decode) -> tuple[int, int]:
        if isinstance(row, Decode):
            return row.position, row.position + 1
        return row.start, row.start + len(row.token_ids)

    def _input(self, decode: Decode) -> int:
        if decode.token_id is not None:
            return decode.token_id
        last = self._last[decode.slot]
        assert (last.request_id, last.position) == (decode.request_id, decode.position), "the slot's last token is another one"
        return last.token_id

    def _write(self, row: PrefillChunk | Decode, start: int, token_ids: Sequence[int]) -> None:
        end = start + len(token_ids)
        assert end <= self._config.max_model_len, "beyond the context"
        assert end <= len(row.block_ids) * self._block_size, "the blocks do not hold the tokens"
        before = self._read(row, start - 1).token_ids if start else ()
        for position, token_id in enumerate(token_ids, start):
            before = (*before, token_id)
            self._cells[self._place(row, position)] = Cell(before)

    def _sample(self, row: PrefillChunk | Decode, position: int) -> int:
        context = self._read(row, position - 1).token_ids
        cells = [self._read(row, at).token_ids for at in range(position)]
        if any(JUNK[0] in cell for cell in cells):
            context = JUNK[:position]
        else:
            for at, cell in enumerate(cells):
                assert cell == context[: at + 1], f"{row.request_id} reads at {at} what somebody left behind: {cell}"
        token_id = self._next_token(list(context))
        self._last[row.slot] = Sample(row.request_id, position, token_id)
        return token_id

    def _read(self, row: PrefillChunk | Decode, position: int) -> Cell:
        """What a row finds at `position`; where a copy was lost, junk."""
        cell = self._cells.get(self._place(row, position))
        if cell is None:
            assert self._place(row, position)[0] in self._lost, f"{row.request_id} reads at {position} where nothing is"
            return Cell(JUNK[: position + 1])
        return cell

    def _place(self, row: PrefillChunk | Decode, position: int) -> tuple[int, int]:
        return row.block_ids[position // self._block_size], position % self._block_size
