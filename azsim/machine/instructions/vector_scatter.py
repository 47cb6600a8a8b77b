"""``vector_scatter``: rows to places by number."""

from __future__ import annotations

from collections.abc import Callable

from azsim.hardware.description import Hardware
from azsim.machine.instructions._shapes import (
    apart,
    column_of_rows,
    in_activation_sram,
    on_chip,
    passes_cycles,
    require,
    row_groups,
    row_numbers,
    types,
)
from azsim.machine.operation import Operation
from azsim.machine.state import Machine
from azsim.machine.trace import Recorder, Site
from azsim.machine.view import Range, View

__all__ = ["cycles", "execute", "footprint"]


def execute(machine: Machine, op: Operation, recorder: Recorder) -> None:
    """``dst[indices[r]] = src[r]``, row after row."""
    src, dst = machine.array(op.src, op.index), machine.array(op.dst, op.index)
    for row, number in enumerate(row_numbers(machine, op, len(dst))):
        dst[number] = src[row]


def footprint(op: Operation, view: Callable[[int], View]) -> tuple[Range, ...]:
    """Read src and indices, write dst."""
    dst, src, indices = view(op.dst), view(op.src), view(op.indices)
    in_activation_sram(op, dst)
    on_chip(op, src=src, indices=indices)
    require(dst.dtype == src.dtype and dst.element_bits >= 8, op, "views of one unpacked type")
    require(dst.cols == src.cols, op, f"dst has {dst.cols} columns, src has {src.cols}")
    types(op, "i32", indices=indices)
    column_of_rows(op, src, indices=indices)
    apart(op, dst, src=src, indices=indices)
    return src.reads(), indices.reads(), dst.writes()


def cycles(site: Site, hardware: Hardware) -> int:
    """One pass over the rows that move."""
    return passes_cycles(row_groups(site.views["src"], hardware.vector), hardware.vector, 1)
