"""ProjectionLSTM: LSTM whose state is projected, with layer norm on request; a batch of 1.

Not an operator of ONNX, whose LSTM has neither; inputs and outputs are as there otherwise.  With
gates in ONNX's order i, o, f, g and all sums in float32, for every step t::

    a = (W x[t] + R r) + B                # B is one row of 4H; nothing without a bias
    a = norm(a) * gate_gain + gate_shift  # with `gate_norm`
    i, o, f = sigmoid(a_i), sigmoid(a_o), sigmoid(a_f);  g = tanh(a_g)
    c = (f * c) + (i * g)
    h = o * tanh(norm(c) * cell_gain + cell_shift)    # without `cell_norm`: o * tanh(c)
    r = P h                               # without a projection: r = h

Inputs: 0 x [steps, 1, size], 1 W [1, 4H, size], 2 R [1, 4H, units], 3 P [1, units, H], 4 B [1, 4H],
5 r [1, 1, units], 6 c [1, 1, H], 7 gate_gain and 8 gate_shift [4H], 9 cell_gain and 10 cell_shift
[H]; all from 3 on may be left out.  Outputs: r of all steps [steps, 1, 1, units], the last r, the
last c.  `gate_norm` is ``none``, ``all`` (the 4H sums are one row, as in torchaudio's RNN-T) or
``each`` (each gate's H sums are a row of their own); `cell_norm` is 0 or 1; norm is
`azsim.arith.layer_norm` with `epsilon`, 1e-5 by default.

x[t] is quantized alone for W, r alone for R, h alone for P.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from azsim.arith import layer_norm, sigmoid, tanh
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
from azsim.ops._views import row_of
from azsim.ops.linear import Linear
from azsim.ops.lowering import (
    Access,
    Binary,
    Copy,
    Lowering,
    Matmul,
    Quantize,
    TensorView,
    Unary,
    Vector,
    contiguous_strides,
    moved,
)

OP = "ProjectionLSTM"
INPUTS = (3, 11)
ATTRIBUTES = ("cell_norm", "epsilon", "gate_norm", "hidden_size")

_PROJECTION, _BIAS, _INITIAL_R, _INITIAL_C = 3, 4, 5, 6
_GATE_GAIN, _GATE_SHIFT, _CELL_GAIN, _CELL_SHIFT = 7, 8, 9, 10
_NAMES = ("x", "W", "R", "P", "B", "r", "c", "gate_gain", "gate_shift", "cell_gain", "cell_shift")


def _has(node: Node, index: int) -> bool:
    return len(node.inputs) > index and bool(node.inputs[index])


def infer(
    node: Node, inputs: list[TensorType | None], constants: list[np.ndarray | None]
) -> list[TensorType]:
    """Check shapes and attributes."""
    inputs = [*inputs, *[None] * (len(_NAMES) - len(inputs))]
    constants = [*constants, *[None] * (len(_NAMES) - len(constants))]
    is_float32(inputs)
    data, recurrent = given(inputs, 0), is_weight(constants, 2)
    attribute_is(node, "gate_norm", "none", "all", "each")
    attribute_is(node, "cell_norm", 0, 1)
    if len(data.shape) != 3 or data.shape[1] != 1:
        raise UnsupportedError(
            f"input has shape {list(data.shape)}; [steps, 1, size] (a batch of 1) is needed"
        )
    if recurrent.ndim != 3 or recurrent.shape[1] % 4:
        raise UnsupportedError(
            f"input 2 (R) has shape {list(recurrent.shape)}; [1, 4 x hidden, units] is needed"
        )
    hidden, units = recurrent.shape[1] // 4, recurrent.shape[2]
    attribute_is(node, "hidden_size", hidden)
    if inputs[_PROJECTION] is None and units != hidden:
        raise UnsupportedError(f"{units} units and {hidden} cells; without P they are equal")
    gate, cell = (4 * hidden,), (hidden,)
    expected = {
        1: (1, 4 * hidden, data.shape[2]),
        2: (1, 4 * hidden, units),
        _PROJECTION: (1, units, hidden),
        _BIAS: (1, 4 * hidden),
        _INITIAL_R: (1, 1, units),
        _INITIAL_C: (1, 1, hidden),
        _GATE_GAIN: gate,
        _GATE_SHIFT: gate,
        _CELL_GAIN: cell,
        _CELL_SHIFT: cell,
    }
    for index, shape in expected.items():
        found = inputs[index]
        if found is not None and found.shape != shape:
            raise UnsupportedError(
                f"input {index} ({_NAMES[index]}) has shape {list(found.shape)}, not {list(shape)}"
            )
    for index in (1, _PROJECTION, _BIAS, _GATE_GAIN, _GATE_SHIFT, _CELL_GAIN, _CELL_SHIFT):
        if inputs[index] is not None:
            is_weight(constants, index)
    _check_norms(node)
    state = TensorType("float32", (1, 1, units))
    steps = TensorType("float32", (data.shape[0], 1, 1, units))
    return [steps, state, TensorType("float32", (1, 1, hidden))]


def _check_norms(node: Node) -> None:
    uses = {
        "gate_norm": (_gate_norm(node) != "none", (_GATE_GAIN, _GATE_SHIFT)),
        "cell_norm": (_cell_norm(node), (_CELL_GAIN, _CELL_SHIFT)),
    }
    for attribute, (is_used, operands) in uses.items():
        for index in operands:
            if _has(node, index) and not is_used:
                raise UnsupportedError(
                    f"input {index} ({_NAMES[index]}) is given, but {attribute} is not"
                )


def _gate_norm(node: Node) -> str:
    return str(node.attributes.get("gate_norm", "none"))


def _cell_norm(node: Node) -> bool:
    return node.attributes.get("cell_norm", 0) == 1


def _epsilon(node: Node) -> float:
    return float(np.float32(node.attributes.get("epsilon", 1e-5)))  # type: ignore[arg-type]


def weight_inputs(node: Node) -> tuple[int, ...]:
    """Inputs 1 (W), 2 (R) and 3 (P) hold weights."""
    return (1, 2, 3) if _has(node, _PROJECTION) else (1, 2)


def to_matrix(node: Node, index: int, array: np.ndarray) -> np.ndarray:
    """(1, N, K) to (N, K)."""
    return array[0]


def from_matrix(node: Node, index: int, matrix: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Inverse of `to_matrix`."""
    return np.ascontiguousarray(matrix).reshape(shape)


def reference(node: Node, inputs: list[np.ndarray], linear: Linear) -> list[np.ndarray]:
    """Run all steps."""
    operands: list[np.ndarray | None] = [*inputs, *[None] * (len(_NAMES) - len(inputs))]
    data = inputs[0][:, 0]
    _, weight, recurrent = node.inputs[:3]
    cells, units = inputs[2].shape[1] // 4, inputs[2].shape[2]
    before_r, before_c, bias = operands[_INITIAL_R], operands[_INITIAL_C], operands[_BIAS]
    r = np.zeros((1, units), data.dtype) if before_r is None else before_r[0]
    c = np.zeros((1, cells), data.dtype) if before_c is None else before_c[0]
    gates = linear.multiply(weight, *linear.quantize(weight, data))
    states = np.empty((len(data), 1, 1, units), data.dtype)
    gate_rows = {"none": 0, "all": 1, "each": 4}[_gate_norm(node)]
    for step in range(len(data)):
        a = gates[step : step + 1] + linear.multiply(recurrent, *linear.quantize(recurrent, r))
        if bias is not None:
            a = a + bias
        if gate_rows:
            a = _normed(node, a, gate_rows, operands[_GATE_GAIN], operands[_GATE_SHIFT])
        iof = sigmoid(a[:, : 3 * cells])
        c = (iof[:, 2 * cells :] * c) + (iof[:, :cells] * tanh(a[:, 3 * cells :]))
        inner = c
        if _cell_norm(node):
            inner = _normed(node, c, 1, operands[_CELL_GAIN], operands[_CELL_SHIFT])
        r = iof[:, cells : 2 * cells] * tanh(inner)
        if _has(node, _PROJECTION):
            name = node.inputs[_PROJECTION]
            r = linear.multiply(name, *linear.quantize(name, r))
        states[step, 0] = r
    return [states, r[None], c[None]]


def _normed(
    node: Node, row: np.ndarray, parts: int, gain: np.ndarray | None, shift: np.ndarray | None
) -> np.ndarray:
    """Normalise a row (1, n), cut into parts of the same length."""
    size = row.shape[1]
    gain = np.ones(size, row.dtype) if gain is None else gain
    normed = [
        layer_norm(row[:, part], gain[part], None if shift is None else shift[part], _epsilon(node))
        for part in (slice(at, at + size // parts) for at in range(0, size, size // parts))
    ]
    return np.concatenate(normed, axis=1)


# ------------------------------------------------------------------------------------ lowering


def lower(node: Node, lowering: Lowering) -> None:
    """Multiply W by all rows at once, then loop over the steps; see `azsim.ops.lstm`."""
    weight, recurrent = (lowering.weight(node.inputs[index]) for index in (1, 2))
    source = matrix_rows(lowering, lowering.view(node.inputs[0]), node.name)
    steps, (gate_sums, units) = source.rows, recurrent.codes.shape
    cells = gate_sums // 4
    gates = lowering.buffer(f"{node.name}#gates", "f32", steps * gate_sums)
    codes, scale = lowering.quantized(source, weight, node.name, per_row=True)
    rows = Access(gates, 0, steps, gate_sums, gate_sums, 1)
    product = Matmul(weight.name, rows, codes, scale)
    state_first = takes_state_first(steps, weight, recurrent)
    if not state_first:
        lowering.emit(product)

    r = lowering.buffer(f"{node.name}#r", "f32", (steps + (steps > 1)) * units)
    c = lowering.buffer(f"{node.name}#c", "f32", cells)
    old_r = initial_state(node, lowering, _INITIAL_R, units)
    old_c = initial_state(node, lowering, _INITIAL_C, cells)
    new_r, new_c = Access(r, 0, 1, units, 0, 1), Access(c, 0, 1, cells, 0, 1)
    constants = _Constants(node, lowering)
    if steps > 1:
        lowering.emit(Copy(new_r, old_r))
        lowering.emit(Copy(new_c, old_c))
        with lowering.loop(steps) as number:
            advance = {number: units}
            _step(
                node,
                lowering,
                constants,
                Access(gates, 0, 1, gate_sums, 0, 1, {number: gate_sums}),
                (moved(new_r, advance=advance), moved(new_r, offset=units, advance=advance)),
                (new_c, new_c),
            )
    else:
        row = Access(gates, 0, 1, gate_sums, 0, 1)
        later = replace(product, dst=row, accumulate=True) if state_first else None
        _step(node, lowering, constants, row, (old_r, new_r), (old_c, new_c), later)

    first = units if steps > 1 else 0
    places = (
        (r, first, (steps, 1, 1, units)),
        (r, first + (steps - 1) * units, (1, 1, units)),
        (c, 0, (1, 1, cells)),
    )
    for output, (buffer, offset, shape) in zip(node.outputs, places, strict=False):
        if output:
            view = TensorView(buffer, offset, shape, contiguous_strides(shape))
            lowering.alias(output, view)


class _Constants:
    """Rows that every step reads."""

    def __init__(self, node: Node, lowering: Lowering) -> None:
        cells = lowering.weight(node.inputs[2]).codes.shape[0] // 4

        def row(index: int) -> Access | None:
            return row_of(lowering.view(node.inputs[index])) if _has(node, index) else None

        def gain(index: int, size: int) -> Access:
            one = lowering.number(1.0)
            return row(index) or Access(one.buffer, one.offset, 1, size, 0, 0)

        self.bias = row(_BIAS)
        self.gates = self.cell = None
        if _gate_norm(node) != "none":
            self.gates = gain(_GATE_GAIN, 4 * cells), row(_GATE_SHIFT)
        if _cell_norm(node):
            self.cell = gain(_CELL_GAIN, cells), row(_CELL_SHIFT)


def _step(
    node: Node,
    lowering: Lowering,
    constants: _Constants,
    gates: Access,
    r: tuple[Access, Access],
    c: tuple[Access, Access],
    later: Matmul | None = None,
) -> None:
    """One step: `gates` is scratch after, r and c are (old, new)."""
    recurrent = lowering.weight(node.inputs[2])
    add_recurrent(node, lowering, recurrent, gates, r[0], constants.bias, later)
    if constants.gates is not None:
        parts = 4 if _gate_norm(node) == "each" else 1
        for part in range(parts):
            _normalise(node, lowering, gates, gates, constants.gates, part, parts)
    i, o, f, g = activate_gates(lowering, gates)
    update_cell(lowering, i, f, g, *c)
    inner = c[1]
    if constants.cell is not None:
        _normalise(node, lowering, g, c[1], constants.cell, 0, 1)
        inner = g
    lowering.emit(Unary("tanh", g, inner))
    if not _has(node, _PROJECTION):
        lowering.emit(Binary("mul", r[1], o, g))
        return
    lowering.emit(Binary("mul", g, o, g))
    weight = lowering.weight(node.inputs[_PROJECTION])
    name = f"{node.name}#projection"
    codes = Access(lowering.codes_buffer(name, weight, g.cols), 0, 1, g.cols, 0, 1)
    scale = lowering.scales(name, weight, 1)
    lowering.emit(Quantize(codes, g, scale, weight.activation_scale is not None))
    lowering.emit(Matmul(weight.name, r[1], codes, scale))


def _normalise(
    node: Node,
    lowering: Lowering,
    dst: Access,
    src: Access,
    constants: tuple[Access, Access | None],
    part: int,
    parts: int,
) -> None:
    """Normalise one part of a row, cut into parts of the same length."""
    gain, shift = constants
    cols = src.cols // parts

    def cut(window: Access) -> Access:
        start = part * cols * window.col_stride
        return moved(window, offset=window.offset + start, cols=cols)

    operands: dict[str, Access | int | float | str] = {
        "dst": cut(dst),
        "src": cut(src),
        "scale": cut(gain),
        "norm": "layer_norm",
        "value": _epsilon(node),
    }
    if shift is not None:
        operands |= {"bias": cut(shift), "use_bias": 1}
    lowering.emit(Vector("vector_norm", operands))
