"""Narrow: what is copied only to be quantized is quantized first, and its codes are copied.

Contract: takes lowered steps, gives steps that leave the same codes and scales; a tensor that is
nowhere any more is named in `Lowering.fused`.

A recording is padded by reflecting its ends, a tensor is transposed for a product: nobody but a
quantization reads the copy.  Its largest magnitude is that of what was copied, so the codes are
the same ones.  Quantized where it lies, each element is divided once; ends that repeat it are
copies of codes, and zeros are zeros.  One of the copies has to show every element that any of
them does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from azsim.compiler.windows import all_windows, elements, flat_elements
from azsim.ops.lowering import Access, Copy, Fill, Lowering, Quantize, Step

__all__ = ["narrow"]

_Steps = list[tuple[str, Step]]


def narrow(lowering: Lowering) -> Lowering:
    """Quantize before copying; the lowering is changed and returned."""
    graph = lowering.compressed.graph
    kept = {lowering.views[name].buffer for name in (*graph.outputs, *graph.inputs)}
    for layer, step in list(lowering.steps):
        if isinstance(step, Quantize) and step.src.buffer not in kept:
            found = _narrowed(step, lowering)
            if found is not None:
                _replace(lowering, layer, step, found)
    return lowering


@dataclass(frozen=True)
class _Found:
    """Steps that take the place of a quantization and of the copies before it."""

    steps: tuple[Step, ...]
    copies: tuple[Step, ...]


def _replace(lowering: Lowering, layer: str, quantize: Quantize, found: _Found) -> None:
    steps: _Steps = []
    gone = {id(step) for step in found.copies}
    for name, step in lowering.steps:
        if step is quantize:
            steps += [(layer, one) for one in found.steps]
        elif id(step) not in gone:
            steps.append((name, step))
    lowering.steps[:] = steps
    buffer = quantize.src.buffer
    for name in [name for name, view in lowering.views.items() if view.buffer == buffer]:
        lowering.fused[name] = f"quantized for {layer} before it is copied together"
        del lowering.views[name]
    del lowering.buffers[buffer]


def _narrowed(quantize: Quantize, lowering: Lowering) -> _Found | None:
    """What a quantization becomes; None if its source is more than a copy, or somebody else's."""
    buffer = quantize.src.buffer
    if quantize.scale.rows != 1 or quantize.src.advance or lowering.buffers[buffer].persistent:
        return None
    copies = _writers(buffer, quantize, [step for _, step in lowering.steps])
    if copies is None:
        return None
    owner = np.full(lowering.buffers[buffer].num_elements, -1, np.int64)
    for number, step in enumerate(copies):
        before = owner[elements(step.dst)]
        if any(isinstance(copies[index], Copy) for index in np.unique(before[before >= 0])):
            return None  # what was copied is written over
        owner[elements(step.dst)] = number
    place = {
        int(at): int(code)
        for at, code in zip(flat_elements(quantize.src), flat_elements(quantize.dst), strict=True)
    }
    seen = np.array(sorted(place))
    if len(seen) != quantize.src.rows * quantize.src.cols:
        return None  # an element is shown twice
    if (owner[seen] < 0).any() or len(seen) != (owner >= 0).sum():
        return None
    sources = [step for step in copies if isinstance(step, Copy)]
    needed = np.unique(np.concatenate([flat_elements(step.src) for step in sources]))
    for main in sources:
        if np.array_equal(np.sort(flat_elements(main.src)), needed):
            return _in_codes(quantize, main, copies, place)
    return None


def _writers(
    buffer: str, quantize: Quantize, steps: Sequence[Step]
) -> tuple[Copy | Fill, ...] | None:
    """Copies from one buffer (and zeros) that make another, if nothing else touches that."""
    copies: list[Copy | Fill] = []
    origin, written_between = "", set[str]()
    is_before = True
    for step in steps:
        if step is quantize:
            is_before = False
            continue
        windows = list(all_windows(step))
        if all(access.buffer != buffer for access in windows):
            if copies and is_before:
                written_between |= {access.buffer for access in windows}
            continue
        if not is_before or any(access.advance for access in windows):
            return None
        match step:
            case Copy(dst, src) if dst.buffer == buffer != src.buffer:
                if origin not in ("", src.buffer):
                    return None
                origin = src.buffer
            case Fill(dst, value) if value == 0:
                pass
            case _:
                return None
        copies.append(step)
    return tuple(copies) if origin and origin not in written_between else None


def _in_codes(
    quantize: Quantize, main: Copy, copies: Sequence[Copy | Fill], place: Mapping[int, int]
) -> _Found | None:
    codes = quantize.dst.buffer

    def window(offsets: np.ndarray) -> Access | None:
        """Window whose elements lie at these places of the codes, if one does."""
        rows, cols = offsets.shape
        first = int(offsets[0, 0])
        down = int(offsets[1, 0]) - first if rows > 1 else 0
        across = int(offsets[0, 1]) - first if cols > 1 else 1
        found = Access(codes, first, rows, cols, down, across)
        return found if np.array_equal(elements(found), offsets) else None

    def moved(offsets: np.ndarray, to: Mapping[int, int]) -> np.ndarray:
        return np.array([[to[int(at)] for at in row] for row in offsets])

    target = window(moved(elements(main.dst), place))
    if target is None:
        return None
    code_of = {
        int(at): place[int(to)]
        for at, to in zip(flat_elements(main.src), flat_elements(main.dst), strict=True)
    }
    steps: list[Step] = [replace(quantize, dst=target, src=main.src)]
    fills: list[Step] = []
    for step in copies:
        if step is main:
            continue
        to = window(moved(elements(step.dst), place))
        if to is None:
            return None
        if isinstance(step, Fill):
            fills.append(Fill(to, 0))  # first, as copies may write over zeros
            continue
        source = window(moved(elements(step.src), code_of))
        if source is None or _meet(to, source):
            return None
        steps.append(Copy(to, source))
    return _Found((*fills, *steps), tuple(copies))


def _meet(one: Access, other: Access) -> bool:
    """Whether two windows of one buffer have an element in common."""
    return len(np.intersect1d(flat_elements(one), flat_elements(other))) > 0
