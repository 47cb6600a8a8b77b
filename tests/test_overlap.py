"""Overlap: work cut into pieces and put in another order makes the same bits, sooner."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import azsim
from azsim.compiler import overlap as overlap_module
from azsim.compiler import ways
from azsim.compiler.allocate import allocate
from azsim.compiler.compile import compile_graph
from azsim.compiler.estimate import Estimator
from azsim.compiler.expansion import Expansion
from azsim.compiler.fuse import fuse
from azsim.compiler.list_schedule import Piece, list_schedule, program_order
from azsim.compiler.lower import lower
from azsim.compiler.narrow import narrow
from azsim.compiler.pieces import (
    Cut,
    cut_elementwise,
    cut_product,
    cut_quantize,
    is_cuttable,
    product_target,
)
from azsim.compiler.schedule import Item, Schedule, Storage, accesses, walk
from azsim.compiler.schedule import part as part_of
from azsim.compiler.tile import Plan
from azsim.compiler.trim import trim
from azsim.errors import InputError
from azsim.evaluate import evaluate_stream
from azsim.hardware import load_hardware
from azsim.hardware.description import Hardware
from azsim.ir import CompressedGraph, Graph, Node
from azsim.isa.program import Stream
from azsim.ops.lowering import Access, Lowering, Matmul
from azsim.pipeline import prepare
from azsim.sim.execute import execute, write_inputs
from azsim.sim.races import check_races
from azsim.sim.timing import replay
from compiled import (
    AZ1,
    VARIANTS,
    Ran,
    chip,
    execute_graph,
    frames_for,
    graph_of,
    node,
    pruned,
    with_codec,
)
from graphs import compress, random_graph, random_inputs
from step_interpreter import StepInterpreter

F = np.float32
READER = chip(
    decoder__at="read", mac__dataflow="outer", mac__zero_skip="both", mac__macs_per_lane=1,
    mac__window=1, mac__lanes=4, mac__drain_lanes=2, vector__lanes=2,
)  # fmt: skip
CHIPS = {**VARIANTS, "decodes at read": READER, "slow vector": chip(vector__lanes=2)}


def convolutions(seed: int, *, two_inputs: bool = True) -> Graph:
    """Convolutions over several positions, slices, pads, a matrix product, often a second input."""
    rng = np.random.default_rng(seed)
    constants: dict[str, np.ndarray] = {}
    nodes: list[Node] = []

    def constant(array: np.ndarray) -> str:
        constants[f"k{len(constants)}"] = array
        return f"k{len(constants) - 1}"

    def floats(*shape: int) -> str:
        return constant((rng.standard_normal(shape) * 0.3).astype(F))

    def whole(*values: int) -> str:
        return constant(np.array(values, np.int64))

    def add(op: str, *inputs: str, **attributes: str | int | tuple[int, ...]) -> str:
        nodes.append(node(op, inputs, f"t{len(nodes)}", **attributes))
        return f"t{len(nodes) - 1}"

    channels, length = int(rng.integers(1, 12)), int(rng.integers(3, 12))
    inputs, last, outputs = {"x": (1, channels, length)}, "x", []
    if two_inputs and rng.random() < 0.5:
        inputs["z"] = (1, channels, length)
        last = add("Mul", last, add("Tanh", add("Tanh", "z")))
    for _ in range(int(rng.integers(1, 4))):
        if rng.random() < 0.3:
            last = add("Pad", last, whole(0, 0, 1, 0, 0, length > 2), mode="reflect")
            length += 1 + (length > 2)
        kernel, (before, after) = int(rng.integers(1, 4)), rng.integers(0, 3, 2).tolist()
        filters, stride = int(rng.integers(1, 30)), int(rng.integers(1, 3))
        shape = floats(filters, channels, kernel), floats(filters)
        last = add("Conv", last, *shape, pads=(before, after), strides=(stride,))
        channels, length = filters, (length + before + after - kernel) // stride + 1
        if rng.random() < 0.7:
            last = add(["Relu", "Sigmoid", "Neg"][int(rng.integers(3))], last)
        if length > 3 and rng.random() < 0.4:
            last = add("Slice", last, whole(1), whole(length - 1), whole(2))
            length -= 2
        outputs += [last] if rng.random() < 0.2 else []
        if length < 3:
            break
    last = add("Reshape", last, whole(1, -1))
    weight = constant(rng.standard_normal((33, channels * length)).astype(F))
    last = add("Sigmoid", add("Gemm", last, weight, floats(33), transB=1))
    return graph_of(inputs, constants, nodes, (*outputs, last))


def same_bits(
    compressed: CompressedGraph,
    hardware: Hardware,
    frames: Mapping[str, np.ndarray],
    period_s: float | None = None,
) -> Ran:
    """Compile, execute, compare with the evaluator; no race."""
    ran = execute_graph(compressed, hardware, frames, period_s=period_s)
    wanted, _ = evaluate_stream(compressed.graph, dict(frames), {}, {}, compressed)
    for name, found in ran.execution.outputs.items():
        assert found.tobytes() == wanted[name].tobytes(), name
    assert check_races(ran.compiled.program, ran.execution.trace) == []
    return ran


def with_codec_of(hardware: Hardware, compressed: CompressedGraph) -> CompressedGraph:
    if hardware.decoder.at != "read":
        return compressed
    return with_codec(compressed, "csc", lanes=hardware.mac.lanes)


# -------------------------------------------------------------------------------- pieces


def window(buffer: str, rows: int, cols: int, offset: int, gap: int, is_tall: bool) -> Access:
    """Window whose rows, or whose columns, lie next to one another."""
    strides = (1, rows + gap) if is_tall else (cols + gap, 1)
    return Access(buffer, offset, rows, cols, *strides)


def elements(access: Access) -> list[int]:
    rows, cols = np.indices(access.shape)
    at = access.offset + rows * access.row_stride + cols * access.col_stride
    return at.reshape(-1).tolist()


def operand(item: Item, name: str) -> Access:
    access = item.operands[name]
    assert isinstance(access, Access)
    return access


sizes = st.tuples(st.integers(1, 12), st.integers(1, 40))


@given(
    shape=sizes, is_tall=st.booleans(), offset=st.integers(0, 5), gap=st.integers(0, 3),
    data=st.data(), per_row=st.booleans(),
)  # fmt: skip
def test_pieces_of_a_product_make_each_element_once(
    shape: tuple[int, int], is_tall: bool, offset: int, gap: int, data: st.DataObject,
    per_row: bool,
) -> None:  # fmt: skip
    rows, outputs = shape
    head = data.draw(st.integers(0, rows - 1))
    cut = Cut(
        head, data.draw(st.integers(head, rows - 1)),
        tuple(sorted(data.draw(st.sets(st.integers(1, 45), max_size=4)))),
        inner=data.draw(st.sampled_from([0, 32, 64])),
    )  # fmt: skip
    cut = data.draw(st.sampled_from([cut, Cut(each=True)]))
    target = window("y", rows, outputs, offset, gap, is_tall)
    source, weights = window("x", rows, 80, 0, 0, False), window("w", outputs, 80, 0, 0, False)
    scale = window("s", rows if per_row else 1, 1, 0, 0, False)
    channels = Access("p", 7, 1, outputs, 0, 1)
    product = Item("mac_matmul", "", {"src": source, "src2": weights, "accumulate": 0})
    # One row may have several drains, each of which takes its own sums.
    several = data.draw(st.sets(st.integers(1, outputs), max_size=3)) if rows == 1 else set()
    drains = [
        Item(
            "mac_drain",
            "",
            {"dst": part_of(target, 0, rows, low, high - low), "src": scale, "acc": low}
            | {"scale": part_of(channels, 0, 1, low, high - low)},
        )
        for low, high in itertools.pairwise(sorted({0, outputs} | several))
    ]
    assert product_target(drains) == target
    made: list[int] = []
    for items in cut_product(product, drains, cut):
        products = [item for item in items if item.mnemonic == "mac_matmul"]
        drained = items[len(products) :]
        parts = [elements(operand(item, "dst")) for item in drained]
        sums = [item.operands.get("acc", 0) for item in drained]
        assert sums == [0, *itertools.accumulate(map(len, parts[:-1]))]
        written = list(itertools.chain(*parts))
        made += written
        inner = [operand(item, "src") for item in products]
        assert [bool(item.operands["accumulate"]) for item in products] == [
            number > 0 for number in range(len(products))
        ]
        # The same rows of activations and outputs of weights, the whole sum in order.
        terms = np.concatenate([np.reshape(elements(one), one.shape) for one in inner], axis=1)
        row = (terms[:, 0] // 80).tolist()
        assert terms.tolist() == [list(range(80 * one, 80 * one + 80)) for one in row]
        columns = np.concatenate(
            [
                np.reshape(elements(w), w.shape)
                for item in products
                for w in [operand(item, "src2")]
            ],
            axis=1,
        )
        output = (columns[:, 0] // 80).tolist()
        assert columns.tolist() == [list(range(80 * one, 80 * one + 80)) for one in output]
        whole = np.reshape(elements(target), target.shape)
        assert written == whole[np.ix_(row, output)].reshape(-1).tolist()
        scales = [at for item in drained for at in elements(operand(item, "scale"))]
        assert scales == [7 + one for one in output]
        for item in drained:
            assert elements(operand(item, "src")) == (row if per_row else [0])
    assert sorted(made) == sorted(elements(target))


@given(shape=sizes, is_tall=st.booleans(), cuts=st.sets(st.integers(0, 500), max_size=5))
def test_pieces_of_elementwise_work_do_each_element_once(
    shape: tuple[int, int], is_tall: bool, cuts: set[int]
) -> None:
    target, source = window("y", *shape, 3, 1, is_tall), window("x", *shape, 0, 0, False)
    item = Item("vector_unary", "", {"dst": target, "src": source, "function": "tanh"})
    pairs = [
        pair
        for piece in cut_elementwise(item, cuts)
        for pair in zip(elements(operand(piece, "dst")), elements(operand(piece, "src")),
                        strict=True)
    ]  # fmt: skip
    assert sorted(pairs) == sorted(zip(elements(target), elements(source), strict=True))


@given(shape=sizes, per_row=st.booleans(), data=st.data())
def test_pieces_of_a_quantization_share_their_scale(
    shape: tuple[int, int], per_row: bool, data: st.DataObject
) -> None:
    rows, cols = shape
    length = rows if rows > 1 else cols
    first = data.draw(st.integers(0, length - 1))
    last = data.draw(st.integers(first + 1, length))
    scale = window("s", rows if per_row else 1, 1, 0, 0, False)
    item = Item(
        "vector_quantize", "",
        {"dst": window("c", *shape, 2, 1, False), "src": window("x", *shape, 0, 0, True),
         "scale": scale, "peak": Access("p", 0, 1, 1, 1, 1), "use_peak": 1},
    )  # fmt: skip
    each = rows > 1 and per_row and data.draw(st.booleans())
    pieces = cut_quantize(item, (0, 1) if each else (first, last), each=each)
    pairs = [
        pair
        for piece in pieces
        for pair in zip(elements(operand(piece, "dst")), elements(operand(piece, "src")),
                        strict=True)
    ]  # fmt: skip
    wanted = zip(elements(operand(item, "dst")), elements(operand(item, "src")), strict=True)
    assert sorted(pairs) == sorted(wanted)
    begins = [min(elements(operand(piece, "dst"))) for piece in pieces]
    if each:
        assert begins == [2 + row * (cols + 1) for row in range(rows)]
        assert [elements(operand(piece, "scale")) for piece in pieces] == [[n] for n in range(rows)]
        return
    assert begins[0] == 2 + first * (cols + 1 if rows > 1 else 1)
    if not per_row or rows == 1:
        finders = [piece for piece in pieces if not piece.operands.get("static")]
        assert finders == pieces[:1]


@pytest.fixture
def any_cuts(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Random cuts of every product instead of those that help; the entry is their seed."""
    seed = [0]

    def best(
        stretch: overlap_module._Stretch, estimator: Estimator, hardware: Hardware, work: int
    ) -> tuple[list[Item], dict[str, int], int]:
        rng = np.random.default_rng(seed[0])
        cuts = {}
        for number in range(len(stretch.units)):
            product, *drains = stretch.units[number]
            is_product = is_cuttable(stretch.units[number], stretch.storages)
            if not is_product or rng.random() < 0.2:
                continue
            if rng.random() < 0.2:
                cuts[number] = Cut(each=True)
                continue
            rows, cols = product_target(drains).shape
            head = int(rng.integers(rows))
            outputs = sorted({int(at) for at in rng.integers(1, cols + 1, 3)} - {cols})
            is_block = stretch._is_block(product)
            cuts[number] = Cut(
                head,
                int(rng.integers(head, rows)),
                () if is_block else tuple(outputs),
                bool(rng.random() < 0.5),
                int(rng.choice(stretch._sums(product))),
            )
        found = stretch._tried(cuts, estimator)
        stretch.storages.update(found.storages)
        return found.items(), found.held(), work

    monkeypatch.setattr(overlap_module._Stretch, "best", best)
    return seed


@pytest.mark.kernels
@pytest.mark.parametrize("name", CHIPS)
@pytest.mark.parametrize("is_static", [False, True])
def test_no_cut_changes_a_bit(name: str, is_static: bool, any_cuts: list[int]) -> None:
    hardware = CHIPS[name]
    for seed in range(6):
        any_cuts[0] = seed
        graph = convolutions(seed)
        compressed = compress(
            graph, (8, 4, 2)[seed % 3], 16 if seed == 4 else 8, None, 0.125 if is_static else None
        )
        compressed = with_codec_of(hardware, pruned(compressed, 0.5, seed))
        same_bits(compressed, hardware, frames_for(graph, 1 + seed % 3, seed))


@pytest.mark.kernels
def test_a_product_whose_results_live_in_dram_stays_whole() -> None:
    """Each of its drains comes with transfers of its own, and takes the sums of all outputs."""
    rng = np.random.default_rng(0)
    hidden, inner = 32, 64
    constants = {
        "W": rng.standard_normal((1, 4 * hidden, inner)).astype(F),
        "R": rng.standard_normal((1, 4 * hidden, hidden)).astype(F),
    }
    cell = node("LSTM", ["x", "W", "R", "", "", "h", "c"], ("y", "hn", "cn"), hidden_size=hidden)
    shapes = {"x": (1, 1, inner), "h": (1, 1, hidden), "c": (1, 1, hidden)}
    graph = graph_of(shapes, constants, [cell], ("y", "hn", "cn"))
    state = {"h": "hn", "c": "cn"}
    initial = {name: np.full((1, 1, hidden), F(0.25)) for name in state}
    hardware = chip(vector__lanes=4, mac__lanes=16, activation_sram__bytes=640)
    compressed, frames = compress(graph), frames_for(graph, 2, 1, list(state))
    ran = execute_graph(compressed, hardware, frames, state, initial)
    wanted, _ = evaluate_stream(graph, frames, state, initial, compressed)
    assert ran.execution.outputs["y"].tobytes() == wanted["y"].tobytes()
    drains = [item for item in walk(ran.compiled.schedule.body) if item.operands.get("acc")]
    assert drains


@pytest.mark.slow
@settings(max_examples=25)
@given(seed=st.integers(0, 1 << 20), name=st.sampled_from(list(CHIPS)), count=st.integers(1, 3))
def test_chosen_cuts_change_no_bit(seed: int, name: str, count: int) -> None:
    graph = convolutions(seed)
    compressed = with_codec_of(CHIPS[name], pruned(compress(graph), 0.3, seed))
    same_bits(compressed, CHIPS[name], frames_for(graph, count, seed))


def test_a_try_is_what_it_would_be_without_those_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries share what they have in common; each gives the pieces of one that begins anew."""
    kept: list[int] = []

    def tried(
        stretch: overlap_module._Stretch,
        cuts: dict[int, Cut],
        estimator: Estimator,
        same: int = 0,
    ) -> overlap_module._Tried:
        items = [item for unit in stretch.units for item in unit]
        anew = overlap_module._Stretch(items, stretch.storages, stretch._is_long, stretch._ahead)
        assert anew.units == stretch.units
        found, wanted = known(stretch, cuts, estimator, same), known(anew, cuts, estimator)
        assert found == wanted
        assert list(found.starts) == list(wanted.starts)
        kept.append(same)
        return found

    known = overlap_module._Stretch._tried
    monkeypatch.setattr(overlap_module._Stretch, "_tried", tried)
    for seed in range(3):
        graph = convolutions(seed)
        for hardware in (AZ1, READER):
            same_bits(with_codec_of(hardware, compress(graph)), hardware, frames_for(graph, 2))
    assert sum(map(bool, kept)) > 50


@pytest.mark.parametrize("stays", [True, False])
def test_two_layers_over_time_go_on_beside_one_another(stays: bool) -> None:
    """The second layer's steps begin as soon as the first one has made what they need."""
    steps, inputs, hidden = 8, 160, 64
    rng = np.random.default_rng(1)
    constants = {"axis": np.array([1])}
    for layer, size in (("1", inputs), ("2", hidden)):
        for name, cols in (("W", size), ("R", hidden)):
            values = rng.standard_normal((1, 4 * hidden, cols)) * 0.3
            constants[name + layer] = values.astype(np.float32)
    nodes = [
        node("LSTM", ["x", "W1", "R1"], ["first"], hidden_size=hidden),
        node("Squeeze", ["first", "axis"], "between"),
        node("LSTM", ["between", "W2", "R2"], ["y"], hidden_size=hidden),
    ]
    compressed = compress(graph_of({"x": (steps, 1, inputs)}, constants, nodes, ["y"]))
    hardware = AZ1 if stays else chip(weight_sram__bytes=65_536)
    ran = same_bits(compressed, hardware, frames_for(compressed.graph, 3), period_s=0.1)
    body = [item for item in ran.compiled.schedule.body if isinstance(item, Item)]
    products = [operand(item, "src2").buffer[:2] for item in body if item.mnemonic == "mac_matmul"]
    loads = [operand(item, "dst").cols for item in body if item.mnemonic == "load"]
    if not stays:
        assert loads == [steps * inputs]  # what waits for weights need not come in two loads
        return
    assert products.index("W2") < products.index("R1") + 8
    assert products.count("W2") >= steps
    # The frame comes in two loads as well.
    assert loads == [inputs, (steps - 1) * inputs]


@pytest.mark.slow
def test_a_block_that_is_read_as_it_is_stays_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows may be cut; a part of its outputs or of its sum is no block."""
    offered: list[dict[str, object]] = []

    def ends(stretch: overlap_module._Stretch, number: int, hardware: Hardware) -> object:
        found = list(known(stretch, number, hardware))
        offered.extend([*found, *stretch._begins(number)])
        return iter(found)

    known = overlap_module._Stretch._ends
    monkeypatch.setattr(overlap_module._Stretch, "_ends", ends)
    for seed in range(12):
        graph = convolutions(seed)
        same_bits(with_codec_of(READER, compress(graph)), READER, frames_for(graph, 2))
    assert any(cut.get("head") or cut.get("tail") for cut in offered)
    assert not any(cut.get("outputs") or cut.get("inner") for cut in offered)


# ---------------------------------------------------------------------------------- peaks


def _expanded(items: Sequence[Item], **num_elements: int) -> list[Item]:
    storages = {
        name: Storage(name, "activation", "i8" if name == "codes" else "f32", 4 * n)
        for name, n in num_elements.items()
    }
    estimator = Estimator(compress(_late_input()), Plan({}, {}, frozenset(), 0, 0), {}, AZ1)
    expansion = Expansion(storages, estimator, is_fixed=False)
    for item in items:
        expansion.add((item,), Cut())
    return [item for piece in expansion.pieces for item in piece.items]


def _row(buffer: str, cols: int, offset: int = 0) -> Access:
    return Access(buffer, offset, 1, cols, cols, 1)


def _quantize(source: Access) -> Item:
    operands = {"dst": replace(source, buffer="codes"), "src": source, "scale": _row("scale", 1)}
    return Item("vector_quantize", "", {**operands, "static": 0})


def _unary(target: Access, source: Access) -> Item:
    return Item("vector_unary", "", {"dst": target, "src": source, "function": "neg"})


def test_writers_find_the_peak_of_what_is_quantized() -> None:
    items = [_unary(_row("a", 4), _row("x", 4)), _quantize(_row("a", 4))]
    writer, quantize = _expanded(items, a=4, x=4, codes=4, scale=1)
    assert quantize.operands["peak"] == writer.operands["peak"]
    assert quantize.operands["use_peak"] == writer.operands["use_peak"] == 1


def test_a_peak_serves_two_quantizations() -> None:
    """A row is quantized alone, and once more with the row behind it, whose peak lies beside."""
    items = [
        _unary(_row("a", 4), _row("x", 4)),
        _quantize(_row("a", 4)),
        _unary(_row("a", 4, 4), _row("x", 4)),
        _quantize(_row("a", 8)),
    ]
    first, alone, second, both = _expanded(items, a=8, x=4, codes=8, scale=1)
    assert alone.operands["peak"] == first.operands["peak"] == _row("scale#peak", 1)
    assert second.operands["peak"] == _row("scale#peak", 1, 1)
    assert both.operands["peak"] == Access("scale#peak", 0, 2, 1, 1, 1)
    # But what lies beside another row's peak is not taken alone.
    items[1], items[3] = items[3], items[1]
    items[1:3] = items[2:0:-1]
    *_, both, alone = _expanded(items, a=8, x=4, codes=8, scale=1)
    assert "peak" in both.operands
    assert "peak" not in alone.operands


def test_a_peak_over_more_than_what_is_quantized_is_not_taken() -> None:
    """Half of what was written, shown twice: as many elements, but another largest one."""
    twice = Access("a", 0, 2, 2, 0, 1)
    items = [_unary(_row("a", 4), _row("x", 4)), _quantize(twice)]
    assert _expanded(items, a=4, x=4, codes=4, scale=1) == items
    items[1] = _quantize(_row("a", 3))
    assert _expanded(items, a=4, x=4, codes=4, scale=1) == items


def test_a_peak_of_what_moves_with_a_loop_is_not_taken() -> None:
    """A row of many is written, and in some round of the loop it is another than the first."""
    moving = replace(_row("a", 4), advance={7: 4})
    items = [_unary(moving, _row("x", 4)), _quantize(_row("a", 4))]
    assert _expanded(items, a=16, x=4, codes=4, scale=1) == items


@pytest.mark.parametrize("is_overwritten", [False, True])
def test_a_copy_needs_a_peak_where_its_source_was_written_again(is_overwritten: bool) -> None:
    again = [_unary(_row("a", 2, 2), _row("y", 2))] if is_overwritten else []
    items = [
        _unary(_row("a", 2, 2), _row("x", 2)),
        Item("vector_copy", "", {"dst": _row("a", 2), "src": _row("a", 2, 2)}),
        *again,
        _quantize(_row("a", 4)),
    ]
    found = _expanded(items, a=4, x=2, y=2, codes=4, scale=1)
    assert operand(found[-1], "peak").rows == (2 if is_overwritten else 1)
    assert ("peak" in found[1].operands) is is_overwritten


# ----------------------------------------------------------------------- the engines' model


@st.composite
def piece_lists(draw: st.DrawFn) -> tuple[list[Piece], list[list[int]]]:
    """Pieces of one to three items that depend on earlier ones."""
    rng = np.random.default_rng(draw(st.integers(0, 1 << 32)))
    pieces: list[Piece] = []
    cycles: list[list[int]] = []
    engines = ["mac", "vector", "load", "weight", "store"][: draw(st.integers(1, 5))]
    comes_in_parts = draw(st.booleans())
    window = Access("input", 0, 1, 1, 1, 1)
    for number in range(draw(st.integers(1, 30))):
        engine = engines[int(rng.integers(len(engines)))]
        cycles.append(rng.integers(0, 20, int(rng.integers(1, 4))).tolist())
        fills = engine in ("load", "weight", "store") and rng.random() < 0.7
        items = [Item("vector_fill", "")] * len(cycles[-1])
        if engine == "load" and comes_in_parts:
            items = [Item("load", "", {"src": window, "paced": 1})] * len(items)
        piece = Piece(items, number, engine, bool(fills))
        for other in range(number):
            if rng.random() < 0.15:
                done = int(rng.integers(len(pieces[other].items)))
                piece.needs((other, done), int(rng.integers(len(items))))
        if number and rng.random() < 0.3:
            piece.behind = int(rng.integers(number))
        pieces.append(piece)
    return pieces, cycles


@given(found=piece_lists())
@pytest.mark.parametrize(
    "schedule", [list_schedule, functools.partial(list_schedule, ahead=2), program_order]
)
def test_a_schedule_of_pieces_can_be_carried_out(
    schedule: Callable[[list[Piece], list[list[int]]], dict[int, int]],
    found: tuple[list[Piece], list[list[int]]],
) -> None:
    pieces, cycles = found
    starts = schedule(pieces, cycles)
    ends = {number: at + sum(cycles[number]) for number, at in starts.items()}
    assert sorted(starts) == list(range(len(pieces)))
    assert list(starts.values()) == sorted(starts.values())
    order = {number: place for place, number in enumerate(starts)}
    for number, piece in enumerate(pieces):
        for (other, done), item in piece.before.items():
            assert order[other] < order[number]
            over = starts[other] + sum(cycles[other][: done + 1])
            assert starts[number] + sum(cycles[number][:item]) >= over
        if piece.behind is not None:
            assert order[piece.behind] < order[number]
            assert starts[number] >= starts[piece.behind]
    together = [[n for n in starts if pieces[n].engine == e] for e in {p.engine for p in pieces}]
    together.append([n for n in starts if pieces[n].fills_dram])
    for numbers in together:
        for before, after in itertools.pairwise(numbers):
            assert ends[before] <= starts[after]


def test_an_order_from_the_end_backwards_knows_what_else_engines_do() -> None:
    """By its way alone the longer load goes first; but what follows the other one takes longer,
    as the vector engine does it piece by piece."""
    items = [Item("vector_fill", "")]
    pieces = [Piece(items, number, "load", True) for number in range(2)]
    pieces += [Piece(items, number, "vector", False, {(1, 0): 0}) for number in range(2, 6)]
    pieces.append(Piece(items, 6, "mac", False, {(0, 0): 0}))
    cycles = [[40], [20], [20], [20], [20], [20], [10]]
    starts = list_schedule(pieces, cycles)
    assert starts[1] == 0
    assert max(at + cycles[number][0] for number, at in starts.items()) == 100


def test_an_engine_waits_for_what_a_part_of_a_frame_brings() -> None:
    """The array could begin with work that has time, but then it would not be free for the rest
    of the frame, on which much depends; unless a frame comes at once, it waits."""

    def load(*, paced: int) -> list[Item]:
        window = Access("input", 0, 1, 4, 4, 1)
        return [
            Item("load", "", {"dst": replace(window, buffer="x"), "src": window, "paced": paced})
        ]

    items = [Item("vector_fill", "")]
    pieces = [
        Piece(load(paced=1), 0, "load", True),
        Piece(load(paced=0), 1, "load", True, behind=0),
        Piece(items, 2, "mac", False, {(0, 0): 0}),
        Piece(items, 3, "mac", False, {(1, 0): 0}),
        Piece(items, 4, "vector", False, {(3, 0): 0}),
    ]
    cycles = [[10], [10], [60], [10], [80]]
    in_parts = list_schedule(pieces, cycles)
    assert (in_parts[3], in_parts[2]) == (20, 30)
    other = Item("load", "", {"src": Access("other", 0, 1, 4, 4, 1)})
    pieces[1] = replace(pieces[1], items=[other])
    at_once = list_schedule(pieces, cycles)
    assert (at_once[2], at_once[3]) == (10, 70)


@given(found=piece_lists(), ahead=st.integers(1, 6), of_unit=st.integers(1, 3))
def test_no_piece_is_further_ahead_than_allowed(
    found: tuple[list[Piece], list[list[int]]], ahead: int, of_unit: int
) -> None:
    pieces, cycles = found
    pieces = [replace(piece, unit=number // of_unit) for number, piece in enumerate(pieces)]
    left = [piece.unit for piece in pieces]
    for number in list_schedule(pieces, cycles, ahead):
        assert pieces[number].unit < min(left) + ahead
        left.remove(pieces[number].unit)
    everything = list_schedule(pieces, cycles, len(pieces))
    assert everything == list_schedule(pieces, cycles)


@pytest.mark.slow
def test_as_many_steps_overlap_as_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Just enough for one after another, for some at a time, for more, for all."""
    monkeypatch.setattr(ways, "_WORTH_INSTRUCTIONS", math.inf)  # no last round apart
    rooms_bytes = (3_328, 3_392, 3_712, 4_608)
    workload = azsim.load_workload("attention_window_small", ["input.random.frames=6"])
    runs = [
        azsim.run(workload, load_hardware("az1", [f"activation_sram.bytes={room}"]), verify=True)
        for room in rooms_bytes
    ]
    assert all(run.summary["bit_exact"] for run in runs)
    cycles = [run.statistics.cycles for run in runs]
    assert cycles == sorted(set(cycles), reverse=True)


def test_what_is_on_the_longest_way_goes_first() -> None:
    items = [Item("vector_fill", "")]
    pieces = [Piece(items, number, "vector", False) for number in range(2)]
    pieces.append(Piece(items, 2, "mac", False, {(1, 0): 0}))
    assert list_schedule(pieces, [[5], [5], [90]]) == {1: 0, 0: 5, 2: 5}
    assert program_order(pieces, [[5], [5], [90]]) == {0: 0, 1: 5, 2: 10}


def test_what_waits_for_an_item_does_not_wait_for_the_piece() -> None:
    """As for the first of the drains of a product's results."""
    items = [Item("vector_fill", "")]
    pieces = [Piece(items * 3, 0, "mac", False), Piece(items, 1, "vector", False, {(0, 1): 0})]
    assert list_schedule(pieces, [[20, 5, 30], [10]]) == {0: 0, 1: 25}
    assert program_order(pieces, [[20, 5, 30], [10]]) == {0: 0, 1: 25}
    pieces[1] = Piece(items * 2, 1, "vector", False, {(0, 1): 1})
    assert list_schedule(pieces, [[20, 5, 30], [10, 10]]) == {0: 0, 1: 15}


# ------------------------------------------------------------------------------ whole frames


@functools.cache
def schedules(seed: int, name: str) -> tuple[Schedule, list[overlap_module._Tried]]:
    """A compiled graph's schedule, and what the model said of its stretches."""
    seen: list[overlap_module._Tried] = []
    of_tries: list[tuple[Schedule, list[overlap_module._Tried]]] = []
    held = overlap_module._Tried.held

    def watched(tried: overlap_module._Tried) -> dict[str, int]:
        seen.append(tried)
        return held(tried)

    def tried(*args: Any, **options: Any) -> Schedule:
        seen.clear()
        found = overlap_module.overlap(*args, **options)
        of_tries.append((found, list(seen)))
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(overlap_module._Tried, "held", watched)
        patch.setattr(ways, "overlap", tried)
        graph = convolutions(seed)
        compressed = with_codec_of(CHIPS[name], compress(graph))
        compiled = compile_graph(compressed, CHIPS[name], Stream(3, None, False), {}, "g")
    (stretches,) = [stretches for schedule, stretches in of_tries if schedule is compiled.schedule]
    return compiled.schedule, stretches


@pytest.mark.parametrize("name", CHIPS)
def test_an_order_is_never_longer_than_the_programs(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the priorities make of it: here, nothing good."""

    def late(
        pieces: Sequence[Piece], cycles: Sequence[Sequence[int]], _: int | None
    ) -> dict[int, int]:
        return {number: 10**6 + at for number, at in program_order(pieces, cycles).items()}

    monkeypatch.setattr(overlap_module, "list_schedule", late)
    for stretch in schedules.__wrapped__(1, name)[1]:
        assert stretch.end < 10**6
        numbers = [n for n in stretch.starts if stretch.pieces[n].engine == "vector"]
        assert numbers == sorted(numbers)


@pytest.mark.slow
@pytest.mark.parametrize("name", CHIPS)
def test_what_overlaps_in_the_model_lies_apart(name: str) -> None:
    checked = 0
    for seed in range(4):
        schedule, stretches = schedules(seed, name)
        hardware = replace(
            CHIPS[name], activation_sram=replace(CHIPS[name].activation_sram, bytes=1 << 22)
        )
        addresses = allocate(schedule, hardware).addresses
        for stretch in stretches:
            lives: dict[str, tuple[int, int]] = {}
            for number, start in stretch.starts.items():
                for item in stretch.pieces[number].items:
                    for _, access in accesses(item):
                        first, last = lives.get(access.buffer, (start, 0))
                        end = start + stretch.cycles[number]
                        lives[access.buffer] = min(first, start), max(last, end)
            for left, right in itertools.combinations(lives, 2):
                one, two = schedule.storages[left], schedule.storages[right]
                if one.space != "activation" or two.space != "activation":
                    continue
                if lives[left][0] < lives[right][1] and lives[right][0] < lives[left][1]:
                    low, high = sorted([one, two], key=lambda storage: addresses[storage.name])
                    assert addresses[low.name] + low.size_bytes <= addresses[high.name]
                    checked += 1
    assert checked > 20


def _late_input() -> Graph:
    """The second input has the longer way."""
    nodes = [
        node("Tanh", ["z"], "a"), node("Tanh", ["a"], "b"), node("Tanh", ["b"], "c"),
        node("Add", ["c", "x"], "y"),
    ]  # fmt: skip
    return graph_of({"x": (1, 40), "z": (1, 40)}, {}, nodes, ("y",))


@pytest.mark.parametrize("name", CHIPS)
def test_no_input_of_a_frame_is_loaded_before_the_frame_is_there(name: str) -> None:
    graph = _late_input()
    frames = frames_for(graph, 4)
    ran = same_bits(with_codec_of(CHIPS[name], compress(graph)), CHIPS[name], frames, 1e-5)
    first = ran.compiled.schedule.body[0]
    assert isinstance(first, Item)
    assert first.operands["paced"] == 1
    timing = replay(ran.execution.trace, ran.compiled.program, CHIPS[name])
    sites = ran.execution.trace.sites
    loads = [n for n, site in enumerate(timing.site) if sites[site].mnemonic == "load"]
    arrivals = timing.arrival[timing.arrival > 0]
    assert len(loads) == 8
    for frame in range(4):
        for load in loads[2 * frame : 2 * frame + 2]:
            assert timing.start[load] >= arrivals[frame]


@functools.cache
def _speech(preset: str) -> tuple[int, int]:
    """Cycles of six frames of speech, as they are and without the pass."""
    prepared = prepare(azsim.load_workload("vad_silero"))
    hardware, stream = load_hardware(preset), Stream(6, 1e-3, True)
    frames = {name: array[:6] for name, array in prepared.frames.items()}
    found = []
    for is_overlapped in (True, False):
        with pytest.MonkeyPatch.context() as patch:
            if not is_overlapped:
                patch.setattr(ways, "overlap", lambda schedule, *_, **__: schedule)
            compiled = compile_graph(
                prepared.compressed, hardware, stream, prepared.state, "vad_silero"
            )
        image = write_inputs(compiled.program, compiled.image, {**frames, **prepared.initial_state})
        trace = execute(compiled.program, image, hardware).trace
        found.append(replay(trace, compiled.program, hardware).cycles)
    return found[0], found[1]


@pytest.mark.kernels
@pytest.mark.parametrize("preset", ["az1", "az2"])
def test_a_frame_of_speech_gets_shorter(preset: str) -> None:
    overlapped, in_order = _speech(preset)
    assert overlapped < 0.95 * in_order


# ----------------------------------------------------------------------------------- trim


def _rows(lowering: Lowering) -> int:
    return sum(step.dst.rows for _, step in lowering.steps if isinstance(step, Matmul))


@given(seed=st.integers(0, 1 << 32), is_random=st.booleans())
def test_trim_drops_only_what_nothing_reads(seed: int, is_random: bool) -> None:
    graph = random_graph(seed, 8) if is_random else convolutions(seed % 500)
    compressed = compress(graph)
    inputs = {name: np.abs(one) + F(0.1) for name, one in random_inputs(graph, seed).items()}
    try:
        wanted, _ = evaluate_stream(
            graph, {name: one[None] for name, one in inputs.items()}, {}, {}, compressed
        )
    except InputError:
        return
    whole = narrow(lower(compressed))  # the interpreter has no fused functions
    rows = _rows(whole)
    trimmed = trim(whole)
    assert _rows(trimmed) <= rows
    # Buffers begin as NaN: what is dropped and read after all would show.
    found = StepInterpreter(trimmed).run(inputs)
    for name in set(found) - set(trimmed.fused) - set(graph.inputs) - set(graph.initializers):
        assert np.array_equal(found[name], wanted[name][0], equal_nan=True), name


def test_positions_that_are_sliced_away_are_not_computed() -> None:
    rng = np.random.default_rng(0)
    constants = {
        "w": rng.standard_normal((3, 2, 3)).astype(F),
        "from": np.array([4], np.int64), "to": np.array([9], np.int64),
        "axis": np.array([2], np.int64),
    }  # fmt: skip
    nodes = [
        node("Conv", ["x", "w"], "y", pads=(1, 1), strides=(1,)),
        node("Slice", ["y", "from", "to", "axis"], "z"),
    ]
    graph = graph_of({"x": (1, 2, 16)}, constants, nodes, ("z",))
    trimmed = trim(narrow(fuse(lower(compress(graph)), AZ1)))
    assert _rows(trimmed) == 5
    assert trimmed.fused["y"] == "positions that nothing reads are not computed"
    same_bits(compress(graph), AZ1, frames_for(graph, 2))
