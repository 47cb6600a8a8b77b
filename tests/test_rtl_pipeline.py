"""Memory, DMA, decoder, weight SRAM and MAC array joined: Verilog and both models on tiles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from rtl.agreement import check_agreement, distribution
from rtl.harness import build_all, require_rtl
from rtl.pipeline_cases import Joined, exact, expected_sums, fast, random_sequence, rtl

require_rtl()

_SIZES = [
    Joined(4, 2, 64, "bitmap", 8, 8, 8, 4, 4, skip_activations=False),
    Joined(8, 1, 64, "zero_run", 4, 6, 16, 4, 2, skip_activations=True, banks=2),
    Joined(4, 2, 64, "bitmap", 8, 8, 4, 4, 2, skip_activations=True, is_outer=True, banks=8),
    # The FIFO is what most cases wait for: it holds two bursts.
    Joined(4, 2, 64, "bitmap", 2, 2, 8, 4, 4, skip_activations=False, banks=8),
]
# Bounds of the fast model's error: relative on cases of 300 cycles or more.
_BOUNDS = {"mean": 0.01, "worst": 0.05, "slack_cycles": 4, "long_cycles": 300}
_CASES = 50  # of each size
# The FIFO is less than DRAM's latency times its rate, and more than it is may be asked for.
_SHORT_FIFO = replace(_SIZES[1], outstanding=8)


@pytest.fixture(scope="module", autouse=True)
def _built() -> None:
    build_all([*(size.design() for size in _SIZES), _SHORT_FIFO.design(more_fifo=1)])


@pytest.mark.slow
def test_rtl_models_and_numpy_agree(tell: Callable[[str], None]) -> None:
    model, measured = [], []
    for size in _SIZES:
        design = size.design()
        for seed in range(_CASES):
            case = random_sequence(seed, size)
            cycles, sums = rtl(design, case, size)
            for found, wanted in zip(sums, expected_sums(case), strict=True):
                np.testing.assert_array_equal(found, wanted, f"{size}, case {seed}")
            assert exact(case, size) == cycles, f"{size}, case {seed}"
            if not case.stall.any():
                model.append(fast(case, size))
                measured.append(cycles)
    assert len(_SIZES) * _CASES >= 150
    tell(f"joined: {distribution(model, measured, long_cycles=300)}")
    check_agreement(model, measured, **_BOUNDS)


def test_planted_fifo_of_one_more_burst_is_found() -> None:
    design = _SHORT_FIFO.design(more_fifo=1)
    cases = [random_sequence(seed, _SHORT_FIFO) for seed in range(8, 20)]
    for case in cases:
        case.dram[:] = 1, 2, 60, 64, 0, 0, 0
    measured = [rtl(design, case, _SHORT_FIFO)[0] for case in cases]
    assert measured != [exact(case, _SHORT_FIFO) for case in cases]
    longer = replace(_SHORT_FIFO, fifo_bursts=_SHORT_FIFO.fifo_bursts + 1)
    assert measured == [exact(case, longer) for case in cases]
    with pytest.raises(AssertionError):
        check_agreement([fast(case, _SHORT_FIFO) for case in cases], measured, **_BOUNDS)


@pytest.mark.parametrize("size", _SIZES[2:], ids=["outer", "inner"])
def test_planted_bank_number_modulo_another_is_found(size: Joined) -> None:
    cases = [random_sequence(seed, size) for seed in range(8, 60, 3)]  # tiles that come again
    for case in cases:
        case.dram[3:5] = 2, 50 * case.dram[0]
    measured = [rtl(size.design(), case, size)[0] for case in cases]
    assert measured == [exact(case, size) for case in cases]
    for banks in (1, 7, 9):
        assert measured != [exact(case, replace(size, banks=banks)) for case in cases]


@pytest.mark.parametrize("size", _SIZES[1:3], ids=["inner", "outer"])
def test_planted_queue_of_another_depth_is_found(size: Joined) -> None:
    cases = [random_sequence(seed, size) for seed in range(8, 20)]
    for case in cases:  # DRAM so quick that the array is what counts
        case.dram[:] = 1, 1, 1, 64, 0, 0, 0
    measured = [rtl(size.design(), case, size)[0] for case in cases]
    assert measured != [exact(case, replace(size, queue_depth=1)) for case in cases]
