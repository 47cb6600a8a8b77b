"""The choice of a codec by cycles, against the clock that times real programs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from azsim.codecs import encode_block
from azsim.compiler import select
from azsim.compiler.loading import load_cycles
from azsim.compiler.tile import Tile
from azsim.hardware.description import Hardware
from azsim.ir import CodecChoice, CompressedWeight
from azsim.isa import assembly
from azsim.isa.program import DramImage
from azsim.sim.execute import execute
from azsim.sim.timing import replay
from compiled import chip

pytestmark = pytest.mark.kernels

CODECS = ("raw", "bitmap", "zero_run", "palette", "huffman")
CHIPS = {
    "az1": chip(decoder__codecs=CODECS),
    "slow DRAM": chip(decoder__codecs=CODECS, dram__bytes_per_s=400_000_000),
    "one lane": chip(decoder__codecs=CODECS, decoder__lanes=1),
    "fast DRAM": chip(decoder__codecs=CODECS, dram__bytes_per_s=64_000_000_000),
    "short FIFO": chip(decoder__codecs=CODECS, decoder__fifo_bursts=2),
    "one request": chip(decoder__codecs=CODECS, dram__outstanding_bursts=1),
}


def matrix(density: float) -> CompressedWeight:
    rng = np.random.default_rng(1)
    codes = np.rint(rng.laplace(0, 20, (128, 256))).clip(-127, 127)
    codes = (codes * (rng.random((128, 256)) < density)).astype(np.int8)
    choice = CodecChoice("auto", {"by_cycles": True})
    scales = np.ones((1, 128), np.float32)
    return CompressedWeight("w", codes, scales, (0, 256), 8, "per_channel", 8, None, choice)


LOAD = """
view view=v0 space=dram dtype=u8 addr=0x0 cols={size} col_stride=1
view view=v1 space=weight dtype=i8 addr=0x0 rows={rows} cols=256 row_stride=256 col_stride=1
weight_load dst=v1 src=v0
halt
"""


def measured(codes: np.ndarray, choice: CodecChoice, hardware: Hardware) -> int:
    """Cycles that the clock gives the load of one block, the only instruction of a program."""
    block = encode_block(choice.name, codes, 8, columns=codes.shape[1], **choice.parameters)
    program = assembly.parse(LOAD.format(size=len(block), rows=len(codes)))
    image = DramImage(np.frombuffer(block + bytes(4096), np.uint8).copy())
    timing = replay(execute(program, image, hardware).trace, program, hardware)
    return int((timing.end - timing.start)[0])


@pytest.mark.parametrize("name", CHIPS)
@pytest.mark.parametrize("density", [0.05, 0.3, 1.0])
def test_the_rule_is_that_of_the_clock(name: str, density: float) -> None:
    hardware, weight = CHIPS[name], matrix(density)
    tiles = (Tile("w", 0, 0, 96, 0, 256), Tile("w", 0, 96, 128, 0, 256))
    for choice in select._candidates(hardware):
        wanted = sum(measured(weight.codes[tile.n0 : tile.n1], choice, hardware) for tile in tiles)
        found = select._cost(weight, tiles, choice, hardware)[1]
        # The program begins some cycles later than its load, so that refreshes fall elsewhere.
        assert found == pytest.approx(wanted, abs=8), choice


@pytest.mark.parametrize("name", CHIPS)
@pytest.mark.parametrize("density", [0.05, 0.3, 1.0])
def test_by_cycles_takes_what_the_clock_finds_quickest(name: str, density: float) -> None:
    hardware, weight = CHIPS[name], matrix(density)
    candidates = list(select._candidates(hardware))
    assert {choice.name for choice in candidates} == set(CODECS)
    cycles = {choice.name: measured(weight.codes, choice, hardware) for choice in candidates}
    chosen = select._best(weight, (Tile("w", 0, 0, 128, 0, 256),), hardware)
    assert cycles[chosen.name] <= min(cycles.values()) + 8


def test_hand_computed_load() -> None:
    plain = chip(
        clock_hz=1_000_000_000, dram__bytes_per_s=6_400_000_000, dram__burst_bytes=64,
        dram__latency_ns=50, dram__row_miss_ns=0, dram__refresh_interval_ns=0,
        dram__outstanding_bursts=16, decoder__fifo_bursts=16,
    )  # fmt: skip
    block = encode_block("raw", np.ones(300, np.int8), 8)
    assert len(block) == 316
    # A burst takes 10 cycles and comes after 50; of the fifth one the bus brings 60 bytes in 4
    # cycles; a step and a write follow.
    assert load_cycles(block, (1, 300), 8, plain) == 50 + 5 * 10 + 4 + 2
    one = replace(plain, dram=replace(plain.dram, outstanding_bursts=1))
    assert load_cycles(block, (1, 300), 8, one) == 5 * 60 + 4 + 2
