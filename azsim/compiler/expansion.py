"""Expansion: the work of a stretch cut into pieces, with what each piece depends on.

Contract: takes units (a product with its drain, or any other item) one after another, gives pieces
that together do the same work.  A piece depends on those that wrote what it reads, and on those
that read or wrote what it writes; windows into activation SRAM are looked at element by element.

Element-wise work is cut as what it reads is.  Where all that is quantized has writers that can find
a peak, the quantization takes its scale from their peaks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from azsim.compiler.estimate import Estimator, engine_of, view_of
from azsim.compiler.list_schedule import Piece
from azsim.compiler.pieces import (
    ELEMENTWISE,
    Cut,
    buffer_bounds,
    cut_elementwise,
    cut_product,
    cut_quantize,
    local_bounds,
    product_bounds,
)
from azsim.compiler.schedule import Item, Storage, accesses, is_weight_product, is_written
from azsim.machine.view import ELEMENT_BITS
from azsim.ops.lowering import Access

__all__ = ["Expansion"]

_CHANNELS = ("weight", "load", "store")
_PEAK_WRITERS = (
    *("load", "load_gather", "mac_drain"),
    *("vector_binary", "vector_copy", "vector_norm", "vector_unary"),
)


class Expansion:
    """Units cut into pieces, with what each piece depends on.

    Parameters
    ----------
    storages : mapping of str to Storage
    estimator : Estimator or None
        Tells which loads are bound by their decoder; without it none is.
    is_fixed : bool
        Whether the array keeps its order, see `azsim.compiler.overlap`.

    Attributes
    ----------
    pieces : list of Piece
        In the order of the program.
    storages : dict of str to Storage
        Those of the peaks, which were not there before.
    """

    def __init__(
        self, storages: Mapping[str, Storage], estimator: Estimator | None, is_fixed: bool
    ) -> None:
        self.pieces: list[Piece] = []
        self._unit = -1
        self._estimator = estimator
        self._is_fixed = is_fixed
        self._last_of_array: int | None = None
        self._arrival: int | None = None
        self.storages: dict[str, Storage] = {}
        self._known = storages
        self._writers: dict[str, np.ndarray] = {}
        self._readers: dict[str, list[tuple[int, int, int]]] = {}
        self._bounds: dict[str, set[int]] = {}

    def add(self, unit: tuple[Item, ...], cut: Cut, ahead: tuple[Item, Cut] | None = None) -> None:
        """Add a unit's pieces.

        Parameters
        ----------
        unit : tuple of Item
        cut : Cut
            Of a product.
        ahead : (Item, Cut), optional
            Of a quantization: the product that begins with some of its codes.
        """
        self._unit += 1
        first = unit[0]
        if len(unit) == 2 and is_weight_product(first, self._known):
            drain = unit[1]
            target = drain.operands["dst"]
            assert isinstance(target, Access)
            for piece in cut_product(first, drain, cut):
                self._put(piece)
            self._bounds.setdefault(target.buffer, set()).update(product_bounds(target, cut))
        elif first.mnemonic in ELEMENTWISE:
            for item in self._following(first):
                self._put([item])
        elif first.mnemonic == "vector_quantize":
            known = self._with_peaks(first)
            for item in [known] if ahead is None else self._codes_first(known, *ahead):
                self._put([item])
        else:
            self._put(list(unit))

    # ---- cutting

    def _following(self, item: Item) -> list[Item]:
        """Pieces of element-wise work that follow the pieces of what it reads."""
        target = item.operands["dst"]
        assert isinstance(target, Access)
        cuts: set[int] = set()
        for name, access in accesses(item):
            if name != "dst" and access.shape == target.shape:
                cuts |= local_bounds(access, self._bounds.get(access.buffer, ()))
        if not cuts:
            return [item]
        self._bounds.setdefault(target.buffer, set()).update(buffer_bounds(target, cuts))
        return cut_elementwise(item, cuts)

    def _codes_first(self, item: Item, product: Item, cut: Cut) -> list[Item]:
        """Cut a quantization so that the codes that a product begins with come first."""
        codes, target = product.operands["src"], item.operands["dst"]
        scale = item.operands["scale"]
        assert isinstance(codes, Access)
        assert isinstance(target, Access)
        assert isinstance(scale, Access)
        if not (item.operands.get("static") or item.operands.get("use_peak") or scale.rows > 1):
            return [item]  # a search for the scale is over all of it
        length, step = (target.rows, target.row_stride) if target.rows > 1 else (target.cols, 1)
        first, last = 0, length
        for cols in (cut.inner, codes.cols):  # a first part may see padding only
            begins = replace(codes, rows=cut.head or codes.rows, cols=cols or codes.cols)
            low, high = _extent(begins, self._storage(codes.buffer))
            first = max(0, (low - target.offset) // step)
            last = min(length, -(-(high - target.offset) // step))
            if first < last:
                break
        is_part = first < last and (first, last) != (0, length)
        return cut_quantize(item, (first, last)) if is_part else [item]

    def _with_peaks(self, item: Item) -> Item:
        """Let the writers of what is quantized find its largest magnitude, if all can."""
        source, scale = item.operands["src"], item.operands["scale"]
        assert isinstance(source, Access)
        assert isinstance(scale, Access)
        if item.operands.get("static") or scale.rows != 1 or source.buffer not in self._writers:
            return item
        if view_of(source, self._storage(source.buffer)).shows_twice:
            return item  # counting would not tell that it shows all that a writer wrote
        numbers, counts = np.unique(self._elements(source), return_counts=True)
        if numbers[0] < 0:
            return item
        writers: list[tuple[int, Item]] = []
        for number, count in zip(numbers.tolist(), counts.tolist(), strict=True):
            writer = self.pieces[number].items[-1]
            target = writer.operands["dst"]
            assert isinstance(target, Access)
            if (
                writer.mnemonic not in _PEAK_WRITERS
                or target.rows * target.cols != count
                or target.advance  # and nobody knows where it is
                or "peak" in writer.operands
            ):
                return item
            writers.append((number, writer))
        writers = [entry for entry in writers if not self._is_repeated(entry, writers)]
        name, number = f"{scale.buffer}#peak", 1
        while name in self.storages:  # rows that have own scales are quantized on their own
            number += 1
            name = f"{scale.buffer}#peak.{number}"
        self.storages[name] = Storage(name, "activation", "f32", 4 * len(writers))
        for index, (number, writer) in enumerate(writers):
            peak = Access(name, index, 1, 1, 1, 1)
            written = replace(writer, operands={**writer.operands, "peak": peak, "use_peak": 1})
            self.pieces[number].items[-1] = written
            self._window(peak)[:] = number
        peaks = Access(name, 0, len(writers), 1, 1, 1)
        return replace(item, operands={**item.operands, "peak": peaks, "use_peak": 1})

    def _is_repeated(self, writer: tuple[int, Item], writers: Sequence[tuple[int, Item]]) -> bool:
        """Whether a copy repeats what another of the writers wrote, as at a reflected edge."""
        number, item = writer
        source = item.operands["src"]
        assert isinstance(source, Access)
        origin = np.unique(self._elements(source)).tolist()
        if item.mnemonic != "vector_copy" or len(origin) != 1:
            return False
        # What was written behind the copy is not what it copied.
        return origin[0] < number and origin[0] in {other for other, _ in writers}

    # ---- dependences

    def _storage(self, buffer: str) -> Storage:
        return self.storages[buffer] if buffer in self.storages else self._known[buffer]

    def _place(self, buffer: str) -> str:
        """What stands for a buffer: those that share a slot are one."""
        storage = self._storage(buffer)
        return buffer if storage.slot is None else f"({storage.space} slot {storage.slot})"

    def _window(self, access: Access) -> np.ndarray:
        """Writers of a window's elements, in place (of the whole buffer outside the SRAM)."""
        storage, place = self._storage(access.buffer), self._place(access.buffer)
        if not _is_seen(storage):
            return self._writers.setdefault(place, np.full((1, 1), -1, np.int32))
        if place not in self._writers:
            size = -(-storage.size_bytes * 8 // ELEMENT_BITS[storage.dtype])
            self._writers[place] = np.full(size, -1, np.int32)
        marks = self._writers[place]
        if access.advance:
            return marks.reshape(1, -1)
        if access.rows == 1 and access.col_stride == 1:
            return marks[access.offset : access.offset + access.cols]
        step = marks.itemsize
        strides = (step * access.row_stride, step * access.col_stride)
        return np.ndarray(access.shape, marks.dtype, marks, step * access.offset, strides)

    def _elements(self, access: Access) -> np.ndarray:
        return np.ascontiguousarray(self._window(access)).reshape(-1)

    def _fills_dram(self, item: Item) -> bool:
        """Transfers do, but for those whose decoder leaves DRAM time for others."""
        is_transfer = engine_of(item) in _CHANNELS
        slow = self._estimator is not None and self._estimator.is_decoded_slowly(item)
        return is_transfer and not slow

    def _put(self, items: list[Item]) -> None:
        """Append a piece with its dependences."""
        number = len(self.pieces)
        piece = Piece(items, self._unit, engine_of(items[0]), self._fills_dram(items[0]))
        self.pieces.append(piece)
        if piece.engine == "mac" and self._is_fixed:
            if self._last_of_array is not None:
                piece.needs(self._last_of_array, 0)
            self._last_of_array = number
        if piece.engine != "weight":  # weights do not wait for a frame
            piece.behind = self._arrival
        if any(item.operands.get("paced") for item in items):
            self._arrival = number
        for at, item in enumerate(items):
            for name, access in accesses(item):
                storage = self._storage(access.buffer)
                if storage.space == "dram" and not storage.is_shared:
                    continue
                for writer in _distinct(self._window(access)):
                    if 0 <= writer != number:
                        piece.needs(writer, at)
                place = self._place(access.buffer)
                low, high = _extent(access, self._storage(access.buffer))
                readers = self._readers.setdefault(place, [])
                if is_written(item, name):
                    for reader, first, last in readers:
                        if reader != number and first < high and low < last:
                            piece.needs(reader, at)
                    self._window(access)[:] = number
                else:
                    readers.append((number, low, high))


def _distinct(marks: np.ndarray) -> list[int]:
    """Values that occur; most often it is one."""
    least, most = int(marks.min()), int(marks.max())
    return [least] if least == most else np.unique(marks).tolist()


def _is_seen(storage: Storage) -> bool:
    """Whether windows into a storage are looked at element by element."""
    return storage.space == "activation" or storage.is_shared


def _extent(access: Access, storage: Storage) -> tuple[int, int]:
    """First element and one past the last that a window can touch; all outside activation SRAM."""
    if not _is_seen(storage) or access.advance:
        return 0, 1 << 62
    corners = [
        access.offset + row * access.row_stride + col * access.col_stride
        for row in (0, access.rows - 1)
        for col in (0, access.cols - 1)
    ]
    return min(corners), max(corners) + 1
