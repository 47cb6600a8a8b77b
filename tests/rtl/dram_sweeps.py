"""Sweeps of DRAM and DMA: latency, rate, refresh, rows, banks, channels, FIFO, stalls."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from rtl.dram_cases import (
    DramCase,
    dram_design,
    exact_ends,
    fast_ends,
    random_transfers,
    rtl_ends,
)
from rtl.point import FIRST_RANDOM_SEED, Measured, Point

__all__ = ["AZ1_DRAM", "dram_points"]

_BASE = (8, 16, 8)  # outstanding bursts, bursts of the FIFO, banks
_SIZES = ((8, 8, 1), (2, 3, 2), (1, 1, 8), (4, 16, 8))
_TICKS = 4
AZ1_DRAM = {
    "burst": 10.0,
    "latency": 40.0,
    "row_bursts": 32,
    "row_miss": 15.0,
    "every": 1950.0,
    "refresh": 90.0,
}
"""az1's memory in cycles of its clock."""

_LATENCIES, _OUTSTANDING = (0, 10, 20, 40, 80, 160), (1, 2, 4, 8)
_RATES = (1.0, 2.5, 5.0, 10.0, 20.0, 40.0)
_INTERVALS = (250, 500, 1000, 1950, 3900)
_ROWS = (1, 2, 4, 8, 32)
_BANKS = (1, 2, 8)
_FIFOS, _PACES = (1, 2, 4, 8, 16), (0.5, 1.0, 1.5)
_NO_STALL = np.zeros(1, np.uint8)
_RANDOM = 24  # random cases of each size


def _case(
    seed: int, *, channels: int = 1, pace: float = 0.0, stall: np.ndarray = _NO_STALL,
    **changes: float,
) -> DramCase:  # fmt: skip
    """Transfers of 5 to 60 bursts, offered at once; `pace` is decoder work per time of a burst."""
    rng = np.random.default_rng(seed)
    count = 6
    dram = {**AZ1_DRAM, **changes}
    jobs = np.zeros((count, 5), np.int64)
    jobs[:, 0] = np.arange(count) % channels
    jobs[:, 1] = rng.integers(0, 1 << 16, count)
    jobs[:, 2] = rng.integers(5, 61, count)
    jobs[:, 3] = np.where(jobs[:, 0] == 0, jobs[:, 2] * pace * dram["burst"], 0)
    jobs[:, 4] = np.arange(count) + 1
    times = [_TICKS, *(round(_TICKS * dram[key]) for key in ("burst", "latency"))]
    times += [int(dram["row_bursts"])]
    times += [round(_TICKS * dram[key]) for key in ("row_miss", "every", "refresh")]
    return DramCase(jobs, np.array(times, np.int64), False, stall)


def _point(
    sweep: str, x: float | str, series: str, seed: int, size: tuple[int, int, int], case: DramCase
) -> Point:
    design = dram_design(*size)

    def measure() -> Measured:
        ends = rtl_ends(design, case)
        stepped = exact_ends(case, *size)
        fast = None if case.stall.any() else int(fast_ends(case, *size).max())
        same = bool((stepped == ends).all())
        return Measured(int(ends.max()), int(stepped.max()), fast, same)

    ticks, burst, latency, row_bursts, miss, every, refresh = case.dram.tolist()
    parameters = {
        "outstanding": size[0],
        "fifo_bursts": size[1],
        "banks": size[2],
        "channels": int(np.unique(case.jobs[:, 0]).size),
        "transfers": len(case.jobs),
        "bursts": int(case.jobs[:, 2].sum()),
        "work_cycles": int(case.jobs[:, 3].sum()),
        "burst_cycles": round(burst / ticks, 3),
        "latency_cycles": round(latency / ticks, 3),
        "row_bursts": row_bursts,
        "row_miss_cycles": round(miss / ticks, 3),
        "refresh_interval_cycles": round(every / ticks, 3),
        "refresh_cycles": round(refresh / ticks, 3),
        "stalled": int(case.stall.any()),
    }
    return Point("dram", sweep, x, series, seed, parameters, design, measure)


def _memory_points(seed: int) -> Iterator[Point]:
    """Latency, rate, refresh, rows and banks: the memory itself."""
    for latency in _LATENCIES:
        for outstanding in _OUTSTANDING:
            size = (outstanding, *_BASE[1:])
            case = _case(seed, latency=latency)
            series = f"{outstanding} outstanding"
            yield _point("latency", latency, series, seed, size, case)
    for burst in _RATES:
        case = _case(seed, burst=burst)
        yield _point("burst_time", burst, "", seed, _BASE, case)
    for every in _INTERVALS:
        for refresh in (45, 90):
            case = _case(seed, every=every, refresh=refresh)
            series = f"{refresh} cycles"
            yield _point("refresh_interval", every, series, seed, _BASE, case)
    for row in _ROWS:
        case = _case(seed, row_bursts=row)
        yield _point("row_bursts", row, "", seed, _BASE, case)
    for banks in _BANKS:
        for channels in (2, 3):
            case = _case(seed, channels=channels)
            series = f"{channels} of 3 channels"
            yield _point("banks", banks, series, seed, (*_BASE[:2], banks), case)


def dram_points(seeds: int) -> Iterator[Point]:
    """Every case, `seeds` of each."""
    for seed in range(seeds):
        yield from _memory_points(seed)
        for channels in (1, 2, 3):
            case = _case(seed, channels=channels)
            yield _point("channels", channels, "", seed, _BASE, case)
        for fifo in _FIFOS:
            for pace in _PACES:
                case = _case(seed, pace=pace)
                series = f"decoder {pace:g} x the burst time"
                yield _point("fifo_bursts", fifo, series, seed, (_BASE[0], fifo, _BASE[2]), case)
        for share in (0.1, 0.3, 0.6):
            stall = (np.random.default_rng(seed).random(97) < share).astype(np.uint8)
            yield _point("stalls", 100 * share, "", seed, _BASE, _case(seed, stall=stall))
    for number, size in enumerate(_SIZES):
        for seed in range(FIRST_RANDOM_SEED, FIRST_RANDOM_SEED + _RANDOM * seeds // 3):
            case = random_transfers(seed, is_long=seed % 2 == 0)
            yield _point("random", number, "", seed, size, case)
