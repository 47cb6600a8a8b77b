"""``azsim report``: the page of a run that was written before."""

from __future__ import annotations

import argparse

from azsim.cli.terminal import shown_path
from azsim.errors import InputError

__all__ = ["report"]


def report(arguments: argparse.Namespace) -> int:
    """Make the page of a run's folder anew."""
    from azsim.report import files

    if (arguments.directory / "results.sqlite").exists():
        raise InputError(
            f"{arguments.directory}: is a sweep's folder; azsim sweep report "
            f"{arguments.directory} makes its page"
        )
    page = files.write_page(arguments.directory)
    print(f"Written to {shown_path(page)}")
    return 0
