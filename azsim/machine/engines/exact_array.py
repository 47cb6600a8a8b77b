"""The MAC engine cycle by cycle: a broadcaster, the lanes of `exact_mac`, and the drain.

A product hands over window after window (with `outer` column after column) to the lanes' queues,
the first one in its first cycle; it is over when the lanes are idle and what they have given has
gone through the pipeline.  The hand-over is the first of the pipeline's cycles.  A block that
the array reads is a product of the outer kind, entry by entry.  A drain takes
accumulators out, as many at a time as there are drain lanes, every few cycles where a table or a
division needs them, and sends them through the pipeline.

Products are counted when a sum begins, from the bits of non-zero weights and activations.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from azsim.jit import kernel
from azsim.machine.engines.exact_mac import step_lanes, step_outer
from azsim.machine.engines.exact_read import step_read
from azsim.machine.engines.exact_vector import push_stage

__all__ = ["Array", "ArrayShape", "Matrices", "begin_matrix", "new_array", "step_array"]

_ONES = np.array([bin(byte).count("1") for byte in range(256)], np.int64)
# State: row of activations, first weight row of the pass, next window or column, whether a sum
# begins, cycles since the lanes were done, accumulators to drain, cycles that the group in the
# drain lanes still needs.
_ROW, _PASS, _AT, _BEGINS, _DONE, _TO_DRAIN, _DRAINS = range(7)
# Columns of `Matrices.of`.
_DRAIN, _ROWS, _OUTPUTS, _INNER, _MACS, _HALVES, _WINDOW, _WEIGHTS, _ACTIVATIONS = range(9)
_ENTRIES, _ENTRY_CYCLES, _DRAIN_CYCLES = range(9, 12)


class ArrayShape(NamedTuple):
    """Sizes of the array."""

    lanes: int
    queue_depth: int
    skip_weights: bool
    skip_activations: bool
    is_outer: bool
    drain_lanes: int
    pipeline_cycles: int


class Matrices(NamedTuple):
    """What is to be done."""

    of: np.ndarray
    """(n, 12) int64, a row an instruction: accumulators that a drain takes out (0 for a product);
    for a product rows of activations, rows of weights, positions of each; half-products that a lane
    issues a cycle, how many a product counts as, window; byte of `weight_bits` at which the tile
    begins, byte of `activation_bits` for the activations (every row begins with a byte); for a
    block that the array reads, where in `entries` it begins (else -1) and cycles of an entry; for a
    drain the cycles of a group."""
    weight_bits: np.ndarray
    """uint8, bits of non-zero codes, the most significant first."""
    activation_bits: np.ndarray
    entries: np.ndarray
    """int64, entries of each lane and column of the blocks that the array reads."""


class Array(NamedTuple):
    """State of the engine; see `step_lanes` and `step_outer` for that of the lanes."""

    state: np.ndarray
    held: np.ndarray
    scan: np.ndarray
    at: np.ndarray
    left: np.ndarray
    fresh: np.ndarray
    queue: np.ndarray
    products: np.ndarray
    """Products of the sum (with `outer`: of the tile) at hand, flat."""
    stages: np.ndarray
    ones: np.ndarray
    """A row of bits without a zero, for factors whose zeros the array does not see."""


def new_array(shape: ArrayShape, most_products: int, most_inner: int) -> Array:
    """An array at rest, with room for the products of the largest sum and for the longest row."""
    return Array(
        np.zeros(7, np.int64),
        np.zeros(shape.lanes, np.int64),
        np.zeros(shape.lanes, np.int64),
        np.zeros(shape.lanes, np.int64),
        np.zeros(shape.lanes, np.int64),
        np.ones(shape.lanes, np.bool_),
        np.zeros((shape.lanes, shape.queue_depth if shape.is_outer else 1), np.int64),
        np.zeros(most_products, np.int64),
        np.zeros(shape.pipeline_cycles, np.bool_),
        np.full(-(-most_inner // 8), 255, np.uint8),
    )


@kernel
def _is_set(bits, begin, place):
    return bits[begin + place // 8] >> (7 - place % 8) & 1 != 0


@kernel
def _count(weights, activations, begin, end):
    """Positions [begin, end) at which both of two rows of bits have a one."""
    count = 0
    for byte in range(begin // 8, (end + 7) // 8):
        bits = np.int64(weights[byte] & activations[byte])
        if byte == begin // 8:
            bits &= 0xFF >> begin % 8
        if byte == end // 8:
            bits &= 0xFF00 >> end % 8
        count += _ONES[bits]
    return count


@kernel
def _row_of(bits, begin, row, row_bytes, is_skipped, ones):
    """A row of bits; all ones where the array does not look at zeros."""
    if not is_skipped:
        return ones[:row_bytes]
    return bits[begin + row * row_bytes : begin + (row + 1) * row_bytes]


@kernel
def _fill_inner(array, shape, work, i):
    """Count the products of one sum: (windows, lanes)."""
    inner, window = work.of[i, _INNER], work.of[i, _WINDOW]
    row_bytes = (inner + 7) // 8
    windows = (inner + window - 1) // window
    activations = _row_of(
        work.activation_bits, work.of[i, _ACTIVATIONS], array.state[_ROW], row_bytes,
        shape.skip_activations, array.ones,
    )  # fmt: skip
    for lane in range(shape.lanes):
        output = array.state[_PASS] + lane
        if output >= work.of[i, _OUTPUTS]:
            for number in range(windows):
                array.products[number * shape.lanes + lane] = 0
            continue
        weights = _row_of(
            work.weight_bits, work.of[i, _WEIGHTS], output, row_bytes, shape.skip_weights,
            array.ones,
        )  # fmt: skip
        for number in range(windows):
            end = min((number + 1) * window, inner)
            count = _count(weights, activations, number * window, end)
            array.products[number * shape.lanes + lane] = count
    array.at[:] = 0


@kernel
def _scans(shape, work, i):
    """Windows of weight rows that each lane scans for a column."""
    rows_of_lane = (work.of[i, _OUTPUTS] + shape.lanes - 1) // shape.lanes
    return (rows_of_lane + work.of[i, _WINDOW] - 1) // work.of[i, _WINDOW]


@kernel
def _fill_entries(array, shape, work, i):
    """Take the entries of the block from its pointers: (lanes, K)."""
    inner, begin = work.of[i, _INNER], work.of[i, _ENTRIES]
    for lane in range(shape.lanes):
        for column in range(inner):
            entries = 0
            if lane < work.of[i, _OUTPUTS]:
                entries = work.entries[begin + lane * inner + column]
            array.products[lane * inner + column] = entries


@kernel
def _fill_outer(array, shape, work, i):
    """Count the products of a tile's columns: (K, scans, lanes)."""
    lanes, scans = shape.lanes, _scans(shape, work, i)
    row_bytes = (work.of[i, _INNER] + 7) // 8
    array.products[: work.of[i, _INNER] * scans * lanes] = 0
    for output in range(work.of[i, _OUTPUTS]):
        place = output // lanes // work.of[i, _WINDOW] * lanes + output % lanes
        begin = work.of[i, _WEIGHTS] + output * row_bytes
        for column in range(work.of[i, _INNER]):
            if not shape.skip_weights or _is_set(work.weight_bits, begin, column):
                array.products[column * scans * lanes + place] += 1


@kernel
def begin_matrix(array, shape, work, i):
    """Give the engine an instruction."""
    array.state[:] = 0
    array.state[_BEGINS] = 1
    array.state[_TO_DRAIN] = work.of[i, _DRAIN]
    if work.of[i, _DRAIN] > 0:
        return
    if work.of[i, _ENTRIES] >= 0:
        _fill_entries(array, shape, work, i)
    elif shape.is_outer:
        _fill_outer(array, shape, work, i)


@kernel
def _step_inner_product(array, shape, work, i):
    """Let lanes and broadcaster work for a cycle; tells whether all sums are done."""
    state = array.state
    windows = (work.of[i, _INNER] + work.of[i, _WINDOW] - 1) // work.of[i, _WINDOW]
    products = array.products[: windows * shape.lanes].reshape((windows, shape.lanes))
    all_room, all_idle = step_lanes(
        products, 1, work.of[i, _MACS], work.of[i, _HALVES], shape.queue_depth,
        array.held, array.scan, array.at, array.left, array.fresh,
    )  # fmt: skip
    if state[_ROW] == work.of[i, _ROWS]:
        return all_idle
    if all_room and (all_idle or state[_BEGINS] == 0):
        if state[_BEGINS] != 0:
            _fill_inner(array, shape, work, i)
            state[_BEGINS] = 0
        for lane in range(shape.lanes):
            array.held[lane] += 1
        state[_AT] += 1
        if state[_AT] == windows:
            state[_AT] = 0
            state[_BEGINS] = 1
            state[_PASS] += shape.lanes
            if state[_PASS] >= work.of[i, _OUTPUTS]:
                state[_PASS] = 0
                state[_ROW] += 1
    return False


@kernel
def _next_column(array, shape, work, i):
    """Go on to the next column whose activation is not skipped."""
    state = array.state
    begin = work.of[i, _ACTIVATIONS] + state[_ROW] * ((work.of[i, _INNER] + 7) // 8)
    while (
        shape.skip_activations
        and state[_AT] < work.of[i, _INNER]
        and not _is_set(work.activation_bits, begin, state[_AT])
    ):
        state[_AT] += 1


@kernel
def _step_outer_product(array, shape, work, i):
    """Let lanes and broadcaster work for a cycle; tells whether all rows are done."""
    state, inner = array.state, work.of[i, _INNER]
    if work.of[i, _ENTRIES] >= 0:
        entries = array.products[: shape.lanes * inner].reshape((shape.lanes, inner))
        all_room, all_idle = step_read(
            entries, work.of[i, _ENTRY_CYCLES], array.held, array.queue, array.left,
            shape.queue_depth,
        )  # fmt: skip
    else:
        scans = _scans(shape, work, i)
        size = inner * scans * shape.lanes
        products = array.products[:size].reshape((inner, scans, shape.lanes))
        all_room, all_idle = step_outer(
            products, work.of[i, _MACS], work.of[i, _HALVES], array.queue,
            array.held, array.scan, array.left, array.fresh,
        )  # fmt: skip
    if state[_ROW] == work.of[i, _ROWS]:
        return all_idle
    is_ready = all_room if state[_BEGINS] == 0 else all_idle
    if is_ready:
        _next_column(array, shape, work, i)
        if state[_AT] < inner:
            for lane in range(shape.lanes):
                array.queue[lane, array.held[lane]] = state[_AT]
                array.held[lane] += 1
            state[_AT] += 1
            _next_column(array, shape, work, i)
        state[_BEGINS] = state[_AT] == inner
        if state[_BEGINS] != 0:
            state[_AT] = 0
            state[_ROW] += 1
    return False


@kernel
def _step_drain(array, shape, work, i):
    """Let the drain work for a cycle; tells whether it is over."""
    state = array.state
    if state[_DRAINS] == 0 and state[_TO_DRAIN] > 0:
        state[_TO_DRAIN] -= min(state[_TO_DRAIN], shape.drain_lanes)
        state[_DRAINS] = work.of[i, _DRAIN_CYCLES]
    leaves_lanes = state[_DRAINS] == 1
    state[_DRAINS] -= state[_DRAINS] > 0
    is_empty = push_stage(array.stages, leaves_lanes)
    return is_empty and state[_DRAINS] == 0 and state[_TO_DRAIN] == 0


@kernel
def step_array(array, shape, work, i):
    """Let one cycle pass; tells whether the instruction is over with it."""
    if work.of[i, _DRAIN] > 0:
        return _step_drain(array, shape, work, i)
    if shape.is_outer:
        is_done = _step_outer_product(array, shape, work, i)
    else:
        is_done = _step_inner_product(array, shape, work, i)
    array.state[_DONE] += is_done
    return array.state[_DONE] >= max(1, shape.pipeline_cycles)
