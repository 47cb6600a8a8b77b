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


def test_what_stays_is_loaded_once_and_in_order() -> None:
    products = _products(*((tile, _visit()) for tile in range(3)))
    once = 3 * LOAD + PRODUCT  # the last load, and its product
    assert _cycles([KEPT] * 3, _tiles(3), products) == once
    assert _cycles([KEPT] * 3, _tiles(3), products, 11) == once + 10 * 3 * PRODUCT


def test_neighbours_that_stay_are_one_product() -> None:
    products = passage([(np.arange(3), _visit())])
    frames = (_cycles([KEPT] * 3, _tiles(3, rows), products, 2) for rows in (0, 16, 24))
    later = [cycles - _cycles([KEPT] * 3, _tiles(3), products) for cycles in frames]
    whole = [
        _cycles([KEPT] * 3, _tiles(3, rows), products, 2)
        - _cycles([KEPT] * 3, _tiles(3, rows), products)
        for rows in (0, 16, 24)
    ]
    assert whole == [3 * PRODUCT, 2 * PRODUCT + JOINED, PRODUCT + 2 * JOINED]
    assert later[0] == whole[0]


def test_loads_hide_behind_products_two_tiles_ahead() -> None:
    products = _products(*((tile, _visit()) for tile in range(4)))
    # The first two are there before the frame; each of the others waits for a slot.
    found = _cycles([DROPPED] * 4, _tiles(4), products, 3) - _cycles(
        [DROPPED] * 4, _tiles(4), products, 2
    )
    assert found == 4 * LOAD  # DRAM is never idle
    slow = [(tile, _visit(vector_cycles=500.0)) for tile in range(4)]
    found = _cycles([DROPPED] * 4, _tiles(4), _products(*slow), 3) - _cycles(
        [DROPPED] * 4, _tiles(4), _products(*slow), 2
    )
    assert found == 4 * (500 + PRODUCT)


def test_no_load_hides_behind_what_is_before_a_fence() -> None:
    fenced = [
        (0, _visit(vector_cycles=500.0)),
        (1, _visit(is_fenced=True, is_in_region=True)),
    ]
    found = _cycles([KEPT, DROPPED], _tiles(2), _products(*fenced), 2) - _cycles(
        [KEPT, DROPPED], _tiles(2), _products(*fenced)
    )
    assert found == 500 + PRODUCT + LOAD + PRODUCT


def test_a_tile_that_a_slot_holds_is_not_loaded_again() -> None:
    rounds = [(0, _visit(loop=1, times=5.0)), (0, _visit(loop=1, times=5.0))]
    found = _cycles([DROPPED], _tiles(1), _products(*rounds), 2) - _cycles(
        [DROPPED], _tiles(1), _products(*rounds)
    )
    assert found == 10 * PRODUCT
    # Held during its loop it is loaded once a frame.
    held = _cycles([KEPT_IN_PHASE], _tiles(1), _products(*rounds))
    assert held == LOAD + 10 * PRODUCT


def test_a_paced_frame_waits_for_what_is_loaded_before_it() -> None:
    products = _products(*((tile, _visit()) for tile in range(2)))
    choice = np.array([DROPPED, KEPT])
    free = estimated_cycles(choice, _tiles(2), products, 100, False)
    paced = estimated_cycles(choice, _tiles(2), products, 100, True)
    assert free <= paced


@pytest.mark.parametrize("sram_bytes", [524_288, 400_000, 150_000])
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
