"""The sequencer and the engines' queues, cycle by cycle.

The sequencer works on one instruction for `issue_cycles`; at the end of the last of these cycles a
control instruction is over, a fence waits until no engine has anything left, and any other
instruction enters its engine's queue as soon as there is room.  An entry leaves the queue when its
instruction starts, and its place is free at once.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from azsim.jit import kernel

__all__ = [
    "COMPLETED",
    "Instructions",
    "Sequencer",
    "head",
    "issue",
    "may_start",
    "new_sequencer",
    "start_head",
    "step_sequencer",
]

_ENGINES = 5
_FENCE = 5
# State of the sequencer: next executed instruction, cycles that it still needs, how many of those
# before it belong to an engine or are fences.
_AT, _LEFT, _NUMBER = range(3)
# Instructions of each engine that have entered its queue, have started and have completed.
_ISSUED, _STARTED, _COMPLETED = range(3)
COMPLETED = _COMPLETED
"""Row of `Sequencer.counts` that counts the completed instructions of each engine."""


class Instructions(NamedTuple):
    """What the sequencer reads; arrays by executed instruction, then by engine instruction."""

    stream: np.ndarray
    """(executed,) int64: engine, 5 for fence and halt, -1 for control."""
    members: np.ndarray
    """(n,) int64: instruction numbers grouped by engine, each group in program order."""
    base: np.ndarray
    """(6,) int64: where each engine's group begins in `members`."""
    targets: np.ndarray
    """(n, 5) int64: completions of each engine that the instruction waits for."""
    arrival: np.ndarray
    """(n,) int64: cycle before which the instruction cannot start."""


class Sequencer(NamedTuple):
    """State: of the sequencer itself, and of the queues."""

    state: np.ndarray
    counts: np.ndarray


def new_sequencer(issue_cycles: int) -> Sequencer:
    """A sequencer that has just fetched the first instruction."""
    return Sequencer(np.array([0, issue_cycles, 0], np.int64), np.zeros((3, _ENGINES), np.int64))


@kernel
def head(sequencer, program, engine):
    """Return the instruction at the head of an engine's queue, -1 if that is empty."""
    started = sequencer.counts[_STARTED, engine]
    if started == sequencer.counts[_ISSUED, engine]:
        return -1
    return program.members[program.base[engine] + started]


@kernel
def may_start(sequencer, program, i):
    """Tell whether the completions that an instruction waits for have happened."""
    for engine in range(_ENGINES):
        if sequencer.counts[_COMPLETED, engine] < program.targets[i, engine]:
            return False
    return True


@kernel
def start_head(sequencer, engine):
    """Take the instruction at the head out of its queue."""
    sequencer.counts[_STARTED, engine] += 1


@kernel
def _is_drained(sequencer):
    """Tell whether every instruction that was issued has completed."""
    for engine in range(_ENGINES):
        if sequencer.counts[_COMPLETED, engine] < sequencer.counts[_ISSUED, engine]:
            return False
    return True


@kernel
def issue(sequencer, program, issue_cycles, queue_entries):
    """Let the instruction at hand leave the sequencer, if its time is over and it finds room.

    Returns
    -------
    has_left : bool
    i : int
        Its number if it belongs to an engine or is a fence, -1 for control.
    is_fence : bool
    """
    state, counts = sequencer
    if state[_LEFT] > 0 or state[_AT] == len(program.stream):
        return False, -1, False
    engine = program.stream[state[_AT]]
    if engine == _FENCE:
        if not _is_drained(sequencer):
            return False, -1, False
    elif engine >= 0:
        if counts[_ISSUED, engine] - counts[_STARTED, engine] == queue_entries:
            return False, -1, False
        counts[_ISSUED, engine] += 1
    i = -1
    if engine >= 0:
        i = state[_NUMBER]
        state[_NUMBER] += 1
    state[_AT] += 1
    state[_LEFT] = issue_cycles
    return True, i, engine == _FENCE


@kernel
def step_sequencer(sequencer, program):
    """Let one cycle pass; tells whether the sequencer worked in it."""
    state = sequencer.state
    is_working = state[_LEFT] > 0 and state[_AT] < len(program.stream)
    state[_LEFT] -= is_working
    return is_working
