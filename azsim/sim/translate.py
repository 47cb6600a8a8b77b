"""From instructions to a stretch: views resolved, tiles looked up, rows made.

A stretch begins where the execute loop is and ends before the first instruction that decides, is
not among the common kinds, or that the loop has not executed in this shape before: all that an
instruction's first execution checks was checked then.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from azsim.errors import CodecError, MachineError
from azsim.machine.flat import COLUMNS, FLAGS, FUNCTIONS, KINDS, OPERANDS, VIEW_COLUMNS
from azsim.machine.state import Machine, Operation, Window, place
from azsim.machine.tile import Tile
from azsim.machine.trace import Recorder
from azsim.machine.view import View
from azsim.sim.stretch import Leaves, Mask, Needs, Stretch

__all__ = ["Stretches"]

_FEWEST = 6
"""Instructions that are worth a call."""
_MOST_VARIANTS = 4
"""Stretches that are kept for one place."""
_MOST_TRIES = 12
"""Stretches that are made for one place, in all."""
_MOVES = ("view", "view_step")
_FAR = 1 << 62

Registers = Callable[[Operation], Mapping[str, int] | None]
"""Registers of an operation's views by operand; None if it was never executed."""


class _StretchError(Exception):
    """An instruction cannot be part of the stretch, which ends before it."""


class _Held(NamedTuple):
    """What a register shows: a window, moved by so much since, and by its slot's offset."""

    window: Window
    offset_bytes: int
    slot: int


class _Draft:
    """A stretch in the making.

    Parameters
    ----------
    machine : Machine
        As it is where the stretch begins.
    recorder : Recorder
    registers : callable
    """

    def __init__(self, machine: Machine, recorder: Recorder, registers: Registers) -> None:
        self._machine, self._recorder, self._registers = machine, recorder, registers
        self._held: dict[int, _Held] = {}
        self._slots: list[tuple[int, Window]] = []
        self._least: list[int] = []
        self._most: list[int] = []
        self._multiple: list[int] = []
        self._needed: dict[tuple[int, int, int], tuple[View, Tile]] = {}
        self._placed: dict[tuple[int, int, int], tuple[View, Tile, int, int]] = {}
        self._written: list[tuple[int, int]] = []
        self._reads = (_FAR, 0)
        self._stores = (_FAR, 0)
        self._loads = False
        self._views: list[tuple[int, ...]] = []
        self._view_number: dict[tuple[int, int, int], int] = {}
        self._rows: list[list[int]] = []
        self._index_of: list[int] = []
        self._events: list[tuple[int, int, int]] = []
        self._masks: list[Mask] = []
        self._fresh: dict[int, tuple[int, _Held]] = {}  # masks of codes, by view
        self._products: list[tuple[int, int]] = []
        self._moving: list[tuple[int, int]] = []  # transfers and their slots

    # ---- registers

    def _hold(self, number: int) -> _Held:
        held = self._held.get(number)
        if held is None:
            window = self._machine.windows[number]
            if window is None:
                raise _StretchError
            held = self._held[number] = _Held(window, 0, len(self._slots))
            self._slots.append((number, window))
            self._least.append(-_FAR)
            self._most.append(_FAR)
            self._multiple.append(1)
        return held

    def move(self, op: Operation) -> None:
        """Execute a ``view`` or ``view_step``."""
        if op.window is not None:
            window = self._machine.window_of(op.view, op.window, op.index)
            self._held[op.view] = _Held(window, 0, -1)
            return
        held = self._hold(op.view)
        if 8 * op.step % held.window.view.element_bits:
            raise _StretchError
        self._held[op.view] = held._replace(offset_bytes=held.offset_bytes + op.step)

    def _fixed(self, held: _Held) -> View:
        """View of a register that may not have moved by anything else; inside its region."""
        offset_bytes = held.offset_bytes
        if held.slot >= 0:
            now = self._machine.offsets[self._slots[held.slot][0]]
            self._least[held.slot] = max(self._least[held.slot], now)
            self._most[held.slot] = min(self._most[held.slot], now)
            offset_bytes += now
        view = held.window.view
        view = view.stepped(offset_bytes) if offset_bytes else view
        low, high = view.extent()
        start, stop = self._machine.limits(held.window)
        if low < start or high > stop:
            raise _StretchError
        return view

    def _row_of(self, held: _Held, space: str = "") -> int:
        """Number of a view's row; the view lies in `space`, or in any SRAM."""
        key = id(held.window), held.offset_bytes, held.slot
        if held.window.view.space == "weight":
            self._read(held)
        if space not in ("", held.window.view.space) or (held.window.view.space == "dram") > bool(
            space
        ):
            raise _StretchError
        number = self._view_number.get(key)
        if number is not None:
            return number
        view, slot = held.window.view, held.slot
        if view.element_bits < 8:
            raise _StretchError
        if view.space == "weight":
            view, slot = self._fixed(held), -1
            address = view.addr
        else:
            address = view.addr + held.offset_bytes
            self._inside(held)
        size = view.element_bits // 8
        row = (
            self._machine.base[view.space] + address, slot, view.rows, view.cols,
            view.row_stride * size, view.col_stride * size, size,
        )  # fmt: skip
        self._views.append(row)
        self._view_number[key] = len(self._views) - 1
        return len(self._views) - 1

    def _inside(self, held: _Held) -> None:
        """Let the register move only as far as its region goes."""
        low, high = held.window.view.extent()
        start, stop = self._machine.limits(held.window)
        least, most = start - low - held.offset_bytes, stop - high - held.offset_bytes
        if held.slot < 0:
            if not least <= 0 <= most:
                raise _StretchError
            return
        slot, size = held.slot, held.window.view.element_bits // 8
        self._least[slot] = max(self._least[slot], least)
        self._most[slot] = min(self._most[slot], most)
        self._multiple[slot] = max(self._multiple[slot], size)

    def _read(self, held: _Held) -> None:
        """Read from weight SRAM what is no tile."""
        view = self._fixed(held)
        low, high = view.extent()
        if any(low < end and begin < high for begin, end in self._written):
            raise _StretchError
        self._reads = min(self._reads[0], low), max(self._reads[1], high)

    # ---- engine instructions

    def engine(self, op: Operation, position: int) -> int:
        """Add an instruction; returns its site."""
        numbers = self._registers(op)
        if numbers is None:
            raise _StretchError
        held = {name: self._hold(number) for name, number in numbers.items()}
        site = self._recorder.known_site((op.index, *[h.window.shape for h in held.values()]))
        if site is None:
            raise _StretchError
        if op.mnemonic == "weight_load":
            self._decode(op, held, position)
        elif op.mnemonic == "mac_matmul":
            self._multiply(op, held, position)
        elif op.mnemonic in ("load", "store"):
            self._transfer(op, held, position)
        else:
            self._vector(op, held)
        return site

    def _decode(self, op: Operation, held: Mapping[str, _Held], position: int) -> None:
        source, target = self._fixed(held["src"]), self._fixed(held["dst"])
        low, high = target.extent()
        if target.dtype == "u8" or target.num_bytes != high - low:
            raise _StretchError
        over = [entry for entry in self._placed.values() if entry[2] < high and low < entry[3]]
        if any(begin < low or high < end for _, _, begin, end in over):
            raise _StretchError
        try:
            tile = self._machine.fetch_tile(source, target, op.index)
        except (CodecError, MachineError):
            raise _StretchError from None
        for view, *_ in over:
            del self._placed[place(view)]
        self._placed[place(target)] = target, tile, low, high
        if (low, high) not in self._written:
            self._written.append((low, high))
        self._loads = True
        self._events.append((position, source.addr, self._recorder.tile(tile)))

    def _tile(self, held: _Held) -> Tile:
        view = self._fixed(held)
        if view.space != "weight" or view.dtype == "u8":
            raise _StretchError
        placed = self._placed.get(place(view))
        if placed is not None:
            if placed[0] != view:
                raise _StretchError
            return placed[1]
        low, high = view.extent()
        tile = self._machine.known_tile(view)
        if tile is None or any(low < end and begin < high for begin, end in self._written):
            raise _StretchError
        self._needed[place(view)] = view, tile
        return tile

    def _multiply(self, op: Operation, held: Mapping[str, _Held], position: int) -> None:
        tile, source = self._tile(held["src2"]), held["src"].window.view
        outputs = len(tile.codes)
        if op.acc + source.rows * outputs > len(self._machine.accumulators):
            raise _StretchError
        codes = self._row_of(held["src"])
        at = -1
        if codes in self._fresh:
            mask, _ = self._fresh[codes]
        else:
            mask, at = self._new_mask(held["src"])
            self._fresh[codes] = mask, held["src"]
        address = tile.codes.__array_interface__["data"][0]
        self._add(op, {"src": codes}, 0, address, outputs, at)
        self._events.append((position, 0, self._recorder.tile(tile)))
        self._products.append((position, mask))

    def _new_mask(self, held: _Held) -> tuple[int, int]:
        view = held.window.view
        view = view.stepped(held.offset_bytes) if held.offset_bytes else view
        at = self._masks[-1].at + self._masks[-1].num_bytes if self._masks else 0
        self._masks.append(Mask(view, held.slot, at, view.rows * -(-view.cols // 8)))
        return len(self._masks) - 1, at

    def _transfer(self, op: Operation, held: Mapping[str, _Held], position: int) -> None:
        name = "src" if op.mnemonic == "load" else "dst"
        outside = held[name]
        rows = {key: self._row_of(one, "dram" if key == name else "") for key, one in held.items()}
        if op.mnemonic == "store":
            low, high = self._machine.limits(outside.window)
            if low < self._machine.blocks[1] and self._machine.blocks[0] < high:
                raise _StretchError
            self._stores = min(self._stores[0], low), max(self._stores[1], high)
        elif held["dst"].window.view.space != "activation":
            raise _StretchError
        self._add(op, rows, 0)
        self._events.append((position, outside.window.view.addr + outside.offset_bytes, -1))
        if outside.slot >= 0:
            self._moving.append((position, outside.slot))
        for other in ("dst", "peak"):
            if self._fresh and other in held:
                self._spoil(held[other])

    def _vector(self, op: Operation, held: Mapping[str, _Held]) -> None:
        functions = FUNCTIONS.get(op.mnemonic)
        if functions is not None and op.function not in functions:
            raise _StretchError
        if held["dst"].window.view.space != "activation":
            raise _StretchError
        rows = {name: self._row_of(one) for name, one in held.items()}
        self._add(op, rows, functions[op.function] if functions else 0)
        written = ("dst", "peak", "scale") if op.mnemonic == "vector_quantize" else ("dst", "peak")
        for name in written:
            if self._fresh and name in held:
                self._spoil(held[name])

    def _spoil(self, written: _Held) -> None:
        """Forget masks of codes that may have been written."""
        for key, (_, held) in list(self._fresh.items()):
            if held.slot == written.slot:
                (low, high), (begin, end) = _extent(written), _extent(held)
            else:  # each stays in its region, however far it moves
                limits = self._machine.limits
                (low, high), (begin, end) = limits(written.window), limits(held.window)
            if low < end and begin < high:
                del self._fresh[key]

    def _add(
        self,
        op: Operation,
        views: Mapping[str, int],
        function: int,
        tile: int = 0,
        outputs: int = 0,
        mask: int = -1,
    ) -> None:
        flags = sum(bool(getattr(op, name)) << bit for bit, name in enumerate(FLAGS))
        numbers = [views.get(name, 0) for name in OPERANDS]
        kind = KINDS[op.mnemonic]
        self._rows.append([*numbers, kind, function, flags, op.acc, tile, outputs, mask])
        self._index_of.append(op.index)

    # ---- the end

    def finish(self, first: int, sites: list[int]) -> Stretch:
        """Return the stretch; `sites` are those of its instructions."""
        payload = np.zeros(len(sites), np.int64)
        tile_of = np.full(len(sites), -1, np.int32)
        if self._events:
            where, what, tiles = np.array(self._events, np.int64).T
            payload[where], tile_of[where] = what, tiles
        products = np.array(self._products, np.int64).reshape(-1, 2)
        moving = np.array(self._moving, np.int64).reshape(-1, 2)
        version = self._machine.blocks_version if self._loads else -1
        return Stretch(
            first=first,
            end=first + len(sites),
            needs=Needs(
                tuple(self._slots),
                tuple(self._least),
                tuple(self._most),
                tuple(self._multiple),
                tuple(self._needed.values()),
                version,
                self._stores,
            ),
            leaves=self._leaves(),
            reads=self._reads,
            rows=np.array(self._rows, np.int64).reshape(-1, len(COLUMNS)),
            views=np.array(self._views, np.int64).reshape(-1, len(VIEW_COLUMNS)),
            has_engine=bool(self._index_of or self._loads),
            index_of=tuple(self._index_of),
            sequence=np.array(sites, np.int32),
            payload=payload,
            tile_of=tile_of,
            masks=tuple(self._masks),
            products=products[:, 0].copy(),
            mask_of=products[:, 1].copy(),
            transfers=moving[:, 0].copy(),
            slot_of=moving[:, 1].copy(),
        )

    def _leaves(self) -> Leaves:
        windows = tuple(
            (number, held.window, held.offset_bytes)
            for number, held in self._held.items()
            if held.slot < 0
        )
        moved = tuple(
            (number, held.offset_bytes)
            for number, held in self._held.items()
            if held.slot >= 0 and held.offset_bytes
        )
        tiles = tuple((view, tile) for view, tile, _, _ in self._placed.values())
        return Leaves(windows, moved, tiles)


def _extent(held: _Held) -> tuple[int, int]:
    """Bytes of a view, its slot's offset not added."""
    low, high = held.window.view.extent()
    return low + held.offset_bytes, high + held.offset_bytes


class Stretches:
    """Stretches of a program, made when the execute loop comes to a place again.

    Attributes
    ----------
    starts : list of bool
        For each instruction, whether to ask here for a stretch.

    Parameters
    ----------
    operations : sequence of Operation
    machine : Machine
    recorder : Recorder
    registers : callable
    control_site : callable
        Site of a control operation.
    alone : collection of int
        Instructions that are never part of a stretch.
    """

    def __init__(
        self,
        operations: Sequence[Operation],
        machine: Machine,
        recorder: Recorder,
        registers: Registers,
        control_site: Callable[[Operation], int],
        alone: Collection[int] = (),
    ) -> None:
        self._operations, self._machine, self._recorder = operations, machine, recorder
        self._registers, self._control_site = registers, control_site
        kinds = {*KINDS, *_MOVES, "weight_load"}
        self._fits = [
            op.mnemonic in kinds and not op.paced and op.index not in alone for op in operations
        ]
        targets = {op.target for op in operations if op.mnemonic == "branch"}
        before = [False, *self._fits[:-1]]
        self.starts = [
            fits and (not after or op.index in targets)
            for op, fits, after in zip(operations, self._fits, before, strict=True)
        ]
        self._seen: dict[int, int] = {}
        self._made: dict[int, list[Stretch]] = {}

    def run(self, index: int) -> Stretch | None:
        """Run the stretch that begins at an instruction, and return it; None if there is none.

        Raises
        ------
        MachineError
            As the instructions one by one.
        """
        for stretch in self._made.get(index, ()):
            if stretch.needs.hold(self._machine):
                return self._run(stretch)
        seen = self._seen[index] = self._seen.get(index, 0) + 1
        if seen == 1:
            return None
        if seen > _MOST_TRIES:
            self.starts[index] = bool(self._made.get(index))
            return None
        stretch = self._make(index)
        if stretch is None:
            return None
        self._made[index] = [stretch, *self._made.get(index, [])][:_MOST_VARIANTS]
        return self._run(stretch) if stretch.needs.hold(self._machine) else None

    def _make(self, first: int) -> Stretch | None:
        draft = _Draft(self._machine, self._recorder, self._registers)
        sites: list[int] = []
        for index in range(first, len(self._operations)):
            op = self._operations[index]
            if not self._fits[index]:
                break
            try:
                if op.mnemonic in _MOVES:
                    draft.move(op)
                    if op.site < 0:
                        op.site = self._control_site(op)
                    sites.append(op.site)
                else:
                    sites.append(draft.engine(op, len(sites)))
            except _StretchError:
                if index + 1 < len(self._fits) and self._fits[index + 1]:
                    self.starts[index + 1] = True
                break
        return draft.finish(first, sites) if len(sites) >= _FEWEST else None

    def _run(self, stretch: Stretch) -> Stretch:
        failed = stretch.run(self._machine, self._recorder)
        if failed >= 0:
            self._fail(stretch, stretch.index_of[failed])
        return stretch

    def _fail(self, stretch: Stretch, index: int) -> None:
        """Execute an instruction that failed on its own, which tells why."""
        for op in self._operations[stretch.first : index]:
            if op.window is not None:
                self._machine.set_view(op.view, op.window, op.index)
            elif op.mnemonic == "view_step":
                self._machine.step_view(op.view, op.step, op.index)
        op = self._operations[index]
        assert op.execute is not None
        op.execute(self._machine, op, self._recorder)
        raise AssertionError(f"instruction {index} failed in a stretch and not on its own")
