"""CausalConvWithState: each channel convolved with what came before, the last columns carried.

``output[c, t] = sum over j of weight[c, 0, j] * line[c, t + j]`` over the line of `past_state` and
input, taps added in their order, then the bias, then SiLU; `present_state` is the end of the line.
"""

from __future__ import annotations

import itertools

import numpy as np

from azsim import arith
from azsim.errors import UnsupportedError
from azsim.ir import Node, TensorType
from azsim.ops._checks import attribute_is, given, is_float32, is_weight
from azsim.ops._depthwise import convolve, convolve_lines, convolve_rows
from azsim.ops._recurrent import carried_state
from azsim.ops._views import part, permuted
from azsim.ops.linear import Linear
from azsim.ops.lowering import Binary, Copy, Lowering, Unary

OP = "CausalConvWithState"
INPUTS = (2, 4)
ATTRIBUTES = ("activation",)

_MOST_MOVED = 4
"""Rows of a state that move on one by one; of more, a line of all is shorter."""


def infer(
    node: Node, inputs: list[TensorType | None], constants: list[np.ndarray | None]
) -> list[TensorType]:
    """Check the shapes of weight, bias and state against the channels."""
    is_float32(inputs)
    attribute_is(node, "activation", "none", "silu", "swish")
    data, weight = given(inputs, 0), is_weight(constants, 1)
    if len(data.shape) != 3:
        raise UnsupportedError(f"input has shape {list(data.shape)}; rank 3 is supported")
    batch, channels, _ = data.shape
    if weight.ndim != 3 or weight.shape[:2] != (channels, 1):
        raise UnsupportedError(
            f"weight has shape {list(weight.shape)}; [{channels}, 1, taps] is needed"
        )
    state = TensorType("float32", (batch, channels, weight.shape[2] - 1))
    names = "input", "weight", "bias", "past_state"
    for index, shape in ((2, (channels,)), (3, state.shape)):
        found = inputs[index] if len(inputs) > index else None
        if found is not None and found.shape != shape:
            raise UnsupportedError(
                f"{names[index]} has shape {list(found.shape)}, not {list(shape)}"
            )
    return [data, state]


def _is_silu(node: Node) -> bool:
    return node.attributes.get("activation", "none") != "none"


def _optional(inputs: list[np.ndarray]) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Bias and past state."""
    return inputs[2] if len(inputs) > 2 else None, inputs[3] if len(inputs) > 3 else None


def reference(node: Node, inputs: list[np.ndarray], linear: Linear) -> list[np.ndarray]:
    """Convolve the line of each item of the batch."""
    data, weight = inputs[:2]
    bias, past = _optional(inputs)
    if past is None:
        past = np.zeros((*data.shape[:2], weight.shape[2] - 1), data.dtype)
    lines = np.concatenate([past, data], axis=2)
    results = np.stack([convolve(line.T, weight, bias).T for line in lines])
    if _is_silu(node):
        results = arith.sigmoid(results) * results
    return [np.ascontiguousarray(results), lines[:, :, data.shape[2] :]]


def lower(node: Node, lowering: Lowering) -> None:
    """Put the line together with positions as rows, convolve, keep its end."""
    data = lowering.view(node.inputs[0])
    batch, channels, length = data.shape
    weight = lowering.compressed.graph.initializers[node.inputs[1]]
    kept = weight.shape[2] - 1
    given_bias = node.inputs[2] if len(node.inputs) > 2 else ""
    bias = lowering.view(given_bias) if given_bias else None
    output, *present = node.outputs
    moves = length == 1 and kept <= _MOST_MOVED
    lying = None if moves else (0, 2, 1)  # positions as rows, as in the line
    shape = batch, channels, kept
    state = carried_state(node, lowering, 3, 1, shape, lying) if kept else None
    result = lowering.scratch(output, (batch, length, channels))
    for item in range(batch):
        if moves and state is not None:
            past, new = permuted(state.item(0, item), (1, 0)), permuted(data.item(0, item), (1, 0))
            rows = [part(past, 0, row, 1) for row in range(kept)] + [new]
            convolve_rows(lowering, node.name, rows, weight, bias, result.item(0, item))
            for older, newer in itertools.pairwise(rows) if any(present) else ():
                lowering.elementwise(Copy, older, newer)
            continue
        lines = lowering.scratch(f"{node.name}#line", (kept + length, channels))
        past = None if state is None else permuted(state.item(0, item), (1, 0))
        if past is not None:
            lowering.elementwise(Copy, part(lines, 0, 0, kept), past)
        new = permuted(data.item(0, item), (1, 0))
        lowering.elementwise(Copy, part(lines, 0, kept, length), new)
        convolve_lines(lowering, node.name, lines, weight, bias, result.item(0, item))
        if past is not None and any(present):
            lowering.elementwise(Copy, past, part(lines, 0, length, kept))
    if _is_silu(node):
        gate = lowering.scratch(f"{node.name}#gate", result.shape)
        lowering.elementwise(Unary, gate, result, function="sigmoid")
        lowering.elementwise(Binary, result, gate, result, function="mul")
    lowering.alias(output, permuted(result, (0, 2, 1)))
