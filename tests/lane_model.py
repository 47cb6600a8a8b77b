"""Decoder lanes between a bus and a write port, cycle by cycle: slow and obvious.

The block lies in a FIFO of bursts, in the order in which the lanes want it: the head, then the
first step of each lane, lane after lane, then the second ones.  In each cycle

1. the bus brings the next bits, up to its width.  A step's go to its lane's window, and none of
   them before the window has room for all: 128 bits, or twice the largest step's;
2. every lane takes its next step if all bits of it were there before the cycle, and if its queue
   has room for the codes: 128, or those of one step with more;
3. the write port takes codes out of the queues, up to its width, in the order of the steps.

What a step held of a window or a queue is free in the next cycle.  A burst leaves the FIFO when
its last bit does, the last burst when all is done.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Sequence

__all__ = ["QUEUE_CODES", "WINDOW_BITS", "Steps", "run_lanes"]

WINDOW_BITS = 128
QUEUE_CODES = 128
Steps = list[tuple[int, int]]
"""Of each step of a lane: bits taken, codes given."""


class _Step:
    def __init__(self, lane: int, bits: int, codes: int) -> None:
        self.lane, self.bits, self.codes = lane, bits, codes
        self.bits_to_come, self.codes_to_write = bits, codes
        self.is_admitted = self.is_taken = False
        self.there_from = 0  # first cycle in which the lane can take it


def run_lanes(
    head_bits: int,
    lanes: Sequence[Steps],
    bus_bits: int,
    port_codes: int,
    burst_bits: int = 1 << 40,
    offset_bits: int = 0,
) -> list[int]:
    """Cycles after which each burst has left the FIFO.

    Parameters
    ----------
    head_bits : int
    lanes : sequence of Steps
    bus_bits : int
        Bits that the bus brings a cycle.
    port_codes : int
        Codes that the port writes a cycle.
    burst_bits, offset_bits : int
        Size of a burst, and where in its first one the block begins.
    """
    rounds = itertools.zip_longest(*([_Step(i, *s) for s in lane] for i, lane in enumerate(lanes)))
    order = [step for steps in rounds for step in steps if step is not None]
    total_bits = offset_bits + head_bits + sum(step.bits for step in order)
    bursts = [0] * max(1, -(-total_bits // burst_bits))
    sent_bits = offset_bits
    to_bring, to_write = deque(order), deque(step for step in order if step.codes)
    windows: list[list[_Step]] = [[] for _ in lanes]
    queues: list[list[_Step]] = [[] for _ in lanes]
    window_bits = max(WINDOW_BITS, *(2 * step.bits for step in order), 0)
    cycle = left = 0
    if not head_bits:  # steps without bits are there before the bus does anything
        while to_bring and not to_bring[0].bits:
            windows[to_bring[0].lane].append(to_bring.popleft())
    while head_bits or to_bring or any(windows) or to_write:
        room_bits = bus_bits
        now = min(room_bits, head_bits)
        head_bits -= now
        room_bits -= now
        sent_bits += now
        while not head_bits and to_bring:
            step = to_bring[0]
            window = windows[step.lane]
            if not step.is_admitted:
                if step.bits and sum(s.bits for s in window) + step.bits > window_bits:
                    break
                step.is_admitted = True
                window.append(step)
            now = min(room_bits, step.bits_to_come)
            step.bits_to_come -= now
            room_bits -= now
            sent_bits += now
            if step.bits_to_come:
                break
            step.there_from = cycle + 1
            to_bring.popleft()
        for window, queue in zip(windows, queues, strict=True):
            if window and not window[0].bits_to_come and window[0].there_from <= cycle:
                step = window[0]
                held = sum(s.codes for s in queue)
                if not step.codes or not held or held + step.codes <= QUEUE_CODES:
                    window.pop(0).is_taken = True
                    if step.codes:
                        queue.append(step)
        room_codes = port_codes
        while to_write and to_write[0].is_taken and room_codes:
            step = to_write[0]
            now = min(room_codes, step.codes_to_write)
            step.codes_to_write -= now
            room_codes -= now
            if not step.codes_to_write:
                to_write.popleft()
                queues[step.lane].remove(step)
        cycle += 1
        while left < len(bursts) - 1 and (left + 1) * burst_bits <= sent_bits:
            bursts[left] = cycle
            left += 1
    bursts[left:] = [cycle] * (len(bursts) - left)
    return bursts
