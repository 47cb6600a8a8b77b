"""``vector_reduce``: sum, mean, largest or smallest of every row."""

from __future__ import annotations

from collections.abc import Callable

from azsim import arith
from azsim.hardware.description import Hardware
from azsim.machine.instructions._shapes import (
    apart,
    column_of_rows,
    in_activation_sram,
    on_chip,
    passes_cycles,
    row_groups,
    types,
)
from azsim.machine.operation import Operation
from azsim.machine.state import Machine
from azsim.machine.trace import Recorder, Site
from azsim.machine.view import Range, View

__all__ = ["cycles", "execute", "footprint"]

_NUMBERS = {name: number for number, name in enumerate(arith.REDUCE_FUNCTIONS)}


def execute(machine: Machine, op: Operation, recorder: Recorder) -> None:
    """``dst[r] = reduction(src[r])``."""
    dst = machine.array(op.dst, op.index)
    arith.reduce_kernel(_NUMBERS[op.function], machine.array(op.src, op.index), dst[:, 0])


def footprint(op: Operation, view: Callable[[int], View]) -> tuple[Range, ...]:
    """Read src, write dst."""
    dst, src = view(op.dst), view(op.src)
    in_activation_sram(op, dst)
    on_chip(op, src=src)
    types(op, "f32", dst=dst, src=src)
    column_of_rows(op, src, dst=dst)
    apart(op, dst, src=src)
    return src.reads(), dst.writes()


def cycles(site: Site, hardware: Hardware) -> int:
    """One pass over the rows; a tree of adders or comparators stands behind the lanes."""
    return passes_cycles(row_groups(site.views["src"], hardware.vector), hardware.vector, 1)
