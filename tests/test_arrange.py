"""Arrange: the output gate of an LSTM is computed last, and every tensor keeps its bits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from azsim.compiler.arrange import arrange
from azsim.compiler.compile import compile_graph
from azsim.compiler.fuse import fuse
from azsim.compiler.lower import lower
from azsim.compiler.windows import inner_steps
from azsim.evaluate import evaluate_stream
from azsim.hardware.description import Hardware
from azsim.ir import CompressedGraph
from azsim.isa.program import Stream
from azsim.ops.lowering import Binary, Lowering, Matmul, Vector
from compiled import chip, execute_graph, frames_for, graph_of, node, pruned
from graphs import compress

F = np.float32
HIDDEN = 8
STATE = {"h": "hn", "c": "cn", "h2": "hn2", "c2": "cn2"}
DRAINS = chip(vector__lanes=1, mac__lanes=4)
"""Functions are drained, and a gate is two whole passes of the array."""


def recurrent(steps: int = 1, seed: int = 0) -> CompressedGraph:
    """Two LSTMs with one R, the second without a bias."""
    rng = np.random.default_rng(seed)
    constants = {
        "W": rng.standard_normal((1, 4 * HIDDEN, 6)).astype(F),
        "V": rng.standard_normal((1, 4 * HIDDEN, HIDDEN)).astype(F),
        "R": rng.standard_normal((1, 4 * HIDDEN, HIDDEN)).astype(F),
        "bias": rng.standard_normal((1, 8 * HIDDEN)).astype(F),
        "axis": np.array([1], np.int64),
    }
    nodes = [
        node("LSTM", ["x", "W", "R", "bias", "", "h", "c"], ("y", "hn", "cn"), hidden_size=HIDDEN),
        node("Squeeze", ["y", "axis"], "rows"),
        node(
            "LSTM", ["rows", "V", "R", "", "", "h2", "c2"], ("z", "hn2", "cn2"), hidden_size=HIDDEN
        ),
    ]
    shapes = {"x": (steps, 1, 6)} | dict.fromkeys(STATE, (1, 1, HIDDEN))
    return compress(graph_of(shapes, constants, nodes, ("z", *STATE.values())))


def products(lowering: Lowering) -> list[Matmul]:
    steps = inner_steps(step for _, step in lowering.steps)
    return [step for step in steps if isinstance(step, Matmul)]


def fused(compressed: CompressedGraph, hardware: Hardware = DRAINS) -> Lowering:
    return fuse(lower(compressed), hardware)


def gates(*order: int) -> np.ndarray:
    return np.concatenate([np.arange(HIDDEN * gate, HIDDEN * (gate + 1)) for gate in order])


@pytest.mark.parametrize("steps", [1, 3])
def test_the_output_gate_comes_last(steps: int) -> None:
    """ONNX has them as i, o, f, g; i and g are read first, and then f."""
    compressed = recurrent(steps)
    plain, found = fused(compressed), arrange(fused(compressed), DRAINS)
    order = gates(0, 3, 2, 1)
    for name, weight in found.compressed.weights.items():
        was = compressed.weights[name]
        assert (weight.codes == was.codes[order]).all()
        assert (weight.scales == was.scales[:, order]).all()
        assert (compressed.weights[name].codes == plain.compressed.weights[name].codes).all()
    functions = {step.functions for step in products(found) if step.functions}
    assert functions == {((0, 8, "sigmoid"), (8, 16, "tanh"), (16, 32, "sigmoid"))}
    (bias,) = {step.bias.buffer for step in products(found) if step.bias is not None}
    (was,) = {step.bias.buffer for step in products(plain) if step.bias is not None}
    constant, old = found.buffers[bias].constant, plain.buffers[was].constant
    assert constant is not None
    assert old is not None
    assert (constant == old[order]).all()
    assert was not in found.buffers  # or it would be loaded for nothing


def test_a_bias_of_the_graph_is_not_kept_in_its_old_order() -> None:
    rng = np.random.default_rng(0)
    constants = {
        name: rng.standard_normal(shape).astype(F)
        for name, shape in (("W", (1, 32, 6)), ("R", (1, 32, 8)), ("B", (1, 32)))
    }
    cell = ["x", "W", "R", "", "B", "h", "c"]
    nodes = [node("ProjectionLSTM", cell, ("y", "hn", "cn"), hidden_size=HIDDEN)]
    shapes = {"x": (1, 1, 6), "h": (1, 1, HIDDEN), "c": (1, 1, HIDDEN)}
    lowering = fused(compress(graph_of(shapes, constants, nodes, ("y", "hn", "cn"))))
    assert "B" in lowering.buffers
    arranged = arrange(lowering, DRAINS)
    assert any(step.functions for step in products(arranged))
    assert "B" not in arranged.buffers
    assert "B" not in arranged.views


def test_what_nothing_reads_keeps_its_place() -> None:
    """Or its rows would have no place."""
    lowering = fused(recurrent())
    steps = [
        step
        for step in lowering.steps
        if not (isinstance(step[1], Binary) and step[1].left == step[1].dst)
        and not (isinstance(step[1], Vector) and step[1].mnemonic == "vector_multiply_add")
    ]
    assert len(steps) == len(lowering.steps) - 4  # of each cell, i * g and what adds f * c to it
    lowering.steps[:] = steps
    assert arrange(lowering, DRAINS).steps == steps


def test_parts_of_passes_stay_where_they_are() -> None:
    for lanes in (3, 16):
        hardware = chip(vector__lanes=1, mac__lanes=lanes)
        lowering = fused(recurrent(), hardware)
        steps = list(lowering.steps)
        assert arrange(lowering, hardware).steps == steps


def test_what_is_seen_as_a_whole_stays_where_it_is() -> None:
    """Functions that the vector engine applies take three gates at a time."""
    hardware = chip(vector__lanes=4096, mac__lanes=4)
    lowering = fused(recurrent(), hardware)
    steps = list(lowering.steps)
    assert arrange(lowering, hardware).steps == steps


def test_a_weight_that_is_used_for_something_else_stays_as_it_is() -> None:
    """And with it those that are added to its product."""
    lowering = fused(recurrent())
    (product,) = [step for step in products(lowering) if step.weight == "V"]
    other = lowering.buffer("other", "f32", 4 * HIDDEN)
    dst = replace(product.dst, buffer=other)
    again = replace(product, dst=dst, functions=(), accumulate=False, bias=None)
    lowering.steps.append(("again", again))
    weights = dict(lowering.compressed.weights)
    arranged = arrange(lowering, DRAINS)
    assert arranged.steps[-1] == ("again", again)
    for name, weight in arranged.compressed.weights.items():
        assert weight is weights[name]


@pytest.mark.kernels
@settings(max_examples=10)
@given(
    steps=st.sampled_from([1, 3]), lanes=st.sampled_from([1, 4, 8]), seed=st.integers(0, 99),
    is_paced=st.booleans(),
)  # fmt: skip
def test_every_tensor_keeps_its_bits(steps: int, lanes: int, seed: int, is_paced: bool) -> None:
    hardware = chip(vector__lanes=1, mac__lanes=lanes)
    compressed = pruned(recurrent(steps, seed), 0.5, seed)
    graph = compressed.graph
    initial = {name: np.full((1, 1, HIDDEN), F(0.25)) for name in STATE}
    frames = frames_for(graph, 3, seed, list(STATE))
    ran = execute_graph(
        compressed, hardware, frames, STATE, initial,
        taps=True, period_s=0.01 if is_paced else None,
    )  # fmt: skip
    wanted, final = evaluate_stream(graph, frames, STATE, initial, compressed)
    for name, seen in ran.execution.tapped.items():
        assert np.stack(seen).tobytes() == wanted[name].tobytes(), name
    carried = {target: source for source, target in STATE.items()}
    for name, found in ran.execution.outputs.items():
        expected = final[carried[name]] if name in carried else wanted[name]
        assert found.tobytes() == expected.tobytes(), name


def test_the_compiled_graph_keeps_the_order_of_its_weights() -> None:
    """The chip's weights are in another order, those that reports look at are not."""
    compressed = recurrent()
    compiled = compile_graph(compressed, DRAINS, Stream(4, None, False), STATE, "g")
    for name, weight in compiled.compressed.weights.items():
        assert (weight.codes == compressed.weights[name].codes).all()
