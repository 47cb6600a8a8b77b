"""RotaryEmbedding: pairs of elements turned by angles that grow with the position.

As ONNX 23 has it: X is (B, heads, S, size), or (B, S, heads * size) with `num_heads`.  Cosines and
sines are tables (positions, size / 2) of which ``position_ids`` (B, S) name rows, or (B, S, size /
2) without these.  Where the numbers are computed the tables are constants that stay in DRAM: only
the rows that are wanted are fetched, once for all that use them.

::

    real = x1 * cos - x2 * sin  # each step float32
    imag = x1 * sin + x2 * cos

x1 and x2 are the halves of a head, or with `interleaved` its even and odd elements; elements beyond
`rotary_embedding_dim` stay as they are.
"""

from __future__ import annotations

import numpy as np

from azsim.errors import UnsupportedError
from azsim.ir import Node, TensorType
from azsim.ops._checks import given, is_float32
from azsim.ops._gather import gathered, take_rows
from azsim.ops._views import broadcast, part, permuted, reshaped
from azsim.ops.linear import Linear
from azsim.ops.lowering import Binary, Copy, Lowering, TensorView, multiply_add

OP = "RotaryEmbedding"
INPUTS = (3, 4)
ATTRIBUTES = ("interleaved", "num_heads", "rotary_embedding_dim")


def _integer(node: Node, name: str) -> int:
    value = node.attributes.get(name, 0)
    return value if isinstance(value, int) else 0


def _heads_last(node: Node, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Batch, positions, heads and size of a head."""
    if len(shape) == 4:
        batch, heads, positions, size = shape
        return batch, positions, heads, size
    batch, positions, hidden = shape
    heads = _integer(node, "num_heads")
    return batch, positions, heads, hidden // heads


def _turned(node: Node, size: int) -> int:
    """Elements of a head that are turned."""
    return _integer(node, "rotary_embedding_dim") or size


def infer(
    node: Node, inputs: list[TensorType | None], constants: list[np.ndarray | None]
) -> list[TensorType]:
    """Check shapes."""
    is_float32(inputs[:3])
    data = given(inputs, 0)
    heads = _integer(node, "num_heads")
    if len(data.shape) == 3 and (heads < 1 or data.shape[2] % heads):
        raise UnsupportedError(f"{data.shape[2]} columns are not num_heads ({heads}) heads")
    if len(data.shape) not in (3, 4):
        raise UnsupportedError(f"input 0 is {data}; rank 3 or 4 is needed")
    batch, positions, _, size = _heads_last(node, data.shape)
    turned = _turned(node, size)
    if turned % 2 or turned > size:
        raise UnsupportedError(f"{turned} elements of heads of {size} cannot be turned in pairs")
    _check_tables(node, inputs, constants, (batch, positions, turned // 2))
    return [data]


def _check_tables(
    node: Node,
    inputs: list[TensorType | None],
    constants: list[np.ndarray | None],
    wanted: tuple[int, int, int],
) -> None:
    ids = inputs[3] if len(inputs) > 3 else None
    tables = [given(inputs, index) for index in (1, 2)]
    if ids is None:
        if any(table.shape != wanted for table in tables):
            listed = " and ".join(map(str, tables))
            raise UnsupportedError(f"cosines and sines are {listed}; {list(wanted)} is needed")
        return
    if ids.dtype not in ("int32", "int64") or ids.shape != wanted[:2]:
        raise UnsupportedError(
            f"position_ids are {ids}; integers of shape {list(wanted[:2])} are needed"
        )
    for index, table in zip((1, 2), tables, strict=True):
        if len(table.shape) != 2 or table.shape[1] != wanted[2]:
            raise UnsupportedError(f"input {index} is {table}; {wanted[2]} columns are needed")
        if constants[index] is None:
            raise UnsupportedError(
                f"input {index} is computed at run time; a table of which position_ids name rows "
                "has to be a constant"
            )


def reference(node: Node, inputs: list[np.ndarray], linear: Linear) -> list[np.ndarray]:
    """Turn the pairs."""
    data, *tables = inputs[:3]
    if len(inputs) > 3 and inputs[3] is not None:
        tables = [take_rows(node, table, inputs[3]) for table in tables]
    cos, sin = (table[:, :, None, :] for table in tables)
    batch, positions, heads, size = _heads_last(node, data.shape)
    is_split = data.ndim == 4
    x = data.transpose(0, 2, 1, 3) if is_split else data.reshape(batch, positions, heads, size)
    turned = _turned(node, size)
    step = 2 if _integer(node, "interleaved") else 1
    starts = (0, 1) if step == 2 else (0, turned // 2)
    first, second = (x[..., at : at + step * (turned // 2) : step] for at in starts)
    result = x.copy()
    for at, y in zip(
        starts, ((first * cos) - (second * sin), (first * sin) + (second * cos)), strict=True
    ):
        result[..., at : at + step * (turned // 2) : step] = y
    return [result.transpose(0, 2, 1, 3) if is_split else result.reshape(data.shape)]


def lower(node: Node, lowering: Lowering) -> None:
    """Six steps, each over one half of all heads."""
    source = lowering.view(node.inputs[0])
    target = lowering.new(node.outputs[0], source.shape)
    shape = _heads_last(node, source.shape)
    x, y = (_by_position(view, shape) for view in (source, target))
    assert y is not None
    if x is None:
        dense = lowering.scratch(f"{node.name}#dense", source.shape)
        lowering.elementwise(Copy, dense, source)
        x = _by_position(dense, shape)
        assert x is not None
    cos, sin = (_rows(node, lowering, index, shape) for index in (1, 2))
    size, turned = shape[3], _turned(node, shape[3])
    half = turned // 2
    step = 2 if _integer(node, "interleaved") else 1
    starts = (0, 1) if step == 2 else (0, half)
    first, second = (part(x, 3, at, half, step) for at in starts)
    real, imag = (part(y, 3, at, half, step) for at in starts)
    product = lowering.scratch(f"{node.name}#product", real.shape)
    lowering.elementwise(Binary, real, first, cos, function="mul")
    lowering.elementwise(Binary, product, second, sin, function="mul")
    lowering.elementwise(Binary, real, real, product, function="sub")
    lowering.elementwise(Binary, product, second, cos, function="mul")
    lowering.elementwise(multiply_add, imag, first, sin, product)
    if turned < size:
        rest = size - turned
        lowering.elementwise(Copy, part(y, 3, turned, rest), part(x, 3, turned, rest))


def _by_position(view: TensorView, shape: tuple[int, int, int, int]) -> TensorView | None:
    """See a tensor as (batch, positions, heads, size)."""
    if len(view.shape) == 4:
        return permuted(view, (0, 2, 1, 3))
    return reshaped(view, shape)


def _rows(
    node: Node, lowering: Lowering, index: int, shape: tuple[int, int, int, int]
) -> TensorView:
    """Cosines or sines of each position, the same for all heads: (batch, positions, heads, ...)."""
    name = node.inputs[index]
    if len(node.inputs) > 3 and node.inputs[3]:
        rows = gathered(lowering, name, lowering.view(node.inputs[3]), f"{name}#rows")
    else:
        rows = lowering.view(name)
    batch, positions, half = rows.shape
    down, along, across = rows.strides
    single = TensorView(
        rows.buffer, rows.offset, (batch, positions, 1, half), (down, along, 0, across)
    )
    return broadcast(single, (*shape[:3], half))
