"""Whole blocks become zero: those of the least energy.

Blocks of `block` rows and columns (1 x 16 unless told) start at row 0 and column 0; the last ones
may be smaller.  ``round(sparsity * blocks)`` blocks go, by mean square; among equals the first in
C order.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from azsim.compression.pruners._base import keep, smallest
from azsim.compression.spec import ResolvedRule

PARAMETERS = ("sparsity", "block")
REQUIRED = ()

_BLOCK = (1, 16)


def prune(
    matrices: Mapping[str, np.ndarray],
    rules: Mapping[str, ResolvedRule],
    column_power: Mapping[str, np.ndarray],
) -> dict[str, np.ndarray]:
    """Prune all matrices; see the package for the contract."""
    pruned = dict(matrices)
    for name, matrix in matrices.items():
        height, width = rules[name].block or _BLOCK
        energies = _mean_squares(matrix, height, width)
        count = round(rules[name].sparsity * energies.size)
        if count > 0:
            goes = smallest(energies.reshape(-1), count).reshape(energies.shape)
            rows, columns = matrix.shape
            spread = goes.repeat(height, axis=0)[:rows].repeat(width, axis=1)[:, :columns]
            pruned[name] = keep(matrix, spread)
    return pruned


def _mean_squares(matrix: np.ndarray, height: int, width: int) -> np.ndarray:
    """Mean square of each block, (block rows, block columns) float64."""
    row_starts = np.arange(0, matrix.shape[0], height)
    column_starts = np.arange(0, matrix.shape[1], width)
    sums = np.empty((len(row_starts), len(column_starts)))
    for index, start in enumerate(row_starts):
        part = matrix[start : start + height].astype(np.float64)
        sums[index] = np.add.reduceat((part * part).sum(axis=0), column_starts)
    rows, columns = matrix.shape
    heights = np.minimum(height, rows - row_starts)
    widths = np.minimum(width, columns - column_starts)
    return sums / np.outer(heights, widths)
