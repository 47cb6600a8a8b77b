"""The compiled loop over rows."""

from __future__ import annotations

import numpy as np

from azsim.arith.elementwise import peak_line
from azsim.arith.rows import arg_kernel
from azsim.jit import kernel
from azsim.machine.flat.columns import (
    ARG,
    BINARY,
    COMPARE,
    CONVERT,
    COPY,
    DRAIN,
    DST,
    FILL,
    FLAG_BITS,
    FUNCTION,
    GATHER,
    KIND,
    MATMUL,
    MULTIPLY_ADD,
    NUM_LINES,
    PEAK,
    QUANTIZE,
    ROWS,
    SCATTER,
    SELECT,
    SHIFT,
    SRC,
    UNARY,
    USE_PEAK,
)
from azsim.machine.flat.lines import bare, fetch, read, start, write
from azsim.machine.flat.products import drain, multiply, multiply_8, quantize
from azsim.machine.flat.vector import (
    along_rows,
    apply,
    convert,
    copy_any,
    fill,
    pairwise,
    place,
)

__all__ = ["run_rows"]


@kernel
def _run_vector(row, views, offsets, i8, i16, i32, f32, lines):
    """Execute a row of the vector unit, or a transfer, which data cannot forbid."""
    kind, dst, src = row[KIND], row[DST], row[SRC]
    if kind in (BINARY, COMPARE, SELECT, MULTIPLY_ADD):
        pairwise(row, views, offsets, f32, lines)
    elif kind == UNARY:
        line = fetch(f32, views, src, offsets, lines[0])
        apply(row[FUNCTION], line)
        write(line, f32, views, dst, offsets)
    elif kind == COPY:
        copy_any(views, src, dst, offsets, i8, i16, i32)
    elif kind == CONVERT:
        convert(row, views, offsets, i32, f32)
    elif kind == FILL:
        fill(row, views, offsets, i8, i16, i32, f32)
    elif kind == ARG:
        line = fetch(f32, views, src, offsets, lines[0])
        places = lines[1][: views[src, ROWS]].view(np.int32)
        arg_kernel(row[FUNCTION] == 1, line.reshape((len(places), -1)), places)
        write(places, i32, views, dst, offsets)
    else:
        write(along_rows(row, views, offsets, f32, lines), f32, views, dst, offsets)
    if row[FLAG_BITS] & USE_PEAK:
        line = read(f32, views, dst, offsets, lines[0])
        f32[start(views, row[PEAK], offsets)] = peak_line(line)


@kernel(
    "int64(int64[:, ::1], int64[:, ::1], int64[::1], uint8[::1], int32[::1], uint8[::1], "
    "float32[:, ::1])"
)
def run_rows(rows, views, offsets, arena, accumulators, masks, lines):
    """Execute rows one after another.

    Parameters
    ----------
    rows : (n, len(COLUMNS)) int64
    views : (v, len(VIEW_COLUMNS)) int64
    offsets : (slots,) int64
        Bytes that are added to the addresses of views with a slot.
    arena : uint8, a multiple of 8
    accumulators : int32
    masks : uint8
        Zero masks of codes that are multiplied; written.
    lines : (NUM_LINES + 1, size) float32
        Scratch; `size` is that of the largest view.

    Returns
    -------
    int : -1, or the row that data did not allow
    """
    i8 = bare(arena)
    i16, i32, f32 = i8.view(np.int16), i8.view(np.int32), i8.view(np.float32)
    sums, marks = bare(accumulators).view(np.int32), bare(masks).view(np.uint8)
    scratch = bare(lines).view(np.float32).reshape(lines.shape)
    table = bare(views).view(np.int64).reshape(views.shape)
    orders = bare(rows).view(np.int64).reshape(rows.shape)
    moved = bare(offsets).view(np.int64)
    codes = scratch[NUM_LINES].view(np.int16)
    for number in range(len(orders)):
        row = orders[number]
        kind, is_allowed = row[KIND], True
        if kind == MATMUL:
            if table[row[SRC], SHIFT]:
                multiply(row, table, moved, i16, sums, marks, codes)
            else:
                multiply_8(row, table, moved, i8, sums, marks, codes)
        elif kind == DRAIN:
            is_allowed = drain(row, table, moved, i8, i16, f32, sums, scratch, codes)
        elif kind == QUANTIZE:
            is_allowed = quantize(row, table, moved, i8, i16, f32, scratch, codes)
        elif kind in (GATHER, SCATTER):
            is_allowed = place(row, table, moved, i32)
        else:
            _run_vector(row, table, moved, i8, i16, i32, f32, scratch)
        if not is_allowed:
            return number
    return -1
