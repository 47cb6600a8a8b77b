"""``vector_binary``: combine two views element by element."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from azsim.errors import MachineError
from azsim.hardware.description import Hardware
from azsim.machine.instructions._shapes import (
    apart_or_same,
    in_activation_sram,
    on_chip,
    peak_ranges,
    require,
    same_shape,
    write_peak,
)
from azsim.machine.operation import Operation
from azsim.machine.state import Machine
from azsim.machine.trace import Recorder, Site
from azsim.machine.view import Range, View

__all__ = ["cycles", "execute", "footprint"]

_BASIC = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide}


def execute(machine: Machine, op: Operation, recorder: Recorder) -> None:
    """``dst = function(src, src2)``; with a peak, ``peak = max |dst|``."""
    left = machine.array(op.src, op.index)
    right = machine.array(op.src2, op.index)
    dst = machine.array(op.dst, op.index)
    if (basic := _BASIC.get(op.function)) is not None:
        basic(left, right, out=dst)
    elif op.function == "max":
        dst[...] = np.where(left > right, left, right)
    elif op.function == "min":
        dst[...] = np.where(left < right, left, right)
    else:
        raise MachineError(f"instruction {op.index} (vector_binary): no function '{op.function}'")
    write_peak(machine, op)


def footprint(op: Operation, view: Callable[[int], View]) -> tuple[Range, ...]:
    """Read src and src2, write dst, and the peak of it."""
    dst, left, right = view(op.dst), view(op.src), view(op.src2)
    in_activation_sram(op, dst)
    on_chip(op, src=left, src2=right)
    require(dst.dtype == left.dtype == right.dtype == "f32", op, "views have to be f32")
    same_shape(op, dst, src=left, src2=right)
    apart_or_same(op, dst, src=left, src2=right)
    peak = peak_ranges(op, view, dst, src=left, src2=right)
    return left.reads(), right.reads(), dst.writes(), *peak


def cycles(site: Site, hardware: Hardware) -> int:
    """Pipeline depth plus elements over lanes; division takes longer an element."""
    vector = hardware.vector
    per_element = vector.divide_cycles if site.function == "div" else 1
    return vector.pipeline_cycles + -(-site.views["dst"].num_elements // vector.lanes) * per_element
