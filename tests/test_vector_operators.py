"""Operators of the vector engine: streams, what stays in DRAM, what is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from azsim.errors import UnsupportedError
from azsim.evaluate import evaluate, evaluate_stream
from azsim.ir import Graph, Node
from azsim.ops.build import build_graph, lower_graph
from azsim.ops.steps import Copy
from azsim.sim.execute import MachineError
from azsim.sim.races import check_races
from compiled import AZ1, Ran, execute_graph, graph_of, node
from graphs import compress, held, type_of

F = np.float32


def _same(found: np.ndarray, expected: np.ndarray) -> bool:
    return found.tobytes() == held(expected).tobytes()


def _ran(
    graph: Graph,
    frames: Mapping[str, np.ndarray],
    state: Mapping[str, str] | None = None,
    initial: Mapping[str, np.ndarray] | None = None,
) -> Ran:
    """Executed; outputs and state are the evaluator's, and nothing races."""
    state, initial = state or {}, initial or {}
    compressed = compress(graph)
    ran = execute_graph(compressed, AZ1, frames, state, initial)
    tensors, final = evaluate_stream(graph, dict(frames), dict(state), dict(initial), compressed)
    carried = {target: final[source] for source, target in state.items()}
    for name, array in ran.execution.outputs.items():
        assert _same(array, carried.get(name, tensors[name])), name
    assert check_races(ran.compiled.program, ran.execution.trace) == []
    return ran


# ------------------------------------------------------------------------- causal convolution


def conv_graph(length: int, weight: np.ndarray, bias: np.ndarray, activation: str) -> Graph:
    channels, _, taps = weight.shape
    nodes = [node("CausalConvWithState", ["x", "w", "b", "s"], ("y", "t"), activation=activation)]
    inputs = {"x": (1, channels, length), "s": (1, channels, taps - 1)}
    return graph_of(inputs, {"w": weight, "b": bias}, nodes, ("y", "t"))


@given(
    seed=st.integers(0, 1 << 32), channels=st.integers(1, 40), taps=st.integers(2, 6),
    chunk=st.sampled_from([1, 2, 3, 5]), activation=st.sampled_from(["none", "silu"]),
)  # fmt: skip
def test_chunks_of_a_causal_convolution_are_one_shot(
    seed: int, channels: int, taps: int, chunk: int, activation: str
) -> None:
    rng = np.random.default_rng(seed)
    weight, bias = (rng.standard_normal(n).astype(F) for n in ((channels, 1, taps), channels))
    x, zero = rng.standard_normal((1, channels, 30)).astype(F), np.zeros((1, channels, taps - 1), F)
    whole = evaluate(conv_graph(30, weight, bias, activation), {"x": x, "s": zero})
    frames = {"x": np.stack(np.split(x, 30 // chunk, axis=2))}
    graph = conv_graph(chunk, weight, bias, activation)
    parts, final = evaluate_stream(graph, frames, {"s": "t"}, {"s": zero})
    assert np.array_equal(np.concatenate(list(parts["y"]), axis=2), whole["y"])
    assert np.array_equal(final["s"], whole["t"])


@pytest.mark.kernels
@pytest.mark.parametrize("taps", [2, 4, 32])
@pytest.mark.parametrize("chunk", [1, 2, 7])
def test_a_causal_convolution_streams_on_the_chip(taps: int, chunk: int) -> None:
    rng = np.random.default_rng(taps)
    weight, bias = rng.standard_normal((20, 1, taps)).astype(F), rng.standard_normal(20).astype(F)
    graph = conv_graph(chunk, weight, bias, "silu")
    frames = {"x": rng.standard_normal((5, 1, 20, chunk)).astype(F)}
    _ran(graph, frames, {"s": "t"}, {"s": rng.standard_normal((1, 20, taps - 1)).astype(F)})


@pytest.mark.parametrize("taps", [4, 9])
def test_one_position_reads_a_short_state_where_it_lies(taps: int) -> None:
    """A longer one is put in a line with the new position, so that it moves on in one copy."""
    weight, bias = np.ones((3, 1, taps), F), np.ones(3, F)
    steps = [step for _, step in lower_graph(compress(conv_graph(1, weight, bias, "none"))).steps]
    kinds = [getattr(step, "mnemonic", type(step).__name__) for step in steps]
    sums = ["Binary", *["vector_multiply_add"] * (taps - 1), "Binary"]
    whole = ["Copy", "Copy", *sums, "Copy"]
    assert kinds == ([*sums, "Copy", "Copy", "Copy"] if taps == 4 else whole)
    assert isinstance(steps[-1], Copy)
    assert steps[-1].dst.buffer == "s"  # the state is kept where it came from


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("pads", [(0, 0), (3, 0), (1, 2)])
def test_depthwise_convolution_is_onnxruntime_s(stride: int, pads: tuple[int, int]) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    from graphs import onnx_bytes

    rng = np.random.default_rng(stride)
    x, weight = rng.standard_normal((2, 6, 11)).astype(F), rng.standard_normal((6, 1, 4)).astype(F)
    attributes = {"group": 6, "pads": pads, "strides": (stride,)}
    nodes = [Node("n", "Conv", ("x", "w"), ("y",), attributes)]
    model = onnx_bytes({"x": x.shape}, {"w": weight}, nodes, ["y"])
    expected = onnxruntime.InferenceSession(model).run(None, {"x": x})[0]
    graph = graph_of({"x": x.shape}, {"w": weight}, nodes, ("y",))
    np.testing.assert_allclose(evaluate(graph, {"x": x})["y"], expected, rtol=1e-5, atol=1e-5)


# ---------------------------------------------------------------------------------- embedding


@pytest.mark.kernels
def test_a_table_stays_in_dram_and_its_rows_are_fetched() -> None:
    rows, width = 20_000, 48  # 3.84 MB; activation SRAM has 128 KiB
    table = np.random.default_rng(0).standard_normal((rows, width)).astype(F)
    nodes = [node("Cast", ["x"], "i", to=6), node("Gather", ["table", "i"], "y")]
    graph = graph_of({"x": (2,)}, {"table": table}, nodes, ("y",))
    tokens = np.array([[0, rows - 1], [777, 3], [5, 5]], F)
    ran = _ran(graph, {"x": tokens})
    assert np.array_equal(ran.execution.outputs["y"], table[tokens.astype(int)])
    used = ran.compiled.program.regions
    assert sum(region.size_bytes for region in used if region.space == "activation") < 4096
    mnemonics = [instruction.mnemonic for instruction in ran.compiled.program.instructions]
    schedule = ran.compiled.schedule
    assert mnemonics.count("load_gather") == schedule.per_round + schedule.frames % 2


@pytest.mark.kernels
def test_a_number_that_is_no_row_is_an_error() -> None:
    nodes = [node("Cast", ["x"], "i", to=6), node("Gather", ["table", "i"], "y")]
    graph = graph_of({"x": (1,)}, {"table": np.ones((4, 2), F)}, nodes, ("y",))
    with pytest.raises(MachineError, match=r"indices hold 4 at row 0, allowed are 0 to 3$"):
        execute_graph(compress(graph), AZ1, {"x": np.array([[4]], F)})


# --------------------------------------------------------------------------------------- cast


@given(st.lists(st.floats(width=32), min_size=1, max_size=20))
def test_cast_drops_fractions_and_clips(values: list[float]) -> None:
    x = np.array(values, F)
    nodes = [node("Cast", ["x"], "i", to=6), node("Cast", ["x"], "b", to=9)]
    graph = graph_of({"x": x.shape}, {}, nodes, ("i", "b"))
    found = evaluate(graph, {"x": x})
    with np.errstate(invalid="ignore"):
        whole = np.trunc(np.nan_to_num(x.astype(np.float64), posinf=2.0**40, neginf=-(2.0**40)))
    assert found["i"].tolist() == np.clip(whole, -(2**31), 2**31 - 1).astype(np.int64).tolist()
    assert found["b"].tolist() == (x != 0).tolist()
    frame = {"x": x[None]}
    ran = execute_graph(compress(graph), AZ1, frame)
    assert _same(ran.execution.outputs["i"][0], found["i"])
    assert _same(ran.execution.outputs["b"][0], found["b"])


# ---------------------------------------------------------------------------- what is refused


def _problem(op: str, shape: Sequence[int], constants: Mapping[str, Any], **attributes: Any) -> str:
    arrays = {name: np.asarray(value) for name, value in constants.items()}
    one = Node("n", op, ("x", *arrays), ("y",), attributes)
    with pytest.raises(UnsupportedError) as caught:
        build_graph("g", {"x": type_of(*shape)}, arrays, [one], ["y"], "test")
    return str(caught.value).removeprefix(f"test: node n ({op}): ")


ONES = np.ones(3, F)


@pytest.mark.parametrize(
    ("op", "shape", "constants", "attributes", "sentence"),
    [
        ("Softmax", (2, 3), {}, {"axis": 2}, "axis 2 does not exist in a tensor of rank 2"),
        ("Gelu", (2,), {}, {"approximate": "x"},
         "approximate is x; only none or tanh is supported"),
        (
            "LayerNormalization", (2, 4), {"w": ONES}, {},
            "input 1 has shape [3], which does not fit [4]",
        ),
        ("RMSNormalization", (3,), {"w": ONES}, {"epsilon": -1.0},
         "epsilon is -1.0; 0 or more is needed"),
        ("Split", (4, 3), {"s": [1, 2]}, {}, "4 positions cannot be split into 1 parts of 1, 2"),
        ("TopK", (4, 3), {"k": [4]}, {}, "k is 4; 1 to 3, the axis's length, is supported"),
        ("Clip", (3,), {"low": ONES}, {}, "input 1 is float32[3]; one float32 is needed"),
        ("Expand", (4, 3), {"s": [2, 2]}, {}, "shape [4, 3] cannot be expanded to [2, 2]"),
        ("Gather", (4, 3), {"i": [4]}, {}, "indices hold 4, allowed are -4 to 3"),
        ("Gather", (4, 3), {"i": ONES}, {}, "input 1 is float32[3]; it has to hold integers"),
        ("Where", (3,), {"a": ONES, "b": ONES}, {},
         "input 0 is float32[3]; only bool is supported"),
        ("Less", (3,), {"b": [1, 2, 3]}, {},
         "operands are float32 and int64; two of float32, int32, int64 are supported"),
        ("Conv", (1, 4, 8), {"w": np.ones((4, 1, 3), F)}, {"group": 2},
         "group is 2; only 1 or 4 is supported"),
        ("CausalConvWithState", (1, 4, 8), {"w": np.ones((4, 2, 3), F)}, {},
         "weight has shape [4, 2, 3]; [4, 1, taps] is needed"),
        (
            "CausalConvWithState", (1, 3, 8),
            {"w": np.ones((3, 1, 3), F), "b": ONES, "s": np.ones((1, 3, 3), F)}, {},
            "past_state has shape [1, 3, 3], not [1, 3, 2]",
        ),
    ],
)  # fmt: skip
def test_what_is_not_supported_is_said(
    op: str,
    shape: tuple[int, ...],
    constants: dict[str, Any],
    attributes: dict[str, Any],
    sentence: str,
) -> None:
    assert _problem(op, shape, constants, **attributes) == sentence
