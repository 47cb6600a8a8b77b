"""What the compiler plans with: the preset's timing values; with --replan those that were set."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import azsim
from azsim.cli import main
from azsim.errors import ConfigError
from azsim.hardware import load_hardware, preset_names
from azsim.hardware.description import structural_keys
from azsim.hardware.plan import changed_keys, planned_hardware
from azsim.isa.program_file import load_program

WORKLOAD = """
name: small
model:
  graph:
    inputs: {x: {shape: [1, 96]}}
    initializers: {w: {shape: [96, 64], random: {seed: 1}}}
    nodes: [{op: MatMul, name: product, inputs: [x, w], outputs: [y]}]
    outputs: [y]
input: {random: {seed: 0}}
compression: {default: {codec: csc}}
hardware: az1_lite
"""
# csc deals a block out to as many lanes as the decoder has: planned anew, blocks are others.
FEWER_LANES = ("--set", "hardware.decoder.lanes=2")


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    Path("small.yaml").write_text(WORKLOAD)
    return "small.yaml"


# ------------------------------------------------------------------------------- the chip


@pytest.mark.parametrize("name", preset_names())
def test_only_structural_keys_reach_the_planned_chip(name: str) -> None:
    preset = load_hardware(name)
    changed = load_hardware(
        name, ("clock_hz=7_000_000", "dram.latency_ns=3.5", "vector.lanes=3",
               "weight_sram.bytes=300_000", "mac.accumulators=640"),
    )  # fmt: skip
    planned = planned_hardware(changed, preset)
    different = set(changed_keys(planned, changed))
    assert different == {"clock_hz", "dram.latency_ns", "vector.lanes"} - {
        key for key in ("vector.lanes",) if preset.vector.lanes == 3
    }
    assert different.isdisjoint(structural_keys())
    assert set(changed_keys(planned, preset)) <= set(structural_keys())
    assert planned_hardware(preset, preset) == preset


def test_an_array_that_reads_blocks_is_planned_for_as_it_is() -> None:
    preset = load_hardware("eie")
    changed = replace(preset, mac=replace(preset.mac, lanes=8, queue_depth=2), clock_hz=5_000)
    planned = planned_hardware(changed, preset)
    assert changed_keys(planned, changed) == {"clock_hz": (preset.clock_hz, 5_000)}


# -------------------------------------------------------------------------------- programs


def _program(*arguments: str) -> tuple[object, bytes]:
    assert main(["asm", "small.yaml", *arguments, "-o", "p.npz"]) == 0
    program, image = load_program(Path("p.npz"))
    assert image is not None
    return program.instructions, image.data.tobytes()


def test_a_timing_key_replays_the_presets_program(small: str) -> None:
    preset = _program()
    assert _program(*FEWER_LANES) == preset
    assert _program("--set", "hardware.clock_hz=1_000_000") == preset
    assert _program(*FEWER_LANES, "--replan")[1] != preset[1]
    assert _program("--set", "hardware.weight_sram.bytes=4096")[0] != preset[0]


@pytest.mark.kernels
def test_both_plans_give_the_same_bits(small: str, capsys: pytest.CaptureFixture[str]) -> None:
    documents, arrays, cycles = [], [], []
    for more in ((), FEWER_LANES, (*FEWER_LANES, "--replan")):
        assert main(["run", small, *more, "--json", "-o", "run"]) == 0
        cycles.append(json.loads(capsys.readouterr().out)["cycles"])
        documents.append(json.loads(Path("run/run.json").read_text()))
        arrays.append(np.load("run/outputs.npz")["y"].tobytes())
    assert len(set(arrays)) == 1
    assert cycles[1] > cycles[0]
    assert [document["planned_with"] for document in documents] == [{}, {"decoder.lanes": 16}, {}]
    images = [document["dram_image_sha256"] for document in documents]
    assert images[0] == images[1] != images[2]
    note = (
        "the compiler planned with decoder.lanes = 16; --replan plans with the values that were set"
    )
    assert [document["notes"] for document in documents] == [[], [note], []]


@pytest.mark.kernels
def test_replan_from_python(small: str) -> None:
    workload = azsim.load_workload(small)
    slow = load_hardware("az1_lite", ("decoder.lanes=2",))
    kept = azsim.run(workload, slow, preset="az1_lite")
    anew = azsim.run(workload, slow, preset="az1_lite", replan=True)
    own = azsim.run(workload, slow)
    image = "dram_image_sha256"
    assert kept.provenance[image] != anew.provenance[image] == own.provenance[image]
    assert kept.outputs["y"].tobytes() == anew.outputs["y"].tobytes()
    assert anew.summary == own.summary


def test_a_file_that_is_whole_only_with_what_is_set(small: str) -> None:
    preset = Path(azsim.__file__).parent / "hardware" / "presets" / "az1.yaml"
    text = preset.read_text()
    clock = next(line for line in text.splitlines() if line.startswith("clock_hz"))
    Path("chip.yaml").write_text(text.replace(clock, ""))
    with pytest.raises(ConfigError):
        load_hardware("chip.yaml")
    _program("--hardware", "chip.yaml", "--set", "hardware.clock_hz=1_000_000")
