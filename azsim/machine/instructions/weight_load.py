"""``weight_load``: stream one compressed block through the decoder into weight SRAM.

With `dst` of bytes the block is copied as it is, for an array that decodes as it reads.
"""

from __future__ import annotations

from collections.abc import Callable

from azsim.machine.instructions._shapes import distinct, require
from azsim.machine.operation import Operation
from azsim.machine.state import Machine
from azsim.machine.trace import Recorder
from azsim.machine.view import Range, View

__all__ = ["execute", "footprint"]


def execute(machine: Machine, op: Operation, recorder: Recorder) -> None:
    """Decode the block at `src` into the dense matrix `dst`, or copy it."""
    source = machine.view(op.src, op.index)
    target = machine.view(op.dst, op.index)
    machine.array(op.src, op.index)
    if target.dtype == "u8":
        machine.place_block(source, op.dst, op.src, op.index)
        recorder.transfer(source.addr)
        return
    tile = machine.fetch_tile(source, target, op.index)
    machine.place_tile(target, tile, op.dst, op.index)
    recorder.weight_load(tile, source.addr)


def footprint(op: Operation, view: Callable[[int], View]) -> tuple[Range, ...]:
    """Read the block's bytes, write the matrix."""
    dst, src = view(op.dst), view(op.src)
    require(src.space == "dram" and src.dtype == "u8", op, "src has to be u8 in dram")
    is_contiguous = src.rows == 1 or src.row_stride == src.cols
    require(is_contiguous and src.col_stride in (0, 1), op, "src has to be contiguous bytes")
    require(dst.space == "weight", op, f"dst lies in {dst.space}, not in weight")
    allowed = ("i8", "i4", "i2", "u8")
    require(dst.dtype in allowed, op, f"dst has to be i8, i4, i2 or u8, is {dst.dtype}")
    if dst.dtype == "u8":
        is_contiguous = dst.rows == 1 or dst.row_stride == dst.cols
        is_contiguous &= dst.col_stride in (0, 1) and dst.num_bytes == src.num_bytes
        require(is_contiguous, op, "dst has to be as many contiguous bytes as src")
    distinct(op, dst)
    return src.reads(), dst.writes()
