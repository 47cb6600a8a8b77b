"""RingWindow: where a chunk of tokens goes in a ring of past ones, and which of them it attends to.

Not one of ONNX's.  Inputs are the number of the chunk's first token and its place in the ring, both
float32 of one element and carried: exact below 2**24.  Attributes: `rows`, the tokens of a chunk;
`length`, those of the ring; `window`, how many each token attends to, itself and those before it.

Outputs:

- mask (rows, length): 0 where a token attends to what is at a place of the ring, -1e30 elsewhere;
- the tokens' numbers (rows), int64;
- the first one's place (1), int64;
- number and place of the next chunk's first token, for it to be carried;
- ages (rows, length), int64: what the mask is made of, at most ``window - 1``.

A place's *age*, seen from a token, is how many tokens ago it was written, round the ring.  A token
attends to ages below `window`, and not before the first token of all.  With the whole chunk in the
ring, the tokens behind it have ages from ``length - rows + 1`` on: the ring has to hold ``window +
rows - 1`` tokens.
"""

from __future__ import annotations

import numpy as np

from azsim.errors import UnsupportedError
from azsim.ir import Node, TensorType
from azsim.ops._checks import given, is_float32
from azsim.ops._ring import count_from, repeated, to_integers, wrapped, wrapped_places
from azsim.ops.linear import Linear
from azsim.ops.lowering import Access, Binary, Lowering, TensorView, Vector

OP = "RingWindow"
INPUTS = (2, 2)
ATTRIBUTES = ("length", "rows", "window")
TYPES = ("int64",)

_MASKED = np.float32(-1e30)


def _sizes(node: Node) -> tuple[int, int, int]:
    """Rows, length and window."""
    found = [node.attributes.get(name, 1) for name in ("rows", "length", "window")]
    rows, length, window = (number if isinstance(number, int) else 0 for number in found)
    return rows, length, window


def infer(
    node: Node, inputs: list[TensorType | None], constants: list[np.ndarray | None]
) -> list[TensorType]:
    """Check that the ring is long enough."""
    is_float32(inputs)
    for index in range(2):
        if given(inputs, index).num_elements != 1:
            raise UnsupportedError(f"input {index} is {inputs[index]}; one number is needed")
    rows, length, window = _sizes(node)
    if min(rows, length, window) < 1 or length < window + rows - 1:
        raise UnsupportedError(
            f"a window of {window} and chunks of {rows} need a ring of at least "
            f"{window + rows - 1} places, found {length}"
        )
    return [
        TensorType("float32", (rows, length)),
        TensorType("int64", (rows,)),
        TensorType("int64", (1,)),
        TensorType("float32", (1,)),
        TensorType("float32", (1,)),
        TensorType("int64", (rows, length)),
    ]


def reference(node: Node, inputs: list[np.ndarray], linear: Linear) -> list[np.ndarray]:
    """Count; each number is a whole one."""
    rows, length, window = _sizes(node)
    position, place = (array.reshape(()) for array in inputs)
    steps = np.arange(rows + 1, dtype=position.dtype)
    numbers = position + steps
    places = wrapped_places(place + steps, length)
    age = places[:rows, None] - np.arange(length, dtype=position.dtype)
    age = np.where(age < 0, age + position.dtype.type(length), age)
    oldest = np.minimum(numbers[:rows], position.dtype.type(window - 1))
    mask = np.where(age <= oldest[:, None], np.float32(0), _MASKED)
    return [
        mask,
        numbers[:rows].astype(np.int64),
        places[:1].astype(np.int64),
        numbers[rows:],
        places[rows:],
        np.minimum(age, window - 1).astype(np.int64),
    ]


def lower(node: Node, lowering: Lowering) -> None:
    """Few instructions, of which six see the whole mask."""
    rows, length, _ = _sizes(node)
    names: dict[str, str] = dict(
        zip(("mask", "ids", "first", "position", "place", "ages"), node.outputs, strict=False)
    )
    numbers = count_from(lowering, lowering.view(node.inputs[0]), rows + 1, f"{node.name}#number")
    places = count_from(lowering, lowering.view(node.inputs[1]), rows + 1, f"{node.name}#place")
    wrapped(lowering, places, length, node.name)
    for kind, row, count in (("ids", numbers, rows), ("first", places, 1)):
        if name := names.get(kind):
            to_integers(lowering, row, count, lowering.new(name, (count,), "i32"))
    for kind, row in (("position", numbers), ("place", places)):
        if name := names.get(kind):
            lowering.alias(name, TensorView(row.buffer, rows, (1,), (1,)))
    ages = lowering.new(name, (rows, length), "i32") if (name := names.get("ages")) else None
    mask = names.get("mask") or (f"{node.name}#mask" if ages else "")
    if mask:
        _mask(node, lowering, numbers, places, lowering.new(mask, (rows, length)), ages)


def _mask(
    node: Node,
    lowering: Lowering,
    numbers: Access,
    places: Access,
    mask: TensorView,
    ages: TensorView | None,
) -> None:
    """Ages in the mask's own place, and what becomes of them."""
    rows, length, window = _sizes(node)
    age = Access(mask.buffer, 0, rows, length, length, 1)
    every = lowering.constant_row(f"{node.name}#places", np.arange(length))
    scratch = [lowering.scratch(f"{node.name}#{kind}", mask.shape) for kind in ("is", "older")]
    holds, older = (Access(view.buffer, 0, rows, length, length, 1) for view in scratch)
    oldest = lowering.scratch(f"{node.name}#oldest", (1, rows))

    def down(row: Access) -> Access:
        return Access(row.buffer, row.offset, rows, length, 1, 0)

    def emit(mnemonic: str, **operands: Access | str) -> None:
        lowering.emit(Vector(mnemonic, operands))

    lowering.emit(Binary("sub", age, down(places), Access(every.buffer, 0, rows, length, 0, 1)))
    emit("vector_compare", dst=holds, src=age, src2=repeated(lowering, 0, age), comparison="less")
    lowering.emit(Binary("add", older, age, repeated(lowering, length, age)))
    emit("vector_select", dst=age, src=holds, src2=older, other=age)
    if ages is not None:
        most = repeated(lowering, window - 1, age)
        lowering.emit(Binary("min", older, age, most))
        emit("vector_convert", dst=Access(ages.buffer, 0, rows, length, length, 1), src=older)
    row = Access(oldest.buffer, 0, 1, rows, 0, 1)
    numbers = Access(numbers.buffer, 0, 1, rows, 0, 1)
    lowering.emit(Binary("min", row, numbers, repeated(lowering, window - 1, row)))
    emit("vector_compare", dst=holds, src=age, src2=down(row), comparison="less_equal")
    zero, masked = (repeated(lowering, value, age) for value in (0.0, float(_MASKED)))
    emit("vector_select", dst=age, src=holds, src2=zero, other=masked)
