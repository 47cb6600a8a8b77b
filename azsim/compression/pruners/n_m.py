"""N:M: of each `m` neighbours along K, the `n` largest stay.

Groups start at column 0; the last one may be narrower and keeps `n` of what it has.  Among equal
magnitudes the first goes first.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from azsim.compression.pruners._base import keep
from azsim.compression.spec import ResolvedRule

PARAMETERS = ("n", "m")
REQUIRED = ("n", "m")


def prune(
    matrices: Mapping[str, np.ndarray],
    rules: Mapping[str, ResolvedRule],
    column_power: Mapping[str, np.ndarray],
) -> dict[str, np.ndarray]:
    """Prune all matrices; see the package for the contract."""
    pruned = {}
    for name, matrix in matrices.items():
        n, m = rules[name].n, rules[name].m
        assert n is not None
        assert m is not None
        pruned[name] = keep(matrix, _goes(np.abs(matrix), n, m))
    return pruned


def _goes(magnitudes: np.ndarray, n: int, m: int) -> np.ndarray:
    """Mark what is not among the `n` largest of its group."""
    rows, columns = magnitudes.shape
    whole = -(-columns // m) * m
    # What pads the last group is smaller than any weight, so it never stays in place of one.
    padded = np.full((rows, whole), np.float32(-1))
    padded[:, :columns] = magnitudes
    groups = [np.ascontiguousarray(padded[:, i::m]) for i in range(m)]
    goes = np.empty((rows, whole), np.bool_)
    for i, mine in enumerate(groups):
        larger = np.zeros(mine.shape, np.int8)
        for j, other in enumerate(groups):
            if j != i:
                larger += other >= mine if j > i else other > mine
        goes[:, i::m] = larger >= n
    return goes[:, :columns]
