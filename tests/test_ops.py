from __future__ import annotations

import collections
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from azsim.errors import InputError, UnsupportedError
from azsim.evaluate import evaluate
from azsim.frontend.onnx_import import load_onnx
from azsim.ir import Attribute, CompressedGraph, Graph, Node, same_graph
from azsim.ops._views import reshaped
from azsim.ops.build import build_graph, lower_graph, operators, weight_matrices
from azsim.ops.lowering import Access, Fill, Loop, Matmul, Quantize, TensorView
from graphs import (
    compress,
    held,
    known_frame,
    onnx_bytes,
    random_graph,
    random_inputs,
    silero_path,
    type_of,
)
from step_interpreter import StepInterpreter

FOLDED_ONLY = {"Constant", "ConstantOfShape", "Shape"}
WEIGHTED = {"Conv", "Gemm", "LSTM", "MatMul", "ProjectionLSTM", "TransducerGreedy"}
STATE_SPACE = {"DiagonalScan", "LinearAttention", "SelectiveScan"}
"""Operators that tests/test_state_space_ops.py has random cases of."""
ATTENTION = {
    "Attention",
    "Gather",
    "MatMulCodes",
    "QuantizeRows",
    "RingWindow",
    "RotaryEmbedding",
    "TensorScatter",
}
"""Operators of tests/test_products.py and tests/test_attention*.py."""

NOT_IN_ONNXRUNTIME = {"CausalConvWithState"}
"""Operators that tests/test_onnx_nodes.py compares with ONNX's own examples."""


def _same_bits(found: np.ndarray, expected: np.ndarray) -> bool:
    """Equal bits; one NaN is as good as another."""
    numbers = ~np.isnan(expected)
    return (
        found.dtype == expected.dtype
        and found.shape == expected.shape
        and np.array_equal(np.isnan(found), ~numbers)
        and found[numbers].tobytes() == expected[numbers].tobytes()
    )


def _check_lowering(compressed: CompressedGraph, inputs: dict[str, np.ndarray]) -> None:
    """Every tensor on the chip has the evaluator's bits, all others are listed as fused."""
    results = evaluate(compressed.graph, inputs, compressed)
    lowering = lower_graph(compressed)
    found = StepInterpreter(lowering).run(inputs)
    for name, expected in results.items():
        if name in lowering.fused:
            assert name not in found
        elif name not in compressed.graph.inputs:  # a state may be updated in place
            assert _same_bits(found[name], held(expected)), name


# ------------------------------------------------------------------------------ the operators


def test_one_file_an_operator() -> None:
    for op, module in operators().items():
        assert module.__name__.rpartition(".")[2].replace("_", "") == op.lower()
        assert (module.__doc__ or "").startswith(op)
        assert hasattr(module, "lower") != (op in FOLDED_ONLY)
        assert list(module.ATTRIBUTES) == sorted(module.ATTRIBUTES) or op in ("Shape", "Cast")
        weighted = [hasattr(module, n) for n in ("weight_inputs", "to_matrix", "from_matrix")]
        assert all(weighted) == any(weighted) == (op in WEIGHTED)


def test_random_graphs_hold_every_operator() -> None:
    count = collections.Counter(node.op for seed in range(400) for node in random_graph(seed).nodes)
    elsewhere = STATE_SPACE | ATTENTION | {"Cast", "ProjectionLSTM", "TransducerGreedy"}
    assert set(operators()) - set(count) <= FOLDED_ONLY | elsewhere


@given(seed=st.integers(0, 1 << 32))
def test_float_results_are_those_of_onnxruntime(seed: int) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    graph = random_graph(seed, 1)
    assume(graph.nodes[0].op not in NOT_IN_ONNXRUNTIME)
    if graph.nodes[0].op in ("Div", "Exp", "Log", "Pow", "Sqrt"):
        inputs = {name: np.abs(array) + 0.5 for name, array in random_inputs(graph, seed).items()}
    else:
        inputs = random_inputs(graph, seed)
    shapes = {name: found.shape for name, found in graph.inputs.items()}
    model = onnx_bytes(shapes, graph.initializers, graph.nodes, graph.outputs, 24, graph.types)
    expected = onnxruntime.InferenceSession(model).run(None, inputs)
    results = evaluate(graph, inputs)
    for name, array in zip(graph.outputs, expected, strict=True):
        np.testing.assert_allclose(results[name], array, rtol=2e-5, atol=2e-5)
        assert results[name].shape == array.shape == graph.types[name].shape
    assert same_graph(graph, load_onnx(model))


@pytest.mark.slow
@settings(max_examples=300)
@given(
    seed=st.integers(0, 1 << 32),
    bits=st.integers(2, 8),
    activation_bits=st.sampled_from([8, 16]),
    segment=st.sampled_from([None, 1, 2, 3]),
    static=st.sampled_from([None, 0.05]),
)
def test_steps_give_the_bits_of_the_evaluator(
    seed: int, bits: int, activation_bits: int, segment: int | None, static: float | None
) -> None:
    graph = random_graph(seed)
    inputs = random_inputs(graph, seed)
    try:
        _check_lowering(compress(graph, bits, activation_bits, segment, static), inputs)
    except InputError as error:
        assume("is not finite" not in str(error))
        raise


@pytest.mark.parametrize("start", [-100, -6, -3, 0, 2, 4, 5, 100])
@pytest.mark.parametrize("step", [-3, -1, 1, 2])
def test_slices_beyond_the_ends_are_those_of_onnxruntime(start: int, step: int) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    x = np.arange(5, dtype=np.float32)
    # Backwards to the largest integer is nothing in the standard, but not in onnxruntime.
    furthest = (1 << 63) - 1 if step > 0 else 100
    for end in (-(1 << 63), -7, -5, -1, 0, 3, 5, furthest):
        bounds = {"s": np.array([start]), "e": np.array([end]), "a": np.array([0])}
        bounds["t"] = np.array([step])
        nodes = [Node("n", "Slice", ("x", *bounds), ("y",))]
        model = onnx_bytes({"x": [5]}, bounds, nodes, ["y"])
        expected = onnxruntime.InferenceSession(model).run(None, {"x": x})[0]
        if expected.size:
            graph = build_graph("g", {"x": type_of(5)}, bounds, nodes, ["y"], "test")
            assert evaluate(graph, {"x": x})["y"].tolist() == expected.tolist()
            _check_lowering(compress(graph), {"x": x})
        else:
            assert _problem(nodes, (5,), **bounds).startswith("output y is float32[0]; ")


@pytest.mark.fetch
@pytest.mark.parametrize("frames", [1, 3])
@pytest.mark.parametrize(("bits", "activation_bits", "segment"), [(8, 8, None), (4, 16, 64)])
def test_steps_of_silero_give_the_bits_of_the_evaluator(
    frames: int, bits: int, activation_bits: int, segment: int | None
) -> None:
    graph = load_onnx(silero_path(), {"input": (frames, 576)})
    rng = np.random.default_rng(4)
    inputs = {
        "input": np.repeat(known_frame(), frames, axis=0),
        "h": rng.uniform(-1, 1, (1, 1, 128)).astype(np.float32),
        "c": rng.uniform(-1, 1, (1, 1, 128)).astype(np.float32),
    }
    compressed = compress(graph, bits, activation_bits, segment)
    _check_lowering(compressed, inputs)
    lowering = lower_graph(compressed)
    assert len(lowering.fused) == 4
    assert {layer for layer, _ in lowering.steps} <= {node.name for node in graph.nodes}
    assert any(isinstance(step, Loop) for _, step in lowering.steps) == (frames > 1)


@given(seed=st.integers(0, 1 << 32))
def test_matrices_go_back_to_their_arrays(seed: int) -> None:
    graph = random_graph(seed)
    matrices = weight_matrices(graph)
    for node in graph.nodes:
        module = operators()[node.op]
        for index in module.weight_inputs(node) if hasattr(module, "weight_inputs") else ():
            array = graph.initializers[node.inputs[index]]
            matrix = matrices[node.inputs[index]]
            assert matrix.ndim == 2
            assert np.array_equal(module.from_matrix(node, index, matrix, array.shape), array)


def test_reshape_of_a_view_is_numpys_without_a_copy() -> None:
    data = np.arange(4 * 6 * 5)
    for shape, strides, wanted, possible in (
        ((4, 6), (6, 1), (2, 2, 3, 2), True),
        ((4, 6), (31, 5), (24,), False),
        ((4, 6), (29, 4), (2, 1, 2, 2, 3), True),
        ((4, 6), (30, 5), (24,), True),
        ((4, 3), (-6, 2), (2, 2, 1, 3), True),
        ((6, 4), (1, 6), (2, 3, 4, 1), True),
        ((6, 4), (1, 6), (3, 8), False),
        ((1, 1), (7, 3), (), True),
        ((), (), (1, 1), True),
        ((3, 4), (0, 0), (2, 6), True),
    ):
        offset = 18 if min(strides, default=0) < 0 else 0
        view = reshaped(TensorView("b", offset, shape, strides), wanted)
        assert (view is not None) == possible
        if view is not None:

            def array(view: TensorView) -> np.ndarray:
                steps = [8 * step for step in view.strides]
                return np.ndarray(view.shape, np.int64, data, 8 * view.offset, steps)

            original = array(TensorView("b", offset, shape, strides))
            assert np.array_equal(array(view), original.reshape(wanted))


# --------------------------------------------------------------------------------- lowerings


def _steps(graph: Graph) -> list[str]:
    return [type(step).__name__ for _, step in lower_graph(compress(graph)).steps]


def _graph(
    nodes: Sequence[Node],
    shape: tuple[int, ...],
    outputs: Sequence[str] = ("y",),
    **constants: Any,
) -> Graph:
    arrays = {
        name: np.ones(value, np.float32) if isinstance(value, tuple) else np.asarray(value)
        for name, value in constants.items()
    }
    return build_graph("g", {"x": type_of(*shape)}, arrays, nodes, outputs, "test")


def test_relu_is_fused_only_where_nobody_sees_the_product() -> None:
    nodes = [Node("gemm", "Gemm", ("x", "w"), ("p",)), Node("relu", "Relu", ("p",), ("y",))]
    lowering = lower_graph(compress(_graph(nodes, (2, 3), w=(3, 4))))
    assert lowering.fused == {"p": "relu is applied as gemm is drained"}
    assert [layer for layer, _ in lowering.steps] == ["gemm", "gemm"]
    seen = _graph(nodes, (2, 3), ("y", "p"), w=(3, 4))
    assert _steps(seen) == ["Quantize", "Matmul", "Unary"]
    twice = _graph([*nodes, Node("neg", "Neg", ("p",), ("z",))], (2, 3), ("y", "z"), w=(3, 4))
    assert _steps(twice) == ["Quantize", "Matmul", "Unary", "Unary"]


def test_views_cost_no_step() -> None:
    nodes = [
        Node("transpose", "Transpose", ("x",), ("t",), {"perm": (1, 0)}),
        Node("slice", "Slice", ("t", "one", "end", "zero", "minus_two"), ("s",)),
        Node("unsqueeze", "Unsqueeze", ("s", "zero"), ("u",)),
        Node("identity", "Identity", ("u",), ("y",)),
    ]
    whole: dict[str, Any] = {"one": [5], "end": [-100], "zero": [0], "minus_two": [-2]}
    graph = _graph(nodes, (4, 6), **whole)
    lowering = lower_graph(compress(graph))
    assert lowering.steps == []
    assert lowering.views["y"] == TensorView("x", 5, (1, 3, 4), (0, -2, 6))
    flat = [*nodes, Node("reshape", "Reshape", ("y", "all"), ("z",))]
    assert _steps(_graph(flat, (4, 6), ("z",), all=[-1], **whole)) == ["Copy"]


def test_one_row_is_quantized_once_for_two_products() -> None:
    nodes = [
        Node("a", "MatMul", ("x", "w"), ("p",)),
        Node("b", "MatMul", ("x", "v"), ("q",)),
        Node("c", "Sub", ("p", "q"), ("y",)),
    ]
    graph = _graph(nodes, (2, 3), w=(3, 4), v=(3, 4))
    assert _steps(graph) == ["Quantize", "Matmul", "Matmul", "Binary"]
    same = compress(graph, static=0.5)
    kinds = [type(step).__name__ for _, step in lower_graph(same).steps]
    assert kinds == ["Quantize", "Matmul", "Matmul", "Binary"]
    changed = [
        replace(same.weights["v"], activation_scale=0.25),
        replace(same.weights["v"], activation_bits=16),
    ]
    for weight in changed:
        other = CompressedGraph(graph, {**same.weights, "v": weight})
        kinds = [type(step).__name__ for _, step in lower_graph(other).steps]
        assert kinds == ["Quantize", "Matmul", "Quantize", "Matmul", "Binary"]
        _check_lowering(other, random_inputs(graph, 0))


def test_convolution_reads_overlapping_rows_of_padded_codes() -> None:
    nodes = [Node("conv", "Conv", ("x", "w"), ("y",), {"pads": (1, 2), "strides": (2,)})]
    lowering = lower_graph(compress(_graph(nodes, (1, 3, 8), w=(5, 3, 4))))
    before, after, quantize, matmul = (step for _, step in lowering.steps)
    assert isinstance(before, Fill)
    assert isinstance(after, Fill)
    assert isinstance(quantize, Quantize)
    assert isinstance(matmul, Matmul)
    assert before.dst == Access("conv#codes", 0, 1, 3, 0, 1)
    assert after.dst == Access("conv#codes", 27, 1, 6, 0, 1)
    assert quantize.src == Access("x", 0, 8, 3, 1, 8)
    assert quantize.dst == Access("conv#codes", 3, 8, 3, 3, 1)
    assert matmul.codes == Access("conv#codes", 0, 4, 12, 6, 1)
    assert matmul.dst == Access("y", 0, 4, 5, 1, 4)


# ---------------------------------------------------------------------------------- building


def test_constants_are_folded_and_the_dead_dropped() -> None:
    nodes = [
        Node("last", "Reshape", ("x", "shape"), ("y",)),
        Node("join", "Concat", ("a", "b"), ("shape",), {"axis": 0}),
        Node("a", "Shape", ("w",), ("a",), {"start": 1}),
        Node("b", "Cast", ("f",), ("b",), {"to": 7}),
        Node("f", "Constant", (), ("f",), {"value_floats": (-1.0,)}),
        Node("dead", "Frobnicate", ("x",), ("nothing",)),
        Node("live", "MatMul", ("x", "w", ""), ("m",)),
    ]
    graph = _graph(nodes, (2, 3), ("y", "m"), w=(3, 6), unused=(4,))
    assert [node.name for node in graph.nodes] == ["last", "live"]
    assert {name: array.tolist() for name, array in graph.initializers.items()} == {
        "shape": [6, -1],
        "w": [[1.0] * 6] * 3,
    }
    assert graph.nodes[1].inputs == ("x", "w")
    assert graph.types["y"] == type_of(6, 1)
    assert not graph.initializers["w"].flags.writeable


def test_order_of_the_file_is_kept_where_it_can_be() -> None:
    nodes = [
        Node("c", "Add", ("a", "b"), ("y",)),
        Node("b", "Neg", ("x",), ("b",)),
        Node("a", "Abs", ("x",), ("a",)),
        Node("d", "Abs", ("y",), ("z",)),
    ]
    graph = _graph(nodes, (2,), ("z",))
    assert [node.name for node in graph.nodes] == ["b", "a", "c", "d"]


def test_one_network_gives_one_graph_however_it_is_written() -> None:
    constants = {"w": np.ones((2, 3, 1), np.float32), "b": np.ones(2, np.float32)}
    attributes: dict[str, Attribute] = {"strides": (2,), "pads": (0, 1)}
    node = Node("n", "Conv", ("x", "w", "b"), ("y", ""), attributes)
    turned = dict(reversed(attributes.items()))
    other = Node("n", "Conv", ("x", "w", "b", ""), ("y",), turned)
    graph = build_graph("g", {"x": type_of(1, 3, 4)}, constants, [node], ["y"], "test")
    backwards = dict(reversed(constants.items()))
    again = build_graph("h", {"x": type_of(1, 3, 4)}, backwards, [other], ["y"], "test")
    assert same_graph(graph, again)


def _problem(nodes: Sequence[Node], shape: tuple[int, ...] = (1, 4, 8), **constants: Any) -> str:
    """The sentence about the last node, without the place."""
    with pytest.raises(UnsupportedError) as caught:
        _graph(nodes, shape, **constants)
    node = nodes[-1]
    prefix = f"test: node {node.name} ({node.op}): "
    assert str(caught.value).startswith(prefix)
    return str(caught.value).removeprefix(prefix)


def _conv(**attributes: Attribute) -> list[Node]:
    return [Node("n", "Conv", ("x", "w"), ("y",), attributes)]


def _lstm(inputs: Sequence[str] = ("x", "w", "r"), **attributes: Attribute) -> list[Node]:
    return [Node("n", "LSTM", tuple(inputs), ("y",), attributes)]


W, LSTM_WEIGHTS = (5, 4, 3), {"w": (1, 8, 3), "r": (1, 8, 2)}


@pytest.mark.parametrize(
    ("nodes", "shape", "constants", "sentence"),
    [
        (_conv(dilations=(2,)), (1, 4, 8), {"w": W}, "dilations is (2,); only (1,) is supported"),
        (_conv(group=2), (1, 4, 8), {"w": W}, "group is 2; only 1 is supported"),
        (
            _conv(auto_pad="SAME_UPPER"),
            (1, 4, 8),
            {"w": W},
            "auto_pad is SAME_UPPER; only NOTSET or VALID is supported",
        ),
        (
            _conv(stride=(2,)),
            (1, 4, 8),
            {"w": W},
            (
                "attribute stride is not supported; "
                "known: auto_pad, dilations, group, kernel_shape, pads, strides"
            ),
        ),
        (
            _conv(),
            (1, 4, 8, 8),
            {"w": (5, 4, 3, 3)},
            (
                "input has shape [1, 4, 8, 8] and weight [5, 4, 3, 3]; "
                "only 1-D convolution (rank 3) is supported"
            ),
        ),
        (_conv(), (1, 6, 8), {"w": W}, "input has 6 channels and the weight 4"),
        (_conv(), (1, 4, 2), {"w": W}, "kernel of 3 does not fit 2 padded positions"),
        (
            [Node("n", "MatMul", ("x", "x"), ("y",))],
            (4, 3),
            {},
            "left side has 3 columns, right side takes 4",
        ),
        (
            [Node("n", "Gemm", ("x", "x"), ("y",))],
            (4, 4),
            {},
            "input 1 is computed at run time; weights have to be constants",
        ),
        (
            [Node("n", "MatMul", ("x", "w"), ("y",))],
            (4, 4),
            {"w": (5, 2)},
            "left side has 4 columns, right side takes 5",
        ),
        (
            [Node("n", "Gemm", ("x", "w"), ("y",), {"transA": 1})],
            (4, 4),
            {"w": (4, 2)},
            "transA is 1; only 0 is supported",
        ),
        (
            [Node("n", "Gemm", ("x", "w", "b"), ("y",))],
            (3, 4),
            {"w": (4, 2), "b": (3, 2)},
            "input 2 has shape [3, 2]; one value a column ([2]) is needed",
        ),
        (
            _lstm(direction="reverse"),
            (5, 1, 3),
            LSTM_WEIGHTS,
            "direction is reverse; only forward is supported",
        ),
        (
            _lstm(),
            (5, 2, 3),
            LSTM_WEIGHTS,
            "input has shape [5, 2, 3]; [steps, 1, size] (a batch of 1) is needed",
        ),
        (_lstm(clip=1.0), (5, 1, 3), LSTM_WEIGHTS, "clip is given; it is not supported"),
        (
            _lstm(("x", "w", "r", "", "lengths")),
            (5, 1, 3),
            {**LSTM_WEIGHTS, "lengths": [5]},
            "input 4 (sequence_lens) is given; it is not supported",
        ),
        (
            _lstm(),
            (5, 1, 3),
            {"w": (1, 8, 4), "r": (1, 8, 2)},
            "input 1 has shape [1, 8, 4], not [1, 8, 3]",
        ),
        (
            [Node("n", "Pow", ("x", "e"), ("y",))],
            (4,),
            {"e": np.float32(1.5)},
            "its exponent is 1.5; only 0.5, 1, 2 or 3 is supported",
        ),
        (
            [Node("n", "Pad", ("x", "p"), ("y",), {"mode": "edge"})],
            (4,),
            {"p": [1, 1]},
            "mode is edge; only constant or reflect is supported",
        ),
        (
            [Node("n", "Pad", ("x", "p"), ("y",), {"mode": "reflect"})],
            (4,),
            {"p": [1, 4]},
            "reflection by 4 does not fit axis 0 of length 4",
        ),
        (
            [Node("n", "Reshape", ("x", "s"), ("y",))],
            (4, 3),
            {"s": [5, -1]},
            "shape [4, 3] cannot become [5, -1]",
        ),
        (
            [Node("n", "Add", ("x", "w"), ("y",))],
            (4, 3),
            {"w": (2, 3)},
            "shapes [4, 3] and [2, 3] cannot be broadcast together",
        ),
        (
            [Node("n", "Slice", ("x", "s", "e"), ("y",))],
            (4, 3),
            {"s": [2], "e": [1]},
            "output y is float32[0, 3]; only constants may be empty",
        ),
        (
            [Node("n", "Cast", ("x",), ("y",), {"to": 2})],
            (4, 3),
            {},
            (
                "output y is uint8[4, 3]; "
                "only constants may be of another type than float32 or int32 or int64 or bool"
            ),
        ),
        (
            [Node("n", "ConstantOfShape", ("s",), ("y",))],
            (4,),
            {"s": [1 << 20, 1 << 20]},
            "its constant result takes 4398046511104 bytes; at most 2147483648 are allowed",
        ),
        (
            [Node("n", "Squeeze", ("x", "a"), ("y",))],
            (4, 3),
            {"a": [1]},
            "axis 1 has length 3 and cannot be dropped",
        ),
        (
            [Node("n", "Relu", ("x", "x"), ("y",))],
            (4, 3),
            {},
            "2 inputs are given; it takes 1",
        ),
        (
            [Node("n", "Transpose", ("x",), ("y",), {"perm": (0, 0)})],
            (4, 3),
            {},
            "perm [0, 0] does not permute 2 axes",
        ),
        (
            [Node("n", "Concat", ("x", "w"), ("y",), {"axis": 1})],
            (4, 3),
            {"w": (5, 3)},
            "float32[4, 3] and float32[5, 3] cannot be joined along axis 1",
        ),
    ],
)
def test_what_is_not_supported_is_said(
    nodes: Sequence[Node], shape: tuple[int, ...], constants: dict[str, Any], sentence: str
) -> None:
    assert _problem(nodes, shape, **constants) == sentence


def test_unknown_operators_come_in_one_sentence() -> None:
    nodes = [
        Node("/a/Foo", "Foo", ("x",), ("a",)),
        Node("relu", "Relu", ("a",), ("b",)),
        Node("/b/Bar", "Bar", ("b",), ("y",)),
    ]
    with pytest.raises(UnsupportedError) as caught:
        _graph(nodes, (2,))
    assert str(caught.value) == (
        "test: 2 nodes use operators that azsim does not support: Foo (/a/Foo), Bar (/b/Bar); "
        f"supported: {', '.join(sorted(operators()))}"
    )


def test_problems_of_all_nodes_come_at_once() -> None:
    nodes = [
        Node("p", "Pow", ("x", "e"), ("a",)),
        Node("after", "Relu", ("a",), ("b",)),
        Node("t", "Transpose", ("x",), ("c",), {"perm": (1,)}),
        Node("y", "Add", ("b", "c"), ("y",)),
    ]
    with pytest.raises(UnsupportedError) as caught:
        _graph(nodes, (2,), e=np.float32(7))
    assert str(caught.value).splitlines() == [
        "test: node p (Pow): its exponent is 7.0; only 0.5, 1, 2 or 3 is supported",
        "test: node t (Transpose): perm [1] does not permute 1 axes",
    ]


def test_wrong_structure_is_said_all_at_once() -> None:
    nodes = [
        Node("n", "Add", ("x", "weight"), ("y",)),
        Node("n", "Neg", ("x",), ("y",)),
        Node("m", "Neg", ("x",), ("w",)),
    ]
    with pytest.raises(InputError) as caught:
        _graph(nodes, (2,), ("q",), w=(2,), weights=(2,), x=(2,))
    assert str(caught.value).splitlines() == [
        "test: x is both an input and an initializer",
        "test: two nodes are named n",
        "test: node n (Neg): output y is already made by node n (Add)",
        "test: node m (Neg): output w is already made by the initializers",
        "test: node n (Add): input weight is made by nothing; did you mean weights?",
        "test: graph output q is made by nothing",
    ]


def test_a_circle_is_named() -> None:
    nodes = [
        Node("a", "Add", ("x", "c"), ("b",)),
        Node("b", "Neg", ("b",), ("c",)),
        Node("d", "Neg", ("x",), ("y",)),
    ]
    with pytest.raises(
        InputError, match=r"^test: these nodes wait for each other in a circle: a, b$"
    ):
        _graph(nodes, (2,))


def test_a_weight_is_one_matrix() -> None:
    product = Node("a", "Gemm", ("x", "w"), ("p",))
    turned = Node("b", "Gemm", ("p", "w"), ("y",), {"transB": 1})
    shared = np.arange(9, dtype=np.float32).reshape(3, 3)
    sentence = r"^w: node a \(Gemm\) and node b \(Gemm\) use it as different matrices$"
    with pytest.raises(UnsupportedError, match=sentence):
        weight_matrices(_graph([product, turned], (3, 3), w=shared))
    plain = Node("b", "Add", ("p", "w"), ("y",))
    sentence = r"^w: node a \(Gemm\) uses it as a weight matrix, node b \(Add\) as a plain tensor$"
    with pytest.raises(UnsupportedError, match=sentence):
        weight_matrices(_graph([product, plain], (3, 3), w=shared))
    again = Node("b", "Gemm", ("p", "w"), ("y",))
    assert list(weight_matrices(_graph([product, again], (3, 3), w=shared))) == ["w"]
