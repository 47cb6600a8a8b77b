"""How operators multiply: floats, or the codes that compression fixed and scales of the moment.

An operator's ``reference`` calls `quantize` on its activations and `multiply` on what it gets
back; which arithmetic that is, is the strategy's business.

Where both operands are computed, rows of the left one become codes of 8 or 16 bits, rows of the
other one codes of 8 bits, each row with its own scale::

    acc  = sum over k in segment of codes[m, k] * other[n, k]     # int32, exact
    term = float32(acc) * (scale[m] * other_scale[n])             # each step float32
    y    = term in the first segment, y + term in later ones      # float32

A segment has as many columns as an int32 can sum up whatever the codes are (`inner_segments`):
65,536 at 8 bits, 512 at 16.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from azsim import arith
from azsim.ir import CompressedWeight
from azsim.ops.steps import MAX_EXTENT

__all__ = ["FloatLinear", "Linear", "QuantizedLinear", "inner_segments", "product_bits"]

_FLOAT32_EXACT = 1 << 24
_INT32_MAX = (1 << 31) - 1
_OTHER_BITS = 8
_OTHER_LIMIT = 127
_SEGMENT_STEP = 64
_KEPT_WEIGHTS = 1 << 24
"""Weights that are converted to floats once, the smallest matrices first."""
_BLOCK_WEIGHTS = 1 << 17
"""Weights that are converted at a time where a matrix is not kept: as floats 512 KiB."""


def product_bits(products: Mapping[str, int], node: str) -> int:
    """Bits of the left codes of a product of two computed tensors: 8 unless something is said."""
    return products.get(node, 8)


def inner_segments(inner: int, bits: int) -> list[tuple[int, int]]:
    """First column and the one after the last of each segment of a product of computed codes.

    Parameters
    ----------
    inner : int
        Columns of both operands.
    bits : int
        Of the left one's codes.
    """
    most = min(MAX_EXTENT, _INT32_MAX // (arith.code_limit(bits) << (_OTHER_BITS - 1)))
    if inner <= most:
        return [(0, inner)]
    step = most // _SEGMENT_STEP * _SEGMENT_STEP
    return [(first, min(first + step, inner)) for first in range(0, inner, step)]


class Linear(Protocol):
    """Products with weight matrices, by initializer name, and of what is computed."""

    def is_weight(self, name: str) -> bool:
        """Whether a tensor is a weight matrix."""
        ...

    def quantize(self, weight: str, items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Codes (n, size) and scales (n,) of float32 items (n, size)."""
        ...

    def multiply(self, weight: str, codes: np.ndarray, row_scales: np.ndarray) -> np.ndarray:
        """Float32 product (rows, N) of codes (rows, K) and scales (rows,) with the matrix."""
        ...

    def quantize_left(self, node: str, items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Codes and scales of items (n, size), as a node's product of computed tensors wants."""
        ...

    def quantize_right(self, items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Codes of 8 bits and scales of items (n, size)."""
        ...

    def codes_to_keep(self, items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Codes of 8 bits and scales of items (n, size), such as a cache holds."""
        ...

    def multiply_computed(
        self,
        node: str,
        codes: np.ndarray,
        scales: np.ndarray,
        other: np.ndarray,
        other_scales: np.ndarray,
    ) -> np.ndarray:
        """Product (M, N) of codes (M, K) with scales (M,) and others (N, K) with scales (N,)."""
        ...


class FloatLinear:
    """Float32 products with the original matrices: codes are the values themselves.

    Parameters
    ----------
    matrices : mapping of str to ndarray of shape (N, K), float32
    """

    def __init__(self, matrices: Mapping[str, np.ndarray]) -> None:
        self._transposed = {name: matrix.T for name, matrix in matrices.items()}

    def is_weight(self, name: str) -> bool:
        """Whether there is a matrix of this name."""
        return name in self._transposed

    def quantize(self, weight: str, items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the items, with scales of 1."""
        return items, np.ones(len(items), np.float32)

    def multiply(self, weight: str, codes: np.ndarray, row_scales: np.ndarray) -> np.ndarray:
        """Multiply in float32, in BLAS's own order."""
        return codes @ self._transposed[weight]

    def quantize_left(self, node: str, items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the items, with scales of 1."""
        return items, np.ones(len(items), items.dtype)

    def quantize_right(self, items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the items, with scales of 1."""
        return items, np.ones(len(items), items.dtype)

    def codes_to_keep(self, items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return what codes would be, not rounded, with their scales."""
        scales = np.abs(items).max(axis=1, initial=0) / items.dtype.type(_OTHER_LIMIT)
        scales = np.where(scales == 0, items.dtype.type(1), scales)
        return items / scales[:, None], scales

    def multiply_computed(
        self,
        node: str,
        codes: np.ndarray,
        scales: np.ndarray,
        other: np.ndarray,
        other_scales: np.ndarray,
    ) -> np.ndarray:
        """Multiply what codes and scales stand for, in BLAS's own order."""
        return (codes * scales[:, None]) @ (other * other_scales[:, None]).T


class QuantizedLinear:
    """Products exactly as `azsim.ir.CompressedWeight` states them.

    The integer sums go through BLAS on floats that hold them exactly: float32 where no sum can
    pass 2**24, else float64 (see `azsim.arith.multiply_codes`).  Small matrices are converted to
    floats once; of large ones a few rows at a time, whenever they are used, which is as fast: BLAS
    finds them in the processor's cache, and memory is read at a byte a weight.

    Parameters
    ----------
    weights : mapping of str to CompressedWeight
    products : mapping of str to int, optional
        As in `azsim.ir.CompressedGraph`.
    """

    def __init__(
        self, weights: Mapping[str, CompressedWeight], products: Mapping[str, int] | None = None
    ) -> None:
        self._weights = dict(weights)
        self._products = dict(products or {})
        self._segments: dict[str, list[_Segment]] = {}
        room = _KEPT_WEIGHTS
        for name, weight in sorted(weights.items(), key=lambda item: item[1].codes.size):
            room -= weight.codes.size
            bounds = zip(weight.segments, weight.segments[1:], strict=False)
            self._segments[name] = [
                _Segment(weight, index, first, last, is_kept=room >= 0)
                for index, (first, last) in enumerate(bounds)
            ]

    def is_weight(self, name: str) -> bool:
        """Whether there is a matrix of this name."""
        return name in self._weights

    def quantize(self, weight: str, items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Quantize each item with one scale: its own, or the static one."""
        compressed = self._weights[weight]
        return arith.quantize_rows(items, compressed.activation_bits, compressed.activation_scale)

    def multiply(self, weight: str, codes: np.ndarray, row_scales: np.ndarray) -> np.ndarray:
        """Multiply integers exactly, scale each segment, add segments in ascending order."""
        total: np.ndarray | None = None
        for segment in self._segments[weight]:
            term = arith.drain(segment.multiply(codes), row_scales, segment.scales)
            total = term if total is None else total + term
        assert total is not None
        return total

    def quantize_left(self, node: str, items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Quantize each item with its own scale."""
        return arith.quantize_rows(items, product_bits(self._products, node))

    def quantize_right(self, items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Quantize each item with its own scale."""
        codes, scales = arith.quantize_rows(items, _OTHER_BITS)
        return codes.astype(np.int8), scales

    def codes_to_keep(self, items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Quantize each item with its own scale."""
        return self.quantize_right(items)

    def multiply_computed(
        self,
        node: str,
        codes: np.ndarray,
        scales: np.ndarray,
        other: np.ndarray,
        other_scales: np.ndarray,
    ) -> np.ndarray:
        """Multiply integers exactly, scale each segment, add segments in ascending order."""
        total: np.ndarray | None = None
        for first, last in inner_segments(codes.shape[1], product_bits(self._products, node)):
            acc = arith.multiply_codes(codes[:, first:last], other[:, first:last])
            term = arith.drain(acc, scales, other_scales)
            total = term if total is None else total + term
        assert total is not None
        return total


class _Segment:
    """Columns [first, last) of a weight, ready to be multiplied with.

    Attributes
    ----------
    scales : ndarray of shape (N,), float32
    """

    def __init__(
        self, weight: CompressedWeight, index: int, first: int, last: int, *, is_kept: bool
    ) -> None:
        self.scales = weight.scales[index]
        self._columns = slice(first, last)
        self._codes = weight.codes[:, first:last]
        largest_sum = np.abs(self._codes).sum(axis=1, dtype=np.int64).max(initial=0)
        is_exact = largest_sum * arith.code_limit(weight.activation_bits) <= _FLOAT32_EXACT
        self._dtype = np.float32 if is_exact else np.float64
        self._matrix = np.ascontiguousarray(self._codes.T, self._dtype) if is_kept else None

    def multiply(self, codes: np.ndarray) -> np.ndarray:
        """Exact sums (rows, N), as floats, of codes (rows, K)."""
        left = codes[:, self._columns].astype(self._dtype)
        if self._matrix is not None:
            return left @ self._matrix
        outputs, inner = self._codes.shape
        sums = np.empty((len(left), outputs), self._dtype)
        floats = np.empty((min(outputs, max(1, _BLOCK_WEIGHTS // inner)), inner), self._dtype)
        for low in range(0, outputs, len(floats)):
            block = floats[: outputs - low]
            block[...] = self._codes[low : low + len(floats)]
            sums[:, low : low + len(floats)] = left @ block.T
        return sums
