"""lane_tans decoder: Verilog, cycle-stepped model and the fast one on the same random blocks."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from azsim.codecs import encode_block
from rtl.agreement import check_agreement, distribution
from rtl.harness import build_all, require_rtl
from rtl.tans_cases import Block, exact, fast, open_block, random_block, rtl, tans_design

require_rtl()

_SIZES = [(1, 64), (4, 32), (16, 64)]  # lanes, codes that the write port takes a cycle
_CASES = 110  # of each size, and one in five is long
_PLANTED = (2, 64)
_NO_STALL = np.zeros(1, np.uint8)


def _planted_designs():
    return {
        "longer FIFO": tans_design(*_PLANTED, HOLD_WORDS=3),
        "shorter FIFO": tans_design(*_PLANTED, HOLD_WORDS=1),
        "order": tans_design(*_PLANTED, IN_ORDER=0),
    }


@pytest.fixture(scope="module", autouse=True)
def _built() -> None:
    build_all([*(tans_design(*size) for size in _SIZES[::-1]), *_planted_designs().values()])


def _cases(lanes: int) -> list[Block]:
    return [random_block(seed, lanes, is_long=seed >= _CASES * 4 // 5) for seed in range(_CASES)]


@functools.cache
def _compared() -> tuple[list[int], list[int]]:
    """Cycles of the fast model and of the RTL, which are compared with all else on the way."""
    model, measured, stalled = [], [], 0
    forms, logs, widths, used = set(), set(), set(), set()
    for lanes, port_codes in _SIZES:
        design = tans_design(lanes, port_codes)
        for seed, block in enumerate(_cases(lanes)):
            job = open_block(block, lanes)
            cycles, codes = rtl(design, block, job)
            where = f"{lanes} lanes, case {seed}"
            np.testing.assert_array_equal(codes, block.codes, err_msg=where)
            stepped = exact(block, job, port_codes)
            assert stepped.cycles == cycles, where
            assert stepped.most_held_bits < 64, where
            forms.add(job.form)
            logs.add(job.log)
            widths.add(block.bits)
            used.add((lanes, job.lane_bits.size))
            if block.stall.any():
                stalled += 1
            else:
                model.append(fast(block, lanes, port_codes))
                measured.append(cycles)
    assert len(_SIZES) * _CASES >= 300
    assert stalled >= 40
    # Each of flags, masks, signs in symbols and dead zones with and without the others, but for
    # masks with raw signs at 2 bits, which exclude the last two.
    assert len({form for form in forms if form[2]}) == 16
    assert {(flags, True, False, False, False) for flags in (False, True)} <= forms
    assert logs == {0, 7, 8, 9, 10}
    assert widths == set(range(2, 9))
    assert {(16, 16), (16, 5), (4, 4), (4, 3), (4, 1), (1, 1)} <= used
    return model, measured


@pytest.mark.slow
def test_rtl_models_and_codes_agree(tell: Callable[[str], None]) -> None:
    model, measured = _compared()
    tell(f"lane_tans: {distribution(model, measured)}")
    check_agreement(model, measured, mean=0.01, worst=0.03, slack_cycles=3)


@pytest.mark.parametrize(("density", "least"), [(1.0, 15.9), (0.25, 28.0)])
@pytest.mark.parametrize("bits", [4, 8])
def test_weights_per_cycle_on_a_bus_of_128_bits(bits: int, density: float, least: float) -> None:
    rng = np.random.default_rng(bits)
    limit = (1 << (bits - 1)) - 1
    weights = rng.laplace(size=(512, 256))
    weights[np.abs(weights) < np.quantile(np.abs(weights), 1 - density)] = 0
    codes = np.clip(np.rint(weights * limit / 8), -limit, limit).astype(np.int8)
    block = Block(codes, encode_block("lane_tans", codes, bits, columns=256), bits, _NO_STALL)
    job = open_block(block, 16)
    cycles, found = rtl(tans_design(*_SIZES[2]), block, job)
    np.testing.assert_array_equal(found, codes)
    assert cycles == exact(block, job, _SIZES[2][1]).cycles
    assert codes.size / cycles >= least


@pytest.mark.parametrize("planted", ["longer FIFO", "shorter FIFO", "order"])
def test_planted_fifo_of_another_length_and_order_by_readiness_are_found(planted: str) -> None:
    """In all blocks whose words the lanes do not take in turn anyway."""
    design = _planted_designs()[planted]
    lanes, port_codes = _PLANTED
    found = tried = 0
    for seed in range(10, 40):
        block = random_block(seed, lanes)
        job = open_block(block, lanes)
        if np.any(job.lane_bits < 2048) or job.lane_bits.size < lanes:
            continue
        cycles, codes = rtl(design, block, job)
        tried += 1
        is_right = cycles == exact(block, job, port_codes).cycles
        if planted == "shorter FIFO":
            assert is_right or cycles == -1
        else:
            is_right &= np.array_equal(codes, block.codes)
        found += not is_right
    assert tried >= 8
    assert found == tried


@pytest.mark.parametrize(
    ("bits", "planted"),
    [
        (2, {"queue_groups": 7}),
        (2, {"queue_groups": 9}),
        (2, {"port_codes": 48}),
        (8, {"buffer_beats": 1}),
        (8, {"buffer_beats": 3}),
    ],
    ids=str,
)
def test_planted_size_is_found(bits: int, planted: dict[str, int]) -> None:
    """Blocks of zeros: at 2 bits the port is full at times, at 8 bits a bus that stalls."""
    lanes, port_codes = _SIZES[2]
    rng = np.random.default_rng(7)
    limit = (1 << (bits - 1)) - 1
    some = np.repeat(rng.random((512, 16)) < 0.4, 16, axis=1)  # enough for all lanes
    codes = (some * rng.integers(-limit, limit + 1, some.shape)).astype(np.int8)
    data = encode_block("lane_tans", codes, bits, columns=256)
    block = Block(codes, data, bits, (np.arange(13) > 8).astype(np.uint8))
    job = open_block(block, lanes)
    cycles, found = rtl(tans_design(lanes, port_codes), block, job)
    np.testing.assert_array_equal(found, codes)
    sizes = {"port_codes": port_codes, **planted}
    assert cycles == exact(block, job, port_codes).cycles
    assert cycles != exact(block, job, sizes.pop("port_codes"), **sizes).cycles


@pytest.mark.slow
def test_planted_wrong_table_entry_is_found() -> None:
    lanes, port_codes = _SIZES[1]
    rng = np.random.default_rng(5)
    codes = (rng.integers(1, 8, (80, 64)) * rng.choice([-1, 1], (80, 64))).astype(np.int8)
    block = Block(codes, encode_block("lane_tans", codes, 4, columns=64, lanes=lanes), 4, _NO_STALL)
    job = open_block(block, lanes)
    design = tans_design(lanes, port_codes)
    assert job.entries.size == 128
    for state in range(0, 128, 5):
        for field in (0, 10, 14, 17, 18, 19):
            entries = job.entries.copy()
            entries[state] ^= 1 << field
            _, found = rtl(design, block, replace(job, entries=entries))
            assert not np.array_equal(found, codes), (state, field)
