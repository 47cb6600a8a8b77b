"""Scratch: intermediate tensors that activation SRAM has no room for, in DRAM.

Contract: takes the items of a frame and a buffer that lives in a frame only, gives items that work
on the same bytes, with the buffer in DRAM: what an item (or a round of a loop) uses is loaded into
a place of its own before, and what it wrote and somebody reads later is stored behind.  Work that
is done row by row goes through a large tensor a few rows at a time.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from azsim.compiler.schedule import (
    MAX_EXTENT,
    Item,
    Repeat,
    Storage,
    accesses,
    extent,
    is_written,
    part,
    walk,
    window_extents,
)
from azsim.ops.lowering import Access
from azsim.ops.steps import ELEMENT_BYTES

__all__ = ["Scratch", "in_dram"]

_Items = tuple[Item | Repeat, ...]

_ROW_BY_ROW = (
    "vector_binary",
    "vector_copy",
    "vector_norm",
    "vector_quantize",
    "vector_reduce",
    "vector_softmax",
    "vector_unary",
)


_ELEMENTWISE = ("vector_binary", "vector_copy", "vector_unary")


@dataclass(frozen=True)
class Scratch:
    """A buffer that is to live in DRAM.

    Attributes
    ----------
    storage : Storage
        As it was.
    port : str
        Name of its storage in DRAM.
    most_bytes : int
        What a place of its own may take, where work can be cut by rows.
    is_carried : bool
        Whether the next frame reads what this one leaves.
    """

    storage: Storage
    port: str
    most_bytes: int
    is_carried: bool = False

    @property
    def name(self) -> str:
        """Of the buffer."""
        return self.storage.name

    @property
    def element_bytes(self) -> int:
        """Bytes of an element."""
        return ELEMENT_BYTES[self.storage.dtype]


@dataclass(frozen=True)
class _Place:
    """Elements that a unit of work uses together: one window, or all between two elements.

    `row_loop` is the loop inside the unit whose rounds are the rows of `outside`, if one's are;
    with `is_turned` these are the columns of the window.
    """

    outside: Access
    reads: bool
    writes: bool
    windows: frozenset[Access]
    row_loop: int | None = None
    is_turned: bool = False

    def inside(self, name: str) -> Access:
        """Where they lie on the chip, row after row."""
        rows, cols = self.outside.shape
        return Access(name, 0, rows, cols, cols, 1)


def in_dram(
    items: Sequence[Item | Repeat], scratch: Scratch
) -> tuple[list[Item | Repeat], list[Storage]] | None:
    """Move a buffer to DRAM.

    Parameters
    ----------
    items : sequence of Item or Repeat
        Of a frame, in order.
    scratch : Scratch

    Returns
    -------
    items : list of Item or Repeat
    storages : list of Storage
        The places on the chip.

    None where a window cannot be transferred as it lies.
    """
    units = [
        unit
        for item in items
        for unit in (_cut(item, scratch) if scratch.name in item.buffers else (item,))
    ]
    read_later = _read_later(units, scratch)
    moved = _Moved(scratch)
    result: list[Item | Repeat] = []
    for unit, later in zip(units, read_later, strict=True):
        found = moved.unit(unit, later)
        if found is None:
            return None
        result += found
    return result, moved.storages


def _cut(item: Item | Repeat, scratch: Scratch) -> list[Item | Repeat]:
    """Work on many rows in parts of as many as there is room for; on long ones in parts of them."""
    if isinstance(item, Repeat) or item.mnemonic not in _ROW_BY_ROW:
        return [item]
    windows = dict(accesses(item))
    mine = [window for window in windows.values() if window.buffer == scratch.name]
    if not mine or any(window.advance for window in mine):
        return [item]
    rows = max(window.rows for window in windows.values())
    is_shared = {"scale", "bias"} if item.mnemonic != "vector_quantize" else set()
    follow = {name: window for name, window in windows.items() if name not in is_shared}
    if any(window.rows != rows for window in follow.values()):
        return [item]  # a scale that all rows share is not known before the last of them
    longest = max(window.cols for window in mine)
    width = max(1, scratch.most_bytes // scratch.element_bytes)
    is_cut = item.mnemonic in _ELEMENTWISE and all(w.cols == longest for w in follow.values())
    width = min(longest, width) if is_cut else longest
    height = max(1, scratch.most_bytes // (scratch.element_bytes * width))
    if height >= rows and width == longest:
        return [item]
    cut: list[Item | Repeat] = []
    for row, col in itertools.product(range(0, rows, height), range(0, longest, width)):
        count, cols = min(height, rows - row), min(width, longest - col)
        parts = {
            name: part(window, row, count, col, cols if is_cut else window.cols)
            for name, window in follow.items()
        }
        cut.append(replace(item, operands={**item.operands, **parts}))
    return cut


def _reads(items: _Items, buffer: str) -> Iterator[tuple[int, int]]:
    """Elements of a buffer that items read, from the first to one past the last."""
    for item in items:
        yield from window_extents(item, buffer, {}, lambda one, name: not is_written(one, name))
        # What a product is added to is read, and so is what a scatter leaves alone.
        yield from window_extents(item, buffer, {}, _is_kept)


def _is_kept(item: Item, name: str) -> bool:
    keeps = item.mnemonic == "vector_scatter" or bool(item.operands.get("accumulate"))
    return keeps and name == "dst"


def _read_later(units: Sequence[Item | Repeat], scratch: Scratch) -> list[list[tuple[int, int]]]:
    """For each unit, what others read behind it, and what itself reads in other rounds."""
    size = scratch.storage.size_bytes // scratch.element_bytes
    later = [(0, size)] if scratch.is_carried else []
    found: list[list[tuple[int, int]]] = []
    for unit in reversed(units):
        if scratch.name not in unit.buffers:
            found.append(later)
            continue
        mine = list(_reads((unit,), scratch.name))
        found.append(later + (mine if isinstance(unit, Repeat) else []))
        later = later + mine
    return found[::-1]


class _Moved:
    """Units of work with their transfers, and the places that these need."""

    def __init__(self, scratch: Scratch) -> None:
        self.storages: list[Storage] = []
        self._scratch = scratch

    def unit(
        self, unit: Item | Repeat, later: Sequence[tuple[int, int]]
    ) -> list[Item | Repeat] | None:
        """One item, or a loop: around it, or in each of its rounds."""
        name = self._scratch.name
        if name not in unit.buffers:
            return [unit]
        windows = [access for one in walk((unit,)) for _, access in accesses(one)]
        mine = [access for access in windows if access.buffer == name]
        if isinstance(unit, Repeat) and any(unit.number in access.advance for access in mine):
            layer = next(walk((unit,))).layer
            body = self._around(unit.body, layer, later, {unit.number: unit.count})
            return None if body is None else [replace(unit, body=tuple(body))]
        layer = next(walk((unit,))).layer
        return self._around((unit,), layer, later, {})

    def _around(
        self,
        items: _Items,
        layer: str,
        later: Sequence[tuple[int, int]],
        loops: Mapping[int, int],
    ) -> list[Item | Repeat] | None:
        """Items with their loads before and their stores behind; `loops` are around them."""
        places = _places(items, self._scratch.name, set(loops))
        if places is None:
            return None
        loads: list[Item] = []
        stores: list[Item] = []
        for place in places:
            name = f"{self._scratch.name}@{len(self.storages)}"
            inside, outside = place.inside(name), replace(place.outside, buffer=self._scratch.port)
            size_bytes = inside.rows * inside.cols * self._scratch.element_bytes
            self.storages.append(
                Storage(name, "activation", self._scratch.storage.dtype, size_bytes)
            )
            if place.reads:
                loads += _transfers("load", layer, inside, outside)
            low, high = extent(place.outside, loops)
            if place.writes and any(first < high and low < last for first, last in later):
                stores += _transfers("store", layer, outside, inside)
            items = tuple(_placed(item, place, inside) for item in items)
        return [*loads, *items, *stores]


def _places(items: _Items, buffer: str, loops: set[int]) -> list[_Place] | None:
    """Windows of items into a buffer, together where they share elements; None if they cannot be.

    Windows move with `loops` alike, or the round of the others is part of the place.
    """
    found: list[_Place] = []
    for item in items:
        for one in walk((item,)) if buffer in item.buffers else ():
            for name, access in accesses(one):
                if access.buffer == buffer:
                    writes = is_written(one, name)
                    reads = not writes or _is_kept(one, name)
                    found.append(_Place(access, reads, writes, frozenset({_key(access)})))
    counts = _counts(items)
    merged: list[_Place] = []
    for place in found:
        for other in [one for one in merged if _meet(one, place, loops, counts)]:
            merged.remove(other)
            joined = _joined(other, place, loops, counts)
            if joined is None:
                return None
            place = joined
        merged.append(place)
    whole = [_simple(place, loops, counts) for place in merged]
    return None if any(place is None for place in whole) else [p for p in whole if p is not None]


def _counts(items: _Items) -> dict[int, int]:
    """Rounds of the loops among items."""
    found: dict[int, int] = {}
    for item in items:
        if isinstance(item, Repeat):
            found |= {item.number: item.count, **_counts(item.body)}
    return found


def _key(access: Access) -> Access:
    return replace(access, advance=tuple(sorted(access.advance.items())))


def _of_round(access: Access, loops: set[int]) -> Access:
    """Window in the first round of the loops around."""
    return replace(access, advance={n: s for n, s in access.advance.items() if n not in loops})


def _around_moves(access: Access, loops: set[int]) -> dict[int, int]:
    return {number: step for number, step in access.advance.items() if number in loops}


def _meet(one: _Place, other: _Place, loops: set[int], counts: Mapping[int, int]) -> bool:
    low, high = extent(_of_round(one.outside, loops), counts)
    first, last = extent(_of_round(other.outside, loops), counts)
    return low < last and first < high


def _joined(
    one: _Place, other: _Place, loops: set[int], counts: Mapping[int, int]
) -> _Place | None:
    """All elements from the first to the last of two places that share some."""
    if _around_moves(one.outside, loops) != _around_moves(other.outside, loops):
        return None
    both = one.reads or other.reads, one.writes or other.writes, one.windows | other.windows
    if _key(one.outside) == _key(other.outside):
        return _Place(one.outside, *both)
    low, high = extent(_of_round(one.outside, loops), counts)
    first, last = extent(_of_round(other.outside, loops), counts)
    low, high = min(low, first), max(high, last)
    moves = _around_moves(one.outside, loops)
    # Elements between the windows stay as they are only if they were loaded.
    size = high - low
    return _Place(Access(one.outside.buffer, low, 1, size, size, 1, moves), True, *both[1:])


def _simple(place: _Place, loops: set[int], counts: Mapping[int, int]) -> _Place | None:
    """A place that can be transferred: rows of neighbours, moving with the loops around only."""
    access = place.outside
    if (rows := _rows_of_loop(place, loops, counts)) is not None:
        return rows
    if len(place.windows) > 1:
        return place
    has_rows = access.cols == 1 or access.col_stride == 1
    stays = not set(access.advance) - loops
    if has_rows and stays and access.row_stride >= 0:
        if access.row_stride or access.rows == 1:
            return place
        return None if place.writes else replace(place, outside=replace(access, rows=1))
    if stays and access.row_stride == 1 and access.col_stride >= access.rows:
        turned = replace(
            access,
            rows=access.cols,
            cols=access.rows,
            row_stride=access.col_stride,
            col_stride=1,
        )
        return replace(place, outside=turned, is_turned=True)
    low, high = extent(_of_round(access, loops), counts)
    moves, size = _around_moves(access, loops), high - low
    outside = Access(access.buffer, low, 1, size, size, 1, moves)
    return _Place(outside, True, place.writes, place.windows)


def _rows_of_loop(place: _Place, loops: set[int], counts: Mapping[int, int]) -> _Place | None:
    """What each round of one loop inside uses, as a row of its own; the rest stays outside."""
    windows = [replace(window, advance=dict(window.advance)) for window in place.windows]
    advance = windows[0].advance
    inside = [number for number in advance if number not in loops]
    if len(inside) != 1 or any(window.advance != advance for window in windows):
        return None
    (number,) = inside
    extents = [extent(window, {}) for window in windows]
    low, high = min(first for first, _ in extents), max(last for _, last in extents)
    if high - low > advance[number]:
        return None
    moves = _around_moves(windows[0], loops)
    outside = Access(
        place.outside.buffer, low, counts[number], high - low, advance[number], 1, moves
    )
    is_full = len(windows) == 1 and _is_dense(windows[0])
    return _Place(outside, place.reads or not is_full, place.writes, place.windows, number)


def _is_dense(window: Access) -> bool:
    """Whether it shows each element from its first to its last."""
    return (window.cols == 1 or window.col_stride == 1) and (
        window.rows == 1 or window.row_stride == window.cols
    )


def _placed(item: Item | Repeat, place: _Place, inside: Access) -> Item | Repeat:
    """An item whose windows into a place are on the chip."""
    if place.outside.buffer not in item.buffers:
        return item
    if isinstance(item, Repeat):
        return replace(item, body=tuple(_placed(one, place, inside) for one in item.body))

    def window(access: Access) -> Access:
        if access.buffer != place.outside.buffer or _key(access) not in place.windows:
            return access
        if _key(access) == _key(place.outside):
            return inside
        advance = {n: s for n, s in access.advance.items() if n not in place.outside.advance}
        if place.row_loop is not None:
            advance[place.row_loop] = inside.row_stride
        if place.is_turned:
            access = replace(access, col_stride=inside.row_stride)
        offset = access.offset - place.outside.offset
        return replace(access, buffer=inside.buffer, offset=offset, advance=advance)

    windows = {name: window(access) for name, access in accesses(item)}
    return replace(item, operands={**item.operands, **windows})


def _transfers(mnemonic: str, layer: str, target: Access, source: Access) -> Iterator[Item]:
    """Items that move a window; one that is a single long row in pieces that a view can show."""
    if target.rows > 1 or target.cols <= MAX_EXTENT:
        windows = [(0, target.cols)]
    else:
        edges = [*range(0, target.cols, MAX_EXTENT), target.cols]
        windows = [(low, high - low) for low, high in itertools.pairwise(edges)]
    for low, count in windows:
        yield Item(
            mnemonic,
            layer,
            {
                "dst": part(target, 0, target.rows, low, count),
                "src": part(source, 0, source.rows, low, count),
            },
        )
