"""Compiled inner loops of quantizers that try many steps: one pass over a part of a matrix each.

Each element's arithmetic is float32, operation by operation, as numpy would do it.  Sums are
float64, of up to `_LANES` partial sums that are added in order at the end of a row: so the loops
over a block have no order to keep and can work on many elements at once.
"""

from __future__ import annotations

import numpy as np

from azsim.jit import kernel

__all__ = ["clipped_errors", "code_errors", "dead_zone_codes"]

_LANES = 256
_ZERO, _ONE = np.float32(0), np.float32(1)


@kernel
def _total(lanes, used):
    """Add partial sums in order, and clear them."""
    total = 0.0
    for i in range(used):
        total += lanes[i]
        lanes[i] = 0.0
    return total


@kernel
def _dead_zone_block(part, step, dead_zone, limit, codes, products, squares):
    for i in range(len(part)):
        quotient = part[i] / step
        size = abs(quotient)
        code = min(max(np.rint(size), _ONE), limit)
        code = _ZERO if size < dead_zone else code
        products[i] += np.float64(size) * np.float64(code)
        squares[i] += np.float64(code) * np.float64(code)
        codes[i] = np.int8(np.copysign(code, quotient))


@kernel
def dead_zone_codes(part, steps, dead_zone, limit, codes, products, squares):
    """Codes of steps with a dead zone, and for each row what fits a scale to them.

    Parameters
    ----------
    part : ndarray of shape (rows, columns), float32
    steps : ndarray of shape (rows,), float32
    dead_zone, limit : float32
        Magnitudes below `dead_zone` steps are code 0; codes are at most `limit`.
    codes : ndarray of shape (rows, columns), int8
        Written.
    products, squares : ndarray of shape (rows,), float64
        Written: sums of quotient * code and of code * code.
    """
    rows, columns = part.shape
    used = min(_LANES, columns)
    of_products, of_squares = np.zeros(used), np.zeros(used)
    for row in range(rows):
        for i in range(0, columns, _LANES):
            block, found = part[row, i : i + _LANES], codes[row, i : i + _LANES]
            _dead_zone_block(block, steps[row], dead_zone, limit, found, of_products, of_squares)
        products[row] = _total(of_products, used)
        squares[row] = _total(of_squares, used)


@kernel
def _error_block(part, codes, scale, lanes):
    for i in range(len(part)):
        difference = part[i] - np.float32(codes[i]) * scale
        lanes[i] += np.float64(difference) * np.float64(difference)


@kernel
def code_errors(part, codes, scales, errors):
    """Squared error of each row that its codes and scale leave; `errors` (rows,) is written."""
    rows, columns = part.shape
    used = min(_LANES, columns)
    lanes = np.zeros(used)
    for row in range(rows):
        for i in range(0, columns, _LANES):
            _error_block(part[row, i : i + _LANES], codes[row, i : i + _LANES], scales[row], lanes)
        errors[row] = _total(lanes, used)


@kernel
def _clipped_block(part, scale, limit, lanes):
    for i in range(len(part)):
        code = min(max(np.rint(part[i] / scale), -limit), limit)
        difference = part[i] - code * scale
        lanes[i] += np.float64(difference * difference)


@kernel
def clipped_errors(part, scales, limit, errors):
    """Squared error of each row for several scales, codes rounded half to even and clipped.

    Parameters
    ----------
    part : ndarray of shape (rows, columns), float32
    scales : ndarray of shape (candidates, rows), float32
    limit : float32
    errors : ndarray of shape (candidates, rows), float64
        Written.
    """
    rows, columns = part.shape
    used = min(_LANES, columns)
    lanes = np.zeros(used)
    for row in range(rows):
        for candidate in range(len(scales)):
            for i in range(0, columns, _LANES):
                _clipped_block(part[row, i : i + _LANES], scales[candidate, row], limit, lanes)
            errors[candidate, row] = _total(lanes, used)
