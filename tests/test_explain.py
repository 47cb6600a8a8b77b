"""Explanations: sentences with a run's own numbers, and measured ways out."""

from __future__ import annotations

import functools
import json
import math
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

import azsim
from azsim import pipeline
from azsim.cli import main
from azsim.compiler import ways
from azsim.compiler.schedule import accesses, is_weight_product, walk
from azsim.frontend.workload import load_workload
from azsim.hardware import load_hardware
from azsim.pipeline import compile_workload
from azsim.report.explain import explanation_tables
from azsim.sim.explanation import Explanation
from azsim.sim.result import RunResult
from azsim.sim.stalls import STALL_REASONS
from azsim.stages.explain import _loads, _uses

FRAMES = 10
WORKLOAD = f"""
name: small
model:
  graph:
    inputs: {{x: {{shape: [1, 512]}}}}
    initializers:
      big: {{shape: [512, 512], random: {{seed: 1}}}}
      head: {{shape: [512, 4], random: {{seed: 2}}}}
    nodes:
      - {{op: MatMul, name: wide, inputs: [x, big], outputs: [y]}}
      - {{op: MatMul, name: narrow, inputs: [y, head], outputs: [z]}}
    outputs: [z]
input: {{random: {{seed: 0, frames: {FRAMES}}}}}
stream: {{time_axis: {{x: 0}}}}
compression:
  default: {{codec: raw}}
  rules: [{{match: big, codec: bitmap, prune: {{method: magnitude, sparsity: 0.5}}}}]
hardware: az1_lite
"""

pytestmark = pytest.mark.kernels


OVERLAP = sys.modules["azsim.compiler.overlap"]
SEARCH = OVERLAP._MAX_WORK


@pytest.fixture(autouse=True)
def no_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """No search for cuts: each variant is compiled anew."""
    monkeypatch.setattr(OVERLAP, "_MAX_WORK", 0)


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    Path("small.yaml").write_text(WORKLOAD)
    return "small.yaml"


def _run(name: str, hardware: str = "az1_lite", *overrides: str) -> RunResult:
    return _run_of(Path(name).read_text(), name, hardware, overrides)


@functools.cache
def _run_of(text: str, name: str, hardware: str, overrides: tuple[str, ...]) -> RunResult:
    chip = load_hardware(hardware, overrides)
    return pipeline.run(load_workload(name), chip, explained=True, timeline=False)


def _explained(result: RunResult) -> Explanation:
    assert result.explanation is not None
    return result.explanation


# ----------------------------------------------------------------------------------- weights


@pytest.mark.slow
def test_a_pinned_tensor(small: str) -> None:
    """2,048 codes and a header of 32 bytes, read once and not for three more rounds of frames.

    Two rounds of four frames share what is loaded, and two frames are left over.
    """
    explanation = _explained(_run(small))
    head = explanation.tensors[1]
    assert head.name == "head"
    assert (head.tiles, head.pinned_tiles, head.uses, head.missing_bytes) == (1, 1, 4, 0)
    block = head.read_bytes
    assert 2048 < block < 2100
    assert head.saved_bytes == 3 * block
    assert head.why == (
        f"pinned: its 2,048 B of weight SRAM save {3 * block:,} B of DRAM reads, "
        f"{3 * block / 2048:.2f} B a byte"
    )
    assert head.tile_why == "4 x 512: all outputs; 1 pass of 16 lanes; all of K"


@pytest.mark.slow
def test_a_tensor_that_streams(small: str) -> None:
    result = _run(small)
    explanation = _explained(result)
    big, room = explanation.tensors[0], explanation.room
    compiled = pipeline.compile_workload(load_workload(small))
    plan = compiled.plan
    tiles = plan.tiles["big"]
    pinned = [tile for tile in tiles if tile.name in plan.pinned]
    assert 0 < len(pinned) < len(tiles)
    size = 512 * sum(tile.n1 - tile.n0 for tile in tiles if tile not in pinned)
    missing = size - room.free_bytes
    assert big.streamed_bytes == size
    assert big.why == (
        f"{len(pinned)} of {len(tiles)} tiles pinned, which saves {big.saved_bytes:,} B of DRAM "
        f"reads: the {size:,} B left are {missing:,} B more than weight SRAM has free; "
        f"{big.read_bytes:,} B are read, and a byte more would save {big.saved_per_byte:.2f} B"
    )
    rows = max(tile.n1 - tile.n0 for tile in tiles if tile not in pinned)
    assert big.tile_why.startswith(f"{rows} x 512: ")
    assert big.tile_why.endswith("; all of K")


def _loops(steps: int, hidden: int) -> str:
    """Two LSTMs over a whole utterance, as a workload file."""
    shape = [1, 4 * hidden, hidden]
    initializers: dict[str, object] = {"axis": {"values": [1], "dtype": "int64"}}
    nodes: list[dict[str, object]] = []
    value = "x"
    for layer in range(2):
        names = [f"w{layer}", f"r{layer}"]
        initializers |= {name: {"shape": shape, "random": {"seed": layer}} for name in names}
        state = f"y{layer}"
        size = {"hidden_size": hidden}
        nodes.append(
            {"op": "LSTM", "inputs": [value, *names], "outputs": [state], "attributes": size}
        )
        value = f"f{layer}"
        nodes.append({"op": "Squeeze", "inputs": [state, "axis"], "outputs": [value]})
    graph = {
        "inputs": {"x": {"shape": [steps, 1, hidden]}}, "initializers": initializers,
        "nodes": nodes, "outputs": [value],
    }  # fmt: skip
    document = {
        "name": "loops", "model": {"graph": graph}, "input": {"random": {"seed": 0}},
        "compression": {"default": {"codec": "raw"}},
    }  # fmt: skip
    return json.dumps(document)


@pytest.mark.slow
@pytest.mark.parametrize(("weight_bytes", "fits"), [(90_112, True), (61_440, False)])
def test_a_tensor_that_stays_during_its_loop(small: str, weight_bytes: int, fits: bool) -> None:
    """Two recurrent matrices of 64 KiB: each has the memory for itself during its loop."""
    Path("loops.yaml").write_text(_loops(20, 128))
    explanation = _explained(_run("loops.yaml", "az1", f"weight_sram.bytes={weight_bytes}"))
    second = next(tensor for tensor in explanation.tensors if tensor.name == "r1")
    assert 0 < second.held_bytes <= explanation.room.held_bytes
    assert (second.held_tiles == second.tiles) == fits
    read = f"{second.read_bytes:,} B are read"
    if fits:
        assert second.why == f"held during its loop: no other tile comes up; {read}"
        return
    assert second.saved_bytes > second.held_bytes
    assert second.why == (
        f"{second.held_tiles} of {second.tiles} tiles held during their loop, which saves "
        f"{second.saved_bytes:,} B of DRAM reads: the {second.streamed_bytes:,} B left are "
        f"{second.missing_bytes:,} B more than weight SRAM has free; {read}, and a byte more "
        f"would save {second.saved_per_byte:.2f} B"
    )


def test_what_is_read_adds_up(small: str) -> None:
    """Tensors' reads, parameters and inputs are what the run asked DRAM for."""
    result = _run(small)
    explanation = _explained(result)
    read = sum(tensor.read_bytes for tensor in explanation.tensors)
    parameters = 4 * 516
    inputs, outputs = 4 * 512 * FRAMES, 4 * 4 * FRAMES
    assert result.statistics.dram_useful_bytes == read + parameters + inputs + outputs


@pytest.mark.slow
@pytest.mark.parametrize("hardware", ["az1_lite", "az1", "az2", "dense_npu", "ethos_u55"])
def test_the_room_adds_up(small: str, hardware: str) -> None:
    explanation = _explained(_run(small, hardware))
    room = explanation.room
    parts = (
        room.parameter_bytes, room.slot_bytes, room.pinned_bytes, room.held_bytes, room.free_bytes,
    )  # fmt: skip
    assert min(parts) >= 0
    assert sum(parts) == room.capacity_bytes
    assert sum(tensor.pinned_bytes for tensor in explanation.tensors) == room.pinned_bytes
    streams = any(tensor.streamed_bytes for tensor in explanation.tensors)
    assert streams == bool(room.slot_bytes)
    if not streams:
        assert all(tensor.why.endswith("; all weights fit") for tensor in explanation.tensors)
        assert room.all_bytes == room.parameter_bytes + room.pinned_bytes


def test_what_is_read_once_either_way(small: str) -> None:
    Path(small).write_text(
        WORKLOAD.replace(f"frames: {FRAMES}", "frames: 1").replace("hardware: az1_lite", "")
    )
    explanation = _explained(_run(small, "az1"))
    assert [tensor.why for tensor in explanation.tensors] == [
        "pinned: its 262,144 B fit, and it is read once either way",
        "pinned: its 2,048 B fit, and it is read once either way",
    ]


def test_a_tensor_that_streams_although_it_would_save_as_much(small: str) -> None:
    """Weights that save about as much per byte differ in how long their loads are waited for."""
    explanation = _explained(_run(small))
    clause = "; what is pinned elsewhere saves about as much, and more time"
    least = min(tensor.saved_per_byte for tensor in explanation.tensors if tensor.pinned_tiles)
    for tensor in explanation.tensors:
        rivals = tensor.streamed_bytes > 0 and tensor.saved_per_byte > least
        assert tensor.why.endswith(clause) == rivals


def test_what_streams_and_is_used_once(small: str) -> None:
    Path(small).write_text(WORKLOAD.replace(f"frames: {FRAMES}", "frames: 1"))
    big = _explained(_run(small)).tensors[0]
    assert big.streamed_bytes
    assert big.saved_per_byte == big.saved_bytes == 0
    assert big.why.endswith(f"; {big.read_bytes:,} B are read, and would be if it were pinned")


# ------------------------------------------------------------------------- what would help


@pytest.mark.slow
def test_variants_are_runs(small: str) -> None:
    """Each figure is that of a run with the value set, with and without planning anew."""
    explanation = _explained(_run(small))
    assert explanation.cycles == _run(small).statistics.cycles
    assert {variant.key for variant in explanation.variants} == {
        "weight_sram.bytes", "decoder.lanes", "dram.bytes_per_s", "dram.latency_ns",
        "mac.lanes", "vector.lanes",
    }  # fmt: skip
    for variant in explanation.variants:
        value = int(variant.value) if variant.value == int(variant.value) else variant.value
        text = f"{variant.key}={value}"
        if variant.key == "dram.latency_ns":
            text = f"{variant.key}={float(value)}"
        chip = load_hardware("az1_lite", (text,))
        anew = azsim.run(load_workload(small), chip, timeline=False)
        assert anew.statistics.cycles == variant.planned_cycles, variant.key
        kept = azsim.run(load_workload(small), chip, preset="az1_lite", timeline=False)
        if variant.key == "weight_sram.bytes":
            assert variant.replayed_cycles is None
        else:
            assert kept.statistics.cycles == variant.replayed_cycles, variant.key
    best = [variant.cycles for variant in explanation.variants]
    assert best == sorted(best, key=lambda cycles: cycles or 0)


def test_what_streams_is_helped_by_dram_or_sram(small: str) -> None:
    explanation = _explained(_run(small))
    assert explanation.variants[0].key in ("weight_sram.bytes", "dram.bytes_per_s")
    wide = next(layer for layer in explanation.layers if layer.name == "wide")
    assert wide.engine in ("dram", "decoder")
    assert wide.helps in ("weight_sram.bytes", "dram.bytes_per_s")
    assert wide.helped_cycles < wide.cycles


def test_a_chip_that_is_as_large_as_can_be_has_no_larger_variant(small: str) -> None:
    explanation = _explained(_run(small, "az1", "decoder.lanes=256", "dram.latency_ns=0"))
    keys = {variant.key for variant in explanation.variants}
    assert keys.isdisjoint({"decoder.lanes", "dram.latency_ns"})


def test_stalls_by_layer_are_those_of_the_engines(small: str) -> None:
    result = _run(small)
    explanation = _explained(result)
    for layer in explanation.layers:
        assert set(layer.stalls) <= set(STALL_REASONS)
    stalled = result.statistics.stall_cycles["mac"]
    for layer in explanation.layers:
        if layer.engine == "mac":
            assert all(n <= stalled[reason] for reason, n in layer.stalls.items())


# --------------------------------------------------------------------------- command line


@pytest.mark.slow
def test_run_explains(
    small: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OVERLAP, "_MAX_WORK", SEARCH)  # as a user has it
    assert main(["run", small, "--explain", "-o", "run"]) == 0
    shown = capsys.readouterr().out
    for title in (
        "Why weights are pinned or streamed", "Why these tiles", "What limits the layers",
        "What would help",
    ):  # fmt: skip
        assert f"\n{title}\n" in shown
    assert "dram.bytes_per_s x 2" in shown
    document = json.loads(Path("run/run.json").read_text())
    assert document["explanation"]["tensors"][1]["name"] == "head"
    assert main(["run", small, "--explain", "--json", "-o", "run"]) == 0
    found = json.loads(capsys.readouterr().out)["explanation"]
    assert found == document["explanation"]
    for variant in found["variants"]:
        faster = 100 * (found["cycles"] / variant["cycles"] - 1)
        assert variant["faster_percent"] == pytest.approx(faster)


def test_without_it_nothing_is_explained(small: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", small, "--json", "-o", "run"]) == 0
    assert "explanation" not in json.loads(capsys.readouterr().out)
    assert json.loads(Path("run/run.json").read_text())["explanation"] is None


def test_tables_of_a_run_that_nothing_helps(small: str) -> None:
    explanation = _explained(_run(small))
    layers = tuple(replace(layer, helps="", stalls={}) for layer in explanation.layers)
    variant = replace(explanation.variants[0], replayed_cycles=None, planned_cycles=None)
    tables = explanation_tables(replace(explanation, layers=layers, variants=(variant,)))
    assert tables[3].rows == ((f"{variant.key} x 2", None, "", None, ""),)
    assert all(row[3:] == ("", "") for row in tables[2].rows)


@pytest.mark.parametrize("frames", [5, 6, 7, 11])
def test_uses_of_frames_that_are_left_over_are_counted(
    frames: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ways, "_WORTH_LATENCY", math.inf)
    sizes = ["model.d_model=16", "model.n_layer=1", "model.vocab=24", "input.random.below=24"]
    workload = azsim.load_workload("ssm_mamba_xs", [*sizes, f"input.random.frames={frames}"])
    hardware = load_hardware("az1", ["weight_sram.bytes=2048"])
    schedule = compile_workload(workload, hardware).schedule
    assert schedule.per_round == 4
    shares = schedule.shares_loads
    assert shares == (frames == 11)  # only in a round that comes again
    wanted: Counter[str] = Counter()
    for items, times in ((schedule.body, schedule.rounds), (schedule.finish, 1)):
        for item in walk(items):
            is_first = item.frame in (0, *range(4, 4 + frames % 4))
            if is_weight_product(item, schedule.storages) and (is_first or not shares):
                wanted[dict(accesses(item))["src2"].buffer.partition("@")[0]] += times
    assert _uses(schedule) == wanted
    assert set(wanted.values()) == {2 + 3 if shares else frames}


def test_a_tile_is_used_once_by_frames_that_share_it() -> None:
    workload = azsim.load_workload("attention_window_small", ["input.random.frames=11"])
    compiled = compile_workload(workload, load_hardware("az1", ["weight_sram.bytes=8192"]))
    schedule = compiled.schedule
    rounds, left = divmod(11, schedule.per_round)
    assert schedule.shares_loads
    assert set(_uses(schedule).values()) == {rounds + left}
    loads = _loads(schedule)
    streamed = loads.keys() - compiled.plan.pinned
    assert {loads[name] for name in streamed} == {rounds + left}
