"""The least that a first frame takes: its weights have to come through the decoder."""

from __future__ import annotations

import numpy as np
import pytest

from azsim.compiler.bounds import EngineBounds, engine_bounds, weights_of_frame
from azsim.compiler.compile import necessary_steps
from azsim.compiler.parameters import parameter_room_bytes, place_parameters
from azsim.compiler.regions import decisions_of_frames
from azsim.hardware.description import Hardware
from azsim.isa.program import Stream
from azsim.sim.statistics import measure
from azsim.sim.timing import replay
from compiled import AZ1, chip, execute_graph, graph_of, node
from decoding import STATE, transducer
from graphs import compress

SLOW = chip(decoder__lanes=1, dram__bytes_per_s=12_800_000_000)
"""Its decoder takes longer for a block than DRAM does."""


def bounds_of(hardware: Hardware, frames: int, period_s: float | None) -> tuple[EngineBounds, int]:
    """Bounds of a run of one product, and its cycles."""
    rng = np.random.default_rng(0)
    weights = {"w": rng.standard_normal((64, 96)).astype(np.float32)}
    graph = graph_of({"x": (1, 96)}, weights, [node("Gemm", ["x", "w"], "y", transB=1)], ["y"])
    given = {"x": rng.standard_normal((frames, 1, 96)).astype(np.float32)}
    ran = execute_graph(compress(graph), hardware, given, period_s=period_s)
    stream = Stream(frames, period_s, period_s is not None)
    timing = replay(ran.execution.trace, ran.compiled.program, hardware)
    statistics = measure(ran.execution.trace, timing, ran.compiled.program, hardware)
    lowering = necessary_steps(ran.compiled.compressed, hardware)
    room = parameter_room_bytes(lowering, hardware)
    bounds, _ = engine_bounds(
        lowering,
        hardware,
        stream,
        {},
        4 * place_parameters(lowering, room).values.size,
        {},
        frames_are_apart=period_s is not None,
    )
    return bounds, statistics.cycles


@pytest.mark.parametrize(("frames", "period_s"), [(1, None), (4, 1e-3)])
def test_a_first_frame_is_not_over_before_its_weights_are_decoded(
    frames: int, period_s: float | None
) -> None:
    bounds, cycles = bounds_of(SLOW, frames, period_s)
    many_lanes = chip(decoder__lanes=64, dram__bytes_per_s=12_800_000_000)
    fast, _ = bounds_of(many_lanes, frames, period_s)
    assert bounds.dram_cycles < bounds.decoder_cycles <= bounds.critical_path_cycles <= cycles
    assert fast.critical_path_cycles < bounds.critical_path_cycles


def test_frames_that_are_not_apart_share_nothing_but_their_chain() -> None:
    bounds, cycles = bounds_of(SLOW, 4, None)
    assert bounds.critical_path_cycles < bounds.decoder_cycles <= cycles


def test_a_state_that_nothing_reads_need_not_come() -> None:
    """It lives in DRAM, and only its last value is of use to anyone."""
    nodes = [node("Tanh", ["x"], "seen"), node("Mul", ["kept", "x"], "kept.next")]
    shapes = {"x": (1, 512), "seen.before": (1, 512), "kept": (1, 512)}
    graph = graph_of(shapes, {}, nodes, ["seen", "kept.next"])
    state = {"seen.before": "seen", "kept": "kept.next"}
    given = {"x": np.ones((1, 1, 512), np.float32)}
    initial = {name: np.ones((1, 512), np.float32) for name in state}
    hardware = chip(activation_sram__bytes=6144, dram__bytes_per_s=400_000_000)
    ran = execute_graph(compress(graph), hardware, given, state, initial)
    assert "seen.before" in ran.compiled.schedule.spilled
    timing = replay(ran.execution.trace, ran.compiled.program, hardware)
    statistics = measure(ran.execution.trace, timing, ran.compiled.program, hardware)
    lowering = necessary_steps(ran.compiled.compressed, hardware)
    bounds, _ = engine_bounds(lowering, hardware, Stream(1, None, False), state, 0, {})
    transfers = [site for site in ran.execution.trace.sites if site.mnemonic in ("load", "store")]
    assert len(transfers) == 4  # without what was there before
    assert bounds.dram_cycles <= statistics.cycles


def test_weights_that_data_leaves_out_need_not_come_for_a_frame() -> None:
    model = transducer(2, limit=3, blank_bias=50.0)
    rng = np.random.default_rng(0)
    given = {
        name: rng.standard_normal((2, *kind.shape)).astype(np.float32)
        for name, kind in model.graph.inputs.items()
        if name not in STATE
    }
    ran = execute_graph(compress(model.graph), AZ1, given, STATE, model.zero_state())
    lowering = necessary_steps(ran.compiled.compressed, AZ1)
    program, trace = ran.compiled.program, ran.execution.trace
    first, second = decisions_of_frames(ran.compiled.leaves, program, trace)
    of_first, of_second = (weights_of_frame(lowering, one) for one in (first, second))
    # The first frame begins the stream; the second one finds no symbol.
    assert of_first - of_second == {"lstm_r", "lstm_w", "half_w"}
    assert of_second == weights_of_frame(lowering, None)
