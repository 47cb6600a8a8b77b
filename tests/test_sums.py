"""Sums of large runs in one pass are what plain numpy gives."""

from __future__ import annotations

import numpy as np
import pytest

from azsim.isa.program import Program
from azsim.machine.trace import Trace
from azsim.sim.stalls import STALL_REASONS, engine_gaps, engine_sums
from azsim.sim.statistics import measure
from azsim.sim.sums import idle_times, sums_by_layer, sums_by_part
from azsim.sim.timing import Timing, replay
from compiled import VARIANTS, execute_graph, frames_for, mixed_graph
from graphs import compress

pytestmark = pytest.mark.kernels


def _idle(start: np.ndarray, end: np.ndarray, arrival: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """See `idle_times`."""
    order = np.argsort(start, kind="stable")
    busy_until = np.maximum.accumulate(np.concatenate([[0], end[order]]))[:-1]
    begins = start[order]
    waits = (arrival[order] > 0) & (begins == arrival[order]) & (busy_until < begins)
    return busy_until[waits], begins[waits]


@pytest.mark.parametrize("seed", range(60))
def test_idle_times_are_those_of_instructions_in_the_order_of_their_starts(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(0, 60))
    start = np.cumsum(rng.integers(0, 9, count)) + rng.integers(0, 30, count)
    end = start + rng.integers(0, 12, count)
    arrival = np.where(rng.random(count) < 0.4, start + rng.integers(-1, 1, count), 0)
    found, wanted = idle_times(start, end, arrival), _idle(start, end, arrival)
    for one, other in zip(found, wanted, strict=True):
        assert one.tolist() == other.tolist()


def test_some_of_these_stand_idle() -> None:
    start, arrival = np.array([0, 50, 50, 90]), np.array([0, 50, 0, 90])
    end = np.array([20, 60, 95, 99])
    begins, ends = idle_times(start, end, arrival)
    assert (begins.tolist(), ends.tolist()) == ([20], [50])


@pytest.mark.parametrize("seed", range(20))
def test_sums_by_part_and_layer(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count, groups = int(rng.integers(0, 200)), 5
    part = rng.integers(0, groups, count)
    first, second, third, fourth = rng.integers(0, 1000, (4, count))
    end = second + third
    by_part = sums_by_part(part, groups, first, second, end, fourth)
    for row, values in zip(by_part, (first, third, fourth), strict=True):
        assert row.tolist() == [int(values[part == one].sum()) for one in range(groups)]
    retired = np.concatenate([[0], np.maximum.accumulate(end)])
    by_layer = sums_by_layer(part, groups, end, first, fourth)
    for row, values in zip(by_layer, (np.diff(retired), first, fourth), strict=True):
        assert row.tolist() == [int(values[part == one].sum()) for one in range(groups)]


def _ran(name: str) -> tuple[Trace, Timing, Program]:
    graph = mixed_graph(5, seed=1)
    ran = execute_graph(compress(graph, 8, 8), VARIANTS[name], frames_for(graph, 3))
    trace, program = ran.execution.trace, ran.compiled.program
    return trace, replay(trace, program, VARIANTS[name]), program


@pytest.mark.slow
@pytest.mark.parametrize("name", VARIANTS)
def test_sums_of_an_engine_are_those_of_its_gaps(name: str) -> None:
    trace, timing, program = _ran(name)
    start, end = timing.without_idle(timing.start), timing.without_idle(timing.end)
    for gaps, sums in zip(engine_gaps(trace, timing), engine_sums(trace, timing), strict=True):
        mine = gaps.instructions
        assert sums.engine == gaps.engine
        assert sums.busy == (end - start)[mine].sum()
        assert sums.working == np.minimum(timing.work, end - start)[mine].sum()
        assert sums.undispatched == gaps.undispatched.sum()
        assert sums.end == (end[mine[-1]] if len(mine) else 0)
        waiting = [gaps.waiting[gaps.cause == code].sum() for code in range(len(STALL_REASONS) - 1)]
        assert list(sums.waiting) == waiting
    figures = measure(trace, timing, program, VARIANTS[name])
    for engine, reasons in figures.stall_cycles.items():
        assert figures.engine_busy_cycles[engine] + sum(reasons.values()) == figures.cycles
    assert sum(layer.cycles for layer in figures.layers) == figures.cycles
