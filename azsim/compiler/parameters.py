"""Parameters: the float32 constants that live in weight SRAM, gathered into one piece.

Contract: takes lowered steps, gives one array with the scales of weights and the bias rows that
products add, each once, and where each begins.  They take at most half of weight SRAM, and less
where weights have no room beside them but activation SRAM has some to spare: a byte there is worth
nothing, here it lets a byte of a weight stay.  The smallest come first; the others are constants
like any, in activation SRAM or where `azsim.compiler.spill` puts them.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from azsim.compiler.schedule import rows_and_cols
from azsim.compiler.tile import element_width, matmuls, packed_bytes
from azsim.errors import CompileError
from azsim.hardware.description import Hardware
from azsim.ir import CompressedWeight
from azsim.ops.lowering import Lowering
from azsim.ops.steps import ELEMENT_BYTES

__all__ = [
    "PARAMETERS",
    "Parameters",
    "has_one_scale",
    "parameter_room_bytes",
    "place_parameters",
    "scales_of",
]

PARAMETERS = "(parameters)"
"""Name of the buffer that holds them."""
_LOST_BYTES = 256
"""Of weight SRAM for a weight: its tiles begin at whole units."""
_WORTH_MOVING_BYTES = 1024
"""Each array that moves is a transfer of its own at the start."""


@dataclass(frozen=True)
class Parameters:
    """float32 constants that live in weight SRAM: scales and bias rows.

    Attributes
    ----------
    values : ndarray of float32
    offset_of : mapping of str to int
        Element offset by weight name (scales) or bias buffer name, of all that have a place here.
    scale_count : int
        How many of the values are scales.
    """

    values: np.ndarray
    offset_of: Mapping[str, int]
    scale_count: int


def parameter_room_bytes(lowering: Lowering, hardware: Hardware) -> int:
    """Most bytes of weight SRAM that parameters take.

    What activation SRAM surely has to spare is what all of its buffers together leave, as if none
    took another's place.
    """
    most = hardware.weight_sram.bytes // 2
    if hardware.decoder.at == "read":
        return most  # blocks stay, and what they take is known only with their tiles
    weights = {step.weight for step in matmuls(step for _, step in lowering.steps)}
    held = sum(_held_bytes(lowering.compressed.weights[name]) for name in weights)
    scales, biases = _arrays(lowering)
    parameters = 4 * sum(array.size for array in (*scales.values(), *biases.values()))
    short = held + parameters + _LOST_BYTES * len(weights) - hardware.weight_sram.bytes
    taken = sum(
        buffer.num_elements * ELEMENT_BYTES[buffer.dtype]
        for buffer in lowering.buffers.values()
        if buffer.space == "activation" and buffer.name not in biases
    )
    moved = min(short, parameters, hardware.activation_sram.bytes - taken)
    return most if moved < _WORTH_MOVING_BYTES else min(most, parameters - moved)


def _held_bytes(weight: CompressedWeight) -> int:
    """Bytes of a dense matrix in weight SRAM."""
    outputs, inputs = weight.codes.shape
    return packed_bytes(outputs, inputs, element_width(weight.bits))


def _arrays(lowering: Lowering) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Scales by weight name, bias rows by buffer name."""
    scales: dict[str, np.ndarray] = {}
    biases: dict[str, np.ndarray] = {}
    for step in matmuls(step for _, step in lowering.steps):
        scales[step.weight] = scales_of(lowering.compressed.weights[step.weight])
        if step.bias is not None:
            constant = lowering.buffers[step.bias.buffer].constant
            if constant is None:
                raise CompileError(f"{step.weight}: the bias is not a constant")
            biases.setdefault(step.bias.buffer, constant)
    return scales, biases


def place_parameters(lowering: Lowering, room_bytes: int | None = None) -> Parameters:
    """Gather the scales of all weights, then the bias rows.

    Parameters
    ----------
    lowering : Lowering
    room_bytes : int, optional
        Most that they take; no limit unless told.
    """
    scales, biases = _arrays(lowering)
    staying = _smallest({**scales, **biases}, room_bytes)
    pieces: list[np.ndarray] = []
    offset_of: dict[str, int] = {}
    counts = []
    size = 0
    for group in (scales, biases):
        for name, values in group.items():
            if name in staying:
                offset_of[name] = size
                pieces.append(np.ascontiguousarray(values, np.float32).reshape(-1))
                size += pieces[-1].size
        counts.append(size)
    if size:  # one window shows them all
        rows, cols = rows_and_cols(size)
        pieces.append(np.zeros(rows * cols - size, np.float32))
    values = np.concatenate(pieces) if pieces else np.zeros(0, np.float32)
    return Parameters(values, offset_of, counts[0])


def _smallest(arrays: Mapping[str, np.ndarray], room_bytes: int | None) -> set[str]:
    """Names of as many arrays as there is room for."""
    if room_bytes is None:
        return set(arrays)
    ends = itertools.accumulate(sorted(4 * array.size for array in arrays.values()))
    count = sum(end <= room_bytes for end in ends)
    return set(sorted(arrays, key=lambda name: arrays[name].size)[:count])


def scales_of(weight: CompressedWeight) -> np.ndarray:
    """Scales as they are stored, (segments, N) or one."""
    return weight.scales[:1, :1] if has_one_scale(weight) else weight.scales


def has_one_scale(weight: CompressedWeight) -> bool:
    """Whether one scale serves the whole matrix."""
    return weight.scale_kind == "per_tensor"
