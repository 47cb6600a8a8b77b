"""Cycles that codecs count, against lanes stepped symbol by symbol through the block at hand.

For `bitmap`, `zero_run` and `lane_tans` there are models of their own elsewhere.
"""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Callable

import numpy as np
import pytest

from azsim.codecs import block_lane_cycles, encode_block
from azsim.codecs import csc as csc_codec
from lane_model import FILL, Symbols, bus_cycles, step_lanes
from stream_walks import WALKS

pytestmark = pytest.mark.kernels

BUS_BITS = 128
RICE_CODES_PER_CYCLE = 32
LANES = (1, 5, 16)
VARIANTS = [
    ("csc", {}),
    ("csc", {"index_bits": 3, "lanes": 4}),
    ("csc", {"palette": True}),
    ("nm", {}),
    ("nm", {"n": 16, "m": 16}),
    ("nm", {"palette": True}),
    ("dense_block", {}),
    ("dense_block", {"block_rows": 3, "block_cols": 5}),
    ("dense_block", {"palette": True}),
    ("huffman", {"zero_runs": False}),
    ("huffman", {"zero_runs": True}),
    ("huffman", {"segments": 3}),
]
IDS = ["-".join([name, *map(str, itertools.chain(*p.items()))]) for name, p in VARIANTS]
every_variant = pytest.mark.parametrize(("name", "parameters"), VARIANTS, ids=IDS)


def draw(seed: int, rows: int, columns: int, bits: int, zeros: float) -> np.ndarray:
    """Laplace codes without a zero, then that part of zeros."""
    rng = np.random.default_rng(seed)
    limit = 2 ** (bits - 1) - 1
    drawn = np.rint(rng.laplace(0, limit / 4, (rows, columns)))
    codes = np.clip(drawn, -limit, limit).astype(np.int8)
    codes[codes == 0] = 1
    codes[rng.random(codes.shape) < zeros] = 0
    return codes


CASES = {  # seed, rows, columns, bits, zeros
    "empty": (0, 0, 1, 8, 0),
    "one zero": (1, 1, 1, 8, 1),
    "one value": (2, 1, 1, 8, 0),
    "all zero": (3, 64, 33, 8, 1),
    "no zero": (4, 64, 64, 8, 0),
    "no zero, 4 bits": (5, 64, 64, 4, 0),
    "no zero, 2 bits": (6, 31, 64, 2, 0),
    "a few zeros": (7, 64, 64, 8, 0.25),
    "half zeros": (8, 64, 64, 8, 0.5),
    "half zeros, primes": (9, 13, 17, 4, 0.5),
    "three quarters": (10, 200, 20, 8, 0.75),
    "three quarters, 4 bits": (11, 64, 64, 4, 0.75),
    "nine tenths": (12, 64, 64, 8, 0.9),
    "nine tenths, 2 bits": (13, 128, 32, 2, 0.9),
    "nearly all zero": (14, 500, 7, 8, 0.98),
    "one row": (15, 1, 997, 5, 0.5),
    "one column": (16, 997, 1, 6, 0.5),
}


def walked(
    name: str, codes: np.ndarray, bits: int, on_lanes: int, /, **parameters: int | bool
) -> tuple[bytes, list[Symbols]]:
    """A block and its symbols, after a check that they make the codes."""
    columns = codes.shape[1] if codes.size else None
    block = encode_block(name, codes, bits, columns=columns, **parameters)
    found, symbols = WALKS[name](block, on_lanes)
    assert found == codes.reshape(-1).tolist()
    assert len(symbols) <= on_lanes
    return block, symbols


def check_unlimited(block: bytes, symbols: list[Symbols], lanes: int) -> None:
    counted = block_lane_cycles(block, lanes)
    assert step_lanes(symbols) == counted + (FILL if counted else 0)


@every_variant
@pytest.mark.parametrize("case", CASES)
def test_counted_cycles_are_those_of_stepped_lanes(
    case: str, name: str, parameters: dict[str, int]
) -> None:
    """To the cycle, with a bus that fills every FIFO at once."""
    for lanes in LANES:
        block, symbols = walked(name, draw(*CASES[case]), CASES[case][3], lanes, **parameters)
        check_unlimited(block, symbols, lanes)


@every_variant
@pytest.mark.parametrize("case", CASES)
def test_on_a_bus_the_slower_of_bus_and_lanes_sets_the_pace(
    case: str, name: str, parameters: dict[str, int]
) -> None:
    """With codes that are alike all over: within a tenth, and a cycle and a half a lane.

    The cycles a lane are the fill of the FIFOs, and in small blocks what chance gives one lane
    more than others.
    """
    seed, rows, columns, bits, zeros = CASES[case]
    for lanes, more in itertools.product(LANES[1:], (0, 1000)):
        codes = draw(seed + more, rows, columns, bits, zeros)
        block, symbols = walked(name, codes, bits, lanes, **parameters)
        counted = block_lane_cycles(block, lanes)
        slower = max(counted, bus_cycles(symbols, BUS_BITS))
        stepped = step_lanes(symbols, BUS_BITS)
        assert slower <= stepped <= 1.1 * slower + FILL + 1.5 * lanes
        assert stepped <= counted + bus_cycles(symbols, BUS_BITS) + FILL


def test_lanes_of_unlike_work_take_longer_on_a_bus_but_not_longer_than_both() -> None:
    """What the larger of both leaves out: while all are busy, the longest lane has to share."""
    codes = draw(17, 256, 128, 8, 0.7)
    codes[::16] = 1  # the rows of lane 0
    block, symbols = walked("csc", codes, 8, 16)
    counted, bus = block_lane_cycles(block, 16), bus_cycles(symbols, BUS_BITS)
    stepped = step_lanes(symbols, BUS_BITS)
    assert counted == 2048 > bus
    assert 1.1 * counted < stepped <= 1.2 * counted
    assert stepped <= counted + bus + FILL


@pytest.mark.parametrize("streams", [1, 3, 16])
@pytest.mark.parametrize("counted_form", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_rice_cycles_are_within_what_the_stepped_decoder_allows(
    case: str, counted_form: bool, streams: int
) -> None:
    for lanes in LANES:
        block, symbols = walked(
            "rice", draw(*CASES[case]), CASES[case][3], lanes, counted=counted_form, streams=streams
        )
        counted = block_lane_cycles(block, lanes)
        stepped = step_lanes(symbols, codes_per_cycle=RICE_CODES_PER_CYCLE)
        expanding = [
            -(-sum(codes for _, codes in lane) // RICE_CODES_PER_CYCLE) for lane in symbols
        ]
        chunks_and_heads = max(map(len, symbols))
        assert chunks_and_heads <= counted
        assert stepped >= max(chunks_and_heads, *expanding, 0)
        assert stepped <= chunks_and_heads + max(expanding) + FILL
        assert step_lanes(symbols) == chunks_and_heads + (FILL if chunks_and_heads else 0)
        if streams == 1 and all(
            len(lane) >= 2 * out for lane, out in zip(symbols, expanding, strict=True)
        ):
            # Chunks set the pace.
            assert counted == chunks_and_heads


def test_rice_leaves_out_that_zeros_at_the_end_wait_for_the_last_chunk() -> None:
    """A limit of the count: only zeros that lie among weights expand beside the next chunks."""
    dense, zeros = draw(18, 1, 16_000, 8, 0), np.zeros((1, 16_000), np.int8)
    extra = []
    for parts in ([zeros, dense], [dense, zeros], [zeros]):
        block, symbols = walked("rice", np.concatenate(parts, axis=1), 8, 1)
        stepped = step_lanes(symbols, codes_per_cycle=RICE_CODES_PER_CYCLE)
        extra.append(stepped - block_lane_cycles(block, 1) - FILL)
    assert extra == [0, 16_000 // RICE_CODES_PER_CYCLE, 250]


def test_csc_leaves_out_a_pointer_a_cycle() -> None:
    """A limit of the count: its pointers are there, however many columns are empty.

    With a reader of one pointer a cycle and lane, ahead without a limit, no job takes less than
    its columns.
    """
    codes = draw(19, 64, 512, 8, 0.97)
    block, _ = walked("csc", codes, 8, 16)
    assert block_lane_cycles(block, 16) < 512 / 4


# ------------------------------------------------------------------------------ planted errors


def without_padding(payload: np.ndarray, count: int, bits: int, flags: int, lanes: int) -> int:
    """As `csc.lane_cycles`, for blocks of 16 lanes, but an entry a non-zero."""
    codes = csc_codec.decode(payload, count, bits, flags)
    columns = int.from_bytes(payload[:4].tobytes(), "little")
    of_lane = [int(np.count_nonzero(codes.reshape(-1, columns)[i::16])) for i in range(16)]
    return max(sum(of_lane[lane::lanes]) for lane in range(lanes))


def one_more(real: Callable[..., int]) -> Callable[..., int]:
    return lambda *arguments: real(*arguments) + 1


@pytest.mark.parametrize("lanes", LANES)
def test_a_count_without_padding_entries_is_found(
    lanes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    block, symbols = walked("csc", draw(20, 1024, 8, 8, 0.95), 8, lanes)
    check_unlimited(block, symbols, lanes)
    monkeypatch.setattr(csc_codec, "lane_cycles", without_padding)
    with pytest.raises(AssertionError):
        check_unlimited(block, symbols, lanes)


@pytest.mark.parametrize("name", ["csc", "dense_block", "huffman", "nm"])
def test_a_symbol_too_many_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module(f"azsim.codecs.{name}")
    block, symbols = walked(name, draw(*CASES["half zeros"]), 8, 5)
    check_unlimited(block, symbols, 5)
    with pytest.raises(AssertionError):
        check_unlimited(block, [[*lane, (1, 1)] for lane in symbols], 5)
    monkeypatch.setattr(module, "lane_cycles", one_more(module.lane_cycles))
    with pytest.raises(AssertionError):
        check_unlimited(block, symbols, 5)


def test_the_model_itself_by_hand() -> None:
    assert step_lanes([]) == step_lanes([[]]) == 0
    assert step_lanes([[(8, 1)] * 8]) == 9
    # A word a cycle for two lanes of a word a cycle: 8 words, and the second lane waits for one.
    assert step_lanes([[(64, 1)] * 4, [(64, 1)] * 4], 64) == 9
    assert step_lanes([[(64, 1)] * 4, [(64, 1)] * 4], 128) == 5
    # Forty codes leave at 32 a cycle.
    assert step_lanes([[(1, 40)]], codes_per_cycle=32) == 3
