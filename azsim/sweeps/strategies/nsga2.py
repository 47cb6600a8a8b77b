"""NSGA-II: a population of designs that cross, mutate and are selected by rank and crowding.

The sampler is Optuna's (extra ``search``), over the positions of values; `azsim` adds steps from
the front and never pays for a design twice.

Source: K. Deb et al., "A fast and elitist multiobjective genetic algorithm: NSGA-II", IEEE Trans.
Evolutionary Computation 6(2), 2002.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import ConfigDict, Field

from azsim.sweeps.space import Sweep
from azsim.sweeps.strategies._optuna import Search, evaluations, import_optuna

__all__ = ["OPTIONS", "size", "start"]


@dataclass(frozen=True)
class Options:
    """How long, and how."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)
    evaluations: Annotated[int, Field(ge=1, le=1_000_000)]
    """Points in all."""
    population: Annotated[int, Field(ge=4, le=1_000)] = 50
    """Designs of a generation, which are evaluated side by side."""
    neighbours: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Share of a generation that are steps from the front."""
    seed: Annotated[int, Field(ge=0, le=(1 << 32) - 1)] = 0
    """Of all that is random."""


OPTIONS = Options
size = evaluations


def start(sweep: Sweep) -> Search:
    """Begin with a random population."""
    options = sweep.options
    sampler = import_optuna().samplers.NSGAIISampler(
        population_size=options.population, seed=options.seed
    )
    return Search(sweep, sampler, options.population, tries=10)
