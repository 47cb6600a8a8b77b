"""``load``: copy a matrix from DRAM into SRAM."""

from __future__ import annotations

from collections.abc import Callable

from azsim.machine.instructions._shapes import (
    distinct,
    peak_ranges,
    require,
    same_shape,
    write_peak,
)
from azsim.machine.operation import Operation
from azsim.machine.state import Machine
from azsim.machine.trace import Recorder
from azsim.machine.view import Range, View

__all__ = ["execute", "footprint"]


def execute(machine: Machine, op: Operation, recorder: Recorder) -> None:
    """``dst = src``; with a peak, ``peak = max |dst|``."""
    target = machine.view(op.dst, op.index)
    machine.array(op.dst, op.index)[...] = machine.array(op.src, op.index)
    machine.forget(target.space, *target.extent())
    write_peak(machine, op)
    recorder.transfer(machine.view(op.src, op.index).addr)


def footprint(op: Operation, view: Callable[[int], View]) -> tuple[Range, ...]:
    """Read src in DRAM, write dst in SRAM, and the peak of it."""
    dst, src = view(op.dst), view(op.src)
    require(src.space == "dram", op, f"src lies in {src.space}, not in dram")
    require(dst.space != "dram", op, "dst lies in dram")
    require(dst.dtype == src.dtype and dst.element_bits >= 8, op, "views of one unpacked type")
    require(src.col_stride == 1 or src.cols == 1, op, "rows of src have to be contiguous")
    same_shape(op, dst, src=src)
    distinct(op, dst)
    return src.reads(), dst.writes(), *peak_ranges(op, view, dst)
