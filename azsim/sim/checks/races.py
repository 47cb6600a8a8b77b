"""Any two accesses of different engines to the same bytes, one of them writing, are ordered."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Container, Iterator, Mapping, Sequence
from typing import Any

from azsim.isa.program import Instruction, Program
from azsim.machine.engines.clock import ENGINES
from azsim.machine.view import Range
from azsim.sim.checks._every_way import pending_on_any_way
from azsim.sim.checks._meetings import Pair, finding_of, meeting
from azsim.sim.checks._order import Loop, Step, Touch, unordered
from azsim.sim.checks._order_fast import is_ordered
from azsim.sim.checks._resolve import Entry, Kept, Rounds, chosen_instructions
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
    inside = [_in_region(subject, region) for region in _regions(subject.rounds)]
    around = _around_regions(subject, looked_at)
    return verdict(
        "races",
        looked_at,
        [*around.findings, *(finding for one in inside for finding in one.findings)],
        [*around.unproved, *(finding for one in inside for finding in one.unproved)],
    )


def _regions(rounds: Sequence[Entry]) -> dict[Kept, None]:
    """Regions of a program, see `azsim.sim.checks._regions`; each once."""
    found: dict[Kept, None] = {}
    for item in rounds:
        if isinstance(item, Kept):
            found[item] = None
        elif isinstance(item, Rounds):
            found |= _regions(item.body)
    return found


def _around_regions(subject: Subject, looked_at: str) -> Verdict:
    """Races of a program in which data decides nothing, or only in regions, which are fences."""
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
            found[key] = finding_of(subject, pair)
    return verdict("races", looked_at, findings.values(), unproved.values())


def _on_every_way(subject: Subject, looked_at: str) -> Verdict:
    """Where data decides: races of one way, and pairs that may be unordered on another."""
    way = subject.passing_branches_by
    findings = () if way is None else check(way).findings
    unproved = _on_any_way(subject, Kept(0, len(subject.program.instructions)), findings)
    return verdict("races", looked_at, findings, unproved)


def _in_region(subject: Subject, region: Kept) -> Verdict:
    """Races between two fences, where data decides what comes next."""
    unproved = _on_any_way(subject, region, ())
    if not unproved:
        return Verdict("races", "")
    way = subject.passing_branches_by
    inside = {subject.where[index] for index in range(region.first, region.end)}
    findings = [
        finding
        for finding in (() if way is None else check(way).findings)
        if finding.index in inside
    ]
    known = {(finding.index, *finding.others) for finding in findings}
    rest = [finding for finding in unproved if (finding.index, *finding.others) not in known]
    return verdict("races", "", findings, rest)


def _on_any_way(subject: Subject, region: Kept, findings: Sequence[Finding]) -> list[Finding]:
    """Pairs of a stretch of the program that may be unordered on some way, but for findings.

    Nothing is under way where the stretch begins.
    """
    known = {(finding.index, *finding.others) for finding in findings}
    first = region.first
    engines = {
        index - first: ENGINES.index(name) if name in ENGINES else -1
        for index, name in enumerate(subject.engine_of)
        if first <= index < region.end and (name in ENGINES or index in subject.accesses)
    }
    unproved: list[Finding] = []
    found = pending_on_any_way(_stretch(subject, region), engines)
    if found is None:
        sentence = "too many ways lead through the program to tell the order on each"
        unproved.append(subject.find(subject.branches[0], sentence))
    every = {
        late + first: [{early + first for early in earlier} for earlier in pending]
        for late, pending in (found or {}).items()
    }
    for late, pending in every.items():
        for engine, earlier in enumerate(pending):
            if engine == engines[late - first]:
                continue
            for early in sorted(earlier):
                pair = meeting(subject, late, early)
                key = (subject.where[late], subject.where[early])
                if pair is not None and key not in known:
                    known.add(key)
                    unproved.append(finding_of(subject, pair, "which may be under way still"))
    return unproved


def _stretch(subject: Subject, region: Kept) -> list[Instruction]:
    """Instructions of a region, with branches that count from its begin."""
    return [
        Instruction(
            "branch",
            {**entry.operands, "target": int(entry.operands.get("target", 0)) - region.first},
        )
        if entry.mnemonic == "branch"
        else entry
        for entry in subject.program.instructions[region.first : region.end]
    ]


# ----------------------------------------------------------------------------------- the order


def _pairs(subject: Subject) -> Iterator[Pair]:
    """Unordered pairs of a program whose windows move in no loop, or are hulls."""
    places = _Places(subject)
    assert subject.rounds is not None
    steps = places.steps(subject.rounds)
    for found in unordered(steps, places.num_pieces):
        pair = meeting(subject, found.late.index, found.early.index)
        if pair is not None:
            yield pair


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


def _written_length(rounds: Sequence[Entry], loops: Container[int]) -> int:
    return sum(
        1
        if isinstance(item, int | Kept)
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

    def steps(self, rounds: Sequence[Entry]) -> tuple[Step | Loop, ...]:
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

    def _in_order(self, rounds: Sequence[Entry], at: _At) -> list[Any]:
        """Instructions with the rounds they run in, and loops as (count, list)."""
        found: list[Any] = []
        loop, done = -1, 0
        for item in rounds:
            if isinstance(item, int | Kept):  # a region is a fence to what is around it
                found.append(self._key(item if isinstance(item, int) else item.first, at))
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


def _moving_loops(subject: Subject, pairs: Sequence[Pair]) -> set[int]:
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

    None as well where it branches outside of regions, of which no loop is written out.
    """
    program = subject.program
    regions = _regions(subject.rounds or ())
    if any(not any(r.first < index < r.end for r in regions) for index in subject.branches):
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
        chosen_instructions(program, kept, _aimed(program, kept)),
        subject.hardware,
        subject.image,
        [subject.where[index] for index in kept],
    )


def _aimed(program: Program, kept: Sequence[int]) -> dict[int, Instruction]:
    """Branches by position, leading as far ahead as they did where they were."""
    changed: dict[int, Instruction] = {}
    for position, index in enumerate(kept):
        entry = program.instructions[index]
        if entry.mnemonic == "branch":
            target = int(entry.operands.get("target", 0)) - index + position
            changed[position] = Instruction("branch", {**entry.operands, "target": target})
    return changed
