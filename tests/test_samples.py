"""What blocks are told to take before there are any, beside what they take."""

from __future__ import annotations

import numpy as np
import pytest

from azsim.codecs import block_decode_cycles
from azsim.compiler.residence import encode_codes
from azsim.compiler.samples import take_samples
from azsim.compiler.stored import estimated_bits, used_codec
from azsim.hardware import load_hardware
from azsim.ir import CodecChoice, CompressedWeight

AZ1 = load_hardware("az1")
CODECS = ("raw", "bitmap", "zero_run", "csc", "huffman", "rice", "lane_tans", "dense_block")


def _weight(codec: str, bits: int, shape: tuple[int, int] = (256, 192)) -> CompressedWeight:
    """A matrix of seeded codes, six of ten zero and most others small."""
    rng = np.random.default_rng(5)
    limit = 2 ** (bits - 1) - 1
    codes = rng.standard_normal(shape) * limit / 3 * (rng.random(shape) < 0.4)
    codes = np.clip(np.rint(codes), -limit, limit).astype(np.int8)
    scales = np.ones((1, shape[0]), np.float32)
    return CompressedWeight(
        "w", codes, scales, (0, shape[1]), bits, "per_channel", 8, None, CodecChoice(codec)
    )


def _block(weight: CompressedWeight, rows: slice) -> tuple[int, int, int]:
    """Codes, bytes and decoder cycles of a block of some rows."""
    codes = weight.codes[rows]
    block = encode_codes(used_codec(weight.codec, AZ1), codes, weight.bits)
    bus_bits = 8 * AZ1.decoder.bus_bytes_per_cycle
    return codes.size, len(block), block_decode_cycles(block, AZ1.decoder.lanes, bus_bits, 1 << 30)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("codec", CODECS)
def test_blocks_take_about_what_samples_tell(codec: str, bits: int) -> None:
    """Of other rows than those that were sampled, and of other numbers of them."""
    weight = _weight(codec, bits)
    samples = take_samples(weight, AZ1)
    for rows in (slice(3, 19), slice(100, 164), slice(0, 256)):
        codes, num_bytes, cycles = _block(weight, rows)
        told = np.array([codes])
        assert samples.bytes_of(told)[0] == pytest.approx(num_bytes, rel=0.2, abs=16)
        assert samples.cycles_of(told)[0] == pytest.approx(cycles, rel=0.2, abs=24)


def test_a_table_counts_for_less_in_a_larger_block() -> None:
    codes = np.array([1024, 16_384, 1_000_000])
    raw, coded = (take_samples(_weight(codec, 8), AZ1) for codec in ("raw", "huffman"))
    assert raw.bytes_of(codes) / codes == pytest.approx(1.0, abs=0.04)
    small, large, beyond = coded.bytes_of(codes) / codes
    assert small > large >= beyond * 0.999
    assert beyond < 1


@pytest.mark.parametrize("shape", [(1, 64), (1, 5000), (3, 8), (2048, 1)])
def test_a_small_matrix_is_its_own_sample(shape: tuple[int, int]) -> None:
    weight = _weight("bitmap", 8, shape)
    codes, num_bytes, _ = _block(weight, slice(None))
    told = take_samples(weight, AZ1).bytes_of(np.array([codes]))[0]
    assert told == pytest.approx(num_bytes, rel=0.2, abs=16)


def test_a_codec_that_is_not_chosen_yet_is_told_from_counts() -> None:
    weight = _weight("auto", 4)
    samples = take_samples(weight, AZ1)
    codes = np.array([4096, 1 << 20])
    bytes_per_code = estimated_bits(weight, AZ1) / 8
    assert samples.bytes_of(codes) == pytest.approx(bytes_per_code * codes, rel=0.05)
    assert samples.cycles_of(codes) == pytest.approx(codes / AZ1.decoder.lanes)
