"""What stays in weight SRAM: traffic as foretold, once an utterance where it fits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from azsim.compiler.bounds import engine_bounds
from azsim.compiler.compile import Compiled, necessary_steps
from azsim.compiler.parameters import place_parameters
from azsim.compiler.tile import cut_tiles, tile_bytes
from azsim.errors import CompileError
from azsim.evaluate import evaluate_stream
from azsim.frontend.workload import load_workload
from azsim.hardware import load_hardware
from azsim.hardware.description import Hardware
from azsim.ir import Graph
from azsim.pipeline import compile_workload, run
from azsim.sim.races import check_races
from azsim.sim.statistics import measure
from azsim.sim.timing import replay
from compiled import chip, execute_graph, frames_for, graph_of, node
from graphs import compress, random_graph
from transducer import Sizes, transducer_workload, write_workload

_FRAMES = 8


def _stack(tmp_path: Path, codec: str = "bitmap", **sizes: int) -> Any:
    """A stack of five LSTMs (and two small ones), streamed."""
    small = {"features": 24, "encoder": 48, "prediction": 16, "joint": 24, **sizes}
    contents = transducer_workload(
        Sizes(**small),
        frames=_FRAMES,
        compression={
            "default": {
                "weights": {"bits": 8, "scale": "per_channel"},
                "prune": {"method": "magnitude", "sparsity": 0.6},
                "codec": codec,
            }
        },
    )
    return load_workload(write_workload(tmp_path, contents))


def _as_planned(workload: Any, hardware: Hardware) -> tuple[Compiled, dict[str, Any]]:
    compiled = compile_workload(workload, hardware)
    summary = run(workload, hardware, timeline=False).summary
    traffic = compiled.weight_traffic
    assert summary["weight_read_bytes"] == traffic.total_bytes
    assert summary["weight_read_bytes_planned"] == traffic.total_bytes
    return compiled, summary


def _block_bursts(compiled: Compiled, names: Any, hardware: Hardware) -> int:
    """Bytes of whole bursts of some tiles' blocks."""
    burst_bytes = hardware.dram.burst_bytes
    total = 0
    for name in names:
        region = next(r for r in compiled.program.regions if r.name == f"{name}#block")
        first, last = region.start_bytes, region.start_bytes + region.size_bytes - 1
        total += (last // burst_bytes - first // burst_bytes + 1) * burst_bytes
    return total


@pytest.mark.slow
@pytest.mark.parametrize("hardware", ["az1_lite", "eie"])
def test_weights_that_fit_are_read_once_an_utterance(tmp_path: Path, hardware: str) -> None:
    """At read they stay compressed: less SRAM than their dense codes take is enough."""
    is_read = hardware == "eie"
    room = ["weight_sram.bytes=262144"]
    found = load_hardware(hardware, room)
    workload = _stack(tmp_path, "csc" if is_read else "bitmap")
    compiled, _ = _as_planned(workload, found)
    dense = sum(weight.weights for weight in compiled.weights)
    if is_read:
        less = compiled.allocation.peak_bytes["weight"]
        assert less < dense
        found = load_hardware(hardware, [f"weight_sram.bytes={less}"])
        compiled, _ = _as_planned(workload, found)
    assert compiled.plan.slot_bytes == 0
    names = {tile.name for tiles in compiled.plan.tiles.values() for tile in tiles}
    assert compiled.plan.pinned == names
    traffic = compiled.weight_traffic
    assert traffic.frame_bytes == 0
    assert traffic.total_bytes == traffic.startup_bytes == _block_bursts(compiled, names, found)
    assert traffic.useful_bytes == sum(weight.encoded_bytes for weight in compiled.weights)


@pytest.mark.slow
@pytest.mark.parametrize("bytes_of_sram", [40_960, 65_536, 98_304])
def test_of_weights_that_do_not_fit_only_what_cannot_stay_is_read_again(
    tmp_path: Path, bytes_of_sram: int
) -> None:
    hardware = load_hardware("az1_lite", [f"weight_sram.bytes={bytes_of_sram}"])
    compiled, _ = _as_planned(_stack(tmp_path), hardware)
    plan, traffic = compiled.plan, compiled.weight_traffic
    names = {tile.name for tiles in plan.tiles.values() for tile in tiles}
    streamed = names - plan.pinned - set(plan.held)
    assert plan.pinned
    assert len(streamed) > 2
    # Twice a frame what the layers of two steps use in their loop, all else that streams once.
    loops = {name for name in streamed if name.startswith(("pre0_r", "pre1_r"))}
    once = _block_bursts(compiled, streamed - loops, hardware)
    twice = 2 * _block_bursts(compiled, loops, hardware)
    held = _block_bursts(compiled, plan.held, hardware)
    pinned = _block_bursts(compiled, plan.pinned, hardware)
    assert traffic.frame_bytes == once + twice + held
    assert traffic.total_bytes == pinned + _FRAMES * traffic.frame_bytes
    # No other tile of those that stream could have stayed.
    free = bytes_of_sram - compiled.allocation.peak_bytes["weight"]
    assert free < plan.slot_bytes


@pytest.mark.parametrize("preset", ["az1", "az2", "eie"])
def test_a_slot_is_as_large_as_its_largest_tile(preset: str) -> None:
    graph = _over_time(1)
    hardware = load_hardware(preset, ["weight_sram.bytes=24_576"])
    cuts = cut_tiles(necessary_steps(compress(graph), hardware), hardware, 0)
    sizes = [cut.slot_bytes for cut in cuts.cuts]
    assert len(set(sizes)) > 2
    assert sizes == sorted(sizes, reverse=True)
    for cut in cuts.cuts:
        tiles = [tile for of_weight in cut.tiles.values() for tile in of_weight]
        assert cut.slot_bytes == max(tile_bytes(tile, cuts.uses[tile.weight]) for tile in tiles)


def _over_time(steps: int, layers: int = 3, hidden: int = 64) -> Graph:
    """A stack of LSTMs over a whole utterance at once."""
    rng = np.random.default_rng(0)
    floats: dict[str, np.ndarray] = {"axis": np.array([1], np.int64)}
    nodes, value = [], "x"
    for number in range(layers):
        shapes = {"w": (1, 4 * hidden, hidden), "r": (1, 4 * hidden, hidden), "b": (1, 8 * hidden)}
        own = [f"{name}{number}" for name in shapes]
        for name, shape in zip(own, shapes.values(), strict=True):
            floats[name] = (0.1 * rng.standard_normal(shape)).astype(np.float32)
        outputs = [f"y{number}", f"h{number}", f"c{number}"]
        nodes.append(node("LSTM", [value, *own], outputs, hidden_size=hidden))
        nodes.append(node("Squeeze", [outputs[0], "axis"], f"out{number}"))
        value = f"out{number}"
    return graph_of({"x": (steps, 1, hidden)}, floats, nodes, [value])


def test_each_loop_has_the_memory_for_itself() -> None:
    """Recurrent matrices of 16 KiB each stay during the loop of their layer, one after another."""
    graph = _over_time(40)
    hardware = chip(weight_sram__bytes=32_768)
    compressed, frames = compress(graph), frames_for(graph, 1)
    ran = execute_graph(compressed, hardware, frames)
    compiled = ran.compiled
    loops = set(compiled.plan.held.values())
    assert len(loops) == 3
    assert {name.partition("[")[0] for name in compiled.plan.held} >= {"r0", "r1", "r2"}
    first = [
        min(compiled.allocation.addresses[name] for name in compiled.plan.held if name in own)
        for own in (
            {name for name, loop in compiled.plan.held.items() if loop == number}
            for number in loops
        )
    ]
    assert len(set(first)) == 1
    encoded = sum(weight.encoded_bytes for weight in compiled.weights)
    assert compiled.weight_traffic.useful_bytes < 2 * encoded  # of 20 times without
    tensors, _ = evaluate_stream(graph, dict(frames), {}, {}, compressed)
    for name, found in ran.execution.outputs.items():
        assert found.tobytes() == tensors[name].tobytes()
    assert check_races(compiled.program, ran.execution.trace) == []


@pytest.mark.slow
@pytest.mark.parametrize("bytes_of_sram", [24_576, 32_768, 65_536])
def test_no_bound_forbids_what_a_loop_holds(bytes_of_sram: int) -> None:
    """Weights of a loop are necessary once a frame as far as they fit, not once a round."""
    hardware = chip(weight_sram__bytes=bytes_of_sram)
    graph = _over_time(60)
    ran = execute_graph(compress(graph), hardware, frames_for(graph, 1))
    program = ran.compiled.program
    lowering = necessary_steps(ran.compiled.compressed, hardware)
    size = 4 * place_parameters(lowering).values.size
    bounds, _ = engine_bounds(lowering, hardware, program.stream, {}, size, {})
    timing = replay(ran.execution.trace, program, hardware)
    found = measure(ran.execution.trace, timing, program, hardware)
    assert bounds.dram_cycles <= found.cycles
    assert bounds.decoder_cycles <= found.cycles


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
def test_random_graphs_read_what_was_planned(seed: int) -> None:
    graph = random_graph(seed)
    compressed = compress(graph)
    for size in (2048, 4096):
        hardware = chip(
            weight_sram__bytes=size, mac__lanes=8, dram__burst_bytes=(32, 128)[seed % 2]
        )
        try:
            ran = execute_graph(compressed, hardware, frames_for(graph, 3))
        except CompileError:
            continue  # too small for it
        program = ran.compiled.program
        timing = replay(ran.execution.trace, program, hardware)
        found = measure(ran.execution.trace, timing, program, hardware)
        assert found.weight_read_bytes == ran.compiled.weight_traffic.total_bytes
