"""Short loops, written out."""

from __future__ import annotations

from dataclasses import replace

import pytest

import azsim
from azsim.compiler.schedule import Item, Repeat, Schedule, Storage, walk
from azsim.compiler.unroll import unroll
from azsim.hardware import load_hardware
from azsim.ops.lowering import Access
from compiled import AZ1, chip
from plain_schedule import elements, executed


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
    found = unroll(given, AZ1)
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
    for given in (schedule(4, 33), schedule(129, 1)):
        assert unroll(given, AZ1) == given
    (loop,) = schedule(2, 3).body
    assert isinstance(loop, Repeat)
    for other in (replace(loop, rounds=1.5), replace(loop, body=(replace(loop, number=8),))):
        given = replace(schedule(2, 3), body=(other,))
        assert unroll(given, AZ1) == given


def test_a_loop_stays_where_what_lives_in_its_rounds_has_no_room() -> None:
    """Two buffers take turns in each round; written out, both live from the first to the last."""
    row = Access("x", 0, 1, 16, 16, 1)
    storages = {"x": Storage("x", "activation", "f32", 64, persistent=True)}
    body: list[Item] = []
    for name in ("one", "other"):
        storages[name] = Storage(name, "activation", "f32", 512, round_of=7)
        inside = replace(row, buffer=name)
        body += [
            Item("vector_unary", "", {"dst": inside, "src": row, "function": "neg"}),
            Item("vector_unary", "", {"dst": row, "src": inside, "function": "neg"}),
        ]
    given = Schedule((), (Repeat(7, 3, tuple(body)),), (), 2, storages)
    assert unroll(given, chip(activation_sram__bytes=64 + 512)) == given
    for room_bytes in (64 + 2 * 512, 512):  # room for both, and not even for the loop
        found = unroll(given, chip(activation_sram__bytes=room_bytes))
        assert not any(isinstance(item, Repeat) for item in found.body)


@pytest.mark.parametrize(
    ("d_model", "d_state", "chunk", "room_bytes"),
    [(48, 32, 2, 24_576), (36, 100, 2, 28_160), (48, 32, 4, 32_768)],
)
def test_what_fits_as_a_loop_compiles(
    d_model: int, d_state: int, chunk: int, room_bytes: int
) -> None:
    sizes = {"d_model": d_model, "n_layer": 2, "d_state": d_state, "d_input": 6, "d_output": 5}
    changes = [f"model.{name}={size}" for name, size in sizes.items()]
    stream = [f"stream.chunk_frames={chunk}", "stream.arrival=asap", "input.random.frames=8"]
    workload = azsim.load_workload("ssm_s4d", [*changes, *stream])
    hardware = load_hardware("az2", [f"activation_sram.bytes={room_bytes}"])
    assert azsim.verify(workload, hardware).bit_exact
