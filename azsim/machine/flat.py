"""Instructions as rows of numbers, and one compiled loop that executes them.

What an instruction does is stated in `azsim.machine.instructions`; this module does the same for
the kinds that large models execute most, on memory that is shown by number.  A row holds
the instruction's kind and choices and the numbers of its views; a row of the views' table
(`azsim.machine.lines`) where a view lies in the arena (`azsim.machine.state.Machine`) and how it
strides.  Nothing is checked here but what depends on data: who makes the rows has done so.
"""

from __future__ import annotations

import numpy as np
from numba import carray, types  # pyright: ignore[reportPrivateImportUsage]
from numba.extending import intrinsic

from azsim import arith
from azsim.arith.elementwise import (
    codes_line,
    drain_line,
    largest_bits,
    multiply_lines,
    peak_line,
    scale_of,
)
from azsim.arith.functions import unary_line
from azsim.arith.rows import (
    arg_kernel,
    cumulative_sum_kernel,
    norm_kernel,
    reduce_kernel,
    scan_kernel,
    softmax_kernel,
    sum_lines,
)
from azsim.jit import kernel
from azsim.machine.lines import copy, fetch, is_line, read, start, write

__all__ = [
    "COLUMNS",
    "FLAGS",
    "FUNCTIONS",
    "KINDS",
    "NUM_LINES",
    "OPERANDS",
    "run_rows",
]

_MATMUL, _DRAIN, _BINARY, _UNARY, _COPY, _QUANTIZE, _REDUCE, _NORM = range(8)
_CUMULATIVE_SUM, _SCAN, _SOFTMAX, _ARG, _COMPARE, _SELECT, _CONVERT, _FILL = range(8, 16)
_GATHER, _SCATTER = 16, 17
KINDS = {
    "mac_matmul": _MATMUL,
    "mac_drain": _DRAIN,
    "vector_binary": _BINARY,
    "vector_unary": _UNARY,
    "vector_copy": _COPY,
    "load": _COPY,
    "store": _COPY,
    "vector_quantize": _QUANTIZE,
    "vector_reduce": _REDUCE,
    "vector_norm": _NORM,
    "vector_cumulative_sum": _CUMULATIVE_SUM,
    "vector_scan": _SCAN,
    "vector_softmax": _SOFTMAX,
    "vector_arg": _ARG,
    "vector_compare": _COMPARE,
    "vector_select": _SELECT,
    "vector_convert": _CONVERT,
    "vector_fill": _FILL,
    "vector_gather": _GATHER,
    "vector_scatter": _SCATTER,
}
"""Kinds of rows, by mnemonic."""

_ADD, _SUB, _MUL, _DIV, _LARGER, _SMALLER = range(6)
_BINARY_FUNCTIONS = {
    "add": _ADD,
    "sub": _SUB,
    "mul": _MUL,
    "div": _DIV,
    "max": _LARGER,
    "min": _SMALLER,
}
_RELU, _SQRT, _NEG, _ABS = -1, -2, -3, -4  # the arithmetic's own numbers are positive
_EQUAL, _LESS, _LESS_EQUAL = range(3)
_TO_FLOAT = 1
FUNCTIONS = {
    "mac_drain": arith.DRAIN_FUNCTIONS,
    "vector_binary": _BINARY_FUNCTIONS,
    "vector_unary": {
        **arith.TABLE_FUNCTIONS,
        "relu": _RELU,
        "sqrt": _SQRT,
        "neg": _NEG,
        "abs": _ABS,
    },
    "vector_reduce": {name: number for number, name in enumerate(arith.REDUCE_FUNCTIONS)},
    "vector_norm": {"rms_norm": 0, "layer_norm": 1},
    "vector_arg": {"min": 0, "max": 1},
    "vector_compare": {"equal": _EQUAL, "less": _LESS, "less_equal": _LESS_EQUAL},
}
"""Numbers of what an instruction may compute, by mnemonic; of a fill and a conversion it is
whether dst is float."""

FLAGS = ("accumulate", "use_bias", "use_peak", "static", "requantize")
"""Bits of the flags, the lowest first."""
_ACCUMULATE, _USE_BIAS, _USE_PEAK, _STATIC, _REQUANTIZE = (1 << bit for bit in range(5))

_DST, _SRC, _SRC2, _SCALE, _BIAS, _PEAK, _CODE_SCALE = range(7)
OPERANDS = {
    "dst": _DST,
    "src": _SRC,
    "src2": _SRC2,
    "scale": _SCALE,
    "other": _SCALE,
    "initial": _SCALE,
    "indices": _SCALE,
    "bias": _BIAS,
    "peak": _PEAK,
    "code_scale": _CODE_SCALE,
}
"""Columns of operands that may be views; no instruction has two in one column."""
COLUMNS = (
    *("dst", "src", "src2", "scale", "bias", "peak", "code_scale"),
    *("kind", "function", "flags", "acc", "tile", "outputs", "mask", "value"),
)
"""Columns of a row.  `tile` is the address of the codes in this process, `outputs` its rows;
`mask` is where the zero mask of src goes, -1 where it is known already; `value` has the bits of a
float64."""
_KIND, _FUNCTION, _FLAGS, _ACC, _TILE, _OUTPUTS, _MASK, _VALUE = range(7, 15)
_ROWS, _COLS, _ROW_STEP, _COL_STEP, _SHIFT = range(2, 7)  # of views

NUM_LINES = 4
"""Scratch lines that an instruction may need, each for a whole view."""

_ZERO, _ONE = np.float32(0), np.float32(1)
_INFINITY_BITS = np.int32(0x7F800000)
_LEAST, _MOST = np.float64(-(2**31)), np.float64(2**31 - 1)


@intrinsic
def _pointer(_context, address):
    """Pointer to int8 at an address."""

    def code(_, builder, signature, arguments):
        from llvmlite import ir

        return builder.inttoptr(arguments[0], ir.IntType(8).as_pointer())

    return types.CPointer(types.int8)(types.int64), code


@kernel
def _bare(array):
    """Bytes of a contiguous array without its owner: slices of them count no references."""
    return carray(_pointer(array.ctypes.data), array.nbytes)  # pyright: ignore[reportCallIssue]


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
def _combine(function, left, right, out):
    if function == _ADD:
        for j in range(len(out)):
            out[j] = left[j] + right[j]
    elif function == _SUB:
        for j in range(len(out)):
            out[j] = left[j] - right[j]
    elif function == _MUL:
        for j in range(len(out)):
            out[j] = left[j] * right[j]
    elif function == _DIV:
        for j in range(len(out)):
            out[j] = left[j] / right[j]
    elif function == _LARGER:
        for j in range(len(out)):
            out[j] = left[j] if left[j] > right[j] else right[j]
    else:
        for j in range(len(out)):
            out[j] = left[j] if left[j] < right[j] else right[j]


@kernel
def _apply(function, line):
    if function > 0:
        unary_line(function, line)
    elif function == _RELU:
        for j in range(len(line)):
            line[j] = _ZERO if line[j] <= _ZERO else line[j]
    elif function == _SQRT:
        for j in range(len(line)):
            line[j] = np.sqrt(line[j])
    elif function == _NEG:
        for j in range(len(line)):
            line[j] = -line[j]
    else:
        for j in range(len(line)):
            line[j] = abs(line[j])


@kernel
def _compare(function, left, right, out):
    for j in range(len(out)):
        if function == _EQUAL:
            holds = left[j] == right[j]
        elif function == _LESS:
            holds = left[j] < right[j]
        else:
            holds = left[j] <= right[j]
        out[j] = _ONE if holds else _ZERO


@kernel
def _multiply(row, views, offsets, memory, accumulators, masks, codes):
    src = row[_SRC]
    shape = (views[src, _ROWS], views[src, _COLS])
    lines = fetch(memory, views, src, offsets, codes).reshape(shape)
    if row[_MASK] >= 0:
        _mark(lines, masks, row[_MASK])
    outputs = row[_OUTPUTS]
    weights = carray(_pointer(row[_TILE]), (outputs, shape[1]))  # pyright: ignore[reportCallIssue]
    part = accumulators[row[_ACC] : row[_ACC] + shape[0] * outputs]
    multiply_lines(lines, weights, part, row[_FLAGS] & _ACCUMULATE != 0)


@kernel
def _drain(row, views, offsets, f32, accumulators, lines):
    """Drain; returns the line that has the numbers, which is memory itself where it can be."""
    dst, flags, function = row[_DST], row[_FLAGS], row[_FUNCTION]
    rows, cols = views[dst, _ROWS], views[dst, _COLS]
    scales = read(f32, views, row[_SCALE], offsets, lines[0])
    bias = scales
    if flags & _USE_BIAS:
        bias = read(f32, views, row[_BIAS], offsets, lines[1])
    if flags & _REQUANTIZE:
        line = lines[2][: rows * cols]
    elif flags & _ACCUMULATE:
        line = read(f32, views, dst, offsets, lines[2])
    elif is_line(views, dst):
        at = start(views, dst, offsets)
        line = f32[at : at + rows * cols]
    else:
        line = lines[2][: rows * cols]
    at = start(views, row[_SRC], offsets)
    step = views[row[_SRC], _ROW_STEP] if views[row[_SRC], _ROWS] > 1 else 0
    accumulate, use_bias = flags & _ACCUMULATE != 0, flags & _USE_BIAS != 0
    for m in range(rows):
        part = accumulators[row[_ACC] + m * cols : row[_ACC] + (m + 1) * cols]
        out = line[m * cols : (m + 1) * cols]
        drain_line(part, f32[at + m * step], scales, bias, out, accumulate, use_bias, function)
    return line


@kernel
def _write_codes(codes, views, number, offsets, i8, i16):
    if views[number, _SHIFT]:
        write(codes, i16, views, number, offsets)
    else:
        write(codes, i8, views, number, offsets)


@kernel
def _limit(views, number):
    """Largest code of a view's type."""
    return np.float32(32767 if views[number, _SHIFT] else 127)


@kernel
def _drain_and_write(row, views, offsets, i8, i16, f32, accumulators, lines, codes):
    dst = row[_DST]
    line = _drain(row, views, offsets, f32, accumulators, lines)
    if row[_FLAGS] & _REQUANTIZE:
        if largest_bits(line) >= _INFINITY_BITS:
            return False
        scale = f32[start(views, row[_CODE_SCALE], offsets)]
        codes = codes[: len(line)]
        codes_line(line, codes, scale, _limit(views, dst))
        _write_codes(codes, views, dst, offsets, i8, i16)
    elif not is_line(views, dst):
        write(line, f32, views, dst, offsets)
    if row[_FLAGS] & _USE_PEAK:
        f32[start(views, row[_PEAK], offsets)] = peak_line(line)
    return True


@kernel
def _find_scales(row, views, offsets, f32, values, lines):
    """Write the scales of a quantizer; False if what they are made of is not finite."""
    rows, cols = views[row[_SRC], _ROWS], views[row[_SRC], _COLS]
    at, bound = start(views, row[_SCALE], offsets), _limit(views, row[_DST])
    if views[row[_SCALE], _ROWS] > 1:
        step = views[row[_SCALE], _ROW_STEP]
        for i in range(rows):
            bits = largest_bits(values[i * cols : (i + 1) * cols])
            if bits >= _INFINITY_BITS:
                return False
            if not row[_FLAGS] & _STATIC:
                f32[at + i * step] = scale_of(bits, bound)
        return True
    bits = largest_bits(values)
    if bits >= _INFINITY_BITS:
        return False
    if row[_FLAGS] & _USE_PEAK:
        bits = largest_bits(read(f32, views, row[_PEAK], offsets, lines[1]))
        if bits >= _INFINITY_BITS:
            return False
    if not row[_FLAGS] & _STATIC:
        f32[at] = scale_of(bits, bound)
    return True


@kernel
def _quantize(row, views, offsets, i8, i16, f32, lines, codes):
    src, dst, scale = row[_SRC], row[_DST], row[_SCALE]
    rows, cols = views[src, _ROWS], views[src, _COLS]
    values = read(f32, views, src, offsets, lines[0])
    if not _find_scales(row, views, offsets, f32, values, lines):
        return False
    at, bound = start(views, scale, offsets), _limit(views, dst)
    codes = codes[: rows * cols]
    if views[scale, _ROWS] > 1:
        for i in range(rows):
            part = slice(i * cols, (i + 1) * cols)
            codes_line(values[part], codes[part], f32[at + i * views[scale, _ROW_STEP]], bound)
    else:
        codes_line(values, codes, f32[at], bound)
    _write_codes(codes, views, dst, offsets, i8, i16)
    return True


@kernel
def _along_rows(row, views, offsets, f32, lines):
    """Execute what works along the rows of a matrix; returns the line with the result."""
    src, kind = row[_SRC], row[_KIND]
    rows, cols = views[src, _ROWS], views[src, _COLS]
    line = fetch(f32, views, src, offsets, lines[0])
    matrix, out = line.reshape((rows, cols)), lines[3][: rows * cols]
    if kind == _REDUCE:
        if row[_FUNCTION] == 0:
            sum_lines(line, lines[1][: rows * cols], rows, out[:rows])
        else:
            reduce_kernel(row[_FUNCTION], matrix, out[:rows])
        return out[:rows]
    result = out.reshape((rows, cols))
    if kind == _NORM:
        scale = read(f32, views, row[_SCALE], offsets, lines[1])
        use_bias = row[_FLAGS] & _USE_BIAS != 0
        bias = read(f32, views, row[_BIAS], offsets, lines[2]) if use_bias else scale
        eps = np.float32(np.int64(row[_VALUE]).view(np.float64))
        norm_kernel(row[_FUNCTION] == 1, matrix, scale, bias, use_bias, eps, result)
    elif kind == _CUMULATIVE_SUM:
        cumulative_sum_kernel(matrix, result)
    elif kind == _SOFTMAX:
        softmax_kernel(matrix, result)
    else:
        other = fetch(f32, views, row[_SRC2], offsets, lines[1]).reshape((rows, cols))
        scan_kernel(matrix, other, read(f32, views, row[_SCALE], offsets, lines[2]), result)
    return out


@kernel
def _place(row, views, offsets, memory):
    """Rows to (`_SCATTER`) or from places by number; False if there is no such place."""
    is_scatter = row[_KIND] == _SCATTER
    src, dst, indices = row[_SRC], row[_DST], row[_SCALE]
    there = dst if is_scatter else src
    at = start(views, indices, offsets)
    for i in range(views[indices, _ROWS]):
        number = memory[at + i * views[indices, _ROW_STEP]]
        if number < 0 or number >= views[there, _ROWS]:
            return False
    for i in range(views[indices, _ROWS]):
        number = np.int64(memory[at + i * views[indices, _ROW_STEP]])
        left, right = (i, number) if is_scatter else (number, i)
        begin = start(views, src, offsets) + left * views[src, _ROW_STEP]
        end = start(views, dst, offsets) + right * views[dst, _ROW_STEP]
        for j in range(views[dst, _COLS]):
            memory[end + j * views[dst, _COL_STEP]] = memory[begin + j * views[src, _COL_STEP]]
    return True


@kernel
def _convert(row, views, offsets, i32, f32):
    src, dst = row[_SRC], row[_DST]
    at, rows, cols = start(views, src, offsets), views[src, _ROWS], views[src, _COLS]
    to = start(views, dst, offsets)
    for i in range(rows):
        for j in range(cols):
            one = at + i * views[src, _ROW_STEP] + j * views[src, _COL_STEP]
            other = to + i * views[dst, _ROW_STEP] + j * views[dst, _COL_STEP]
            if row[_FUNCTION] == _TO_FLOAT:
                f32[other] = np.float32(i32[one])
            else:
                x = np.float64(np.rint(f32[one]))
                x = x if x == x else 0.0
                i32[other] = np.int32(min(max(x, _LEAST), _MOST))


@kernel
def _fill(row, views, offsets, i8, i16, i32, f32):
    dst = row[_DST]
    value = np.int64(row[_VALUE]).view(np.float64)
    at, rows, cols = start(views, dst, offsets), views[dst, _ROWS], views[dst, _COLS]
    for i in range(rows):
        for j in range(cols):
            place = at + i * views[dst, _ROW_STEP] + j * views[dst, _COL_STEP]
            if row[_FUNCTION] == _TO_FLOAT:
                f32[place] = np.float32(value)
            elif views[dst, _SHIFT] == 0:
                i8[place] = np.int64(value)
            elif views[dst, _SHIFT] == 1:
                i16[place] = np.int64(value)
            else:
                i32[place] = np.int64(value)


@kernel
def _copy(views, src, dst, offsets, i8, i16, i32):
    if views[dst, _SHIFT] == 0:
        copy(i8, views, src, dst, offsets)
    elif views[dst, _SHIFT] == 1:
        copy(i16, views, src, dst, offsets)
    else:
        copy(i32, views, src, dst, offsets)


@kernel
def _pairwise(row, views, offsets, f32, lines):
    """Execute what works element by element on two matrices or more."""
    left = read(f32, views, row[_SRC], offsets, lines[0])
    right = read(f32, views, row[_SRC2], offsets, lines[1])
    out = lines[2][: len(left)]
    if row[_KIND] == _BINARY:
        _combine(row[_FUNCTION], left, right, out)
    elif row[_KIND] == _COMPARE:
        _compare(row[_FUNCTION], left, right, out)
    else:
        other = read(f32, views, row[_SCALE], offsets, lines[3])
        for j in range(len(out)):
            out[j] = right[j] if left[j] != _ZERO else other[j]
    write(out, f32, views, row[_DST], offsets)


@kernel
def _run(row, views, offsets, i8, i16, i32, f32, accumulators, masks, lines, codes):
    """Execute a row; tells whether data allowed it."""
    kind, dst, src = row[_KIND], row[_DST], row[_SRC]
    if kind == _MATMUL:
        if views[src, _SHIFT]:
            _multiply(row, views, offsets, i16, accumulators, masks, codes)
        else:
            _multiply(row, views, offsets, i8, accumulators, masks, codes)
        return True
    if kind == _DRAIN:
        return _drain_and_write(row, views, offsets, i8, i16, f32, accumulators, lines, codes)
    if kind == _QUANTIZE:
        return _quantize(row, views, offsets, i8, i16, f32, lines, codes)
    if kind in (_GATHER, _SCATTER):
        return _place(row, views, offsets, i32)
    if kind in (_BINARY, _COMPARE, _SELECT):
        _pairwise(row, views, offsets, f32, lines)
    elif kind == _UNARY:
        line = fetch(f32, views, src, offsets, lines[0])
        _apply(row[_FUNCTION], line)
        write(line, f32, views, dst, offsets)
    elif kind == _COPY:
        _copy(views, src, dst, offsets, i8, i16, i32)
    elif kind == _CONVERT:
        _convert(row, views, offsets, i32, f32)
    elif kind == _FILL:
        _fill(row, views, offsets, i8, i16, i32, f32)
    elif kind == _ARG:
        line = fetch(f32, views, src, offsets, lines[0])
        places = lines[1][: views[src, _ROWS]].view(np.int32)
        arg_kernel(row[_FUNCTION] == 1, line.reshape((len(places), -1)), places)
        write(places, i32, views, dst, offsets)
    else:
        write(_along_rows(row, views, offsets, f32, lines), f32, views, dst, offsets)
    if row[_FLAGS] & _USE_PEAK:
        line = read(f32, views, dst, offsets, lines[0])
        f32[start(views, row[_PEAK], offsets)] = peak_line(line)
    return True


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
    i8 = _bare(arena)
    i16, i32, f32 = i8.view(np.int16), i8.view(np.int32), i8.view(np.float32)
    sums, marks = _bare(accumulators).view(np.int32), _bare(masks).view(np.uint8)
    scratch = _bare(lines).view(np.float32).reshape(lines.shape)
    table = _bare(views).view(np.int64).reshape(views.shape)
    orders = _bare(rows).view(np.int64).reshape(rows.shape)
    moved = _bare(offsets).view(np.int64)
    codes = scratch[NUM_LINES].view(np.int16)
    for number in range(len(orders)):
        row = orders[number]
        if not _run(row, table, moved, i8, i16, i32, f32, sums, marks, scratch, codes):
            return number
    return -1
