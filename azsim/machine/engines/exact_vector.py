"""The vector engine cycle by cycle: lanes that take a group of elements, and a pipeline behind.

A pass goes through the rows.  It gives each group of a row's elements to the lanes for as many
cycles as the operation takes, then the group goes through the pipeline, a stage a cycle.  A pass is
over when the pipeline is empty; the next one of the same instruction begins in the cycle after.
Where each row needs the one before, it begins no sooner than that one's first group has come to the
pipeline's end.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from azsim.jit import kernel

__all__ = ["Passes", "Vector", "begin_passes", "new_vector", "push_stage", "step_vector"]

# State: pass at hand, rows to come, elements of the row to come, cycles that the group in the lanes
# still needs, cycles since the row began.
_PASS, _ROWS_LEFT, _LEFT, _BUSY, _AGE = range(5)
# Columns of `Passes.of`.
_IS_CHAINED, _FIRST, _PASSES = range(3)
# Columns of `Passes.shapes`.
_ROWS, _ELEMENTS, _CYCLES = range(3)


class Passes(NamedTuple):
    """What is to be done."""

    of: np.ndarray
    """(n, 3) int64, a row an instruction: whether each row needs the one before, its first pass in
    `shapes`, number of passes."""
    shapes: np.ndarray
    """(passes, 3) int64: rows, elements of each, cycles that a group takes in the lanes."""


class Vector(NamedTuple):
    """State, and which stages of the pipeline hold a group."""

    state: np.ndarray
    stages: np.ndarray


def new_vector(pipeline_cycles: int) -> Vector:
    """An engine at rest."""
    return Vector(np.zeros(5, np.int64), np.zeros(pipeline_cycles, np.bool_))


@kernel
def push_stage(stages, is_full):
    """Move a pipeline on by a stage, with something new in front or not; tells if it is empty."""
    is_empty = True
    for stage in range(len(stages) - 1, 0, -1):
        stages[stage] = stages[stage - 1]
        is_empty &= not stages[stage]
    if len(stages) > 0:
        stages[0] = is_full
        is_empty &= not is_full
    return is_empty


@kernel
def begin_passes(vector, work, i):
    """Give the engine an instruction."""
    vector.state[:] = 0
    vector.state[_ROWS_LEFT] = work.shapes[work.of[i, _FIRST], _ROWS]


@kernel
def step_vector(vector, work, i, lanes):
    """Let one cycle pass; tells whether the instruction is over with it."""
    state, stages = vector
    number = work.of[i, _FIRST] + state[_PASS]
    if state[_BUSY] == 0 and state[_LEFT] == 0 and state[_ROWS_LEFT] > 0:
        is_first = state[_ROWS_LEFT] == work.shapes[number, _ROWS]
        if work.of[i, _IS_CHAINED] == 0 or is_first or state[_AGE] >= len(stages):
            state[_ROWS_LEFT] -= 1
            state[_LEFT] = work.shapes[number, _ELEMENTS]
            state[_AGE] = 0
    state[_AGE] += 1
    leaves_lanes = False
    if state[_BUSY] == 0 and state[_LEFT] > 0:
        state[_LEFT] -= min(lanes, state[_LEFT])
        state[_BUSY] = work.shapes[number, _CYCLES]
    if state[_BUSY] > 0:
        state[_BUSY] -= 1
        leaves_lanes = state[_BUSY] == 0
    is_empty = push_stage(stages, leaves_lanes)
    if not is_empty or state[_BUSY] > 0 or state[_LEFT] > 0 or state[_ROWS_LEFT] > 0:
        return False
    state[_PASS] += 1
    if state[_PASS] == work.of[i, _PASSES]:
        return True
    state[_ROWS_LEFT] = work.shapes[number + 1, _ROWS]
    return False
