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
    types,
)
from azsim.machine.operation import Operation
from azsim.machine.state import Machine
from azsim.machine.trace import Recorder, Site
from azsim.machine.view import Range, View, overlaps

__all__ = ["cycles", "execute", "footprint"]


def execute(machine: Machine, op: Operation, recorder: Recorder) -> None:
    """``dst = clip(round(src / scale))``, writing `scale` unless it is static."""
    dst = machine.array(op.dst, op.index)
    scales = machine.array(op.scale, op.index)[:, 0]
    limit = arith.code_limit(dst.itemsize * 8)
    if op.use_peak and not arith.peak_scale_kernel(machine.array(op.peak, op.index), scales, limit):
        raise MachineError(f"instruction {op.index} (vector_quantize): a peak is not finite")
    finite = arith.quantize_kernel(
        machine.array(op.src, op.index),
        dst,
        scales,
        bool(op.static or op.use_peak),
        limit,
    )
    if not finite:
        raise MachineError(
            f"instruction {op.index} (vector_quantize): a value to be quantized is not finite"
        )


def footprint(op: Operation, view: Callable[[int], View]) -> tuple[Range, ...]:
    """Read src (and peaks), write dst; read or write scale."""
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
    ranges = [src.reads(), dst.writes(), scale.reads() if op.static else scale.writes()]
    if op.use_peak:
        ranges.append(_peaks(op, view(op.peak), dst, scale))
    return tuple(ranges)


def _peaks(op: Operation, peak: View, dst: View, scale: View) -> Range:
    """Read the peaks that the scale is made of."""
    require(not op.static, op, "a static scale is not made of peaks")
    require(scale.rows == 1, op, f"scale is {scale.rows} x 1, has to be 1 x 1 with peaks")
    types(op, "f32", peak=peak)
    require(peak.cols == 1, op, f"peak is {peak.rows} x {peak.cols}, has to be one column")
    on_chip(op, peak=peak)
    apart(op, dst, peak=peak)
    require(not overlaps(peak.reads(), scale.writes()), op, "peak and scale overlap")
    return peak.reads()


def cycles(site: Site, hardware: Hardware) -> int:
    """A pass to find the largest element or peak, if the scale is computed; one to divide."""
    vector = hardware.vector
    groups = -(-site.views["dst"].num_elements // vector.lanes)
    searched = site.views["peak" if "peak" in site.views else "dst"].num_elements
    search = 0 if site.static else vector.pipeline_cycles + -(-searched // vector.lanes)
    return search + vector.pipeline_cycles + groups * vector.divide_cycles
