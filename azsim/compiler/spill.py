"""Spill: what activation SRAM has no room for lives in DRAM: state, constants, outputs, scratch.

Contract: takes a schedule in which all of them stay on the chip as a whole, gives one in which
every item works on the same bytes.  As many stay as fit beside what else lives, those first that
save the most traffic per byte: states, which come and go, before constants, which only come, before
outputs, which go anyway, and small ones before large ones, as a short transfer costs more per byte
than a long one.

What does not stay is cut where the program's windows into it cut it; small pieces that are used one
after another are one.  Each piece is loaded before its first use in a frame and, if it was written,
stored behind its last one; where a loop walks over it, each round loads and stores what it works
on, or, of what is only read, loads what the next round works on.  A result that is only copied to a
state's place is stored from where it was made.  Input and output port of such a state are the same
bytes of DRAM.  Of a ring, into which rows are scattered, these rows are stored and nothing else.
Of an output each piece is stored as soon as it is complete.  Large intermediate tensors come and go
item by item (`azsim.compiler.scratch`), where all else is not enough; so do states and constants
with a piece that is larger than the SRAM.  Where even that is not enough, they and the constants
come and go in each round of a loop.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from azsim.compiler.allocate import fits
from azsim.compiler.movable import (
    LARGE_SHARE,
    Constant,
    Movable,
    Output,
    Spread,
    State,
    constants,
    large_scratch,
    outputs,
)
from azsim.compiler.pieces_in_dram import (
    Piece,
    in_place,
    joined,
    moves_with,
    pieces_of,
    row_stores,
    step_of_loop,
    stored_at_once,
    transfers,
    with_name,
    writes_to,
)
from azsim.compiler.schedule import (
    Item,
    Repeat,
    Schedule,
    Storage,
    rewritten_parts,
    users_of,
    walk,
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
    room_bytes, in_rounds = hardware.activation_sram.bytes, False

    def without(moved: Sequence[Movable]) -> Schedule:
        rewriting = _Rewriting(schedule, room_bytes, in_rounds=in_rounds)
        for one in moved:
            rewriting.move(one)
        return rewriting.schedule()

    if not fits(without(movable), hardware):
        taken = {one.buffer for one in movable}
        movable += (scratch := list(large_scratch(schedule, taken, room_bytes)))
        if not fits(without(movable), hardware):
            in_rounds = True
            movable = [one for one in movable if one not in scratch]
            movable += large_scratch(schedule, taken, room_bytes, in_rounds=True)
    movable.sort(key=lambda one: one.traffic_per_byte(schedule), reverse=True)
    # The first `low` fit, the first `high` do not.
    low, high = 0, len(movable)
    while high - low > 1:
        middle = (low + high) // 2
        if fits(without(movable[middle:]), hardware):
            low = middle
        else:
            high = middle
    return without(movable[low:])


def _with_next_round(loop: Repeat, name: str, loads: Iterable[Item]) -> Repeat:
    """A loop that loads what its next round works on as soon as this one is done with a place."""
    at = 1 + max(number for number, item in enumerate(loop.body) if name in item.buffers)
    following = tuple(replace(load, but_last=loop.number) for load in loads)
    return replace(loop, body=(*loop.body[:at], *following, *loop.body[at:]))


class _Rewriting:
    """A schedule, and what has been moved out of activation SRAM so far."""

    def __init__(
        self,
        schedule: Schedule,
        room_bytes: int,
        *,
        in_rounds: bool = False,
        round_of: int | None = None,
    ) -> None:
        self._old = schedule
        self._room_bytes = room_bytes
        self._in_rounds = in_rounds
        """Whether constants come inside the rounds of loops."""
        self._round_of = round_of
        """Loop whose body the items are."""
        self._storages = dict(schedule.storages)
        self._body: list[Item | Repeat | None] = list(schedule.body)
        self._gone: set[int] = set()
        """Items of the start and the end, by identity."""
        self._spilled = dict(schedule.spilled)
        self._before: dict[int, list[Item]] = {}
        self._behind: dict[int, list[Item]] = {}
        self._early: dict[int, str] = {}
        """Numbers of stores of what will be a state, which need not wait for the frame's end."""
        self._scratch: list[Scratch] = []
        self._num_parts = 0
        self._touching = users_of(schedule.body)

    def move(self, moved: Movable) -> None:
        """Let a state, a constant or an output live in DRAM."""
        if isinstance(moved, State):
            del self._storages[f"output {moved.target}"]
            port = self._storages[moved.port]
            self._storages[moved.port] = replace(port, is_shared=True)
            for number in self._touching.get(moved.buffer, ()):
                item = self._at(number)
                self._body[number] = stored = stored_at_once(item, moved)
                if stored is not item:
                    self._early[number] = moved.buffer
            self._gone |= {id(item) for item in (moved.load, *moved.stores)}
            self._spilled[moved.source] = moved.target
        elif isinstance(moved, Constant):
            self._gone.add(id(moved.load))
            self._move_in_loops(moved)
        elif isinstance(moved, Output):
            self._body[moved.number] = None
        elif isinstance(moved, Spread):
            self._scratch.append(moved.scratch)
            return
        storage = self._storages.pop(moved.buffer)
        numbers = [n for n in self._touching.get(moved.buffer, ()) if self._body[n] is not None]
        body = {number: self._at(number) for number in numbers}
        most = self._room_bytes // _JOINED_SHARE // ELEMENT_BYTES[storage.dtype]
        pieces = joined(pieces_of(body, numbers, moved.buffer), body, most)
        if not isinstance(moved, Output) and self._comes_by_item(moved, storage, body, pieces):
            return
        for count, piece in enumerate(pieces):
            name = f"{moved.buffer}#{count}"
            size = self._piece(moved, piece, name)
            size_bytes = size * ELEMENT_BYTES[storage.dtype]
            self._storages[name] = Storage(
                name, "activation", storage.dtype, size_bytes, round_of=self._round_of
            )

    def _move_in_loops(self, moved: Constant) -> None:
        """Let each part of a region load what it uses, and each round of a loop if it has to."""
        left: list[int] = []
        for number in self._touching.get(moved.buffer, ()):
            item = self._at(number)
            if not isinstance(item, Repeat) or moves_with(item, moved.buffer):
                left.append(number)
            elif item.is_region:
                self._body[number] = rewritten_parts(
                    item, lambda part, loops: self._in_part(part, moved, self._round_of)
                )
            elif self._in_rounds and len(item.body) > 1:
                self._body[number] = replace(
                    item, body=self._in_part(item.body, moved, item.number)
                )
            else:
                left.append(number)
        self._touching[moved.buffer] = left

    def _in_part(self, part: _Items, moved: Constant, round_of: int | None) -> _Items:
        """A part, or a round, that loads pieces of a constant of its own."""
        if not any(moved.buffer in item.buffers for item in part):
            return part
        self._num_parts += 1
        name = f"{moved.buffer}@{self._num_parts}"
        storages = {**self._storages, name: replace(self._storages[moved.buffer], name=name)}
        inner = _Rewriting(
            replace(
                self._old,
                startup=(),
                body=tuple(with_name(item, moved.buffer, name) for item in part),
                finish=(),
                storages=storages,
            ),
            self._room_bytes,
            in_rounds=self._in_rounds,
            round_of=round_of,
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
        pieces: Sequence[Piece],
    ) -> bool:
        """Let a state or a constant with pieces that never fit come and go item by item."""
        most = self._room_bytes // ELEMENT_BYTES[storage.dtype]
        if all(
            piece.high - piece.low <= most
            or (len(piece.items) == 1 and step_of_loop(body[piece.items[0]], moved.buffer))
            for piece in pieces
        ):
            return False
        most_bytes = self._room_bytes // LARGE_SHARE
        scratch = Scratch(
            storage,
            moved.port,
            most_bytes,
            is_carried=isinstance(moved, State),
            in_rounds=self._in_rounds,
        )
        if in_dram(list(body.values()), scratch) is None:
            return False
        self._storages[moved.buffer] = storage
        self._scratch.append(scratch)
        return True

    def _at(self, number: int) -> Item | Repeat:
        item = self._body[number]
        assert item is not None
        return item

    def _piece(self, moved: Movable, piece: Piece, name: str) -> int:
        """Transfer one piece where it is used; returns how many of its elements are there."""
        first, last = piece.items[0], piece.items[-1]
        only = self._at(first)
        step = step_of_loop(only, moved.buffer) if len(piece.items) == 1 else 0
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
            inner = in_place(only.body, moved.buffer, name, piece, loops, only.number)
            self._body[first] = replace(only, body=inner)
        else:
            for number in piece.items:
                (self._body[number],) = in_place((self._at(number),), moved.buffer, name, piece, {})
        touching = tuple(self._at(number) for number in piece.items)
        place = moved.port, name, piece.low, size, layer, moves
        loads = [] if isinstance(moved, Output) else list(transfers("load", *place))
        by_row = row_stores(touching, name, moved.port, piece.low)
        for number, store in by_row.items():
            self._behind.setdefault(piece.items[number], []).append(store)
        is_stored = writes_to(touching, name) and not by_row
        stores = list(transfers("store", *place)) if is_stored else []
        if step and isinstance(only, Repeat):
            loop = touching[0]
            assert isinstance(loop, Repeat)
            if loads and not writes_to(touching, name):
                ahead = transfers("load", *place[:-1])
                self._before.setdefault(first, []).extend(ahead)
                following = (moved.port, name, piece.low + step, size, layer, moves)
                self._body[first] = _with_next_round(loop, name, transfers("load", *following))
            else:
                self._body[first] = replace(loop, body=(*loads, *loop.body, *stores))
        else:
            self._before.setdefault(first, []).extend(loads)
            self._behind.setdefault(last, []).extend(stores)
        return size

    def schedule(self) -> Schedule:
        """Put everything together."""
        cells = [
            [*self._before.get(number, ()), *filter(None, [item]), *self._behind.get(number, ())]
            for number, item in enumerate(self._body)
        ]
        for number, state in self._early.items():
            if len(cells[number]) == 1:
                self._put_early(cells, number, state)
        storages = dict(self._storages)
        for scratch in self._scratch:
            numbers = sorted(set(self._touching.get(scratch.name, ())))
            found = in_dram([item for number in numbers for item in cells[number]], scratch)
            assert found is not None
            moved, places = iter(found[0]), found[1]
            for number in numbers:
                cells[number] = [item for _ in cells[number] for item in next(moved)]
            del storages[scratch.name]
            storages |= {place.name: place for place in places}
            size_bytes, dtype = scratch.storage.size_bytes, scratch.storage.dtype
            port = Storage(scratch.port, "dram", dtype, size_bytes, True, is_shared=True)
            storages.setdefault(scratch.port, port)
        return replace(
            self._old,
            startup=tuple(item for item in self._old.startup if id(item) not in self._gone),
            body=tuple(item for cell in cells for item in cell),
            finish=tuple(item for item in self._old.finish if id(item) not in self._gone),
            storages=storages,
            spilled=self._spilled,
        )

    def _put_early(self, cells: list[list[Item | Repeat]], number: int, state: str) -> None:
        """Move a store behind what makes its source, and behind the last use of the old state."""
        (store,) = cells[number]
        source = store.operands["src"] if isinstance(store, Item) else None
        assert isinstance(source, Access)
        users = set(self._touching.get(state, ()))
        for user in self._touching[source.buffer]:
            item = self._body[user]
            if item is not None and writes_to((item,), source.buffer):
                users.add(user)
        at = max((user for user in users if user < number), default=0)
        cells[number] = []
        cells[at].append(store)
        self._touching[source.buffer] = [*self._touching[source.buffer], at]
