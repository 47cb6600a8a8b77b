"""Decoder lanes of any codec, cycle by cycle, as `azsim.codecs.LaneSteps` describes them.

A bus takes words from the burst FIFO and brings the block's bits in demand order: first the head,
then each lane's first step, lane after lane, then the second ones.  It stands still while the lane
whose turn it is has no room in its window.  A lane takes one step a cycle, once all its bits are in
the window and its queue has room for its codes.  The write port takes the codes out of the queues
in demand order, as many a cycle as the weight SRAM takes, and stands still while a step has not
been taken.  The room of a step is free when the whole of it has left.

Everything in a cycle sees what the cycle before has left, so that a bit moves, its step is taken
and its codes are written in three cycles, one after the other.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from azsim.codecs._steps import QUEUE_CODES
from azsim.jit import kernel

__all__ = ["Blocks", "Lanes", "begin_block", "new_lanes", "step_block"]

# State of a lane: its next step, the first step that has not arrived, bits in the window, codes in
# the queue; whether it has taken a step in this cycle and the bits of that, what leaves its queue.
_NEXT, _ARRIVED, _LEVEL, _QUEUED, _TAKES, _TAKES_BITS, _LEAVES = range(7)
# State that all share: bits of the head to come, steps to come, steps to be written; for the bus
# and for the port a place in demand order and how much of that step has passed, for the bus -1
# before it has a place in the window.
_HEAD, _TO_COME, _TO_WRITE, _BUS_LANE, _BUS_NUMBER, _HERE, _LANE, _NUMBER, _GONE = range(9)


class Blocks(NamedTuple):
    """All distinct weight blocks."""

    head_bits: np.ndarray
    """(blocks,) int64."""
    window_bits: np.ndarray
    """(blocks,) int64: bits that a lane holds of its stream."""
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
    return Lanes(np.zeros((lanes, 7), np.int64), np.zeros(9, np.int64))


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
    shared[_TO_WRITE] = first[-1] - first[0]
    shared[_HERE] = -1


@kernel
def _take_steps(decoder, blocks):
    """Let each lane take a step if it can; returns how many did."""
    taken = 0
    lanes = decoder.lanes
    for lane in range(len(lanes)):
        lanes[lane, _TAKES] = 0
        lanes[lane, _TAKES_BITS] = 0
        lanes[lane, _LEAVES] = 0
        step = lanes[lane, _NEXT]
        if step == lanes[lane, _ARRIVED]:
            continue
        codes = blocks.codes[step]
        queued = lanes[lane, _QUEUED]
        if codes == 0 or queued == 0 or queued + codes <= QUEUE_CODES:
            lanes[lane, _TAKES] = 1
            lanes[lane, _TAKES_BITS] = blocks.bits[step]
            lanes[lane, _QUEUED] += codes
            lanes[lane, _NEXT] += 1
            taken += 1
    return taken


@kernel
def _write(decoder, blocks, block, port_codes):
    """Let the port take codes of steps that were taken before this cycle; returns how many."""
    lanes, shared = decoder
    written = 0
    while shared[_TO_WRITE] > 0:
        lane = shared[_LANE]
        step = blocks.first[block, lane] + shared[_NUMBER]
        if step < blocks.first[block, lane + 1]:
            if step >= lanes[lane, _NEXT] - lanes[lane, _TAKES]:
                break
            part = min(blocks.codes[step] - shared[_GONE], port_codes - written)
            shared[_GONE] += part
            written += part
            if shared[_GONE] < blocks.codes[step]:
                break
            lanes[lane, _LEAVES] += blocks.codes[step]
            shared[_GONE] = 0
            shared[_TO_WRITE] -= 1
        shared[_LANE] += 1
        if shared[_LANE] == len(lanes):
            shared[_LANE] = 0
            shared[_NUMBER] += 1
    return written


@kernel
def _bring(decoder, blocks, block, most):
    """Let the bus bring up to `most` bits; returns how many."""
    lanes, shared = decoder
    brought = min(shared[_HEAD], most)
    shared[_HEAD] -= brought
    while shared[_HEAD] == 0 and shared[_TO_COME] > 0:
        lane = shared[_BUS_LANE]
        step = blocks.first[block, lane] + shared[_BUS_NUMBER]
        if step < blocks.first[block, lane + 1]:
            bits = blocks.bits[step]
            if shared[_HERE] < 0:
                level = lanes[lane, _LEVEL]
                if bits > 0 and level + bits > blocks.window_bits[block]:
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
        shared[_BUS_LANE] += 1
        if shared[_BUS_LANE] == len(lanes):
            shared[_BUS_LANE] = 0
            shared[_BUS_NUMBER] += 1
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
    taken = _take_steps(decoder, blocks)
    written = _write(decoder, blocks, block, port_codes)
    brought = _bring(decoder, blocks, block, most_bits)
    for lane in range(len(lanes)):
        lanes[lane, _QUEUED] -= lanes[lane, _LEAVES]
        lanes[lane, _LEVEL] -= lanes[lane, _TAKES_BITS]
    has_all = shared[_HEAD] == 0 and shared[_TO_COME] == 0
    has_worked = written + taken + brought > 0
    return brought, has_all, has_all and shared[_TO_WRITE] == 0, has_worked
