"""State that activation SRAM has no room for: the same bits, in DRAM between frames."""

from __future__ import annotations

import contextlib
import functools
from dataclasses import replace

import numpy as np
import pytest

from azsim.compiler import spill as spilling
from azsim.compiler.allocate import fits
from azsim.compiler.schedule import Item, Repeat, Schedule, Storage, accesses, walk
from azsim.compiler.spill import leaving_room, spill
from azsim.errors import CompileError
from azsim.evaluate import evaluate_stream
from azsim.ir import CompressedGraph, Node
from azsim.ops.build import build_graph
from azsim.ops.lowering import Access, Leave
from azsim.sim.checks import check_program
from compiled import Ran, chip, execute_graph, node
from decoding import STATE as TRANSDUCER_STATE
from decoding import transducer
from graphs import compress, type_of
from plain_schedule import run_schedule

HIDDEN, LAYERS, FRAMES = 64, 4, 5
STATE = {f"{kind}{layer}": f"{kind}n{layer}" for layer in range(LAYERS) for kind in "hc"}


@functools.cache
def stack() -> CompressedGraph:
    """Four LSTM layers with all state carried."""
    rng = np.random.default_rng(0)

    def random(*shape: int) -> np.ndarray:
        return (rng.standard_normal(shape) * 0.1).astype(np.float32)

    constants = {"shape": np.array([1, 1, HIDDEN], np.int64)}
    nodes, tensor = [], "x"
    for layer in range(LAYERS):
        constants[f"W{layer}"] = random(1, 4 * HIDDEN, HIDDEN)
        constants[f"R{layer}"] = random(1, 4 * HIDDEN, HIDDEN)
        constants[f"B{layer}"] = random(1, 8 * HIDDEN)
        sources = (f"W{layer}", f"R{layer}", f"B{layer}", "", f"h{layer}", f"c{layer}")
        results = (f"y{layer}", f"hn{layer}", f"cn{layer}")
        size = {"hidden_size": HIDDEN}
        nodes.append(Node(f"lstm{layer}", "LSTM", (tensor, *sources), results, size))
        tensor = f"z{layer}"
        nodes.append(Node(f"row{layer}", "Reshape", (f"y{layer}", "shape"), (tensor,)))
    inputs = {name: type_of(1, 1, HIDDEN) for name in ("x", *STATE)}
    graph = build_graph("stack", inputs, constants, nodes, [tensor, *STATE.values()], "test")
    return compress(graph)


def run(activation_bytes: int) -> tuple[Ran, dict[str, np.ndarray]]:
    """Run the stack; with what the evaluator says of its outputs and its state."""
    frames = {"x": np.random.default_rng(1).standard_normal((FRAMES, 1, 1, HIDDEN))}
    frames = {name: array.astype(np.float32) for name, array in frames.items()}
    zeros = {name: np.zeros((1, 1, HIDDEN), np.float32) for name in STATE}
    graph = stack()
    ran = execute_graph(graph, chip(activation_sram__bytes=activation_bytes), frames, STATE, zeros)
    tensors, final = evaluate_stream(graph.graph, frames, STATE, zeros, graph)
    output = graph.graph.outputs[0]
    return ran, {output: tensors[output], **{STATE[name]: final[name] for name in STATE}}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("activation_bytes", "spilled"), [(6144, 0), (4864, 1), (4096, 3), (3600, 4), (2816, 6)]
)
def test_no_bit_depends_on_where_state_lives(activation_bytes: int, spilled: int) -> None:
    ran, wanted = run(activation_bytes)
    for name, array in wanted.items():
        assert np.array_equal(ran.execution.outputs[name].reshape(-1), array.reshape(-1)), name
    assert len(ran.compiled.schedule.spilled) == spilled
    assert ran.compiled.allocation.peak_bytes["activation"] <= activation_bytes
    verdicts = check_program(ran.compiled.program, chip(activation_sram__bytes=activation_bytes))
    assert [(one.findings, one.unproved) for one in verdicts] == [((), ())] * len(verdicts)


def test_a_state_in_dram_is_read_and_written_once_a_frame() -> None:
    ran, _ = run(4864)
    (source,) = ran.compiled.schedule.spilled
    port = f"input {source}"
    schedule = ran.compiled.schedule
    moved = [
        (item.mnemonic, name)
        for item in walk(schedule.startup + schedule.body + schedule.finish)
        for name, operand in item.operands.items()
        if isinstance(operand, Access) and operand.buffer == port
    ]
    left_over = schedule.frames % schedule.per_round
    in_program = schedule.per_round * (1 + schedule.last_apart) + left_over
    assert moved == [("load", "src"), ("store", "dst")] * in_program


@pytest.mark.slow
def test_too_little_room_without_any_state_is_said() -> None:
    with pytest.raises(
        CompileError, match=r"^activation SRAM of 1024 bytes is too small: \d+ bytes"
    ):
        run(1024)


def walked(groups: int, width: int, *, apart: bool) -> Schedule:
    """A schedule in which a loop walks over a state, a row each round."""
    size = groups * width
    advance = {7: width if apart else width - 1}
    window = Access("s", 0, 1, width, width, 1, advance)
    inner = Item("vector_unary", "layer", {"dst": window, "src": window, "function": "neg"})
    body = (Repeat(7, groups, (inner,)),)
    whole = Access("s", 0, 1, size, size, 1)
    outside = Access("input s", 0, 1, size, size, 1)
    saved = Access("output t", 0, 1, size, size, 1)
    return Schedule(
        (Item("load", "(startup)", {"dst": whole, "src": outside}),),
        body,
        (Item("store", "(state)", {"dst": saved, "src": whole}),),
        3,
        {
            "s": Storage("s", "activation", "f32", 4 * size, True),
            "input s": Storage("input s", "dram", "f32", 4 * size, True),
            "output t": Storage("output t", "dram", "f32", 4 * size, True),
        },
    )


def _loaded(done: list[Item]) -> int:
    """Elements that loads brought."""
    shapes = [item.operands["dst"].shape for item in done if item.mnemonic == "load"]  # type: ignore[union-attr]
    return sum(rows * cols for rows, cols in shapes)


def _on_chip(schedule: Schedule) -> int:
    """Bytes of all places in activation SRAM, those of a slot once."""
    found = {
        name if storage.slot is None else f"slot {storage.slot}": storage.size_bytes
        for name, storage in schedule.storages.items()
        if storage.space == "activation"
    }
    return sum(found.values())


@pytest.mark.parametrize(("groups", "places"), [(8, 2), (7, 1), (2, 1)])
def test_a_loop_over_a_state_holds_one_round_of_it_or_two(groups: int, places: int) -> None:
    """Two where rounds come in pairs: an odd number of them does not, nor do two alone."""
    schedule = walked(groups, 16, apart=True)
    hardware = chip(activation_sram__bytes=128 if groups > 2 else 64)
    assert not fits(schedule, hardware)
    found = spill(schedule, hardware, {"s": "t"})
    assert _on_chip(found) == places * 4 * 16
    state = np.arange(16 * groups)
    done = run_schedule(found, {"input s": state})
    assert state.tolist() == [-n for n in range(16 * groups)]  # three frames
    assert _loaded(done) == 3 * 16 * groups  # nothing is loaded in vain


def test_rounds_that_overlap_hold_what_they_share() -> None:
    schedule = walked(8, 16, apart=False)
    found = spill(schedule, chip(activation_sram__bytes=256), {"s": "t"})
    assert _on_chip(found) == 4 * 16
    loop = found.body[0]
    assert isinstance(loop, Repeat)
    assert [item.mnemonic for item in walk(loop.body)] == ["load", "vector_unary", "store"]


def constant_walk(groups: int) -> Schedule:
    """A schedule in which a loop reads a constant, a row each round, and adds rows up in "x"."""
    row, place = Access("c", 0, 1, 16, 16, 1, {7: 16}), Access("x", 0, 1, 16, 16, 1)
    reads = Item(
        "vector_binary", "layer", {"dst": place, "src": place, "src2": row, "function": "add"}
    )
    works = Item("vector_unary", "layer", {"dst": place, "src": place, "function": "neg"})
    whole, outside = (Access(name, 0, 1, 16 * groups, 0, 1) for name in ("c", "c#dram"))
    out = Access("output y", 0, 1, 16, 16, 1)
    return Schedule(
        (
            Item("load", "(startup)", {"dst": whole, "src": outside}),
            Item("load", "(startup)", {"dst": place, "src": replace(out, buffer="input x")}),
        ),
        (Repeat(7, groups, (reads, works)),),
        (Item("store", "(output)", {"dst": out, "src": place}),),
        3,
        {
            "c": Storage("c", "activation", "f32", 64 * groups, True),
            "c#dram": Storage("c#dram", "dram", "f32", 64 * groups, True),
            "x": Storage("x", "activation", "f32", 64, True),
            "input x": Storage("input x", "dram", "f32", 64, True),
            "output y": Storage("output y", "dram", "f32", 64, True),
        },
    )


@pytest.mark.parametrize("groups", [7, 8])
def test_a_loop_loads_what_later_rounds_read_as_soon_as_it_can(groups: int) -> None:
    """Behind the last use of a place: of the round after next where two take turns."""
    schedule = constant_walk(groups)
    found = spill(schedule, chip(activation_sram__bytes=256), {})
    (loop,) = (item for item in found.body if isinstance(item, Repeat))
    turn = ["vector_binary", "load", "vector_unary"]
    assert [item.mnemonic for item in walk(loop.body)] == turn * (1 if groups % 2 else 2)
    assert [item.but_last for item in walk(loop.body)][1] == (7 if groups % 2 else None)
    behind = [item for item in found.body if isinstance(item, Item)]
    assert [item.but_last for item in behind if item.mnemonic == "load"] == [0] * (2 - groups % 2)
    results = []
    for one in (schedule, found):
        dram = {
            "c#dram": np.arange(16 * groups),
            "input x": np.arange(16),
            "output y": np.zeros(16),
        }
        done = run_schedule(one, dram)
        results.append(dram["output y"].tolist())
    assert results[0] == results[1]
    assert _loaded(done) == 16 + 3 * 16 * groups


def test_a_part_of_a_region_loads_what_its_loops_walk_over() -> None:
    """Whether it runs is known when it does: nothing can be loaded for it before."""
    schedule = constant_walk(8)
    read = Access("x", 0, 1, 1, 1, 1)
    leave = Item("scalar_read", "", {"src": read, "to": 1}, leave=Leave(read, 0, stays=0.5))
    region = Repeat(9, 2, (*schedule.body, leave), 1.5)
    schedule = replace(schedule, body=(*schedule.body, region))
    found = spill(schedule, chip(activation_sram__bytes=320), {})
    results = []
    for one in (schedule, found):
        dram = {"c#dram": np.arange(128), "input x": np.arange(16), "output y": np.zeros(16)}
        run_schedule(one, dram)
        results.append(dram["output y"].tolist())
    assert results[0] == results[1]
    (inside,) = (item for item in found.body if isinstance(item, Repeat) and item.is_region)
    assert {storage.slot for name, storage in found.storages.items() if "@" in name} == {None}
    assert all(item.but_last != 0 for item in walk(inside.body))


def test_a_state_that_several_loops_walk_over_comes_and_goes_in_each() -> None:
    schedule = walked(8, 16, apart=True)
    (loop,) = schedule.body
    assert isinstance(loop, Repeat)
    again = replace(loop, number=8, body=_advancing(loop.body, 8))
    schedule = replace(schedule, body=(loop, again))
    found = spill(schedule, chip(activation_sram__bytes=256), {"s": "t"})
    assert found.spilled == {"s": "t"}
    assert _on_chip(found) == 256
    assert found.storages["input s"].is_shared
    assert not found.finish
    state = np.arange(128)
    done = run_schedule(found, {"input s": state})
    assert state.tolist() == list(range(128))
    assert _loaded(done) == 3 * 2 * 128


def _advancing(items: tuple[Item | Repeat, ...], loop: int) -> tuple[Item, ...]:
    """The same items in a loop of another number."""
    return tuple(
        replace(
            item,
            operands={
                **item.operands,
                **{name: replace(window, advance={loop: 16}) for name, window in accesses(item)},
            },
        )
        for item in walk(items)
    )


def test_a_loop_may_use_several_parts() -> None:
    schedule = walked(8, 16, apart=True)
    parts = [Access("s", first, 1, 16, 16, 1) for first in (0, 64)]
    items = tuple(
        Item("vector_unary", "layer", {"dst": part, "src": part, "function": "neg"})
        for part in parts
    )
    schedule = replace(schedule, body=(Repeat(7, 8, items),))
    found = spill(schedule, chip(activation_sram__bytes=256), {"s": "t"})
    loop = next(item for item in found.body if isinstance(item, Repeat))
    assert [item.operands["dst"] for item in walk(loop.body)] == [
        replace(part, buffer=f"s#{number}", offset=0) for number, part in enumerate(parts)
    ]
    assert [found.storages[f"s#{number}"].size_bytes for number in range(2)] == [64, 64]
    around = [item.mnemonic for item in found.body if isinstance(item, Item)]
    assert around == ["load", "load", "store", "store"]


def test_parts_that_nothing_uses_together_come_and_go_alone() -> None:
    low, high = Access("s", 0, 1, 70_000, 0, 1), Access("s", 70_000, 1, 30_000, 0, 1)
    schedule = walked(100_000, 1, apart=True)
    items = tuple(
        Item("vector_unary", "layer", {"dst": window, "src": window, "function": "neg"})
        for window in (low, high)
    )
    schedule = Schedule(schedule.startup, items, schedule.finish, 2, schedule.storages)
    found = spill(schedule, chip(activation_sram__bytes=300_000), {"s": "t"})
    shapes = [
        (item.mnemonic, item.operands["dst"].shape)  # type: ignore[union-attr]
        for item in walk(found.body)
        if item.mnemonic != "vector_unary"
    ]
    assert shapes == [
        ("load", (1, 65_536)),
        ("load", (1, 4_464)),
        ("store", (1, 65_536)),
        ("store", (1, 4_464)),
        ("load", (1, 30_000)),
        ("store", (1, 30_000)),
    ]


@pytest.mark.parametrize(("activation_bytes", "spilled"), [(49_152, 0), (40_960, 2), (36_864, 3)])
def test_constants_come_when_they_are_used(activation_bytes: int, spilled: int) -> None:
    rng = np.random.default_rng(4)
    constants = {
        f"c{n}": rng.standard_normal((1, size)).astype(np.float32)
        for n, size in enumerate((1024, 2048, 3072))
    }
    parts = {f"s{n}": np.array([size], np.int64) for n, size in enumerate((1024, 2048, 3072))}
    nodes = []
    for n in range(3):
        nodes.append(Node(f"part{n}", "Slice", ("x", "zero", f"s{n}", "axis"), (f"p{n}",)))
        nodes.append(Node(f"mul{n}", "Mul", (f"p{n}", f"c{n}"), (f"y{n}",)))
    whole = {"zero": np.array([0], np.int64), "axis": np.array([1], np.int64)}
    outputs = [f"y{n}" for n in range(3)]
    inputs = {"x": type_of(1, 3072)}
    graph = build_graph("constants", inputs, {**constants, **parts, **whole}, nodes, outputs, "t")
    frames = {"x": rng.standard_normal((3, 1, 3072)).astype(np.float32)}
    hardware = chip(activation_sram__bytes=activation_bytes)
    ran = execute_graph(CompressedGraph(graph, {}), hardware, frames)
    for name, array in evaluate_stream(graph, frames, {}, {})[0].items():
        if name in outputs:
            assert ran.execution.outputs[name].tobytes() == array.tobytes()
    assert ran.compiled.allocation.peak_bytes["activation"] <= activation_bytes
    loaded = {
        operand.buffer
        for item in walk(ran.compiled.schedule.body)
        if item.mnemonic == "load" and isinstance(operand := item.operands["src"], Access)
    }
    names = [f"c{n}#dram" for n in (2, 1, 0)]  # the largest first
    assert sorted(loaded - {"input x"}) == sorted(names[:spilled])
    verdicts = check_program(ran.compiled.program, hardware)
    assert [(one.findings, one.unproved) for one in verdicts] == [((), ())] * len(verdicts)


@pytest.mark.slow
def test_an_output_leaves_piece_by_piece() -> None:
    rng = np.random.default_rng(6)
    weights = {"w": rng.standard_normal((3000, 16)).astype(np.float32)}
    nodes = [Node("gemm", "Gemm", ("x", "w"), ("y",), {"transB": 1})]
    graph = build_graph("wide", {"x": type_of(1, 16)}, weights, nodes, ["y"], "test")
    frames = {"x": rng.standard_normal((3, 1, 16)).astype(np.float32)}
    small = chip(activation_sram__bytes=4096, weight_sram__bytes=32_768)
    ran = execute_graph(compress(graph), small, frames)
    expected = evaluate_stream(graph, frames, {}, {}, compress(graph))[0]["y"]
    assert ran.execution.outputs["y"].tobytes() == expected.tobytes()
    stores = [item for item in walk(ran.compiled.schedule.body) if item.mnemonic == "store"]
    assert len(stores) > 3
    assert ran.compiled.allocation.peak_bytes["activation"] <= 4096
    verdicts = check_program(ran.compiled.program, small)
    assert [(one.findings, one.unproved) for one in verdicts] == [((), ())] * len(verdicts)


@pytest.mark.slow
def test_scales_and_biases_beyond_half_of_weight_sram_come_when_they_are_used() -> None:
    rng = np.random.default_rng(8)
    sizes = {"small": 100, "large": 2000}
    weights = {
        f"{kind}_{name}": rng.standard_normal((size, 16) if kind == "w" else size)
        for name, size in sizes.items()
        for kind in "wb"
    }
    constants = {name: array.astype(np.float32) for name, array in weights.items()}
    nodes = [
        Node(name, "Gemm", ("x", f"w_{name}", f"b_{name}"), (name,), {"transB": 1})
        for name in sizes
    ]
    graph = build_graph("two", {"x": type_of(2, 16)}, constants, nodes, [*sizes], "test")
    frames = {"x": rng.standard_normal((3, 2, 16)).astype(np.float32)}
    for activation_bytes in (65_536, 24_576):
        small = chip(activation_sram__bytes=activation_bytes, weight_sram__bytes=8192)
        ran = execute_graph(compress(graph), small, frames)
        expected = evaluate_stream(graph, frames, {}, {}, compress(graph))[0]
        for name in sizes:
            assert ran.execution.outputs[name].tobytes() == expected[name].tobytes()
        storages = ran.compiled.schedule.storages
        if activation_bytes == 65_536:
            assert "(parameters)" not in storages  # all leave, as weights need the room
        else:
            assert storages["(parameters)"].size_bytes == 4 * 2 * 100  # of the small one
        in_pieces = "w_large#scales" not in storages and "b_large" not in storages
        assert in_pieces == (activation_bytes < 65_536)
        verdicts = check_program(ran.compiled.program, small)
        assert [(one.findings, one.unproved) for one in verdicts] == [((), ())] * len(verdicts)


@pytest.mark.parametrize("also", [(), ("flat",)])
def test_a_result_that_is_a_state_too_and_lives_in_dram_is_stored_where_it_was(
    also: tuple[str, ...],
) -> None:
    """The state is stored before data decides, if its source has a place of its own there.

    Two results of the same numbers are stored from one place.
    """
    model = transducer(3, frames=1, features=8).graph
    nodes = [
        replace(one, inputs=("x", "enc_w", "enc_r", "", "", "eh", "ec"), outputs=("y", "hn", "cn"))
        if one.name == "lstm"
        else one
        for one in model.nodes
    ]
    nodes += [
        node("Sub", ["y", "old"], "change"),
        node("Identity", ["y"], "kept"),
        node("Squeeze", ["y"], "flat"),
    ]
    shapes = {"eh": (1, 1, 8), "ec": (1, 1, 8), "old": (1, 1, 1, 8)}
    graph = build_graph(
        "g",
        {**model.inputs, **{name: type_of(*shape) for name, shape in shapes.items()}},
        dict(model.initializers),
        nodes,
        ("change", "y", *also, *model.outputs, "hn", "cn", "kept"),
        "test",
    )
    state = {**TRANSDUCER_STATE, "eh": "hn", "ec": "cn", "old": "kept"}
    compressed = compress(graph)
    rng = np.random.default_rng(0)
    initial = {name: np.zeros(graph.inputs[name].shape, np.float32) for name in state}
    frames = {"x": rng.standard_normal((3, 1, 1, 8)).astype(np.float32)}
    wanted, _ = evaluate_stream(graph, frames, state, initial, compressed)
    num_spilled = 0
    for size_bytes in range(640, 2048, 128):
        hardware = chip(activation_sram__bytes=size_bytes)
        with contextlib.suppress(CompileError):
            ran = execute_graph(compressed, hardware, frames, state, initial, period_s=0.01)
            num_spilled += bool(ran.compiled.schedule.spilled)
            for name in ("change", "y", *also, "symbols", "counts"):
                assert ran.execution.outputs[name].tobytes() == wanted[name].tobytes()
            for verdict in check_program(ran.compiled.program, hardware):
                assert not verdict.findings
                assert not verdict.unproved
    assert num_spilled > 2


@pytest.mark.parametrize(
    ("needed", "left"),
    [
        ({2: 3, 4: 3, 8: 8}, [(2, 3), (8, 8)]),
        ({2: 0, 4: 5, 8: 6}, [(2, 0), (4, 5), (8, 6)]),
        ({2: 9, 4: 99, 8: 99}, [(2, 9)]),
        ({2: 0, 4: 0, 8: 0}, [(2, 0)]),
        ({2: 99, 4: 99, 8: 99}, []),
    ],
)
def test_as_much_room_is_left_as_further_frames_need(
    monkeypatch: pytest.MonkeyPatch, needed: dict[int, int], left: list[tuple[int, int]]
) -> None:
    """Not less, not more, and nothing twice: numbers of the shares stand for what is spilled."""
    monkeypatch.setattr(spilling._Left, "of", lambda share, *_: spilling._ROOM.index(share))
    monkeypatch.setattr(
        spilling, "_in_finer_rounds", lambda number, parts, *_: None if parts else number
    )
    found = leaving_room(
        Schedule((), (), (), 1, {}),
        chip(),
        {},
        tuple(needed),
        lambda number, count: number >= needed[count],  # type: ignore[operator]
    )
    assert list(found) == left
