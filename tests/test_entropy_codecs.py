"""Codecs by their layouts: bytes and cycles by hand, sizes against Arm and against entropy."""

from __future__ import annotations

import heapq
import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from ethosu import mlw_codec
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from azsim.codecs import (
    HEADER_BYTES,
    block_hardware_cost,
    block_lane_steps,
    block_parameters,
    decode_block,
    encode_block,
)
from azsim.codecs._huffman_code import MAX_LENGTH, limited_lengths
from azsim.inputs.fetch import fetch

pytestmark = pytest.mark.kernels

RICE = 8
SILERO = "pypi:silero-vad==6.2.3#silero_vad/data/silero_vad_16k.safetensors"
SILERO_SHA256 = "c59271c284ae9c8335d795d60e0bfdb71aaaceec578d9bd9ffc1b8153c319ea1"


def header(codec, bits=8, count=0, payload=b"", flags=0):
    head = struct.pack("<BBBBII", 0xA5, 1, codec, bits | flags << 4, count, len(payload))
    return head + struct.pack("<I", zlib.crc32(payload, zlib.crc32(head))) + payload


def payload_of(name, codes, bits, **options):
    return encode_block(name, np.array(codes, np.int8), bits, **options)[HEADER_BYTES:]


def laplace(seed, shape, bits, zeros=0.0, scales=None):
    rng = np.random.default_rng(seed)
    limit = 2 ** (bits - 1) - 1
    weights = rng.laplace(size=shape)
    if scales is not None:
        weights *= scales
    weights[np.abs(weights) <= np.quantile(np.abs(weights), zeros)] = 0
    return np.clip(np.rint(weights * limit / 5), -limit, limit).astype(np.int8)


def entropy_bits(codes):
    shares = np.unique(codes, return_counts=True)[1] / codes.size
    return float(-(shares * np.log2(shares)).sum())


# ---- palette


def test_palette_of_sixteen_values_takes_four_bits():
    values = np.array([0, *range(-120, 0, 17), *range(3, 108, 15)], np.int8)
    assert values.size == 16
    codes = np.random.default_rng(0).choice(values, 5000)
    for name in ("palette", "raw"):
        options = {} if name == "palette" else {"palette": True}
        block = encode_block(name, codes, 8, **options)
        assert len(block) == HEADER_BYTES + 1 + 16 + 2500
        # Zero comes first, the others ascend.
        assert block[HEADER_BYTES : HEADER_BYTES + 17] == bytes([15, 0]) + bytes(
            np.sort(values[1:]).view(np.uint8)
        )
        assert block_hardware_cost(block, 16).table_bits == 16 * 8
    assert block_lane_steps(encode_block("palette", codes, 8), 16).most_steps == 313


@pytest.mark.parametrize("name", ["raw", "zero_run", "csc", "nm", "dense_block"])
def test_palette_composes(name):
    rng = np.random.default_rng(1)
    codes = rng.choice(np.array([-100, 90, 127], np.int8), (64, 64))
    codes[rng.random(codes.shape) < 0.6] = 0
    plain, small = (encode_block(name, codes, 8, columns=64, palette=p) for p in (False, True))
    assert small[3] >> 4 == 1
    assert plain[3] >> 4 == 0
    # 8 bits become 2 in every field, and a table of up to 4 entries goes ahead.
    fields = {"raw": 4096, "dense_block": 4000}.get(name, int(np.count_nonzero(codes)))
    assert len(plain) - len(small) >= 6 * fields // 8 - 6
    np.testing.assert_array_equal(decode_block(small)[0], codes.reshape(-1))
    # A table has a read port a lane; plain codes go eight at a time.
    slower = 8 if name == "raw" else 1
    assert block_lane_steps(small, 16).most_steps == slower * block_lane_steps(plain, 16).most_steps


# ---- csc


def test_csc_by_hand():
    # Two lanes: rows 0 and 2, rows 1 and 3.
    codes = [[1, 0], [0, 0], [0, -1], [2, 3]]
    payload = payload_of("csc", codes, 4, columns=2, lanes=2)
    entries = [(0, 1), (1, 15), (1, 2), (1, 3)]  # run in the low nibble, code in the high one
    stream = "1111" + "".join(f"{run | code << 4:08b}"[::-1] for run, code in entries)
    body = [int(stream[i : i + 8][::-1], 2) for i in range(0, len(stream), 8)]
    assert payload == bytes([2, 0, 0, 0, 4 | 1 << 4, 0, 1, *body])


def test_csc_pads_long_runs_and_counts_their_cycles():
    codes = np.zeros((64, 1), np.int8)
    codes[50] = 5
    one = encode_block("csc", codes, 8, columns=1, lanes=1)
    # 3 x 16 zeros by padding, 2 zeros, the code.
    assert block_lane_steps(one, 1).most_steps == 4
    assert (
        block_lane_steps(
            encode_block("csc", codes, 8, columns=1, lanes=1, index_bits=6), 1
        ).most_steps
        == 1
    )
    assert block_lane_steps(encode_block("csc", codes, 8, columns=1, lanes=16), 16).most_steps == 1
    full = encode_block("csc", np.ones((32, 3), np.int8), 8, columns=3, lanes=16)
    assert [block_lane_steps(full, lanes).most_steps for lanes in (1, 4, 16, 64)] == [96, 24, 6, 6]


# ---- nm


def test_nm_by_hand():
    # Sets 0011, 0101, 0110, 1001, 1010, 1100 have numbers 0 to 5.
    payload = payload_of("nm", [0, 3, 0, -1, 0, 0, 7, 0, 0, 0], 4, n=2, m=4)
    groups = ["001", "1100", "1111"], ["100", "0000", "1110"], ["000", "0000", "0000"]
    groups[0][0] = f"{4:03b}"[::-1]  # positions 1 and 3
    groups[1][0] = f"{1:03b}"[::-1]  # position 2, and the first zero: 0
    stream = "".join("".join(group) for group in groups)
    stream += "0" * (-len(stream) % 8)
    body = [int(stream[i : i + 8][::-1], 2) for i in range(0, len(stream), 8)]
    assert payload == bytes([10, 0, 0, 0, 1 | 2 << 4, *body])


def test_nm_finds_its_structure():
    rng = np.random.default_rng(2)
    for n, m in ((2, 4), (1, 4), (4, 16), (2, 16), (3, 8)):
        codes = np.zeros((40, 64 // m, m), np.int8)
        for row in codes.reshape(-1, m):
            row[rng.permutation(m)[:n]] = rng.integers(1, 128, n)
        block = encode_block("nm", codes, 8, columns=64)
        assert block_parameters(block) == {"columns": 64, "n": n, "m": m, "palette": False}
        assert block_lane_steps(block, 1).most_steps == 40 * 64 // m
    two_of_four = encode_block("nm", codes, 8, columns=64, n=4, m=4)
    assert len(two_of_four) == HEADER_BYTES + 5 + codes.size  # 4:4 has one set: no bits


# ---- dense_block


def test_dense_block_by_hand():
    codes = np.zeros((3, 5), np.int8)
    codes[1, 4] = -1
    codes[2, 0] = 2
    payload = payload_of("dense_block", codes, 4, columns=5, block_rows=2, block_cols=2)
    # Blocks 2 (rows 0 to 1, column 4) and 3 (row 2, columns 0 and 1) are there.
    assert payload == bytes([5, 0, 0, 0, 1, 1, 0b001100, 0xF0, 0x02])
    block = encode_block("dense_block", codes, 4, columns=5, block_rows=2, block_cols=2)
    assert block_lane_steps(block, 1).most_steps == 6


def test_dense_block_of_a_pruned_matrix():
    codes = laplace(3, (64, 256), 4)
    codes[codes == 0] = 1
    keep = np.random.default_rng(3).random((64, 16)) < 0.25
    codes *= np.repeat(keep, 16, axis=1)
    block = encode_block("dense_block", codes, 4, columns=256)
    assert len(block) == HEADER_BYTES + 6 + 64 * 16 // 8 + int(keep.sum()) * 8
    assert block_lane_steps(block, 1).most_steps == 64 * 16 + 3 * int(keep.sum())


# ---- huffman


def optimal_bits(counts):
    heap = [int(count) for count in counts if count]
    heapq.heapify(heap)
    bits = 0
    while len(heap) > 1:
        both = heapq.heappop(heap) + heapq.heappop(heap)
        bits += both
        heapq.heappush(heap, both)
    return bits


@given(npst.arrays(np.int64, st.integers(1, 40), elements=st.integers(0, 30)))
def test_code_lengths_are_optimal(counts):
    lengths = limited_lengths(counts)
    np.testing.assert_array_equal(lengths > 0, counts > 0)
    used = lengths[lengths > 0]
    if used.size > 1:
        assert (0.5**used).sum() == 1
        assert (lengths * counts).sum() == optimal_bits(counts)


def test_code_lengths_are_limited():
    counts = np.array([1, 1], np.int64)
    while counts.size < 30:
        counts = np.append(counts, counts[-2:].sum())  # Fibonacci: the deepest tree
    lengths = limited_lengths(counts)
    assert lengths.max() == MAX_LENGTH
    assert (0.5**lengths).sum() == 1
    assert (np.diff(lengths) <= 0).all()


def test_huffman_by_hand():
    payload = payload_of("huffman", [1, 0, 0, 0, -1, 0], 2, zero_runs=False)
    # Head: one segment, no lengths. Lengths 2, 1, 2 of -1, 0, 1: explicit, one less, one more.
    # Words: 0 is "0", -1 is "10", 1 is "11".
    stream = "000000000" + "110100" + "101" + "100" + "11000100"
    stream += "0" * (-len(stream) % 8)
    assert payload == bytes(int(stream[i : i + 8][::-1], 2) for i in range(0, len(stream), 8))


def test_zero_runs_pay_where_zeros_are_many():
    for zeros, runs in ((0.3, False), (0.75, True), (0.95, True)):
        codes = laplace(4, 1 << 16, 8, zeros)
        sizes = {z: len(encode_block("huffman", codes, 8, zero_runs=z)) for z in (False, True)}
        block = encode_block("huffman", codes, 8)
        assert len(block) == min(sizes.values())
        assert block_parameters(block) == {"segments": 16, "zero_runs": runs}
        assert 8 * len(block) / codes.size < entropy_bits(codes) * 1.015 + 0.02
    # A word for each run and for each non-zero, 16 segments on 16 lanes.
    cycles = block_lane_steps(block, 16).most_steps
    assert 2 * np.count_nonzero(codes) / 16 <= cycles < 2.6 * np.count_nonzero(codes) / 16


def test_segments_keep_lanes_busy():
    codes = laplace(5, 10_000, 4)
    block = encode_block("huffman", codes, 4, zero_runs=False)
    assert [block_lane_steps(block, lanes).most_steps for lanes in (1, 4, 16, 64)] == [
        10_000,
        2500,
        625,
        625,
    ]
    alone = encode_block("huffman", codes, 4, zero_runs=False, segments=1)
    assert block_lane_steps(alone, 16).most_steps == 10_000
    assert 0 < len(block) - len(alone) < 16 * 2
    assert block_hardware_cost(block, 16).comparators == 16 * MAX_LENGTH


# ---- rice


def near_arm():
    """Code sets of many shapes, none of them tuned on."""
    yield "laplace 8", laplace(6, 40_000, 8)
    yield "laplace 8, half", laplace(7, 40_000, 8, 0.5)
    yield "laplace 8, most", laplace(8, 40_000, 8, 0.75)
    yield "laplace 4", laplace(9, 40_000, 4)
    yield "laplace 4, half", laplace(10, 40_000, 4, 0.5)
    yield "laplace 4, most", laplace(11, 40_000, 4, 0.9)
    yield "laplace 2, most", laplace(12, 40_000, 2, 0.9)
    yield (
        "rows of many scales",
        laplace(13, (200, 300), 8, 0.3, np.geomspace(0.02, 1, 200)[:, None]),
    )
    yield "columns of many scales", laplace(14, (200, 300), 8, 0.0, np.geomspace(0.02, 1, 300))
    rng = np.random.default_rng(15)
    yield "uniform", rng.integers(-127, 128, 40_000).astype(np.int8)
    yield "few values", rng.choice(np.array([-90, -7, 3, 60], np.int8), 40_000)
    yield "zeros", np.zeros(40_000, np.int8)
    yield "one value", np.full(40_000, 9, np.int8)
    blocks = laplace(16, (2000, 16), 4)
    blocks[rng.random(2000) < 0.75] = 0
    yield "blocks", blocks
    bursts = laplace(17, 60_000, 6)
    bursts[10_000:30_000] //= 8
    bursts[40_000:55_000] = 0
    yield "bursts", bursts


CASES = dict(near_arm())


def arm_encode(codes):
    return bytes(mlw_codec.encode(codes.reshape(-1).tolist(), 0))


def arm_decode(stream):
    return np.array(mlw_codec.decode(bytearray(stream), 0), np.int64)


@pytest.mark.parametrize("case", CASES)
def test_rice_is_the_size_of_arms_encoder(case):
    codes = CASES[case]
    ours, arms = len(payload_of("rice", codes, 8)), len(arm_encode(codes))
    # Both are filled up to 16 bytes.
    assert abs(ours - arms) <= max(0.01 * arms, 16)


@pytest.mark.parametrize("parameters", [{}, {"counted": True}], ids=["rules", "counted"])
@pytest.mark.parametrize("case", CASES)
def test_arms_decoder_reads_rice(case, parameters):
    codes = CASES[case]
    stream = payload_of("rice", codes, 8, **parameters)
    np.testing.assert_array_equal(arm_decode(stream), codes.reshape(-1))


@pytest.mark.parametrize("case", CASES)
def test_rice_reads_arms_encoder(case):
    codes = CASES[case]
    stream = arm_encode(codes)
    decoded, _ = decode_block(header(RICE, 8, codes.size, stream))
    np.testing.assert_array_equal(decoded, codes.reshape(-1))


@given(
    npst.arrays(
        np.int8, st.integers(1, 400), elements=st.one_of(st.just(0), st.integers(-127, 127))
    )
)
def test_rice_and_arm_read_each_other(codes):
    np.testing.assert_array_equal(arm_decode(payload_of("rice", codes, 8)), codes)
    decoded, _ = decode_block(header(RICE, 8, codes.size, arm_encode(codes)))
    np.testing.assert_array_equal(decoded, codes)


@pytest.mark.parametrize("case", CASES)
def test_counting_bits_is_no_worse_than_arms_rules(case):
    codes = CASES[case]
    rules, counted = (len(encode_block("rice", codes, 8, counted=c)) for c in (False, True))
    assert counted <= rules + 16


def silero_tensors():
    data = fetch(SILERO, Path(), SILERO_SHA256).read_bytes()
    size = int.from_bytes(data[:8], "little")
    for name, entry in json.loads(data[8 : 8 + size]).items():
        if name != "__metadata__" and np.prod(entry["shape"]) >= 4096:
            first, last = (8 + size + offset for offset in entry["data_offsets"])
            tensor = np.frombuffer(data[first:last], "<f4")
            yield name, tensor.reshape(entry["shape"][0], -1)


@pytest.mark.fetch
def test_rice_is_the_size_of_arms_encoder_on_a_real_model():
    num = 0
    for name, tensor in silero_tensors():
        for bits in (8, 4):
            for zeros in (0.0, 0.5, 0.75):
                pruned = np.where(np.abs(tensor) > np.quantile(np.abs(tensor), zeros), tensor, 0)
                steps = np.abs(pruned).max(axis=1, keepdims=True) / (2 ** (bits - 1) - 1)
                codes = np.rint(pruned / np.where(steps == 0, 1, steps)).astype(np.int8)
                ours, arms = len(payload_of("rice", codes, bits)), len(arm_encode(codes))
                assert abs(ours - arms) <= 0.01 * arms, (name, bits, zeros, ours, arms)
                num += 1
    assert num == 42


def test_rice_decodes_at_the_published_rates():
    """Arm: 8 weights a cycle at up to 50 % zeros, 32 from 90 % on."""
    for zeros, least, most in ((0.5, 8, 14), (0.9, 30, 32)):
        codes = laplace(18, 50_000, 8, zeros)
        rate = codes.size / block_lane_steps(encode_block("rice", codes, 8), 16).most_steps
        assert least <= rate <= most
    streams = encode_block("rice", codes, 8, streams=4)
    assert block_lane_steps(streams, 16).most_steps * 3.8 < block_lane_steps(streams, 1).most_steps
    assert block_hardware_cost(streams, 16).adders == 4 * block_hardware_cost(streams, 1).adders
