"""What simulator and evaluator have to have in common is compared to the bit, frame by frame."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from azsim.compiler.compile import Compiled
from azsim.evaluate import evaluate_stream, watch_stream
from azsim.frontend.workload import load_workload
from azsim.hardware import load_hardware
from azsim.pipeline import compile_workload, prepare
from azsim.sim.execute import Execution, execute
from azsim.sim.result import Comparison
from azsim.stages.check import compare, named_outputs
from azsim.stages.prepare import Prepared

_WORKLOAD = """
name: tiny
model: {builder: lstm_cell, inputs: 12, hidden: 16}
input: {random: {seed: 1, frames: 3}}
stream: {chunk_frames: 1}
"""


@dataclass(frozen=True)
class Ran:
    prepared: Prepared
    compiled: Compiled
    execution: Execution

    def compared(self) -> Comparison:
        outputs = named_outputs(self.execution, self.prepared)
        return compare(self.execution, outputs, self.prepared, self.compiled)


@pytest.fixture
def ran(tmp_path: Path) -> Ran:
    (tmp_path / "tiny.yaml").write_text(_WORKLOAD)
    workload, chip = load_workload(tmp_path / "tiny.yaml"), load_hardware("az1")
    prepared, compiled = prepare(workload), compile_workload(workload, chip)
    inputs = {**prepared.frames, **prepared.initial_state}
    execution = execute(compiled.program, compiled.image, chip, inputs=inputs, taps=True)
    return Ran(prepared, compiled, execution)


def _flip(array: np.ndarray, at: int) -> None:
    array.reshape(-1).view(f"u{array.itemsize}")[at] ^= 1


def test_one_bit_of_one_frame_is_found(ran: Ran) -> None:
    honest = ran.compared()
    assert honest.bit_exact
    assert honest.first_difference is None
    name = honest.compared[-3]
    tapped = ran.execution.tapped[name]
    was = tapped[1].reshape(-1)[2]
    _flip(tapped[1], 2)
    _flip(tapped[2], 0)
    found = ran.compared()
    assert not found.bit_exact
    assert found.compared == honest.compared
    place = (1, *(int(i) for i in np.unravel_index(2, tapped[1].shape)))
    assert found.first_difference == (
        f"tensor '{name}' differs in 2 of {3 * tapped[1].size} values, first at {place}: "
        f"simulated {tapped[1].reshape(-1)[2]!r}, expected {was!r}"
    )


def test_the_first_difference_is_that_of_the_tensor_computed_first(ran: Ran) -> None:
    names = [name for name in ran.compared().compared if name in ran.execution.tapped]
    first, last = names[2], names[-1]
    _flip(ran.execution.tapped[last][0], 0)
    _flip(ran.execution.tapped[first][2], 1)
    difference = ran.compared().first_difference
    assert difference is not None
    assert difference.startswith(f"tensor '{first}' differs in 1 of ")


def test_an_output_that_differs_is_found(ran: Ran) -> None:
    name, array = next(iter(ran.execution.outputs.items()))
    _flip(array, 0)
    difference = ran.compared().first_difference
    assert difference is not None
    assert difference.startswith(f"output '{name}' differs in 1 of ")


def test_tensors_that_are_watched_are_those_that_are_kept(ran: Ran) -> None:
    prepared = ran.prepared
    arguments = prepared.compressed.graph, prepared.frames, prepared.state, prepared.initial_state
    kept, final = evaluate_stream(*arguments, prepared.compressed)
    seen: dict[str, list[np.ndarray]] = {name: [] for name in kept}

    def watch(name: str, frame: int, array: np.ndarray) -> None:
        assert len(seen[name]) == frame
        seen[name].append(array.copy())

    last = watch_stream(*arguments, watch, prepared.compressed)
    for name, array in kept.items():
        assert np.stack(seen[name]).tobytes() == array.tobytes()
    assert {name: array.tobytes() for name, array in last.items()} == {
        name: array.tobytes() for name, array in final.items()
    }
