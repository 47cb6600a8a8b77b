"""Narrowing: codes are copied instead of floats, with the same bits in codes and scales."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from azsim.compiler.lower import lower
from azsim.compiler.narrow import narrow
from azsim.evaluate import evaluate_stream
from azsim.hardware.description import Hardware
from azsim.ir import CompressedGraph, Graph, Node
from azsim.ops.lowering import Copy, Lowering, Quantize
from compiled import AZ1, chip, execute_graph, frames_for, graph_of, node
from graphs import compress

F = np.float32
RNG = np.random.default_rng(7)
KERNEL = RNG.standard_normal((4, 2, 3)).astype(F)
MATRIX = RNG.standard_normal((12, 5)).astype(F)


def _graph(
    nodes: Sequence[Node], outputs: tuple[str, ...], shape: tuple[int, ...],
    **constants: np.ndarray,
) -> Graph:  # fmt: skip
    return graph_of({"x": shape}, constants, nodes, outputs)


def _padded(mode: str, pads: Sequence[int], **more: np.ndarray) -> Graph:
    inputs = ["x", "pads", *more]
    nodes = [node("Pad", inputs, "p", mode=mode), node("Conv", ["p", "k"], "y")]
    constants = {"pads": np.array(pads, np.int64), "k": KERNEL, **more}
    return _graph(nodes, ("y",), (1, 2, 8), **constants)


def _kinds(lowering: Lowering) -> list[str]:
    return [type(step).__name__ for _, step in lowering.steps]


def _same_bits(compressed: CompressedGraph, hardware: Hardware = AZ1) -> Mapping[str, str]:
    frames = frames_for(compressed.graph, 3, 2)
    ran = execute_graph(compressed, hardware, frames, taps=True)
    wanted, _ = evaluate_stream(compressed.graph, frames, {}, {}, compressed)
    for name, seen in ran.execution.tapped.items():
        assert np.stack(seen).tobytes() == wanted[name].tobytes(), name
    for name, found in ran.execution.outputs.items():
        assert found.tobytes() == wanted[name].tobytes(), name
    return ran.compiled.fused


@pytest.mark.kernels
@pytest.mark.parametrize("static", [None, 0.02])
@pytest.mark.parametrize("activation_bits", [8, 16])
def test_a_reflected_recording_is_quantized_once(
    static: float | None, activation_bits: int
) -> None:
    graph = _padded("reflect", (0, 0, 3, 0, 0, 2))
    compressed = compress(graph, 8, activation_bits, static=static)
    plain = lower(compressed)
    assert _kinds(plain).count("Copy") == 3
    lowering = narrow(lower(compressed))
    assert _kinds(lowering) == ["Quantize", "Copy", "Copy", "Matmul"]
    (quantize,) = (step for _, step in lowering.steps if isinstance(step, Quantize))
    assert quantize.src.buffer == "x"
    copies = [step for _, step in lowering.steps if isinstance(step, Copy)]
    assert {copy.dst.buffer for copy in copies} == {"Conv_y#codes"}
    assert lowering.fused == {"p": "quantized for Conv_y before it is copied together"}
    assert _same_bits(compressed)["p"] == lowering.fused["p"]
    _same_bits(compressed, chip(vector__lanes=3, mac__lanes=3, weight_sram__bytes=1024))


@pytest.mark.kernels
def test_zeros_around_a_recording_are_zero_codes() -> None:
    compressed = compress(_padded("constant", (0, 0, 1, 0, 0, 4)))
    lowering = narrow(lower(compressed))
    assert _kinds(lowering) == ["Fill", "Quantize", "Matmul"]
    _same_bits(compressed)


@pytest.mark.kernels
def test_a_tensor_that_is_only_copied_is_quantized_where_it_lies() -> None:
    nodes = [
        node("Transpose", ["x"], "t", perm=(0, 2, 1)), node("Reshape", ["t", "row"], "r"),
        node("MatMul", ["r", "w"], "y"),
    ]  # fmt: skip
    graph = _graph(
        nodes, ("y",), (1, 4, 3), w=MATRIX, row=np.array((1, 12), np.int64)
    )  # fmt: skip
    compressed = compress(graph)
    assert _kinds(lower(compressed)) == ["Copy", "Quantize", "Matmul"]
    assert _kinds(narrow(lower(compressed))) == ["Quantize", "Matmul"]
    _same_bits(compressed)


_KERNEL_AND_PADS = {"k": KERNEL, "pads": np.array((0, 0, 3, 0, 0, 2), np.int64)}
_PAD = node("Pad", ["x", "pads"], "p", mode="reflect")
STAYS: dict[str, tuple[list[Node], tuple[str, ...]]] = {
    "an output": ([_PAD, node("Conv", ["p", "k"], "y")], ("y", "p")),
    "read otherwise": (
        [_PAD, node("Conv", ["p", "k"], "y"), node("Relu", ["p"], "z")], ("y", "z"),
    ),
    "of two tensors": (
        [node("Neg", ["x"], "n"), node("Concat", ["x", "n"], "p", axis=2),
         node("Conv", ["p", "k"], "y")],
        ("y",),
    ),
}  # fmt: skip


@pytest.mark.kernels
@pytest.mark.parametrize("name", STAYS)
def test_what_is_more_than_a_copy_stays(name: str) -> None:
    nodes, outputs = STAYS[name]
    used = {tensor for one in nodes for tensor in one.inputs}
    constants = {key: value for key, value in _KERNEL_AND_PADS.items() if key in used}
    compressed = compress(_graph(nodes, outputs, (1, 2, 8), **constants))
    assert _kinds(narrow(lower(compressed))) == _kinds(lower(compressed))
    _same_bits(compressed)


@pytest.mark.kernels
def test_a_border_that_is_not_zero_stays() -> None:
    """Its magnitude may be the largest one."""
    compressed = compress(_padded("constant", (0, 0, 1, 0, 0, 1), value=np.array(9.0, F)))
    assert _kinds(narrow(lower(compressed))) == _kinds(lower(compressed))
    _same_bits(compressed)
