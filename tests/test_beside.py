"""Results that are there before data decides: they go to DRAM beside the first decision."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from azsim.compiler.compile import compile_graph
from azsim.compiler.schedule import Item, Repeat, Schedule, walk
from azsim.compiler.valid import check_pass
from azsim.errors import CompileError
from azsim.evaluate import evaluate_stream
from azsim.hardware.description import Hardware
from azsim.ir import CompressedGraph
from azsim.isa.program import Stream
from azsim.ops.build import build_graph
from azsim.sim.checks import check_program
from azsim.sim.races import check_races
from compiled import AZ1, chip, execute_graph, node
from decoding import STATE, Transducer, transducer
from graphs import compress, type_of

NEAR = chip(dram__latency_ns=2.0)
"""Its DRAM is done with a chunk before a small joint network is."""


def recogniser(
    seed: int, chunk: int, *, blank_bias: float = 0.0, results: tuple[str, ...] = ("f",)
) -> Transducer:
    """A transducer whose encoded frames are a result, too."""
    model = transducer(seed, frames=chunk, features=8, joint=24, blank_bias=blank_bias)
    graph = replace(model.graph, outputs=(*results, *model.graph.outputs))
    return replace(model, graph=graph)


def passes(compressed: CompressedGraph, hardware: Hardware, frames: int = 4) -> dict[str, Schedule]:
    made: dict[str, Schedule] = {}

    def observe(name: str, value: object) -> None:
        if isinstance(value, Schedule):
            made[name] = value

    compile_graph(compressed, hardware, Stream(frames, 0.5, True), STATE, "g", observe)
    return made


def once(schedule: Schedule) -> list[str]:
    """Buffers that are stored once in a region."""
    regions = (item for item in schedule.body if isinstance(item, Repeat) and item.is_region)
    inside = (item for region in regions for item in walk(region.body))
    return [item.windows[1][1].buffer for item in inside if item.once]


def buffer_of(schedule: Schedule, output: str) -> list[str]:
    """What is stored as an output."""
    stores = [item for item in walk(schedule.body) if item.mnemonic == "store"]
    windows = [dict(item.windows) for item in stores]
    return [one["src"].buffer for one in windows if one["dst"].buffer == f"output {output}"]


@pytest.mark.parametrize("chunk", [1, 3])
@pytest.mark.parametrize("blank_bias", [-3.0, 0.0, 9.0])
@pytest.mark.parametrize("period_s", [None, 0.5])
@pytest.mark.parametrize("results", [("f",), ("f", "y")])
def test_a_region_stores_what_is_there_once_a_frame(
    chunk: int, blank_bias: float, period_s: float | None, results: tuple[str, ...]
) -> None:
    model = recogniser(chunk, chunk, blank_bias=blank_bias, results=results)
    compressed, chunks = compress(model.graph), 4
    rng = np.random.default_rng(chunk)
    frames = {"x": rng.standard_normal((chunks, *model.graph.inputs["x"].shape)).astype(np.float32)}
    state = model.zero_state()
    ran = execute_graph(compressed, NEAR, frames, STATE, state, period_s=period_s, taps=True)
    schedule = ran.compiled.schedule
    assert sorted(once(schedule)) == sorted(
        buffer for name in results for buffer in buffer_of(schedule, name)
    )
    assert len(once(schedule)) == len(results)
    wanted, _ = evaluate_stream(model.graph, frames, STATE, state, compressed)
    for name in (*results, "symbols", "counts"):
        assert ran.execution.outputs[name].tobytes() == wanted[name].tobytes(), name
    program, trace = ran.compiled.program, ran.execution.trace
    emitted = [number for number, layer in enumerate(program.layers) if layer == "(output)"]
    times = Counter(trace.sequence)
    executed = {
        trace.sites[site].index: count
        for site, count in times.items()
        if trace.sites[site].mnemonic == "store"
    }
    of_results = [count for index, count in executed.items() if program.layer_of[index] in emitted]
    assert of_results == [chunks] * (len(results) + 1)  # one more for symbols and counts
    assert not check_races(program, trace)
    verdicts = check_program(program, NEAR, ran.compiled.image)
    assert not [finding for verdict in verdicts for finding in verdict.findings]


def test_it_stands_behind_the_first_work_for_the_decision() -> None:
    made = passes(compress(recogniser(3, 1).graph), AZ1)
    region = next(
        item for item in made["beside"].body if isinstance(item, Repeat) and item.is_region
    )
    names = [item.mnemonic for item in walk(region.body)]
    at = names.index("store")
    assert names[at - 1 : at + 2] == ["vector_binary", "store", "vector_unary"]
    assert once(made["spill"]) == []


def test_a_store_that_takes_longer_than_the_work_stays_where_it_was() -> None:
    compressed = compress(recogniser(3, 1).graph)
    assert len(once(passes(compressed, AZ1)["beside"])) == 1
    made = passes(compressed, chip(dram__latency_ns=2000.0))
    assert made["beside"] is made["spill"]


def test_what_the_region_writes_is_stored_behind_it() -> None:
    made = passes(compress(transducer(3, frames=1, features=8, joint=24).graph), AZ1)
    assert made["beside"] is made["spill"]


@pytest.mark.parametrize("period_s", [None, 0.5])
def test_a_state_that_is_a_result_is_stored_before_the_next_one_takes_its_place(
    period_s: float | None,
) -> None:
    """The next frame's state is there before the region, and written to the same place."""
    model = recogniser(3, 1).graph
    nodes = [
        replace(one, inputs=("x", "enc_w", "enc_r", "", "", "eh", "ec"), outputs=("y", "hn", "cn"))
        if one.name == "lstm"
        else one
        for one in model.nodes
    ]
    nodes.append(node("Identity", ["eh"], "was"))
    inputs = {**model.inputs, "eh": type_of(1, 1, 8), "ec": type_of(1, 1, 8)}
    outputs = ("was", *model.outputs, "hn", "cn")
    graph = build_graph("g", inputs, dict(model.initializers), nodes, outputs, "test")
    state = {**STATE, "eh": "hn", "ec": "cn"}
    rng = np.random.default_rng(0)
    initial = {
        name: rng.standard_normal(graph.inputs[name].shape).astype(np.float32) for name in state
    }
    frames = {"x": rng.standard_normal((4, 1, 1, 8)).astype(np.float32)}
    ran = execute_graph(compress(graph), NEAR, frames, state, initial, period_s=period_s)
    wanted, _ = evaluate_stream(graph, frames, state, initial, compress(graph))
    for name in ("was", "f", "symbols", "counts"):
        assert ran.execution.outputs[name].tobytes() == wanted[name].tobytes(), name
    assert once(ran.compiled.schedule) == buffer_of(ran.compiled.schedule, "f")


def test_where_there_is_no_room_results_are_stored_where_they_were(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A result that the region does not read lives longer beside it."""
    from azsim.compiler import ways

    compressed = compress(recogniser(3, 3, results=("y",)).graph)

    def is_compiled(size_bytes: int) -> bool:
        hardware = chip(dram__latency_ns=2.0, activation_sram__bytes=size_bytes)
        try:
            compile_graph(compressed, hardware, Stream(4, 0.5, True), STATE, "g")
        except CompileError:
            return False
        return True

    sizes = range(384, 1536, 128)
    with_it = [is_compiled(size_bytes) for size_bytes in sizes]
    monkeypatch.setattr(ways, "beside", lambda schedule, estimator, hardware: schedule)
    assert with_it == [is_compiled(size_bytes) for size_bytes in sizes]
    assert len(set(with_it)) == 2


def test_it_takes_fewer_cycles() -> None:
    """A frame without symbols: what is left to store behind the decision is short."""
    from azsim.compiler import ways
    from azsim.sim.timing import replay

    model = recogniser(3, 1, blank_bias=99.0)
    frames = {"x": np.zeros((4, *model.graph.inputs["x"].shape), np.float32)}

    def cycles() -> int:
        ran = execute_graph(
            compress(model.graph), AZ1, frames, STATE, model.zero_state(), period_s=0.001
        )
        return replay(ran.execution.trace, ran.compiled.program, AZ1).cycles

    with_it = cycles()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ways, "beside", lambda schedule, estimator, hardware: schedule)
        assert with_it < cycles()


def test_done_once_outside_a_region_is_an_error() -> None:
    made = passes(compress(recogniser(3, 1).graph), AZ1)
    body = tuple(
        replace(item, once=True) if isinstance(item, Item) and item.mnemonic == "store" else item
        for item in made["spill"].body
    )
    with pytest.raises(CompileError) as caught:
        check_pass("beside", replace(made["spill"], body=body), {}, AZ1)
    sentence = "after beside: layer (output): store is done once, and in no region"
    assert str(caught.value).splitlines() == [sentence] * 3
