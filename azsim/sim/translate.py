"""From a program's instructions to stretches.

A stretch begins where the execute loop is and ends before the first instruction that decides on
data, is not among the common kinds, or does what the machine forbids.  Loops that lie in it whole
are unrolled.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from azsim.errors import MachineError
from azsim.isa.control_flow import MAX_LOOP_DEPTH
from azsim.machine.flat.columns import KINDS
from azsim.machine.operation import Operation
from azsim.machine.state import Machine
from azsim.machine.trace import Recorder, Site
from azsim.sim.draft import Draft, StretchError
from azsim.sim.stretch import Bound, Stretch
from azsim.sim.translation import Translation

__all__ = ["Stretches"]

_FEWEST = 6
"""Instructions that are worth a call."""
_MOST = 50_000
"""Instructions of one stretch with the loops that it unrolls."""
_MOST_VARIANTS = 4
"""Stretches that are kept for one place."""
_MOST_TRIES = 12
"""Stretches that an execution makes for one place, in all."""
_CONTROL = ("view", "view_step", "scalar", "branch", "loop", "end_loop", "fence")


class _BrokenError(Exception):
    """A loop cannot be part of the stretch, which has to end before it."""

    def __init__(self, index: int) -> None:
        self.index = index


def _first_starts(
    operations: Sequence[Operation], alone: Collection[int]
) -> tuple[list[bool], list[bool]]:
    """See `Translation.joins` and `Translation.starts`, before any stretch is made."""
    kinds = {*KINDS, *_CONTROL, "weight_load"}
    if alone:
        kinds.remove("fence")  # where taps look at memory
    joins = [op.mnemonic in kinds and not op.paced and op.index not in alone for op in operations]
    targets = {op.target for op in operations if op.mnemonic == "branch"}
    before = [False, *joins[:-1]]
    starts = [
        fits and (not after or op.index in targets)
        for op, fits, after in zip(operations, joins, before, strict=True)
    ]
    return joins, starts


class Stretches:
    """Stretches of a program, made when the execute loop comes to a place again.

    Attributes
    ----------
    starts : list of bool
        For each instruction, whether to ask here for a stretch.

    Parameters
    ----------
    translation : Translation
        Has those of earlier executions, and gets the new ones.
    machine : Machine
    recorder : Recorder
    alone : collection of int
        Instructions that are never part of a stretch.
    """

    def __init__(
        self,
        translation: Translation,
        machine: Machine,
        recorder: Recorder,
        alone: Collection[int] = (),
    ) -> None:
        self._translation, self._machine, self._recorder = translation, machine, recorder
        self._operations = operations = translation.operations
        self._around = translation.around
        if not translation.joins:
            translation.joins, translation.starts = _first_starts(operations, alone)
        self._joins, self.starts = translation.joins, translation.starts.copy()
        self._seen: dict[int, int] = {}
        self._bound: dict[Stretch, Bound] = {}

    def run(self, index: int) -> Stretch | None:
        """Run the stretch that begins at an instruction, and return it; None if there is none.

        Raises
        ------
        MachineError
            As the instructions one by one.
        """
        made = self._translation.stretches.get(index, ())
        for stretch in made:
            if stretch.needs.hold(self._machine) and (bound := self._bind(stretch)) is not None:
                return self._run(stretch, bound)
        seen = self._seen[index] = self._seen.get(index, 0) + 1
        if seen > _MOST_TRIES:
            self.starts[index] = bool(made)
            return None
        stretch = self._make(index)
        if stretch is None:
            return None
        self._translation.stretches[index] = [stretch, *made][:_MOST_VARIANTS]
        bound = self._bind(stretch) if stretch.needs.hold(self._machine) else None
        return None if bound is None else self._run(stretch, bound)

    def _bind(self, stretch: Stretch) -> Bound | None:
        """The stretch's place in this execution; None if it was made of other blocks."""
        bound = self._bound.get(stretch)
        if bound is None or bound.blocks_version != self._machine.blocks_version:
            bound = stretch.bind(self._machine, self._recorder)
            if bound is not None:
                self._bound[stretch] = bound
        return bound

    def _make(self, first: int) -> Stretch | None:
        stop = len(self._operations)
        while True:
            try:
                return self._draft(first, stop)
            except _BrokenError as broken:
                # Its rounds begin stretches of their own.
                stop = broken.index
                self._joins[stop] = self.starts[stop] = self._translation.starts[stop] = False
                self._begin(stop + 1)

    def _begin(self, index: int) -> None:
        if index < len(self._joins) and self._joins[index]:
            self.starts[index] = self._translation.starts[index] = True

    def _draft(self, first: int, stop: int) -> Stretch | None:
        """Make the stretch that begins at `first` and ends at `stop` or before."""
        draft = Draft(self._machine, self._translation.sites)
        sites: list[Site] = []
        loops: list[list[int]] = []  # index of the loop, rounds left
        index = first
        while index < stop and self._joins[index] and len(sites) < _MOST:
            op = self._operations[index]
            try:
                follows = self._follow(draft, op, sites, loops)
            except (StretchError, MachineError):
                break
            if follows < 0:
                break
            index = follows
        if loops:
            raise _BrokenError(loops[0][0])
        if index < stop:
            self._begin(index + 1)
        return draft.finish(first, index, sites) if len(sites) >= _FEWEST else None

    def _follow(
        self, draft: Draft, op: Operation, sites: list[Site], loops: list[list[int]]
    ) -> int:
        """Add an instruction to a draft; returns the one that follows, -1 if it is not added."""
        if op.mnemonic in KINDS or op.mnemonic == "weight_load":
            sites.append(draft.engine(op, len(sites)))
            return op.index + 1
        follows = op.index + 1
        match op.mnemonic:
            case "view" | "view_step":
                draft.move(op)
            case "scalar":
                draft.scalar(op)
            case "branch":
                if draft.branches(op):
                    follows = op.target
                    if not self._is_ahead(op):
                        return -1
            case "loop":
                if len(self._around[op.index]) == MAX_LOOP_DEPTH:
                    return -1
                loops.append([op.index, op.count])
            case "end_loop":
                if not loops:
                    return -1
                loops[-1][1] -= 1
                if loops[-1][1] > 0:
                    follows = loops[-1][0] + 1
                else:
                    loops.pop()
        sites.append(self._translation.sites.of_control(op))
        return follows

    def _is_ahead(self, op: Operation) -> bool:
        """Whether a branch leads on, within the same loops."""
        around = self._around
        return op.index < op.target < len(around) and around[op.target] == around[op.index]

    def _run(self, stretch: Stretch, bound: Bound) -> Stretch:
        failed = stretch.run(self._machine, self._recorder, bound)
        if failed >= 0:
            self._fail(stretch, stretch.places[failed])
        return stretch

    def _fail(self, stretch: Stretch, place: int) -> None:
        """Execute an instruction that failed on its own, which tells why."""
        *before, index = (
            stretch.sites[number].index for number in stretch.sequence[: place + 1].tolist()
        )
        for number in before:
            op = self._operations[number]
            if op.window is not None:
                self._machine.set_view(op.view, op.window, op.index)
            elif op.mnemonic == "view_step":
                self._machine.step_view(op.view, op.step, op.index)
        op = self._operations[index]
        assert op.execute is not None
        op.execute(self._machine, op, self._recorder)
        raise AssertionError(f"instruction {index} failed in a stretch and not on its own")
