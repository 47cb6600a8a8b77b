"""Why engines stand still: the gap before each instruction, and what it waited for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from azsim.isa.program import Program
from azsim.jit import inner_kernel, kernel
from azsim.machine.engines.clock import ENGINES
from azsim.machine.trace import Trace
from azsim.sim.outline import outline_of
from azsim.sim.timing import Timing

__all__ = [
    "STALL_REASONS",
    "EngineGaps",
    "EngineSums",
    "engine_gaps",
    "engine_sums",
    "layer_stalls",
]

STALL_REASONS = ("input", *(f"wait_{engine}" for engine in ENGINES), "no_work")
"""Why an engine stands still; when several hold, the earliest in this list is counted."""

_ENGINES = 5


@dataclass(frozen=True)
class EngineGaps:
    """Cycles in which one engine stood still, before each of its instructions.

    Attributes
    ----------
    engine : str
    instructions : ndarray of int
        Its instructions, as numbers of the timing's arrays.
    undispatched : ndarray of int64
        Until the instruction was there: no work.
    waiting : ndarray of int64
        From then on, until it began.
    cause : ndarray of int
        Number in `STALL_REASONS` of what that was for.
    """

    engine: str
    instructions: np.ndarray
    undispatched: np.ndarray
    waiting: np.ndarray
    cause: np.ndarray


def _times(trace: Trace, timing: Timing) -> tuple[np.ndarray, ...]:
    """Waits of each instruction, its times, and whether it began when its frame arrived."""
    return (
        outline_of(trace).targets,
        *map(timing.without_idle, (timing.dispatch, timing.start, timing.end)),
        (timing.arrival > 0) & (timing.start == timing.arrival),
    )


def engine_gaps(trace: Trace, timing: Timing) -> Iterator[EngineGaps]:
    """Gaps of every engine; waiting for input that everything waits for is not counted."""
    outline = outline_of(trace)
    undispatched, waiting, cause = _gaps(timing.engine, *_times(trace, timing))
    bounds = np.searchsorted(timing.engine[outline.members], np.arange(len(ENGINES) + 1))
    for number, name in enumerate(ENGINES):
        mine = outline.members[bounds[number] : bounds[number + 1]]
        yield EngineGaps(name, mine, undispatched[mine], waiting[mine], cause[mine])


class EngineSums(NamedTuple):
    """What an engine did in a whole run, in cycles.

    Attributes
    ----------
    engine : str
    busy : int
    undispatched : int
        See `EngineGaps`.
    end : int
        Of its last instruction.
    working : int
        What of `busy` was the instructions' own work, see `Timing.work`.
    waiting : tuple of int
        By number in `STALL_REASONS`, but for the last one.
    """

    engine: str
    busy: int
    undispatched: int
    end: int
    working: int
    waiting: tuple[int, ...]


def engine_sums(trace: Trace, timing: Timing) -> Iterator[EngineSums]:
    """Sums of every engine; waiting for input that everything waits for is not counted."""
    sums = _sums(timing.engine, *_times(trace, timing), np.ascontiguousarray(timing.work))
    for name, (busy, undispatched, end, working, *waiting) in zip(
        ENGINES, sums.tolist(), strict=True
    ):
        yield EngineSums(name, busy, undispatched, end, working, tuple(waiting))


def layer_stalls(
    trace: Trace, timing: Timing, program: Program
) -> dict[str, dict[str, dict[str, int]]]:
    """By layer, engine and reason: cycles that the engine stood still ahead of the layer's work."""
    index = np.array([site.index for site in trace.sites])[timing.site]
    layer_of = np.array(program.layer_of or [-1] * len(program.instructions))[index]
    found: dict[str, dict[str, dict[str, int]]] = {name: {} for name in program.layers}
    for gaps in engine_gaps(trace, timing):
        own = layer_of[gaps.instructions]
        for number, name in enumerate(program.layers):
            mine = own == number
            reasons = {
                reason: int(gaps.waiting[mine & (gaps.cause == code)].sum())
                for code, reason in enumerate(STALL_REASONS[:-1])
            }
            reasons["no_work"] = int(gaps.undispatched[mine].sum())
            found[name][gaps.engine] = {reason: n for reason, n in reasons.items() if n}
    return found


@inner_kernel
def _gap(before, dispatch, start, arrived, targets, ends):
    """Cycles before an instruction: undispatched, waiting, and the number of what for.

    `before` is the end of the engine's instruction before it, `targets` what it waits for, and
    `ends` has those of each engine's instructions so far.
    """
    ready = min(max(dispatch, before), start)
    # What it waited for last.  If nothing names a wait, the gap was the engine's own order,
    # which leaves none.
    latest, cause = -1, 0
    for other in range(_ENGINES):
        need = targets[other]
        if need > 0 and ends[other, need - 1] > latest:
            latest = ends[other, need - 1]
            cause = other + 1
    return ready - before, start - ready, 0 if arrived else cause


@kernel(
    "UniTuple(int64[::1], 3)(int64[::1], int64[:, ::1], int64[::1], int64[::1], int64[::1],"
    " boolean[::1])"
)
def _gaps(engine, targets, dispatch, start, end, arrived):
    """See `_gap`, of each instruction."""
    count = len(engine)
    undispatched, waiting = np.zeros(count, np.int64), np.zeros(count, np.int64)
    cause = np.zeros(count, np.int64)
    ends = np.empty((_ENGINES, count), np.int64)
    issued = np.zeros(_ENGINES, np.int64)
    for i in range(count):
        e = engine[i]
        if e >= _ENGINES:
            continue
        before = ends[e, issued[e] - 1] if issued[e] else 0
        undispatched[i], waiting[i], cause[i] = _gap(
            before, dispatch[i], start[i], arrived[i], targets[i], ends
        )
        ends[e, issued[e]] = end[i]
        issued[e] += 1
    return undispatched, waiting, cause


@kernel(
    "int64[:, ::1](int64[::1], int64[:, ::1], int64[::1], int64[::1], int64[::1], boolean[::1],"
    " int64[::1])"
)
def _sums(engine, targets, dispatch, start, end, arrived, work):
    """See `EngineSums`: a row for each engine."""
    count = len(engine)
    sums = np.zeros((_ENGINES, 4 + _ENGINES + 1), np.int64)
    ends = np.empty((_ENGINES, count), np.int64)
    issued = np.zeros(_ENGINES, np.int64)
    for i in range(count):
        e = engine[i]
        if e >= _ENGINES:
            continue
        row = sums[e]
        undispatched, waiting, cause = _gap(
            row[2], dispatch[i], start[i], arrived[i], targets[i], ends
        )
        row[0] += end[i] - start[i]
        row[1] += undispatched
        row[2] = end[i]
        row[3] += min(work[i], end[i] - start[i])
        row[4 + cause] += waiting
        ends[e, issued[e]] = end[i]
        issued[e] += 1
    return sums
