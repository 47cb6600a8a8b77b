"""Synchronize: the waits between engines.

Contract: takes a program without waits, gives the same program in which every two instructions on
different engines that touch the same bytes, at least one of them writing, are ordered by a wait: of
the later one, or of one before it on the same engine.

The program is walked as the sequencer would walk it.  The frame loop, in which nothing but windows
into DRAM moves, is cut to three rounds, the first two and the last: in SRAM every round
touches the same bytes, so that every dependence between neighbouring rounds shows up.  Scalar
registers, which count rounds, go on as if none had been left out.  Other loops run in full, as a
later reader may take what any one of their rounds has written.  Where data decides, a fence has let
everything come to its end (`azsim.compiler.regions`): a branch by data is passed by, so that each
part between two fences is walked, and nothing before a fence is waited for behind it.  For each
instruction and each other engine, the latest conflicting instruction gives the distance of the
wait; an instruction that is met several times keeps the smallest one.
"""

from __future__ import annotations

from collections.abc import Iterator, Set
from dataclasses import dataclass, field, replace

import numpy as np

from azsim.isa.program import Instruction, Program
from azsim.isa.spec import instruction_set
from azsim.machine.engines.clock import ENGINES
from azsim.machine.instructions import instructions
from azsim.machine.operation import Operation
from azsim.machine.view import Range, View

__all__ = ["synchronize"]

_Scalars = dict[int, int | None]
"""Scalar registers; None for one that data has set."""
_ROUNDS = 3
_MAX_WAIT = 15
_MARK_BYTES = {"dram": 64, "weight": 1, "activation": 1}  # parts of storages may share 64 bytes


@dataclass
class _Loop:
    """A loop that is being walked; `skipped` rounds are left out before the last one."""

    start: int
    left: int
    skipped: int
    moved_bytes: dict[int, int]
    scalars: _Scalars = field(default_factory=dict)
    """Scalar registers at the start of the round."""


def _moves(program: Program) -> dict[int, dict[int, int]]:
    """For each ``loop``, by index: bytes by which one round moves each view register."""
    found: dict[int, dict[int, int]] = {}
    anew: dict[int, set[int]] = {}  # registers that every round sets anew
    outer: list[int] = []
    for index, instruction in enumerate(program.instructions):
        number = int(instruction.operands.get("view", 0))
        match instruction.mnemonic:
            case "loop":
                outer.append(index)
                found[index], anew[index] = {}, set()
            case "end_loop":
                inner = outer.pop()
                count = int(program.instructions[inner].operands.get("count", 1))
                found[inner] = {
                    moved: step_bytes
                    for moved, step_bytes in found[inner].items()
                    if step_bytes and moved not in anew[inner]
                }
                if outer:
                    anew[outer[-1]] |= anew[inner]
                    for moved, step_bytes in found[inner].items():
                        total = found[outer[-1]].get(moved, 0) + count * step_bytes
                        found[outer[-1]][moved] = total
            case "view" if outer:
                anew[outer[-1]].add(number)
            case "view_step" if outer:
                step_bytes = int(instruction.operands.get("step", 0))
                found[outer[-1]][number] = found[outer[-1]].get(number, 0) + step_bytes
    return found


def _begin(
    index: int, count: int, moved: dict[int, int], views: dict[int, View], *, is_frame: bool
) -> _Loop:
    if is_frame and all(views[number].space == "dram" for number in moved):
        return _Loop(index + 1, min(_ROUNDS, count), max(0, count - _ROUNDS), moved)
    return _Loop(index + 1, count, 0, moved)


def _skip(loop: _Loop, views: dict[int, View], scalars: _Scalars) -> None:
    """Move views and counters by the rounds that are left out."""
    for number, step_bytes in loop.moved_bytes.items():
        views[number] = views[number].stepped(loop.skipped * step_bytes)
    for number, value in scalars.items():
        before = loop.scalars.get(number, value)
        if value is not None and before is not None:
            scalars[number] = value + loop.skipped * (value - before)


def _scalar(instruction: Instruction, scalars: _Scalars) -> int | None:
    """What an instruction puts in a scalar register."""
    operands = instruction.operands
    left, right = (scalars.get(int(operands.get(name, 0)), 0) for name in ("left", "right"))
    if instruction.mnemonic == "scalar_read" or left is None or right is None:
        return None
    return left + right + int(operands.get("number", 0))


def _executed(program: Program) -> Iterator[tuple[int, dict[int, View]]]:
    """Indices of engine instructions and fences in execution order with the views at that moment.

    Scalar registers count rounds in a compiled program, where they are set and added to, or hold
    what was read; branches compare them, and those that are known for equality.
    """
    views: dict[int, View] = {}
    windows: dict[int, View | None] = {}
    scalars: _Scalars = {}
    loops: list[_Loop] = []
    moves = _moves(program)
    index = 0
    engines = instruction_set().instructions
    while index < len(program.instructions):
        instruction = program.instructions[index]
        operands = instruction.operands
        match instruction.mnemonic:
            case "view":
                window = windows.get(index)
                if window is None:
                    window = windows[index] = Operation(index, "view", operands).window
                assert window is not None
                views[int(operands.get("view", 0))] = window
            case "view_step":
                number = int(operands.get("view", 0))
                views[number] = views[number].stepped(int(operands.get("step", 0)))
            case "scalar" | "scalar_read":
                scalars[int(operands.get("to", 0))] = _scalar(instruction, scalars)
            case "branch":
                left, right = (scalars.get(int(operands.get(n, 0)), 0) for n in ("left", "right"))
                if left == right is not None:
                    index = int(operands.get("target", 0))
                    continue
            case "loop":
                count = int(operands.get("count", 1))
                rounds = program.stream.frames // program.stream.together
                is_frame = not loops and rounds > 1
                loops.append(_begin(index, count, moves[index], views, is_frame=is_frame))
                loops[-1].scalars = dict(scalars)
            case "end_loop":
                loop = loops[-1]
                loop.left -= 1
                if loop.left:
                    if loop.left == 1:
                        _skip(loop, views, scalars)
                    loop.scalars = dict(scalars)
                    index = loop.start
                    continue
                loops.pop()
            case "halt":
                return
            case "fence":
                yield index, views
            case mnemonic if engines[mnemonic].engine in ENGINES:
                yield index, views
        index += 1


class _Accesses:
    """For each byte, which instruction of each engine read and wrote it last (from 1)."""

    def __init__(self) -> None:
        self._marks: dict[tuple[str, int, bool], np.ndarray] = {}

    def _window(self, access: Range, engine: int, is_write: bool) -> np.ndarray:
        size = _MARK_BYTES[access.space]
        low, high = access.low // size, -(-access.high // size)
        key = (access.space, engine, is_write)
        marks = self._marks.get(key)
        if marks is None or len(marks) < high:
            grown = np.zeros(high + high // 2, np.int32)
            if marks is not None:
                grown[: len(marks)] = marks
            marks = self._marks[key] = grown
        view = access.view
        if size > 1 or view is None or view.element_bits < 8 or view.num_bytes == high - low:
            return marks[low:high]
        return _shown(marks, view)

    def add(self, access: Range, engine: int, ordinal: int) -> None:
        """Note that an engine's instruction touches a range."""
        self._window(access, engine, access.is_write)[:] = ordinal + 1

    def latest_conflicts(self, access: Range, engine: int) -> dict[int, int]:
        """For each other engine, the last instruction that conflicts with a range."""
        latest: dict[int, int] = {}
        for space, other, is_write in list(self._marks):
            if space == access.space and other != engine and (access.is_write or is_write):
                ordinal = int(self._window(access, other, is_write).max(initial=0)) - 1
                if ordinal >= 0:
                    latest[other] = max(latest.get(other, -1), ordinal)
        return latest


class _Footprints:
    """Footprints of instructions, computed once for the same views."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._table = instructions()
        self._known: dict[int, tuple[dict[int, View], tuple[Range, ...]]] = {}

    def of(self, index: int, views: dict[int, View]) -> tuple[Range, ...]:
        """Footprint of an instruction with the views as they are now."""
        used, ranges = self._known.get(index, ({}, ()))
        if used and all(views[number] == view for number, view in used.items()):
            return ranges
        instruction = self._program.instructions[index]
        op = Operation(index, instruction.mnemonic, instruction.operands)
        used = {}

        def view(number: int) -> View:
            used[number] = views[number]
            return used[number]

        ranges = tuple(self._table[instruction.mnemonic].footprint(op, view))
        self._known[index] = used, ranges
        return ranges


def _shown(marks: np.ndarray, view: View) -> np.ndarray:
    """Marks of the bytes that a view shows, in place."""
    size = view.element_bits // 8
    step = marks.strides[0]
    return np.lib.stride_tricks.as_strided(
        marks[view.addr :],
        (view.rows, view.cols, size),
        (view.row_stride * size * step, view.col_stride * size * step, step),
    )


def synchronize(program: Program) -> Program:
    """Fill in the wait fields."""
    engine_of = {
        name: ENGINES.index(entry.engine)
        for name, entry in instruction_set().instructions.items()
        if entry.engine in ENGINES
    }
    issued = [0] * len(ENGINES)
    seen = _Accesses()
    waits: dict[int, dict[int, int]] = {}
    over: dict[tuple[int, int], int] = {}
    """By two engines, the last instruction of the second that the first one has waited for."""
    wait_for = {f"wait_{name}": number for number, name in enumerate(ENGINES)}
    needless: set[tuple[int, str]] = set()  # for what another pass has taken away
    footprints = _Footprints(program)
    for index, views in _executed(program):
        if program.instructions[index].mnemonic == "fence":
            seen = _Accesses()
            continue
        engine = engine_of[program.instructions[index].mnemonic]
        ranges = footprints.of(index, views)
        mine = waits.setdefault(index, {})
        needless |= {
            (index, wait)
            for wait, other in wait_for.items()
            if wait in program.instructions[index].operands and not issued[other]
        }
        for access in ranges:
            for other, ordinal in seen.latest_conflicts(access, engine).items():
                if ordinal <= over.get((engine, other), -1):
                    continue  # engines keep their order: what comes behind a wait need not wait
                over[engine, other] = ordinal
                distance = min(issued[other] - ordinal, _MAX_WAIT)
                mine[other] = min(mine.get(other, _MAX_WAIT), distance)
        for access in ranges:
            seen.add(access, engine, issued[engine])
        issued[engine] += 1
    return replace(
        program,
        instructions=tuple(
            _with_waits(
                _without(instruction, {wait for at, wait in needless if at == index}),
                waits.get(index, {}),
            )
            for index, instruction in enumerate(program.instructions)
        ),
    )


def _without(instruction: Instruction, names: Set[str]) -> Instruction:
    if not names:
        return instruction
    kept = {name: value for name, value in instruction.operands.items() if name not in names}
    return Instruction(instruction.mnemonic, kept)


def _with_waits(instruction: Instruction, waits: dict[int, int]) -> Instruction:
    if not waits:
        return instruction
    fields = {f"wait_{ENGINES[other]}": distance for other, distance in sorted(waits.items())}
    return Instruction(instruction.mnemonic, {**fields, **instruction.operands})
