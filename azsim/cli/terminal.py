"""What all commands share: exit codes, tables, bars."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from azsim.report.listing import Listing

__all__ = [
    "BAD_INPUT",
    "FAILED",
    "INTERRUPTED",
    "Progress",
    "progress_bars",
    "show",
    "show_tables",
    "shown_path",
]

FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130

Progress = Callable[[str, int, int], None]


def shown_path(path: Path) -> Path:
    """Return a path as it is printed: relative where that is shorter."""
    absolute = path.absolute()
    return absolute.relative_to(Path.cwd()) if absolute.is_relative_to(Path.cwd()) else path


def show(renderables: Sequence[Any]) -> None:
    """Print what rich can render, as wide as the terminal."""
    from azsim.report.tables import render

    width = max(40, shutil.get_terminal_size((100, 24)).columns)
    sys.stdout.write(render(renderables, width, color=sys.stdout.isatty()))


def show_tables(tables: Sequence[Listing]) -> None:
    """Print tables."""
    from azsim.report.tables import table

    show([table(entry) for entry in tables])


@contextmanager
def progress_bars() -> Iterator[Progress | None]:
    """Bars on stderr; none where that is not a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bars:
        tasks = {}

        def tell(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                for task in bars.tasks:
                    bars.update(task.id, completed=task.total)
                tasks[stage] = bars.add_task(stage, total=total)
            bars.update(tasks[stage], completed=done, total=total)

        yield tell
