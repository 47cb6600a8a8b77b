"""``vector_fill``: set every element to a constant."""

from __future__ import annotations

from collections.abc import Callable

from azsim.hardware.description import Hardware
from azsim.machine.instructions._shapes import in_activation_sram, require
from azsim.machine.operation import Operation
from azsim.machine.state import Machine
from azsim.machine.trace import Recorder, Site
from azsim.machine.view import Range, View

__all__ = ["cycles", "execute", "footprint"]

_WHOLE = {
    "u8": (0, 255),
    "i8": (-128, 127),
    "i16": (-32_768, 32_767),
    "i32": (-(2**31), 2**31 - 1),
}


def execute(machine: Machine, op: Operation, recorder: Recorder) -> None:
    """``dst = value``."""
    machine.array(op.dst, op.index)[...] = op.value


def footprint(op: Operation, view: Callable[[int], View]) -> tuple[Range, ...]:
    """Write dst."""
    dst = view(op.dst)
    in_activation_sram(op, dst)
    low, high = _WHOLE.get(dst.dtype, (1, 0))
    exact = dst.dtype == "f32" or (op.value.is_integer() and low <= op.value <= high)
    require(exact, op, f"value {op.value} is not exact in {dst.dtype}")
    return (dst.writes(),)


def cycles(site: Site, hardware: Hardware) -> int:
    """Pipeline depth plus elements over lanes."""
    vector = hardware.vector
    return vector.pipeline_cycles + -(-site.views["dst"].num_elements // vector.lanes)
