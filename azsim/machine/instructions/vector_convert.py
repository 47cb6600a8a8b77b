"""``vector_convert``: between float32 and int32."""

from __future__ import annotations

from collections.abc import Callable

from azsim import arith
from azsim.machine.instructions._shapes import (
    apart,
    in_activation_sram,
    on_chip,
    require,
    same_shape,
)
from azsim.machine.instructions.vector_copy import cycles
from azsim.machine.operation import Operation
from azsim.machine.state import Machine
from azsim.machine.trace import Recorder
from azsim.machine.view import Range, View

__all__ = ["cycles", "execute", "footprint"]


def execute(machine: Machine, op: Operation, recorder: Recorder) -> None:
    """``dst = src`` in the other type."""
    src, dst = machine.array(op.src, op.index), machine.array(op.dst, op.index)
    dst[...] = arith.to_float(src) if src.dtype.kind == "i" else arith.to_integer(src)


def footprint(op: Operation, view: Callable[[int], View]) -> tuple[Range, ...]:
    """Read src, write dst."""
    dst, src = view(op.dst), view(op.src)
    in_activation_sram(op, dst)
    on_chip(op, src=src)
    found = f"one view has to be f32, the other i32, dst is {dst.dtype}, src {src.dtype}"
    require({dst.dtype, src.dtype} == {"f32", "i32"}, op, found)
    same_shape(op, dst, src=src)
    apart(op, dst, src=src)
    return src.reads(), dst.writes()
