"""``vector_multiply_add``: multiply two views and add a third, element by element."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from azsim.hardware.description import Hardware
from azsim.machine.instructions._shapes import (
    apart_or_same,
    in_activation_sram,
    on_chip,
    peak_ranges,
    same_shape,
    types,
    write_peak,
)
from azsim.machine.operation import Operation
from azsim.machine.state import Machine
from azsim.machine.trace import Recorder, Site
from azsim.machine.view import Range, View

__all__ = ["cycles", "execute", "footprint"]


def execute(machine: Machine, op: Operation, recorder: Recorder) -> None:
    """``dst = (src * src2) + other``, rounded twice; with a peak, ``peak = max |dst|``."""
    left, right = machine.array(op.src, op.index), machine.array(op.src2, op.index)
    product = np.multiply(left, right, dtype=np.float32)
    np.add(product, machine.array(op.other, op.index), out=machine.array(op.dst, op.index))
    write_peak(machine, op)


def footprint(op: Operation, view: Callable[[int], View]) -> tuple[Range, ...]:
    """Read src, src2 and other, write dst, and the peak of it."""
    dst, src, src2, other = view(op.dst), view(op.src), view(op.src2), view(op.other)
    in_activation_sram(op, dst)
    on_chip(op, src=src, src2=src2, other=other)
    types(op, "f32", dst=dst, src=src, src2=src2, other=other)
    same_shape(op, dst, src=src, src2=src2, other=other)
    apart_or_same(op, dst, src=src, src2=src2, other=other)
    peak = peak_ranges(op, view, dst, src=src, src2=src2, other=other)
    return src.reads(), src2.reads(), other.reads(), dst.writes(), *peak


def cycles(site: Site, hardware: Hardware) -> int:
    """Pipeline depth plus elements over lanes, whose adder follows the multiplier."""
    vector = hardware.vector
    return vector.pipeline_cycles + -(-site.views["dst"].num_elements // vector.lanes)
