"""``vector_softmax``: softmax of every row."""

from __future__ import annotations

from collections.abc import Callable

from azsim import arith
from azsim.hardware.description import Hardware
from azsim.machine.instructions._shapes import (
    apart_or_same,
    in_activation_sram,
    on_chip,
    passes_cycles,
    row_groups,
    same_shape,
    types,
)
from azsim.machine.operation import Operation
from azsim.machine.state import Machine
from azsim.machine.trace import Recorder, Site
from azsim.machine.view import Range, View

__all__ = ["cycles", "execute", "footprint"]


def execute(machine: Machine, op: Operation, recorder: Recorder) -> None:
    """``dst[r] = softmax(src[r])``."""
    arith.softmax_kernel(machine.array(op.src, op.index), machine.array(op.dst, op.index))


def footprint(op: Operation, view: Callable[[int], View]) -> tuple[Range, ...]:
    """Read src, write dst."""
    dst, src = view(op.dst), view(op.src)
    in_activation_sram(op, dst)
    on_chip(op, src=src)
    types(op, "f32", dst=dst, src=src)
    same_shape(op, dst, src=src)
    apart_or_same(op, dst, src=src)
    return src.reads(), dst.writes()


def cycles(site: Site, hardware: Hardware) -> int:
    """Largest, exp and division: three passes."""
    vector = hardware.vector
    groups = row_groups(site.views["src"], vector)
    return passes_cycles(groups, vector, 1, vector.table_cycles, vector.divide_cycles)
