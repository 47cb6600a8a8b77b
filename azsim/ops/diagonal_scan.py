"""DiagonalScan: a linear time-invariant state space with a diagonal complex matrix (S4D).

An operator of azsim's own.  A complex row of M numbers is 2 M float32 numbers, first the real parts
and then the imaginary ones.  Inputs for T steps, E channels and M conjugate pairs a channel:
u (T, E); A and B (E, 2 M), discretised; C (E, 2 M), which holds ``2 Re C`` and ``-2 Im C`` so that
a sum over its products with the state is ``2 Re(C x)``; D (E,), optional; the old state x (E, 2 M),
zero if not given.  Outputs: y (T, E) and the new state.  For each step t, in this order of float32
operations (re and im are the halves of a row)::

    re' = ((re A * re x) - (im A * im x)) + (re B * u[t])
    im' = ((re A * im x) + (im A * re x)) + (im B * u[t])
    y[t] = sum over the row of (x' * C)      # the tree of `azsim.arith.tree_sum`
    y[t] = y[t] + (D * u[t])

Source: Gu, Gupta, Goel, Ré: On the parameterization and initialization of diagonal state space
models, 2022.
"""

from __future__ import annotations

import numpy as np

from azsim.arith import tree_sum
from azsim.errors import UnsupportedError
from azsim.ir import Node, TensorType
from azsim.ops._checks import given, is_float32
from azsim.ops._recurrent import add_skip, carried_state, places, scratch, sum_rows
from azsim.ops.linear import Linear
from azsim.ops.lowering import Access, Binary, Lowering, moved, multiply_add

OP = "DiagonalScan"
INPUTS = (4, 6)
ATTRIBUTES = ()

_U, _A, _B, _C, _D, _STATE = range(6)
_NAMES = ("u", "A", "B", "C", "D", "state")
_PART_ELEMENTS = 2048
"""State that is worked on at a time, at most."""


def infer(
    node: Node, inputs: list[TensorType | None], constants: list[np.ndarray | None]
) -> list[TensorType]:
    """Check every shape against u and A."""
    is_float32(inputs)
    u, a = given(inputs, _U), given(inputs, _A)
    if len(u.shape) != 2 or len(a.shape) != 2 or a.shape[1] % 2:
        raise UnsupportedError(
            f"u has shape {list(u.shape)} and A {list(a.shape)}; "
            "[steps, channels] and [channels, 2 x pairs] are needed"
        )
    channels = u.shape[1]
    row = channels, a.shape[1]
    for index, shape in {_A: row, _B: row, _C: row, _D: (channels,), _STATE: row}.items():
        found = inputs[index] if index < len(inputs) else None
        if found is not None and found.shape != shape:
            raise UnsupportedError(
                f"input {index} ({_NAMES[index]}) has shape {list(found.shape)}, not {list(shape)}"
            )
    return [TensorType("float32", u.shape), TensorType("float32", a.shape)]


def reference(node: Node, inputs: list[np.ndarray], linear: Linear) -> list[np.ndarray]:
    """Run the steps one after the other."""
    u, a, b, c = inputs[:_D]
    d, x = (inputs[index] if index < len(inputs) else None for index in (_D, _STATE))
    x = np.zeros_like(a) if x is None else x
    pairs = a.shape[1] // 2
    re_a, im_a = a[:, :pairs], a[:, pairs:]
    y = np.empty_like(u)
    for step in range(len(u)):
        re, im = x[:, :pairs], x[:, pairs:]
        turned = np.concatenate([(re_a * re) - (im_a * im), (re_a * im) + (im_a * re)], axis=1)
        x = turned + (b * u[step, :, None])
        y[step] = tree_sum(x * c)
    return [y if d is None else y + (d * u), x]


def lower(node: Node, lowering: Lowering) -> None:
    """Loop over parts of the channels, in each over the steps; the state is updated in place."""
    u, a, b, c = (lowering.view(name) for name in node.inputs[:_D])
    (steps, channels), width = u.shape, a.shape[1]
    state = carried_state(node, lowering, _STATE, 1, a.shape)
    y = lowering.new(node.outputs[0], u.shape)
    most = min(channels, max(1, _PART_ELEMENTS // width))
    straight = scratch(node, lowering, "straight", (most, width))
    crossed = scratch(node, lowering, "crossed", (most, width))
    for place in places(lowering, steps, channels, most):
        x, terms = place.of_state(state), place.of_scratch(straight)
        cross = place.of_scratch(crossed)
        (re_a, im_a), (re_x, im_x) = (_halves(place.of_state(view)) for view in (a, state))
        (re_terms, im_terms), (re_cross, im_cross) = _halves(terms), _halves(cross)
        lowering.emit(Binary("mul", re_terms, re_a, re_x))
        lowering.emit(Binary("mul", re_cross, im_a, im_x))
        lowering.emit(Binary("mul", im_cross, im_a, re_x))
        lowering.emit(Binary("sub", re_terms, re_terms, re_cross))
        lowering.emit(multiply_add(im_terms, re_a, im_x, im_cross))
        driven = place.of_state(b), place.of_channels(u, width)
        lowering.emit(multiply_add(x, *driven, terms))
        lowering.emit(Binary("mul", terms, x, place.of_state(c)))
        sum_rows(lowering, place.of_channels(y, 1), terms)
    add_skip(node, lowering, _D, u, y)


def _halves(rows: Access) -> tuple[Access, Access]:
    """Real and imaginary parts of complex rows."""
    pairs = rows.cols // 2
    second = rows.offset + pairs * rows.col_stride
    return moved(rows, cols=pairs), moved(rows, cols=pairs, offset=second)
