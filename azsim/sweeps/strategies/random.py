"""Designs drawn at random, each once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from pydantic import ConfigDict, Field

from azsim.sweeps.space import Sweep
from azsim.sweeps.strategies._sampling import Listed, largest, random_designs

__all__ = ["OPTIONS", "size", "start"]


@dataclass(frozen=True)
class Options:
    """How many, and which."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)
    points: Annotated[int, Field(ge=1, le=1_000_000)]
    """How many designs; all there are where they are fewer."""
    seed: Annotated[int, Field(ge=0, le=(1 << 32) - 1)] = 0
    """Which."""


OPTIONS = Options


def size(sweep: Sweep) -> int:
    """Return how many points there are at most."""
    return min(sweep.options.points, largest(sweep))


def start(sweep: Sweep) -> Listed:
    """Draw the designs."""
    draw = np.random.default_rng(sweep.options.seed)
    return Listed(random_designs(sweep, sweep.options.points, draw))
