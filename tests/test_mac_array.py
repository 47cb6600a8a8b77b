from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from azsim.hardware.description import MacArray
from azsim.machine.engines.mac import (
    Geometry,
    MatmulCycles,
    geometry,
    matmul_cycles,
    peak_macs_per_cycle,
)
from compiled import AZ1

pytestmark = pytest.mark.kernels

# ------------------------------------------- the array, cycle by cycle, with nothing computed


@dataclass
class _Lane:
    """Works on the oldest window of its queue; a window is a list of groups of products."""

    macs: int
    halves: int
    queue: deque[list[int]] = field(default_factory=deque)

    def cycle(self) -> int:
        """Issue what one cycle can; returns the products that were completed or begun."""
        if not self.queue:
            return 0
        groups = self.queue[0]
        slots = self.macs
        while slots and groups[0]:
            groups[0] -= 1  # half a product, with 16-bit activations
            slots -= 1
        if not groups[0]:
            groups.pop(0)  # slots that are left do not carry over
        if not groups:
            self.queue.popleft()
        return self.macs - slots


def _run(lanes: list[_Lane], broadcasts: list[list[list[int]]], depth: int) -> tuple[int, int]:
    """Cycles, and products issued, until every lane is done; one broadcast a cycle at most."""
    waiting = deque(broadcasts)
    cycles = issued = 0
    while waiting or any(lane.queue for lane in lanes):
        if waiting and all(len(lane.queue) < depth for lane in lanes):
            for lane, groups in zip(lanes, waiting.popleft(), strict=True):
                lane.queue.append(list(groups))
        issued += sum(lane.cycle() for lane in lanes)
        cycles += 1
    return cycles, issued


def _counts(weight: int, activation: int, mac: MacArray) -> bool:
    """Whether the array spends a multiplier on a product."""
    skips_weight = mac.zero_skip in ("weights", "both") and weight == 0
    skips_activation = mac.zero_skip in ("activations", "both") and activation == 0
    return not (skips_weight or skips_activation)


def _stepped(
    weights: np.ndarray, row: np.ndarray, mac: MacArray, weight_bits: int, activation_bits: int,
    extra_depth: int = 0,
) -> tuple[int, int]:  # fmt: skip
    """Cycles and products of one activation row."""
    gain = {8: 1, 4: 2, 2: 4}[weight_bits]
    halves = activation_bits // 8
    window = max(1, mac.window * gain // halves)
    macs = mac.macs_per_lane * gain
    outputs, inner = weights.shape
    depth = mac.queue_depth + extra_depth
    total = products = 0
    if mac.dataflow == "inner":
        for first in range(0, outputs, mac.lanes):
            rows = weights[first : first + mac.lanes]
            broadcasts = [
                [
                    [halves * sum(_counts(int(r[k]), int(row[k]), mac)
                                  for k in range(at, min(at + window, inner)))]
                    for r in rows
                ]
                for at in range(0, inner, window)
            ]  # fmt: skip
            lanes = [_Lane(macs, halves) for _ in rows]
            cycles, issued = _run(lanes, broadcasts, depth)
            total, products = total + cycles, products + issued
    else:
        deep = -(-outputs // mac.lanes)
        broadcasts = []
        for k in range(inner):
            if row[k] == 0 and mac.zero_skip in ("activations", "both"):
                continue
            groups = []
            for lane in range(mac.lanes):
                own = [
                    n < outputs and _counts(int(weights[n, k]), int(row[k]), mac)
                    for n in range(lane, deep * mac.lanes, mac.lanes)
                ]
                # Every lane scans as many windows; rows that are not there hold nothing.
                groups.append(
                    [halves * sum(own[at : at + window]) for at in range(0, deep, window)]
                )
            broadcasts.append(groups)
        lanes = [_Lane(macs, halves) for _ in range(mac.lanes)]
        total, products = _run(lanes, broadcasts, depth)
        total = max(1, total)  # a row with nothing to broadcast is looked at
    return total, products // halves


@st.composite
def arrays(draw: st.DrawFn) -> MacArray:
    macs = draw(st.integers(1, 5))
    return replace(
        AZ1.mac,
        dataflow=draw(st.sampled_from(["inner", "outer"])),
        lanes=draw(st.integers(1, 6)),
        macs_per_lane=macs,
        window=draw(st.integers(macs, 20)),
        queue_depth=draw(st.integers(1, 4)),
        zero_skip=draw(st.sampled_from(["none", "weights", "activations", "both"])),
    )


@st.composite
def problems(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """A tile and activation rows with zeros in clumps, so that lanes drift apart."""
    rng = np.random.default_rng(draw(st.integers(0, 1 << 32)))
    outputs, inner = draw(st.integers(1, 13)), draw(st.integers(1, 60))

    def sparse(rows: int) -> np.ndarray:
        share = rng.random((rows, -(-inner // 7))).repeat(7, axis=1)[:, :inner]
        return np.where(rng.random((rows, inner)) < share, rng.integers(1, 9, (rows, inner)), 0)

    return sparse(outputs).astype(np.int8), sparse(draw(st.integers(1, 3)))


WIDTHS = st.tuples(st.sampled_from([8, 4, 2]), st.sampled_from([8, 16]))


@given(mac=arrays(), problem=problems(), widths=WIDTHS)
def test_the_array_is_the_cycle_stepped_one(
    mac: MacArray, problem: tuple[np.ndarray, np.ndarray], widths: tuple[int, int]
) -> None:
    weights, rows = problem
    prepared = MatmulCycles(weights, geometry(mac, *widths))
    marks = (rows != 0).astype(np.uint8)
    expected = [_stepped(weights, row, mac, *widths) for row in rows]
    assert prepared.row_cycles(marks).tolist() == [cycles for cycles, _ in expected]
    assert prepared.executed_products(marks).tolist() == [products for _, products in expected]


@given(mac=arrays(), problem=problems())
def test_products_are_those_of_brute_force(
    mac: MacArray, problem: tuple[np.ndarray, np.ndarray]
) -> None:
    weights, rows = problem
    prepared = MatmulCycles(weights, geometry(mac, 8, 8))
    marks = (rows != 0).astype(np.uint8)
    for row, executed, nonzero in zip(
        rows, prepared.executed_products(marks), prepared.nonzero_products(marks), strict=True
    ):
        pairs = [(int(w), int(a)) for line in weights for w, a in zip(line, row, strict=True)]
        assert executed == sum(_counts(w, a, mac) for w, a in pairs)
        assert nonzero == sum(bool(w and a) for w, a in pairs)


def test_a_wrong_queue_depth_would_show() -> None:
    rng = np.random.default_rng(0)
    shown = 0
    for depth in (1, 2, 3):
        mac = replace(AZ1.mac, lanes=4, window=8, macs_per_lane=2, queue_depth=depth)
        weights = (rng.random((8, 96)) < rng.random((8, 12)).repeat(8, axis=1)).astype(np.int8)
        row = np.ones(96, np.int64)
        (found,) = MatmulCycles(weights, geometry(mac, 8, 8)).row_cycles(row[None].astype(np.uint8))
        assert found == _stepped(weights, row, mac, 8, 8)[0]
        shown += found != _stepped(weights, row, mac, 8, 8, extra_depth=1)[0]
        shown += depth > 1 and found != _stepped(weights, row, mac, 8, 8, extra_depth=-1)[0]
    assert shown == 5


@pytest.mark.parametrize("dataflow", ["inner", "outer"])
def test_windows_wider_than_a_machine_word(dataflow: str) -> None:
    rng = np.random.default_rng(1)
    mac = replace(
        AZ1.mac, dataflow=dataflow, lanes=2, window=50, macs_per_lane=6, queue_depth=2,
        zero_skip="both",
    )  # fmt: skip
    weights = (rng.random((9, 700)) < 0.5).astype(np.int8)
    rows = (rng.random((2, 700)) < 0.7).astype(np.int64)
    for widths in ((8, 8), (4, 8), (2, 8), (2, 16)):
        prepared = MatmulCycles(weights, geometry(mac, *widths))
        expected = [_stepped(weights, row, mac, *widths)[0] for row in rows]
        assert prepared.row_cycles((rows != 0).astype(np.uint8)).tolist() == expected


def test_precisions_compose() -> None:
    mac = replace(AZ1.mac, lanes=64, macs_per_lane=4, window=16)
    peaks = {
        (weight_bits, activation_bits): peak_macs_per_cycle(mac, weight_bits, activation_bits)
        for weight_bits in (8, 4, 2)
        for activation_bits in (8, 16)
    }
    assert peaks == {
        (8, 8): 256, (8, 16): 128, (4, 8): 512, (4, 16): 256, (2, 8): 1024, (2, 16): 512
    }  # fmt: skip
    assert geometry(mac, 4, 16) == Geometry(64, 8, 2, 16, 8, True, False, False)
    one = replace(mac, macs_per_lane=1, window=1)
    assert geometry(one, 8, 16).window == 1
    # A lane of one MAC takes two cycles for each product of a 16-bit activation.
    dense = MatmulCycles(np.ones((1, 5), np.int8), geometry(one, 8, 16))
    assert dense.static_row_cycles == 10


def test_dense_and_empty_tiles() -> None:
    mac = replace(AZ1.mac, lanes=4, macs_per_lane=4, window=16)
    ones = np.ones((1, 64), np.uint8)
    # 16 weights a window take 4 cycles; 8 rows are two passes.
    assert MatmulCycles(np.ones((8, 64), np.int8), geometry(mac, 8, 8)).row_cycles(ones) == [32]
    # Without a product a window still takes the cycle that it is looked at.
    assert MatmulCycles(np.zeros((8, 64), np.int8), geometry(mac, 8, 8)).row_cycles(ones) == [8]


def test_prepared_tiles_are_shared_by_content() -> None:
    shape = geometry(AZ1.mac, 8, 8)
    codes = np.ones((3, 5), np.int8)
    assert matmul_cycles("one", codes, shape) is matmul_cycles("one", codes.copy(), shape)
    assert matmul_cycles("one", codes, shape) is not matmul_cycles("two", codes, shape)
