"""``vector_compare``: 1.0 where a comparison holds, else 0.0."""

from __future__ import annotations

from collections.abc import Callable

from azsim import arith
from azsim.machine.instructions._shapes import (
    apart_or_same,
    in_activation_sram,
    on_chip,
    same_shape,
    types,
)
from azsim.machine.instructions.vector_copy import cycles
from azsim.machine.operation import Operation
from azsim.machine.state import Machine
from azsim.machine.trace import Recorder
from azsim.machine.view import Range, View

__all__ = ["cycles", "execute", "footprint"]


def execute(machine: Machine, op: Operation, recorder: Recorder) -> None:
    """``dst = comparison(src, src2)``."""
    left, right = machine.array(op.src, op.index), machine.array(op.src2, op.index)
    machine.array(op.dst, op.index)[...] = arith.COMPARE_FUNCTIONS[op.function](left, right)


def footprint(op: Operation, view: Callable[[int], View]) -> tuple[Range, ...]:
    """Read src and src2, write dst."""
    dst, src, src2 = view(op.dst), view(op.src), view(op.src2)
    in_activation_sram(op, dst)
    on_chip(op, src=src, src2=src2)
    types(op, "f32", dst=dst, src=src, src2=src2)
    same_shape(op, dst, src=src, src2=src2)
    apart_or_same(op, dst, src=src, src2=src2)
    return src.reads(), src2.reads(), dst.writes()
