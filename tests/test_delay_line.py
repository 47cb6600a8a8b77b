"""Delay lines: a state that a frame appends to lies in DRAM, and only what is new goes there."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest

from azsim.compiler.bounds import engine_bounds
from azsim.compiler.compile import necessary_steps
from azsim.compiler.schedule import FRAME_LOOP, walk
from azsim.evaluate import evaluate_stream
from azsim.hardware.description import Hardware
from azsim.ir import CompressedGraph, Node
from azsim.isa.program import Port
from azsim.isa.program_file import load_program, save_program
from azsim.ops.build import build_graph
from azsim.ops.lowering import Access
from azsim.ops.steps import ELEMENT_BYTES
from azsim.sim.checks import check_program, races
from azsim.sim.execute import read_port, write_port
from azsim.sim.statistics import measure
from azsim.sim.timing import replay
from compiled import AZ1, Ran, chip, execute_graph
from graphs import compress, type_of

CHANNELS, TAPS, LAYERS, FRAMES = 24, 9, 4, 7
KEPT = TAPS - 1
STATE = {f"s{layer}": f"t{layer}" for layer in range(LAYERS)}
SHAPE = (1, CHANNELS, KEPT)


@functools.cache
def convolutions(length: int) -> CompressedGraph:
    """Causal convolutions one behind another, each with what it has seen."""
    rng = np.random.default_rng(length)
    constants = {
        f"w{layer}": rng.standard_normal((CHANNELS, 1, TAPS)).astype(np.float32)
        for layer in range(LAYERS)
    }
    tensors = ["x", *(f"y{layer}" for layer in range(LAYERS))]
    nodes = [
        Node(
            f"conv{layer}",
            "CausalConvWithState",
            (tensors[layer], f"w{layer}", "", f"s{layer}"),
            (tensors[layer + 1], f"t{layer}"),
        )
        for layer in range(LAYERS)
    ]
    inputs = {"x": type_of(1, CHANNELS, length), **dict.fromkeys(STATE, type_of(*SHAPE))}
    outputs = [tensors[-1], *STATE.values()]
    return compress(build_graph("convolutions", inputs, constants, nodes, outputs, "test"))


def run(
    length: int,
    activation_bytes: int,
    *,
    period_s: float | None = 1e-3,
    hardware: Hardware | None = None,
) -> Ran:
    """Run it, and compare outputs and what is left of the state with the evaluator."""
    rng = np.random.default_rng(1)
    frames = {"x": rng.standard_normal((FRAMES, 1, CHANNELS, length)).astype(np.float32)}
    first = {name: rng.standard_normal(SHAPE).astype(np.float32) for name in STATE}
    graph = convolutions(length)
    hardware = hardware or chip(activation_sram__bytes=activation_bytes)
    ran = execute_graph(graph, hardware, frames, STATE, first, period_s=period_s)
    tensors, final = evaluate_stream(graph.graph, frames, STATE, first, graph)
    wanted = {graph.graph.outputs[0]: tensors[graph.graph.outputs[0]]}
    wanted |= {STATE[name]: final[name] for name in STATE}
    for name, array in wanted.items():
        assert np.array_equal(ran.execution.outputs[name].reshape(array.shape), array), name
    verdicts = check_program(ran.compiled.program, hardware)
    assert [(one.findings, one.unproved) for one in verdicts] == [((), ())] * len(verdicts)
    return ran


def _moved(ran: Ran, state: str, mnemonic: str) -> list[int]:
    """Elements of the windows of the body's loads from a state's place, or stores to it."""
    operand = {"load": "src", "store": "dst"}[mnemonic]
    found: list[int] = []
    for item in walk(ran.compiled.schedule.body):
        window = item.operands.get(operand)
        is_own = isinstance(window, Access) and window.buffer == f"input {state}"
        if item.mnemonic == mnemonic and is_own:
            assert isinstance(window, Access)
            assert window.advance.get(FRAME_LOOP, 0) % CHANNELS == 0
            found.append(window.rows * window.cols)
    return found


@pytest.mark.parametrize("length", [1, 3, KEPT - 1])
def test_a_frame_loads_what_it_needs_and_stores_what_is_new(length: int) -> None:
    ran = run(length, 4096)
    spilled = ran.compiled.schedule.spilled
    assert spilled
    for state in spilled:
        assert _moved(ran, state, "load") == [CHANNELS * KEPT]
        assert _moved(ran, state, "store") == [CHANNELS * length]
    copies = [
        item
        for item in walk(ran.compiled.schedule.body)
        if item.mnemonic == "vector_copy" and {f"s{n}" for n in range(LAYERS)} & item.buffers
    ]
    assert len(copies) == 2 * (LAYERS - len(spilled))  # of those that stay on the chip


def test_elements_of_all_frames_lie_one_after_another() -> None:
    ran = run(1, 4096)
    schedule, addresses = ran.compiled.schedule, ran.compiled.allocation.addresses
    for source, target in schedule.spilled.items():
        end_bytes = FRAMES * CHANNELS * ELEMENT_BYTES["f32"]
        assert addresses[f"output {target}"] == addresses[f"input {source}"] + end_bytes
        size_bytes = schedule.storages[f"input {source}"].size_bytes
        assert size_bytes == end_bytes + CHANNELS * KEPT * ELEMENT_BYTES["f32"]


@pytest.mark.parametrize("length", [KEPT, KEPT + 3])
def test_a_frame_that_renews_all_of_a_state_keeps_no_line(length: int) -> None:
    ran = run(length, 5120)
    assert ran.compiled.schedule.spilled
    for state in ran.compiled.schedule.spilled:
        assert _moved(ran, state, "store") == [CHANNELS * KEPT]


def test_frames_that_are_not_waited_for_keep_no_line() -> None:
    ran = run(1, 4096, period_s=None)
    assert ran.compiled.schedule.spilled
    for state in ran.compiled.schedule.spilled:
        assert set(_moved(ran, state, "store")) == {CHANNELS * KEPT}


def test_a_program_of_any_length_is_proved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(races, "_MAX_WRITTEN_OUT", 0)
    assert run(1, 4096).compiled.schedule.spilled  # which looks at the verdicts


@pytest.mark.parametrize("activation_bytes", [4096, 65536])
@pytest.mark.parametrize("rate", [0.25, 16])
def test_bounds_count_nothing_that_is_not_done(activation_bytes: int, rate: float) -> None:
    dram = round(rate * AZ1.dram.bytes_per_s)
    hardware = chip(
        activation_sram__bytes=activation_bytes, vector__lanes=1, dram__bytes_per_s=dram
    )
    ran = run(1, activation_bytes, hardware=hardware)
    program = ran.compiled.program
    timing = replay(ran.execution.trace, program, hardware)
    statistics = measure(ran.execution.trace, timing, program, hardware)
    lowering = necessary_steps(ran.compiled.compressed, hardware)
    bounds, _ = engine_bounds(
        lowering, hardware, program.stream, STATE, 0, {}, frames_are_apart=True
    )
    assert max(vars(bounds).values()) <= statistics.cycles
    assert bounds.vector_cycles <= statistics.engine_busy_cycles["vector"]


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("kind", ["not carried", "another result", "in a chain"])
def test_a_state_that_is_no_line_lies_in_its_own_order(kind: str, batch: int) -> None:
    rng = np.random.default_rng(2)
    shape = (batch, CHANNELS, KEPT)
    weight = rng.standard_normal((CHANNELS, 1, TAPS)).astype(np.float32)
    conv = "CausalConvWithState"
    nodes = [Node("conv", conv, ("x", "w", "", "s"), ("y", "t"))]
    inputs = {"x": type_of(batch, CHANNELS, 2), "s": type_of(*shape)}
    state = {"s": "t"}
    if kind == "another result":
        nodes.append(Node("more", "Neg", ("t",), ("n",)))
        state = {"s": "n"}
    if kind == "in a chain":
        nodes.append(Node("next", conv, ("y", "w", "", "t"), ("z", "n")))
        state = {"s": "n"}
    results = [*dict.fromkeys([nodes[-1].outputs[0], "y", *state.values()])]
    graph = compress(build_graph("one", inputs, {"w": weight}, nodes, results, "test"))
    frames = {"x": rng.standard_normal((4, batch, CHANNELS, 2)).astype(np.float32)}
    first = {"s": rng.standard_normal(shape).astype(np.float32)}
    if kind == "not carried":
        frames, state, first = {"x": frames["x"][:1], "s": first["s"][None]}, {}, {}
    ran = execute_graph(graph, AZ1, frames, state, first, period_s=1e-3)
    tensors, final = evaluate_stream(graph.graph, frames, state, first, graph)
    for name in results:
        wanted = final["s"] if name in state.values() else tensors[name]
        found = ran.execution.outputs[name]
        assert np.array_equal(found.reshape(wanted.shape), wanted), name


@pytest.mark.parametrize("activation_bytes", [4096, 65536])
def test_a_line_lies_by_positions_wherever_it_is(activation_bytes: int) -> None:
    program = run(1, activation_bytes).compiled.program
    axes = {port.name: port.axes for port in (*program.inputs, *program.outputs)}
    assert {axes[name] for pair in STATE.items() for name in pair} == {(0, 2, 1)}
    assert axes["x"] == ()


def test_a_port_shows_axes_in_the_order_of_the_graph() -> None:
    rng = np.random.default_rng(0)
    values = rng.standard_normal((2, 3, 4, 5)).astype(np.float32)
    memory = np.zeros(2 * 256 + 8, np.uint8)
    port = Port("p", 8, (3, 4, 5), 2, step_bytes=256, axes=(2, 0, 1))
    write_port(memory, port, values)
    assert np.array_equal(read_port(memory, port), values)
    lying = memory[8 + 256 :][: 4 * 60].view(np.float32).reshape(5, 3, 4)
    assert np.array_equal(lying, values[1].transpose(2, 0, 1))


def test_axes_are_kept_in_a_program_file(tmp_path: Path) -> None:
    compiled = run(1, 4096).compiled
    save_program(tmp_path / "p.npz", compiled.program, compiled.image)
    assert load_program(tmp_path / "p.npz")[0].inputs == compiled.program.inputs
