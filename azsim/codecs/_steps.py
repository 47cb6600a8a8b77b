"""What the lanes of a decoder do, step by step, and when each burst of a block leaves the FIFO.

A lane takes one *step* a cycle when nothing holds it up: it takes so many bits of the stream and
gives so many codes.  The bits of all steps lie in the block in *demand order*: what the lanes take
in their first step, lane after lane, then in their second, and so on.  A bus brings them from the
burst FIFO to the lanes' windows in that order, and waits while a window is full; so what a lane
gets depends on the stream alone, and stalls change only when.  Codes leave in demand order too:
each lane has a queue of them, which the write port of the weight SRAM empties, and does not take
a step whose codes have no room.

Assumptions: a codec whose layout is another one (lane after lane, say) is taken to be stored in
demand order on its way to the chip, at no cost in bytes; header and tables come first, over the
bus, and are read beside the block before; windows and queues have the sizes below, and free the
room of a step as a whole.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from azsim.jit import kernel

__all__ = ["QUEUE_CODES", "WINDOW_BITS", "LaneSteps", "decode_profile", "even_steps"]

_HEADER_BYTES = 16  # of a block, see `azsim.codecs._base`
WINDOW_BITS = 128
"""Bits that a lane holds of its stream; twice those of a block's largest step, if that is more."""


QUEUE_CODES = 128
"""Codes that a lane holds for the write port; a step of more has a queue to itself."""


class LaneSteps(NamedTuple):
    """A block as its decoder lanes see it."""

    head_bits: int
    """Bits of header, tables, pointers and all padding, taken to come before the first step."""
    first: np.ndarray
    """(lanes + 1,) int64: where each lane's steps begin in the arrays that follow."""
    bits: np.ndarray
    """(steps,) int32: bits of the stream that a step takes."""
    codes: np.ndarray
    """(steps,) int32: codes that it gives."""

    @property
    def window_bits(self) -> int:
        """Bits that a lane holds of its stream: the next step beside the one at hand at least."""
        return max(WINDOW_BITS, 2 * int(self.bits.max(initial=0)))

    @property
    def most_steps(self) -> int:
        """Steps of the busiest lane: its cycles if bus and write port never held it up."""
        return int(np.diff(self.first).max())

    @classmethod
    def of_block(
        cls, payload: np.ndarray, first: np.ndarray, bits: np.ndarray, codes: np.ndarray
    ) -> LaneSteps:
        """Steps of a block with this payload: what they do not take of its bits is head."""
        block_bits = 8 * (_HEADER_BYTES + payload.size)
        return cls(block_bits - int(bits.sum(dtype=np.int64)), first, bits, codes)


def even_steps(payload: np.ndarray, count: int, width: int, most: int, lanes: int) -> LaneSteps:
    """Steps of `most` fields of `width` bits each, for lanes with equal parts of `count` codes."""
    share = -(-count // lanes)
    of_lane = np.clip(count - share * np.arange(lanes), 0, share)
    steps = -(-of_lane // most)
    first = np.concatenate([[0], np.cumsum(steps)])
    codes = np.full(first[-1], most, np.int32)
    some = steps > 0
    codes[first[1:][some] - 1] = (of_lane - (steps - 1) * most)[some]
    return LaneSteps.of_block(payload, first, codes * np.int32(width), codes)


def decode_profile(
    steps: LaneSteps, bus_bits: int, port_codes: int, burst_bits: int, offset_bits: int = 0
) -> np.ndarray:
    """Cycles after which each burst of a block has left the FIFO, if all of them are there.

    Parameters
    ----------
    steps : LaneSteps
    bus_bits : int
        Bits that the bus between FIFO and lanes brings in a cycle.
    port_codes : int
        Codes that the weight SRAM takes in a cycle.
    burst_bits : int
    offset_bits : int
        Where in its first burst the block begins.

    Returns
    -------
    ndarray of shape (bursts,), int64
        Not decreasing; the last one is the cycles of the whole block, from the first word on the
        bus to the last code in the weight SRAM.
    """
    total_bits = offset_bits + steps.head_bits + int(steps.bits.sum())
    out = np.zeros(max(1, -(-total_bits // burst_bits)), np.int64)
    _profile(*steps, steps.window_bits, bus_bits, port_codes, burst_bits, offset_bits, out)
    return out


@kernel
def _profile(
    head_bits, first, bits, codes, window_bits, bus_bits, port_codes, burst_bits, offset_bits, out
):
    lanes = len(first) - 1
    free = np.zeros(lanes, np.int64)  # cycle in which the lane can take its next step
    held_bits = np.zeros(lanes, np.int64)  # of steps from `oldest` to the one at hand
    oldest = first[:-1].copy()
    held_codes = np.zeros(lanes, np.int64)  # of steps from `waiting` to the one at hand
    waiting = first[:-1].copy()
    taken = np.zeros(len(bits), np.int64)  # cycle in which each step was taken
    written = np.zeros(len(bits), np.int64)  # cycle from which on its codes are gone
    place = offset_bits + head_bits  # bits of the block that the bus has brought
    bus = head_bits  # the same, counting what it could have brought while it waited
    port = 0  # codes written, counting what could have been
    burst = 0
    while burst < len(out) - 1 and (burst + 1) * burst_bits <= place:
        out[burst] = -(-((burst + 1) * burst_bits - offset_bits) // bus_bits)
        burst += 1
    longest = 0
    for lane in range(lanes):
        longest = max(longest, first[lane + 1] - first[lane])
    end = -(-bus // bus_bits)
    for number in range(longest):
        for lane in range(lanes):
            i = first[lane] + number
            if i >= first[lane + 1]:
                continue
            held_bits[lane] += bits[i]
            room = 0
            while bits[i] > 0 and held_bits[lane] > window_bits:
                held_bits[lane] -= bits[oldest[lane]]
                room = taken[oldest[lane]] + 1
                oldest[lane] += 1
            bus = max(bus, room * bus_bits) + bits[i]
            place += bits[i]
            while burst < len(out) - 1 and (burst + 1) * burst_bits <= place:
                # The step's bits come one after the other.
                out[burst] = -(-(bus - place + (burst + 1) * burst_bits) // bus_bits)
                burst += 1
            held_codes[lane] += codes[i]
            room = 0
            while codes[i] > 0 and held_codes[lane] > max(QUEUE_CODES, codes[i]):
                held_codes[lane] -= codes[waiting[lane]]
                room = max(room, written[waiting[lane]])
                waiting[lane] += 1
            taken[i] = max(free[lane], -(-bus // bus_bits), room)
            free[lane] = taken[i] + 1
            if codes[i] > 0:
                port = max(port, taken[i] * port_codes) + codes[i]
                written[i] = -(-port // port_codes)
            end = max(end, free[lane], written[i])
    out[burst:] = end
