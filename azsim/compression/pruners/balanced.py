"""As many weights for each lane: no lane waits for one that has more to do.

Rows are dealt to `lanes` in turn, as the MAC array does it: lane l owns rows l, l + lanes and so
on; there are no more lanes than rows.  Of the weights that the sparsity leaves, each lane keeps
its share, the largest magnitudes; where the lanes do not divide their number, those lanes whose
next weight is largest keep one more.  Among equal magnitudes the first go first.  So no two lanes
differ by more than 1, and with as many lanes as rows neither do two rows.

Balance comes before the sparsity: a lane cannot keep more than its rows hold, so that where the
number of rows is no multiple of `lanes` all lanes keep at most what the shortest one holds, and
more weights may go than the sparsity asks for (at least ``1 - lanes * (rows // lanes) / rows`` of
them all).  Zeros that are there already go first; a lane with more of them keeps what it has.

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
        for lane, kept in enumerate(_shares(owned, min(left, lanes * owned[-1].size))):
            magnitudes = owned[lane]
            dropped = smallest(magnitudes.reshape(-1), magnitudes.size - kept)
            goes[lane::lanes] = dropped.reshape(magnitudes.shape)
        pruned[name] = keep(matrix, goes)
    return pruned


def _shares(owned: list[np.ndarray], total: int) -> np.ndarray:
    """How many weights each lane keeps, int64; they add up to `total`."""
    share, rest = divmod(total, len(owned))
    shares = np.full(len(owned), share)
    if rest:
        following = [np.partition(part.reshape(-1), -share - 1)[-share - 1] for part in owned]
        shares[np.argsort(-np.array(following), kind="stable")[:rest]] += 1
    return shares
