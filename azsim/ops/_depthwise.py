"""Convolution of each channel on its own, on the vector engine.

The MAC array gains nothing here: every weight meets one channel.  Lines are positions, columns are
channels; a tap multiplies a strided choice of lines by its row of weights, and taps are added one
after the other, the newest last, then the bias.
"""

from __future__ import annotations

import numpy as np

from azsim.ops.lowering import Access, Binary, Copy, Lowering, TensorView, Vector, moved

__all__ = ["convolve", "convolve_lines"]

_PART_ELEMENTS = 2048
"""Products of one position that are made at a time, at most."""


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
    if target.shape[0] == 1 and weight.shape[2] > 2:
        _one_position(lowering, name, lines, weight, bias, target)
        return
    taps, channels = weight.shape[2], lines.shape[1]
    rows = lowering.constant_row(f"{name}#taps", weight[:, 0].T)
    kernel = Access(rows.buffer, 0, taps, channels, channels, 1)
    result = Access(target.buffer, target.offset, target.shape[0], channels, channels, 1)
    whole = Access(lines.buffer, lines.offset, target.shape[0], channels, stride * channels, 1)
    _many_positions(lowering, name, whole, kernel, result)
    if bias is not None:
        spread = Access(bias.buffer, bias.offset, target.shape[0], channels, 0, bias.strides[0])
        lowering.emit(Binary("add", result, result, spread))


def _one_position(
    lowering: Lowering,
    name: str,
    lines: TensorView,
    weight: np.ndarray,
    bias: TensorView | None,
    target: TensorView,
) -> None:
    """All products of some channels in one step; a running sum down the taps adds them in order."""
    channels, _, taps = weight.shape
    most = min(channels, max(1, _PART_ELEMENTS // taps))
    buffer = lowering.buffer(f"{name}#terms", "f32", taps * most)
    for first in range(0, channels, most):
        count = min(most, channels - first)
        kernel = lowering.constant_row(f"{name}#taps", weight[first : first + count, 0].T)
        terms = Access(buffer, 0, taps, count, count, 1)
        some = Access(lines.buffer, lines.offset + first, taps, count, channels, 1)
        lowering.emit(
            Binary("mul", terms, some, moved(kernel, rows=taps, cols=count, row_stride=count))
        )
        lowering.emit(Vector("vector_cumulative_sum", {"dst": terms, "src": terms}))
        sums = moved(terms, rows=1, offset=(taps - 1) * count)
        result = Access(target.buffer, target.offset + first, 1, count, count, 1)
        if bias is None:
            lowering.emit(Copy(result, sums))
        else:
            place = bias.offset + first * bias.strides[0]
            row = Access(bias.buffer, place, 1, count, 0, bias.strides[0])
            lowering.emit(Binary("add", result, sums, row))


def _many_positions(
    lowering: Lowering, name: str, window: Access, kernel: Access, result: Access
) -> None:
    """A product for each tap, added to the sum of those before it."""
    buffer = lowering.buffer(f"{name}#terms", "f32", window.rows * window.cols)
    terms = moved(result, buffer=buffer, offset=0)
    for tap in range(kernel.rows):
        lines = moved(window, offset=window.offset + tap * window.cols)
        row = moved(kernel, rows=window.rows, row_stride=0, offset=tap * window.cols)
        lowering.emit(Binary("mul", terms if tap else result, lines, row))
        if tap:
            lowering.emit(Binary("add", result, result, terms))
