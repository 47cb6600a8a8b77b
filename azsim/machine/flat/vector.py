"""Rows of the vector unit, and transfers."""

from __future__ import annotations

import numpy as np

from azsim.arith.functions import unary_line
from azsim.arith.rows import (
    cumulative_sum_kernel,
    norm_kernel,
    reduce_kernel,
    scan_kernel,
    softmax_kernel,
    sum_lines,
)
from azsim.jit import kernel
from azsim.machine.flat.columns import (
    ADD,
    BIAS,
    BINARY,
    COL_STEP,
    COLS,
    COMPARE,
    CUMULATIVE_SUM,
    DIV,
    DST,
    EQUAL,
    FLAG_BITS,
    FUNCTION,
    KIND,
    LARGER,
    LESS,
    MUL,
    MULTIPLY_ADD,
    NEG,
    NORM,
    REDUCE,
    RELU,
    ROW_STEP,
    ROWS,
    SCALE,
    SCATTER,
    SHIFT,
    SOFTMAX,
    SQRT,
    SRC,
    SRC2,
    SUB,
    TO_FLOAT,
    USE_BIAS,
    VALUE,
)
from azsim.machine.flat.lines import copy, fetch, read, start, write

__all__ = ["along_rows", "apply", "convert", "copy_any", "fill", "pairwise", "place"]

_ZERO, _ONE = np.float32(0), np.float32(1)
_LEAST, _MOST = np.float64(-(2**31)), np.float64(2**31 - 1)


@kernel
def _combine(function, left, right, out):
    if function == ADD:
        for j in range(len(out)):
            out[j] = left[j] + right[j]
    elif function == SUB:
        for j in range(len(out)):
            out[j] = left[j] - right[j]
    elif function == MUL:
        for j in range(len(out)):
            out[j] = left[j] * right[j]
    elif function == DIV:
        for j in range(len(out)):
            out[j] = left[j] / right[j]
    elif function == LARGER:
        for j in range(len(out)):
            out[j] = left[j] if left[j] > right[j] else right[j]
    else:
        for j in range(len(out)):
            out[j] = left[j] if left[j] < right[j] else right[j]


@kernel
def apply(function, line):
    """Apply a function of one number to each of a line."""
    if function > 0:
        unary_line(function, line)
    elif function == RELU:
        for j in range(len(line)):
            line[j] = _ZERO if line[j] <= _ZERO else line[j]
    elif function == SQRT:
        for j in range(len(line)):
            line[j] = np.sqrt(line[j])
    elif function == NEG:
        for j in range(len(line)):
            line[j] = -line[j]
    else:
        for j in range(len(line)):
            line[j] = abs(line[j])


@kernel
def _compare(function, left, right, out):
    for j in range(len(out)):
        if function == EQUAL:
            holds = left[j] == right[j]
        elif function == LESS:
            holds = left[j] < right[j]
        else:
            holds = left[j] <= right[j]
        out[j] = _ONE if holds else _ZERO


@kernel
def along_rows(row, views, offsets, f32, lines):
    """Execute what works along the rows of a matrix; returns the line with the result."""
    src, kind = row[SRC], row[KIND]
    rows, cols = views[src, ROWS], views[src, COLS]
    line = fetch(f32, views, src, offsets, lines[0])
    matrix, out = line.reshape((rows, cols)), lines[3][: rows * cols]
    if kind == REDUCE:
        if row[FUNCTION] == 0:
            sum_lines(line, lines[1][: rows * cols], rows, out[:rows])
        else:
            reduce_kernel(row[FUNCTION], matrix, out[:rows])
        return out[:rows]
    result = out.reshape((rows, cols))
    if kind == NORM:
        scale = read(f32, views, row[SCALE], offsets, lines[1])
        use_bias = row[FLAG_BITS] & USE_BIAS != 0
        bias = read(f32, views, row[BIAS], offsets, lines[2]) if use_bias else scale
        eps = np.float32(np.int64(row[VALUE]).view(np.float64))
        norm_kernel(row[FUNCTION] == 1, matrix, scale, bias, use_bias, eps, result)
    elif kind == CUMULATIVE_SUM:
        cumulative_sum_kernel(matrix, result)
    elif kind == SOFTMAX:
        softmax_kernel(matrix, result)
    else:
        other = fetch(f32, views, row[SRC2], offsets, lines[1]).reshape((rows, cols))
        scan_kernel(matrix, other, read(f32, views, row[SCALE], offsets, lines[2]), result)
    return out


@kernel
def place(row, views, offsets, memory):
    """Rows to (`SCATTER`) or from places by number; False if there is no such place."""
    is_scatter = row[KIND] == SCATTER
    src, dst, indices = row[SRC], row[DST], row[SCALE]
    there = dst if is_scatter else src
    at = start(views, indices, offsets)
    for i in range(views[indices, ROWS]):
        number = memory[at + i * views[indices, ROW_STEP]]
        if number < 0 or number >= views[there, ROWS]:
            return False
    for i in range(views[indices, ROWS]):
        number = np.int64(memory[at + i * views[indices, ROW_STEP]])
        left, right = (i, number) if is_scatter else (number, i)
        begin = start(views, src, offsets) + left * views[src, ROW_STEP]
        end = start(views, dst, offsets) + right * views[dst, ROW_STEP]
        for j in range(views[dst, COLS]):
            memory[end + j * views[dst, COL_STEP]] = memory[begin + j * views[src, COL_STEP]]
    return True


@kernel
def convert(row, views, offsets, i32, f32):
    """Convert between int32 and float32."""
    src, dst = row[SRC], row[DST]
    at, rows, cols = start(views, src, offsets), views[src, ROWS], views[src, COLS]
    to = start(views, dst, offsets)
    for i in range(rows):
        for j in range(cols):
            one = at + i * views[src, ROW_STEP] + j * views[src, COL_STEP]
            other = to + i * views[dst, ROW_STEP] + j * views[dst, COL_STEP]
            if row[FUNCTION] == TO_FLOAT:
                f32[other] = np.float32(i32[one])
            else:
                x = np.float64(np.rint(f32[one]))
                x = x if x == x else 0.0
                i32[other] = np.int32(min(max(x, _LEAST), _MOST))


@kernel
def fill(row, views, offsets, i8, i16, i32, f32):
    """Write one number everywhere."""
    dst = row[DST]
    value = np.int64(row[VALUE]).view(np.float64)
    at, rows, cols = start(views, dst, offsets), views[dst, ROWS], views[dst, COLS]
    for i in range(rows):
        for j in range(cols):
            place = at + i * views[dst, ROW_STEP] + j * views[dst, COL_STEP]
            if row[FUNCTION] == TO_FLOAT:
                f32[place] = np.float32(value)
            elif views[dst, SHIFT] == 0:
                i8[place] = np.int64(value)
            elif views[dst, SHIFT] == 1:
                i16[place] = np.int64(value)
            else:
                i32[place] = np.int64(value)


@kernel
def copy_any(views, src, dst, offsets, i8, i16, i32):
    """Copy elements of whatever size."""
    if views[dst, SHIFT] == 0:
        copy(i8, views, src, dst, offsets)
    elif views[dst, SHIFT] == 1:
        copy(i16, views, src, dst, offsets)
    else:
        copy(i32, views, src, dst, offsets)


@kernel
def pairwise(row, views, offsets, f32, lines):
    """Execute what works element by element on two matrices or more."""
    left = read(f32, views, row[SRC], offsets, lines[0])
    right = read(f32, views, row[SRC2], offsets, lines[1])
    out = lines[2][: len(left)]
    if row[KIND] == BINARY:
        _combine(row[FUNCTION], left, right, out)
    elif row[KIND] == COMPARE:
        _compare(row[FUNCTION], left, right, out)
    else:
        other = read(f32, views, row[SCALE], offsets, lines[3])
        if row[KIND] == MULTIPLY_ADD:
            for j in range(len(out)):
                out[j] = left[j] * right[j] + other[j]
        else:
            for j in range(len(out)):
                out[j] = right[j] if left[j] != _ZERO else other[j]
    write(out, f32, views, row[DST], offsets)
