"""Every code as one field of the same width: what `raw` and `palette` share.

Payload::

    palette table   if flag 0 is set, see `azsim.codecs._fields`; indices have at least 1 bit
    count fields    codes in order
    0 to 7 zero bits up to a whole byte
"""

from __future__ import annotations

import numpy as np

from azsim.codecs._bits import packed_bytes, tail_is_zero
from azsim.codecs._fields import NO_CODE, Fields, choose_fields, read_fields
from azsim.codecs._steps import LaneSteps, even_steps
from azsim.codecs._words import as_words, empty_words, peek, put, words_to_bytes
from azsim.errors import CodecError
from azsim.jit import kernel

__all__ = ["decode_fixed", "encode_fixed", "fixed_steps", "pays_off"]

_MIN_WIDTH = 1
_WORD_BITS = 64


def encode_fixed(codes: np.ndarray, bits: int, *, palette: bool) -> tuple[bytes, int]:
    """Payload and flags of (count,) int8 codes."""
    fields = _choose(codes, bits, palette=palette)
    num_bits = codes.size * fields.width
    words = empty_words(num_bits)
    _pack(codes, fields.to_field, fields.width, words)
    return fields.head + words_to_bytes(words, num_bits), fields.flags


def pays_off(codes: np.ndarray, bits: int) -> bool:
    """Tell whether a palette makes (count,) int8 codes smaller."""
    return bool(_choose(codes, bits, palette=True).head)


def _choose(codes: np.ndarray, bits: int, *, palette: bool) -> Fields:
    has_zero = codes.size > 0 and not codes.all()
    return choose_fields(
        codes, bits, codes.size, has_zero=has_zero, palette=palette, min_width=_MIN_WIDTH
    )


def decode_fixed(codec: str, payload: np.ndarray, count: int, bits: int, flags: int) -> np.ndarray:
    """Codes of a payload, (count,) int8.

    Raises
    ------
    CodecError
        If it is malformed.
    """
    fields, rest = _read(codec, payload, count, bits, flags)
    if not tail_is_zero(rest, count * fields.width):
        raise CodecError(f"{codec}: padding bits after the last code are not zero")
    codes = np.empty(count, np.int8)
    bad = _unpack(as_words(rest), fields.width, fields.to_code, codes)
    if bad >= 0:
        raise fields.fault(codec, "code", bad)
    fields.check_use(codec, codes, count)
    return codes


def fixed_steps(
    codec: str, payload: np.ndarray, count: int, bits: int, flags: int, lanes: int
) -> LaneSteps:
    """Steps of a payload: an index, or up to 64 bits of whole codes.

    Raises
    ------
    CodecError
        If its length is wrong or its palette malformed.
    """
    fields, _ = _read(codec, payload, count, bits, flags)
    most = 1 if fields.head else _WORD_BITS // fields.width
    return even_steps(payload, count, fields.width, most, lanes)


def _read(
    codec: str, payload: np.ndarray, count: int, bits: int, flags: int
) -> tuple[Fields, np.ndarray]:
    """Fields, and the bytes that hold exactly `count` of them."""
    fields, rest = read_fields(codec, payload, bits, flags, zero=True, min_width=_MIN_WIDTH)
    needed = packed_bytes(count, fields.width)
    if rest.size != needed:
        after = "after the palette" if fields.head else "of payload"
        what = "indices" if fields.head else "codes"
        raise CodecError(
            f"{codec}: {rest.size} bytes {after}, {count} {what} of {fields.width} bits "
            f"take {needed}"
        )
    return fields, rest


@kernel
def _pack(codes, to_field, width, words):
    position = 0
    for i in range(codes.shape[0]):
        position = put(words, position, width, to_field[np.uint8(codes[i])])


@kernel
def _unpack(words, width, to_code, codes):
    """Return the index of the first field that stands for no code, or -1."""
    mask = (np.uint64(1) << np.uint64(width)) - np.uint64(1)
    for i in range(codes.shape[0]):
        field = peek(words, i * width) & mask
        code = to_code[field]
        if code == NO_CODE:
            return i
        codes[i] = code
    return -1
