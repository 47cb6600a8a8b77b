"""Regions: loops in which data decides what comes next, and what the passes may do about them.

A region is an outermost loop with a `Leave` somewhere in it; a loop has at most one of its own.
The *parts* of a region are what stands between its begin, its leaves, the ends of the bodies that
hold them, and its end.  The contract that makes it work:

- a part begins and ends with a fence, so that every engine is idle wherever control can go two
  ways; waits inside a part are relative to completions counted from its fence, and no wait names
  anything in another part (`azsim.compiler.emit`, `azsim.compiler.synchronize`);
- nothing moves into a region, out of it, or from one part to another (`fuse`, `narrow`, `overlap`),
  but stores of results, into a part that is surely reached and does them once (`beside`);
- buffers that a region touches live over all of it (`allocate`);
- weights that do not stay are loaded inside each part that multiplies by them, as nobody knows what
  a slot holds (`prefetch`); those that the region alone uses may be held while it runs;
- how often a part runs is estimated by the operator (`Loop.rounds`, `Leave.stays`) where a choice
  depends on it (`visits`, `traffic`), and counted in the run where a bound does (`counted`); a path
  of dependent work has what ran in a frame (`decisions_of_frames`, `executed_steps`), or what
  surely runs (`certain`).
"""

from __future__ import annotations

import copy
from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from azsim.isa.program import Program
from azsim.machine.trace import Trace
from azsim.ops.lowering import Leave, Loop, Lowering, Matmul, Step
from azsim.ops.steps import is_region

__all__ = [
    "Decision",
    "Passed",
    "certain",
    "counted",
    "decisions_of_frames",
    "executed_steps",
    "passed_leaves",
    "uncertain_weights",
]

Decision = tuple[int, bool]
"""Number of a loop that may be left, and whether it went on."""


@dataclass(frozen=True)
class Passed:
    """How often a run came to the `Leave` of a loop, and how often it went on behind it.

    `frames` is in how many frames it ever did.
    """

    reached: float
    went_on: float
    frames: int

    def of_share(self, share: float) -> Passed:
        """The same of some of the frames, if all were alike."""
        return Passed(self.reached * share, self.went_on * share, int(self.frames * share))


def passed_leaves(leaves: Mapping[int, int], program: Program, trace: Trace) -> dict[int, Passed]:
    """Count a run's decisions.

    Parameters
    ----------
    leaves : mapping of int to int
        By number of a loop, the branch that may end it, as `azsim.compiler.emit` has placed it.
    program : Program
    trace : Trace
        Of the program.

    Returns
    -------
    dict of int to Passed
        By number of the loop.
    """
    if not leaves:
        return {}
    executed, frame = _executed(program, trace)

    def passed(branch: int) -> Passed:
        behind = executed == branch + 1
        reached, went_on = (int((executed == branch).sum()), int(behind.sum()))
        return Passed(reached, went_on, len(np.unique(frame[behind])))

    return {loop: passed(branch) for loop, branch in leaves.items()}


def decisions_of_frames(
    leaves: Mapping[int, int], program: Program, trace: Trace
) -> tuple[tuple[Decision, ...], ...]:
    """A run's decisions, frame by frame, in their order.

    Parameters are those of `passed_leaves`; without leaves there is nothing.
    """
    if not leaves:
        return ()
    loop_of = {branch: loop for loop, branch in leaves.items()}
    executed, frame = _executed(program, trace)
    found: list[list[Decision]] = [[] for _ in range(int(frame[-1]))]
    for at in np.flatnonzero(np.isin(executed, list(loop_of)) & (frame > 0)).tolist():
        branch = int(executed[at])
        found[frame[at] - 1].append((loop_of[branch], bool(executed[at + 1] == branch + 1)))
    return tuple(map(tuple, found))


def _executed(program: Program, trace: Trace) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the instructions of a run in order, and the frame, from 1 on, of each."""
    executed = np.array([site.index for site in trace.sites])[np.asarray(trace.sequence)]
    begins = np.array([bool(entry.operands.get("paced")) for entry in program.instructions])
    return executed, np.cumsum(begins[executed])


def counted(lowering: Lowering, passed: Mapping[int, Passed], frames: int) -> Lowering:
    """The same steps with the counts of a run in the place of estimates."""
    if not passed:
        return lowering
    found = copy.copy(lowering)
    found.steps = [
        (layer, one) for layer, step in lowering.steps for one in _counted([step], passed, frames)
    ]
    return found


def _counted(
    steps: Iterable[Step], passed: Mapping[int, Passed], times: float, own: Passed | None = None
) -> tuple[Step, ...]:
    """Steps that begin `times` times in a run; `own` is what was counted of the loop around."""
    found: list[Step] = []
    for step in steps:
        if isinstance(step, Leave) and own is not None:
            step = replace(step, stays=own.went_on / own.reached if own.reached else 0.0)
            times *= step.stays
        elif isinstance(step, Loop) and is_region(step):
            inner = passed.get(step.number)
            begun = times * step.count if inner is None else inner.reached
            rounds = None if inner is None else begun / times if times else 0.0
            step = replace(step, body=_counted(step.body, passed, begun, inner), rounds=rounds)
        found.append(step)
    return tuple(found)


def uncertain_weights(lowering: Lowering, passed: Mapping[int, Passed]) -> dict[str, int]:
    """Weights that only some data makes use, and in how many frames of the run at least it did."""
    found: dict[str, int] = {}

    def visit(steps: Iterable[Step], own: Passed | None, frames: int | None) -> None:
        for step in steps:
            if isinstance(step, Loop):
                visit(step.body, passed.get(step.number), frames)
            elif isinstance(step, Leave):
                frames = 0 if own is None else own.frames
            elif isinstance(step, Matmul) and frames is not None:
                found[step.weight] = max(found.get(step.weight, 0), frames)

    visit((step for _, step in lowering.steps), None, None)
    return found


def certain(steps: Iterable[Step]) -> tuple[Step, ...]:
    """Steps without what only some data makes run: a loop that may be left begins one round."""
    found: list[Step] = []
    for step in steps:
        if isinstance(step, Leave):
            break
        if isinstance(step, Loop) and is_region(step):
            is_left = any(isinstance(inner, Leave) for inner in step.body)
            count = 1 if is_left else step.count
            step = replace(step, count=count, body=certain(step.body), rounds=None)
        found.append(step)
    return tuple(found)


def executed_steps(
    steps: Iterable[Step], decided: Iterable[Decision]
) -> Iterator[tuple[Step, Mapping[int, int]]]:
    """Steps that ran in a frame, one after another, with the rounds of the loops around them.

    A `Leave` is among them each time that it was come to.

    Parameters
    ----------
    steps : iterable of Step
        Of a frame.
    decided : iterable of Decision
        Of that frame.
    """
    steps = tuple(steps)
    loops = {step.number for step in _loops(steps)}
    yield from _ran(steps, {}, (went_on for loop, went_on in decided if loop in loops))


def _loops(steps: Iterable[Step]) -> Iterator[Loop]:
    for step in steps:
        if isinstance(step, Loop):
            yield step
            yield from _loops(step.body)


def _ran(
    steps: Iterable[Step], rounds: Mapping[int, int], went_on: Iterator[bool]
) -> Generator[tuple[Step, Mapping[int, int]], None, bool]:
    """What ran of steps; returns whether the loop around them was not left."""
    for step in steps:
        if isinstance(step, Leave):
            yield step, rounds
            if not next(went_on):
                return False
        elif isinstance(step, Loop):
            for number in range(step.count):
                stays = yield from _ran(step.body, {**rounds, step.number: number}, went_on)
                if not stays:
                    break
        else:
            yield step, rounds
    return True
