"""How weighted operators multiply: by the floats, or by the codes that compression fixed.

An operator's ``reference`` calls `quantize` on its activations and `multiply` on what it gets
back; which arithmetic that is, is the strategy's business.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from azsim import arith
from azsim.ir import CompressedWeight

__all__ = ["FloatLinear", "Linear", "QuantizedLinear"]

_FLOAT32_EXACT = 1 << 24


class Linear(Protocol):
    """Products with weight matrices, by initializer name."""

    def quantize(self, weight: str, items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Codes (n, size) and scales (n,) of float32 items (n, size)."""
        ...

    def multiply(self, weight: str, codes: np.ndarray, row_scales: np.ndarray) -> np.ndarray:
        """Float32 product (rows, N) of codes (rows, K) and scales (rows,) with the matrix."""
        ...


class FloatLinear:
    """Float32 products with the original matrices: codes are the values themselves.

    Parameters
    ----------
    matrices : mapping of str to ndarray of shape (N, K), float32
    """

    def __init__(self, matrices: Mapping[str, np.ndarray]) -> None:
        self._transposed = {name: matrix.T for name, matrix in matrices.items()}

    def quantize(self, weight: str, items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the items, with scales of 1."""
        return items, np.ones(len(items), np.float32)

    def multiply(self, weight: str, codes: np.ndarray, row_scales: np.ndarray) -> np.ndarray:
        """Multiply in float32, in BLAS's own order."""
        return codes @ self._transposed[weight]


class QuantizedLinear:
    """Products exactly as `azsim.ir.CompressedWeight` states them.

    The integer sums go through BLAS on floats that hold them exactly: float32 where no sum can
    pass 2**24, else float64 (see `azsim.arith.multiply_codes`).
    """

    def __init__(self, weights: Mapping[str, CompressedWeight]) -> None:
        self._weights = dict(weights)
        self._segments: dict[str, list[tuple[slice, np.ndarray, np.ndarray]]] = {}
        for name, weight in weights.items():
            bounds = zip(weight.segments, weight.segments[1:], strict=False)
            self._segments[name] = [
                (slice(first, last), _exact_transpose(weight, first, last), weight.scales[index])
                for index, (first, last) in enumerate(bounds)
            ]

    def quantize(self, weight: str, items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Quantize each item with one scale: its own, or the static one."""
        compressed = self._weights[weight]
        return arith.quantize_rows(items, compressed.activation_bits, compressed.activation_scale)

    def multiply(self, weight: str, codes: np.ndarray, row_scales: np.ndarray) -> np.ndarray:
        """Multiply integers exactly, scale each segment, add segments in ascending order."""
        total: np.ndarray | None = None
        for columns, matrix, scales in self._segments[weight]:
            term = arith.drain(codes[:, columns].astype(matrix.dtype) @ matrix, row_scales, scales)
            total = term if total is None else total + term
        assert total is not None
        return total


def _exact_transpose(weight: CompressedWeight, first: int, last: int) -> np.ndarray:
    codes = weight.codes[:, first:last]
    largest_sum = np.abs(codes).sum(axis=1, dtype=np.int64).max(initial=0)
    exact = largest_sum * arith.code_limit(weight.activation_bits) <= _FLOAT32_EXACT
    return np.ascontiguousarray(codes.T, dtype=np.float32 if exact else np.float64)
