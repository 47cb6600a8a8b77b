"""The estimated time of a frame, by hand and beside the clock."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from azsim.compiler.knapsack import DROPPED, KEPT, KEPT_IN_PHASE
from azsim.compiler.passage import Passage, Tiles, estimated_cycles, passage
from azsim.compiler.visits import Visit
from azsim.frontend.workload import load_workload
from azsim.hardware import load_hardware
from azsim.pipeline import compile_workload, run

pytestmark = pytest.mark.kernels

LOAD, PRODUCT, JOINED = 100.0, 30.0, 10.0


def _tiles(count: int, joined_rows: int = 0) -> Tiles:
    def each(value: float) -> np.ndarray:
        return np.full(count, value)

    rows = np.full(count, 8)
    most = np.array([joined_rows * (number > 0) for number in range(count)])
    return Tiles(rows, each(640), each(LOAD), each(PRODUCT), each(JOINED), rows, most)


def _products(*visits: tuple[int, Visit]) -> Passage:
    """Visits of weights that are one tile each, by its number."""
    return passage([(np.array([tile]), visit) for tile, visit in visits])


def _visit(**values: Any) -> Visit:
    return Visit(**{"weight": "w", "loop": -1, "times": 1.0, **values})


def _cycles(choice: list[int], tiles: Tiles, products: Passage, frames: int = 1) -> float:
    return estimated_cycles(np.array(choice), tiles, products, frames, False)


def _later_frame(choice: list[int], tiles: Tiles, products: Passage) -> float:
    """Cycles of a frame behind the first."""
    return _cycles(choice, tiles, products, 2) - _cycles(choice, tiles, products)


@pytest.mark.slow
def test_what_stays_is_loaded_once_and_in_order() -> None:
    products = _products(*((tile, _visit()) for tile in range(3)))
    once = 3 * LOAD + PRODUCT  # the last load, and its product
    assert _cycles([KEPT] * 3, _tiles(3), products) == once
    assert _cycles([KEPT] * 3, _tiles(3), products, 11) == once + 10 * 3 * PRODUCT


@pytest.mark.parametrize(
    ("most_rows", "cycles"),
    [(0, 3 * PRODUCT), (16, 2 * PRODUCT + JOINED), (24, PRODUCT + 2 * JOINED)],
)
def test_neighbours_that_stay_are_one_product(most_rows: int, cycles: float) -> None:
    products = passage([(np.arange(3), _visit())])
    assert _later_frame([KEPT] * 3, _tiles(3, most_rows), products) == cycles


def test_what_streams_is_a_product_of_its_own() -> None:
    products = passage([(np.arange(3), _visit(vector_cycles=500.0))])
    assert _later_frame([KEPT, DROPPED, KEPT], _tiles(3, 24), products) == 500 + 3 * PRODUCT


@pytest.mark.parametrize(("vector", "cycles"), [(0.0, LOAD), (500.0, 500 + PRODUCT)])
def test_loads_hide_behind_what_is_done_two_tiles_ahead(vector: float, cycles: float) -> None:
    """What takes longer, DRAM or the work, is never idle."""
    products = _products(*((tile, _visit(vector_cycles=vector)) for tile in range(4)))
    assert _later_frame([DROPPED] * 4, _tiles(4), products) == 4 * cycles


def test_no_load_hides_behind_what_is_before_a_fence() -> None:
    products = _products(
        (0, _visit(vector_cycles=500.0)), (1, _visit(is_fenced=True, is_in_region=True))
    )
    cycles = _later_frame([KEPT, DROPPED], _tiles(2), products)
    assert cycles == 500 + PRODUCT + LOAD + PRODUCT


def test_a_tile_that_a_slot_holds_is_not_loaded_again() -> None:
    rounds = [(0, _visit(loop=1, times=5.0)), (0, _visit(loop=1, times=5.0))]
    products = _products(*rounds)
    assert _later_frame([DROPPED], _tiles(1), products) == 10 * PRODUCT
    # Held during its loop it is loaded once a frame.
    assert _cycles([KEPT_IN_PHASE], _tiles(1), products) == LOAD + 10 * PRODUCT


def test_a_paced_frame_waits_for_what_is_loaded_before_it() -> None:
    """The next frame's two tiles, loaded behind this one's last products."""
    products = _products(*((tile, _visit(vector_cycles=200.0)) for tile in range(3)))
    choice = np.array([DROPPED, DROPPED, DROPPED])

    def later(*, is_paced: bool) -> float:
        three, two = (
            estimated_cycles(choice, _tiles(3), products, frames, is_paced) for frames in (3, 2)
        )
        return three - two

    assert later(is_paced=False) == 3 * (200 + PRODUCT)
    assert later(is_paced=True) > later(is_paced=False)


@pytest.mark.slow
@pytest.mark.parametrize("sram_bytes", [500_000, 400_000, 150_000])
@pytest.mark.parametrize("unit", ["word", "char"])
def test_the_estimate_is_near_the_clock(unit: str, sram_bytes: int) -> None:
    """Of what the compiler chooses; it only compares choices, so a quarter is good enough."""
    workload = load_workload(f"workloads/speech_commands_{unit}.yaml", ["input.first=1"])
    hardware = load_hardware("az1", [f"weight_sram.bytes={sram_bytes}"])
    told = compile_workload(workload, hardware).plan.estimated_cycles
    assert run(workload, hardware, timeline=False).summary["cycles"] == pytest.approx(
        told, rel=0.25
    )


def test_nothing_is_estimated_where_everything_stays() -> None:
    workload = load_workload("workloads/vad_silero.yaml")
    assert compile_workload(workload, load_hardware("az1")).plan.estimated_cycles == 0
