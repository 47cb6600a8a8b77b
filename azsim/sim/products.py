"""What the matrix products of a trace are to an array: products, and cycles by its geometry."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
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
from azsim.sim.outline import kept, outline_of

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


@dataclass(frozen=True)
class _Group:
    """Products of one site with one tile."""

    site: Site
    tile: int
    """Among the trace's; -1 where the second operand lies in activation SRAM."""
    where: np.ndarray
    """Numbers of the instructions."""
    masks: np.ndarray
    """Where the zero masks of their activations lie."""
    kind: tuple[int, int, bool]
    """Bits of weights and activations, and whether the array reads the block as it is."""


@dataclass(frozen=True)
class _Groups:
    """All products; those of a group follow one another."""

    groups: tuple[_Group, ...]
    kinds: tuple[tuple[int, int, bool], ...]
    where: np.ndarray
    macs: np.ndarray

    def spread(self, of_group: Sequence[int] | np.ndarray) -> np.ndarray:
        """What each group's products have, for all instructions; 0 for those that are none."""
        out = np.zeros(len(self.macs), np.int64)
        sizes = [len(group.where) for group in self.groups]
        out[self.where] = np.repeat(np.asarray(of_group, np.int64), sizes)
        return out


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
    found = kept(of_path, "products", None, 1, lambda: _groups(trace))
    shapes = {kind: geometry(mac, *kind[:2]) for kind in found.kinds}
    peaks = {kind: peak_macs_per_cycle(mac, *kind[:2], at_read=kind[2]) for kind in found.kinds}
    work = _Work(trace, found, shapes)
    of_skipping = trace.derived if work.depends_on_masks else of_path
    nonzero = kept(trace.derived, "nonzero", None, 1, work.nonzero)
    by_skip = {"both": lambda: nonzero, "none": lambda: found.macs}
    return ProductWork(
        where=found.where,
        cycles=kept(of_skipping, "cycles", tuple(shapes.values()), _GEOMETRIES, work.cycles),
        macs=found.macs,
        executed=kept(
            of_skipping, "executed", mac.zero_skip, 2, by_skip.get(mac.zero_skip, work.executed)
        ),
        nonzero=nonzero,
        ideal=kept(
            trace.derived, "ideal", tuple(peaks.values()), 2, lambda: _ideal(found, peaks, nonzero)
        ),
    )


def _groups(trace: Trace) -> _Groups:
    outline = outline_of(trace)
    groups, sizes = [], []
    for number, where in outline.groups:
        site = trace.sites[number]
        if site.mnemonic != "mac_matmul":
            continue
        source, weights = site.views["src"], site.views["src2"]
        kind = weights.element_bits, source.element_bits, weights.dtype == "u8"
        tile_of = trace.tile_of[outline.positions[where]]
        alike = bool((tile_of == tile_of[0]).all())
        for tile in [int(tile_of[0])] if alike else np.unique(tile_of).tolist():
            mine = where if alike else where[tile_of == tile]
            masks = trace.payload[outline.positions[mine]]
            groups.append(_Group(site, tile, mine, masks, kind))
            size = weights.num_elements if tile < 0 else trace.tiles[tile].codes.size
            sizes.append(source.rows * size)
    kinds = tuple(sorted({group.kind for group in groups}))
    where = np.concatenate([np.zeros(0, np.int64), *(group.where for group in groups)])
    found = _Groups(tuple(groups), kinds, where, np.zeros(len(outline.site), np.int64))
    return replace(found, macs=found.spread(sizes))


def _ideal(
    found: _Groups, peaks: Mapping[tuple[int, int, bool], float], nonzero: np.ndarray
) -> np.ndarray:
    """Non-zero products over the array's peak."""
    ideal = np.zeros(len(nonzero), np.float64)
    sizes = [len(group.where) for group in found.groups]
    peak = np.repeat([peaks[group.kind] for group in found.groups], sizes)
    ideal[found.where] = nonzero[found.where] / peak
    return ideal


class _Columns(NamedTuple):
    """Counts of the columns of all tiles, and where they are multiplied; see `_column_sums`."""

    groups: np.ndarray
    counts: np.ndarray
    mask_at: np.ndarray
    where: np.ndarray
    """Numbers of the products."""


_Figure = Callable[[MatmulCycles, np.ndarray], np.ndarray]


class _Work:
    """Sums of figures over the rows of each product; 0 for other instructions.

    What is the same for all rows of a tile is worked out once for it, what is a sum over the
    columns whose activation is not zero in one kernel for all products.

    Parameters
    ----------
    trace : Trace
    found : _Groups
    shapes : mapping of tuple to Geometry
        By kind.
    """

    def __init__(
        self, trace: Trace, found: _Groups, shapes: Mapping[tuple[int, int, bool], Geometry]
    ) -> None:
        self._trace, self._found, self._shapes = trace, found, shapes

    @property
    def depends_on_masks(self) -> bool:
        """Whether zeros among activations make a difference to cycles and products carried out."""
        return any(shape.skip_activations for shape in self._shapes.values()) or any(
            group.tile < 0 for group in self._found.groups
        )

    def cycles(self) -> np.ndarray:
        """Cycles of the array for each product, and for nothing else."""
        if any(shape.skip_activations for shape in self._shapes.values()):
            cycles = self._by_marks(MatmulCycles.row_cycles)
        else:
            cycles = self._by_tile(lambda tile: tile.static_row_cycles, MatmulCycles.row_cycles)
        return cycles[self._found.where].astype(np.int32)

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

    def _prepared(self, group: _Group) -> MatmulCycles:
        tile, shape = self._trace.tiles[group.tile], self._shapes[group.kind]
        if group.kind[2]:
            return block_cycles(tile.encoded, tile.codes, shape)
        return matmul_cycles(tile.digest, tile.codes, shape)

    def _by_tile(self, of_row: Callable[[MatmulCycles], int], figure: _Figure) -> np.ndarray:
        """As many rows as a product has of what each row of its tile is."""
        out = self._found.spread(
            [
                0
                if group.tile < 0
                else group.site.views["src"].rows * of_row(self._prepared(group))
                for group in self._found.groups
            ]
        )
        return self._add_computed(out, figure)

    def _columns(self, counts: Callable[[MatmulCycles], np.ndarray]) -> _Columns:
        """What each tile has of its columns."""
        groups = [group for group in self._found.groups if group.tile >= 0]
        by_group = [counts(self._prepared(group)).astype(np.int32) for group in groups]
        sizes = [
            (len(one.where), one.site.views["src"].rows, len(c))
            for one, c in zip(groups, by_group, strict=True)
        ]
        return _Columns(
            np.array(sizes, np.int64).reshape(-1, 3),
            np.concatenate([np.zeros(0, np.int32), *by_group]),
            np.concatenate([np.zeros(0, np.int64), *(group.masks for group in groups)]),
            np.concatenate([np.zeros(0, np.int64), *(group.where for group in groups)]),
        )

    def _by_column(self, columns: _Columns, figure: _Figure) -> np.ndarray:
        """Sums of a tile's counts over the columns of non-zero activations."""
        out = np.zeros(len(self._found.macs), np.int64)
        out[columns.where] = _column_sums(*columns[:3], self._trace.masks)
        return self._add_computed(out, figure)

    def _by_marks(self, figure: _Figure) -> np.ndarray:
        out = np.zeros(len(self._found.macs), np.int64)
        for group in self._found.groups:
            if group.tile >= 0:
                out[group.where] = self._of_rows(group, figure)
        return self._add_computed(out, figure)

    def _of_rows(self, group: _Group, figure: _Figure) -> np.ndarray:
        """A figure that depends on which activations of each row are zero."""
        prepared, source = self._prepared(group), group.site.views["src"]
        row_bytes = -(-source.cols // 8)
        step = max(1, _CHUNK_MARKS // max(1, source.rows * row_bytes * 8))
        out = np.zeros(len(group.masks), np.int64)
        for begin in range(0, len(group.masks), step):
            base = group.masks[begin : begin + step]
            index = base[:, None] + np.arange(source.rows * row_bytes)
            bits = np.unpackbits(self._trace.masks[index].reshape(-1, row_bytes), axis=1)
            marks = np.ascontiguousarray(bits[:, : source.cols])
            rows = figure(prepared, marks).reshape(len(base), source.rows)
            out[begin : begin + step] = rows.sum(axis=1)
        return out

    def _add_computed(self, out: np.ndarray, figure: _Figure) -> np.ndarray:
        """Fill in products whose second operand is what activation SRAM held each time."""
        for group in self._found.groups:
            if group.tile >= 0:
                continue
            source, other = group.site.views["src"], group.site.views["src2"]
            row_bytes = -(-source.cols // 8)
            different, which = np.unique(group.masks, return_inverse=True)
            sums = np.zeros(len(different), np.int64)
            for at, offset in enumerate(different.tolist()):
                size = (source.rows + other.rows) * row_bytes
                bits = self._trace.masks[offset : offset + size].reshape(-1, row_bytes)
                marks = np.unpackbits(bits, axis=1)[:, : source.cols]
                active, weights = np.split(marks, [source.rows])
                tile = MatmulCycles(weights, self._shapes[group.kind])
                sums[at] = figure(tile, np.ascontiguousarray(active)).sum()
            out[group.where] = sums[which]
        return out


@kernel(
    "int64[::1](int64[:, ::1], int32[::1], int64[::1], Array(uint8, 1, 'C', readonly=True))",
)
def _column_sums(groups, counts, mask_at, masks):
    """Sum counts over the columns whose bits are set, in all rows of each product.

    Parameters
    ----------
    groups : (groups, 3) int64
        Products, rows of each product, and columns.
    counts : int32
        Of the columns of all groups, one group after another.
    mask_at : (products,) int64
        Where each product's masks lie; products of a group follow one another.
    masks : uint8
        Rows padded to bytes, most significant bit first.

    Returns
    -------
    (products,) int64
    """
    sums = np.zeros(len(mask_at), np.int64)
    widest = 0
    for columns in groups[:, 2]:
        widest = max(widest, columns)
    spread = np.zeros((widest + 7) // 8, np.uint64)
    marks = spread.view(np.uint8)
    first = number = 0
    for products, rows, columns in groups:
        of_column = counts[first : first + columns]
        row_bytes = (columns + 7) // 8
        for _ in range(products):
            total = np.int64(0)
            for row in range(rows):
                bits = masks[mask_at[number] + row * row_bytes :]
                for at in range(row_bytes):  # a bit to each byte
                    spread[at] = (np.uint64(bits[at]) * _EACH_BYTE) & _OWN_BIT
                for k in range(columns):
                    total += np.int64(of_column[k]) if marks[k] else np.int64(0)
            sums[number] = total
            number += 1
        first += columns
    return sums
