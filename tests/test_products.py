"""Products of computed tensors: numpy's, by row and column, and the same bits on the chip."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from azsim.errors import UnsupportedError
from azsim.evaluate import evaluate, evaluate_stream
from azsim.hardware import load_hardware
from azsim.hardware.description import Hardware
from azsim.ir import CompressedGraph, Graph, Node, TensorType
from azsim.ops.build import build_graph, computed_products
from azsim.ops.linear import inner_segments
from azsim.sim.races import check_races
from azsim.stages.prove import prove
from compiled import AZ1, VARIANTS, chip, execute_graph, graph_of, node

pytestmark = pytest.mark.kernels

F = np.float32


def product_graph(left: tuple[int, ...], right: tuple[int, ...]) -> Graph:
    return graph_of({"a": left, "b": right}, {}, [node("MatMul", ["a", "b"], "y")], ("y",))


def codes_graph(
    left: tuple[int, ...], codes: tuple[int, ...], scales: tuple[int, ...] | None
) -> Graph:
    inputs = {"a": TensorType("float32", left), "b": TensorType("int8", codes)}
    if scales is not None:
        inputs["s"] = TensorType("float32", scales)
    nodes = [node("MatMulCodes", list(inputs), "y")]
    return build_graph("g", inputs, {}, nodes, ("y",), "test")


def values_for(graph: Graph, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        name: rng.standard_normal(kind.shape).astype(F)
        if kind.dtype == "float32"
        else rng.integers(-127, 128, kind.shape).astype(np.int8)
        for name, kind in graph.inputs.items()
    }


def check_same_bits(
    graph: Graph, inputs: Mapping[str, np.ndarray], hardware: Hardware, bits: int = 8
) -> np.ndarray:
    """The chip's bits are the evaluator's, in a program without races that is proved."""
    products = dict.fromkeys(computed_products(graph), bits)
    compressed = CompressedGraph(graph, {}, products)
    frames = {name: array[None] for name, array in inputs.items()}
    ran = execute_graph(compressed, hardware, frames, taps=True)
    expected, _ = evaluate_stream(graph, frames, {}, {}, compressed)
    for name, array in ran.execution.outputs.items():
        assert array.tobytes() == expected[name].tobytes(), name
    for name, kept in ran.execution.tapped.items():
        assert np.stack(kept).tobytes() == expected[name].tobytes(), name
    assert check_races(ran.compiled.program, ran.execution.trace) == []
    prove(ran.compiled, hardware)
    return expected["y"][0]


def by_definition(a: np.ndarray, b: np.ndarray, bits: int) -> np.ndarray:
    """Scales and codes of rows and columns as docs/numerics.md has them, one matrix."""

    def codes(x: np.ndarray, limit: int) -> tuple[np.ndarray, np.ndarray]:
        scale = np.abs(x).max(axis=1) / F(limit)
        scale[scale == 0] = 1
        return np.clip(np.rint(x / scale[:, None]), -limit, limit).astype(np.int64), scale

    (left, row), (right, column) = codes(a, (1 << (bits - 1)) - 1), codes(b.T, 127)
    return (left @ right.T).astype(F) * (row[:, None] * column[None, :])


@settings(max_examples=30)
@given(
    rows=st.integers(1, 5),
    inner=st.integers(1, 33),
    outputs=st.integers(1, 9),
    bits=st.sampled_from([8, 16]),
    seed=st.integers(0, 99),
)
def test_a_product_is_that_of_its_definition(
    rows: int, inner: int, outputs: int, bits: int, seed: int
) -> None:
    graph = product_graph((rows, inner), (inner, outputs))
    inputs = values_for(graph, seed)
    y = check_same_bits(graph, inputs, AZ1, bits)
    assert y.tobytes() == by_definition(inputs["a"], inputs["b"], bits).tobytes()


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ((4, 6), (6, 5)),
        ((3, 4, 6), (6, 5)),
        ((3, 4, 6), (3, 6, 5)),
        ((2, 3, 4, 6), (2, 1, 6, 5)),
        ((2, 3, 1, 6), (2, 1, 6, 5)),
        ((4, 6), (3, 6, 5)),
        ((1, 1, 6), (1, 6, 1)),
    ],
)
@pytest.mark.parametrize("name", list(VARIANTS))
def test_axes_in_front_are_broadcast_as_numpy_does(
    left: tuple[int, ...], right: tuple[int, ...], name: str
) -> None:
    graph = product_graph(left, right)
    inputs = values_for(graph, len(left))
    y = check_same_bits(graph, inputs, VARIANTS[name])
    exact = np.matmul(inputs["a"].astype(float), inputs["b"].astype(float))
    assert y.shape == exact.shape
    assert np.abs(y - exact).max() < 0.05 * np.abs(exact).max()
    floats = evaluate(graph, inputs)["y"]
    assert np.abs(floats - exact).max() < 1e-5 * np.abs(exact).max()


@pytest.mark.parametrize("scales", [None, (5,), (2, 1, 1, 5), (1, 1), (2, 1, 1, 1)])
@pytest.mark.parametrize("hardware", ["az1", "az2", "dense_npu", "az1_lite"])
def test_codes_that_are_there_are_multiplied_with_their_scales(
    scales: tuple[int, ...] | None, hardware: str
) -> None:
    graph = codes_graph((2, 3, 4, 6), (2, 1, 6, 5), scales)
    inputs = values_for(graph, 1)
    y = check_same_bits(graph, inputs, load_hardware(hardware))
    exact = inputs["a"].astype(float) @ (inputs["b"] * inputs.get("s", np.ones(1)).astype(float))
    assert np.abs(y - exact).max() < 0.05 * np.abs(exact).max()


def permuted_graph(rows: int) -> Graph:
    """Heads beside each other in a row, as attention has them, in another order than in memory."""
    constants = {"split": np.array([rows, 2, 3, 4]), "same": np.array([7, 2, 1, 4])}
    nodes = [
        node("Reshape", ["a", "split"], "heads"),
        node("Transpose", ["heads"], "queries", perm=(1, 2, 0, 3)),
        node("Reshape", ["b", "same"], "keys"),
        node("Transpose", ["keys"], "columns", perm=(1, 2, 3, 0)),
        node("MatMul", ["queries", "columns"], "y"),
    ]
    return graph_of({"a": (rows, 24), "b": (7, 8)}, constants, nodes, ("y",))


@pytest.mark.parametrize("rows", [1, 2, 5])
@pytest.mark.parametrize("name", ["az1", "few accumulators", "skips both"])
def test_operands_may_lie_in_any_order(rows: int, name: str) -> None:
    graph = permuted_graph(rows)
    check_same_bits(graph, values_for(graph, rows), VARIANTS[name])


def test_rows_that_meet_one_matrix_go_through_the_array_together() -> None:
    graph = permuted_graph(1)
    frames = {name: array[None] for name, array in values_for(graph).items()}
    program = execute_graph(CompressedGraph(graph, {}), AZ1, frames).compiled.program
    mnemonics = [instruction.mnemonic for instruction in program.instructions]
    assert mnemonics.count("mac_matmul") == 2  # one for each key head, as the loop is written out
    assert mnemonics.count("vector_quantize") == 2


@pytest.mark.parametrize("inner", [511, 512, 513, 1100])
def test_codes_of_16_bits_are_summed_in_segments_that_int32_holds(inner: int) -> None:
    graph = product_graph((2, inner), (inner, 3))
    inputs = {"a": np.ones((2, inner), F), "b": np.ones((inner, 3), F)}
    y = check_same_bits(graph, inputs, AZ1, 16)
    assert np.abs(y - inner).max() < 1e-3 * inner
    segments = inner_segments(inner, 16)
    assert [first for first, _ in segments] == list(range(0, inner, 512))
    assert segments[-1][1] == inner


def test_the_largest_segment_cannot_overflow() -> None:
    for bits in (8, 16):
        ((first, last), *_) = inner_segments(1 << 20, bits)
        assert (last - first) * ((1 << (bits - 1)) - 1) * 128 < 1 << 31


def test_many_outputs_and_rows_take_turns_in_the_accumulators() -> None:
    graph = product_graph((7, 5), (5, 90))
    check_same_bits(graph, values_for(graph), chip(mac__accumulators=64))


@pytest.mark.parametrize(
    ("left", "right", "sentence"),
    [
        ((4, 6), (5, 6), "left side has 6 columns, right side takes 5"),
        (
            (6,),
            (6, 5),
            "operands have shapes [6] and [6, 5]; both need rank 2 or more where both are computed",
        ),
        (
            (2, 4, 6),
            (3, 6, 5),
            (
                "operands have shapes [2, 4, 6] and [3, 6, 5]; "
                "the axes before the last two do not fit together"
            ),
        ),
    ],
)
def test_shapes_that_do_not_fit_are_said(
    left: tuple[int, ...], right: tuple[int, ...], sentence: str
) -> None:
    with pytest.raises(UnsupportedError) as caught:
        product_graph(left, right)
    assert str(caught.value) == f"test: node MatMul_y (MatMul): {sentence}"


@pytest.mark.parametrize(
    ("scales", "sentence"),
    [
        ((4,), "scales have shape [4], which is not broadcast to [1, 5]"),
        ((2, 5), "scales have shape [2, 5], which is not broadcast to [1, 5]"),
    ],
)
def test_scales_that_do_not_fit_are_said(scales: tuple[int, ...], sentence: str) -> None:
    with pytest.raises(UnsupportedError) as caught:
        codes_graph((4, 6), (6, 5), scales)
    assert str(caught.value) == f"test: node MatMulCodes_y (MatMulCodes): {sentence}"


def test_types_that_do_not_fit_are_said() -> None:
    inputs = {"a": TensorType("float32", (2, 3)), "b": TensorType("float32", (3, 4))}
    with pytest.raises(UnsupportedError) as caught:
        build_graph("g", inputs, {}, [node("MatMulCodes", ["a", "b"], "y")], ("y",), "test")
    assert str(caught.value) == (
        "test: node MatMulCodes_y (MatMulCodes): operands are float32, float32; "
        "float32 times int8 with float32 scales is supported"
    )


@pytest.mark.parametrize("shape", [(5,), (3, 5), (2, 3, 5)])
@pytest.mark.parametrize("is_turned", [False, True])
def test_rows_become_codes(shape: tuple[int, ...], is_turned: bool) -> None:
    nodes: list[Node] = []
    source = "x"
    if is_turned:
        nodes.append(node("Transpose", ["x"], "turned"))
        source = "turned"
    nodes.append(node("QuantizeRows", [source], ("y", "s")))
    graph = graph_of({"x": shape}, {}, nodes, ("y", "s"))
    inputs = values_for(graph)
    codes = check_same_bits(graph, inputs, AZ1)
    rows = inputs["x"].T if is_turned else inputs["x"]
    scales = np.abs(rows).max(axis=-1, keepdims=True) / F(127)
    assert codes.dtype == np.int8
    assert np.array_equal(codes, np.rint(rows / scales))


def test_a_row_of_zeros_has_a_scale_of_1() -> None:
    graph = graph_of({"x": (2, 3)}, {}, [node("QuantizeRows", ["x"], ("y", "s"))], ("y", "s"))
    compressed = CompressedGraph(graph, {})
    found = evaluate(graph, {"x": np.zeros((2, 3), F)}, compressed)
    assert found["s"].tolist() == [1, 1]
    assert not found["y"].any()


def test_without_compression_codes_are_not_rounded() -> None:
    graph = graph_of({"x": (2, 3)}, {}, [node("QuantizeRows", ["x"], ("y", "s"))], ("y", "s"))
    inputs = values_for(graph)
    frames = {"x": inputs["x"][None]}
    tensors, _ = evaluate_stream(graph, frames, {}, {})
    codes, scales = tensors["y"][0], tensors["s"][0]
    assert scales.tobytes() == (np.abs(inputs["x"]).max(axis=1) / F(127)).tobytes()
    assert codes.dtype == np.float32
    np.testing.assert_allclose(codes * scales[:, None], inputs["x"], rtol=1e-6)


def test_a_product_of_two_computed_tensors_names_its_node() -> None:
    graph = product_graph((4, 6), (6, 5))
    assert computed_products(graph) == ["MatMul_y"]
    weighted = replace(graph, initializers={"b": np.ones((6, 5), F)})
    assert computed_products(weighted) == []
