"""Loads of streamed tiles: every product finds its tile, nothing is loaded in vain."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from azsim.compiler.prefetch import Prefetcher
from azsim.compiler.schedule import FRAME_LOOP, Item, Repeat, Storage
from azsim.ops.lowering import Access, Leave
from compiled import chip, execute_graph, frames_for, graph_of, node
from graphs import compress

_PINNED = "pinned"


def _product(tile: str) -> Item:
    return Item("mac_matmul", "layer", {"src2": Access(tile, 0, 1, 1, 1, 1)})


def _place(body: Sequence[Item | Repeat], frames: int) -> tuple[tuple, tuple]:
    names = "ABCDEFG"
    tiles = {name: Storage(name, "weight", "i8", 64) for name in names}

    def load(tile: str, layer: str) -> Item:
        return Item("weight_load", layer, {"dst": Access(tile, 0, 1, 1, 1, 1)})

    return Prefetcher(tiles, {}, load).place((), body, frames)


def _unrolled(items: Sequence[Item | Repeat], is_last: dict[int, bool]) -> Iterator[Item]:
    """Items as they are executed."""
    for item in items:
        if isinstance(item, Repeat):
            for number in range(item.count):
                is_last[item.number] = number == item.count - 1
                yield from _unrolled(item.body, is_last)
        elif item.but_last is None or not is_last[item.but_last]:
            yield item


def _executed(startup: Sequence[Item], body: Sequence[Item | Repeat], frames: int) -> list[Item]:
    return list(_unrolled([*startup, Repeat(FRAME_LOOP, frames, tuple(body))], {}))


def _loads(items: Sequence[Item]) -> int:
    """Number of loads, after a check that each is needed and each product has what it needs."""
    slots: dict[int, str | None] = {0: None, 1: None}
    used = {0: True, 1: True}
    count = 0
    for item in items:
        name = "dst" if item.mnemonic == "weight_load" else "src2"
        access = item.operands[name]
        assert isinstance(access, Access)
        if access.buffer == _PINNED:
            continue
        tile, _, number = access.buffer.partition("@")
        slot = int(number)
        if name == "dst":
            assert used[slot], f"{slots[slot]} was loaded in vain"
            assert slots[slot] != tile, f"{tile} was there already"
            slots[slot], used[slot] = tile, False
            count += 1
        else:
            assert slots[slot] == tile
            used[slot] = True
    assert all(used.values())
    return count


def _bodies() -> st.SearchStrategy[list[Item | Repeat]]:
    product = st.sampled_from([*"ABCDEFG", _PINNED]).map(_product)
    counts = st.integers(1, 3)

    def loops(children: st.SearchStrategy) -> st.SearchStrategy:
        bodies = st.lists(children, min_size=1, max_size=5).map(tuple)
        return st.builds(lambda count, body: Repeat(0, count, body), counts, bodies)

    items = st.recursive(product, loops, max_leaves=12)
    return st.lists(items, min_size=1, max_size=8).map(_numbered)


def _numbered(items: Sequence[Item | Repeat]) -> list[Item | Repeat]:
    """Give every loop a number of its own."""
    count = FRAME_LOOP

    def visit(item: Item | Repeat) -> Item | Repeat:
        nonlocal count
        if isinstance(item, Item):
            return item
        count += 1
        return replace(item, number=count, body=tuple(visit(inner) for inner in item.body))

    return [visit(item) for item in items]


@given(body=_bodies(), frames=st.integers(1, 4))
def test_products_find_their_tiles_and_nothing_is_loaded_in_vain(
    body: list[Item | Repeat], frames: int
) -> None:
    startup, placed = _place(body, frames)
    executed = _executed(startup, placed, frames)
    _loads(executed)
    products = [item for item in executed if item.mnemonic == "mac_matmul"]
    plain = _executed((), body, frames)
    assert len(products) == len(plain)
    for product, given_product in zip(products, plain, strict=True):
        src2, given_src2 = product.operands["src2"], given_product.operands["src2"]
        assert isinstance(src2, Access)
        assert isinstance(given_src2, Access)
        assert src2.buffer.partition("@")[0] == given_src2.buffer


@pytest.mark.parametrize(
    ("uses", "frames", "loads"),
    [
        ("A", 5, 1),
        ("AB", 5, 2),
        ("AABB", 5, 2),
        ("ABC", 5, 3 + 4 * 2),  # B has a slot to itself
        ("ABCD", 5, 20),
        ("ABCDE", 5, 25),
        ("ABA", 5, 2),
        ("ABCBA", 5, 3 + 4 * 2 + 1),  # A stays from a frame's end to the next one's start
    ],
)
def test_loads_of_a_stream(uses: str, frames: int, loads: int) -> None:
    body = [_product(tile) for tile in uses]
    startup, placed = _place(body, frames)
    assert _loads(_executed(startup, placed, frames)) == loads


def test_the_next_rounds_tiles_are_loaded_behind_the_last_products_of_this_one() -> None:
    startup, body = _place([_product(tile) for tile in "ABCD"], 5)
    text = [
        ("load " if item.mnemonic == "weight_load" else "")
        + next(a.buffer for a in item.operands.values() if isinstance(a, Access))
        + ("" if item.but_last is None else " but the last")
        for item in (*startup, *body)
        if isinstance(item, Item)
    ]
    assert text == [
        "load A@0", "load B@1",
        "A@0", "load C@0", "B@1", "load D@1",
        "C@0", "load A@0 but the last", "D@1", "load B@1 but the last",
    ]  # fmt: skip


def test_a_loop_over_two_tiles_loads_them_once() -> None:
    loop = Repeat(1, 100, (_product("A"), _product("B")))
    startup, body = _place([_product("C"), loop, _product("D")], 3)
    assert _loads(_executed(startup, body, 3)) == 3 * 4


@pytest.mark.parametrize("period_s", [None, 1e-3])
@pytest.mark.parametrize("count", [4, 5])
def test_a_streamed_layer_reads_its_tiles_once_a_round_and_not_after_the_last(
    count: int, period_s: float | None
) -> None:
    """Bit-exactness and races of the same programs are looked at in test_compiler."""
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((16 * count, 64)).astype(np.float32)
    graph = graph_of(
        {"x": (1, 64)}, {"w": weight}, [node("Gemm", ["x", "w"], "y", transB=1)], ["y"]
    )
    hardware = chip(weight_sram__bytes=2560, mac__lanes=16)
    ran = execute_graph(compress(graph), hardware, frames_for(graph, 8), period_s=period_s)
    compiled = ran.compiled
    assert len(compiled.plan.tiles["w"]) > 2
    streamed = [tile for tile in compiled.plan.tiles["w"] if tile.name not in compiled.plan.pinned]
    loads = sum(
        ran.execution.trace.sites[n].mnemonic == "weight_load" for n in ran.execution.trace.sequence
    )
    rounds = 8 if period_s else 2  # frames that need not be waited for share what comes
    assert compiled.schedule.rounds == rounds
    assert loads == rounds * len(streamed) + len(compiled.plan.pinned)
    assert "branch" in {entry.mnemonic for entry in compiled.program.instructions}


def test_a_load_for_the_next_frame_does_not_hold_up_a_region() -> None:
    word = Access("word", 0, 1, 1, 1, 1)
    asked = Item("scalar_read", "layer", {"src": word, "to": 1}, leave=Leave(word, 0, stays=0.5))
    region = Repeat(1, 1, (Repeat(2, 1, (asked,), 1.0),))
    startup, body = _place([_product("A"), _product("B"), _product("C"), region], frames=3)
    assert [item.mnemonic for item in startup] == ["weight_load", "weight_load"]
    kinds = [item.mnemonic if isinstance(item, Item) else "region" for item in body]
    within = ["mac_matmul", "weight_load", "mac_matmul", "mac_matmul"]
    assert kinds == [*within, "region", "weight_load"]  # B is still there
    assert isinstance(body[-1], Item)
    assert body[-1].but_last == FRAME_LOOP
