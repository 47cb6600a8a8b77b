"""Arithmetic along the rows of a matrix: sums, softmax, norms, recurrences, ranks, hashes.

A sum has one fixed order, a binary tree over the columns: neighbours are added, an odd last one
passes to the next level, until one is left.  Recurrences go down the rows, one after another.
Where values are compared, a NaN is never the larger and never the smaller one.

Each function is stated as plain numpy, for the reference evaluator, and as a kernel for the
machine, which works on one row after the other.
"""

from __future__ import annotations

import numpy as np

from azsim.arith.functions import exp, exp_scalar
from azsim.jit import kernel

__all__ = [
    "ARG_FUNCTIONS",
    "COMPARE_FUNCTIONS",
    "NORM_FUNCTIONS",
    "REDUCE_FUNCTIONS",
    "arg_kernel",
    "cumulative_sum",
    "cumulative_sum_kernel",
    "hash_kernel",
    "hash_rows",
    "layer_norm",
    "norm_kernel",
    "reduce_kernel",
    "rms_norm",
    "scan",
    "scan_kernel",
    "softmax",
    "softmax_kernel",
    "sum_lines",
    "to_float",
    "to_integer",
    "top_k",
    "top_k_kernel",
    "tree_sum",
]

_F = np.float32
_ZERO = _F(0)
_SUM, _MEAN, _MAX, _MIN = range(4)
_FNV_OFFSET, _FNV_PRIME = np.uint32(2_166_136_261), np.uint32(16_777_619)
_MIX_1, _MIX_2 = np.uint32(0x85EBCA6B), np.uint32(0xC2B2AE35)
_INT_LOW, _INT_HIGH = _F(-(2**31)), _F(2**31)

# --------------------------------------------------------------------------- plain definitions


def tree_sum(x: np.ndarray) -> np.ndarray:
    """Sum (rows, n) float32 along the rows as a tree: (rows,); 0 of nothing."""
    if x.shape[1] == 0:
        return np.zeros(len(x), np.float32)
    level = x
    while level.shape[1] > 1:
        pairs = level.shape[1] // 2
        sums = level[:, 0 : 2 * pairs : 2] + level[:, 1 : 2 * pairs : 2]
        level = np.concatenate([sums, level[:, 2 * pairs :]], axis=1)
    return level[:, 0]


def _mean(x: np.ndarray) -> np.ndarray:
    return tree_sum(x) / _F(x.shape[1])


def _largest(x: np.ndarray) -> np.ndarray:
    best = x[:, 0]
    for column in x.T[1:]:
        best = np.where(column > best, column, best)
    return best


def _smallest(x: np.ndarray) -> np.ndarray:
    best = x[:, 0]
    for column in x.T[1:]:
        best = np.where(column < best, column, best)
    return best


def _arg(x: np.ndarray, *, is_largest: bool) -> np.ndarray:
    at = np.zeros(len(x), np.int32)
    best = x[:, 0]
    for number, column in enumerate(x.T[1:], 1):
        better = column > best if is_largest else column < best
        at = np.where(better, np.int32(number), at)
        best = np.where(better, column, best)
    return at


def softmax(x: np.ndarray) -> np.ndarray:
    """``e / sum(e)`` with ``e = exp(x - max)``, row by row of (rows, n) float32, n at least 1."""
    with np.errstate(all="ignore"):
        e = exp(x - _largest(x)[:, None])
        return e / tree_sum(e)[:, None]


def layer_norm(x: np.ndarray, scale: np.ndarray, bias: np.ndarray | None, eps: float) -> np.ndarray:
    """``(x - mean) / sqrt(variance + eps) * scale + bias``, row by row.

    Parameters
    ----------
    x : ndarray of shape (rows, n), float32
    scale : ndarray of shape (n,), float32
    bias : ndarray of shape (n,), float32, or None
    eps : float
        A float32 number.
    """
    with np.errstate(all="ignore"):
        centred = x - _mean(x)[:, None]
        return _scaled(centred, _mean(centred * centred), scale, bias, eps)


def rms_norm(x: np.ndarray, scale: np.ndarray, bias: np.ndarray | None, eps: float) -> np.ndarray:
    """``x / sqrt(mean(x * x) + eps) * scale + bias``, row by row; see `layer_norm`."""
    with np.errstate(all="ignore"):
        return _scaled(x, _mean(x * x), scale, bias, eps)


def _scaled(
    x: np.ndarray, square: np.ndarray, scale: np.ndarray, bias: np.ndarray | None, eps: float
) -> np.ndarray:
    y = (x / np.sqrt(square + _F(eps))[:, None]) * scale
    return y if bias is None else y + bias


def scan(a: np.ndarray, b: np.ndarray, initial: np.ndarray) -> np.ndarray:
    """First-order recurrence down the rows: ``h[t] = a[t] * h[t-1] + b[t]``.

    Parameters
    ----------
    a, b : ndarray of shape (rows, n), float32
    initial : ndarray of shape (n,), float32
        ``h[-1]``.
    """
    h = np.empty_like(b)
    before = initial
    with np.errstate(all="ignore"):
        for t in range(len(b)):
            before = h[t] = (a[t] * before) + b[t]
    return h


def cumulative_sum(x: np.ndarray) -> np.ndarray:
    """``y[t] = y[t-1] + x[t]`` down the rows of (rows, n) float32, beginning with ``x[0]``."""
    y = x.copy()
    with np.errstate(all="ignore"):
        for t in range(1, len(x)):
            y[t] = y[t - 1] + x[t]
    return y


def top_k(x: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k largest of each row, largest first; of equals the one further left first.

    Parameters
    ----------
    x : ndarray of shape (rows, n), float32
        A NaN ranks behind every number.
    k : int
        1 to n.

    Returns
    -------
    values : ndarray of shape (rows, k), float32
    indices : ndarray of shape (rows, k), int32
    """
    key = np.where(np.isnan(x), np.inf, -x)
    order = np.lexsort((np.broadcast_to(np.arange(x.shape[1]), x.shape), np.isnan(x), key), axis=1)[
        :, :k
    ]
    return np.take_along_axis(x, order, axis=1), order.astype(np.int32)


def to_integer(x: np.ndarray) -> np.ndarray:
    """float32 to int32: half to even, clipped to the range, NaN to 0."""
    with np.errstate(all="ignore"):
        rounded = np.rint(np.where(np.isnan(x), _ZERO, x)).astype(np.float64)
    return np.clip(rounded, -(2**31), 2**31 - 1).astype(np.int32)


def to_float(x: np.ndarray) -> np.ndarray:
    """int32 to the nearest float32, half to even."""
    return x.astype(np.float32)


def hash_rows(x: np.ndarray, buckets: int) -> np.ndarray:
    """Bucket of each row: FNV-1a over its words, mixed as MurmurHash3 ends, modulo `buckets`.

    Parameters
    ----------
    x : ndarray of shape (rows, n), int32
    buckets : int
        1 to 2**31.

    Returns
    -------
    ndarray of shape (rows,), int32
    """
    state = np.full(len(x), _FNV_OFFSET, np.uint64)
    low = np.uint64(0xFFFF_FFFF)
    for column in x.T.astype(np.uint32):
        state = ((state ^ column) * np.uint64(_FNV_PRIME)) & low
    for shift, factor in ((16, _MIX_1), (13, _MIX_2)):
        state = ((state ^ (state >> np.uint64(shift))) * np.uint64(factor)) & low
    state ^= state >> np.uint64(16)
    return (state % np.uint64(buckets)).astype(np.int32)


REDUCE_FUNCTIONS = {"sum": tree_sum, "mean": _mean, "max": _largest, "min": _smallest}
ARG_FUNCTIONS = {
    "max": lambda x: _arg(x, is_largest=True),
    "min": lambda x: _arg(x, is_largest=False),
}
NORM_FUNCTIONS = {"layer_norm": layer_norm, "rms_norm": rms_norm}
COMPARE_FUNCTIONS = {
    "equal": np.equal,
    "less": np.less,
    "less_equal": np.less_equal,
}

# ------------------------------------------------------------------------------------- kernels


@kernel
def _sum_in_place(level, n):
    """Tree sum of the first n numbers of a scratch row, which is overwritten."""
    if n == 0:
        return _ZERO
    while n > 1:
        for i in range(n // 2):
            level[i] = level[2 * i] + level[2 * i + 1]
        if n % 2:
            level[n // 2] = level[n - 1]
        n = (n + 1) // 2
    return level[0]


@kernel("void(float32[::1], float32[::1], int64, float32[:])")
def sum_lines(level, spare, rows, dst):
    """Tree sum of each row of a matrix that lies in a line; both lines are overwritten.

    While rows are even no pair crosses two of them, and a level of all rows is one loop.
    """
    size = len(level)
    cols = size // rows
    while cols > 1 and cols % 2 == 0:
        size, cols = size // 2, cols // 2
        for i in range(size):
            spare[i] = level[2 * i] + level[2 * i + 1]
        level, spare = spare, level
    for i in range(rows):
        dst[i] = level[i] if cols == 1 else _sum_in_place(level[i * cols : (i + 1) * cols], cols)


@kernel("void(int64, float32[:, :], float32[:])")
def reduce_kernel(function, src, dst):
    """Sum (0), mean (1), largest (2) or smallest (3) of each row of any strides."""
    rows, cols = src.shape
    if function <= _MEAN:
        lines = np.empty((2, rows * cols), np.float32)
        lines[0].reshape((rows, cols))[:] = src
        sum_lines(lines[0], lines[1], rows, dst)
        if function == _MEAN:
            for i in range(rows):
                dst[i] = dst[i] / _F(cols)
        return
    for i in range(rows):
        best = src[i, 0]
        for j in range(1, cols):
            better = src[i, j] > best if function == _MAX else src[i, j] < best
            if better:
                best = src[i, j]
        dst[i] = best


@kernel("void(boolean, float32[:, :], int32[:])")
def arg_kernel(is_largest, src, dst):
    """Column of the first largest (or smallest) of each row."""
    for i in range(src.shape[0]):
        at = 0
        for j in range(1, src.shape[1]):
            better = src[i, j] > src[i, at] if is_largest else src[i, j] < src[i, at]
            if better:
                at = j
        dst[i] = at


@kernel("void(float32[:, :], float32[:, :])")
def softmax_kernel(src, dst):
    """See `softmax`."""
    rows, cols = src.shape
    e = np.empty(cols, np.float32)
    level = np.empty(cols, np.float32)
    for i in range(rows):
        largest = src[i, 0]
        for j in range(1, cols):
            if src[i, j] > largest:
                largest = src[i, j]
        for j in range(cols):
            e[j] = exp_scalar(src[i, j] - largest)
            level[j] = e[j]
        total = _sum_in_place(level, cols)
        for j in range(cols):
            dst[i, j] = e[j] / total


@kernel("void(boolean, float32[:, :], float32[:], float32[:], boolean, float32, float32[:, :])")
def norm_kernel(centres, src, scale, bias, use_bias, eps, dst):
    """See `layer_norm` (which takes the mean away) and `rms_norm`."""
    rows, cols = src.shape
    x = np.empty(cols, np.float32)
    level = np.empty(cols, np.float32)
    for i in range(rows):
        for j in range(cols):
            x[j] = src[i, j]
            level[j] = x[j]
        if centres:
            mean = _sum_in_place(level, cols) / _F(cols)
            for j in range(cols):
                x[j] = x[j] - mean
        for j in range(cols):
            level[j] = x[j] * x[j]
        root = np.sqrt(_sum_in_place(level, cols) / _F(cols) + eps)
        for j in range(cols):
            y = (x[j] / root) * scale[j]
            dst[i, j] = y + bias[j] if use_bias else y


@kernel("void(float32[:, :], float32[:, :], float32[:], float32[:, :])")
def scan_kernel(a, b, initial, dst):
    """See `scan`."""
    before = initial.copy()
    for t in range(b.shape[0]):
        for j in range(b.shape[1]):
            product = a[t, j] * before[j]
            before[j] = product + b[t, j]
        dst[t] = before


@kernel("void(float32[:, :], float32[:, :])")
def cumulative_sum_kernel(src, dst):
    """See `cumulative_sum`."""
    total = src[0].copy()
    dst[0] = total
    for t in range(1, src.shape[0]):
        for j in range(src.shape[1]):
            total[j] = total[j] + src[t, j]
        dst[t] = total


@kernel("void(float32[:, :], float32[:, :], int32[:, :])")
def top_k_kernel(src, values, indices):
    """See `top_k`; k is the number of columns of `values`."""
    rows, cols = src.shape
    taken = np.empty(cols, np.bool_)
    for i in range(rows):
        taken[:] = False
        for place in range(values.shape[1]):
            best = -1
            for j in range(cols):
                if taken[j]:
                    continue
                is_number = not np.isnan(src[i, j])
                if best < 0 or src[i, j] > src[i, best] or (is_number and np.isnan(src[i, best])):
                    best = j
            taken[best] = True
            values[i, place] = src[i, best]
            indices[i, place] = best


@kernel("void(int32[:, :], int64, int32[:])")
def hash_kernel(src, buckets, dst):
    """See `hash_rows`."""
    for i in range(src.shape[0]):
        state = _FNV_OFFSET
        for j in range(src.shape[1]):
            state = np.uint32(np.uint32(state ^ np.uint32(src[i, j])) * _FNV_PRIME)
        state = np.uint32((state ^ (state >> np.uint32(16))) * _MIX_1)
        state = np.uint32((state ^ (state >> np.uint32(13))) * _MIX_2)
        state = np.uint32(state ^ (state >> np.uint32(16)))
        dst[i] = np.int32(np.int64(state) % buckets)
