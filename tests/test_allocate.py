"""Places in SRAM: nothing that lives together overlaps, and little more is used than must be."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from azsim.compiler.allocate import _place, allocate, least_bytes
from azsim.compiler.first_fit import FirstFit
from azsim.compiler.schedule import Item, Repeat, Schedule, Storage
from azsim.frontend.workload import load_workload
from azsim.hardware import load_hardware
from azsim.ops.lowering import Access
from azsim.pipeline import compile_workload
from compiled import AZ1, execute_graph, frames_for, graph_of, node
from graphs import compress

_Lives = list[tuple[int, int, int]]  # bytes, first and last use


def _placed(lives: _Lives) -> tuple[list[int], int, int]:
    """Addresses, bytes in use, and the fewest that there could be."""
    storages = [Storage(f"s{n}", "activation", "u8", size) for n, (size, _, _) in enumerate(lives)]
    live = {f"s{n}": (first, last) for n, (_, first, last) in enumerate(lives)}
    addresses: dict[str, int] = {}
    peak = _place(storages, live, addresses, 128)
    return [addresses[f"s{n}"] for n in range(len(lives))], peak, least_bytes(storages, live)


@given(
    st.lists(
        st.tuples(st.integers(1, 5000), st.integers(0, 30), st.integers(0, 12)),
        max_size=25,
    )
)
def test_what_lives_together_lies_apart(drawn: _Lives) -> None:
    lives = [(size, first, first + length) for size, first, length in drawn]
    addresses, peak, least = _placed(lives)
    assert least <= peak <= sum(-(-size // 64) * 64 for size, _, _ in lives)
    for (at, one), (other_at, other) in itertools.combinations(
        zip(addresses, lives, strict=True), 2
    ):
        if one[1] <= other[2] and other[1] <= one[2]:
            assert at + one[0] <= other_at or other_at + other[0] <= at
    for at, (size, _, _) in zip(addresses, lives, strict=True):
        assert at >= 128
        assert at % 64 == 0
        assert at + size <= 128 + peak


def test_the_fewest_bytes_are_the_most_that_live_at_one_time() -> None:
    lives = [(64, 0, 4), (128, 2, 3), (64, 4, 9), (1, 9, 9)]
    assert _placed(lives)[1:] == (192, 192)


@pytest.mark.parametrize("period_s", [None, 1e-4])
def test_what_a_round_begins_with_has_a_place_of_its_own(period_s: float | None) -> None:
    """So that it comes while the round before ends; where a frame is awaited, it cannot."""
    names = [*"xabcdefg", "y"]
    nodes = [node("Tanh", [one], two) for one, two in itertools.pairwise(names)]
    graph = graph_of({"x": (1, 64)}, {}, nodes, ("y",))
    compiled = execute_graph(compress(graph), AZ1, frames_for(graph, 8), period_s=period_s).compiled
    places = {
        name: at
        for name, at in compiled.allocation.addresses.items()
        if compiled.schedule.storages[name].space == "activation"
    }
    shared = [name for name, at in places.items() if name != "x" and at == places["x"]]
    assert bool(shared) is (period_s is not None)


def test_another_order_is_taken_where_the_largest_first_is_worse() -> None:
    """The largest first puts b above a and c; a above b leaves no gap."""
    lives = [(256, 0, 1), (192, 1, 2), (192, 2, 3), (128, 3, 4), (128, 0, 0)]
    _, peak, least = _placed(lives)
    assert peak == least


@given(
    st.lists(
        st.tuples(st.integers(1, 50), st.integers(0, 30), st.integers(0, 12)),
        max_size=25,
    )
)
def test_each_lies_as_low_as_those_before_it_allow(drawn: _Lives) -> None:
    sizes, first = [size for size, _, _ in drawn], [begin for _, begin, _ in drawn]
    last = [begin + length for _, begin, length in drawn]
    order = np.random.default_rng(len(drawn)).permutation(len(drawn))
    found, peak = FirstFit(sizes, first, last).place(order)
    taken = np.zeros((sum(sizes) + 1, 50), bool)
    for number in order:
        life = slice(first[number], last[number] + 1)
        low = next(at for at in range(len(taken)) if not taken[at : at + sizes[number], life].any())
        assert found[number] == low
        taken[low : low + sizes[number], life] = True
    assert peak == max([0, *(low + size for low, size in zip(found, sizes, strict=True))])


def test_what_lives_in_a_round_makes_room_in_it() -> None:
    def fill(buffer: str, source: str) -> Item:
        operands = {"dst": Access(buffer, 0, 1, 16, 0, 1), "src": Access(source, 0, 1, 16, 0, 1)}
        return Item("vector_copy", "layer", operands)

    body = (fill("a", "x"), fill("y", "a"), fill("b", "x"), fill("y", "b"))
    loops = (Repeat(1, 2, (fill("c", "x"), Repeat(2, 3, body))),)
    storages = {name: Storage(name, "activation", "f32", 64) for name in "abcxy"}

    def peak(**round_of: int) -> int:
        marked = {n: replace(one, round_of=round_of.get(n)) for n, one in storages.items()}
        schedule = Schedule((), loops, (), 2, marked)
        return allocate(schedule, AZ1).peak_bytes["activation"]

    assert peak() == 5 * 64
    assert peak(a=2) == 5 * 64
    assert peak(a=2, b=2) == 4 * 64
    assert peak(a=2, b=2, c=1) == 3 * 64


_PRESETS = ("az1", "az2", "az1_lite", "dense_npu")
_SHIPPED = [
    *(pytest.param("vad_silero", preset, marks=pytest.mark.fetch) for preset in _PRESETS),
    *(pytest.param("eie_layers_small", preset) for preset in (*_PRESETS, "eie")),
    # Its vectors alone are larger than the activation SRAM of the others.
    pytest.param("eie_layers", "eie", marks=pytest.mark.slow),
]


@pytest.mark.slow
@pytest.mark.parametrize(("workload", "hardware"), _SHIPPED)
def test_shipped_workloads_use_little_more_than_they_must(workload: str, hardware: str) -> None:
    compiled = compile_workload(load_workload(workload), load_hardware(hardware))
    live = compiled.allocation.live
    storages = [
        storage
        for name, storage in compiled.schedule.storages.items()
        if storage.space == "activation" and name in live
    ]
    least = least_bytes(storages, live)
    assert least <= compiled.allocation.peak_bytes["activation"] <= 1.03 * least
