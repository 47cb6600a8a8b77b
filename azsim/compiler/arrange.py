"""Arrange: outputs of a product stand in the order in which they are needed.

Contract: takes lowered steps, gives steps that leave the same bits in every tensor of the graph.
Rows of weights, with their scales and biases, change places, and so do the windows into what the
products make; that is scratch which no tensor is seen in, as the gates of a recurrent cell are.
Only whole passes of the array's lanes change places, so that a cut between two parts costs no pass.

ONNX has the output gate of an LSTM as the second of four, and it is the last one that the cell
needs.  Computed last, it takes the array no longer, and meanwhile the new cell state is made of the
others.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from azsim.compiler.windows import flat_elements, inner_steps
from azsim.hardware.description import Hardware
from azsim.ir import CompressedWeight
from azsim.ops.lowering import Access, Loop, Lowering, Matmul, Step, moved
from azsim.ops.steps import moved_windows, windows

__all__ = ["arrange"]


def arrange(lowering: Lowering, hardware: Hardware) -> Lowering:
    """Put outputs in the order in which they are needed; the lowering is changed and returned."""
    orders = _orders(lowering, hardware.mac.lanes)
    if orders:
        arranging = _Arranging(lowering, orders)
        lowering.steps[:] = [(layer, arranging.step(step)) for layer, step in lowering.steps]
        arranging.end()
    return lowering


@dataclass(frozen=True)
class _Order:
    """Parts of a product's outputs, each from one to before another, in their new order."""

    parts: tuple[tuple[int, int], ...]

    @property
    def width(self) -> int:
        return max(last for _, last in self.parts)

    @property
    def rows(self) -> np.ndarray:
        """By new place, the old one."""
        return np.concatenate([np.arange(first, last) for first, last in self.parts])

    def window(self, access: Access) -> Access:
        """Where a window into one of the parts is now."""
        first = access.offset % self.width
        place = int(np.flatnonzero(self.rows == first)[0])
        return moved(access, offset=access.offset - first + place)

    def functions(
        self, functions: Sequence[tuple[int, int, str]]
    ) -> tuple[tuple[int, int, str], ...]:
        """Functions of outputs, for each run of neighbours that have the same one."""
        old = np.full(self.width, -1)
        for number, (first, last, _) in enumerate(functions):
            old[first:last] = number
        new = old[self.rows]
        edges = [0, *(np.flatnonzero(np.diff(new)) + 1).tolist(), self.width]
        return tuple(
            (low, high, functions[new[low]][2])
            for low, high in itertools.pairwise(edges)
            if new[low] >= 0
        )


class _Arranging:
    """Rewrites steps, and puts rows of the weights that they use in order."""

    def __init__(self, lowering: Lowering, orders: Mapping[str, _Order]) -> None:
        self._lowering = lowering
        self._orders = orders
        self._weights: dict[str, _Order] = {}
        self._biases: dict[tuple[str, int, int, _Order], Access] = {}

    def step(self, step: Step) -> Step:
        """Give the step that does the same on what is in order."""
        if isinstance(step, Loop):
            return replace(step, body=tuple(map(self.step, step.body)))
        if not isinstance(step, Matmul) or step.dst.buffer not in self._orders:
            return moved_windows(step, self._window)
        self._weights[step.weight] = order = self._orders[step.dst.buffer]
        bias = None if step.bias is None else self._bias(step.bias, order)
        return replace(step, bias=bias, functions=order.functions(step.functions))

    def end(self) -> None:
        """Put the weights in order, and forget the biases that nothing reads any more."""
        lowering = self._lowering
        weights = dict(lowering.compressed.weights)
        for name, order in self._weights.items():
            weights[name] = _arranged(weights[name], order.rows)
        lowering.compressed = replace(lowering.compressed, weights=weights)
        steps = inner_steps(step for _, step in lowering.steps)
        used = {access.buffer for step in steps for access in windows(step).values()}
        used |= {lowering.views[name].buffer for name in lowering.compressed.graph.outputs}
        gone = {buffer for buffer, *_ in self._biases} - used
        for name in [name for name, view in lowering.views.items() if view.buffer in gone]:
            del lowering.views[name]
        for buffer in gone:
            del lowering.buffers[buffer]

    def _window(self, access: Access) -> Access:
        order = self._orders.get(access.buffer)
        return access if order is None else order.window(access)

    def _bias(self, bias: Access, order: _Order) -> Access:
        key = bias.buffer, bias.offset, bias.col_stride, order
        if key not in self._biases:
            constant = self._lowering.buffers[bias.buffer].constant
            assert constant is not None
            row = constant.reshape(-1)[flat_elements(bias)[order.rows]]
            self._biases[key] = self._lowering.constant_row(f"{bias.buffer}#arranged", row)
        return self._biases[key]


def _arranged(weight: CompressedWeight, rows: np.ndarray) -> CompressedWeight:
    return replace(
        weight,
        codes=np.ascontiguousarray(weight.codes[rows]),
        scales=np.ascontiguousarray(weight.scales[:, rows]),
    )


def _orders(lowering: Lowering, lanes: int) -> dict[str, _Order]:
    """New orders, by the buffer that products write, where they differ from the old ones."""
    steps = list(inner_steps(step for _, step in lowering.steps))
    seen = {view.buffer for view in lowering.views.values()}
    products: dict[str, list[Matmul]] = {}
    for step in steps:
        if isinstance(step, Matmul):
            products.setdefault(step.dst.buffer, []).append(step)
    found = {
        buffer: order
        for buffer, own in products.items()
        if buffer not in seen and (order := _order(buffer, own[0].dst.cols, steps, lanes))
    }
    while True:  # a weight has one order, whatever it is multiplied for
        wanted: dict[str, set[_Order | None]] = {}
        for buffer, own in products.items():
            for step in own:
                wanted.setdefault(step.weight, set()).add(found.get(buffer))
        agreed = {
            buffer: order
            for buffer, order in found.items()
            if all(len(wanted[step.weight]) == 1 for step in products[buffer])
        }
        if len(agreed) == len(found):
            return found
        found = agreed


def _order(buffer: str, width: int, steps: Sequence[Step], lanes: int) -> _Order | None:
    """Order in which parts of what products make are read; None if it is theirs, or cannot be."""
    read: list[tuple[int, int]] = []
    edges: set[int] = set()  # at which no part may have its inside
    for step in steps:
        shown = [one for one in windows(step).values() if one.buffer == buffer]
        if not all(_is_in_columns(one, width) for one in shown):
            return None
        columns = [(one.offset % width, one.offset % width + one.cols) for one in shown]
        if isinstance(step, Matmul) and shown:
            is_plain = step.function == "none" and step.code_scale is None
            if not is_plain or step.dst.buffer != buffer or columns != [(0, width)]:
                return None
            edges |= {edge for first, last, _ in step.functions for edge in (first, last)}
        else:
            read += columns
    parts = tuple(dict.fromkeys(read))
    bounds = [0, *sorted(last for _, last in parts)]
    if sorted(parts) != list(itertools.pairwise(bounds)) or bounds[-1] != width:
        return None  # some overlap, or nothing reads what is between
    if any(bound % lanes for bound in bounds) or not edges <= set(bounds):
        return None
    return None if list(parts) == sorted(parts) else _Order(parts)


def _is_in_columns(access: Access, width: int) -> bool:
    """Whether a window shows the same columns of each of its rows, side by side."""
    return (
        access.offset % width + access.cols <= width
        and (access.cols == 1 or access.col_stride == 1)
        and (access.rows == 1 or access.row_stride % width == 0)
        and all(step % width == 0 for step in access.advance.values())
    )
