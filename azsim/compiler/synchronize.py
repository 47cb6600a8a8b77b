"""Synchronize: the waits between engines.

Contract: takes a program without waits, gives the same program in which every two instructions on
different engines that touch the same bytes, at least one of them writing, are ordered by a wait.

The program is walked as the sequencer would walk it, with each loop cut to three rounds: every
dependence between neighbouring rounds shows up.  For each instruction and each other engine, the
latest conflicting instruction gives the distance of the wait; an instruction that is met several
times keeps the smallest one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from azsim.isa.program import Instruction, Program
from azsim.isa.spec import instruction_set
from azsim.machine.engines.clock import ENGINES
from azsim.machine.instructions import instructions
from azsim.machine.state import Operation
from azsim.machine.view import Range, View

__all__ = ["synchronize"]

_ROUNDS = 3
_MAX_WAIT = 15
_SPACES = {"dram": 0, "weight": 1, "activation": 2}


def _executed(program: Program) -> Iterator[tuple[int, dict[int, View]]]:
    """Indices of engine instructions in execution order with the views at that moment."""
    views: dict[int, View] = {}
    loops: list[list[int]] = []
    index = 0
    engines = instruction_set().instructions
    while index < len(program.instructions):
        instruction = program.instructions[index]
        operands = instruction.operands
        match instruction.mnemonic:
            case "view":
                window = Operation(index, "view", operands).window
                assert window is not None
                views[int(operands.get("view", 0))] = window
            case "view_step":
                number = int(operands.get("view", 0))
                views[number] = views[number].stepped(int(operands.get("step", 0)))
            case "loop":
                loops.append([index + 1, min(_ROUNDS, int(operands.get("count", 1)))])
            case "end_loop":
                loops[-1][1] -= 1
                if loops[-1][1]:
                    index = loops[-1][0]
                    continue
                loops.pop()
            case "halt":
                return
            case mnemonic if engines[mnemonic].engine in ENGINES:
                yield index, views
        index += 1


class _Accesses:
    """All ranges touched so far, as growing arrays."""

    def __init__(self) -> None:
        self._table = np.zeros((1024, 6), np.int64)  # space, low, high, write, engine, ordinal
        self._size = 0

    def add(self, access: Range, engine: int, ordinal: int) -> None:
        if self._size == len(self._table):
            self._table = np.concatenate([self._table, np.zeros_like(self._table)])
        self._table[self._size] = (
            _SPACES[access.space], access.low, access.high, access.is_write, engine, ordinal
        )  # fmt: skip
        self._size += 1

    def latest_conflicts(self, access: Range, engine: int) -> dict[int, int]:
        """For each other engine, the last instruction that conflicts with a range."""
        table = self._table[: self._size]
        hit = (
            (table[:, 0] == _SPACES[access.space])
            & (table[:, 1] < access.high)
            & (table[:, 2] > access.low)
            & (table[:, 4] != engine)
        )
        if not access.is_write:
            hit &= table[:, 3] != 0
        latest: dict[int, int] = {}
        for other, ordinal in table[hit][:, 4:6]:
            latest[int(other)] = max(latest.get(int(other), -1), int(ordinal))
        return latest


def synchronize(program: Program) -> Program:
    """Fill in the wait fields."""
    table = instructions()
    engine_of = {
        name: ENGINES.index(entry.engine)
        for name, entry in instruction_set().instructions.items()
        if entry.engine in ENGINES
    }
    issued = [0] * len(ENGINES)
    seen = _Accesses()
    waits: dict[int, dict[int, int]] = {}
    for index, views in _executed(program):
        instruction = program.instructions[index]
        engine = engine_of[instruction.mnemonic]
        op = Operation(index, instruction.mnemonic, instruction.operands)
        ranges = table[instruction.mnemonic].footprint(
            op, lambda number, views=views: views[number]
        )
        mine = waits.setdefault(index, {})
        for access in ranges:
            for other, ordinal in seen.latest_conflicts(access, engine).items():
                distance = min(issued[other] - ordinal, _MAX_WAIT)
                mine[other] = min(mine.get(other, _MAX_WAIT), distance)
        for access in ranges:
            seen.add(access, engine, issued[engine])
        issued[engine] += 1
    return replace(
        program,
        instructions=tuple(
            _with_waits(instruction, waits.get(index, {}))
            for index, instruction in enumerate(program.instructions)
        ),
    )


def _with_waits(instruction: Instruction, waits: dict[int, int]) -> Instruction:
    if not waits:
        return instruction
    fields = {f"wait_{ENGINES[other]}": distance for other, distance in sorted(waits.items())}
    return Instruction(instruction.mnemonic, {**fields, **instruction.operands})
