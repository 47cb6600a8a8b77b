"""The smallest magnitudes become zero, exactly as many as asked for.

``round(sparsity * size)`` weights (half to even) are zero afterwards, or more where more were
before.  Among equal magnitudes the first in C order goes first, with `scope: global` in the order
of the tensors.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from azsim.compression.pruners._base import keep, pools, smallest
from azsim.compression.spec import ResolvedRule

PARAMETERS = ("sparsity", "scope")
REQUIRED = ()


def prune(
    matrices: Mapping[str, np.ndarray],
    rules: Mapping[str, ResolvedRule],
    column_power: Mapping[str, np.ndarray],
) -> dict[str, np.ndarray]:
    """Prune all matrices; see the package for the contract."""
    pruned = dict(matrices)
    for rule, pool in pools(matrices, rules):
        count = round(rule.sparsity * sum(matrix.size for matrix in pool.values()))
        if count > 0:
            magnitudes = [np.abs(matrix).reshape(-1) for matrix in pool.values()]
            goes = smallest(np.concatenate(magnitudes), count)
            start = 0
            for name, matrix in pool.items():
                part = goes[start : start + matrix.size].reshape(matrix.shape)
                start += matrix.size
                pruned[name] = keep(matrix, part)
    return pruned
