from __future__ import annotations

import builtins
from pathlib import Path

import numpy as np
import pytest

from azsim.errors import InputError, UnsupportedError
from azsim.frontend.onnx_import import input_names_and_shapes, load_onnx
from azsim.ir import Node
from graphs import onnx_bytes, silero_path, type_of

onnx = pytest.importorskip("onnx")


@pytest.mark.fetch
def test_silero_comes_in_folded_and_typed() -> None:
    graph = load_onnx(silero_path(), {"input": (1, 576)})
    assert list(graph.inputs.items()) == [
        ("input", type_of(1, 576)),
        ("h", type_of(1, 1, 128)),
        ("c", type_of(1, 1, 128)),
    ]
    assert graph.outputs == ("speech_probs", "hn", "cn")
    assert len(graph.nodes) == 27
    assert {node.op for node in graph.nodes} == {
        *("Add", "Conv", "LSTM", "Pad", "Pow", "Relu", "Reshape", "Sigmoid", "Slice", "Sqrt"),
        *("Squeeze", "Transpose", "Unsqueeze"),
    }
    assert graph.types["/stft/Sqrt_output_0"] == type_of(1, 129, 4)
    assert graph.types["speech_probs"] == type_of(1)
    assert graph.nodes[0].attributes == {"mode": "reflect"}
    assert graph.initializers[graph.nodes[0].inputs[1]].tolist() == [0, 128, 0, 128]


@pytest.mark.fetch
def test_declared_inputs_keep_their_symbols() -> None:
    assert input_names_and_shapes(silero_path().read_bytes()) == {
        "input": ("sequence_length", 576),
        "h": (1, 1, 128),
        "c": (1, 1, 128),
    }


@pytest.mark.fetch
def test_shapes_that_do_not_fit_are_named_all_at_once() -> None:
    with pytest.raises(InputError) as caught:
        load_onnx(silero_path(), {"h": (1, 2, 128), "hidden": (1,)}, "vad.onnx")
    assert str(caught.value).splitlines() == [
        "vad.onnx: a shape is given for hidden, which is no input; inputs: input, h, c",
        (
            "vad.onnx: input input has the shape [sequence_length, 576]; "
            "its symbolic lengths need a value"
        ),
        "vad.onnx: input h has the shape [1, 1, 128]; [1, 2, 128] does not fit it",
    ]


def test_attributes_are_plain_values_and_nodes_have_names() -> None:
    table = np.array([1.5], np.float32)
    nodes = [
        Node("", "ConstantOfShape", ("shape",), ("c",), {"value": table}),
        Node("", "Conv", ("x", "w"), ("p",), {"strides": (2,), "auto_pad": "VALID", "group": 1}),
        Node("named", "Add", ("p", "c"), ("y",)),
    ]
    constants = {"w": np.ones((2, 3, 2), np.float32), "shape": np.array([1], np.int64)}
    graph = load_onnx(onnx_bytes({"x": ["batch", 3, 8]}, constants, nodes, ["y"]), {"x": (1, 3, 8)})
    assert [node.name for node in graph.nodes] == ["Conv_1", "named"]
    assert graph.nodes[0].attributes == {"auto_pad": "VALID", "group": 1, "strides": (2,)}
    assert graph.initializers["c"].tolist() == [1.5]
    assert graph.types["y"] == type_of(1, 2, 4)


def test_inputs_that_are_initializers_too_are_no_inputs() -> None:
    data = onnx_bytes(
        {"x": [2], "w": [2]},
        {"w": np.ones(2, np.float32)},
        [Node("n", "Add", ("x", "w"), ("y",))],
        ["y"],
    )
    assert list(load_onnx(data).inputs) == ["x"]


def test_unknown_operators_are_listed_even_with_bodies() -> None:
    from onnx import TensorProto, helper

    body = helper.make_graph([], "body", [], [])
    nodes = [
        helper.make_node("If", ["c"], ["a"], "choose", then_branch=body, else_branch=body),
        helper.make_node("Gelu", ["a"], ["b"], "", domain="com.microsoft"),
        helper.make_node("Einsum", ["b"], ["y"], "sums", equation="i->i"),
    ]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in "cy"]
    model = helper.make_model(helper.make_graph(nodes, "g", values[:1], values[1:]))
    with pytest.raises(UnsupportedError) as caught:
        load_onnx(model.SerializeToString(), where="m.onnx")
    assert str(caught.value).startswith(
        "m.onnx: 3 nodes use operators that azsim does not support: If (choose), "
        "com.microsoft.Gelu (com.microsoft.Gelu_1), Einsum (sums); supported: Abs, Add, "
    )


def test_inputs_of_other_types_are_refused() -> None:
    from onnx import TensorProto, helper

    values = [helper.make_tensor_value_info(name, TensorProto.INT64, [2]) for name in "xy"]
    nodes = [helper.make_node("Neg", ["x"], ["y"])]
    model = helper.make_model(helper.make_graph(nodes, "g", values[:1], values[1:]))
    sentence = r"^m.onnx: input x is int64\[2\]; float32 with lengths above 0 is needed$"
    with pytest.raises(InputError, match=sentence):
        load_onnx(model.SerializeToString(), where="m.onnx")


def test_data_in_another_file_is_refused() -> None:
    data = onnx_bytes(
        {"x": [2]},
        {"w": np.ones(2, np.float32)},
        [Node("n", "Add", ("x", "w"), ("y",))],
        ["y"],
    )
    model = onnx.load_model_from_string(data)
    model.graph.initializer[0].data_location = onnx.TensorProto.EXTERNAL
    sentence = r"^m.onnx: initializer w keeps its data in another file; that is not supported$"
    with pytest.raises(UnsupportedError, match=sentence):
        load_onnx(model.SerializeToString(), where="m.onnx")


def test_what_is_no_model_is_said(tmp_path: Path) -> None:
    text = tmp_path / "x.onnx"
    text.write_text("this is text, not a model")
    sentence = "x.onnx: not an ONNX model: its 25 bytes are no protobuf message"
    with pytest.raises(InputError) as caught:
        load_onnx(text, where="x.onnx")
    assert str(caught.value) == sentence
    with pytest.raises(InputError, match=r"^x.onnx: not an ONNX model: its 0 bytes hold no graph$"):
        load_onnx(b"", where="x.onnx")
    missing = tmp_path / "missing.onnx"
    with pytest.raises(InputError) as caught:
        load_onnx(missing)
    assert str(caught.value) == f"{missing}: cannot be read: No such file or directory"


def test_truncated_models_never_end_in_a_traceback() -> None:
    weights = {"w": np.arange(6, dtype=np.float32).reshape(3, 2)}
    data = onnx_bytes({"x": [2, 3]}, weights, [Node("n", "MatMul", ("x", "w"), ("y",))], ["y"])
    sentences = []
    for length in range(len(data)):
        try:
            load_onnx(data[:length], where="m.onnx")
        except InputError as error:
            sentences.append(str(error))
    assert len(sentences) >= len(data) - 10  # what comes last is the version of the operator set
    assert all(sentence.startswith("m.onnx: ") for sentence in sentences)


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def without_onnx(name: str, *rest: object) -> object:
        if name == "onnx" or name.startswith("google"):
            raise ImportError(name)
        return original(name, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", without_onnx)
    with pytest.raises(InputError) as caught:
        load_onnx(b"", where="m.onnx")
    assert str(caught.value) == (
        'm.onnx: reading ONNX models needs the onnx package: pip install "azsim[onnx]"'
    )


def test_a_file_of_weights_alone_is_a_model_without_outputs() -> None:
    from onnx import helper, numpy_helper

    tensor = numpy_helper.from_array(np.ones(2, np.float32), "w")
    data = helper.make_model(helper.make_graph([], "g", [], [], [tensor])).SerializeToString()
    with pytest.raises(InputError, match=r"^m.onnx: the graph has no outputs$"):
        load_onnx(data, where="m.onnx")
