"""What the LSTM operators share when they lower: gates in ONNX's order i, o, f, g."""

from __future__ import annotations

from dataclasses import replace

from azsim.ir import CompressedWeight, Node
from azsim.ops._views import row_of
from azsim.ops.lowering import (
    Access,
    Binary,
    Fill,
    Lowering,
    Matmul,
    Quantize,
    Unary,
    moved,
    multiply_add,
)

__all__ = ["activate_gates", "add_recurrent", "initial_state", "takes_state_first", "update_cell"]


def initial_state(node: Node, lowering: Lowering, index: int, size: int) -> Access:
    """Row of a state before the first step: an input, or zeros where it is not given."""
    if len(node.inputs) > index and node.inputs[index]:
        return row_of(lowering.view(node.inputs[index]))
    zeros = Access(lowering.buffer(f"{node.name}#zero", "f32", size), 0, 1, size, 0, 1)
    lowering.emit(Fill(zeros, 0))
    return zeros


def takes_state_first(steps: int, weight: CompressedWeight, recurrent: CompressedWeight) -> bool:
    """Whether R is multiplied before W, as the state is there before the input is.

    Only with one step, and where each product is one term: a sum of two floats has the same bits
    in either order.
    """
    return steps == 1 and len(weight.segments) == len(recurrent.segments) == 2


def add_recurrent(
    node: Node,
    lowering: Lowering,
    weight: CompressedWeight,
    gates: Access,
    state: Access,
    bias: Access | None,
    later: Matmul | None,
) -> None:
    """``gates = (gates + R state) + bias``; `gates` holds W x before.

    Where `later` is given, gates hold nothing: R state is written, and `later` adds W x and bias.
    """
    name = f"{node.name}#h"
    codes = Access(lowering.codes_buffer(name, weight, state.cols), 0, 1, state.cols, 0, 1)
    scale = lowering.scales(name, weight, 1)
    lowering.emit(Quantize(codes, state, scale, weight.activation_scale is not None))
    if later is not None:
        lowering.emit(Matmul(weight.name, gates, codes, scale))
        lowering.emit(replace(later, bias=bias))
    elif len(weight.segments) == 2:
        lowering.emit(Matmul(weight.name, gates, codes, scale, bias, accumulate=True))
    else:
        # The segments' terms are added up before W x is: the sum needs a place of its own.
        buffer = lowering.buffer(f"{node.name}#product", "f32", gates.cols)
        product = Access(buffer, 0, 1, gates.cols, 0, 1)
        lowering.emit(Matmul(weight.name, product, codes, scale))
        lowering.emit(Binary("add", gates, gates, product))
        if bias is not None:
            lowering.emit(Binary("add", gates, gates, bias))


def activate_gates(lowering: Lowering, gates: Access) -> tuple[Access, Access, Access, Access]:
    """Apply sigmoid to i, o and f and tanh to g in place; returns the four of them."""
    hidden = gates.cols // 4
    parts = [moved(gates, offset=gates.offset + index * hidden, cols=hidden) for index in range(4)]
    sigmoids = moved(gates, cols=3 * hidden)
    lowering.emit(Unary("sigmoid", sigmoids, sigmoids))
    lowering.emit(Unary("tanh", parts[3], parts[3]))
    return parts[0], parts[1], parts[2], parts[3]


def update_cell(
    lowering: Lowering, i: Access, f: Access, g: Access, old: Access, new: Access
) -> None:
    """``new = (f * old) + (i * g)``; i is scratch after."""
    lowering.emit(Binary("mul", i, i, g))
    lowering.emit(multiply_add(new, f, old, i))
