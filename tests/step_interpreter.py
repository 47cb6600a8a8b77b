"""The steps of a lowering, run one by one in numpy with the plain definitions of `azsim.arith`.

Buffers start as NaN, or as a code that no quantizer makes: what reads a place that nothing has
written shows.  An access outside its buffer is an error (numpy checks it).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from azsim import arith
from azsim.ops.lowering import (
    Access,
    Binary,
    Copy,
    Fill,
    Leave,
    Loop,
    Lowering,
    Matmul,
    Product,
    Quantize,
    Step,
    TensorView,
    Unary,
    Vector,
)
from azsim.ops.steps import windows
from vector_definitions import vector_results

UNWRITTEN_CODE = 1 << 20


class StepInterpreter:
    """Runs a lowering on the contents of its buffers."""

    def __init__(self, lowering: Lowering) -> None:
        self._lowering = lowering
        self._weights = lowering.compressed.weights
        self._buffers: dict[str, np.ndarray] = {}
        for buffer in lowering.buffers.values():
            if buffer.constant is not None:
                array = np.array(buffer.constant).reshape(-1)
            elif buffer.dtype == "f32":
                array = np.full(buffer.num_elements, np.nan, np.float32)
            else:
                array = np.full(buffer.num_elements, UNWRITTEN_CODE, np.int32)
            self._buffers[buffer.name] = array

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run once; returns every tensor that has a place on the chip."""
        for name, array in inputs.items():
            view = self._lowering.views[name]
            buffer = self._buffers[view.buffer]
            buffer[view.offset : view.offset + array.size] = array.reshape(-1)
        with np.errstate(all="ignore"):
            for _, step in self._lowering.steps:
                self._step(step, {})
        return {name: self._tensor(view) for name, view in self._lowering.views.items()}

    def _tensor(self, view: TensorView) -> np.ndarray:
        array = self._buffers[view.buffer]
        strides = tuple(stride * array.itemsize for stride in view.strides)
        offset = view.offset * array.itemsize
        return np.ndarray(view.shape, array.dtype, array, offset, strides).copy()

    def _window(self, access: Access, turns: Mapping[int, int]) -> np.ndarray:
        array = self._buffers[access.buffer]
        offset = access.offset + sum(
            turns[number] * elements for number, elements in access.advance.items()
        )
        assert access.rows >= 1
        assert access.cols >= 1
        strides = (access.row_stride * array.itemsize, access.col_stride * array.itemsize)
        return np.ndarray(access.shape, array.dtype, array, offset * array.itemsize, strides)

    def _step(self, step: Step, turns: dict[int, int]) -> None:
        if isinstance(step, Loop):
            for turn in range(step.count):
                for inner in step.body:
                    self._step(inner, {**turns, step.number: turn})
            return
        if isinstance(step, Vector):
            self._vector(step, turns)
            return
        assert not isinstance(step, Leave), "a loop that data ends is the decoding tests' business"
        target = self._window(step.dst, turns)
        if isinstance(step, Copy):
            target[:] = self._window(step.src, turns)
        elif isinstance(step, Fill):
            target[:] = step.value
        elif isinstance(step, Unary):
            target[:] = arith.UNARY_FUNCTIONS[step.function](self._window(step.src, turns).copy())
        elif isinstance(step, Binary):
            left, right = self._window(step.left, turns), self._window(step.right, turns)
            target[:] = arith.BINARY_FUNCTIONS[step.function](left.copy(), right.copy())
        elif isinstance(step, Quantize):
            self._quantize(step, target, turns)
        elif isinstance(step, Product):
            self._product(step, target, turns)
        else:
            self._matmul(step, target, turns)

    def _vector(self, step: Vector, turns: dict[int, int]) -> None:
        views = {name: self._window(access, turns) for name, access in windows(step).items()}
        sources = {name: array.copy() for name, array in views.items()}
        for name, result in vector_results(step.mnemonic, {**step.operands, **sources}).items():
            assert result.shape == views[name].shape
            assert result.dtype == views[name].dtype
            views[name][:] = result

    def _product(self, step: Product, target: np.ndarray, turns: dict[int, int]) -> None:
        codes, other = self._window(step.codes, turns), self._window(step.other, turns)
        assert max(np.abs(codes).max(), np.abs(other).max()) < UNWRITTEN_CODE
        scales = np.broadcast_to(self._window(step.scale, turns)[:, 0], len(codes))
        acc = arith.multiply_codes(codes, other)
        target[:] = arith.drain(acc, scales, self._window(step.other_scale, turns)[0])

    def _quantize(self, step: Quantize, target: np.ndarray, turns: dict[int, int]) -> None:
        source, scale = self._window(step.src, turns), self._window(step.scale, turns)
        dtype = self._lowering.buffers[step.dst.buffer].dtype
        bits = {"i8": 8, "i16": 16}[dtype]
        items = source if len(scale) == len(source) else source.reshape(1, -1)
        assert len(scale) == len(items)
        static = float(scale[0, 0]) if step.static else None
        codes, scales = arith.quantize_rows(items, bits, static)
        target[:] = codes.reshape(target.shape)
        if not step.static:
            scale[:, 0] = scales

    def _matmul(self, step: Matmul, target: np.ndarray, turns: dict[int, int]) -> None:
        weight = self._weights[step.weight]
        codes, scale = self._window(step.codes, turns), self._window(step.scale, turns)
        dtype = self._lowering.buffers[step.codes.buffer].dtype
        assert dtype == f"i{weight.activation_bits}"
        assert np.abs(codes).max() <= arith.code_limit(weight.activation_bits)
        row_scales = np.broadcast_to(scale[:, 0], len(codes))
        # Terms drain one after the other: with several, the sum before them has to be none.
        assert not step.accumulate or len(weight.segments) == 2
        total = target.copy() if step.accumulate else None
        for index, first in enumerate(weight.segments[:-1]):
            columns = slice(first, weight.segments[index + 1])
            acc = arith.multiply_codes(codes[:, columns], weight.codes[:, columns])
            term = arith.drain(acc, row_scales, weight.scales[index])
            total = term if total is None else total + term
        assert total is not None
        if step.bias is not None:
            total = total + self._window(step.bias, turns)
        target[:] = arith.relu(total) if step.function == "relu" else total
