"""Checks that the operators' ``infer`` functions share; each raises with the reason only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from azsim.errors import UnsupportedError
from azsim.ir import Node, TensorType

__all__ = [
    "attribute_is",
    "axis_of",
    "given",
    "integers",
    "is_float32",
    "is_weight",
]


def given(inputs: Sequence[TensorType | None], index: int) -> TensorType:
    """Type of a required input."""
    found = inputs[index]
    assert found is not None  # build_graph has checked the required inputs
    return found


def is_float32(inputs: Sequence[TensorType | None]) -> None:
    """Require that every input that is given holds float32."""
    for index, found in enumerate(inputs):
        if found is not None and found.dtype != "float32":
            raise UnsupportedError(f"input {index} is {found}; only float32 is supported")


def is_weight(constants: Sequence[np.ndarray | None], index: int) -> np.ndarray:
    """Require that an input is a constant matrix of weights, and return it."""
    found = constants[index]
    if found is None:
        raise UnsupportedError(
            f"input {index} is computed at run time; weights have to be constants"
        )
    return found


def integers(
    inputs: Sequence[TensorType | None], constants: Sequence[np.ndarray | None], index: int
) -> tuple[int, ...] | None:
    """Values of a constant input of integers; None if it is not given."""
    if index >= len(inputs) or inputs[index] is None:
        return None
    found = constants[index]
    if found is None:
        raise UnsupportedError(f"input {index} is computed at run time; it has to be a constant")
    if found.dtype.kind not in "iu":
        raise UnsupportedError(f"input {index} is {inputs[index]}; it has to hold integers")
    return tuple(found.reshape(-1).tolist())


def attribute_is(node: Node, name: str, *allowed: object) -> None:
    """Require that an attribute, if given, has one of the allowed values."""
    value = node.attributes.get(name, allowed[0])
    if value not in allowed:
        listed = " or ".join(str(choice) for choice in allowed)
        raise UnsupportedError(f"{name} is {value}; only {listed} is supported")


def axis_of(axis: int, rank: int) -> int:
    """Axis counted from the front."""
    if not -rank <= axis < rank:
        raise UnsupportedError(f"axis {axis} does not exist in a tensor of rank {rank}")
    return axis % rank
