"""Frames of a round that share what comes from DRAM."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import azsim
from azsim.compiler.schedule import FRAME_LOOP, Item, Schedule, Storage, walk
from azsim.compiler.shared_loads import beside
from azsim.compiler.tile import Plan
from azsim.compiler.together import together
from azsim.evaluate import evaluate_stream
from azsim.hardware import load_hardware
from azsim.hardware.description import Hardware
from azsim.ir import Graph
from azsim.ops.lowering import Access
from azsim.pipeline import compile_workload
from azsim.sim.checks import check_program
from compiled import AZ1, Ran, chip, execute_graph, frames_for, graph_of, node
from graphs import compress
from plain_schedule import run_schedule
from test_decode_at_read import compressed_of, reader, run_and_compare, sparse_codes

_SIZE = 4
_PLACES = ("place0", "place1")
_CONSTANTS = ("a", "b", "c")
_STATES = ("s", "t")
_OWN = ("x", "y", "z")


def _all(name: str) -> Access:
    return Access(name, 0, 1, _SIZE, _SIZE, 1)


def _stream(work: list[Item], frames: int) -> Schedule:
    """Frames that come from DRAM, are worked on with what else lives there, and go back."""
    given = Access("input", 0, 1, _SIZE, _SIZE, 1, {FRAME_LOOP: _SIZE})
    result = Access("output", 0, 1, _SIZE, _SIZE, 1, {FRAME_LOOP: _SIZE})
    body = (
        Item("load", "in", {"dst": _all("x"), "src": given, "paced": 1}),
        *(_add(own, "x", "x") for own in _OWN[1:]),
        *work,
        Item("store", "out", {"dst": result, "src": _all("x")}),
    )
    startup = tuple(
        Item("load", "", {"dst": _all(place), "src": _all(name)})
        for place, name in (("kept", "before"), *zip(_PLACES, _CONSTANTS, strict=False))
    )
    finish = (Item("store", "", {"dst": _all("after"), "src": _all("kept")}),)
    size = 4 * _SIZE
    storages = {name: Storage(name, "activation", "i32", size) for name in (*_PLACES, *_OWN)}
    storages["kept"] = Storage("kept", "activation", "i32", size, True)
    for name in ("input", "output"):
        storages[name] = Storage(name, "dram", "i32", frames * size, True)
    for name in ("before", "after", *_CONSTANTS, *_STATES):
        storages[name] = Storage(name, "dram", "i32", size, True)
    return Schedule(startup, body, finish, frames, storages)


def _move(mnemonic: str, place: str, outside: str) -> Item:
    target, source = (place, outside) if mnemonic == "load" else (outside, place)
    return Item(mnemonic, "moved", {"dst": _all(target), "src": _all(source)})


def _add(target: str, source: str, other: str) -> Item:
    operands = {"dst": _all(target), "src": _all(source), "src2": _all(other), "function": "add"}
    return Item("vector_binary", "work", operands)


_ADD = st.builds(
    _add,
    st.sampled_from((*_OWN, "kept")),
    st.sampled_from((*_OWN, "kept", *_PLACES)),
    st.sampled_from((*_OWN, *_PLACES)),
)
_BROUGHT = st.builds(
    _move, st.just("load"), st.sampled_from(_PLACES), st.sampled_from(_CONSTANTS)
).map(lambda item: [item])
_VISIT = st.tuples(
    st.sampled_from(_PLACES), st.sampled_from(_STATES), st.lists(st.sampled_from(_OWN), max_size=3)
).map(
    lambda drawn: [
        _move("load", drawn[0], drawn[1]),
        *(_add(drawn[0], drawn[0], own) for own in drawn[2]),
        *(_add(own, own, drawn[0]) for own in drawn[2]),
        _move("store", drawn[0], drawn[1]),
    ]
)
_ANYTHING = st.builds(
    _move, st.sampled_from(("load", "store")), st.sampled_from(_PLACES), st.sampled_from(_STATES)
).map(lambda item: [item])
_WORK = st.lists(
    st.one_of(_ADD.map(lambda item: [item]), _ADD.map(lambda item: [item]), _BROUGHT, _VISIT),
    min_size=1,
    max_size=12,
).map(lambda parts: [item for part in parts for item in part])
_WILD = st.lists(
    st.one_of(_ADD.map(lambda item: [item]), _BROUGHT, _VISIT, _ANYTHING), min_size=1, max_size=10
).map(lambda parts: [item for part in parts for item in part])


def _same(schedule: Schedule, per_round: int, seed: int, hardware: Hardware = AZ1) -> Schedule:
    """Frames together do what frames one by one do."""
    found = together(schedule, hardware, per_round)
    rng = np.random.default_rng(seed)
    dram = {
        name: rng.integers(1, 100, storage.size_bytes // 4)
        for name, storage in schedule.storages.items()
        if storage.space == "dram"
    }
    ours, wanted = ({name: array.copy() for name, array in dram.items()} for _ in range(2))
    run_schedule(found, ours)
    run_schedule(schedule, wanted)
    for name, array in wanted.items():
        assert ours[name].tolist() == array.tolist(), name
    return found


@settings(max_examples=400, deadline=None)
@given(st.one_of(_WORK, _WILD), st.integers(4, 9), st.sampled_from([2, 3, 4]), st.integers(0, 99))
def test_frames_that_share_do_the_same(
    work: list[Item], frames: int, per_round: int, seed: int
) -> None:
    _same(_stream(work, frames), per_round, seed)


@settings(max_examples=400, deadline=None)
@given(_WORK, st.integers(4, 9), st.sampled_from([2, 3, 4]), st.integers(0, 99), st.integers(5, 14))
def test_frames_that_share_places_do_the_same(
    work: list[Item], frames: int, per_round: int, seed: int, places: int
) -> None:
    """Where there is no room for a place of each frame's own for everything."""
    hardware = chip(activation_sram__bytes=64 * places)
    _same(_stream(work, frames), per_round, seed, hardware)


def _moves(schedule: Schedule) -> list[str]:
    """Transfers of a round between DRAM and the places that frames share, in order."""
    return [
        f"{item.mnemonic} {dict(item.windows)['src' if item.mnemonic == 'load' else 'dst'].buffer}"
        for item in walk(schedule.body)
        if item.layer == "moved"
    ]


_USE = [_add("x", "x", place) for place in _PLACES]
_ROTATION = [
    _USE[0], _move("load", "place0", "c"), _USE[1], _move("load", "place1", "b"), _USE[0],
    _move("load", "place0", "a"),
]  # fmt: skip
_VISITED = [
    _move("load", "place0", "s"), _add("place0", "place0", "y"), _add("x", "x", "place0"),
    _move("store", "place0", "s"), _move("load", "place0", "a"),
]  # fmt: skip


@pytest.mark.parametrize("per_round", [2, 4])
def test_a_constant_comes_once_a_round(per_round: int) -> None:
    found = _same(_stream(_ROTATION, 2 * per_round + 1), per_round, 0)
    assert _moves(found) == ["load c", "load b", "load a"]


def test_a_state_comes_and_goes_once_a_round() -> None:
    found = _same(_stream(_VISITED, 9), 2, 0)
    assert _moves(found) == ["load s", "store s", "load a"]


@pytest.mark.parametrize(
    "work",
    [
        [*_VISITED, *_VISITED],  # the second time with what the first one left
        [_USE[0], _move("load", "place0", "b")],  # the first frame has another one than the others
        [*_ROTATION[:3], _add("x", "x", "kept"), *_ROTATION[3:], _add("kept", "x", "y")],
        [*_ROTATION, _move("load", "place1", "s"), _add("place1", "place1", "x")],  # lost
    ],
)
def test_what_cannot_be_shared_comes_for_each_frame(work: list[Item]) -> None:
    schedule = _stream(work, 8)
    assert len(_moves(_same(schedule, 2, 0))) == 2 * len(_moves(schedule))


def test_what_a_frame_leaves_early_does_not_keep_the_next_one_waiting() -> None:
    """A counter that stands at the end of a frame's program goes where its last reader is."""
    work = [_add("y", "y", "kept"), _add("z", "z", "z"), *_ROTATION, _add("kept", "kept", "z")]
    assert _moves(_same(_stream(work, 8), 2, 0)) == ["load c", "load b", "load a"]


def test_what_is_needed_soon_comes_with_what_is_needed_now() -> None:
    """So that a frame goes on with what it made of the first one, which nobody has to keep."""
    work = [
        _move("load", "place0", "a"), _add("y", "x", "place0"),
        _move("load", "place1", "s"), _add("place1", "place1", "y"), _add("x", "x", "place1"),
        _move("store", "place1", "s"), _move("load", "place0", "b"), _add("x", "x", "place0"),
        _move("load", "place0", "c"),
    ]  # fmt: skip
    found = _same(_stream(work, 9), 2, 0)
    assert _moves(found) == ["load a", "load s", "store s", "load b", "load c"]
    layers = [item.layer for item in walk(found.body)]
    first = layers.index("moved")
    assert layers[first : first + 3] == ["moved", "moved", "work"]
    made = [dict(item.windows)["dst"].buffer for item in walk(found.body)][first + 2 :]
    assert made[:6] == ["y", "place1", "x", "y~1", "place1", "x~1"]


@pytest.mark.parametrize(("places", "made"), [(7, ["y", "y~1"]), (6, ["y", "y"]), (5, None)])
def test_frames_take_turns_in_a_place_where_there_is_room_for_one(
    places: int, made: list[str] | None
) -> None:
    """Three places are for all frames, each has one for its input, and there may be one more."""
    work = [
        _move("load", "place0", "a"), _add("y", "x", "place0"), _move("load", "place0", "b"),
        _move("load", "place1", "s"), _add("place1", "place1", "y"), _add("x", "x", "place1"),
        _move("store", "place1", "s"), _move("load", "place1", "c"), _add("x", "x", "place1"),
        _add("x", "x", "place0"), _move("load", "place0", "a"),
    ]  # fmt: skip
    stream = _stream(work, 9)
    stream = replace(stream, body=tuple(item for item in stream.body if "z" not in item.buffers))
    found = _same(stream, 2, 0, chip(activation_sram__bytes=64 * places))
    assert found.shares_loads == (made is not None)
    if made is not None:
        windows = [dict(item.windows) for item in walk(found.body) if item.layer == "work"]
        first = [one["dst"].buffer for one in windows if one["src2"].buffer == "place0"]
        assert [name for name in first if name[0] == "y"] == made


def test_frames_of_unlike_length_share_nothing() -> None:
    schedule = _stream(_ROTATION, 8)
    body = [item for item in schedule.body if isinstance(item, Item)]
    assert beside([body, body[:-1]], (), schedule.storages, set(_OWN), 64) is None


def test_a_state_is_not_stored_behind_what_takes_its_place() -> None:
    """Both would move, to different sides of a product's drain."""
    product = Item("mac_matmul", "mac", {"src": _all("x"), "src2": _all("w"), "accumulate": 0})
    drained = {"src": _all("x"), "scale": _all("kept"), "accumulate": 0}
    work = [
        _move("load", "place0", "s"),
        product,
        Item("mac_drain", "mac", {**drained, "dst": _all("place0"), "accumulate": 1}),
        _move("store", "place0", "s"),
        _move("load", "place0", "a"),
        Item("mac_drain", "mac", {**drained, "dst": _all("y"), "scale": _all("place0"), "acc": 4}),
    ]
    schedule = _stream(work, 8)
    storages = {**schedule.storages, "w": Storage("w", "weight", "i8", 4 * _SIZE, True)}
    storages |= {f"{name}~1": replace(storages[name], name=f"{name}~1") for name in _OWN}
    body = [item for item in schedule.body if isinstance(item, Item)]

    def other(access: Access) -> Access:
        name = f"{access.buffer}~1" if access.buffer in _OWN else access.buffer
        return replace(access, buffer=name)

    second = [
        replace(
            item,
            frame=1,
            operands={**item.operands, **{name: other(one) for name, one in item.windows}},
        )
        for item in body
    ]
    assert beside([body, second], walk(schedule.startup), storages, set(_OWN), 64) is None


@pytest.mark.parametrize("frames", [4, 7, 16])
def test_weights_that_stream_come_once_a_round(frames: int) -> None:
    rng = np.random.default_rng(0)
    matrices = {f"w{n}": rng.standard_normal((64, 64)).astype(np.float32) for n in range(3)}
    nodes = [node("Gemm", [f"x{n}", f"w{n}"], f"x{n + 1}") for n in range(3)]
    graph = graph_of({"x0": (1, 64)}, matrices, nodes, ["x3"])
    given, compressed = frames_for(graph, frames), compress(graph)
    hardware = chip(weight_sram__bytes=6144)
    ran = execute_graph(compressed, hardware, given)
    wanted, _ = evaluate_stream(graph, given, {}, {}, compressed)
    assert ran.execution.outputs["x3"].tobytes() == wanted["x3"].tobytes()
    schedule = ran.compiled.schedule
    assert schedule.per_round > 1
    assert schedule.shares_loads
    trace = ran.execution.trace
    sites = [trace.sites[number] for number in trace.sequence]
    loads = sum(site.mnemonic == "weight_load" for site in sites)
    left = frames - schedule.rounds * schedule.per_round
    streamed = sum(
        tile.name not in ran.compiled.plan.pinned
        for tiles in ran.compiled.plan.tiles.values()
        for tile in tiles
    )
    assert loads == (schedule.rounds + left) * streamed + len(ran.compiled.plan.pinned)
    assert streamed
    verdicts = check_program(ran.compiled.program, hardware)
    assert [(one.findings, one.unproved) for one in verdicts] == [((), ())] * len(verdicts)


def _ran_right(graph: Graph, frames: int, **changes: int) -> Ran:
    given, compressed = frames_for(graph, frames), compress(graph)
    ran = execute_graph(compressed, chip(**changes), given)
    wanted, _ = evaluate_stream(graph, given, {}, {}, compressed)
    for name, array in ran.execution.outputs.items():
        assert array.tobytes() == wanted[name].tobytes()
    return ran


def _in_turn(schedule: Schedule) -> list[tuple[str, int]]:
    return [
        (item.mnemonic, item.frame)
        for item in walk(schedule.body)
        if item.mnemonic in ("mac_matmul", "mac_drain")
    ]


@pytest.mark.parametrize("frames", [4, 9])
@pytest.mark.parametrize(
    ("sizes", "weight_bytes"),
    [((256, 4), 320), ((512, 16), 704), ((1024, 16, 1024), 1024), ((512, 8, 512), 704)],
)
def test_frames_have_sums_of_their_own(
    sizes: tuple[int, ...], weight_bytes: int, frames: int
) -> None:
    """Where a sum is made of several loads, each of which comes for all frames."""
    rng = np.random.default_rng(0)
    pairs = list(itertools.pairwise(sizes))
    matrices = {
        f"w{n}": rng.standard_normal(pair).astype(np.float32) for n, pair in enumerate(pairs)
    }
    nodes = [node("Gemm", [f"x{n}", f"w{n}"], f"x{n + 1}") for n in range(len(pairs))]
    graph = graph_of({"x0": (1, sizes[0])}, matrices, nodes, [f"x{len(pairs)}"])
    ran = _ran_right(graph, frames, weight_sram__bytes=weight_bytes)
    schedule = ran.compiled.schedule
    assert schedule.shares_loads
    assert ("mac_matmul", 1) in _in_turn(schedule)[:2]  # before the first frame's sum is drained
    verdicts = check_program(ran.compiled.program, chip(weight_sram__bytes=weight_bytes))
    assert [(one.findings, one.unproved) for one in verdicts] == [((), ())] * len(verdicts)


@pytest.mark.parametrize(("accumulators", "per_round"), [(127, 1), (128, 2), (256, 4), (512, 8)])
def test_frames_share_loads_as_far_as_accumulators_hold_their_sums(
    accumulators: int, per_round: int
) -> None:
    """64 sums, each of several blocks, as the memory does not hold them at once."""
    compressed = compressed_of(sparse_codes(64, 1024, 0.15))
    changes = {"weight_sram__bytes": 4096, "dram__bytes_per_s": 200_000_000}
    hardware = reader(**changes, mac__accumulators=accumulators)
    schedule = run_and_compare(compressed, hardware, 32).compiled.schedule
    assert (schedule.per_round if schedule.shares_loads else 1) == per_round


def test_scales_that_come_from_dram_come_before_the_product() -> None:
    """So that no other frame's product stands between one and its drain."""
    rng = np.random.default_rng(0)
    matrices = {"w": (64, 512), "b": (512,), "v": (512, 64)}
    graph = graph_of(
        {"x": (1, 64)},
        {name: rng.standard_normal(shape).astype(np.float32) for name, shape in matrices.items()},
        [
            node("Gemm", ["x", "w", "b"], "wide"),
            node("Relu", ["wide"], "rectified"),
            node("Gemm", ["rectified", "v"], "y"),
        ],
        ["y"],
    )
    changes = {"weight_sram__bytes": 3072, "activation_sram__bytes": 6144}
    schedule = _ran_right(graph, 4, **changes).compiled.schedule
    assert schedule.shares_loads
    assert any(
        item.mnemonic == "load" and "#scales" in str(item.buffers) for item in walk(schedule.body)
    )
    in_turn = _in_turn(schedule)
    for (mnemonic, frame), following in itertools.pairwise(in_turn):
        assert mnemonic == "mac_drain" or following == ("mac_drain", frame)


@pytest.mark.slow
@pytest.mark.parametrize("frames", [4, 8])
@pytest.mark.parametrize("weight_bytes", [2048, 4096, 6144, 8192])
def test_blocks_that_are_read_are_shared(weight_bytes: int, frames: int) -> None:
    compressed = compressed_of(sparse_codes(64, 1024, 0.15))
    ran = run_and_compare(compressed, reader(weight_sram__bytes=weight_bytes), frames)
    assert ran.compiled.schedule.shares_loads


@pytest.mark.slow
@pytest.mark.kernels
def test_tiles_that_frames_share_fill_the_array() -> None:
    """What is loaded for a frame alone comes in narrow tiles, so that more of the rest stays."""
    workload = azsim.load_workload("attention_window", ["input.random.frames=64"])
    hardware = load_hardware("az1")
    plans: list[Plan] = []

    def keep(name: str, value: object) -> None:
        if isinstance(value, Plan):
            plans.append(value)

    compiled = compile_workload(workload, hardware, observe=keep)
    assert plans == [compiled.plan]  # what was tried is not told
    assert compiled.schedule.shares_loads
    assert compiled.plan.slot_bytes == 64 * 256
    for tiles in compiled.plan.tiles.values():
        assert all((tile.n1 - tile.n0) % 64 == 0 for tile in tiles)
    alone = compile_workload(
        azsim.load_workload("attention_window", ["input.random.frames=3"]), hardware
    )
    assert not alone.schedule.shares_loads
    assert 0 < alone.plan.slot_bytes < compiled.plan.slot_bytes


@pytest.mark.slow
@pytest.mark.parametrize("chip_name", ["az1", "az2"])
def test_constants_and_states_in_dram_come_once_for_four_frames(chip_name: str) -> None:
    """A state-space model in less activation SRAM than its states and constants fill."""
    workload = azsim.load_workload("ssm_mamba_xs", ["input.random.frames=16"])
    hardware = load_hardware(chip_name, ["activation_sram.bytes=57344"])
    result = azsim.run(workload, hardware, verify=True)
    assert result.comparison is not None
    assert result.comparison.bit_exact
    assert result.statistics.chunks_together == 4
