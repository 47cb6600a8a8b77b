from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from azsim.config.document import parse_text
from azsim.errors import ConfigError, UnsupportedError
from azsim.evaluate import evaluate
from azsim.frontend.inline import build_inline
from azsim.frontend.onnx_import import load_onnx
from azsim.inputs.patterns import sparse_weights
from azsim.ir import Graph, same_graph
from graphs import onnx_bytes, random_graph

TEXT = """\
graph:
  inputs: {x: {shape: [1, 16]}}
  initializers:
    w: {shape: [16, 8], random: {seed: 0, scale: 0.1}}
    b: {values: [0, 0, 0, 0, 0, 0, 0, 1]}
    shape: {values: [2, 4], dtype: int64}
  nodes:
    - {op: Gemm, name: gemm, inputs: [x, w, b], outputs: [y]}
    - {op: Reshape, inputs: [y, shape], outputs: [z]}
  outputs: [z]
"""


def _mapping(graph: Graph) -> dict[str, object]:
    """The graph as its YAML would read."""
    return {
        "inputs": {name: {"shape": list(kind.shape)} for name, kind in graph.inputs.items()},
        "initializers": {
            name: {"values": array.tolist(), "dtype": array.dtype.name}
            for name, array in graph.initializers.items()
        },
        "nodes": [
            {
                "op": node.op,
                "name": node.name,
                "inputs": list(node.inputs),
                "outputs": list(node.outputs),
                "attributes": {
                    key: list(value) if isinstance(value, tuple) else value
                    for key, value in node.attributes.items()
                },
            }
            for node in graph.nodes
        ],
        "outputs": list(graph.outputs),
    }


@given(seed=st.integers(0, 1 << 32))
def test_onnx_and_yaml_give_the_same_graph(seed: int) -> None:
    pytest.importorskip("onnx")
    graph = random_graph(seed)
    shapes = {name: kind.shape for name, kind in graph.inputs.items()}
    model = onnx_bytes(shapes, graph.initializers, graph.nodes, graph.outputs)
    inline = build_inline(_mapping(graph), "w.yaml")
    assert same_graph(inline, load_onnx(model))
    assert same_graph(inline, graph)


def test_text_to_graph() -> None:
    document = parse_text(TEXT, "w.yaml")
    graph = build_inline(document.data["graph"], "w.yaml", place=document.place, name="small")
    assert graph.name == "small"
    assert [node.name for node in graph.nodes] == ["gemm", "Reshape_1"]
    expected = np.random.default_rng(0).standard_normal((16, 8), np.float32) * np.float32(0.1)
    assert graph.initializers["w"].tobytes() == expected.tobytes()
    found = evaluate(graph, {"x": np.zeros((1, 16), np.float32)})
    assert found["z"].tolist() == [[0, 0, 0, 0], [0, 0, 0, 1]]


def test_arrays_come_from_npz_files(tmp_path: Path) -> None:
    table = np.arange(6, dtype=np.float32).reshape(2, 3)
    np.savez(tmp_path / "a.npz", table=table, whole=np.arange(3))
    entry = {"npz": "a.npz", "key": "table", "shape": [2, 3]}
    mapping = {
        "inputs": {"x": {"shape": [2, 3]}},
        "initializers": {"t": entry},
        "nodes": [{"op": "Add", "inputs": ["x", "t"], "outputs": ["y"]}],
        "outputs": ["y"],
    }
    graph = build_inline(mapping, "w.yaml", folder=tmp_path)
    assert np.array_equal(graph.initializers["t"], table)
    (tmp_path / "no.npz").write_text("text")
    for change, sentence in (
        ({"key": "tabel"}, "key: unknown array 'tabel', did you mean 'table'?"),
        ({"npz": "b.npz"}, f"npz: {tmp_path / 'b.npz'}: no such file"),
        ({"npz": "no.npz"}, f"npz: {tmp_path / 'no.npz'}: not an npz file"),
        (
            {"key": "whole"},
            f"npz: {tmp_path / 'a.npz'}: whole is int64[3], allowed: float32[2, 3]",
        ),
    ):
        wrong = {**mapping, "initializers": {"t": {**entry, **change}}}
        with pytest.raises(ConfigError) as caught:
            build_inline(wrong, "w.yaml", folder=tmp_path)
        assert caught.value.problems == (f"w.yaml: $.model.graph.initializers.t.{sentence}",)


SPARSE = """
graph:
  inputs: {x: {shape: [1, 40]}}
  initializers:
    w: {shape: [40, 500], random: {seed: 4, scale: 0.7, pattern: random, weight_density: 0.09}}
  nodes: [{op: MatMul, inputs: [x, w], outputs: [y]}]
  outputs: [y]
"""


def test_weights_of_a_density() -> None:
    graph = build_inline(parse_text(SPARSE, "w.yaml").data["graph"], "w.yaml")
    np.testing.assert_array_equal(graph.initializers["w"], sparse_weights((40, 500), 0.09, 4, 0.7))


@pytest.mark.parametrize(
    ("options", "column", "sentence"),
    [
        ("pattern: random", 35, ": the key 'weight_density' is missing, as 'pattern' is there"),
        ("weight_density: 0.1", 35, ": the key 'pattern' is missing, as 'weight_density' is there"),
        (
            "pattern: stripes, weight_density: 1",
            54,
            ".pattern: found the string 'stripes', allowed: random",
        ),
        (
            "pattern: random, weight_density: 0",
            78,
            ".weight_density: found 0, allowed: a number above 0, up to 1",
        ),
        (
            "pattern: random, weight_density: 1.5",
            78,
            ".weight_density: found 1.5, allowed: a number above 0, up to 1",
        ),
        (
            "weigth_density: 0.1",
            61,
            ".weigth_density: unknown key 'weigth_density', did you mean 'weight_density'?",
        ),
    ],
)
def test_a_density_that_is_none(options: str, column: int, sentence: str) -> None:
    text = SPARSE.replace("scale: 0.7, pattern: random, weight_density: 0.09", options)
    document = parse_text(text, "w.yaml")
    with pytest.raises(ConfigError) as caught:
        build_inline(document.data["graph"], "w.yaml", root=("graph",), place=document.place)
    place = f"w.yaml:5:{column}: $.graph.initializers.w.random"
    assert caught.value.problems == (place + sentence,)


def test_all_problems_come_at_once_with_their_places() -> None:
    wrong = """\
graph:
  inputs: {x: {shape: [1, 0]}, y: {shap: [2]}}
  initializers:
    a: {values: [1, 2], shape: [3]}
    b: {random: {seed: -1}, shape: [3]}
    c: {shape: [3]}
    d: {values: [[1], [2, 3]]}
    e: {values: [a]}
    f: {values: [1.5], dtype: int64}
    g: {values: [1], dtype: float16}
    x: {values: [1]}
    big: {random: {seed: 0}, shape: [100000, 100000]}
  nodes:
    - {op: Con, inputs: [x, a], outputs: [p]}
    - {op: Conv, name: c, inputs: [x, aa], outputs: [p, 3], attributes: {stride: [1], group: no}}
    - {name: c, inputs: x, outputs: [q]}
    - {op: Relu, name: c, inputs: [p], outputs: [r]}
  output: [r]
  outputs: [s]
"""
    document = parse_text(wrong, "w.yaml")
    with pytest.raises(ConfigError) as caught:
        build_inline(document.data["graph"], "w.yaml", root=("graph",), place=document.place)
    assert list(caught.value.problems) == [
        (
            "w.yaml:2:23: $.graph.inputs.x.shape: found a list with 2 items, allowed: a "
            "list of integers above 0"
        ),
        "w.yaml:2:35: $.graph.inputs.y: the key 'shape' is missing",
        "w.yaml:2:42: $.graph.inputs.y.shap: unknown key 'shap', did you mean 'shape'?",
        "w.yaml:4:17: $.graph.initializers.a.values: found 2 values, allowed: 3 (the shape)",
        (
            "w.yaml:5:24: $.graph.initializers.b.random.seed: found -1, allowed: an "
            "integer from 0 on"
        ),
        "w.yaml:6:8: $.graph.initializers.c: found none, allowed: one of random, values, npz",
        (
            "w.yaml:7:17: $.graph.initializers.d.values: rows differ in length, "
            "allowed: nested lists of numbers"
        ),
        (
            "w.yaml:8:17: $.graph.initializers.e.values: found a list with 1 item of "
            "other values, allowed: numbers"
        ),
        (
            "w.yaml:9:17: $.graph.initializers.f.values: found a list with 1 item of "
            "other values, allowed: integers"
        ),
        (
            "w.yaml:10:29: $.graph.initializers.g.dtype: found the string 'float16', "
            "allowed: float32, int64"
        ),
        "w.yaml:11:8: $.graph.initializers.x: 'x' is the name of an input too",
        (
            "w.yaml:12:10: $.graph.initializers.big: too large, found 40000000000 bytes "
            "(40000000004 so far), allowed: 2147483648 bytes for the whole graph"
        ),
        "w.yaml:14:12: $.graph.nodes[0].op: unknown operator 'Con', did you mean 'Conv'?",
        "w.yaml:15:39: $.graph.nodes[1].inputs[1]: unknown tensor 'aa', did you mean 'a'?",
        "w.yaml:15:54: $.graph.nodes[1].outputs[0]: 'p' is made by nodes[0] already",
        "w.yaml:15:57: $.graph.nodes[1].outputs[1]: wrong type, found 3, allowed: a name",
        (
            "w.yaml:15:82: $.graph.nodes[1].attributes.stride: unknown attribute "
            "'stride', did you mean 'strides'?"
        ),
        (
            "w.yaml:15:94: $.graph.nodes[1].attributes.group: found the boolean false, "
            "allowed: a number, a text, or a list of one kind of these"
        ),
        "w.yaml:16:7: $.graph.nodes[2]: the key 'op' is missing",
        "w.yaml:16:14: $.graph.nodes[2].name: 'c' is the name of nodes[1] too",
        (
            "w.yaml:16:25: $.graph.nodes[2].inputs: wrong type, found the string 'x', "
            "allowed: a list of names"
        ),
        "w.yaml:17:24: $.graph.nodes[3].name: 'c' is the name of nodes[1] too",
        "w.yaml:18:11: $.graph.output: unknown key 'output', did you mean 'outputs'?",
        (
            "w.yaml:19:13: $.graph.outputs[0]: unknown tensor 's', allowed: x, y, a, b, "
            "c, d, e, f, g, big, p, q, r"
        ),
    ]


def test_graphs_that_operators_refuse_name_the_node() -> None:
    document = parse_text(TEXT.replace("[16, 8]", "[15, 8]"), "w.yaml")
    with pytest.raises(UnsupportedError) as caught:
        build_inline(document.data["graph"], "w.yaml", root=("graph",), place=document.place)
    assert str(caught.value) == (
        "w.yaml:8:7: $.graph.nodes[0]: node gemm (Gemm): "
        "left side has 16 columns, right side takes 15"
    )


def test_a_graph_is_a_mapping() -> None:
    with pytest.raises(ConfigError) as caught:
        build_inline([1], "w.yaml")
    assert caught.value.problems == (
        "w.yaml: $.model.graph: wrong type, found a list with 1 item, allowed: a mapping",
    )
