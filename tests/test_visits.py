"""Products in program order: how often each comes, what is between them, where fences stand."""

from __future__ import annotations

import math

import pytest

from azsim.compiler.compile import necessary_steps
from azsim.compiler.critical_path import flat_steps
from azsim.compiler.step_cycles import vector_cycles
from azsim.compiler.visits import weight_visits
from azsim.frontend.workload import load_workload
from azsim.hardware import load_hardware
from azsim.ops.lowering import Lowering, Matmul
from azsim.pipeline import prepare
from graphs import compress, random_graph

AZ1 = load_hardware("az1")


def _steps(workload: str) -> Lowering:
    return necessary_steps(prepare(load_workload(workload)).compressed, AZ1)


@pytest.fixture(scope="module")
def recogniser() -> Lowering:
    """Steps of a frame of the character recogniser, decoding included."""
    return _steps("workloads/speech_commands_char.yaml")


def _check_sums(lowering: Lowering) -> None:
    visits = weight_visits(lowering, AZ1)
    steps = list(flat_steps([step for _, step in lowering.steps], 1))
    vector = math.fsum(times * vector_cycles(step, lowering, AZ1) for step, times in steps)
    if visits:
        assert math.fsum(visit.vector_cycles for visit in visits) == pytest.approx(vector)
    comes: dict[str, list[float]] = {visit.weight: [] for visit in visits}
    for step, times in steps:
        if isinstance(step, Matmul):
            comes[step.weight].append(times)
    for name, times in comes.items():
        found = math.fsum(visit.times for visit in visits if visit.weight == name)
        assert found == pytest.approx(math.fsum(times)), name


@pytest.mark.parametrize("seed", range(12))
def test_all_work_of_random_graphs_is_there(seed: int) -> None:
    _check_sums(necessary_steps(compress(random_graph(seed)), AZ1))


def test_all_work_of_a_recogniser_is_there(recogniser: Lowering) -> None:
    _check_sums(recogniser)


def test_fences_stand_where_data_decides(recogniser: Lowering) -> None:
    visits = weight_visits(recogniser, AZ1)
    decided = {visit.weight for visit in visits if visit.is_in_region}
    assert decided == {
        "prediction.0.R", "prediction.0.W", "joint.prediction.W", "joint.output.W"
    }  # fmt: skip
    # Each part of the decoding begins behind one, and so does the frame, which follows decoding.
    parts = {"joint.output.W", "prediction.0.R"}
    for number, visit in enumerate(visits):
        assert visit.is_fenced == (number == 0 or visit.weight in parts), visit


def test_without_decisions_there_are_no_fences() -> None:
    visits = weight_visits(_steps("workloads/vad_silero.yaml"), AZ1)
    assert visits
    assert not any(visit.is_fenced or visit.is_in_region for visit in visits)
