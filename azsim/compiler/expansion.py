"""Expansion: the work of a stretch cut into pieces, with what each piece depends on.

Contract: takes units (a product with its drains, or any other item) one after another, gives pieces
that together do the same work.  A piece depends on those that wrote what it reads, and on those
that read or wrote what it writes; windows into activation SRAM are looked at element by element.

Element-wise work is cut as what it reads is.  Where all that is quantized has writers that can find
a peak, the quantization takes its scale from their peaks.

A search expands the same units again and again: what its tries have in common is made once
(`Parts`), and one that differs from another in its last units begins with a copy.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypeVar

from azsim.compiler.estimate import Estimator, engine_of, view_of
from azsim.compiler.list_schedule import Piece
from azsim.compiler.pieces import (
    ELEMENTWISE,
    Cut,
    buffer_bounds,
    cut_elementwise,
    cut_product,
    cut_quantize,
    is_cuttable,
    local_bounds,
    product_bounds,
    product_target,
)
from azsim.compiler.schedule import (
    Item,
    Storage,
    accesses,
    in_whole,
    is_written,
)
from azsim.compiler.written import Written
from azsim.machine.view import ELEMENT_BITS
from azsim.ops.lowering import Access

__all__ = ["Expansion", "Parts"]

_CHANNELS = ("weight", "load", "store")
_PEAK_WRITERS = (
    *("load", "load_gather", "mac_drain"),
    *("vector_binary", "vector_copy", "vector_multiply_add", "vector_norm", "vector_unary"),
)


_Made = TypeVar("_Made")


class _Touch(NamedTuple):
    """A window of an item: None for all of its place, and the elements that it can touch."""

    buffer: str
    place: str
    window: Access | None
    low: int
    high: int
    is_written: bool


class _Facts(NamedTuple):
    """What is known of an item whatever stands around it; it keeps the item and its identity."""

    item: Item
    engine: str
    fills_dram: bool
    touches: tuple[_Touch, ...]


@dataclass
class Parts:
    """What expansions of the same units have in common, with one estimator and the same storages.

    Items are named by their identity, and kept, so that no other one gets it.
    """

    made: dict[Hashable, tuple[Item, Any]] = field(default_factory=dict)
    facts: dict[int, _Facts] = field(default_factory=dict)

    def once(self, item: Item, what: Hashable, make: Callable[[], _Made]) -> _Made:
        """What `make` gave for an item when it was called first."""
        key = id(item), what
        if key not in self.made:
            self.made[key] = item, make()
        return self.made[key][1]


class Expansion:
    """Units cut into pieces, with what each piece depends on.

    Parameters
    ----------
    storages : mapping of str to Storage
    estimator : Estimator or None
        Tells which loads are bound by their decoder; without it none is.
    is_fixed : bool
        Whether the array keeps its order, see `azsim.compiler.overlap`.
    parts : Parts, optional
        What other expansions of the same units have made.

    Attributes
    ----------
    pieces : list of Piece
        In the order of the program.
    storages : dict of str to Storage
        Those of the peaks, which were not there before.
    """

    def __init__(
        self,
        storages: Mapping[str, Storage],
        estimator: Estimator | None,
        is_fixed: bool,
        parts: Parts | None = None,
    ) -> None:
        self.pieces: list[Piece] = []
        self._unit = -1
        self._estimator = estimator
        self._is_fixed = is_fixed
        self._last_of_array: int | None = None
        self._arrival: int | None = None
        self.storages: dict[str, Storage] = {}
        self._given = storages
        self._parts = Parts() if parts is None else parts
        self._touched_by: list[tuple[int, int]] = []  # piece and its item, by number
        self._writers: dict[str, Written] = {}
        self._readers: dict[str, list[tuple[int, int, int]]] = {}
        self._bounds: dict[str, set[int]] = {}

    def copy(self) -> Expansion:
        """Give one to which other units may be added."""
        other = Expansion(self._given, self._estimator, self._is_fixed, self._parts)
        other.pieces = list(self.pieces)
        other.storages = dict(self.storages)
        other._unit = self._unit
        other._touched_by = list(self._touched_by)
        other._last_of_array, other._arrival = self._last_of_array, self._arrival
        other._writers = {place: written.copy() for place, written in self._writers.items()}
        other._readers = {place: list(readers) for place, readers in self._readers.items()}
        other._bounds = {buffer: set(bounds) for buffer, bounds in self._bounds.items()}
        return other

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
        if is_cuttable(unit, self._given):
            target = product_target(unit[1:])
            for piece in self._parts.once(first, cut, lambda: cut_product(first, unit[1:], cut)):
                self._put(piece)
            self._bounds.setdefault(target.buffer, set()).update(product_bounds(target, cut))
        elif first.mnemonic in ELEMENTWISE:
            for item in self._following(first):
                self._put([item])
        elif first.mnemonic == "vector_quantize":
            whole = self._with_peaks(first)
            for item in [whole] if ahead is None else self._codes_first(whole, *ahead):
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
        return self._parts.once(item, frozenset(cuts), lambda: cut_elementwise(item, cuts))

    def _codes_first(self, item: Item, product: Item, cut: Cut) -> list[Item]:
        """Cut a quantization so that the codes that a product begins with come first."""
        codes, target = product.operands["src"], item.operands["dst"]
        scale = item.operands["scale"]
        assert isinstance(codes, Access)
        assert isinstance(target, Access)
        assert isinstance(scale, Access)
        if not (item.operands.get("static") or item.operands.get("use_peak") or scale.rows > 1):
            return [item]  # a search for the scale is over all of it
        if cut.each:
            if target.rows == 1 or scale.rows == 1:
                return [item]
            return self._parts.once(item, "each", lambda: cut_quantize(item, (0, 1), each=True))
        length, step = (target.rows, target.row_stride) if target.rows > 1 else (target.cols, 1)
        first, last = 0, length
        for cols in (cut.inner, codes.cols):  # a first part may see padding only
            begins = replace(codes, rows=cut.head or codes.rows, cols=cols or codes.cols)
            low, high = _extent(begins, self._storage(codes.buffer))
            first = max(0, (low - target.offset) // step)
            last = min(length, -(-(high - target.offset) // step))
            if first < last:
                break
        if first >= last or (first, last) == (0, length):
            return [item]
        return self._parts.once(item, (first, last), lambda: cut_quantize(item, (first, last)))

    def _with_peaks(self, item: Item) -> Item:
        """Let the writers of what is quantized find its largest magnitude, if all can."""
        source, scale = item.operands["src"], item.operands["scale"]
        assert isinstance(source, Access)
        assert isinstance(scale, Access)
        source = in_whole(source, self._storage(source.buffer))
        if item.operands.get("static") or scale.rows != 1 or source.buffer not in self._writers:
            return item
        if view_of(source, self._storage(source.buffer)).shows_twice:
            return item  # counting would not tell that it shows all that a writer wrote
        counted = self._written(source.buffer).counted(self._window_of(source))
        if -1 in counted:
            return item
        writers: list[tuple[int, Item]] = []
        for number, count in sorted(counted.items()):
            at, place = self._touched_by[number]
            writer = self.pieces[at].items[place]
            target = writer.operands["dst"]
            assert isinstance(target, Access)
            if (
                writer.mnemonic not in _PEAK_WRITERS
                or target.rows * target.cols != count
                or target.advance  # and nobody knows where it is
            ):
                return item
            writers.append((number, writer))
        writers = [entry for entry in writers if not self._is_repeated(entry, writers)]
        name = self._place_of_peaks(f"{scale.buffer}#peak", writers)
        if name is None:
            return item
        # Those that leave one already come first, as they lie.
        left = sorted(writers, key=lambda entry: _peak_at(entry[1], len(writers)))
        self.storages[name] = Storage(name, "activation", "f32", 4 * len(left))
        self._writers[name] = Written(len(left))
        for index, (number, writer) in enumerate(left):
            peak = Access(name, index, 1, 1, 1, 1)
            if "peak" not in writer.operands:
                at, place = self._touched_by[number]
                items = list(self.pieces[at].items)
                items[place] = self._with_peak(writer, peak)
                # A copy of this expansion has the piece as it was.
                self.pieces[at] = replace(self.pieces[at], items=items)
            self._writers[name].write(peak, number)
        return self._with_peak(item, Access(name, 0, len(left), 1, 1, 1))

    def _place_of_peaks(self, name: str, writers: Sequence[tuple[int, Item]]) -> str | None:
        """Where peaks go: behind those that some of the writers leave already, or apart.

        None if these lie in several places, or beside the peaks of others.
        """
        left = [
            peak for _, writer in writers if isinstance(peak := writer.operands.get("peak"), Access)
        ]
        places = {peak.buffer for peak in left}
        if len(places) > 1:
            return None
        for place in places:
            return place if self.storages[place].size_bytes == 4 * len(left) else None
        unique, number = name, 1
        while unique in self.storages:  # rows that have own scales are quantized on their own
            number += 1
            unique = f"{name}.{number}"
        return unique

    def _with_peak(self, item: Item, peak: Access) -> Item:
        """An item that leaves a peak, or takes those that others have left."""
        operands = {**item.operands, "peak": peak, "use_peak": 1}
        what = peak.buffer, peak.offset, peak.rows
        return self._parts.once(item, what, lambda: replace(item, operands=operands))

    def _is_repeated(self, writer: tuple[int, Item], writers: Sequence[tuple[int, Item]]) -> bool:
        """Whether a copy repeats what another of the writers wrote, as at a reflected edge."""
        number, item = writer
        source = item.operands["src"]
        assert isinstance(source, Access)
        source = in_whole(source, self._storage(source.buffer))
        origin = self._written(source.buffer).distinct(self._window_of(source))
        if item.mnemonic != "vector_copy" or len(origin) != 1:
            return False
        # What was written behind the copy is not what it copied.
        return origin[0] < number and origin[0] in {other for other, _ in writers}

    # ---- dependences

    def _storage(self, buffer: str) -> Storage:
        return self.storages[buffer] if buffer in self.storages else self._given[buffer]

    def _place(self, buffer: str) -> str:
        """What stands for a buffer: those that share a slot are one."""
        storage = self._storage(buffer)
        return buffer if storage.slot is None else f"({storage.space} slot {storage.slot})"

    def _window_of(self, access: Access) -> Access | None:
        """Window into a place; all of it where elements are not looked at, or it moves."""
        return access if _is_seen(self._storage(access.buffer)) and not access.advance else None

    def _written(self, buffer: str) -> Written:
        """Who wrote the place of a buffer."""
        place = self._place(buffer)
        if place not in self._writers:
            storage = self._storage(buffer)
            size = -(-storage.size_bytes * 8 // ELEMENT_BITS[storage.dtype])
            self._writers[place] = Written(size if _is_seen(storage) else 1)
        return self._writers[place]

    def _fills_dram(self, item: Item) -> bool:
        """Transfers do, but for those whose decoder leaves DRAM time for others."""
        is_transfer = engine_of(item) in _CHANNELS
        slow = self._estimator is not None and self._estimator.is_decoded_slowly(item)
        return is_transfer and not slow

    def _facts(self, item: Item) -> _Facts:
        facts = self._parts.facts.get(id(item))
        if facts is None:
            touches = tuple(self._touches(item))
            facts = _Facts(item, engine_of(item), self._fills_dram(item), touches)
            self._parts.facts[id(item)] = facts
        return facts

    def _touches(self, item: Item) -> Iterator[_Touch]:
        """Windows of an item, but for those into DRAM that no other item of a frame looks at."""
        for name, own in accesses(item):
            access = in_whole(own, self._storage(own.buffer))
            storage = self._storage(access.buffer)
            if storage.space == "dram" and not storage.is_shared:
                continue
            window, bounds = self._window_of(access), _extent(access, storage)
            place, is_target = self._place(access.buffer), is_written(item, name)
            yield _Touch(access.buffer, place, window, *bounds, is_target)

    def _put(self, items: list[Item]) -> None:
        """Append a piece with its dependences."""
        number, first = len(self.pieces), self._facts(items[0])
        piece = Piece(items, self._unit, first.engine, first.fills_dram)
        self.pieces.append(piece)
        if piece.engine == "mac" and self._is_fixed:
            if self._last_of_array is not None:
                last = len(self.pieces[self._last_of_array].items) - 1
                piece.needs((self._last_of_array, last), 0)
            self._last_of_array = number
        if piece.engine != "weight":  # weights do not wait for a frame
            piece.behind = self._arrival
        if any(item.operands.get("paced") for item in items):
            self._arrival = number
        for at, item in enumerate(items):
            self._touched_by.append((number, at))
            for touch in self._facts(item).touches:
                self._depend(piece, touch)

    def _depend(self, piece: Piece, touch: _Touch) -> None:
        """Let a piece's last item wait for those that touched the same, and note that it does."""
        mine = len(self._touched_by) - 1
        number, at = self._touched_by[mine]
        written = self._written(touch.buffer)
        for writer in written.distinct(touch.window):
            if writer >= 0 and self._touched_by[writer][0] != number:
                piece.needs(self._touched_by[writer], at)
        readers = self._readers.setdefault(touch.place, [])
        if not touch.is_written:
            readers.append((number, touch.low, touch.high))
            return
        for reader, first, last in readers:
            if reader != number and first < touch.high and touch.low < last:
                # Its drain too, although that reads no codes: on the clock orders are shorter then.
                piece.needs((reader, len(self.pieces[reader].items) - 1), at)
        written.write(touch.window, mine)


def _peak_at(writer: Item, most: int) -> int:
    """Number of the place of a writer's peak; `most` if it leaves none."""
    peak = writer.operands.get("peak")
    return peak.offset if isinstance(peak, Access) else most


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
