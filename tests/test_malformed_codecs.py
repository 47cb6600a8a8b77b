"""Malformed streams of the newer codecs, made by hand, and what the encoders refuse."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest

from azsim.codecs import decode_block, encode_block
from azsim.errors import CodecError

pytestmark = pytest.mark.kernels

PALETTE, NM, DENSE_BLOCK, HUFFMAN, RICE, CSC = 3, 5, 6, 7, 8, 10


def header(codec, bits=8, count=0, payload=b"", flags=0):
    head = struct.pack("<BBBBII", 0xA5, 1, codec, bits | flags << 4, count, len(payload))
    return head + struct.pack("<I", zlib.crc32(payload, zlib.crc32(head))) + payload


def slice_header(zdiv=6, length=1, wdiv=7, trunc=0, new=1, rest="", end="111"):
    fields = f"{zdiv:03b}", f"{length - 1:015b}", f"{wdiv:03b}", f"{trunc}", f"{new}"
    stream = "".join(field[::-1] for field in fields) + rest + end
    stream += "1" * (-len(stream) % 128)
    return bytes(int(stream[i : i + 8][::-1], 2) for i in range(0, len(stream), 8))


ONES = b"\xff" * 16
NO_PALETTE = "0000000000000"
MALFORMED = [
    (header(PALETTE, 8, 3, b"\0"), "palette: 1 bytes of payload, 3 codes of 8 bits take 3"),
    (
        header(PALETTE, 8, 300, b"\1\1\2" + bytes(38), flags=1),
        "palette: palette has an entry that no index uses",
    ),
    (header(PALETTE, 8, 99, bytes(99)), "palette: plain form where a palette is smaller"),
    (header(CSC, 8, 4, bytes(6)), "csc: 6 bytes of payload, shape and settings take 7"),
    (header(CSC, 8, 4, bytes([3, 0, 0, 0, 4, 0, 0])), "csc: 4 codes are not rows of 3 columns"),
    (header(CSC, 8, 0, bytes([3, 0, 0, 0, 4, 0, 0])), "csc: 0 codes are not rows of 3 columns"),
    (
        header(CSC, 8, 4, bytes([2, 0, 0, 0, 9, 0, 0])),
        "csc: index of 9 bits, allowed: 3 to 8",
    ),
    (header(CSC, 8, 4, bytes([2, 0, 0, 0, 0x24, 0, 0])), "csc: 3 lanes for 2 rows"),
    (
        header(CSC, 8, 4, bytes([2, 0, 0, 0, 4, 0, 3])),
        "csc: pointers of 3 bits, 2 rows need 2 at most",
    ),
    (
        header(CSC, 8, 4, bytes([2, 0, 0, 0, 4, 0, 2])),
        "csc: 0 bytes do not hold 2 pointers of 2 bits",
    ),
    (
        header(CSC, 8, 4, bytes([2, 0, 0, 0, 4, 0, 2, 0])),
        "csc: pointers of 2 bits, fewer would do",
    ),
    (
        header(CSC, 4, 4, bytes([2, 0, 0, 0, 4, 0, 1, 1])),
        "csc: 1 bytes of pointers and entries, 1 entries make 2",
    ),
    (
        header(CSC, 4, 4, bytes([2, 0, 0, 0, 4, 0, 1, 0x49, 0])),
        "csc: entry 0 runs past the end of its column",
    ),
    (
        header(CSC, 4, 4, bytes([2, 0, 0, 0, 4, 0, 1, 1, 2])),
        "csc: the code of entry 0 is -8, which is out of range at 4 bits",
    ),
    (
        header(CSC, 4, 4, bytes([2, 0, 0, 0, 4, 0, 1, 5, 0])),
        "csc: entry 0 has code 0 and is no padding",
    ),
    (
        header(CSC, 4, 4, bytes([2, 0, 0, 0, 4, 0, 1, 0x41, 0x80])),
        "csc: padding bits after the last entry are not zero",
    ),
    (header(NM, 8, 4, bytes([4, 0, 0, 0])), "nm: 4 bytes of payload, shape and settings take 5"),
    (
        header(NM, 8, 4, bytes([4, 0, 0, 0, 0x24, 0])),
        "nm: 5:4, allowed: up to 4:4, 8:8 or 16:16",
    ),
    (
        header(NM, 8, 4, bytes([4, 0, 0, 0, 0x20, 0])),
        "nm: 1 bytes of groups, 1 groups of 1:4 take 2",
    ),
    (
        header(NM, 8, 4, bytes([4, 0, 0, 0, 0x20, 0, 4])),
        "nm: padding bits after the last group are not zero",
    ),
    (
        header(NM, 4, 4, bytes([4, 0, 0, 0, 0x21, 0x1E, 1])),
        "nm: group 0 has a set beyond the 6 of 2:4",
    ),
    (
        header(NM, 4, 4, bytes([4, 0, 0, 0, 0x20, 0x20])),
        "nm: a code of group 0 is -8, which is out of range at 4 bits",
    ),
    (
        header(NM, 4, 2, bytes([2, 0, 0, 0, 0x20, 0x06])),
        "nm: group 0 has a non-zero beyond the end of its row",
    ),
    (
        header(NM, 4, 4, bytes([4, 0, 0, 0, 0x20, 0x01])),
        "nm: group 0 stores a zero that is not the first",
    ),
    (
        header(DENSE_BLOCK, 8, 4, bytes([4, 0, 0, 0, 0, 0])),
        "dense_block: 0 bytes, the mask of 4 blocks takes 1",
    ),
    (
        header(DENSE_BLOCK, 8, 4, bytes([4, 0, 0, 0, 0, 15, 2])),
        "dense_block: padding bits after the mask are not zero",
    ),
    (
        header(DENSE_BLOCK, 8, 4, bytes([4, 0, 0, 0, 0, 15, 1])),
        "dense_block: 0 bytes after the mask, its 1 blocks take 4",
    ),
    (
        header(DENSE_BLOCK, 8, 4, bytes([4, 0, 0, 0, 0, 15, 1, 0, 0, 0, 0])),
        "dense_block: block 0 is there but all zero",
    ),
    (
        header(DENSE_BLOCK, 8, 4, bytes([4, 0, 0, 0, 0, 15, 1, 0, 128, 0, 0])),
        "dense_block: stored code 1 is -128, which is out of range at 8 bits",
    ),
    (
        header(DENSE_BLOCK, 3, 1, bytes([1, 0, 0, 0, 0, 15, 1, 9])),
        "dense_block: padding bits after the last block are not zero",
    ),
    (header(HUFFMAN, 2, 1), "huffman: no payload"),
    (header(HUFFMAN, 2, 1, b"\0"), "huffman: table of lengths is malformed"),
    (header(HUFFMAN, 2, 9, b"\1\0\0"), "huffman: segment 0 has a word of no code"),
    (header(HUFFMAN, 2, 99, b"\0\0"), "huffman: 2 bytes of payload cannot hold 99 codes"),
    (header(HUFFMAN, 2, 1, b"\x10\0\0"), "huffman: segment lengths of 1 bits, fewer would do"),
    # Lengths 1, 1 and 1.
    (header(HUFFMAN, 2, 1, b"\0\2"), "huffman: lengths make no code"),
    # One word for each code, where only one occurs.
    (
        header(HUFFMAN, 2, 1, b"\0\x16\0"),
        "huffman: lengths are not the optimal ones for the codes",
    ),
    (header(RICE, 8, 1), "rice: stream 0 is truncated"),
    (header(RICE, 8, 1, ONES), "rice: stream 0 has another number of weights than the header says"),
    (header(RICE, 8, 0, ONES + ONES), "rice: stream 0 ends elsewhere than at its last 16 bytes"),
    (header(RICE, 8, 0, b"\x7f" + ONES[1:]), "rice: stream 0 is not filled up with ones"),
    (header(RICE, 8, 0, b"", 1), "rice: 0 bytes of payload do not hold 2 to 16 streams"),
    (
        header(RICE, 8, 0, b"\1" + struct.pack("<II", 16, 0) + ONES * 2, 1),
        "rice: streams of 16 bytes, the payload has 32",
    ),
    (
        header(RICE, 8, 1, slice_header(zdiv=4, rest=NO_PALETTE + "00")),
        "rice: stream 0 has a slice header with a value that is not used",
    ),
    (
        header(RICE, 8, 1, slice_header(new=0, rest="00")),
        "rice: stream 0 has a slice header with a value that is not used",
    ),
    (
        header(RICE, 2, 2, slice_header(rest=NO_PALETTE + "11")),
        "rice: stream 0 has another number of weights than the header says",
    ),
    (
        header(RICE, 2, 1, slice_header(rest="001000000000000")),
        "rice: stream 0 has a weight out of range",
    ),
    (
        header(RICE, 8, 1, slice_header(wdiv=0, rest=NO_PALETTE + "0100000000000")),
        "rice: stream 0 has digits after the last weight or run of a slice",
    ),
]


@pytest.mark.parametrize(
    ("data", "sentence"), MALFORMED, ids=[f"{i} {s}" for i, (_, s) in enumerate(MALFORMED)]
)
def test_sentence_of_each_malformed_stream(data, sentence):
    with pytest.raises(CodecError) as caught:
        decode_block(data)
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("csc", {"index_bits": 2}, "codec csc: index_bits 2, allowed: 3 to 8"),
        ("csc", {"lanes": 4097}, "codec csc: lanes 4097, allowed: 1 to 4096"),
        ("csc", {"columns": 5}, "codec csc: 12 codes are not rows of 5 columns"),
        ("csc", {"columns": 0}, "codec csc: 12 codes are not rows of 0 columns"),
        ("nm", {"m": 6}, "codec nm: m 6, allowed: 4, 8, 16"),
        ("nm", {"n": 5, "m": 4}, "codec nm: n 5, allowed: 1 to 4"),
        ("nm", {"n": 2, "m": 4}, "codec nm: group 1 has 4 non-zeros, allowed: 2 of 4"),
        ("dense_block", {"block_rows": 0}, "codec dense_block: block_rows 0, allowed: 1 to 256"),
        (
            "dense_block",
            {"block_cols": 999},
            "codec dense_block: block_cols 999, allowed: 1 to 256",
        ),
        ("huffman", {"segments": 17}, "codec huffman: segments 17, allowed: 1 to 16"),
        ("rice", {"streams": 0}, "codec rice: streams 0, allowed: 1 to 16"),
    ],
)
def test_what_the_encoders_refuse(name, options, sentence):
    codes = np.array([1, 0, 0, 1, 1, 1, 1, 1, 0, 0, 0, 0], np.int8)
    with pytest.raises(CodecError) as caught:
        encode_block(name, codes, 8, **options)
    assert str(caught.value) == sentence
