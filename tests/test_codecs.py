"""Every codec: exact round trips, clean errors on every malformed stream, counted cycles."""

from __future__ import annotations

import contextlib
import dataclasses
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from azsim.codecs import (
    HEADER_BYTES,
    HardwareCost,
    block_codec,
    block_hardware_cost,
    block_lane_steps,
    block_parameters,
    codec_is_canonical,
    codec_names,
    codec_parameters,
    decode_block,
    encode_block,
)
from azsim.errors import CodecError

pytestmark = pytest.mark.kernels

# What a parameter is set to, if not to True; None leaves it out.
SETTINGS = {"index_bits": 3, "lanes": 2, "m": 8, "n": None, "block_rows": 1, "block_cols": 5}
SETTINGS |= {"segments": 3, "streams": 3}
VARIANTS = [
    (name, parameters)
    for name in codec_names()
    for parameters in (
        {},
        *(
            {key: SETTINGS.get(key, True)}
            for key in codec_parameters(name)
            if SETTINGS.get(key, True) is not None
        ),
    )
]
VARIANTS += [("csc", {"lanes": 64, "palette": True}), ("csc", {"lanes": 4096})]
IDS = [f"{name}{'+' if parameters else ''}{'+'.join(parameters)}" for name, parameters in VARIANTS]
every_variant = pytest.mark.parametrize(("name", "parameters"), VARIANTS, ids=IDS)


def draw_codes(rng, count, bits, zeros, values=None):
    limit = 2 ** (bits - 1) - 1
    codes = rng.integers(-limit, limit + 1, count).astype(np.int8)
    if values is not None:
        codes = rng.choice(rng.integers(-limit, limit + 1, values), count).astype(np.int8)
    codes[rng.random(count) < zeros] = 0
    return codes


def cases(bits):
    rng = np.random.default_rng(bits)
    limit = 2 ** (bits - 1) - 1
    yield "empty", np.zeros(0, np.int8)
    yield "one zero", np.zeros(1, np.int8)
    yield "one value", np.array([-limit], np.int8)
    for length in (7, 8, 15, 16, 17, 31, 32, 33, 48, 1000):
        yield f"{length} zeros", np.zeros(length, np.int8)
        yield f"{length} zeros and a value", np.array([0] * length + [limit], np.int8)
        yield f"a value and {length} zeros", np.array([limit] + [0] * length, np.int8)
    yield "no zero", np.where(rng.random(500) < 0.5, limit, -limit).astype(np.int8)
    yield "every value", np.arange(-limit, limit + 1, dtype=np.int8)
    yield "one row", draw_codes(rng, 4096, bits, 0.5).reshape(1, -1)
    for rows, cols in ((13, 17), (101, 31), (127, 1), (2, 2)):
        for zeros in (0.0, 0.5, 0.9, 0.99):
            codes = draw_codes(rng, rows * cols, bits, zeros)
            yield f"{rows}x{cols} {zeros}", codes.reshape(rows, cols)
    yield "three values", draw_codes(rng, 2000, bits, 0.5, values=3)


@every_variant
@pytest.mark.parametrize("bits", range(2, 9))
def test_round_trip(name, parameters, bits):
    for what, codes in cases(bits):
        columns = codes.shape[-1] if codes.ndim == 2 else None
        block = encode_block(name, codes, bits, columns=columns, **parameters)
        decoded, found_bits = decode_block(block)
        assert found_bits == bits, what
        assert decoded.dtype == np.int8, what
        np.testing.assert_array_equal(decoded, codes.reshape(-1), err_msg=what)
        for lanes in (1, 3, 16, 256):
            # At most two symbols a code: a run or a mask, and the code; csc reads a pointer.
            assert 0 <= block_lane_steps(block, lanes).most_steps <= 2 * codes.size + 1, what
        cost = block_hardware_cost(block, 16)
        assert isinstance(cost, HardwareCost), what
        assert min(dataclasses.astuple(cost)) >= 0, what


@pytest.mark.slow
@every_variant
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_round_trip_of_any_codes(name, parameters, data):
    bits = data.draw(st.integers(2, 8))
    limit = 2 ** (bits - 1) - 1
    element = st.one_of(st.just(0), st.integers(-limit, limit))
    codes = data.draw(npst.arrays(np.int8, st.integers(0, 200), elements=element))
    divisors = [i for i in range(1, codes.size + 1) if codes.size % i == 0]
    columns = data.draw(st.sampled_from(divisors or [5]))
    block = encode_block(name, codes, bits, columns=columns, **parameters)
    np.testing.assert_array_equal(decode_block(block)[0], codes)
    assert encode_block(name, codes, bits, columns=columns, **parameters) == block
    assert block_lane_steps(block, 1).most_steps >= block_lane_steps(block, 4).most_steps


@every_variant
def test_every_kind_of_buffer_and_read_only_codes(name, parameters):
    codes = np.array([1, 0, -1, 0], np.int8)
    codes.flags.writeable = False
    block = encode_block(name, codes, 2, **parameters)
    for data in (block, bytearray(block), memoryview(block), np.frombuffer(block, np.uint8).copy()):
        np.testing.assert_array_equal(decode_block(data)[0], codes)
    strided = np.array([[1, 0, 5], [-1, 0, 5]], np.int8)[:, :2]
    np.testing.assert_array_equal(
        decode_block(encode_block(name, strided, 2, **parameters))[0], codes
    )


def sealed(block):
    """The block with the checksum that its bytes ask for."""
    payload = bytes(block[HEADER_BYTES:])
    checksum = zlib.crc32(payload, zlib.crc32(bytes(block[:12])))
    return bytes(block[:12]) + struct.pack("<I", checksum) + payload


def mutate(rng, block, other):
    """Flip bits, cut, extend or splice; often repair length and checksum."""
    data = bytearray(block)
    kind = rng.integers(5)
    if kind <= 1:
        for _ in range(rng.integers(1, 4)):
            data[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
    elif kind == 2:
        del data[rng.integers(len(data)) :]
    elif kind == 3:
        data += rng.bytes(int(rng.integers(1, 9)))
    else:
        data = data[: rng.integers(len(data) + 1)] + other[rng.integers(len(other)) :]
    if len(data) >= HEADER_BYTES and rng.random() < 0.8:
        if rng.random() < 0.7:
            data[8:12] = struct.pack("<I", len(data) - HEADER_BYTES)
        return sealed(data)
    return bytes(data)


@every_variant
def test_malformed_streams_give_an_error_or_codes_in_range(name, parameters, mutations):
    rng = np.random.default_rng(VARIANTS.index((name, parameters)))
    rejected = 0
    repeats = 1 + mutations // len(VARIANTS)
    block = other = b""
    for repeat in range(repeats):
        if repeat % 20 == 0:
            bits = int(rng.integers(2, 9))
            values = int(rng.integers(1, 6)) if rng.random() < 0.5 else None
            rows = int(rng.integers(1, 9))
            columns = int(rng.integers(1, 300)) // rows + 1
            block, other = (
                encode_block(
                    name,
                    draw_codes(rng, rows * columns, bits, zeros, values),
                    bits,
                    columns=columns,
                    **parameters,
                )
                for zeros in rng.random(2)
            )
        data = mutate(rng, block, other)
        try:
            codes, found_bits = decode_block(data)
        except CodecError:
            rejected += 1
            with contextlib.suppress(CodecError):
                block_lane_steps(data, 8)
            continue
        count = struct.unpack_from("<I", data, 4)[0]
        assert codes.shape == (count,)
        assert codes.max(initial=0) < 2 ** (found_bits - 1)
        assert codes.min(initial=0) > -(2 ** (found_bits - 1))
        steps = block_lane_steps(data, 8)
        assert steps.codes.sum() == count
        assert steps.head_bits + steps.bits.sum() == 8 * len(data)
        assert min(steps.codes.min(initial=0), steps.bits.min(initial=0), steps.head_bits) >= 0
        # One form: what is accepted is what the encoder makes.
        codec = block_codec(data)
        if codec_is_canonical(codec):
            assert data == encode_block(codec, codes, found_bits, **block_parameters(data))
    assert rejected > repeats // 3


@every_variant
def test_each_single_flip_is_caught(name, parameters):
    codes = draw_codes(np.random.default_rng(5), 67, 5, 0.5, values=4)
    block = encode_block(name, codes, 5, **parameters)
    for position in range(8 * len(block)):
        data = bytearray(block)
        data[position // 8] ^= 1 << position % 8
        with pytest.raises(CodecError):
            decode_block(data)


def header(codec=0, bits=8, count=0, payload=b"", magic=0xA5, version=1, length=None, flags=0):
    length = len(payload) if length is None else length
    head = struct.pack("<BBBBII", magic, version, codec, bits | flags << 4, count, length)
    return sealed(head + bytes(4) + payload)


RAW, BITMAP, ZERO_RUN = 0, 1, 2
MALFORMED = [
    (b"", "block: 0 bytes, a header has 16"),
    (b"\xa5" * 15, "block: 15 bytes, a header has 16"),
    (header(magic=0xA4), "block: magic byte 0xa4, expected 0xa5"),
    (header(version=2), "block: format version 2, expected 1"),
    (header(codec=99), "block: codec id 99 is not known"),
    (header(bits=9), "block: 9 bits per code, allowed: 2 to 8"),
    (header(bits=1), "block: 1 bits per code, allowed: 2 to 8"),
    (header(flags=2), "block: codec flags 0x2, allowed: 0x1"),
    (header(count=2**28 + 1), "block: 268435457 codes, allowed: at most 268435456"),
    (header(length=5), "block: truncated, 0 bytes of payload, the header says 5"),
    (header(payload=b"abc", length=1), "block: 2 trailing bytes"),
    (header(count=3, payload=b"\1"), "raw: 1 bytes of payload, 3 codes of 8 bits take 3"),
    (header(count=2**28), "raw: 0 bytes of payload, 268435456 codes of 8 bits take 268435456"),
    (
        header(bits=3, count=1, payload=b"\x08"),
        "raw: padding bits after the last code are not zero",
    ),
    (
        header(bits=3, count=1, payload=b"\x04"),
        "raw: code 0 is -4, which is out of range at 3 bits",
    ),
    (
        header(BITMAP, count=9, payload=b"\0"),
        "bitmap: 1 bytes of payload, the mask of 9 codes takes 2",
    ),
    (
        header(BITMAP, count=3, payload=b"\x08\1"),
        "bitmap: padding bits after the mask are not zero",
    ),
    (header(BITMAP, count=3, payload=b"\7\1"), "bitmap: 1 bytes after the mask, its 3 ones take 3"),
    (header(BITMAP, count=3, payload=b"\2\0"), "bitmap: non-zero 0 is zero"),
    (
        header(BITMAP, bits=4, count=2, payload=b"\3\x81"),
        "bitmap: non-zero 1 is -8, which is out of range at 4 bits",
    ),
    (
        header(BITMAP, bits=4, count=1, payload=b"\1\x11"),
        "bitmap: padding bits after the last non-zero are not zero",
    ),
    (
        header(BITMAP, count=1, flags=1),
        "bitmap: 0 bytes of payload do not hold the palette",
    ),
    (
        header(BITMAP, count=1, payload=b"\3\1\2\3", flags=1),
        "bitmap: 4 bytes of payload do not hold the palette",
    ),
    (
        header(BITMAP, count=8, payload=b"\1\3\2\xff\0", flags=1),
        "bitmap: palette is not in ascending order",
    ),
    (
        header(BITMAP, bits=4, count=16, payload=b"\1\2\x09\xff\xff\0\1", flags=1),
        "bitmap: palette has an entry beyond ±7",
    ),
    (
        header(BITMAP, bits=4, count=16, payload=b"\1\0\5\xff\xff\0\1", flags=1),
        "bitmap: palette has a zero where none belongs",
    ),
    (
        header(BITMAP, bits=4, count=16, payload=b"\1\xfe\0\xff\xff\0\1", flags=1),
        "bitmap: palette has a zero where none belongs",
    ),
    (
        header(BITMAP, count=8, payload=b"\1\2\3\xff", flags=1),
        "bitmap: 0 bytes after the mask, its 8 ones take 1",
    ),
    (
        header(BITMAP, count=1, payload=b"\0\5\1", flags=1),
        "bitmap: palette form that is not smaller than the plain one",
    ),
    (
        header(BITMAP, count=7, payload=b"\1\2\3\x7f\x81", flags=1),
        "bitmap: padding bits after the last non-zero are not zero",
    ),
    (
        header(BITMAP, count=8, payload=b"\2\1\2\3\xff\xff\xff", flags=1),
        "bitmap: index of non-zero 0 is beyond 3 palette entries",
    ),
    (
        header(BITMAP, count=8, payload=b"\2\1\2\3\xff\0\0", flags=1),
        "bitmap: palette has an entry that no index uses",
    ),
    (
        header(count=8, payload=b"\0\5", flags=1),
        "raw: 0 bytes after the palette, 8 indices of 1 bits take 1",
    ),
    (
        header(ZERO_RUN, count=2**28, payload=b"\xff\xff\xff"),
        "zero_run: 3 bytes of payload hold at most 32 codes, the header says 268435456",
    ),
    (
        header(ZERO_RUN, bits=4, count=3, payload=b"\x10\x10"),
        "zero_run: truncated, 2 entries stand for less than 3 codes",
    ),
    (
        header(ZERO_RUN, bits=4, count=3, payload=b"\x13"),
        "zero_run: entry 0 runs past the end of 3 codes",
    ),
    (
        header(ZERO_RUN, bits=4, count=1, payload=b"\x80"),
        "zero_run: the code of entry 0 is -8, which is out of range at 4 bits",
    ),
    (
        header(ZERO_RUN, bits=4, count=3, payload=b"\x01\x10"),
        "zero_run: entry 0 has code 0, is not the last and no padding",
    ),
    (header(ZERO_RUN, bits=4, count=1, payload=b"\x10\x10"), "zero_run: 1 trailing bytes"),
    (
        header(ZERO_RUN, bits=3, count=1, payload=b"\x90"),
        "zero_run: padding bits after the last entry are not zero",
    ),
]


@pytest.mark.parametrize(("data", "sentence"), MALFORMED, ids=[s for _, s in MALFORMED])
def test_sentence_of_each_malformed_stream(data, sentence):
    with pytest.raises(CodecError) as caught:
        decode_block(data)
    assert str(caught.value) == sentence


def test_checksum_is_compared():
    block = bytearray(encode_block("raw", np.array([1, 2], np.int8), 8))
    block[-1] ^= 2
    with pytest.raises(CodecError, match=r"^block: checksum 0x[0-9a-f]{8}, the header says 0x"):
        decode_block(block)


@pytest.mark.parametrize(
    ("arguments", "parameters", "sentence"),
    [
        (("lzma", [1], 8), {}, "codec: 'lzma' is not known, allowed: "),
        (("raw", [1], 9), {}, "codec raw: 9 bits per code, allowed: 2 to 8"),
        (("raw", [8], 4), {}, "codec raw: code 8, allowed at 4 bits: ±7"),
        (("raw", [1, -8], 4), {}, "codec raw: code -8, allowed at 4 bits: ±7"),
        (
            ("palette", [1], 4),
            {"palette": True},
            "codec palette: parameter 'palette' is not known, allowed: none",
        ),
        (
            ("bitmap", [1], 4),
            {"pallete": True},
            "codec bitmap: parameter 'pallete' is not known, allowed: palette",
        ),
    ],
)
def test_what_the_encoder_refuses(arguments, parameters, sentence):
    name, codes, bits = arguments
    with pytest.raises(CodecError) as caught:
        encode_block(name, np.array(codes, np.int8), bits, **parameters)
    assert str(caught.value).startswith(sentence)


def test_the_encoder_refuses_other_types():
    with pytest.raises(CodecError, match=r"^codec raw: codes are int32, allowed: int8$"):
        encode_block("raw", np.zeros(3, np.int32), 8)


def test_no_lane_is_refused():
    with pytest.raises(ValueError, match=r"^0 lanes, at least 1 is needed$"):
        block_lane_steps(encode_block("raw", np.zeros(3, np.int8), 8), 0)


def test_bytes_of_small_blocks_by_hand():
    codes = np.array([3, 0, 0, -1], np.int8)

    def payload(name, **parameters):
        return encode_block(name, codes, 4, **parameters)[HEADER_BYTES:]

    assert payload("raw") == bytes([0x03, 0xF0])
    assert payload("bitmap") == bytes([0b1001, 0xF3])
    assert payload("zero_run") == bytes([0x30, 0xF2])
    assert encode_block("raw", codes, 4)[:12] == bytes([0xA5, 1, 0, 4, 4, 0, 0, 0, 2, 0, 0, 0])


def test_zero_run_pads_runs_of_sixteen():
    codes = np.array([0] * 35 + [1] + [0] * 17, np.int8)
    block = encode_block("zero_run", codes, 4)
    # 16 + 16 + (3 zeros, 1) + 16 + 1 zero
    assert block[HEADER_BYTES:] == bytes([0x0F, 0x0F, 0x13, 0x0F, 0x00])
    assert block_lane_steps(block, 1).most_steps == 5
    # Halves of 27: entry 1 (weights 16 to 31) costs both lanes a cycle.
    assert block_lane_steps(block, 2).most_steps == 4


def test_palette_is_taken_where_it_is_smaller():
    rng = np.random.default_rng(1)
    few = rng.choice(np.array([-90, -3, 0, 7, 101], np.int8), 1000)
    ones = np.count_nonzero(few)
    plain, small = (encode_block("bitmap", few, 8, palette=p) for p in (False, True))
    assert len(plain) == HEADER_BYTES + 125 + ones
    assert len(small) == HEADER_BYTES + 125 + 1 + 4 + -(-2 * ones // 8)
    assert small[3] >> 4 == 1
    assert block_lane_steps(plain, 4).most_steps == block_lane_steps(small, 4).most_steps
    every = np.arange(-127, 128, dtype=np.int8)
    assert encode_block("bitmap", every, 8, palette=True) == encode_block("bitmap", every, 8)
    one = np.array([0, 5, 5, 0, 5], np.int8)
    assert encode_block("bitmap", one, 8, palette=True)[HEADER_BYTES:] == bytes([0, 5, 0b10110])


def test_lane_cycles_of_the_bitmap_by_hand():
    codes = np.zeros(64, np.int8)
    codes[:16] = 1  # 4 cycles
    codes[16:21] = 1  # 2 cycles
    block = encode_block("bitmap", codes, 8)
    assert block_lane_steps(block, 1).most_steps == 4 + 2 + 1 + 1
    assert block_lane_steps(block, 2).most_steps == 4 + 2
    assert block_lane_steps(block, 4).most_steps == 4
    assert block_lane_steps(block, 64).most_steps == 1
    assert block_lane_steps(encode_block("raw", codes, 8), 4).most_steps == 2  # 8 bytes a cycle


def test_bits_per_weight_on_a_known_distribution():
    """Sizes follow from the layouts; 75 % zeros at 8 bits."""
    codes = draw_codes(np.random.default_rng(2), 1 << 16, 8, 0.75)
    ones = np.count_nonzero(codes)
    sizes = {name: len(encode_block(name, codes, 8)) - HEADER_BYTES for name in codec_names()}
    assert sizes["raw"] == codes.size
    assert sizes["bitmap"] == codes.size // 8 + ones
    runs = np.diff(np.append(np.flatnonzero(codes), codes.size), prepend=-1) - 1
    entries = ones + int((runs[:-1] // 16).sum()) - int(-runs[-1] // 16)
    assert sizes["zero_run"] == (12 * entries + 7) // 8
