"""A latin hypercube: every part of every axis is met equally often.

Source: M. D. McKay, R. J. Beckman and W. J. Conover, "A comparison of three methods for selecting
values of input variables", Technometrics 21(2), 1979.
"""

from __future__ import annotations

import numpy as np

from azsim.sweeps.space import Design, Sweep, key_of
from azsim.sweeps.strategies._sampling import Listed, design_at, random_designs
from azsim.sweeps.strategies.random import Options, size

__all__ = ["OPTIONS", "hypercube", "size", "start"]

OPTIONS = Options
_ROUNDS = 20


def hypercube(sweep: Sweep, points: int, draw: np.random.Generator) -> list[Design]:
    """Draw designs, each once.

    Each axis is cut into as many parts as there are points and each part is used once; the values
    of an axis take equal numbers of parts.  What a constraint leaves out, and what is there
    already, is drawn anew, in smaller hypercubes, and at last at random.
    """
    found: dict[str, Design] = {}
    for _ in range(_ROUNDS):
        missing = points - len(found)
        if not missing:
            break
        parts = [draw.permutation(missing) for _ in sweep.axes]
        columns = [
            part * len(axis.values) // missing for part, axis in zip(parts, sweep.axes, strict=True)
        ]
        for positions in zip(*columns, strict=True):
            design = design_at(sweep, [int(position) for position in positions])
            if design is not None:
                found.setdefault(key_of(design), design)
    more = random_designs(sweep, points - len(found), draw, found) if len(found) < points else []
    return [*found.values(), *more]


def start(sweep: Sweep) -> Listed:
    """Draw the designs."""
    draw = np.random.default_rng(sweep.options.seed)
    return Listed(hypercube(sweep, sweep.options.points, draw))
