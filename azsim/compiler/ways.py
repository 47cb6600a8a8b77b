"""Ways: the passes between order and emission, tried in several ways, of which the best is taken.

Contract: takes a schedule in program order, gives what each of these passes made of it, places in
SRAM among them.  What one of them decides shows only when all are done: what lives in DRAM, how
many frames a round has, and how many steps may be under way at a time.  So each choice is made by
the cycles of the run that a model of the engines expects (`azsim.compiler.channels.run_cycles`).
"""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from azsim.compiler.allocate import Allocation, allocate
from azsim.compiler.beside import beside
from azsim.compiler.channels import run_cycles
from azsim.compiler.estimate import Estimator, engine_of
from azsim.compiler.fill import fill
from azsim.compiler.join import join
from azsim.compiler.merge import merge
from azsim.compiler.overlap import overlap
from azsim.compiler.prefetch import prefetch
from azsim.compiler.schedule import Item, Repeat, Schedule, walk
from azsim.compiler.spill import leaving_room, spill
from azsim.compiler.together import may_share_loads, together
from azsim.compiler.unroll import unroll
from azsim.errors import CompileError
from azsim.hardware.description import Hardware
from azsim.isa.program import Stream
from azsim.ops.steps import ELEMENT_BYTES

__all__ = ["Fitted", "Way", "best_way"]

_AHEAD = (256, 128, 64, 48, 32, 24, 16, 8, 4, 2, 1)
"""Steps that may be under way at a time where not all of them can, most first."""
_FEW_AHEAD = (64, 16, 4, 1)
_MOST_COMPARED = 1_500
"""Items of a program of which the best of all limits is looked for, and not the first that fits."""

_PER_ROUND = (2, 4, 8)
"""Frames that a round of the frame loop may have instead of one."""
_WORTH_LATENCY = 0.98
"""Part of a run's cycles that is left where twice the frames a round are worth their latency."""
_LEAST_WORK = 0.7
"""Part of an engine's work that a way takes at least by the model of the engines, which for some
programs expects less than all of it."""
_WORTH_INSTRUCTIONS = 0.01
"""Part of a run's cycles that the stores behind it take where a last round beside them is worth its
instructions."""


@dataclass(frozen=True)
class Way:
    """What the passes made of a schedule.

    Attributes
    ----------
    spilled, stored, joined, prefetched, unrolled, together : Schedule
        By the passes of like names.
    fitted : Fitted
    """

    spilled: Schedule
    stored: Schedule
    joined: Schedule
    prefetched: Schedule
    unrolled: Schedule
    together: Schedule
    fitted: Fitted

    @property
    def made(self) -> dict[str, object]:
        """By the name of each pass, in their order, what it made."""
        return {
            "spill": self.spilled,
            "beside": self.stored,
            "join": self.joined,
            "prefetch": self.prefetched,
            "unroll": self.unrolled,
            "together": self.together,
            "overlap": self.fitted.ordered,
            "merge": self.fitted.merged,
            "fill": self.fitted.schedule,
            "allocate": self.fitted.allocation,
        }


@dataclass(frozen=True)
class Fitted:
    """A schedule in an order, what the passes behind that made of it, and its places."""

    ordered: Schedule
    merged: Schedule
    schedule: Schedule
    allocation: Allocation
    estimator: Estimator
    hardware: Hardware

    @functools.cached_property
    def cycles(self) -> float:
        """What the run takes, by a model of the engines."""
        addresses = self.allocation.addresses
        return run_cycles(self.schedule, addresses, self.estimator, self.hardware)


def best_way(
    schedule: Schedule,
    state: Mapping[str, str],
    estimator: Estimator,
    hardware: Hardware,
    stream: Stream,
    utterances: int = 1,
) -> Way:
    """Make the most of a schedule.

    Parameters
    ----------
    schedule : Schedule
        In program order, with everything in activation SRAM.
    state : mapping of str to str
        Carried tensors, graph input to graph output.
    estimator : Estimator
    hardware : Hardware
    stream : Stream
    utterances : int
        Parts of the stream, each of which begins with the initial state.

    Raises
    ------
    CompileError
        If it does not fit the hardware in any way.
    """
    first = spill(schedule, hardware, state, appends=stream.paced)
    begun = _Begun.of(first, estimator, hardware)
    if utterances > 1 and begun.spilled.spilled:
        names = ", ".join(sorted(begun.spilled.spilled))
        raise CompileError(
            f"several utterances need their state in activation SRAM, found in DRAM: {names}"
        )
    alone = _fitting(begun.unrolled, estimator, hardware, stream)
    best = begun.way(begun.unrolled, alone)
    if not stream.paced:
        best = _best_rounds(begun, best, estimator, hardware, stream)
    if stream.paced:
        return best
    if first is not schedule and may_share_loads(begun.unrolled):
        # With less of it on the chip, what comes anew may do for several frames.
        shares = functools.partial(_shares_loads, estimator, hardware)
        counts = [count for count in _PER_ROUND if 2 * count <= schedule.frames]
        for count, spilled in leaving_room(schedule, hardware, state, counts, shares):
            begun = _Begun.of(spilled, estimator, hardware)
            best = _best_rounds(begun, best, estimator, hardware, stream, count)
    return _with_last_apart(best, estimator, hardware, stream)


def _shares_loads(
    estimator: Estimator, hardware: Hardware, spilled: Schedule, per_round: int
) -> bool:
    """Whether so many frames of a round can share loads."""
    begun = _Begun.of(spilled, estimator, hardware)
    return together(begun.unrolled, hardware, per_round).shares_loads


@dataclass(frozen=True)
class _Begun:
    """What the first passes made, before it is known how many frames a round has."""

    spilled: Schedule
    stored: Schedule
    joined: Schedule
    prefetched: Schedule
    unrolled: Schedule

    @classmethod
    def of(cls, spilled: Schedule, estimator: Estimator, hardware: Hardware) -> _Begun:
        """Carry out the passes."""
        stored = beside(spilled, estimator, hardware)
        joined = join(stored, hardware)
        prefetched = prefetch(joined)
        return cls(spilled, stored, joined, prefetched, unroll(prefetched, hardware))

    def way(self, schedule: Schedule, fitted: Fitted) -> Way:
        """Go on with some frames in a round."""
        return Way(**vars(self), together=schedule, fitted=fitted)


def _best_rounds(
    begun: _Begun,
    best: Way,
    estimator: Estimator,
    hardware: Hardware,
    stream: Stream,
    least: int = 0,
) -> Way:
    """With as many frames in a round as are worth their latency, or the best so far.

    `least` of them, or more.
    """
    for per_round in (number for number in _PER_ROUND if number >= least):
        if (found := together(begun.unrolled, hardware, per_round)) is begun.unrolled:
            break
        rounds = [found]
        if found.shares_loads:  # which keeps frames in step
            apart = together(begun.unrolled, hardware, per_round, may_share=False)
            rounds += [apart] if apart is not begun.unrolled else []
        ways: list[Way] = []
        most = _WORTH_LATENCY * best.fitted.cycles
        rounds = [
            one for one in rounds if _LEAST_WORK * _work_cycles(one, estimator, hardware) <= most
        ]
        for schedule, tried in itertools.chain.from_iterable(map(_to_be_ordered, rounds)):
            with contextlib.suppress(CompileError):
                ways.append(begun.way(schedule, _fitting(tried, estimator, hardware, stream)))
        shortest = min(ways, key=lambda way: way.fitted.cycles, default=best)
        if shortest.fitted.cycles <= _WORTH_LATENCY * best.fitted.cycles:
            best = shortest
    return best


def _work_cycles(schedule: Schedule, estimator: Estimator, hardware: Hardware) -> float:
    """Cycles of the engine with the most work in a run, all transfers being DRAM's.

    Of transfers their bytes count, as passes still join some.
    """
    byte_cycles = hardware.clock_hz / hardware.dram.bytes_per_s
    work: dict[str, float] = {}

    def add(items: Iterable[Item | Repeat], times: float) -> None:
        for item in items:
            if isinstance(item, Repeat):
                add(item.body, times * item.mean_rounds)
            elif item.mnemonic in ("weight_load", "load", "store"):
                window = dict(item.windows)["dst" if item.mnemonic == "store" else "src"]
                size = window.rows * window.cols
                size *= ELEMENT_BYTES[schedule.storages[window.buffer].dtype]
                work["dram"] = work.get("dram", 0.0) + times * size * byte_cycles
            elif item.leave is None:
                cycles = estimator.cycles(item, schedule.storages, roughly=True)
                engine = engine_of(item)
                work[engine] = work.get(engine, 0.0) + times * cycles

    add(schedule.startup, 1)
    add(schedule.body, schedule.rounds)
    add(schedule.finish, 1)
    return max(work.values(), default=0.0)


def _with_last_apart(best: Way, estimator: Estimator, hardware: Hardware, stream: Stream) -> Way:
    """With the last round behind the loop, beside the stores of what the run leaves.

    If these take long, and it is no loss.
    """
    of_round = best.together
    stores = (item for item in walk(best.unrolled.finish) if item.mnemonic == "store")
    stored_cycles = sum(estimator.cycles(item, of_round.storages) for item in stores)
    if stored_cycles < _WORTH_INSTRUCTIONS * best.fitted.cycles:
        return best
    apart = together(
        best.unrolled,
        hardware,
        of_round.per_round,
        may_share=of_round.shares_loads,
        last_apart=True,
    )
    if not apart.last_apart or apart.shares_loads != of_round.shares_loads:
        return best
    with contextlib.suppress(CompileError):
        fitted = _fitting(apart, estimator, hardware, stream)
        if fitted.cycles <= best.fitted.cycles:
            return replace(best, together=apart, fitted=fitted)
    return best


def _to_be_ordered(schedule: Schedule) -> Iterator[tuple[Schedule, Schedule]]:
    """A schedule with itself, to be put in order; one of a single round also merged before that.

    Its start and end are put in order with the rest.
    """
    yield schedule, schedule
    if schedule.rounds == 1:
        yield schedule, merge(schedule)


def _fitting(
    schedule: Schedule, estimator: Estimator, hardware: Hardware, stream: Stream
) -> Fitted:
    """Overlap everything, or as many steps as is best in the room of activation SRAM.

    If frames are not waited for, the next round may begin while one ends (`around` in
    `azsim.compiler.allocate`), and the first one while weights still come.
    """

    def placed(ordered: Schedule, merged: Schedule, *, around: bool) -> Fitted:
        found = fill(merged, estimator, hardware, stream.period_s) if stream.paced else merged
        allocation = allocate(found, hardware, estimator, around=around)
        return Fitted(ordered, merged, found, allocation, estimator, hardware)

    def fitted(ordered: Schedule, *, around: bool = False) -> Fitted:
        merged = merge(ordered)
        try:
            return placed(ordered, merged, around=around)
        except CompileError:
            if merged is ordered:
                raise
        return placed(ordered, ordered, around=around)  # what lies apart may fit better

    with contextlib.suppress(CompileError):
        return fitted(overlap(schedule, estimator, hardware), around=not stream.paced)
    found: dict[int, Fitted] = {}
    steps = sum(1 for _ in walk((*schedule.startup, *schedule.body, *schedule.finish)))
    is_long = steps > _MOST_COMPARED
    for ahead in (ahead for ahead in (_FEW_AHEAD if is_long else _AHEAD) if ahead < steps):
        with contextlib.suppress(CompileError):
            ordered = overlap(schedule, estimator, hardware, ahead=ahead, searches=False)
            found[ahead] = one = fitted(ordered)
            if is_long:
                return one
            if one.cycles > min(other.cycles for other in found.values()):
                break  # with fewer steps engines wait more
    every = list(found.values())
    if found:
        ahead = min(found, key=lambda ahead: found[ahead].cycles)
        with contextlib.suppress(CompileError):
            every.append(fitted(overlap(schedule, estimator, hardware, ahead=ahead)))
    with contextlib.suppress(CompileError) if found else contextlib.nullcontext():
        every.append(fitted(schedule))
    return min(every, key=lambda one: one.cycles)
