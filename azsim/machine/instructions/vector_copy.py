"""``vector_copy``: copy a strided matrix."""

from __future__ import annotations

from collections.abc import Callable

from azsim.hardware.description import Hardware
from azsim.machine.instructions._shapes import (
    in_activation_sram,
    on_chip,
    peak_ranges,
    require,
    same_shape,
    write_peak,
)
from azsim.machine.operation import Operation
from azsim.machine.state import Machine
from azsim.machine.trace import Recorder, Site
from azsim.machine.view import Range, View, overlaps

__all__ = ["cycles", "execute", "footprint"]


def execute(machine: Machine, op: Operation, recorder: Recorder) -> None:
    """``dst = src``; with a peak, ``peak = max |dst|``."""
    machine.array(op.dst, op.index)[...] = machine.array(op.src, op.index)
    write_peak(machine, op)


def footprint(op: Operation, view: Callable[[int], View]) -> tuple[Range, ...]:
    """Read src, write dst, and the peak of it."""
    dst, src = view(op.dst), view(op.src)
    in_activation_sram(op, dst)
    on_chip(op, src=src)
    require(dst.dtype == src.dtype and dst.element_bits >= 8, op, "views of one unpacked type")
    same_shape(op, dst, src=src)
    reads, writes = src.reads(), dst.writes()
    # Interleaved windows of one buffer are fine as long as no element is both.
    require(not overlaps(reads, writes) or _interleaved(dst, src), op, "src and dst overlap")
    return reads, writes, *peak_ranges(op, view, dst, src=src)


def _interleaved(dst: View, src: View) -> bool:
    size = dst.element_bits // 8
    offset = (src.addr - dst.addr) // size

    def elements(view: View, start: int) -> set[int]:
        return {
            start + row * view.row_stride + col * view.col_stride
            for row in range(view.rows)
            for col in range(view.cols)
        }

    return not elements(dst, 0) & elements(src, offset)


def cycles(site: Site, hardware: Hardware) -> int:
    """Pipeline depth plus elements over lanes."""
    vector = hardware.vector
    return vector.pipeline_cycles + -(-site.views["dst"].num_elements // vector.lanes)
