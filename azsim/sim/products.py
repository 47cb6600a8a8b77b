"""What the matrix products of a trace are to an array: products, and cycles by its geometry."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from azsim.hardware.description import MacArray
from azsim.jit import kernel
from azsim.machine.engines.mac import (
    Geometry,
    MatmulCycles,
    block_cycles,
    geometry,
    matmul_cycles,
    peak_macs_per_cycle,
)
from azsim.machine.trace import Site, Trace
from azsim.sim.outline import grouped, kept, outline_of
from azsim.sim.site_facts import ACTIVATION_BITS, AT_READ, ELEMENTS, ROWS, WEIGHT_BITS

__all__ = ["ProductWork", "product_work"]

_CHUNK_MARKS = 1 << 25
_GEOMETRIES = 64
"""Geometries whose cycles a trace keeps: a sweep goes through the same few again and again."""
_EACH_BYTE, _OWN_BIT = np.uint64(0x0101010101010101), np.uint64(0x0102040810204080)


@dataclass(frozen=True)
class ProductWork:
    """Matrix products of a trace on one array; nobody writes the arrays.

    Attributes
    ----------
    where : ndarray of int
        Numbers of the products among the instructions.
    cycles : ndarray of int32
        Of the array for each product, its pipeline not counted.
    macs, executed, nonzero : ndarray of int64
        See `azsim.sim.flatten.FlatTrace`; over all instructions.
    ideal : ndarray of float64
    """

    where: np.ndarray
    cycles: np.ndarray
    macs: np.ndarray
    executed: np.ndarray
    nonzero: np.ndarray
    ideal: np.ndarray


class _Kind(NamedTuple):
    """What of a product the array's geometry depends on."""

    weight_bits: int
    activation_bits: int
    is_read: bool
    """Whether the array reads the block as it is."""


@dataclass(frozen=True)
class _Computed:
    """Products of a site whose second operand lies in activation SRAM.

    Attributes
    ----------
    site : Site
    kind : _Kind
    where, number : ndarray of int64
        Of the instructions, and among all products in program order.
    """

    site: Site
    kind: _Kind
    where: np.ndarray
    number: np.ndarray


@dataclass(frozen=True)
class _Products:
    """All products of a path: those with weights by tile and kind, then those with computed codes.

    Attributes
    ----------
    tiles : tuple of int
        Of each group, among the trace's.
    kinds : tuple of _Kind
        Of each group.
    sizes : ndarray of int64
        Products of each group.
    where, number, rows : ndarray of int64
        Of each group's products, one group after another: number of the instruction, number among
        all products in program order, and rows of activations.
    computed : tuple of _Computed
    macs : ndarray of int64
        Of all instructions.
    """

    tiles: tuple[int, ...]
    kinds: tuple[_Kind, ...]
    sizes: np.ndarray
    where: np.ndarray
    number: np.ndarray
    rows: np.ndarray
    computed: tuple[_Computed, ...]
    macs: np.ndarray

    @property
    def all_kinds(self) -> tuple[_Kind, ...]:
        """Each kind once, in order."""
        return tuple(sorted({*self.kinds, *(each.kind for each in self.computed)}))

    @property
    def everywhere(self) -> np.ndarray:
        """Numbers of all products among the instructions."""
        return np.concatenate([self.where, *(each.where for each in self.computed)])

    def by_product(self, of_group: Sequence[float], of_computed: Sequence[float]) -> np.ndarray:
        """What each of `everywhere` has of its group, or its site."""
        sizes = [len(each.where) for each in self.computed]
        return np.repeat([*of_group, *of_computed], [*self.sizes, *sizes])


def product_work(trace: Trace, mac: MacArray) -> ProductWork:
    """Work of all products of a trace.

    Parameters
    ----------
    trace : Trace
    mac : MacArray

    Raises
    ------
    MachineError
        If a block that the array reads was made for another array.
    """
    of_path = trace.path.derived
    found = kept(of_path, "products", None, 1, lambda: _products(trace))
    where = kept(of_path, "where", None, 1, lambda: found.everywhere)
    kinds = found.all_kinds
    shapes = {kind: geometry(mac, *kind[:2]) for kind in kinds}
    peaks = {kind: peak_macs_per_cycle(mac, *kind[:2], at_read=kind.is_read) for kind in kinds}
    work = _Work(trace, found, shapes)
    of_skipping = trace.derived if work.depends_on_masks else of_path
    nonzero = kept(trace.derived, "nonzero", None, 1, work.nonzero)
    by_skip = {"both": lambda: nonzero, "none": lambda: found.macs}
    return ProductWork(
        where=where,
        cycles=kept(
            of_skipping,
            "cycles",
            tuple(shapes.values()),
            _GEOMETRIES,
            lambda: work.cycles()[where].astype(np.int32),
        ),
        macs=found.macs,
        executed=kept(
            of_skipping, "executed", mac.zero_skip, 2, by_skip.get(mac.zero_skip, work.executed)
        ),
        nonzero=nonzero,
        ideal=kept(
            trace.derived,
            "ideal",
            tuple(peaks.values()),
            2,
            lambda: _ideal(found, where, peaks, nonzero),
        ),
    )


def _products(trace: Trace) -> _Products:
    outline = outline_of(trace)
    facts = outline.facts
    site_rows = np.ascontiguousarray(facts[:, ROWS])
    everywhere = np.flatnonzero(site_rows[outline.site])
    site, tile = outline.site[everywhere], trace.tile_of[outline.positions[everywhere]]
    # A number for each kind: unique rows of several columns take ten times as long.
    code = (facts[:, WEIGHT_BITS] << 8) + (facts[:, ACTIVATION_BITS] << 1) + facts[:, AT_READ]
    different, kind_of = np.unique(code, return_inverse=True)
    kinds = [_Kind(code >> 8, code >> 1 & 0x7F, bool(code & 1)) for code in different.tolist()]
    # Groups by tile and kind; what has no tile comes first.
    order, bounds = grouped(
        ((tile + 1) * len(kinds) + kind_of[site]).astype(np.int32),
        (len(trace.tiles) + 1) * len(kinds),
    )
    first = int(bounds[len(kinds)]) if kinds else 0
    groups = [key for key in np.flatnonzero(np.diff(bounds)).tolist() if key >= len(kinds)]
    number = order[first:]
    rows, sizes = site_rows[site[number]], np.diff(bounds)[groups]
    weights = [trace.tiles[key // len(kinds) - 1].codes.size for key in groups]
    macs = np.zeros(len(outline.site), np.int64)
    macs[everywhere[number]] = rows * np.repeat(np.array(weights, np.int64), sizes)
    computed, without_tile = [], np.sort(order[:first])
    for each in np.unique(site[without_tile]).tolist():
        mine = without_tile[site[without_tile] == each]
        kind = kinds[kind_of[each]]
        computed.append(_Computed(trace.sites[each], kind, everywhere[mine], mine))
        macs[everywhere[mine]] = facts[each, ROWS] * facts[each, ELEMENTS]
    return _Products(
        tuple(key // len(kinds) - 1 for key in groups),
        tuple(kinds[key % len(kinds)] for key in groups),
        sizes,
        everywhere[number],
        number,
        rows,
        tuple(computed),
        macs,
    )


def _ideal(
    found: _Products, where: np.ndarray, peaks: Mapping[_Kind, float], nonzero: np.ndarray
) -> np.ndarray:
    """Non-zero products over the array's peak."""
    ideal = np.zeros(len(nonzero), np.float64)
    of_group = [peaks[kind] for kind in found.kinds]
    of_computed = [peaks[each.kind] for each in found.computed]
    ideal[where] = nonzero[where] / found.by_product(of_group, of_computed)
    return ideal


class _Columns(NamedTuple):
    """Counts of the columns of all groups; see `_column_sums`."""

    groups: np.ndarray
    counts: np.ndarray


_Figure = Callable[[MatmulCycles, np.ndarray], np.ndarray]


class _Work:
    """Sums of figures over the rows of each product; 0 for other instructions.

    What is the same for all rows of a tile is worked out once for it, what is a sum over the
    columns whose activation is not zero in one kernel for all products.

    Parameters
    ----------
    trace : Trace
    found : _Products
    shapes : mapping of _Kind to Geometry
    """

    def __init__(self, trace: Trace, found: _Products, shapes: Mapping[_Kind, Geometry]) -> None:
        self._trace, self._found, self._shapes = trace, found, shapes

    @property
    def depends_on_masks(self) -> bool:
        """Whether zeros among activations make a difference to cycles and products carried out."""
        return bool(self._found.computed) or any(
            shape.skip_activations for shape in self._shapes.values()
        )

    def cycles(self) -> np.ndarray:
        """Cycles of the array."""
        if any(shape.skip_activations for shape in self._shapes.values()):
            return self._by_marks(MatmulCycles.row_cycles)
        return self._by_tile(lambda tile: tile.static_row_cycles, MatmulCycles.row_cycles)

    def nonzero(self) -> np.ndarray:
        """Products of two non-zero factors."""
        columns = kept(
            self._trace.path.derived,
            "columns",
            None,
            1,
            lambda: self._columns(lambda tile: tile.column_nonzeros),
        )
        return self._by_column(columns, MatmulCycles.nonzero_products)

    def executed(self) -> np.ndarray:
        """Products that an array carries out which skips either weights or activations."""
        figure = MatmulCycles.executed_products
        if any(shape.skip_activations for shape in self._shapes.values()):
            columns = self._columns(lambda tile: np.full(tile.inner, tile.num_outputs))
            return self._by_column(columns, figure)
        return self._by_tile(lambda tile: int(tile.column_nonzeros.sum()), figure)

    @functools.cached_property
    def _prepared(self) -> list[MatmulCycles]:
        """The tile of each group."""
        found = []
        for number, kind in zip(self._found.tiles, self._found.kinds, strict=True):
            tile, shape = self._trace.tiles[number], self._shapes[kind]
            found.append(
                block_cycles(tile.encoded, tile.codes, shape)
                if kind.is_read
                else matmul_cycles(tile.digest, tile.codes, shape)
            )
        return found

    def _by_tile(self, of_row: Callable[[MatmulCycles], int], figure: _Figure) -> np.ndarray:
        """As many rows as a product has of what each row of its tile is."""
        found, out = self._found, np.zeros(len(self._found.macs), np.int64)
        each = np.array([of_row(tile) for tile in self._prepared], np.int64)
        out[found.where] = found.rows * np.repeat(each, found.sizes)
        return self._add_computed(out, figure)

    def _columns(self, counts: Callable[[MatmulCycles], np.ndarray]) -> _Columns:
        """What each tile has of its columns."""
        of_group = [counts(tile).astype(np.int32) for tile in self._prepared]
        groups = np.array([self._found.sizes, [*map(len, of_group)]], np.int64).T.reshape(-1, 2)
        counted = np.concatenate([np.zeros(0, np.int32), *of_group])
        return _Columns(np.ascontiguousarray(groups), counted)

    def _by_column(self, columns: _Columns, figure: _Figure) -> np.ndarray:
        """Sums of a tile's counts over the columns of non-zero activations."""
        found, trace = self._found, self._trace
        out = np.zeros(len(found.macs), np.int64)
        mask_at = trace.mask_at[found.number]
        out[found.where] = _column_sums(*columns, found.rows, mask_at, trace.masks)
        return self._add_computed(out, figure)

    def _by_marks(self, figure: _Figure) -> np.ndarray:
        """Sums of a figure that depends on which activations of each row are zero."""
        found, out = self._found, np.zeros(len(self._found.macs), np.int64)
        ends = np.cumsum(found.sizes).tolist()
        for tile, begin, end in zip(self._prepared, [0, *ends], ends, strict=False):
            row_bytes = -(-tile.inner // 8)
            most = int(found.rows[begin:end].max())
            step = max(1, _CHUNK_MARKS // max(1, most * row_bytes * 8))
            for at in range(begin, end, step):
                part = slice(at, min(at + step, end))
                out[found.where[part]] = self._of_rows(tile, part, figure)
        return self._add_computed(out, figure)

    def _of_rows(self, tile: MatmulCycles, part: slice, figure: _Figure) -> np.ndarray:
        """Figure of some products with a tile, all their rows together."""
        rows, row_bytes = self._found.rows[part], -(-tile.inner // 8)
        first = np.cumsum(rows) - rows
        row = np.arange(int(rows.sum())) - np.repeat(first, rows)  # within its product
        base = np.repeat(self._trace.mask_at[self._found.number[part]], rows) + row * row_bytes
        bits = np.unpackbits(self._trace.masks[base[:, None] + np.arange(row_bytes)], axis=1)
        return np.add.reduceat(figure(tile, np.ascontiguousarray(bits[:, : tile.inner])), first)

    def _add_computed(self, out: np.ndarray, figure: _Figure) -> np.ndarray:
        """Fill in products whose second operand is what activation SRAM held each time."""
        for products in self._found.computed:
            source, other = products.site.views["src"], products.site.views["src2"]
            row_bytes = -(-source.cols // 8)
            size = (source.rows + other.rows) * row_bytes
            known: dict[bytes, int] = {}  # what is as it was a round ago is worked out once
            mask_at = self._trace.mask_at[products.number]
            for where, at in zip(products.where.tolist(), mask_at.tolist(), strict=True):
                bits = self._trace.masks[at : at + size]
                if (key := bits.tobytes()) not in known:
                    marks = np.unpackbits(bits.reshape(-1, row_bytes), axis=1)[:, : source.cols]
                    active, weights = np.split(marks, [source.rows])
                    tile = MatmulCycles(weights, self._shapes[products.kind])
                    known[key] = int(figure(tile, np.ascontiguousarray(active)).sum())
                out[where] = known[key]
        return out


@kernel(
    "int64[::1](int64[:, ::1], int32[::1], int64[::1], int64[::1], "
    "Array(uint8, 1, 'C', readonly=True))",
)
def _column_sums(groups, counts, rows, mask_at, masks):
    """Sum counts over the columns whose bits are set, in all rows of each product.

    Parameters
    ----------
    groups : (groups, 2) int64
        Products, and columns.
    counts : int32
        Of the columns of all groups, one group after another.
    rows, mask_at : (products,) int64
        Of each product, and where its masks lie; products of a group follow one another.
    masks : uint8
        Rows padded to bytes, most significant bit first.

    Returns
    -------
    (products,) int64
    """
    sums = np.zeros(len(mask_at), np.int64)
    widest = 0
    for columns in groups[:, 1]:
        widest = max(widest, columns)
    spread = np.zeros((widest + 7) // 8, np.uint64)
    marks = spread.view(np.uint8)
    first = number = 0
    for products, columns in groups:
        of_column = counts[first : first + columns]
        row_bytes = (columns + 7) // 8
        for _ in range(products):
            total = np.int64(0)
            for row in range(rows[number]):
                bits = masks[mask_at[number] + row * row_bytes :]
                for at in range(row_bytes):  # a bit to each byte
                    spread[at] = (np.uint64(bits[at]) * _EACH_BYTE) & _OWN_BIT
                for k in range(columns):
                    total += np.int64(of_column[k]) if marks[k] else np.int64(0)
            sums[number] = total
            number += 1
        first += columns
    return sums
