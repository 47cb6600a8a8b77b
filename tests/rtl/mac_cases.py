"""Seeded random matrix products for the MAC array: RTL, numpy and both models on one case."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from azsim.machine.engines.exact_mac import inner_cycles, outer_cycles
from azsim.machine.engines.mac import Geometry, MatmulCycles
from rtl.harness import Design, bits_to_bytes

__all__ = ["BANK_BITS", "Case", "array_design", "exact_cycles", "fast_cycles", "random_case", "rtl"]

BANK_BITS = 10
_COLUMN_BITS, _ROW_BITS, _SUM_BITS = 8, 3, 7
_LIMIT = 1 << 20


@dataclass(frozen=True)
class Case:
    """One job: a tile, rows of activations, and when activation SRAM stalls.

    Attributes
    ----------
    codes : ndarray of shape (N, K), int8
    activations : ndarray of shape (rows, K), int16
    stall : ndarray of shape (period,), uint8
    """

    codes: np.ndarray
    activations: np.ndarray
    stall: np.ndarray


def array_design(shape: Geometry, weight_bits: int, *, more_queue: int = 0) -> Design:
    """RTL of a geometry; `more_queue` plants a queue of another depth."""
    parameters = {
        "LANES": shape.lanes,
        "MACS": shape.macs,
        "WINDOW": shape.window,
        "QUEUE_DEPTH": shape.queue_depth + more_queue,
        "WEIGHT_BITS": weight_bits,
        "HALVES": shape.halves,
        "SKIP_WEIGHTS": int(shape.skip_weights),
        "SKIP_ACTIVATIONS": int(shape.skip_activations),
        "BANK_BITS": BANK_BITS,
    }
    if not shape.is_outer:
        return Design("mac_array_inner", parameters)
    places = {"SUM_BITS": _SUM_BITS, "COLUMN_BITS": _COLUMN_BITS, "ROW_BITS": _ROW_BITS}
    return Design("mac_array_outer", {**parameters, **places})


def random_case(seed: int, shape: Geometry, weight_bits: int, *, is_long: bool = False) -> Case:
    """Case number `seed` of a geometry; the first ones are the edges."""
    rng = np.random.default_rng([seed, shape.lanes, shape.macs, shape.window, weight_bits])
    edge = seed if seed < 8 else -1
    bank = 1 << BANK_BITS
    if shape.is_outer:
        inner = int(rng.integers(120, 250) if is_long else rng.integers(1, 120))
        scans = int(rng.integers(1, 5 if is_long else 4))
        outputs = int(rng.integers(1, shape.lanes * shape.window * scans + 1))
        rows = int(rng.integers(4, 9) if is_long else rng.integers(1, 5))
        inner = min(inner, bank // scans)
    else:
        passes = int(rng.integers(2, 5) if is_long else rng.integers(1, 4))
        outputs = int(rng.integers(max(1, shape.lanes * (passes - 1)), shape.lanes * passes + 1))
        windows = int(rng.integers(20, 50) if is_long else rng.integers(1, 20))
        inner = int(rng.integers(shape.window * (windows - 1) + 1, shape.window * windows + 1))
        rows = int(rng.integers(4, 12) if is_long else rng.integers(1, 5))
    limit = (1 << (weight_bits - 1)) - 1
    codes = rng.integers(1, limit + 1, (outputs, inner)) * rng.choice([-1, 1], (outputs, inner))
    density = rng.choice([0.02, 0.1, 0.3, 0.5, 0.8, 1.0])
    codes = np.where(rng.random((outputs, inner)) < density, codes, 0)
    top = (1 << (8 * shape.halves - 1)) - 1
    activations = rng.integers(-top, top + 1, (rows, inner))
    activations = np.where(rng.random((rows, inner)) < rng.choice([0.1, 0.4, 1.0]), activations, 0)
    stall = np.zeros(1, np.uint8)
    if edge == 0:  # all weights zero
        codes[:] = 0
    elif edge == 1:  # no zero, extremes
        codes[:], activations[:] = -limit, -top
    elif edge == 2:  # all activations zero
        activations[:] = 0
    elif edge == 3:  # one lane has all the work, and the others wait for it with queues full
        codes[:], activations[:] = 0, 1
        codes[0] = 1
    elif edge == 4:  # the lane with the work changes along K
        columns = np.arange(inner)
        codes = np.where(np.arange(outputs)[:, None] == columns // 8 % outputs, limit, 0)
    elif edge == 5:  # rows without any activation between others
        activations[::2] = 0
    elif edge == 6:  # activation SRAM is slow
        stall = np.array([0, 1, 1, 1], np.uint8)
    elif edge == 7:  # one output, one position
        codes, activations = codes[:1, :1], activations[:, :1]
    elif seed % 4 == 0 and not is_long:
        stall = (rng.random(int(rng.integers(2, 30))) < 0.3).astype(np.uint8)
        stall[0] = 0
    return Case(codes.astype(np.int8), activations.astype(np.int16), stall)


def _counted(case: Case, shape: Geometry) -> tuple[np.ndarray, np.ndarray]:
    weights = case.codes != 0 if shape.skip_weights else np.ones(case.codes.shape, bool)
    if shape.skip_activations:
        return weights, case.activations != 0
    return weights, np.ones(case.activations.shape, bool)


def _by_lane(array: np.ndarray, lanes: int) -> np.ndarray:
    """(N, ...) to (passes, lanes, ...), missing outputs zero."""
    passes = -(-len(array) // lanes)
    padded = np.zeros((passes * lanes, *array.shape[1:]), array.dtype)
    padded[: len(array)] = array
    return padded.reshape(passes, lanes, *array.shape[1:])


def _windows(array: np.ndarray, window: int) -> np.ndarray:
    """(..., K) to (..., windows, window), missing positions zero."""
    windows = -(-array.shape[-1] // window)
    padded = np.zeros((*array.shape[:-1], windows * window), array.dtype)
    padded[..., : array.shape[-1]] = array
    return padded.reshape(*array.shape[:-1], windows, window)


def rtl(design: Design, case: Case, shape: Geometry, weight_bits: int) -> tuple[int, np.ndarray]:
    """Cycles, and sums (rows, N) int32."""
    run = _rtl_outer if shape.is_outer else _rtl_inner
    return run(design, case, shape, weight_bits)


def _rtl_inner(
    design: Design, case: Case, shape: Geometry, weight_bits: int
) -> tuple[int, np.ndarray]:
    (rows, inner), lanes, window = case.activations.shape, shape.lanes, shape.window
    tile = _windows(_by_lane(case.codes, lanes), window)  # passes, lanes, windows, window
    passes, _, windows, _ = tile.shape
    words = bits_to_bytes(tile.transpose(0, 2, 1, 3).reshape(passes * windows, -1), weight_bits)
    activations = bits_to_bytes(_windows(case.activations, window), 8 * shape.halves)
    tail = np.arange(64) < inner - (windows - 1) * window
    sums = np.zeros((rows, passes * lanes), np.int32)
    cycles = design(
        windows, passes, rows, words.shape[1], words, activations.shape[-1], activations,
        np.packbits(tail, bitorder="little"), len(case.stall), case.stall, _LIMIT, sums,
    )  # fmt: skip
    return cycles, sums[:, : len(case.codes)]


def _rtl_outer(
    design: Design, case: Case, shape: Geometry, weight_bits: int
) -> tuple[int, np.ndarray]:
    (rows, inner), lanes, window = case.activations.shape, shape.lanes, shape.window
    outputs = len(case.codes)
    tile = _windows(np.moveaxis(_by_lane(case.codes, lanes), 0, -1), window)
    scans = tile.shape[2]  # lanes, K, scans, window
    words = bits_to_bytes(tile.transpose(1, 2, 0, 3).reshape(inner * scans, -1), weight_bits)
    sums = np.zeros((rows, scans, lanes, window), np.int32)
    activations = case.activations.view(np.uint16) & ((1 << 8 * shape.halves) - 1)
    cycles = design(
        inner, outputs, scans, rows, words.shape[1], words, activations,
        len(case.stall), case.stall, _LIMIT, sums,
    )  # fmt: skip
    flat = sums.transpose(0, 1, 3, 2).reshape(rows, -1)
    return cycles, flat[:, :outputs]


def exact_cycles(case: Case, shape: Geometry) -> int:
    """Cycles of the cycle-stepped model."""
    weights, active = _counted(case, shape)
    lanes, window = shape.lanes, shape.window
    if shape.is_outer:
        scans = _windows(np.moveaxis(_by_lane(weights, lanes), 0, -1), window)
        products = scans.sum(axis=-1, dtype=np.int64).transpose(1, 2, 0)
        return outer_cycles(
            np.ascontiguousarray(products), active.astype(np.uint8), shape.macs, shape.halves,
            shape.queue_depth, case.stall,
        )  # fmt: skip
    tile = _windows(_by_lane(weights, lanes), window)[None]  # 1, passes, lanes, windows, window
    acts = _windows(active, window)[:, None, None]
    products = (tile & acts).sum(axis=-1, dtype=np.int64).transpose(0, 1, 3, 2)
    windows = products.shape[2]
    flat = np.ascontiguousarray(products.reshape(-1, lanes))
    return inner_cycles(flat, windows, shape.macs, shape.halves, shape.queue_depth, case.stall)


def fast_cycles(case: Case, shape: Geometry) -> int:
    """Cycles of the fast model, without the pipeline's."""
    marks = np.ascontiguousarray(case.activations != 0).astype(np.uint8)
    return int(MatmulCycles(case.codes, shape).row_cycles(marks).sum())
