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
    sigmoid_scalar,
    softplus,
    tanh,
    tanh_scalar,
)
from azsim.jit import kernel

__all__ = [
    "BINARY_FUNCTIONS",
    "DRAIN_FUNCTIONS",
    "UNARY_FUNCTIONS",
    "code_limit",
    "drain",
    "drain_kernel",
    "matmul_kernel",
    "multiply_codes",
    "peak",
    "peak_kernel",
    "peak_scale",
    "peak_scale_kernel",
    "quantize_kernel",
    "quantize_rows",
    "relu",
]

_F = np.float32
_ONE, _ZERO = _F(1), _F(0)


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

    Goes through float64, which is exact while K * 2**15 * 2**7 stays below 2**53.
    """
    return (codes.astype(np.float64) @ weight_codes.astype(np.float64).T).astype(np.int64)


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
    whole = _ZERO
    for i in range(rows):
        largest = _ZERO
        for j in range(cols):
            size = abs(src[i, j])
            if not (size < _F(np.inf)):
                return False
            largest = max(largest, size)
        if per_row and not static:
            scale = largest / bound
            scales[i] = _ONE if scale == _ZERO else scale
        whole = max(whole, largest)
    if not per_row and not static:
        scale = whole / bound
        scales[0] = _ONE if scale == _ZERO else scale
    for i in range(rows):
        scale = scales[i] if per_row else scales[0]
        for j in range(cols):
            dst[i, j] = np.int32(min(max(np.rint(src[i, j] / scale), -bound), bound))
    return True


@kernel("float32(float32[:, :])")
def peak_kernel(x):
    """`peak` of a matrix."""
    largest = _ZERO
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            size = abs(x[i, j])
            if size > largest:
                largest = size
    return largest


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


@kernel(
    "void(int8[:, :], int8[:, ::1], int32[::1], boolean)",
    "void(int16[:, :], int8[:, ::1], int32[::1], boolean)",
)
def matmul_kernel(codes, weights, acc, accumulate):
    """Multiply (M, K) codes by (N, K) int8 weights into (M * N,) int32, wrapping at 32 bits."""
    rows, inner = codes.shape
    outputs = weights.shape[0]
    row = np.empty(inner, np.int16)
    for m in range(rows):
        for k in range(inner):
            row[k] = codes[m, k]
        for n in range(outputs):
            total = np.int32(0)
            line = weights[n]
            for k in range(inner):
                total = np.int32(total + np.int32(row[k]) * np.int32(line[k]))
            if accumulate:
                total = np.int32(total + acc[m * outputs + n])
            acc[m * outputs + n] = total


@kernel(
    "void(int32[::1], float32[:], float32[:], float32[:], float32[:, :], boolean, boolean, int64)"
)
def drain_kernel(acc, row_scales, scales, bias, dst, accumulate, use_bias, function):
    """Scale (M * N,) accumulators into a float32 matrix: scale, add dst, add bias, function.

    The function is one of `DRAIN_FUNCTIONS`, by number.
    """
    rows, outputs = dst.shape
    for m in range(rows):
        row_scale = row_scales[m] if row_scales.shape[0] > 1 else row_scales[0]
        for n in range(outputs):
            y = _F(acc[m * outputs + n]) * (row_scale * scales[n])
            if accumulate:
                y = dst[m, n] + y
            if use_bias:
                y = y + bias[n]
            if function == 1 and y <= _ZERO:
                y = _ZERO
            elif function == 2:
                y = sigmoid_scalar(y)
            elif function == 3:
                y = tanh_scalar(y)
            dst[m, n] = y
