"""Several utterances on one program: models of every kind, chips that force the rarer ways."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from azsim.compiler.compile import compile_graph
from azsim.errors import CompileError
from azsim.evaluate import evaluate_stream
from azsim.frontend.workload import load_workload
from azsim.hardware import load_hardware
from azsim.hardware.description import Hardware
from azsim.isa.program import WAKE
from azsim.sim.checks import check_program
from azsim.sim.execute import execute
from azsim.stages.prepare import Prepared, prepare, wakes
from compiled import VARIANTS
from recordings import FEATURES, MODEL, write_list


def outputs_of(prepared: Prepared, hardware: Hardware, lengths: tuple[int, ...]) -> dict:
    """Outputs of a program whose stream is so many utterances; it has to be proved."""
    compiled = compile_graph(
        prepared.compressed,
        hardware,
        prepared.stream,
        prepared.state,
        "wake",
        utterances=len(lengths),
    )
    for verdict in check_program(compiled.program, hardware, compiled.image):
        assert not verdict.findings, verdict.check
        assert not verdict.unproved, verdict.check
    inputs = {**prepared.frames, **prepared.initial_state, WAKE: wakes(lengths)}
    return execute(compiled.program, compiled.image, hardware, inputs=inputs).outputs


def check_each(prepared: Prepared, hardware: Hardware, lengths: tuple[int, ...]) -> None:
    """Require that each utterance is the evaluator's of its frames alone."""
    found = outputs_of(prepared, hardware, lengths)
    carried = prepared.state.values()
    keep = [name for name in prepared.compressed.graph.outputs if name not in carried]
    begin, final = 0, {}
    for length in lengths:
        own = slice(begin, begin + length)
        begin += length
        wanted, final = evaluate_stream(
            prepared.compressed.graph,
            {name: array[own] for name, array in prepared.frames.items()},
            prepared.state,
            prepared.initial_state,
            prepared.compressed,
            keep,
        )
        for name in keep:
            assert found[name][own].tobytes() == wanted[name].tobytes(), name
    for source, target in prepared.state.items():
        assert found[target].tobytes() == final[source].tobytes(), target


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "lengths"),
    [
        ("speech_conformer_tiny", (5, 1, 6)),
        ("attention_window_small", (11, 13)),
        ("lstm_cell", (1, 1, 1, 13)),
        ("ssm_mamba_xs", (40, 24)),
    ],
)
def test_models_of_every_kind(name: str, lengths: tuple[int, ...]) -> None:
    given = load_workload(name)
    check_each(prepare(given), load_hardware(given.hardware_reference), lengths)


@pytest.mark.parametrize("variant", VARIANTS)
def test_chips_that_force_the_rarer_ways(tmp_path: Path, variant: str) -> None:
    write_list(tmp_path, (0.5, 0.2, 0.37), ("", "", ""))
    path = tmp_path / "w.yaml"
    path.write_text(f"{MODEL}input: {{utterances: list.csv, {FEATURES}}}\n")
    prepared = prepare(load_workload(path))
    check_each(prepared, VARIANTS[variant], prepared.lengths)


@pytest.mark.slow
def test_without_the_word_the_state_goes_on() -> None:
    """The words decide, and nothing else: all 0, the utterances are one."""
    given = load_workload("lstm_cell")
    prepared, chip = prepare(given), load_hardware(given.hardware_reference)
    compiled = compile_graph(
        prepared.compressed, chip, prepared.stream, prepared.state, "wake", utterances=2
    )
    whole = compile_graph(prepared.compressed, chip, prepared.stream, prepared.state, "whole")
    silent = np.zeros((prepared.stream.frames, 1), np.int32)
    inputs = {**prepared.frames, **prepared.initial_state}
    found = execute(compiled.program, compiled.image, chip, inputs={**inputs, WAKE: silent})
    wanted = execute(whole.program, whole.image, chip, inputs=inputs)
    for name, array in wanted.outputs.items():
        assert found.outputs[name].tobytes() == array.tobytes()


def test_state_that_lives_in_dram_is_refused() -> None:
    given = load_workload("ssm_s4d")
    prepared, chip = prepare(given), load_hardware(given.hardware_reference)
    with pytest.raises(CompileError) as caught:
        compile_graph(
            prepared.compressed, chip, prepared.stream, prepared.state, "wake", utterances=2
        )
    states = ", ".join(f"layers.{number}.state" for number in range(4))
    assert str(caught.value) == (
        f"several utterances need their state in activation SRAM, found in DRAM: {states}"
    )
