"""What a sweep's results say: the front, its knees and volume, the effects of the axes."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from azsim.sweeps.pareto import (
    hypervolume,
    hypervolume_share,
    knee,
    ranks,
    reference_point,
)
from azsim.sweeps.results import Results
from azsim.sweeps.sensitivity import Effect, axis_effects

__all__ = ["STATES", "Analysis", "Knee", "Trouble", "analyse"]

_NUMBER = re.compile(r"[-+]?\b\d[\d_,.]*(?:e[-+]?\d+)?", re.IGNORECASE)
STATES = ("done", "infeasible", "failed")


@dataclass(frozen=True)
class Knee:
    """Where a front bends most.

    Attributes
    ----------
    objectives : tuple of str
        All of the sweep's, or two of them: then of the front that these two have alone.
    point : int
        Row of the results.
    """

    objectives: tuple[str, ...]
    point: int


@dataclass(frozen=True)
class Trouble:
    """Why points failed or are infeasible.

    Attributes
    ----------
    state : str
    message : str
        Of the first point; those whose messages differ in numbers alone count together.
    points : int
        How many say so.
    number : int
        The first of them.
    """

    state: str
    message: str
    points: int
    number: int


@dataclass(frozen=True)
class Analysis:
    """What a sweep's results say.

    Attributes
    ----------
    results : Results
    front : ndarray of int64
        Rows that no feasible row dominates, by the first objective, the best first.
    rank : ndarray of int64, shape (n,)
        0 on the front, 1 on the front without it, …; -1 where a point is not feasible.
    knees : tuple of Knee
        Of all objectives; where there are more than two, then of every pair.
    best : mapping of str to int
        Row with the best figure of each objective.
    reference : ndarray of float64, shape (objectives,)
        As `pareto.reference_point` chooses it from the feasible points.
    hypervolume, hypervolume_share : float
        In the product of the objectives' units; in parts of the box up to the best figures.
    effects : tuple of Effect
        Over all points with figures, infeasible ones too.
    counts : mapping of str to int
        Points by state.
    troubles : tuple of Trouble
        The most common first.
    """

    results: Results
    front: np.ndarray
    rank: np.ndarray
    knees: tuple[Knee, ...]
    best: Mapping[str, int]
    reference: np.ndarray
    hypervolume: float
    hypervolume_share: float
    effects: tuple[Effect, ...]
    counts: Mapping[str, int]
    troubles: tuple[Trouble, ...]

    @property
    def knee(self) -> int | None:
        """Row of the knee of all objectives."""
        whole = len(self.results.objectives)
        return next((knee.point for knee in self.knees if len(knee.objectives) == whole), None)


def analyse(results: Results) -> Analysis:
    """Find front, knees, hypervolume and effects.

    Parameters
    ----------
    results : Results
        Of points on shorter input (rungs before the last), only the counts are used.
    """
    goals = results.goals
    feasible = np.flatnonzero(results.feasible)
    figures = results.figures[feasible]
    rank = np.full(len(results), -1)
    rank[feasible] = ranks(figures, goals)
    front = feasible[rank[feasible] == 0]
    losses = figures * [-1.0 if goal == "maximize" else 1.0 for goal in goals]
    if goals:
        front = front[np.lexsort(losses[rank[feasible] == 0].T[::-1])]
    reference = reference_point(figures, goals)
    measured = np.flatnonzero(results.measured).tolist()
    effects = axis_effects(
        {name: [results.designs[row].get(name) for row in measured] for name in results.axes},
        results.figures[measured],
        [objective.name for objective in results.objectives],
    )
    states = Counter(results.state.tolist())
    return Analysis(
        results=results,
        front=front,
        rank=rank,
        knees=_knees(results, feasible),
        best={
            # Of equal figures the one that is better otherwise.
            objective.name: int(feasible[np.lexsort((rank[feasible], losses[:, column]))[0]])
            for column, objective in enumerate(results.objectives)
            if len(feasible)
        },
        reference=reference,
        hypervolume=hypervolume(figures, goals, reference),
        hypervolume_share=hypervolume_share(figures, goals, reference),
        effects=effects,
        counts={state: states.get(state, 0) for state in STATES},
        troubles=_troubles(results),
    )


def _knees(results: Results, feasible: np.ndarray) -> tuple[Knee, ...]:
    columns = range(len(results.objectives))
    chosen = [tuple(columns)] if len(columns) > 1 else []
    if len(columns) > 2:
        chosen += itertools.combinations(columns, 2)
    found = []
    for some in chosen:
        goals = [results.goals[column] for column in some]
        point = knee(results.figures[feasible][:, list(some)], goals)
        if point is not None:
            names = tuple(results.objectives[column].name for column in some)
            found.append(Knee(names, int(feasible[point])))
    return tuple(found)


def _troubles(results: Results) -> tuple[Trouble, ...]:
    count: Counter[tuple[str, str]] = Counter()
    first: dict[tuple[str, str], tuple[int, str]] = {}
    rows = zip(results.number.tolist(), results.state.tolist(), results.messages, strict=True)
    for number, state, said in rows:
        if state != "done":
            message = said or "no message"
            alike = (state, _NUMBER.sub("#", message))
            count[alike] += 1
            first.setdefault(alike, (number, message))
    return tuple(
        Trouble(alike[0], first[alike][1], points, first[alike][0])
        for alike, points in count.most_common()
    )
