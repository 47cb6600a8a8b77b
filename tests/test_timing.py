"""What holds for every timed run, whatever the graph and the chip."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from azsim.compiler.bounds import EngineBounds, engine_bounds
from azsim.compiler.compile import necessary_steps
from azsim.compiler.parameters import place_parameters
from azsim.errors import AzsimError
from azsim.frontend.workload import load_workload
from azsim.hardware.description import Hardware
from azsim.ir import CompressedGraph
from azsim.isa.program import Program, Stream
from azsim.machine.engines.clock import ENGINES
from azsim.machine.trace import Trace
from azsim.machine.view import View
from azsim.pipeline import run
from azsim.sim.statistics import Statistics, measure
from azsim.sim.timing import Timing, replay
from azsim.stages.record import array_cycles
from compiled import (
    AZ1,
    MIXED_STATE,
    VARIANTS,
    Ran,
    chip,
    execute_graph,
    frames_for,
    graph_of,
    mixed_graph,
    node,
    pruned,
    with_codec,
)
from graphs import compress, random_graph

F = np.float32
STORE = ENGINES.index("store")


@st.composite
def chips(draw: st.DrawFn) -> Hardware:
    """Chips with every timing key drawn, and structural ones that force tiling."""
    macs = draw(st.integers(1, 4))
    refresh = draw(st.sampled_from([0, 0, 500]))
    return chip(
        clock_hz=draw(st.sampled_from([10**8, 333_000_000, 10**9])),
        dram__bytes_per_s=draw(st.sampled_from([10**8, 3 * 10**9, 10**12])),
        dram__burst_bytes=draw(st.sampled_from([8, 64])),
        dram__latency_ns=draw(st.sampled_from([0, 7.5, 100])),
        dram__outstanding_bursts=draw(st.integers(1, 4)),
        dram__row_bytes=draw(st.sampled_from([64, 256, 2048])),
        dram__row_miss_ns=draw(st.sampled_from([0, 30, 300])),
        dram__banks=draw(st.sampled_from([1, 3, 8])),
        dram__refresh_interval_ns=refresh,
        dram__refresh_ns=refresh / 10,
        decoder__lanes=draw(st.integers(1, 9)),
        decoder__fifo_bursts=draw(st.integers(1, 4)),
        weight_sram__bytes=draw(st.sampled_from([1000, 2048, 1 << 19])),
        weight_sram__write_bytes_per_cycle=draw(st.integers(1, 64)),
        mac__dataflow=draw(st.sampled_from(["inner", "outer"])),
        mac__lanes=draw(st.integers(1, 20)),
        mac__macs_per_lane=macs,
        mac__window=draw(st.integers(macs, 24)),
        mac__queue_depth=draw(st.integers(1, 5)),
        mac__zero_skip=draw(st.sampled_from(["none", "weights", "activations", "both"])),
        mac__accumulators=draw(st.sampled_from([64, 128, 8192])),
        mac__drain_lanes=draw(st.integers(1, 9)),
        mac__pipeline_cycles=draw(st.integers(0, 5)),
        vector__lanes=draw(st.integers(1, 9)),
        vector__pipeline_cycles=draw(st.integers(0, 5)),
        sequencer__issue_cycles=draw(st.integers(1, 2)),
        sequencer__queue_entries=draw(st.integers(1, 4)),
    )


def _bounds(
    compressed: CompressedGraph, hardware: Hardware, ran: Ran, timing: Timing,
    stream: Stream, state: dict[str, str], statistics: Statistics,
) -> EngineBounds:  # fmt: skip
    lowering = necessary_steps(compressed, hardware)
    bounds, layers = engine_bounds(
        lowering, hardware, stream, state,
        4 * place_parameters(lowering).values.size,
        array_cycles(ran.execution.trace, timing, ran.compiled, hardware),
        frames_are_apart=stream.paced and statistics.deadline_misses == 0,
    )  # fmt: skip
    for name in ("dram_cycles", "decoder_cycles", "mac_cycles", "vector_cycles"):
        parts = [getattr(layer, name) for layer in layers.values()]
        # The run's work is the layers', each rounded down; rows and refreshes are the run's only.
        assert sum(parts) <= getattr(bounds, name)
        if name != "dram_cycles":
            assert getattr(bounds, name) < sum(parts) + len(parts) + 1
    assert set(layers) <= {layer.name for layer in statistics.layers}
    return bounds


def _bounds_of(
    compressed: CompressedGraph, hardware: Hardware, ran: Ran, statistics: Statistics
) -> EngineBounds:
    timing = replay(ran.execution.trace, ran.compiled.program, hardware)
    stream = ran.compiled.program.stream
    return _bounds(compressed, hardware, ran, timing, stream, {}, statistics)


def _check(
    compressed: CompressedGraph, ran: Ran, hardware: Hardware, state: dict[str, str],
    stream: Stream | None = None,
) -> tuple[Timing, Statistics]:  # fmt: skip
    """Replay, and check all that has to hold."""
    trace, program = ran.execution.trace, ran.compiled.program
    program = replace(program, stream=stream) if stream else program
    timing = replay(trace, program, hardware)
    statistics = measure(trace, timing, program, hardware)
    cycles = statistics.cycles
    assert (timing.end >= timing.start).all()
    assert (timing.start >= timing.dispatch).all()
    assert timing.end_cycles == cycles + statistics.idle_cycles
    for engine, reasons in statistics.stall_cycles.items():
        assert min(reasons.values()) >= 0
        assert statistics.engine_busy_cycles[engine] + sum(reasons.values()) == cycles, engine
    decoders = {"decoder"} if hardware.decoder.at == "fill" else set()
    assert set(statistics.engine_busy_cycles) == {*ENGINES, *decoders, "sequencer"}
    assert sum(layer.cycles for layer in statistics.layers) == cycles
    assert min(layer.cycles for layer in statistics.layers) >= 0
    _check_bytes(trace, program, hardware, statistics)
    executed = sum(layer.macs_executed for layer in statistics.layers)
    assert executed == statistics.macs_executed == statistics.macs - statistics.macs_skipped
    assert int(timing.products.nonzero.sum()) <= executed <= statistics.macs
    assert statistics.ideal_mac_cycles <= statistics.engine_busy_cycles["mac"] + 1
    bounds = _bounds(compressed, hardware, ran, timing, program.stream, state, statistics)
    assert max(vars(bounds).values()) <= cycles, bounds
    busy = statistics.engine_busy_cycles
    assert bounds.mac_cycles <= busy["mac"]
    assert bounds.vector_cycles <= busy["vector"]
    assert bounds.decoder_cycles <= busy["weight"]
    return timing, statistics


def _pieces(view: View, first: int) -> list[tuple[int, int]]:
    """Address and bytes of what lies together in DRAM."""
    size = view.element_bits // 8
    if view.rows == 1 or view.row_stride == view.cols:
        return [(first, view.rows * view.cols * size)]
    width = view.cols * size
    return [(first + row * view.row_stride * size, width) for row in range(view.rows)]


def _check_bytes(
    trace: Trace, program: Program, hardware: Hardware, statistics: Statistics
) -> None:
    """Count traffic from the trace alone, byte by byte."""
    burst = hardware.dram.burst_bytes
    reads = writes = useful = 0
    for number, payload in zip(trace.sequence, trace.payload, strict=True):
        site = trace.sites[number]
        is_store = site.mnemonic in ("store", "store_scatter")
        if site.mnemonic in ("load_gather", "store_scatter"):
            view, rows = site.views["dst" if is_store else "src"], site.views["indices"].rows
            width = view.cols * view.element_bits // 8
            pieces = [(int(first), width) for first in trace.gathered[payload : payload + rows]]
        elif site.mnemonic in ("load", "store", "weight_load"):
            view = site.views["dst" if is_store else "src"]
            pieces = _pieces(view, int(payload))
        else:
            continue
        bursts = sum((low + size - 1) // burst - low // burst + 1 for low, size in pieces)
        useful += sum(size for _, size in pieces)
        if is_store:
            writes += bursts * burst
        else:
            reads += bursts * burst
    assert (statistics.dram_read_bytes, statistics.dram_write_bytes) == (reads, writes)
    assert statistics.dram_useful_bytes == useful <= reads + writes
    layers = statistics.layers
    assert sum(layer.dram_read_bytes for layer in layers) == reads
    assert sum(layer.dram_write_bytes for layer in layers) == writes


CODECS = [("raw", {}), ("bitmap", {}), ("bitmap", {"palette": True}), ("zero_run", {})]


@pytest.mark.slow
@settings(max_examples=40)
@given(
    seed=st.integers(0, 1 << 32), hardware=chips(), codec=st.sampled_from(CODECS),
    bits=st.sampled_from([2, 4, 8]), share=st.sampled_from([0.0, 0.5, 0.9]),
    count=st.integers(1, 4),
)  # fmt: skip
def test_random_graphs_on_random_chips(
    seed: int, hardware: Hardware, codec: tuple[str, dict[str, bool]], bits: int, share: float,
    count: int,
) -> None:  # fmt: skip
    graph = random_graph(seed)
    compressed = with_codec(pruned(compress(graph, bits), share, seed), codec[0], **codec[1])
    frames = {
        name: np.abs(array) + F(0.1) for name, array in frames_for(graph, count, seed).items()
    }
    try:
        ran = execute_graph(compressed, hardware, frames)
    except AzsimError as error:
        assert "not finite" in str(error) or "too small" in str(error)  # noqa: PT017
        return
    _check(compressed, ran, hardware, {})


@pytest.mark.slow
@settings(max_examples=40)
@given(
    shape=st.tuples(st.integers(1, 40), st.integers(1, 300), st.integers(1, 40)),
    hardware=chips(), codec=st.sampled_from(CODECS), bits=st.sampled_from([2, 4, 8]),
    seed=st.integers(0, 1 << 20), few_values=st.booleans(),
)  # fmt: skip
def test_large_products_on_random_chips(
    shape: tuple[int, int, int], hardware: Hardware, codec: tuple[str, dict[str, bool]],
    bits: int, seed: int, few_values: bool,
) -> None:  # fmt: skip
    rows, inner, outputs = shape
    rng = np.random.default_rng(seed)
    clumps = rng.random((-(-outputs // 3), -(-inner // 13))).repeat(13, 1).repeat(3, 0)
    kept = rng.random((outputs, inner)) < clumps[:outputs, :inner]
    matrix = (rng.standard_normal((outputs, inner)) * kept).astype(F)
    if few_values:  # so that a palette of a tile is smaller than that of the matrix
        matrix = (np.sign(matrix) * (1 + np.arange(outputs)[:, None] // 4)).astype(F)
    graph = graph_of({"x": (rows, inner)}, {"w": matrix},
                     [node("Gemm", ["x", "w"], "y", transB=1)], ("y",))  # fmt: skip
    compressed = with_codec(compress(graph, bits), codec[0], **codec[1])
    try:
        ran = execute_graph(compressed, hardware, frames_for(graph, 2, seed))
    except AzsimError as error:
        assert "too small" in str(error)  # noqa: PT017
        return
    _check(compressed, ran, hardware, {})


def test_bound_of_the_vector_engine_is_its_own_time_for_each_step() -> None:
    nodes = [node("Sigmoid", ["x"], "s"), node("Mul", ["x", "s"], "m"), node("Sqrt", ["s"], "r")]
    graph = graph_of({"x": (3, 70)}, {}, [*nodes, node("Add", ["m", "r"], "y")], ("y",))
    for hardware in (chip(), chip(vector__lanes=3, vector__pipeline_cycles=17)):
        compressed = compress(graph)
        ran = execute_graph(compressed, hardware, frames_for(graph, 3))
        _, statistics = _check(compressed, ran, hardware, {})
        bounds = _bounds_of(compressed, hardware, ran, statistics)
        assert bounds.vector_cycles == statistics.engine_busy_cycles["vector"]


def test_bounds_count_rows_that_weights_open_anew_in_each_round() -> None:
    rng = np.random.default_rng(3)
    matrices = {f"w{n}": rng.standard_normal((64, 64)).astype(F) for n in range(4)}
    nodes = [node("Gemm", [f"x{n}", f"w{n}"], f"x{n + 1}") for n in range(4)]
    graph = graph_of({"x0": (1, 64)}, matrices, nodes, ("x4",))
    compressed = with_codec(compress(graph), "raw")
    found = {}
    for row_miss_ns in (0, 60):
        hardware = chip(
            weight_sram__bytes=9216, dram__row_bytes=256, dram__banks=2,
            dram__row_miss_ns=row_miss_ns, dram__refresh_interval_ns=0, dram__refresh_ns=0,
        )  # fmt: skip
        ran = execute_graph(compressed, hardware, frames_for(graph, 10))
        _, statistics = _check(compressed, ran, hardware, {})
        found[row_miss_ns] = _bounds_of(compressed, hardware, ran, statistics)
    miss_cycles = 60e-9 * hardware.clock_hz
    # 16 KiB of blocks, of which 9 KiB at most stay: 7 KiB or more, 28 rows, come in each round.
    more = found[60].dram_cycles - found[0].dram_cycles
    rounds = -(-10 // ran.compiled.program.stream.together)
    assert 1 < rounds < 10
    assert (rounds - 1) * (28 - 2 * 2) * miss_cycles <= more <= rounds * 70 * miss_cycles
    assert found[60].decoder_cycles > found[0].decoder_cycles


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("paced", [False, True])
def test_streams_with_state(variant: str, paced: bool) -> None:
    graph, hardware = mixed_graph(), VARIANTS[variant]
    initial = {name: np.zeros(graph.inputs[name].shape, F) for name in MIXED_STATE}
    compressed = pruned(compress(graph), 0.5)
    frames = frames_for(graph, 6, 0, list(MIXED_STATE))
    pace = 1e-6 if paced else None
    ran = execute_graph(compressed, hardware, frames, MIXED_STATE, initial, period_s=pace)
    for period_s in (1e-6, 5e-6, 1e-4):
        stream = replace(ran.compiled.program.stream, period_s=period_s)
        timing, statistics = _check(compressed, ran, hardware, MIXED_STATE, stream)
        latency = statistics.frame_latency_s
        assert latency is not None
        assert 0 < latency["p50"] <= latency["p95"] <= latency["p99"] <= latency["max"]
        assert statistics.real_time_factor == pytest.approx(
            statistics.cycles / hardware.clock_hz / (6 * period_s)
        )
        if paced:
            assert statistics.deadline_misses == (0 if period_s == 1e-4 else
                                                  statistics.deadline_misses)  # fmt: skip
            paced_loads = timing.arrival > 0
            assert paced_loads.sum() == 6
            assert (timing.start[paced_loads] >= timing.arrival[paced_loads]).all()
        else:
            assert statistics.idle_cycles == 0
            assert statistics.deadline_misses is None
    assert statistics.idle_cycles > 0 or not paced


def test_pacing_changes_idle_time_only_when_frames_come_slowly() -> None:
    graph = mixed_graph()
    initial = {name: np.zeros(graph.inputs[name].shape, F) for name in MIXED_STATE}
    frames = frames_for(graph, 5, 0, list(MIXED_STATE))
    ran = execute_graph(compress(graph), AZ1, frames, MIXED_STATE, initial, period_s=1e-3)
    slow = chip(dram__refresh_interval_ns=0, dram__refresh_ns=0)
    runs = [
        _check(compress(graph), ran, slow, MIXED_STATE, Stream(5, period_s, True))[1]
        for period_s in (1e-3, 2e-3, 1e-2)
    ]
    assert len({run.cycles for run in runs}) == 1
    idle_s = [run.idle_cycles / slow.clock_hz for run in runs]
    assert idle_s[1] - idle_s[0] == pytest.approx(5e-3, rel=1e-6)


def test_the_critical_path_follows_each_state_on_its_own() -> None:
    # One state is a long chain that nothing of the next frame needs; it must not be counted
    # once a frame.
    chain = [node("Tanh", ["xb" if n == 0 else f"t{n - 1}"], f"t{n}") for n in range(20)]
    graph = graph_of(
        {"x": (1, 4), "a": (1, 4), "b": (1, 4)},
        {},
        [node("Add", ["x", "a"], "an"), node("Mul", ["a", "x"], "xb"), *chain,
         node("Identity", ["t19"], "bn"), node("Neg", ["b"], "y")],
        ("y", "an", "bn"),
    )  # fmt: skip
    state = {"a": "an", "b": "bn"}
    initial = {name: np.zeros((1, 4), F) for name in state}
    paths = {}
    for count in (3, 13):
        ran = execute_graph(compress(graph), AZ1, frames_for(graph, count, 0, list(state)), state,
                            initial)  # fmt: skip
        timing, statistics = _check(compress(graph), ran, AZ1, state)
        stream = ran.compiled.program.stream
        bounds = _bounds(compress(graph), AZ1, ran, timing, stream, state, statistics)
        paths[count] = bounds.critical_path_cycles
    assert paths[13] - paths[3] == 10 * (AZ1.vector.pipeline_cycles + 1)


def test_a_weight_that_two_layers_share_is_necessary_once() -> None:
    rng = np.random.default_rng(0)
    graph = graph_of(
        {"x": (3, 30)},
        {"w": rng.standard_normal((30, 30)).astype(F)},
        [
            node("MatMul", ["x", "w"], "t"),
            node("Tanh", ["t"], "u"),
            node("MatMul", ["u", "w"], "y"),
        ],
        ("y",),
    )
    for size in (1088, 1 << 19):
        hardware = chip(weight_sram__bytes=size, dram__bytes_per_s=10**8)
        ran = execute_graph(compress(graph), hardware, frames_for(graph, 3))
        _check(compress(graph), ran, hardware, {})


def test_rows_that_share_no_pass_do_not_break_the_bound() -> None:
    # Accumulators hold three rows of weights at a time, lanes are four: the heavy rows 3, 4 and 5
    # run side by side, which they would not in passes of four.
    matrix = np.zeros((8, 64), F)
    matrix[3:6] = 1
    graph = graph_of({"x": (21, 64)}, {"w": matrix},
                     [node("Gemm", ["x", "w"], "y", transB=1)], ("y",))  # fmt: skip
    hardware = chip(mac__accumulators=64, mac__lanes=4, mac__macs_per_lane=1, mac__window=16)
    ran = execute_graph(compress(graph), hardware, frames_for(graph, 1))
    assert [tile.n1 - tile.n0 for tile in ran.compiled.plan.tiles["w"]] == [3, 3, 2]
    _check(compress(graph), ran, hardware, {})


# ------------------------------------------------------------------------------ slower DRAM


SLOWER = [
    {"dram__latency_ns": 81}, {"dram__latency_ns": 160}, {"dram__latency_ns": 1000},
    {"dram__bytes_per_s": 3_100_000_000}, {"dram__bytes_per_s": 1_600_000_000},
    {"dram__bytes_per_s": 100_000_000}, {"dram__row_miss_ns": 60},
    {"dram__outstanding_bursts": 4}, {"dram__outstanding_bursts": 1},
]  # fmt: skip
QUIET: dict[str, int | float | str | tuple[str, ...]] = {
    "dram__refresh_interval_ns": 0, "dram__refresh_ns": 0
}  # fmt: skip


def _cycles(ran: Ran, hardware: Hardware) -> int:
    return replay(ran.execution.trace, ran.compiled.program, hardware).end_cycles


def test_slower_dram_is_not_faster_with_one_requester() -> None:
    # Everything on the chip is vector work; loads and stores are separated by fences of data.
    graph = graph_of({"x": (4, 60)}, {}, [node("Tanh", ["x"], "y")], ("y",))
    ran = execute_graph(compress(graph), AZ1, frames_for(graph, 1))
    base = _cycles(ran, chip(**QUIET))
    for change in SLOWER:
        assert _cycles(ran, chip(**QUIET, **change)) >= base, change


def test_the_worst_anomaly_of_several_requesters(
    record_property: Callable[[str, object], None],
) -> None:
    """With several channels arbitration may turn a slower DRAM into a faster run; how much?"""
    worst, where = 0.0, "none found"
    for variant in ("az1", "tiny weight SRAM", "raw only"):
        graph = mixed_graph(4)
        initial = {name: np.zeros(graph.inputs[name].shape, F) for name in MIXED_STATE}
        frames = frames_for(graph, 8, 0, list(MIXED_STATE))
        hardware = VARIANTS[variant]
        ran = execute_graph(compress(graph), hardware, frames, MIXED_STATE, initial)
        for latency_ns in range(0, 200, 13):
            for bytes_per_s in (800_000_000, 3_200_000_000, 12_800_000_000):
                dram = replace(
                    hardware.dram, refresh_interval_ns=0, refresh_ns=0, bytes_per_s=bytes_per_s,
                    latency_ns=float(latency_ns), outstanding_bursts=2,
                )  # fmt: skip
                base = _cycles(ran, replace(hardware, dram=dram))
                for slower in (
                    replace(dram, latency_ns=float(latency_ns + 1)),
                    replace(dram, latency_ns=float(latency_ns + 20)),
                    replace(dram, bytes_per_s=bytes_per_s * 9 // 10),
                    replace(dram, row_miss_ns=dram.row_miss_ns + 11),
                ):
                    found = _cycles(ran, replace(hardware, dram=slower))
                    if base / found - 1 > worst:
                        worst = base / found - 1
                        where = f"{variant}: {dram} against {slower}"
    record_property("worst_anomaly_percent", 100 * worst)
    sys.stdout.write(f"worst anomaly: {100 * worst:.3f} % fewer cycles ({where})\n")
    assert worst < 0.05


@pytest.mark.slow
def test_refreshes_of_a_stream_are_in_its_bound_but_for_one_a_wait() -> None:
    found = {}
    workload = load_workload("speech_rnnt_small", ["input.random.frames=8"])
    for refresh_ns in (0.0, 90.0, 1950.0):
        hardware = replace(AZ1, dram=replace(AZ1.dram, refresh_ns=refresh_ns))
        ran = run(workload, hardware, checked=False)
        assert ran.bounds is not None
        assert ran.statistics.idle_cycles > 0
        assert ran.statistics.cycles >= ran.bounds.by_engine["dram"]
        found[refresh_ns] = ran.bounds.by_engine["dram"]
    # Every 3,900 ns; the stream, of 4 pairs of frames, has 5 stretches of some 20 refreshes each.
    assert found[90.0] / found[0.0] == pytest.approx(3900 / (3900 - 90), rel=0.005)
    assert found[1950.0] / found[0.0] == pytest.approx(2, rel=0.06)
