"""Steps of decoder lanes against blocks walked bit by bit, and cycles against stepped lanes."""

from __future__ import annotations

import functools
import importlib
import itertools
from typing import Any

import numpy as np
import pytest

import lane_model
from azsim.codecs import (
    LaneSteps,
    block_decode_cycles,
    block_lane_steps,
    codec_names,
    decode_profile,
    encode_block,
)
from lane_model import Steps, run_lanes
from stream_walks import WALKS, Walk

pytestmark = pytest.mark.kernels

BUS_BITS, PORT_CODES = 128, 64
LANES = (1, 5, 16)
VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("raw", {}),
    ("raw", {"palette": True}),
    ("palette", {}),
    ("bitmap", {}),
    ("bitmap", {"palette": True}),
    ("zero_run", {}),
    ("zero_run", {"palette": True}),
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
    ("rice", {}),
    ("rice", {"streams": 3}),
    ("rice", {"streams": 16, "counted": True}),
    ("lane_tans", {}),
    ("lane_tans", {"lanes": 3}),
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


def encode(name: str, codes: np.ndarray, bits: int, /, **parameters: int | bool) -> bytes:
    columns = codes.shape[1] if codes.size else None
    return encode_block(name, codes, bits, columns=columns, **parameters)


def as_lists(steps: LaneSteps) -> list[Steps]:
    return [
        list(zip(steps.bits[a:b].tolist(), steps.codes[a:b].tolist(), strict=True))
        for a, b in itertools.pairwise(steps.first.tolist())
    ]


def as_steps(head_bits: int, lanes: list[Steps]) -> LaneSteps:
    first = np.cumsum([0, *map(len, lanes)])
    flat = np.array(list(itertools.chain(*lanes)), np.int32).reshape(-1, 2)
    return LaneSteps(head_bits, first, flat[:, 0].copy(), flat[:, 1].copy())


@functools.cache
def case_steps(case: str, variant: int, lanes: int) -> LaneSteps:
    name, parameters = VARIANTS[variant]
    codes = draw(*CASES[case])
    return block_lane_steps(encode(name, codes, CASES[case][3], **parameters), lanes)


# ------------------------------------------------------------------------------------- steps


def check_steps(block: bytes, walk: Walk, codes: np.ndarray, lanes: int) -> None:
    """Steps, head and codes are the walk's, to the bit; no bit of the block is free."""
    found, head_bits, lists = walk
    assert found == codes.reshape(-1).tolist()
    steps = block_lane_steps(block, lanes)
    assert len(steps.first) == lanes + 1
    assert as_lists(steps) == lists + [[]] * (lanes - len(lists))
    assert steps.head_bits == head_bits
    assert steps.head_bits + int(steps.bits.sum()) == 8 * len(block)
    assert int(steps.codes.sum()) == codes.size


def test_every_codec_is_walked() -> None:
    assert set(WALKS) == {name for name, _ in VARIANTS} == set(codec_names())


@every_variant
@pytest.mark.parametrize("case", CASES)
def test_steps_are_those_of_the_stream_read_bit_by_bit(
    case: str, name: str, parameters: dict[str, int]
) -> None:
    codes = draw(*CASES[case])
    block = encode(name, codes, CASES[case][3], **parameters)
    for lanes in LANES:
        check_steps(block, WALKS[name](block, lanes), codes, lanes)


@every_variant
def test_lanes_of_unlike_work(name: str, parameters: dict[str, int]) -> None:
    codes = draw(17, 64, 64, 8, 0.7)
    codes[::16] = 1  # the rows of csc's lane 0
    codes[48:] = 0  # the end for those with parts
    block = encode(name, codes, 8, **parameters)
    for lanes in LANES:
        check_steps(block, WALKS[name](block, lanes), codes, lanes)


# ---------------------------------------------------------------------------------- profiles


def check_profile(
    steps: LaneSteps, bus_bits: int, port_codes: int, burst_bits: int = 512, offset_bits: int = 0
) -> int:
    """Every burst leaves in the cycle in which it does in the stepped model."""
    room = bus_bits, port_codes, burst_bits, offset_bits
    stepped = run_lanes(steps.head_bits, as_lists(steps), *room)
    assert decode_profile(steps, *room).tolist() == stepped
    return stepped[-1]


@pytest.mark.parametrize("variant", range(len(VARIANTS)), ids=IDS)
@pytest.mark.parametrize("case", CASES)
def test_profiles_are_those_of_stepped_lanes(case: str, variant: int) -> None:
    for lanes in LANES[1:]:
        check_profile(case_steps(case, variant, lanes), BUS_BITS, PORT_CODES)


@pytest.mark.parametrize("variant", range(len(VARIANTS)), ids=IDS)
@pytest.mark.parametrize(("bus_bits", "port_codes"), [(8, 256), (32, 16), (1024, 3), (24, 1)])
def test_narrow_buses_and_ports(bus_bits: int, port_codes: int, variant: int) -> None:
    cases = ["half zeros, primes", "one row", "nearly all zero"]
    for case, lanes in zip(cases, LANES, strict=True):
        cycles = check_profile(case_steps(case, variant, lanes), bus_bits, port_codes, 136, 72)
        assert cycles >= -(-CASES[case][1] * CASES[case][2] // port_codes)


@pytest.mark.parametrize("seed", range(300))
def test_profiles_of_random_steps(seed: int) -> None:
    """Steps without bits or codes, larger than a window or a queue, and idle lanes among them."""
    rng = np.random.default_rng(seed)
    num = rng.integers(0, rng.choice([3, 60]), rng.choice([1, 2, 7]))
    most = rng.choice([1, 30, 200], 2)
    lanes = [
        [
            (int(rng.integers(most[0] + 1)), int(rng.integers(most[1] + 1)))
            if rng.random() < 0.7
            else (0, int(rng.integers(3)))
            for _ in range(size)
        ]
        for size in num
    ]
    steps = as_steps(int(rng.choice([0, 128, 1000])), lanes)
    bus_bits, port_codes = int(rng.choice([8, 100, 1024])), int(rng.choice([1, 16, 500]))
    check_profile(steps, bus_bits, port_codes, int(rng.choice([64, 512])), int(rng.integers(64)))


@every_variant
def test_cycles_of_a_block_are_the_last_of_its_profile(
    name: str, parameters: dict[str, int]
) -> None:
    codes = draw(*CASES["three quarters"])
    block = encode(name, codes, 8, **parameters)
    steps = block_lane_steps(block, 16)
    cycles = block_decode_cycles(block, 16, BUS_BITS, PORT_CODES)
    assert cycles == decode_profile(steps, BUS_BITS, PORT_CODES, 512)[-1]
    assert cycles >= np.diff(steps.first).max()
    assert cycles >= -(-8 * len(block) // BUS_BITS)
    assert cycles >= -(-codes.size // PORT_CODES)
    wide = block_decode_cycles(block, 16, 1 << 30, 1 << 30)
    assert wide == 1 + np.diff(steps.first).max()


def test_the_model_itself_by_hand() -> None:
    assert run_lanes(0, [], 64, 1) == run_lanes(0, [[]], 64, 1) == [0]
    assert run_lanes(128, [], 64, 1) == [2]
    # The bits of a step are there a cycle before it is taken.
    assert run_lanes(0, [[(8, 1)] * 8], 8, 1) == [9]
    assert run_lanes(128, [[(8, 1)] * 8], 128, 1) == [1 + 1 + 8]
    # Two steps a cycle for two lanes, and half of that; bursts leave with their last bits.
    assert run_lanes(0, [[(64, 1)] * 4] * 2, 128, 2) == [5]
    assert run_lanes(0, [[(64, 1)] * 4] * 2, 64, 2, 256) == [4, 9]
    # Forty codes leave at 32 a cycle.
    assert run_lanes(0, [[(1, 40)]], 1, 32) == [3]
    # Lane 1 waits behind lane 0, whose window is full with two steps.
    assert run_lanes(0, [[(64, 1)] * 4, [(1, 1)] * 4], 256, 9) == [5]


# ------------------------------------------------------------- what counts left out before


def test_zeros_of_a_rice_stream_that_nothing_goes_beside_take_their_time() -> None:
    """32 leave in a cycle, after what was decoded before them, and not beside it."""
    dense, zeros = draw(18, 1, 16_000, 8, 0), np.zeros((1, 16_000), np.int8)
    for parts in ([zeros], [zeros, dense], [dense, zeros], [dense, zeros, dense]):
        codes = np.concatenate(parts, axis=1)
        steps = block_lane_steps(encode("rice", codes, 8), 1)
        alone = np.count_nonzero(steps.bits == 0)
        assert 16_000 // 32 - 4 <= alone <= 16_000 // 32
        assert (steps.codes[steps.bits == 0][:-1] == 32).all()


def test_csc_pays_for_a_pointer_a_cycle() -> None:
    """No job takes less than its columns, and where few are empty their pointers are free."""
    few = block_lane_steps(encode("csc", draw(19, 64, 512, 8, 0.97), 8), 16)
    assert np.diff(few.first).min() >= 512
    nothing = block_lane_steps(encode("csc", np.zeros((64, 512), np.int8), 8), 4)
    assert np.diff(nothing.first).tolist() == [4 * 512] * 4
    codes = draw(19, 64, 512, 8, 0.5)
    many = block_lane_steps(encode("csc", codes, 8, lanes=4), 4)
    assert np.diff(many.first).tolist() == [np.count_nonzero(codes[i::4]) for i in range(4)]


def test_a_lane_with_more_work_shares_the_bus_before_it_is_alone() -> None:
    """Above the larger of busiest lane and bus, by what the old count left out."""
    codes = draw(17, 256, 128, 8, 0.7)
    codes[::16] = 1
    block = encode("csc", codes, 8)
    steps = block_lane_steps(block, 16)
    busiest, bus = np.diff(steps.first).max(), -(-8 * len(block) // BUS_BITS)
    assert busiest == 2048 > bus
    assert 1.1 * busiest < check_profile(steps, BUS_BITS, 512, 8 * len(block)) <= busiest + bus


def test_a_write_port_that_was_idle_does_not_catch_up() -> None:
    """Zeros wait for the port, then the bus for codes: both times add up."""
    codes = np.zeros((2, 32_768), np.int8)
    codes[1] = 1
    for name in ("bitmap", "zero_run"):
        block = encode(name, codes, 8)
        steps = block_lane_steps(block, 1)
        both = check_profile(steps, 24, 8, 8 * len(block))
        bus = 8 * len(block) // 24
        assert both > bus + 0.4 * 32_768 / 8


# ------------------------------------------------------------------------------ planted errors


@every_variant
def test_steps_that_are_wrong_are_found(
    name: str, parameters: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    module = importlib.import_module(f"azsim.codecs.{name}")
    codes = draw(*CASES["half zeros, primes"])
    block = encode(name, codes, 4, **parameters)
    walk = WALKS[name](block, 5)
    check_steps(block, walk, codes, 5)
    real = module.lane_steps

    def bit_more(*arguments: Any) -> LaneSteps:
        steps = real(*arguments)
        steps.bits[-1] += 1
        return steps._replace(head_bits=steps.head_bits - 1)

    def code_moved(*arguments: Any) -> LaneSteps:
        steps = real(*arguments)
        steps.codes[0] += 1
        steps.codes[-1] -= 1
        return steps

    def cycle_more(*arguments: Any) -> LaneSteps:
        head_bits, first, bits, given = real(*arguments)
        return LaneSteps(head_bits, first + (first > 0), np.append(0, bits), np.append(0, given))

    for wrong in (bit_more, code_moved, cycle_more):
        monkeypatch.setattr(module, "lane_steps", wrong)
        with pytest.raises(AssertionError):
            check_steps(block, walk, codes, 5)


@pytest.mark.parametrize(
    ("constant", "wrong", "lanes"),
    [
        ("WINDOW_BITS", 127, [[(16, 7)] * 19, [(3, 8)] * 34]),
        ("WINDOW_BITS", 129, [[(43, 38)] * 35, [(6, 1)] * 19]),
        ("QUEUE_CODES", 127, [[(13, 32)] * 12, [(9, 64)] * 41]),
        ("QUEUE_CODES", 129, [[(20, 1)] * 57, [(12, 43)] * 39]),
    ],
)
def test_windows_and_queues_of_another_size_are_found(
    constant: str, wrong: int, lanes: list[Steps], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The compiled profile against a model whose windows or queues are off by one."""
    steps = as_steps(128, lanes)
    rooms = ((512, 20, 512), (64, 20, 512))
    found = [decode_profile(steps, *room).tolist() for room in rooms]
    assert found == [run_lanes(128, lanes, *room) for room in rooms]
    monkeypatch.setattr(lane_model, constant, wrong)
    assert found != [run_lanes(128, lanes, *room) for room in rooms]
