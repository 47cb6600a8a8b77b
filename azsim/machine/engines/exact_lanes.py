"""Decoder lanes of any codec, cycle by cycle, as `azsim.codecs.LaneSteps` describes them.

A bus takes words from the burst FIFO and brings the block's bits in demand order: first the head,
then each lane's first step, lane after lane, then the second ones.  It stands still while the lane
whose turn it is has no room in its window.  A lane takes one step a cycle, once all its bits are in
the window and its queue has room; the codes it gives wait in that queue for the write port, which
empties the queues round-robin, as many codes a cycle as the weight SRAM takes.

Everything in a cycle sees what the cycle before has left, so that a bit moves, its step is taken
and its codes are written in three cycles, one after the other.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from azsim.jit import kernel

__all__ = ["Blocks", "Lanes", "begin_block", "new_lanes", "step_block"]

_WINDOW_BITS = 128  # as `azsim.codecs.WINDOW_BITS`
_QUEUE_CODES = 64  # a lane that holds as many takes no step
# State of a lane: its next step, the first step that has not arrived, bits in the window, codes in
# the queue; what it will have more of, or less, when the cycle is over.
_NEXT, _ARRIVED, _LEVEL, _QUEUED, _NEWS, _TAKEN_BITS = range(6)
# State that all share: bits of the head to come, steps to come, the lane that gets the next one and
# its number there, bits of it that have come (-1 before it has a place in the window), codes to
# write, lane that the port looks at first.
_HEAD, _TO_COME, _LANE, _NUMBER, _HERE, _TO_WRITE, _TURN = range(7)


class Blocks(NamedTuple):
    """All distinct weight blocks."""

    head_bits: np.ndarray
    """(blocks,) int64."""
    first: np.ndarray
    """(blocks, lanes + 1) int64: where each lane's steps begin in `bits` and `codes`."""
    bits: np.ndarray
    codes: np.ndarray


class Lanes(NamedTuple):
    """State of the lanes and of what they share."""

    lanes: np.ndarray
    shared: np.ndarray


def new_lanes(lanes: int) -> Lanes:
    """Lanes without a block."""
    return Lanes(np.zeros((lanes, 6), np.int64), np.zeros(7, np.int64))


@kernel
def begin_block(decoder, blocks, block):
    """Give the lanes a block."""
    first = blocks.first[block]
    lanes, shared = decoder
    lanes[:] = 0
    lanes[:, _NEXT] = first[:-1]
    lanes[:, _ARRIVED] = first[:-1]
    shared[:] = 0
    shared[_HEAD] = blocks.head_bits[block]
    shared[_TO_COME] = first[-1] - first[0]
    shared[_HERE] = -1
    for step in range(first[0], first[-1]):
        shared[_TO_WRITE] += blocks.codes[step]


@kernel
def _write(decoder, port_codes):
    """Let the port take codes; returns how many."""
    lanes, shared = decoder
    written = 0
    turn = shared[_TURN]
    for offset in range(len(lanes)):
        lane = (turn + offset) % len(lanes)
        part = min(lanes[lane, _QUEUED], port_codes - written)
        if part > 0:
            lanes[lane, _QUEUED] -= part
            written += part
            shared[_TURN] = (lane + 1) % len(lanes)
    shared[_TO_WRITE] -= written
    return written


@kernel
def _take_steps(decoder, blocks):
    """Let each lane take a step if it can; returns how many did."""
    taken = 0
    lanes = decoder.lanes
    for lane in range(len(lanes)):
        lanes[lane, _NEWS] = 0
        lanes[lane, _TAKEN_BITS] = 0
        step = lanes[lane, _NEXT]
        if step < lanes[lane, _ARRIVED] and lanes[lane, _QUEUED] < _QUEUE_CODES:
            lanes[lane, _NEWS] = blocks.codes[step]
            lanes[lane, _TAKEN_BITS] = blocks.bits[step]
            lanes[lane, _NEXT] += 1
            taken += 1
    return taken


@kernel
def _bring(decoder, blocks, block, most):
    """Let the bus bring up to `most` bits; returns how many."""
    lanes, shared = decoder
    brought = min(shared[_HEAD], most)
    shared[_HEAD] -= brought
    while shared[_HEAD] == 0 and shared[_TO_COME] > 0:
        lane = shared[_LANE]
        step = blocks.first[block, lane] + shared[_NUMBER]
        if step < blocks.first[block, lane + 1]:
            bits = blocks.bits[step]
            if shared[_HERE] < 0:
                level = lanes[lane, _LEVEL]
                if level > 0 and level + bits > _WINDOW_BITS:
                    break
                lanes[lane, _LEVEL] += bits
                shared[_HERE] = 0
            part = min(bits - shared[_HERE], most - brought)
            shared[_HERE] += part
            brought += part
            if shared[_HERE] < bits:
                break
            lanes[lane, _ARRIVED] += 1
            shared[_TO_COME] -= 1
            shared[_HERE] = -1
        shared[_LANE] += 1
        if shared[_LANE] == len(lanes):
            shared[_LANE] = 0
            shared[_NUMBER] += 1
    return brought


@kernel
def step_block(decoder, blocks, block, port_codes, most_bits):
    """Let one cycle pass.

    Parameters
    ----------
    decoder : Lanes
    blocks : Blocks
    block : int
    port_codes : int
        Codes that the weight SRAM takes in a cycle.
    most_bits : int
        Bits that the bus can bring: its width, or what the FIFO holds.

    Returns
    -------
    brought : int
        Bits that it has brought.
    has_all : bool
        Whether every bit of the block has come.
    is_done : bool
        Whether every code is written.
    has_worked : bool
        Whether anything happened.
    """
    lanes, shared = decoder
    written = _write(decoder, port_codes)
    taken = _take_steps(decoder, blocks)
    brought = _bring(decoder, blocks, block, most_bits)
    for lane in range(len(lanes)):
        lanes[lane, _QUEUED] += lanes[lane, _NEWS]
        lanes[lane, _LEVEL] -= lanes[lane, _TAKEN_BITS]
    has_all = shared[_HEAD] == 0 and shared[_TO_COME] == 0
    has_worked = written + taken + brought > 0
    return brought, has_all, has_all and shared[_TO_WRITE] == 0, has_worked
