"""Designs by the positions of their values, and samples of them without repetition."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from azsim.sweeps.space import Design, Sweep, Trial, designs, key_of

__all__ = ["Listed", "Positions", "design_at", "largest", "positions_of", "random_designs"]

_MOST_LISTED = 200_000
_MOST_TRIES, _LEAST_TRIES = 20, 1_000_000
"""Draws, for each design that is wanted and in all, before a sparse space is given up."""

Positions = tuple[int, ...]
"""Of a value in each axis, also in those that a condition leaves out."""


def design_at(sweep: Sweep, positions: Sequence[int]) -> Design | None:
    """Return the design at some positions; None where a constraint does not hold."""
    design: dict[str, object] = {}
    for axis, position in zip(sweep.axes, positions, strict=True):
        if axis.when is None or axis.when.holds(design):
            design[axis.name] = axis.values[position]
    return design if all(rule.holds(design) for rule in sweep.constraints) else None


def positions_of(sweep: Sweep, design: Design) -> Positions:
    """Return the positions of a design; 0 for axes that are left out."""
    return tuple(
        axis.values.index(design[axis.name]) if axis.name in design else 0 for axis in sweep.axes
    )


def largest(sweep: Sweep) -> int:
    """Return how many designs there would be without conditions and constraints."""
    return math.prod(len(axis.values) for axis in sweep.axes)


def random_designs(
    sweep: Sweep, points: int, draw: np.random.Generator, known: Mapping[str, object] | None = None
) -> list[Design]:
    """Draw designs, each once; all there are where they are fewer.

    A space of up to 200,000 combinations is listed, and each of its designs is as likely as any
    other; in a larger one each value of an axis is.

    Parameters
    ----------
    sweep : Sweep
    points : int
    draw : numpy.random.Generator
    known : mapping by `key_of`, optional
        Designs that are not drawn.
    """
    known = known or {}
    if largest(sweep) <= _MOST_LISTED:
        every = [d for d in designs(sweep.axes, sweep.constraints) if key_of(d) not in known]
        return [every[i] for i in draw.permutation(len(every))[:points]]
    sizes = [len(axis.values) for axis in sweep.axes]
    found: dict[str, Design] = {}
    for _ in range(max(_MOST_TRIES * points, _LEAST_TRIES)):
        if len(found) == points:
            break
        design = design_at(sweep, tuple(int(i) for i in draw.integers(sizes)))
        if design is not None and key_of(design) not in known:
            found[key_of(design)] = design
    return list(found.values())


class Listed:
    """A strategy whose designs are known from the start."""

    def __init__(self, found: Sequence[Design]) -> None:
        self._left = [Trial(number, design) for number, design in enumerate(found)]

    def ask(self) -> list[Trial]:
        """Return all trials, and nothing the second time."""
        left, self._left = self._left, []
        return left

    def tell(self, trial: Trial, figures: Mapping[str, float | None] | None) -> None:
        """Nothing depends on the figures."""
