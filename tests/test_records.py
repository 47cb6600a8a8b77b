"""Constants that a loop walks over in DRAM: one load a round for all of them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from azsim.compiler.allocate import Allocation, fits
from azsim.compiler.compile import compile_graph
from azsim.compiler.image import build_image
from azsim.compiler.movable import Movable, State, constants
from azsim.compiler.records import in_records
from azsim.compiler.rounds import in_pairs
from azsim.compiler.schedule import Item, Repeat, Schedule, Storage, walk
from azsim.compiler.spill import spill
from azsim.evaluate import evaluate_stream
from azsim.hardware.description import Dram
from azsim.isa.program import Stream
from azsim.models import Model, builder
from azsim.ops.lowering import Access
from azsim.ops.steps import ELEMENT_BYTES
from azsim.sim.checks import check_program
from compiled import AZ1, chip, execute_graph, frames_for
from graphs import compress
from plain_schedule import run_schedule

LOOP = 7
NAMES = "abc"


def walking(rounds: int, widths: Sequence[int], frames: int = 3) -> Schedule:
    """A schedule in which each round adds pieces of constants to places of as many elements."""
    storages: dict[str, Storage] = {}
    startup, body, finish = [], [], []
    for name, width in zip(NAMES, widths, strict=False):
        place = Access(f"x{name}", 0, 1, width, width, 1)
        row = Access(name, 0, 1, width, width, 1, {LOOP: width})
        whole = Access(name, 0, 1, rounds * width, rounds * width, 1)
        shown = {"#dram": whole, " in": place, " out": place}
        ports = {key: replace(window, buffer=name + key) for key, window in shown.items()}
        startup += [
            Item("load", "(startup)", {"dst": whole, "src": ports["#dram"]}),
            Item("load", "(startup)", {"dst": place, "src": ports[" in"]}),
        ]
        operands = {"dst": place, "src": place, "src2": row, "function": "add"}
        body += [
            Item("vector_binary", "layer", operands),
            Item("vector_unary", "layer", {"dst": place, "src": place, "function": "neg"}),
        ]
        finish.append(Item("store", "(output)", {"dst": ports[" out"], "src": place}))
        for window in (whole, place):
            size_bytes = 4 * window.cols
            storages[window.buffer] = Storage(window.buffer, "activation", "f32", size_bytes, True)
        for port in ports.values():
            storages[port.buffer] = Storage(port.buffer, "dram", "f32", 4 * port.cols, True)
    loop = Repeat(LOOP, rounds, tuple(body))
    return Schedule(tuple(startup), (loop,), tuple(finish), frames, storages)


def filled(schedule: Schedule) -> dict[str, np.ndarray]:
    """DRAM of a schedule: constants, where it says that they lie, and counted inputs."""
    dram = {
        name: np.full(storage.size_bytes // 4, -(10**7))
        for name, storage in schedule.storages.items()
        if storage.space == "dram" and storage.within is None
    }
    for name, storage in schedule.storages.items():
        if storage.space != "dram" or not (name.endswith(" in") or name[1:] == "#dram"):
            continue
        values = 1000 * ord(name[0]) + np.arange(storage.size_bytes // 4)
        whole, first = storage.within or (name, 0)
        piece, step = storage.pieces_bytes or (storage.size_bytes, 0)
        for at, values_of_piece in enumerate(values.reshape(-1, piece // 4)):
            begin = (first + at * step) // 4
            dram[whole][begin : begin + piece // 4] = values_of_piece
    return dram


def results(schedule: Schedule) -> tuple[dict[str, list[int]], list[Item]]:
    dram = filled(schedule)
    done = run_schedule(schedule, dram)
    return {name: dram[name].tolist() for name in dram if name.endswith(" out")}, done


def loads_in(items: Iterable[Item]) -> list[Item]:
    return [item for item in items if item.mnemonic == "load"]


def targets(items: Iterable[Item]) -> list[Access]:
    return [window for item in items if isinstance(window := item.operands["dst"], Access)]


@pytest.mark.parametrize("rounds", [7, 8, 2])
@pytest.mark.parametrize("widths", [(16, 16), (16, 48, 4)])
@pytest.mark.parametrize("in_turns", [False, True])
def test_a_record_has_a_round_s_pieces_side_by_side(
    rounds: int, widths: tuple[int, ...], in_turns: bool
) -> None:
    schedule = walking(rounds, widths)
    (loop,) = schedule.body
    assert isinstance(loop, Repeat)
    pairs = in_pairs(loop, itertools.count(LOOP + 1)) if in_turns else None
    if pairs is not None:
        schedule = replace(schedule, body=(pairs,))
    joined, moved = in_records(schedule, list(constants(schedule)), AZ1)
    (record,) = moved
    assert record.buffer == ", ".join(NAMES[: len(widths)])
    parts = [joined.storages[f"{name}#dram"] for name, _ in zip(NAMES, widths, strict=False)]
    firsts = itertools.accumulate(widths, initial=0)
    assert [one.within for one in parts] == [
        (record.port, 4 * at) for at, _ in zip(firsts, parts, strict=False)
    ]
    steps = [(4 * width, 4 * sum(widths)) for width in widths]
    assert [one.pieces_bytes for one in parts] == steps
    assert results(joined)[0] == results(schedule)[0]


def test_constants_that_leave_the_chip_come_as_records() -> None:
    """One load for each round, into two places that take turns."""
    schedule = walking(8, (64, 64, 64))
    hardware = chip(activation_sram__bytes=2560)
    assert not fits(schedule, hardware)
    found = spill(schedule, hardware, {})
    assert fits(found, hardware)
    (loop,) = (item for item in found.body if isinstance(item, Repeat))
    assert [window.shape for window in targets(loads_in(walk(loop.body)))] == [(1, 192)] * 2
    got, done = results(found)
    assert got == results(schedule)[0]
    assert len(loads_in(done)) == 3 + 3 * 8  # inputs, and a record in each round of three frames


def _used_again(schedule: Schedule) -> Schedule:
    """A constant of which something else uses a part."""
    window = Access("a", 0, 1, 16, 16, 1)
    place = Access("xa", 0, 1, 16, 16, 1)
    item = Item("vector_unary", "layer", {"dst": place, "src": window, "function": "neg"})
    return replace(schedule, body=(*schedule.body, item))


def _written(schedule: Schedule) -> Schedule:
    (loop,) = schedule.body
    assert isinstance(loop, Repeat)
    row = Access("a", 0, 1, 16, 16, 1, {LOOP: 16})
    item = Item("vector_unary", "layer", {"dst": row, "src": row, "function": "neg"})
    return replace(schedule, body=(replace(loop, body=(*loop.body, item)),))


def _fewer_rounds(schedule: Schedule) -> Schedule:
    """A loop that leaves the end of each constant out."""
    (loop,) = schedule.body
    assert isinstance(loop, Repeat)
    return replace(schedule, body=(replace(loop, count=loop.count - 1),))


def _overlapping(schedule: Schedule) -> Schedule:
    """A constant that moves by less than a round shows of it."""
    (loop,) = schedule.body
    assert isinstance(loop, Repeat)

    def slow(item: Item | Repeat) -> Item | Repeat:
        assert isinstance(item, Item)
        row = item.operands.get("src2")
        if not isinstance(row, Access) or row.buffer != "a":
            return item
        return replace(item, operands={**item.operands, "src2": replace(row, advance={LOOP: 8})})

    return replace(schedule, body=(replace(loop, body=tuple(map(slow, loop.body))),))


def _of_another_type(schedule: Schedule) -> Schedule:
    storages = {**schedule.storages, "a": replace(schedule.storages["a"], dtype="i32")}
    return replace(schedule, storages=storages)


@pytest.mark.parametrize(
    "change", [_used_again, _written, _fewer_rounds, _overlapping, _of_another_type]
)
def test_what_has_no_pieces_of_its_own_in_each_round_stays_as_it_is(
    change: Callable[[Schedule], Schedule],
) -> None:
    schedule = change(walking(8, (16, 16)))
    moved: list[Movable] = list(constants(schedule))
    found, left = in_records(schedule, moved, AZ1)
    assert found is schedule
    assert left == moved


def test_a_constant_is_in_no_record_alone() -> None:
    schedule = walking(8, (16, 16))
    moved = [one for one in constants(schedule) if one.buffer == "a"]
    assert in_records(schedule, moved, AZ1) == (schedule, moved)


def _with_state(schedule: Schedule, width: int) -> tuple[Schedule, State]:
    """The same with a state of which each round changes a piece."""
    (loop,) = schedule.body
    assert isinstance(loop, Repeat)
    row = Access("s", 0, 1, width, width, 1, {LOOP: width})
    item = Item("vector_unary", "layer", {"dst": row, "src": row, "function": "neg"})
    size = loop.count * width
    storages = {**schedule.storages, "s": Storage("s", "activation", "f32", 4 * size, True)}
    body = (replace(loop, body=(*loop.body, item)),)
    load = schedule.startup[0]
    assert isinstance(load, Item)
    state = State("s", "input s", load, "s", "t", ())
    return replace(schedule, body=body, storages=storages), state


@given(
    widths=st.tuples(st.integers(1, 900), st.integers(1, 900)),
    state=st.integers(1, 900),
    row_bytes=st.sampled_from([512, 2048]),
    banks=st.sampled_from([1, 4, 8]),
)
def test_a_record_keeps_away_from_a_state_that_is_stored_meanwhile(
    widths: tuple[int, int], state: int, row_bytes: int, banks: int
) -> None:
    """If it has room behind it, there is a place for the state in which both never meet."""
    rounds = 16
    schedule, moved = _with_state(walking(rounds, widths), state)
    dram = replace(AZ1.dram, row_bytes=row_bytes, banks=banks)
    hardware = replace(AZ1, dram=dram)
    joined, _ = in_records(schedule, [*constants(schedule), moved], hardware)
    piece_bytes, step_bytes = joined.storages["a#dram"].pieces_bytes or (0, 0)
    record_bytes = 4 * sum(widths)
    assert piece_bytes == 4 * widths[0]
    assert record_bytes <= step_bytes <= 2 * record_bytes
    if step_bytes > record_bytes:
        assert _can_keep_away(record_bytes, step_bytes, 4 * state, rounds, dram)


def _can_keep_away(
    record_bytes: int, step_bytes: int, state_bytes: int, rounds: int, dram: Dram
) -> bool:
    """Whether some begin of the state is in all rounds in other bytes of all banks."""
    every = dram.row_bytes * dram.banks
    apart = {number * (state_bytes - step_bytes) % every for number in range(rounds)}
    return any(
        all(record_bytes <= (begin + away) % every <= every - state_bytes for away in apart)
        for begin in range(0, every, ELEMENT_BYTES["f32"])
    )


def small_s4d() -> Model:
    """Two layers of a diagonal state space; a constant and a state of each have 16 KB."""
    module = builder("s4d")
    sizes = {"d_input": 6, "d_output": 5, "d_model": 64, "n_layer": 2, "d_state": 64}
    return module.build(module.Parameters(**sizes), 2, None)


@pytest.mark.parametrize(("activation_bytes", "spilled"), [(24_576, 2), (49_152, 1)])
def test_records_have_the_evaluator_s_bits(activation_bytes: int, spilled: int) -> None:
    model = small_s4d()
    state = dict(model.state)
    initial = {name: np.zeros(model.graph.inputs[name].shape, np.float32) for name in state}
    frames = frames_for(model.graph, 4, state=list(state))
    compressed, hardware = compress(model.graph), chip(activation_sram__bytes=activation_bytes)
    ran = execute_graph(compressed, hardware, frames, state, initial)
    assert len(ran.compiled.schedule.spilled) == spilled
    storages = ran.compiled.schedule.storages.values()
    assert {one.within[0] for one in storages if one.pieces_bytes and one.within} == {
        "layers.0.kernel.A, layers.0.kernel.B, layers.0.kernel.2C#dram",
        "layers.1.kernel.A, layers.1.kernel.B, layers.1.kernel.2C#dram",
    }
    tensors, final = evaluate_stream(model.graph, frames, state, initial, compressed)
    wanted = {**tensors, **{target: final[source] for source, target in state.items()}}
    for name, array in ran.execution.outputs.items():
        assert array.tobytes() == wanted[name].tobytes(), name
    verdicts = check_program(ran.compiled.program, hardware)
    assert [(one.findings, one.unproved) for one in verdicts] == [((), ())] * len(verdicts)


def test_the_first_round_s_loads_come_in_the_order_of_the_other_rounds() -> None:
    """A state that one loop alone walks over comes behind the loop before it, as records do."""
    model, made = small_s4d(), dict[str, Any]()
    compile_graph(
        compress(model.graph),
        chip(activation_sram__bytes=49_152),
        Stream(4, None, False),
        dict(model.state),
        "s4d",
        made.__setitem__,
    )
    record = "layers.1.kernel.A, layers.1.kernel.B, layers.1.kernel.2C"
    turns = [f"{name}#0#{turn}" for turn in (0, 1) for name in (record, "layers.1.state")]
    schedule = made["spill"]
    loaded = [window.buffer for window in targets(loads_in(walk(schedule.body)))]
    assert [name for name in loaded if name in turns] == 2 * turns
    assert not any(schedule.storages[name].persistent for name in turns)
    assert not set(turns) & {window.buffer for window in targets(loads_in(schedule.startup))}


def test_the_image_holds_a_constant_in_pieces() -> None:
    values = np.arange(1, 7, dtype=np.float32)
    buffer = SimpleNamespace(name="a", space="activation", constant=values, dtype="f32")
    lowering: Any = SimpleNamespace(buffers={"a": buffer})
    plan: Any = SimpleNamespace(tiles={})
    parameters: Any = SimpleNamespace(values=np.zeros(0))
    allocation = Allocation({"ab#dram": 4, "a#dram": 8}, {}, {"dram": 64})
    storage = Storage(
        "a#dram", "dram", "f32", 24, True, within=("ab#dram", 4), pieces_bytes=(8, 12)
    )
    image = build_image(lowering, plan, parameters, {}, allocation, {"a#dram": storage})
    found = image.data[:48].view(np.float32)
    assert found.tolist() == [0, 0, 1, 2, 0, 3, 4, 0, 5, 6, 0, 0]
    assert not image.data[48:].any()
