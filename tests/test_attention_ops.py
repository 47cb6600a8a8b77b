"""Gather, RotaryEmbedding, TensorScatter and RingWindow: ONNX's results, and the chip's bits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from azsim.errors import InputError, MachineError, UnsupportedError
from azsim.evaluate import evaluate, evaluate_stream
from azsim.hardware.description import Hardware
from azsim.ir import CompressedGraph, Graph, Node, TensorType
from azsim.ops.build import build_graph
from azsim.sim.races import check_races
from azsim.stages.prove import prove
from compiled import AZ1, VARIANTS, execute_graph, node
from onnx_definitions import onnx_reference

pytestmark = pytest.mark.kernels

F = np.float32
NAMES = ("az1", "few accumulators", "skips both")


def graph_with(
    inputs: Mapping[str, TensorType | Sequence[int]],
    constants: Mapping[str, np.ndarray],
    nodes: Sequence[Node],
    outputs: Sequence[str],
) -> Graph:
    types = {
        name: kind if isinstance(kind, TensorType) else TensorType("float32", tuple(kind))
        for name, kind in inputs.items()
    }
    return build_graph("g", types, dict(constants), list(nodes), tuple(outputs), "test")


def check_stream(
    graph: Graph,
    frames: Mapping[str, np.ndarray],
    state: Mapping[str, str],
    initial: Mapping[str, np.ndarray],
    hardware: Hardware = AZ1,
) -> dict[str, np.ndarray]:
    """All bits of all frames are the evaluator's; returns the tensors of all frames."""
    compressed = CompressedGraph(graph, {})
    ran = execute_graph(compressed, hardware, frames, state, initial, taps=True)
    expected, final = evaluate_stream(graph, frames, state, initial, compressed)
    for name, array in ran.execution.outputs.items():
        source = next((s for s, target in state.items() if target == name), None)
        wanted = expected[name] if source is None else final[source][None]
        assert array.tobytes() == wanted.reshape(array.shape).astype(array.dtype).tobytes(), name
    for name, kept in ran.execution.tapped.items():
        found = np.stack(kept)
        assert found.tobytes() == expected[name].astype(found.dtype).tobytes(), name
    assert check_races(ran.compiled.program, ran.execution.trace) == []
    prove(ran.compiled, hardware)
    return expected


def problem(graph_of_it: Any) -> str:
    with pytest.raises(UnsupportedError) as caught:
        graph_of_it()
    return str(caught.value).partition("): ")[2]


# ---------------------------------------------------------------------------------- ring window


def expected_mask(position: int, rows: int, length: int, window: int) -> np.ndarray:
    """Which places hold the tokens that each token attends to, token by token."""
    mask = np.full((rows, length), F(-1e30))
    for row in range(rows):
        newest = position + row
        for token in range(max(0, newest - window + 1), newest + 1):
            mask[row, token % length] = 0
    return mask


def ring_graph(rows: int, length: int, window: int) -> Graph:
    outputs = ("mask", "ids", "first", "next_position", "next_place")
    made = node(
        "RingWindow", ["position", "place"], outputs, rows=rows, length=length, window=window
    )
    flat = node("Reshape", ["mask", "shape"], "seen")  # all but states are stored each frame
    shape = {"shape": np.array([rows * length])}
    nodes = [made, flat, node("Identity", ["ids"], "numbers"), node("Identity", ["first"], "begin")]
    return graph_with({"position": (1,), "place": (1,), "x": (1,)}, shape, [
        *nodes, node("Relu", ["x"], "y")
    ], ("seen", "next_position", "next_place", "numbers", "begin", "y"))  # fmt: skip


RING_STATE = {"position": "next_position", "place": "next_place"}
ZERO = {name: np.zeros(1, F) for name in RING_STATE}


@settings(max_examples=25)
@given(
    rows=st.integers(1, 4),
    window=st.integers(1, 6),
    more=st.integers(0, 4),
    chunks=st.integers(1, 7),
)
def test_a_token_attends_to_its_window(rows: int, window: int, more: int, chunks: int) -> None:
    length = window + rows - 1 + more
    graph = ring_graph(rows, length, window)
    frames = {"x": np.zeros((chunks, 1), F)}
    found = check_stream(graph, frames, RING_STATE, ZERO)
    for chunk in range(chunks):
        mask = expected_mask(chunk * rows, rows, length, window)
        assert np.array_equal(found["mask"][chunk], mask)
        assert found["ids"][chunk].tolist() == list(range(chunk * rows, (chunk + 1) * rows))
        assert found["first"][chunk].tolist() == [chunk * rows % length]


@pytest.mark.parametrize("name", NAMES)
def test_the_ring_goes_round_on_every_chip(name: str) -> None:
    frames = {"x": np.zeros((9, 1), F)}
    check_stream(ring_graph(2, 5, 3), frames, RING_STATE, ZERO, VARIANTS[name])


@pytest.mark.parametrize(("rows", "length", "window"), [(1, 3, 4), (3, 5, 4), (4, 4, 2)])
def test_a_window_longer_than_the_ring_is_said(rows: int, length: int, window: int) -> None:
    assert problem(lambda: ring_graph(rows, length, window)) == (
        f"a window of {window} and chunks of {rows} need a ring of at least "
        f"{window + rows - 1} places, found {length}"
    )


# ------------------------------------------------------------------------------------- scatter


def scatter_graph(
    past: tuple[int, ...], update: tuple[int, ...], dtype: str = "float32", **attributes: Any
) -> Graph:
    """Writes to a ring at a place that RingWindow counts, chunk after chunk."""
    axis = attributes.get("axis", -2)
    rows, length = update[axis], past[axis]
    window = node(
        "RingWindow", ["position", "place"], ("m", "i", "first", "next_position", "next_place"),
        rows=rows, length=length, window=length - rows + 1,
    )  # fmt: skip
    update_name = "update"
    nodes = [window]
    if dtype == "int8":
        nodes.append(node("QuantizeRows", ["update"], ("codes", "scale")))
        update_name = "codes"
    nodes.append(node("TensorScatter", ["past", update_name, "first"], "present", **attributes))
    types = {
        "past": TensorType(dtype, past),
        "update": TensorType("float32", update),
        "position": TensorType("float32", (1,)),
        "place": TensorType("float32", (1,)),
    }
    return graph_with(types, {}, nodes, ("present", "next_position", "next_place"))


SCATTER_STATE = {"past": "present", **RING_STATE}


@pytest.mark.parametrize("dtype", ["float32", "int8"])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("past", "update", "axis"),
    [
        ((1, 7, 4), (1, 1, 4), -2),
        ((1, 7, 4), (1, 3, 4), 1),
        ((1, 2, 5, 4), (1, 2, 3, 4), -2),
        ((1, 5, 2, 3), (1, 2, 2, 3), 1),
        ((1, 4), (1, 4), 1),
    ],
)
def test_rows_go_round_the_ring(
    past: tuple[int, ...], update: tuple[int, ...], axis: int, dtype: str, name: str
) -> None:
    graph = scatter_graph(past, update, dtype, axis=axis, mode="circular")
    rng = np.random.default_rng(1)
    frames = {"update": rng.standard_normal((6, *update)).astype(F)}
    initial = {"past": np.zeros(past, dtype), **ZERO}
    found = check_stream(graph, frames, SCATTER_STATE, initial, VARIANTS[name])
    written = np.moveaxis(found["codes" if dtype == "int8" else "update"], axis % len(past) + 1, 1)
    tokens = written.reshape(-1, *written.shape[2:])
    last = np.moveaxis(found["present"][-1], axis, 0)
    length = past[axis]
    for token in range(max(0, len(tokens) - length), len(tokens)):
        assert np.array_equal(last[token % length], tokens[token])


@pytest.mark.parametrize("mode", ["linear", "circular"])
@pytest.mark.parametrize("first", [0, 2, 4])
def test_the_result_is_that_of_onnx(mode: str, first: int) -> None:
    rng = np.random.default_rng(0)
    past = rng.standard_normal((1, 2, 7, 4)).astype(F)
    update = rng.standard_normal((1, 2, 3, 4)).astype(F)
    start = np.array([first])
    expected = onnx_reference("TensorScatter", [past, update, start], mode=mode)
    inputs = {"past": past.shape, "update": update.shape}
    nodes = [node("TensorScatter", ["past", "update", "start"], "y", mode=mode)]
    graph = graph_with(inputs, {"start": start}, nodes, ("y",))
    frames = {"past": past[None], "update": update[None]}
    assert np.array_equal(check_stream(graph, frames, {}, {})["y"][0], expected)


def test_a_ring_that_only_the_scatter_reads_is_written_in_place() -> None:
    graph = scatter_graph((1, 64, 4), (1, 1, 4), mode="circular")
    frames = {"update": np.ones((2, 1, 1, 4), F)}
    ran = execute_graph(CompressedGraph(graph, {}), AZ1, frames, SCATTER_STATE, {
        "past": np.zeros((1, 64, 4), F), **ZERO
    })  # fmt: skip
    moved = [site for site in ran.execution.trace.sites if site.mnemonic == "vector_copy"]
    assert all(site.views["dst"].num_elements == 1 for site in moved)


def test_a_cache_that_others_read_is_copied_first() -> None:
    nodes = [
        node("TensorScatter", ["past", "update", "start"], "present"),
        node("Add", ["past", "present"], "sum"),
    ]
    graph = graph_with(
        {"past": (1, 4, 2), "update": (1, 1, 2)}, {"start": np.array([2])}, nodes, ("sum",)
    )
    rng = np.random.default_rng(0)
    frames = {
        name: rng.standard_normal((2, *kind.shape)).astype(F) for name, kind in graph.inputs.items()
    }
    found = check_stream(graph, frames, {}, {})
    assert np.array_equal(found["sum"][0, :, :2], 2 * frames["past"][0, :, :2])


@pytest.mark.parametrize("mode", ["linear", "circular"])
def test_a_place_outside_the_cache_is_an_error(mode: str) -> None:
    nodes = [node("TensorScatter", ["past", "update", "start"], "y", mode=mode)]
    inputs = {"past": (1, 4, 2), "update": (1, 1, 2)}
    graph = graph_with(inputs, {"start": np.array([4])}, nodes, ("y",))
    arrays = {name: np.zeros(kind.shape, F) for name, kind in graph.inputs.items()}
    with pytest.raises(InputError) as caught:
        evaluate(graph, arrays)
    assert str(caught.value) == (
        "node TensorScatter_y (TensorScatter): write_indices hold 4, allowed are 0 to 3"
    )
    frames = {name: array[None] for name, array in arrays.items()}
    with pytest.raises(MachineError, match="indices hold 4 at row 0, allowed are 0 to 3"):
        execute_graph(CompressedGraph(graph, {}), AZ1, frames)


@pytest.mark.parametrize(
    ("past", "update", "attributes", "sentence"),
    [
        ((1, 4, 2), (1, 5, 2), {}, "5 rows do not fit a cache of 4"),
        (
            (1, 4, 2),
            (1, 2, 3),
            {},
            "update float32[1, 2, 3] does not fit cache float32[1, 4, 2] along axis 1",
        ),
        ((1, 4, 2), (1, 2, 2), {"axis": 0}, "axis 0 is the batch"),
        (
            (2, 4, 2),
            (2, 1, 2),
            {},
            (
                "cache float32[2, 4, 2] and write indices int64[1]; "
                "a batch of 1 with one integer is supported"
            ),
        ),
        ((1, 4, 2), (1, 1, 2), {"mode": "x"}, "mode is x; only linear or circular is supported"),
    ],
)
def test_caches_that_do_not_fit_are_said(
    past: tuple[int, ...], update: tuple[int, ...], attributes: dict[str, Any], sentence: str
) -> None:
    nodes = [node("TensorScatter", ["past", "update", "start"], "y", **attributes)]
    inputs = {"past": past, "update": update}
    constants = {"start": np.array([0])}
    assert problem(lambda: graph_with(inputs, constants, nodes, ("y",))) == sentence


# -------------------------------------------------------------------------------------- rotary


def rotary_graph(shape: tuple[int, ...], positions: int, **attributes: Any) -> Graph:
    """Positions that go on from chunk to chunk."""
    heads = shape[1] if len(shape) == 4 else attributes["num_heads"]
    rows, size = (shape[2], shape[3]) if len(shape) == 4 else (shape[1], shape[2] // heads)
    half = (attributes.get("rotary_embedding_dim", 0) or size) // 2
    angles = np.arange(positions)[:, None] * np.exp(-np.arange(half))
    constants = {
        "cos": np.cos(angles).astype(F),
        "sin": np.sin(angles).astype(F),
        "shape": np.array([1, rows]),
    }
    nodes = [
        node("RingWindow", ["position", "place"], ("m", "i", "f", "next_position", "next_place"),
             rows=rows, length=rows, window=1),
        node("Reshape", ["i", "shape"], "ids"),
        node("RotaryEmbedding", ["x", "cos", "sin", "ids"], "y", **attributes),
    ]  # fmt: skip
    inputs = {"x": shape, "position": (1,), "place": (1,)}
    return graph_with(inputs, constants, nodes, ("y", "next_position", "next_place"))


CASES = [
    ((1, 3, 1, 8), {}),
    ((1, 3, 2, 8), {"interleaved": 1}),
    ((1, 1, 24), {"num_heads": 3}),
    ((1, 4, 24), {"num_heads": 3}),
    ((1, 2, 24), {"num_heads": 3, "interleaved": 1, "rotary_embedding_dim": 4}),
    ((1, 2, 3, 8), {"rotary_embedding_dim": 6}),
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("shape", "attributes"), CASES)
def test_pairs_are_turned_as_onnx_does(
    shape: tuple[int, ...], attributes: dict[str, int], name: str
) -> None:
    graph = rotary_graph(shape, 12, **attributes)
    rng = np.random.default_rng(0)
    frames = {"x": rng.standard_normal((3, *shape)).astype(F)}
    found = check_stream(graph, frames, RING_STATE, ZERO, VARIANTS[name])
    tables = [graph.initializers[table] for table in ("cos", "sin")]
    for frame in range(3):
        ids = found["ids"][frame]
        expected = onnx_reference(
            "RotaryEmbedding", [frames["x"][frame], *tables, ids], **attributes
        )
        np.testing.assert_allclose(found["y"][frame], expected, rtol=1e-6, atol=1e-6)


def test_without_positions_the_tables_are_rows() -> None:
    rng = np.random.default_rng(0)
    arrays = {
        "x": rng.standard_normal((1, 2, 3, 8)).astype(F),
        "cos": rng.standard_normal((1, 3, 4)).astype(F),
        "sin": rng.standard_normal((1, 3, 4)).astype(F),
    }
    shapes = {name: array.shape for name, array in arrays.items()}
    graph = graph_with(shapes, {}, [node("RotaryEmbedding", list(arrays), "y")], ("y",))
    frames = {name: array[None] for name, array in arrays.items()}
    expected = onnx_reference("RotaryEmbedding", list(arrays.values()))
    found = check_stream(graph, frames, {}, {})["y"][0]
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


def test_a_position_beyond_the_table_is_an_error() -> None:
    graph = rotary_graph((1, 3, 1, 8), 2)
    frames = {"x": np.zeros((3, 1, 3, 1, 8), F)}
    sentence = "node RotaryEmbedding_y (RotaryEmbedding): indices hold 2, allowed are 0 to 1"
    with pytest.raises(InputError) as caught:
        evaluate_stream(graph, frames, RING_STATE, ZERO)
    assert str(caught.value) == sentence
    with pytest.raises(MachineError, match="indices hold 2 at row 0, allowed are 0 to 1"):
        execute_graph(CompressedGraph(graph, {}), AZ1, frames, RING_STATE, ZERO)


def test_only_the_rows_that_are_wanted_are_fetched_and_once() -> None:
    nodes = [
        node("RingWindow", ["position", "place"], ("m", "i", "f", "next_position", "next_place"),
             rows=1, length=1, window=1),
        node("Reshape", ["i", "shape"], "ids"),
        node("RotaryEmbedding", ["x", "cos", "sin", "ids"], "y"),
        node("RotaryEmbedding", ["y", "cos", "sin", "ids"], "z"),
    ]  # fmt: skip
    table = np.ones((1000, 4), F)
    constants = {"cos": table, "sin": table, "shape": np.array([1, 1])}
    inputs = {"x": (1, 3, 1, 8), "position": (1,), "place": (1,)}
    graph = graph_with(inputs, constants, nodes, ("z", "next_position", "next_place"))
    frames = {"x": np.ones((2, 1, 3, 1, 8), F)}
    ran = execute_graph(CompressedGraph(graph, {}), AZ1, frames, RING_STATE, ZERO)
    program = ran.compiled.program
    fetched = [i.mnemonic for i in program.instructions].count("load_gather")
    assert fetched == 2 * ran.compiled.schedule.per_round
    assert ran.compiled.allocation.peak_bytes["activation"] < table.nbytes


@pytest.mark.parametrize(
    ("shape", "attributes", "sentence"),
    [
        ((1, 2, 24), {"num_heads": 5}, "24 columns are not num_heads (5) heads"),
        ((1, 2, 24), {}, "24 columns are not num_heads (0) heads"),
        ((1, 2, 2, 7), {}, "7 elements of heads of 7 cannot be turned in pairs"),
        (
            (1, 2, 2, 6),
            {"rotary_embedding_dim": 8},
            "8 elements of heads of 6 cannot be turned in pairs",
        ),
        ((2, 24), {}, "input 0 is float32[2, 24]; rank 3 or 4 is needed"),
        (
            (1, 2, 2, 8),
            {},
            "cosines and sines are float32[1, 2, 3] and float32[1, 2, 3]; [1, 2, 4] is needed",
        ),
    ],
)
def test_heads_that_do_not_fit_are_said(
    shape: tuple[int, ...], attributes: dict[str, int], sentence: str
) -> None:
    inputs = {"x": shape, "cos": (1, 2, 3), "sin": (1, 2, 3)}
    nodes = [node("RotaryEmbedding", list(inputs), "y", **attributes)]
    assert problem(lambda: graph_with(inputs, {}, nodes, ("y",))) == sentence


# -------------------------------------------------------------------------------------- gather


def gather_graph(data: np.ndarray | None, rows: int) -> Graph:
    """Rows by the numbers of a chunk's tokens, of a constant or of an input."""
    nodes = [
        node("RingWindow", ["position", "place"], ("m", "i", "f", "next_position", "next_place"),
             rows=rows, length=rows, window=1),
        node("Gather", ["data", "i"], "y"),
    ]  # fmt: skip
    inputs: dict[str, Sequence[int]] = {"position": (1,), "place": (1,), "x": (1,)}
    if data is None:
        inputs["data"] = (12, 2, 3)
    constants = {} if data is None else {"data": data}
    nodes.append(node("Relu", ["x"], "z"))
    return graph_with(inputs, constants, nodes, ("y", "z", "next_position", "next_place"))


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("is_constant", [False, True])
def test_rows_are_gathered(rows: int, is_constant: bool) -> None:
    rng = np.random.default_rng(0)
    table = rng.standard_normal((12, 5)).astype(F)
    graph = gather_graph(table if is_constant else None, rows)
    frames = {"x": np.zeros((4, 1), F)}
    if not is_constant:
        frames["data"] = rng.standard_normal((4, 12, 2, 3)).astype(F)
    found = check_stream(graph, frames, RING_STATE, ZERO)
    for frame in range(4):
        data = table if is_constant else frames["data"][frame]
        assert np.array_equal(found["y"][frame], data[frame * rows : (frame + 1) * rows])


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_constants_are_gathered_along_any_axis(axis: int) -> None:
    data = np.arange(24, dtype=F).reshape(2, 3, 4)
    indices = np.array([[0, -1], [1, 1]])
    nodes = [node("Gather", ["d", "i"], "g", axis=axis), node("Add", ["g", "x"], "y")]
    graph = graph_with({"x": (1,)}, {"d": data, "i": indices}, nodes, ("y",))
    assert np.array_equal(graph.initializers["g"], np.take(data, indices, axis))


def test_gathers_that_the_chip_cannot_do_are_said() -> None:
    nodes = [node("Gather", ["x", "i"], "y", axis=1)]
    assert problem(
        lambda: graph_with({"x": (2, 3)}, {"i": np.array([0, 3])}, nodes, ("y",))
    ) == "indices hold 3, allowed are -3 to 2"  # fmt: skip
