"""What pruners share: pools of tensors that reach a share together, and the smallest of scores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from azsim.compression.spec import ResolvedRule

__all__ = ["keep", "pools", "smallest"]


def pools(
    matrices: Mapping[str, np.ndarray], rules: Mapping[str, ResolvedRule]
) -> Iterator[tuple[ResolvedRule, dict[str, np.ndarray]]]:
    """Yield the tensors that are pruned together, with a rule of theirs.

    Tensors whose rule says ``scope: global`` and the same sparsity or target form one pool; each
    other one stands alone.
    """
    found: dict[tuple[object, ...], list[str]] = {}
    for name in matrices:
        rule = rules[name]
        alone = "" if rule.prune_scope == "global" else name
        found.setdefault((alone, rule.sparsity, rule.target_bits), []).append(name)
    for names in found.values():
        yield rules[names[0]], {name: matrices[name] for name in names}


def smallest(scores: np.ndarray, count: int) -> np.ndarray:
    """Mark the `count` smallest scores; among equals the first.  1-D in, 1-D bool out."""
    if count <= 0:
        return np.zeros(scores.shape, np.bool_)
    # The threshold is a value, not a position, so it does not depend on how partition orders.
    threshold = np.partition(scores, count - 1)[count - 1]
    goes = scores < threshold
    ties = np.flatnonzero(scores == threshold)
    goes[ties[: count - np.count_nonzero(goes)]] = True
    return goes


def keep(matrix: np.ndarray, goes: np.ndarray) -> np.ndarray:
    """Matrix with +0 where `goes` says so."""
    return np.where(goes, np.float32(0), matrix)
