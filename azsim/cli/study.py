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
    with files.replaced_folder(directory, files.foreign_to_study) as folder:
        module = importlib.import_module(f"azsim.studies.{arguments.name}")
        with progress_bars() as progress:
            module.run(folder, progress or (lambda stage, done, total: None))
    print(f"Written to {shown_path(directory)}")
    return 0
