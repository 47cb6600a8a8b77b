"""``mac_drain``: scale accumulators to float32, add, activate."""

from __future__ import annotations

from collections.abc import Callable

from azsim import arith
from azsim.errors import MachineError
from azsim.hardware.description import Hardware
from azsim.machine.instructions._shapes import (
    apart,
    in_activation_sram,
    on_chip,
    peak_ranges,
    require,
    write_peak,
)
from azsim.machine.state import Machine, Operation
from azsim.machine.trace import Recorder, Site
from azsim.machine.view import Range, View

__all__ = ["cycles", "execute", "footprint"]


def execute(machine: Machine, op: Operation, recorder: Recorder) -> None:
    """``y = acc * (src * scale); y = dst + y; y = y + bias; y = function(y)``, peak."""
    dst = machine.array(op.dst, op.index)
    end = op.acc + dst.size
    if end > len(machine.accumulators):
        raise MachineError(
            f"instruction {op.index} (mac_drain): accumulators {op.acc} to {end - 1}, "
            f"there are {len(machine.accumulators)}"
        )
    scale = machine.array(op.scale, op.index)[0]
    arith.drain_kernel(
        machine.accumulators[op.acc : end],
        machine.array(op.src, op.index)[:, 0],
        scale,
        machine.array(op.bias, op.index)[0] if op.use_bias else scale,
        dst,
        bool(op.accumulate),
        bool(op.use_bias),
        op.function == "relu",
    )
    write_peak(machine, op)


def footprint(op: Operation, view: Callable[[int], View]) -> tuple[Range, ...]:
    """Read scales and bias, write dst (and read it when accumulating) and its peak."""
    dst, src, scale = view(op.dst), view(op.src), view(op.scale)
    in_activation_sram(op, dst)
    require(dst.dtype == src.dtype == scale.dtype == "f32", op, "views have to be f32")
    require(op.function in ("none", "relu"), op, f"no function '{op.function}' in the drain")
    require(
        src.cols == 1 and src.rows in (1, dst.rows),
        op,
        f"src is {src.rows} x {src.cols}, has to be 1 x 1 or {dst.rows} x 1",
    )
    require(
        (scale.rows, scale.cols) == (1, dst.cols),
        op,
        f"scale is {scale.rows} x {scale.cols}, has to be 1 x {dst.cols}",
    )
    on_chip(op, src=src, scale=scale)
    apart(op, dst, src=src, scale=scale)
    sources = {"src": src, "scale": scale}
    ranges = [src.reads(), scale.reads(), dst.writes()]
    if op.accumulate:
        ranges.append(dst.reads())
    if op.use_bias:
        bias = view(op.bias)
        require(
            (bias.dtype, bias.rows, bias.cols) == ("f32", 1, dst.cols),
            op,
            f"bias is {bias.dtype} {bias.rows} x {bias.cols}, has to be f32 1 x {dst.cols}",
        )
        on_chip(op, bias=bias)
        apart(op, dst, bias=bias)
        sources["bias"] = bias
        ranges.append(bias.reads())
    return *ranges, *peak_ranges(op, view, dst, **sources)


def cycles(site: Site, hardware: Hardware) -> int:
    """Pipeline depth plus one accumulator per drain lane and cycle."""
    mac = hardware.mac
    return mac.pipeline_cycles + -(-site.views["dst"].num_elements // mac.drain_lanes)
