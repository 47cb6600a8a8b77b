"""Rounds of loops: the same work in finer ones, in pairs, and with the last one apart."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from azsim.compiler.rounds import finer, in_pairs, with_last_apart
from azsim.compiler.schedule import Item, Repeat, Storage, walk
from azsim.evaluate import evaluate_stream
from azsim.ir import CompressedGraph, Node
from azsim.ops.build import build_graph
from azsim.ops.lowering import Access
from azsim.sim.checks import check_program
from compiled import chip, execute_graph
from graphs import type_of
from plain_schedule import elements, executed, work_on

WIDTH, STEPS = 8, 3
LOOP, INNER = 7, 8


@st.composite
def loops(draw: st.DrawFn) -> Repeat:
    """A loop over parts of a state, in it one over steps, now and then with a slip.

    Buffers: `a` and `b` are read, `x` is carried from step to step, `t` and `u` are a round's own,
    `y` has a number for each row and step.
    """
    rounds, rows = draw(st.sampled_from([2, 4, 6])), draw(st.sampled_from([2, 4]))
    size = rounds * rows

    def walking(name: str, cols: int = WIDTH, first: int = 0) -> Access:
        return Access(name, first, rows, cols, WIDTH, 1, {LOOP: rows * WIDTH})

    def own(name: str, cols: int = WIDTH, first: int = 0) -> Access:
        return Access(name, first, rows, cols, WIDTH, 1)

    sums = Access("y", 0, rows, 1, 1, 0, {LOOP: rows, INNER: size})
    of_step = Access("v", 0, rows, WIDTH, 0, 1, {INNER: WIDTH})
    of_row = Access("w", 0, rows, WIDTH, 1, 0, {LOOP: rows, INNER: size})
    sources = [walking("a"), walking("b"), walking("x"), own("t"), own("u"), of_step, of_row]
    targets = [walking("x"), own("t"), own("u")]
    if draw(st.booleans()):
        sources += [own("t", 4), own("t", 4, 4), walking("a", 4), walking("x", WIDTH, WIDTH)]
        targets += [own("t", 4), own("t", 4, 4)]
    items = [
        Item("vector_binary", "", {"dst": target, "src": a, "src2": b, "function": function})
        for target, a, b, function in draw(
            st.lists(
                st.tuples(
                    st.sampled_from(targets),
                    *[st.sampled_from(sources)] * 2,
                    st.sampled_from(["add", "mul"]),
                ),
                min_size=1,
                max_size=6,
            )
        )
        # Shapes agree, and a result is one of the operands or apart from them.
        if a.cols == b.cols == target.cols
        and all(w == target or w.buffer != target.buffer for w in (a, b))
    ]
    items.append(
        Item(
            "vector_reduce",
            "",
            {"dst": sums, "src": draw(st.sampled_from(sources)), "reduction": "sum"},
        )
    )
    return Repeat(LOOP, rounds, (Repeat(INNER, STEPS, tuple(items)),))


def storages(loop: Repeat) -> dict[str, Storage]:
    rows = next(walk(loop.body)).operands["dst"].rows  # type: ignore[union-attr]
    size = loop.count * rows
    sizes = dict.fromkeys("abx", (size + 1) * WIDTH) | dict.fromkeys("tu", rows * WIDTH)
    sizes |= {"y": size * STEPS, "v": WIDTH * STEPS, "w": size * STEPS}
    return {name: Storage(name, "activation", "f32", 4 * n) for name, n in sizes.items()}


def contents(items: tuple[Item | Repeat, ...], found: dict[str, Storage]) -> dict[str, list[int]]:
    """What buffers hold after items ran, of those that outlive a round."""
    rng = np.random.default_rng(0)
    arrays = {
        name: rng.integers(0, 1009, s.size_bytes // 4)
        for name, s in found.items()
        if name not in "tu"
    }
    arrays |= {name: np.full(found[name].size_bytes // 4, -(10**6)) for name in "tu"}
    for item, at in executed(items, {}, {}):
        work_on(arrays, item, at)
    return {name: array.tolist() for name, array in arrays.items() if name not in "tu"}


@given(loop=loops(), parts=st.sampled_from([2, 4]))
def test_finer_rounds_do_the_same_work_or_are_refused(loop: Repeat, parts: int) -> None:
    whole = storages(loop)
    found = finer(loop, parts, whole, frozenset("abvwxy"))
    if found is None:
        return
    cut, smaller = found
    assert cut.count == parts * loop.count
    assert {name: s.size_bytes * parts for name, s in smaller.items()} == {
        name: whole[name].size_bytes for name in smaller
    }
    assert set(smaller) == set("tu") & loop.buffers
    assert contents((cut,), {**whole, **smaller}) == contents((loop,), whole)


def plain(rows: int = 4, rounds: int = 4) -> Repeat:
    """x = x * a, summed up."""
    a, x = (Access(n, 0, rows, WIDTH, WIDTH, 1, {LOOP: rows * WIDTH}) for n in "ax")
    t = Access("t", 0, rows, WIDTH, WIDTH, 1)
    y = Access("y", 0, rows, 1, 1, 0, {LOOP: rows})
    return Repeat(
        LOOP,
        rounds,
        (
            Item("vector_binary", "", {"dst": t, "src": x, "src2": a, "function": "mul"}),
            Item("vector_binary", "", {"dst": x, "src": x, "src2": t, "function": "add"}),
            Item("vector_reduce", "", {"dst": y, "src": x, "reduction": "sum"}),
        ),
    )


def test_a_plain_loop_can_be_cut() -> None:
    loop = plain()
    found = finer(loop, 2, storages(loop), frozenset("axy"))
    assert found is not None
    assert found[0].count == 8
    assert {access.rows for item in walk(found[0].body) for _, access in item.windows} == {2}
    assert found[1]["t"].size_bytes == 4 * 2 * WIDTH


def changed(loop: Repeat, number: int, name: str, **changes: object) -> Repeat:
    """A loop with another window."""
    body = list(loop.body)
    item = body[number]
    assert isinstance(item, Item)
    window = replace(item.operands[name], **changes)  # type: ignore[type-var]
    body[number] = replace(item, operands={**item.operands, name: window})
    return replace(loop, body=tuple(body))


def test_what_is_not_row_by_row_is_not_cut() -> None:
    loop = plain()
    first = loop.body[0]
    assert isinstance(first, Item)
    slips = {
        "rows that are no multiple": plain(rows=3),
        "another instruction": replace(
            loop, body=(replace(first, mnemonic="vector_softmax"), *loop.body[1:])
        ),
        "a row of another round": changed(loop, 1, "src", offset=WIDTH),
        "read before it is written": changed(loop, 0, "src", buffer="t", advance={}),
        "fewer rows": changed(loop, 2, "src", rows=2),
        "rows on top of one another": changed(loop, 0, "dst", row_stride=4),
        "where data may end it": replace(loop, rounds=2.0),
    }
    for slip, other in slips.items():
        assert finer(other, 2, storages(loop), frozenset("axy")) is None, slip
    assert finer(loop, 2, storages(loop), frozenset("atxy")) is None  # its own is another's, too


def trace(items: tuple[Item | Repeat, ...]) -> list[tuple[str, list[tuple[str, str, list[int]]]]]:
    """What is executed, element by element."""
    return [
        (
            item.mnemonic,
            [(name, a.buffer, elements(a, at).ravel().tolist()) for name, a in item.windows],
        )
        for item, at in executed(items, {}, {})
    ]


@given(loop=loops())
def test_rounds_in_pairs_are_the_same_in_the_same_order(loop: Repeat) -> None:
    pairs = in_pairs(loop, itertools.count(100))
    if loop.count in (2, 6):
        assert (pairs is None) == (loop.count == 2)
    if pairs is not None:
        assert pairs.count == loop.count // 2
        assert trace((pairs,)) == trace((loop,))
        numbers = [item.number for item in pairs.body if isinstance(item, Repeat)]
        assert len(set(numbers)) == len(numbers)


def test_an_odd_number_of_rounds_has_no_pairs() -> None:
    assert in_pairs(plain(rounds=5), itertools.count(100)) is None


@pytest.mark.parametrize("rounds", [2, 3, 4])
def test_the_last_round_apart_leaves_out_what_it_need_not_do(rounds: int) -> None:
    loop = plain(rounds=rounds)
    row = Access("a", 0, 1, WIDTH, WIDTH, 1, {LOOP: WIDTH})
    load = Item("load", "", {"dst": row, "src": replace(row, buffer="d")}, but_last=LOOP)
    loop = replace(loop, body=(*loop.body, load))
    apart = with_last_apart(loop, itertools.count(100))
    assert trace(apart) == trace((loop,))
    assert not any(item.but_last for item in walk(apart))


@pytest.mark.slow
@pytest.mark.parametrize("activation_bytes", [90_000, 50_000, 40_000, 30_000, 26_000])
@pytest.mark.parametrize("steps", [1, 3])
def test_no_bit_depends_on_how_a_scan_comes_from_dram(activation_bytes: int, steps: int) -> None:
    """Two scans of 512 channels of 16, decays and states in DRAM, in turns with two places."""
    rng = np.random.default_rng(steps)
    channels, states, frames = 512, 16, 3

    def random(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32)

    constants = {f"a{n}": -abs(random(channels, states)) for n in range(2)}
    nodes = [
        Node(
            f"s{n}",
            "SelectiveScan",
            (f"u{n}", "delta", f"a{n}", "b", "c", "", f"h{n}"),
            (f"u{n + 1}", f"g{n}"),
        )
        for n in range(2)
    ]
    inputs = {
        "u0": (steps, channels),
        "delta": (steps, channels),
        "b": (steps, states),
        "c": (steps, states),
    }
    state = {f"h{n}": f"g{n}" for n in range(2)}
    kinds = {name: type_of(*shape) for name, shape in inputs.items()}
    kinds |= {name: type_of(channels, states) for name in state}
    graph = build_graph("scans", kinds, constants, nodes, ["u2", *state.values()], "test")
    given_frames = {name: random(frames, *shape) for name, shape in inputs.items()}
    given_frames["delta"] = abs(given_frames["delta"])
    initial = {name: random(channels, states) for name in state}
    hardware = chip(activation_sram__bytes=activation_bytes)
    ran = execute_graph(CompressedGraph(graph, {}), hardware, given_frames, state, initial)
    wanted, final = evaluate_stream(graph, given_frames, state, initial)
    assert ran.execution.outputs["u2"].tobytes() == wanted["u2"].tobytes()
    for source, target in state.items():
        assert ran.execution.outputs[target].tobytes() == final[source].tobytes(), target
    slots = {s.slot for s in ran.compiled.schedule.storages.values() if s.space == "activation"}
    turns = 2 if steps > 1 else 1  # with one step a round is done with a place soon
    assert len(slots - {None}) >= turns
    assert ran.compiled.allocation.peak_bytes["activation"] <= activation_bytes
    verdicts = check_program(ran.compiled.program, hardware)
    assert [(one.findings, one.unproved) for one in verdicts] == [((), ())] * len(verdicts)
