"""Which axis moves which objective, and by how much.

The share of an axis in an objective is its *main effect*: the variance of the means over the axis'
levels, in parts of the objective's whole variance.  Over a full grid with every level as likely as
any other that is the first-order Sobol' index, exact for the points of the grid (I. M. Sobol',
"Sensitivity estimates for nonlinear mathematical models", Mathematical Modelling and Computational
Experiments 1(4), 1993); statistics calls it eta squared.  What the main effects leave of 1 is
interaction between axes.

A random, adaptive or incomplete sample is no grid.  There eta squared finds something even in
noise, so it is corrected for chance: epsilon squared (T. L. Kelley, "An unbiased correlation ratio
measure", PNAS 21(9), 1935), not below 0.  An axis with more than 12 different numbers is cut into
8 bins that hold equally many points.  Axes of an adaptive sample depend on each other, and then
shares overlap: they need not add up to 1 or less.  An axis that is not there at some points is
judged by those that have it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

__all__ = ["Effect", "Levels", "axis_effects", "find_levels"]

Estimator = Literal["grid", "sample"]

_MOST_LEVELS = 12
_BINS = 8


@dataclass(frozen=True)
class Levels:
    """An axis as levels.

    Attributes
    ----------
    labels : tuple of str
        Numbers ascending, else in the order in which they come.
    codes : ndarray of int64, shape (points,)
        Index into `labels`.
    ordered : bool
        The labels are numbers, or ranges of numbers.
    binned : bool
        A level is a range of numbers.
    """

    labels: tuple[str, ...]
    codes: np.ndarray
    ordered: bool
    binned: bool = False


@dataclass(frozen=True)
class Effect:
    """What an axis does to an objective.

    Attributes
    ----------
    axis, objective : str
    share : float or None
        Of the objective's variance, 0 to 1; None where nothing varies or there are too few points.
    low, high : str
        Levels that `change` compares: the lowest and the highest number, or, of names, the level
        with the lowest and the one with the highest mean.
    change : float or None
        Mean of the objective at `high` less that at `low`, in the objective's unit.
    levels, points : int
    estimator : {"grid", "sample"}
        `grid`: exact over a full grid; `sample`: epsilon squared over levels or bins.
    """

    axis: str
    objective: str
    share: float | None
    low: str
    high: str
    change: float | None
    levels: int
    points: int
    estimator: Estimator


def axis_effects(
    axes: Mapping[str, Sequence[Any]], figures: np.ndarray, objectives: Sequence[str]
) -> tuple[Effect, ...]:
    """Estimate the effect of every axis on every objective.

    Parameters
    ----------
    axes : mapping of str to sequence
        Values of each axis, one a point; None where the axis is not there.
    figures : ndarray of float64, shape (points, objectives)
        NaN where a point has no figure: it is left out for that objective.
    objectives : sequence of str
        Names of the columns of `figures`.

    Returns
    -------
    tuple of Effect
        Objective by objective, the largest share first.
    """
    found: list[Effect] = []
    for objective, column in zip(objectives, np.asarray(figures, np.float64).T, strict=True):
        known = np.flatnonzero(~np.isnan(column)).tolist()
        rows = {name: [i for i in known if v[i] is not None] for name, v in axes.items()}
        levels = {name: find_levels([axes[name][i] for i in rows[name]]) for name in axes}
        is_grid = all(mine == known for mine in rows.values()) and _is_full_grid([*levels.values()])
        estimator: Estimator = "grid" if is_grid else "sample"
        effects = [
            _effect(name, objective, levels[name], column[rows[name]], estimator) for name in axes
        ]
        found += sorted(effects, key=lambda effect: -(effect.share or 0.0))
    return tuple(found)


def find_levels(values: Sequence[Any]) -> Levels:
    """Sort an axis' values into levels.

    Parameters
    ----------
    values : sequence of number, str, bool, list or mapping

    Returns
    -------
    Levels
    """
    if values and all(map(_is_number, values)):
        return _number_levels(np.array(values, np.float64))
    keys = list(map(_text, values))
    labels = tuple(dict.fromkeys(keys))
    return Levels(labels, np.array([labels.index(key) for key in keys], np.int64), False)


def _number_levels(values: np.ndarray) -> Levels:
    different, codes = np.unique(values, return_inverse=True)
    if len(different) <= _MOST_LEVELS:
        return Levels(tuple(f"{value:.6g}" for value in different), codes, True)
    cuts = np.unique(np.quantile(values, np.linspace(0, 1, _BINS + 1)[1:-1], method="lower"))
    used, codes = np.unique(np.searchsorted(cuts, values, side="left"), return_inverse=True)
    parts = [values[codes == number] for number in range(len(used))]
    labels = tuple(f"{part.min():.4g} to {part.max():.4g}" for part in parts)
    return Levels(labels, codes, True, True)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _is_full_grid(axes: Sequence[Levels]) -> bool:
    """Whether every combination of levels is there, all of them equally often."""
    if not axes or any(axis.binned for axis in axes):
        return False
    if not len(axes[0].codes):
        return False
    combinations = np.stack([axis.codes for axis in axes], axis=1)
    _, counts = np.unique(combinations, axis=0, return_counts=True)
    all_there = len(counts) == np.prod([float(len(axis.labels)) for axis in axes])
    return bool(all_there and (counts == counts[0]).all())


def _effect(
    axis: str, objective: str, levels: Levels, column: np.ndarray, estimator: Estimator
) -> Effect:
    count = len(levels.labels)
    points = np.bincount(levels.codes, minlength=count)
    means = np.bincount(levels.codes, column, minlength=count) / np.maximum(points, 1)
    low, high = 0, count - 1
    if count and not levels.ordered:
        low, high = (int(place(means)) for place in (np.argmin, np.argmax))
    return Effect(
        axis=axis,
        objective=objective,
        share=_share(points, means, column, estimator),
        low=levels.labels[low] if count else "",
        high=levels.labels[high] if count else "",
        change=float(means[high] - means[low]) if count > 1 else None,
        levels=count,
        points=len(column),
        estimator=estimator,
    )


def _share(
    points: np.ndarray, means: np.ndarray, column: np.ndarray, estimator: Estimator
) -> float | None:
    if len(points) < 2:
        return None
    mean = column.mean()
    whole = float(((column - mean) ** 2).sum())
    # Equal figures may differ from their mean by rounding.
    if whole <= len(column) * (1e-12 * float(np.abs(column).max())) ** 2:
        return None
    between = float((points * (means - mean) ** 2).sum())
    if estimator == "sample":
        free = len(column) - len(points)
        if free < 1:
            return None
        between -= (len(points) - 1) * (whole - between) / free
    return min(max(between / whole, 0.0), 1.0)
