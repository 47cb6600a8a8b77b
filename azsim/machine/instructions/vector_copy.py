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
from azsim.machine.view import Range, View, overlaps, share_bytes

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
    # Interleaved windows of one buffer are fine as long as no byte is in both.
    is_apart = not overlaps(reads, writes) or not share_bytes(dst, src)
    require(is_apart, op, "src and dst overlap")
    return reads, writes, *peak_ranges(op, view, dst, src=src)


def cycles(site: Site, hardware: Hardware) -> int:
    """Pipeline depth plus elements over lanes."""
    vector = hardware.vector
    return vector.pipeline_cycles + -(-site.views["dst"].num_elements // vector.lanes)
