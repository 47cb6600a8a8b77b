"""Decoder: Verilog, cycle-stepped model and codecs' own cycles on the same random blocks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from rtl.agreement import check_agreement, distribution
from rtl.decoder_cases import decoder_design, exact, fast, random_block, rtl, split
from rtl.harness import build_all, require_rtl

require_rtl()

_SIZES = [(4, 64), (8, 32), (3, 16), (16, 64)]  # lanes, codes that the write port takes a cycle
_CASES = 75  # of each size, and one in five is long
_CODECS = ("bitmap", "zero_run")


@pytest.fixture(scope="module", autouse=True)
def _built() -> None:
    build_all([decoder_design(codec, *size) for codec in _CODECS for size in _SIZES])


@pytest.mark.slow
@pytest.mark.parametrize("codec", _CODECS)
def test_rtl_models_and_codes_agree(codec: str, tell: Callable[[str], None]) -> None:
    model, measured = [], []
    for lanes, port_codes in _SIZES:
        design = decoder_design(codec, lanes, port_codes)
        for seed in range(_CASES):
            block = random_block(seed, codec, lanes, is_long=seed >= _CASES * 4 // 5)
            streams = split(block, lanes)
            cycles, codes = rtl(design, block, streams)
            where = f"{codec}, {lanes} lanes, case {seed}"
            np.testing.assert_array_equal(codes, block.codes, err_msg=where)
            assert exact(block, streams, port_codes) == cycles, where
            if not block.stall.any():
                model.append(fast(block, lanes, port_codes))
                measured.append(cycles)
    assert len(_SIZES) * _CASES >= 300
    tell(f"{codec}: {distribution(model, measured)}")
    check_agreement(model, measured, mean=0.01, worst=0.03, slack_cycles=3)


def test_planted_loss_of_a_padding_entry_is_found() -> None:
    lanes, port_codes = _SIZES[0]
    design = decoder_design("zero_run", lanes, port_codes)
    found = 0
    for seed in (5, 7, 9, 10, 11, 13, 14):
        block = random_block(seed, "zero_run", lanes)
        whole, short = split(block, lanes), split(block, lanes, drop_padding=True)
        if sum(map(len, short.events)) == sum(map(len, whole.events)):
            continue
        cycles, codes = rtl(design, block, short)
        assert cycles != exact(block, whole, port_codes)
        assert not np.array_equal(codes, block.codes)
        found += 1
    assert found >= 2


def test_planted_narrower_port_is_found() -> None:
    design = decoder_design("bitmap", 8, 32)
    blocks = [random_block(seed, "bitmap", 8, is_long=True) for seed in range(8, 16)]
    measured = [rtl(design, block, split(block, 8))[0] for block in blocks]
    assert measured != [exact(block, split(block, 8), 64) for block in blocks]
    with pytest.raises(AssertionError):
        check_agreement(
            [fast(block, 8, 64) for block in blocks], measured, mean=0.01, worst=0.03,
            slack_cycles=3,
        )  # fmt: skip
