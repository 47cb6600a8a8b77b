"""The transfers of a trace: their bursts in DRAM, and what the decoder makes of each of them."""

from __future__ import annotations

import copy

import numpy as np

from azsim.hardware.description import Hardware
from azsim.jit import kernel
from azsim.machine.engines.clock import ENGINES
from azsim.machine.engines.decoder import DecoderSizes, copy_times, port_codes
from azsim.machine.trace import Site, Trace
from azsim.machine.view import View
from azsim.sim.outline import Outline, outline_of
from azsim.sim.site_facts import HAS_PIECES, LINE_BYTES, in_dram

__all__ = ["Transfers"]

_NO_KEY = np.iinfo(np.int64).min
_WEIGHT = ENGINES.index("weight")


class Transfers:
    """Transfers for one size of bursts and one decoder.

    Parameters
    ----------
    trace : Trace
        What it gathered is not looked at, see `of`.
    hardware : Hardware
        What counts is the decoder's lanes and bus, the weight SRAM's port, and DRAM's bursts.

    Attributes
    ----------
    cycles : ndarray of int64
        Of the decoder or the write port for weight loads; 0 for all others.
    first_burst, num_bursts, useful_bytes, blocks, block_at, pieces, piece_at : ndarray
        See `azsim.sim.flatten.FlatTrace`.
    gathers : tuple of int
        Sites that gather rows, or scatter them: these have no bursts yet.
    """

    def __init__(self, trace: Trace, hardware: Hardware) -> None:
        outline = outline_of(trace)
        self._burst_bytes = hardware.dram.burst_bytes
        count = len(outline.positions)
        self.cycles = np.zeros(count, np.int64)
        self.block_at = np.zeros(count, np.int64)
        self.piece_at = np.full(count, -1, np.int64)
        self.first_burst, self.num_bursts, self.useful_bytes = _lines(
            outline.site,
            outline.positions,
            trace.payload,
            np.ascontiguousarray(outline.facts[:, LINE_BYTES]),
            self._burst_bytes,
        )
        self.blocks = self._fill_weights(trace, outline, hardware)
        pieces, gathers, self._num_pieces = [np.zeros((0, 2), np.int64)], [], 0
        for number in np.flatnonzero(outline.facts[:, HAS_PIECES]).tolist():
            site = trace.sites[number]
            if "indices" in site.views:
                gathers.append(number)
                continue
            view, where = _in_dram(site), outline.of_site(number)
            pitch = view.row_stride * view.element_bits // 8
            first = trace.payload[outline.positions[where]]
            low = first[:, None] + pitch * np.arange(view.rows)
            pieces.append(self._fill_pieces(where, view, low))
        self.pieces, self.gathers = np.concatenate(pieces), tuple(gathers)

    def of(self, trace: Trace) -> Transfers:
        """Return the same for a trace on the same path, with what it gathered."""
        outline, found = outline_of(trace), copy.copy(self)
        found.first_burst, found.num_bursts = self.first_burst.copy(), self.num_bursts.copy()
        found.useful_bytes, found.piece_at = self.useful_bytes.copy(), self.piece_at.copy()
        pieces = [self.pieces]
        for number in self.gathers:
            site, where = trace.sites[number], outline.of_site(number)
            rows = site.views["indices"].rows
            at = trace.payload[outline.positions[where]]
            low = trace.gathered[at[:, None] + np.arange(rows)]
            pieces.append(found._fill_pieces(where, _in_dram(site)._replace(rows=rows), low))
        found.pieces, found.gathers = np.concatenate(pieces), ()
        return found

    def _fill_pieces(self, where: np.ndarray, view: View, low: np.ndarray) -> np.ndarray:
        """Bursts of one site's transfers; `low`, (n, pieces), is where their pieces begin.

        Gives what `pieces` has of them.
        """
        count = low.shape[1]
        first = low // self._burst_bytes
        last = (low + view.num_bytes // count - 1) // self._burst_bytes
        up_to = np.cumsum(last - first + 1, axis=1)
        self.first_burst[where], self.num_bursts[where] = first[:, 0], up_to[:, -1]
        self.useful_bytes[where] = view.num_bytes
        if count == 1:
            return np.zeros((0, 2), np.int64)
        self.piece_at[where] = self._num_pieces + count * np.arange(len(where))
        self._num_pieces += low.size
        return np.stack([first.reshape(-1), up_to.reshape(-1)], axis=1)

    def _fill_weights(self, trace: Trace, outline: Outline, hardware: Hardware) -> np.ndarray:
        """Where the blocks' entries of weight loads begin, and their cycles; gives the entries."""
        where = np.flatnonzero(outline.engine == _WEIGHT)
        positions = outline.positions[where]
        keys = trace.tile_of[positions].astype(np.int64) * self._burst_bytes
        keys += trace.payload[positions] % self._burst_bytes
        which, firsts = _distinct(outline.site[where], keys, len(trace.sites))
        known: dict[tuple[int, ...], tuple[int, int]] = {}
        blocks, num_entries = [np.zeros((0, 4), np.int64)], 0
        found = []
        numbers, bursts = outline.site[where[firsts]], self.num_bursts[where[firsts]]
        codes_of: dict[int, int] = {}
        for number, key, count in zip(
            numbers.tolist(), keys[firsts].tolist(), bursts.tolist(), strict=True
        ):
            site = trace.sites[number]
            if number not in codes_of:
                codes_of[number] = _codes_at_a_time(site, hardware)
            block = key, codes_of[number], count, site.views["src"].num_bytes
            if block not in known:
                times = _burst_times(trace, hardware, *block)
                known[block] = num_entries, int(times[-1, 0])
                blocks.append(times)
                num_entries += count
            found.append(known[block])
        if found:
            self.block_at[where], self.cycles[where] = np.array(found, np.int64)[which].T
        return np.concatenate(blocks)


def _in_dram(site: Site) -> View:
    view = in_dram(site)
    assert view is not None
    return view


def _codes_at_a_time(site: Site, hardware: Hardware) -> int:
    """Codes that weight SRAM's port takes in a cycle."""
    target = site.views["dst"]
    port_bytes = hardware.weight_sram.write_bytes_per_cycle
    return port_codes(target.rows, target.cols, target.element_bits, port_bytes)


def _burst_times(
    trace: Trace, hardware: Hardware, key: int, codes: int, bursts: int, num_bytes: int
) -> np.ndarray:
    """What the decoder makes of each burst; `key` is tile and offset, tile -1 is not decoded."""
    decoder, burst_bytes = hardware.decoder, hardware.dram.burst_bytes
    tile, offset_bytes = divmod(key, burst_bytes)
    if tile < 0:
        port_bytes = hardware.weight_sram.write_bytes_per_cycle
        return copy_times(num_bytes, port_bytes, burst_bytes, offset_bytes)
    bus_bits, burst_bits = 8 * decoder.bus_bytes_per_cycle, 8 * burst_bytes
    sizes = DecoderSizes(decoder.lanes, bus_bits, codes, burst_bits)
    return trace.tiles[tile].burst_times(sizes, offset_bytes, bursts)


@kernel(
    "UniTuple(int64[::1], 3)(int32[::1], int64[::1], int64[::1], int64[::1], int64)",
)
def _lines(site, positions, payload, bytes_of, burst_bytes):
    """First burst, bursts and bytes of transfers whose bytes follow one another; 0 for all others.

    Parameters
    ----------
    site, positions : (n,) int
        Of each instruction.
    payload : int64
        By position.
    bytes_of : int64
        By site; 0 for what is no such transfer.
    burst_bytes : int
    """
    count = len(site)
    first_burst, num_bursts = np.zeros(count, np.int64), np.zeros(count, np.int64)
    useful_bytes = np.zeros(count, np.int64)
    for i in range(count):
        size = bytes_of[site[i]]
        if size:
            low = payload[positions[i]]
            first_burst[i] = low // burst_bytes
            num_bursts[i] = (low + size - 1) // burst_bytes - first_burst[i] + 1
            useful_bytes[i] = size
    return first_burst, num_bursts, useful_bytes


@kernel("UniTuple(int64[::1], 2)(int32[::1], int64[::1], int64)")
def _distinct(site, keys, num_sites):
    """Number runs of equal keys of each site: which one each instruction has, and where they begin.

    A site has one key mostly, and a run then.
    """
    last, run = np.full(num_sites, _NO_KEY, np.int64), np.zeros(num_sites, np.int64)
    which, firsts = np.empty(len(site), np.int64), np.empty(len(site), np.int64)
    count = 0
    for i in range(len(site)):
        number = site[i]
        if last[number] != keys[i]:
            last[number], run[number] = keys[i], count
            firsts[count] = i
            count += 1
        which[i] = run[number]
    return which, firsts[:count].copy()
