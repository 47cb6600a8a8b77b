"""``vector_quantize``: float32 to signed codes, with a computed or a given scale."""

from __future__ import annotations

from collections.abc import Callable

from azsim import arith
from azsim.errors import MachineError
from azsim.hardware.description import Hardware
from azsim.machine.instructions._shapes import (
    apart,
    in_activation_sram,
    on_chip,
    require,
    same_shape,
)
from azsim.machine.state import Machine, Operation
from azsim.machine.trace import Recorder, Site
from azsim.machine.view import Range, View, overlaps

__all__ = ["cycles", "execute", "footprint"]


def execute(machine: Machine, op: Operation, recorder: Recorder) -> None:
    """``dst = clip(round(src / scale))``, writing `scale` unless it is static."""
    dst = machine.array(op.dst, op.index)
    limit = arith.code_limit(dst.itemsize * 8)
    finite = arith.quantize_kernel(
        machine.array(op.src, op.index),
        dst,
        machine.array(op.scale, op.index)[:, 0],
        bool(op.static),
        limit,
    )
    if not finite:
        raise MachineError(
            f"instruction {op.index} (vector_quantize): a value to be quantized is not finite"
        )


def footprint(op: Operation, view: Callable[[int], View]) -> tuple[Range, ...]:
    """Read src, write dst; read or write scale."""
    dst, src, scale = view(op.dst), view(op.src), view(op.scale)
    in_activation_sram(op, dst)
    require(src.dtype == scale.dtype == "f32", op, "src and scale have to be f32")
    require(dst.dtype in ("i8", "i16"), op, f"dst has to be i8 or i16, is {dst.dtype}")
    same_shape(op, dst, src=src)
    require(
        scale.cols == 1 and scale.rows in (1, src.rows),
        op,
        f"scale is {scale.rows} x {scale.cols}, has to be 1 x 1 or {src.rows} x 1",
    )
    on_chip(op, src=src, scale=scale)
    apart(op, dst, src=src, scale=scale)
    if not op.static:
        require(scale.space == "activation", op, f"scale lies in {scale.space}, not in activation")
        require(not scale.shows_twice, op, "scale shows one element at several positions")
        require(not overlaps(src.reads(), scale.writes()), op, "src and scale overlap")
    return src.reads(), dst.writes(), scale.reads() if op.static else scale.writes()


def cycles(site: Site, hardware: Hardware) -> int:
    """One pass over the elements to find the largest (if the scale is computed), one to divide."""
    vector = hardware.vector
    groups = -(-site.views["dst"].num_elements // vector.lanes)
    search = 0 if site.static else vector.pipeline_cycles + groups
    return search + vector.pipeline_cycles + groups * vector.divide_cycles
