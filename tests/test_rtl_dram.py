"""DRAM and DMA: Verilog, cycle-stepped model and the clock give the same cycles, always."""

from __future__ import annotations

import numpy as np
import pytest

from rtl.agreement import check_agreement, distribution
from rtl.dram_cases import dram_design, exact_ends, fast_ends, random_transfers, rtl_ends
from rtl.harness import build_all, require_rtl

require_rtl()

_SIZES = [(8, 8), (2, 3), (1, 1), (4, 16)]  # outstanding bursts, bursts of the FIFO
_CASES = 75  # of each size, and one in five is long


@pytest.fixture(scope="module", autouse=True)
def _built() -> None:
    build_all([dram_design(*size) for size in [*_SIZES, (8, 9)]])


def test_rtl_and_models_agree(capsys: pytest.CaptureFixture[str]) -> None:
    fast, measured = [], []
    for size in _SIZES:
        design = dram_design(*size)
        for seed in range(_CASES):
            case = random_transfers(seed, is_long=seed >= _CASES * 4 // 5)
            ends = rtl_ends(design, case)
            np.testing.assert_array_equal(exact_ends(case, *size), ends, f"{size}, case {seed}")
            if not case.stall.any():
                found = fast_ends(case, *size)
                np.testing.assert_array_equal(found, ends, f"{size}, case {seed}")
                fast.append(int(found.max()))
                measured.append(int(ends.max()))
    assert len(_SIZES) * _CASES >= 300
    with capsys.disabled():
        print(f"\nDRAM: {distribution(fast, measured)}")  # noqa: T201


def test_refreshes_that_leave_the_bus_little_time() -> None:
    """Some bursts take longer than the interval, so that several refreshes are due at once."""
    for size in _SIZES:
        for seed in range(60, 80):
            case = random_transfers(seed, is_long=True)
            ticks = case.dram[0]
            case.dram[5:] = 23 * ticks, (3 + seed % 17) * ticks
            case.stall[:] = 0
            ends = rtl_ends(dram_design(*size), case)
            np.testing.assert_array_equal(exact_ends(case, *size), ends, f"{size}, case {seed}")
            np.testing.assert_array_equal(fast_ends(case, *size), ends, f"{size}, case {seed}")


def test_planted_fifo_of_one_more_burst_is_found() -> None:
    cases = [random_transfers(seed, is_long=True) for seed in range(6, 30)]
    for case in cases:  # weights only, whose decoder is slower than DRAM
        case.jobs[:, 0] = 0
        case.jobs[:, 3] = case.jobs[:, 2] * 20
        case.dram[2] = 200 * case.dram[0]
    design = dram_design(8, 9)
    measured = [rtl_ends(design, case) for case in cases]
    assert all(
        (exact_ends(c, 8, 8) != found).any() for c, found in zip(cases, measured, strict=True)
    )
    with pytest.raises(AssertionError):
        check_agreement(
            [int(fast_ends(case, 8, 8).max()) for case in cases],
            [int(found.max()) for found in measured],
            mean=0.01, worst=0.03, slack_cycles=3,
        )  # fmt: skip
