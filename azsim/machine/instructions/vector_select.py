"""``vector_select``: one of two elements, by a third."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

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
    """``dst = src2 where src != 0 else other``."""
    chosen, left = machine.array(op.src, op.index), machine.array(op.src2, op.index)
    right = machine.array(op.other, op.index)
    machine.array(op.dst, op.index)[...] = np.where(chosen != 0, left, right)


def footprint(op: Operation, view: Callable[[int], View]) -> tuple[Range, ...]:
    """Read src, src2 and other, write dst."""
    dst, src, src2, other = view(op.dst), view(op.src), view(op.src2), view(op.other)
    in_activation_sram(op, dst)
    on_chip(op, src=src, src2=src2, other=other)
    types(op, "f32", dst=dst, src=src, src2=src2, other=other)
    same_shape(op, dst, src=src, src2=src2, other=other)
    apart_or_same(op, dst, src=src, src2=src2, other=other)
    return src.reads(), src2.reads(), other.reads(), dst.writes()
