"""Streams in chunks: what a frame, a chunk and a byte of weights mean in the figures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import azsim
from azsim.errors import ConfigError
from azsim.report import tables, text
from azsim.report.files import run_document
from azsim.sim.result import RunResult
from azsim.sim.statistics import Chunks, measure
from azsim.sim.timing import replay
from compiled import (
    AZ1,
    MIXED_STATE,
    chip,
    execute_graph,
    frames_for,
    graph_of,
    mixed_graph,
    node,
)
from graphs import compress

TEXT = """
name: chunked
model: {builder: gemm, m: 2, k: 64, n: 48}
input: {random: {seed: 1, frames: 21}, period_s: 0.001}
stream: {chunk_frames: 4, arrival: paced}
hardware: az1
"""
GRAPH = """
name: written
model:
  graph:
    inputs: {x: {shape: [1, 6, 16]}}
    initializers: {w: {shape: [16, 8], random: {seed: 0}}}
    nodes: [{op: MatMul, inputs: [x, w], outputs: [y]}]
    outputs: [y]
input: {random: {seed: 1, frames: 14}, period_s: 0.001}
stream: {time_axis: {x: 1}, chunk_frames: 3, arrival: paced}
"""

STREAMS = chip(weight_sram__bytes=1_024)
"""With no room for the weights."""


def written(folder: Path, content: str) -> Path:
    path = folder / "w.yaml"
    path.write_text(content)
    return path


def ran(folder: Path, content: str = TEXT, *overrides: str) -> RunResult:
    workload = azsim.load_workload(written(folder, content), overrides)
    return azsim.run(workload, verify=True, timeline=False)


def test_a_frame_waits_for_its_chunk(tmp_path: Path) -> None:
    result = ran(tmp_path)
    assert result.comparison is not None
    assert result.comparison.bit_exact
    summary = result.summary
    # 21 rows, two a frame: 11 frames, three chunks of 8 rows; a frame takes 2 ms.
    assert (summary["frames"], summary["chunk_frames"]) == (11, 4)
    assert result.outputs["y"].shape == (3, 8, 48)
    document = run_document(result)
    assert [document[key] for key in ("frames", "chunk_frames", "chunks")] == [11, 4, 3]
    assert result.notes == (
        "x: 21 frames are no whole number of chunks of 8; 3 frames of zeros follow",
    )
    chunk, frame = summary["chunk_latency_s"], summary["frame_latency_s"]
    assert isinstance(chunk, dict)
    assert isinstance(frame, dict)
    # The first of a chunk's four frames waits for three, of 2 ms each.
    assert 0 < frame["max"] - 3 * 2e-3 <= chunk["max"] * (1 + 1e-9) < 1e-3  # but for rounding
    assert 0 < frame["p50"] - 2 * 2e-3 <= chunk["max"]
    busy_s = result.statistics.cycles / result.clock_hz
    assert summary["real_time_factor"] == pytest.approx(busy_s / (11 * 2e-3))
    assert summary["deadline_misses"] == 0
    shown = tables.render([text.summary(result)], 160)
    assert "4 frames at a time, from the arrival of the last" in shown
    assert "slower than the time between chunks" in shown
    json.dumps(summary)


def test_frames_that_are_all_there_wait_for_nothing(tmp_path: Path) -> None:
    summary = ran(tmp_path, TEXT, "stream.arrival=asap").summary
    chunk, frame = summary["chunk_latency_s"], summary["frame_latency_s"]
    assert isinstance(chunk, dict)
    assert isinstance(frame, dict)
    assert frame["max"] == chunk["max"]
    assert summary["deadline_misses"] is None


@pytest.mark.parametrize("period_s", [3e-8, 1e-4])
def test_latencies_frame_by_frame(period_s: float) -> None:
    graph = mixed_graph()
    frames = frames_for(graph, 5, 0, list(MIXED_STATE))
    initial = {name: np.zeros(graph.inputs[name].shape, np.float32) for name in MIXED_STATE}
    done = execute_graph(compress(graph), AZ1, frames, MIXED_STATE, initial, period_s=period_s)
    program = done.compiled.program
    trace = done.execution.trace
    timing = replay(trace, program, AZ1)
    alone = measure(trace, timing, program, AZ1)
    found = measure(trace, timing, program, AZ1, Chunks(14, 3))
    assert alone.frame_latency_s == alone.chunk_latency_s == found.chunk_latency_s
    assert alone.deadline_misses == found.deadline_misses
    assert (alone.deadline_misses == 0) == (period_s == 1e-4)
    assert found.real_time_factor is not None
    assert found.real_time_factor == pytest.approx(
        found.cycles / AZ1.clock_hz / (14 * period_s / 3)
    )
    # Stores of the results end a chunk; each frame came one third of a period before the next.
    first = np.flatnonzero(timing.arrival)
    assert len(first) == 5
    works = (timing.engine < 5) & (timing.engine != 0)  # neither fences nor loads of weights
    state = program.layers.index("(state)")
    of_state = np.array(program.layer_of)[[s.index for s in trace.sites]][timing.site] == state
    works &= ~((timing.engine == 2) & of_state & (np.arange(len(works)) > first[-1]))
    expected = []
    for begin, stop in zip(first, [*first[1:], len(works)], strict=True):
        end = timing.end[begin:stop][works[begin:stop]].max()
        seconds = (end - timing.arrival[begin]) / AZ1.clock_hz
        expected += [seconds + later * period_s / 3 for later in (2, 1, 0)]
    assert found.frame_latency_s is not None
    for name, share in (("p50", 50), ("p95", 95), ("p99", 99), ("max", 100)):
        wanted = np.percentile(expected[:14], share)
        assert found.frame_latency_s[name] == pytest.approx(wanted, rel=1e-9)


def test_a_byte_of_weights_is_used_once_a_row_unless_it_stays(tmp_path: Path) -> None:
    path = written(tmp_path, TEXT.replace("frames: 21", "frames: 24"))
    reuse = {}
    for chunk_frames in (1, 4):
        workload = azsim.load_workload(path, [f"stream.chunk_frames={chunk_frames}"])
        for name, hardware in {"resident": AZ1, "streamed": STREAMS}.items():
            stats = azsim.run(workload, hardware, timeline=False).statistics
            assert stats.macs == 24 * 64 * 48
            assert stats.weight_reuse == stats.macs / stats.weight_read_bytes
            reuse[name, chunk_frames] = stats.weight_reuse
    # Streamed, a byte serves the rows of one chunk; resident, those of the whole run.
    assert reuse["streamed", 4] == pytest.approx(4 * reuse["streamed", 1], rel=0.2)
    assert reuse["resident", 1] == reuse["resident", 4]
    assert reuse["resident", 4] == pytest.approx(3 * reuse["streamed", 4], rel=0.2)


def test_products_of_what_was_computed_reuse_no_weights() -> None:
    rng = np.random.default_rng(0)
    w = rng.standard_normal((16, 16)).astype(np.float32)
    nodes = [node("MatMul", ["x", "w"], "q"), node("MatMul", ["q", "k"], "y")]
    graph = graph_of({"x": (4, 16), "k": (16, 8)}, {"w": w}, nodes, ["y"])
    done = execute_graph(compress(graph), AZ1, frames_for(graph, 1))
    trace, program = done.execution.trace, done.compiled.program
    stats = measure(trace, replay(trace, program, AZ1), program, AZ1)
    assert stats.macs == 4 * 16 * 16 + 4 * 16 * 8
    assert stats.weight_reuse == 4 * 16 * 16 / stats.weight_read_bytes


def test_a_graph_that_is_written_out_has_its_own_chunk(tmp_path: Path) -> None:
    result = ran(tmp_path, GRAPH)
    summary = result.summary
    # Six steps at once are three frames of two; 14 steps are seven frames.
    assert (summary["frames"], summary["chunk_frames"]) == (7, 3)
    assert result.outputs["y"].shape == (3, 1, 6, 8)
    busy_s = result.statistics.cycles / result.clock_hz
    assert summary["real_time_factor"] == pytest.approx(busy_s / (7 * 2e-3))
    one = ran(tmp_path, GRAPH, "stream.chunk_frames=1")
    assert (one.statistics.frames, one.statistics.chunk_frames) == (3, 1)
    np.testing.assert_array_equal(one.outputs["y"], result.outputs["y"])


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        (
            "stream.chunk_frames=4",
            (
                "--set stream.chunk_frames=4: $.stream.chunk_frames: found 4, allowed: what "
                "divides the steps of time that the graph takes at once: 6 of x"
            ),
        ),
        (
            "stream.time_axis={}",
            (
                "w.yaml:10:43: $.stream.chunk_frames: found 3, allowed: what "
                "divides the steps of time that the graph takes at once: none"
            ),
        ),
    ],
)
def test_chunks_that_the_graph_does_not_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, override: str, sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    content = GRAPH.replace(", frames: 14", "") if "time_axis" in override else GRAPH
    written(tmp_path, content)
    with pytest.raises(ConfigError) as caught:
        azsim.run(azsim.load_workload("w.yaml", [override]))
    assert caught.value.problems == (sentence,)
