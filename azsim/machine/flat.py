"""Instructions as rows of numbers, and one compiled loop that executes them.

What an instruction does is stated in `azsim.machine.instructions`; this module does the same for
the kinds that large models execute most, on memory that is shown by number.  A row holds
the instruction's kind and choices and the numbers of its views; a row of the views' table where a
view lies in the arena (`azsim.machine.state.Machine`) and how it strides.  Nothing is
checked here: who makes the rows has done so.
"""

from __future__ import annotations

import numpy as np
from numba import carray, types  # pyright: ignore[reportPrivateImportUsage]
from numba.extending import intrinsic

from azsim import arith
from azsim.arith.elementwise import (
    drain_kernel,
    matmul_kernel,
    peak_kernel,
    peak_scale_kernel,
    quantize_kernel,
)
from azsim.arith.functions import unary_kernel
from azsim.arith.rows import reduce_kernel
from azsim.jit import kernel

__all__ = [
    "COLUMNS",
    "FLAGS",
    "FUNCTIONS",
    "KINDS",
    "OPERANDS",
    "VIEW_COLUMNS",
    "run_rows",
]

_MATMUL, _DRAIN, _BINARY, _UNARY, _COPY, _QUANTIZE, _REDUCE = range(7)
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
}
"""Numbers of what an instruction may compute, by mnemonic."""

FLAGS = ("accumulate", "use_bias", "use_peak", "static", "requantize")
"""Bits of the flags, the lowest first."""
_ACCUMULATE, _USE_BIAS, _USE_PEAK, _STATIC, _REQUANTIZE = (1 << bit for bit in range(5))

OPERANDS = ("dst", "src", "src2", "scale", "bias", "peak", "code_scale")
"""Operands that may be views; their columns come first."""
_DST, _SRC, _SRC2, _SCALE, _BIAS, _PEAK, _CODE_SCALE = range(7)
COLUMNS = (*OPERANDS, "kind", "function", "flags", "acc", "tile", "outputs", "mask")
"""Columns of a row.  `tile` is the address of the codes in this process, `outputs` its rows;
`mask` is where the zero mask of src goes, -1 where it is known already."""
_KIND, _FUNCTION, _FLAGS, _ACC, _TILE, _OUTPUTS, _MASK = range(7, 14)

VIEW_COLUMNS = ("addr", "slot", "rows", "cols", "row_bytes", "col_bytes", "size")
"""Columns of a view: byte of the arena, slot of the offset that is added (-1: none), shape,
strides and size of an element in bytes."""
_ADDR, _SLOT, _ROWS, _COLS, _ROW_BYTES, _COL_BYTES, _SIZE = range(7)

_ZERO = np.float32(0)


@intrinsic
def _pointer(_context, address):
    """Pointer to int8 at an address."""

    def code(_, builder, signature, arguments):
        from llvmlite import ir

        return builder.inttoptr(arguments[0], ir.IntType(8).as_pointer())

    return types.CPointer(types.int8)(types.int64), code


@kernel
def _shown(memory, views, number, offsets):
    """Memory of a view, which is an array of elements of the view's type."""
    at = views[number, _ADDR]
    if views[number, _SLOT] >= 0:
        at += offsets[views[number, _SLOT]]
    return np.lib.stride_tricks.as_strided(
        memory[at // views[number, _SIZE] :],
        (views[number, _ROWS], views[number, _COLS]),
        (views[number, _ROW_BYTES], views[number, _COL_BYTES]),
    )


@kernel
def _mark(codes, masks, at):
    """Write the bits of non-zero codes, rows padded to bytes, most significant bit first."""
    for i in range(codes.shape[0]):
        for first in range(0, codes.shape[1], 8):
            bits = 0
            for j in range(first, min(first + 8, codes.shape[1])):
                if codes[i, j] != 0:
                    bits |= 128 >> (j - first)
            masks[at] = bits
            at += 1


@kernel
def _combine(function, left, right, dst):
    for i in range(dst.shape[0]):
        for j in range(dst.shape[1]):
            x, y = left[i, j], right[i, j]
            if function == _ADD:
                x = x + y
            elif function == _SUB:
                x = x - y
            elif function == _MUL:
                x = x * y
            elif function == _DIV:
                x = x / y
            elif function == _LARGER:
                x = x if x > y else y
            else:
                x = x if x < y else y
            dst[i, j] = x


@kernel
def _apply(function, src, dst):
    if function > 0:
        unary_kernel(function, src, dst)
        return
    for i in range(dst.shape[0]):
        for j in range(dst.shape[1]):
            x = src[i, j]
            if function == _RELU:
                x = _ZERO if x <= _ZERO else x
            elif function == _SQRT:
                x = np.sqrt(x)
            elif function == _NEG:
                x = -x
            else:
                x = abs(x)
            dst[i, j] = x


@kernel
def _copy(src, dst):
    for i in range(dst.shape[0]):
        for j in range(dst.shape[1]):
            dst[i, j] = src[i, j]


@kernel
def _matmul(row, codes, accumulators, masks):
    if row[_MASK] >= 0:
        _mark(codes, masks, row[_MASK])
    shape = (row[_OUTPUTS], codes.shape[1])
    weights = carray(_pointer(row[_TILE]), shape)  # pyright: ignore[reportCallIssue]
    end = row[_ACC] + codes.shape[0] * row[_OUTPUTS]
    accumulate = row[_FLAGS] & _ACCUMULATE != 0
    matmul_kernel(codes, weights, accumulators[row[_ACC] : end], accumulate)


@kernel
def _drain(row, views, offsets, f32, accumulators, drained):
    """Drain into float32."""
    row_scales = _shown(f32, views, row[_SRC], offsets)[:, 0]
    scales = _shown(f32, views, row[_SCALE], offsets)[0]
    bias = scales
    if row[_FLAGS] & _USE_BIAS:
        bias = _shown(f32, views, row[_BIAS], offsets)[0]
    drain_kernel(
        accumulators[row[_ACC] : row[_ACC] + drained.size],
        row_scales,
        scales,
        bias,
        drained,
        row[_FLAGS] & _ACCUMULATE != 0,
        row[_FLAGS] & _USE_BIAS != 0,
        row[_FUNCTION],
    )


@kernel
def _quantize(row, views, offsets, f32, dst, limit):
    scales = _shown(f32, views, row[_SCALE], offsets)[:, 0]
    static = row[_FLAGS] & (_STATIC | _USE_PEAK) != 0
    if row[_FLAGS] & _USE_PEAK:
        peaks = _shown(f32, views, row[_PEAK], offsets)
        if not peak_scale_kernel(peaks, scales, limit):
            return False
    return quantize_kernel(_shown(f32, views, row[_SRC], offsets), dst, scales, static, limit)


@kernel
def _run(row, views, offsets, i8, i16, f32, accumulators, masks):
    """Execute a row; tells whether all that it had to quantize is finite."""
    kind, dst = row[_KIND], row[_DST]
    finite = True
    if kind == _MATMUL:
        if views[row[_SRC], _SIZE] == 1:
            _matmul(row, _shown(i8, views, row[_SRC], offsets), accumulators, masks)
        else:
            _matmul(row, _shown(i16, views, row[_SRC], offsets), accumulators, masks)
        return True
    if kind == _DRAIN and row[_FLAGS] & _REQUANTIZE:
        drained = np.empty((views[dst, _ROWS], views[dst, _COLS]), np.float32)
        _drain(row, views, offsets, f32, accumulators, drained)
        scale = _shown(f32, views, row[_CODE_SCALE], offsets)[:, 0]
        if views[dst, _SIZE] == 1:
            return quantize_kernel(drained, _shown(i8, views, dst, offsets), scale, True, 127)
        return quantize_kernel(drained, _shown(i16, views, dst, offsets), scale, True, 32767)
    if kind == _DRAIN:
        _drain(row, views, offsets, f32, accumulators, _shown(f32, views, dst, offsets))
    elif kind == _BINARY:
        left, right = (
            _shown(f32, views, row[_SRC], offsets),
            _shown(f32, views, row[_SRC2], offsets),
        )
        _combine(row[_FUNCTION], left, right, _shown(f32, views, dst, offsets))
    elif kind == _UNARY:
        src = _shown(f32, views, row[_SRC], offsets)
        _apply(row[_FUNCTION], src, _shown(f32, views, dst, offsets))
    elif kind == _COPY and views[dst, _SIZE] == 1:
        _copy(_shown(i8, views, row[_SRC], offsets), _shown(i8, views, dst, offsets))
    elif kind == _COPY and views[dst, _SIZE] == 2:
        _copy(_shown(i16, views, row[_SRC], offsets), _shown(i16, views, dst, offsets))
    elif kind == _COPY:
        _copy(_shown(f32, views, row[_SRC], offsets), _shown(f32, views, dst, offsets))
    elif kind == _QUANTIZE and views[dst, _SIZE] == 1:
        finite = _quantize(row, views, offsets, f32, _shown(i8, views, dst, offsets), 127)
    elif kind == _QUANTIZE:
        finite = _quantize(row, views, offsets, f32, _shown(i16, views, dst, offsets), 32767)
    elif kind == _REDUCE:
        src = _shown(f32, views, row[_SRC], offsets)
        reduce_kernel(row[_FUNCTION], src, _shown(f32, views, dst, offsets)[:, 0])
    if row[_FLAGS] & _USE_PEAK and kind != _QUANTIZE:
        largest = peak_kernel(_shown(f32, views, dst, offsets))
        _shown(f32, views, row[_PEAK], offsets)[0, 0] = largest
    return finite


@kernel("int64(int64[:, ::1], int64[:, ::1], int64[::1], uint8[::1], int32[::1], uint8[::1])")
def run_rows(rows, views, offsets, arena, accumulators, masks):
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

    Returns
    -------
    int : -1, or the row that had to quantize what is not finite
    """
    i8, i16, f32 = arena.view(np.int8), arena.view(np.int16), arena.view(np.float32)
    for number in range(len(rows)):
        if not _run(rows[number], views, offsets, i8, i16, f32, accumulators, masks):
            return number
    return -1
