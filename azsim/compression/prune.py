"""Pruning of all matrices, each with the pruner that its rule names."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from azsim.compression.pruners import pruner
from azsim.compression.spec import ResolvedRule

__all__ = ["prune"]


def prune(
    matrices: Mapping[str, np.ndarray],
    rules: Mapping[str, ResolvedRule],
    column_power: Mapping[str, np.ndarray] | None = None,
) -> dict[str, np.ndarray]:
    """Set weights to zero.

    Parameters
    ----------
    matrices : mapping of str to ndarray of shape (N, K), float32
        Finite; left as they are.
    rules : mapping of str to ResolvedRule
        One for each matrix.
    column_power : mapping of str to ndarray of shape (K,), optional
        Mean squared activation of each input column, for pruners that weigh errors with it.

    Returns
    -------
    dict of str to ndarray, float32
        Same shapes and order; an array from which nothing was taken may be the given one.
    """
    names: dict[str, list[str]] = {}
    for name in matrices:
        names.setdefault(rules[name].prune_method, []).append(name)
    pruned = dict(matrices)
    for method, members in names.items():
        group = {name: matrices[name] for name in members}
        pruned.update(pruner(method).prune(group, rules, column_power or {}))
    return pruned
