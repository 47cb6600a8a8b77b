"""What replays of a trace share is right for every one of them."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import pickle

import numpy as np
import pytest

from azsim.compiler.compile import compile_graph
from azsim.frontend.workload import load_workload
from azsim.hardware.description import Hardware
from azsim.isa.program import DramImage, Program
from azsim.machine.trace import Trace
from azsim.pipeline import prepare
from azsim.sim.execute import execute
from azsim.sim.flatten import FlatTrace
from azsim.sim.outline import kept
from azsim.sim.statistics import measure
from azsim.sim.timing import replay
from compiled import (
    MIXED_STATE,
    Ran,
    chip,
    execute_graph,
    frames_for,
    mixed_graph,
    pruned,
    with_codec,
)
from graphs import compress

pytestmark = pytest.mark.kernels


@functools.cache
def _ran() -> Ran:
    graph = mixed_graph(5, seed=3)
    initial = {name: np.zeros(graph.inputs[name].shape, np.float32) for name in MIXED_STATE}
    frames = frames_for(graph, 3, 1, list(MIXED_STATE))
    compressed = with_codec(pruned(compress(graph, 8, 8), 0.5), "bitmap")
    return execute_graph(compressed, chip(), frames, MIXED_STATE, initial)


def _arrays(trace: Trace, hardware: Hardware) -> dict[str, np.ndarray]:
    flat = FlatTrace(trace, hardware)
    found = {name: value for name, value in vars(flat).items() if isinstance(value, np.ndarray)}
    # Entries of blocks may lie in another order.
    loads = flat.engine == 0
    ends = flat.block_at[loads] + flat.num_bursts[loads]
    spans = zip(flat.block_at[loads], ends, strict=True)
    found["blocks"] = np.concatenate([flat.blocks[at:end] for at, end in spans])
    del found["block_at"]
    return found


def _forget(trace: Trace) -> None:
    trace.derived.clear()
    trace.path.derived.clear()


CHANGES = [
    {},
    *({f"mac__{key}": value} for key, value in {
        "dataflow": "outer", "lanes": 9, "macs_per_lane": 3, "window": 7, "queue_depth": 2,
        "zero_skip": "both", "accumulators": 999, "drain_lanes": 3, "pipeline_cycles": 11,
    }.items()),
    {"mac__zero_skip": "activations"},
    {"mac__zero_skip": "none"},
    *({f"vector__{key}": value} for key, value in {
        "lanes": 5, "pipeline_cycles": 4, "divide_cycles": 7, "table_cycles": 5,
    }.items()),
    {"decoder__lanes": 3},
    {"decoder__bus_bytes_per_cycle": 8},
    {"decoder__fifo_bursts": 2},
    {"weight_sram__write_bytes_per_cycle": 5},
    {"dram__burst_bytes": 16},
    {"dram__latency_ns": 5},
    {"clock_hz": 123_456_789},
    {"sequencer__queue_entries": 2},
]  # fmt: skip


def test_a_replay_after_others_is_as_the_first() -> None:
    trace = _ran().execution.trace
    rng = np.random.default_rng(1)
    alone = []
    for changes in CHANGES:
        _forget(trace)
        alone.append(_arrays(trace, chip(**changes)))
    _forget(trace)
    for number in rng.permutation(np.repeat(np.arange(len(CHANGES)), 3)).tolist():
        found = _arrays(trace, chip(**CHANGES[number]))
        assert found.keys() == alone[number].keys()
        for name, array in found.items():
            assert np.array_equal(array, alone[number][name]), (name, CHANGES[number])


def test_every_timing_key_is_changed_above() -> None:
    changed = {name.replace("__", ".") for changes in CHANGES for name in changes}
    for part in ("mac", "vector"):
        fields = dataclasses.fields(getattr(chip(), part))
        assert {f"{part}.{field.name}" for field in fields} <= changed


def test_what_was_asked_for_last_is_kept() -> None:
    trace = _ran().execution.trace
    made = []

    def value(key: int) -> int:
        def make() -> int:
            made.append(key)
            return 10 * key

        return kept(trace.derived, "squares", key, 2, make)

    assert [value(key) for key in (1, 2, 1, 3, 1, 2)] == [10, 20, 10, 30, 10, 20]
    assert made == [1, 2, 3, 2]


def _transducer() -> tuple[Program, DramImage]:
    """One that says what its input makes it say, and gathers a row for each symbol."""
    prepared = prepare(load_workload("speech_rnnt_small", ["input.random.frames=6"]))
    compiled = compile_graph(prepared.compressed, chip(), prepared.stream, prepared.state, "t")
    return compiled.program, compiled.image


def _executions(program: Program, image: DramImage, count: int) -> list[Trace]:
    """Of inputs with other zeros, the last one the first again."""
    traces = []
    for seed in (*range(count), 0):
        rng = np.random.default_rng(seed)
        inputs = {
            port.name: rng.standard_normal((port.frames, *port.shape)).astype(np.float32)
            for port in program.inputs
        }
        traces.append(execute(program, image, chip(), inputs=inputs).trace)
    return traces


def test_executions_on_one_path_share_what_it_gives_and_nothing_else() -> None:
    ran = _ran()
    program = ran.compiled.program
    traces = _executions(program, ran.compiled.image, 3)
    assert all(one.path is traces[0].path for one in traces)
    assert any(not np.array_equal(one.masks, traces[0].masks) for one in traces)
    _assert_alike_alone(traces, program)


@pytest.mark.slow
def test_executions_that_say_other_symbols_share_a_path_if_it_is_the_same() -> None:
    program, image = _transducer()
    traces = _executions(program, image, 12)
    for one, other in itertools.pairwise(traces):
        assert (one.path is other.path) == one.path.equals(other.path)
    pairs = [(a, b) for a, b in itertools.pairwise(traces) if a.path is b.path]
    assert 0 < len(pairs) < len(traces) - 1
    assert any(not np.array_equal(a.gathered, b.gathered) for a, b in pairs)
    _assert_alike_alone(traces[:4], program)


def _assert_alike_alone(traces: list[Trace], program: Program) -> None:
    """Compare each with a trace that shares nothing."""
    for trace in traces:
        alone = pickle.loads(pickle.dumps(trace))
        assert not alone.path.derived
        for changes in CHANGES[:14]:
            found, wanted = _arrays(trace, chip(**changes)), _arrays(alone, chip(**changes))
            for name, array in found.items():
                assert np.array_equal(array, wanted[name]), name
            timings = [replay(one, program, chip(**changes)) for one in (trace, alone)]
            figures = [
                measure(one, timing, program, chip(**changes))
                for one, timing in zip((trace, alone), timings, strict=True)
            ]
            assert figures[0] == figures[1]
