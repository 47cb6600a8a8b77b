"""Pieces: items cut along rows or columns, so that what follows can begin before all is done.

Contract: the pieces of an item write what the item writes, each element once and with the same
bits: rows and columns of a product are sums of their own, element-wise work has none, and a scale
that several pieces of a quantization share is found once, from the largest magnitudes that the
writers of its input have left (`peak`).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from azsim.compiler.schedule import Item, Storage, accesses, is_weight_product, part
from azsim.ops.lowering import Access

__all__ = [
    "ELEMENTWISE",
    "Cut",
    "buffer_bounds",
    "cut_elementwise",
    "cut_product",
    "cut_quantize",
    "is_cuttable",
    "local_bounds",
    "product_bounds",
    "product_target",
]

ELEMENTWISE = ("vector_unary", "vector_binary", "vector_multiply_add", "vector_copy")


@dataclass(frozen=True)
class Cut:
    """Where a product is cut.

    Attributes
    ----------
    head : int
        Rows of activations that make the first piece; 0 for none of its own.
    tail : int
        Row at which the last pieces begin, `head` or more; what lies between is one piece.
    outputs : tuple of int
        Outputs at which the rows from `tail` on are cut.
    ahead : bool
        Whether the codes that the first piece reads are quantized before the others.
    inner : int
        Where the sum of the first piece is cut in two; 0 if it is not.  With `ahead` the codes of
        the first part are quantized before the others.
    each : bool
        Whether each row is a piece, its codes quantized apart; nothing else is cut then.
    """

    head: int = 0
    tail: int = 0
    outputs: tuple[int, ...] = ()
    ahead: bool = False
    inner: int = 0
    each: bool = False

    def parts(self, rows: int, outputs: int) -> list[tuple[int, int, int, int]]:
        """First row, rows, first output and outputs of each piece of a product."""
        if self.each:
            return [(row, 1, 0, outputs) for row in range(rows)]
        edges = sorted({0, self.head, self.tail})
        whole = [(low, high - low, 0, outputs) for low, high in itertools.pairwise(edges)]
        return whole + [
            (self.tail, rows - self.tail, low, count)
            for low, count in _parts(self.outputs, outputs)
        ]


def _parts(bounds: Iterable[int], length: int) -> list[tuple[int, int]]:
    """Begin and length of the parts between bounds."""
    edges = [0, *sorted({bound for bound in bounds if 0 < bound < length}), length]
    return [(low, high - low) for low, high in itertools.pairwise(edges)]


def _window(item: Item, name: str) -> Access:
    window = item.operands[name]
    assert isinstance(window, Access)
    return window


def local_bounds(window: Access, bounds: Iterable[int]) -> set[int]:
    """Where a window can be cut so that elements of its buffer below a bound come first.

    Parameters
    ----------
    window : Access
    bounds : iterable of int
        Elements of the buffer.

    Returns
    -------
    set of int
        Numbers of the window's elements in row order; whole rows where there are several.
    """
    rows, cols = window.shape
    if rows == 1:
        rows, cols, step, span = cols, 1, window.col_stride, 0
    else:
        step, span = window.row_stride, (cols - 1) * window.col_stride
    if step <= 0 or span < 0:
        return set()
    found = set()
    for bound in bounds:
        row = -(-(bound - window.offset) // step)
        if 0 < row < rows and window.offset + (row - 1) * step + span < bound:
            found.add(row * cols)
    return found


def buffer_bounds(window: Access, cuts: Iterable[int]) -> set[int]:
    """Elements of a buffer that separate the parts of a window, the inverse of `local_bounds`."""
    rows, cols = window.shape
    if rows == 1:
        return {window.offset + cut * window.col_stride for cut in cuts if window.col_stride > 0}
    if window.row_stride <= (cols - 1) * abs(window.col_stride) or window.col_stride < 0:
        return set()
    return {window.offset + cut // cols * window.row_stride for cut in cuts}


def is_cuttable(unit: Sequence[Item], storages: Mapping[str, Storage]) -> bool:
    """Whether items are a product with weights and the drains of all its results.

    Where the results live in DRAM, transfers stand between the drains, and the product stays whole.
    """
    product, *drains = unit
    if not drains or any(item.mnemonic != "mac_drain" for item in drains):
        return False
    if not is_weight_product(product, storages):
        return False
    weights = _window(product, "src2")
    is_block = storages[weights.buffer].dtype == "u8"
    return is_block or weights.rows == product_target(drains).cols


def product_target(drains: Sequence[Item]) -> Access:
    """Window of a product's results; those of several drains lie side by side in one row."""
    windows = [_window(drain, "dst") for drain in drains]
    return replace(windows[0], cols=sum(window.cols for window in windows))


def cut_product(product: Item, drains: Sequence[Item], cut: Cut) -> list[list[Item]]:
    """Pieces of a product and its drains, rows by rows."""
    source, weights = _window(product, "src"), _window(product, "src2")
    target = product_target(drains)
    pieces = []
    for row, rows, col, cols in cut.parts(*target.shape):
        sums = [(0, source.cols)] if pieces else _parts((cut.inner,), source.cols)
        products = []
        for start, count in sums:
            multiplied = dict(product.operands) | {"src": part(source, row, rows, start, count)}
            if (cols, count) != (target.cols, source.cols):
                multiplied["src2"] = part(weights, col, cols, start, count)
            if start:
                multiplied["accumulate"] = 1
            products.append(replace(product, operands=multiplied))
        pieces.append([*products, *_cut_drains(drains, (row, rows), (col, cols))])
    return pieces


def _cut_drains(
    drains: Sequence[Item], shown_rows: tuple[int, int], shown_cols: tuple[int, int]
) -> Iterator[Item]:
    """Drains of a piece of a product, which has some of its rows and outputs."""
    (row, rows), (first, count) = shown_rows, shown_cols
    at = 0  # the first output of a drain
    for drain in drains:
        target = _window(drain, "dst")
        low, high = max(at, first), min(at + target.cols, first + count)
        if low < high:
            col, cols = low - at, high - low
            operands = dict(drain.operands) | {"dst": part(target, row, rows, col, cols)}
            operands.pop("acc", None)
            if low > first:
                operands["acc"] = low - first
            scales = _window(drain, "src")
            if scales.rows > 1:
                operands["src"] = part(scales, row, rows, 0, 1)
            for name in ("scale", "bias"):
                if name in operands:
                    operands[name] = part(_window(drain, name), 0, 1, col, cols)
            yield replace(drain, operands=operands)
        at += target.cols


def product_bounds(target: Access, cut: Cut) -> set[int]:
    """Elements of a buffer that separate pieces of a product, in the direction that is outer."""
    rows, cols = target.shape
    down, across = target.row_stride, target.col_stride
    if cols == 1 or (rows > 1 and down > (cols - 1) * across):
        first_rows = range(1, rows) if cut.each else (cut.head, cut.tail)
        return {target.offset + row * down for row in first_rows if row}
    if rows == 1 or across > (rows - 1) * down:
        return {target.offset + col * across for col in cut.outputs}
    return set()


def cut_elementwise(item: Item, cuts: Iterable[int]) -> list[Item]:
    """Pieces of an item, cut before some of its elements, numbered in row order."""
    target = _window(item, "dst")
    if target.rows > 1:
        rows = [cut // target.cols for cut in cuts if cut % target.cols == 0]
        windows = [(row, count, 0, target.cols) for row, count in _parts(rows, target.rows)]
    else:
        windows = [(0, 1, col, count) for col, count in _parts(cuts, target.cols)]
    return [
        replace(
            item,
            operands=dict(item.operands)
            | {name: part(access, *window) for name, access in accesses(item)},
        )
        for window in windows
    ]


def cut_quantize(item: Item, first: tuple[int, int], *, each: bool = False) -> list[Item]:
    """Pieces of a quantization by rows, by columns if it has only one row.

    Rows [first[0], first[1]) come first, and find a scale that all share; with `each` every row
    is a piece.
    """
    source, target, scale = (_window(item, name) for name in ("src", "dst", "scale"))
    by_rows = target.rows > 1
    pieces = []
    parts = _parts(range(target.rows) if each else first, target.rows if by_rows else target.cols)
    for start, count in sorted(parts, key=lambda one: one[0] != first[0]):
        window = (start, count, 0, target.cols) if by_rows else (0, 1, start, count)
        operands = dict(item.operands) | {
            "dst": part(target, *window),
            "src": part(source, *window),
        }
        if scale.rows > 1:
            operands["scale"] = part(scale, start, count, 0, 1)
        elif pieces:
            operands = {key: operands[key] for key in operands if key not in ("peak", "use_peak")}
            operands["static"] = 1
        pieces.append(replace(item, operands=operands))
    return pieces
