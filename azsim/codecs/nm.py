"""N:M structured sparsity: each group of m codes of a row as n values and where they stand.

Payload::

    palette table   if flag 0 is set, see `azsim.codecs._fields`; indices have at least 1 bit
    32 bits         columns of the matrix
    4 bits          n less one
    4 bits          base-2 logarithm of m: 2, 3 or 4
    groups, row after row, each:
      positions       number of the set of n positions among all such sets, in
                      ceil(log2(binomial(m, n))) bits: 3 bits for 2:4, 7 for 4:8, 14 for 8:16
      n fields        the codes at these positions, ascending
    0 to 7 zero bits up to a whole byte

A set of positions is a number of m bits; sets are numbered in the order of these numbers (the
combinatorial number system).  A group with fewer than n non-zeros stores its first zeros too;
the last group of a row is filled up with zeros to m codes.  Without `n` and `m` the encoder
takes m from 4, 8 and 16, each with the least n that holds, for the fewest bits.

Source: Mishra et al., Accelerating Sparse Deep Neural Networks, 2021 (2:4, with 2 bits a
position); the numbering of sets saves a bit of four.

Hardware, a lane: a table of binomial(m, n) masks of m bits for m up to 8, else m steps of a
compare and a subtract against binomials; a window of up to 4 fields, and a crossbar from 4
fields to m positions.

Cycles, an assumption: a group takes a cycle for each 4 values, whatever they are, and gives its
codes with the last; lanes take groups in equal shares.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from azsim.codecs._base import HardwareCost
from azsim.codecs._bits import packed_bytes, tail_is_zero
from azsim.codecs._cost import input_window, palette_reader, total
from azsim.codecs._fields import NO_CODE, PALETTE, choose_fields, num_entries, read_fields
from azsim.codecs._shape import check_range, read_shape, write_columns
from azsim.codecs._steps import LaneSteps
from azsim.codecs._words import as_words, empty_words, peek, put, words_to_bytes
from azsim.errors import CodecError
from azsim.jit import kernel

ID = 5
FLAGS = PALETTE
PARAMETERS = ("m", "n", "palette")
WANTS_COLUMNS = True

_GROUPS = (4, 8, 16)
_SETTINGS = 1
_MIN_WIDTH = 1
_FIELDS_PER_CYCLE = 4
_LARGEST_TABLE = 8

_OK, _SET, _FAULT, _OUTSIDE, _ORDER = 0, 1, 2, 3, 4


def encode(
    codes: np.ndarray,
    bits: int,
    *,
    columns: int,
    n: int | None = None,
    m: int | None = None,
    palette: bool = False,
) -> tuple[bytes, int]:
    """Encode (count,) int8 codes; see the package for the contract."""
    matrix = codes.reshape(-1, columns)
    n, m = _choose(matrix, bits, n, m)
    num_groups = matrix.shape[0] * -(-columns // m)
    num_fields = num_groups * n
    has_zero = num_fields > int(np.count_nonzero(codes))
    fields = choose_fields(
        codes, bits, num_fields, has_zero=has_zero, palette=palette, min_width=_MIN_WIDTH
    )
    masks, number = _sets(n, m)
    set_bits = (masks.size - 1).bit_length()
    num_bits = num_groups * set_bits + num_fields * fields.width
    words = empty_words(num_bits)
    _write(matrix, n, m, number, set_bits, fields.to_field, fields.width, words)
    settings = bytes([n - 1 | (m.bit_length() - 1) << 4])
    head = fields.head + write_columns(columns) + settings
    return head + words_to_bytes(words, num_bits), fields.flags


def decode(payload: np.ndarray, count: int, bits: int, flags: int) -> np.ndarray:
    """Decode to (count,) int8; see the package for the contract."""
    fields, rest = read_fields("nm", payload, bits, flags, zero=True, min_width=_MIN_WIDTH)
    rows, columns, n, m, rest = _settings(rest, count)
    masks, _ = _sets(n, m)
    set_bits = (masks.size - 1).bit_length()
    num_groups = rows * -(-columns // m)
    num_bits = num_groups * (set_bits + n * fields.width)
    _check_size(rest.size, num_groups, n, m, num_bits)
    if not tail_is_zero(rest, num_bits):
        raise CodecError("nm: padding bits after the last group are not zero")
    matrix = np.zeros((rows, columns), np.int8)
    status, group = _read(
        as_words(rest), n, m, masks, set_bits, fields.width, fields.to_code, matrix
    )
    if status == _SET:
        raise CodecError(f"nm: group {group} has a set beyond the {masks.size} of {n}:{m}")
    if status == _FAULT:
        raise fields.fault("nm", "a code of group", group)
    if status == _OUTSIDE:
        raise CodecError(f"nm: group {group} has a non-zero beyond the end of its row")
    if status == _ORDER:
        raise CodecError(f"nm: group {group} stores a zero that is not the first")
    fields.check_use("nm", matrix, num_groups * n)
    return matrix.reshape(-1)


def lane_steps(payload: np.ndarray, count: int, bits: int, flags: int, lanes: int) -> LaneSteps:
    """Up to 4 values of a group a step; see the package for the contract."""
    fields, rest = read_fields("nm", payload, bits, flags, zero=True, min_width=_MIN_WIDTH)
    rows, columns, n, m, rest = _settings(rest, count)
    set_bits = (math.comb(m, n) - 1).bit_length()
    across = -(-columns // m)
    groups = rows * across
    _check_size(rest.size, groups, n, m, groups * (set_bits + n * fields.width))
    values = np.minimum(_FIELDS_PER_CYCLE, np.arange(n, 0, -_FIELDS_PER_CYCLE))
    of_bits, of_codes = values * fields.width, np.zeros_like(values)
    of_bits[0] += set_bits
    of_codes[-1] = m
    codes = np.tile(of_codes.astype(np.int32), groups)
    codes[across * values.size - 1 :: across * values.size] -= across * m - columns
    share = -(-groups // lanes)
    first = np.minimum(share * np.arange(lanes + 1), groups) * values.size
    return LaneSteps.of_block(payload, first, np.tile(of_bits.astype(np.int32), groups), codes)


def parameters_of(payload: np.ndarray, count: int, flags: int) -> dict[str, int | bool]:
    """Parameters of a block; see the package for the contract."""
    rest = payload[1 + num_entries(payload, flags) :] if flags & PALETTE else payload
    _, columns, n, m, _ = _settings(rest, count)
    return {"columns": columns, "n": n, "m": m, "palette": bool(flags & PALETTE)}


def hardware_cost(payload: np.ndarray, bits: int, flags: int, lanes: int) -> HardwareCost:
    """Sets by table or by comparison, window of 4 fields, crossbar of 4 inputs to m outputs."""
    entries = num_entries(payload, flags)
    at = (1 + entries if entries else 0) + 4
    setting = int(payload[at]) if payload.size > at else 0x21
    n, m = (setting & 15) + 1, 1 << (setting >> 4)
    sets = math.comb(m, n)
    if m <= _LARGEST_TABLE:
        find = HardwareCost(multiplexers=m * (sets - 1))
    else:
        find = HardwareCost(register_bits=sets.bit_length() * m, adders=m, comparators=m)
    crossbar = HardwareCost(register_bits=m, multiplexers=m * bits * _FIELDS_PER_CYCLE)
    window = input_window(_FIELDS_PER_CYCLE * bits)
    parts = [window, find, crossbar, palette_reader(entries, _FIELDS_PER_CYCLE)]
    table_bits = 8 * entries + (m * sets if m <= _LARGEST_TABLE else 0)
    return total(lanes, parts, table_bits=table_bits)


def _choose(matrix: np.ndarray, bits: int, n: int | None, m: int | None) -> tuple[int, int]:
    if m is not None and m not in _GROUPS:
        allowed = ", ".join(map(str, _GROUPS))
        raise CodecError(f"codec nm: m {m}, allowed: {allowed}")
    sizes = [size for size in (_GROUPS if m is None else (m,)) if n is None or n <= size]
    if n is not None:
        check_range("nm", "n", n, 1, m or _GROUPS[-1])
    best: tuple[float, int, int] | None = None
    fault = ""
    for size in sizes:
        most, group = _fullest(matrix, size)
        needed = max(1, int(most))
        if n is not None and needed > n:
            fault = f"codec nm: group {group} has {most} non-zeros, allowed: {n} of {size}"
            continue
        values = n or needed
        groups = matrix.shape[0] * -(-matrix.shape[1] // size)
        set_bits = (math.comb(size, values) - 1).bit_length()
        found = (groups * (set_bits + values * bits), size, values)
        best = found if best is None else min(best, found)
    if best is None:
        raise CodecError(fault)
    return best[2], best[1]


def _check_size(size: int, num_groups: int, n: int, m: int, num_bits: int) -> None:
    """Check how many bytes the groups take."""
    needed = packed_bytes(num_bits, 1)
    if size != needed:
        raise CodecError(
            f"nm: {size} bytes of groups, {num_groups} groups of {n}:{m} take {needed}"
        )


def _settings(rest: np.ndarray, count: int) -> tuple[int, int, int, int, np.ndarray]:
    """Rows, columns, n, m and the groups of a payload after its palette."""
    rows, columns, (setting,), rest = read_shape("nm", rest, count, _SETTINGS)
    n, m = (setting & 15) + 1, 1 << (setting >> 4)
    if m not in _GROUPS or n > m:
        raise CodecError(f"nm: {n}:{m}, allowed: up to 4:4, 8:8 or 16:16")
    return rows, columns, n, m, rest


@functools.cache
def _sets(n: int, m: int) -> tuple[np.ndarray, np.ndarray]:
    """All sets of n of m positions, ascending, int64; and the number of each, (2**m,) int64."""
    every = np.arange(1 << m)
    ones = np.zeros(1 << m, np.int64)
    for i in range(m):
        ones += every >> i & 1
    masks = np.flatnonzero(ones == n).astype(np.int64)
    number = np.zeros(1 << m, np.int64)
    number[masks] = np.arange(masks.size)
    return masks, number


@kernel
def _fullest(matrix, m):
    """Largest number of non-zeros in a group, and the first group that has it."""
    most = where = group = 0
    for row in range(matrix.shape[0]):
        for start in range(0, matrix.shape[1], m):
            ones = 0
            for column in range(start, min(start + m, matrix.shape[1])):
                ones += matrix[row, column] != 0
            if ones > most:
                most, where = ones, group
            group += 1
    return most, where


@kernel
def _write(matrix, n, m, number, set_bits, to_field, width, words):
    columns = matrix.shape[1]
    position = 0
    for row in range(matrix.shape[0]):
        for start in range(0, columns, m):
            inside = min(m, columns - start)
            mask = 0
            spare = n
            for i in range(inside):
                if matrix[row, start + i] != 0:
                    mask |= 1 << i
                    spare -= 1
            i = 0
            while spare > 0:
                if not (mask >> i) & 1:
                    mask |= 1 << i
                    spare -= 1
                i += 1
            position = put(words, position, set_bits, number[mask])
            for i in range(m):
                if (mask >> i) & 1:
                    code = matrix[row, start + i] if i < inside else np.int8(0)
                    position = put(words, position, width, to_field[np.uint8(code)])


@kernel
def _read(words, n, m, masks, set_bits, width, to_code, matrix):
    columns = matrix.shape[1]
    set_mask = (np.uint64(1) << np.uint64(set_bits)) - np.uint64(1)
    field_mask = (np.uint64(1) << np.uint64(width)) - np.uint64(1)
    position = group = 0
    for row in range(matrix.shape[0]):
        for start in range(0, columns, m):
            inside = min(m, columns - start)
            index = np.int64(peek(words, position) & set_mask)
            if index >= masks.shape[0]:
                return _SET, group
            mask = masks[index]
            position += set_bits
            skipped = False
            for i in range(m):
                if not (mask >> i) & 1:
                    skipped = True
                    continue
                field = peek(words, position) & field_mask
                code = to_code[field]
                position += width
                if code == NO_CODE:
                    return _FAULT, group
                if code == 0 and skipped:
                    return _ORDER, group
                if i < inside:
                    matrix[row, start + i] = code
                elif code != 0:
                    return _OUTSIDE, group
            group += 1
    return _OK, group
