"""A bit for each block of the matrix that says whether it is there, then the blocks that are.

Payload::

    palette table   if flag 0 is set, see `azsim.codecs._fields`; indices have at least 1 bit
    32 bits         columns of the matrix
    8 bits          rows of a block less one
    8 bits          columns of a block less one
    mask            a bit for each block, block row after block row: 1 if it has a non-zero
    0 to 7 zero bits up to a whole byte
    fields          all codes of the blocks that are there, zeros too, row after row in a block
    0 to 7 zero bits up to a whole byte

Blocks at the right and lower edge store only the codes that the matrix has.

Source: block sparsity as in Narang et al., Block-Sparse Recurrent Neural Networks, 2017, and
the BSR format of sparse libraries, here with a mask in place of column indices; blocks of 1 x 16
are what a row of 16 MACs can skip.

Hardware, a lane: a mask bit a cycle, a window of 4 fields, a counter within the block and the
address of the block; no crossbar, because blocks are dense.

Cycles, an assumption: a block that is not there takes a cycle, another one a cycle for each 4
codes.  Lanes take blocks in equal shares, contiguous ones.
"""

from __future__ import annotations

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

ID = 6
FLAGS = PALETTE
PARAMETERS = ("block_cols", "block_rows", "palette")
WANTS_COLUMNS = True

_SETTINGS = 2
_MAX_SIDE = 256
_MIN_WIDTH = 1
_FIELDS_PER_CYCLE = 4

_OK, _FAULT, _EMPTY = 0, 1, 2


def encode(
    codes: np.ndarray,
    bits: int,
    *,
    columns: int,
    block_rows: int = 1,
    block_cols: int = 16,
    palette: bool = False,
) -> tuple[bytes, int]:
    """Encode (count,) int8 codes; see the package for the contract."""
    check_range("dense_block", "block_rows", block_rows, 1, _MAX_SIDE)
    check_range("dense_block", "block_cols", block_cols, 1, _MAX_SIDE)
    matrix = codes.reshape(-1, columns)
    present = np.zeros(_num_blocks(*matrix.shape, block_rows, block_cols), np.bool_)
    num_fields = int(_find(matrix, block_rows, block_cols, present))
    has_zero = num_fields > int(np.count_nonzero(codes))
    fields = choose_fields(
        codes, bits, num_fields, has_zero=has_zero, palette=palette, min_width=_MIN_WIDTH
    )
    words = empty_words(num_fields * fields.width)
    _write(matrix, block_rows, block_cols, present, fields.to_field, fields.width, words)
    settings = bytes([block_rows - 1, block_cols - 1])
    head = fields.head + write_columns(columns) + settings
    mask = np.packbits(present, bitorder="little").tobytes()
    return head + mask + words_to_bytes(words, num_fields * fields.width), fields.flags


def decode(payload: np.ndarray, count: int, bits: int, flags: int) -> np.ndarray:
    """Decode to (count,) int8; see the package for the contract."""
    fields, rest = read_fields("dense_block", payload, bits, flags, zero=True, min_width=_MIN_WIDTH)
    rows, columns, block_rows, block_cols, present, rest = _settings(rest, count)
    num_fields = int(_num_fields(present, rows, columns, block_rows, block_cols))
    _check_size(rest.size, present, num_fields, fields.width)
    if not tail_is_zero(rest, num_fields * fields.width):
        raise CodecError("dense_block: padding bits after the last block are not zero")
    matrix = np.zeros((rows, columns), np.int8)
    words = as_words(rest)
    status, where = _read(
        words, block_rows, block_cols, present, fields.width, fields.to_code, matrix
    )
    if status == _FAULT:
        raise fields.fault("dense_block", "stored code", where)
    if status == _EMPTY:
        raise CodecError(f"dense_block: block {where} is there but all zero")
    fields.check_use("dense_block", matrix, num_fields)
    return matrix.reshape(-1)


def lane_steps(payload: np.ndarray, count: int, bits: int, flags: int, lanes: int) -> LaneSteps:
    """Up to 4 codes of a block a step, from the mask; see the package for the contract."""
    fields, rest = read_fields("dense_block", payload, bits, flags, zero=True, min_width=_MIN_WIDTH)
    rows, columns, block_rows, block_cols, present, rest = _settings(rest, count)
    num_fields = int(_num_fields(present, rows, columns, block_rows, block_cols))
    _check_size(rest.size, present, num_fields, fields.width)
    sides = rows, columns, block_rows, block_cols
    first = np.zeros(lanes + 1, np.int64)
    steps = np.zeros((2, present.size + num_fields // _FIELDS_PER_CYCLE), np.int32)
    _fill_steps(present, *sides, fields.width, first, steps)
    return LaneSteps.of_block(payload, first, *steps[:, : first[-1]].copy())


def parameters_of(payload: np.ndarray, count: int, flags: int) -> dict[str, int | bool]:
    """Parameters of a block; see the package for the contract."""
    rest = payload[1 + num_entries(payload, flags) :] if flags & PALETTE else payload
    _, columns, block_rows, block_cols, _, _ = _settings(rest, count)
    return {
        "columns": columns,
        "block_rows": block_rows,
        "block_cols": block_cols,
        "palette": bool(flags & PALETTE),
    }


def hardware_cost(payload: np.ndarray, bits: int, flags: int, lanes: int) -> HardwareCost:
    """Window of 4 fields, counters of the code in the block and of the block."""
    entries = num_entries(payload, flags)
    walker = HardwareCost(register_bits=3 * 16, adders=2, comparators=2)
    window = input_window(_FIELDS_PER_CYCLE * bits)
    parts = [window, walker, palette_reader(entries, _FIELDS_PER_CYCLE)]
    return total(lanes, parts, table_bits=8 * entries)


def _num_blocks(rows: int, columns: int, block_rows: int, block_cols: int) -> int:
    return -(-rows // block_rows) * -(-columns // block_cols)


def _check_size(size: int, present: np.ndarray, num_fields: int, width: int) -> None:
    """Check how many bytes come after the mask."""
    needed = packed_bytes(num_fields, width)
    if size != needed:
        raise CodecError(
            f"dense_block: {size} bytes after the mask, its {int(present.sum())} blocks "
            f"take {needed}"
        )


def _settings(rest: np.ndarray, count: int) -> tuple[int, int, int, int, np.ndarray, np.ndarray]:
    """Rows, columns, rows and columns of a block, the mask as (blocks,) bool, and the rest."""
    rows, columns, sides, rest = read_shape("dense_block", rest, count, _SETTINGS)
    block_rows, block_cols = (side + 1 for side in sides)
    blocks = _num_blocks(rows, columns, block_rows, block_cols)
    size = packed_bytes(blocks, 1)
    if rest.size < size:
        raise CodecError(
            f"dense_block: {rest.size} bytes, the mask of {blocks} blocks takes {size}"
        )
    mask = rest[:size]
    if not tail_is_zero(mask, blocks):
        raise CodecError("dense_block: padding bits after the mask are not zero")
    present = np.unpackbits(mask, count=blocks, bitorder="little").astype(np.bool_)
    return rows, columns, block_rows, block_cols, present, rest[size:]


@kernel
def _block(index, rows, columns, block_rows, block_cols):
    """First row, row after the last, first column and column after the last of a block."""
    across = (columns + block_cols - 1) // block_cols
    top = index // across * block_rows
    left = index % across * block_cols
    return top, min(top + block_rows, rows), left, min(left + block_cols, columns)


@kernel
def _find(matrix, block_rows, block_cols, present):
    """Mark the blocks that have a non-zero; return the number of their codes."""
    rows, columns = matrix.shape
    fields = 0
    for index in range(present.shape[0]):
        top, bottom, left, right = _block(index, rows, columns, block_rows, block_cols)
        found = 0
        for row in range(top, bottom):
            for column in range(left, right):
                found |= matrix[row, column]
        if found:
            present[index] = True
            fields += (bottom - top) * (right - left)
    return fields


@kernel
def _num_fields(present, rows, columns, block_rows, block_cols):
    fields = 0
    for index in range(present.shape[0]):
        if present[index]:
            top, bottom, left, right = _block(index, rows, columns, block_rows, block_cols)
            fields += (bottom - top) * (right - left)
    return fields


@kernel
def _write(matrix, block_rows, block_cols, present, to_field, width, words):
    rows, columns = matrix.shape
    position = 0
    for index in range(present.shape[0]):
        if present[index]:
            top, bottom, left, right = _block(index, rows, columns, block_rows, block_cols)
            for row in range(top, bottom):
                for column in range(left, right):
                    field = to_field[np.uint8(matrix[row, column])]
                    position = put(words, position, width, field)


@kernel
def _read(words, block_rows, block_cols, present, width, to_code, matrix):
    rows, columns = matrix.shape
    mask = (np.uint64(1) << np.uint64(width)) - np.uint64(1)
    taken = 0
    for index in range(present.shape[0]):
        if not present[index]:
            continue
        top, bottom, left, right = _block(index, rows, columns, block_rows, block_cols)
        found = 0
        for row in range(top, bottom):
            for column in range(left, right):
                field = peek(words, taken * width) & mask
                code = to_code[field]
                if code == NO_CODE:
                    return _FAULT, taken
                matrix[row, column] = code
                found |= code
                taken += 1
        if not found:
            return _EMPTY, index
    return _OK, taken


@kernel
def _fill_steps(present, rows, columns, block_rows, block_cols, width, first, steps):
    """Steps of all lanes: bits in row 0, codes in row 1."""
    lanes = first.shape[0] - 1
    share = (present.shape[0] + lanes - 1) // lanes
    step = 0
    for lane in range(lanes):
        for index in range(lane * share, min((lane + 1) * share, present.shape[0])):
            top, bottom, left, right = _block(index, rows, columns, block_rows, block_cols)
            size = (bottom - top) * (right - left)
            steps[0, step] = 1
            if not present[index]:
                steps[1, step] = size
                step += 1
                continue
            for start in range(0, size, _FIELDS_PER_CYCLE):
                fields = min(_FIELDS_PER_CYCLE, size - start)
                steps[0, step] += fields * width
                steps[1, step] = fields
                step += 1
        first[lane + 1] = step
