"""``store``: copy a matrix from activation SRAM to DRAM."""

from __future__ import annotations

from collections.abc import Callable

from azsim.machine.instructions._shapes import distinct, require, same_shape
from azsim.machine.operation import Operation
from azsim.machine.state import Machine
from azsim.machine.trace import Recorder
from azsim.machine.view import Range, View

__all__ = ["execute", "footprint"]


def execute(machine: Machine, op: Operation, recorder: Recorder) -> None:
    """``dst = src``."""
    target = machine.view(op.dst, op.index)
    machine.array(op.dst, op.index)[...] = machine.array(op.src, op.index)
    machine.forget("dram", *target.extent())
    recorder.transfer(target.addr)


def footprint(op: Operation, view: Callable[[int], View]) -> tuple[Range, ...]:
    """Read src in SRAM, write dst in DRAM."""
    dst, src = view(op.dst), view(op.src)
    require(dst.space == "dram", op, f"dst lies in {dst.space}, not in dram")
    require(src.space == "activation", op, f"src lies in {src.space}, not in activation")
    require(dst.dtype == src.dtype and dst.element_bits >= 8, op, "views of one unpacked type")
    require(dst.col_stride == 1 or dst.cols == 1, op, "rows of dst have to be contiguous")
    same_shape(op, dst, src=src)
    distinct(op, dst)
    return src.reads(), dst.writes()
