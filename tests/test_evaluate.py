from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from azsim.arith import drain, multiply_codes
from azsim.errors import InputError
from azsim.evaluate import activation_statistics, evaluate, evaluate_stream
from azsim.frontend.onnx_import import load_onnx
from azsim.ir import Graph, Node
from azsim.ops.build import build_graph, operators
from azsim.ops.linear import QuantizedLinear
from graphs import compress, known_frame, random_graph, random_inputs, silero_path, type_of

STATE = {"h": "hn", "c": "cn"}
ZERO_STATE = {name: np.zeros((1, 1, 128), np.float32) for name in STATE}


@pytest.fixture(scope="module")
def silero() -> Graph:
    return load_onnx(silero_path(), {"input": (1, 576)})


def _counter() -> Graph:
    """y = x + s, with s the y of the frame before."""
    node = Node("sum", "Add", ("x", "s"), ("y",))
    return build_graph("counter", {"x": type_of(2), "s": type_of(2)}, {}, [node], ["y"], "test")


@pytest.mark.fetch
def test_silero_gives_its_known_value(silero: Graph) -> None:
    results = evaluate(silero, {"input": known_frame(), **ZERO_STATE})
    assert results["speech_probs"] == pytest.approx([0.0071278], abs=1e-7)
    total = np.abs(results["hn"]).sum() + np.abs(results["cn"]).sum()
    assert total == pytest.approx(60.7342, abs=1e-3)


@pytest.mark.fetch
def test_silero_streams_as_onnxruntime_runs(silero: Graph) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    rng = np.random.default_rng(1)
    loudness = rng.uniform(0, 0.5, (20, 1, 1))
    frames = (rng.standard_normal((20, 1, 576)) * loudness).astype(np.float32)
    session = onnxruntime.InferenceSession(silero_path())
    found, final = evaluate_stream(silero, {"input": frames}, STATE, ZERO_STATE)
    h, c = ZERO_STATE.values()
    for index, frame in enumerate(frames):
        speech, h, c = session.run(None, {"input": frame, "h": h, "c": c})
        assert found["speech_probs"][index] == pytest.approx(speech, abs=1e-5)
        assert found["hn"][index] == pytest.approx(h, abs=1e-5)
    np.testing.assert_allclose(final["c"], c, atol=1e-5)
    assert np.array_equal(final["h"], found["hn"][-1])


@pytest.mark.fetch
def test_silero_sequence_is_the_same_frames_at_once(silero: Graph) -> None:
    hidden = "/recurrent/LSTM_output_0"
    frames = np.random.default_rng(2).standard_normal((4, 576)).astype(np.float32) * np.float32(0.1)
    sequence = load_onnx(silero_path(), {"input": (4, 576)})
    for compressed in (False, True):
        one = compress(silero) if compressed else None
        all_at_once = compress(sequence) if compressed else None
        streamed, _ = evaluate_stream(
            silero, {"input": frames[:, None]}, STATE, ZERO_STATE, one, [hidden, "speech_probs"]
        )
        together = evaluate(sequence, {"input": frames, **ZERO_STATE}, all_at_once)
        # Each frame has scales of its own up to here: quantized, not one bit may differ.
        if compressed:
            assert streamed[hidden][:, 0].tobytes() == together[hidden].tobytes()
        np.testing.assert_allclose(streamed[hidden][:, 0], together[hidden], atol=1e-6)
        # The last convolution of the sequence runs along time: one scale for all frames.
        found, expected = streamed["speech_probs"][:, 0], together["speech_probs"]
        np.testing.assert_allclose(found, expected, atol=1e-2 if compressed else 1e-6)


@pytest.mark.fetch
@pytest.mark.parametrize(("bits", "tolerance"), [(8, 0.05), (16, 2e-4)])
def test_silero_quantized_stays_near_floats_with_the_same_weights(
    silero: Graph, bits: int, tolerance: float
) -> None:
    compressed = compress(silero, 8, bits)
    arrays = dict(silero.initializers)
    for node in silero.nodes:
        module = operators()[node.op]
        for index in module.weight_inputs(node) if hasattr(module, "weight_inputs") else ():
            name = node.inputs[index]
            weight = compressed.weights[name]
            matrix = weight.codes * weight.scales[0][:, None]
            arrays[name] = module.from_matrix(node, index, matrix, arrays[name].shape)
    inputs = {"input": known_frame(), **ZERO_STATE}
    expected = evaluate(replace(silero, initializers=arrays), inputs)["hn"]
    error = evaluate(silero, inputs, compressed)["hn"] - expected
    assert 0 < np.abs(error).max() < tolerance


@pytest.mark.parametrize("seed", range(0, 40, 4))
def test_stream_of_one_frame_is_one_evaluation(seed: int) -> None:
    graph = random_graph(seed)
    inputs = random_inputs(graph, seed)
    once = evaluate(graph, inputs)
    frames = {name: array[None] for name, array in inputs.items()}
    streamed, _ = evaluate_stream(graph, frames, {}, {})
    assert sorted(streamed) == sorted(once)
    for name, array in once.items():
        assert np.array_equal(streamed[name][0], array, equal_nan=True)


def test_state_is_carried_from_frame_to_frame() -> None:
    frames = {"x": np.arange(6, dtype=np.float32).reshape(3, 2)}
    start = np.array([10, 20], np.float32)
    found, final = evaluate_stream(_counter(), frames, {"s": "y"}, {"s": start})
    assert found["y"].tolist() == [[10, 21], [12, 24], [16, 29]]
    assert found["s"].tolist() == [[10, 20], [10, 21], [12, 24]]
    assert final["s"].tolist() == [16, 29]
    assert start.tolist() == [10, 20]
    kept, _ = evaluate_stream(_counter(), frames, {"s": "y"}, {"s": start}, keep=["y"])
    assert list(kept) == ["y"]


def test_statistics_are_those_of_the_quantized_activations() -> None:
    rng = np.random.default_rng(3)
    weights = {"w": rng.standard_normal((2, 3)).astype(np.float32)}
    nodes = [
        Node("double", "Add", ("x", "x"), ("d",)),
        Node("gemm", "Gemm", ("d", "w"), ("y",)),
    ]
    graph = build_graph("g", {"x": type_of(1, 2)}, weights, nodes, ["y"], "test")
    frames = {"x": np.array([[[1, -2]], [[-3.5, 0]], [[0, 3]]], np.float32)}
    maxima, powers = activation_statistics(graph, frames, {}, {})
    assert maxima == {"w": 7.0}
    assert powers["w"].tolist() == [(4 + 49 + 0) / 3, (16 + 0 + 36) / 3]


@pytest.mark.parametrize("activation_bits", [8, 16])
@pytest.mark.parametrize("inner", [5, 2000])
@pytest.mark.parametrize("kept_weights", [1 << 24, 0])
def test_products_are_those_of_the_plain_definition(
    activation_bits: int, inner: int, kept_weights: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Converted to floats once, or three rows at a time whenever they are used."""
    monkeypatch.setattr("azsim.ops.linear._KEPT_WEIGHTS", kept_weights)
    monkeypatch.setattr("azsim.ops.linear._BLOCK_WEIGHTS", 3 * min(inner, 700))
    rng = np.random.default_rng(inner)
    # All above zero: int16 sums pass 2**24, where float32 no longer holds every integer.
    matrix = rng.uniform(0.1, 1, (4, inner)).astype(np.float32)
    nodes = [Node("gemm", "Gemm", ("x", "w"), ("y",), {"transB": 1})]
    graph = build_graph("g", {"x": type_of(3, inner)}, {"w": matrix}, nodes, ["y"], "test")
    weight = compress(graph, 8, activation_bits, segment=700).weights["w"]
    linear = QuantizedLinear({"w": weight})
    items = rng.uniform(0.1, 1, (3, inner)).astype(np.float32)
    codes, scales = linear.quantize("w", items)
    expected = np.zeros((3, 4), np.float32)
    for index, first in enumerate(weight.segments[:-1]):
        part = slice(first, weight.segments[index + 1])
        term = drain(
            multiply_codes(codes[:, part], weight.codes[:, part]), scales, weight.scales[index]
        )
        expected = term if index == 0 else expected + term
    assert linear.multiply("w", codes, scales).tobytes() == expected.tobytes()
    np.testing.assert_allclose(expected, items @ matrix.T, rtol=0.02)


def test_wrong_inputs_are_named() -> None:
    graph, x, s = _counter(), np.zeros(2, np.float32), np.zeros(2, np.float32)
    with pytest.raises(InputError, match=r"^counter: inputs x are given; s, x are needed$"):
        evaluate(graph, {"x": x})
    sentence = r"^input s: found float64\[2\], float32\[2\] is needed$"
    with pytest.raises(InputError, match=sentence):
        evaluate(graph, {"x": x, "s": s.astype(np.float64)})
    sentence = r"^input x: found float32\[3, 1\], float32\[3, 2\] is needed$"
    with pytest.raises(InputError, match=sentence):
        evaluate_stream(graph, {"x": np.zeros((3, 1), np.float32)}, {"s": "y"}, {"s": s})
    sentence = r"^counter: inputs differ in their number of frames: \[3, 4\]$"
    frames = {"x": np.zeros((3, 2), np.float32), "s": np.zeros((4, 2), np.float32)}
    with pytest.raises(InputError, match=sentence):
        evaluate_stream(graph, frames, {}, {})
    with pytest.raises(InputError, match=r"^counter: an initial state is needed for s$"):
        evaluate_stream(graph, {"x": np.zeros((3, 2), np.float32)}, {"s": "y"}, {})


def test_values_that_cannot_be_quantized_name_their_node() -> None:
    nodes = [Node("root", "Sqrt", ("x",), ("r",)), Node("product", "MatMul", ("r", "w"), ("y",))]
    weights = {"w": np.ones((2, 2), np.float32)}
    graph = build_graph("g", {"x": type_of(2)}, weights, nodes, ["y"], "test")
    sentence = r"^g: node product \(MatMul\): a value to be quantized is not finite$"
    with pytest.raises(InputError, match=sentence):
        evaluate(graph, {"x": np.array([1, -1], np.float32)}, compress(graph))
