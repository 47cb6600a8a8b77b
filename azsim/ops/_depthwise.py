"""Convolution of each channel on its own, on the vector engine.

The MAC array gains nothing here: every weight meets one channel.  Lines are positions, columns are
channels; a tap multiplies a strided choice of lines by its row of weights, and taps are added one
after the other, the newest last, then the bias.
"""

from __future__ import annotations

import numpy as np

from azsim.ops.lowering import Access, Binary, Copy, Lowering, TensorView, Vector, moved

__all__ = ["convolve", "convolve_lines"]


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
    taps, channels = weight.shape[2], lines.shape[1]
    rows = lowering.constant_row(f"{name}#taps", weight[:, 0].T)
    kernel = Access(rows.buffer, 0, taps, channels, channels, 1)
    result = Access(target.buffer, target.offset, target.shape[0], channels, channels, 1)
    whole = Access(lines.buffer, lines.offset, taps, channels, channels, 1)
    if target.shape[0] == 1 and taps > 2:
        sums = _one_position(lowering, name, whole, kernel)
    else:
        window = moved(whole, rows=target.shape[0], row_stride=stride * channels)
        _many_positions(lowering, name, window, kernel, result)
        sums = result
    if bias is not None:
        spread = Access(bias.buffer, bias.offset, target.shape[0], channels, 0, bias.strides[0])
        lowering.emit(Binary("add", result, sums, spread))
    elif sums != result:
        lowering.emit(Copy(result, sums))


def _one_position(lowering: Lowering, name: str, lines: Access, kernel: Access) -> Access:
    """All products in one step; a running sum down the taps adds them in order."""
    buffer = lowering.buffer(f"{name}#terms", "f32", lines.rows * lines.cols)
    terms = moved(lines, buffer=buffer, offset=0)
    lowering.emit(Binary("mul", terms, lines, kernel))
    lowering.emit(Vector("vector_cumulative_sum", {"dst": terms, "src": terms}))
    return moved(terms, rows=1, offset=(lines.rows - 1) * lines.cols)


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
