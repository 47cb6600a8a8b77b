"""Seeded random transfers for DRAM and DMA: RTL and both models on one sequence."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from azsim.machine.engines.clock import run_clock
from azsim.machine.engines.exact_dram import dram_cycles, new_memory, new_queues
from rtl.harness import Design

__all__ = [
    "DramCase",
    "dram_design",
    "exact_ends",
    "fast_ends",
    "random_transfers",
    "rtl_ends",
    "with_closed_rows",
]

_LIMIT = 1 << 20


@dataclass(frozen=True)
class DramCase:
    """A sequence of transfers and a memory.

    Attributes
    ----------
    jobs : ndarray of shape (transfers, 5), int64
        Channel, first burst, bursts, work (cycles), cycle from which it is offered.
    dram : ndarray of shape (7,), int64
        Ticks per cycle, burst, latency (ticks), bursts a row, row miss, refresh interval, refresh.
    closes_rows : bool
        Whether a refresh closes the open rows.
    stall : ndarray of shape (period,), uint8
    """

    jobs: np.ndarray
    dram: np.ndarray
    closes_rows: bool
    stall: np.ndarray


def dram_design(outstanding: int, fifo: int, banks: int) -> Design:
    parameters = {"OUTSTANDING": outstanding, "FIFO_BURSTS": fifo, "BANKS": banks}
    return Design("dram_system", parameters)


def random_transfers(seed: int, *, is_long: bool = False) -> DramCase:
    """Sequence number `seed`; the first ones are the edges."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(10, 40) if is_long else rng.integers(1, 12))
    ticks = int(rng.choice([1, 4, 25]))
    burst = int(rng.integers(ticks, 16 * ticks))
    latency, miss = int(rng.integers(0, 60 * ticks)), int(rng.integers(0, 20 * ticks))
    every = int(rng.integers(1000, 4000)) * ticks if rng.random() < 0.7 else 0
    refresh = int(rng.integers(20, 120)) * ticks if every else 0
    dram = np.array([ticks, burst, latency, rng.integers(1, 64), miss, every, refresh], np.int64)
    jobs = np.zeros((count, 5), np.int64)
    jobs[:, 0] = rng.choice(3, count, p=rng.choice([[1, 0, 0], [0.6, 0.3, 0.1], [0.4, 0.3, 0.3]]))
    jobs[:, 1] = rng.integers(0, 1 << 16, count)
    jobs[:, 2] = rng.integers(1, 80 if is_long else 20, count)
    pace = rng.choice([0.0, 0.5, 1.0, 2.0]) * burst / ticks
    jobs[:, 3] = np.where(jobs[:, 0] == 0, jobs[:, 2] * pace * rng.random(count) * 2, 0)
    gaps = rng.integers(0, 200, count) if rng.random() < 0.5 else np.zeros(count, np.int64)
    jobs[:, 4] = np.maximum(np.cumsum(gaps), np.arange(count) + 1)
    if seed % 2:  # near one another, so that rows are met again
        jobs[:, 1] %= 256
    stall = np.zeros(1, np.uint8)
    if seed == 0:  # one burst
        jobs = jobs[:1]
        jobs[:, 2] = 1
    elif seed == 1:  # all three at once, no decoder work
        jobs[:, 0], jobs[:, 3] = np.arange(count) % 3, 0
    elif seed == 2:  # the decoder is slow: FIFO full
        jobs[:, 0], jobs[:, 3] = 0, jobs[:, 2] * 40
    elif seed == 3:  # memory stalls
        stall = (np.arange(50) < 40).astype(np.uint8)
    elif seed == 4:  # a burst a cycle, without latency
        dram[1:3] = ticks, 0
    elif seed % 5 == 0 and not is_long:
        stall = (rng.random(int(rng.integers(2, 60))) < 0.4).astype(np.uint8)
        stall[0] = 0
    return DramCase(jobs, dram, False, stall)


def rtl_ends(design: Design, case: DramCase) -> np.ndarray:
    """Cycle at which each transfer is over: (transfers,) int64."""
    ends = np.full(len(case.jobs), -1, np.int64)
    channel, first, bursts, work, offered = (np.ascontiguousarray(c) for c in case.jobs.T)
    design(
        len(case.jobs), channel, first, bursts, work, offered, case.dram, int(case.closes_rows),
        len(case.stall), case.stall, _LIMIT, ends,
    )  # fmt: skip
    return ends


def exact_ends(case: DramCase, outstanding: int, fifo: int, banks: int) -> np.ndarray:
    """The same from the cycle-stepped model."""
    dram = np.append(case.dram, [int(case.closes_rows), banks])
    ends = np.full(len(case.jobs), -1, np.int64)
    counters, queues = new_queues()
    dram_cycles(
        case.jobs, outstanding, fifo, dram, case.stall, new_memory(dram), counters, queues, ends
    )
    return ends


def fast_ends(case: DramCase, outstanding: int, fifo: int, banks: int) -> np.ndarray:
    """The same from the clock that every run uses."""
    count = len(case.jobs)
    ticks, burst, latency, row_bursts, miss, every, refresh = case.dram.tolist()
    times = [burst, latency, outstanding, fifo, row_bursts, miss, every, refresh]
    bus = np.array([*times, banks], np.int64)
    channel, first, bursts, work, offered = (np.ascontiguousarray(c) for c in case.jobs.T)
    dispatch, start, end = (np.full(count, -1, np.int64) for _ in range(3))
    # The consumer's work is spread evenly over a transfer's bursts; it cannot begin early.
    left = [w * np.arange(n + 1) // n for w, n in zip(work, bursts, strict=True)]
    blocks = [np.stack([a[1:], a[:-1], a[:-1], np.diff(a)], axis=1) for a in left]
    begins = np.cumsum(np.append(0, bursts))[:-1]
    run_clock(
        channel, np.zeros(count, np.int64), np.zeros(count, np.int64), np.concatenate(blocks),
        begins, np.zeros((count, 5), np.int64), first, bursts, np.zeros((0, 2), np.int64),
        np.full(count, -1, np.int64), offered * ticks,
        np.ascontiguousarray(np.argsort(channel, kind="stable")), ticks, 0, count + 1, bus,
        dispatch, start, end, np.zeros(3, np.int64),
    )  # fmt: skip
    return end // ticks


def with_closed_rows(case: DramCase) -> DramCase:
    """The same case on a memory whose refreshes close all rows."""
    return replace(case, closes_rows=True)
