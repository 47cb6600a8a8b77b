"""``store_scatter``: rows to places of a table in DRAM, by number."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from azsim.machine.instructions._shapes import (
    column_of_rows,
    distinct,
    require,
    row_numbers,
    types,
)
from azsim.machine.operation import Operation
from azsim.machine.state import Machine
from azsim.machine.trace import Recorder
from azsim.machine.view import Range, View

__all__ = ["execute", "footprint"]


def execute(machine: Machine, op: Operation, recorder: Recorder) -> None:
    """``dst[indices[r]] = src[r]``, row after row."""
    target = machine.view(op.dst, op.index)
    table, source = machine.array(op.dst, op.index), machine.array(op.src, op.index)
    numbers = row_numbers(machine, op, len(table))
    for row, number in enumerate(numbers):
        table[number] = source[row]
    machine.forget("dram", *target.extent())
    pitch = target.row_stride * target.element_bits // 8
    recorder.gather(target.addr + numbers.astype(np.int64) * pitch)


def footprint(op: Operation, view: Callable[[int], View]) -> tuple[Range, ...]:
    """Read src and indices in SRAM, write any row of dst in DRAM."""
    dst, src, indices = view(op.dst), view(op.src), view(op.indices)
    require(dst.space == "dram", op, f"dst lies in {dst.space}, not in dram")
    require(src.space == "activation", op, f"src lies in {src.space}, not in activation")
    require(indices.space == "activation", op, f"indices lie in {indices.space}, not in activation")
    require(dst.dtype == src.dtype and dst.element_bits >= 8, op, "views of one unpacked type")
    require(dst.col_stride == 1 or dst.cols == 1, op, "rows of dst have to be contiguous")
    require(dst.cols == src.cols, op, f"dst has {dst.cols} columns, src has {src.cols}")
    types(op, "i32", indices=indices)
    column_of_rows(op, src, indices=indices)
    distinct(op, dst)
    return src.reads(), indices.reads(), dst.writes()
