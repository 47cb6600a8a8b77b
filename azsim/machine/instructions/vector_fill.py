"""``vector_fill``: set every element to a constant."""

from __future__ import annotations

from collections.abc import Callable

from azsim.hardware.description import Hardware
from azsim.machine.instructions._shapes import in_activation_sram, require
from azsim.machine.state import Machine, Operation
from azsim.machine.trace import Recorder, Site
from azsim.machine.view import Range, View

__all__ = ["cycles", "execute", "footprint"]


def execute(machine: Machine, op: Operation, recorder: Recorder) -> None:
    """``dst = value``."""
    dst = machine.array(op.dst, op.index)
    dst[...] = op.value
    if dst.itemsize < 4:
        recorder.codes_changed()


def footprint(op: Operation, view: Callable[[int], View]) -> tuple[Range, ...]:
    """Write dst."""
    dst = view(op.dst)
    in_activation_sram(op, dst)
    exact = dst.dtype == "f32" or (
        dst.element_bits >= 8
        and op.value.is_integer()
        and abs(op.value) < 1 << (dst.element_bits - 1)
    )
    require(exact, op, f"value {op.value} is not exact in {dst.dtype}")
    return (dst.writes(),)


def cycles(site: Site, hardware: Hardware) -> int:
    """Pipeline depth plus elements over lanes."""
    vector = hardware.vector
    return vector.pipeline_cycles + -(-site.views["dst"].num_elements // vector.lanes)
