"""Pad with a constant on any axes, or by reflection on one axis; amounts are constants."""

from __future__ import annotations

import functools

import numpy as np

from azsim.errors import UnsupportedError
from azsim.ir import Node, TensorType
from azsim.ops._checks import attribute_is, axis_of, given, integers
from azsim.ops._views import alias_or_copy, part
from azsim.ops.linear import Linear
from azsim.ops.lowering import Copy, Fill, Lowering, rows_of

OP = "Pad"
INPUTS = (2, 4)
ATTRIBUTES = ("mode",)

_Amounts = list[tuple[int, int]]


def _amounts(rank: int, pads: tuple[int, ...], axes: tuple[int, ...] | None) -> _Amounts:
    """Positions to add before and after, for every axis."""
    listed = range(rank) if axes is None else [axis_of(axis, rank) for axis in axes]
    if len(pads) != 2 * len(listed):
        raise UnsupportedError(f"{len(pads)} pads for {len(listed)} axes; two an axis are needed")
    amounts = [(0, 0)] * rank
    for index, axis in enumerate(listed):
        amounts[axis] = pads[index], pads[index + len(listed)]
    if min(pads, default=0) < 0:
        raise UnsupportedError(f"pads are {list(pads)}; negative pads are not supported")
    return amounts


def infer(
    node: Node, inputs: list[TensorType | None], constants: list[np.ndarray | None]
) -> list[TensorType]:
    """Resolve the amounts; reflection has to stay inside the axis."""
    attribute_is(node, "mode", "constant", "reflect")
    data = given(inputs, 0)
    pads = integers(inputs, constants, 1)
    assert pads is not None
    amounts = _amounts(len(data.shape), pads, integers(inputs, constants, 3))
    if len(inputs) > 2 and inputs[2] is not None and constants[2] is None:
        raise UnsupportedError("its value is computed at run time; it has to be a constant")
    if node.attributes.get("mode") == "reflect":
        if sum(pair != (0, 0) for pair in amounts) > 1:
            raise UnsupportedError("reflection on more than one axis is not supported")
        for axis, pair in enumerate(amounts):
            if max(pair) >= data.shape[axis] and max(pair) > 0:
                raise UnsupportedError(
                    f"reflection by {max(pair)} does not fit axis {axis} of length "
                    f"{data.shape[axis]}"
                )
    shape = tuple(n + sum(pair) for n, pair in zip(data.shape, amounts, strict=True))
    return [TensorType(data.dtype, shape)]


def _operands(rank: int, arrays: list[np.ndarray | None]) -> tuple[_Amounts, float]:
    pads = arrays[1]
    assert pads is not None
    value, axes = (*arrays[2:], None, None)[:2]
    amounts = _amounts(
        rank,
        tuple(pads.reshape(-1).tolist()),
        None if axes is None else tuple(axes.reshape(-1).tolist()),
    )
    return amounts, 0 if value is None else value.reshape(-1)[0].item()


@functools.lru_cache(64)
def _reflected(length: int, before: int, after: int) -> np.ndarray:
    return np.pad(np.arange(length), (before, after), mode="reflect")


def reference(node: Node, inputs: list[np.ndarray], linear: Linear) -> list[np.ndarray]:
    """Repeat positions in the order of their reflection, or put a constant around."""
    data = inputs[0]
    amounts, value = _operands(data.ndim, list(inputs))
    if node.attributes.get("mode") == "reflect":
        for axis, (before, after) in enumerate(amounts):
            if before or after:
                data = data.take(_reflected(data.shape[axis], before, after), axis)
        return [data]
    return [np.pad(data, amounts, constant_values=value)]


def lower(node: Node, lowering: Lowering) -> None:
    """Copy the middle; fill around it, or copy the reversed neighbours."""
    source = lowering.view(node.inputs[0])
    constants = lowering.compressed.graph.initializers
    arrays = [constants[name] if name else None for name in node.inputs[1:]]
    amounts, value = _operands(len(source.shape), [None, *arrays])
    if not any(map(any, amounts)):
        alias_or_copy(node, lowering, source)
        return
    target = lowering.new(node.outputs[0], lowering.compressed.graph.types[node.outputs[0]].shape)
    middle = target
    for axis, (before, _) in enumerate(amounts):
        middle = part(middle, axis, before, source.shape[axis])
    if node.attributes.get("mode") != "reflect":
        whole = rows_of(target)
        assert whole is not None
        lowering.emit(Fill(whole, value))
        lowering.elementwise(Copy, middle, source)
        return
    lowering.elementwise(Copy, middle, source)
    for axis, (before, after) in enumerate(amounts):
        length = source.shape[axis]
        if before:
            reversed_part = part(source, axis, before, before, -1)
            lowering.elementwise(Copy, part(target, axis, 0, before), reversed_part)
        if after:
            reversed_part = part(source, axis, length - 2, after, -1)
            lowering.elementwise(Copy, part(target, axis, before + length, after), reversed_part)
