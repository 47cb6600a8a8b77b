"""Every model of the study accuracy_vs_cost, and the order in which they are trained."""

from __future__ import annotations

import fnmatch
import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from azsim.errors import InputError

__all__ = [
    "CONTROLS",
    "RECIPES_OF_ALL_SEEDS",
    "SEEDS",
    "UNITS",
    "Model",
    "check_installed",
    "models",
    "train_all",
]

SEEDS = (0, 1, 2)
UNITS = {"word": "words", "char": "characters"}
_LAST_STEPS = {"word": 6_000, "char": 8_000}
_LAST_SETTINGS = "recipe.silence=3", "recipe.dropout=0.2"
_LAST_RUNS = {"word": 3, "char": 2}  # a step in characters takes twice as long
CONTROLS: dict[str, tuple[str, ...]] = {
    "control": (),
    "control_2400": ("recipe.steps=2400",),
    "control_4000": ("recipe.steps=4000",),
    "control_slow": (
        "recipe.learning_rate=0.0003",
        "recipe.silence=3",
        "recipe.dropout=0.2",
    ),
}
"""By name, what makes `control` as long and as fast as the recipes that are measured against it."""
_RECIPES = (
    *CONTROLS,
    "w4",
    "w3",
    "w3_regularised",
    "w2",
    "palette16",
    "palette8",
    "s50",
    "s75",
    "s90",
    "n1m4",
    "balanced75",
    "w4_s75",
    "w4_s75_student",
)
RECIPES_OF_ALL_SEEDS = ("control", "w4", "w3", "s75", "w4_s75")
"""Those that are trained with every seed; the others with the first one alone."""


@dataclass(frozen=True)
class Model:
    """One model.

    Attributes
    ----------
    name : str
        Of its file: unit, recipe and, besides 0, the seed.
    recipe : str
        Empty for a mean of others.
    overrides : tuple of str
        As for ``--set``.
    start : str or None
        Model whose weights it begins with.
    teacher : str or None
        Model whose opinions it learns.
    mean_of : tuple of str
        Models whose weights it is the mean of.
    """

    name: str
    recipe: str = ""
    overrides: tuple[str, ...] = ()
    start: str | None = None
    teacher: str | None = None
    mean_of: tuple[str, ...] = ()

    @property
    def needs(self) -> set[str]:
        """Models that have to be there before."""
        return {*self.mean_of, *filter(None, (self.start, self.teacher))}


def models(pattern: str = "*") -> list[Model]:
    """Models whose names fit, and those that they need; what others begin with comes first."""
    every = {model.name: model for model in _every()}
    wanted: set[str] = set()
    waiting = [name for name in every if fnmatch.fnmatch(name, pattern)]
    while waiting:
        model = every[waiting.pop()]
        wanted.add(model.name)
        waiting += model.needs
    return [model for name, model in every.items() if name in wanted]


def _every() -> Iterator[Model]:
    for seed in SEEDS:
        for unit, units in UNITS.items():
            ending = f"_{seed}" if seed else ""
            overrides = f"recipe.unit={units}", f"recipe.seed={seed}"
            first, second, last = (
                f"{unit}_{part}{ending}" for part in ("first", "second", "float")
            )
            teacher = f"{unit}_teacher"
            found = [
                Model(first, "float", overrides),
                Model(second, "longer", overrides, first),
            ]
            parts = tuple(f"{unit}_last{number}{ending}" for number in range(_LAST_RUNS[unit]))
            for number, part in enumerate(parts, 1):
                again = f"recipe.unit={units}", f"recipe.seed={100 * number + seed}"
                settings = f"recipe.steps={_LAST_STEPS[unit]}", *_LAST_SETTINGS
                found.append(Model(part, "longer", (*again, *settings), second))
            found.append(Model(last, mean_of=parts))
            if seed == 0:
                found.append(Model(teacher, "teacher", overrides))
            for recipe in RECIPES_OF_ALL_SEEDS if seed else _RECIPES:
                name = f"{unit}_{recipe}{ending}"
                learns_from = teacher if recipe.endswith("student") else None
                settings = CONTROLS.get(recipe, ())
                recipe = "control" if recipe in CONTROLS else recipe
                found.append(Model(name, recipe, (*overrides, *settings), last, learns_from))
            yield from found


def check_installed() -> None:
    """Check that models can be trained.

    Raises
    ------
    InputError
        If PyTorch is not there.
    """
    if importlib.util.find_spec("torch") is None:
        raise InputError(
            'training needs PyTorch, which is not installed; pip install "azsim[train]"'
        )


def train_all(
    corpus: Path,
    output: Path,
    *,
    pattern: str = "*",
    jobs: int = 1,
    tell: Callable[[str], None] = lambda sentence: None,
) -> None:
    """Train models that have no weights yet: ``output/NAME.npz``, logs and checkpoints beside.

    Parameters
    ----------
    corpus, output : Path
    pattern : str
        Of the models' names; what these begin with is trained as well.
    jobs : int
        Processes at a time, each with one thread.
    tell : callable
        Told a sentence for each model.

    Raises
    ------
    InputError
        If one fails; no other is begun then, and those under way are finished.
    """
    output.mkdir(parents=True, exist_ok=True)
    waiting = [model for model in models(pattern) if not (output / f"{model.name}.npz").exists()]
    running: dict[Future[str], str] = {}
    failed: list[str] = []
    with ThreadPoolExecutor(jobs) as pool:
        while waiting or running:
            missing = {model.name for model in waiting} | set(running.values())
            ready = [model for model in waiting if not model.needs & missing]
            for model in ready[: jobs - len(running)]:
                waiting.remove(model)
                running[pool.submit(_train, model, corpus, output, tell)] = model.name
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                del running[future]
                failed += filter(None, [future.result()])
            if failed:
                waiting.clear()
    if failed:
        raise InputError("\n".join(failed))


def _train(model: Model, corpus: Path, output: Path, tell: Callable[[str], None]) -> str:
    """Train one in a process of its own, or take a mean; gives what went wrong."""
    if model.mean_of:
        _write_mean([output / f"{name}.npz" for name in model.mean_of], output / model.name)
        tell(f"{model.name}: the mean of {', '.join(model.mean_of)}")
        return ""
    work = output / "work" / model.name
    command = [sys.executable, "-m", "azsim", "train", model.recipe]
    command += ["--corpus", str(corpus), "-o", str(work), "--resume"]
    for text in model.overrides:
        command += ["--set", text]
    for option, other in (("--start", model.start), ("--teacher", model.teacher)):
        if other is not None:
            command += [option, str(output / f"{other}.npz")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return f"{model.name}: {done.stderr.strip()}"
    (work / "log.txt").write_text(done.stdout)
    os.replace(work / "weights.npz", output / f"{model.name}.npz")
    tell(f"{model.name}: {done.stdout.strip().splitlines()[-2]}")
    return ""


def _write_mean(paths: list[Path], output: Path) -> None:
    """Write the mean of models that began with the same weights.

    Such a mean errs less than each of them where sounds are unlike those of training (Wortsman et
    al., Model soups, 2022).
    """
    from azsim.training.run import read_weights, write_weights  # needs PyTorch

    arrays = [read_weights(path) for path in paths]
    mean = {
        name: np.asarray(np.mean([each[name] for each in arrays], axis=0, dtype=np.float64), "f2")
        for name in arrays[0]
    }
    write_weights(output.with_suffix(".npz"), mean)
