"""What every weight codec shares: the block header, its checks, and the table of codecs.

A *block* is one tile of weights that decodes alone::

    byte 0       magic 0xA5
    byte 1       format version (1)
    byte 2       codec id
    byte 3       bits per code (2 to 8) in the low nibble, codec flags in the high one
    bytes 4-7    number of codes, little endian, at most 2**28
    bytes 8-11   payload length in bytes, little endian
    bytes 12-15  CRC-32 of header bytes 0-11 and the payload, little endian
    bytes 16-    payload, as the codec's docstring says

The checksum is a transport check; a decoder does not trust it and answers a malformed payload
with `CodecError` by itself.  A stream is canonical: a block that is accepted is the one that the
encoder makes from its codes (for some parameters), so no bit of it is without meaning.  Where an
encoder searches among many forms, its module says ``CANONICAL = False`` and any well-formed
stream is accepted.

A code is signed and lies in ``[-(2**(bits-1)-1), 2**(bits-1)-1]``; where it is stored, it is
two's complement in `bits` bits.  Bits fill a byte from the least significant one.

A codec is one module of this package that defines

``ID``
    int, unique.
``FLAGS``
    int, the flag bits (0 to 15) that its blocks may have set.
``PARAMETERS``
    tuple of str, names of the parameters that its `encode` takes.
``encode(codes, bits, **parameters) -> (payload, flags)``
    Payload bytes and flags of a 1-D int8 array whose codes are in range.
``decode(payload, count, bits, flags) -> ndarray of shape (count,), int8``
    Inverse, from the payload alone; `CodecError` on every malformed one.
``lane_steps(payload, count, bits, flags, lanes) -> LaneSteps``
    What `lanes` lanes do for this very payload, see `azsim.codecs._steps`; every bit of the block
    is one of a step or of the head.  Lane i decodes codes ``[i * n, (i + 1) * n)`` with
    ``n = ceil(count / lanes)`` unless the codec says otherwise; that each lane finds its part of
    the stream is assumed, not paid for.
``hardware_cost(payload, bits, flags, lanes) -> HardwareCost``
    Rough size of a decoder of `lanes` lanes for such blocks; the docstring has the formula.

and may define

``WANTS_COLUMNS = True``
    `encode` also takes ``columns=``, the width of the matrix whose rows are the codes in order.
``CANONICAL = False``
    See above.
``parameters_of(payload, count, flags) -> dict``
    Parameters, and `columns`, that make the encoder repeat a block that decodes.
``MOST_LANES``
    Goes with a parameter `lanes`: the largest that it may be.  The compiler gives such a codec the
    lanes of the decoder, unless the scheme says how many.
``column_entries(payload, count, bits, flags) -> ndarray of shape (lanes, columns)``
    Entries that lane i holds of each column, its rows being i, i + lanes and so on.  Where it is
    defined, an array of that many lanes can read a block as it is, an entry a cycle and lane, and
    the codec takes ``lanes=`` (a block has no more lanes than rows).
``column_bits(payload, count, bits, flags) -> (int, ndarray of shape (columns,))``
    Goes with it: bits of the payload that are there once, and bits of each column.  A block of
    some neighbouring columns alone has at most the former and the sum of theirs.
"""

from __future__ import annotations

import functools
import struct
import zlib
from dataclasses import dataclass
from types import ModuleType
from typing import NamedTuple

import numpy as np

from azsim.codecs._steps import LaneSteps, decode_profile
from azsim.errors import CodecError
from azsim.folder import folder_names, load_folder

__all__ = [
    "HEADER_BYTES",
    "MAX_COUNT",
    "HardwareCost",
    "block_bytes",
    "block_codec",
    "block_column_bits",
    "block_column_entries",
    "block_decode_cycles",
    "block_hardware_cost",
    "block_lane_steps",
    "block_num_codes",
    "block_parameters",
    "codec_is_canonical",
    "codec_is_read_by_column",
    "codec_most_lanes",
    "codec_names",
    "codec_parameters",
    "decode_block",
    "encode_block",
]

HEADER_BYTES = 16
MAX_COUNT = 1 << 28
_MAGIC = 0xA5
_VERSION = 1
_MIN_BITS, _MAX_BITS = 2, 8
_FIELDS = struct.Struct("<BBBBII")
_CHECKSUM = struct.Struct("<I")
_REQUIRED = ("ID", "FLAGS", "PARAMETERS", "encode", "decode", "lane_steps", "hardware_cost")
_PACKAGE = "azsim.codecs"


@dataclass(frozen=True)
class HardwareCost:
    """Size of a decoder in the rough, for comparisons between codecs; all lanes together.

    Attributes
    ----------
    table_bits : int
        Bits of memory that hold tables: palettes, code tables.
    register_bits : int
        Bits of flip-flops: input windows, counters, states.
    multiplexers : int
        2:1 multiplexers of one bit: shifters and crossbars, a stage for each power of two.
    adders : int
        Adders of up to 16 bits, counters among them.
    comparators : int
        Comparators of up to 16 bits.
    """

    table_bits: int = 0
    register_bits: int = 0
    multiplexers: int = 0
    adders: int = 0
    comparators: int = 0


class _Block(NamedTuple):
    codec: ModuleType
    payload: np.ndarray
    num_codes: int
    bits: int
    flags: int


def codec_names() -> tuple[str, ...]:
    """Names of all codecs, sorted; imports none of them."""
    return folder_names(_PACKAGE)


def codec_parameters(name: str) -> tuple[str, ...]:
    """Names of the parameters that a codec takes.

    Raises
    ------
    CodecError
        If there is no such codec.
    """
    return _codec(name).PARAMETERS


def codec_is_canonical(name: str) -> bool:
    """Tell whether a codec's blocks have one form only, see above."""
    return getattr(_codec(name), "CANONICAL", True)


def codec_most_lanes(name: str) -> int | None:
    """Most lanes that a codec deals a block out to; None where they are no parameter of it."""
    return getattr(_codec(name), "MOST_LANES", None)


def codec_is_read_by_column(name: str) -> bool:
    """Tell whether an array can multiply by a codec's blocks as they are, see above."""
    return hasattr(_codec(name), "column_entries")


def _codec(name: str) -> ModuleType:
    table = load_folder(_PACKAGE, _REQUIRED)
    if name not in table:
        raise CodecError(f"codec: {name!r} is not known, allowed: {', '.join(table)}")
    return table[name]


@functools.cache
def _codecs_by_id() -> dict[int, ModuleType]:
    return {module.ID: module for module in load_folder(_PACKAGE, _REQUIRED).values()}


def encode_block(
    name: str,
    codes: np.ndarray,
    bits: int,
    *,
    columns: int | None = None,
    **parameters: int | bool,
) -> bytes:
    """Encode one tile of codes.

    Parameters
    ----------
    name : str
        Codec.
    codes : ndarray, int8
        Codes within ``±(2**(bits-1)-1)``; any shape, taken in C order.
    bits : int
        2 to 8.
    columns : int, optional
        Width of the matrix that the codes are, row after row; without it they are one row.
    **parameters
        The codec's own, see `codec_parameters`.

    Returns
    -------
    bytes
        Header and payload.

    Raises
    ------
    CodecError
        If the codec, a parameter, `bits`, the number of codes or columns, or a code is not
        allowed.
    """
    codec = _codec(name)
    for key in parameters:
        if key not in codec.PARAMETERS:
            allowed = ", ".join(codec.PARAMETERS) or "none"
            raise CodecError(f"codec {name}: parameter {key!r} is not known, allowed: {allowed}")
    if not _MIN_BITS <= bits <= _MAX_BITS:
        raise CodecError(f"codec {name}: {bits} bits per code, allowed: {_MIN_BITS} to {_MAX_BITS}")
    if codes.dtype != np.int8:
        raise CodecError(f"codec {name}: codes are {codes.dtype}, allowed: int8")
    if codes.size > MAX_COUNT:
        raise CodecError(f"codec {name}: {codes.size} codes in a block, allowed: {MAX_COUNT}")
    flat = np.ascontiguousarray(codes).reshape(-1)
    flat.flags.writeable = False  # one type for the kernels, whoever calls
    limit = (1 << (bits - 1)) - 1
    if flat.size and (flat.min() < -limit or flat.max() > limit):
        found = int(flat.min()) if flat.min() < -limit else int(flat.max())
        raise CodecError(f"codec {name}: code {found}, allowed at {bits} bits: ±{limit}")
    columns = max(1, flat.size) if columns is None else columns
    if columns < 1 or flat.size % columns:
        raise CodecError(f"codec {name}: {flat.size} codes are not rows of {columns} columns")
    if getattr(codec, "WANTS_COLUMNS", False):
        parameters["columns"] = columns if flat.size else 1
    payload, flags = codec.encode(flat, bits, **parameters)
    head = _FIELDS.pack(_MAGIC, _VERSION, codec.ID, bits | flags << 4, flat.size, len(payload))
    return head + _CHECKSUM.pack(zlib.crc32(payload, zlib.crc32(head))) + payload


def decode_block(data: bytes | bytearray | memoryview | np.ndarray) -> tuple[np.ndarray, int]:
    """Decode one block, which must be exactly `data`.

    Returns
    -------
    codes : ndarray of shape (count,), int8
    bits : int

    Raises
    ------
    CodecError
        If the block is malformed in any way.
    """
    codes, bits, _ = decode_named_block(data)
    return codes, bits


def decode_named_block(
    data: bytes | bytearray | memoryview | np.ndarray,
) -> tuple[np.ndarray, int, str]:
    """Decode one block, see `decode_block`; also tells its codec's name."""
    block = _open(data)
    codes = block.codec.decode(block.payload, block.num_codes, block.bits, block.flags)
    return codes, block.bits, _name_of(block)


def block_codec(data: bytes | bytearray | memoryview | np.ndarray) -> str:
    """Name of the codec of a whole block.

    Raises
    ------
    CodecError
        If the header is malformed or the checksum is wrong.
    """
    return _name_of(_open(data))


def _name_of(block: _Block) -> str:
    return block.codec.__name__.rpartition(".")[2]


def block_bytes(data: bytes | bytearray | memoryview) -> int:
    """Length that a block's header claims, for a block at the start of `data`."""
    if len(data) < HEADER_BYTES:
        raise CodecError(f"block: {len(data)} bytes, a header has {HEADER_BYTES}")
    return HEADER_BYTES + _FIELDS.unpack_from(data)[5]


def block_num_codes(data: bytes | bytearray | memoryview) -> int:
    """Number of codes that a block's header claims, for a block at the start of `data`."""
    if len(data) < HEADER_BYTES:
        raise CodecError(f"block: {len(data)} bytes, a header has {HEADER_BYTES}")
    return _FIELDS.unpack_from(data)[4]


def block_lane_steps(data: bytes | bytearray | memoryview | np.ndarray, lanes: int) -> LaneSteps:
    """Steps of `lanes` decoder lanes for this very block.

    Raises
    ------
    CodecError
        If the header is malformed, or what the codec has to read of the payload.
    ValueError
        If there is no lane.
    """
    if lanes < 1:
        raise ValueError(f"{lanes} lanes, at least 1 is needed")
    block = _open(data)
    return block.codec.lane_steps(block.payload, block.num_codes, block.bits, block.flags, lanes)


def block_decode_cycles(
    data: bytes | bytearray | memoryview | np.ndarray, lanes: int, bus_bits: int, port_codes: int
) -> int:
    """Cycles of `lanes` decoder lanes for this very block, if all of it is in the FIFO.

    Parameters
    ----------
    data : bytes-like
    lanes : int
    bus_bits : int
        Bits that the bus between FIFO and lanes brings in a cycle.
    port_codes : int
        Codes that the weight SRAM takes in a cycle.

    Raises
    ------
    CodecError
        If the header is malformed, or what the codec has to read of the payload.
    ValueError
        If there is no lane.
    """
    steps = block_lane_steps(data, lanes)
    return int(decode_profile(steps, bus_bits, port_codes, 8 * len(data))[-1])


def block_column_entries(data: bytes | bytearray | memoryview | np.ndarray) -> np.ndarray:
    """Entries of each lane and column of a block that can be read as it is.

    Returns
    -------
    ndarray of shape (lanes, columns), int64
        Padding entries included.

    Raises
    ------
    CodecError
        If the header is malformed, what the codec has to read of the payload, or if the codec's
        entries have no columns and lanes.
    """
    block = _open_by_column(data)
    return block.codec.column_entries(block.payload, block.num_codes, block.bits, block.flags)


def block_column_bits(
    data: bytes | bytearray | memoryview | np.ndarray,
) -> tuple[int, np.ndarray]:
    """Bits of a block that are there once, and bits of each column: (columns,) int64.

    A block of some neighbouring columns alone is at most as long as the former and the sum of
    theirs, rounded up to bytes.

    Raises
    ------
    CodecError
        As `block_column_entries`.
    """
    block = _open_by_column(data)
    once, of_columns = block.codec.column_bits(
        block.payload, block.num_codes, block.bits, block.flags
    )
    return 8 * HEADER_BYTES + once, of_columns


def _open_by_column(data: bytes | bytearray | memoryview | np.ndarray) -> _Block:
    block = _open(data)
    if not hasattr(block.codec, "column_entries"):
        name = block.codec.__name__.rpartition(".")[2]
        raise CodecError(f"codec {name}: its entries cannot be read by column and lane")
    return block


def block_hardware_cost(
    data: bytes | bytearray | memoryview | np.ndarray, lanes: int
) -> HardwareCost:
    """Rough size of a decoder of `lanes` lanes for blocks like this one.

    Raises
    ------
    CodecError
        If the header is malformed, or what the codec has to read of the payload.
    ValueError
        If there is no lane.
    """
    if lanes < 1:
        raise ValueError(f"{lanes} lanes, at least 1 is needed")
    block = _open(data)
    return block.codec.hardware_cost(block.payload, block.bits, block.flags, lanes)


def block_parameters(data: bytes | bytearray | memoryview | np.ndarray) -> dict[str, int | bool]:
    """Keyword arguments with which `encode_block` makes this block again from its codes.

    Empty for a codec that does not tell.  The block should be one that decodes.

    Raises
    ------
    CodecError
        If the header is malformed, or what the codec has to read of the payload.
    """
    block = _open(data)
    describe = getattr(block.codec, "parameters_of", None)
    return describe(block.payload, block.num_codes, block.flags) if describe else {}


def _open(data: bytes | bytearray | memoryview | np.ndarray) -> _Block:
    """Check the header and the checksum."""
    view = data.data if isinstance(data, np.ndarray) else memoryview(data)
    view = view.cast("B") if view.nbytes else memoryview(b"")
    if len(view) < HEADER_BYTES:
        raise CodecError(f"block: {len(view)} bytes, a header has {HEADER_BYTES}")
    magic, version, identity, mode, count, length = _FIELDS.unpack_from(view)
    bits, flags = mode & 15, mode >> 4
    if magic != _MAGIC:
        raise CodecError(f"block: magic byte 0x{magic:02x}, expected 0x{_MAGIC:02x}")
    if version != _VERSION:
        raise CodecError(f"block: format version {version}, expected {_VERSION}")
    codec = _codecs_by_id().get(identity)
    if codec is None:
        raise CodecError(f"block: codec id {identity} is not known")
    if not _MIN_BITS <= bits <= _MAX_BITS:
        raise CodecError(f"block: {bits} bits per code, allowed: {_MIN_BITS} to {_MAX_BITS}")
    if flags & ~codec.FLAGS:
        raise CodecError(f"block: codec flags 0x{flags:x}, allowed: 0x{codec.FLAGS:x}")
    if count > MAX_COUNT:
        raise CodecError(f"block: {count} codes, allowed: at most {MAX_COUNT}")
    if len(view) < HEADER_BYTES + length:
        raise CodecError(
            f"block: truncated, {len(view) - HEADER_BYTES} bytes of payload, "
            f"the header says {length}"
        )
    if len(view) > HEADER_BYTES + length:
        raise CodecError(f"block: {len(view) - HEADER_BYTES - length} trailing bytes")
    (expected,) = _CHECKSUM.unpack_from(view, _FIELDS.size)
    found = zlib.crc32(view[HEADER_BYTES:], zlib.crc32(view[: _FIELDS.size]))
    if found != expected:
        raise CodecError(f"block: checksum 0x{found:08x}, the header says 0x{expected:08x}")
    payload = np.frombuffer(view, np.uint8)[HEADER_BYTES:]
    payload.flags.writeable = False  # one type for the kernels, whoever calls
    return _Block(codec, payload, count, bits, flags)
