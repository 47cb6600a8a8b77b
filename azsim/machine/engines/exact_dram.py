"""DRAM and DMA cycle by cycle: slow and obvious, what the bursts of `clock` are held to.

The memory keeps time in ticks, so that a burst need not take whole cycles; the DMA knows cycles
only.  A refresh that is due waits for the burst under way and then takes its whole time.  Rows go
round the banks, each of which keeps the row open that a burst asked it for last.
"""

from __future__ import annotations

import numpy as np

from azsim.jit import kernel

__all__ = [
    "BURST_WAITS",
    "ROW_MISSES",
    "dram_cycles",
    "new_memory",
    "new_queues",
    "request",
    "skip_memory",
    "step_memory",
]

_CHANNELS = 3
_WEIGHT = 0
_NEVER = np.int64(2**62)
# State of the memory: among others whether a refresh had the bus last, two counts, and from the
# last entry on the open row of each bank.
_NOW, _BUS_FREE, _NEXT_REFRESH, _TURN, _REFRESHED, _ROW_MISSES, _WAITS, _OPEN_ROWS = range(8)
ROW_MISSES = _ROW_MISSES
"""Entry of the memory's state that counts bursts which opened a row."""
BURST_WAITS = _WAITS
"""Entry of the memory's state that counts bursts which waited for a refresh."""
# Requests accepted, begun and ended on each channel.
_ASKED, _BEGUN, _ENDED = range(3)
# Entries of the DRAM description.
_TICKS, _BURST, _LATENCY, _ROW_BURSTS, _ROW_MISS, _EVERY, _REFRESH, _CLOSES_ROWS = range(8)
_BANKS = 8


def new_memory(dram: np.ndarray) -> np.ndarray:
    """State of a memory at rest: (7 + banks,) int64."""
    memory = np.zeros(_OPEN_ROWS + dram[_BANKS], np.int64)
    memory[_NEXT_REFRESH] = dram[_EVERY] if dram[_EVERY] > 0 else _NEVER
    memory[_OPEN_ROWS:] = -1
    return memory


def new_queues(requests: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """Counters (3, channels), and ready, end and burst number of requests (3, channels, requests).

    `requests` is the most that a channel has under way at a time.
    """
    return np.zeros((3, _CHANNELS), np.int64), np.zeros((3, _CHANNELS, requests), np.int64)


@kernel
def request(memory, counters, queues, dram, channel, burst):
    """Accept a request in this cycle; before `step_memory`."""
    slot = counters[_ASKED, channel] % queues.shape[2]
    queues[0, channel, slot] = memory[_NOW] + dram[_LATENCY]
    queues[2, channel, slot] = burst
    counters[_ASKED, channel] += 1


@kernel
def _choose(memory, counters, queues):
    """Tick at which the next burst could begin, and its channel; -1 without a request."""
    at = _NEVER
    for c in range(_CHANNELS):
        if counters[_ASKED, c] > counters[_BEGUN, c]:
            at = min(at, queues[0, c, counters[_BEGUN, c] % queues.shape[2]])
    at = max(at, memory[_BUS_FREE])
    for offset in range(_CHANNELS):
        c = (memory[_TURN] + offset) % _CHANNELS
        is_waiting = counters[_ASKED, c] > counters[_BEGUN, c]
        if is_waiting and queues[0, c, counters[_BEGUN, c] % queues.shape[2]] <= at:
            return at, c
    return _NEVER, -1


@kernel
def step_memory(memory, counters, queues, dram, arrived):
    """Let one cycle pass; `arrived` (channels,) int64 gets how many bursts have ended by its end.

    A burst takes a cycle or more, so that at most one begins, and one ends, in a cycle.
    """
    window_end = memory[_NOW] + dram[_TICKS]
    busy = True
    while busy:
        at, c = _choose(memory, counters, queues)
        if memory[_NEXT_REFRESH] <= at:
            begins = max(memory[_NEXT_REFRESH], memory[_BUS_FREE])
            busy = begins < window_end
            if busy:
                memory[_BUS_FREE] = begins + dram[_REFRESH]
                memory[_NEXT_REFRESH] += dram[_EVERY]
                memory[_REFRESHED] = 1
                if dram[_CLOSES_ROWS] != 0:
                    memory[_OPEN_ROWS:] = -1
        elif at < window_end:
            slot = counters[_BEGUN, c] % queues.shape[2]
            row = queues[2, c, slot] // dram[_ROW_BURSTS]
            bank = row % dram[_BANKS]
            done = at + dram[_BURST]
            if row != memory[_OPEN_ROWS + bank]:
                done += dram[_ROW_MISS]
                memory[_ROW_MISSES] += 1
            memory[_WAITS] += memory[_REFRESHED] != 0 and at > queues[0, c, slot]
            memory[_REFRESHED] = 0
            memory[_OPEN_ROWS + bank] = row
            memory[_BUS_FREE] = done
            memory[_TURN] = (c + 1) % _CHANNELS
            queues[1, c, slot] = done
            counters[_BEGUN, c] += 1
        else:
            busy = False
    for c in range(_CHANNELS):
        is_under_way = counters[_ENDED, c] < counters[_BEGUN, c]
        has_ended = queues[1, c, counters[_ENDED, c] % queues.shape[2]] <= window_end
        arrived[c] = is_under_way and has_ended
        counters[_ENDED, c] += arrived[c]
    memory[_NOW] = window_end


@kernel
def skip_memory(memory, dram, cycles):
    """Let cycles pass in which no channel has a request: only refreshes happen."""
    memory[_NOW] += cycles * dram[_TICKS]
    while memory[_NEXT_REFRESH] < memory[_NOW]:
        memory[_BUS_FREE] = max(memory[_NEXT_REFRESH], memory[_BUS_FREE]) + dram[_REFRESH]
        memory[_NEXT_REFRESH] += dram[_EVERY]
        memory[_REFRESHED] = 1
        if dram[_CLOSES_ROWS] != 0:
            memory[_OPEN_ROWS:] = -1


@kernel
def dram_cycles(jobs, outstanding, fifo, dram, stall, memory, counters, queues, ends):
    """Cycle at which the last of a sequence of transfers is over.

    Parameters
    ----------
    jobs : ndarray of shape (transfers, 5), int64
        Channel, first burst, bursts, work in cycles, cycle from which it is offered; each channel
        takes its own in order.  The work is spread evenly over the bursts.
    outstanding, fifo : int
        Bursts under way on a channel; bursts that the weights' FIFO holds.
    dram : ndarray of shape (9,), int64
        Ticks per cycle, burst, latency (ticks), bursts a row, row miss, refresh interval, refresh
        (ticks), whether a refresh closes all rows, banks.
    stall : ndarray of shape (period,), uint8
        Cycles, again and again, in which the memory takes no request.
    memory, counters, queues : ndarray
        Of `new_memory` and `new_queues`.
    ends : ndarray of shape (transfers,), int64
        Written: cycle at which each transfer is over.
    """
    job = np.full(_CHANNELS, -1, np.int64)  # transfer under way
    following = np.zeros(_CHANNELS, np.int64)  # next transfer of the channel
    asked = np.zeros(_CHANNELS, np.int64)  # bursts of the transfer: requested, arrived, taken out
    came = np.zeros(_CHANNELS, np.int64)
    taken = np.zeros(_CHANNELS, np.int64)
    begun = np.zeros(_CHANNELS, np.int64)  # bursts that the consumer has begun
    left = np.zeros(_CHANNELS, np.int64)  # cycles that the consumer still needs for one
    arrived = np.zeros(_CHANNELS, np.int64)
    for c in range(_CHANNELS):
        while following[c] < len(jobs) and jobs[following[c], 0] != c:
            following[c] += 1
    ended = 0
    cycle = 0
    while True:
        for c in range(_CHANNELS):
            came[c] += arrived[c]
            i = job[c]
            # What the consumer has finished by now, and what it then begins.
            while i >= 0 and taken[c] < came[c]:
                if begun[c] == taken[c]:
                    number, work = jobs[i, 2], jobs[i, 3]
                    left[c] = work * (begun[c] + 1) // number - work * begun[c] // number
                    begun[c] += 1
                if left[c] > 0:
                    left[c] -= 1
                    break
                taken[c] += 1
            if i >= 0 and taken[c] == jobs[i, 2]:
                ends[i] = cycle
                ended += 1
                job[c] = -1
            following_job = following[c]
            if job[c] < 0 and following_job < len(jobs) and cycle >= jobs[following_job, 4]:
                job[c] = following_job
                asked[c] = came[c] = taken[c] = begun[c] = left[c] = 0
                following[c] += 1
                while following[c] < len(jobs) and jobs[following[c], 0] != c:
                    following[c] += 1
            i = job[c]
            if i < 0 or asked[c] == jobs[i, 2] or stall[cycle % len(stall)] != 0:
                continue
            has_room = c != _WEIGHT or asked[c] - taken[c] < fifo
            if asked[c] - came[c] < outstanding and has_room:
                request(memory, counters, queues, dram, c, jobs[i, 1] + asked[c])
                asked[c] += 1
        if ended == len(jobs):
            return cycle
        step_memory(memory, counters, queues, dram, arrived)
        cycle += 1
