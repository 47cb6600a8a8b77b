"""``load_gather``: rows of a table in DRAM, by number."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from azsim.machine.instructions._shapes import (
    apart,
    column_of_rows,
    distinct,
    peak_ranges,
    require,
    row_numbers,
    types,
    write_peak,
)
from azsim.machine.operation import Operation
from azsim.machine.state import Machine
from azsim.machine.trace import Recorder
from azsim.machine.view import Range, View

__all__ = ["execute", "footprint"]


def execute(machine: Machine, op: Operation, recorder: Recorder) -> None:
    """``dst[r] = src[indices[r]]``; with a peak, ``peak = max |dst|``."""
    source, target = machine.view(op.src, op.index), machine.view(op.dst, op.index)
    table = machine.table(op.src, op.index)
    numbers = row_numbers(machine, op, len(table))
    pitch = source.row_stride * source.element_bits // 8
    addresses = source.addr + numbers.astype(np.int64) * pitch
    for address in addresses.tolist():  # the table may be most of DRAM
        machine.dram.touch(address, address + source.num_bytes // source.rows)
    machine.array(op.dst, op.index)[...] = table[numbers]
    machine.forget(target.space, *target.extent())
    recorder.gather(addresses)
    write_peak(machine, op)


def footprint(op: Operation, view: Callable[[int], View]) -> tuple[Range, ...]:
    """Read indices and any row of src in DRAM, write dst in SRAM, and the peak of it."""
    dst, src, indices = view(op.dst), view(op.src), view(op.indices)
    require(src.space == "dram", op, f"src lies in {src.space}, not in dram")
    require(dst.space != "dram", op, "dst lies in dram")
    require(indices.space == "activation", op, f"indices lie in {indices.space}, not in activation")
    require(dst.dtype == src.dtype and dst.element_bits >= 8, op, "views of one unpacked type")
    require(src.col_stride == 1 or src.cols == 1, op, "rows of src have to be contiguous")
    require(dst.cols == src.cols, op, f"dst has {dst.cols} columns, src has {src.cols}")
    types(op, "i32", indices=indices)
    column_of_rows(op, dst, indices=indices)
    distinct(op, dst)
    apart(op, dst, indices=indices)
    peak = peak_ranges(op, view, dst, indices=indices)
    return src.reads(), indices.reads(), dst.writes(), *peak
