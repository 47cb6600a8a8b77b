"""Any two accesses of different engines to the same bytes, one of them writing, are ordered."""

from __future__ import annotations

import functools
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from azsim.isa.control_flow import loops_around
from azsim.isa.program import Instruction
from azsim.machine.engines.clock import ENGINES
from azsim.machine.view import View
from azsim.sim.checks._order import Loop, Step, Touch, unordered
from azsim.sim.checks._resolve import chosen_instructions
from azsim.sim.checks._subject import Access, Finding, Subject, touched_views
from azsim.sim.checks._verdict import Verdict, verdict

__all__ = ["ASSUMES", "check"]

ASSUMES = ("nothing outside the program writes to its memories while it runs",)

_MAX_WRITTEN_OUT = 50_000
"""Instructions of a program whose loops are written out."""


def check(subject: Subject) -> Verdict:
    """Walk the order that waits, fences and the sequencer give, and look for gaps in it."""
    count = sum(map(len, subject.accesses.values()))
    looked_at = f"{count} accesses of {len(subject.accesses)} instructions"
    if subject.branches:
        index = subject.branches[0]
        sentence = "what comes next depends on data, and order is told only where it does not"
        return Verdict("races", looked_at, (), (subject.find(index, sentence),))
    pairs = list(_pairs(subject))
    if any(pair.moves for pair in pairs):
        # A window that moves was taken to be everywhere at once; in truth it may keep clear.
        written_out = _written_out(subject, _moving_loops(subject, pairs))
        if written_out is not None:
            subject = written_out
            pairs = list(_pairs(subject))
    findings: dict[tuple[int, int], Finding] = {}
    unproved: dict[tuple[int, int], Finding] = {}
    for pair in pairs:
        found = unproved if pair.moves else findings
        key = subject.where[pair.late], subject.where[pair.early]
        if key not in found:
            found[key] = _finding(subject, pair)
    return verdict("races", looked_at, findings.values(), unproved.values())


@dataclass(frozen=True)
class _Pair:
    """Two instructions whose accesses meet and that nothing orders."""

    late: int
    early: int
    access: Access  # of the late one
    other: Access

    @property
    def moves(self) -> bool:
        """Whether one of them has a window of which only the hull over all rounds is known."""
        return not (self.access.views and self.other.views)


def _finding(subject: Subject, pair: _Pair) -> Finding:
    late, early = pair.late, pair.early
    span, other = pair.access.span, pair.other.span
    low, high = max(span.low, other.low), min(span.high, other.high)
    both = replace(span, low=low, high=high)
    may = "may share bytes in some round" if pair.moves else "no wait orders the two"
    return subject.find(
        late,
        f"{'writes' if span.is_write else 'reads'} {span.space} bytes [{low:#x}, {high:#x})"
        f"{subject.tensor_at(both, late)} that {subject.name(early)} "
        f"{'writes' if other.is_write else 'reads'}, and {may}",
        early,
    )


# ----------------------------------------------------------------------------------- the order


def _pairs(subject: Subject) -> Iterator[_Pair]:
    """Unordered pairs of a program whose windows move in no loop, or are hulls."""
    places = _Places(subject)
    steps = places.steps()
    for found in unordered(steps, places.num_pieces):
        late, early = found.late.index, found.early.index
        for access in subject.accesses[late]:
            meeting = [other for other in subject.accesses[early] if _meet(access, other)]
            if meeting:
                yield _Pair(late, early, access, meeting[0])
                break


def _meet(left: Access, right: Access) -> bool:
    a, b = left.span, right.span
    if a.space != b.space or not (a.is_write or b.is_write):
        return False
    if a.low >= b.high or b.low >= a.high:
        return False
    if not (left.views and right.views):
        return True
    bytes_of = _touched(left.views[0]), _touched(right.views[0])
    if isinstance(bytes_of[0], slice) and isinstance(bytes_of[1], slice):
        return True
    return np.intersect1d(_array(bytes_of[0]), _array(bytes_of[1])).size > 0


def _array(found: slice | np.ndarray) -> np.ndarray:
    return np.arange(found.start, found.stop) if isinstance(found, slice) else found


class _Places:
    """Memory cut into pieces at every end of an access."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        ends: dict[str, set[int]] = {}
        for accesses in subject.accesses.values():
            for access in accesses:
                ends.setdefault(access.span.space, set()).update(
                    (access.span.low, access.span.high)
                )
        self._ends = {space: sorted(found) for space, found in ends.items()}
        self._first: dict[str, int] = {}
        self.num_pieces = 0
        for space, found in self._ends.items():
            self._first[space] = self.num_pieces
            self.num_pieces += len(found)

    def _touch(self, access: Access) -> Touch:
        span = access.span
        ends, first = self._ends[span.space], self._first[span.space]
        pieces = range(first + bisect_left(ends, span.low), first + bisect_left(ends, span.high))
        return Touch(pieces, span.is_write)

    def steps(self) -> tuple[Step | Loop, ...]:
        """The program as the walk wants it."""
        around: list[list[Step | Loop]] = [[]]
        counts: list[int] = []
        for index, instruction in enumerate(self._subject.program.instructions):
            if instruction.mnemonic == "loop":
                around.append([])
                counts.append(int(instruction.operands.get("count", 1)))
            elif instruction.mnemonic == "end_loop":
                body = tuple(around.pop())
                around[-1].append(Loop(counts.pop(), body))
            elif instruction.mnemonic == "halt":
                break
            elif (step := self._step(index, instruction)) is not None:
                around[-1].append(step)
        return tuple(around[0])

    def _step(self, index: int, instruction: Instruction) -> Step | None:
        name = self._subject.engine_of[index]
        accesses = self._subject.accesses.get(index, ())
        is_fence = instruction.mnemonic == "fence"
        if name not in ENGINES and not accesses and not is_fence:
            return None
        waits = tuple(
            (engine, int(wait))
            for engine, other in enumerate(ENGINES)
            if (wait := instruction.operands.get(f"wait_{other}"))
        )
        touches = tuple(self._touch(access) for access in accesses)
        engine = ENGINES.index(name) if name in ENGINES else -1
        return Step(index, engine, is_fence, waits, touches)


# -------------------------------------------------------------------------- loops written out


def _moving_loops(subject: Subject, pairs: Sequence[_Pair]) -> set[int]:
    """Loops that move a window of an unordered pair, by index of the ``loop``."""
    instructions = subject.program.instructions
    around = loops_around(instructions)
    found: set[int] = set()
    for pair in pairs:
        for index in (pair.late, pair.early) if pair.moves else ():
            operands = instructions[index].operands
            names = touched_views(instructions[index].mnemonic)
            registers = {int(operands.get(name, 0)) for name, _ in names}
            found |= {loop for loop in around[index] if subject.moved_by_rounds[loop] & registers}
    return found


def _written_out(subject: Subject, loops: set[int]) -> Subject | None:
    """The program with some loops written out; None if that is too long."""
    program = subject.program
    kept: list[int] = []
    open_loops: list[tuple[int, int]] = []  # the loop, where its body begins in `kept`
    for index, instruction in enumerate(program.instructions):
        if instruction.mnemonic == "loop":
            open_loops.append((index, len(kept) + (index not in loops)))
            if index not in loops:
                kept.append(index)
        elif instruction.mnemonic == "end_loop":
            loop, start = open_loops.pop()
            if loop not in loops:
                kept.append(index)
                continue
            count = int(program.instructions[loop].operands.get("count", 1))
            length = len(kept) - start
            if len(kept) + (count - 1) * length > _MAX_WRITTEN_OUT:
                return None
            kept += kept[start:] * (count - 1)
        else:
            kept.append(index)
    return Subject(
        chosen_instructions(program, kept),
        subject.hardware,
        subject.image,
        [subject.where[index] for index in kept],
    )


# ------------------------------------------------------------------------------------- bytes


def _touched(view: View) -> slice | np.ndarray:
    """Bytes that a view shows; a slice where they follow one another."""
    shape = (view.rows, view.cols, view.row_stride, view.col_stride, view.element_bits)
    offsets = _offsets(*shape)
    if isinstance(offsets, slice):
        return slice(view.addr + offsets.start, view.addr + offsets.stop)
    return offsets + view.addr


@functools.lru_cache(maxsize=4096)
def _offsets(
    rows: int, cols: int, row_stride: int, col_stride: int, bits: int
) -> slice | np.ndarray:
    row_bytes = -(-cols * bits // 8)
    pitch = row_stride * bits // 8
    if (cols == 1 or col_stride == 1) and (rows == 1 or pitch == row_bytes):
        return slice(0, rows * row_bytes)
    size = max(1, bits // 8)
    width = row_bytes if bits < 8 or col_stride == 1 else cols
    step = 1 if bits < 8 or col_stride == 1 else col_stride * size
    first = np.add.outer(np.arange(rows) * pitch, np.arange(width) * step)
    wide = 1 if step == 1 else size
    return np.unique(np.add.outer(first, np.arange(wide)))
