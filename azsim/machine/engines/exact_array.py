"""The MAC engine cycle by cycle: a broadcaster, the lanes of `exact_mac`, and the drain.

A product hands over window after window (with `outer` column after column) to the lanes' queues,
the first one in its first cycle; it is over when the lanes are idle and what they have given has
gone through the pipeline.  The hand-over is the first of the pipeline's cycles.  A drain takes
accumulators out, as many a cycle as there are drain lanes, and sends them through the pipeline.

Products are counted when a sum begins, from the bits of non-zero weights and activations.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from azsim.jit import kernel
from azsim.machine.engines.exact_mac import step_inner, step_outer
from azsim.machine.engines.exact_vector import push_stage

__all__ = ["Array", "ArrayShape", "Matrices", "begin_matrix", "new_array", "step_array"]

_ONES = np.array([bin(byte).count("1") for byte in range(256)], np.int64)
# State: row of activations, first weight row of the pass, next window or column, whether a sum
# begins, cycles since the lanes were done, accumulators to drain.
_ROW, _PASS, _AT, _BEGINS, _DONE, _TO_DRAIN = range(6)


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
    """What each instruction does; all but the last two are (n,) int64 arrays by instruction."""

    to_drain: np.ndarray
    """Accumulators that a drain takes out; 0 for a product."""
    rows: np.ndarray
    outputs: np.ndarray
    inner: np.ndarray
    macs: np.ndarray
    halves: np.ndarray
    """A lane issues `macs` half-products a cycle, a product counts as `halves` of them."""
    window: np.ndarray
    weights: np.ndarray
    """Byte of `weight_bits` at which the tile begins; each of its rows begins with a byte."""
    activations: np.ndarray
    """The same for `activation_bits`."""
    weight_bits: np.ndarray
    """uint8, bits of non-zero codes, the most significant first."""
    activation_bits: np.ndarray


class Array(NamedTuple):
    """State of the engine; see `step_inner` and `step_outer` for that of the lanes."""

    state: np.ndarray
    held: np.ndarray
    at: np.ndarray
    left: np.ndarray
    fresh: np.ndarray
    queue: np.ndarray
    products: np.ndarray
    """Products of the sum (with `outer`: of the tile) at hand, flat."""
    stages: np.ndarray


def new_array(shape: ArrayShape, most_products: int) -> Array:
    """An array at rest, with room for the products of the largest sum."""
    return Array(
        np.zeros(6, np.int64),
        np.zeros(shape.lanes, np.int64),
        np.zeros(shape.lanes, np.int64),
        np.zeros(shape.lanes, np.int64),
        np.ones(shape.lanes, np.bool_),
        np.zeros((shape.lanes, shape.queue_depth if shape.is_outer else 1), np.int64),
        np.zeros(most_products, np.int64),
        np.zeros(shape.pipeline_cycles, np.bool_),
    )


@kernel
def _is_set(bits, begin, place):
    return bits[begin + place // 8] >> (7 - place % 8) & 1 != 0


@kernel
def _count(shape, work, i, output, begin, end):
    """Products of positions [begin, end) of a weight row with the activation row at hand."""
    row, weight_row = output
    row_bytes = (work.inner[i] + 7) // 8
    activations = work.activations[i] + row * row_bytes
    weights = work.weights[i] + weight_row * row_bytes
    count = 0
    for byte in range(begin // 8, (end + 7) // 8):
        bits = 0xFF
        if byte == begin // 8:
            bits &= 0xFF >> begin % 8
        if byte == end // 8:
            bits &= 0xFF00 >> end % 8
        if shape.skip_weights:
            bits &= work.weight_bits[weights + byte]
        if shape.skip_activations:
            bits &= work.activation_bits[activations + byte]
        count += _ONES[bits & 0xFF]
    return count


@kernel
def _fill_inner(array, shape, work, i):
    """Count the products of one sum: (windows, lanes)."""
    state, lanes, window = array.state, shape.lanes, work.window[i]
    windows = (work.inner[i] + window - 1) // window
    for number in range(windows):
        end = min((number + 1) * window, work.inner[i])
        for lane in range(lanes):
            weight_row = state[_PASS] + lane
            count = 0
            if weight_row < work.outputs[i]:
                output = state[_ROW], weight_row
                count = _count(shape, work, i, output, number * window, end)
            array.products[number * lanes + lane] = count
    array.at[:] = 0


@kernel
def _scans(shape, work, i):
    """Windows of weight rows that each lane scans for a column."""
    rows_of_lane = (work.outputs[i] + shape.lanes - 1) // shape.lanes
    return (rows_of_lane + work.window[i] - 1) // work.window[i]


@kernel
def _fill_outer(array, shape, work, i):
    """Count the products of a tile's columns: (K, scans, lanes)."""
    lanes, scans = shape.lanes, _scans(shape, work, i)
    row_bytes = (work.inner[i] + 7) // 8
    array.products[: work.inner[i] * scans * lanes] = 0
    for output in range(work.outputs[i]):
        place = output // lanes // work.window[i] * lanes + output % lanes
        begin = work.weights[i] + output * row_bytes
        for column in range(work.inner[i]):
            if not shape.skip_weights or _is_set(work.weight_bits, begin, column):
                array.products[column * scans * lanes + place] += 1


@kernel
def begin_matrix(array, shape, work, i):
    """Give the engine an instruction."""
    array.state[:] = 0
    array.state[_BEGINS] = 1
    array.state[_TO_DRAIN] = work.to_drain[i]
    if work.to_drain[i] == 0 and shape.is_outer:
        _fill_outer(array, shape, work, i)


@kernel
def _step_inner_product(array, shape, work, i):
    """Let lanes and broadcaster work for a cycle; tells whether all sums are done."""
    state = array.state
    windows = (work.inner[i] + work.window[i] - 1) // work.window[i]
    products = array.products[: windows * shape.lanes].reshape((windows, shape.lanes))
    all_room, all_idle = step_inner(
        products, work.macs[i], work.halves[i], shape.queue_depth,
        array.held, array.at, array.left, array.fresh,
    )  # fmt: skip
    if state[_ROW] == work.rows[i]:
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
            if state[_PASS] >= work.outputs[i]:
                state[_PASS] = 0
                state[_ROW] += 1
    return False


@kernel
def _next_column(array, shape, work, i):
    """Go on to the next column whose activation is not skipped."""
    state = array.state
    begin = work.activations[i] + state[_ROW] * ((work.inner[i] + 7) // 8)
    while (
        shape.skip_activations
        and state[_AT] < work.inner[i]
        and not _is_set(work.activation_bits, begin, state[_AT])
    ):
        state[_AT] += 1


@kernel
def _step_outer_product(array, shape, work, i):
    """Let lanes and broadcaster work for a cycle; tells whether all rows are done."""
    state = array.state
    inner, scans = work.inner[i], _scans(shape, work, i)
    size = inner * scans * shape.lanes
    products = array.products[:size].reshape((inner, scans, shape.lanes))
    all_room, all_idle = step_outer(
        products, work.macs[i], work.halves[i], array.queue,
        array.held, array.at, array.left, array.fresh,
    )  # fmt: skip
    if state[_ROW] == work.rows[i]:
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
def _step_drain(array, shape):
    """Let the drain work for a cycle; tells whether it is over."""
    state = array.state
    takes = min(state[_TO_DRAIN], shape.drain_lanes)
    state[_TO_DRAIN] -= takes
    is_empty = push_stage(array.stages, takes > 0)
    return is_empty and state[_TO_DRAIN] == 0


@kernel
def step_array(array, shape, work, i):
    """Let one cycle pass; tells whether the instruction is over with it."""
    if work.to_drain[i] > 0:
        return _step_drain(array, shape)
    if shape.is_outer:
        is_done = _step_outer_product(array, shape, work, i)
    else:
        is_done = _step_inner_product(array, shape, work, i)
    array.state[_DONE] += is_done
    return array.state[_DONE] >= max(1, shape.pipeline_cycles)
