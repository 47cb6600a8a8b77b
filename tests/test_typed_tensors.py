"""Tensors of codes: carried, moved and compared as the bytes that they are."""

from __future__ import annotations

import numpy as np
import pytest

from azsim.evaluate import evaluate_stream
from azsim.ir import CompressedGraph, Graph, TensorType
from azsim.ops.build import build_graph
from compiled import AZ1, execute_graph, node

pytestmark = pytest.mark.kernels

STATE = {"s": "t"}


def delay_line(rows: int, columns: int) -> Graph:
    """A state of int8 whose rows move on by one; a row of constants comes behind."""
    constants = {
        "new": np.arange(columns, dtype=np.int8)[None] - 3,
        "one": np.array([1]),
        "end": np.array([rows]),
        "zero": np.array([0]),
        "flat": np.array([-1]),
    }
    nodes = [
        node("Slice", ["s", "one", "end", "zero"], "kept"),
        node("Concat", ["kept", "new"], "t", axis=0),
        node("Transpose", ["t"], "turned"),
        node("Reshape", ["turned", "flat"], "seen"),
        node("Relu", ["x"], "y"),
    ]
    inputs = {"s": TensorType("int8", (rows, columns)), "x": TensorType("float32", (2,))}
    return build_graph("g", inputs, constants, nodes, ("t", "seen", "y"), "test")


@pytest.mark.parametrize(("rows", "columns"), [(3, 5), (4, 4), (2, 7)])
def test_a_state_of_codes_is_carried_as_bytes(rows: int, columns: int) -> None:
    graph = delay_line(rows, columns)
    rng = np.random.default_rng(rows)
    initial = {"s": rng.integers(-128, 128, (rows, columns)).astype(np.int8)}
    frames = {"x": rng.standard_normal((3, 2)).astype(np.float32)}
    compressed = CompressedGraph(graph, {})
    expected, final = evaluate_stream(graph, frames, STATE, initial, compressed)
    ran = execute_graph(compressed, AZ1, frames, STATE, initial, taps=True)
    outputs = ran.execution.outputs
    assert [outputs[name].dtype for name in ("t", "seen", "y")] == [np.int8, np.int8, np.float32]
    assert outputs["t"][0].tobytes() == final["s"].tobytes()
    assert outputs["seen"].tobytes() == expected["seen"].tobytes()
    assert np.array_equal(final["s"][-1], graph.initializers["new"][0])
    tapped = ran.execution.tapped["turned"]
    assert np.stack(tapped).tobytes() == expected["turned"].tobytes()
    port = next(port for port in ran.compiled.program.inputs if port.name == "s")
    assert port.num_bytes == rows * columns
