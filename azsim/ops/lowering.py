"""Lowering: collects the steps and buffers that the operators of a graph lower to.

An operator's ``lower(node, lowering)`` reads its input tensors as `TensorView`, makes buffers for
what it computes and appends steps.  Views of existing buffers (slices, transposes, reshapes) cost
no step: the operator just names another view.  Steps say *what* happens in which order; which
memory address, which tile, which instruction: that is the compiler's business.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from azsim.errors import UnsupportedError
from azsim.ops.steps import (
    MAX_EXTENT,
    Access,
    Binary,
    Buffer,
    Copy,
    Fill,
    Leave,
    Loop,
    Matmul,
    Product,
    Quantize,
    Step,
    Unary,
    Vector,
    multiply_add,
)

if TYPE_CHECKING:
    from azsim.ir import CompressedGraph, CompressedWeight, Graph

__all__ = [
    "Access",
    "Binary",
    "Buffer",
    "Copy",
    "Fill",
    "Leave",
    "Loop",
    "Lowering",
    "Matmul",
    "Product",
    "Quantize",
    "Step",
    "TensorView",
    "Unary",
    "Vector",
    "chip_dtype",
    "collapse",
    "contiguous_strides",
    "moved",
    "multiply_add",
    "rows_of",
]


@dataclass(frozen=True)
class TensorView:
    """Where a tensor lies: a window of any rank into a buffer, in elements of its type."""

    buffer: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def is_contiguous(self) -> bool:
        """Whether elements follow one another in C order."""
        return collapse(self.shape, (self.strides,))[1][0] in ((), (1,))

    def item(self, axis: int, index: int) -> TensorView:
        """Drop one axis by taking one position of it."""
        return TensorView(
            self.buffer,
            self.offset + index * self.strides[axis],
            self.shape[:axis] + self.shape[axis + 1 :],
            self.strides[:axis] + self.strides[axis + 1 :],
        )


def contiguous_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """C-order strides, in elements."""
    return tuple(int(np.prod(shape[axis + 1 :], dtype=np.int64)) for axis in range(len(shape)))


def collapse(
    shape: tuple[int, ...], strides: tuple[tuple[int, ...], ...]
) -> tuple[tuple[int, ...], tuple[tuple[int, ...], ...]]:
    """Drop axes of length 1 and merge axes that are one axis for every operand."""
    axes = [axis for axis, length in enumerate(shape) if length != 1]
    merged: list[tuple[int, list[int]]] = []
    for axis in axes:
        steps = [operand[axis] for operand in strides]
        if merged and all(
            outer == inner * shape[axis] for outer, inner in zip(merged[-1][1], steps, strict=True)
        ):
            merged[-1] = (merged[-1][0] * shape[axis], steps)
        else:
            merged.append((shape[axis], steps))
    lengths = tuple(length for length, _ in merged)
    return lengths, tuple(
        tuple(steps[operand] for _, steps in merged) for operand in range(len(strides))
    )


_DTYPES = {
    "float32": "f32", "bool": "f32", "int64": "i32", "int32": "i32", "int16": "i16", "int8": "i8"
}  # fmt: skip


def chip_dtype(dtype: str) -> str:
    """Element type in which the chip holds a graph's tensor.

    Integers of 64 bits take 32, and a truth value is 1.0 or 0.0.
    """
    return _DTYPES[dtype]


def _constant(tensor: str, array: np.ndarray) -> np.ndarray:
    """Constant as the chip holds it."""
    if array.dtype == np.int64:
        narrow = array.astype(np.int32)
        if not np.array_equal(narrow, array):
            raise UnsupportedError(f"{tensor}: values beyond int32 as a run-time operand")
        return narrow
    if array.dtype.name not in _DTYPES:
        raise UnsupportedError(
            f"{tensor}: {array.dtype} constant as a run-time operand; "
            "float32, int8, int16, int32, int64 and bool are supported"
        )
    return array.astype(np.float32) if array.dtype == np.bool_ else array


_PART_ELEMENTS = 8192
"""Elements that a round works on where there are too many for one view."""


class Lowering:
    """Collects what the operators of one graph lower to.

    Attributes
    ----------
    compressed : CompressedGraph
    state : mapping of str to str
        Carried tensors, graph input to graph output.
    views : dict of str to TensorView
        Every tensor that exists on the chip, by graph name.
    buffers : dict of str to Buffer
    steps : list of (layer name, Step)
        In program order.
    fused : dict of str to str
        Tensor that exists nowhere, and why.
    """

    def __init__(self, compressed: CompressedGraph, state: Mapping[str, str] | None = None) -> None:
        self.compressed = compressed
        self.state = state or {}
        self.views: dict[str, TensorView] = {}
        self.buffers: dict[str, Buffer] = {}
        self.steps: list[tuple[str, Step]] = []
        self.fused: dict[str, str] = {}
        self.layer = ""
        self._open: list[list[Step]] = []
        self._num_loops = 0
        self._made: dict[tuple[Hashable, ...], TensorView] = {}
        self._codes: dict[tuple[str, ...], tuple[Access, Access]] = {}
        self._numbers: dict[str, TensorView] = {}

    def copy(self) -> Lowering:
        """Another one with the same, so that a pass may add to it."""
        other = copy.copy(self)
        other.views, other.buffers = dict(self.views), dict(self.buffers)
        other.steps, other.fused = list(self.steps), dict(self.fused)
        other._made, other._codes, other._numbers = (
            dict(self._made),
            dict(self._codes),
            dict(self._numbers),
        )
        return other

    # ---- buffers and views

    def buffer(
        self,
        name: str,
        dtype: str,
        num_elements: int,
        *,
        constant: np.ndarray | None = None,
        persistent: bool = False,
    ) -> str:
        """Make a buffer; a number is appended to a name that is taken."""
        unique, number = name, 1
        while unique in self.buffers:
            number += 1
            unique = f"{name}.{number}"
        self.buffers[unique] = Buffer(
            unique, dtype, max(num_elements, 1), constant, persistent or constant is not None
        )
        return unique

    def new(self, tensor: str, shape: tuple[int, ...], dtype: str = "f32") -> TensorView:
        """Make a contiguous buffer for a tensor and name it."""
        name = self.buffer(tensor, dtype, int(np.prod(shape, dtype=np.int64)))
        view = TensorView(name, 0, shape, contiguous_strides(shape))
        self.views[tensor] = view
        return view

    def view(self, tensor: str) -> TensorView:
        """Where a tensor lies; a constant is placed when it is first asked for."""
        if tensor not in self.views:
            array = np.asarray(self.compressed.graph.initializers[tensor], order="C")
            array = _constant(tensor, array)
            dtype = _DTYPES[array.dtype.name]
            name = self.buffer(tensor, dtype, array.size, constant=array)
            self.views[tensor] = TensorView(name, 0, array.shape, contiguous_strides(array.shape))
        return self.views[tensor]

    def dtype(self, view: TensorView) -> str:
        """Type of the elements of a view."""
        return self.buffers[view.buffer].dtype

    def table(self, tensor: str, axis: int = 0) -> Access:
        """Positions along a constant's axis as rows, which stay in DRAM for ``load_gather``."""
        name = f"{tensor}#table{axis or ''}"
        array = _constant(tensor, self.compressed.graph.initializers[tensor])
        length = array.shape[axis]
        if name not in self.buffers:
            rows = np.ascontiguousarray(np.moveaxis(array, axis, 0))
            dtype = _DTYPES[array.dtype.name]
            self.buffers[name] = Buffer(name, dtype, array.size, rows, True, "dram")
        cols = array.size // length
        return Access(name, 0, length, cols, cols, 1)

    def alias(self, tensor: str, view: TensorView) -> None:
        """Name an existing window as a tensor."""
        self.views[tensor] = view

    def weight(self, name: str) -> CompressedWeight:
        """Compressed matrix of an initializer."""
        return self.compressed.weights[name]

    def constant_row(self, name: str, row: np.ndarray) -> Access:
        """Place a constant row of float32."""
        row = np.ascontiguousarray(row, np.float32).reshape(-1)
        buffer = self.buffer(name, "f32", row.size, constant=row)
        return Access(buffer, 0, 1, row.size, row.size, 1)

    def number(self, value: float) -> TensorView:
        """Place a float32 number as a tensor of rank 0; equal ones are one constant."""
        array = np.array(value, np.float32)
        key = repr(float(array))
        if key not in self._numbers:
            buffer = self.buffer(f"#{key}", "f32", 1, constant=array)
            self._numbers[key] = TensorView(buffer, 0, (), ())
        return self._numbers[key]

    def scratch(self, name: str, shape: tuple[int, ...], dtype: str = "f32") -> TensorView:
        """Make a contiguous buffer that no tensor of the graph is named after."""
        buffer = self.buffer(name, dtype, int(np.prod(shape, dtype=np.int64)))
        return TensorView(buffer, 0, shape, contiguous_strides(shape))

    # ---- steps

    def once(self, key: tuple[Hashable, ...], make: Callable[[], TensorView]) -> TensorView:
        """Make something that several nodes use; inside a loop each makes its own."""
        if self._open:
            return make()
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def emit(self, step: Step) -> None:
        """Append a step to the innermost open loop, or to the program."""
        if self._open:
            self._open[-1].append(step)
        else:
            self.steps.append((self.layer, step))

    @contextmanager
    def loop(self, count: int, rounds: float | None = None) -> Iterator[int]:
        """Open a loop; yields the number that `Access.advance` refers to.

        `rounds` is an estimate where a `Leave` may end it.
        """
        self._num_loops += 1
        number = self._num_loops
        self._open.append([])
        yield number
        body = tuple(self._open.pop())
        if body:
            self.emit(Loop(number, count, body, rounds))

    @contextmanager
    def inside(self, graph: Graph) -> Iterator[None]:
        """Lower the nodes of a graph that is an operator's attribute.

        Its tensors have their types meanwhile, and are no tensors of the whole graph afterwards.
        """
        outer, views = self.compressed, self.views
        types = {**outer.graph.types, **graph.types}
        within = replace(graph, initializers=outer.graph.initializers, types=types)
        self.compressed, self.views = replace(outer, graph=within), dict(views)
        yield
        constants = {name: view for name, view in self.views.items() if name in within.initializers}
        self.compressed, self.views = outer, {**views, **constants}

    def elementwise(
        self,
        make: Callable[..., Step],
        dst: TensorView,
        *sources: TensorView,
        function: str | None = None,
    ) -> None:
        """Emit steps over views of one shape and any rank (two axes a step, loops around).

        What no view of the machine could show at once goes through a loop over parts of a few rows,
        or of a row; what is left over comes behind.
        """
        views = (dst, *sources)
        lengths, strides = collapse(dst.shape, tuple(view.strides for view in views))
        lengths = lengths or (1,)
        strides = tuple(steps or (1,) for steps in strides)
        none = ({},) * len(views)
        count, left = divmod(lengths[-1], _PART_ELEMENTS)
        if lengths[-1] <= MAX_EXTENT:
            self._nest(make, views, lengths, strides, function, none)
            return
        outer, size = lengths[:-1], _PART_ELEMENTS
        parts = tuple((*steps[:-1], size * steps[-1], steps[-1]) for steps in strides)
        self._nest(make, views, (*outer, count, size), parts, function, none)
        if left:
            rest = [
                replace(view, offset=view.offset + count * size * steps[-1])
                for view, steps in zip(views, strides, strict=True)
            ]
            self._nest(make, rest, (*outer, left), strides, function, none)

    def _nest(
        self,
        make: Callable[..., Step],
        views: Sequence[TensorView],
        lengths: tuple[int, ...],
        strides: tuple[tuple[int, ...], ...],
        function: str | None,
        advances: tuple[dict[int, int], ...],
    ) -> None:
        if len(lengths) == 2 and lengths[0] > 1 and lengths[0] * lengths[1] > MAX_EXTENT:
            height = max(1, _PART_ELEMENTS // lengths[1])
            count, left = divmod(lengths[0], height)
            parts = tuple((height * steps[0], *steps) for steps in strides)
            self._nest(make, views, (count, height, lengths[1]), parts, function, advances)
            if left:
                rest = [
                    replace(view, offset=view.offset + count * height * steps[0])
                    for view, steps in zip(views, strides, strict=True)
                ]
                self._nest(make, rest, (left, lengths[1]), strides, function, advances)
            return
        if len(lengths) > 2:
            with self.loop(lengths[0]) as number:
                moved = tuple(
                    {**advance, number: steps[0]}
                    for advance, steps in zip(advances, strides, strict=True)
                )
                rest = tuple(steps[1:] for steps in strides)
                self._nest(make, views, lengths[1:], rest, function, moved)
            return
        rows, cols = (1, *lengths)[-2:]
        accesses = [
            Access(view.buffer, view.offset, rows, cols, (0, *steps)[-2] or 0, steps[-1], advance)
            for view, steps, advance in zip(views, strides, advances, strict=True)
        ]
        self.emit(make(function, *accesses) if function else make(*accesses))

    def quantized(
        self, source: Access, weight: CompressedWeight, name: str, per_row: bool
    ) -> tuple[Access, Access]:
        """Quantize a window for one weight; the same window is quantized once.

        Returns the codes (same shape as the source, contiguous) and the scales (one row, or one
        a row of the source).
        """
        key = (
            repr(source),
            str(weight.activation_bits),
            repr(weight.activation_scale),
            str(per_row),
        )
        if not self._open and key in self._codes:
            return self._codes[key]
        codes = self.codes_buffer(name, weight, source.rows * source.cols)
        dst = Access(codes, 0, source.rows, source.cols, source.cols, 1)
        scale = self.scales(name, weight, source.rows if per_row else 1)
        self.emit(Quantize(dst, source, scale, weight.activation_scale is not None))
        if not self._open:
            self._codes[key] = (dst, scale)
        return dst, scale

    def codes_buffer(self, name: str, weight: CompressedWeight, num_elements: int) -> str:
        """Make a buffer for activation codes of the width that a weight asks for."""
        return self.buffer(f"{name}#codes", f"i{weight.activation_bits}", num_elements)

    def scales(self, name: str, weight: CompressedWeight, rows: int) -> Access:
        """Make the scales that go with activation codes: a constant one if static."""
        if weight.activation_scale is None:
            return Access(self.buffer(f"{name}#scale", "f32", rows), 0, rows, 1, 1, 1)
        constant = np.array([weight.activation_scale], np.float32)
        buffer = self.buffer(f"{name}#scale", "f32", 1, constant=constant)
        return Access(buffer, 0, rows, 1, 0, 1)


def rows_of(view: TensorView) -> Access | None:
    """Window with the last axis as columns and all others as rows; None if strides do not allow."""
    shape = view.shape or (1,)
    strides = view.strides or (1,)
    lengths, (steps,) = collapse(shape[:-1], (strides[:-1],))
    if len(lengths) > 1:
        return None
    (length,), (step,) = lengths or (1,), steps or (0,)
    return Access(view.buffer, view.offset, length, shape[-1], step, strides[-1])


def moved(access: Access, **changes: Any) -> Access:
    """Copy of an access with other fields."""
    return replace(access, **changes)
