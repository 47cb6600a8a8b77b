"""MAC array: Verilog, cycle-stepped model and fast model on the same random matrix products."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from azsim.machine.engines.exact_mac import INNER_OFFSET, OUTER_OFFSET
from azsim.machine.engines.mac import Geometry
from rtl.agreement import check_agreement, distribution
from rtl.harness import build_all, require_rtl
from rtl.mac_cases import array_design, exact_cycles, fast_cycles, random_case, rtl

require_rtl()

# lanes, macs, halves, window, queue depth, skip weights, skip activations; then weight bits.
_SHAPES = {
    "inner": [
        ((8, 4, 1, 16, 8, True, False), 8),
        ((4, 2, 1, 8, 2, True, True), 8),
        ((3, 8, 1, 32, 4, True, True), 4),  # composed: 4 MACs and 16 weights at 8 bits
        ((2, 8, 1, 32, 3, False, True), 2),  # composed: 2 MACs and 8 weights at 8 bits
        ((4, 3, 2, 8, 3, True, True), 8),  # int16 activations, an odd number of MACs
        ((5, 1, 2, 1, 1, False, False), 8),
    ],
    "outer": [
        ((8, 4, 1, 16, 8, True, True), 8),
        ((4, 2, 1, 8, 2, True, False), 8),
        ((3, 8, 1, 32, 4, False, True), 4),
        ((4, 1, 1, 4, 1, True, True), 2),
        ((4, 3, 2, 8, 3, True, True), 8),
        ((5, 1, 2, 1, 1, False, False), 8),
    ],
}
_CASES = 50  # of each shape, and one in five is long


def _shapes(dataflow: str) -> list[tuple[Geometry, int]]:
    return [(Geometry(*s, is_outer=dataflow == "outer"), bits) for s, bits in _SHAPES[dataflow]]


@pytest.fixture(scope="module", autouse=True)
def _built() -> None:
    designs = [array_design(*entry) for name in _SHAPES for entry in _shapes(name)]
    planted = [array_design(*_shapes(name)[1], more_queue=1) for name in _SHAPES]
    build_all(designs + planted)


@pytest.mark.slow
@pytest.mark.parametrize("dataflow", list(_SHAPES))
def test_rtl_models_and_numpy_agree(dataflow: str, tell: Callable[[str], None]) -> None:
    offset = OUTER_OFFSET if dataflow == "outer" else INNER_OFFSET
    fast, measured = [], []
    for shape, bits in _shapes(dataflow):
        design = array_design(shape, bits)
        for seed in range(_CASES):
            case = random_case(seed, shape, bits, is_long=seed >= _CASES * 4 // 5)
            cycles, sums = rtl(design, case, shape, bits)
            expected = case.activations.astype(np.int64) @ case.codes.T.astype(np.int64)
            np.testing.assert_array_equal(sums, expected, err_msg=f"{shape} case {seed}")
            assert exact_cycles(case, shape) == cycles, f"{shape} case {seed}"
            if not case.stall.any():
                fast.append(fast_cycles(case, shape) + offset)
                measured.append(cycles)
    assert len(_shapes(dataflow)) * _CASES >= 300
    tell(f"{dataflow}: {distribution(fast, measured)}")
    check_agreement(fast, measured, mean=0.01, worst=0.03, slack_cycles=3)


@pytest.mark.parametrize("dataflow", list(_SHAPES))
def test_planted_queue_of_another_depth_is_found(dataflow: str) -> None:
    shape, bits = _shapes(dataflow)[1]
    design = array_design(shape, bits, more_queue=1)
    cases = [random_case(seed, shape, bits, is_long=True) for seed in range(8, 30)]
    measured = [rtl(design, case, shape, bits)[0] for case in cases]
    assert measured != [exact_cycles(case, shape) for case in cases]
    offset = OUTER_OFFSET if dataflow == "outer" else INNER_OFFSET
    fast = [fast_cycles(case, shape) + offset for case in cases]
    with pytest.raises(AssertionError):
        check_agreement(fast, measured, mean=0.01, worst=0.03, slack_cycles=3)
