"""``vector_arg``: column of the largest or smallest element of every row."""

from __future__ import annotations

from collections.abc import Callable

from azsim import arith
from azsim.machine.instructions._shapes import (
    apart,
    column_of_rows,
    in_activation_sram,
    on_chip,
    types,
)
from azsim.machine.instructions.vector_reduce import cycles
from azsim.machine.operation import Operation
from azsim.machine.state import Machine
from azsim.machine.trace import Recorder
from azsim.machine.view import Range, View

__all__ = ["cycles", "execute", "footprint"]


def execute(machine: Machine, op: Operation, recorder: Recorder) -> None:
    """``dst[r]`` = column of the first largest (smallest) of ``src[r]``."""
    dst = machine.array(op.dst, op.index)
    arith.arg_kernel(op.function == "max", machine.array(op.src, op.index), dst[:, 0])


def footprint(op: Operation, view: Callable[[int], View]) -> tuple[Range, ...]:
    """Read src, write dst."""
    dst, src = view(op.dst), view(op.src)
    in_activation_sram(op, dst)
    on_chip(op, src=src)
    types(op, "f32", src=src)
    types(op, "i32", dst=dst)
    column_of_rows(op, src, dst=dst)
    apart(op, dst, src=src)
    return src.reads(), dst.writes()
