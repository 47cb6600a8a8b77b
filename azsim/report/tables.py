"""Tables for the terminal, and from rich renderables to plain text; light, for short commands."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from azsim.report.listing import Cell, Listing
from azsim.report.units import number

__all__ = ["plain_grid", "render", "spaced", "table"]


def render(renderables: Iterable[RenderableType], width: int, *, color: bool = False) -> str:
    """Lay renderables out as text.

    Parameters
    ----------
    renderables : iterable of RenderableType
    width : int
        Columns.
    color : bool
        With the codes of a terminal.

    Returns
    -------
    str
        Ends with a line end; without colour no line ends with spaces.
    """
    console = Console(
        file=io.StringIO(),
        width=width,
        force_terminal=color,
        color_system="auto" if color else None,
        legacy_windows=False,
        markup=False,
        highlight=False,
        emoji=False,
    )
    with console.capture() as capture:
        for renderable in renderables:
            console.print(renderable)
    text = capture.get().lstrip("\n")
    return text if color else "".join(f"{line.rstrip()}\n" for line in text.splitlines())


def table(values: Listing) -> RenderableType:
    """Any `Listing`; numbers stand on the right."""
    grid = plain_grid(values.title)
    for position, column in enumerate(values.columns):
        cells = [row[position] for row in values.rows]
        is_number = any(isinstance(cell, int | float) for cell in cells) and not any(
            isinstance(cell, str) for cell in cells
        )
        grid.add_column(
            column,
            justify="right" if is_number else "left",
            no_wrap=is_number,
            overflow="fold",
        )
    for row in values.rows:
        grid.add_row(*(Text(_cell(cell)) for cell in row))
    return spaced(grid, values.note)


def _cell(value: Cell) -> str:
    if value is None:
        return ""
    if isinstance(value, int):
        return number(value)
    return f"{value:.4g}" if isinstance(value, float) else value


def plain_grid(title: str) -> Table:
    """Return a table without frame, its columns still to come."""
    return Table(
        title=title or None,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, 0, 0, 0),
        header_style="dim",
    )


def spaced(grid: Table, note: str = "") -> RenderableType:
    """Put a line ahead of a table, and a note after it."""
    after: Sequence[RenderableType] = [Text(note, "dim")] if note else []
    return Group(Text(), grid, *after)
