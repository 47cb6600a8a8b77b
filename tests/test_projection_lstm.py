"""ProjectionLSTM: a plain statement of its equations, the chip's steps, and its error sentences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from azsim.errors import UnsupportedError
from azsim.evaluate import evaluate
from azsim.ir import Graph, Node
from azsim.ops.build import build_graph, lower_graph
from graphs import compress, random_inputs, type_of
from step_interpreter import StepInterpreter

NORMS = ("none", "all", "each")


def network(
    seed: int,
    steps: int,
    *,
    gate_norm: str = "none",
    cell_norm: int = 0,
    projection: bool = True,
    bias: bool = True,
    state: bool = True,
    gains: bool = True,
    sizes: tuple[int, int, int] = (5, 6, 4),
) -> Graph:
    """One node of random weights: sizes are of x, of the cell and of the state."""
    rng = np.random.default_rng(seed)
    size, cells, units = sizes
    units = units if projection else cells
    constants: dict[str, np.ndarray] = {}

    def floats(name: str, *shape: int) -> str:
        constants[name] = (rng.standard_normal(shape) / 2).astype(np.float32)
        return name

    operands = [floats("W", 1, 4 * cells, size), floats("R", 1, 4 * cells, units)]
    operands.append(floats("P", 1, units, cells) if projection else "")
    operands.append(floats("B", 1, 4 * cells) if bias else "")
    operands += ["r", "c"] if state else ["", ""]
    norms = [("gate_gain", 4 * cells), ("gate_shift", 4 * cells)]
    norms += [("cell_gain", cells), ("cell_shift", cells)]
    for name, length in norms:
        is_used = gate_norm != "none" if name.startswith("gate") else cell_norm
        operands.append(floats(name, length) if is_used and gains else "")
    inputs = {"x": type_of(steps, 1, size)}
    if state:
        inputs |= {"r": type_of(1, 1, units), "c": type_of(1, 1, cells)}
    attributes = {"gate_norm": gate_norm, "cell_norm": cell_norm, "hidden_size": cells}
    node = Node("lstm", "ProjectionLSTM", ("x", *operands), ("y", "rn", "cn"), attributes)
    return build_graph("lstm", inputs, constants, [node], ["y", "rn", "cn"], "test")


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def plain(graph: Graph, inputs: dict[str, np.ndarray]) -> tuple[np.ndarray, ...]:
    """The equations in float64."""
    (node,) = graph.nodes
    known = {**graph.initializers, **inputs}
    named = dict(zip(("x", "W", "R", "P", "B", "r", "c"), node.inputs, strict=False))
    array = {key: known[name].astype(np.float64) for key, name in named.items() if name}
    more = node.inputs[7:]
    gains = [known[name].astype(np.float64) if name else None for name in (*more, *[""] * 4)[:4]]
    cells = array["W"].shape[1] // 4
    r = array["r"][0, 0] if "r" in array else np.zeros(array["R"].shape[2])
    c = array["c"][0, 0] if "c" in array else np.zeros(cells)

    def norm(a: np.ndarray, gain: np.ndarray | None, shift: np.ndarray | None) -> np.ndarray:
        a = (a - a.mean(-1, keepdims=True)) / np.sqrt(a.var(-1, keepdims=True) + 1e-5)
        a = a if gain is None else a * gain.reshape(a.shape)
        return a if shift is None else a + shift.reshape(a.shape)

    states = []
    for x in array["x"][:, 0]:
        a = array["W"][0] @ x + array["R"][0] @ r + array.get("B", np.zeros((1, 1)))[0]
        if node.attributes["gate_norm"] != "none":
            rows = 4 if node.attributes["gate_norm"] == "each" else 1
            a = norm(a.reshape(rows, -1), *gains[:2]).reshape(-1)
        i, o, f, g = a.reshape(4, cells)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        inner = norm(c, *gains[2:]) if node.attributes["cell_norm"] else c
        r = sigmoid(o) * np.tanh(inner)
        r = array["P"][0] @ r if "P" in array else r
        states.append(r)
    return np.array(states)[:, None, None], r[None, None], c[None, None]


@pytest.mark.parametrize("gate_norm", NORMS)
@pytest.mark.parametrize("cell_norm", [0, 1])
@pytest.mark.parametrize("options", [{}, {"projection": False}, {"bias": False, "gains": False}])
def test_floats_follow_the_equations(
    gate_norm: str, cell_norm: int, options: dict[str, Any]
) -> None:
    graph = network(1, 7, gate_norm=gate_norm, cell_norm=cell_norm, **options)
    inputs = random_inputs(graph, 2)
    found = evaluate(graph, inputs)
    for name, wanted in zip(graph.outputs, plain(graph, inputs), strict=True):
        assert found[name].shape == wanted.shape
        np.testing.assert_allclose(found[name], wanted, atol=3e-6)


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 1 << 32),
    steps=st.integers(1, 4),
    gate_norm=st.sampled_from(NORMS),
    cell_norm=st.integers(0, 1),
    flags=st.tuples(*[st.booleans()] * 4),
    bits=st.integers(2, 8),
    activation_bits=st.sampled_from([8, 16]),
    segment=st.sampled_from([None, 2]),
    static=st.sampled_from([None, 0.05]),
)
def test_steps_give_the_bits_of_the_evaluator(
    seed: int,
    steps: int,
    gate_norm: str,
    cell_norm: int,
    flags: tuple[bool, bool, bool, bool],
    bits: int,
    activation_bits: int,
    segment: int | None,
    static: float | None,
) -> None:
    projection, bias, state, gains = flags
    graph = network(
        seed,
        steps,
        gate_norm=gate_norm,
        cell_norm=cell_norm,
        projection=projection,
        bias=bias,
        state=state,
        gains=gains,
    )
    compressed = compress(graph, bits, activation_bits, segment, static)
    inputs = random_inputs(graph, seed)
    wanted = evaluate(graph, inputs, compressed)
    found = StepInterpreter(lower_graph(compressed)).run(inputs)
    for name in graph.outputs:
        assert found[name].tobytes() == wanted[name].tobytes(), name


def test_chunks_give_the_bits_of_one_shot() -> None:
    options: dict[str, Any] = {"gate_norm": "all", "cell_norm": 1}
    whole, one = network(3, 6, **options), network(3, 1, **options)
    inputs = random_inputs(whole, 4)
    wanted = evaluate(whole, inputs, compress(whole))
    compressed, carried = compress(one), {name: inputs[name] for name in ("r", "c")}
    for step in range(6):
        found = evaluate(one, {"x": inputs["x"][step : step + 1], **carried}, compressed)
        carried = {"r": found["rn"], "c": found["cn"]}
        assert found["y"].tobytes() == wanted["y"][step].tobytes()
    assert carried["c"].tobytes() == wanted["cn"].tobytes()


X, W, R, P = (5, 1, 3), (1, 24, 3), (1, 24, 4), (1, 4, 6)


@pytest.mark.parametrize(
    ("shapes", "attributes", "sentence"),
    [
        (
            {"W": (1, 24, 2), "R": R, "P": P},
            {},
            "input 1 (W) has shape [1, 24, 2], not [1, 24, 3]",
        ),
        (
            {"W": W, "R": (1, 22, 4), "P": P},
            {},
            "input 2 (R) has shape [1, 22, 4]; [1, 4 x hidden, units] is needed",
        ),
        ({"W": W, "R": R, "P": (1, 6, 4)}, {}, "input 3 (P) has shape [1, 6, 4], not [1, 4, 6]"),
        ({"W": W, "R": R}, {}, "4 units and 6 cells; without P they are equal"),
        ({"W": W, "R": R, "P": P}, {"hidden_size": 4}, "hidden_size is 4; only 6 is supported"),
        (
            {"W": W, "R": R, "P": P},
            {"gate_norm": "two"},
            "gate_norm is two; only none or all or each is supported",
        ),
        (
            {"W": W, "R": R, "P": P, "B": (1, 24), "": (), " ": (), "gate_gain": (24,)},
            {},
            "input 7 (gate_gain) is given, but gate_norm is not",
        ),
    ],
)
def test_what_does_not_fit_is_named(
    shapes: dict[str, tuple[int, ...]], attributes: dict[str, int | str], sentence: str
) -> None:
    constants = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    names = [name.strip() for name in shapes]
    node = Node("n", "ProjectionLSTM", ("x", *names), ("y",), attributes)
    with pytest.raises(UnsupportedError) as caught:
        build_graph("g", {"x": type_of(*X)}, constants, [node], ["y"], "test")
    assert str(caught.value) == f"test: node n (ProjectionLSTM): {sentence}"
