"""``mac_matmul``: codes times codes into int32 accumulators.

The second operand lies in weight SRAM, or is 8-bit codes in activation SRAM.  Where it shows
bytes, they are a compressed block, which the array decodes as it reads.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from azsim import arith
from azsim.errors import MachineError
from azsim.machine.instructions._shapes import on_chip, require, types
from azsim.machine.operation import Operation
from azsim.machine.state import Machine
from azsim.machine.trace import Recorder
from azsim.machine.view import Range, View

__all__ = ["execute", "footprint"]


def execute(machine: Machine, op: Operation, recorder: Recorder) -> None:
    """``acc[m, n] (+)= sum over k of src[m, k] * src2[n, k]``, wrapping at 32 bits."""
    codes = machine.array(op.src, op.index)
    weights = machine.view(op.src2, op.index)
    if weights.space == "activation":
        others = np.ascontiguousarray(machine.array(op.src2, op.index))
        _multiply(machine, op, codes, others)
        recorder.product(codes, others)
        return
    if weights.dtype == "u8":
        tile = machine.block_tile(weights, op.src2, op.index)
        columns = tile.codes.shape[1]
        require(codes.shape[1] == columns, op, _columns(codes.shape[1], columns))
    else:
        tile = machine.resident_tile(weights, op.src2, op.index)
    _multiply(machine, op, codes, tile.codes)
    recorder.matmul(tile, codes)


def _multiply(machine: Machine, op: Operation, codes: np.ndarray, weights: np.ndarray) -> None:
    end = op.acc + codes.shape[0] * weights.shape[0]
    if end > len(machine.accumulators):
        raise MachineError(
            f"instruction {op.index} (mac_matmul): accumulators {op.acc} to {end - 1}, "
            f"there are {len(machine.accumulators)}"
        )
    arith.matmul_kernel(codes, weights, machine.accumulators[op.acc : end], bool(op.accumulate))


def footprint(op: Operation, view: Callable[[int], View]) -> tuple[Range, ...]:
    """Read both operands."""
    src, src2 = view(op.src), view(op.src2)
    require(src.dtype in ("i8", "i16"), op, f"src has to be i8 or i16, is {src.dtype}")
    allowed = ("i8", "i4", "i2", "u8")
    require(src2.dtype in allowed, op, f"src2 has to be i8, i4, i2 or u8, is {src2.dtype}")
    require(src.space == "activation", op, f"src lies in {src.space}, not in activation")
    on_chip(op, src2=src2)
    if src2.space == "activation":
        types(op, "i8", src2=src2)
    if src2.dtype == "u8":
        is_contiguous = src2.rows == 1 or src2.row_stride == src2.cols
        require(is_contiguous and src2.col_stride in (0, 1), op, "src2 has to be contiguous bytes")
    else:
        require(src.cols == src2.cols, op, _columns(src.cols, src2.cols))
    return src.reads(), src2.reads()


def _columns(found: int, wanted: int) -> str:
    return f"src has {found} columns, src2 has {wanted}"
