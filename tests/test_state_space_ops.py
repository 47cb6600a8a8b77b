"""SelectiveScan, DiagonalScan and LinearAttention: meaning, errors, bits on the chip."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from azsim.errors import UnsupportedError
from azsim.evaluate import evaluate, evaluate_stream
from azsim.ir import CompressedGraph, Graph
from azsim.sim.races import check_races
from compiled import AZ1, chip, execute_graph, graph_of, node

F = np.float32
CHIPS = {"az1": AZ1, "one lane": chip(vector__lanes=1, vector__pipeline_cycles=1)}


def _numbers(seed: int, **shapes: tuple[int, ...]) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name: rng.standard_normal(shape).astype(F) for name, shape in shapes.items()}


def _graph(op: str, inputs: Mapping[str, np.ndarray], constants: tuple[str, ...] = ()) -> Graph:
    """One node; its outputs are y and h, its inputs and constants those given, by position."""
    shapes = {name: array.shape for name, array in inputs.items() if name not in constants}
    initializers = {name: inputs[name] for name in constants}
    one = node(op, list(inputs), ("y", "h"))
    return graph_of(shapes, initializers, [one], ("y", "h"))


def _check_bits(
    graph: Graph, frames: Mapping[str, np.ndarray], state: str, initial: np.ndarray, variant: str
) -> None:
    """What the chip leaves after each frame, and at the end, is what the evaluator has."""
    compressed = CompressedGraph(graph, {})
    carried, first = ({state: "h"}, {state: initial}) if state else ({}, {})
    ran = execute_graph(compressed, CHIPS[variant], frames, carried, first)
    tensors, final = evaluate_stream(graph, frames, carried, first, compressed)
    assert ran.execution.outputs["y"].tobytes() == tensors["y"].tobytes()
    last = final[state] if state else tensors["h"]
    assert ran.execution.outputs["h"].reshape(-1).tobytes() == last.reshape(-1).tobytes()
    assert check_races(ran.compiled.program, ran.execution.trace) == []


# ---------------------------------------------------------------------------- SelectiveScan


def _selective(seed: int, steps: int, channels: int, states: int) -> dict[str, np.ndarray]:
    inputs = _numbers(
        seed, u=(steps, channels), delta=(steps, channels), a=(channels, states),
        b=(steps, states), c=(steps, states), d=(channels,), h0=(channels, states),
    )  # fmt: skip
    inputs["delta"], inputs["a"] = abs(inputs["delta"]) / 4, -abs(inputs["a"]) * 8
    return inputs


@given(seed=st.integers(0, 1 << 32), steps=st.integers(1, 5))
def test_selective_scan_is_its_recurrence(seed: int, steps: int) -> None:
    inputs = _selective(seed, steps, 5, 3)
    u, delta, a, b, c, d, h = (array.astype(np.float64) for array in inputs.values())
    expected = np.empty_like(u)
    for t in range(steps):
        h = np.exp(delta[t][:, None] * a) * h + delta[t][:, None] * b[t] * u[t][:, None]
        expected[t] = h @ c[t] + d * u[t]
    found = evaluate(_graph("SelectiveScan", inputs), inputs)
    np.testing.assert_allclose(found["y"], expected, rtol=0, atol=2e-6 * abs(expected).max())
    np.testing.assert_allclose(found["h"], h, rtol=0, atol=2e-6 * abs(h).max())


@pytest.mark.slow
@given(
    seed=st.integers(0, 1 << 32), steps=st.integers(1, 4), channels=st.integers(1, 40),
    states=st.sampled_from([1, 3, 16]), variant=st.sampled_from(list(CHIPS)), skips=st.booleans(),
)  # fmt: skip
def test_selective_scan_on_the_chip_is_the_evaluator_s(
    seed: int, steps: int, channels: int, states: int, variant: str, skips: bool
) -> None:
    inputs = _selective(seed, steps, channels, states)
    if not skips:
        inputs["d"][:] = 0
    graph = _graph("SelectiveScan", inputs, ("a", "d"))
    frames = {
        name: np.stack([array, array * F(0.5)])
        for name, array in inputs.items()
        if name not in ("a", "d", "h0")
    }
    _check_bits(graph, frames, "h0", inputs["h0"], variant)


def test_selective_scan_works_in_parts_that_the_bits_do_not_show() -> None:
    inputs = _selective(3, 3, 600, 16)
    graph = _graph("SelectiveScan", inputs, ("a", "d"))
    frames = {name: inputs[name][None] for name in ("u", "delta", "b", "c")}
    large = chip(activation_sram__bytes=1 << 20)
    ran = execute_graph(
        CompressedGraph(graph, {}), large, frames, {"h0": "h"}, {"h0": inputs["h0"]}
    )
    expected = evaluate(graph, {name: inputs[name] for name in graph.inputs})
    assert ran.execution.outputs["y"][0].tobytes() == expected["y"].tobytes()
    sizes = {name: s.size_bytes for name, s in ran.compiled.schedule.storages.items()}
    assert max(size for name, size in sizes.items() if "#" in name and "dram" not in name) <= 8192
    assert not any(name.startswith("h.") or name == "h" for name in sizes)  # h0 is updated in place


@pytest.mark.parametrize("steps", [2, 5])
def test_prefill_is_as_many_steps(steps: int) -> None:
    inputs = _selective(7, steps, 6, 4)
    whole = evaluate(_graph("SelectiveScan", inputs), inputs)
    h = inputs["h0"]
    for t in range(steps):
        one = {n: inputs[n][t : t + 1] for n in ("u", "delta", "b", "c")}
        step = {"u": one["u"], "delta": one["delta"], "a": inputs["a"], "b": one["b"]}
        step |= {"c": one["c"], "d": inputs["d"], "h0": h}
        found = evaluate(_graph("SelectiveScan", step), step)
        h = found["h"]
        assert found["y"][0].tobytes() == whole["y"][t].tobytes()
    assert h.tobytes() == whole["h"].tobytes()


# ----------------------------------------------------------------------------- DiagonalScan


def _diagonal(seed: int, steps: int, channels: int, pairs: int) -> dict[str, np.ndarray]:
    row = (channels, 2 * pairs)
    inputs = _numbers(seed, u=(steps, channels), a=row, b=row, c=row, d=(channels,), x0=row)
    inputs["a"] *= F(0.4)
    return inputs


def _complex(row: np.ndarray) -> np.ndarray:
    pairs = row.shape[-1] // 2
    return row[..., :pairs].astype(np.float64) + 1j * row[..., pairs:]


@given(seed=st.integers(0, 1 << 32), steps=st.integers(1, 5))
def test_diagonal_scan_is_its_complex_recurrence(seed: int, steps: int) -> None:
    inputs = _diagonal(seed, steps, 4, 3)
    a, b, c, x = (_complex(inputs[name]) for name in ("a", "b", "c", "x0"))
    u = inputs["u"].astype(np.float64)
    expected = np.empty_like(u)
    for t in range(steps):
        x = a * x + b * u[t][:, None]
        # The row holds 2 Re C and -2 Im C, so that its conjugate is 2 C.
        expected[t] = (np.conj(c) * x).real.sum(axis=1) + inputs["d"] * u[t]
    found = evaluate(_graph("DiagonalScan", inputs), inputs)
    np.testing.assert_allclose(found["y"], expected, rtol=0, atol=2e-6 * abs(expected).max())
    np.testing.assert_allclose(_complex(found["h"]), x, rtol=0, atol=2e-6 * abs(x).max())


@pytest.mark.slow
@given(
    seed=st.integers(0, 1 << 32), steps=st.integers(1, 4), channels=st.integers(1, 40),
    pairs=st.sampled_from([1, 3, 8]), variant=st.sampled_from(list(CHIPS)),
)  # fmt: skip
def test_diagonal_scan_on_the_chip_is_the_evaluator_s(
    seed: int, steps: int, channels: int, pairs: int, variant: str
) -> None:
    inputs = _diagonal(seed, steps, channels, pairs)
    graph = _graph("DiagonalScan", inputs, ("a", "b", "c", "d"))
    frames = {"u": np.stack([inputs["u"], inputs["u"] * F(2)])}
    _check_bits(graph, frames, "x0", inputs["x0"], variant)


# -------------------------------------------------------------------------- LinearAttention

RULES = ("linear", "gated", "delta", "gated_delta")


def _attention(
    seed: int, rule: str, steps: int, heads: int, queries: int, per_key: bool
) -> dict[str, np.ndarray]:
    keys, values = 4, 3
    inputs = _numbers(
        seed,
        q=(1, steps, heads * queries * keys), k=(1, steps, heads * keys),
        v=(1, steps, heads * values), s0=(1, heads, keys, values),
        decay=(1, steps, heads * (keys if per_key else 1)),
        beta=(1, steps, 1 if per_key else heads),
    )  # fmt: skip
    inputs["k"] /= F(keys)
    inputs["decay"] = -abs(inputs["decay"])
    return {
        name: array
        for name, array in inputs.items()
        if (name != "decay" or "gated" in rule) and (name != "beta" or "delta" in rule)
    }


def _attention_graph(
    inputs: Mapping[str, np.ndarray], rule: str, heads: int, queries: int, scale: float
) -> Graph:
    order = ("q", "k", "v", "s0", "decay", "beta")
    shapes = {name: array.shape for name, array in inputs.items()}
    names = [name if name in inputs else "" for name in order]
    attributes = {"q_num_heads": heads * queries, "kv_num_heads": heads, "scale": scale}
    one = node("LinearAttention", names, ("y", "h"), update_rule=rule, **attributes)
    return graph_of(shapes, {}, [one], ("y", "h"))


@pytest.mark.slow
@given(
    seed=st.integers(0, 1 << 32), rule=st.sampled_from(RULES), steps=st.integers(1, 4),
    heads=st.integers(1, 3), queries=st.integers(1, 2), per_key=st.booleans(),
    scale=st.sampled_from([0.0, 1.0, 0.3]), variant=st.sampled_from(list(CHIPS)),
)  # fmt: skip
def test_linear_attention_is_onnx_s_and_the_chip_has_its_bits(
    seed: int, rule: str, steps: int, heads: int, queries: int, per_key: bool, scale: float,
    variant: str,
) -> None:  # fmt: skip
    reference = pytest.importorskip("onnx.reference.ops.op_linear_attention")
    inputs = _attention(seed, rule, steps, heads, queries, per_key)
    graph = _attention_graph(inputs, rule, heads, queries, scale)
    found = evaluate(graph, inputs)
    expected, state = reference.LinearAttention._run(
        None, inputs["q"], inputs["k"], inputs["v"], inputs["s0"], inputs.get("decay"),
        inputs.get("beta"), q_num_heads=heads * queries, kv_num_heads=heads, scale=scale,
        update_rule=rule,
    )  # fmt: skip
    for name, array in (("y", expected), ("h", state)):
        atol = 1e-5 * max(1.0, abs(array).max())
        np.testing.assert_allclose(found[name], array, rtol=0, atol=atol)
    frames = {n: np.stack([a, a * F(0.5)]) for n, a in inputs.items() if n != "s0"}
    _check_bits(graph, frames, "s0", inputs["s0"], variant)


@pytest.mark.parametrize("rule", RULES)
def test_linear_attention_works_in_parts_that_the_bits_do_not_show(rule: str) -> None:
    heads, keys, values, steps = 2, 130, 70, 2
    inputs = _numbers(
        2, q=(1, steps, heads * keys), k=(1, steps, heads * keys), v=(1, steps, heads * values),
        s0=(1, heads, keys, values), decay=(1, steps, heads), beta=(1, steps, heads),
    )  # fmt: skip
    inputs["k"] /= F(keys)
    if "gated" not in rule:
        del inputs["decay"]
    if "delta" not in rule:
        del inputs["beta"]
    graph = _attention_graph(inputs, rule, heads, 1, 1.0)
    frames = {name: array[None] for name, array in inputs.items() if name != "s0"}
    _check_bits(graph, frames, "s0", inputs["s0"], "az1")


def test_without_a_state_zeros_are_the_beginning() -> None:
    inputs = _attention(1, "linear", 2, 2, 1, False)
    zeros = np.zeros_like(inputs.pop("s0"))
    graph = _attention_graph(inputs, "linear", 2, 1, 0.0)
    found = evaluate(graph, inputs)
    with_zeros = inputs | {"s0": zeros}
    expected = evaluate(_attention_graph(with_zeros, "linear", 2, 1, 0.0), with_zeros)
    assert found["y"].tobytes() == expected["y"].tobytes()
    _check_bits(graph, {name: array[None] for name, array in inputs.items()}, "", zeros, "az1")


def test_a_state_that_something_else_reads_is_not_updated_in_place() -> None:
    inputs = _selective(5, 2, 4, 3)
    shapes = {name: array.shape for name, array in inputs.items()}
    nodes = [
        node("SelectiveScan", list(inputs), ("y", "h")),
        node("Neg", ["h0"], "before"),
    ]
    graph = graph_of(shapes, {}, nodes, ("y", "h", "before"))
    frames = {name: array[None] for name, array in inputs.items() if name != "h0"}
    ran = execute_graph(CompressedGraph(graph, {}), AZ1, frames, {"h0": "h"}, {"h0": inputs["h0"]})
    assert ran.execution.outputs["before"][0].tobytes() == (-inputs["h0"]).tobytes()
    assert ran.execution.outputs["h"].tobytes() == evaluate(graph, inputs)["h"].tobytes()


# ------------------------------------------------------------------------------------ errors


def _problem(graph_of_problem: object) -> str:
    with pytest.raises(UnsupportedError) as error:
        graph_of_problem()  # type: ignore[operator]
    return str(error.value).partition("): ")[2]


def test_wrong_shapes_are_named() -> None:
    inputs = _selective(0, 2, 4, 3)
    wrong = inputs | {"b": inputs["b"][:1]}
    assert _problem(lambda: _graph("SelectiveScan", wrong)) == (
        "input 3 (B) has shape [1, 3], not [2, 3]"
    )
    wrong = inputs | {"u": inputs["u"][0]}
    assert _problem(lambda: _graph("SelectiveScan", wrong)) == (
        "u has shape [4] and A [4, 3]; [steps, channels] and [channels, states] are needed"
    )
    inputs = _diagonal(0, 2, 4, 3)
    wrong = inputs | {"a": inputs["a"][:, 1:]}
    assert _problem(lambda: _graph("DiagonalScan", wrong)) == (
        "u has shape [2, 4] and A [4, 5]; [steps, channels] and [channels, 2 x pairs] are needed"
    )
    wrong = inputs | {"d": inputs["d"][1:]}
    assert _problem(lambda: _graph("DiagonalScan", wrong)) == ("input 4 (D) has shape [3], not [4]")


def test_what_linear_attention_cannot_do_is_said() -> None:
    inputs = _attention(0, "gated", 2, 2, 1, False)

    def problem(changed: Mapping[str, np.ndarray], rule: str = "gated", heads: int = 2) -> str:
        return _problem(lambda: _attention_graph(changed, rule, heads, 1, 0.0))

    assert problem(inputs, "linear") == "update_rule linear takes no input 4 (decay)"
    assert problem(inputs, "gated_delta") == "update_rule gated_delta needs input 5 (beta)"
    assert problem(inputs, heads=3) == (
        "3 query heads and 3 key heads do not divide one another, the query's 8 columns and the "
        "value's 6"
    )
    assert problem(inputs, heads=0) == (
        "q_num_heads is 0 and kv_num_heads 0; both are needed, the first a multiple of the second"
    )
    assert problem(inputs | {"decay": inputs["decay"][:, :1]}) == (
        "input 4 has shape [1, 1, 2], not [1, 2, 2] or [1, 2, 8]"
    )
    twice = {name: np.concatenate([array] * 2) for name, array in inputs.items()}
    assert problem(twice) == (
        "query has shape [2, 2, 8] and value [2, 2, 6]; [1, steps, heads x size] (a batch of 1) "
        "is needed"
    )


@pytest.mark.parametrize("with_bias", [True, False])
def test_a_wide_convolution_works_in_parts_that_the_bits_do_not_show(with_bias: bool) -> None:
    channels, taps = 700, 4
    inputs = _numbers(
        9, x=(1, channels, 1), w=(channels, 1, taps), b=(channels,), s0=(1, channels, taps - 1)
    )
    names = ["x", "w", "b" if with_bias else "", "s0"]
    shapes = {name: inputs[name].shape for name in ("x", "s0")}
    constants = {name: inputs[name] for name in ("w", "b") if name in names}
    one = node("CausalConvWithState", names, ("y", "h"), activation="silu")
    graph = graph_of(shapes, constants, [one], ("y", "h"))
    frames = {"x": np.stack([inputs["x"], inputs["x"] * F(0.5)])}
    _check_bits(graph, frames, "s0", inputs["s0"], "az1")
