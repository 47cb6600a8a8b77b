"""LSTM: forward, batch of 1, standard activations.

For every step t, with gates in ONNX's order i, o, f, g and all sums in float32::

    a = (W x[t] + R h) + (Wb + Rb)        # Wb + Rb added beforehand; nothing without a bias
    i, o, f = sigmoid(a_i), sigmoid(a_o), sigmoid(a_f);  g = tanh(a_g)
    c = (f * c) + (i * g)
    h = o * tanh(c)

x[t] is quantized alone for W, h alone for R.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from azsim.arith import sigmoid, tanh
from azsim.errors import UnsupportedError
from azsim.ir import Node, TensorType
from azsim.ops._checks import attribute_is, given, is_float32, is_weight
from azsim.ops._lstm import (
    activate_gates,
    add_recurrent,
    initial_state,
    takes_state_first,
    update_cell,
)
from azsim.ops._matrix import matrix_rows
from azsim.ops.linear import Linear
from azsim.ops.lowering import (
    Access,
    Binary,
    Copy,
    Lowering,
    Matmul,
    TensorView,
    Unary,
    contiguous_strides,
    moved,
)

OP = "LSTM"
INPUTS = (3, 8)
ATTRIBUTES = (
    "activation_alpha",
    "activation_beta",
    "activations",
    "clip",
    "direction",
    "hidden_size",
    "input_forget",
    "layout",
)

_INITIAL_H, _INITIAL_C = 5, 6


def infer(
    node: Node, inputs: list[TensorType | None], constants: list[np.ndarray | None]
) -> list[TensorType]:
    """Check shapes and attributes."""
    inputs = [*inputs, *[None] * (8 - len(inputs))]
    constants = [*constants, *[None] * (8 - len(constants))]
    is_float32([*inputs[:4], None, *inputs[5:]])
    is_weight(constants, 1)
    data, recurrent = given(inputs, 0), is_weight(constants, 2)
    attribute_is(node, "direction", "forward")
    attribute_is(node, "layout", 0)
    attribute_is(node, "input_forget", 0)
    attribute_is(node, "activations", ("Sigmoid", "Tanh", "Tanh"))
    for name in ("clip", "activation_alpha", "activation_beta"):
        if name in node.attributes:
            raise UnsupportedError(f"{name} is given; it is not supported")
    for index, name in ((4, "sequence_lens"), (7, "peepholes")):
        if inputs[index] is not None:
            raise UnsupportedError(f"input {index} ({name}) is given; it is not supported")
    if len(data.shape) != 3 or data.shape[1] != 1:
        raise UnsupportedError(
            f"input has shape {list(data.shape)}; [steps, 1, size] (a batch of 1) is needed"
        )
    hidden = recurrent.shape[-1]
    attribute_is(node, "hidden_size", hidden)
    expected = {
        1: (1, 4 * hidden, data.shape[2]),
        2: (1, 4 * hidden, hidden),
        3: (1, 8 * hidden),
        _INITIAL_H: (1, 1, hidden),
        _INITIAL_C: (1, 1, hidden),
    }
    for index, shape in expected.items():
        found = inputs[index]
        if found is not None and found.shape != shape:
            raise UnsupportedError(
                f"input {index} has shape {list(found.shape)}, not {list(shape)}"
            )
    if inputs[3] is not None:
        is_weight(constants, 3)
    state = TensorType("float32", (1, 1, hidden))
    return [TensorType("float32", (data.shape[0], 1, 1, hidden)), state, state]


def weight_inputs(node: Node) -> tuple[int, ...]:
    """Inputs 1 (W) and 2 (R) hold weights."""
    return (1, 2)


def to_matrix(node: Node, index: int, array: np.ndarray) -> np.ndarray:
    """(1, 4H, K) to (4H, K)."""
    return array[0]


def from_matrix(node: Node, index: int, matrix: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Inverse of `to_matrix`."""
    return np.ascontiguousarray(matrix).reshape(shape)


def _bias(bias: np.ndarray | None) -> np.ndarray | None:
    if bias is None:
        return None
    half = bias.shape[1] // 2
    return bias[0, :half] + bias[0, half:]


def reference(node: Node, inputs: list[np.ndarray], linear: Linear) -> list[np.ndarray]:
    """Run all steps."""
    _, _, recurrent, bias, _, h, c, _ = (*inputs, *(None,) * (8 - len(inputs)))
    assert recurrent is not None
    data, hidden = inputs[0][:, 0], recurrent.shape[-1]
    h = np.zeros((1, hidden), np.float32) if h is None else h[0]
    c = np.zeros((1, hidden), np.float32) if c is None else c[0]
    total_bias = _bias(bias)
    weight_name, recurrent_name = node.inputs[1:3]
    gates = linear.multiply(weight_name, *linear.quantize(weight_name, data))
    states = np.empty((len(data), 1, 1, hidden), np.float32)
    for step in range(len(data)):
        product = linear.multiply(recurrent_name, *linear.quantize(recurrent_name, h))
        a = gates[step : step + 1] + product
        if total_bias is not None:
            a = a + total_bias
        iof = sigmoid(a[:, : 3 * hidden])
        c = (iof[:, 2 * hidden :] * c) + (iof[:, :hidden] * tanh(a[:, 3 * hidden :]))
        h = iof[:, hidden : 2 * hidden] * tanh(c)
        states[step, 0] = h
    return [states, h[None], c[None]]


def lower(node: Node, lowering: Lowering) -> None:
    """Multiply W by all rows at once, then loop over the steps.

    With a single step R is multiplied first, as the state is there before the input is: a sum of
    two floats has the same bits in either order.

    The states of all steps lie in one buffer, after the initial one: row t is read and row t + 1
    written by step t.  The cell state is updated in place.  With a single step both are written
    once, and the initial states are read where they lie.
    """
    weight = lowering.weight(node.inputs[1])
    source = matrix_rows(lowering, lowering.view(node.inputs[0]), node.name)
    steps, hidden = source.rows, lowering.weight(node.inputs[2]).codes.shape[1]
    gates = lowering.buffer(f"{node.name}#gates", "f32", steps * 4 * hidden)
    codes, scale = lowering.quantized(source, weight, node.name, per_row=True)
    rows = Access(gates, 0, steps, 4 * hidden, 4 * hidden, 1)
    recurrent = lowering.weight(node.inputs[2])
    product = Matmul(weight.name, rows, codes, scale)
    state_first = takes_state_first(steps, weight, recurrent)
    if not state_first:
        lowering.emit(product)

    h = lowering.buffer(f"{node.name}#h", "f32", (steps + (steps > 1)) * hidden)
    c = lowering.buffer(f"{node.name}#c", "f32", hidden)
    old_h, new_h = initial_state(node, lowering, _INITIAL_H, hidden), Access(h, 0, 1, hidden, 0, 1)
    old_c, new_c = initial_state(node, lowering, _INITIAL_C, hidden), Access(c, 0, 1, hidden, 0, 1)
    if steps > 1:
        lowering.emit(Copy(new_h, old_h))
        lowering.emit(Copy(new_c, old_c))
        with lowering.loop(steps) as number:
            advance = {number: hidden}
            _step(
                node,
                lowering,
                Access(gates, 0, 1, 4 * hidden, 0, 1, {number: 4 * hidden}),
                (moved(new_h, advance=advance), moved(new_h, offset=hidden, advance=advance)),
                (new_c, new_c),
            )
    else:
        row = Access(gates, 0, 1, 4 * hidden, 0, 1)
        later = replace(product, dst=row, accumulate=True) if state_first else None
        _step(node, lowering, row, (old_h, new_h), (old_c, new_c), later)

    first = hidden if steps > 1 else 0
    places = ((h, first, steps), (h, first + (steps - 1) * hidden, 1), (c, 0, 1))
    for index, (output, (buffer, offset, count)) in enumerate(
        zip(node.outputs, places, strict=False)
    ):
        if output:
            shape = (1, 1, hidden) if index else (count, 1, 1, hidden)
            view = TensorView(buffer, offset, shape, contiguous_strides(shape))
            lowering.alias(output, view)


def _step(
    node: Node,
    lowering: Lowering,
    gates: Access,
    h: tuple[Access, Access],
    c: tuple[Access, Access],
    later: Matmul | None = None,
) -> None:
    """One step: `gates` is scratch after, h and c are (old, new).

    `gates` holds W x[t] before, unless that product comes `later`, after R h.
    """
    recurrent = lowering.weight(node.inputs[2])
    constant = node.inputs[3] if len(node.inputs) > 3 else ""
    total = _bias(lowering.compressed.graph.initializers[constant]) if constant else None
    bias = None if total is None else lowering.constant_row(f"{node.name}#bias", total)
    add_recurrent(node, lowering, recurrent, gates, h[0], bias, later)
    i, o, f, g = activate_gates(lowering, gates)
    update_cell(lowering, i, f, g, *c)
    lowering.emit(Unary("tanh", g, c[1]))
    lowering.emit(Binary("mul", h[1], o, g))
