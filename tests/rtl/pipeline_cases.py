"""Seeded random tile sequences for the joined pipeline: RTL, numpy and both models."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from azsim.codecs import block_lane_steps, encode_block
from azsim.machine.engines.clock import run_clock
from azsim.machine.engines.exact_decoder import new_lanes
from azsim.machine.engines.exact_dram import new_memory, new_queues
from azsim.machine.engines.exact_pipeline import (
    BEGINS_SUM,
    HANDS_OVER,
    INNER_SUM_CYCLES,
    OUTER_SUM_CYCLES,
    Chip,
    Tiles,
    pipeline_cycles,
)
from azsim.machine.engines.mac import Geometry, MatmulCycles
from rtl.decoder_cases import Block, split
from rtl.harness import Design

__all__ = [
    "Joined",
    "Sequence",
    "exact",
    "expected_sums",
    "fast",
    "random_sequence",
    "rtl",
    "sequence_of",
]

_TAKE_CYCLES = 2
"""A tile's cycles in the array beyond those of its rows and of the last sum: one to take it, one to
hand over the first window or activation."""

_DECODER_PIPELINE_CYCLES = 4
"""A tile's cycles in the decoder beyond those of its lanes: a burst into the FIFO, a word out of
it, the last group's write, and the hand-over to the array."""

_GROUP = 16
_LIMIT = 1 << 20


@dataclass(frozen=True)
class Joined:
    """Sizes of a pipeline."""

    decoder_lanes: int
    words: int
    port_codes: int
    codec: str
    outstanding: int
    fifo_bursts: int
    lanes: int
    macs: int
    queue_depth: int
    skip_activations: bool
    is_outer: bool = False
    banks: int = 1

    def design(self, *, more_fifo: int = 0) -> Design:
        """RTL; `more_fifo` plants a longer burst FIFO."""
        parameters = {
            "DECODER_LANES": self.decoder_lanes,
            "WORDS": self.words,
            "PORT_CODES": self.port_codes,
            "IS_ZERO_RUN": int(self.codec == "zero_run"),
            "OUTSTANDING": self.outstanding,
            "FIFO_BURSTS": self.fifo_bursts + more_fifo,
            "DRAM_BANKS": self.banks,
            "LANES": self.lanes,
            "MACS": self.macs,
            "QUEUE_DEPTH": self.queue_depth,
            "SKIP_ACTIVATIONS": int(self.skip_activations),
        }
        return Design("pipeline_outer" if self.is_outer else "pipeline", parameters)

    @property
    def sum_cycles(self) -> int:
        return OUTER_SUM_CYCLES if self.is_outer else INNER_SUM_CYCLES

    @property
    def burst_bytes(self) -> int:
        return self.decoder_lanes * self.words * 8

    @property
    def geometry(self) -> Geometry:
        return Geometry(
            self.lanes, self.macs, 1, _GROUP, self.queue_depth, True, self.skip_activations,
            self.is_outer,
        )  # fmt: skip


@dataclass(frozen=True)
class Sequence:
    """Tiles, as codes and as what lies in memory, and rows of activations for each.

    Attributes
    ----------
    codes : list of ndarray of shape (N, K), int8
    activations : list of ndarray of shape (rows, K), int8
    stored : list of ndarray of shape (rows, groups * 16), int8
        Codes in the order in which they lie in memory and in the array's banks.
    blocks : list of bytes
    bursts : list of ndarray of shape (bursts, burst_bytes), uint8
    tables : list of int
        Bursts of palette.
    lanes, events : list of ndarray
        Of the cycle-stepped decoder, events of each tile apart.
    widths : list of int
    dram : ndarray of shape (7,), int64
    stall : ndarray of shape (period,), uint8
    """

    codes: list[np.ndarray]
    activations: list[np.ndarray]
    stored: list[np.ndarray]
    blocks: list[bytes]
    bursts: list[np.ndarray]
    tables: list[int]
    lanes: list[np.ndarray]
    events: list[np.ndarray]
    widths: list[int]
    dram: np.ndarray
    stall: np.ndarray

    def groups(self) -> np.ndarray:
        return _ints([s.shape[1] // _GROUP for s in self.stored])

    def rows_of_lane(self, decoder_lanes: int) -> np.ndarray:
        return _ints([len(s) // decoder_lanes for s in self.stored])

    def first_bursts(self) -> np.ndarray:
        """Where each tile lies; one that comes again lies where it first was."""
        places: dict[bytes, int] = {}
        found, end = [], 0
        for bursts in self.bursts:
            found.append(places.setdefault(bursts.tobytes(), end))
            end += len(bursts)
        return _ints(found)


def _random_dram(rng: np.random.Generator) -> np.ndarray:
    ticks = int(rng.choice([1, 4]))
    burst = int(rng.integers(2 * ticks, 16 * ticks))
    latency, miss = int(rng.integers(5, 60)) * ticks, int(rng.integers(0, 20)) * ticks
    every = int(rng.integers(1500, 4000)) * ticks if rng.random() < 0.7 else 0
    refresh = int(rng.integers(20, 100)) * ticks if every else 0
    return np.array([ticks, burst, latency, rng.integers(8, 64), miss, every, refresh], np.int64)


def random_sequence(seed: int, size: Joined) -> Sequence:
    """Sequence number `seed`; the first ones are the edges."""
    rng = np.random.default_rng([seed, size.decoder_lanes, size.lanes])
    count = int(rng.integers(1, 9))
    step = int(np.lcm(size.decoder_lanes, size.lanes))
    rows = int(rng.integers(1, 6))
    tiles, inputs = [], []
    density = rng.choice([0.05, 0.2, 0.5, 0.8])
    for _ in range(count):
        outputs = step * int(rng.integers(1, max(2, 64 // step)))
        inner = _GROUP * int(rng.integers(1, 13))
        if size.is_outer:
            outputs = int(rng.integers(1, 3 * _GROUP * size.lanes + 1))
            inner = int(rng.integers(1, 129))
        if rng.random() < 0.3:
            density = rng.random()
        values = rng.integers(1, 128, (outputs, inner)) * rng.choice([-1, 1], (outputs, inner))
        if rng.random() < 0.5:
            values = rng.choice([-90, -20, 3, 21, 60, 127], (outputs, inner))
        tiles.append(np.where(rng.random((outputs, inner)) < density, values, 0).astype(np.int8))
        marks = rng.random((rows, inner)) < rng.choice([0.3, 1.0])
        inputs.append(np.where(marks, rng.integers(-127, 128, (rows, inner)), 0).astype(np.int8))
    dram = _random_dram(rng)
    stall = np.zeros(1, np.uint8)
    if seed == 0:  # all zero
        tiles = [np.zeros_like(tile) for tile in tiles]
    elif seed == 1:  # no zero, no palette
        tiles = [np.where(tile == 0, 5, tile).astype(np.int8) for tile in tiles]
    elif seed == 2:  # one decoder lane has all the work
        for tile in tiles:
            tile[len(tile) // size.decoder_lanes :] = 0
    elif seed == 3:  # one MAC lane has all the work
        for tile in tiles:
            tile[1:] = 0
    elif seed == 4:  # DRAM stalls
        stall = (np.arange(300) < 250).astype(np.uint8)
    elif seed == 5:  # DRAM is so fast that the decoder binds
        dram[:] = 1, 1, 1, 64, 0, 0, 0
    elif seed % 10 == 0:
        stall = (rng.random(int(rng.integers(2, 60))) < 0.4).astype(np.uint8)
        stall[0] = 0
    if seed % 3 == 2:  # tiles come again, as those of a loop do, and find their rows open or not
        order = np.random.default_rng(seed).integers(0, count, count)
        tiles, inputs = [tiles[i] for i in order], [inputs[i] for i in order]
    return sequence_of(tiles, inputs, dram, stall, size, rng)


def sequence_of(
    tiles: list[np.ndarray], inputs: list[np.ndarray], dram: np.ndarray, stall: np.ndarray,
    size: Joined, rng: np.random.Generator,
) -> Sequence:  # fmt: skip
    """Tiles (N, K) and rows of activations for each, as blocks in memory."""
    out = Sequence(tiles, inputs, [], [], [], [], [], [], [], dram, stall)
    for tile in tiles:
        # Rows of a lane of the outer array, one or two.
        number = int(rng.integers(1, 3)) if size.is_outer else 1
        _store(out, _outer_order(tile, size.lanes, number) if size.is_outer else tile, size)
    return out


def _by_lane(codes: np.ndarray, lanes: int) -> np.ndarray:
    """(N, K) to (lanes, K, scans, 16): lane l has the outputs l, l + lanes, ..., or zeros."""
    outputs, inner = codes.shape
    scans = -(-outputs // (_GROUP * lanes))
    padded = np.zeros((scans * _GROUP * lanes, inner), codes.dtype)
    padded[:outputs] = codes
    return padded.reshape(scans, _GROUP, lanes, inner).transpose(2, 3, 0, 1)


def _outer_order(codes: np.ndarray, lanes: int, number: int) -> np.ndarray:
    """Codes as the banks of the outer array hold them, each lane's in so many rows.

    The weight engine puts row r into lane (r + r // lanes) mod lanes.
    """
    words = _by_lane(codes, lanes).reshape(lanes, -1)
    if words.shape[1] // _GROUP % number:
        number = 1
    parts = words.reshape(lanes, number, -1)
    rows = np.arange(lanes * number)
    return np.ascontiguousarray(parts[(rows + rows // lanes) % lanes, rows // lanes])


def _store(out: Sequence, tile: np.ndarray, size: Joined) -> None:
    """Append a tile to a sequence, as its block and its bursts."""
    flat = tile.reshape(-1)
    data = encode_block(size.codec, flat, 8, palette=True)
    streams = split(Block(flat, data, size.codec, 8, out.stall), size.decoder_lanes)
    words = streams.padded_words()
    bursts = -(-words.shape[1] // size.words)
    padded = np.zeros((size.decoder_lanes, bursts * size.words), "<u8")
    padded[:, : words.shape[1]] = words
    by_burst = padded.reshape(size.decoder_lanes, bursts, size.words).transpose(1, 0, 2)
    table_bursts = -(-streams.table.size // size.burst_bytes)
    table = np.zeros((table_bursts, size.burst_bytes), np.uint8)
    table.reshape(-1)[: streams.table.size] = streams.table
    body = np.ascontiguousarray(by_burst).view(np.uint8).reshape(bursts, size.burst_bytes)
    first = np.cumsum([0, *(e.size for e in streams.events)])
    out.stored.append(tile)
    out.blocks.append(data)
    out.bursts.append(np.concatenate([table, body]))
    out.tables.append(table_bursts)
    out.lanes.append(new_lanes(first, streams.num_codes))
    out.events.append(np.concatenate(streams.events))
    out.widths.append(streams.width)


def expected_sums(case: Sequence) -> list[np.ndarray]:
    """Products with numpy: (rows, N) int64 for each tile."""
    return [
        inputs.astype(np.int64) @ codes.T.astype(np.int64)
        for codes, inputs in zip(case.codes, case.activations, strict=True)
    ]


def _ints(values: list[int]) -> np.ndarray:
    return np.array(values, np.int64)


def rtl(design: Design, case: Sequence, size: Joined) -> tuple[int, list[np.ndarray]]:
    """Cycles, and sums (rows, N) int32 of each tile."""
    starts = np.cumsum([0, *(a.size for a in case.activations)])[:-1].astype(np.int64)
    tiles = (
        len(case.codes), case.first_bursts(), _ints([len(b) for b in case.bursts]),
        _ints(case.tables), case.rows_of_lane(size.decoder_lanes), case.groups(),
        _ints(case.widths),
    )  # fmt: skip
    rest = (
        len(case.activations[0]), np.concatenate(case.bursts),
        np.concatenate([a.reshape(-1) for a in case.activations]), starts, case.dram,
        len(case.stall), case.stall, _LIMIT,
    )  # fmt: skip
    run = _rtl_outer if size.is_outer else _rtl_inner
    return run(design, case, size, tiles, rest)


def _rtl_inner(
    design: Design, case: Sequence, size: Joined, tiles: tuple, rest: tuple
) -> tuple[int, list[np.ndarray]]:
    rows = len(case.activations[0])
    passes = [len(codes) // size.lanes for codes in case.codes]
    sums = np.zeros((rows * sum(passes), size.lanes), np.int32)
    cycles = design(*tiles, _ints(passes), *rest, sums)
    found, begin = [], 0
    for count in passes:
        part = sums[begin : begin + rows * count].reshape(rows, count, size.lanes)
        # Pass p is rotated by p lanes.
        part = np.stack([np.roll(part[:, p], -p, axis=1) for p in range(count)], axis=1)
        found.append(part.reshape(rows, -1))
        begin += rows * count
    return cycles, found


def _rtl_outer(
    design: Design, case: Sequence, size: Joined, tiles: tuple, rest: tuple
) -> tuple[int, list[np.ndarray]]:
    rows = len(case.activations[0])
    outputs = [len(codes) for codes in case.codes]
    scans = [-(-count // (_GROUP * size.lanes)) for count in outputs]
    sums = np.zeros((rows * sum(scans), size.lanes, _GROUP), np.int32)
    columns = _ints([codes.shape[1] for codes in case.codes])
    cycles = design(*tiles, columns, _ints(outputs), _ints(scans), *rest, sums)
    found, begin = [], 0
    for count, number in zip(outputs, scans, strict=True):
        part = sums[begin : begin + rows * number].reshape(rows, number, size.lanes, _GROUP)
        found.append(part.transpose(0, 1, 3, 2).reshape(rows, -1)[:, :count])
        begin += rows * number
    return cycles, found


def exact(case: Sequence, size: Joined) -> int:
    """Cycles of the cycle-stepped model."""
    turns, products = [], []
    for codes, inputs in zip(case.codes, case.activations, strict=True):
        marks = inputs != 0 if size.skip_activations else np.ones_like(inputs, bool)
        work = _outer_work if size.is_outer else _inner_work
        for found, part in zip((turns, products), work(codes != 0, marks, size), strict=True):
            found.append(part)
    lanes, start = [], 0
    for state, events in zip(case.lanes, case.events, strict=True):
        moved = state.copy()
        moved[:, 1:3] += start  # where the lane's events begin and end
        lanes.append(moved)
        start += len(events)
    tiles = Tiles(
        first_burst=case.first_bursts(),
        bursts=_ints([len(b) for b in case.bursts]),
        table_bursts=_ints(case.tables),
        rows_of_lane=case.rows_of_lane(size.decoder_lanes),
        groups=case.groups(),
        width=_ints(case.widths),
        lanes=np.stack(lanes),
        events=np.concatenate(case.events),
        first_turn=np.cumsum([0, *(len(t) for t in turns)]).astype(np.int64),
        turns=np.concatenate(turns),
        scans=_ints(
            [-(-len(c) // (_GROUP * size.lanes)) if size.is_outer else 1 for c in case.codes]
        ),
        products=np.concatenate(products),
    )
    chip = Chip(
        size.words, size.port_codes, size.codec == "zero_run", size.outstanding, size.fifo_bursts,
        size.macs, size.queue_depth, size.sum_cycles,
    )  # fmt: skip
    dram = np.append(case.dram, [0, size.banks])
    counters, queues = new_queues()
    return pipeline_cycles(chip, tiles, dram, case.stall, new_memory(dram), counters, queues)


def _inner_work(
    weights: np.ndarray, marks: np.ndarray, size: Joined
) -> tuple[np.ndarray, np.ndarray]:
    """Turns of a tile, and the products of each one's window (windows, lanes)."""
    by_pass = weights.reshape(-1, size.lanes, weights.shape[1] // _GROUP, _GROUP)
    acts = marks.reshape(len(marks), 1, 1, -1, _GROUP)
    counts = (by_pass[None] & acts).sum(axis=-1, dtype=np.int64)  # rows, passes, lanes, windows
    turns = np.full((len(marks), len(by_pass), by_pass.shape[2]), HANDS_OVER, np.int64)
    turns[:, :, 0] |= BEGINS_SUM
    return turns.reshape(-1), counts.transpose(0, 1, 3, 2).reshape(-1, size.lanes)


def _outer_work(
    weights: np.ndarray, marks: np.ndarray, size: Joined
) -> tuple[np.ndarray, np.ndarray]:
    """Turns of a tile, and the products of each one's scans (windows, lanes)."""
    counts = _by_lane(weights, size.lanes).sum(axis=-1, dtype=np.int64).transpose(1, 2, 0)
    turns, products = [], [np.zeros((0, size.lanes), np.int64)]
    for row in marks:
        turn = np.full(max(1, np.count_nonzero(row)), HANDS_OVER * int(row.any()), np.int64)
        turn[0] |= BEGINS_SUM
        turns.append(turn)
        products.append(counts[row].reshape(-1, size.lanes))
    return np.concatenate(turns), np.concatenate(products)


def _block_times(case: Sequence, tile: int, size: Joined) -> np.ndarray:
    """What `azsim.machine.engines.decoder` gives, for this Verilog's layout of a block.

    First the table, a burst a cycle; then bursts that hold `words` words of each lane's stream,
    and leave when each lane has taken its own.
    """
    steps = block_lane_steps(case.blocks[tile], size.decoder_lanes)
    tables, bursts = case.tables[tile], len(case.bursts[tile])
    longest = int(np.diff(steps.first).max())
    last = max(longest, -(-case.stored[tile].size // size.port_codes))
    number = np.arange(bursts - tables)
    left, need, slack = [], [], []
    for begin, end in itertools.pairwise(steps.first):
        used = np.cumsum(steps.bits[begin:end])
        # A lane takes a word when what it has used is within a word of it.
        room = 64 * ((number + 1) * size.words - 2)
        left.append(np.minimum(np.searchsorted(used, room - 1) + 1, end - begin))
        first = np.searchsorted(used, 64 * number * size.words, side="right")
        need.append(np.where(first < end - begin, first, longest))
        slack.append(np.where(first < end - begin, longest - (end - begin), 0))
    lefts, needs = np.array(left), np.array(need)
    all_left = lefts.max(axis=0)
    spare = np.minimum.accumulate((all_left - lefts)[:, ::-1], axis=1)[:, ::-1]
    # Where the port is what is slow, it holds the lanes up evenly.
    columns = [all_left, (needs + np.array(slack)).min(axis=0), (needs + spare).min(axis=0)]
    times = np.stack([column * last // longest for column in columns], axis=1)
    times[-1, 0] = last + _DECODER_PIPELINE_CYCLES
    times[:, 1] = np.minimum(times[:, 1], last)
    table = np.arange(tables)
    return np.concatenate([
        np.stack([table + 1, table, table, np.ones(tables, np.int64)], axis=1),
        np.append(times + tables, np.full((len(times), 1), size.words + 1), axis=1),
    ])  # fmt: skip


def fast(case: Sequence, size: Joined) -> int:
    """Cycles of the models that every run uses: steps of lanes, `row_cycles` and the clock."""
    count = len(case.codes)
    engine = np.tile(np.array([0, 3], np.int64), count)
    cycles = np.zeros(2 * count, np.int64)
    for i, (codes, inputs) in enumerate(zip(case.codes, case.activations, strict=True)):
        rows = MatmulCycles(codes, size.geometry).row_cycles((inputs != 0).astype(np.uint8))
        cycles[2 * i + 1] = _TAKE_CYCLES + size.sum_cycles + rows.sum()
    blocks = [_block_times(case, i, size) for i in range(count)]
    targets = np.zeros((2 * count, 5), np.int64)
    targets[0::2, 3] = np.maximum(np.arange(count) - 1, 0)  # the slot is free
    targets[1::2, 0] = np.arange(count) + 1  # the slot is full
    first, bursts, begins = (np.zeros(2 * count, np.int64) for _ in range(3))
    first[0::2], bursts[0::2] = case.first_bursts(), [len(b) for b in case.bursts]
    begins[0::2] = np.cumsum([0, *(len(b) for b in case.bursts)])[:-1]
    ticks, burst, latency, row_bursts, miss, every, refresh = case.dram.tolist()
    times = [burst, latency, size.outstanding, size.fifo_bursts, row_bursts, miss, every, refresh]
    bus = np.array([*times, size.banks], np.int64)
    none = np.zeros(2 * count, np.int64)
    dispatch, start, end = (np.full(2 * count, -1, np.int64) for _ in range(3))
    run_clock(
        engine, none, cycles, np.concatenate(blocks), begins, targets, first, bursts,
        np.zeros((0, 2), np.int64), none - 1, none,
        np.ascontiguousarray(np.argsort(engine, kind="stable")), ticks, 1, 2 * count, bus,
        dispatch, start, end, np.zeros(3, np.int64),
    )  # fmt: skip
    return int(end[-1] - start[0]) // ticks
