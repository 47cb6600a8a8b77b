"""``vector_unary``: apply a function to every element."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from azsim import arith
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


def execute(machine: Machine, op: Operation, recorder: Recorder) -> None:
    """``dst = function(src)``; with a peak, ``peak = max |dst|``."""
    src = machine.array(op.src, op.index)
    dst = machine.array(op.dst, op.index)
    if (number := arith.TABLE_FUNCTIONS.get(op.function)) is not None:
        arith.unary_kernel(number, src, dst)
    elif op.function == "relu":
        dst[...] = np.where(src <= 0, np.float32(0), src)
    elif op.function == "sqrt":
        np.sqrt(src, out=dst)
    elif op.function == "neg":
        np.negative(src, out=dst)
    elif op.function == "abs":
        np.abs(src, out=dst)
    else:
        raise MachineError(f"instruction {op.index} (vector_unary): no function '{op.function}'")
    write_peak(machine, op)


def footprint(op: Operation, view: Callable[[int], View]) -> tuple[Range, ...]:
    """Read src, write dst, and the peak of it."""
    dst, src = view(op.dst), view(op.src)
    in_activation_sram(op, dst)
    on_chip(op, src=src)
    require(dst.dtype == src.dtype == "f32", op, "views have to be f32")
    same_shape(op, dst, src=src)
    apart_or_same(op, dst, src=src)
    return src.reads(), dst.writes(), *peak_ranges(op, view, dst, src=src)


def cycles(site: Site, hardware: Hardware) -> int:
    """Pipeline depth plus elements over lanes, times the function's cycles per element."""
    vector = hardware.vector
    if site.function in arith.TABLE_FUNCTIONS:
        per_element = vector.table_cycles
    else:
        per_element = vector.divide_cycles if site.function == "sqrt" else 1
    return vector.pipeline_cycles + -(-site.views["dst"].num_elements // vector.lanes) * per_element
