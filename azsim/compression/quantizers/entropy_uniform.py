"""One step for the whole tensor, with a dead zone, for weights that are entropy-coded.

At one step, rows that are small get few distinct codes and an entropy coder spends few bits on
them: fewer in all than per-row steps at the same squared error.  ::

    code = 0                                         where |w| < dead_zone * step
    code = sign(w) * max(1, round_half_even(|w| / step))   elsewhere

Weights are multiplied back with the scale of least squared error, a little below the step.

The step is given (`step`, times the root mean square of the weights), or the largest that reaches
an error: that of `sqnr_db`, or else that of `uniform_mse` with `bits` per channel.  It is at
least ``max |w| / 127``, as a code has at most 8 bits; codes run at the width that they need.

One step fails where rows differ much in scale, as small rows would vanish: where the 90th
percentile of the rows' root mean squares (of those that are not zero) is more than 4 times the
10th, or 8-bit codes cannot reach the error, each row has its own step, proportional to its root
mean square.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from azsim.compression.quantizers import uniform_mse
from azsim.compression.quantizers._base import (
    Quantized,
    chunks,
    largest_magnitudes,
    least_bits,
    squared_errors,
    usable,
)
from azsim.compression.quantizers._loops import dead_zone_codes
from azsim.compression.spec import ResolvedRule

PARAMETERS = ("bits", "step", "sqnr_db", "dead_zone")
BITS = (2, 8)
IS_PALETTE = False

_DEAD_ZONE = 0.55
_ROWS_DIFFER = 4.0
_LIMIT = 127
_FINEST, _COARSEST = 2.0**-10, 2.0**4  # steps that are searched, times the root mean square
_HALVINGS = 13


def quantize(matrix: np.ndarray, rule: ResolvedRule) -> Quantized:
    """Quantize one matrix; see the package for the contract."""
    energies = _energies(matrix)
    rows = np.sqrt(energies / matrix.shape[1])
    whole = np.full_like(rows, math.sqrt(energies.mean() / matrix.shape[1]))
    allowed = None if rule.step is not None else _allowed(matrix, rule, energies)
    if not _rows_differ(rows):
        found, error = _at_best(matrix, whole, rule, allowed, "per_tensor")
        if allowed is None or error <= allowed:
            return found
    return _at_best(matrix, rows, rule, allowed, "per_channel")[0]


def _at_best(
    matrix: np.ndarray, sizes: np.ndarray, rule: ResolvedRule, allowed: float | None, kind: str
) -> tuple[Quantized, float]:
    """Quantize with steps proportional to `sizes`; also the squared error."""
    segments = (0, matrix.shape[1])
    largest = largest_magnitudes(matrix, segments)[0].astype(np.float64)
    if kind == "per_tensor":
        largest[:] = largest.max()
    dead_zone = np.float32(rule.dead_zone or _DEAD_ZONE)

    def at(step: float) -> tuple[np.ndarray, np.ndarray, float]:
        steps = usable(np.maximum(step * sizes, largest / _LIMIT).astype(np.float32))
        codes, products, squares = _codes(matrix, steps, dead_zone)
        if kind == "per_tensor":
            products[:], squares[:] = products.sum(), squares.sum()
        gain = np.divide(products, squares, out=np.ones_like(products), where=squares > 0)
        scales = usable((steps * gain).astype(np.float32))[None]
        return codes, scales, float(squared_errors(matrix, codes, scales, segments).sum())

    step = rule.step
    if step is None:
        assert allowed is not None
        step = _search(lambda candidate: at(candidate)[2], allowed)
    codes, scales, error = at(step)
    bits = least_bits(int(codes.min()), int(codes.max()))
    return Quantized(codes, scales, segments, bits, kind), error


def _energies(matrix: np.ndarray) -> np.ndarray:
    """Sum of squares of each row, float64."""
    energies = np.zeros(len(matrix))
    for _, rows, columns in chunks(matrix, (0, matrix.shape[1])):
        part = matrix[rows, columns].astype(np.float64)
        energies[rows] = np.einsum("ij,ij->i", part, part)
    return energies


def _rows_differ(rows: np.ndarray) -> bool:
    """Whether one step would lose the small rows; `rows` are root mean squares."""
    filled = rows[rows > 0]
    if not filled.size:
        return False
    low, high = np.percentile(filled, (10, 90), method="nearest")
    return bool(high > _ROWS_DIFFER * low)


def _codes(
    matrix: np.ndarray, steps: np.ndarray, dead_zone: np.float32
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Codes, and for each row the sums of quotient * code and code * code."""
    codes, limit = np.empty(matrix.shape, np.int8), np.float32(_LIMIT)
    products, squares = np.zeros(len(matrix)), np.zeros(len(matrix))
    for _, rows, columns in chunks(matrix, (0, matrix.shape[1])):
        part = np.ascontiguousarray(matrix[rows, columns])
        dead_zone_codes(
            part, steps[rows], dead_zone, limit, codes[rows], products[rows], squares[rows]
        )
    return codes, products, squares


def _allowed(matrix: np.ndarray, rule: ResolvedRule, energies: np.ndarray) -> float:
    """Squared error that the step is chosen for."""
    if rule.sqnr_db is not None:
        return float(energies.sum()) * 10 ** (-rule.sqnr_db / 10)
    per_row = replace(rule, weight_scale="per_channel", group_size=None)
    found = uniform_mse.quantize(matrix, per_row)
    return float(squared_errors(matrix, found.codes, found.scales, found.segments).sum())


def _search(error: Callable[[float], float], allowed: float) -> float:
    """Largest step of a bisection (on its logarithm) whose error is at most what is allowed."""
    low, high = math.log2(_FINEST), math.log2(_COARSEST)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if error(2.0**middle) <= allowed:
            low = middle
        else:
            high = middle
    return 2.0**low
