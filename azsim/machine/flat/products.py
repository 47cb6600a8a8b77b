"""Rows of the array: products, drains, and the quantizers between them."""

from __future__ import annotations

import numpy as np
from numba import carray  # pyright: ignore[reportPrivateImportUsage]

from azsim.arith.dot import HAS_BYTE_DOT, multiply_bytes
from azsim.arith.elementwise import (
    codes_line,
    drain_line,
    largest_bits,
    multiply_lines,
    peak_line,
    scale_of,
)
from azsim.jit import kernel
from azsim.machine.flat.columns import (
    ACC,
    ACCUMULATE,
    BIAS,
    CODE_SCALE,
    COLS,
    DST,
    FLAG_BITS,
    FUNCTION,
    MASK,
    OUTPUTS,
    PEAK,
    REQUANTIZE,
    ROW_STEP,
    ROWS,
    SCALE,
    SHIFT,
    SRC,
    STATIC,
    TILE,
    USE_BIAS,
    USE_PEAK,
)
from azsim.machine.flat.lines import fetch, is_line, pointer, read, start, write

__all__ = ["drain", "multiply", "multiply_8", "quantize"]

_INFINITY_BITS = np.int32(0x7F800000)


@kernel
def _mark(codes, masks, at):
    """Write the bits of non-zero codes, rows padded to bytes, most significant bit first."""
    for i in range(codes.shape[0]):
        row = codes[i]
        for first in range(0, len(row), 8):
            bits = 0
            for j in range(first, min(first + 8, len(row))):
                bits |= (row[j] != 0) << (7 - (j - first))
            masks[at] = bits
            at += 1


@kernel
def _factors(row, codes, accumulators, masks):
    """Weights and accumulators of a product; writes the zero mask of codes if a row asks for it."""
    if row[MASK] >= 0:
        _mark(codes, masks, row[MASK])
    rows, cols = codes.shape
    outputs = row[OUTPUTS]
    weights = carray(pointer(row[TILE]), (outputs, cols))  # pyright: ignore[reportCallIssue]
    return weights, accumulators[row[ACC] : row[ACC] + rows * outputs]


@kernel
def multiply(row, views, offsets, memory, accumulators, masks, spare):
    """Multiply codes by a tile, and write their zero mask where a row asks for it."""
    src = row[SRC]
    shape = (views[src, ROWS], views[src, COLS])
    codes = fetch(memory, views, src, offsets, spare).reshape(shape)
    weights, part = _factors(row, codes, accumulators, masks)
    multiply_lines(codes, weights, part, row[FLAG_BITS] & ACCUMULATE != 0)


@kernel
def _multiply_bytes(row, views, offsets, memory, accumulators, masks, spare):
    """`multiply` for codes of 8 bits."""
    src = row[SRC]
    shape = (views[src, ROWS], views[src, COLS])
    codes = read(memory, views, src, offsets, spare.view(np.int8)).reshape(shape)
    weights, part = _factors(row, codes, accumulators, masks)
    multiply_bytes(codes, weights, part, row[FLAG_BITS] & ACCUMULATE != 0)


multiply_8 = _multiply_bytes if HAS_BYTE_DOT else multiply
"""`multiply` for codes of 8 bits, in the way that is fastest on this host."""


@kernel
def _drained(row, views, offsets, f32, accumulators, lines):
    """Drain; returns the line that has the numbers, which is memory itself where it can be."""
    dst, flags, function = row[DST], row[FLAG_BITS], row[FUNCTION]
    rows, cols = views[dst, ROWS], views[dst, COLS]
    scales = read(f32, views, row[SCALE], offsets, lines[0])
    bias = scales
    if flags & USE_BIAS:
        bias = read(f32, views, row[BIAS], offsets, lines[1])
    if flags & REQUANTIZE:
        line = lines[2][: rows * cols]
    elif flags & ACCUMULATE:
        line = read(f32, views, dst, offsets, lines[2])
    elif is_line(views, dst):
        at = start(views, dst, offsets)
        line = f32[at : at + rows * cols]
    else:
        line = lines[2][: rows * cols]
    at = start(views, row[SRC], offsets)
    step = views[row[SRC], ROW_STEP] if views[row[SRC], ROWS] > 1 else 0
    accumulate, use_bias = flags & ACCUMULATE != 0, flags & USE_BIAS != 0
    for m in range(rows):
        part = accumulators[row[ACC] + m * cols : row[ACC] + (m + 1) * cols]
        out = line[m * cols : (m + 1) * cols]
        drain_line(part, f32[at + m * step], scales, bias, out, accumulate, use_bias, function)
    return line


@kernel
def _write_codes(codes, views, number, offsets, i8, i16):
    if views[number, SHIFT]:
        write(codes, i16, views, number, offsets)
    else:
        write(codes, i8, views, number, offsets)


@kernel
def _limit(views, number):
    """Largest code of a view's type."""
    return np.float32(32767 if views[number, SHIFT] else 127)


@kernel
def drain(row, views, offsets, i8, i16, f32, accumulators, lines, codes):
    """Scale accumulators; False if a code is asked for what is not finite."""
    dst = row[DST]
    line = _drained(row, views, offsets, f32, accumulators, lines)
    if row[FLAG_BITS] & REQUANTIZE:
        if largest_bits(line) >= _INFINITY_BITS:
            return False
        scale = f32[start(views, row[CODE_SCALE], offsets)]
        codes = codes[: len(line)]
        codes_line(line, codes, scale, _limit(views, dst))
        _write_codes(codes, views, dst, offsets, i8, i16)
    elif not is_line(views, dst):
        write(line, f32, views, dst, offsets)
    if row[FLAG_BITS] & USE_PEAK:
        f32[start(views, row[PEAK], offsets)] = peak_line(line)
    return True


@kernel
def _find_scales(row, views, offsets, f32, values, lines):
    """Write the scales of a quantizer; False if what they are made of is not finite."""
    rows, cols = views[row[SRC], ROWS], views[row[SRC], COLS]
    at, bound = start(views, row[SCALE], offsets), _limit(views, row[DST])
    if views[row[SCALE], ROWS] > 1:
        step = views[row[SCALE], ROW_STEP]
        for i in range(rows):
            bits = largest_bits(values[i * cols : (i + 1) * cols])
            if bits >= _INFINITY_BITS:
                return False
            if not row[FLAG_BITS] & STATIC:
                f32[at + i * step] = scale_of(bits, bound)
        return True
    bits = largest_bits(values)
    if bits >= _INFINITY_BITS:
        return False
    if row[FLAG_BITS] & USE_PEAK:
        bits = largest_bits(read(f32, views, row[PEAK], offsets, lines[1]))
        if bits >= _INFINITY_BITS:
            return False
    if not row[FLAG_BITS] & STATIC:
        f32[at] = scale_of(bits, bound)
    return True


@kernel
def quantize(row, views, offsets, i8, i16, f32, lines, codes):
    """Turn numbers into codes; False if they are not finite."""
    src, dst, scale = row[SRC], row[DST], row[SCALE]
    rows, cols = views[src, ROWS], views[src, COLS]
    values = read(f32, views, src, offsets, lines[0])
    if not _find_scales(row, views, offsets, f32, values, lines):
        return False
    at, bound = start(views, scale, offsets), _limit(views, dst)
    codes = codes[: rows * cols]
    if views[scale, ROWS] > 1:
        for i in range(rows):
            part = slice(i * cols, (i + 1) * cols)
            codes_line(values[part], codes[part], f32[at + i * views[scale, ROW_STEP]], bound)
    else:
        codes_line(values, codes, f32[at], bound)
    _write_codes(codes, views, dst, offsets, i8, i16)
    return True
