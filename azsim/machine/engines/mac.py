"""The zero-skipping MAC array's clock, from the real positions of zeros.

`inner` dataflow.  Rows of the weight tile go to the lanes in passes of `lanes` rows.  For one row
of activations and one pass, each lane sees the row in windows of `window` positions.  A window
costs a lane ``max(1, ceil(products / macs_per_lane))`` cycles, where a product counts unless a
factor that the array can recognise is zero.  Window w is handed to all lanes at once, when each
has room in its queue::

    avail[w]     = max(avail[w-1] + 1, max over lanes of finish[lane][w - queue_depth])
    finish[l][w] = max(avail[w], finish[l][w-1]) + cost[l][w]

and the row takes until the last lane has finished: lanes meet at the end of each row and pass.

`outer` dataflow.  Lane l owns rows l, l + lanes, ... of the tile.  Each activation (each non-zero
one, if the array skips them) is broadcast; a lane scans its rows of that column, `window` rows a
cycle, at the same cost per window; the queue holds activations.  Every lane scans as many windows:
rows beyond the last hold nothing, but are looked at.  A row of activations that are all skipped
takes the broadcaster one cycle.

Decode at read (`outer` only): the block in weight SRAM holds each lane's entries of each column.
For a broadcast activation a lane takes one entry a cycle, padding included (two cycles where an
activation of 16 bits needs two); a column without entries takes it the cycle in which it looks at
the pointers.  Weights run at 8 bits, and a lane issues one product a cycle, however many
macs_per_lane it has.

Lower precision composes: at 4-bit weights macs_per_lane and window double, at 2 bits they
quadruple; with int16 activations both halve (a window of one stays one, and a lane of one MAC then
takes two cycles a product).

Assumption: the array is ours; no description of the real part's array is public.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass

import numpy as np

from azsim.codecs import block_column_entries
from azsim.errors import MachineError
from azsim.hardware.description import MacArray
from azsim.jit import kernel

__all__ = [
    "Geometry",
    "MatmulCycles",
    "block_cycles",
    "geometry",
    "matmul_cycles",
    "peak_macs_per_cycle",
    "read_costs",
]

_WIDTH_GAIN = {8: 1, 4: 2, 2: 4}


@dataclass(frozen=True)
class Geometry:
    """The array as one precision sees it.

    Attributes
    ----------
    lanes : int
    macs, halves : int
        A window of p products takes ``ceil(p * halves / macs)`` cycles, at least 1.
    window : int
    queue_depth : int
    skip_weights, skip_activations : bool
    is_outer : bool
    """

    lanes: int
    macs: int
    halves: int
    window: int
    queue_depth: int
    skip_weights: bool
    skip_activations: bool
    is_outer: bool


def geometry(mac: MacArray, weight_bits: int, activation_bits: int) -> Geometry:
    """Array geometry for weights held in 8, 4 or 2 bits and activations of 8 or 16."""
    gain = _WIDTH_GAIN[weight_bits]
    halves = activation_bits // 8
    return Geometry(
        lanes=mac.lanes,
        macs=mac.macs_per_lane * gain,
        halves=halves,
        window=max(1, mac.window * gain // halves),
        queue_depth=mac.queue_depth,
        skip_weights=mac.zero_skip in ("weights", "both"),
        skip_activations=mac.zero_skip in ("activations", "both"),
        is_outer=mac.dataflow == "outer",
    )


def peak_macs_per_cycle(
    mac: MacArray, weight_bits: int, activation_bits: int, *, at_read: bool = False
) -> float:
    """Products per cycle with every lane full."""
    shape = geometry(mac, weight_bits, activation_bits)
    if at_read:
        return shape.lanes / _entry_cycles(geometry(mac, 8, activation_bits))
    return shape.lanes * shape.macs / shape.halves


def _entry_cycles(shape: Geometry) -> int:
    """Cycles that a lane takes for one entry of a block that it reads."""
    return -(-shape.halves // shape.macs)


def read_costs(entries: np.ndarray, shape: Geometry) -> np.ndarray:
    """Cycles that each lane needs for each column of a block that is read as it is.

    Parameters
    ----------
    entries : ndarray of shape (lanes, K), int64
        From `azsim.codecs.block_column_entries`.
    shape : Geometry

    Returns
    -------
    ndarray of shape (K, lanes), int64
    """
    return np.ascontiguousarray(np.maximum(1, entries.T * _entry_cycles(shape)))


@kernel("uint64[:, :, ::1](boolean[:, :], int64)")
def _pack_windows(nonzero, window):
    """Pack (rows, K) booleans to (windows, words, rows), first position in bit 0."""
    rows, inner = nonzero.shape
    windows, words = (inner + window - 1) // window, (window + 63) // 64
    packed = np.zeros((windows, words, rows), np.uint64)
    for row in range(rows):
        for k in range(inner):
            if nonzero[row, k]:
                place = k % window
                packed[k // window, place // 64, row] |= np.uint64(1) << np.uint64(place % 64)
    return packed


@kernel
def _bit_count(word):
    word = word - ((word >> np.uint64(1)) & np.uint64(0x5555555555555555))
    word = (word & np.uint64(0x3333333333333333)) + (
        (word >> np.uint64(2)) & np.uint64(0x3333333333333333)
    )
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((word * np.uint64(0x0101010101010101)) >> np.uint64(56))


@kernel(
    "int64(uint64[:, :, ::1], uint64[:, ::1], int64, int64, int64, int64, int64[::1], int64[::1])"
)
def _inner_row(weights, activation, lanes, macs, halves, queue_depth, latest, finish):
    """Cycles of one activation row over one tile; weights are (windows, words, N) packed bits."""
    windows, words, outputs = weights.shape
    total = 0
    for start in range(0, outputs, lanes):
        end = min(start + lanes, outputs)
        for lane in range(end - start):
            finish[lane] = 0
        avail = -1
        for w in range(windows):
            avail = avail + 1
            if w >= queue_depth:
                avail = max(avail, latest[w - queue_depth])
            last = 0
            for n in range(start, end):
                products = _bit_count(weights[w, 0, n] & activation[w, 0])
                for part in range(1, words):
                    products += _bit_count(weights[w, part, n] & activation[w, part])
                cost = max(1, (products * halves + macs - 1) // macs)
                done = max(avail, finish[n - start]) + cost
                finish[n - start] = done
                last = max(last, done)
            latest[w] = last
        total += latest[windows - 1] if windows else 0
    return total


@kernel("int64(int64[:, ::1], uint8[::1], int64, int64[::1], int64[::1])")
def _outer_row(costs, active, queue_depth, latest, finish):
    """Cycles of one activation row; costs are (K, lanes), `active` marks broadcast activations."""
    inner, lanes = costs.shape
    for lane in range(lanes):
        finish[lane] = 0
    avail = -1
    step = 0
    for k in range(inner):
        if not active[k]:
            continue
        avail = avail + 1
        if step >= queue_depth:
            avail = max(avail, latest[step - queue_depth])
        last = 0
        for lane in range(lanes):
            done = max(avail, finish[lane]) + costs[k, lane]
            finish[lane] = done
            last = max(last, done)
        latest[step] = last
        step += 1
    return latest[step - 1] if step else 1  # the row itself is looked at


@kernel(
    "void(uint64[:, :, ::1], uint64[:, :, ::1], int64, int64, int64, int64, int64[::1])",
)
def _inner_rows(weights, activations, lanes, macs, halves, queue_depth, out):
    latest = np.zeros(max(1, weights.shape[0]), np.int64)
    finish = np.zeros(lanes, np.int64)
    for row in range(activations.shape[0]):
        out[row] = _inner_row(
            weights, activations[row], lanes, macs, halves, queue_depth, latest, finish
        )


@kernel("void(int64[:, ::1], uint8[:, ::1], int64, int64[::1])")
def _outer_rows(costs, active, queue_depth, out):
    latest = np.zeros(max(1, costs.shape[0]), np.int64)
    finish = np.zeros(costs.shape[1], np.int64)
    for row in range(active.shape[0]):
        out[row] = _outer_row(costs, active[row], queue_depth, latest, finish)


@kernel("void(uint8[:, ::1], int64[::1], int64[::1])")
def _column_products(active, column_counts, out):
    for row in range(active.shape[0]):
        total = 0
        for k in range(active.shape[1]):
            if active[row, k]:
                total += column_counts[k]
        out[row] = total


class MatmulCycles:
    """A tile prepared for one array geometry; gives cycles for rows of activations.

    Parameters
    ----------
    codes : ndarray of shape (N, K), integer
        Only which of them are 0 counts.
    shape : Geometry
    entries : ndarray of shape (lanes, K), int64, optional
        Entries of the block that the array reads; without it the tile lies dense in weight SRAM.

    Attributes
    ----------
    column_nonzeros : ndarray of shape (K,), int64
        Codes of each column that are not 0.
    """

    def __init__(
        self, codes: np.ndarray, shape: Geometry, entries: np.ndarray | None = None
    ) -> None:
        self.shape = shape
        self.num_outputs, self.inner = codes.shape
        nonzero = codes != 0
        self.column_nonzeros = np.ascontiguousarray(nonzero.sum(axis=0), np.int64)
        self._codes, self._entries = codes, entries

    def _counted(self) -> np.ndarray:
        """Weights that the array cannot skip: (N, K) bool."""
        if self.shape.skip_weights:
            return self._codes != 0
        return np.ones(self._codes.shape, bool)

    @functools.cached_property
    def _costs(self) -> np.ndarray:
        if self._entries is not None:
            return read_costs(self._entries, self.shape)
        return _outer_costs(self._counted(), self.shape)

    @functools.cached_property
    def _words(self) -> np.ndarray:
        return _pack_windows(self._counted(), self.shape.window)

    @functools.cached_property
    def static_row_cycles(self) -> int:
        """Cycles of one row when no activation is skipped."""
        (cycles,) = self._rows(np.ones((1, self.inner), np.uint8))
        if not self.shape.skip_activations:  # all rows are alike: these are of no more use
            self.__dict__.pop("_costs", None)
            self.__dict__.pop("_words", None)
        return int(cycles)

    def row_cycles(self, active: np.ndarray) -> np.ndarray:
        """Cycles of each row of (rows, K) uint8 marks of non-zero activation codes."""
        if not self.shape.skip_activations:
            return np.full(len(active), self.static_row_cycles, np.int64)
        return self._rows(np.ascontiguousarray(active))

    def _rows(self, active: np.ndarray) -> np.ndarray:
        shape, out = self.shape, np.zeros(len(active), np.int64)
        if shape.is_outer:  # a block that is read is one, too
            _outer_rows(self._costs, active, shape.queue_depth, out)
        else:
            packed = _pack_windows(active.astype(bool), shape.window)
            words = np.ascontiguousarray(packed.transpose(2, 0, 1))
            _inner_rows(
                self._words, words, shape.lanes, shape.macs, shape.halves, shape.queue_depth, out
            )
        return out

    def nonzero_products(self, active: np.ndarray) -> np.ndarray:
        """Products of two non-zero factors, for each row of marks."""
        out = np.zeros(len(active), np.int64)
        _column_products(np.ascontiguousarray(active), self.column_nonzeros, out)
        return out

    def executed_products(self, active: np.ndarray) -> np.ndarray:
        """Products that the array carries out for each row: those that it cannot skip."""
        shape, rows = self.shape, len(active)
        if shape.skip_weights and shape.skip_activations:
            return self.nonzero_products(active)
        if shape.skip_weights:
            return np.full(rows, self.column_nonzeros.sum(), np.int64)
        outputs = self.num_outputs
        if shape.skip_activations:
            return active.sum(axis=1, dtype=np.int64) * outputs
        return np.full(rows, outputs * self.inner, np.int64)


def _outer_costs(counted: np.ndarray, shape: Geometry) -> np.ndarray:
    """Cycles that each lane needs for each column: (K, lanes) int64."""
    outputs, inner = counted.shape
    per_lane = -(-outputs // shape.lanes)
    scans = -(-per_lane // shape.window)
    padded = np.zeros((scans * shape.window * shape.lanes, inner), np.int64)
    padded[:outputs] = counted
    products = padded.reshape(scans, shape.window, shape.lanes, inner).sum(axis=1)
    costs = np.maximum(1, -(-products * shape.halves // shape.macs)).sum(axis=0)
    return np.ascontiguousarray(costs.T)


class _ByIdentity:
    """What a cache takes along without comparing it; the digest beside it is the key."""

    def __init__(self, array: np.ndarray, encoded: bytes = b"") -> None:
        self.array = array
        self.encoded = encoded

    def forget(self) -> None:
        """Let go of what the cache would keep in its key for longer than anyone else."""
        self.array, self.encoded = np.empty(0, np.int8), b""

    def __hash__(self) -> int:
        return 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ByIdentity)


@functools.lru_cache(maxsize=4096)
def _prepared(digest: str, shape: Geometry, codes: _ByIdentity) -> MatmulCycles:
    prepared = MatmulCycles(codes.array, shape)
    codes.forget()
    return prepared


@functools.lru_cache(maxsize=1024)
def _prepared_block(digest: str, shape: Geometry, tile: _ByIdentity) -> MatmulCycles:
    prepared = MatmulCycles(tile.array, shape, block_column_entries(tile.encoded))
    tile.forget()
    return prepared


def block_cycles(encoded: bytes, codes: np.ndarray, shape: Geometry) -> MatmulCycles:
    """Prepared block that the array reads as it is; shared like `matmul_cycles`.

    Parameters
    ----------
    encoded : bytes
    codes : ndarray of shape (N, K), int8
        What it stands for.
    shape : Geometry
        At 8-bit weights.

    Raises
    ------
    MachineError
        If the block was made for another array.
    """
    digest = hashlib.blake2b(encoded, digest_size=16).hexdigest()
    prepared = _prepared_block(digest, shape, _ByIdentity(codes, encoded))
    lanes = len(block_column_entries(encoded))
    if not shape.is_outer or lanes != min(shape.lanes, len(codes)):
        raise MachineError(
            f"a block whose rows are dealt out to {lanes} lanes, for an array of {shape.lanes} "
            f"lanes in {'outer' if shape.is_outer else 'inner'} dataflow; compile anew"
        )
    return prepared


def matmul_cycles(digest: str, codes: np.ndarray, shape: Geometry) -> MatmulCycles:
    """Prepared tile by content, shared by every frame and run that multiplies by it."""
    return _prepared(digest, shape, _ByIdentity(codes))
