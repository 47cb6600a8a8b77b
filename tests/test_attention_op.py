"""ONNX's Attention: its results, and the chip's bits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from azsim.errors import UnsupportedError
from azsim.evaluate import evaluate, evaluate_stream
from azsim.hardware import load_hardware
from azsim.hardware.description import Hardware
from azsim.ir import CompressedGraph, Graph
from azsim.ops.build import computed_products
from azsim.sim.races import check_races
from azsim.stages.prove import prove
from compiled import VARIANTS, execute_graph, graph_of, node
from onnx_definitions import onnx_reference

pytestmark = pytest.mark.kernels

F = np.float32


@dataclass(frozen=True)
class Case:
    """Shapes of Q, K, V and perhaps a mask, and attributes."""

    shapes: Sequence[tuple[int, ...]]
    attributes: Mapping[str, Any] = field(default_factory=dict)

    def graph(self) -> Graph:
        inputs: dict[str, Sequence[int]] = dict(
            zip(("q", "k", "v", "mask"), self.shapes, strict=False)
        )
        return graph_of(
            inputs, {}, [node("Attention", list(inputs), "y", **self.attributes)], ("y",)
        )

    def arrays(self, seed: int = 0) -> dict[str, np.ndarray]:
        rng = np.random.default_rng(seed)
        return {
            name: rng.standard_normal(kind.shape).astype(F)
            for name, kind in self.graph().inputs.items()
        }


CASES = {
    "one head": Case([(1, 1, 3, 4), (1, 1, 5, 4), (1, 1, 5, 6)]),
    "a token": Case([(1, 4, 1, 4), (1, 4, 5, 4), (1, 4, 5, 4)]),
    "groups": Case([(2, 6, 3, 4), (2, 2, 5, 4), (2, 2, 5, 3)], {"scale": 0.3}),
    "causal": Case([(1, 4, 5, 4), (1, 2, 5, 4), (1, 2, 5, 4)], {"is_causal": 1}),
    "mask of all heads": Case([(1, 4, 3, 4), (1, 2, 5, 4), (1, 2, 5, 4), (3, 5)]),
    "mask by head": Case([(1, 4, 3, 4), (1, 2, 5, 4), (1, 2, 5, 4), (1, 4, 3, 5)]),
    "masks": Case([(2, 4, 3, 4), (2, 2, 5, 4), (2, 2, 5, 4), (2, 1, 3, 5)], {"is_causal": 1}),
    "rank 3": Case([(1, 3, 16), (1, 5, 8), (1, 5, 12)], {"q_num_heads": 4, "kv_num_heads": 2}),
    "rank 3, a token": Case(
        [(1, 1, 16), (1, 5, 8), (1, 5, 8), (1, 5)], {"q_num_heads": 4, "kv_num_heads": 2}
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_float_model_is_onnxs(name: str) -> None:
    case = CASES[name]
    arrays = case.arrays()
    expected = onnx_reference("Attention", list(arrays.values()), **case.attributes)
    found = evaluate(case.graph(), arrays)["y"]
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


def check_bits(case: Case, hardware: Hardware, bits: int) -> np.ndarray:
    graph = case.graph()
    compressed = CompressedGraph(graph, {}, dict.fromkeys(computed_products(graph), bits))
    frames = {name: array[None] for name, array in case.arrays().items()}
    ran = execute_graph(compressed, hardware, frames)
    expected, _ = evaluate_stream(graph, frames, {}, {}, compressed)
    assert ran.execution.outputs["y"].tobytes() == expected["y"].tobytes()
    assert check_races(ran.compiled.program, ran.execution.trace) == []
    prove(ran.compiled, hardware)
    return expected["y"][0]


@pytest.mark.parametrize("variant", ["az1", "few accumulators", "skips both"])
@pytest.mark.parametrize("name", CASES)
def test_the_chip_has_the_evaluators_bits(name: str, variant: str) -> None:
    case = CASES[name]
    exact = evaluate(case.graph(), case.arrays())["y"]
    for bits, error in ((8, 0.1), (16, 0.05)):
        y = check_bits(case, VARIANTS[variant], bits)
        assert np.abs(y - exact).max() <= error * np.abs(exact).max()


@pytest.mark.parametrize("hardware", ["az2", "dense_npu", "eie"])
def test_the_presets_have_them_too(hardware: str) -> None:
    check_bits(CASES["groups"], load_hardware(hardware), 8)


def test_it_is_what_its_parts_are() -> None:
    """The same bits as the nodes that the builder of window attention writes."""
    case = CASES["groups"]
    arrays = case.arrays()
    constants = {
        "scale": np.array(0.3, F),
        "split": np.array([2, 2, 3, 3, 4]),
        "k_split": np.array([2, 2, 1, 5, 4]),
        "v_split": np.array([2, 2, 1, 5, 3]),
        "s_split": np.array([2, 2, 1, 1, 5]),
        "joined": np.array([2, 6, 3, 3]),
    }
    nodes = [
        node("Mul", ["q", "scale"], "scaled"),
        node("Reshape", ["scaled", "split"], "queries"),
        node(
            "QuantizeRows",
            [
                "k",
            ],
            ("kc", "ks"),
        ),
        node(
            "QuantizeRows",
            [
                "v",
            ],
            ("vc", "vs"),
        ),
        node("Reshape", ["kc", "k_split"], "keys"),
        node("Transpose", ["keys"], "columns", perm=(0, 1, 2, 4, 3)),
        node("Reshape", ["ks", "s_split"], "key_scales"),
        node("MatMulCodes", ["queries", "columns", "key_scales"], "scores"),
        node("Softmax", ["scores"], "weights"),
        node("Reshape", ["vs", "s_split"], "value_scales"),
        node("Mul", ["weights", "value_scales"], "weighted"),
        node("Reshape", ["vc", "v_split"], "values"),
        node("MatMulCodes", ["weighted", "values"], "sums"),
        node("Reshape", ["sums", "joined"], "y"),
    ]
    shapes = {name: array.shape for name, array in arrays.items()}
    parts = graph_of(shapes, constants, nodes, ("y",))
    whole = case.graph()
    found = [evaluate(graph, arrays, CompressedGraph(graph, {}))["y"] for graph in (parts, whole)]
    assert found[0].tobytes() == found[1].tobytes()


@pytest.mark.parametrize(
    ("case", "sentence"),
    [
        (
            Case([(1, 3, 4), (1, 1, 5, 4), (1, 1, 5, 4)]),
            (
                "Q, K and V have shapes [1, 3, 4], [1, 1, 5, 4], [1, 1, 5, 4]; "
                "all need rank 3, or all rank 4"
            ),
        ),
        (
            Case([(1, 3, 16), (1, 5, 8), (1, 5, 8)], {"q_num_heads": 3, "kv_num_heads": 1}),
            "16 columns are not q_num_heads (3) heads",
        ),
        (
            Case([(1, 3, 2, 4), (1, 2, 5, 4), (1, 2, 5, 4)]),
            (
                "Q, K and V have shapes [1, 3, 2, 4], [1, 2, 5, 4], [1, 2, 5, 4]: "
                "batch, heads, positions or sizes do not fit together"
            ),
        ),
        (
            Case([(1, 2, 2, 4), (1, 2, 5, 4), (1, 2, 5, 4), (2, 4)]),
            "mask has shape [2, 4], which is not broadcast to [1, 2, 2, 5]",
        ),
        (
            Case([(1, 2, 2, 4), (1, 2, 5, 4), (1, 2, 5, 4)], {"softcap": 3.0}),
            "softcap is 3.0; only 0.0 or 0 is supported",
        ),
    ],
)
def test_what_does_not_fit_is_said(case: Case, sentence: str) -> None:
    with pytest.raises(UnsupportedError) as caught:
        case.graph()
    assert str(caught.value) == f"test: node Attention_y (Attention): {sentence}"


def test_a_cache_that_grows_is_refused() -> None:
    shape = (1, 2, 3, 4)
    names = ["q", "k", "v", "", "past_key", "past_value"]
    inputs = {name: shape for name in names if name}
    with pytest.raises(UnsupportedError) as caught:
        graph_of(inputs, {}, [node("Attention", names, "y")], ("y",))
    assert str(caught.value) == (
        "test: node Attention_y (Attention): a cache that grows (past_key, past_value) is not "
        "supported; TensorScatter keeps one of a fixed length"
    )
