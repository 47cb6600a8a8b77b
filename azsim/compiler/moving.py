"""Moving: a schedule in which states, constants, outputs and scratch live in DRAM.

A tensor is cut where the program's windows into it cut it; small pieces that are used one
after another are one.  Each piece is loaded before its first use in a frame and, if it was written,
stored behind its last one; where a loop walks over it, each round loads and stores what it works
on, or, of what is only read, loads what the next round works on.  A result that is only copied to a
state's place is stored from where it was made.  Input and output port of such a state are the same
bytes of DRAM.  Of a ring, into which rows are scattered, these rows are stored and nothing else.
Of an output each piece is stored as soon as it is complete.  Scratch comes and goes item by item
(`azsim.compiler.scratch`); so do states and constants with a piece that is larger than the SRAM,
and, where even that is not enough, constants in each round of a loop.

Places that a loop refills are slots of activation SRAM, which loops use one after another: the next
loop's first load stands behind the last use in this one, that of the frame's first loop behind the
last one of the frame before.  Of what only one loop loads, it stands beside that loop's others.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from azsim.compiler.delay_line import DelayLine
from azsim.compiler.movable import LARGE_SHARE, Constant, Movable, Output, Spread, State
from azsim.compiler.pieces_in_dram import (
    Piece,
    in_place,
    joined,
    moves_with,
    parts_of_round,
    pieces_of,
    row_stores,
    step_of_loop,
    stored_at_once,
    transfers,
    with_name,
    writes_to,
)
from azsim.compiler.rounds import fresh_numbers, with_last_apart
from azsim.compiler.schedule import (
    FRAME_LOOP,
    Item,
    Repeat,
    Schedule,
    Storage,
    rewritten_parts,
    users_of,
    walk,
)
from azsim.compiler.scratch import Scratch, in_dram
from azsim.ops.lowering import Access
from azsim.ops.steps import ELEMENT_BYTES

__all__ = ["Rewriting"]

_Items = tuple[Item | Repeat, ...]

_JOINED_SHARE = 16
"""Pieces that are used in a row come together up to this part of activation SRAM."""


@dataclass
class _Slot:
    """Bytes in which pieces of several loops take turns, and what each loop loads there first."""

    size_bytes: int
    turn: int
    """0 or 1: of the first or the second round of two."""
    first_loads: dict[int, list[Item]] = field(default_factory=dict)
    """By the loop's number in the body."""
    names: dict[int, str] = field(default_factory=dict)
    """What each loop calls the place."""


class Rewriting:
    """A schedule, and what has been moved out of activation SRAM so far."""

    def __init__(
        self,
        schedule: Schedule,
        room_bytes: int,
        *,
        in_rounds: bool = False,
        round_of: int | None = None,
        is_part: bool = False,
    ) -> None:
        self._old = schedule
        self._room_bytes = room_bytes
        self._in_rounds = in_rounds
        """Whether constants come inside the rounds of loops."""
        self._round_of = round_of
        """Loop whose body the items are."""
        self._is_part = is_part
        """Whether the items are a part of the frame's body, and not all of it."""
        self._storages = dict(schedule.storages)
        self._body: list[Item | Repeat | None] = list(schedule.body)
        self._gone: set[int] = set()
        """Items of the start and the end, by identity."""
        self._spilled = dict(schedule.spilled)
        self._before: dict[int, list[Item]] = {}
        self._behind: dict[int, list[Item | Repeat]] = {}
        self._early: dict[int, str] = {}
        """Numbers of stores of what will be a state, which need not wait for the frame's end."""
        self._scratch: list[Scratch] = []
        self._slots: list[_Slot] = []
        self._startup: list[Item] = []
        self._num_parts = 0
        self._touching = users_of(schedule.body)

    def move(self, moved: Movable) -> None:
        """Let a state, a constant or an output live in DRAM."""
        if isinstance(moved, DelayLine):
            self._append_to(moved)
            return
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
            name, only = f"{moved.buffer}#{count}", self._at(piece.items[0])
            step = step_of_loop(only, moved.buffer) if len(piece.items) == 1 else 0
            if step and isinstance(only, Repeat):
                self._walked(moved, piece, name, only, step)
            else:
                self._piece(moved, piece, name)

    def _append_to(self, moved: DelayLine) -> None:
        """Let a frame load what it needs of a delay line, and store what is new."""
        frames, port = self._old.frames, self._storages[moved.port]
        dtype = self._storages.pop(moved.buffer).dtype
        size_bytes = moved.size_bytes(dtype, frames)
        self._storages[moved.port] = replace(port, size_bytes=size_bytes, is_shared=True)
        end = frames * moved.num_new * ELEMENT_BYTES[dtype]
        output = f"output {moved.target}"
        self._storages[output] = replace(self._storages[output], within=(moved.port, end))
        self._gone |= {id(item) for item in (moved.load, *moved.stores)}
        self._spilled[moved.source] = moved.target
        self._before.setdefault(moved.copied, []).extend(moved.loads())
        self._body[moved.copied] = None
        self._body[moved.kept] = moved.store()
        self._early[moved.kept] = moved.buffer

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
        inner = Rewriting(
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
            is_part=True,
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

    def _place(self, moved: Movable, name: str, num_elements: int, slot: int | None = None) -> None:
        """Add the storage of a piece."""
        dtype = self._dtype(moved)
        size_bytes = num_elements * ELEMENT_BYTES[dtype]
        self._storages[name] = Storage(
            name, "activation", dtype, size_bytes, slot=slot, round_of=self._round_of
        )

    def _slot(self, loop: int, size_bytes: int, turn: int) -> int | None:
        """A slot of that size that no piece of the loop has yet; a part of a body has none."""
        if self._is_part:
            return None
        for number, slot in enumerate(self._slots):
            is_like = (slot.size_bytes, slot.turn) == (size_bytes, turn)
            if is_like and loop not in slot.first_loads:
                return number
        self._slots.append(_Slot(size_bytes, turn))
        return len(self._slots) - 1

    def _dtype(self, moved: Movable) -> str:
        return self._old.storages[moved.buffer].dtype

    def _piece(self, moved: Movable, piece: Piece, name: str) -> None:
        """Transfer one piece where it is used."""
        first, last = piece.items[0], piece.items[-1]
        for number in piece.items:
            (self._body[number],) = in_place((self._at(number),), moved.buffer, name, piece, {})
        touching = tuple(self._at(number) for number in piece.items)
        layer = next(walk(touching)).layer
        size = piece.high - piece.low
        self._place(moved, name, size)
        place = moved.port, name, piece.low, size, layer, _moves(moved)
        if not isinstance(moved, Output):
            self._before.setdefault(first, []).extend(transfers("load", *place))
        by_row = row_stores(touching, name, moved.port, piece.low)
        for number, store in by_row.items():
            self._behind.setdefault(piece.items[number], []).append(store)
        if writes_to(touching, name) and not by_row:
            self._behind.setdefault(last, []).extend(transfers("store", *place))

    def _walked(self, moved: Movable, piece: Piece, name: str, loop: Repeat, step: int) -> None:
        """Let each round of a loop over a piece load it and store what it made.

        What is only read is loaded in the round before, as is what two places take turns for.
        """
        (number,) = piece.items
        layer = next(walk((loop,))).layer
        body = loop.body
        behind: dict[int, list[Item]] = {}
        parts = parts_of_round(loop, moved.buffer, piece)
        for count, part in enumerate(parts):
            own = name if len(parts) == 1 else f"{name}#{count}"
            body = in_place(body, moved.buffer, own, part, {}, loop.number)
            size = part.high - part.low
            moves = {**_moves(moved), loop.number: step}
            if len(parts) == 1 and writes_to(body, own):
                self._place(moved, own, size)
                place = moved.port, own, part.low, size, layer, moves
                loads = [] if isinstance(moved, Output) else transfers("load", *place)
                self._body[number] = replace(
                    loop, body=(*loads, *body, *transfers("store", *place))
                )
                return
            slot = self._slot(number, size * ELEMENT_BYTES[self._dtype(moved)], count)
            self._place(moved, own, size, slot)
            last = behind.setdefault(part.items[-1], [])
            first: list[Item] = []
            if writes_to(body, own):
                last += transfers("store", moved.port, own, part.low, size, layer, moves)
            if not isinstance(moved, Output):
                first += transfers("load", moved.port, own, part.low, size, layer)
                following = moved.port, own, part.low + step, size, layer, moves
                last += [
                    replace(load, but_last=loop.number) for load in transfers("load", *following)
                ]
            if slot is None:
                self._before.setdefault(number, []).extend(first)
            else:
                self._slots[slot].first_loads[number] = first
                self._slots[slot].names[number] = own
        self._body[number] = replace(
            loop,
            body=tuple(
                entry for at, item in enumerate(body) for entry in (item, *behind.get(at, ()))
            ),
        )

    def _cells(self) -> list[list[Item | Repeat]]:
        """What each item of the body has become.

        The last round of a loop in pairs stands apart, so that behind the last use of a slot the
        next loop's first load can stand; what the frame's first loop begins with is loaded behind
        the frame's last one.
        """
        fresh = fresh_numbers(self._body)
        apart: dict[int, list[list[Item | Repeat]]] = {}
        for number in {number for slot in self._slots if slot.turn for number in slot.first_loads}:
            loop = self._at(number)
            assert isinstance(loop, Repeat)
            apart[number] = [[item] for item in with_last_apart(loop, fresh)]
        beside: dict[tuple[int, int], list[Item | Repeat]] = {}
        """By loop and turn, where another loop's last use of a place is followed by first loads."""
        slots = sorted(self._slots, key=lambda slot: slot.turn)
        for slot in slots:
            for number, following in itertools.pairwise(sorted(slot.first_loads)):
                loads = slot.first_loads[following]
                places = apart.get(number, [])
                at = max(
                    (
                        at
                        for at, (item, *_) in enumerate(places)
                        if slot.names[number] in item.buffers
                    ),
                    default=None,
                )
                if at is None:
                    self._before.setdefault(following, []).extend(loads)
                else:
                    places[at] += loads
                    beside[following, slot.turn] = places[at]
        for slot in slots:
            first, last = min(slot.first_loads), max(slot.first_loads)
            if (first, slot.turn) in beside:
                # In the order of the loop's other rounds: waits count what is loaded since.
                beside[first, slot.turn] += slot.first_loads[first]
                continue
            if self._old.frames == 1:
                self._before.setdefault(first, []).extend(slot.first_loads[first])
            elif loads := slot.first_loads[first]:
                self._startup += loads
                again = [replace(load, but_last=FRAME_LOOP) for load in loads]
                self._behind.setdefault(last, []).extend(again)
                name = slot.names[first]
                self._storages[name] = replace(self._storages[name], persistent=True)
        return [
            [
                *self._before.get(number, ()),
                *itertools.chain(*apart.get(number, [] if item is None else [[item]])),
                *self._behind.get(number, ()),
            ]
            for number, item in enumerate(self._body)
        ]

    def schedule(self) -> Schedule:
        """Put everything together."""
        cells = self._cells()
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
            startup=(
                *(item for item in self._old.startup if id(item) not in self._gone),
                *self._startup,
            ),
            body=tuple(item for cell in cells for item in cell),
            finish=tuple(item for item in self._old.finish if id(item) not in self._gone),
            storages=storages,
            spilled=self._spilled,
        )

    def _put_early(self, cells: list[list[Item | Repeat]], number: int, state: str) -> None:
        """Move a store behind what makes its source, and behind the last use of the old state.

        One whose source is a piece of what lives in DRAM stays.
        """
        (store,) = cells[number]
        source = store.operands["src"] if isinstance(store, Item) else None
        assert isinstance(source, Access)
        if source.buffer not in self._touching:
            return
        users = set(self._touching.get(state, ()))
        for user in self._touching[source.buffer]:
            item = self._body[user]
            if item is not None and writes_to((item,), source.buffer):
                users.add(user)
        at = max((user for user in users if user < number), default=0)
        cells[number] = []
        cells[at].append(store)
        self._touching[source.buffer] = [*self._touching[source.buffer], at]


def _moves(moved: Movable) -> Mapping[int, int]:
    """Elements by which loops move a place in DRAM."""
    if not isinstance(moved, Output):
        return {}
    target = moved.store.operands["dst"]
    assert isinstance(target, Access)
    return target.advance
