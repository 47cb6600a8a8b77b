"""Spill: what activation SRAM has no room for lives in DRAM: state, constants, outputs, scratch.

Contract: takes a schedule in which all of them stay on the chip as a whole, gives one in which
every item works on the same bytes.  As many stay as fit beside what else lives, those first that
save the most traffic per byte: states, which come and go, before constants, which only come, before
outputs, which go anyway, and small ones before large ones, as a short transfer costs more per byte
than a long one.

What does not stay is cut where the program's windows into it cut it; small pieces that are used one
after another are one.  Each piece is loaded before its first use in a frame and, if it was written,
stored behind its last one; where a loop walks over it, each round loads and stores what it works
on.  A result that is only copied to a state's place is stored from where it was made.  Input and
output port of such a state are the same bytes of DRAM.  Of a ring, into which rows are scattered,
these rows are stored and nothing else.  Of an output each piece is stored as soon as it is
complete.  Large intermediate tensors come and go item by item (`azsim.compiler.scratch`), where all
else is not enough; so do states and constants with a piece that is larger than the SRAM.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from azsim.compiler.allocate import fits
from azsim.compiler.movable import (
    LARGE_SHARE,
    Constant,
    Movable,
    Output,
    Spread,
    State,
    constants,
    is_row_major,
    large_scratch,
    outputs,
)
from azsim.compiler.schedule import (
    MAX_EXTENT,
    Item,
    Repeat,
    Schedule,
    Storage,
    accesses,
    extent,
    is_written,
    walk,
    window_extents,
)
from azsim.compiler.scratch import Scratch, in_dram
from azsim.hardware.description import Hardware
from azsim.ops.lowering import Access
from azsim.ops.steps import ELEMENT_BYTES

__all__ = ["spill"]

_Items = tuple[Item | Repeat, ...]

_JOINED_SHARE = 16
"""Pieces that are used in a row come together up to this part of activation SRAM."""


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
    found = [State.of(schedule, source, target) for source, target in state.items()]
    movable = [*(one for one in found if one is not None), *constants(schedule)]
    movable += outputs(schedule, {one.buffer for one in movable})
    if not fits(_without(schedule, movable, hardware), hardware):
        taken = {one.buffer for one in movable}
        movable += large_scratch(schedule, taken, hardware.activation_sram.bytes)
    movable.sort(key=lambda one: one.traffic_per_byte(schedule), reverse=True)
    # The first `low` fit, the first `high` do not.
    low, high = 0, len(movable)
    while high - low > 1:
        middle = (low + high) // 2
        if fits(_without(schedule, movable[middle:], hardware), hardware):
            low = middle
        else:
            high = middle
    return _without(schedule, movable[low:], hardware)


def _without(schedule: Schedule, movable: Sequence[Movable], hardware: Hardware) -> Schedule:
    rewriting = _Rewriting(schedule, hardware.activation_sram.bytes)
    for one in movable:
        rewriting.move(one)
    return rewriting.schedule()


@dataclass
class _Piece:
    """Elements [low, high) of a state and the items, by number, that touch them."""

    low: int
    high: int
    items: list[int]


def _pieces(body: Mapping[int, Item | Repeat], numbers: Iterable[int], buffer: str) -> list[_Piece]:
    """Parts of a buffer that no item touches together, out of the items that touch it."""
    found: list[_Piece] = []
    for number in numbers:
        for low, high in window_extents(body[number], buffer, {}):
            touched = [piece for piece in found if piece.low < high and low < piece.high]
            if touched:
                found = [piece for piece in found if piece not in touched]
            together = {number, *(n for piece in touched for n in piece.items)}
            found.append(
                _Piece(
                    min([low, *(piece.low for piece in touched)]),
                    max([high, *(piece.high for piece in touched)]),
                    sorted(together),
                )
            )
    return sorted(found, key=lambda piece: piece.low)


def _joined(pieces: Sequence[_Piece], body: Mapping[int, Item | Repeat], most: int) -> list[_Piece]:
    """Pieces with neighbours of up to `most` elements made one, where they are used in a row."""
    found: list[_Piece] = []
    for piece in pieces:
        before = found[-1] if found else None
        if (
            before is not None
            and piece.high - before.low <= most
            and before.items[-1] <= piece.items[0]
            and not any(isinstance(body[n], Repeat) for n in (*before.items, *piece.items))
        ):
            numbers = sorted({*before.items, *piece.items})
            found[-1] = _Piece(before.low, piece.high, numbers)
        else:
            found.append(piece)
    return found


class _Rewriting:
    """A schedule, and what has been moved out of activation SRAM so far."""

    def __init__(self, schedule: Schedule, room_bytes: int) -> None:
        self._old = schedule
        self._room_bytes = room_bytes
        self._storages = dict(schedule.storages)
        self._body: list[Item | Repeat | None] = list(schedule.body)
        self._gone: set[int] = set()
        """Items of the start and the end, by identity."""
        self._spilled = dict(schedule.spilled)
        self._before: dict[int, list[Item]] = {}
        self._behind: dict[int, list[Item]] = {}
        self._scratch: list[Scratch] = []
        self._num_parts = 0
        self._touching: dict[str, list[int]] = {}
        for number, item in enumerate(schedule.body):
            for buffer in sorted(item.buffers):
                self._touching.setdefault(buffer, []).append(number)

    def move(self, moved: Movable) -> None:
        """Let a state, a constant or an output live in DRAM."""
        if isinstance(moved, State):
            del self._storages[f"output {moved.target}"]
            port = self._storages[moved.port]
            self._storages[moved.port] = replace(port, is_shared=True)
            for number in self._touching.get(moved.buffer, ()):
                self._body[number] = _stored_at_once(self._at(number), moved)
            self._gone |= {id(item) for item in (moved.load, *moved.stores)}
            self._spilled[moved.source] = moved.target
        elif isinstance(moved, Constant):
            self._gone.add(id(moved.load))
            self._move_in_regions(moved)
        elif isinstance(moved, Output):
            self._body[moved.number] = None
        elif isinstance(moved, Spread):
            self._scratch.append(moved.scratch)
            return
        storage = self._storages.pop(moved.buffer)
        numbers = [n for n in self._touching.get(moved.buffer, ()) if self._body[n] is not None]
        body = {number: self._at(number) for number in numbers}
        most = self._room_bytes // _JOINED_SHARE // ELEMENT_BYTES[storage.dtype]
        pieces = _joined(_pieces(body, numbers, moved.buffer), body, most)
        if not isinstance(moved, Output) and self._comes_by_item(moved, storage, body, pieces):
            return
        for count, piece in enumerate(pieces):
            name = f"{moved.buffer}#{count}"
            size = self._piece(moved, piece, name)
            size_bytes = size * ELEMENT_BYTES[storage.dtype]
            self._storages[name] = Storage(name, "activation", storage.dtype, size_bytes)

    def _move_in_regions(self, moved: Constant) -> None:
        """Let each part of a region load what it uses."""
        left: list[int] = []
        for number in self._touching.get(moved.buffer, ()):
            item = self._at(number)
            if isinstance(item, Repeat) and item.is_region:
                body = self._in_parts(item.body, moved)
                self._body[number] = replace(item, body=body)
            else:
                left.append(number)
        self._touching[moved.buffer] = left

    def _in_parts(self, items: _Items, moved: Constant) -> _Items:
        result: list[Item | Repeat] = []
        part: list[Item | Repeat] = []

        def end_part() -> None:
            result.extend(self._in_part(tuple(part), moved))
            part.clear()

        for item in items:
            if isinstance(item, Repeat) and item.is_region:
                end_part()
                result.append(replace(item, body=self._in_parts(item.body, moved)))
            elif isinstance(item, Item) and item.leave is not None:
                end_part()
                result.append(item)
            else:
                part.append(item)
        end_part()
        return tuple(result)

    def _in_part(self, part: _Items, moved: Constant) -> _Items:
        """A part that loads pieces of a constant of its own."""
        if not any(moved.buffer in item.buffers for item in part):
            return part
        self._num_parts += 1
        name = f"{moved.buffer}@{self._num_parts}"
        storages = {**self._storages, name: replace(self._storages[moved.buffer], name=name)}
        inner = _Rewriting(
            replace(
                self._old,
                startup=(),
                body=tuple(_with_name(item, moved.buffer, name) for item in part),
                finish=(),
                storages=storages,
            ),
            self._room_bytes,
        )
        inner.move(replace(moved, buffer=name))
        found = inner.schedule()
        self._storages = dict(found.storages)
        return found.body

    def _comes_by_item(
        self,
        moved: Movable,
        storage: Storage,
        body: Mapping[int, Item | Repeat],
        pieces: Sequence[_Piece],
    ) -> bool:
        """Let a state or a constant with pieces that never fit come and go item by item."""
        most = self._room_bytes // ELEMENT_BYTES[storage.dtype]
        if all(
            piece.high - piece.low <= most
            or (len(piece.items) == 1 and _step_of_loop(body[piece.items[0]], moved.buffer))
            for piece in pieces
        ):
            return False
        most_bytes = self._room_bytes // LARGE_SHARE
        scratch = Scratch(storage, moved.port, most_bytes, is_carried=isinstance(moved, State))
        if in_dram(list(body.values()), scratch) is None:
            return False
        self._storages[moved.buffer] = storage
        self._scratch.append(scratch)
        return True

    def _at(self, number: int) -> Item | Repeat:
        item = self._body[number]
        assert item is not None
        return item

    def _piece(self, moved: Movable, piece: _Piece, name: str) -> int:
        """Transfer one piece where it is used; returns how many of its elements are there."""
        first, last = piece.items[0], piece.items[-1]
        only = self._at(first)
        step = _step_of_loop(only, moved.buffer) if len(piece.items) == 1 else 0
        size = piece.high - piece.low
        layer = next(walk((only,))).layer
        moves: dict[int, int] = {}
        if isinstance(moved, Output):
            target = moved.store.operands["dst"]
            assert isinstance(target, Access)
            moves |= target.advance
        if step and isinstance(only, Repeat):
            size -= (only.count - 1) * step
            moves[only.number] = step
            loops = {only.number: only.count}
            inner = _moved(only.body, moved.buffer, name, piece, loops, only.number)
            self._body[first] = replace(only, body=inner)
        else:
            for number in piece.items:
                (self._body[number],) = _moved((self._at(number),), moved.buffer, name, piece, {})
        touching = tuple(self._at(number) for number in piece.items)
        place = moved.port, name, piece.low, size, layer, moves
        loads = [] if isinstance(moved, Output) else list(_transfers("load", *place))
        by_row = _row_stores(touching, name, moved.port, piece.low)
        for number, store in by_row.items():
            self._behind.setdefault(piece.items[number], []).append(store)
        is_stored = _is_written(touching, name) and not by_row
        stores = list(_transfers("store", *place)) if is_stored else []
        if step and isinstance(only, Repeat):
            loop = touching[0]
            assert isinstance(loop, Repeat)
            self._body[first] = replace(loop, body=(*loads, *loop.body, *stores))
        else:
            self._before.setdefault(first, []).extend(loads)
            self._behind.setdefault(last, []).extend(stores)
        return size

    def schedule(self) -> Schedule:
        """Put everything together."""
        body = [
            entry
            for number, item in enumerate(self._body)
            for entry in (*self._before.get(number, ()), item, *self._behind.get(number, ()))
            if entry is not None
        ]
        storages = dict(self._storages)
        for scratch in self._scratch:
            found = in_dram(body, scratch)
            assert found is not None
            body, places = found
            del storages[scratch.name]
            storages |= {place.name: place for place in places}
            size_bytes, dtype = scratch.storage.size_bytes, scratch.storage.dtype
            port = Storage(scratch.port, "dram", dtype, size_bytes, True, is_shared=True)
            storages.setdefault(scratch.port, port)
        return replace(
            self._old,
            startup=tuple(item for item in self._old.startup if id(item) not in self._gone),
            body=tuple(body),
            finish=tuple(item for item in self._old.finish if id(item) not in self._gone),
            storages=storages,
            spilled=self._spilled,
        )


def _with_name(item: Item | Repeat, old: str, new: str) -> Item | Repeat:
    """The same work on a buffer of another name."""
    if isinstance(item, Repeat):
        return replace(item, body=tuple(_with_name(inner, old, new) for inner in item.body))
    changed = {
        key: replace(access, buffer=new) for key, access in accesses(item) if access.buffer == old
    }
    return replace(item, operands={**item.operands, **changed}) if changed else item


def _is_written(items: _Items, buffer: str) -> bool:
    return any(
        access.buffer == buffer and is_written(item, name)
        for outer in items
        if buffer in outer.buffers
        for item in walk((outer,))
        for name, access in accesses(item)
    )


def _row_stores(items: _Items, name: str, port: str, low: int) -> Mapping[int, Item]:
    """Stores behind the items that write a piece, if all of these scatter rows, such as a ring's.

    Only these rows go to DRAM then, and not the whole piece.
    """
    found: dict[int, Item] = {}
    for number, item in enumerate(items):
        if not _is_written((item,), name):
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
    extents = [extent for inner in item.body for extent in window_extents(inner, buffer, {})]
    span = max(high for _, high in extents) - min(low for low, _ in extents)
    return step if 0 < span <= step else 0


def _moved(
    items: _Items,
    buffer: str,
    name: str,
    piece: _Piece,
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
            body = _moved(item.body, buffer, name, piece, inside, loop)
            result.append(replace(item, body=body))
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


def _stored_at_once(item: Item | Repeat, state: State) -> Item | Repeat:
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
