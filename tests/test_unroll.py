"""Short loops, written out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from azsim.compiler.schedule import FRAME_LOOP, Item, Repeat, Schedule, Storage, walk
from azsim.compiler.unroll import unroll
from azsim.ops.lowering import Access
from compiled import AZ1, chip
from plain_schedule import elements, executed, run_schedule


def schedule(count: int, items: int, *, but_last: bool = False) -> Schedule:
    """A loop of `items` items that walks over a buffer, two frames long."""
    row = Access("x", 0, 1, 4, 4, 1, {7: 4, 0: 100})
    body = [Item("vector_unary", str(n), {"dst": row, "src": row}) for n in range(items)]
    if but_last:
        body.append(Item("load", "", {"dst": row, "src": row}, but_last=7))
    storages = {"x": Storage("x", "activation", "f32", 4096)}
    return Schedule((), (Repeat(7, count, tuple(body)),), (), 2, storages)


@pytest.mark.parametrize("but_last", [False, True])
@pytest.mark.parametrize(("count", "items"), [(1, 3), (2, 3), (3, 20), (16, 2)])
def test_what_is_done_stays_the_same(count: int, items: int, but_last: bool) -> None:
    given = schedule(count, items, but_last=but_last)
    found = unroll(given, AZ1, is_paced=True)
    assert not any(isinstance(item, Repeat) for item in found.body)
    for frame in (0, 1):
        before, after = (
            [
                (item.layer, elements(item.operands["dst"], at).tolist())  # type: ignore[arg-type]
                for item, at in executed(one.body, {0: frame}, {0: frame == 1})
            ]
            for one in (given, found)
        )
        assert before == after
    assert all(item.but_last is None for item in walk(found.body))


def test_long_loops_and_those_that_data_may_end_stay() -> None:
    for given in (schedule(4, 17), schedule(65, 1)):
        assert unroll(given, AZ1, is_paced=True) == given
    (loop,) = schedule(2, 3).body
    assert isinstance(loop, Repeat)
    for other in (replace(loop, rounds=1.5), replace(loop, body=(replace(loop, number=8),))):
        given = replace(schedule(2, 3), body=(other,))
        assert unroll(given, AZ1, is_paced=True) == given


# ------------------------------------------------------------------------------ pairs of frames


def stream(frames: int) -> Schedule:
    """Frames that come from DRAM, are multiplied by what the one before left, and go there.

    What a frame computes stays in ``x``; its weight comes anew before each one but the first.
    """
    whole = {name: Access(name, 0, 1, 4, 4, 1) for name in ("x", "y", "state", "w")}
    given = Access("input", 0, 1, 4, 4, 1, {FRAME_LOOP: 4})
    result = Access("output", 0, 1, 4, 4, 1, {FRAME_LOOP: 4})
    weight = Access("weight", 0, 1, 4, 4, 1)
    again = Item("load", "w", {"dst": whole["w"], "src": weight})
    body = (
        Item("load", "in", {"dst": whole["x"], "src": given, "paced": 1}),
        Item("vector_unary", "y", {"dst": whole["y"], "src": whole["x"], "function": "neg"}),
        Item(
            "vector_binary",
            "h",
            {
                "dst": whole["state"],
                "src": whole["state"],
                "src2": whole["y"],
                "function": "add",
            },
        ),
        Item(
            "vector_binary",
            "o",
            {"dst": whole["y"], "src": whole["state"], "src2": whole["w"], "function": "mul"},
        ),
        replace(again, but_last=FRAME_LOOP if frames > 1 else None),
        Item("store", "out", {"dst": result, "src": whole["y"]}),
    )
    body = tuple(item for item in body if frames > 1 or item.layer != "w")
    first = Item("load", "", {"dst": whole["state"], "src": Access("before", 0, 1, 4, 4, 1)})
    after = Item("store", "", {"dst": Access("after", 0, 1, 4, 4, 1), "src": whole["state"]})
    storages = {name: Storage(name, "activation", "i32", 16, name == "state") for name in whole}
    storages["w"] = replace(storages["w"], persistent=True)
    outside = {"input": 16 * frames, "output": 16 * frames, "weight": 16, "before": 16, "after": 16}
    storages |= {name: Storage(name, "dram", "i32", size) for name, size in outside.items()}
    return Schedule((again, first), body, (after,), frames, storages)


@pytest.mark.parametrize("frames", [1, 2, 3, 4, 5, 8])
def test_frames_in_pairs_do_the_same(frames: int) -> None:
    rng = np.random.default_rng(frames)
    given = stream(frames)
    found = unroll(given, AZ1, is_paced=False)
    dram = {
        name: rng.integers(1, 100, storage.size_bytes // 4)
        for name, storage in given.storages.items()
        if storage.space == "dram"
    }
    ours, wanted = ({name: array.copy() for name, array in dram.items()} for _ in range(2))
    run, plain = run_schedule(found, ours), run_schedule(given, wanted)
    for name, array in wanted.items():
        assert ours[name].tolist() == array.tolist()
    assert [item.layer for item in run] == [item.layer for item in plain]
    assert (found.rounds, found.per_round) == ((frames // 2, 2) if frames > 1 else (1, 1))
    assert sum(item.operands.get("paced") == 1 for item in run) == found.rounds
    seen = [item.frame for item in run if item.layer == "y"]
    assert seen == [0, 1] * (frames // 2) + (
        [2] if frames % 2 and frames > 1 else [0] * (frames % 2)
    )


def test_the_second_frame_has_buffers_of_its_own_but_for_what_outlives_a_frame() -> None:
    found = unroll(stream(5), AZ1, is_paced=False)
    touched = {name for item in walk(found.body) for name in item.buffers}
    assert touched == {"x", "y", "x~1", "y~1", "state", "w", "input", "output", "weight"}
    assert {name for item in found.finish for name in item.buffers} == {
        "x~2", "y~2", "state", "w", "input", "output", "after",
    }  # fmt: skip
    assert found.storages["x~1"] == replace(found.storages["x"], name="x~1")


def test_frames_stay_apart_where_they_arrive_or_repeat_something() -> None:
    given = stream(6)
    assert unroll(given, AZ1, is_paced=True) == given
    loop = Repeat(7, 65, given.body[1:2])
    assert unroll(replace(given, body=(*given.body, loop)), AZ1, is_paced=False).per_round == 1
    long = replace(given, body=given.body * 101)
    assert unroll(long, AZ1, is_paced=False) == long
    assert unroll(given, chip(activation_sram__bytes=64), is_paced=False) == given
