"""SelectiveScan: the recurrence of Mamba (S6), a diagonal state space whose step depends on data.

An operator of azsim's own.  Inputs, all float32, for T steps, E channels and N states a channel:
u (T, E); delta (T, E), after its softplus; A (E, N), negative, which Mamba keeps as
``A = -exp(A_log)``; B and C (T, N); D (E,), optional; the old state h (E, N), zero if not given.
Outputs: y (T, E) and the new state (E, N).  A is discretised exactly, B by Euler's rule.  For each
step t, in this order of float32 operations::

    h[e, n] = (exp(delta[t, e] * A[e, n]) * h[e, n]) + ((delta[t, e] * u[t, e]) * B[t, n])
    y[t, e] = sum over n of (h[e, n] * C[t, n])      # the tree of `azsim.arith.tree_sum`
    y[t, e] = y[t, e] + (D[e] * u[t, e])

Source: Gu and Dao, Mamba, 2023; ``selective_scan_ref`` of state-spaces/mamba.
"""

from __future__ import annotations

import numpy as np

from azsim.arith import exp, tree_sum
from azsim.errors import UnsupportedError
from azsim.ir import Node, TensorType
from azsim.ops._checks import given, is_float32
from azsim.ops._recurrent import add_skip, carried_state, places, scratch, sum_rows
from azsim.ops.linear import Linear
from azsim.ops.lowering import Binary, Lowering, Unary, multiply_add

OP = "SelectiveScan"
INPUTS = (5, 7)
ATTRIBUTES = ()

_U, _DELTA, _A, _B, _C, _D, _STATE = range(7)
_NAMES = ("u", "delta", "A", "B", "C", "D", "state")
_PART_ELEMENTS = 2048
"""State that is worked on at a time, at most: what each of two temporaries holds."""


def infer(
    node: Node, inputs: list[TensorType | None], constants: list[np.ndarray | None]
) -> list[TensorType]:
    """Check every shape against u and A."""
    is_float32(inputs)
    u, a = given(inputs, _U), given(inputs, _A)
    if len(u.shape) != 2 or len(a.shape) != 2:
        raise UnsupportedError(
            f"u has shape {list(u.shape)} and A {list(a.shape)}; "
            "[steps, channels] and [channels, states] are needed"
        )
    (steps, channels), states = u.shape, a.shape[1]
    expected = {
        _DELTA: (steps, channels),
        _A: (channels, states),
        _B: (steps, states),
        _C: (steps, states),
        _D: (channels,),
        _STATE: (channels, states),
    }
    for index, shape in expected.items():
        found = inputs[index] if index < len(inputs) else None
        if found is not None and found.shape != shape:
            raise UnsupportedError(
                f"input {index} ({_NAMES[index]}) has shape {list(found.shape)}, not {list(shape)}"
            )
    return [TensorType("float32", u.shape), TensorType("float32", a.shape)]


def reference(node: Node, inputs: list[np.ndarray], linear: Linear) -> list[np.ndarray]:
    """Run the steps one after the other."""
    u, delta, a, b, c = inputs[:_D]
    d, h = (inputs[index] if index < len(inputs) else None for index in (_D, _STATE))
    h = np.zeros_like(a) if h is None else h
    scaled = delta * u
    y = np.empty_like(u)
    for step in range(len(u)):
        decay = exp(delta[step, :, None] * a)
        h = (decay * h) + (scaled[step, :, None] * b[step])
        y[step] = tree_sum(h * c[step])
    return [y if d is None else y + (d * u), h]


def lower(node: Node, lowering: Lowering) -> None:
    """Loop over parts of the channels, in each over the steps, on whole (channels, N) windows.

    The state is updated in place, so that one part's temporaries are all that comes to it, however
    many channels and steps there are.
    """
    u, delta, a, b, c = (lowering.view(name) for name in node.inputs[:_D])
    (steps, channels), states = u.shape, a.shape[1]
    state = carried_state(node, lowering, _STATE, 1, a.shape)
    y = lowering.new(node.outputs[0], u.shape)
    scaled = scratch(node, lowering, "scaled", u.shape)
    lowering.elementwise(Binary, scaled, delta, u, function="mul")
    most = min(channels, max(1, _PART_ELEMENTS // states))
    decay = scratch(node, lowering, "decay", (most, states))
    term = scratch(node, lowering, "term", (most, states))
    for place in places(lowering, steps, channels, most):
        h, decays, terms = place.of_state(state), place.of_scratch(decay), place.of_scratch(term)
        deltas, products = (place.of_channels(view, states) for view in (delta, scaled))
        lowering.emit(Binary("mul", decays, deltas, place.of_state(a)))
        lowering.emit(Unary("exp", decays, decays))
        lowering.emit(Binary("mul", terms, products, place.of_row(b)))
        lowering.emit(multiply_add(h, decays, h, terms))
        lowering.emit(Binary("mul", terms, h, place.of_row(c)))
        sum_rows(lowering, place.of_channels(y, 1), terms)
    add_skip(node, lowering, _D, u, y)
