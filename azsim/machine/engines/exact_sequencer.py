"""The sequencer and the engines' queues, cycle by cycle.

The sequencer works on one instruction for `issue_cycles`; at the end of the last of these cycles a
control instruction is over, one that reads or writes a scalar once its waits are, a fence waits
until no engine has anything left, a paced load until its frame has arrived, and any instruction of
an engine enters its queue as soon as there is room. An entry leaves the queue when its instruction
starts, and its place is free at once.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from azsim.jit import kernel

__all__ = [
    "Instructions",
    "Sequencer",
    "awaited_arrival",
    "complete",
    "issue",
    "new_sequencer",
    "next_to_start",
    "start",
    "step_sequencer",
]

_ENGINES = 5
_FENCE, _SCALAR_WAIT = 5, 6
# State of the sequencer: next executed instruction, cycles that it still needs, how many of those
# before it belong to an engine or are fences.
_AT, _LEFT, _NUMBER = range(3)
# Instructions of each engine that have entered its queue, have started and have completed.
_ISSUED, _STARTED, _COMPLETED = range(3)


class Instructions(NamedTuple):
    """What the sequencer reads; arrays by executed instruction, then by engine instruction."""

    stream: np.ndarray
    """(executed,) int64: engine, 5 for fence and halt, 6 for control that waits, -1 for other."""
    members: np.ndarray
    """(n,) int64: instruction numbers grouped by engine, each group in program order."""
    base: np.ndarray
    """(6,) int64: where each engine's group begins in `members`."""
    targets: np.ndarray
    """(n, 5) int64: completions of each engine that the instruction waits for."""
    arrival: np.ndarray
    """(n,) int64: cycle before which the sequencer does not issue the instruction."""


class Sequencer(NamedTuple):
    """State: of the sequencer itself, and of the queues."""

    state: np.ndarray
    counts: np.ndarray


def new_sequencer(issue_cycles: int) -> Sequencer:
    """A sequencer that has just fetched the first instruction."""
    return Sequencer(np.array([0, issue_cycles, 0], np.int64), np.zeros((3, _ENGINES), np.int64))


@kernel
def _has_waited(counts, targets, i):
    """Tell whether all that an instruction waits for has completed."""
    has_waited = True
    for other in range(_ENGINES):
        has_waited &= counts[_COMPLETED, other] >= targets[i, other]
    return has_waited


@kernel
def next_to_start(sequencer, program, engine):
    """Return the instruction at the head of an engine's queue; -1 if there is none, or it waits."""
    counts = sequencer.counts
    started = counts[_STARTED, engine]
    if started == counts[_ISSUED, engine]:
        return -1
    i = program.members[program.base[engine] + started]
    return i if _has_waited(counts, program.targets, i) else -1


@kernel
def start(sequencer, engine):
    """Take the instruction at the head out of its queue."""
    sequencer.counts[_STARTED, engine] += 1


@kernel
def complete(sequencer, engine):
    """Count a completion."""
    sequencer.counts[_COMPLETED, engine] += 1


@kernel
def _is_drained(counts):
    """Tell whether every instruction that was issued has completed."""
    return (counts[_COMPLETED] == counts[_ISSUED]).all()


@kernel
def awaited_arrival(sequencer, program, cycle):
    """Return the cycle in which the frame arrives that the sequencer waits for; -1 for none."""
    state = sequencer.state
    if state[_LEFT] > 0 or state[_AT] == len(program.stream) or program.stream[state[_AT]] < 0:
        return -1
    arrival = program.arrival[state[_NUMBER]]
    return arrival if arrival > cycle else -1


@kernel
def issue(sequencer, program, issue_cycles, queue_entries):
    """Let the instruction at hand leave the sequencer, if its time is over and it finds room.

    Returns
    -------
    has_left : bool
    i : int
        Its number if it belongs to an engine, is a fence or has waited, -1 for other control.
    is_done : bool
        Whether it is the sequencer's own, and over.
    """
    state, counts = sequencer
    if state[_LEFT] > 0 or state[_AT] == len(program.stream):
        return False, -1, False
    engine = program.stream[state[_AT]]
    if engine == _FENCE:
        if not _is_drained(counts):
            return False, -1, False
    elif engine == _SCALAR_WAIT:
        if not _has_waited(counts, program.targets, state[_NUMBER]):
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
    return True, i, engine >= _FENCE


@kernel
def step_sequencer(sequencer, program):
    """Let one cycle pass; tells whether the sequencer worked in it."""
    state = sequencer.state
    is_working = state[_LEFT] > 0 and state[_AT] < len(program.stream)
    state[_LEFT] -= is_working
    return is_working
