"""A stretch in the making: views resolved, tiles looked up, rows made.

An instruction that is met in a new shape is checked here as the execute loop would.  Whatever it
would find wrong ends the stretch before the instruction, which is then executed alone and tells.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import NamedTuple, Protocol

import numpy as np

from azsim.errors import CodecError, MachineError
from azsim.machine.flat.columns import COLUMNS, FLAGS, FUNCTIONS, KINDS, OPERANDS, VIEW_COLUMNS
from azsim.machine.operation import Operation
from azsim.machine.state import Machine, place
from azsim.machine.tile import Tile
from azsim.machine.trace import Site
from azsim.machine.view import View
from azsim.machine.window import Moved, Window
from azsim.sim.sequencer import branches, computed
from azsim.sim.stretch import Leaves, Loaded, Needs, Put, Registers, Run, Stretch

__all__ = ["Draft", "Sites", "StretchError"]


_WORDS = ("vector_gather", "vector_scatter")  # here for elements of 32 bits alone
_FAR = 1 << 62
_SHIFTS = {8: 0, 16: 1, 32: 2}

_KIND = COLUMNS.index("kind")


class Sites(Protocol):
    """Gives operations their sites."""

    def registers(self, op: Operation) -> Mapping[str, int]:
        """Registers of an operation's views by operand."""
        ...

    def of_engine(self, op: Operation, shown: Mapping[str, Moved]) -> Site:
        """Site of an engine operation whose operands show this; checked if it is new."""
        ...


class StretchError(Exception):
    """An instruction cannot be part of the stretch, which ends before it."""


class _Held(NamedTuple):
    """What a register shows: a window, moved by so much since, and by its slot's offset."""

    window: Window
    offset_bytes: int
    slot: int


class Draft:
    """A stretch in the making.

    Parameters
    ----------
    machine : Machine
        As it is where the stretch begins.
    sites : Sites
    """

    def __init__(self, machine: Machine, sites: Sites) -> None:
        self._machine, self._sites = machine, sites
        self._num_accumulators = len(machine.accumulators)
        self._held: dict[int, _Held] = {}
        self._scalars = {0: 0}
        self._slots: list[tuple[int, Window]] = []
        self._least: list[int] = []
        self._most: list[int] = []
        self._multiple: list[int] = []
        self._needed: dict[tuple[int, int, int], tuple[View, Tile]] = {}
        self._placed: dict[tuple[int, int, int], Put] = {}
        self._left: list[Put] = []
        self._written: list[tuple[int, int]] = []
        self._reads = (_FAR, 0)
        self._stores = (_FAR, 0)
        self._loads: list[Loaded] = []
        self._tiles: dict[Tile, int] = {}
        self._views: list[tuple[int, ...]] = []
        self._largest = 0
        self._view_number: dict[tuple[int, int, int], int] = {}
        self._touched: set[tuple[int, int]] = set()
        self._rows: list[list[int]] = []
        self._places: list[int] = []  # of the rows, in the stretch
        self._events: list[tuple[int, int, int]] = []
        self._mask_bytes = 0
        self._fresh: dict[int, tuple[int, _Held]] = {}  # masks of codes, by view
        self._mask_at: list[int] = []  # of each product
        self._moving: list[tuple[int, int]] = []  # transfers and their slots

    # ---- registers

    def _hold(self, number: int) -> _Held:
        held = self._held.get(number)
        if held is None:
            window = self._machine.windows[number]
            if window is None:
                raise StretchError
            held = self._held[number] = _Held(window, 0, len(self._slots))
            self._slots.append((number, window))
            self._least.append(-_FAR)
            self._most.append(_FAR)
            self._multiple.append(1)
        return held

    def move(self, op: Operation) -> None:
        """Execute a ``view`` or ``view_step``."""
        if op.window is not None:
            window = self._machine.window_table.of(op.view, op.window, op.index)
            self._held[op.view] = _Held(window, 0, -1)
            return
        held = self._hold(op.view)
        if 8 * op.step % held.window.view.element_bits:
            raise StretchError
        self._held[op.view] = held._replace(offset_bytes=held.offset_bytes + op.step)

    # ---- scalars

    def scalar(self, op: Operation) -> None:
        """Execute a ``scalar`` instruction whose inputs the stretch itself has set."""
        try:
            value = computed(op, self._scalars)
        except KeyError:
            raise StretchError from None
        if op.to:
            self._scalars[op.to] = value

    def branches(self, op: Operation) -> bool:
        """Whether a ``branch`` is taken that depends on what the stretch itself has set."""
        try:
            return branches(op, self._scalars)
        except KeyError:
            raise StretchError from None

    def _fixed(self, held: _Held) -> View:
        """View of a register that may not have moved by anything else; inside its region."""
        offset_bytes = held.offset_bytes
        if held.slot >= 0:
            now = self._machine.offsets[self._slots[held.slot][0]]
            self._least[held.slot] = max(self._least[held.slot], now)
            self._most[held.slot] = min(self._most[held.slot], now)
            offset_bytes += now
        if not held.window.is_inside(offset_bytes):
            raise StretchError
        return held.window.stepped(offset_bytes)

    def _row_of(self, held: _Held, space: str = "") -> int:
        """Number of a view's row; the view lies in `space`, or in any SRAM."""
        key = id(held.window), held.offset_bytes, held.slot
        if held.window.view.space == "weight":
            self._read(held)
        if space not in ("", held.window.view.space) or (held.window.view.space == "dram") > bool(
            space
        ):
            raise StretchError
        number = self._view_number.get(key)
        if number is not None:
            return number
        view, slot = held.window.view, held.slot
        if view.element_bits < 8:
            raise StretchError
        if view.space == "weight":
            view, slot = self._fixed(held), -1
            address = view.addr
        else:
            address = view.addr + held.offset_bytes
            self._inside(held)
            if view.space == "dram":
                self._touched.add(_extent(held) if slot < 0 else _reach(held))
        row = (
            self._machine.base[view.space] + address, slot, view.rows, view.cols,
            view.row_stride, view.col_stride, _SHIFTS[view.element_bits],
        )  # fmt: skip
        self._views.append(row)
        self._largest = max(self._largest, view.num_elements)
        self._view_number[key] = len(self._views) - 1
        return len(self._views) - 1

    def _inside(self, held: _Held) -> None:
        """Let the register move only as far as its region goes."""
        window = held.window
        if held.slot < 0:
            if not window.is_inside(held.offset_bytes):
                raise StretchError
            return
        slot, size = held.slot, window.view.element_bits // 8
        self._least[slot] = max(self._least[slot], window.start - window.low - held.offset_bytes)
        self._most[slot] = min(self._most[slot], window.stop - window.high - held.offset_bytes)
        self._multiple[slot] = max(self._multiple[slot], size)

    def _read(self, held: _Held) -> None:
        """Read from weight SRAM what is no tile."""
        view = self._fixed(held)
        low, high = view.extent()
        if any(low < end and begin < high for begin, end in self._written):
            raise StretchError
        self._reads = min(self._reads[0], low), max(self._reads[1], high)

    # ---- engine instructions

    def engine(self, op: Operation, position: int) -> Site:
        """Add an instruction; returns its site."""
        held = {name: self._hold(number) for name, number in self._sites.registers(op).items()}
        site = self._sites.of_engine(
            op, {name: Moved(one.window, self._offset_of(one)) for name, one in held.items()}
        )
        if op.mnemonic == "weight_load":
            self._decode(op, held, position)
        elif op.mnemonic == "mac_matmul":
            self._multiply(op, held, position)
        elif op.mnemonic in ("load", "store"):
            self._transfer(op, held, position)
        else:
            self._vector(op, held, position)
        return site

    def _offset_of(self, held: _Held) -> int:
        """Bytes by which a register has moved where the stretch is made."""
        if held.slot < 0:
            return held.offset_bytes
        return held.offset_bytes + self._machine.offsets[self._slots[held.slot][0]]

    def _decode(self, op: Operation, held: Mapping[str, _Held], position: int) -> None:
        source, target = self._fixed(held["src"]), self._fixed(held["dst"])
        low, high = target.extent()
        if target.dtype == "u8" or target.num_bytes != high - low:
            raise StretchError
        try:
            tile = self._machine.fetch_tile(source, target, op.index)
        except (CodecError, MachineError):
            raise StretchError from None
        for entry in [one for one in self._placed.values() if one.low < high and low < one.high]:
            del self._placed[place(entry.view)]
            if low <= entry.low and entry.high <= high:
                self._left.remove(entry)  # else some of its bytes stay
        entry = Put(target, tile, low, high)
        self._placed[place(target)] = entry
        self._left.append(entry)
        if (low, high) not in self._written:
            self._written.append((low, high))
        self._loads.append(Loaded(source, target, tile))
        self._events.append((position, source.addr, self._tile_number(tile)))

    def _tile(self, held: _Held) -> Tile:
        view = self._fixed(held)
        if view.space != "weight" or view.dtype == "u8":
            raise StretchError
        placed = self._placed.get(place(view))
        if placed is not None:
            if placed.view != view:
                raise StretchError
            return placed.tile
        low, high = view.extent()
        tile = self._machine.known_tile(view)
        if tile is None or any(low < end and begin < high for begin, end in self._written):
            raise StretchError
        self._needed[place(view)] = view, tile
        return tile

    def _multiply(self, op: Operation, held: Mapping[str, _Held], position: int) -> None:
        tile, source = self._tile(held["src2"]), held["src"].window.view
        outputs = len(tile.codes)
        if op.acc + source.rows * outputs > self._num_accumulators:
            raise StretchError
        codes = self._row_of(held["src"])
        to_write = -1
        if codes in self._fresh:
            at, _ = self._fresh[codes]
        else:
            at = to_write = self._mask_bytes
            self._mask_bytes += source.rows * -(-source.cols // 8)
            self._fresh[codes] = at, held["src"]
        address = tile.codes.__array_interface__["data"][0]
        self._add(op, position, {"src": codes}, 0, address, outputs, to_write)
        self._events.append((position, 0, self._tile_number(tile)))
        self._mask_at.append(at)

    def _tile_number(self, tile: Tile) -> int:
        return self._tiles.setdefault(tile, len(self._tiles))

    def _transfer(self, op: Operation, held: Mapping[str, _Held], position: int) -> None:
        name = "src" if op.mnemonic == "load" else "dst"
        outside = held[name]
        rows = {key: self._row_of(one, "dram" if key == name else "") for key, one in held.items()}
        if op.mnemonic == "store":
            low, high = outside.window.start, outside.window.stop
            if low < self._machine.blocks[1] and self._machine.blocks[0] < high:
                raise StretchError
            self._stores = min(self._stores[0], low), max(self._stores[1], high)
        elif held["dst"].window.view.space != "activation":
            raise StretchError
        self._add(op, position, rows, 0)
        self._events.append((position, outside.window.view.addr + outside.offset_bytes, -1))
        if outside.slot >= 0:
            self._moving.append((position, outside.slot))
        for other in ("dst", "peak"):
            if self._fresh and other in held:
                self._spoil(held[other])

    def _vector(self, op: Operation, held: Mapping[str, _Held], position: int) -> None:
        dst = held["dst"].window.view
        functions = FUNCTIONS.get(op.mnemonic)
        if functions is not None and op.function not in functions:
            raise StretchError
        if op.mnemonic == "mac_drain" and op.acc + dst.num_elements > self._num_accumulators:
            raise StretchError
        if dst.space != "activation" or (op.mnemonic in _WORDS and dst.element_bits != 32):
            raise StretchError
        function = int(dst.dtype == "f32") if functions is None else functions[op.function]
        rows = {name: self._row_of(one) for name, one in held.items()}
        self._add(op, position, rows, function)
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
                low, high = written.window.start, written.window.stop
                begin, end = held.window.start, held.window.stop
            if low < end and begin < high:
                del self._fresh[key]

    def _add(
        self,
        op: Operation,
        position: int,
        views: Mapping[str, int],
        function: int,
        tile: int = 0,
        outputs: int = 0,
        mask: int = -1,
    ) -> None:
        flags = sum(bool(getattr(op, name)) << bit for bit, name in enumerate(FLAGS))
        row = [0] * len(COLUMNS)
        for name, number in views.items():
            row[OPERANDS[name]] = number
        kind = KINDS[op.mnemonic]
        row[_KIND:] = kind, function, flags, op.acc, tile, outputs, mask, _bits_of(op.value)
        self._rows.append(row)
        self._places.append(position)

    # ---- the end

    def finish(self, first: int, end: int, sites: list[Site]) -> Stretch:
        """Return the stretch of instructions [first, end), whose executions have these sites."""
        different = {id(site): site for site in sites}
        number_of = {each: number for number, each in enumerate(different)}
        payload = np.zeros(len(sites), np.int64)
        tile_of = np.full(len(sites), -1, np.int32)
        if self._events:
            where, what, tiles = np.array(self._events, np.int64).T
            payload[where], tile_of[where] = what, tiles
        moving = np.array(self._moving, np.int64).reshape(-1, 2)
        return Stretch(
            first=first,
            end=end,
            needs=Needs(
                Registers(tuple(number for number, _ in self._slots)),
                tuple(window for _, window in self._slots),
                tuple(self._least),
                tuple(self._most),
                tuple(self._multiple),
                tuple(self._needed.values()),
                self._stores,
            ),
            leaves=self._leaves(),
            reads=self._reads,
            rows=np.array(self._rows, np.int64).reshape(-1, len(COLUMNS)),
            views=np.array(self._views, np.int64).reshape(-1, len(VIEW_COLUMNS)),
            largest=self._largest,
            has_engine=bool(self._rows or self._loads),
            places=tuple(self._places),
            loads=tuple(self._loads),
            touched=tuple(sorted(self._touched)),
            sites=tuple(different.values()),
            tiles=tuple(self._tiles),
            sequence=np.array([number_of[id(site)] for site in sites], np.int32),
            payload=payload,
            tile_of=tile_of,
            mask_bytes=self._mask_bytes,
            mask_at=np.array(self._mask_at, np.int64),
            transfers=moving[:, 0].copy(),
            slot_of=moving[:, 1].copy(),
        )

    def _leaves(self) -> Leaves:
        moved = tuple(
            (number, held.offset_bytes)
            for number, held in self._held.items()
            if held.slot >= 0 and held.offset_bytes
        )
        scalars = tuple((number, value) for number, value in self._scalars.items() if number)
        return Leaves(self._runs(), moved, scalars, tuple(self._left))

    def _runs(self) -> tuple[Run, ...]:
        """Registers that it sets."""
        runs: list[Run] = []
        for number, held in sorted(self._held.items()):
            if held.slot >= 0:
                continue
            if not runs or number != runs[-1].first + len(runs[-1].windows):
                runs.append(Run(number, [], []))
            runs[-1].windows.append(held.window)
            runs[-1].offsets.append(held.offset_bytes)
        return tuple(runs)


def _bits_of(value: float) -> int:
    """The bits of a float64 as a whole number."""
    return struct.unpack("<q", struct.pack("<d", value))[0] if value else 0


def _reach(held: _Held) -> tuple[int, int]:
    """Bytes that a view may touch, however far it moves."""
    return held.window.start, held.window.stop


def _extent(held: _Held) -> tuple[int, int]:
    """Bytes of a view, its slot's offset not added."""
    return held.window.low + held.offset_bytes, held.window.high + held.offset_bytes
