"""DRAM in the clock's units: ticks, of which a cycle has as many as make a burst's time exact."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np

from azsim.hardware.description import Dram, Hardware

__all__ = ["bus_parameters"]

_MAX_TICKS = 1 << 20


def _dram_ticks(dram: Dram, clock_hz: int) -> tuple[int, int]:
    """Ticks per cycle, and ticks that one burst takes on the bus.

    Exact where the burst's cycles are a fraction with a denominator up to 2**20, rounded up to
    such a fraction otherwise.
    """
    cycles = Fraction(dram.burst_bytes * clock_hz, dram.bytes_per_s)
    if cycles.denominator <= _MAX_TICKS:
        return cycles.denominator, cycles.numerator
    return _MAX_TICKS, math.ceil(cycles * _MAX_TICKS)


def _ticks(time_ns: float, clock_hz: int, ticks: int) -> int:
    return math.ceil(Fraction(time_ns) * clock_hz * ticks / 10**9)


def bus_parameters(hardware: Hardware) -> tuple[int, np.ndarray]:
    """Ticks per cycle, and the description of DRAM that `run_clock` takes: (9,) int64."""
    dram, clock = hardware.dram, hardware.clock_hz
    ticks, burst_ticks = _dram_ticks(dram, clock)
    every = _ticks(dram.refresh_interval_ns, clock, ticks)
    # With a tick near the interval, rounding must not make refresh last for ever.
    refresh = min(_ticks(dram.refresh_ns, clock, ticks), max(0, every - 1))
    bus = np.array(
        [
            burst_ticks,
            _ticks(dram.latency_ns, clock, ticks),
            dram.outstanding_bursts,
            hardware.decoder.fifo_bursts,
            max(1, dram.row_bytes // dram.burst_bytes),
            _ticks(dram.row_miss_ns, clock, ticks),
            every,
            refresh,
            dram.banks,
        ],
        np.int64,
    )
    return ticks, bus
