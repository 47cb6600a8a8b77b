"""Arithmetic of single numbers and of integer products, as numpy and as kernels.

The plain definitions (`relu`, `quantize_rows`, `multiply_codes`, `drain`) are what the reference
evaluator uses; the kernels (``*_kernel``) are what the simulated engines use.  Tests compare them
bit for bit.  Every step is one IEEE float32 operation in the order written here; nothing is fused.
"""

from __future__ import annotations

import numpy as np

from azsim.arith.functions import (
    erf,
    exp,
    log,
    sigmoid,
    softplus,
    tanh,
    unary_line,
)
from azsim.arith.prefetch import prefetch_line
from azsim.jit import kernel

__all__ = [
    "BINARY_FUNCTIONS",
    "DRAIN_FUNCTIONS",
    "UNARY_FUNCTIONS",
    "code_limit",
    "codes_line",
    "drain",
    "drain_kernel",
    "drain_line",
    "largest_bits",
    "matmul_kernel",
    "multiply_codes",
    "multiply_lines",
    "peak",
    "peak_kernel",
    "peak_line",
    "peak_scale",
    "peak_scale_kernel",
    "quantize_kernel",
    "quantize_rows",
    "relu",
    "scale_of",
]

_F = np.float32
_ONE, _ZERO = _F(1), _F(0)
_MOST_FLOATS = 1 << 22
_MAGNITUDE = np.int32(0x7FFFFFFF)
_AHEAD_BYTES = 8192
_INFINITY_BITS = np.int32(0x7F800000)


def code_limit(bits: int) -> int:
    """Largest code of a symmetric signed quantizer of `bits` bits: 127 for 8."""
    return (1 << (bits - 1)) - 1


# --------------------------------------------------------------------------- plain definitions


def relu(x: np.ndarray) -> np.ndarray:
    """Replace what is not above zero by +0; NaN stays."""
    return np.where(x <= 0, _ZERO, x)


def quantize_rows(
    x: np.ndarray, bits: int, scale: float | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Quantize float32 rows to signed codes.

    Parameters
    ----------
    x : ndarray of shape (rows, n), float32
        One scale serves one row.
    bits : int
        8 or 16.
    scale : float, optional
        Static float32 scale; without it max |row| / limit, and 1 for a row whose quotient is 0.

    Returns
    -------
    codes : ndarray of shape (rows, n), int32
        ``clip(round_half_even(x / scale), -limit, limit)``.
    scales : ndarray of shape (rows,), float32

    Raises
    ------
    FloatingPointError
        If a value is not finite.
    """
    if not np.isfinite(x).all():
        raise FloatingPointError("a value to be quantized is not finite")
    limit = _F(code_limit(bits))
    if scale is None:
        largest = np.abs(x).max(axis=1, initial=0)
        scales = largest / limit
        scales = np.where(scales == 0, _ONE, scales)
    else:
        scales = np.full(len(x), scale, np.float32)
    with np.errstate(over="ignore"):
        codes = np.clip(np.rint(x / scales[:, None]), -limit, limit)
    return codes.astype(np.int32), scales


def peak(x: np.ndarray) -> np.float32:
    """Largest magnitude in a float32 array; a NaN is passed over, and 0 where nothing is left."""
    return np.fmax.reduce(np.abs(x), axis=None, initial=_ZERO)


def peak_scale(peaks: np.ndarray, bits: int) -> np.float32:
    """Scale of a quantizer of `bits` bits for values whose parts have these peaks.

    What `quantize_rows` would find if it searched the values themselves: the largest of several
    maxima is the maximum of all.

    Raises
    ------
    FloatingPointError
        If a peak is not finite.
    """
    if not np.isfinite(peaks).all():
        raise FloatingPointError("a peak is not finite")
    scale = np.abs(peaks).max(initial=_ZERO) / _F(code_limit(bits))
    return _ONE if scale == 0 else scale


def multiply_codes(codes: np.ndarray, weight_codes: np.ndarray) -> np.ndarray:
    """Multiply integer matrices exactly: (rows, K) by (N, K) gives (rows, N), int64.

    Goes through float64, which is exact while K * 2**15 * 2**7 stays below 2**53; a large matrix
    part by part, as it has eight times the bytes there.
    """
    left = codes.astype(np.float64)
    rows, inner = weight_codes.shape
    products = np.empty((len(codes), rows), np.int64)
    step = max(1, _MOST_FLOATS // max(1, inner))
    for first in range(0, rows, step):
        part = weight_codes[first : first + step].astype(np.float64)
        products[:, first : first + step] = left @ part.T
    return products


def drain(acc: np.ndarray, row_scales: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """Scale accumulators: ``float32(acc) * (row_scales[m] * scales[n])``, each step float32.

    Parameters
    ----------
    acc : ndarray of shape (rows, N), integer within int32
    row_scales : ndarray of shape (rows,), float32
    scales : ndarray of shape (N,), float32

    Raises
    ------
    OverflowError
        If an accumulator does not fit int32: the compiler's proof was wrong.
    """
    if acc.size and np.abs(acc).max() > np.iinfo(np.int32).max:
        raise OverflowError("an accumulator does not fit int32")
    return acc.astype(np.float32) * (row_scales[:, None] * scales[None, :])


def _where(keep_left: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    return np.where(keep_left, left, right)


UNARY_FUNCTIONS = {
    "relu": relu,
    "sigmoid": sigmoid,
    "tanh": tanh,
    "exp": exp,
    "log": log,
    "erf": erf,
    "softplus": softplus,
    "sqrt": np.sqrt,
    "neg": np.negative,
    "abs": np.abs,
}
BINARY_FUNCTIONS = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "max": lambda a, b: _where(a > b, a, b),
    "min": lambda a, b: _where(a < b, a, b),
}

# ------------------------------------------------------------------------------------- kernels


DRAIN_FUNCTIONS = {"none": 0, "relu": 1, "sigmoid": 2, "tanh": 3}


@kernel("int32(float32[::1])")
def largest_bits(x):
    """Bits of the largest magnitude; a NaN is larger than all numbers.

    Magnitudes of float32 are in the order of their bits, which are compared several at once.
    """
    bits = x.view(np.int32)
    largest = np.int32(0)
    for j in range(len(bits)):
        size = np.int32(bits[j] & _MAGNITUDE)
        largest = size if size > largest else largest
    return largest


@kernel
def scale_of(bits, bound):
    """Scale of a quantizer, of the bits of the largest magnitude and the largest code."""
    scale = np.int32(bits).view(np.float32) / bound
    return _ONE if scale == _ZERO else scale


@kernel(
    "void(float32[::1], int8[::1], float32, float32)",
    "void(float32[::1], int16[::1], float32, float32)",
)
def codes_line(x, codes, scale, bound):
    """Codes of finite float32 numbers that have one scale."""
    for j in range(len(x)):
        code = np.rint(x[j] / scale)
        code = code if code > -bound else -bound
        code = code if code < bound else bound
        codes[j] = np.int32(code)


@kernel(
    "boolean(float32[:, :], int8[:, :], float32[:], boolean, int64)",
    "boolean(float32[:, :], int16[:, :], float32[:], boolean, int64)",
)
def quantize_kernel(src, dst, scales, static, limit):
    """Quantize a float32 matrix; `scales` has one entry, or one a row.

    Returns False, with `dst` unchanged or partly written, if a value is not finite.
    """
    rows, cols = src.shape
    per_row = scales.shape[0] > 1
    bound = _F(limit)
    values = np.empty((rows, cols), np.float32)
    values[:] = src
    largest = np.empty(rows, np.int32)
    for i in range(rows):
        largest[i] = largest_bits(values[i])
        if largest[i] >= _INFINITY_BITS:
            return False
    if not static:
        if per_row:
            for i in range(rows):
                scales[i] = scale_of(largest[i], bound)
        else:
            scales[0] = scale_of(largest.max() if rows else 0, bound)
    codes = np.empty(cols, dst.dtype)
    for i in range(rows):
        codes_line(values[i], codes, scales[i] if per_row else scales[0], bound)
        dst[i] = codes
    return True


@kernel("float32(float32[::1])")
def peak_line(x):
    """`peak` of a line."""
    bits = largest_bits(x)
    if bits <= _INFINITY_BITS:
        return np.int32(bits).view(np.float32)
    largest = _ZERO
    for size in np.abs(x):
        if size > largest:
            largest = size
    return largest


@kernel("float32(float32[:, :])")
def peak_kernel(x):
    """`peak` of a matrix."""
    lines = np.empty(x.shape, np.float32)
    lines[:] = x
    return peak_line(lines.reshape(-1))


@kernel("boolean(float32[:, :], float32[:], int64)")
def peak_scale_kernel(peaks, scales, limit):
    """`peak_scale` for codes up to `limit`, into the one entry of `scales`.

    Returns False, with `scales` unchanged, if a peak is not finite.
    """
    largest = _ZERO
    for i in range(peaks.shape[0]):
        for j in range(peaks.shape[1]):
            size = abs(peaks[i, j])
            if not (size < _F(np.inf)):
                return False
            largest = max(largest, size)
    scale = largest / _F(limit)
    scales[0] = _ONE if scale == _ZERO else scale
    return True


@kernel("void(int16[:, ::1], int8[:, ::1], int32[::1], boolean)")
def multiply_lines(codes, weights, acc, accumulate):
    """`matmul_kernel` for codes that lie as int16; a line of weights is read once for all rows.

    Weights of the next product often follow in memory, and come from there at its pace.
    """
    rows, inner = codes.shape
    outputs = weights.shape[0]
    ahead = weights.ctypes.data + _AHEAD_BYTES
    for n in range(outputs):
        prefetch_line(ahead + n * inner, inner)
        line = weights[n]
        for m in range(rows):
            row = codes[m]
            total = np.int32(0)
            for k in range(inner):
                total = np.int32(total + np.int32(row[k]) * np.int32(line[k]))
            if accumulate:
                total = np.int32(total + acc[m * outputs + n])
            acc[m * outputs + n] = total


@kernel(
    "void(int8[:, :], int8[:, ::1], int32[::1], boolean)",
    "void(int16[:, :], int8[:, ::1], int32[::1], boolean)",
)
def matmul_kernel(codes, weights, acc, accumulate):
    """Multiply (M, K) codes by (N, K) int8 weights into (M * N,) int32, wrapping at 32 bits."""
    lines = np.empty(codes.shape, np.int16)
    for m in range(codes.shape[0]):
        for k in range(codes.shape[1]):
            lines[m, k] = codes[m, k]
    multiply_lines(lines, weights, acc, accumulate)


@kernel(
    "void(int32[::1], float32, float32[::1], float32[::1], float32[::1], boolean, boolean, int64)"
)
def drain_line(acc, row_scale, scales, bias, line, accumulate, use_bias, function):
    """`drain_kernel` for one row, whose numbers are added to if they accumulate."""
    for n in range(len(line)):
        y = _F(acc[n]) * (row_scale * scales[n])
        if accumulate:
            y = line[n] + y
        if use_bias:
            y = y + bias[n]
        line[n] = y
    if function == 1:
        for n in range(len(line)):
            line[n] = _ZERO if line[n] <= _ZERO else line[n]
    elif function > 1:
        unary_line(function, line)


@kernel(
    "void(int32[::1], float32[:], float32[:], float32[:], float32[:, :], boolean, boolean, int64)"
)
def drain_kernel(acc, row_scales, scales, bias, dst, accumulate, use_bias, function):
    """Scale (M * N,) accumulators into a float32 matrix: scale, add dst, add bias, function.

    The function is one of `DRAIN_FUNCTIONS`, by number.
    """
    rows, outputs = dst.shape
    by_column = np.empty((3, outputs), np.float32)
    by_column[0], by_column[1] = scales, bias
    line = by_column[2]
    for m in range(rows):
        line[:] = dst[m]
        row_scale = row_scales[m] if row_scales.shape[0] > 1 else row_scales[0]
        part = acc[m * outputs : (m + 1) * outputs]
        drain_line(
            part, row_scale, by_column[0], by_column[1], line, accumulate, use_bias, function
        )
        dst[m] = line
