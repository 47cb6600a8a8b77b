"""LinearAttention: a matrix of state a head, that keys and values write and queries read.

ONNX's operator (opset 27), with a batch of 1.  Inputs, packed: query (1, T, Hq * K), key
(1, T, H * K), value (1, T, H * V), the old state (1, H, K, V), zero if not given, decay as
logarithm (1, T, H) or (1, T, H * K), beta (1, T, H) or (1, T, 1).  Query head j reads the state of
head ``j // (Hq / H)``.  Outputs: (1, T, Hq * V) and the new state.  For each step and head, in this
order of float32 operations::

    S[k, v] = S[k, v] * exp(decay)                        # gated, gated_delta
    w[v] = beta * (value[v] - sum over k of (S[k, v] * key[k]))      # delta, gated_delta
    S[k, v] = S[k, v] + (key[k] * w[v])                   # w is value without delta
    out[v] = sum over k of (S[k, v] * query[k])
    out[v] = out[v] * scale                               # unless it is 1

Sums are the tree of `azsim.arith.tree_sum`.  Mamba-2 (SSD) is the gated rule with query C, key B,
value ``dt * x``, decay ``dt * A`` and scale 1.  `chunk_size` is a hint that changes nothing.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from azsim.arith import exp, tree_sum
from azsim.errors import UnsupportedError
from azsim.ir import Node, TensorType
from azsim.ops._checks import attribute_is, given, is_float32
from azsim.ops._recurrent import Place, carried_state, places, scratch, sum_rows
from azsim.ops._views import part
from azsim.ops.linear import Linear
from azsim.ops.lowering import Access, Binary, Lowering, TensorView, Unary, moved, multiply_add

OP = "LinearAttention"
INPUTS = (3, 6)
ATTRIBUTES = ("chunk_size", "kv_num_heads", "q_num_heads", "scale", "update_rule")

_QUERY, _KEY, _VALUE, _STATE, _DECAY, _BETA = range(6)
_PART_ELEMENTS = 4096
"""State that is worked on at a time, at most."""
_RULES = ("gated_delta", "linear", "gated", "delta")


class _Sizes(NamedTuple):
    """Lengths of the axes: steps, heads of state, query heads for each, keys, values."""

    steps: int
    heads: int
    queries: int
    keys: int
    values: int


def _sizes(node: Node, query: tuple[int, ...], value: tuple[int, ...]) -> _Sizes:
    query_heads, heads = (node.attributes.get(f"{kind}_num_heads") for kind in ("q", "kv"))
    if not (isinstance(query_heads, int) and isinstance(heads, int) and 0 < heads <= query_heads):
        raise UnsupportedError(
            f"q_num_heads is {query_heads} and kv_num_heads {heads}; "
            "both are needed, the first a multiple of the second"
        )
    if query_heads % heads or query[2] % query_heads or value[2] % heads:
        raise UnsupportedError(
            f"{query_heads} query heads and {heads} key heads do not divide one another, the "
            f"query's {query[2]} columns and the value's {value[2]}"
        )
    steps, queries = query[1], query_heads // heads
    return _Sizes(steps, heads, queries, query[2] // query_heads, value[2] // heads)


def _scale(node: Node, keys: int) -> np.float32:
    given_scale = node.attributes.get("scale", 0.0)
    assert isinstance(given_scale, int | float)
    return np.float32(given_scale or 1 / math.sqrt(keys))


def infer(
    node: Node, inputs: list[TensorType | None], constants: list[np.ndarray | None]
) -> list[TensorType]:
    """Check the rule, which inputs it takes, and every shape."""
    is_float32(inputs)
    attribute_is(node, "update_rule", *_RULES)
    rule = str(node.attributes.get("update_rule", _RULES[0]))
    inputs = [*inputs, *[None] * (6 - len(inputs))]
    for index, name, is_wanted in ((_DECAY, "decay", "gated"), (_BETA, "beta", "delta")):
        if (inputs[index] is not None) != (is_wanted in rule):
            verb = "needs" if is_wanted in rule else "takes no"
            raise UnsupportedError(f"update_rule {rule} {verb} input {index} ({name})")
    query, value = given(inputs, _QUERY).shape, given(inputs, _VALUE).shape
    if len(query) != 3 or len(value) != 3 or query[0] != 1:
        raise UnsupportedError(
            f"query has shape {list(query)} and value {list(value)}; "
            "[1, steps, heads x size] (a batch of 1) is needed"
        )
    sizes = _sizes(node, query, value)
    steps, heads, keys = sizes.steps, sizes.heads, sizes.keys
    allowed = {
        _KEY: ((1, steps, heads * keys),),
        _VALUE: ((1, steps, heads * sizes.values),),
        _STATE: ((1, heads, keys, sizes.values),),
        _DECAY: ((1, steps, heads), (1, steps, heads * keys)),
        _BETA: ((1, steps, heads), (1, steps, 1)),
    }
    for index, shapes in allowed.items():
        found = inputs[index]
        if found is not None and found.shape not in shapes:
            listed = " or ".join(str(list(shape)) for shape in shapes)
            raise UnsupportedError(f"input {index} has shape {list(found.shape)}, not {listed}")
    output = 1, steps, heads * sizes.queries * sizes.values
    return [TensorType("float32", output), TensorType("float32", allowed[_STATE][0])]


def reference(node: Node, inputs: list[np.ndarray], linear: Linear) -> list[np.ndarray]:
    """Run the steps one after the other, all heads at once."""
    query, key, value, state, decay, beta = (*inputs, *(None,) * (6 - len(inputs)))
    assert query is not None
    assert key is not None
    assert value is not None
    steps, heads, queries, keys, values = _sizes(node, query.shape, value.shape)
    q = query.reshape(steps, heads * queries, keys)
    k, v = key.reshape(steps, heads, keys), value.reshape(steps, heads, values)
    s = np.zeros((heads, keys, values), query.dtype) if state is None else state[0]
    out = np.empty((steps, heads * queries, values), query.dtype)
    factors = None if decay is None else exp(decay).reshape(steps, heads, -1, 1)
    for step in range(steps):
        if factors is not None:
            s = s * factors[step]
        written = v[step]
        if beta is not None:
            written = beta[0, step, :, None] * (written - _read(s, k[step]))
        s = s + (k[step][:, :, None] * written[:, None])
        out[step] = _read(np.repeat(s, queries, axis=0), q[step])
    if (scale := _scale(node, keys)) != 1:
        out = out * scale
    return [out.reshape(1, steps, -1), s[None]]


def _read(state: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Sum over k of ``state[h, k, v] * rows[h, k]``: (H, V)."""
    heads, keys, values = state.shape
    terms = (state * rows[:, :, None]).transpose(0, 2, 1)
    return tree_sum(terms.reshape(heads * values, keys)).reshape(heads, values)


def lower(node: Node, lowering: Lowering) -> None:
    """Loop over the heads, in each over the steps, on (K, V) windows or parts of all keys.

    The state is updated in place; one more matrix of a part is all that comes to it.
    """
    names = (*node.inputs, *[""] * (6 - len(node.inputs)))
    query, key, value = (lowering.view(name) for name in names[:_STATE])
    steps, heads, queries, keys, values = _sizes(node, query.shape, value.shape)
    state = carried_state(node, lowering, _STATE, 1, (1, heads, keys, values))
    output = lowering.new(node.outputs[0], (1, steps, heads * queries * values))
    most = min(values, max(1, _PART_ELEMENTS // keys))
    term = scratch(node, lowering, "term", (keys, most))
    factors = _factors(node, lowering, names[_DECAY])
    beta = lowering.view(names[_BETA]) if names[_BETA] else None
    written = scratch(node, lowering, "written", (1, most))
    for place in places(lowering, steps, heads, 1):
        for first in range(0, values, most):
            count = min(most, values - first)
            shape = keys, count
            s = place.window(part(state, 3, first, count), shape, (values, 1), keys * values)
            terms = place.window(term, shape, (most, 1))
            turned = place.window(term, (count, keys), (1, most))
            factor = None
            if factors is not None:
                is_of_keys = factors.shape[2] == heads * keys
                factor = (_of_keys if is_of_keys else _of_head)(place, factors, shape)
            if factor is not None and beta is not None:
                lowering.emit(Binary("mul", s, s, factor))
            key_rows = _of_keys(place, key, shape)
            step, each = value.strides[1:]
            of_part = part(value, 2, first, count)
            row = place.window(of_part, (1, count), (0, each), values * each, step)
            if beta is not None:
                corrected = place.window(written, (1, count), (0, 1))
                lowering.emit(Binary("mul", terms, s, key_rows))
                sum_rows(lowering, place.window(written, (count, 1), (1, 1)), turned)
                lowering.emit(Binary("sub", corrected, row, corrected))
                factor = _of_head(place, beta, corrected.shape)
                lowering.emit(Binary("mul", corrected, factor, corrected))
                row = corrected
            added = key_rows, moved(row, rows=keys)
            if factor is not None and beta is None:
                lowering.emit(Binary("mul", terms, *added))
                lowering.emit(multiply_add(s, s, factor, terms))
            else:
                lowering.emit(multiply_add(s, *added, s))
            for number in range(queries):
                asked = part(query, 2, number * keys, keys)
                lowering.emit(Binary("mul", terms, s, _of_keys(place, asked, shape, queries)))
                of_query = part(output, 2, number * values + first, count)
                moves = queries * values, heads * queries * values
                sum_rows(lowering, place.window(of_query, (count, 1), (1, 1), *moves), turned)
    if (scale := _scale(node, keys)) != 1:
        constant = lowering.constant_row(f"{node.name}#scale", np.array([scale]))
        everywhere = TensorView(constant.buffer, 0, output.shape, (0, 0, 0))
        lowering.elementwise(Binary, output, output, everywhere, function="mul")


def _factors(node: Node, lowering: Lowering, decay: str) -> TensorView | None:
    """Exp of the decays of all steps and heads."""
    if not decay:
        return None
    view = lowering.view(decay)
    factors = scratch(node, lowering, "factors", view.shape)
    lowering.elementwise(Unary, factors, view, function="exp")
    return factors


def _of_keys(place: Place, view: TensorView, shape: tuple[int, int], many: int = 1) -> Access:
    """Numbers of the step and the head, one a key, for every value; `many` heads share a state."""
    step, each = view.strides[1:]
    return place.window(view, shape, (each, 0), many * shape[0] * each, step)


def _of_head(place: Place, view: TensorView, shape: tuple[int, int]) -> Access:
    """One number of the step and the head (or of all heads) for everything."""
    step, each = view.strides[1:]
    return place.window(view, shape, (0, 0), each if view.shape[2] > 1 else 0, step)
