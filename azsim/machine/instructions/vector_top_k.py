"""``vector_top_k``: the largest elements of every row, and their columns."""

from __future__ import annotations

from collections.abc import Callable

from azsim import arith
from azsim.hardware.description import Hardware
from azsim.machine.instructions._shapes import (
    apart,
    in_activation_sram,
    on_chip,
    passes_cycles,
    require,
    row_groups,
    same_shape,
    types,
)
from azsim.machine.operation import Operation
from azsim.machine.state import Machine
from azsim.machine.trace import Recorder, Site
from azsim.machine.view import Range, View

__all__ = ["cycles", "execute", "footprint"]


def execute(machine: Machine, op: Operation, recorder: Recorder) -> None:
    """``dst, indices`` = the largest of each row of src, largest first."""
    arith.top_k_kernel(
        machine.array(op.src, op.index),
        machine.array(op.dst, op.index),
        machine.array(op.indices, op.index),
    )


def footprint(op: Operation, view: Callable[[int], View]) -> tuple[Range, ...]:
    """Read src, write dst and indices."""
    dst, src, indices = view(op.dst), view(op.src), view(op.indices)
    in_activation_sram(op, dst)
    in_activation_sram(op, indices)
    on_chip(op, src=src)
    types(op, "f32", dst=dst, src=src)
    types(op, "i32", indices=indices)
    same_shape(op, dst, indices=indices)
    require(
        dst.rows == src.rows and dst.cols <= src.cols,
        op,
        f"dst is {dst.rows} x {dst.cols}, has to be {src.rows} x 1 to {src.rows} x {src.cols}",
    )
    apart(op, dst, src=src, indices=indices)
    apart(op, indices, src=src)
    return src.reads(), dst.writes(), indices.writes()


def cycles(site: Site, hardware: Hardware) -> int:
    """A pass over the rows for each of the k elements."""
    vector = hardware.vector
    k = site.views["dst"].cols
    return passes_cycles(row_groups(site.views["src"], vector), vector, *[1] * k)
