"""A trace as flat arrays: what both timing models start from.

Shapes, addresses, tiles and zero masks give each instruction the DRAM bursts and products that it
stands for, and the cycles that its engine takes when nothing holds it up.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np

from azsim.hardware.description import Hardware
from azsim.isa.program import Program
from azsim.machine.engines.clock import ENGINES
from azsim.machine.engines.decoder import DecoderSizes, copy_times, port_codes
from azsim.machine.engines.mac import (
    Geometry,
    MatmulCycles,
    block_cycles,
    geometry,
    matmul_cycles,
    peak_macs_per_cycle,
)
from azsim.machine.instructions import instructions
from azsim.machine.trace import Site, Trace
from azsim.machine.view import View

__all__ = ["FlatTrace"]

_CHUNK_MARKS = 1 << 25
_CONTROL, _FENCE, _SCALAR_WAIT = -1, 5, 6


def _piece_offsets(view: View) -> np.ndarray:
    """Offsets in bytes from a view's address of its contiguous pieces: all of it, or its rows."""
    bits = view.element_bits
    pitch = view.row_stride * bits // 8
    if view.rows == 1 or pitch == -(-view.cols * bits // 8):
        return np.zeros(1, np.int64)
    return np.arange(view.rows, dtype=np.int64) * pitch


def _row_figures(prepared: MatmulCycles, active: np.ndarray) -> np.ndarray:
    """Cycles, executed products and non-zero ones of rows of marks: (3, rows)."""
    return np.stack(
        (
            prepared.row_cycles(active),
            prepared.executed_products(active),
            prepared.nonzero_products(active),
        )
    )


class FlatTrace:
    """A trace as flat arrays over engine instructions, fences and the halt, in program order.

    Attributes
    ----------
    trace : Trace
    hardware : Hardware
    positions : ndarray of int64
        Index of each instruction in `trace.sequence`, which holds control instructions too.
    site : ndarray of int32
        Index into the trace's sites.
    engine : ndarray of int64
        Index into `azsim.machine.engines.clock.ENGINES`; 5 for fence and halt, 6 for a control
        instruction that waits.
    control_before : ndarray of int64
        Control instructions issued just before the instruction.
    cycles : ndarray of int64
        The engine's own cycles: decoder or write port for weight loads, occupancy for MAC and
        vector; 0 for loads and stores.
    blocks : ndarray of shape (entries, 4), int64
        What the decoder makes of each burst of a block (`azsim.machine.engines.decoder`); equal
        blocks once.
    block_at : ndarray of int64
        Weight loads: where their block's entries begin.
    first_burst, num_bursts, useful_bytes : ndarray of int64
        DRAM bursts of transfers and the bytes that they asked for.
    pieces : ndarray of shape (entries, 2), int64
        Of transfers whose rows do not follow one another: first burst of each row, and bursts of
        the transfer up to its end.
    piece_at : ndarray of int64
        Where a transfer's pieces begin; -1 where its bursts follow one another.
    macs, executed, nonzero : ndarray of int64
        Products of the dense shapes, carried out by the array, with two non-zero factors.
    ideal : ndarray of float64
        Non-zero products over the array's peak.
    """

    def __init__(self, trace: Trace, hardware: Hardware) -> None:
        self.trace = trace
        self.hardware = hardware
        outline = trace.derived.get("outline")
        if outline is None:
            outline = trace.derived["outline"] = _outline(trace)
        self.positions, self.site, self.engine, self._groups, self._targets = outline
        self.control_before = np.diff(self.positions, prepend=-1) - 1
        count = len(self.positions)
        self.cycles = np.zeros(count, np.int64)
        self.block_at = np.zeros(count, np.int64)
        self.first_burst = np.zeros(count, np.int64)
        self.num_bursts = np.zeros(count, np.int64)
        self.useful_bytes = np.zeros(count, np.int64)
        self.piece_at = np.full(count, -1, np.int64)
        self.macs = np.zeros(count, np.int64)
        self.executed = np.zeros(count, np.int64)
        self.nonzero = np.zeros(count, np.int64)
        self.ideal = np.zeros(count, np.float64)
        self._table = instructions()
        self._blocks: dict[tuple[int, ...], tuple[int, np.ndarray]] = {}
        self._num_entries = 0
        self._pieces: list[np.ndarray] = [np.zeros((0, 2), np.int64)]
        self._num_pieces = 0
        for number, where in self._groups:
            self._fill(number, where)
        self.pieces = np.concatenate(self._pieces)
        blocks = [times for _, times in self._blocks.values()]
        self.blocks = np.concatenate([*blocks, np.zeros((0, 4), np.int64)])

    def _fill(self, number: int, where: np.ndarray) -> None:
        site = self.trace.sites[number]
        payload = self.trace.payload[self.positions[where]]
        tile_of = self.trace.tile_of[self.positions[where]]
        burst_bytes = self.hardware.dram.burst_bytes
        if site.mnemonic == "mac_matmul":
            for tile in np.unique(tile_of):
                same = tile_of == tile
                self._fill_matmul(number, where[same], payload[same], int(tile))
        elif site.mnemonic == "weight_load":
            source = site.views["src"]
            self._transfers(where, source, payload[:, None])
            offset = payload % burst_bytes
            for key in np.unique(tile_of * burst_bytes + offset):
                same = where[(tile_of == key // burst_bytes) & (offset == key % burst_bytes)]
                bursts = int(self.num_bursts[same[0]])
                at, times = self._block(site, *divmod(int(key), burst_bytes), bursts)
                self.block_at[same], self.cycles[same] = at, times[-1, 0]
        elif site.mnemonic in ("load", "store"):
            view = site.views["src" if site.mnemonic == "load" else "dst"]
            self._transfers(where, view, payload[:, None] + _piece_offsets(view))
        elif site.mnemonic in ("load_gather", "store_scatter"):
            table = site.views["src" if site.mnemonic == "load_gather" else "dst"]
            rows = site.views["indices"].rows
            low = self.trace.gathered[payload[:, None] + np.arange(rows)]
            self._transfers(where, replace(table, rows=rows), low)
        else:
            self.cycles[where] = self._table[site.mnemonic].cycles(site, self.hardware)

    def _transfers(self, where: np.ndarray, view: View, low: np.ndarray) -> None:
        """Bursts of transfers of one shape; `low`, (n, pieces), is where their pieces begin."""
        burst_bytes = self.hardware.dram.burst_bytes
        pieces = low.shape[1]
        first = low // burst_bytes
        last = (low + view.num_bytes // pieces - 1) // burst_bytes
        up_to = np.cumsum(last - first + 1, axis=1)
        self.first_burst[where], self.num_bursts[where] = first[:, 0], up_to[:, -1]
        self.useful_bytes[where] = view.num_bytes
        if pieces > 1:
            self.piece_at[where] = self._num_pieces + pieces * np.arange(len(where))
            self._pieces.append(np.stack([first.reshape(-1), up_to.reshape(-1)], axis=1))
            self._num_pieces += low.size

    def _block(
        self, site: Site, tile: int, offset_bytes: int, bursts: int
    ) -> tuple[int, np.ndarray]:
        """Where the entries of a weight load begin, and the entries; tile -1 is not decoded."""
        decoder, sram = self.hardware.decoder, self.hardware.weight_sram
        burst_bytes, port_bytes = self.hardware.dram.burst_bytes, sram.write_bytes_per_cycle
        source, target = site.views["src"], site.views["dst"]
        codes = port_codes(target.rows, target.cols, target.element_bits, port_bytes)
        key = (tile, codes, offset_bytes, bursts, source.num_bytes)
        if key not in self._blocks:
            if tile < 0:
                times = copy_times(source.num_bytes, port_bytes, burst_bytes, offset_bytes)
            else:
                sizes = DecoderSizes(
                    decoder.lanes,
                    8 * decoder.bus_bytes_per_cycle,
                    codes,
                    8 * burst_bytes,
                )
                times = self.trace.tiles[tile].burst_times(sizes, offset_bytes, bursts)
            self._blocks[key] = self._num_entries, times
            self._num_entries += bursts
        return self._blocks[key]

    def _fill_matmul(self, number: int, where: np.ndarray, offsets: np.ndarray, tile: int) -> None:
        site, mac = self.trace.sites[number], self.hardware.mac
        source, weights = site.views["src"], site.views["src2"]
        widths = weights.element_bits, source.element_bits
        at_read = weights.dtype == "u8"
        shape = geometry(mac, *widths)
        key = ("products", number, tile, shape)
        if key not in self.trace.derived:
            if tile < 0:
                products = self._products_of_two(source, weights, offsets, shape)
            else:
                products = self._products(source, offsets, tile, shape, at_read=at_read)
            self.trace.derived[key] = products
        cycles, self.executed[where], self.nonzero[where] = self.trace.derived[key]
        self.cycles[where] = mac.pipeline_cycles + cycles
        size = weights.num_elements if tile < 0 else self.trace.tiles[tile].codes.size
        self.macs[where] = source.rows * size
        peak = peak_macs_per_cycle(mac, *widths, at_read=at_read)
        self.ideal[where] = self.nonzero[where] / peak

    def _products_of_two(
        self, source: View, other: View, offsets: np.ndarray, shape: Geometry
    ) -> np.ndarray:
        """As `_products`, where the second operand is what activation SRAM held each time."""
        row_bytes = -(-source.cols // 8)
        different, which = np.unique(offsets, return_inverse=True)
        out = np.zeros((3, len(different)), np.int64)
        for at, offset in enumerate(different.tolist()):
            size = (source.rows + other.rows) * row_bytes
            bits = self.trace.masks[offset : offset + size].reshape(-1, row_bytes)
            marks = np.unpackbits(bits, axis=1)[:, : source.cols]
            active, weights = np.split(marks, [source.rows])
            prepared = MatmulCycles(weights, shape)
            out[:, at] = _row_figures(prepared, np.ascontiguousarray(active)).sum(axis=1)
        return out[:, which]

    def _products(
        self, source: View, offsets: np.ndarray, tile: int, shape: Geometry, *, at_read: bool
    ) -> np.ndarray:
        """Row cycles, executed products and non-zero ones of products with one tile: (3, n)."""
        record = self.trace.tiles[tile]
        if at_read:
            prepared = block_cycles(record.encoded, record.codes, shape)
        else:
            prepared = matmul_cycles(record.digest, record.codes, shape)
        row_bytes = -(-source.cols // 8)
        step = max(1, _CHUNK_MARKS // max(1, source.rows * row_bytes * 8))
        out = np.zeros((3, len(offsets)), np.int64)
        for begin in range(0, len(offsets), step):
            base = offsets[begin : begin + step]
            index = base[:, None] + np.arange(source.rows * row_bytes)
            bits = np.unpackbits(self.trace.masks[index].reshape(-1, row_bytes), axis=1)
            marks = np.ascontiguousarray(bits[:, : source.cols])
            rows = _row_figures(prepared, marks).reshape(3, len(base), source.rows)
            out[:, begin : begin + step] = rows.sum(axis=2)
        return out

    def arrivals(self, program: Program) -> np.ndarray:
        """Cycle before which a paced load cannot start; 0 for everything else."""
        arrival = np.zeros(len(self.engine), np.int64)
        stream = program.stream
        if stream.paced and stream.period_s is not None:
            period = Fraction(stream.period_s).limit_denominator(10**9) * self.hardware.clock_hz
            paced = np.array([site.paced for site in self.trace.sites], bool)[self.site]
            where = np.flatnonzero(paced)
            above, below = period.numerator, period.denominator
            arrival[where] = [-(-above * frame // below) for frame in range(1, len(where) + 1)]
        return arrival

    def targets(self) -> np.ndarray:
        """Completions of each engine that each instruction waits for: (n, 5) int64, 0 for none."""
        return self._targets


def _kind(site: Site) -> int:
    """Engine by number, or what the sequencer does with the instruction."""
    if site.engine in ENGINES:
        return ENGINES.index(site.engine)
    if site.mnemonic in ("fence", "halt"):
        return _FENCE
    return _SCALAR_WAIT if any(site.waits.values()) else _CONTROL


def _outline(
    trace: Trace,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[tuple[int, np.ndarray]], np.ndarray]:
    """What no hardware changes.

    Returns
    -------
    positions, site, engine : ndarray
        See `FlatTrace`.
    groups : list of (int, ndarray)
        Sites of engines, with the numbers of their instructions.
    targets : ndarray of shape (n, 5), int64
    """
    kinds = np.array([_kind(site) for site in trace.sites], np.int64)
    kind = kinds[trace.sequence]
    positions = np.flatnonzero(kind >= 0)
    engine = np.ascontiguousarray(kind[positions])
    site = trace.sequence[positions]
    order = np.argsort(site, kind="stable")
    bounds = np.searchsorted(site[order], np.arange(len(trace.sites) + 1))
    groups = [
        (number, order[bounds[number] : bounds[number + 1]])
        for number in np.unique(site).tolist()
        if trace.sites[number].engine in ENGINES
    ]
    waits = np.array(
        [[site.waits.get(engine, 0) for engine in ENGINES] for site in trace.sites], np.int64
    ).reshape(-1, len(ENGINES))[site]
    issued = np.zeros_like(waits)
    for number in range(len(ENGINES)):
        mine = engine == number
        issued[:, number] = np.cumsum(mine) - mine
    targets = np.where(waits > 0, np.maximum(issued - waits + 1, 0), 0)
    return positions, site, engine, groups, np.ascontiguousarray(targets)
