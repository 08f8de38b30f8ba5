"""What a compiled program's text tells: which collectives, kernels and copies it has."""

import re
from collections import Counter

COLLECTIVES = (
    "all-reduce",
    "all-gather",
    "reduce-scatter",
    "all-to-all",
    "ragged-all-to-all",
    "collective-permute",
    "collective-broadcast",
)
"""Operations by which devices exchange data; an asynchronous one is counted where it starts."""

KERNEL_TARGETS = ("tpu_custom_call", "__gpu$xla.gpu.triton", "mosaic_gpu")
"""Beginnings of the names under which hand-written kernels are called."""

_INSTRUCTION = re.compile(r"^\s*(?:ROOT )?%?\S+ = (.+?) ([a-z][\w-]*)\(", re.MULTILINE)
_TARGET = re.compile(r'custom_call_target="([^"]+)"')
_ARRAY = re.compile(r"(\w+)\[([\d,]*)\](\{[^}]*\})?")
_ON_CHIP = re.compile(r"S\([1-9]")
_MOVES = ("copy", "copy-start", "transpose")


def collectives(hlo: str) -> dict[str, int]:
    """How often each kind of collective stands in the program; one in a loop counts once."""
    counts = Counter(operation.removesuffix("-start") for _, operation in _INSTRUCTION.findall(hlo))
    return {kind: counts[kind] for kind in COLLECTIVES if counts[kind]}


def kernel_calls(hlo: str) -> int:
    """How many calls of hand-written kernels the program has."""
    return sum(target.startswith(KERNEL_TARGETS) for target in _TARGET.findall(hlo))


def copies_of(hlo: str, dtype: str, shape: tuple[int, ...]) -> int:
    """How many instructions do nothing but move a whole array of this type (in HLO's spelling) and shape, axes in any order.

    A TPU's compiler may fetch an array into on-chip memory before it is read, which takes no room beside the array: that is none.
    """
    wanted = sorted(shape)
    return sum(
        kind == dtype and sorted(int(size) for size in sizes.split(",") if size) == wanted and not _ON_CHIP.search(layout)
        for result, operation in _INSTRUCTION.findall(hlo)
        if operation in _MOVES
        for kind, sizes, layout in _ARRAY.findall(result)[:1]
    )
