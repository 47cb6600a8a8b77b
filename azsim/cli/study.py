"""``azsim study``."""

from __future__ import annotations

import argparse

from azsim.arguments import study_names
from azsim.cli.terminal import progress_bars, shown_path
from azsim.errors import InputError, unknown
from azsim.resources import default_directory

__all__ = ["study"]


def study(arguments: argparse.Namespace) -> int:
    """Make a study anew."""
    import importlib

    from azsim.report import files

    names = study_names()
    if arguments.name not in names:
        raise InputError(unknown("study", arguments.name, names))
    directory = arguments.output or default_directory("", arguments.name)
    module = importlib.import_module(f"azsim.studies.{arguments.name}")
    if arguments.anew is not None and not hasattr(module, "run_anew"):
        raise InputError(
            f"study {arguments.name}: --anew is for a study that is made of trained weights; "
            "this one is made anew without it"
        )
    with (
        files.replaced_folder(directory, files.foreign_to_study) as folder,
        progress_bars() as progress,
    ):
        told = progress or (lambda stage, done, total: None)
        if arguments.anew is None:
            module.run(folder, told)
        else:
            module.run_anew(folder, arguments.anew, told)
    print(f"Written to {shown_path(directory)}")
    return 0
