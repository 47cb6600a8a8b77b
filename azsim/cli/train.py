"""``azsim train``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from azsim.cli.terminal import progress_bars, shown_path
from azsim.resources import default_directory

if TYPE_CHECKING:
    from azsim.training.train import Validation

__all__ = ["train"]


def train(arguments: argparse.Namespace) -> int:
    """Train a recogniser by a recipe, or every one of the study."""
    from azsim.training.collection import check_installed
    from azsim.training.recipe import load_recipe

    if arguments.recipe == "all":
        check_installed()
        return _train_all(arguments)

    recipe, folder = load_recipe(arguments.recipe, arguments.set)
    check_installed()
    from azsim.training.run import train_recipe

    output = arguments.output or default_directory("runs", f"training/{recipe.name}")
    with progress_bars() as progress:

        def watch(step: int, steps: int, loss: float, found: Validation | None) -> None:
            if progress is not None:
                progress(recipe.name, step, steps)
            if found is not None:
                print(
                    f"step {step:6,}  loss {loss:7.3f}  development: loss {found.loss:7.3f}, "
                    f"{found.listening:+7.2f} with other sounds, "
                    f"{100 * found.error_rate:5.1f} % of {recipe.unit} wrong",
                    flush=True,
                )

        trained = train_recipe(
            recipe,
            folder,
            arguments.corpus,
            output,
            start=arguments.start,
            teacher=arguments.teacher,
            resume=arguments.resume,
            watch=watch,
        )
    print(f"Written to {shown_path(output)} after {trained.seconds:,.0f} s")
    return 0


def _train_all(arguments: argparse.Namespace) -> int:
    from azsim.training.collection import train_all

    output = arguments.output or default_directory("runs", "training/all")
    train_all(
        arguments.corpus,
        output,
        pattern=arguments.only,
        jobs=arguments.jobs,
        tell=lambda sentence: print(sentence, flush=True),
    )
    print(f"Written to {shown_path(output)}")
    return 0
