"""Spill: carried state and constants that activation SRAM has no room for live in DRAM.

Contract: takes a schedule in which all of them stay on the chip, gives one in which every item
works on the same bytes.  As many stay as fit beside what else lives, those first that save the most
traffic per byte: states, which come and go, before constants, which only come, and small ones
before large ones, as a short transfer costs more per byte than a long one.

What does not stay is cut where the program's windows into it cut it.  Each piece is loaded before
its first use in a frame and, if it was written, stored behind its last one; where a loop walks over
it, each round loads and stores what it works on.  A result that is only copied to a state's place
is stored from where it was made.  Input and output port of such a state are the same bytes of DRAM.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from azsim.compiler.allocate import fits
from azsim.compiler.schedule import (
    MAX_EXTENT,
    Item,
    Repeat,
    Schedule,
    Storage,
    accesses,
    is_written,
    walk,
)
from azsim.hardware.description import Hardware
from azsim.ops.lowering import Access
from azsim.ops.steps import ELEMENT_BYTES

__all__ = ["spill"]

_Items = tuple[Item | Repeat, ...]

_TRANSFER_BYTES = 320
"""What a transfer costs beside its bytes: about az1's latency of DRAM and a burst."""


def spill(schedule: Schedule, hardware: Hardware, state: Mapping[str, str]) -> Schedule:
    """Move states to DRAM until the rest fits activation SRAM.

    Parameters
    ----------
    schedule : Schedule
    hardware : Hardware
    state : mapping of str to str
        Carried tensors, graph input to graph output.

    Returns
    -------
    Schedule
        With `spilled`: state by input name, to the output that it takes from the frame before.
    """
    if fits(schedule, hardware):
        return schedule
    found = [_State.of(schedule, source, target) for source, target in state.items()]
    movable = [*(one for one in found if one is not None), *_constants(schedule)]
    movable.sort(key=lambda one: one.traffic_per_byte(schedule), reverse=True)
    # The first `low` fit, the first `high` do not.
    low, high = 0, len(movable)
    while high - low > 1:
        middle = (low + high) // 2
        if fits(_without(schedule, movable[middle:]), hardware):
            low = middle
        else:
            high = middle
    return _without(schedule, movable[low:])


def _without(schedule: Schedule, movable: Sequence[_Movable]) -> Schedule:
    for one in movable:
        schedule = _spilled(schedule, one)
    return schedule


@dataclass(frozen=True)
class _Movable:
    """What may live in DRAM: a constant, or a state with more to it.

    Attributes
    ----------
    buffer : str
        Its place on the chip.
    port : str
        Its storage in DRAM.
    load : Item
        What fills it at the start.
    """

    buffer: str
    port: str
    load: Item

    directions: ClassVar[int] = 1
    """How often a frame moves it."""

    def traffic_per_byte(self, schedule: Schedule) -> float:
        """What keeping it on the chip saves in a frame, in bytes' time per byte."""
        size_bytes = schedule.storages[self.buffer].size_bytes
        return self.directions * (1 + _TRANSFER_BYTES / size_bytes)


@dataclass(frozen=True)
class _State(_Movable):
    """A state, and the items that save it at the end."""

    source: str
    target: str
    stores: tuple[Item, ...]

    directions: ClassVar[int] = 2

    @classmethod
    def of(cls, schedule: Schedule, source: str, target: str) -> _State | None:
        """Find a state's items; None where it shares a buffer, or is not saved from it."""
        port = f"input {source}"
        loads = [item for item in walk(schedule.startup) if _touches(item, port)]
        stores = [item for item in walk(schedule.finish) if _touches(item, f"output {target}")]
        if len(loads) != 1 or len(stores) != 1:
            return None
        window, saved = loads[0].operands["dst"], stores[0].operands["src"]
        assert isinstance(window, Access)
        assert isinstance(saved, Access)
        if window.offset or saved.buffer != window.buffer:
            return None
        return cls(window.buffer, port, loads[0], source, target, tuple(stores))


def _touches(item: Item, buffer: str) -> bool:
    return any(access.buffer == buffer for _, access in accesses(item))


def _constants(schedule: Schedule) -> Iterator[_Movable]:
    """Constants in activation SRAM, which the program's start loads."""
    for item in walk(schedule.startup):
        target, source = item.operands.get("dst"), item.operands.get("src")
        if item.mnemonic != "load" or not isinstance(target, Access):
            continue
        assert isinstance(source, Access)
        is_constant = source.buffer == f"{target.buffer}#dram"
        if is_constant and schedule.storages[target.buffer].space == "activation":
            yield _Movable(target.buffer, source.buffer, item)


@dataclass
class _Piece:
    """Elements [low, high) of a state and the items, by number, that touch them."""

    low: int
    high: int
    items: list[int]


def _extent(access: Access, loops: Mapping[int, int]) -> tuple[int, int]:
    """First element and one past the last that a window reaches in all rounds of loops."""
    steps = [
        (access.rows - 1) * access.row_stride,
        (access.cols - 1) * access.col_stride,
        *((loops.get(loop, 1) - 1) * step for loop, step in access.advance.items()),
    ]
    low = access.offset + sum(step for step in steps if step < 0)
    return low, access.offset + sum(step for step in steps if step > 0) + 1


def _windows(
    item: Item | Repeat, buffer: str, loops: Mapping[int, int]
) -> Iterator[tuple[int, int]]:
    if isinstance(item, Repeat):
        for inner in item.body:
            yield from _windows(inner, buffer, {**loops, item.number: item.count})
        return
    for _, access in accesses(item):
        if access.buffer == buffer:
            yield _extent(access, loops)


def _pieces(body: _Items, buffer: str) -> list[_Piece]:
    """Parts of a state that no item touches together."""
    found: list[_Piece] = []
    for number, item in enumerate(body):
        for low, high in _windows(item, buffer, {}):
            touched = [piece for piece in found if piece.low < high and low < piece.high]
            found = [piece for piece in found if piece not in touched]
            numbers = {number, *(n for piece in touched for n in piece.items)}
            found.append(
                _Piece(
                    min([low, *(piece.low for piece in touched)]),
                    max([high, *(piece.high for piece in touched)]),
                    sorted(numbers),
                )
            )
    return sorted(found, key=lambda piece: piece.low)


def _spilled(schedule: Schedule, moved: _Movable) -> Schedule:
    """Schedule in which one state or constant lives in DRAM."""
    storages = dict(schedule.storages)
    element_bytes = ELEMENT_BYTES[storages[moved.buffer].dtype]
    del storages[moved.buffer]
    body, finish, spilled = list(schedule.body), schedule.finish, schedule.spilled
    if isinstance(moved, _State):
        del storages[f"output {moved.target}"]
        storages[moved.port] = replace(storages[moved.port], is_shared=True)
        body = [_stored_at_once(item, moved) for item in body]
        finish = tuple(item for item in finish if item not in moved.stores)
        spilled = {**spilled, moved.source: moved.target}
    before: dict[int, list[Item]] = {}
    behind: dict[int, list[Item]] = {}
    for number, piece in enumerate(_pieces(tuple(body), moved.buffer)):
        name = f"{moved.buffer}#{number}"
        first, last = piece.items[0], piece.items[-1]
        only = body[first]
        step = _step_of_loop(only, moved.buffer) if len(piece.items) == 1 else 0
        size = piece.high - piece.low
        layer = next(walk((only,))).layer
        if step and isinstance(only, Repeat):
            size -= (only.count - 1) * step
            moves = {only.number: step}
            loads = list(_transfers("load", moved.port, name, piece.low, size, layer, moves))
            inner = _moved(only.body, moved.buffer, name, piece.low, only.number)
            if _is_written(inner, name):
                inner = (
                    *inner,
                    *_transfers("store", moved.port, name, piece.low, size, layer, moves),
                )
            body[first] = replace(only, body=(*loads, *inner))
        else:
            for index in piece.items:
                (body[index],) = _moved((body[index],), moved.buffer, name, piece.low)
            touching = tuple(body[index] for index in piece.items)
            before.setdefault(first, []).extend(
                _transfers("load", moved.port, name, piece.low, size, layer)
            )
            if _is_written(touching, name):
                behind.setdefault(last, []).extend(
                    _transfers("store", moved.port, name, piece.low, size, layer)
                )
        dtype = schedule.storages[moved.buffer].dtype
        storages[name] = Storage(name, "activation", dtype, size * element_bytes)
    whole = [
        entry
        for number, item in enumerate(body)
        for entry in (*before.get(number, ()), item, *behind.get(number, ()))
    ]
    return replace(
        schedule,
        startup=tuple(item for item in schedule.startup if item is not moved.load),
        body=tuple(whole),
        finish=finish,
        storages=storages,
        spilled=spilled,
    )


def _is_written(items: _Items, buffer: str) -> bool:
    return any(
        access.buffer == buffer and is_written(item, name)
        for item in walk(items)
        for name, access in accesses(item)
    )


def _step_of_loop(item: Item | Repeat, buffer: str) -> int:
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
    extents = [extent for inner in item.body for extent in _windows(inner, buffer, {})]
    span = max(high for _, high in extents) - min(low for low, _ in extents)
    return step if 0 < span <= step else 0


def _moved(
    items: _Items, buffer: str, name: str, low: int, loop: int | None = None
) -> tuple[Item | Repeat, ...]:
    """Items whose windows into a state are windows into a piece of it, of this round of a loop."""

    def window(access: Access) -> Access:
        if access.buffer != buffer:
            return access
        advance = {number: step for number, step in access.advance.items() if number != loop}
        return replace(access, buffer=name, offset=access.offset - low, advance=advance)

    result: list[Item | Repeat] = []
    for item in items:
        if isinstance(item, Repeat):
            result.append(replace(item, body=_moved(item.body, buffer, name, low, loop)))
            continue
        windows = {key: window(access) for key, access in accesses(item)}
        result.append(replace(item, operands={**item.operands, **windows}))
    return tuple(result)


def _transfers(
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


def _stored_at_once(item: Item | Repeat, state: _State) -> Item | Repeat:
    """A copy of a result to the state's place becomes a store from where it was made."""
    if isinstance(item, Repeat) or item.mnemonic != "vector_copy":
        return item
    target, source = item.operands["dst"], item.operands["src"]
    assert isinstance(target, Access)
    assert isinstance(source, Access)
    is_row_major = (target.cols == 1 or target.col_stride == 1) and (
        target.rows == 1 or target.row_stride == target.cols
    )
    is_plain = source.cols == 1 or source.col_stride == 1
    if target.buffer != state.buffer or source.buffer == state.buffer:
        return item
    if not (is_row_major and is_plain) or target.advance or source.advance:
        return item
    return Item("store", item.layer, {"dst": replace(target, buffer=state.port), "src": source})
