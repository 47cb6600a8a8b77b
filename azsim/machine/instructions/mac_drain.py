"""``mac_drain``: scale accumulators, add, apply a function, and write float32 or codes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from azsim import arith
from azsim.errors import MachineError
from azsim.hardware.description import Hardware
from azsim.machine.instructions._shapes import (
    apart,
    in_activation_sram,
    on_chip,
    peak_ranges,
    require,
    types,
    write_peak,
)
from azsim.machine.operation import Operation
from azsim.machine.state import Machine
from azsim.machine.trace import Recorder, Site
from azsim.machine.view import Range, View

__all__ = ["cycles", "execute", "footprint", "group_cycles"]


def execute(machine: Machine, op: Operation, recorder: Recorder) -> None:
    """``y = acc * (src * scale); y = dst + y; y = y + bias; y = function(y)``; codes or peak."""
    dst = machine.array(op.dst, op.index)
    end = op.acc + dst.size
    if end > len(machine.accumulators):
        raise MachineError(
            f"instruction {op.index} (mac_drain): accumulators {op.acc} to {end - 1}, "
            f"there are {len(machine.accumulators)}"
        )
    scale = machine.array(op.scale, op.index)[0]
    drained = np.empty(dst.shape, np.float32) if op.requantize else dst
    arith.drain_kernel(
        machine.accumulators[op.acc : end],
        machine.array(op.src, op.index)[:, 0],
        scale,
        machine.array(op.bias, op.index)[0] if op.use_bias else scale,
        drained,
        bool(op.accumulate),
        bool(op.use_bias),
        arith.DRAIN_FUNCTIONS[op.function],
    )
    if op.requantize:
        code_scale = machine.array(op.code_scale, op.index)[:, 0]
        limit = arith.code_limit(dst.itemsize * 8)
        if not arith.quantize_kernel(drained, dst, code_scale, True, limit):
            raise MachineError(
                f"instruction {op.index} (mac_drain): a value to be quantized is not finite"
            )
    write_peak(machine, op)


def footprint(op: Operation, view: Callable[[int], View]) -> tuple[Range, ...]:
    """Read scales and bias, write dst (and read it when accumulating) and its peak."""
    dst, src, scale = view(op.dst), view(op.src), view(op.scale)
    in_activation_sram(op, dst)
    if op.requantize:
        require(dst.dtype in ("i8", "i16"), op, f"codes have to be i8 or i16, dst is {dst.dtype}")
        require(not op.accumulate, op, "codes cannot be accumulated")
    else:
        types(op, "f32", dst=dst)
    types(op, "f32", src=src, scale=scale)
    require(op.function in arith.DRAIN_FUNCTIONS, op, f"no function '{op.function}' in the drain")
    require(
        src.cols == 1 and src.rows in (1, dst.rows),
        op,
        f"src is {src.rows} x {src.cols}, has to be 1 x 1 or {dst.rows} x 1",
    )
    rows = {"scale": scale} | ({"bias": view(op.bias)} if op.use_bias else {})
    for name, row in rows.items():
        require(
            (row.dtype, row.rows, row.cols) == ("f32", 1, dst.cols),
            op,
            f"{name} is {row.dtype} {row.rows} x {row.cols}, has to be f32 1 x {dst.cols}",
        )
    sources = {"src": src, **rows}
    if op.requantize:
        one = sources["code_scale"] = view(op.code_scale)
        types(op, "f32", code_scale=one)
        require(
            (one.rows, one.cols) == (1, 1), op, f"code_scale is {one.rows} x {one.cols}, not 1 x 1"
        )
    on_chip(op, **sources)
    apart(op, dst, **sources)
    ranges = [*(source.reads() for source in sources.values()), dst.writes()]
    if op.accumulate:
        ranges.append(dst.reads())
    return *ranges, *peak_ranges(op, view, dst, **sources)


def group_cycles(function: str, hardware: Hardware, *, to_codes: bool) -> int:
    """Cycles that a group of accumulators stays in the drain: those of its slowest unit."""
    vector = hardware.vector
    table = vector.table_cycles if function in arith.TABLE_FUNCTIONS else 1
    return max(table, vector.divide_cycles if to_codes else 1)


def cycles(site: Site, hardware: Hardware) -> int:
    """Pipeline depth plus groups of one accumulator per drain lane, with their cycles."""
    mac = hardware.mac
    groups = -(-site.views["dst"].num_elements // mac.drain_lanes)
    each = group_cycles(site.function, hardware, to_codes="code_scale" in site.views)
    return mac.pipeline_cycles + groups * each
