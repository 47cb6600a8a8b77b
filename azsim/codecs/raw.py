"""Codes as they are: no compression, nothing to decode.

Payload::

    count fields    codes in order, two's complement, from the least significant bit of byte 0
    0 to 7 zero bits up to a whole byte

Hardware: wires.  The block goes from the bus to the write port of the weight SRAM, which holds
the same packed codes, so no lane works and `lane_cycles` is 0; bus and write port set the rate.
It is what a chip without a decoder stores.
"""

from __future__ import annotations

import numpy as np

from azsim.codecs._bits import packed_bytes, read_field, signed, tail_is_zero, write_field
from azsim.errors import CodecError
from azsim.jit import kernel

ID = 0
FLAGS = 0
PARAMETERS: tuple[str, ...] = ()


def encode(codes: np.ndarray, bits: int) -> tuple[bytes, int]:
    """Pack (count,) int8 codes; see the package for the contract."""
    payload = np.zeros(packed_bytes(codes.size, bits), np.uint8)
    _pack(codes, bits, payload)
    return payload.tobytes(), 0


def decode(payload: np.ndarray, count: int, bits: int, flags: int) -> np.ndarray:
    """Unpack to (count,) int8; see the package for the contract."""
    needed = packed_bytes(count, bits)
    if payload.size != needed:
        raise CodecError(
            f"raw: {payload.size} bytes of payload, {count} codes of {bits} bits take {needed}"
        )
    if not tail_is_zero(payload, count * bits):
        raise CodecError("raw: padding bits after the last code are not zero")
    codes = np.empty(count, np.int8)
    bad = _unpack(payload, bits, codes)
    if bad >= 0:
        raise CodecError(
            f"raw: code {bad} is {-(1 << (bits - 1))}, which is out of range at {bits} bits"
        )
    return codes


def lane_cycles(payload: np.ndarray, count: int, bits: int, flags: int, lanes: int) -> int:
    """Return 0: there are no symbols to decode."""
    return 0


@kernel
def _pack(codes, bits, payload):
    for i in range(codes.shape[0]):
        write_field(payload, i * bits, bits, codes[i])


@kernel
def _unpack(payload, bits, codes):
    """Return the index of the first code that is out of range, or -1."""
    limit = (1 << (bits - 1)) - 1
    for i in range(codes.shape[0]):
        code = signed(read_field(payload, i * bits, bits), bits)
        if code < -limit:
            return i
        codes[i] = code
    return -1
