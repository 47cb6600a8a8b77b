"""Sweeps of the joined pipeline: zeros, DRAM, FIFO, queue, numbers and sizes of tiles, stalls."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from rtl.pipeline_cases import (
    Joined,
    Sequence,
    exact,
    expected_sums,
    fast,
    random_sequence,
    rtl,
    sequence_of,
)
from rtl.point import FIRST_RANDOM_SEED, Measured, Point, zeros_of

__all__ = ["joined_points"]

_BASE = Joined(4, 2, 64, "bitmap", 8, 8, 8, 4, 4, skip_activations=False, banks=8)
_OTHER = Joined(8, 1, 64, "zero_run", 4, 6, 16, 4, 2, skip_activations=True, banks=2)
_OUTER = Joined(4, 2, 64, "bitmap", 8, 8, 4, 4, 2, skip_activations=True, is_outer=True)
_ZEROS = (0.0, 0.25, 0.5, 0.75, 0.9, 0.98)
_RATES, _LATENCIES = (2.0, 4.0, 6.0, 10.0, 16.0, 24.0), (10, 20, 40, 80, 160)
_FIFOS, _OUTSTANDING, _QUEUES = (1, 2, 4, 6, 8, 12), (1, 2, 4, 8), (1, 4, 8)
_ROWS = (1, 2, 4, 8, 16)
_TILES = {(8, 16): (1, 2, 4, 8, 16, 32), (16, 64): (1, 2, 4, 8, 16), (64, 192): (1, 2, 4, 8)}
_NO_STALL = np.zeros(1, np.uint8)
_TICKS = 4
_RANDOM = 30  # random cases of each size


def _case(
    seed: int, size: Joined, *, zeros: float = 0.5, tiles: int = 4, rows: int = 6,
    tile: tuple[int, int] = (64, 192), burst: float = 10.0, latency: float = 40.0,
    every: float = 1950.0, stall: np.ndarray = _NO_STALL,
) -> Sequence:  # fmt: skip
    """Tiles of one size with independent zeros, and az1's memory but for what is given."""
    rng = np.random.default_rng([seed, tiles, rows, *tile])
    codes, inputs = [], []
    for _ in range(tiles):
        values = rng.integers(1, 128, tile) * rng.choice([-1, 1], tile)
        codes.append(np.where(rng.random(tile) < zeros, 0, values).astype(np.int8))
        inputs.append(rng.integers(-127, 128, (rows, tile[1])).astype(np.int8))
    times = [1, burst, latency, 32 / _TICKS, 15, every, 90 if every else 0]
    dram = np.array([round(_TICKS * time) for time in times], np.int64)
    return sequence_of(codes, inputs, dram, stall, size, rng)


def _point(
    sweep: str, x: float | str, series: str, seed: int, size: Joined, case: Sequence
) -> Point:
    design = size.design()

    def measure() -> Measured:
        cycles, sums = rtl(design, case, size)
        wanted = expected_sums(case)
        same = all(bool((a == b).all()) for a, b in zip(sums, wanted, strict=True))
        quick = None if case.stall.any() else fast(case, size)
        return Measured(cycles, exact(case, size), quick, same)

    ticks, burst, latency, row_bursts, miss, every, refresh = case.dram.tolist()
    weights = sum(codes.size for codes in case.codes)
    parameters = {
        "codec": size.codec,
        "dataflow": "outer" if size.is_outer else "inner",
        "decoder_lanes": size.decoder_lanes,
        "port_codes": size.port_codes,
        "outstanding": size.outstanding,
        "fifo_bursts": size.fifo_bursts,
        "banks": size.banks,
        "lanes": size.lanes,
        "macs": size.macs,
        "window": 16,
        "queue_depth": size.queue_depth,
        "zero_skip": "both" if size.skip_activations else "weights",
        "tiles": len(case.codes),
        "codes": weights,
        "rows": len(case.activations[0]),
        "bursts": sum(map(len, case.bursts)),
        "weight_zeros": zeros_of(sum(int((c == 0).sum()) for c in case.codes), weights),
        "burst_cycles": round(burst / ticks, 3),
        "latency_cycles": round(latency / ticks, 3),
        "row_bursts": row_bursts,
        "row_miss_cycles": round(miss / ticks, 3),
        "refresh_interval_cycles": round(every / ticks, 3),
        "refresh_cycles": round(refresh / ticks, 3),
        "stalled": int(case.stall.any()),
    }
    return Point("joined", sweep, x, series, seed, parameters, design, measure)


def _work_points(seed: int) -> Iterator[Point]:
    """Zeros, rows, tiles, the array's queue: what there is to do."""
    for codec in ("bitmap", "zero_run"):
        size = replace(_BASE, codec=codec)
        for zeros in _ZEROS:
            case = _case(seed, size, zeros=zeros)
            yield _point("zeros", 100 * zeros, codec, seed, size, case)
    for depth in _QUEUES:
        size = replace(_BASE, queue_depth=depth)
        yield _point("queue_depth", depth, "", seed, size, _case(seed, size, rows=16))
    for rows in _ROWS:
        yield _point("rows", rows, "", seed, _BASE, _case(seed, _BASE, rows=rows))
    for tile, counts in _TILES.items():
        for tiles in counts:
            case = _case(seed, _BASE, tiles=tiles, tile=tile)
            yield _point("tiles", tiles, f"{tile[0]} x {tile[1]}", seed, _BASE, case)


def _memory_points(seed: int) -> Iterator[Point]:
    """Where the weights come from, and how they get in."""
    for rows in (2, 6):
        for burst in _RATES:
            case = _case(seed, _BASE, burst=burst, rows=rows)
            yield _point("burst_time", burst, f"{rows} rows", seed, _BASE, case)
    for latency in _LATENCIES:
        yield _point("latency", latency, "", seed, _BASE, _case(seed, _BASE, latency=latency))
    for every in (0, 500, 1950):
        yield _point("refresh_interval", every, "", seed, _BASE, _case(seed, _BASE, every=every))
    for fifo in _FIFOS:
        for burst, latency in ((10.0, 40.0), (3.0, 40.0), (2.0, 60.0)):
            size = replace(_BASE, fifo_bursts=fifo)
            series = f"burst {burst:g}, latency {latency:g} cycles"
            case = _case(seed, size, burst=burst, latency=latency, rows=2)
            yield _point("fifo_bursts", fifo, series, seed, size, case)
    for outstanding in _OUTSTANDING:
        size = replace(_BASE, outstanding=outstanding)
        yield _point("outstanding", outstanding, "", seed, size, _case(seed, size))
    for share in (0.1, 0.3, 0.6):
        stall = (np.random.default_rng(seed).random(97) < share).astype(np.uint8)
        yield _point("stalls", 100 * share, "", seed, _BASE, _case(seed, _BASE, stall=stall))


def joined_points(seeds: int) -> Iterator[Point]:
    """Every case, `seeds` of each."""
    for seed in range(seeds):
        yield from _work_points(seed)
        yield from _memory_points(seed)
    for number, size in enumerate((_BASE, _OTHER, _OUTER)):
        for seed in range(FIRST_RANDOM_SEED, FIRST_RANDOM_SEED + _RANDOM * seeds // 3):
            yield _point("random", number, "", seed, size, random_sequence(seed, size))
