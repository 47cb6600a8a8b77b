"""Attention of queries to keys and values, as ONNX 23 has it: softmax(Q K^T scale + mask) V.

Q, K and V are (B, heads, positions, size), or (B, positions, heads * size) with `q_num_heads` and
`kv_num_heads`; groups of query heads share keys and values.  A mask of float32 is added to scores.
A cache that grows (``past_key``) has no place on a chip: a ring is kept with TensorScatter, and
RingWindow gives the mask.

::

    q      = Q * scale                              # float32; rows become codes, as in MatMul
    k, v   = codes of 8 bits, a scale for each position and head
    scores = q k^T  (+ 0 or -1e30: causal)  (+ mask)
    w      = softmax(scores) * scales of v          # rows become codes
    Y      = w v
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from azsim import arith
from azsim.errors import UnsupportedError
from azsim.ir import Node, TensorType
from azsim.ops._checks import attribute_is, given, is_float32
from azsim.ops._codes import emit_products, multiply, quantize_rows, rows_first
from azsim.ops._rows import whole_rows
from azsim.ops._views import broadcast, permuted, reshaped, transposed
from azsim.ops.linear import Linear, product_bits
from azsim.ops.lowering import Binary, Copy, Lowering, TensorView, Vector

OP = "Attention"
INPUTS = (3, 6)
ATTRIBUTES = (
    "is_causal",
    "kv_num_heads",
    "q_num_heads",
    "qk_matmul_output_mode",
    "scale",
    "softcap",
    "softmax_precision",
)

_MASKED = np.float32(-1e30)


@dataclass(frozen=True)
class _Sizes:
    """Lengths of the axes: of queries, of keys, and how heads are grouped."""

    batch: int
    kv_heads: int
    group: int
    queries: int
    keys: int
    size: int
    value_size: int
    has_heads: bool

    @property
    def heads(self) -> int:
        """Query heads."""
        return self.kv_heads * self.group

    @property
    def scores(self) -> tuple[int, ...]:
        """Shape of the scores."""
        return self.batch, self.kv_heads, self.group, self.queries, self.keys

    def mask_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of a mask with its axis of heads in two."""
        full = (*(1,) * (4 - len(shape)), *shape)
        heads = (1, 1) if full[1] == 1 else (self.kv_heads, self.group)
        return full[0], *heads, *full[2:]


def _sizes(node: Node, shapes: list[tuple[int, ...]]) -> _Sizes:
    """Sort out the axes.

    Raises
    ------
    UnsupportedError
        If shapes and numbers of heads do not fit together.
    """
    listed = ", ".join(str(list(shape)) for shape in shapes)
    if len({len(shape) for shape in shapes}) > 1 or len(shapes[0]) not in (3, 4):
        raise UnsupportedError(f"Q, K and V have shapes {listed}; all need rank 3, or all rank 4")
    names = ("q_num_heads", "kv_num_heads", "kv_num_heads")
    found: list[tuple[int, int, int, int]] = []
    for shape, name in zip(shapes, names, strict=True):
        if len(shape) == 4:
            found.append((shape[0], shape[1], shape[2], shape[3]))
            continue
        heads = node.attributes.get(name, 0)
        if not isinstance(heads, int) or heads < 1 or shape[2] % heads:
            raise UnsupportedError(f"{shape[2]} columns are not {name} ({heads}) heads")
        found.append((shape[0], heads, shape[1], shape[2] // heads))
    (batch, heads, queries, size), keys, values = found
    fits = keys[0] == values[0] == batch and keys[1:3] == values[1:3] and keys[3] == size
    if not fits or heads % keys[1]:
        raise UnsupportedError(
            f"Q, K and V have shapes {listed}: batch, heads, positions or sizes do not fit together"
        )
    group = heads // keys[1]
    return _Sizes(batch, keys[1], group, queries, keys[2], size, values[3], len(shapes[0]) == 4)


def infer(
    node: Node, inputs: list[TensorType | None], constants: list[np.ndarray | None]
) -> list[TensorType]:
    """Check shapes and what is asked for."""
    is_float32(inputs)
    if any(kind is not None for kind in inputs[4:]):
        raise UnsupportedError(
            "a cache that grows (past_key, past_value) is not supported; "
            "TensorScatter keeps one of a fixed length"
        )
    attribute_is(node, "softcap", 0.0, 0)
    attribute_is(node, "qk_matmul_output_mode", 0)
    attribute_is(node, "softmax_precision", 1)
    sizes = _sizes(node, [given(inputs, index).shape for index in range(3)])
    mask = inputs[3] if len(inputs) > 3 else None
    wanted = (sizes.batch, sizes.heads, sizes.queries, sizes.keys)
    if mask is not None and not _fits(mask.shape, wanted):
        raise UnsupportedError(
            f"mask has shape {list(mask.shape)}, which is not broadcast to {list(wanted)}"
        )
    if sizes.has_heads:
        return [TensorType("float32", (*wanted[:3], sizes.value_size))]
    columns = sizes.heads * sizes.value_size
    return [TensorType("float32", (sizes.batch, sizes.queries, columns))]


def _fits(shape: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    try:
        return len(shape) <= 4 and np.broadcast_shapes(shape, wanted) == wanted
    except ValueError:
        return False


def is_product(node: Node, constants: Collection[str]) -> bool:
    """Its left sides' bits are the scheme's to say."""
    return True


def _scale(node: Node, size: int) -> float:
    scale = node.attributes.get("scale", 0)
    return float(np.float32(scale if isinstance(scale, float) and scale else size**-0.5))


def _causal(sizes: _Sizes) -> np.ndarray:
    """0 where a query may look, -1e30 behind it."""
    is_seen = np.arange(sizes.keys) <= np.arange(sizes.queries)[:, None]
    return np.where(is_seen, np.float32(0), _MASKED)


# ----------------------------------------------------------------------------------- reference


def _by_head(array: np.ndarray, heads: int) -> np.ndarray:
    """(B, heads, positions, size)."""
    if array.ndim == 4:
        return array
    batch, positions, columns = array.shape
    return array.reshape(batch, positions, heads, columns // heads).transpose(0, 2, 1, 3)


def _rows(array: np.ndarray) -> np.ndarray:
    return array.reshape(-1, array.shape[-1])


def reference(node: Node, inputs: list[np.ndarray], linear: Linear) -> list[np.ndarray]:
    """Attend, head by head."""
    sizes = _sizes(node, [array.shape for array in inputs[:3]])
    queries = _by_head(inputs[0], sizes.heads)
    keys, values = (_by_head(array, sizes.kv_heads) for array in inputs[1:3])
    scaled = queries * queries.dtype.type(_scale(node, sizes.size))
    scaled = scaled.reshape(*sizes.scores[:4], sizes.size)

    def left(array: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        codes, scales = linear.quantize_left(node.name, _rows(array))
        return codes.reshape(array.shape), scales.reshape(array.shape[:-1])

    def right(array: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        codes, scales = linear.quantize_right(_rows(array))
        return codes.reshape(array.shape)[:, :, None], scales.reshape(array.shape[:-1])[:, :, None]

    scores = multiply(linear, node.name, left(scaled), right(keys))
    if node.attributes.get("is_causal", 0):
        scores = scores + _causal(sizes)
    if len(inputs) > 3 and inputs[3] is not None:
        scores = scores + inputs[3].reshape(sizes.mask_shape(inputs[3].shape))
    weights = arith.softmax(_rows(scores)).reshape(scores.shape)
    codes, value_scales = right(values)
    other = rows_first(codes)
    ones = np.ones(other.shape[:-1], value_scales.dtype)
    sums = multiply(linear, node.name, left(weights * value_scales[..., None, :]), (other, ones))
    by_head = sums.reshape(sizes.batch, sizes.heads, sizes.queries, sizes.value_size)
    if sizes.has_heads:
        return [by_head]
    return [by_head.transpose(0, 2, 1, 3).reshape(sizes.batch, sizes.queries, -1)]


# ---------------------------------------------------------------------------------------- steps


def lower(node: Node, lowering: Lowering) -> None:
    """Two products for each head of keys and values, and what lies between them."""
    views = [lowering.view(name) for name in node.inputs[:3]]
    sizes = _sizes(node, [view.shape for view in views])
    bits = product_bits(lowering.compressed.products, node.name)
    queries = _view_by_head(node, lowering, views[0], sizes.heads)
    keys, values = (_view_by_head(node, lowering, view, sizes.kv_heads) for view in views[1:])
    scaled = lowering.scratch(f"{node.name}#scaled", queries.shape)
    factor = broadcast(lowering.number(_scale(node, sizes.size)), queries.shape)
    lowering.elementwise(Binary, scaled, queries, factor, function="mul")
    grouped = _grouped(scaled, (*sizes.scores[:4], sizes.size))
    left = quantize_rows(lowering, grouped, bits, f"{node.name}#queries")
    codes, scales = quantize_rows(lowering, keys, 8, f"{node.name}#keys")
    scores = lowering.scratch(f"{node.name}#scores", sizes.scores)
    emit_products(lowering, scores, left, (_shared(codes, 2), _shared(scales, 2)), bits)
    _add_masks(node, lowering, sizes, scores)
    rows = whole_rows(scores, sizes.keys)
    lowering.emit(Vector("vector_softmax", {"dst": rows, "src": rows}))
    codes, scales = quantize_rows(lowering, values, 8, f"{node.name}#values")
    by_place = broadcast(_shared(_shared(scales, 2), 2), sizes.scores)
    lowering.elementwise(Binary, scores, scores, by_place, function="mul")
    weights = quantize_rows(lowering, scores, bits, f"{node.name}#weights")
    one = broadcast(lowering.number(1.0), (*sizes.scores[:2], 1, sizes.value_size))
    target = _target(node, lowering, sizes)
    emit_products(lowering, target, weights, (transposed(_shared(codes, 2)), one), bits)


def _view_by_head(node: Node, lowering: Lowering, view: TensorView, heads: int) -> TensorView:
    """(B, heads, positions, size)."""
    if len(view.shape) == 4:
        return view
    batch, positions, columns = view.shape
    split = reshaped(view, (batch, positions, heads, columns // heads))
    if split is None:
        dense = lowering.scratch(f"{node.name}#dense", view.shape)
        lowering.elementwise(Copy, dense, view)
        split = reshaped(dense, (batch, positions, heads, columns // heads))
        assert split is not None
    return permuted(split, (0, 2, 1, 3))


def _grouped(view: TensorView, shape: tuple[int, ...]) -> TensorView:
    """See a contiguous tensor under another shape."""
    found = reshaped(view, shape)
    assert found is not None
    return found


def _shared(view: TensorView, axis: int) -> TensorView:
    """Put an axis of length 1 in, for what all of a group use."""
    shape = (*view.shape[:axis], 1, *view.shape[axis:])
    return TensorView(
        view.buffer, view.offset, shape, (*view.strides[:axis], 0, *view.strides[axis:])
    )


def _add_masks(node: Node, lowering: Lowering, sizes: _Sizes, scores: TensorView) -> None:
    if node.attributes.get("is_causal", 0):
        row = lowering.constant_row(f"{node.name}#causal", _causal(sizes))
        shape = (sizes.queries, sizes.keys)
        causal = TensorView(row.buffer, 0, shape, (sizes.keys, 1))
        lowering.elementwise(
            Binary, scores, scores, broadcast(causal, sizes.scores), function="add"
        )
    if len(node.inputs) > 3 and node.inputs[3]:
        view = lowering.view(node.inputs[3])
        full = TensorView(
            view.buffer,
            view.offset,
            (*(1,) * (4 - len(view.shape)), *view.shape),
            (*(0,) * (4 - len(view.shape)), *view.strides),
        )
        split = reshaped(full, sizes.mask_shape(view.shape))
        if split is None:
            dense = lowering.scratch(f"{node.name}#mask", view.shape)
            lowering.elementwise(Copy, dense, view)
            split = _grouped(dense, sizes.mask_shape(view.shape))
        lowering.elementwise(Binary, scores, scores, broadcast(split, sizes.scores), function="add")


def _target(node: Node, lowering: Lowering, sizes: _Sizes) -> TensorView:
    """Where the sums go: (B, kv_heads, group, queries, value_size), in the output's own order."""
    output, parts = node.outputs[0], (sizes.kv_heads, sizes.group)
    if sizes.has_heads:
        shape = (sizes.batch, sizes.heads, sizes.queries, sizes.value_size)
        made = lowering.new(output, shape)
        return _grouped(made, (sizes.batch, *parts, sizes.queries, sizes.value_size))
    columns = math.prod(parts) * sizes.value_size
    made = lowering.new(output, (sizes.batch, sizes.queries, columns))
    split = _grouped(made, (sizes.batch, sizes.queries, *parts, sizes.value_size))
    return permuted(split, (0, 2, 3, 1, 4))
