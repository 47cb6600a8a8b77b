"""The transfers of a trace: their bursts in DRAM, and what the decoder makes of each of them."""

from __future__ import annotations

import numpy as np

from azsim.hardware.description import Hardware
from azsim.machine.engines.decoder import DecoderSizes, copy_times, port_codes
from azsim.machine.trace import Site, Trace
from azsim.machine.view import View
from azsim.sim.outline import outline_of

__all__ = ["Transfers"]


def _piece_offsets(view: View) -> np.ndarray:
    """Offsets in bytes from a view's address of its contiguous pieces: all of it, or its rows."""
    bits = view.element_bits
    pitch = view.row_stride * bits // 8
    if view.rows == 1 or pitch == -(-view.cols * bits // 8):
        return np.zeros(1, np.int64)
    return np.arange(view.rows, dtype=np.int64) * pitch


class Transfers:
    """Transfers for one size of bursts and one decoder.

    Parameters
    ----------
    trace : Trace
    hardware : Hardware
        What counts is the decoder's lanes and bus, the weight SRAM's port, and DRAM's bursts.

    Attributes
    ----------
    cycles : ndarray of int64
        Of the decoder or the write port for weight loads; 0 for all others.
    first_burst, num_bursts, useful_bytes, blocks, block_at, pieces, piece_at : ndarray
        See `azsim.sim.flatten.FlatTrace`.
    """

    def __init__(self, trace: Trace, hardware: Hardware) -> None:
        self._trace, self._hardware = trace, hardware
        self._positions = outline_of(trace).positions
        count = len(self._positions)
        self.cycles = np.zeros(count, np.int64)
        self.block_at = np.zeros(count, np.int64)
        self.first_burst = np.zeros(count, np.int64)
        self.num_bursts = np.zeros(count, np.int64)
        self.useful_bytes = np.zeros(count, np.int64)
        self.piece_at = np.full(count, -1, np.int64)
        self._blocks: dict[tuple[int, ...], tuple[int, np.ndarray]] = {}
        self._num_entries = 0
        self._pieces: list[np.ndarray] = [np.zeros((0, 2), np.int64)]
        self._num_pieces = 0
        for number, where in outline_of(trace).groups:
            self._fill(trace.sites[number], where)
        self.pieces = np.concatenate(self._pieces)
        blocks = [times for _, times in self._blocks.values()]
        self.blocks = np.concatenate([*blocks, np.zeros((0, 4), np.int64)])
        del self._blocks, self._pieces, self._trace

    def _fill(self, site: Site, where: np.ndarray) -> None:
        if site.mnemonic == "weight_load":
            self._weight_loads(site, where, self._payload(where))
        elif site.mnemonic in ("load", "store"):
            view = site.views["src" if site.mnemonic == "load" else "dst"]
            self._transfers(where, view, self._payload(where)[:, None] + _piece_offsets(view))
        elif site.mnemonic in ("load_gather", "store_scatter"):
            table = site.views["src" if site.mnemonic == "load_gather" else "dst"]
            rows = site.views["indices"].rows
            low = self._trace.gathered[self._payload(where)[:, None] + np.arange(rows)]
            self._transfers(where, table._replace(rows=rows), low)

    def _payload(self, where: np.ndarray) -> np.ndarray:
        return self._trace.payload[self._positions[where]]

    def _weight_loads(self, site: Site, where: np.ndarray, payload: np.ndarray) -> None:
        burst_bytes = self._hardware.dram.burst_bytes
        tile_of = self._trace.tile_of[self._positions[where]]
        self._transfers(where, site.views["src"], payload[:, None])
        keys = tile_of.astype(np.int64) * burst_bytes + payload % burst_bytes
        alike = (keys == keys[0]).all()  # mostly, as a site has one tile
        for key in keys[:1] if alike else np.unique(keys):
            same = where if alike else where[keys == key]
            bursts = int(self.num_bursts[same[0]])
            at, times = self._block(site, *divmod(int(key), burst_bytes), bursts)
            self.block_at[same], self.cycles[same] = at, times[-1, 0]

    def _transfers(self, where: np.ndarray, view: View, low: np.ndarray) -> None:
        """Bursts of transfers of one shape; `low`, (n, pieces), is where their pieces begin."""
        burst_bytes = self._hardware.dram.burst_bytes
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
        decoder, sram = self._hardware.decoder, self._hardware.weight_sram
        burst_bytes, port_bytes = self._hardware.dram.burst_bytes, sram.write_bytes_per_cycle
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
                times = self._trace.tiles[tile].burst_times(sizes, offset_bytes, bursts)
            self._blocks[key] = self._num_entries, times
            self._num_entries += bursts
        return self._blocks[key]
