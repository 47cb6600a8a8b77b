"""The decoder's clock: what late bursts cost a block, from the steps of its lanes.

`azsim.codecs.LaneSteps` says what the lanes do; bus, lanes and write port are those of
`azsim.codecs.decode_profile`.  Everything in them keeps one order, so that each time is the latest
of a few earlier ones plus a constant.  A block is therefore worked through once, with all bursts
there, and what a late burst does follows from four numbers for each, whatever DRAM does:

left
    The burst leaves the FIFO in this cycle if none is late; for the last one, the block's end.
end_slack, left_slack
    The burst may come in this cycle before the block's end, or before any burst leaves later.
hold
    What it needs from its arrival to leave, if the lanes have nothing else to do.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from azsim.codecs import LaneSteps, block_lane_steps
from azsim.codecs._steps import longest_lane, walk_steps
from azsim.jit import kernel

__all__ = [
    "DecoderSizes",
    "block_times",
    "burst_times",
    "copy_times",
    "port_codes",
]

_WRITE_CYCLES = 1
"""From a lane's step to the write of its codes; `decode_profile` lets both be in one cycle."""
_NEVER = np.int64(2**40)


class DecoderSizes(NamedTuple):
    """A decoder as a block sees it."""

    lanes: int
    bus_bits: int
    """Bits that the bus between FIFO and lanes brings in a cycle."""
    port_codes: int
    """Codes that the weight SRAM takes in a cycle."""
    burst_bits: int


def port_codes(rows: int, cols: int, element_bits: int, port_bytes: int) -> int:
    """Codes of a matrix that a port of `port_bytes` takes in a cycle; its rows begin at bytes."""
    return max(1, port_bytes * rows * cols // (rows * -(-cols * element_bits // 8)))


@functools.lru_cache(maxsize=4096)
def block_times(encoded: bytes, sizes: DecoderSizes, offset_bits: int, bursts: int) -> np.ndarray:
    """`burst_times` of an encoded block, shared by all loads of it.

    Parameters
    ----------
    encoded : bytes
    sizes : DecoderSizes
    offset_bits : int
        Where in its first burst the block begins.
    bursts : int
        Bursts of the transfer: the block's, and those of the padding after it.

    Returns
    -------
    ndarray of shape (bursts, 4), int64
    """
    steps = block_lane_steps(encoded, sizes.lanes)
    times = burst_times(steps, sizes, offset_bits)
    # Padding has to come, but nothing waits for it.
    padding = np.repeat(times[-1:], bursts - len(times), axis=0)
    padding[:, 1:3] = times[-1, 0]
    padding[:, 3] = 0
    return np.concatenate([times, padding])


def burst_times(steps: LaneSteps, sizes: DecoderSizes, offset_bits: int = 0) -> np.ndarray:
    """Left, end slack, left slack and hold of each burst of a block, see the module.

    Parameters
    ----------
    steps : LaneSteps
        For as many lanes as the decoder has.
    sizes : DecoderSizes
    offset_bits : int

    Returns
    -------
    ndarray of shape (bursts, 4), int64
        In cycles from when the first burst is there.
    """
    total_bits = offset_bits + steps.head_bits + int(steps.bits.sum(dtype=np.int64))
    count = max(1, -(-total_bits // sizes.burst_bits))
    out = np.zeros((count, 4), np.int64)
    block = (*steps, steps.window_bits, *sizes[1:], offset_bits)
    size = len(steps.bits)
    waits, times = np.full((size, 2), -1, np.int64), np.zeros((size, 3), np.int64)
    arrival = np.zeros(count, np.int64)
    left = np.zeros(count, np.int64)
    walk_steps(*block, arrival, True, left, waits, times)
    out[:, 3] = left - arrival
    arrival[:] = 0
    end = walk_steps(*block, arrival, False, left, waits, times)
    out[:, 0] = left
    for column, bounds_end in ((1, True), (2, False)):
        slack = np.zeros(count, np.int64)
        _backward(*block, end, left, bounds_end, waits, slack)
        out[:, column] = slack
    out[-1, 0] += _WRITE_CYCLES
    out[:, 1] = np.minimum(out[:, 1], end)
    return out


def copy_times(
    num_bytes: int, port_bytes: int, burst_bytes: int, offset_bytes: int = 0
) -> np.ndarray:
    """`burst_times` of bytes that the port writes as they come, `port_bytes` a cycle."""
    ends = np.arange(1, -(-(offset_bytes + num_bytes) // burst_bytes) + 1) * burst_bytes
    left = -(-np.minimum(ends - offset_bytes, num_bytes) // port_bytes)
    before = np.append(0, left[:-1])
    return np.stack([left, before, before, left - before], axis=1)


@kernel
def _backward(
    head_bits, first, bits, codes, window_bits, bus_bits, port_codes, burst_bits, offset_bits,
    end, left, bounds_end, waits, slack,
):  # fmt: skip
    """Latest arrival of each burst with which the block ends, or each burst leaves, as it did."""
    lanes = len(first) - 1
    last = end if bounds_end else _NEVER
    # Latest times of what was not looked at yet, as those in `times`.
    taken = np.full(len(bits), last - 1)
    written = np.full(len(bits), last * port_codes)
    following = np.full(lanes, _NEVER)  # when the lane's next step has to be taken
    bus = last * bus_bits
    port = last * port_codes
    place = np.int64(head_bits) + offset_bits
    for i in range(len(bits)):
        place += bits[i]
    burst = len(slack) - 1
    for number in range(longest_lane(first) - 1, -2, -1):
        for lane in range(lanes - 1 if number >= 0 else 0, -1, -1):
            i = first[lane] + number
            if number < 0:
                rest = np.int64(head_bits)
            elif i >= first[lane + 1]:
                continue
            else:
                rest = np.int64(bits[i])
                at = min(taken[i], following[lane] - 1)
                if codes[i] > 0:
                    port = min(port, written[i])
                    port -= codes[i]
                    at = min(at, port // port_codes)
                following[lane] = at
                if waits[i, 1] >= 0:
                    other = waits[i, 1]
                    written[other] = min(written[other], at * port_codes)
                bus = min(bus, at * bus_bits)
            # From here on `bus` is when the bits up to `place` have to be there.
            while burst > 0 and place - rest < burst * burst_bits:
                now = place - burst * burst_bits
                bus -= now
                place -= now
                rest -= now
                slack[burst] = bus // bus_bits
                burst -= 1
                if not bounds_end:
                    bus = min(bus, left[burst] * bus_bits)
            bus -= rest
            place -= rest
            if number >= 0 and waits[i, 0] >= 0:
                other = waits[i, 0]
                taken[other] = min(taken[other], bus // bus_bits - 1)
    slack[0] = bus // bus_bits
