"""The vector engine cycle by cycle: lanes that take a group of elements, and a pipeline behind.

A pass gives each group of elements to the lanes for as many cycles as the operation takes, then the
group goes through the pipeline, a stage a cycle.  A pass is over when the pipeline is empty; the
next one of the same instruction begins in the cycle after.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from azsim.jit import kernel

__all__ = ["Vector", "begin_passes", "new_vector", "push_stage", "step_vector"]

_PASS, _LEFT, _BUSY = range(3)
# Columns of the work (n, 3) int64, a row an instruction: elements of a pass, then for each pass the
# cycles that a group takes in the lanes, 0 for no pass.
_ELEMENTS, _INTERVAL = range(2)
_PASSES = 2


class Vector(NamedTuple):
    """State: pass at hand, elements to come, cycles that a group still needs; the stages."""

    state: np.ndarray
    stages: np.ndarray


def new_vector(pipeline_cycles: int) -> Vector:
    """An engine at rest."""
    return Vector(np.zeros(3, np.int64), np.zeros(pipeline_cycles, np.bool_))


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
    vector.state[_PASS] = 0
    vector.state[_LEFT] = work[i, _ELEMENTS]
    vector.state[_BUSY] = 0


@kernel
def step_vector(vector, work, i, lanes):
    """Let one cycle pass; tells whether the instruction is over with it."""
    state = vector.state
    leaves_lanes = False
    if state[_BUSY] == 0 and state[_LEFT] > 0:
        state[_LEFT] -= min(lanes, state[_LEFT])
        state[_BUSY] = work[i, _INTERVAL + state[_PASS]]
    if state[_BUSY] > 0:
        state[_BUSY] -= 1
        leaves_lanes = state[_BUSY] == 0
    is_empty = push_stage(vector.stages, leaves_lanes)
    if not is_empty or state[_LEFT] > 0 or state[_BUSY] > 0:
        return False
    state[_PASS] += 1
    if state[_PASS] == _PASSES or work[i, _INTERVAL + state[_PASS]] == 0:
        return True
    state[_LEFT] = work[i, _ELEMENTS]
    return False
