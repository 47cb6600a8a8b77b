"""How few evaluations does a search need for the front of 20,000 chips?

All chips of the sweep `search` are timed, and their front is known; then each strategy looks for it
with 1,000 evaluations, three seeds each.
"""  # noqa: D400 - a study starts with its question

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from azsim.studies._write import Figure, Progress, figures_text, write_study

if TYPE_CHECKING:
    import numpy as np

    from azsim.sweeps.space import Sweep, Trial

__all__ = ["EVALUATIONS", "SEEDS", "STEPS", "STRATEGIES", "run", "sample"]

# What computes is imported where it is used: the list of studies is quick, what they run is not.

NAME = "sweep_search"
_SWEEP = "search"
EVALUATIONS = 1_000
STEPS = tuple(range(100, EVALUATIONS + 1, 100))
SEEDS = (0, 1, 2)
STRATEGIES: Mapping[str, str] = {
    "random": "random: {points: 1000, seed: SEED}",
    "latin_hypercube": "latin_hypercube: {points: 1000, seed: SEED}",
    "nsga2_plain": "nsga2: {evaluations: 1000, population: 40, neighbours: 0, seed: SEED}",
    "nsga2": "nsga2: {evaluations: 1000, population: 40, seed: SEED}",
    "tpe": "tpe: {evaluations: 1000, seed: SEED}",
}
"""What the sweep file would say, by the names of the figures."""
WANTED = 98.0
_EVERY = 1_999
"""Of the points whose figures are kept, to be computed anew by a test."""
_DIGITS = 3


def run(directory: Path, progress: Callable[[str, int, int], None] | None = None) -> None:
    """Make the study anew: ``README.md``, ``data.json`` and a plot in `directory`.

    Takes about ten minutes.

    Parameters
    ----------
    directory : Path
        Made if it is missing.
    progress : callable, optional
        ``progress(stage, done, total)``.

    Raises
    ------
    InputError
        If the directory cannot be written, or Optuna is not installed.
    """
    from azsim.studies._sweep_search_text import plots, readme
    from azsim.sweeps.strategies import size_of
    from azsim.sweeps.strategies.grid import points

    sweep = _sweep("grid: {}")
    steps = Progress(progress, size_of(sweep) + len(STRATEGIES) * len(SEEDS))
    found: dict[str, tuple[float, ...]] = {}
    trials = list(points(sweep))
    for trial, row in zip(trials, _evaluated(sweep, trials), strict=True):
        found[_key(trial)] = row
        steps.step("time every chip")
    figures = _points(trials, found) | _searches(sweep, found, steps)
    files = {
        "README.md": readme(figures),
        "data.json": figures_text(NAME, figures, {}),
        **plots(figures),
    }
    write_study(directory, files)


def sample() -> Mapping[str, Figure]:
    """Compute a few of the figures anew, for a test to compare with the committed ones."""
    from azsim.sweeps.strategies.grid import points

    sweep = _sweep("grid: {}")
    trials = list(points(sweep))[::_EVERY]
    rows = _evaluated(sweep, trials)
    return _points(trials, {_key(t): row for t, row in zip(trials, rows, strict=True)})


def _sweep(strategy: str) -> Sweep:
    from azsim.sweeps.sweep_file import load_sweep

    return load_sweep(_SWEEP, [f"sweep.strategy={{{strategy}}}"])


def _key(trial: Trial) -> str:
    from azsim.sweeps.space import key_of

    return key_of(trial.design)


def _evaluated(sweep: Sweep, trials: list[Trial]) -> Iterator[tuple[float, ...]]:
    """Yield the objectives of each trial; all of them are one run of the bits."""
    from azsim.sweeps.evaluate import evaluate, open_cache
    from azsim.sweeps.objectives import figures_of
    from azsim.sweeps.point import point_of

    cache = open_cache(on_disk=False)
    for trial in trials:
        summary = evaluate(point_of(sweep, trial), cache).summary
        row = figures_of(sweep, trial.design, summary).values()
        yield tuple(float("nan") if value is None else value for value in row)


def _points(trials: list[Trial], found: Mapping[str, tuple[float, ...]]) -> dict[str, Figure]:
    return {
        f"point.{trial.number}.latency": Figure(_microseconds(found[_key(trial)][0]), "us")
        for trial in trials
        if trial.number % _EVERY == 0
    }


def _microseconds(seconds: float) -> float:
    return float(f"{1e6 * seconds:.6g}")


# -------------------------------------------------------------------------------- the searches


def _searches(
    sweep: Sweep, found: Mapping[str, tuple[float, ...]], steps: Progress
) -> dict[str, Figure]:
    """How much of the front each strategy finds, and how soon."""
    import numpy as np

    from azsim.sweeps.pareto import hypervolume, nondominated, reference_point

    goals = [objective.goal for objective in sweep.objectives]
    rows = np.array(list(found.values()))
    front = rows[nondominated(rows, goals)]
    references = {"share": reference_point(rows, goals), "strict": reference_point(front, goals)}
    whole = {key: hypervolume(front, goals, place) for key, place in references.items()}
    figures = {
        "space.points": Figure(len(rows), "points"),
        "space.front": Figure(len(front), "points"),
    }
    for i, row in enumerate(front[np.argsort(front[:, 0], kind="stable")]):
        figures[f"front.{i}.latency"] = Figure(_microseconds(row[0]), "us")
        figures[f"front.{i}.cost"] = Figure(round(float(row[1]), _DIGITS), "doublings")
    for (name, text), seed in itertools.product(STRATEGIES.items(), SEEDS):
        start = f"{name}.seed_{seed}"
        asked, repeats = _asked(_sweep(text.replace("SEED", str(seed))), found)
        if repeats is not None:
            figures[f"{start}.repeats"] = Figure(repeats, "proposals")
        for key, place in references.items():
            for step in STEPS:
                share = 100 * hypervolume(asked[:step], goals, place) / whole[key]
                figures[f"{start}.{key}_at_{step}"] = Figure(round(share, _DIGITS), "%")
        steps.step(f"search by {name}")
    return figures


def _asked(sweep: Sweep, found: Mapping[str, tuple[float, ...]]) -> tuple[np.ndarray, int | None]:
    """Return the figures of what a strategy asks for, in its order, and its known proposals."""
    import numpy as np

    from azsim.sweeps.strategies import start

    strategy, rows = start(sweep), []
    names = [objective.name for objective in sweep.objectives]
    while batch := strategy.ask():
        for trial in batch:
            row = found[_key(trial)]
            rows.append(row)
            strategy.tell(trial, dict(zip(names, row, strict=True)))
    return np.array(rows), getattr(strategy, "repeats", None)
