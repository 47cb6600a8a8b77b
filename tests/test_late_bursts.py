"""What late bursts cost a block: four numbers a burst against steps that are worked through."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np
import pytest

from azsim.codecs import LaneSteps, block_lane_steps, decode_profile, encode_block
from azsim.codecs._steps import walk_steps
from azsim.machine.engines.decoder import (
    DecoderSizes,
    block_times,
    burst_times,
    copy_times,
)

pytestmark = pytest.mark.kernels

SIZES = [
    DecoderSizes(16, 128, 64, 512),
    DecoderSizes(16, 64, 16, 512),
    DecoderSizes(3, 256, 32, 256),
    DecoderSizes(1, 128, 64, 512),
]
CODECS = ["raw", "palette", "bitmap", "zero_run", "csc", "rice", "huffman", "lane_tans"]


@functools.cache
def _block(codec: str, seed: int) -> bytes:
    rng = np.random.default_rng(seed)
    density = rng.choice([0.03, 0.2, 0.6, 1.0])
    codes = np.where(rng.random((48, 80)) < density, rng.integers(-7, 8, (48, 80)), 0)
    if seed % 2:  # lanes of unlike work
        codes[16:] = np.where(rng.random((32, 80)) < 0.05, codes[16:], 0)
    return encode_block(codec, codes.astype(np.int8), 8)


def _cases() -> Iterator[tuple[str, LaneSteps, DecoderSizes, int, np.random.Generator]]:
    for seed in range(4):
        for codec in CODECS:
            for sizes in SIZES:
                rng = np.random.default_rng(seed)
                steps = block_lane_steps(_block(codec, seed), sizes.lanes)
                offset = 128 * int(rng.integers(0, sizes.burst_bits // 128))
                yield f"{codec} {seed} {sizes}", steps, sizes, offset, rng


def leaving_times(
    steps: LaneSteps, sizes: DecoderSizes, offset_bits: int, arrival: np.ndarray
) -> np.ndarray:
    """Cycle in which each burst has left the FIFO, for bursts that arrive in given cycles."""
    size = len(steps.bits)
    left = np.zeros(len(arrival), np.int64)
    waits, times = np.full((size, 2), -1, np.int64), np.zeros((size, 3), np.int64)
    block = (*steps, steps.window_bits, *sizes[1:], offset_bits)
    walk_steps(*block, arrival.copy(), False, left, waits, times)
    left[-1] += 1  # the write of the last code
    return left


def _by_four_numbers(times: np.ndarray, arrival: np.ndarray) -> np.ndarray:
    """The clock's rule, with a sum over all bursts before instead of what it keeps."""
    left, end_slack, left_slack, hold = times.T
    out: list[int] = []
    for b in range(len(arrival)):
        late = int((arrival[: b + 1] - end_slack[: b + 1]).max())
        if b + 1 == len(arrival):
            out.append(late + int(left[b]))
            continue
        leaves = int(arrival[b] + hold[b])
        if b:
            before = int((arrival[:b] - left_slack[:b]).max())
            leaves = max(leaves, min(before + int(left[b]), late + int(end_slack[b + 1])), out[-1])
        out.append(leaves)
    return np.array(out)


def test_a_block_whose_bursts_are_there_has_the_profile_of_its_steps() -> None:
    for where, steps, sizes, offset, _ in _cases():
        profile = decode_profile(steps, *sizes[1:], offset)
        profile[-1] += 1  # a step's codes are written in the cycle after it
        times = burst_times(steps, sizes, offset)
        np.testing.assert_array_equal(times[:, 0], profile, where)
        assert times.min() >= 0, where
        assert times[0, 1] == 0, where


def test_a_block_ends_as_if_it_had_been_worked_through_with_late_bursts() -> None:
    most_early = 0
    for where, steps, sizes, offset, rng in _cases():
        times = burst_times(steps, sizes, offset)
        for gap in (1, 4, 12, 40):
            arrival = np.cumsum(rng.integers(0, 2 * gap + 1, len(times)))
            wanted = leaving_times(steps, sizes, offset, arrival)
            found = _by_four_numbers(times, arrival)
            assert found[-1] == wanted[-1], f"{where}, {gap}"
            most_early = max(most_early, int((wanted - found).max()))
    assert most_early <= 1  # bursts leave on time, or as late as the clock takes them to


def test_slack_is_what_a_burst_may_be_late() -> None:
    for where, steps, sizes, offset, rng in _cases():
        times = burst_times(steps, sizes, offset)
        for b in rng.integers(0, len(times), 3):
            arrival = np.where(np.arange(len(times)) < b, 0, times[b, 1])
            on_time = leaving_times(steps, sizes, offset, arrival)
            assert on_time[-1] == times[-1, 0], f"{where}, burst {b}"
            arrival[b:] += 5
            late = leaving_times(steps, sizes, offset, arrival)
            assert late[-1] >= times[-1, 0] + 4, f"{where}, burst {b}"
            arrival = np.where(np.arange(len(times)) < b, 0, times[b, 2])
            left = leaving_times(steps, sizes, offset, arrival)[:-1]
            assert (left[b:] <= times[b:-1, 0] + 1).all(), f"{where}, burst {b}"


def test_padding_after_a_block_has_to_come_and_is_not_waited_for() -> None:
    encoded = _block("bitmap", 0)
    alone = burst_times(block_lane_steps(encoded, 16), SIZES[0], 0)
    padded = block_times(encoded, SIZES[0], 0, len(alone) + 2)
    np.testing.assert_array_equal(padded[: len(alone)], alone)
    arrival = np.zeros(len(padded), np.int64)
    assert _by_four_numbers(padded, arrival)[-1] == alone[-1, 0]
    arrival[-1] = 10_000
    assert _by_four_numbers(padded, arrival)[-1] == 10_000


def test_bytes_that_are_not_decoded_are_written_as_they_come() -> None:
    """200 bytes from byte 40 of a burst of 64: 24, 64, 64 and 48 bytes at 10 a cycle."""
    times = copy_times(200, 10, 64, 40)
    assert times[:, 0].tolist() == [3, 9, 16, 20]
    assert _by_four_numbers(times, np.zeros(4, np.int64)).tolist() == [3, 9, 16, 20]
    assert _by_four_numbers(times, np.array([0, 100, 100, 200])).tolist() == [3, 106, 113, 204]
