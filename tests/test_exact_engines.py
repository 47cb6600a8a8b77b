"""Cycle-stepped models against the fast ones; no RTL is needed (tests of that are `test_rtl_*`)."""

from __future__ import annotations

import pytest

from azsim.machine.engines.exact_mac import INNER_OFFSET, OUTER_OFFSET
from azsim.machine.engines.mac import Geometry
from rtl import decoder_cases, dram_cases, mac_cases, pipeline_cases
from rtl.agreement import check_agreement

pytestmark = pytest.mark.kernels


@pytest.mark.parametrize("is_outer", [False, True])
@pytest.mark.parametrize("sizes", [(4, 2, 1, 8, 2), (64, 4, 1, 16, 8), (7, 3, 2, 100, 1)])
def test_the_mac_array_takes_the_same_cycles(
    sizes: tuple[int, int, int, int, int], is_outer: bool
) -> None:
    for weights, activations in ((True, True), (True, False), (False, True), (False, False)):
        shape = Geometry(*sizes, weights, activations, is_outer)
        for seed in range(40):
            case = mac_cases.random_case(seed, shape, 8)
            if not case.stall.any():
                found = mac_cases.exact_cycles(case, shape)
                offset = OUTER_OFFSET if is_outer else INNER_OFFSET
                assert found - offset == mac_cases.fast_cycles(case, shape)


@pytest.mark.parametrize("codec", ["bitmap", "zero_run"])
def test_the_decoder_takes_the_lanes_cycles_when_the_port_is_wide(codec: str) -> None:
    for seed in range(40):
        block = decoder_cases.random_block(seed, codec, 4)
        if not block.stall.any():
            found = decoder_cases.exact(block, decoder_cases.split(block, 4), 64)
            # A group that zero_run's last entry begins leaves a cycle later.
            assert decoder_cases.fast(block, 4, 64) - found in (
                (1,) if codec == "bitmap" else (0, 1)
            )


def test_the_decoder_is_bound_by_its_port() -> None:
    blocks = [decoder_cases.random_block(seed, "bitmap", 8, is_long=True) for seed in range(7, 20)]
    found = [decoder_cases.exact(block, decoder_cases.split(block, 8), 16) for block in blocks]
    fast = [decoder_cases.fast(block, 8, 16) for block in blocks]
    check_agreement(fast, found, mean=0.01, worst=0.03, slack_cycles=3)


def test_transfers_end_in_the_same_cycle() -> None:
    for seed in range(60):
        case = dram_cases.random_transfers(seed)
        case.dram[5:] = 0  # refresh is where they differ
        if not case.stall.any():
            found = dram_cases.exact_ends(case, 4, 3, 2)
            assert found.tolist() == dram_cases.fast_ends(case, 4, 3, 2).tolist()


def test_a_stalled_memory_only_delays() -> None:
    for seed in range(20):
        case = dram_cases.random_transfers(seed)
        case.dram[5:] = 0
        case.jobs[:, 0] = 0
        stalled = dram_cases.exact_ends(case, 4, 3, 2)
        case.stall[:] = 0
        assert (dram_cases.exact_ends(case, 4, 3, 2) <= stalled).all()


def test_joined_tiles_are_near() -> None:
    size = pipeline_cases.Joined(4, 2, 64, "bitmap", 8, 8, 8, 4, 4, skip_activations=True)
    cases = [pipeline_cases.random_sequence(seed, size) for seed in range(6, 40)]
    cases = [case for case in cases if not case.stall.any()]
    fast = [pipeline_cases.fast(case, size) for case in cases]
    found = [pipeline_cases.exact(case, size) for case in cases]
    check_agreement(fast, found, mean=0.02, worst=0.05, slack_cycles=100)
