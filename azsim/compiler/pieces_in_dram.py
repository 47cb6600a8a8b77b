"""Pieces of what lives in DRAM: states, constants and outputs, cut where the program cuts them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from azsim.compiler.movable import State, is_row_major
from azsim.compiler.schedule import (
    MAX_EXTENT,
    Item,
    Repeat,
    accesses,
    extent,
    is_written,
    walk,
    window_extents,
)
from azsim.ops.lowering import Access

__all__ = [
    "Piece",
    "in_place",
    "joined",
    "moves_with",
    "parts_of_round",
    "pieces_of",
    "row_stores",
    "step_of_loop",
    "stored_at_once",
    "transfers",
    "with_name",
    "writes_to",
]

_Items = tuple[Item | Repeat, ...]


@dataclass
class Piece:
    """Elements [low, high) of a state and the items, by number, that touch them."""

    low: int
    high: int
    items: list[int]


def pieces_of(
    body: Mapping[int, Item | Repeat], numbers: Iterable[int], buffer: str
) -> list[Piece]:
    """Parts of a buffer that no item touches together, out of the items that touch it."""
    found: list[Piece] = []
    for number in numbers:
        for low, high in window_extents(body[number], buffer, {}):
            touched = [piece for piece in found if piece.low < high and low < piece.high]
            if touched:
                found = [piece for piece in found if piece not in touched]
            together = {number, *(n for piece in touched for n in piece.items)}
            found.append(
                Piece(
                    min([low, *(piece.low for piece in touched)]),
                    max([high, *(piece.high for piece in touched)]),
                    sorted(together),
                )
            )
    return sorted(found, key=lambda piece: piece.low)


def joined(pieces: Sequence[Piece], body: Mapping[int, Item | Repeat], most: int) -> list[Piece]:
    """Pieces with neighbours of up to `most` elements made one, where they are used in a row."""
    found: list[Piece] = []
    for piece in pieces:
        before = found[-1] if found else None
        if (
            before is not None
            and piece.high - before.low <= most
            and before.items[-1] <= piece.items[0]
            and not any(isinstance(body[n], Repeat) for n in (*before.items, *piece.items))
        ):
            numbers = sorted({*before.items, *piece.items})
            found[-1] = Piece(before.low, piece.high, numbers)
        else:
            found.append(piece)
    return found


def moves_with(loop: Repeat, buffer: str) -> bool:
    """Whether a window into a buffer moves with a loop, or with one that leads to a part of it."""
    numbers = {loop.number, *_region_loops(loop)}
    return any(
        access.buffer == buffer and numbers & access.advance.keys()
        for item in walk((loop,))
        for _, access in accesses(item)
    )


def _region_loops(loop: Repeat) -> Iterator[int]:
    for item in loop.body:
        if isinstance(item, Repeat) and item.is_region:
            yield item.number
            yield from _region_loops(item)


def with_name(item: Item | Repeat, old: str, new: str) -> Item | Repeat:
    """The same work on a buffer of another name."""
    if isinstance(item, Repeat):
        return replace(item, body=tuple(with_name(inner, old, new) for inner in item.body))
    changed = {
        key: replace(access, buffer=new) for key, access in accesses(item) if access.buffer == old
    }
    return replace(item, operands={**item.operands, **changed}) if changed else item


def writes_to(items: _Items, buffer: str) -> bool:
    """Whether any of some items writes a buffer."""
    return any(
        access.buffer == buffer and is_written(item, name)
        for outer in items
        if buffer in outer.buffers
        for item in walk((outer,))
        for name, access in accesses(item)
    )


def row_stores(items: _Items, name: str, port: str, low: int) -> Mapping[int, Item]:
    """Stores behind the items that write a piece, if all of these scatter rows, such as a ring's.

    Only these rows go to DRAM then, and not the whole piece.
    """
    found: dict[int, Item] = {}
    for number, item in enumerate(items):
        if not writes_to((item,), name):
            continue
        if isinstance(item, Repeat) or item.mnemonic != "vector_scatter":
            return {}
        target = item.operands["dst"]
        assert isinstance(target, Access)
        if target.cols > 1 and target.col_stride != 1:
            return {}
        outside = replace(target, buffer=port, offset=low + target.offset)
        found[number] = Item("store_scatter", item.layer, {**item.operands, "dst": outside})
    return found


def step_of_loop(item: Item | Repeat, buffer: str) -> int:
    """Elements by which a loop's windows into a state move each round, if rounds stay apart."""
    if not isinstance(item, Repeat):
        return 0
    steps = {
        access.advance.get(item.number, 0)
        for inner in walk(item.body)
        for _, access in accesses(inner)
        if access.buffer == buffer
    }
    if len(steps) != 1:
        return 0
    (step,) = steps
    extents = [extent for inner in item.body for extent in window_extents(inner, buffer, {})]
    span = max(high for _, high in extents) - min(low for low, _ in extents)
    return step if 0 < span <= step else 0


def parts_of_round(loop: Repeat, buffer: str, piece: Piece) -> list[Piece]:
    """What a round works on of a piece that its loop walks over, with the items of the body.

    Where its two halves work on different parts, as rounds in pairs do, there are two, else one.
    """
    found = [
        part
        for half in (loop.body[: len(loop.body) // 2], loop.body[len(loop.body) // 2 :])
        if (part := _shown(half, buffer, piece)) is not None
    ]
    at = len(loop.body) // 2
    if len(found) == 2 and found[0].high <= found[1].low and found[1].items:
        first, second = found
        return [first, replace(second, items=[at + number for number in second.items])]
    whole = _shown(loop.body, buffer, piece)
    return [] if whole is None else [whole]


def _shown(items: _Items, buffer: str, piece: Piece) -> Piece | None:
    """What items use of a piece, in the first round of the loop around them."""
    users: list[int] = []
    extents: list[tuple[int, int]] = []
    for number, item in enumerate(items):
        shown = [span for span in window_extents(item, buffer, {}) if span[0] >= piece.low]
        shown = [span for span in shown if span[0] < piece.high]
        if shown:
            users.append(number)
            extents += shown
    if not users:
        return None
    return Piece(min(low for low, _ in extents), max(high for _, high in extents), users)


def in_place(
    items: _Items,
    buffer: str,
    name: str,
    piece: Piece,
    loops: Mapping[int, int],
    loop: int | None = None,
) -> tuple[Item | Repeat, ...]:
    """Items whose windows into a piece of a buffer are windows into its place, in its own loop.

    An item that is a loop may have windows into several pieces: the others stay.
    """

    def window(access: Access) -> Access:
        if access.buffer != buffer or not piece.low <= extent(access, loops)[0] < piece.high:
            return access
        advance = {number: step for number, step in access.advance.items() if number != loop}
        return replace(access, buffer=name, offset=access.offset - piece.low, advance=advance)

    result: list[Item | Repeat] = []
    for item in items:
        if buffer not in item.buffers:
            result.append(item)
            continue
        if isinstance(item, Repeat):
            inside = {**loops, item.number: item.count}
            body = in_place(item.body, buffer, name, piece, inside, loop)
            result.append(replace(item, body=body))
            continue
        windows = {key: window(access) for key, access in accesses(item)}
        result.append(replace(item, operands={**item.operands, **windows}))
    return tuple(result)


def transfers(
    mnemonic: str,
    port: str,
    name: str,
    low: int,
    size: int,
    layer: str,
    advance: Mapping[int, int] | None = None,
) -> Iterator[Item]:
    """Loads or stores of all elements of a piece: whole rows of a view, then what is left."""
    rows, left = divmod(size, MAX_EXTENT) if size > MAX_EXTENT else (1, 0)
    cols = min(size, MAX_EXTENT)
    for start, height, width in ((0, rows, cols), (rows * cols, 1, left)):
        if not width:
            continue
        inside = Access(name, start, height, width, width, 1)
        outside = Access(port, low + start, height, width, width, 1, advance or {})
        source, target = (outside, inside) if mnemonic == "load" else (inside, outside)
        yield Item(mnemonic, layer, {"dst": target, "src": source})


def stored_at_once(item: Item | Repeat, state: State) -> Item | Repeat:
    """A copy of a result to the state's place becomes a store from where it was made."""
    if isinstance(item, Repeat) or item.mnemonic != "vector_copy":
        return item
    target, source = item.operands["dst"], item.operands["src"]
    assert isinstance(target, Access)
    assert isinstance(source, Access)
    is_plain = source.cols == 1 or source.col_stride == 1
    if target.buffer != state.buffer or source.buffer == state.buffer:
        return item
    if not (is_row_major(target) and is_plain) or target.advance or source.advance:
        return item
    return Item("store", item.layer, {"dst": replace(target, buffer=state.port), "src": source})
