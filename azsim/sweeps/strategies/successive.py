"""Successive refinement: all designs on a short input, the best of them on longer ones.

Each rung has overrides that make it cheaper or truer than the next, such as fewer frames.  Of the
points of a rung a share goes on: by the rank of their front (0: nothing dominates them), and in a
front by how alone they are, so that its ends stay.  The idea is that of successive halving, with
ranks in place of one figure.

Source: K. Jamieson and A. Talwalkar, "Non-stochastic best arm identification and hyperparameter
optimization", AISTATS 2016; K. Deb et al., "A fast and elitist multiobjective genetic algorithm:
NSGA-II", IEEE Trans. Evolutionary Computation 6(2), 2002.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from pydantic import ConfigDict, Field

from azsim.sweeps.pareto import crowding, ranks
from azsim.sweeps.space import Design, Sweep, Trial, designs
from azsim.sweeps.strategies._sampling import largest
from azsim.sweeps.strategies.grid import size as grid_size
from azsim.sweeps.strategies.latin_hypercube import hypercube

__all__ = ["OPTIONS", "find_conflicts", "rungs", "size", "start"]

_STRICT = ConfigDict(extra="forbid", strict=True)


@dataclass(frozen=True)
class Rung:
    """One length of input."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    set: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """Changes for the points of this rung, such as ``workload.input.random.frames=8``."""
    keep: Annotated[float | None, Field(gt=0, lt=1)] = None
    """Share of its points that go on to the next rung; the last rung has none."""


@dataclass(frozen=True)
class Options:
    """The rungs, and what begins on the first."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    rungs: Annotated[tuple[Rung, ...], Field(min_length=2, max_length=10)]
    """From the shortest input to the one that is meant."""
    points: Annotated[int | None, Field(ge=1, le=1_000_000)] = None
    """Designs of the first rung, by latin hypercube; the whole grid unless told."""
    seed: Annotated[int, Field(ge=0, le=(1 << 32) - 1)] = 0
    """Of the hypercube."""


OPTIONS = Options


def find_conflicts(options: Options) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield what is wrong across keys."""
    last = len(options.rungs) - 1
    for i, rung in enumerate(options.rungs):
        if i < last and rung.keep is None:
            yield ("rungs", i, "keep"), "missing key; the share that goes on to the next rung"
        elif i == last and rung.keep is not None:
            yield ("rungs", i, "keep"), f"nothing comes after the last rung, found {rung.keep:g}"


def rungs(options: Options) -> tuple[tuple[str, ...], ...]:
    """Return the overrides of each rung."""
    return tuple(rung.set for rung in options.rungs)


def size(sweep: Sweep) -> int:
    """Return how many points there are at most, on all rungs."""
    points = sweep.options.points
    total = here = grid_size(sweep) if points is None else min(points, largest(sweep))
    for rung in sweep.options.rungs[:-1]:
        here = _kept(here, rung.keep)
        total += here
    return total


def _kept(points: int, share: float) -> int:
    return math.ceil(points * share)


class Successive:
    """One batch a rung."""

    def __init__(self, sweep: Sweep, first: Sequence[Design]) -> None:
        self._sweep, self._next = sweep, list(first)
        self._rung = self._number = 0
        self._told: dict[int, tuple[Trial, list[float]]] = {}

    def ask(self) -> list[Trial]:
        """Return the points of the next rung; those that failed on the one before stay behind."""
        rungs = self._sweep.options.rungs
        if self._rung:
            keep = rungs[self._rung - 1].keep
            self._next = [] if keep is None else self._best(_kept(len(self._told), keep))
        if self._rung == len(rungs) or not self._next:
            return []
        trials = [
            Trial(self._number + i, design, self._rung) for i, design in enumerate(self._next)
        ]
        self._number += len(trials)
        self._rung += 1
        self._told = {}
        return trials

    def tell(self, trial: Trial, figures: Mapping[str, float | None] | None) -> None:
        """Take the figures of a point."""
        found = [(figures or {}).get(objective.name) for objective in self._sweep.objectives]
        self._told[trial.number] = (trial, [math.nan if x is None else x for x in found])

    def _best(self, wanted: int) -> list[Design]:
        told = [self._told[number] for number in sorted(self._told)]
        figures = np.array([row for _, row in told]).reshape(len(told), -1)
        rank = ranks(figures, [objective.goal for objective in self._sweep.objectives])
        alone = np.zeros(len(told))
        for front in range(rank.max(initial=-1) + 1):
            alone[rank == front] = crowding(figures[rank == front])
        order = [i for i in np.lexsort((-alone, rank)) if rank[i] >= 0]
        return [told[i][0].design for i in sorted(order[:wanted])]


def start(sweep: Sweep) -> Successive:
    """Begin with the first rung."""
    options = sweep.options
    if options.points is None:
        return Successive(sweep, list(designs(sweep.axes, sweep.constraints)))
    draw = np.random.default_rng(options.seed)
    return Successive(sweep, hypercube(sweep, options.points, draw))
