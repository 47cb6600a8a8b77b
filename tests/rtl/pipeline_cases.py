"""Seeded random tile sequences for the joined pipeline: RTL, numpy and both models."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from azsim.codecs import block_lane_steps, encode_block
from azsim.machine.engines.clock import run_clock
from azsim.machine.engines.exact_decoder import new_lanes
from azsim.machine.engines.exact_dram import new_memory, new_queues
from azsim.machine.engines.exact_pipeline import Chip, Tiles, pipeline_cycles
from azsim.machine.engines.mac import Geometry, MatmulCycles
from rtl.decoder_cases import Block, split
from rtl.harness import Design

__all__ = ["Joined", "Sequence", "exact", "expected_sums", "fast", "random_sequence", "rtl"]

MAC_PIPELINE_CYCLES = 5
"""A tile's cycles in the array beyond those of its rows: one to take it, one to hand over the first
window, three from the last products to the written sum."""

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

    def design(self, *, more_fifo: int = 0) -> Design:
        """RTL; `more_fifo` plants a longer burst FIFO."""
        parameters = {
            "DECODER_LANES": self.decoder_lanes,
            "WORDS": self.words,
            "PORT_CODES": self.port_codes,
            "IS_ZERO_RUN": int(self.codec == "zero_run"),
            "OUTSTANDING": self.outstanding,
            "FIFO_BURSTS": self.fifo_bursts + more_fifo,
            "LANES": self.lanes,
            "MACS": self.macs,
            "QUEUE_DEPTH": self.queue_depth,
            "SKIP_ACTIVATIONS": int(self.skip_activations),
        }
        return Design("pipeline", parameters)

    @property
    def burst_bytes(self) -> int:
        return self.decoder_lanes * self.words * 8

    @property
    def geometry(self) -> Geometry:
        return Geometry(
            self.lanes, self.macs, 1, _GROUP, self.queue_depth, True, self.skip_activations, False
        )


@dataclass(frozen=True)
class Sequence:
    """Tiles, as codes and as what lies in memory, and rows of activations for each.

    Attributes
    ----------
    codes : list of ndarray of shape (N, K), int8
    activations : list of ndarray of shape (rows, K), int8
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
    blocks: list[bytes]
    bursts: list[np.ndarray]
    tables: list[int]
    lanes: list[np.ndarray]
    events: list[np.ndarray]
    widths: list[int]
    dram: np.ndarray
    stall: np.ndarray

    def first_bursts(self) -> np.ndarray:
        return np.cumsum([0, *(len(b) for b in self.bursts)])[:-1].astype(np.int64)


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
    return _stored(tiles, inputs, dram, stall, size)


def _stored(
    tiles: list[np.ndarray], inputs: list[np.ndarray], dram: np.ndarray, stall: np.ndarray,
    size: Joined,
) -> Sequence:  # fmt: skip
    out = Sequence(tiles, inputs, [], [], [], [], [], [], dram, stall)
    for tile in tiles:
        flat = tile.reshape(-1)
        data = encode_block(size.codec, flat, 8, palette=True)
        streams = split(Block(flat, data, size.codec, 8, stall), size.decoder_lanes)
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
        out.blocks.append(data)
        out.bursts.append(np.concatenate([table, body]))
        out.tables.append(table_bursts)
        out.lanes.append(new_lanes(first, streams.num_codes))
        out.events.append(np.concatenate(streams.events))
        out.widths.append(streams.width)
    return out


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
    rows = len(case.activations[0])
    passes = [len(codes) // size.lanes for codes in case.codes]
    starts = np.cumsum([0, *(a.size for a in case.activations)])[:-1].astype(np.int64)
    sums = np.zeros((rows * sum(passes), size.lanes), np.int32)
    cycles = design(
        len(case.codes), case.first_bursts(), _ints([len(b) for b in case.bursts]),
        _ints(case.tables), _ints([len(c) // size.decoder_lanes for c in case.codes]),
        _ints([c.shape[1] // _GROUP for c in case.codes]), _ints(case.widths), _ints(passes),
        rows, np.concatenate(case.bursts),
        np.concatenate([a.reshape(-1) for a in case.activations]), starts, case.dram,
        len(case.stall), case.stall, _LIMIT, sums,
    )  # fmt: skip
    found, begin = [], 0
    for count in passes:
        part = sums[begin : begin + rows * count].reshape(rows, count, size.lanes)
        # Pass p is rotated by p lanes.
        part = np.stack([np.roll(part[:, p], -p, axis=1) for p in range(count)], axis=1)
        found.append(part.reshape(rows, -1))
        begin += rows * count
    return cycles, found


def exact(case: Sequence, size: Joined) -> int:
    """Cycles of the cycle-stepped model."""
    products = []
    for codes, inputs in zip(case.codes, case.activations, strict=True):
        weights = (codes != 0).reshape(-1, size.lanes, codes.shape[1] // _GROUP, _GROUP)
        marks = inputs != 0 if size.skip_activations else np.ones_like(inputs, bool)
        acts = marks.reshape(len(inputs), 1, 1, -1, _GROUP)
        counts = (weights[None] & acts).sum(axis=-1, dtype=np.int64)  # rows, passes, lanes, windows
        products.append(counts.transpose(0, 1, 3, 2).reshape(-1, size.lanes))
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
        rows_of_lane=_ints([len(c) // size.decoder_lanes for c in case.codes]),
        groups=_ints([c.shape[1] // _GROUP for c in case.codes]),
        width=_ints(case.widths),
        lanes=np.stack(lanes),
        events=np.concatenate(case.events),
        first_window=np.cumsum([0, *(len(p) for p in products)]).astype(np.int64),
        products=np.concatenate(products),
    )
    chip = Chip(
        size.words, size.port_codes, size.codec == "zero_run", size.outstanding, size.fifo_bursts,
        size.macs, size.queue_depth,
    )  # fmt: skip
    dram = np.append(case.dram, 0)
    counters, queues = new_queues()
    return pipeline_cycles(chip, tiles, dram, case.stall, new_memory(dram), counters, queues)


def fast(case: Sequence, size: Joined) -> int:
    """Cycles of the models that every run uses: steps of lanes, `row_cycles` and the clock."""
    count = len(case.codes)
    engine = np.tile(np.array([0, 3], np.int64), count)
    cycles = np.zeros(2 * count, np.int64)
    for i, (codes, inputs, data) in enumerate(
        zip(case.codes, case.activations, case.blocks, strict=True)
    ):
        port = -(-codes.size // size.port_codes)
        cycles[2 * i] = max(block_lane_steps(data, size.decoder_lanes).most_steps, port)
        rows = MatmulCycles(codes, size.geometry).row_cycles((inputs != 0).astype(np.uint8))
        cycles[2 * i + 1] = MAC_PIPELINE_CYCLES + rows.sum()
    targets = np.zeros((2 * count, 5), np.int64)
    targets[0::2, 3] = np.maximum(np.arange(count) - 1, 0)  # the slot is free
    targets[1::2, 0] = np.arange(count) + 1  # the slot is full
    first, bursts = np.zeros(2 * count, np.int64), np.zeros(2 * count, np.int64)
    first[0::2], bursts[0::2] = case.first_bursts(), [len(b) for b in case.bursts]
    ticks, burst, latency, row_bursts, miss, every, refresh = case.dram.tolist()
    bus = np.array(
        [burst, latency, size.outstanding, size.fifo_bursts, row_bursts, miss, every, refresh],
        np.int64,
    )
    none = np.zeros(2 * count, np.int64)
    dispatch, start, end = (np.full(2 * count, -1, np.int64) for _ in range(3))
    run_clock(
        engine, none, cycles, targets, first, bursts, none,
        np.ascontiguousarray(np.argsort(engine, kind="stable")), ticks, 1, 2 * count, bus,
        dispatch, start, end, np.zeros(3, np.int64),
    )  # fmt: skip
    return int(end[-1] - start[0]) // ticks
