"""Sweeps of the MAC array: zeros, precision, queue depth, window, skipping, shapes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from azsim.machine.engines.exact_mac import INNER_OFFSET, OUTER_OFFSET
from azsim.machine.engines.mac import Geometry
from rtl.mac_cases import BANK_BITS, Case, array_design, exact_cycles, fast_cycles, random_case, rtl
from rtl.point import FIRST_RANDOM_SEED, Measured, Point, zeros_of

__all__ = ["mac_points"]

_ZEROS = (0.0, 0.25, 0.5, 0.75, 0.9, 0.98)
_SOME_ZEROS = (0.5, 0.75, 0.9)
_QUEUES, _WINDOWS = (1, 2, 4, 8, 16), (4, 8, 16, 32)
_PRECISIONS = ((8, 8), (4, 8), (2, 8), (8, 16))
_SKIPS = {
    "none": (False, False),
    "weights": (True, False),
    "activations": (False, True),
    "both": (True, True),
}
_NO_STALL = np.zeros(1, np.uint8)
_RANDOM = 16  # random cases of each design


def _base(is_outer: bool) -> Geometry:
    return Geometry(8, 4, 1, 16, 8, True, is_outer, is_outer)


def _size(is_outer: bool) -> tuple[int, int, int]:
    """Outputs, inner, rows; 1,000 cycles or more in most arrays."""
    return (128, 192, 6) if is_outer else (64, 192, 16)


def _shapes(is_outer: bool) -> tuple[tuple[int, int, int], ...]:
    if is_outer:
        return (1, 1, 1), (8, 16, 1), (61, 97, 3), (128, 64, 8), (129, 64, 8), (512, 250, 2)
    return (1, 1, 1), (8, 16, 1), (61, 97, 3), (8, 1000, 16), (65, 192, 8), (256, 48, 8)


def _case(
    seed: int, size: tuple[int, int, int], weight_bits: int, activation_bits: int,
    weight_zeros: float, activation_zeros: float, stall: np.ndarray = _NO_STALL,
) -> Case:  # fmt: skip
    """Independent zeros at the given shares."""
    outputs, inner, rows = size
    rng = np.random.default_rng([seed, outputs, inner, rows])
    limit, top = (1 << (weight_bits - 1)) - 1, (1 << (activation_bits - 1)) - 1
    signs = rng.choice([-1, 1], (outputs, inner))
    codes = rng.integers(1, limit + 1, (outputs, inner)) * signs
    codes = np.where(rng.random((outputs, inner)) < weight_zeros, 0, codes)
    acts = rng.integers(1, top + 1, (rows, inner)) * rng.choice([-1, 1], (rows, inner))
    acts = np.where(rng.random((rows, inner)) < activation_zeros, 0, acts)
    return Case(codes.astype(np.int8), acts.astype(np.int16), stall)


def _point(
    sweep: str, x: float | str, series: str, seed: int, shape: Geometry, bits: int, case: Case
) -> Point:
    design = array_design(shape, bits)
    rounds = -(-case.codes.shape[0] // shape.lanes)
    words = (
        case.codes.shape[1] * -(-rounds // shape.window)
        if shape.is_outer
        else rounds * -(-case.codes.shape[1] // shape.window)
    )
    assert words <= 1 << BANK_BITS, "the tile does not fit into the array's banks"

    def measure() -> Measured:
        cycles, sums = rtl(design, case, shape, bits)
        wanted = case.activations.astype(np.int64) @ case.codes.T.astype(np.int64)
        offset = OUTER_OFFSET if shape.is_outer else INNER_OFFSET
        fast = None if case.stall.any() else fast_cycles(case, shape) + offset
        return Measured(cycles, exact_cycles(case, shape), fast, bool((sums == wanted).all()))

    skips = (shape.skip_weights, shape.skip_activations)
    parameters = {
        "lanes": shape.lanes,
        "macs": shape.macs,
        "window": shape.window,
        "queue_depth": shape.queue_depth,
        "zero_skip": next(name for name, skip in _SKIPS.items() if skip == skips),
        "weight_bits": bits,
        "activation_bits": 8 * shape.halves,
        "outputs": case.codes.shape[0],
        "inner": case.codes.shape[1],
        "rows": case.activations.shape[0],
        "weight_zeros": zeros_of(int((case.codes == 0).sum()), case.codes.size),
        "activation_zeros": zeros_of(int((case.activations == 0).sum()), case.activations.size),
        "stalled": int(case.stall.any()),
    }
    engine = "mac_outer" if shape.is_outer else "mac_inner"
    return Point(engine, sweep, x, series, seed, parameters, design, measure)


def mac_points(dataflow: str, seeds: int) -> Iterator[Point]:
    """Every case of a dataflow, `seeds` of each."""
    is_outer = dataflow == "outer"
    base, size = _base(is_outer), _size(is_outer)
    for seed in range(seeds):
        for zeros in _ZEROS:
            case = _case(seed, size, 8, 8, zeros, 0.0)
            yield _point("zeros", 100 * zeros, "", seed, base, 8, case)
        both = replace(base, skip_weights=True, skip_activations=True)
        for zeros in _ZEROS:
            case = _case(seed, size, 8, 8, 0.5, zeros)
            yield _point("activation_zeros", 100 * zeros, "", seed, both, 8, case)
        for zeros in _SOME_ZEROS:
            series = f"{zeros:.0%} zeros".replace("%", " %")
            for depth in _QUEUES:
                shape = replace(base, queue_depth=depth)
                case = _case(seed, size, 8, 8, zeros, 0.0)
                yield _point("queue_depth", depth, series, seed, shape, 8, case)
            for window in _WINDOWS:
                shape = replace(base, window=window)
                case = _case(seed, size, 8, 8, zeros, 0.0)
                yield _point("window", window, series, seed, shape, 8, case)
        for weight_bits, activation_bits in _PRECISIONS:
            gain, halves = 8 // weight_bits, activation_bits // 8
            shape = replace(base, macs=4 * gain, halves=halves, window=16 * gain // halves)
            case = _case(seed, size, weight_bits, activation_bits, 0.5, 0.0)
            series = f"{activation_bits} bit activations"
            yield _point("bits", weight_bits, series, seed, shape, weight_bits, case)
        for name, (weights, activations) in _SKIPS.items():
            shape = replace(base, skip_weights=weights, skip_activations=activations)
            case = _case(seed, size, 8, 8, 0.5, 0.5)
            yield _point("zero_skip", name, "", seed, shape, 8, case)
        for shape_size in _shapes(is_outer):
            case = _case(seed, shape_size, 8, 8, 0.6, 0.0)
            name = "x".join(map(str, shape_size))
            yield _point("shape", name, "", seed, base, 8, case)
        for share in (0.1, 0.3, 0.6):
            stall = (np.random.default_rng(seed).random(97) < share).astype(np.uint8)
            case = _case(seed, size, 8, 8, 0.5, 0.0, stall)
            yield _point("stalls", 100 * share, "", seed, base, 8, case)
    yield from _random_points(base, seeds)


def _random_points(base: Geometry, seeds: int) -> Iterator[Point]:
    designs = [
        (base, 8),
        (replace(base, queue_depth=2), 8),
        (replace(base, skip_weights=True, skip_activations=True), 8),
        (replace(base, macs=8, window=32), 4),
    ]
    for number, (shape, bits) in enumerate(designs):
        for seed in range(FIRST_RANDOM_SEED, FIRST_RANDOM_SEED + _RANDOM * seeds // 3):
            case = random_case(seed, shape, bits, is_long=seed % 2 == 0)
            yield _point("random", number, "", seed, shape, bits, case)
