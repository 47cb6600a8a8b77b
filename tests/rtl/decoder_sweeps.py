"""Sweeps of the decoder: zeros, bits, lanes and port, block sizes, work in few lanes, stalls."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np

from azsim.codecs import encode_block
from rtl.decoder_cases import Block, decoder_design, exact, fast, random_block, rtl, split
from rtl.point import FIRST_RANDOM_SEED, Measured, Point, zeros_of

__all__ = ["decoder_points"]

_ZEROS = (0.0, 0.25, 0.5, 0.75, 0.9, 0.98)
_BITS = (8, 4, 2)
_SIZES = ((4, 64), (8, 32), (3, 16), (16, 64))  # lanes, codes that the write port takes a cycle
_PORTS = (16, 64)
_BASE = (16, 64)  # az1's
_COUNTS = (16, 100, 1000, 4000, 16000, 64000)
_WORKING_LANES = (1, 2, 4, 8, 16)
_NO_STALL = np.zeros(1, np.uint64)
_RANDOM = 16  # random cases of each size
_LONG_CYCLES = 1200


def _count(codec: str, zeros: float, lanes: int) -> int:
    """Codes that take a bit more than 1,000 cycles."""
    if codec == "zero_run":
        return int(_LONG_CYCLES * lanes / max(1 - zeros, 1 / 14))
    return int(_LONG_CYCLES * lanes * 16 / max(1, 4 * (1 - zeros)))


def _codes(seed: int, count: int, bits: int, zeros: float, *, few: bool = False) -> np.ndarray:
    rng = np.random.default_rng([seed, bits])
    limit = (1 << (bits - 1)) - 1
    values = rng.integers(1, limit + 1, count) * rng.choice([-1, 1], count)
    if few:
        values = rng.choice(np.array([-90, -20, 3, 21, 60, 127]), count)
    return np.where(rng.random(count) < zeros, 0, values).astype(np.int8)


def _block(
    codec: str, codes: np.ndarray, bits: int, *, palette: bool = False,
    stall: np.ndarray = _NO_STALL,
) -> Block:  # fmt: skip
    return Block(codes, encode_block(codec, codes, bits, palette=palette), codec, bits, stall)


def _point(
    sweep: str, x: float | str, series: str, seed: int, size: tuple[int, int], block: Block
) -> Point:
    lanes, port_codes = size
    design = decoder_design(block.codec, lanes, port_codes)

    def measure() -> Measured:
        streams = split(block, lanes)
        cycles, codes = rtl(design, block, streams)
        quick = None if block.stall.any() else fast(block, lanes, port_codes)
        same = bool((codes == block.codes).all())
        return Measured(cycles, exact(block, streams, port_codes), quick, same)

    parameters = {
        "decoder_lanes": lanes,
        "port_codes": port_codes,
        "weight_bits": block.bits,
        "palette": block.data[3] >> 4 & 1,
        "codes": block.codes.size,
        "weight_zeros": zeros_of(int((block.codes == 0).sum()), block.codes.size),
        "stalled": int(block.stall.any()),
    }
    return Point(block.codec, sweep, x, series, seed, parameters, design, measure)


def decoder_points(codec: str, seeds: int) -> Iterator[Point]:
    """Every case of a codec, `seeds` of each."""
    block, lanes = functools.partial(_block, codec), _BASE[0]
    for seed in range(seeds):
        for zeros in _ZEROS:
            count = _count(codec, zeros, lanes)
            for bits in _BITS:
                codes = _codes(seed, count, bits, zeros)
                yield _point("zeros", 100 * zeros, f"{bits} bit", seed, _BASE, block(codes, bits))
            codes = _codes(seed, count, 8, zeros, few=True)
            found = block(codes, 8, palette=True)
            yield _point("zeros", 100 * zeros, "8 bit, palette", seed, _BASE, found)
        for size in _SIZES:
            codes = _codes(seed, _count(codec, 0.5, size[0]), 8, 0.5)
            yield _point("lanes", size[0], "", seed, size, block(codes, 8))
        for port in _PORTS:
            codes = _codes(seed, _count(codec, 0.9, lanes), 8, 0.9)
            yield _point("port", port, "", seed, (lanes, port), block(codes, 8))
        for count in _COUNTS:
            yield _point("size", count, "", seed, _BASE, block(_codes(seed, count, 8, 0.5), 8))
        for working in _WORKING_LANES:
            codes = _codes(seed, _count(codec, 0.5, lanes), 8, 0.5)
            codes[-(-codes.size // lanes) * working :] = 0
            yield _point("working_lanes", working, "", seed, _BASE, block(codes, 8))
        for share in (0.1, 0.3, 0.6):
            rng = np.random.default_rng(seed)
            mask = (rng.random((37, lanes)) < share) @ (1 << np.arange(lanes))
            stall = np.append(mask.astype(np.uint64), np.uint64(0))
            codes = _codes(seed, _count(codec, 0.5, lanes) // 4, 8, 0.5)
            found = block(codes, 8, stall=stall)
            yield _point("stalls", 100 * share, "", seed, _BASE, found)
    for number, size in enumerate(_SIZES):
        for seed in range(FIRST_RANDOM_SEED, FIRST_RANDOM_SEED + _RANDOM * seeds // 3):
            found = random_block(seed, codec, size[0], is_long=seed % 2 == 0)
            yield _point("random", number, "", seed, size, found)
