"""A table as a value, for whoever prints it: columns with names, rows of plain values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

__all__ = ["Cell", "Listing", "listing"]

Cell = str | int | float | None


@dataclass(frozen=True)
class Listing:
    """A table.

    Attributes
    ----------
    title : str
    columns : tuple of str
    rows : tuple of tuple of str, int, float or None
        Each as long as `columns`; None where there is nothing to say.
    note : str
        Sentence below the table.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""

    def records(self) -> list[dict[str, Cell]]:
        """Rows as mappings, for JSON."""
        keys = [column.replace(" ", "_") for column in self.columns]
        return [dict(zip(keys, row, strict=True)) for row in self.rows]


def listing(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[Cell]], note: str = ""
) -> Listing:
    """Make a `Listing` of any sequences."""
    return Listing(title, tuple(columns), tuple(tuple(row) for row in rows), note)
