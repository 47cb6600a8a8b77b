"""Any two accesses of different engines to the same bytes, one of them writing, are ordered."""

from __future__ import annotations

import functools
from bisect import bisect_left
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from azsim.machine.engines.clock import ENGINES
from azsim.machine.view import Range, View
from azsim.sim.checks._every_way import pending_on_any_way
from azsim.sim.checks._order import Loop, Step, Touch, unordered
from azsim.sim.checks._order_fast import is_ordered
from azsim.sim.checks._resolve import Rounds, chosen_instructions
from azsim.sim.checks._subject import Subject
from azsim.sim.checks._verdict import Finding, Verdict, verdict
from azsim.sim.checks._windows import Access, touched_views

__all__ = ["ASSUMES", "check"]

ASSUMES = ("nothing outside the program writes to its memories while it runs",)

_MAX_WRITTEN_OUT = 50_000
"""Instructions of a program whose loops are written out."""


def check(subject: Subject) -> Verdict:
    """Walk the order that waits, fences and the sequencer give, and look for gaps in it."""
    count = sum(map(len, subject.accesses.values()))
    looked_at = f"accesses: {count}, instructions: {len(subject.accesses)}"
    if subject.rounds is None:
        return _on_every_way(subject, looked_at)
    if _is_ordered(subject):
        return Verdict("races", looked_at)
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


def _on_every_way(subject: Subject, looked_at: str) -> Verdict:
    """Where data decides: races of one way, and pairs that may be unordered on another."""
    way = subject.passing_branches_by
    findings = () if way is None else check(way).findings
    known = {(finding.index, *finding.others) for finding in findings}
    numbers = dict(enumerate(subject.engine_of))
    engines = {
        index: ENGINES.index(name) if name in ENGINES else -1
        for index, name in numbers.items()
        if name in ENGINES or index in subject.accesses
    }
    unproved = []
    every = pending_on_any_way(subject.program.instructions, engines)
    if every is None:
        sentence = "too many ways lead through the program to tell the order on each"
        unproved.append(subject.find(subject.branches[0], sentence))
    for late, pending in (every or {}).items():
        for engine, earlier in enumerate(pending):
            if engine == engines[late]:
                continue
            for early in sorted(earlier):
                pair = _meeting(subject, late, early)
                key = (subject.where[late], subject.where[early])
                if pair is not None and key not in known:
                    known.add(key)
                    unproved.append(_finding(subject, pair, "which may be under way still"))
    return verdict("races", looked_at, findings, unproved)


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


def _finding(subject: Subject, pair: _Pair, why: str = "") -> Finding:
    access, other = pair.access, pair.other
    low, high = max(access.span.low, other.span.low), min(access.span.high, other.span.high)
    if not why:
        why = "and may share bytes in some round" if pair.moves else "and no wait orders the two"
    of_tensor = f" of '{access.region}'" if access.region else ""
    as_other = f" as '{other.region}'" if other.region and other.region != access.region else ""
    return subject.find(
        pair.late,
        f"{'writes' if access.span.is_write else 'reads'} {access.span.space} bytes "
        f"[{low:#x}, {high:#x}){of_tensor} that {subject.name(pair.early)} "
        f"{'writes' if other.span.is_write else 'reads'}{as_other}, {why}",
        pair.early,
    )


# ----------------------------------------------------------------------------------- the order


def _pairs(subject: Subject) -> Iterator[_Pair]:
    """Unordered pairs of a program whose windows move in no loop, or are hulls."""
    places = _Places(subject)
    assert subject.rounds is not None
    steps = places.steps(subject.rounds)
    for found in unordered(steps, places.num_pieces):
        pair = _meeting(subject, found.late.index, found.early.index)
        if pair is not None:
            yield pair


def _meeting(subject: Subject, late: int, early: int) -> _Pair | None:
    """The first accesses of two instructions that meet."""
    for access in subject.accesses.get(late, ()):
        for other in subject.accesses.get(early, ()):
            if _meet(access, other):
                return _Pair(late, early, access, other)
    return None


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


def _is_ordered(subject: Subject) -> bool:
    """Whether all is ordered, with loops written out that move windows of SRAM if that is short."""
    rounds = subject.rounds
    assert rounds is not None
    in_sram = {
        access.register
        for accesses in subject.accesses.values()
        for access in accesses
        if access.register is not None and access.span.space != "dram"
    }
    moved = {
        loop: {register: step for register, step in registers.items() if step is not None}
        for loop, registers in (subject.moved_by_rounds.items() if in_sram else ())
        if registers.keys() & in_sram
    }
    if moved and _written_length(rounds, moved) > _MAX_WRITTEN_OUT:
        moved = {}
    places = _Places(subject, moved)
    return is_ordered(places.steps(rounds), places.num_pieces)


def _written_length(rounds: Sequence[int | Rounds], loops: Container[int]) -> int:
    return sum(
        1
        if isinstance(item, int)
        else _written_length(item.body, loops) * (item.count if item.loop in loops else 1)
        for item in rounds
    )


_At = tuple[tuple[int, int], ...]
"""Rounds of the loops that are written out: the loop, and which of its rounds it is."""


class _Places:
    """Memory cut into pieces at every end of an access.

    Parameters
    ----------
    subject : Subject
    moved : mapping of int to mapping of int to int, optional
        Loops to be written out: bytes by which a round moves registers.
    """

    def __init__(
        self, subject: Subject, moved: Mapping[int, Mapping[int, int]] | None = None
    ) -> None:
        self._subject, self._moved = subject, moved or {}
        self._count = {
            loop: int(subject.program.instructions[loop].operands.get("count", 1))
            for loop in self._moved
        }
        self._moving: dict[int, set[int]] = {}  # loops that move something of an instruction
        self._spans: dict[tuple[int, _At], list[Range]] = {}
        self._ends: dict[str, list[int]] = {}
        self._first: dict[str, int] = {}
        self._steps: dict[tuple[int, _At], Step | None] = {}
        self.num_pieces = 0

    def steps(self, rounds: Sequence[int | Rounds]) -> tuple[Step | Loop, ...]:
        """The program as the walk wants it."""
        ordered = self._in_order(rounds, ())
        ends: dict[str, set[int]] = {}
        for spans in self._spans.values():
            for span in spans:
                ends.setdefault(span.space, set()).update((span.low, span.high))
        for space, found in ends.items():
            self._ends[space] = sorted(found)
            self._first[space] = self.num_pieces
            self.num_pieces += len(found)
        return self._made(ordered)

    def _in_order(self, rounds: Sequence[int | Rounds], at: _At) -> list[Any]:
        """Instructions with the rounds they run in, and loops as (count, list)."""
        found: list[Any] = []
        loop, done = -1, 0
        for item in rounds:
            if isinstance(item, int):
                found.append(self._key(item, at))
                continue
            done = done if item.loop == loop else 0
            loop = item.loop
            if loop in self._moved:
                for number in range(done, done + item.count):
                    found += self._in_order(item.body, (*at, (loop, number)))
            else:
                found.append([item.count, self._in_order(item.body, at)])
            done += item.count
        return found

    def _key(self, index: int, at: _At) -> tuple[int, _At]:
        """An instruction with those of the rounds that move what it touches."""
        if at:
            loops = self._moving.get(index)
            if loops is None:
                accesses = self._subject.accesses.get(index, ())
                registers = {access.register for access in accesses}
                loops = {loop for loop, moved in self._moved.items() if moved.keys() & registers}
                self._moving[index] = loops
            at = tuple(entry for entry in at if entry[0] in loops) if loops else ()
        key = (index, at)
        if key not in self._spans:
            accesses = self._subject.accesses.get(index, ())
            self._spans[key] = [self._placed(access, at) for access in accesses]
        return key

    def _placed(self, access: Access, at: _At) -> Range:
        """Bytes of an access in certain rounds; its span is the hull over all of them."""
        span = access.span
        if not at or access.register is None:
            return span
        low, high = span.low, span.high
        for loop, number in at:
            step = self._moved[loop].get(access.register, 0)
            reach = (self._count[loop] - 1) * step
            low += number * step - min(0, reach)
            high += number * step - max(0, reach)
        return Range(span.space, low, high, span.is_write)

    def _made(self, ordered: list[Any]) -> tuple[Step | Loop, ...]:
        found: list[Step | Loop] = []
        for entry in ordered:
            if isinstance(entry, list):
                found.append(Loop(entry[0], self._made(entry[1])))
                continue
            if entry not in self._steps:
                self._steps[entry] = self._step(entry)
            if (step := self._steps[entry]) is not None:
                found.append(step)
        return tuple(found)

    def _touch(self, span: Range) -> Touch:
        ends, first = self._ends[span.space], self._first[span.space]
        pieces = range(first + bisect_left(ends, span.low), first + bisect_left(ends, span.high))
        return Touch(pieces, span.is_write)

    def _step(self, key: tuple[int, _At]) -> Step | None:
        index = key[0]
        instruction = self._subject.program.instructions[index]
        name = self._subject.engine_of[index]
        is_fence = instruction.mnemonic == "fence"
        if name not in ENGINES and not self._spans[key] and not is_fence:
            return None
        waits = tuple(
            (engine, int(wait))
            for engine, other in enumerate(ENGINES)
            if (wait := instruction.operands.get(f"wait_{other}"))
        )
        touches = tuple(self._touch(span) for span in self._spans[key])
        engine = ENGINES.index(name) if name in ENGINES else -1
        return Step(index, engine, is_fence, waits, touches)


# -------------------------------------------------------------------------- loops written out


def _moving_loops(subject: Subject, pairs: Sequence[_Pair]) -> set[int]:
    """Loops that move a window of an unordered pair, by index of the ``loop``."""
    instructions = subject.program.instructions
    found: set[int] = set()
    for pair in pairs:
        for index in (pair.late, pair.early) if pair.moves else ():
            operands = instructions[index].operands
            names = touched_views(instructions[index].mnemonic)
            registers = {int(operands.get(name, 0)) for name, _ in names}
            found |= {
                loop
                for loop in subject.around[index]
                if subject.moved_by_rounds[loop].keys() & registers
            }
    return found


def _written_out(subject: Subject, loops: set[int]) -> Subject | None:
    """The program with some loops written out; None if that is too long.

    None as well where it branches: targets would be those of the program as it was.
    """
    program = subject.program
    if any(instruction.mnemonic == "branch" for instruction in program.instructions):
        return None
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
