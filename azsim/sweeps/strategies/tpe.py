"""TPE: designs where the ratio of good to bad ones seen so far is likely to be high.

The sampler is Optuna's tree-structured Parzen estimator (extra ``search``), multivariate, over the
positions of values; with several objectives "good" is by rank and hypervolume.  `azsim` adds steps
from the front and never pays for a design twice.

Source: Y. Ozaki et al., "Multiobjective tree-structured Parzen estimator", Journal of Artificial
Intelligence Research 73, 2022.
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
    batch: Annotated[int, Field(ge=1, le=1_000)] = 20
    """Designs that are evaluated side by side."""
    startup: Annotated[int, Field(ge=1, le=10_000)] = 40
    """Random designs before the first estimate."""
    neighbours: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Share of a batch that are steps from the front."""
    seed: Annotated[int, Field(ge=0, le=(1 << 32) - 1)] = 0
    """Of all that is random."""


OPTIONS = Options
size = evaluations


def start(sweep: Sweep) -> Search:
    """Begin with random designs."""
    options = sweep.options
    sampler = import_optuna().samplers.TPESampler(
        n_startup_trials=options.startup, seed=options.seed
    )
    return Search(sweep, sampler, options.batch, tries=2)
