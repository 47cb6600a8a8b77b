"""The trace: everything about an execution that timing needs, and no cycle.

One execution gives one trace; timing replays it under any hardware description that compiles to
the same program.  A *site* is an instruction together with the shapes that its operands had; what
differs from one execution of a site to the next (addresses in DRAM, tiles, zero masks of
activations) is kept in flat arrays in program order.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from azsim.machine.operation import Operation
from azsim.machine.tile import Tile
from azsim.machine.view import View

__all__ = ["Path", "Recorder", "Site", "Trace"]


@dataclass(slots=True)  # not frozen: a run makes ten thousand of them, and nobody changes one
class Site:
    """An instruction with resolved operand shapes.

    Attributes
    ----------
    index : int
        Instruction index.
    mnemonic, engine : str
    function : str
    static, paced, accumulate : int
        Flags.
    waits : mapping of str to int
        Encoded wait fields (0: none) by engine.
    views : mapping of str to View
        Operand views as they were at the first execution; shapes and types hold for all.
    facts : bytes
        What timing has found out of the site once, see `azsim.sim.site_facts`.
    """

    index: int
    mnemonic: str
    engine: str
    function: str
    static: int
    paced: int
    accumulate: int
    waits: Mapping[str, int]
    views: Mapping[str, View]
    facts: bytes = field(default=b"", compare=False, repr=False)


@dataclass(frozen=True, eq=False)
class Path:
    """The way that an execution took: its trace without zero masks and the rows that it gathered.

    Other inputs mostly lead a program the same way.  Executions that share a path share what
    timing works out of it.

    Attributes
    ----------
    sites : tuple of Site
    sequence : ndarray of shape (executed,), int32
        Site of each executed instruction, control instructions included, in program order.
    payload : ndarray of shape (executed,), int64
        Transfers and weight loads: DRAM address.  Gathers and scatters of DRAM: where in
        `Trace.gathered` their rows begin.
        ``view_at``: the view's address.  Others: 0.
    tile_of : ndarray of shape (executed,), int32
        Weight loads that are decoded and products with weights: index into `tiles`.  Others: -1.
    tiles : tuple of Tile
        Distinct weight tiles by content and encoding.
    derived : dict
        What timing has worked out of the path; nothing is lost with it.
    """

    sites: tuple[Site, ...]
    sequence: np.ndarray
    payload: np.ndarray
    tile_of: np.ndarray
    tiles: tuple[Tile, ...]
    derived: dict[object, Any] = field(default_factory=dict, init=False, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "derived": {}}

    def equals(self, other: Path) -> bool:
        """Whether another path is the same, with the same objects as sites."""
        return (
            len(self.sites) == len(other.sites)
            and all(map(operator.is_, self.sites, other.sites))
            and list(map(_identity, self.tiles)) == list(map(_identity, other.tiles))
            and np.array_equal(self.sequence, other.sequence)
            and np.array_equal(self.payload, other.payload)
            and np.array_equal(self.tile_of, other.tile_of)
        )


def _identity(tile: Tile) -> tuple[str, bytes]:
    """The same codes may be encoded in several ways, which take the decoder different times."""
    return tile.digest, tile.encoded


@dataclass(frozen=True)
class Trace:
    """What was executed.

    Attributes
    ----------
    path : Path
        Its arrays are those of the trace: `sites`, `sequence`, `payload`, `tile_of` and `tiles`.
    masks : ndarray of uint8
        Bits of non-zero codes, rows padded to bytes, most significant bit first.
    mask_at : ndarray of shape (products,), int64
        Matrix products, in program order: byte offset of the activation codes' zero mask in
        `masks`; where the second operand lies in activation SRAM, its mask follows there.
    gathered : ndarray of int64
        DRAM addresses of the rows that gathers fetched and scatters stored, in order.
    derived : dict
        What timing has worked out from the trace, for its next replay, and the translation of the
        program, for its next execution; nothing is lost with it.
    """

    path: Path
    masks: np.ndarray
    mask_at: np.ndarray
    gathered: np.ndarray
    derived: dict[object, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "derived": {}}

    @property
    def sites(self) -> tuple[Site, ...]:
        """See `Path`."""
        return self.path.sites

    @property
    def sequence(self) -> np.ndarray:
        """See `Path`."""
        return self.path.sequence

    @property
    def payload(self) -> np.ndarray:
        """See `Path`."""
        return self.path.payload

    @property
    def tile_of(self) -> np.ndarray:
        """See `Path`."""
        return self.path.tile_of

    @property
    def tiles(self) -> tuple[Tile, ...]:
        """See `Path`."""
        return self.path.tiles


_FIRST = np.zeros(1, np.int64)


class Recorder:
    """Collects a trace while a program executes.

    Parameters
    ----------
    keeps : bool
        Whether anyone will look at the trace; else it is empty, and only `executed` counts.
    """

    def __init__(self, *, keeps: bool = True) -> None:
        self.keeps = keeps
        self.sites: list[Site] = []
        self.sequence: list[int] = []
        self._site_number: dict[int, int] = {}
        self._events: list[tuple[int, int, int]] = []
        self._stretches: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self._before = 0  # instructions of `_stretches`; `sequence` has those that follow
        self._tiles: list[Tile] = []
        self._tile_number: dict[tuple[str, bytes], int] = {}
        self._masks: list[bytes] = []
        self._mask_bytes = 0
        self._mask_at: list[np.ndarray] = []
        self._gathered: list[np.ndarray] = []
        self._num_gathered = 0

    def site(self, site: Site) -> int:
        """Number of a site."""
        number = self._site_number.get(id(site))  # `sites` holds it, so that no other has its id
        if number is None:
            number = self._site_number[id(site)] = len(self.sites)
            self.sites.append(site)
        return number

    def numbers_of(self, sites: Sequence[Site]) -> list[int]:
        """Numbers of several sites, each another one."""
        number_of = self._site_number
        new = [site for site in sites if id(site) not in number_of]
        number_of.update(zip(map(id, new), itertools.count(len(self.sites)), strict=False))
        self.sites += new
        return [number_of[id(site)] for site in sites]

    @property
    def executed(self) -> int:
        """Instructions so far."""
        return self._before + len(self.sequence)

    def stretch(
        self,
        sequence: np.ndarray,
        payload: np.ndarray,
        tile_of: np.ndarray,
        masks: bytes,
        mask_at: np.ndarray,
    ) -> None:
        """Several instructions were executed; arrays as those of `Trace`, which are kept.

        The products' masks lie in `masks`, of these alone, at `mask_at`.
        """
        self._close()
        self._add_masks(masks, mask_at)
        self._stretches.append((sequence, payload, tile_of))
        self._before += len(sequence)

    def pass_over(self, count: int) -> None:
        """Several instructions were executed, and nobody will look at the trace."""
        self._before += len(self.sequence) + count
        self.sequence.clear()
        self._events.clear()

    def _close(self) -> None:
        """Turn what was told one by one into a stretch."""
        if not self.sequence:
            return
        sequence = np.array(self.sequence, np.int32)
        payload = np.zeros(len(sequence), np.int64)
        tile_of = np.full(len(sequence), -1, np.int32)
        if self._events:
            events = np.array(self._events, np.int64)
            payload[events[:, 0]] = events[:, 1]
            tile_of[events[:, 0]] = events[:, 2]
        self._stretches.append((sequence, payload, tile_of))
        self._before += len(sequence)
        self.sequence.clear()
        self._events.clear()

    # What instructions report about the execution that was just appended to `sequence`.

    def transfer(self, addr: int) -> None:
        """A transfer touched DRAM from an address on, or a scalar placed a view there."""
        self._events.append((len(self.sequence) - 1, addr, -1))

    def gather(self, addresses: np.ndarray) -> None:
        """Rows were fetched from these DRAM addresses."""
        self._events.append((len(self.sequence) - 1, self._num_gathered, -1))
        self._gathered.append(addresses)
        self._num_gathered += len(addresses)

    def weight_load(self, tile: Tile, addr: int) -> None:
        """A block was decoded from a DRAM address."""
        self._events.append((len(self.sequence) - 1, addr, self.tile(tile)))

    def matmul(self, tile: Tile, codes: np.ndarray) -> None:
        """Activation codes were multiplied by a tile."""
        self._events.append((len(self.sequence) - 1, 0, self.tile(tile)))
        self._add_masks(_bits(codes), _FIRST)

    def product(self, codes: np.ndarray, others: np.ndarray) -> None:
        """Codes were multiplied by other codes of activation SRAM."""
        self._add_masks(_bits(codes) + _bits(others), _FIRST)

    def _add_masks(self, masks: bytes, mask_at: np.ndarray) -> None:
        if len(mask_at):
            self._masks.append(masks)
            self._mask_at.append(mask_at + self._mask_bytes)
            self._mask_bytes += len(masks)

    def tile(self, tile: Tile) -> int:
        """Number of a tile."""
        key = _identity(tile)
        number = self._tile_number.get(key)
        if number is None:
            number = self._tile_number[key] = len(self._tiles)
            self._tiles.append(tile)
        return number

    def finish(self) -> Trace:
        """Return the trace."""
        if not self.keeps:
            return Recorder().finish()
        self._close()
        nothing = np.zeros(0, np.int32), np.zeros(0, np.int64), np.zeros(0, np.int32)
        columns = zip(nothing, *self._stretches, strict=True)
        sequence, payload, tile_of = (np.concatenate(column) for column in columns)
        masks = np.frombuffer(b"".join(self._masks), np.uint8)
        mask_at, gathered = (
            np.concatenate([np.zeros(0, np.int64), *arrays])
            for arrays in (self._mask_at, self._gathered)
        )
        sites, tiles = tuple(self.sites), tuple(self._tiles)
        return Trace(Path(sites, sequence, payload, tile_of, tiles), masks, mask_at, gathered)


def _bits(codes: np.ndarray) -> bytes:
    return np.packbits(codes != 0, axis=1).tobytes()


def make_site(
    op: Operation, engine: str, waits: Mapping[str, int], views: Mapping[str, View]
) -> Site:
    """Build the site of an operation."""
    return Site(
        op.index, op.mnemonic, engine, op.function, op.static, op.paced, op.accumulate, waits, views
    )
