"""Fusion: fewer steps, the same bits, and only where nobody sees the difference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from azsim.compiler.compile import compile_graph
from azsim.compiler.fuse import fuse
from azsim.compiler.lower import lower
from azsim.compiler.schedule import walk
from azsim.evaluate import evaluate_stream
from azsim.hardware.description import Hardware
from azsim.ir import CompressedGraph, Graph, Node
from azsim.isa.program import Stream
from azsim.ops.lowering import Loop, Lowering, Matmul
from compiled import (
    AZ1,
    MIXED_STATE,
    chip,
    execute_graph,
    frames_for,
    graph_of,
    mixed_graph,
    node,
    with_codec,
)
from graphs import compress

F = np.float32
SLOW_VECTOR = chip(vector__lanes=1)
"""The vector engine has more to do than the array: functions are drained."""
FAST_VECTOR = chip(vector__lanes=4096)


def _graph(nodes: Sequence[Node], outputs: tuple[str, ...] = ("y",), inner: int = 12) -> Graph:
    rng = np.random.default_rng(3)
    constants = {
        "w": rng.standard_normal((inner, 8)).astype(F), "b": rng.standard_normal(8).astype(F),
        "one": np.array(0.5, F), "grid": rng.standard_normal((3, 8)).astype(F),
        "kernel": rng.standard_normal((8, 3, 2)).astype(F),
        "column": rng.standard_normal((8, 1)).astype(F),
    }  # fmt: skip
    used = {name for one in nodes for name in one.inputs}
    kept = {name: array for name, array in constants.items() if name in used}
    inputs = {"x": (1, 3, 6) if "kernel" in used else (3, inner)}
    return graph_of(inputs, kept, nodes, outputs)


def _kinds(lowering: Lowering) -> list[str]:
    return [type(step).__name__ for _, step in lowering.steps]


def _fused(compressed: CompressedGraph, hardware: Hardware = SLOW_VECTOR) -> Lowering:
    return fuse(lower(compressed), hardware)


def _same_bits(
    compressed: CompressedGraph, hardware: Hardware, state: Mapping[str, str] | None = None
) -> None:
    """Outputs are the evaluator's, and tensors that are not said to be gone as well."""
    state = state or {}
    graph = compressed.graph
    initial = {name: np.full(graph.inputs[name].shape, F(0.25)) for name in state}
    frames = frames_for(graph, 3, 1, list(state))
    ran = execute_graph(compressed, hardware, frames, state, initial, taps=True)
    wanted, final = evaluate_stream(graph, frames, state, initial, compressed)
    for name, seen in ran.execution.tapped.items():
        assert np.stack(seen).tobytes() == wanted[name].tobytes(), name
    for name, found in ran.execution.outputs.items():
        expected = wanted[name]
        if name in state.values():
            expected = final[next(key for key, value in state.items() if value == name)]
        assert found.tobytes() == expected.tobytes(), name


# ------------------------------------------------------------------------------ what is fused

CHAINS = {
    "bias": [node("MatMul", ["x", "w"], "m"), node("Add", ["m", "b"], "y")],
    "bias on the left": [node("MatMul", ["x", "w"], "m"), node("Add", ["b", "m"], "y")],
    "one number": [node("MatMul", ["x", "w"], "m"), node("Add", ["m", "one"], "y")],
    "bias and relu": [
        node("MatMul", ["x", "w"], "m"), node("Add", ["m", "b"], "a"), node("Relu", ["a"], "y"),
    ],
    "bias and sigmoid": [
        node("MatMul", ["x", "w"], "m"), node("Add", ["m", "b"], "a"), node("Sigmoid", ["a"], "y"),
    ],
    "tanh of a gemm": [node("Gemm", ["x", "w", "b"], "m"), node("Tanh", ["m"], "y")],
    "bias of a convolution": [
        node("Conv", ["x", "kernel"], "m"), node("Add", ["m", "column"], "y"),
    ],
    "sigmoid of a transposed convolution": [
        node("Conv", ["x", "kernel"], "m"), node("Transpose", ["m"], "t", perm=(0, 2, 1)),
        node("Sigmoid", ["t"], "y"),
    ],
}  # fmt: skip


@pytest.mark.kernels
@pytest.mark.parametrize("name", CHAINS)
def test_a_chain_becomes_one_product(name: str) -> None:
    graph = _graph(CHAINS[name])
    lowering = _fused(compress(graph))
    assert _kinds(lowering) == ["Quantize", "Matmul"]
    gone = {tensor for one in graph.nodes[:-1] for tensor in one.outputs}
    assert set(lowering.fused) == gone
    assert set(lowering.views).isdisjoint(gone)
    for hardware in (SLOW_VECTOR, chip(vector__lanes=1, mac__accumulators=64, mac__lanes=3)):
        _same_bits(compress(graph), hardware)
    _same_bits(compress(graph, segment=5), SLOW_VECTOR)


@pytest.mark.kernels
@pytest.mark.parametrize("axis", [0, 1])
def test_what_only_copies_a_product_is_not_needed(axis: int) -> None:
    graph = _graph(
        [
            node("MatMul", ["x", "w"], "m"),
            node("Sigmoid", ["x"], "s"),
            node("MatMul", ["s", "w"], "n"),
            node("Concat", ["m", "n"], "y", axis=axis),
        ]
    )
    lowering = _fused(compress(graph))
    assert _kinds(lowering) == ["Quantize", "Matmul", "Unary", "Quantize", "Matmul"]
    assert {"m", "n"} == set(lowering.fused)
    _same_bits(compress(graph), AZ1)


def test_a_fused_tensor_says_why() -> None:
    lowering = _fused(compress(_graph(CHAINS["bias and sigmoid"])))
    assert lowering.fused == {
        "m": "Add_a is applied as MatMul_m is drained",
        "a": "Sigmoid_y is applied as MatMul_m is drained",
    }


OTHERS = {
    "an output": ([node("MatMul", ["x", "w"], "m"), node("Sigmoid", ["m"], "y")], ("y", "m")),
    "read twice": (
        [node("MatMul", ["x", "w"], "m"), node("Sigmoid", ["m"], "s"),
         node("Add", ["m", "s"], "y")],
        ("y",),
    ),
    "a bias that differs by row": (
        [node("MatMul", ["x", "w"], "m"), node("Add", ["m", "grid"], "y")], ("y",),
    ),
    "a second bias": (
        [node("Gemm", ["x", "w", "b"], "m"), node("Add", ["m", "one"], "y")], ("y",),
    ),
    "an addition of two products": (
        [node("MatMul", ["x", "w"], "m"), node("Sigmoid", ["x"], "s"),
         node("MatMul", ["s", "w"], "n"), node("Add", ["m", "n"], "y")],
        ("y",),
    ),
    "a scale": ([node("MatMul", ["x", "w"], "m"), node("Mul", ["m", "one"], "y")], ("y",)),
    "a part": (
        [node("MatMul", ["x", "w"], "m"), node("Slice", ["m", "from", "to", "axis"], "p"),
         node("Sigmoid", ["p"], "y")],
        ("y",),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", [name for name in OTHERS if name != "a part"])
def test_what_somebody_sees_or_the_drain_cannot_do_stays(name: str) -> None:
    nodes, outputs = OTHERS[name]
    compressed = compress(_graph(nodes, outputs))
    before = _kinds(lower(compressed))
    lowering = _fused(compressed)
    assert _kinds(lowering) == before
    assert not lowering.fused
    _same_bits(compressed, SLOW_VECTOR)


def test_a_function_of_some_rows_stays() -> None:
    numbers = {"from": [0], "to": [2], "axis": [0]}
    constants: dict[str, np.ndarray] = {
        name: np.array(value, np.int64) for name, value in numbers.items()
    }
    constants["w"] = np.random.default_rng(0).standard_normal((12, 8)).astype(F)
    graph = graph_of({"x": (3, 12)}, constants, OTHERS["a part"][0], ("y",))
    assert _kinds(_fused(compress(graph))) == ["Quantize", "Matmul", "Unary"]
    _same_bits(compress(graph), SLOW_VECTOR)


def test_functions_stay_with_a_vector_engine_that_has_time() -> None:
    compressed = compress(_graph(CHAINS["bias and sigmoid"]))
    assert _kinds(_fused(compressed, FAST_VECTOR)) == ["Quantize", "Matmul", "Unary"]
    compressed = compress(_graph(CHAINS["bias and relu"]))
    assert _kinds(_fused(compressed, FAST_VECTOR)) == ["Quantize", "Matmul"]


@pytest.mark.kernels
def test_a_static_scale_makes_codes_in_the_drain() -> None:
    nodes = [
        node("MatMul", ["x", "w"], "m"), node("Relu", ["m"], "r"), node("MatMul", ["r", "v"], "y"),
    ]  # fmt: skip
    rng = np.random.default_rng(0)
    constants = {"w": rng.standard_normal((12, 8)).astype(F),
                 "v": rng.standard_normal((8, 4)).astype(F)}  # fmt: skip
    compressed = compress(graph_of({"x": (3, 12)}, constants, nodes, ("y",)), static=0.03)
    lowering = _fused(compressed)
    assert _kinds(lowering) == ["Quantize", "Matmul", "Matmul"]
    assert lowering.fused["r"] == "MatMul_y is applied as MatMul_m is drained"
    _same_bits(compressed, SLOW_VECTOR)
    assert _kinds(_fused(compressed, FAST_VECTOR)) == ["Quantize", "Matmul", "Quantize", "Matmul"]


# ---------------------------------------------------------------------- gates of recurrent cells


def _lstm(steps: int = 1) -> CompressedGraph:
    return compress(mixed_graph(steps))


@pytest.mark.parametrize("steps", [1, 4])
def test_gates_are_drained_through_their_functions(steps: int) -> None:
    plain = [s for s in _flat(lower(_lstm(steps))) if s.startswith(("sigmoid", "tanh"))]
    fused = [s for s in _flat(_fused(_lstm(steps))) if s.startswith(("sigmoid", "tanh"))]
    # tanh of the cell state stays; the sigmoid at the end goes into its own product.
    assert (len(plain), len(fused)) == (4, 1)


def _flat(lowering: Lowering) -> list[str]:
    steps = [step for _, step in lowering.steps]
    found = []
    while steps:
        step = steps.pop(0)
        if isinstance(step, Loop):
            steps[:0] = step.body
        else:
            found.append(str(getattr(step, "function", type(step).__name__)))
            if isinstance(step, Matmul) and step.functions:
                assert [function for _, _, function in step.functions] == ["sigmoid", "tanh"]
                found[-1] = "product"
            elif isinstance(step, Matmul):
                found[-1] = "product"
    return found


@pytest.mark.slow
@pytest.mark.kernels
@settings(max_examples=15)
@given(
    steps=st.sampled_from([1, 3]),
    lanes=st.integers(1, 20),
    accumulators=st.sampled_from([64, 100, 1024]),
    weight_bytes=st.sampled_from([1024, 2048, 1 << 19]),
    segment=st.sampled_from([None, 3]),
)
def test_gates_are_bit_exact_however_they_are_cut(
    steps: int, lanes: int, accumulators: int, weight_bytes: int, segment: int | None
) -> None:
    hardware = chip(
        vector__lanes=1, mac__lanes=lanes, mac__accumulators=accumulators,
        weight_sram__bytes=weight_bytes,
    )  # fmt: skip
    _same_bits(compress(mixed_graph(steps), segment=segment), hardware, MIXED_STATE)


@pytest.mark.kernels
def test_gates_of_a_block_that_is_read_are_drained_function_by_function() -> None:
    """The array takes the whole block at once; each drain takes its own sums."""
    hardware = replace(
        chip(vector__lanes=1, mac__dataflow="outer", mac__zero_skip="both",
             decoder__codecs=("raw", "csc")),
        decoder=replace(AZ1.decoder, at="read", codecs=("raw", "csc")),
    )  # fmt: skip
    compressed = with_codec(_lstm(), "csc")
    _same_bits(compressed, hardware, MIXED_STATE)
    compiled = compile_graph(compressed, hardware, Stream(1, None, False), MIXED_STATE, "g")
    items = list(walk(compiled.schedule.body))
    assert not [item for item in items if item.operands.get("function") == "sigmoid"
                and item.mnemonic == "vector_unary"]  # fmt: skip
    drains = [item for item in items if item.mnemonic == "mac_drain"]
    sums = [(item.operands.get("function"), item.operands.get("acc", 0)) for item in drains]
    assert ("sigmoid", 0) in sums
    assert any(function == "tanh" and at for function, at in sums)
