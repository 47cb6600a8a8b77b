"""Pareto fronts: the points that nobody beats, how much they dominate, and where they bend.

Figures are float64 arrays of shape (points, objectives); `goals` says of each column whether it is
minimised or maximised.  A point *dominates* another if it is nowhere worse and somewhere better.
A point that lacks a figure (NaN) is on no front and dominates nothing.

Sources: K. Deb et al., "A fast and elitist multiobjective genetic algorithm: NSGA-II", IEEE Trans.
Evolutionary Computation 6(2), 2002 (ranks, crowding); L. While, L. Bradstreet and L. Barone, "A
fast way of calculating exact hypervolumes", IEEE Trans. Evolutionary Computation 16(1), 2012 (the
WFG algorithm); I. Das, "On characterizing the 'knee' of the Pareto curve based on normal-boundary
intersection", Structural Optimization 18, 1999 (knees).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = [
    "bends",
    "crowding",
    "hypervolume",
    "hypervolume_share",
    "knee",
    "nondominated",
    "ranks",
    "reference_point",
]

_MARGIN = 0.01
"""How far the reference point lies behind the worst figures, in parts of their range."""
_FLAT = 1e-9
"""A bend of less than this share of the front's range is rounding."""


def _losses(figures: np.ndarray, goals: Sequence[str]) -> np.ndarray:
    """Figures of which less is better."""
    signs = np.array([-1.0 if goal == "maximize" else 1.0 for goal in goals])
    return np.asarray(figures, np.float64).reshape(-1, len(goals)) * signs


# ---------------------------------------------------------------------------------- dominance


def nondominated(figures: np.ndarray, goals: Sequence[str]) -> np.ndarray:
    """Say which points no other point dominates.

    Parameters
    ----------
    figures : ndarray of float64, shape (n, k)
    goals : sequence of {"minimize", "maximize"}, length k

    Returns
    -------
    ndarray of bool, shape (n,)
        Of equal points all or none.
    """
    losses = _losses(figures, goals)
    found = np.zeros(len(losses), bool)
    whole = np.flatnonzero(~np.isnan(losses).any(axis=1))
    found[whole] = _minimal(losses[whole])
    return found


def _minimal(losses: np.ndarray) -> np.ndarray:
    """Points that none dominates; without NaN."""
    found = np.zeros(len(losses), bool)
    # In lexicographic order nothing behind a point dominates it: the first one left is minimal.
    left = np.lexsort(losses.T[::-1])
    while left.size:
        first = losses[left[0]]
        rest = losses[left]
        found[left[(rest == first).all(axis=1)]] = True
        left = left[(rest < first).any(axis=1)]
    return found


def ranks(figures: np.ndarray, goals: Sequence[str]) -> np.ndarray:
    """Number the fronts: 0 for the nondominated points, 1 for those without them, and so on.

    Parameters
    ----------
    figures, goals
        As for `nondominated`.

    Returns
    -------
    ndarray of int64, shape (n,)
        -1 where a figure is missing.
    """
    losses = _losses(figures, goals)
    found = np.full(len(losses), -1)
    whole = ~np.isnan(losses).any(axis=1)
    if whole.any():
        different, place = np.unique(losses[whole], axis=0, return_inverse=True)
        found[whole] = _sorted_ranks(different)[place.reshape(-1)]
    return found


def _sorted_ranks(losses: np.ndarray) -> np.ndarray:
    """Ranks of different points in lexicographic order, where nothing dominates what is before it.

    A point that some front dominates is dominated by every front before that one too, so that the
    first front that does not is found by halving (X. Zhang et al., "An efficient approach to
    nondominated sorting", IEEE Trans. Evolutionary Computation 19(2), 2015).
    """
    found = np.zeros(len(losses), np.int64)
    fronts: list[np.ndarray] = []
    sizes: list[int] = []
    for number, point in enumerate(losses):
        low, high = 0, len(fronts)
        while low < high:
            middle = (low + high) // 2
            members = fronts[middle][: sizes[middle]]
            if (members <= point).all(axis=1).any():
                low = middle + 1
            else:
                high = middle
        if low == len(fronts):
            fronts.append(np.empty((16, losses.shape[1])))
            sizes.append(0)
        if sizes[low] == len(fronts[low]):
            fronts[low] = np.concatenate([fronts[low], np.empty_like(fronts[low])])
        fronts[low][sizes[low]] = point
        sizes[low] += 1
        found[number] = low
    return found


def crowding(figures: np.ndarray) -> np.ndarray:
    """Crowding distance of the points of one front: how alone each is.

    Parameters
    ----------
    figures : ndarray of float64, shape (n, k)
        Of one front, without NaN; goals do not matter.

    Returns
    -------
    ndarray of float64, shape (n,)
        Sum over the objectives of the distance between a point's two neighbours, in parts of the
        objective's range; infinite for the extremes.
    """
    figures = np.asarray(figures, np.float64)
    distance = np.zeros(len(figures))
    for column in figures.T if len(figures) else ():
        order = np.argsort(column, kind="stable")
        distance[order[[0, -1]]] = np.inf
        span = column[order[-1]] - column[order[0]]
        if span > 0:
            distance[order[1:-1]] += (column[order[2:]] - column[order[:-2]]) / span
    return distance


# -------------------------------------------------------------------------------- hypervolume


def reference_point(figures: np.ndarray, goals: Sequence[str]) -> np.ndarray:
    """Choose where hypervolume is measured from: just behind the worst of all points.

    The worst figure of each objective, moved away from the best by 1 % of the range between them
    (by 1 % of its size where all are equal, by 1 where that is 0), so that a point with the worst
    figure of one objective still counts.

    Parameters
    ----------
    figures : ndarray of float64, shape (n, k)
        Of all feasible points, not of the front alone; rows with NaN are left out.
    goals : sequence of {"minimize", "maximize"}, length k

    Returns
    -------
    ndarray of float64, shape (k,)
        NaN where there are no points.
    """
    losses = _losses(figures, goals)
    losses = losses[~np.isnan(losses).any(axis=1)]
    if not len(losses):
        return np.full(len(goals), np.nan)
    worst, best = losses.max(axis=0), losses.min(axis=0)
    span = np.where(worst > best, worst - best, np.abs(worst))
    step = np.where(span > 0, _MARGIN * span, 1.0)
    return _losses(worst + step, goals)[0]


def hypervolume(figures: np.ndarray, goals: Sequence[str], reference: np.ndarray) -> float:
    """Volume of all that the points dominate, up to the reference point; exact.

    The WFG algorithm: points are sorted by their last objective, each adds what the points behind
    it do not cover, and that is a volume of one dimension less.

    Parameters
    ----------
    figures : ndarray of float64, shape (n, k)
        Rows with NaN, and rows not better than the reference everywhere, count nothing.
    goals : sequence of {"minimize", "maximize"}, length k
    reference : ndarray of float64, shape (k,)

    Returns
    -------
    float
        In the product of the objectives' units.
    """
    gains = _losses(reference, goals) - _losses(figures, goals)
    gains = gains[(gains > 0).all(axis=1)]  # NaN is not above 0
    return _volume(gains[_minimal(-gains)]) if len(gains) else 0.0


def hypervolume_share(figures: np.ndarray, goals: Sequence[str], reference: np.ndarray) -> float:
    """Hypervolume in parts of the box between the reference and the best of each objective.

    1 would be a point that is best in everything; without unit, so sweeps can be compared.  As
    `hypervolume` otherwise.
    """
    gains = _losses(reference, goals) - _losses(figures, goals)
    gains = gains[(gains > 0).all(axis=1)]
    if not len(gains):
        return 0.0
    return hypervolume(figures, goals, reference) / float(gains.max(axis=0).prod())


def _volume(gains: np.ndarray) -> float:
    """Union of the boxes from the origin to each of some points, all coordinates positive."""
    count, dimensions = gains.shape
    if dimensions == 1:
        return float(gains.max())
    if dimensions == 2:
        return _area(gains)
    if count == 1:
        return float(gains.prod())
    gains = gains[np.argsort(gains[:, -1], kind="stable")]
    flat, height = gains[:, :-1], gains[:, -1]
    volume = 0.0
    for number in range(count):
        # All points behind this one are at least as high: within its box they differ in the other
        # coordinates alone.
        corner = flat[number]
        behind = np.minimum(flat[number + 1 :], corner)
        if dimensions > 3 and len(behind):  # an area needs no such care
            behind = behind[_minimal(-behind)]
        covered = _volume(behind) if len(behind) else 0.0
        volume += float(height[number]) * (float(corner.prod()) - covered)
    return volume


def _area(gains: np.ndarray) -> float:
    """Union of rectangles from the origin: a staircase from the widest to the narrowest."""
    order = np.argsort(-gains[:, 0], kind="stable")
    width, height = gains[order, 0], np.maximum.accumulate(gains[order, 1])
    return float(np.sum((width - np.append(width[1:], 0.0)) * height))


# -------------------------------------------------------------------------------------- knees


def bends(figures: np.ndarray, goals: Sequence[str]) -> np.ndarray:
    """How far each point of a front lies before the plane through the front's extremes.

    Each objective is scaled to 0 for the front's best and 1 for its worst figure.  The plane goes
    through the k points that are best in one objective (of several, the one with the least sum of
    the others); where these span no plane that cuts every axis, through their centre, with the
    same slope towards every axis.

    Parameters
    ----------
    figures : ndarray of float64, shape (n, k)
        Of one front, without NaN.
    goals : sequence of {"minimize", "maximize"}, length k

    Returns
    -------
    ndarray of float64, shape (n,)
        Distance in scaled units, positive towards the point that is best in everything.
    """
    scaled = _scaled(figures, goals)
    if not len(scaled):
        return np.zeros(0)
    extremes = scaled[_extremes(scaled)]
    dimensions = len(goals)
    normal, offset = np.ones(dimensions), float(extremes.sum(axis=1).mean())
    if np.linalg.matrix_rank(extremes) == dimensions:
        solved = np.linalg.solve(extremes, np.ones(dimensions))
        if (solved > 0).all():  # otherwise better in some objective would be behind the plane
            normal, offset = solved, 1.0
    return (offset - scaled @ normal) / np.linalg.norm(normal)


def _scaled(figures: np.ndarray, goals: Sequence[str]) -> np.ndarray:
    """Figures of a front as losses from 0, the best, to 1, the worst."""
    losses = _losses(figures, goals)
    best, worst = losses.min(axis=0, initial=np.inf), losses.max(axis=0, initial=-np.inf)
    return (losses - best) / np.where(worst > best, worst - best, 1.0)


def _extremes(scaled: np.ndarray) -> list[int]:
    """The best point in each objective; of several, the one with the least sum of the others."""
    sums = scaled.sum(axis=1)
    return [int(np.lexsort((sums, column))[0]) for column in scaled.T]


def knee(figures: np.ndarray, goals: Sequence[str]) -> int | None:
    """Find the knee: the point of the front where leaving it costs most on either side.

    That is the point with the largest of `bends`, the extremes themselves left out.

    Parameters
    ----------
    figures : ndarray of float64, shape (n, k)
        Of all points; the front is found here.
    goals : sequence of {"minimize", "maximize"}, length k

    Returns
    -------
    int or None
        Index of the point (the first of equal ones); None where the front has fewer than three
        points, or none before the plane through its extremes.
    """
    front = np.flatnonzero(nondominated(figures, goals))
    if len(np.unique(figures[front], axis=0)) < 3:
        return None
    distance = bends(figures[front], goals)
    scaled = _scaled(figures[front], goals)
    for extreme in scaled[_extremes(scaled)]:
        distance[(scaled == extreme).all(axis=1)] = -np.inf
    place = int(np.argmax(distance))
    return int(front[place]) if distance[place] > _FLAT else None
