"""Seeded random blocks for the decoder: real block bytes, split into the lanes' streams."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from azsim.codecs import block_lane_steps, encode_block
from azsim.codecs._base import HEADER_BYTES
from azsim.machine.engines.exact_decoder import (
    BITMAP_OFFSET,
    ZERO_RUN_OFFSET,
    decoder_cycles,
    new_lanes,
)
from rtl.harness import Design

__all__ = ["Block", "Streams", "decoder_design", "exact", "fast", "random_block", "rtl", "split"]

_LIMIT = 1 << 16
_GROUP = 16


@dataclass(frozen=True)
class Block:
    """One encoded tile.

    Attributes
    ----------
    codes : ndarray of shape (count,), int8
    data : bytes
        The whole block.
    codec : str
    bits : int
    stall : ndarray of shape (period,), uint64
        Lanes that get no word in a cycle.
    """

    codes: np.ndarray
    data: bytes
    codec: str
    bits: int
    stall: np.ndarray


@dataclass(frozen=True)
class Streams:
    """What each lane gets.

    Attributes
    ----------
    table : ndarray of uint8
        Palette; empty without one.
    width : int
        Bits of a field.
    segment : int
        Codes of a lane.
    words : list of ndarray of uint64
        Each lane's stream.
    events : list of ndarray of int64
        Ones of each lane's groups, or runs of its entries.
    num_codes : ndarray of shape (lanes,), int64
    """

    table: np.ndarray
    width: int
    segment: int
    words: list[np.ndarray]
    events: list[np.ndarray]
    num_codes: np.ndarray

    def padded_words(self) -> np.ndarray:
        """Words as (lanes, longest) uint64."""
        longest = max(1, *(len(lane) for lane in self.words))
        out = np.zeros((len(self.words), longest), np.uint64)
        for row, lane in zip(out, self.words, strict=True):
            row[: len(lane)] = lane
        return out

    def num_words(self) -> np.ndarray:
        return np.array([len(lane) for lane in self.words], np.int64)


def decoder_design(codec: str, lanes: int, port_codes: int) -> Design:
    parameters = {"LANES": lanes, "PORT_CODES": port_codes}
    return Design("decoder", {**parameters, "IS_ZERO_RUN": int(codec == "zero_run")})


def random_block(seed: int, codec: str, lanes: int, *, is_long: bool = False) -> Block:
    """Block number `seed`; the first ones are the edges."""
    rng = np.random.default_rng([seed, lanes, len(codec)])
    bits = int(rng.integers(2, 9))
    limit = (1 << (bits - 1)) - 1
    count = int(rng.integers(1, 1500))
    if is_long:
        count = int(rng.integers(400, 900)) * _GROUP * lanes // (8 if codec == "zero_run" else 1)
    values = rng.integers(1, limit + 1, count) * rng.choice([-1, 1], count)
    if rng.random() < 0.5:
        few = rng.integers(-limit, limit + 1, int(rng.integers(1, 17)))
        values = rng.choice(few[few != 0] if few.any() else [1], count)
    codes = np.where(rng.random(count) < rng.choice([0.02, 0.1, 0.25, 0.5, 0.9, 1.0]), values, 0)
    stall = np.zeros(1, np.uint64)
    if seed == 0:  # all zero
        codes[:] = 0
    elif seed == 1:  # no zero
        codes[:] = limit
    elif seed == 2:  # one lane has all the work
        codes[:] = 0
        codes[: -(-count // lanes)] = -limit
    elif seed == 3:  # one lane is starved
        stall = np.array([2, 2, 2, 2, 2, 2, 0], np.uint64) >> np.uint64(lanes == 1)
    elif seed == 4:  # less codes than lanes
        codes = codes[: max(1, lanes - 1)]
    elif seed == 5:  # long runs: padding entries
        codes[:] = 0
        codes[rng.integers(0, count, 3)] = 1
    elif seed == 6:  # memory stalls all lanes
        stall = np.where(np.arange(40) < 30, np.uint64(2**64 - 1), np.uint64(0))
    elif seed % 4 == 0 and not is_long:
        stall = rng.integers(0, 2**63, int(rng.integers(1, 20)), dtype=np.uint64)
        stall[0] = 0
    codes = codes.astype(np.int8)
    data = encode_block(codec, codes, bits, palette=bool(rng.integers(2)))
    return Block(codes, data, codec, bits, stall)


def _bit_array(data: np.ndarray) -> np.ndarray:
    return np.unpackbits(data, bitorder="little")


def _to_words(bits: list[np.ndarray]) -> np.ndarray:
    flat = np.concatenate(bits) if bits else np.zeros(0, np.uint8)
    padded = np.zeros(-(-flat.size // 64) * 64, np.uint8)
    padded[: flat.size] = flat
    return np.packbits(padded, bitorder="little").view("<u8").astype(np.uint64)


def split(block: Block, lanes: int, *, drop_padding: bool = False) -> Streams:
    """Split a block's bits into the lanes' streams, as its codec's docstring lays them out.

    `drop_padding` plants an error: the first padding entry is left out.
    """
    payload = np.frombuffer(block.data, np.uint8)[HEADER_BYTES:]
    table = np.zeros(0, np.uint8)
    width = block.bits
    if block.data[3] >> 4 & 1:
        entries = int(payload[0]) + 1
        table, payload = payload[1 : 1 + entries].copy(), payload[1 + entries :]
        width = (entries - 1).bit_length()
    count = block.codes.size
    segment = max(1, -(-count // lanes))
    num_codes = np.clip(count - segment * np.arange(lanes), 0, segment).astype(np.int64)
    cut = _split_zero_run if block.codec == "zero_run" else _split_bitmap
    words, events = cut(_bit_array(payload), count, segment, lanes, width, drop_padding)
    return Streams(table, width, segment, words, events, num_codes)


def _split_bitmap(
    bits: np.ndarray, count: int, segment: int, lanes: int, width: int, drop_padding: bool
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    assert not drop_padding, "a bitmap has no padding entries"
    mask = bits[:count]
    fields = bits[-(-count // 8) * 8 :]
    taken, words, events = 0, [], []
    for lane in range(lanes):
        mine = mask[lane * segment : (lane + 1) * segment]
        stream, ones = [], []
        for at in range(0, mine.size, _GROUP):
            group = np.zeros(_GROUP, np.uint8)
            group[: mine[at : at + _GROUP].size] = mine[at : at + _GROUP]
            ones.append(int(group.sum()))
            stream += [group, fields[taken * width : (taken + ones[-1]) * width]]
            taken += ones[-1]
        words.append(_to_words(stream))
        events.append(np.array(ones, np.int64))
    return words, events


def _split_zero_run(
    bits: np.ndarray, count: int, segment: int, lanes: int, width: int, drop_padding: bool
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    streams: list[list[np.ndarray]] = [[] for _ in range(lanes)]
    runs: list[list[int]] = [[] for _ in range(lanes)]
    at = entry = 0
    while at < count:
        begin = entry * (4 + width)
        run = int(bits[begin : begin + 4] @ (1 << np.arange(4)))
        field = bits[begin + 4 : begin + 4 + width]
        entry += 1
        end = at + run
        if drop_padding and run == 15 and not field.any() and end + 1 < count:
            drop_padding = False
            at = end + 1
            continue
        # Each lane whose part it reaches into gets the entry, with what is left of its run.
        while at <= end:
            lane = at // segment
            stop = min(end, (lane + 1) * segment - 1)
            rest = end - at
            streams[lane] += [np.array([rest >> i & 1 for i in range(4)], np.uint8), field]
            runs[lane].append(stop - at)
            at = stop + 1
    return [_to_words(s) for s in streams], [np.array(r, np.int64) for r in runs]


def rtl(design: Design, block: Block, streams: Streams) -> tuple[int, np.ndarray]:
    """Cycles, and codes (count,) int8."""
    codes = np.full(block.codes.size, 99, np.int8)
    words = streams.padded_words()
    cycles = design(
        codes.size, streams.segment, streams.width, streams.table.size, streams.table,
        streams.num_words(), words.shape[1], words, block.stall.size, block.stall, _LIMIT, codes,
    )  # fmt: skip
    return cycles, codes


def exact(block: Block, streams: Streams, port_codes: int) -> int:
    """Cycles of the cycle-stepped model."""
    first = np.cumsum([0, *(e.size for e in streams.events)])
    return decoder_cycles(
        new_lanes(first, streams.num_codes), np.concatenate(streams.events), streams.num_words(),
        streams.width, block.codec == "zero_run", port_codes, block.stall,
    )  # fmt: skip


def fast(block: Block, lanes: int, port_codes: int) -> int:
    """Cycles as the timing engine takes them, plus the pipeline's and one for the port's fill."""
    offset = 1 + (ZERO_RUN_OFFSET if block.codec == "zero_run" else BITMAP_OFFSET)
    port = -(-block.codes.size // port_codes)
    return max(block_lane_steps(block.data, lanes).most_steps, port) + offset
