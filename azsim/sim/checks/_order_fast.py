"""The walk of `azsim.sim.checks._order` over flat arrays: whether everything is ordered.

It tells no pair; a program in which something is not ordered is walked again by the other one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from azsim.jit import kernel
from azsim.sim.checks._order import Loop, Step

__all__ = ["is_ordered"]

_COUNT = 5
"""Engines; `azsim.machine.engines.clock.ENGINES` is no number for a kernel."""
_RING = 16
"""Clocks of an engine's last instructions that are kept: a wait reaches no further."""
_DEPTH = 9
_SEQUENCER, _FENCE, _LOOP, _END = -1, -2, -3, -4


def is_ordered(steps: Sequence[Step | Loop], num_pieces: int) -> bool:
    """Whether `unordered` has nothing to tell.

    Parameters
    ----------
    steps : sequence of Step or Loop
        Loops at most 8 deep.
    num_pieces : int
        Pieces of memory that touches name.
    """
    kinds: list[int] = []
    counts: list[int] = []
    waits: list[tuple[int, ...]] = []
    touches: list[tuple[int, int, int]] = []
    first_touch: list[int] = []

    def put(kind: int, count: int, wait: tuple[int, ...]) -> None:
        kinds.append(kind)
        counts.append(count)
        waits.append(wait)
        first_touch.append(len(touches))

    nothing = (0,) * _COUNT

    def flatten(entries: Sequence[Step | Loop]) -> None:
        for entry in entries:
            if isinstance(entry, Loop):
                put(_LOOP, entry.count, nothing)
                flatten(entry.body)
                put(_END, 0, nothing)
                continue
            wait = [0] * _COUNT
            for engine, number in entry.waits:
                wait[engine] = number
            put(_FENCE if entry.is_fence else entry.engine, 0, tuple(wait))
            for touch in entry.touches:
                touches.append((touch.pieces.start, touch.pieces.stop, int(touch.is_write)))

    flatten(steps)
    first_touch.append(len(touches))
    return bool(
        _walk(
            np.array(kinds, np.int64),
            np.array(counts, np.int64),
            np.array(waits, np.int64).reshape(-1, _COUNT),
            np.array(first_touch, np.int64),
            np.array(touches, np.int64).reshape(-1, 3),
            num_pieces,
        )
    )


@kernel("void(int64[:], int64[:,:,:], int64, int64)")
def _learn(known, clocks, engine, count):
    """Take over what an engine's instruction knew, and that it is over."""
    if count > 0:
        for other in range(_COUNT):
            known[other] = max(known[other], clocks[engine, (count - 1) % _RING, other])
        known[engine] = max(known[engine], count)


@kernel("int64(int64[:], int64[:,:,:], int64[:], int64[:], int64[:])")
def _look(sequencer, clocks, issued, reach, now):
    """Write all numbers that later instructions can look up; give how many there are."""
    now[:_COUNT] = sequencer
    filled = _COUNT
    for engine in range(_COUNT):
        for back in range(min(reach[engine], issued[engine])):
            now[filled : filled + _COUNT] = clocks[engine, (issued[engine] - 1 - back) % _RING]
            filled += _COUNT
    return filled


@kernel("boolean(int64[:], int64[:], int64, int64[:], int64[:])")
def _same(before, after, filled, issued, length):
    """Whether each number stands still, before the loop, or moves on by a round, inside."""
    for position in range(filled):
        engine = position % _COUNT
        moved = length[engine] if after[position] > issued[engine] else 0
        if after[position] != before[position] + moved:
            return False
        if moved and before[position] <= issued[engine]:
            return False
    return True


@kernel("boolean(int64, int64[:], int64[:,:], int64[:,:])")
def _conflicts(kind, known, touched, last):
    """Whether a touch meets one of another engine that may not be over."""
    for touch in range(len(touched)):
        for piece in range(touched[touch, 0], touched[touch, 1]):
            for engine in range(_COUNT):
                number = last[piece, engine]
                if touched[touch, 2]:
                    number = max(number, last[piece, _COUNT + engine])
                if engine != kind and number > known[engine]:
                    return True
    return False


@kernel("void(int64, int64, int64[:,:], int64[:,:])")
def _mark(kind, number, touched, last):
    """Note that an engine's instruction is the last one to touch its bytes."""
    for touch in range(len(touched)):
        column = kind if touched[touch, 2] else _COUNT + kind
        for piece in range(touched[touch, 0], touched[touch, 1]):
            last[piece, column] = number


@kernel("int64(int64[:], int64[:], int64[:,:], int64[:], int64[:,:], int64)")
def _walk(kinds, counts, waits, first_touch, touches, num_pieces):
    """Return 1 if every two conflicting touches are ordered, else 0."""
    reach = np.ones(_COUNT, np.int64)
    for step in range(len(kinds)):
        reach = np.maximum(reach, waits[step])
    last = np.zeros((num_pieces, 2 * _COUNT), np.int64)
    issued = np.zeros(_COUNT, np.int64)
    clocks = np.zeros((_COUNT, _RING, _COUNT), np.int64)
    sequencer = np.zeros(_COUNT, np.int64)
    known = np.zeros(_COUNT, np.int64)
    # Of each open loop: its first step, rounds left, what was issued before it and before the
    # round, instructions of the round before, and what was visible after it.
    start = np.zeros(_DEPTH, np.int64)
    left = np.zeros(_DEPTH, np.int64)
    before_loop = np.zeros((_DEPTH, _COUNT), np.int64)
    before_round = np.zeros((_DEPTH, _COUNT), np.int64)
    per_round = np.zeros((_DEPTH, _COUNT), np.int64)
    seen = np.full(_DEPTH, -1, np.int64)
    size = _COUNT * (1 + _COUNT * _RING)
    visible = np.zeros((_DEPTH, size), np.int64)
    now = np.zeros(size, np.int64)
    top = -1
    step = 0
    while step < len(kinds):
        kind = kinds[step]
        if kind == _FENCE:
            sequencer[:] = issued
        elif kind == _LOOP:
            top += 1
            start[top], left[top], seen[top] = step + 1, counts[step], -1
            before_loop[top] = issued
            before_round[top] = issued
        elif kind == _END:
            left[top] -= 1
            filled = _look(sequencer, clocks, issued, reach, now)
            length = issued - before_round[top]
            repeats = seen[top] == filled and np.array_equal(per_round[top], length)
            if left[top] and not (
                repeats and _same(visible[top], now, filled, before_loop[top], length)
            ):
                seen[top] = filled
                visible[top, :filled] = now[:filled]
                per_round[top] = length
                before_round[top] = issued
                step = start[top]
                continue
            top -= 1
        else:
            known[:] = sequencer
            if kind >= 0:
                _learn(known, clocks, kind, issued[kind])
            for engine in range(_COUNT):
                if waits[step, engine]:
                    _learn(known, clocks, engine, issued[engine] - waits[step, engine] + 1)
            touched = touches[first_touch[step] : first_touch[step + 1]]
            if _conflicts(kind, known, touched, last):
                return 0
            if kind == _SEQUENCER:
                sequencer[:] = known
            else:
                clocks[kind, issued[kind] % _RING] = known
                issued[kind] += 1
                _mark(kind, issued[kind], touched, last)
        step += 1
    return 1
