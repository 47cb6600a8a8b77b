"""Every model of the study accuracy_vs_cost, and the order in which they are trained."""

from __future__ import annotations

import fnmatch
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from azsim.errors import InputError

__all__ = ["Model", "models", "train_all"]

SEEDS = (0, 1, 2)
_UNITS = {"word": "words", "char": "characters"}
_FLOAT_STEPS = {"word": 10_000, "char": 8_000}
_LAST_ROUND = ("recipe.steps=9000", "recipe.silence=3")
_RECIPES = (
    "control",
    "w4",
    "w3",
    "w3_regularised",
    "w2",
    "palette8",
    "s50",
    "s75",
    "s90",
    "n1m4",
    "balanced75",
    "w4_s75",
    "w4_s75_student",
)
_RECIPES_OF_ALL_SEEDS = ("control", "w4", "w3", "s75", "w4_s75")
"""Those that are trained with every seed; the others with the first one alone."""


@dataclass(frozen=True)
class Model:
    """One model.

    Attributes
    ----------
    name : str
        Of its file: unit, recipe and, besides 0, the seed.
    recipe : str
    overrides : tuple of str
        As for ``--set``.
    start : str or None
        Model whose weights it begins with.
    teacher : str or None
        Model whose opinions it learns.
    """

    name: str
    recipe: str
    overrides: tuple[str, ...]
    start: str | None = None
    teacher: str | None = None


def models(pattern: str = "*") -> list[Model]:
    """Models whose names fit, and those that they need; what others begin with comes first."""
    every = {model.name: model for model in _every()}
    wanted: set[str] = set()
    waiting = [name for name in every if fnmatch.fnmatch(name, pattern)]
    while waiting:
        model = every[waiting.pop()]
        wanted.add(model.name)
        waiting += [name for name in (model.start, model.teacher) if name is not None]
    return [model for name, model in every.items() if name in wanted]


def _every() -> Iterator[Model]:
    for seed in SEEDS:
        for unit, units in _UNITS.items():
            ending = f"_{seed}" if seed else ""
            overrides = f"recipe.unit={units}", f"recipe.seed={seed}"
            steps = f"recipe.steps={_FLOAT_STEPS[unit]}"
            names = [f"{unit}_{part}{ending}" for part in ("first", "second", "float")]
            last, teacher = names[-1], f"{unit}_teacher"
            again = f"recipe.unit={units}", f"recipe.seed={seed + 100}"
            found = [
                Model(names[0], "float", (*overrides, steps)),
                Model(names[1], "longer", overrides, names[0]),
                Model(names[2], "longer", (*again, *_LAST_ROUND), names[1]),
            ]
            if seed == 0:
                found.append(Model(teacher, "teacher", (*overrides, steps)))
            for recipe in _RECIPES_OF_ALL_SEEDS if seed else _RECIPES:
                name = f"{unit}_{recipe}{ending}"
                learns_from = teacher if recipe.endswith("student") else None
                found.append(Model(name, recipe, overrides, last, learns_from))
            yield from found


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
            ready = [m for m in waiting if not {m.start, m.teacher} & missing]
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
    """Train one in a process of its own; gives what went wrong."""
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
