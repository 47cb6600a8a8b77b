"""First steps of short loops over time: what is there comes before what has to be waited for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from azsim.compiler.bounds import engine_bounds
from azsim.compiler.compile import necessary_steps
from azsim.compiler.edges import INPUT
from azsim.compiler.frame_path import frame_path
from azsim.compiler.peel import peel
from azsim.compiler.schedule import Item, walk
from azsim.compiler.tile import Plan
from azsim.evaluate import evaluate_stream
from azsim.hardware.description import Hardware
from azsim.ir import CompressedGraph
from azsim.isa.program import Stream
from azsim.ops.lowering import Access, Loop
from azsim.sim.checks import check_program
from azsim.sim.races import check_races
from compiled import AZ1, Ran, chip, execute_graph, frames_for, graph_of, node
from graphs import compress

HIDDEN, INPUTS, FRAMES = 12, 64, 4
STATE = {"h": "h_next", "c": "c_next"}


def layer(steps: int, *, norm: str = "") -> CompressedGraph:
    """One LSTM layer over some steps a frame, with its state; a `norm` is of ProjectionLSTM."""
    rng = np.random.default_rng(steps)

    def floats(*shape: int) -> np.ndarray:
        return (rng.standard_normal(shape) * 0.3).astype(np.float32)

    gates = 4 * HIDDEN
    constants = {"W": floats(1, gates, INPUTS), "R": floats(1, gates, HIDDEN)}
    outputs = ("y", *STATE.values())
    if norm:
        constants |= {"B": floats(1, gates), "gain": floats(gates), "shift": floats(gates)}
        operands = ("x", "W", "R", "", "B", "h", "c", "gain", "shift")
        lstm = node(
            "ProjectionLSTM", operands, outputs, hidden_size=HIDDEN, gate_norm=norm, cell_norm=1
        )
    else:
        constants["B"] = floats(1, 2 * gates)
        operands = ("x", "W", "R", "B", "", "h", "c")
        lstm = node("LSTM", operands, outputs, hidden_size=HIDDEN)
    shapes = {"x": (steps, 1, INPUTS), "h": (1, 1, HIDDEN), "c": (1, 1, HIDDEN)}
    return compress(graph_of(shapes, constants, [lstm], outputs))


def ran_right(
    graph: CompressedGraph, hardware: Hardware = AZ1, period_s: float | None = 0.1
) -> Ran:
    """Compile and execute; outputs and state are the evaluator's, and proofs find nothing."""
    frames = frames_for(graph.graph, FRAMES, state=tuple(STATE))
    initial = {
        name: np.random.default_rng(7).standard_normal((1, 1, HIDDEN)).astype(np.float32)
        for name in STATE
    }
    ran = execute_graph(graph, hardware, frames, STATE, initial, period_s=period_s)
    tensors, final = evaluate_stream(graph.graph, frames, STATE, initial, graph)
    found = ran.execution.outputs
    np.testing.assert_array_equal(found["y"], tensors["y"])
    for source, target in STATE.items():
        np.testing.assert_array_equal(found[target][0], final[source])
    program = ran.compiled.program
    assert not check_races(program, ran.execution.trace)
    verdicts = check_program(program, hardware, ran.compiled.image)
    assert not [finding for verdict in verdicts for finding in verdict.findings]
    return ran


def weights_of(ran: Ran) -> list[str]:
    """Weights of a frame's products by the order of their drains into gates, and what these add."""
    found: list[str] = []
    weight = ""
    for item in walk(ran.compiled.schedule.body):
        if item.mnemonic == "mac_matmul":
            source = item.operands["src2"]
            assert isinstance(source, Access)
            weight = source.buffer[0]
        if item.mnemonic == "mac_drain":
            found.append(weight + "+" * bool(item.operands.get("accumulate")))
    return found


def loads_of(ran: Ran) -> list[tuple[int, bool]]:
    """Elements that a frame's loads of its input bring, and whether they wait for the frame."""
    return [
        (window.rows * window.cols, bool(item.operands.get("paced")))
        for item in walk(ran.compiled.schedule.body)
        if isinstance(item, Item) and (item.mnemonic, item.layer) == ("load", INPUT)
        for window in (item.operands["dst"],)
        if isinstance(window, Access)
    ]


@pytest.mark.parametrize("steps", [2, 3, 4])
@pytest.mark.parametrize("norm", ["", "all", "each"])
def test_the_first_step_multiplies_the_state_first(steps: int, norm: str) -> None:
    ran = ran_right(layer(steps, norm=norm))
    kinds = list(dict.fromkeys(weights_of(ran)))
    assert kinds.index("R") < kinds.index("W+")  # of the first step
    assert "W" in kinds
    assert "R+" in kinds  # of the others
    # The frame comes in two parts: it begins with the first step's.
    assert loads_of(ran) == [(INPUTS, True), ((steps - 1) * INPUTS, False)]


@pytest.mark.parametrize(
    ("steps", "hardware", "period_s"),
    [
        pytest.param(5, AZ1, 0.1, id="a long loop"),
        pytest.param(2, AZ1, None, id="a frame need not be waited for"),
        pytest.param(2, chip(weight_sram__bytes=1024), 0.1, id="weights come anew"),
    ],
)
def test_elsewhere_the_input_comes_first(
    steps: int, hardware: Hardware, period_s: float | None
) -> None:
    ran = ran_right(layer(steps), hardware, period_s)
    assert set(weights_of(ran)) == {"W", "R+"}
    assert {count for count, _ in loads_of(ran) if count > HIDDEN} == {steps * INPUTS}


def test_rows_of_an_input_that_something_else_reads_come_together() -> None:
    graph = layer(2).graph
    shapes = {name: kind.shape for name, kind in graph.inputs.items()}
    nodes = [*graph.nodes, node("Relu", ("x",), "z")]
    constants = dict(graph.initializers)
    both = compress(graph_of(shapes, constants, nodes, ("y", "z", *STATE.values())))
    ran = ran_right(both)
    assert {count for count, _ in loads_of(ran)} == {2 * INPUTS}
    assert "W+" in weights_of(ran)


def test_a_loop_that_holds_tiles_stays_a_loop() -> None:
    """They are loaded in front of it, and its first round needs them too."""
    graph = layer(3)
    lowering = necessary_steps(graph, AZ1)
    names = [f"{weight}[0]" for weight in ("P", "R", "W")]
    number = next(step.number for _, step in lowering.steps if isinstance(step, Loop))
    plan = Plan({"W": (), "R": ()}, {}, frozenset(names), 0, 0)  # all tiles of both stay
    assert len(peel(lowering, plan).steps) > len(lowering.steps)
    holding = replace(plan, held={"P[0]": number})
    assert peel(lowering, holding) is lowering


def test_the_bound_leaves_the_order_of_products_open() -> None:
    """Cells that are many for their inputs: the state's product is the longer one."""
    rng = np.random.default_rng(0)
    cells, inputs = 128, 8
    constants = {
        "W": rng.standard_normal((1, 4 * cells, inputs)).astype(np.float32),
        "R": rng.standard_normal((1, 4 * cells, cells)).astype(np.float32),
    }
    outputs = ("y", *STATE.values())
    lstm = node("LSTM", ("x", "W", "R", "", "", "h", "c"), outputs, hidden_size=cells)
    shapes = {"x": (2, 1, inputs), "h": (1, 1, cells), "c": (1, 1, cells)}
    graph = compress(graph_of(shapes, constants, [lstm], outputs))
    lowering = necessary_steps(graph, AZ1)
    plain, peeled = (
        frame_path(steps, AZ1, STATE, lambda _: 1.0) for steps in (lowering, peel(lowering))
    )
    assert peeled < plain
    stream = Stream(3, 0.1, True)
    bounds = {}
    for one in (stream, replace(stream, paced=False)):
        steps = necessary_steps(graph, AZ1)
        found, _ = engine_bounds(steps, AZ1, one, STATE, 0, {}, frames_are_apart=True)
        bounds[one.paced] = found
    assert bounds[True].critical_path_cycles < bounds[False].critical_path_cycles
