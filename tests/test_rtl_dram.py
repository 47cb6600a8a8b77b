"""DRAM and DMA: Verilog, cycle-stepped model and the clock give the same cycles, always."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from rtl.agreement import check_agreement, distribution
from rtl.dram_cases import (
    DramCase,
    dram_design,
    exact_ends,
    fast_ends,
    random_transfers,
    rtl_ends,
    with_closed_rows,
)
from rtl.harness import build_all, require_rtl

require_rtl()

# Outstanding bursts, bursts of the FIFO, banks.
_SIZES = [(8, 8, 1), (2, 3, 2), (1, 1, 8), (4, 16, 8)]
_CASES = 75  # of each size, and one in five is long


@pytest.fixture(scope="module", autouse=True)
def _built() -> None:
    build_all([dram_design(*size) for size in [*_SIZES, (8, 9, 1), (4, 16, 7), (4, 16, 9)]])


@pytest.mark.slow
def test_rtl_and_models_agree(tell: Callable[[str], None]) -> None:
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
    tell(f"DRAM: {distribution(fast, measured)}")


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


def test_refreshes_that_close_every_row() -> None:
    """No part of the machine, but of Verilog and cycle-stepped model alike."""
    slower = 0
    for size in _SIZES:
        for seed in range(60, 80):
            case = with_closed_rows(random_transfers(seed, is_long=True))
            case.dram[4:] = case.dram[1], 500 * case.dram[0], 20 * case.dram[0]
            ends = rtl_ends(dram_design(*size), case)
            np.testing.assert_array_equal(exact_ends(case, *size), ends, f"{size}, case {seed}")
            slower += int(ends.max()) > int(fast_ends(case, *size).max())
    assert slower > len(_SIZES) * 10


def test_planted_fifo_of_one_more_burst_is_found() -> None:
    cases = [random_transfers(seed, is_long=True) for seed in range(6, 30)]
    for case in cases:  # weights only, whose decoder is slower than DRAM
        case.jobs[:, 0] = 0
        case.jobs[:, 3] = case.jobs[:, 2] * 20
        case.dram[2] = 200 * case.dram[0]
    _check_found(cases, (8, 8, 1), (8, 9, 1))


@pytest.mark.parametrize("banks", [7, 9])
def test_planted_bank_number_modulo_another_is_found(banks: int) -> None:
    """Banks are alike, so that one for another goes unseen; rows that share one must not change."""
    cases = [random_transfers(seed, is_long=True) for seed in range(6, 30)]
    for case in cases:  # three channels that meet each other's rows
        case.jobs[:, 0] = np.arange(len(case.jobs)) % 3
        case.jobs[:, 1] %= 256
        case.jobs[:, 3] = 0
        case.dram[3:5] = 8, 3 * case.dram[1]
    _check_found(cases, (4, 16, 8), (4, 16, banks))


def _check_found(
    cases: list[DramCase], right: tuple[int, int, int], planted: tuple[int, int, int]
) -> None:
    """Both models of the right size differ from the planted Verilog; the stepped one of its own
    size does not."""
    measured = [rtl_ends(dram_design(*planted), case) for case in cases]
    for case, found in zip(cases, measured, strict=True):
        assert (exact_ends(case, *right) != found).any()
        np.testing.assert_array_equal(exact_ends(case, *planted), found)
    with pytest.raises(AssertionError):
        check_agreement(
            [int(fast_ends(case, *right).max()) for case in cases],
            [int(found.max()) for found in measured],
            mean=0.01, worst=0.03, slack_cycles=3,
        )  # fmt: skip
