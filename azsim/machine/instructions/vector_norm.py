"""``vector_norm``: layer norm or RMS norm of every row."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from azsim import arith
from azsim.hardware.description import Hardware
from azsim.machine.instructions._shapes import (
    apart,
    apart_or_same,
    in_activation_sram,
    on_chip,
    passes_cycles,
    peak_ranges,
    require,
    row_groups,
    same_shape,
    types,
    write_peak,
)
from azsim.machine.operation import Operation
from azsim.machine.state import Machine
from azsim.machine.trace import Recorder, Site
from azsim.machine.view import Range, View

__all__ = ["cycles", "execute", "footprint"]


def execute(machine: Machine, op: Operation, recorder: Recorder) -> None:
    """``dst[r] = norm(src[r]) * scale + bias``; with a peak, ``peak = max |dst|``."""
    scale = machine.array(op.scale, op.index)[0]
    bias = machine.array(op.bias, op.index)[0] if op.use_bias else scale
    arith.norm_kernel(
        op.function == "layer_norm",
        machine.array(op.src, op.index),
        scale,
        bias,
        bool(op.use_bias),
        np.float32(op.value),
        machine.array(op.dst, op.index),
    )
    write_peak(machine, op)


def footprint(op: Operation, view: Callable[[int], View]) -> tuple[Range, ...]:
    """Read src, scale and bias, write dst, and the peak of it."""
    dst, src = view(op.dst), view(op.src)
    rows = {"scale": view(op.scale)} | ({"bias": view(op.bias)} if op.use_bias else {})
    in_activation_sram(op, dst)
    on_chip(op, src=src, **rows)
    types(op, "f32", dst=dst, src=src, **rows)
    same_shape(op, dst, src=src)
    for name, row in rows.items():
        found = f"{name} is {row.rows} x {row.cols}, has to be 1 x {src.cols}"
        require((row.rows, row.cols) == (1, src.cols), op, found)
    require(
        op.value >= 0, op, f"value {op.value} is added under a square root, has to be 0 or more"
    )
    apart_or_same(op, dst, src=src)
    apart(op, dst, **rows)
    peak = peak_ranges(op, view, dst, src=src, **rows)
    return src.reads(), *(row.reads() for row in rows.values()), dst.writes(), *peak


def cycles(site: Site, hardware: Hardware) -> int:
    """Mean (of a layer norm), mean of squares and division: a pass each."""
    vector = hardware.vector
    sums = (1, 1) if site.function == "layer_norm" else (1,)
    groups = row_groups(site.views["src"], vector)
    return passes_cycles(groups, vector, *sums, vector.divide_cycles)
