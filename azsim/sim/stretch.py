"""Stretches: instructions that follow one another, resolved once and then executed compiled.

Where the execute loop comes, what follows up to the next instruction that decides or is not among
the common kinds becomes a stretch: its views are resolved, its tiles looked up, and its rows made
for `azsim.machine.flat`.  From then on it runs in one call for as long as what it was made from
holds: the windows in the registers that it finds, the tiles that it finds in weight SRAM, and the
blocks in DRAM.  Registers may have moved; by how much they may is part of the stretch.

A stretch gives the same memory and the same trace as its instructions one by one.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from azsim.machine.flat.columns import NUM_LINES
from azsim.machine.flat.run import run_rows
from azsim.machine.state import Machine, Resident, place
from azsim.machine.tile import Tile
from azsim.machine.trace import Recorder, Site
from azsim.machine.view import View
from azsim.machine.window import Window

__all__ = ["Leaves", "Loaded", "Needs", "Put", "Registers", "Run", "Stretch"]


class Registers:
    """Some registers, by number.

    Parameters
    ----------
    numbers : tuple of int

    Attributes
    ----------
    numbers : tuple of int
    of : callable
        Takes what a list has at these numbers: a tuple.
    """

    __slots__ = ("numbers", "of")

    def __init__(self, numbers: tuple[int, ...]) -> None:
        self.numbers = numbers
        self.of: Callable[[list[Any]], tuple[Any, ...]] = (
            operator.itemgetter(*numbers)  # gives a tuple if there are several
            if len(numbers) > 1
            else lambda values: tuple(values[number] for number in numbers)
        )


@dataclass(slots=True)
class Needs:
    """What a stretch was made from, and has to find again.

    Attributes
    ----------
    registers : Registers
        By slot.
    windows : tuple of Window
        What they hold.
    least, most : tuple of int
        By how many bytes each may have moved.
    multiple : tuple of int
        What these bytes have to be a multiple of.
    tiles : tuple of (View, Tile)
        What weight SRAM holds.
    stores : tuple of (int, int)
        Bytes of DRAM in which it stores; no block that was decoded may lie there.
    offsets : tuple of int
        By how many bytes each had moved when all held last; mostly it is the same again.
    offset_array : ndarray of int64
        These numbers.
    """

    registers: Registers
    windows: tuple[Window, ...]
    least: tuple[int, ...]
    most: tuple[int, ...]
    multiple: tuple[int, ...]
    tiles: tuple[tuple[View, Tile], ...]
    stores: tuple[int, int]
    offsets: tuple[int, ...] = ()
    offset_array: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))

    def hold(self, machine: Machine) -> bool:
        """Whether the machine is as it has to be."""
        if self.stores[0] < machine.blocks[1] and machine.blocks[0] < self.stores[1]:
            return False
        if self.registers.of(machine.windows) != self.windows:  # each equals itself alone
            return False
        offsets = self.registers.of(machine.offsets)
        if offsets != self.offsets:
            if not self._allow(offsets):
                return False
            self.offsets, self.offset_array = offsets, np.array(offsets, np.int64)
        for view, tile in self.tiles:
            entry = machine.resident.get(place(view))
            if entry is None or entry.tile is not tile:
                return False
            if entry.view is not view and entry.view != view:
                return False
        return True

    def _allow(self, offsets: tuple[int, ...]) -> bool:
        return (
            all(map(operator.le, self.least, offsets))
            and all(map(operator.le, offsets, self.most))
            and not any(map(operator.mod, offsets, self.multiple))
        )


class Put(NamedTuple):
    """A tile that was put into weight SRAM, in bytes [low, high)."""

    view: View
    tile: Tile
    low: int
    high: int


class Loaded(NamedTuple):
    """A block that was decoded: what the views of an instruction showed, and its tile."""

    source: View
    target: View
    tile: Tile


class Run(NamedTuple):
    """Registers that follow one another: what they are set to, and how far they move then."""

    first: int
    windows: list[Window]
    offsets: list[int]


class Bound(NamedTuple):
    """A stretch's place in one execution: what goes to its trace.

    It holds while `Machine.blocks_version` is this.
    """

    blocks_version: int
    sequence: np.ndarray
    tile_of: np.ndarray


@dataclass(frozen=True, slots=True)
class Leaves:
    """How a stretch leaves registers and weight SRAM.

    Attributes
    ----------
    windows : tuple of Run
        Registers that it sets.
    moved : tuple of (int, int)
        Registers that it only moves, and by how many bytes.
    scalars : tuple of (int, int)
        Scalar registers that it sets, and to what.
    tiles : tuple of Put
        Tiles that it puts into weight SRAM and that are still there, at least in part; in the
        order of their loads.
    """

    windows: tuple[Run, ...]
    moved: tuple[tuple[int, int], ...]
    scalars: tuple[tuple[int, int], ...]
    tiles: tuple[Put, ...]

    def apply(self, machine: Machine) -> None:
        """Leave the machine so."""
        windows, offsets = machine.windows, machine.offsets
        for run in self.windows:
            registers = slice(run.first, run.first + len(run.windows))
            windows[registers] = run.windows
            offsets[registers] = run.offsets
        for number, step_bytes in self.moved:
            offsets[number] += step_bytes
        for number, value in self.scalars:
            machine.scalars[number] = value
        machine.epoch += 1
        for put in self.tiles:
            machine.keep(Resident(put.view, put.tile, put.low, put.high, is_pending=True))


@dataclass(frozen=True, slots=True, eq=False)
class Stretch:
    """Instructions ``[first, end)``, loops among them unrolled, ready to run.

    Attributes
    ----------
    first, end : int
    needs : Needs
    leaves : Leaves
    reads : tuple of (int, int)
        Bytes of weight SRAM in which everything lies that is read and no tile.
    rows, views : ndarray of int64
        See `azsim.machine.flat.columns`.
    largest : int
        Elements of the largest view.
    has_engine : bool
        Whether there is an instruction for an engine.
    places : tuple of int
        Where in the stretch the instruction of each row is.
    loads : tuple of Loaded
        Blocks that it decodes, which have to be the same when it runs.
    touched : tuple of (int, int)
        Bytes of DRAM in which it loads and stores.
    sites : tuple of Site
    tiles : tuple of Tile
    sequence, payload, tile_of : ndarray
        What the trace gets, numbers counted among `sites` and `tiles`.
    mask_bytes : int
        What all zero masks take.
    mask_at : ndarray of int64
        Where the mask of each product lies among them.
    transfers, slot_of : ndarray of int64
        Where in the stretch transfers are whose address moves with a slot, and the slots.
    """

    first: int
    end: int
    needs: Needs
    leaves: Leaves
    reads: tuple[int, int]
    rows: np.ndarray
    views: np.ndarray
    largest: int
    has_engine: bool
    places: tuple[int, ...]
    loads: tuple[Loaded, ...]
    touched: tuple[tuple[int, int], ...]
    sites: tuple[Site, ...]
    tiles: tuple[Tile, ...]
    sequence: np.ndarray
    payload: np.ndarray
    tile_of: np.ndarray
    mask_bytes: int
    mask_at: np.ndarray
    transfers: np.ndarray
    slot_of: np.ndarray

    def bind(self, machine: Machine, recorder: Recorder) -> Bound | None:
        """Place it in an execution; None if a block in DRAM is another one."""
        for source, target, tile in self.loads:
            if not machine.fetch_known(source, target, tile):
                return None
        if not self.needs.hold(machine):  # of all blocks that are decoded now
            return None
        for low, high in self.touched:
            machine.dram.touch(low, high)
        sites = np.array(recorder.numbers_of(self.sites), np.int32)
        tiles = np.array([*map(recorder.tile, self.tiles), -1], np.int32)  # -1 stays
        return Bound(machine.blocks_version, sites[self.sequence], tiles[self.tile_of])

    def run(self, machine: Machine, recorder: Recorder, bound: Bound) -> int:
        """Execute it once its needs hold; returns the row that could not be, -1 if all were."""
        machine.settle(*self.reads)
        offsets = self.needs.offset_array
        masks = np.empty(self.mask_bytes, np.uint8)
        failed = run_rows(
            self.rows,
            self.views,
            offsets,
            machine.arena,
            machine.accumulators,
            masks,
            machine.lines(NUM_LINES + 1, self.largest),
        )
        if failed >= 0:
            return failed
        if recorder.keeps:
            payload = self.payload
            if len(self.transfers):
                payload = payload.copy()
                payload[self.transfers] += offsets[self.slot_of]
            recorder.stretch(bound.sequence, payload, bound.tile_of, masks.tobytes(), self.mask_at)
        else:
            recorder.pass_over(len(bound.sequence))
        self.leaves.apply(machine)
        return -1
