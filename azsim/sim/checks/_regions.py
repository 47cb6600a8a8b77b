"""Regions between fences: stretches of a program in which data decides, and nothing else does.

A *region* begins and ends with a fence of one nesting level.  Every branch by data inside it, and
every other one, leads to somewhere between the two, and none leads in from outside.  Nothing that
ran before the first fence is under way behind it, so that the region may be looked at for itself,
and to the rest of the program it is a fence.
"""

from __future__ import annotations

from collections.abc import Sequence

from azsim.isa.control_flow import loops_around
from azsim.isa.program import Instruction

__all__ = ["fenced_regions"]


def fenced_regions(instructions: Sequence[Instruction]) -> dict[int, int]:
    """The smallest regions that hold the branches by data: index of the first and the last fence.

    A branch by data that no two fences hold is in none of them.
    """
    data = _data_scalars(instructions)
    jumps = {
        index: int(entry.operands.get("target", 0))
        for index, entry in enumerate(instructions)
        if entry.mnemonic == "branch"
    }
    by_data = [
        index
        for index in jumps
        if data & {int(instructions[index].operands.get(name, 0)) for name in ("left", "right")}
    ]
    around = loops_around(instructions) if by_data else []
    found: dict[int, int] = {}
    for index in by_data:
        if any(first < index < last for first, last in found.items()):
            continue
        region = _smallest(instructions, jumps, around, index)
        if region is not None:
            first, last = region
            inside = [begin for begin in found if first <= begin < last]
            for begin in inside:
                del found[begin]
            found[first] = last
    return found


def _data_scalars(instructions: Sequence[Instruction]) -> set[int]:
    """Registers that may hold what depends on data."""
    found: set[int] = set()
    while True:
        before = len(found)
        for entry in instructions:
            operands = entry.operands
            sources = {int(operands.get(name, 0)) for name in ("left", "right")}
            is_read = entry.mnemonic == "scalar_read"
            if is_read or (entry.mnemonic == "scalar" and sources & found):
                found.add(int(operands.get("to", 0)))
        found.discard(0)
        if len(found) == before:
            return found


def _smallest(
    instructions: Sequence[Instruction],
    jumps: dict[int, int],
    around: Sequence[tuple[int, ...]],
    index: int,
) -> tuple[int, int] | None:
    """The region of the innermost level around a branch, between fences as near as can be."""
    for depth in range(len(around[index]), -1, -1):
        level = around[index][:depth]
        fences = [
            at
            for at, entry in enumerate(instructions)
            if entry.mnemonic == "fence" and around[at] == level
        ]
        first = max((at for at in fences if at < index), default=None)
        if first is None:
            continue
        for last in fences:
            if last > index and _is_closed(instructions, jumps, first, last):
                return first, last
    return None


def _is_closed(
    instructions: Sequence[Instruction], jumps: dict[int, int], first: int, last: int
) -> bool:
    """Whether control comes into a region at its first fence and leaves it at its last one."""
    return not any(instructions[index].mnemonic == "halt" for index in range(first, last)) and all(
        (first < index < last) == (first < target <= last)
        or (not first < index < last and target == last)
        for index, target in jumps.items()
    )
