"""As many weights for each lane: no lane waits for one that has more to do.

Rows are dealt to `lanes` in turn, as the MAC array does it: lane l owns rows l, l + lanes and so
on.  Each lane keeps its ``round((1 - sparsity) * size / lanes)`` largest magnitudes; among equal
ones the first go first.  Where the number of rows is no multiple of `lanes`, a lane that has
fewer weights than that keeps all of them.  With as many lanes as rows, each row keeps as many.

Source: Han et al., ESE (FPGA 2017), load-balance-aware pruning.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from azsim.compression.pruners._base import keep, smallest
from azsim.compression.spec import ResolvedRule

PARAMETERS = ("sparsity", "lanes")
REQUIRED = ("lanes",)


def prune(
    matrices: Mapping[str, np.ndarray],
    rules: Mapping[str, ResolvedRule],
    column_power: Mapping[str, np.ndarray],
) -> dict[str, np.ndarray]:
    """Prune all matrices; see the package for the contract."""
    pruned = dict(matrices)
    for name, matrix in matrices.items():
        if rules[name].sparsity == 0:
            continue
        lanes = min(rules[name].lanes or 1, len(matrix))
        kept = round((1 - rules[name].sparsity) * matrix.size / lanes)
        goes = np.empty(matrix.shape, np.bool_)
        for lane in range(lanes):
            magnitudes = np.abs(matrix[lane::lanes])
            dropped = smallest(magnitudes.reshape(-1), magnitudes.size - kept)
            goes[lane::lanes] = dropped.reshape(magnitudes.shape)
        pruned[name] = keep(matrix, goes)
    return pruned
