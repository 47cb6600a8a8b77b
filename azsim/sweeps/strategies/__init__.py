"""Strategies: which designs of a space are evaluated, one file each.

A file defines ``OPTIONS``, the type of what a sweep file says under the strategy's name;
``start(sweep)``, which gives a `Strategy`; and ``size(sweep)``, how many points it evaluates at
most.  It may define ``find_conflicts(options)``, which yields path and sentence of what is wrong
across its keys, and ``rungs(options)``, the overrides of its rungs.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Protocol

from azsim.folder import folder_names, load_folder
from azsim.sweeps.space import Sweep, Trial

__all__ = ["Strategy", "size_of", "start", "strategies", "strategy_names"]


class Strategy(Protocol):
    """Asks for trials and is told what came of them.

    What it asks for depends on the sweep and on what it was told, and on nothing else.
    """

    def ask(self) -> list[Trial]:
        """Return the next batch, all of which is told before the next is asked for; empty: over."""
        ...

    def tell(self, trial: Trial, figures: Mapping[str, float | None] | None) -> None:
        """Take a trial's figures by objective; None for a point that failed or is infeasible."""
        ...


def strategy_names() -> tuple[str, ...]:
    """Names of the strategies, sorted; imports none of them."""
    return folder_names("azsim.sweeps.strategies")


def strategies() -> Mapping[str, ModuleType]:
    """Return the table of strategies."""
    return load_folder("azsim.sweeps.strategies", ("OPTIONS", "start", "size"))


def start(sweep: Sweep) -> Strategy:
    """Begin the sweep's strategy.

    Raises
    ------
    InputError
        If the strategy needs a package that is not installed.
    """
    return strategies()[sweep.strategy].start(sweep)


def size_of(sweep: Sweep) -> int:
    """Return how many points the sweep's strategy evaluates at most."""
    return strategies()[sweep.strategy].size(sweep)
