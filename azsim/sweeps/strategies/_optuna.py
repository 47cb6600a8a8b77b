"""Search by a sampler of Optuna: asked for positions of values, told figures, all in memory.

Three things are added to the sampler, as an evaluation is worth much more than a proposal.

- A proposal that was evaluated before costs none: the sampler is told what is known, and asked
  again.  One that breaks a constraint is told as failed, and the sampler asked again.
- A share of each batch, `neighbours`, are *steps from the front*: designs that differ from one of
  the front in one axis, by the next value (by any other, where values have no order).  The sampler
  is told of them as of its own.
- Where both propose nothing new, designs are drawn at random.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from azsim.errors import InputError
from azsim.sweeps.pareto import nondominated
from azsim.sweeps.space import Axis, Design, Sweep, Trial, key_of
from azsim.sweeps.strategies._sampling import (
    Positions,
    design_at,
    largest,
    positions_of,
    random_designs,
)

if TYPE_CHECKING:
    import optuna

__all__ = ["Search", "evaluations", "import_optuna"]


def import_optuna() -> Any:
    """Return the package.

    Raises
    ------
    InputError
        If it is not installed.
    """
    try:
        import optuna
    except ImportError:
        sentence = "this strategy needs the package optuna; pip install 'azsim[search]'"
        raise InputError(sentence) from None
    return optuna


def evaluations(sweep: Sweep) -> int:
    """Return how many points a search evaluates at most."""
    return min(sweep.options.evaluations, largest(sweep))


class Search:
    """Batches of new designs.

    Parameters
    ----------
    sweep : Sweep
        Its options have `evaluations`, `neighbours` and `seed`.
    sampler : optuna.samplers.BaseSampler
    batch : int
        Points that are asked for at once.
    tries : int
        Proposals of the sampler for each design that is wanted from it, known ones included.

    Attributes
    ----------
    repeats : int
        Proposals of the sampler that were known, and cost no evaluation.
    """

    def __init__(
        self, sweep: Sweep, sampler: optuna.samplers.BaseSampler, batch: int, tries: int
    ) -> None:
        optuna = import_optuna()
        self._sweep, self._batch, self._tries = sweep, batch, tries
        self._left = sweep.options.evaluations
        self._draw = np.random.default_rng(sweep.options.seed)
        self._number = 0
        directions = [objective.goal for objective in sweep.objectives]
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._study = optuna.create_study(sampler=sampler, directions=directions)
        self._failed = optuna.trial.TrialState.FAIL
        self._distributions = {axis.name: _distribution(axis) for axis in sweep.axes}
        self._known: dict[str, list[float] | None] = {}
        self._at: dict[str, Positions] = {}
        self._proposals: dict[str, list[optuna.Trial]] = {}
        self.repeats = 0

    def ask(self) -> list[Trial]:
        """Return the next batch."""
        wanted = min(self._batch, self._left)
        if not wanted:
            return []
        self._proposals = {}
        found: dict[str, Design] = {}
        steps = self._steps()
        self._take_steps(found, steps, round(self._sweep.options.neighbours * wanted))
        self._take_proposals(found, wanted)
        self._take_steps(found, steps, wanted)
        if len(found) < wanted:
            taken = {**self._known, **found}
            more = random_designs(self._sweep, wanted - len(found), self._draw, taken)
            for design in more:
                self._enqueue(found, design, positions_of(self._sweep, design))
        self._left = self._left - len(found) if found else 0
        trials = [Trial(self._number + i, design) for i, design in enumerate(found.values())]
        self._number += len(trials)
        return trials

    def tell(self, trial: Trial, figures: Mapping[str, float | None] | None) -> None:
        """Take the figures of a point, and tell the sampler."""
        key = key_of(trial.design)
        found = [(figures or {}).get(objective.name) for objective in self._sweep.objectives]
        values = [value for value in found if value is not None and np.isfinite(value)]
        self._known[key] = values if len(values) == len(found) else None
        for proposal in self._proposals.pop(key, ()):
            self._answer(proposal, self._known[key])

    def _answer(self, proposal: optuna.Trial, values: list[float] | None) -> None:
        if values is None:
            self._study.tell(proposal, state=self._failed)
        else:
            self._study.tell(proposal, values)

    # ------------------------------------------------------------------- where designs come from

    def _take_proposals(self, found: dict[str, Design], wanted: int) -> None:
        """Ask the sampler until there are as many designs as wanted, or it only repeats itself."""
        for _ in range(self._tries * (wanted - len(found))):
            if len(found) == wanted:
                return
            proposal = self._study.ask(self._distributions)
            positions = tuple(int(proposal.params[axis.name]) for axis in self._sweep.axes)
            design = design_at(self._sweep, positions)
            if design is None:
                self._study.tell(proposal, state=self._failed)
                continue
            key = key_of(design)
            if key in self._known:
                self.repeats += 1
                self._answer(proposal, self._known[key])
                continue
            self.repeats += key in found
            self._proposals.setdefault(key, []).append(proposal)
            found.setdefault(key, design)
            self._at.setdefault(key, positions)

    def _take_steps(
        self, found: dict[str, Design], steps: Iterator[Positions], wanted: int
    ) -> None:
        while len(found) < wanted and (positions := next(steps, None)) is not None:
            design = design_at(self._sweep, positions)
            if design is not None and key_of(design) not in self._known | found:
                self._enqueue(found, design, positions)

    def _enqueue(self, found: dict[str, Design], design: Design, positions: Positions) -> None:
        """Take a design as if the sampler had proposed it."""
        names = (axis.name for axis in self._sweep.axes)
        self._study.enqueue_trial(dict(zip(names, positions, strict=True)))
        proposal = self._study.ask(self._distributions)
        key = key_of(design)
        self._proposals.setdefault(key, []).append(proposal)
        found[key] = design
        self._at[key] = positions

    def _steps(self) -> Iterator[Positions]:
        """Yield the neighbours of the front's designs, in random order."""
        keys = [key for key, values in self._known.items() if values is not None]
        if not keys:
            return
        figures = np.array([self._known[key] for key in keys])
        goals = [objective.goal for objective in self._sweep.objectives]
        front = np.flatnonzero(nondominated(figures, goals))
        near = [step for i in front for step in _neighbours(self._sweep.axes, self._at[keys[i]])]
        yield from (near[i] for i in self._draw.permutation(len(near)))


def _neighbours(axes: tuple[Axis, ...], positions: Positions) -> Iterator[Positions]:
    for i, (axis, here) in enumerate(zip(axes, positions, strict=True)):
        there = (here - 1, here + 1) if axis.is_ordered else range(len(axis.values))
        for position in there:
            if position != here and 0 <= position < len(axis.values):
                yield (*positions[:i], position, *positions[i + 1 :])


def _distribution(axis: Axis) -> Any:
    distributions = import_optuna().distributions
    positions = range(len(axis.values))
    if axis.is_ordered:
        return distributions.IntDistribution(0, positions[-1])
    return distributions.CategoricalDistribution(tuple(positions))
