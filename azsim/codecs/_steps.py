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

__all__ = [
    "QUEUE_CODES",
    "WINDOW_BITS",
    "LaneSteps",
    "decode_profile",
    "even_steps",
    "longest_lane",
    "walk_steps",
]

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
    total_bits = offset_bits + steps.head_bits + int(steps.bits.sum(dtype=np.int64))
    left = np.zeros(max(1, -(-total_bits // burst_bits)), np.int64)
    size = len(steps.bits)
    waits, times = np.full((size, 2), -1, np.int64), np.zeros((size, 3), np.int64)
    block = (*steps, steps.window_bits, bus_bits, port_codes, burst_bits, offset_bits)
    walk_steps(*block, np.zeros_like(left), False, left, waits, times)
    return left


@kernel
def longest_lane(first):
    """Steps of the lane with the most."""
    longest = 0
    for lane in range(len(first) - 1):
        longest = max(longest, first[lane + 1] - first[lane])
    return longest


@kernel
def walk_steps(
    head_bits, first, bits, codes, window_bits, bus_bits, port_codes, burst_bits, offset_bits,
    arrival, is_starved, left, waits, times,
):  # fmt: skip
    """Work a block through; returns its end.

    `arrival` says when each burst is there; if starved, it is written: each comes when all that
    came before is done.  `waits` gets the step for whose place in window and in queue a step has
    to wait, -1 for none; `times` when it has been brought, in bits of the bus, when it was taken,
    and when its codes are written, in codes of the port.
    """
    lanes = len(first) - 1
    free = np.zeros(lanes, np.int64)  # cycle in which the lane can take its next step
    held_bits = np.zeros(lanes, np.int64)  # of steps from `oldest` to the one at hand
    oldest = first[:-1].copy()
    held_codes = np.zeros(lanes, np.int64)  # of steps from `waiting` to the one at hand
    waiting = first[:-1].copy()
    place = offset_bits  # bits of the block that the bus has brought
    bus = np.int64(0)  # the same, counting what it could have brought while it waited
    port = np.int64(0)
    end = np.int64(0)
    burst = 0
    if not is_starved:
        bus = arrival[0] * bus_bits
    for number in range(-1, longest_lane(first)):
        for lane in range(lanes if number >= 0 else 1):
            i = first[lane] + number
            if number < 0:
                rest = np.int64(head_bits)
            elif i >= first[lane + 1]:
                continue
            else:
                rest = np.int64(bits[i])
                held_bits[lane] += bits[i]
                while bits[i] > 0 and held_bits[lane] > window_bits:
                    held_bits[lane] -= bits[oldest[lane]]
                    waits[i, 0] = oldest[lane]
                    oldest[lane] += 1
                if waits[i, 0] >= 0:
                    bus = max(bus, (times[waits[i, 0], 1] + 1) * bus_bits)
            while burst < len(left) - 1 and place + rest >= (burst + 1) * burst_bits:
                now = (burst + 1) * burst_bits - place
                bus += now
                place += now
                rest -= now
                left[burst] = -(-bus // bus_bits)
                burst += 1
                if is_starved:
                    arrival[burst] = max(end, left[burst - 1])
                bus = max(bus, arrival[burst] * bus_bits)
            bus += rest
            place += rest
            brought = -(-bus // bus_bits)
            end = max(end, brought)
            if number < 0:
                continue
            held_codes[lane] += codes[i]
            room = np.int64(0)
            while codes[i] > 0 and held_codes[lane] > max(QUEUE_CODES, codes[i]):
                held_codes[lane] -= codes[waiting[lane]]
                if codes[waiting[lane]] > 0:
                    room = -(-times[waiting[lane], 2] // port_codes)
                    waits[i, 1] = waiting[lane]
                waiting[lane] += 1
            taken = max(free[lane], brought, room)
            free[lane] = taken + 1
            if codes[i] > 0:
                port = max(port, taken * port_codes) + codes[i]
            times[i, 0], times[i, 1], times[i, 2] = bus, taken, port
            end = max(end, taken + 1, -(-port // port_codes) if codes[i] > 0 else 0)
    left[burst:] = end
    return end
