"""Parameters: the float32 constants that live in weight SRAM, gathered into one piece.

Contract: takes lowered steps, gives one array with the scales of every weight and every bias row
that a product adds, each once, and where each begins.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from azsim.compiler.schedule import rows_and_cols
from azsim.errors import CompileError
from azsim.ir import CompressedWeight
from azsim.ops.lowering import Loop, Lowering, Matmul, Step

__all__ = ["PARAMETERS", "Parameters", "has_one_scale", "matmuls", "place_parameters"]

PARAMETERS = "(parameters)"
"""Name of the buffer that holds them."""


@dataclass(frozen=True)
class Parameters:
    """float32 constants that live in weight SRAM: scales and bias rows.

    Attributes
    ----------
    values : ndarray of float32
    offset_of : mapping of str to int
        Element offset by weight name (scales) or bias buffer name.
    scale_count : int
        How many of the values are scales.
    """

    values: np.ndarray
    offset_of: Mapping[str, int]
    scale_count: int


def matmuls(steps: Iterable[Step]) -> Iterator[Matmul]:
    """Every matrix product, also inside loops."""
    for step in steps:
        if isinstance(step, Loop):
            yield from matmuls(step.body)
        elif isinstance(step, Matmul):
            yield step


def place_parameters(lowering: Lowering) -> Parameters:
    """Gather the scales of all weights, then the bias rows."""
    pieces: list[np.ndarray] = []
    offset_of: dict[str, int] = {}
    size = 0
    used = list(matmuls(step for _, step in lowering.steps))

    def place(name: str, values: np.ndarray) -> None:
        nonlocal size
        if name not in offset_of:
            offset_of[name] = size
            pieces.append(np.ascontiguousarray(values, np.float32).reshape(-1))
            size += pieces[-1].size

    for step in used:
        weight = lowering.compressed.weights[step.weight]
        place(step.weight, weight.scales[:1, :1] if has_one_scale(weight) else weight.scales)
    scale_count = size
    for step in used:
        if step.bias is not None:
            constant = lowering.buffers[step.bias.buffer].constant
            if constant is None:
                raise CompileError(f"{step.weight}: the bias is not a constant")
            place(step.bias.buffer, constant)
    if size:  # one window shows them all
        rows, cols = rows_and_cols(size)
        pieces.append(np.zeros(rows * cols - size, np.float32))
    values = np.concatenate(pieces) if pieces else np.zeros(0, np.float32)
    return Parameters(values, offset_of, scale_count)


def has_one_scale(weight: CompressedWeight) -> bool:
    """Whether one scale serves the whole matrix."""
    return weight.scale_kind == "per_tensor"
