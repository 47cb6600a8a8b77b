"""Constants and states that come in one transfer, and final states that go in one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from azsim.compiler.merge import merge
from azsim.compiler.schedule import Item, Repeat, Schedule, Storage, walk
from azsim.evaluate import evaluate_stream
from azsim.frontend.workload import load_workload
from azsim.ops.lowering import Access
from azsim.pipeline import compile_workload, run
from azsim.sim.races import check_races
from azsim.stages.prove import prove
from compiled import AZ1, MIXED_STATE, execute_graph, frames_for, mixed_graph
from graphs import compress
from plain_schedule import run_schedule


def around(
    sizes: Mapping[str, int],
    final: Sequence[str],
    *,
    dtypes: Mapping[str, str] | None = None,
    again: Sequence[str] = (),
    frames: int = 3,
) -> Schedule:
    """A schedule that begins with a load of each buffer, negates it and stores those of `final`.

    Those of `again` come anew at the end of each frame, in a loop of their own.
    """
    dtypes = dtypes or {}
    storages: dict[str, Storage] = {}

    def window(name: str) -> Access:
        return Access(name, 0, 1, sizes[name], sizes[name], 1)

    def move(mnemonic: str, source: Access, target: Access) -> Item:
        return Item(mnemonic, "(startup)", {"dst": target, "src": source})

    for name, size in sizes.items():
        dtype = dtypes.get(name, "f32")
        for storage, space in (
            (name, "activation"),
            (f"{name} in", "dram"),
            (f"{name} out", "dram"),
        ):
            storages[storage] = Storage(storage, space, dtype, 4 * size, True)
    loads = {
        name: move("load", replace(window(name), buffer=f"{name} in"), window(name))
        for name in sizes
    }
    work = [
        Item("vector_unary", "", {"dst": window(name), "src": window(name), "function": "neg"})
        for name in sizes
    ]
    woken = Repeat(5, 1, tuple(loads[name] for name in again))
    finish = [
        move("store", window(name), replace(window(name), buffer=f"{name} out")) for name in final
    ]
    startup = tuple(loads.values())
    return Schedule(startup, (*work, woken), tuple(finish), frames, storages)


def results(schedule: Schedule) -> tuple[dict[str, list[int]], list[Item]]:
    """What lies in DRAM at the end, and every item that ran."""
    dram = {
        name: np.full(storage.size_bytes // 4, -7)
        for name, storage in schedule.storages.items()
        if storage.space == "dram" and storage.within is None
    }
    places = {}
    for name, storage in schedule.storages.items():
        whole, first_bytes = storage.within or (name, 0)
        if name.endswith((" in", " out")):
            places[name] = dram[whole][first_bytes // 4 :][: storage.size_bytes // 4]
        if name.endswith(" in"):
            places[name][:] = 1000 * ord(name[0]) + np.arange(storage.size_bytes // 4)
    done = run_schedule(schedule, dram)
    return {name: array.tolist() for name, array in places.items()}, done


def moves(items: Sequence[Item | Repeat], mnemonic: str) -> list[Access]:
    found = (item.operands["dst"] for item in walk(tuple(items)) if item.mnemonic == mnemonic)
    return [window for window in found if isinstance(window, Access)]


def test_a_start_is_one_load_and_an_end_one_store() -> None:
    schedule = around({"a": 3, "b": 4, "c": 5, "d": 6}, ["d", "b"], again=["d", "b"])
    schedule = replace(schedule, held={"a": 8})
    merged = merge(schedule)
    (load,) = moves(merged.startup, "load")
    assert (load.buffer, load.shape) == ("(start)", (1, 18))
    (anew,) = moves(merged.body, "load")
    (store,) = moves(merged.finish, "store")
    assert (anew.buffer, anew.offset, anew.cols) == ("(start)", 0, 10)
    assert (store.buffer, store.cols) == ("(end)#dram", 10)
    # What is stored at the end comes first, in its order at the start.
    assert [merged.storages[name].within for name in "bdac"] == [
        ("(start)", at) for at in (0, 16, 40, 52)
    ]
    # 'a' was held until the first load of the region, which now has another number.
    assert merged.held == {"a": 5}
    assert results(merged)[0] == results(schedule)[0]
    assert merge(merged).startup == merged.startup


def test_what_has_other_bytes_comes_on_its_own() -> None:
    schedule = around({"a": 3, "b": 4, "c": 5}, ["b"], dtypes={"b": "i8"})
    merged = merge(schedule)
    assert [window.buffer for window in moves(merged.startup, "load")] == ["(start)", "b"]
    assert moves(merged.finish, "store") == moves(schedule.finish, "store")


def test_a_stream_of_one_round_begins_with_one_transfer_where_that_is_shorter() -> None:
    """Without that, two frames take 22 % more."""
    workload = load_workload("attention_window_small", ["input.random.frames=2"])
    found = compile_workload(workload, AZ1)
    loads = moves(found.schedule.body, "load")
    assert (found.schedule.rounds, found.schedule.startup) == (1, ())
    assert [window.buffer for window in loads].count("(start)") == 1
    assert run(workload, AZ1, verify=True).summary["bit_exact"]


def test_one_transfer_alone_stays() -> None:
    schedule = around({"a": 3}, ["a"])
    assert merge(schedule) is schedule


def test_only_what_two_transfers_share_is_left_out() -> None:
    schedule = around({"a": 3, "b": 4, "c": 5, "d": 6}, ["a", "b", "c"])
    first, second, third = (item for item in schedule.finish if isinstance(item, Item))
    again = replace(second, operands={**second.operands, "src": Access("d", 0, 1, 4, 4, 1)})
    merged = merge(replace(schedule, finish=(first, again, second, third)))
    (load,) = moves(merged.startup, "load")
    assert load.cols == 18
    names = [window.buffer for window in moves(merged.finish, "store")]
    assert names == ["a out", "b out", "b out", "c out"]


def test_a_transfer_is_no_longer_than_a_window() -> None:
    sizes = {"a": 40_000, "b": 20_000, "c": 6_000, "d": 5_000}
    schedule = around(sizes, [])
    merged = merge(schedule)
    assert [window.cols for window in moves(merged.startup, "load")] == [60_000, 11_000]
    assert results(merged)[0] == results(schedule)[0]


@given(st.data())
def test_merged_transfers_move_the_same_numbers(data: st.DataObject) -> None:
    names = "abcdef"[: data.draw(st.integers(1, 6))]
    sizes = {name: data.draw(st.integers(1, 9)) for name in names}
    some = st.lists(st.sampled_from(names), unique=True)
    dtypes = {name: data.draw(st.sampled_from(["f32", "i32", "f32", "i8"])) for name in names}
    schedule = around(sizes, data.draw(some), dtypes=dtypes, again=data.draw(some))
    merged = merge(schedule)
    assert results(merged)[0] == results(schedule)[0]
    assert len(results(merged)[1]) <= len(results(schedule)[1])


@pytest.mark.parametrize("period_s", [None, 1e-3])
def test_a_program_with_merged_states_computes_what_it_should(period_s: float | None) -> None:
    graph = mixed_graph()
    compressed = compress(graph)
    frames = frames_for(graph, 21, state=tuple(MIXED_STATE))
    initial = {name: np.full(graph.inputs[name].shape, 0.25, np.float32) for name in MIXED_STATE}
    expected, final = evaluate_stream(graph, frames, MIXED_STATE, initial, compressed)
    ran = execute_graph(compressed, AZ1, frames, MIXED_STATE, initial, period_s=period_s)
    assert {"input h", "input c", "output hn", "output cn"} <= {
        name for name, one in ran.compiled.schedule.storages.items() if one.within is not None
    }
    expected |= {target: final[source] for source, target in MIXED_STATE.items()}
    for name, array in ran.execution.outputs.items():
        assert array.tobytes() == expected[name].astype(array.dtype).tobytes(), name
    assert check_races(ran.compiled.program, ran.execution.trace) == []
    prove(ran.compiled, AZ1)
