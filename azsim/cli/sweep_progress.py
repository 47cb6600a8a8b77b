"""How far a sweep is, live on stderr; nothing where that is not a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from azsim.sweeps.progress import Progress

__all__ = ["sweep_progress"]


@contextmanager
def sweep_progress(name: str) -> Iterator[Callable[[Progress], None] | None]:
    """Show a bar, counts, rate, time left and the best of each objective so far."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.live import Live

    with Live(console=Console(stderr=True), transient=True, auto_refresh=False) as live:

        def tell(progress: Progress) -> None:
            live.update(_view(name, progress), refresh=True)

        yield tell


def _view(name: str, progress: Progress) -> Any:
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    from azsim.sweeps.summary import best_rows, progress_line

    head = Table.grid(padding=(0, 2))
    head.add_row(
        Text(name),
        ProgressBar(total=max(progress.total, 1), completed=progress.finished, width=40),
        Text(f"{progress.finished:,} of {progress.total:,}"),
    )
    best = Table.grid(padding=(0, 2))
    for row in best_rows(progress):
        best.add_row(*map(Text, row))
    return Group(head, Text(progress_line(progress)), best)
