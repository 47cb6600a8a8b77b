"""Fuse: what follows a product element by element is done as its accumulators are drained.

Contract: takes lowered steps, gives fewer that leave the same bits in every buffer that is still
there; a tensor that is nowhere any more is named in `Lowering.fused`.

The drain computes ``function(acc * scale + dst + bias)`` and may write codes.  An addition of a
constant for each output and relu cost it nothing, so they always disappear into the product before
them, and so does a copy of its result, which is drained to where it would be copied.  Sigmoid and
tanh (also one for some outputs and another for the rest, as the gates of a recurrent cell have) and
a quantization with a static scale keep the array waiting: they are fused where the vector engine
has at least half as much to do as the array.  A product scaled by a constant is left as it is:
``(acc * scale) * c`` has other bits than ``acc * (scale * c)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from azsim.arith import DRAIN_FUNCTIONS, TABLE_FUNCTIONS
from azsim.compiler.critical_path import flat_steps, group_cycles, step_elements
from azsim.compiler.tile import element_width
from azsim.compiler.windows import all_windows, elements, inner_steps
from azsim.hardware.description import Hardware
from azsim.machine.engines.mac import peak_macs_per_cycle
from azsim.ops.lowering import (
    Access,
    Binary,
    Copy,
    Leave,
    Loop,
    Lowering,
    Matmul,
    Quantize,
    Step,
    Unary,
)
from azsim.ops.steps import is_region, windows

__all__ = ["array_cycles", "fuse", "vector_cycles"]

_WORTH_SHARE = 0.5
"""From which ratio of vector to array work on the drain takes tables.  Measured with vad_silero, of
which the vector engine has 0.38 times as much to do: on az1, where the array binds, a run gets 0.3
to 0.8 % longer by that; on az2, whose array skips zero activations too, 0.3 % shorter."""


def fuse(lowering: Lowering, hardware: Hardware) -> Lowering:
    """Fuse the steps of a lowering, which is changed and returned."""
    steps = [step for _, step in lowering.steps]
    share = vector_cycles(steps, hardware) / max(1.0, array_cycles(steps, lowering, hardware))
    _Fuser(lowering, with_tables=share >= _WORTH_SHARE).run()
    return lowering


def vector_cycles(steps: Sequence[Step], hardware: Hardware) -> float:
    """Cycles that the vector engine needs for steps, pipelines always full."""
    total = 0.0
    for step, times in flat_steps(steps, 1):
        search = isinstance(step, Quantize) and not step.static
        each = group_cycles(step, hardware) + search
        total += times * step_elements(step) / hardware.vector.lanes * each
    return total


def array_cycles(steps: Sequence[Step], lowering: Lowering, hardware: Hardware) -> float:
    """Cycles that the array needs for steps at its peak, without products of weights that it skips.

    Activations count as not zero.
    """
    mac, total = hardware.mac, 0.0
    for step, times in flat_steps(steps, 1):
        if isinstance(step, Matmul):
            weight = lowering.compressed.weights[step.weight]
            codes = weight.codes
            skips = mac.zero_skip in ("weights", "both")
            products = step.dst.rows * (np.count_nonzero(codes) if skips else codes.size)
            peak = peak_macs_per_cycle(mac, element_width(weight.bits), weight.activation_bits)
            drained = step.dst.rows * step.dst.cols / mac.drain_lanes
            total += times * (products / peak + drained)
    return total


class _Fuser:
    def __init__(self, lowering: Lowering, *, with_tables: bool) -> None:
        self._lowering = lowering
        self._with_tables = with_tables
        graph = lowering.compressed.graph
        self._kept = {lowering.views[name].buffer for name in (*graph.outputs, *graph.inputs)}
        self._times: dict[str, int] = {}
        for step in inner_steps(step for _, step in lowering.steps):
            for buffer in {access.buffer for access in windows(step).values()}:
                self._times[buffer] = self._times.get(buffer, 0) + 1

    def run(self) -> None:
        """Fuse the program and the bodies of its loops, then forget what nothing touches."""
        lowering = self._lowering
        lowering.steps[:] = self._body(lowering.steps)
        touched = {
            access.buffer
            for step in inner_steps(step for _, step in lowering.steps)
            for access in windows(step).values()
        } | self._kept
        gone = {name for name, times in self._times.items() if times and name not in touched}
        for name in gone:
            del lowering.buffers[name]
        for name in [name for name, view in lowering.views.items() if view.buffer in gone]:
            del lowering.views[name]

    def _body(self, steps: Sequence[tuple[str, Step]]) -> list[tuple[str, Step]]:
        left = [
            (layer, replace(step, body=tuple(one for _, one in self._body(
                [(layer, inner) for inner in step.body]
            ))) if isinstance(step, Loop) else step)
            for layer, step in steps
        ]  # fmt: skip
        position = 0
        while position < len(left):
            layer, step = left[position]
            found = self._next(left, position) if isinstance(step, Matmul) else None
            if found is None:
                position += 1
                continue
            number, fused = found
            assert isinstance(step, Matmul)
            self._note(step, fused, layer, left[number][0])
            left[position] = layer, fused
            del left[number]
        return left

    def _next(self, steps: Sequence[tuple[str, Step]], position: int) -> tuple[int, Matmul] | None:
        """A later step that a product can take over, with the product that does."""
        product = steps[position][1]
        assert isinstance(product, Matmul)
        touched: set[str] = set()
        for number in range(position + 1, len(steps)):
            step = steps[number][1]
            if isinstance(step, Leave) or is_region(step):
                return None
            buffers = {access.buffer for access in all_windows(step)}
            if product.dst.buffer in buffers:
                fused = self._absorbed(product, step)
                if fused is not None and fused.dst.buffer not in touched:
                    return number, fused
                if fused is not None or not _is_beside(product, step):
                    return None
            touched |= buffers
        return None

    def _absorbed(self, product: Matmul, step: Step) -> Matmul | None:
        if product.code_scale is not None:
            return None
        match step:
            case Copy(dst, src):
                moved = self._moved(product, dst, src)
                return None if moved is None else replace(product, dst=moved)
            case Unary(function, dst, src) if self._has_drain(function):
                return self._with_function(product, function, dst, src)
            case Binary("add", dst, left, right) if left.buffer != right.buffer:
                source, other = (
                    (left, right) if left.buffer == product.dst.buffer else (right, left)
                )
                return self._with_bias(product, dst, source, other)
            case Quantize(dst, src, scale, True) if self._with_tables:
                return self._with_codes(product, dst, src, scale)
        return None

    def _has_drain(self, function: str) -> bool:
        return function in DRAIN_FUNCTIONS and (
            self._with_tables or function not in TABLE_FUNCTIONS
        )

    # ---- what a product can take over

    def _with_function(
        self, product: Matmul, function: str, dst: Access, src: Access
    ) -> Matmul | None:
        if product.function != "none":
            return None
        if dst == src:
            columns = _columns(product.dst, dst)
            if columns is None:
                return None
            return _with_function_of(product, function, *columns)
        moved = self._moved(product, dst, src)
        whole = (0, product.dst.cols)
        return None if moved is None or product.functions else _with_function_of(
            replace(product, dst=moved), function, *whole
        )  # fmt: skip

    def _with_bias(
        self, product: Matmul, dst: Access, source: Access, other: Access
    ) -> Matmul | None:
        constant = self._lowering.buffers[other.buffer].constant
        if product.bias is not None or _has_function(product) or constant is None:
            return None
        if source.buffer != product.dst.buffer or other.advance:
            return None
        moved = product.dst if dst == source else self._moved(product, dst, source)
        order = _order(product.dst, source)
        if moved is None or order is None:
            return None
        offsets = elements(other).reshape(-1)[order].reshape(product.dst.shape)
        if (offsets != offsets[0]).any():
            return None  # not one value an output
        row = np.asarray(constant, np.float32).reshape(-1)[offsets[0]]
        bias = self._lowering.constant_row(f"{product.weight}#bias", row)
        return replace(product, dst=moved, bias=bias)

    def _with_codes(
        self, product: Matmul, dst: Access, src: Access, scale: Access
    ) -> Matmul | None:
        if product.accumulate or product.functions:
            return None
        if len(self._lowering.compressed.weights[product.weight].segments) > 2:
            return None  # terms of several segments are added as float32
        moved = self._moved(product, dst, src)
        if moved is None:
            return None
        one = replace(scale, rows=1, cols=1, row_stride=0, advance={})
        return replace(product, dst=moved, code_scale=one)

    def _moved(self, product: Matmul, dst: Access, src: Access) -> Access | None:
        """Where a product's elements go if the step that copies them from `src` to `dst` goes."""
        target = product.dst
        is_seen = target.buffer in self._kept or self._times[target.buffer] != 2
        if is_seen or product.accumulate or dst.buffer == target.buffer:
            return None
        order = _order(target, src)
        if order is None:
            return None
        offsets = elements(dst).reshape(-1)[order].reshape(target.shape)
        (first, *_), (rows, cols) = offsets[0], target.shape
        down = int(offsets[1, 0] - first) if rows > 1 else 0
        across = int(offsets[0, 1] - first) if cols > 1 else 1
        steps = np.arange(rows)[:, None] * down + np.arange(cols) * across
        if (offsets != first + steps).any():
            return None
        return Access(dst.buffer, int(first), rows, cols, down, across, dst.advance)

    # ---- bookkeeping

    def _note(self, before: Matmul, after: Matmul, layer: str, other: str) -> None:
        """Say which tensors are gone."""
        if before.dst.buffer == after.dst.buffer:
            self._times[after.dst.buffer] -= 1
            return
        for name, view in self._lowering.views.items():
            if view.buffer == before.dst.buffer:
                self._lowering.fused[name] = f"{other} is applied as {layer} is drained"


def _has_function(product: Matmul) -> bool:
    return product.function != "none" or bool(product.functions)


def _with_function_of(product: Matmul, function: str, first: int, last: int) -> Matmul | None:
    """Apply a function to outputs [first, last); several functions need a product of one row."""
    if (first, last) == (0, product.dst.cols) and not product.functions:
        return replace(product, function=function)
    if product.dst.rows > 1 or any(a < last and first < b for a, b, _ in product.functions):
        return None
    return replace(product, functions=tuple(sorted((*product.functions, (first, last, function)))))


def _is_beside(product: Matmul, step: Step) -> bool:
    """Whether a step touches outputs only that have a function already, or none of them."""
    mine = set(elements(product.dst).reshape(-1).tolist())
    for first, last, _ in product.functions:
        mine -= set(elements(product.dst)[:, first:last].reshape(-1).tolist())
    shown = [one for one in all_windows(step) if one.buffer == product.dst.buffer]
    return not isinstance(step, Loop) and all(
        not one.advance and mine.isdisjoint(elements(one).reshape(-1).tolist()) for one in shown
    )


def _columns(target: Access, window: Access) -> tuple[int, int] | None:
    """Outputs [first, last) of a product that a window of its result shows, in all rows."""
    if window.buffer != target.buffer or window.advance != target.advance:
        return None
    place = {offset: at for at, offset in enumerate(elements(target).reshape(-1).tolist())}
    found = [place.get(offset, -1) for offset in elements(window).reshape(-1).tolist()]
    if min(found) < 0 or len(set(found)) != len(found):
        return None
    columns = sorted({at % target.cols for at in found})
    first, last = columns[0], columns[-1] + 1
    if len(columns) != last - first or len(found) != target.rows * len(columns):
        return None
    return first, last


def _order(target: Access, window: Access) -> np.ndarray | None:
    """For each element of a product's result, its number in a window that shows just those."""
    if window.buffer != target.buffer or window.advance != target.advance:
        return None
    mine, theirs = elements(target).reshape(-1), elements(window).reshape(-1)
    sorter = np.argsort(theirs, kind="stable")
    if len(mine) != len(theirs) or (np.sort(mine) != theirs[sorter]).any():
        return None
    if (np.diff(theirs[sorter]) == 0).any():
        return None
    return sorter[np.searchsorted(theirs[sorter], mine)]
