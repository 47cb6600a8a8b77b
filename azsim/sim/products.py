"""What the matrix products of a trace are to an array: products, and cycles by its geometry."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from azsim.hardware.description import MacArray
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
    found = kept(trace, "products", None, 1, lambda: _groups(trace))
    shapes = {kind: geometry(mac, *kind[:2]) for kind in found.kinds}
    peaks = {kind: peak_macs_per_cycle(mac, *kind[:2], at_read=kind[2]) for kind in found.kinds}

    def totals(figure: Callable[[MatmulCycles, np.ndarray], np.ndarray]) -> np.ndarray:
        return _totals(trace, found, shapes, figure)

    nonzero = kept(trace, "nonzero", None, 1, lambda: totals(MatmulCycles.nonzero_products))
    by_skip = {"both": lambda: nonzero, "none": lambda: found.macs}
    executed = by_skip.get(mac.zero_skip, lambda: totals(MatmulCycles.executed_products))
    return ProductWork(
        where=found.where,
        cycles=kept(
            trace,
            "cycles",
            tuple(shapes.values()),
            _GEOMETRIES,
            lambda: totals(MatmulCycles.row_cycles)[found.where].astype(np.int32),
        ),
        macs=found.macs,
        executed=kept(trace, "executed", mac.zero_skip, 2, executed),
        nonzero=nonzero,
        ideal=kept(trace, "ideal", tuple(peaks.values()), 2, lambda: _ideal(found, peaks, nonzero)),
    )


def _groups(trace: Trace) -> _Groups:
    outline = outline_of(trace)
    groups, macs = [], np.zeros(len(outline.site), np.int64)
    for number, where in outline.groups:
        site = trace.sites[number]
        if site.mnemonic != "mac_matmul":
            continue
        source, weights = site.views["src"], site.views["src2"]
        kind = weights.element_bits, source.element_bits, weights.dtype == "u8"
        tile_of = trace.tile_of[outline.positions[where]]
        for tile in np.unique(tile_of).tolist():
            mine = where[tile_of == tile]
            masks = trace.payload[outline.positions[mine]]
            groups.append(_Group(site, tile, mine, masks, kind))
            size = weights.num_elements if tile < 0 else trace.tiles[tile].codes.size
            macs[mine] = source.rows * size
    kinds = tuple(sorted({group.kind for group in groups}))
    where = np.concatenate([np.zeros(0, np.int64), *(group.where for group in groups)])
    return _Groups(tuple(groups), kinds, where, macs)


def _ideal(
    found: _Groups, peaks: Mapping[tuple[int, int, bool], float], nonzero: np.ndarray
) -> np.ndarray:
    """Non-zero products over the array's peak."""
    ideal = np.zeros(len(nonzero), np.float64)
    for group in found.groups:
        ideal[group.where] = nonzero[group.where] / peaks[group.kind]
    return ideal


def _totals(
    trace: Trace,
    found: _Groups,
    shapes: Mapping[tuple[int, int, bool], Geometry],
    figure: Callable[[MatmulCycles, np.ndarray], np.ndarray],
) -> np.ndarray:
    """Sums of a figure over the rows of each product; 0 for other instructions."""
    out = np.zeros(len(found.macs), np.int64)
    for group in found.groups:
        shape = shapes[group.kind]
        if group.tile < 0:
            out[group.where] = _total_of_two(trace, group, shape, figure)
        else:
            out[group.where] = _total(trace, group, shape, figure)
    return out


def _total_of_two(
    trace: Trace,
    group: _Group,
    shape: Geometry,
    figure: Callable[[MatmulCycles, np.ndarray], np.ndarray],
) -> np.ndarray:
    """As `_total`, where the second operand is what activation SRAM held each time."""
    source, other = group.site.views["src"], group.site.views["src2"]
    row_bytes = -(-source.cols // 8)
    different, which = np.unique(group.masks, return_inverse=True)
    out = np.zeros(len(different), np.int64)
    for at, offset in enumerate(different.tolist()):
        size = (source.rows + other.rows) * row_bytes
        bits = trace.masks[offset : offset + size].reshape(-1, row_bytes)
        marks = np.unpackbits(bits, axis=1)[:, : source.cols]
        active, weights = np.split(marks, [source.rows])
        out[at] = figure(MatmulCycles(weights, shape), np.ascontiguousarray(active)).sum()
    return out[which]


def _total(
    trace: Trace,
    group: _Group,
    shape: Geometry,
    figure: Callable[[MatmulCycles, np.ndarray], np.ndarray],
) -> np.ndarray | int:
    """Sum of a figure over the rows of each product with one tile."""
    record, source = trace.tiles[group.tile], group.site.views["src"]
    if group.kind[2]:
        prepared = block_cycles(record.encoded, record.codes, shape)
    else:
        prepared = matmul_cycles(record.digest, record.codes, shape)
    if figure is not MatmulCycles.nonzero_products and not shape.skip_activations:
        return source.rows * int(figure(prepared, np.ones((1, source.cols), np.uint8))[0])
    row_bytes = -(-source.cols // 8)
    step = max(1, _CHUNK_MARKS // max(1, source.rows * row_bytes * 8))
    out = np.zeros(len(group.masks), np.int64)
    for begin in range(0, len(group.masks), step):
        base = group.masks[begin : begin + step]
        index = base[:, None] + np.arange(source.rows * row_bytes)
        bits = np.unpackbits(trace.masks[index].reshape(-1, row_bytes), axis=1)
        marks = np.ascontiguousarray(bits[:, : source.cols])
        rows = figure(prepared, marks).reshape(len(base), source.rows)
        out[begin : begin + step] = rows.sum(axis=1)
    return out
