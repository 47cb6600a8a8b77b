"""Real sparse weights: the tiles of Silero VAD through the Verilog and the models.

The decoder is the size of az1's (16 lanes, 64 bytes a cycle); the MAC array has az1's lanes, of
which there are 8 here.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import pytest

from azsim import pipeline
from azsim.frontend.workload import load_workload
from azsim.hardware import load_hardware
from azsim.machine.engines.exact_mac import INNER_OFFSET
from azsim.machine.engines.mac import Geometry
from azsim.machine.tile import Tile
from azsim.sim.execute import execute, write_inputs
from rtl import decoder_cases, mac_cases
from rtl.agreement import check_agreement, distribution
from rtl.harness import require_rtl

require_rtl()
pytestmark = pytest.mark.fetch

_LANES, _PORT_CODES = 16, 64


@functools.cache
def _tiles(codec: str) -> tuple[Tile, ...]:
    """Distinct weight tiles as az1 loads them; products may multiply by parts of them."""
    given = load_workload("vad_silero", [f"compression.default.codec={codec}"])
    hardware = load_hardware("az1")
    prepared = pipeline.prepare(given)
    compiled = pipeline.compile_workload(given, hardware)
    inputs = {**prepared.frames, **prepared.initial_state}
    image = write_inputs(compiled.program, compiled.image, inputs)
    tiles = execute(compiled.program, image, hardware).trace.tiles
    return tuple(tile for tile in tiles if tile.encoded)


@pytest.mark.slow
@pytest.mark.parametrize("codec", ["bitmap", "zero_run"])
def test_real_blocks_through_the_decoder(codec: str, tell: Callable[[str], None]) -> None:
    design = decoder_cases.decoder_design(codec, _LANES, _PORT_CODES)
    fast, measured = [], []
    for tile in _tiles(codec):
        bits = tile.encoded[3] & 15
        block = decoder_cases.Block(
            tile.codes.reshape(-1), tile.encoded, codec, bits, np.zeros(1, np.uint64)
        )
        streams = decoder_cases.split(block, _LANES)
        cycles, codes = decoder_cases.rtl(design, block, streams)
        np.testing.assert_array_equal(codes, block.codes)
        assert decoder_cases.exact(block, streams, _PORT_CODES) == cycles
        fast.append(decoder_cases.fast(block, _LANES, _PORT_CODES))
        measured.append(cycles)
    tell(f"{codec}, Silero: {distribution(fast, measured)}")
    check_agreement(fast, measured, mean=0.01, worst=0.03, slack_cycles=3)


def test_real_tiles_through_the_mac_array(tell: Callable[[str], None]) -> None:
    shape = Geometry(8, 4, 1, 16, 8, True, False, False)
    design = mac_cases.array_design(shape, 8)
    rng = np.random.default_rng(0)
    words = 1 << mac_cases.BANK_BITS
    fast, measured = [], []
    for tile in _tiles("bitmap"):
        windows = -(-tile.codes.shape[1] // shape.window)
        codes = tile.codes[: words // windows * shape.lanes]
        rows = rng.integers(-127, 128, (2, codes.shape[1])).astype(np.int16)
        case = mac_cases.Case(codes, rows, np.zeros(1, np.uint8))
        cycles, sums = mac_cases.rtl(design, case, shape, 8)
        np.testing.assert_array_equal(sums, rows.astype(np.int64) @ codes.T.astype(np.int64))
        assert mac_cases.exact_cycles(case, shape) == cycles
        fast.append(mac_cases.fast_cycles(case, shape) + INNER_OFFSET)
        measured.append(cycles)
    tell(f"MAC array, Silero: {distribution(fast, measured)}")
    assert fast == measured
