"""Products of computed tensors: rows to codes, and codes times codes.

`azsim.ops.linear` says what they are; here they are stated for tensors of any rank, as numpy and as
steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from azsim.errors import UnsupportedError
from azsim.ops._views import broadcast
from azsim.ops.linear import Linear, inner_segments
from azsim.ops.lowering import (
    Access,
    Lowering,
    Product,
    Quantize,
    TensorView,
    collapse,
    contiguous_strides,
)

__all__ = ["emit_products", "multiply", "product_shape", "quantize_rows", "rows_first"]


def product_shape(left: tuple[int, ...], right: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of the product of (..., M, K) and (..., K, N), as numpy broadcasts the axes in front.

    Raises
    ------
    UnsupportedError
        If there is none.
    """
    listed = f"{list(left)} and {list(right)}"
    if len(left) < 2 or len(right) < 2:
        raise UnsupportedError(
            f"operands have shapes {listed}; both need rank 2 or more where both are computed"
        )
    if left[-1] != right[-2]:
        raise UnsupportedError(f"left side has {left[-1]} columns, right side takes {right[-2]}")
    try:
        batch = np.broadcast_shapes(left[:-2], right[:-2])
    except ValueError:
        raise UnsupportedError(
            f"operands have shapes {listed}; the axes before the last two do not fit together"
        ) from None
    return (*batch, left[-2], right[-1])


def rows_first(array: np.ndarray) -> np.ndarray:
    """Swap the last two axes: the right side's columns as rows."""
    return array.swapaxes(-1, -2)


def multiply(
    linear: Linear,
    node: str,
    left: tuple[np.ndarray, np.ndarray],
    right: tuple[np.ndarray, np.ndarray],
) -> np.ndarray:
    """Multiply codes, matrix by matrix.

    Parameters
    ----------
    linear : Linear
    node : str
        Name of the node that multiplies.
    left : (ndarray of shape (..., M, K), ndarray of shape (..., M))
        Codes and scales.
    right : (ndarray of shape (..., N, K), ndarray of shape (..., N))
        Likewise.

    Returns
    -------
    ndarray of shape (..., M, N)
    """
    (codes, scales), (other, other_scales) = left, right
    batch = np.broadcast_shapes(codes.shape[:-2], other.shape[:-2])
    operands = [
        np.broadcast_to(array, (*batch, *array.shape[len(array.shape) - rank :]))
        for array, rank in ((codes, 2), (scales, 1), (other, 2), (other_scales, 1))
    ]
    products = [
        linear.multiply_computed(node, *(operand[place] for operand in operands))
        for place in np.ndindex(*batch)
    ]
    return np.stack(products).reshape((*batch, codes.shape[-2], other.shape[-2]))


# ---------------------------------------------------------------------------------------- steps


def quantize_rows(
    lowering: Lowering, source: TensorView, bits: int, name: str
) -> tuple[TensorView, TensorView]:
    """Quantize every row along the last axis with its own scale.

    Returns
    -------
    codes : TensorView of the source's shape
        Rows follow each other as those of the source do, so that few steps serve them all.
    scales : TensorView of that shape without the last axis
    """
    *outer, size = source.shape
    order = sorted(range(len(outer)), key=lambda axis: -abs(source.strides[axis]))
    lengths = tuple(outer[axis] for axis in order)
    packed = dict(zip(order, contiguous_strides(lengths), strict=True))
    steps = tuple(packed[axis] for axis in range(len(outer)))
    num_rows = int(np.prod(lengths, dtype=np.int64))
    codes = TensorView(
        lowering.buffer(f"{name}#codes", f"i{bits}", num_rows * size),
        0,
        source.shape,
        (*(step * size for step in steps), 1),
    )
    scales = TensorView(lowering.buffer(f"{name}#scale", "f32", num_rows), 0, tuple(outer), steps)
    views = (source, codes, scales)
    by_row = tuple(tuple(view.strides[axis] for axis in order) for view in views)

    def emit(rows: int, steps: Sequence[int], moves: Sequence[dict[int, int]]) -> None:
        src = _window(source, rows, steps[0], size, source.strides[-1], moves[0])
        dst = _window(codes, rows, steps[1], size, 1, moves[1])
        scale = _window(scales, rows, steps[2], 1, 1, moves[2])
        lowering.emit(Quantize(dst, src, scale, static=False))

    _each(lowering, *collapse(lengths, by_row), emit)
    return codes, scales


def emit_products(
    lowering: Lowering,
    dst: TensorView,
    left: tuple[TensorView, TensorView],
    right: tuple[TensorView, TensorView],
    bits: int,
) -> None:
    """Multiply codes into a float32 tensor; views as the arrays of `multiply`.

    As many rows go through the array at once as meet the same matrix.
    """
    (codes, scales), (other, other_scales) = left, right
    *batch, rows, outputs = dst.shape
    inner = codes.shape[-1]
    codes = broadcast(codes, (*batch, rows, inner))
    scales = broadcast(scales, (*batch, rows))
    other = broadcast(other, (*batch, outputs, inner))
    other_scales = broadcast(other_scales, (*batch, outputs))
    by_row = (
        dst.strides[:-1],
        codes.strides[:-1],
        scales.strides,
        (*other.strides[:-2], 0),
        (*other_scales.strides[:-1], 0),
    )
    lengths, by_row = _longest_shared_last(*collapse((*batch, rows), by_row))

    def emit(rows: int, steps: Sequence[int], moves: Sequence[dict[int, int]]) -> None:
        for first, last in inner_segments(inner, bits):
            columns = last - first
            step, across = codes.strides[-1], other.strides[-1]
            lowering.emit(
                Product(
                    _window(dst, rows, steps[0], outputs, dst.strides[-1], moves[0]),
                    _window(codes, rows, steps[1], columns, step, moves[1], first * step),
                    _window(scales, rows, steps[2], 1, 1, moves[2]),
                    _window(
                        other, outputs, other.strides[-2], columns, across, moves[3], first * across
                    ),
                    _window(other_scales, 1, 0, outputs, other_scales.strides[-1], moves[4]),
                    accumulate=first > 0,
                )
            )

    _each(lowering, lengths, by_row, emit)


def _longest_shared_last(
    lengths: tuple[int, ...], by_row: tuple[tuple[int, ...], ...]
) -> tuple[tuple[int, ...], tuple[tuple[int, ...], ...]]:
    """Put the longest axis along which the other operand stays the same behind all others."""
    shared = [axis for axis in range(len(lengths)) if by_row[3][axis] == 0 and by_row[4][axis] == 0]
    if not shared:  # a row at a time
        return (*lengths, 1), tuple((*steps, 0) for steps in by_row)
    last = max(shared, key=lambda axis: lengths[axis])
    order = [axis for axis in range(len(lengths)) if axis != last] + [last]
    ordered = tuple(tuple(steps[axis] for axis in order) for steps in by_row)
    return tuple(lengths[axis] for axis in order), ordered


def _each(
    lowering: Lowering,
    lengths: tuple[int, ...],
    by_row: Sequence[tuple[int, ...]],
    emit: Callable[[int, Sequence[int], Sequence[dict[int, int]]], None],
) -> None:
    """Emit steps over rows: the last axis in one step, loops around it for those in front.

    `emit` takes the number of rows, each operand's stride from row to row, and how it moves.
    """

    def nest(axis: int, moves: list[dict[int, int]]) -> None:
        if axis >= len(lengths) - 1:
            emit((1, *lengths)[-1], [(0, *steps)[-1] for steps in by_row], moves)
            return
        with lowering.loop(lengths[axis]) as number:
            further = [
                {**move, number: steps[axis]} if steps[axis] else move
                for move, steps in zip(moves, by_row, strict=True)
            ]
            nest(axis + 1, further)

    nest(0, [{} for _ in by_row])


def _window(
    view: TensorView,
    rows: int,
    row_stride: int,
    cols: int,
    col_stride: int,
    advance: dict[int, int],
    skipped: int = 0,
) -> Access:
    return Access(view.buffer, view.offset + skipped, rows, cols, row_stride, col_stride, advance)
