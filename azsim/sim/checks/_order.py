"""Which accesses of different engines no wait orders, over all rounds of all loops.

Steps are walked in program order with a vector clock for each: how many instructions of each engine
are known to be complete when it starts.  It knows what its wait fields name, what those knew, what
its engine's previous instruction was and knew, and what the sequencer waited for.  Engines complete
in order, so an access is ordered after all of another engine's if it is after the last.

**Loops are not gone round to their end.**  Write an instruction's number relative to the round it
runs in.  If all that later instructions can look up (the clocks of the last instructions that a
wait can reach, and what the sequencer knows) is the same after a round as it was after the round
before, then so it is after every later one, and the walk leaves the loop.  "The same" means, for
each number: it names an instruction before the loop and stands still, or one inside and moves on by
as many as a round has.  A number is the largest of some that were there before, each plus nothing
or a round; those inside are larger than those before the loop, so which one is the largest does not
change, and the sameness carries over.  Rounds touch the same bytes (`Step.touches` holds what all
rounds touch, or the loop was written out), so what is unordered in a later round has been seen
in the last one walked.  At least two rounds are walked: the second sees what the first left.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from azsim.machine.engines.clock import ENGINES

__all__ = ["Loop", "Step", "Touch", "Unordered", "unordered"]

_COUNT = len(ENGINES)
_SEQUENCER = -1


@dataclass(frozen=True, slots=True)
class Touch:
    """Bytes that a step touches, as pieces of memory that are touched as a whole or not at all."""

    pieces: range
    is_write: bool


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """An instruction that waits or touches memory.

    Attributes
    ----------
    index : int
    engine : int
        Index into `ENGINES`; -1 for the sequencer.
    is_fence : bool
    waits : tuple of (int, int)
        Engine and wait field.
    touches : tuple of Touch
    """

    index: int
    engine: int
    is_fence: bool
    waits: tuple[tuple[int, int], ...]
    touches: tuple[Touch, ...]


@dataclass(frozen=True, slots=True)
class Loop:
    """A hardware loop whose rounds touch the same bytes."""

    count: int
    body: tuple[Step | Loop, ...]


@dataclass(frozen=True, slots=True)
class Unordered:
    """A step whose touch meets one of an earlier step that may not be over."""

    late: Step
    early: Step
    touch: Touch


def unordered(steps: Sequence[Step | Loop], num_pieces: int) -> Iterator[Unordered]:
    """Walk steps and tell every pair that nothing orders, each pair of steps once.

    Parameters
    ----------
    steps : sequence of Step or Loop
    num_pieces : int
        Pieces of memory that touches name.
    """
    reach = [1] * _COUNT
    for step in _walk(steps):
        for engine, wait in step.waits:
            reach[engine] = max(reach[engine], wait)
    yield from _Walk(num_pieces, reach).steps(steps)


def _walk(steps: Sequence[Step | Loop]) -> Iterator[Step]:
    for step in steps:
        if isinstance(step, Loop):
            yield from _walk(step.body)
        else:
            yield step


class _Walk:
    def __init__(self, num_pieces: int, reach: list[int]) -> None:
        self._reach = reach  # the largest wait for each engine
        self._clocks: list[list[list[int]]] = [[] for _ in ENGINES]
        self._done: list[list[Step]] = [[] for _ in ENGINES]
        self._sequencer = [0] * _COUNT  # what every later instruction knows
        # For each piece the number (from 1) of each engine's last write, then of its last read.
        self._last: list[list[int] | None] = [None] * num_pieces
        self._pairs: set[tuple[Step, Step]] = set()

    def steps(self, steps: Sequence[Step | Loop]) -> Iterator[Unordered]:
        for step in steps:
            if isinstance(step, Loop):
                yield from self._loop(step)
            else:
                yield from self._step(step)

    def _loop(self, loop: Loop) -> Iterator[Unordered]:
        issued = [len(clocks) for clocks in self._clocks]
        before: list[int] = []
        per_round: list[int] = []
        for _ in range(loop.count):
            begin = [len(clocks) for clocks in self._clocks]
            yield from self.steps(loop.body)
            length = [len(clocks) - begin[e] for e, clocks in enumerate(self._clocks)]
            after = self._visible()
            if length == per_round and _same(before, after, issued, length):
                return
            before, per_round = after, length

    def _visible(self) -> list[int]:
        """All numbers that later instructions can look up, engine after engine."""
        found = list(self._sequencer)
        for clocks, reach in zip(self._clocks, self._reach, strict=True):
            for clock in clocks[-reach:]:
                found += clock
            found += [0] * (_COUNT * (reach - min(reach, len(clocks))))
        return found

    def _step(self, step: Step) -> Iterator[Unordered]:
        if step.is_fence:
            self._sequencer = [len(clocks) for clocks in self._clocks]
            return
        known = list(self._sequencer)
        if step.engine != _SEQUENCER:
            self._learn(known, step.engine, len(self._clocks[step.engine]))
        for engine, wait in step.waits:
            self._learn(known, engine, len(self._clocks[engine]) - wait + 1)
        for touch in step.touches:
            yield from self._check(step, touch, known)
        if step.engine == _SEQUENCER:
            self._sequencer = known
            return
        self._clocks[step.engine].append(known)
        self._done[step.engine].append(step)
        number = len(self._done[step.engine])
        for touch in step.touches:
            column = step.engine if touch.is_write else _COUNT + step.engine
            for piece in touch.pieces:
                last = self._last[piece]
                if last is None:
                    last = self._last[piece] = [0] * (2 * _COUNT)
                last[column] = number

    def _learn(self, known: list[int], engine: int, count: int) -> None:
        """Take over what an engine's instruction knew, and that it is over."""
        if count > 0:
            for other, number in enumerate(self._clocks[engine][count - 1]):
                if number > known[other]:
                    known[other] = number
            if count > known[engine]:
                known[engine] = count

    def _check(self, step: Step, touch: Touch, known: list[int]) -> Iterator[Unordered]:
        suspects: dict[int, int] = {}
        for piece in touch.pieces:
            last = self._last[piece]
            if last is None:
                continue
            for engine in range(_COUNT):
                number = last[engine]
                if touch.is_write and last[_COUNT + engine] > number:
                    number = last[_COUNT + engine]
                if number > known[engine] and engine != step.engine:
                    suspects[engine] = max(suspects.get(engine, 0), number)
        for engine, number in suspects.items():
            yield from self._pending(step, touch, self._done[engine][known[engine] : number])

    def _pending(self, step: Step, touch: Touch, pending: list[Step]) -> Iterator[Unordered]:
        for early in reversed(pending):
            if (step, early) not in self._pairs and any(
                (touch.is_write or other.is_write) and _meet(touch.pieces, other.pieces)
                for other in early.touches
            ):
                self._pairs.add((step, early))
                yield Unordered(step, early, touch)


def _meet(left: range, right: range) -> bool:
    return left.start < right.stop and right.start < left.stop


def _same(before: list[int], after: list[int], issued: list[int], length: list[int]) -> bool:
    if len(before) != len(after):
        return False
    for position, (old, new) in enumerate(zip(before, after, strict=True)):
        engine = position % _COUNT
        moved = length[engine] if new > issued[engine] else 0
        if new != old + moved or (moved and old <= issued[engine]):
            return False
    return True
