"""The word of an instruction as a picture in text: 32 bits a row, the most significant first."""

from __future__ import annotations

import string
from collections.abc import Iterator
from dataclasses import dataclass

from azsim.isa.spec import Field, InstructionSet, InstructionSpec

__all__ = ["diagram"]

_ROW_BITS = 32
_CHARACTERS = 3
"""Columns that a bit takes, its left border among them."""


@dataclass(frozen=True)
class _Cell:
    """Neighbouring bits of one row; `name` is empty for reserved ones."""

    high: int
    low: int
    name: str

    @property
    def width(self) -> int:
        """Columns between the borders."""
        return _CHARACTERS * (self.high - self.low + 1) - 1


def diagram(table: InstructionSet, spec: InstructionSpec) -> str:
    """Draw an instruction's word.

    Parameters
    ----------
    table : InstructionSet
    spec : InstructionSpec

    Returns
    -------
    str
        Lines of at most 97 columns.  Above each cell stands its highest bit; a field that reaches
        over two rows says which of its bits each of them has; ``0`` are reserved bits.  Names that
        are too long for their cell are letters, told below.
    """
    letters = iter(string.ascii_lowercase)
    legend = []
    lines = []
    for top in range(table.word_bits - 1, 0, -_ROW_BITS):
        head, row = "", ""
        for cell in _cells(table, spec, top):
            head += f"{cell.high:<{cell.width + 1}}"
            name = cell.name or "0"
            if len(name) > cell.width:
                letter = next(letters)
                legend.append(f"{letter}: {name}")
                name = letter
            row += f"|{name:^{cell.width}}"
        row += "|"
        edge = "".join("+" if mark == "|" else "-" for mark in row)
        lines += [head.rstrip(), edge, row, edge]
    if legend:
        lines += ["", "   ".join(legend)]
    return "\n".join(lines)


def _cells(table: InstructionSet, spec: InstructionSpec, top: int) -> Iterator[_Cell]:
    """Cells of the row whose highest bit is `top`, from there down."""
    bottom = top - _ROW_BITS + 1
    fields = sorted([table.fields["opcode"], *spec.operands.values()], key=lambda f: -f.high)
    high = top
    for field in fields:
        first, last = min(field.high, top), max(field.low, bottom)
        if first < last:
            continue
        if first < high:
            yield _Cell(high, first + 1, "")
        yield _Cell(first, last, _label(field, spec, first, last))
        high = last - 1
    if high >= bottom:
        yield _Cell(high, bottom, "")


def _label(field: Field, spec: InstructionSpec, high: int, low: int) -> str:
    if field.name == "opcode":
        return f"{spec.opcode:#04x}"
    if (high, low) == (field.high, field.low):
        return field.name
    return f"{field.name}[{high - field.low}:{low - field.low}]"
