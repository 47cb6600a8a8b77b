"""Why engines stand still: the gap before each instruction, and what it waited for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from azsim.isa.program import Program
from azsim.machine.engines.clock import ENGINES
from azsim.machine.trace import Trace
from azsim.sim.timing import Timing

__all__ = ["STALL_REASONS", "EngineGaps", "engine_gaps", "layer_stalls"]

STALL_REASONS = ("input", *(f"wait_{engine}" for engine in ENGINES), "no_work")
"""Why an engine stands still; when several hold, the earliest in this list is counted."""


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


def engine_gaps(trace: Trace, timing: Timing) -> Iterator[EngineGaps]:
    """Gaps of every engine; waiting for input that everything waits for is not counted."""
    cycles_of = timing.without_idle
    start, end, dispatch = (cycles_of(t) for t in (timing.start, timing.end, timing.dispatch))
    ends_by_engine = [end[timing.engine == number] for number in range(len(ENGINES))]
    # Instructions of each engine before each instruction.
    issued = [np.cumsum(timing.engine == n) - (timing.engine == n) for n in range(len(ENGINES))]
    waits = np.array(
        [[site.waits.get(engine, 0) for engine in ENGINES] for site in trace.sites]
    ).reshape(-1, len(ENGINES))[timing.site]
    for number, name in enumerate(ENGINES):
        mine = np.flatnonzero(timing.engine == number)
        begins, stops = start[mine], end[mine]
        before = np.concatenate([[0], stops[:-1]]) if len(mine) else np.zeros(0, np.int64)
        ready = np.clip(dispatch[mine], before, begins)
        cause = _causes(timing, mine, waits, issued, ends_by_engine)
        yield EngineGaps(name, mine, ready - before, begins - ready, cause)


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


def _causes(
    timing: Timing,
    mine: np.ndarray,
    waits: np.ndarray,
    issued: list[np.ndarray],
    ends_by_engine: list[np.ndarray],
) -> np.ndarray:
    """Number in `STALL_REASONS` of what each instruction of one engine waited for last."""
    cause = np.full(len(mine), len(ENGINES) + 1)
    latest = np.full(len(mine), -1, np.int64)
    arrived = (timing.arrival[mine] > 0) & (timing.start[mine] == timing.arrival[mine])
    for other, ends in enumerate(ends_by_engine):
        wait = waits[mine, other]
        need = issued[other][mine] - wait + 1
        active = (wait > 0) & (need > 0)
        at = (
            np.where(active, ends[np.clip(need - 1, 0, max(0, len(ends) - 1))], -1)
            if len(ends)
            else latest
        )
        better = at > latest
        cause[better] = other + 1
        latest = np.maximum(latest, at)
    cause[arrived] = 0
    # Nothing named a wait: the gap was the engine's own order, which leaves none.
    return np.where(cause > len(ENGINES), 0, cause)
