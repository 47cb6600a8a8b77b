"""Magnitude pruning: the smallest weights become zero, exactly as many as asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from azsim.compression.scheme import ResolvedRule

__all__ = ["prune"]


def prune(
    matrices: Mapping[str, np.ndarray], rules: Mapping[str, ResolvedRule]
) -> dict[str, np.ndarray]:
    """Set the smallest magnitudes to zero.

    ``round(sparsity * size)`` weights (half to even) are zero afterwards, or more where more were
    before.  Among equal magnitudes the first in C order goes first.  Tensors whose rule says
    ``scope: global`` and the same sparsity form one pool, in the order of `matrices`.

    Parameters
    ----------
    matrices : mapping of str to ndarray, float32
        Finite; left as they are.
    rules : mapping of str to ResolvedRule
        One for each matrix.

    Returns
    -------
    dict of str to ndarray, float32
        Same shapes; an array from which nothing was taken is the given one.
    """
    pools: dict[tuple[str, float], list[str]] = {}
    for name in matrices:
        rule = rules[name]
        pool = ("", rule.sparsity) if rule.prune_scope == "global" else (name, rule.sparsity)
        pools.setdefault(pool, []).append(name)
    pruned = dict(matrices)
    for (_, sparsity), names in pools.items():
        count = round(sparsity * sum(matrices[name].size for name in names))
        if count > 0:
            pruned.update(_prune_pool({name: matrices[name] for name in names}, count))
    return pruned


def _prune_pool(pool: Mapping[str, np.ndarray], count: int) -> Iterable[tuple[str, np.ndarray]]:
    magnitudes = np.concatenate([np.abs(matrix).reshape(-1) for matrix in pool.values()])
    # The threshold is a value, not a position, so it does not depend on how partition orders.
    threshold = np.partition(magnitudes, count - 1)[count - 1]
    goes = magnitudes < threshold
    ties = np.flatnonzero(magnitudes == threshold)
    goes[ties[: count - np.count_nonzero(goes)]] = True
    start = 0
    for name, matrix in pool.items():
        part = goes[start : start + matrix.size].reshape(matrix.shape)
        start += matrix.size
        yield name, np.where(part, np.float32(0), matrix)
