"""Seeded random blocks for the lane_tans decoder: what software reads of them, RTL, both models."""

from __future__ import annotations

from dataclasses import dataclass
from unittest import mock

import numpy as np

from azsim.codecs import (
    HEADER_BYTES,
    _tans_choose,
    _tans_encode,
    block_lane_steps,
    encode_block,
    lane_tans,
)
from azsim.codecs._steps import decode_profile
from azsim.codecs._tans_cycles import Stepped, step_decoder
from azsim.codecs._tans_header import Header, context_arrays, decoder_entries, read_header
from azsim.codecs._tans_tokens import FLAG, GROUP, MASK, QUAD, VALUE, value_symbols
from rtl.harness import Design, bits_to_bytes

__all__ = ["Block", "Job", "exact", "fast", "open_block", "random_block", "rtl", "tans_design"]

BUS_WORDS = 4
# A word waits in the buffer and is handed over, a group is written after its last token.
_PIPELINE_CYCLES = 3
_LIMIT = 1 << 16
_CLASSES = 7
_END = 63  # no sum is as large
_MAX_COLUMNS = 4096


@dataclass(frozen=True)
class Block:
    """One encoded tile.

    Attributes
    ----------
    codes : ndarray of shape (rows, columns), int8
    data : bytes
        The whole block.
    bits : int
    stall : ndarray of shape (period,), uint8
        Cycles in which the bus brings nothing.
    """

    codes: np.ndarray
    data: bytes
    bits: int
    stall: np.ndarray


@dataclass(frozen=True)
class Job:
    """What software writes into the decoder before a block's words come, and what those are.

    Attributes
    ----------
    fields : ndarray of shape (12,), int64
        See ``tans_decoder.cpp``.
    ends : ndarray of shape (16,), uint8
    entries : ndarray of uint32
    rows : ndarray of shape (rows,), uint32
    columns : ndarray of shape (groups a row, 14), uint8
    setup : ndarray of shape (lanes of the decoder, 5), int64
    words : ndarray of uint32
    form : tuple of bool
        Flags, masks, values, whether signs belong to symbols, whether rows have dead zones.
    widths, groups : list of ndarray
        For the cycle-stepped model: bits of each token, and codes of the group that it ends.
    lane_bits : ndarray of shape (lanes of the block,), int64
    """

    fields: np.ndarray
    ends: np.ndarray
    entries: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    setup: np.ndarray
    words: np.ndarray
    form: tuple[bool, bool, bool, bool, bool]
    widths: list[np.ndarray]
    groups: list[np.ndarray]
    lane_bits: np.ndarray

    @property
    def log(self) -> int:
        return int(self.fields[0])


def tans_design(lanes: int, port_codes: int, **planted: int) -> Design:
    """RTL; `planted` changes parameters that a test should find."""
    parameters = {"LANES": lanes, "PORT_CODES": port_codes, "BUS_WORDS": BUS_WORDS}
    return Design("tans_decoder", {**parameters, **planted})


def random_block(seed: int, lanes: int, *, is_long: bool = False) -> Block:
    """Block number `seed`; the first ones are the edges."""
    rng = np.random.default_rng([seed, lanes, is_long])
    bits = int(rng.integers(2, 9))
    columns = int(rng.integers(1, 400))
    rows = int(rng.integers(1, 2 + 4000 // columns))
    if is_long:  # 64 rows or so for each lane
        columns = int(rng.integers(3, 24)) * GROUP
        rows = 1 + int(rng.integers(1600, 4800)) * lanes // columns
    codes = _draw(rng, rows, columns, bits)
    density = 1 - rng.choice([0, 0, 0.25, 0.5, 0.75, 0.9, 0.95])
    codes[rng.random(codes.shape) >= density] = 0
    if rng.random() < 0.25:  # blocks of zeros
        groups = rng.random((rows, -(-columns // GROUP))) < rng.choice([0.25, 0.5])
        codes *= np.repeat(groups, GROUP, axis=1)[:, :columns]
    stall = np.zeros(1, np.uint8)
    if not is_long:
        codes, stall = _edge(seed, rng, codes, bits, lanes)
    codes = codes.astype(np.int8)
    return Block(codes, _encoded(rng, codes, bits, lanes), bits, stall)


def _draw(rng: np.random.Generator, rows: int, columns: int, bits: int) -> np.ndarray:
    """Non-zero codes (rows, columns), int64."""
    limit = (1 << (bits - 1)) - 1
    kind = rng.choice(["laplace", "gauss", "uniform", "rows", "zones", "one-sided"])
    if kind == "uniform":
        sizes = rng.integers(1, limit + 1, (rows, columns))
        return sizes * rng.choice([-1, 1], sizes.shape)
    draw = rng.laplace if kind == "laplace" else rng.normal
    weights = draw(size=(rows, columns))
    if kind == "rows":
        weights *= np.exp(rng.normal(size=(rows, 1))) * np.exp(rng.normal(size=(1, columns)) / 2)
    if kind == "one-sided":
        weights = np.abs(weights)
    scale = limit / np.abs(weights).max()
    sizes = np.clip(np.rint(np.abs(weights) * scale), 1, limit).astype(np.int64)
    if kind == "zones":
        sizes = np.maximum(sizes, rng.integers(1, limit + 1, (rows, 1)) // 2 + 1)
    return np.where(weights < 0, -sizes, sizes)


def _edge(
    seed: int, rng: np.random.Generator, codes: np.ndarray, bits: int, lanes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Codes and stalls of a short case."""
    limit = (1 << (bits - 1)) - 1
    stall = np.zeros(1, np.uint8)
    if seed == 0:
        codes[:] = 0
    elif seed == 1:  # one symbol, no bits
        codes[:] = limit
    elif seed == 2:
        codes = codes[:1, :1]
    elif seed == 3:  # less groups than lanes
        codes = codes[:1, : GROUP * lanes - 5]
    elif seed == 4:  # memory stalls
        stall = (np.arange(60) < 50).astype(np.uint8)
    elif seed == 5:  # one lane has all the work, the others none
        codes = rng.integers(-limit, limit + 1, (40, GROUP * lanes))
        groups = np.arange(40 * lanes)
        mine = (groups + lanes - groups // lanes) % lanes == lanes - 1
        codes *= np.repeat(mine.reshape(40, lanes), GROUP, axis=1)
    elif seed == 6:  # a code here and there
        codes[:] = 0
        codes[rng.integers(0, codes.shape[0], 3), rng.integers(0, codes.shape[1], 3)] = 1
    elif seed == 7:  # a column
        codes = codes.reshape(-1, 1)
    elif seed == 8:  # most bits a token
        codes = rng.integers(-limit, limit + 1, (64, 48))
    elif seed == 9:  # most codes a token: the port is full
        codes = np.zeros((128, 256), np.int64)
        codes[::16, 0] = 1
    elif seed % 4 == 0:
        stall = (rng.random(int(rng.integers(2, 50))) < rng.choice([0.2, 0.5, 0.8])).astype("u1")
        stall[0] = 0
    return codes, stall


def _encoded(rng: np.random.Generator, codes: np.ndarray, bits: int, lanes: int) -> bytes:
    """The block, in a third of cases in the best form, else in any, and often on all lanes."""
    columns = codes.shape[1]
    lanes = min(lanes, codes.shape[0] * -(-columns // GROUP))
    if not codes.any() or rng.random() < 0.33:
        return encode_block("lane_tans", codes, bits, columns=columns, lanes=lanes)
    forms, zones = _tans_choose.rank_forms(codes.reshape(-1), bits, columns)
    form = forms[int(rng.integers(len(forms)))]
    least = int(rng.choice([1, 1, 100, 1024]))
    with (
        mock.patch.object(_tans_encode, "best_form", return_value=(form, zones)),
        mock.patch.object(_tans_encode, "_BITS_PER_LANE", least),
        mock.patch.object(_tans_encode, "_NOISE_BITS_PER_LANE", least),
    ):
        return encode_block("lane_tans", codes, bits, columns=columns, lanes=lanes)


def open_block(block: Block, lanes: int) -> Job:
    """What software reads of a block, for a decoder of so many lanes."""
    payload = np.frombuffer(block.data, np.uint8)[HEADER_BYTES:]
    rows, columns = block.codes.shape
    per_row = -(-columns // GROUP)
    if payload.size == 0:
        return _zero_job(block, lanes)
    arguments = payload, block.codes.size, block.bits, block.data[3] >> 4
    header = read_header(*arguments)
    side = header.side
    kinds = side.form.kinds(block.bits)
    used = header.lane_bits.size
    row_codes, column_codes, _ = context_arrays(side, rows)
    row_fields = row_codes[0].astype(np.uint32) | row_codes[1].astype(np.uint32) << 5
    row_fields |= row_codes[2].astype(np.uint32) << 10 | side.skip.astype(np.uint32) << 15
    form = (FLAG in kinds, MASK in kinds, VALUE in kinds)
    setup = _setup(lanes, used, rows, per_row)
    setup[:used, 0] = header.lane_bits >> 5
    setup[:used, 1] = header.lane_bits & 31
    setup[:used, 2] = header.preload
    ends, first_tables = _classes(header)
    return Job(
        _fields(side.log, used, rows, columns, form, first_tables),
        ends,
        _entries(block.bits, header),
        row_fields,
        _column_fields(column_codes, per_row),
        setup,
        payload[header.num_bytes :].view("<u4").astype(np.uint32),
        (*form, side.form.signed, side.form.has_skip),
        lane_tans.token_widths(*arguments),
        _group_ends(block.codes, used, form),
        header.lane_bits,
    )


def _zero_job(block: Block, lanes: int) -> Job:
    """Zeros have no payload: flags, and one state, which says 0 and has no bits.

    Rows are as long as they may be, which is all the same to zeros.
    """
    count = block.codes.size
    columns = max(d for d in range(1, _MAX_COLUMNS + 1) if count % d == 0)
    rows, per_row = count // columns, -(-columns // GROUP)
    form = (True, False, True)
    groups = _group_ends(block.codes.reshape(rows, columns), lanes, form)
    return Job(
        _fields(0, lanes, rows, columns, form, 0),
        np.full(16, 255, np.uint8),
        np.zeros(1, np.uint32),
        np.zeros(rows, np.uint32),
        np.zeros((per_row, 14), np.uint8),
        _setup(lanes, lanes, rows, per_row),
        np.zeros(0, np.uint32),
        (*form, False, False),
        [np.zeros_like(each) for each in groups],
        groups,
        np.zeros(lanes, np.int64),
    )


def _fields(
    log: int, used: int, rows: int, columns: int, form: tuple[bool, bool, bool], first_tables: int
) -> np.ndarray:
    per_row = -(-columns // GROUP)
    tail = columns - (per_row - 1) * GROUP
    steps = divmod(used + 1, per_row)
    return np.array(
        [log, used, rows, columns, per_row, tail, *steps, *form, first_tables], np.int64
    )


def _setup(lanes: int, used: int, rows: int, per_row: int) -> np.ndarray:
    """Lanes without a word, at their first groups; those that a block has not, behind the rows."""
    setup = np.zeros((lanes, 5), np.int64)
    setup[:, 3], setup[:, 4] = np.divmod(np.arange(lanes), per_row)
    setup[used:, 3:] = rows, 0
    return setup


def _classes(header: Header) -> tuple[np.ndarray, int]:
    """Sums at which classes end, (16,) uint8 of 6-bit fields, and the kinds' first tables."""
    ends = np.full((3, _CLASSES), _END, np.int64)
    first, first_tables = 0, 0
    for kind in header.side.kinds:
        ends[kind.kind, : kind.ends.size - 1] = kind.ends[:-1]
        first_tables |= first << 4 * kind.kind
        first += kind.ends.size
    return bits_to_bytes(ends.reshape(-1), 6), first_tables


def _entries(bits: int, header: Header) -> np.ndarray:
    """Entries as ``tans_tables.v`` has them, all tables one after another, uint32."""
    symbols = value_symbols(bits, header.side.form)
    assert symbols is not None
    entries = decoder_entries(header.side, symbols)
    of_kind = np.concatenate([[kind.kind] * kind.ends.size for kind in header.side.kinds])
    raw_bits = entries >> 14 & 15
    least = np.where(of_kind[:, None] == VALUE, entries >> 20 & 255, entries >> 28 & 63)
    assert raw_bits.max() < 8
    assert least.max() < 128
    sign = entries >> 18 & 3
    packed = entries & 0x3FFF | raw_bits << 14 | sign << 17 | least << 19
    return packed.reshape(-1).astype(np.uint32)


def _column_fields(codes: np.ndarray, per_row: int) -> np.ndarray:
    """Codes of each group's flag, masks and values, 5 bits each, (groups, 14) uint8."""
    columns = codes.shape[1]
    fields = np.zeros((per_row, 1 + GROUP // QUAD + GROUP), np.int64)
    fields[:, 0] = codes[FLAG, :per_row]
    masks, values = np.zeros(per_row * GROUP // QUAD), np.zeros(per_row * GROUP)
    quads = -(-columns // QUAD)
    masks[:quads], values[:columns] = codes[MASK, :quads], codes[VALUE]
    fields[:, 1 : 1 + GROUP // QUAD] = masks.reshape(per_row, -1)
    fields[:, 1 + GROUP // QUAD :] = values.reshape(per_row, -1)
    return bits_to_bytes(fields, 5)


def _group_ends(codes: np.ndarray, lanes: int, form: tuple[bool, bool, bool]) -> list[np.ndarray]:
    """For each lane's tokens the codes of the group that they end, from the codes alone."""
    has_flags, has_masks, has_values = form
    columns = codes.shape[1]
    starts = np.arange(0, columns, GROUP)
    some = np.add.reduceat(codes != 0, starts, axis=1).astype(np.int64)
    size = np.minimum(GROUP, columns - starts)
    tokens = np.broadcast_to(size, some.shape)
    if has_masks:
        tokens = -(-size // QUAD) + (some if has_values else 0)
    tokens = np.broadcast_to(tokens, some.shape)
    if has_flags:
        tokens = 1 + np.where(some > 0, tokens, 0)
    tokens, size = tokens.reshape(-1), np.broadcast_to(size, some.shape).reshape(-1)
    turn = np.arange(-(-tokens.size // lanes))
    found = []
    for lane in range(lanes):
        mine = turn * lanes + (lane + turn) % lanes
        mine = mine[mine < tokens.size]
        ends = np.zeros(int(tokens[mine].sum()), np.uint8)
        ends[np.cumsum(tokens[mine]) - 1] = size[mine]
        found.append(ends)
    return found


def rtl(design: Design, block: Block, job: Job) -> tuple[int, np.ndarray]:
    """Cycles, and codes (rows, columns) int8."""
    codes = np.full(block.codes.shape, 99, np.int8)
    cycles = design(
        job.fields, job.ends, job.entries.size, job.entries, job.rows, job.columns, job.setup,
        job.words.size, job.words, block.stall.size, block.stall, _LIMIT, codes,
    )  # fmt: skip
    return cycles, codes


def exact(block: Block, job: Job, port_codes: int, **planted: int) -> Stepped:
    """The cycle-stepped model; `planted` changes sizes that a test should find."""
    return step_decoder(
        job.widths, job.lane_bits, job.log, 32 * BUS_WORDS, groups=job.groups,
        port_codes=port_codes, stall=block.stall, **planted,
    )  # fmt: skip


def fast(block: Block, lanes: int, port_codes: int) -> int:
    """Cycles as the timing engine takes them, from the first word on, plus the pipeline's."""
    steps = block_lane_steps(block.data, lanes)._replace(head_bits=0)
    profile = decode_profile(steps, 32 * BUS_WORDS, port_codes, 8 * len(block.data))
    return int(profile[-1]) + _PIPELINE_CYCLES
