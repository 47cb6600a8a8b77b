"""Convolution of each channel on its own, on the vector engine.

The MAC array gains nothing here: every weight meets one channel.  Lines are positions, columns are
channels; a tap multiplies a strided choice of lines by its row of weights, and taps are added one
after the other, the newest last, then the bias.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from azsim.ops._views import broadcast
from azsim.ops.lowering import Binary, Lowering, TensorView, multiply_add

__all__ = ["convolve", "convolve_lines", "convolve_rows"]


def convolve(
    lines: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, stride: int = 1
) -> np.ndarray:
    """Weigh and add: the definition.

    Parameters
    ----------
    lines : ndarray of shape (length, channels), float32
    weight : ndarray of shape (channels, 1, taps), float32
    bias : ndarray of shape (channels,), float32, or None
    stride : int

    Returns
    -------
    ndarray of shape (positions, channels), float32
    """
    taps = weight.shape[2]
    last = len(lines) - taps + 1
    with np.errstate(all="ignore"):
        total = lines[:last:stride] * weight[:, 0, 0]
        for tap in range(1, taps):
            total = total + lines[tap : last + tap : stride] * weight[:, 0, tap]
        return total if bias is None else total + bias


def convolve_lines(
    lowering: Lowering,
    name: str,
    lines: TensorView,
    weight: np.ndarray,
    bias: TensorView | None,
    target: TensorView,
    stride: int = 1,
) -> None:
    """Emit the steps of `convolve`; the lines are contiguous, `target` is (positions, channels)."""
    positions, channels = target.shape[0], lines.shape[1]
    whole = replace(lines, shape=(positions, channels), strides=(stride * channels, 1))
    seen = [replace(whole, offset=whole.offset + tap * channels) for tap in range(weight.shape[2])]
    convolve_rows(lowering, name, seen, weight, bias, target)


def convolve_rows(
    lowering: Lowering,
    name: str,
    seen: Sequence[TensorView],
    weight: np.ndarray,
    bias: TensorView | None,
    target: TensorView,
) -> None:
    """Emit the steps of `convolve`; `seen` is what each tap sees, of the shape of `target`."""
    row = lowering.constant_row(f"{name}#taps", weight[:, 0].T)
    channels = target.shape[1]
    for tap, lines in enumerate(seen):
        factors = TensorView(row.buffer, tap * channels, target.shape, (0, 1))
        if tap:
            lowering.elementwise(multiply_add, target, lines, factors, target)
        else:
            lowering.elementwise(Binary, target, lines, factors, function="mul")
    if bias is not None:
        lowering.elementwise(Binary, target, target, broadcast(bias, target.shape), function="add")
