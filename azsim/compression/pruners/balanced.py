"""As many weights for each lane: no lane waits for one that has more to do.

Rows are dealt to `lanes` in turn, as the MAC array does it: lane l owns rows l, l + lanes and so
on; there are no more lanes than rows.  Of the weights that the sparsity leaves, each lane keeps
its share, the largest magnitudes; where the lanes do not divide their number, those lanes whose
next weight is largest keep one more.  Among equal magnitudes the first go first.  So no two lanes
differ by more than 1, and with as many lanes as rows neither do two rows.

The sparsity is kept exactly.  Where the number of rows is no multiple of `lanes`, some lanes own a
row less; one that cannot keep its share keeps all it has, and the others share what is left.
Zeros that are there already go first; a lane with more of them keeps what it has.

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
        owned = [np.abs(matrix[lane::lanes]) for lane in range(lanes)]
        left = round((1 - rules[name].sparsity) * matrix.size)
        goes = np.empty(matrix.shape, np.bool_)
        for lane, kept in enumerate(_shares(owned, left)):
            magnitudes = owned[lane]
            dropped = smallest(magnitudes.reshape(-1), magnitudes.size - kept)
            goes[lane::lanes] = dropped.reshape(magnitudes.shape)
        pruned[name] = keep(matrix, goes)
    return pruned


def _shares(owned: list[np.ndarray], total: int) -> np.ndarray:
    """How many weights each lane keeps, int64; they add up to `total`."""
    sizes = np.array([part.size for part in owned])
    shares = sizes.copy()
    open_lanes = np.arange(len(owned))  # not full yet
    while open_lanes.size:
        share, rest = divmod(total - int(np.delete(sizes, open_lanes).sum()), open_lanes.size)
        if (sizes[open_lanes] > share).all():
            shares[open_lanes] = share
            following = [-_nth_largest(owned[lane], share) for lane in open_lanes]
            shares[open_lanes[np.argsort(following, kind="stable")[:rest]]] += 1
            break
        open_lanes = open_lanes[sizes[open_lanes] > share]
    return shares


def _nth_largest(part: np.ndarray, number: int) -> np.float32:
    """Element after the `number` largest ones."""
    return np.partition(part.reshape(-1), -number - 1)[-number - 1]
