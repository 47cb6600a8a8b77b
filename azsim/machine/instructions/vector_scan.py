"""``vector_scan``: first-order recurrence down the rows."""

from __future__ import annotations

from collections.abc import Callable

from azsim import arith
from azsim.hardware.description import Hardware
from azsim.machine.instructions._shapes import (
    apart,
    apart_or_same,
    in_activation_sram,
    on_chip,
    require,
    same_shape,
    types,
)
from azsim.machine.operation import Operation
from azsim.machine.state import Machine
from azsim.machine.trace import Recorder, Site
from azsim.machine.view import Range, View

__all__ = ["cycles", "execute", "footprint"]


def execute(machine: Machine, op: Operation, recorder: Recorder) -> None:
    """``dst[t] = src[t] * dst[t-1] + src2[t]``."""
    arith.scan_kernel(
        machine.array(op.src, op.index),
        machine.array(op.src2, op.index),
        machine.array(op.initial, op.index)[0],
        machine.array(op.dst, op.index),
    )


def footprint(op: Operation, view: Callable[[int], View]) -> tuple[Range, ...]:
    """Read src, src2 and initial, write dst."""
    dst, src, src2, initial = view(op.dst), view(op.src), view(op.src2), view(op.initial)
    in_activation_sram(op, dst)
    on_chip(op, src=src, src2=src2, initial=initial)
    types(op, "f32", dst=dst, src=src, src2=src2, initial=initial)
    same_shape(op, dst, src=src, src2=src2)
    require(
        (initial.rows, initial.cols) == (1, dst.cols),
        op,
        f"initial is {initial.rows} x {initial.cols}, has to be 1 x {dst.cols}",
    )
    apart_or_same(op, dst, src=src, src2=src2)
    apart(op, dst, initial=initial)
    return src.reads(), src2.reads(), initial.reads(), dst.writes()


def cycles(site: Site, hardware: Hardware) -> int:
    """Each row over the lanes; the next begins when its first group has left the pipeline."""
    vector, dst = hardware.vector, site.views["dst"]
    groups = -(-dst.cols // vector.lanes)
    before_last = (dst.rows - 1) * max(groups, vector.pipeline_cycles)
    return before_last + groups + vector.pipeline_cycles
