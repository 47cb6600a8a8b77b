"""Sweeps of the lane_tans decoder: zeros, bits, lanes, write port, block sizes, stalls."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from azsim.codecs import encode_block
from rtl.point import FIRST_RANDOM_SEED, Measured, Point, zeros_of
from rtl.tans_cases import (
    Block,
    exact,
    fast,
    open_block,
    random_block,
    rtl,
    tans_design,
)

__all__ = ["tans_points"]

_BASE = (16, 64)  # az1's lanes and codes that the write port takes a cycle
_SIZES = ((4, 64), (16, 64))
_ZEROS, _BITS = (0.0, 0.25, 0.5, 0.75, 0.9, 0.98), (8, 4, 2)
_PORTS = (16, 64)
_LANES = (4, 8, 16)
_SHAPES = ((1, 16), (4, 64), (16, 128), (64, 192), (128, 256))
_NO_STALL = np.zeros(1, np.uint8)
_RANDOM = 16  # random cases of each size
_LONG_CYCLES = 1200


def _shape(zeros: float, lanes: int) -> tuple[int, int]:
    """Rows and columns that take a bit more than 1,000 cycles: a token for a code that is none."""
    codes = _LONG_CYCLES * lanes / (1 - 0.85 * zeros)
    return -(-int(codes) // 256), 256


def _block(
    seed: int, shape: tuple[int, int], bits: int, zeros: float, lanes: int,
    stall: np.ndarray = _NO_STALL,
) -> Block:  # fmt: skip
    """Laplace weights with independent zeros."""
    rng = np.random.default_rng([seed, bits])
    limit = (1 << (bits - 1)) - 1
    weights = rng.laplace(size=shape)
    codes = np.clip(np.rint(weights * limit / np.abs(weights).max()), -limit, limit)
    codes = np.where(codes == 0, np.copysign(1, weights), codes)
    codes = np.where(rng.random(shape) < zeros, 0, codes).astype(np.int8)
    data = encode_block("lane_tans", codes, bits, columns=shape[1], lanes=lanes)
    return Block(codes, data, bits, stall)


def _point(
    sweep: str, x: float | str, series: str, seed: int, size: tuple[int, int], block: Block
) -> Point:
    lanes, port_codes = size
    design = tans_design(lanes, port_codes)

    def measure() -> Measured:
        job = open_block(block, lanes)
        cycles, codes = rtl(design, block, job)
        quick = None if block.stall.any() else fast(block, lanes, port_codes)
        same = bool((codes == block.codes).all())
        return Measured(cycles, exact(block, job, port_codes).cycles, quick, same)

    parameters = {
        "decoder_lanes": lanes,
        "port_codes": port_codes,
        "weight_bits": block.bits,
        "codes": block.codes.size,
        "weight_zeros": zeros_of(int((block.codes == 0).sum()), block.codes.size),
        "stalled": int(block.stall.any()),
    }
    return Point("lane_tans", sweep, x, series, seed, parameters, design, measure)


def tans_points(seeds: int) -> Iterator[Point]:
    """Every case, `seeds` of each."""
    lanes = _BASE[0]
    for seed in range(seeds):
        for zeros in _ZEROS:
            for bits in _BITS:
                block = _block(seed, _shape(zeros, lanes), bits, zeros, lanes)
                yield _point("zeros", 100 * zeros, f"{bits} bit", seed, _BASE, block)
        for count in _LANES:
            block = _block(seed, _shape(0.5, count), 8, 0.5, count)
            yield _point("lanes", count, "", seed, (count, _BASE[1]), block)
        for port in _PORTS:
            block = _block(seed, _shape(0.9, lanes), 8, 0.9, lanes)
            yield _point("port", port, "", seed, (lanes, port), block)
        for shape in _SHAPES:
            block = _block(seed, shape, 8, 0.5, lanes)
            yield _point("size", shape[0] * shape[1], "", seed, _BASE, block)
        for share in (0.1, 0.3, 0.6):
            stall = (np.random.default_rng(seed).random(97) < share).astype(np.uint8)
            block = _block(seed, _shape(0.5, lanes), 8, 0.5, lanes, stall)
            yield _point("stalls", 100 * share, "", seed, _BASE, block)
    for number, size in enumerate(_SIZES):
        for seed in range(FIRST_RANDOM_SEED, FIRST_RANDOM_SEED + 2 * _RANDOM * seeds // 3):
            found = random_block(seed, size[0], is_long=seed % 2 == 0)
            yield _point("random", number, "", seed, size, found)
