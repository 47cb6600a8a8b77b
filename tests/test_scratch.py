"""Intermediate tensors that activation SRAM has no room for: the same bits, in DRAM."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from azsim.compiler.schedule import Item, Repeat, Storage, walk
from azsim.compiler.scratch import Scratch, in_dram
from azsim.evaluate import evaluate_stream
from azsim.hardware.description import Hardware
from azsim.ir import CompressedGraph, Node
from azsim.ops.build import build_graph
from azsim.ops.lowering import Access, Leave
from azsim.sim.checks import check_program
from compiled import chip, execute_graph
from graphs import compress, type_of

HIDDEN, LAYERS, STEPS, CHUNKS = 64, 3, 12, 3
STATE = {f"{kind}{layer}": f"{kind}n{layer}" for layer in range(LAYERS) for kind in "hc"}


@functools.cache
def stack() -> CompressedGraph:
    """Three LSTM layers over chunks of twelve steps, a softmax of each step behind them."""
    rng = np.random.default_rng(0)

    def random(*shape: int) -> np.ndarray:
        return (rng.standard_normal(shape) * 0.1).astype(np.float32)

    constants = {"shape": np.array([STEPS, 1, HIDDEN], np.int64)}
    nodes, tensor = [], "x"
    for layer in range(LAYERS):
        constants[f"W{layer}"] = random(1, 4 * HIDDEN, HIDDEN)
        constants[f"R{layer}"] = random(1, 4 * HIDDEN, HIDDEN)
        constants[f"B{layer}"] = random(1, 8 * HIDDEN)
        sources = (f"W{layer}", f"R{layer}", f"B{layer}", "", f"h{layer}", f"c{layer}")
        results = (f"y{layer}", f"hn{layer}", f"cn{layer}")
        nodes.append(
            Node(f"lstm{layer}", "LSTM", (tensor, *sources), results, {"hidden_size": HIDDEN})
        )
        tensor = f"z{layer}"
        nodes.append(Node(f"rows{layer}", "Reshape", (f"y{layer}", "shape"), (tensor,)))
    nodes.append(Node("softmax", "Softmax", (tensor,), ("p",), {"axis": 2}))
    inputs = {"x": type_of(STEPS, 1, HIDDEN), **{name: type_of(1, 1, HIDDEN) for name in STATE}}
    return compress(build_graph("stack", inputs, constants, nodes, ["p", *STATE.values()], "test"))


CHIPS = {
    "all fits": (chip(), 0),
    "half": (chip(activation_sram__bytes=16_384, mac__accumulators=1024), 1),
    "a quarter": (chip(activation_sram__bytes=8_192, mac__accumulators=512), 6),
    "little": (chip(activation_sram__bytes=6_144, mac__accumulators=256, mac__lanes=16), 6),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CHIPS)
def test_no_bit_depends_on_where_tensors_live(name: str) -> None:
    hardware: Hardware
    hardware, least = CHIPS[name]
    graph = stack()
    frames = {"x": np.random.default_rng(1).standard_normal((CHUNKS, STEPS, 1, HIDDEN))}
    frames = {key: array.astype(np.float32) for key, array in frames.items()}
    zeros = {key: np.zeros((1, 1, HIDDEN), np.float32) for key in STATE}
    ran = execute_graph(graph, hardware, frames, STATE, zeros)
    tensors, final = evaluate_stream(graph.graph, frames, STATE, zeros, graph)
    assert np.array_equal(ran.execution.outputs["p"], tensors["p"])
    for source, target in STATE.items():
        found = ran.execution.outputs[target].reshape(-1)
        assert np.array_equal(found, final[source].reshape(-1)), target
    shared = [storage for storage in ran.compiled.schedule.storages.values() if storage.is_shared]
    assert bool(shared) == bool(least)
    assert len(shared) >= least
    assert ran.compiled.allocation.peak_bytes["activation"] <= hardware.activation_sram.bytes
    verdicts = check_program(ran.compiled.program, hardware)
    assert [(one.findings, one.unproved) for one in verdicts] == [((), ())] * len(verdicts)


def moved(
    items: Sequence[Item | Repeat], scratch: Scratch
) -> tuple[list[Item | Repeat], list[Storage]]:
    """Items and places with a buffer in DRAM."""
    found = in_dram(items, scratch)
    assert found is not None
    return [item for cell in found[0] for item in cell], found[1]


def scratch(rows: int, cols: int, most_bytes: int = 1 << 20) -> Scratch:
    storage = Storage("t", "activation", "f32", 4 * rows * cols)
    return Scratch(storage, "t#dram", most_bytes)


def unary(dst: Access, src: Access) -> Item:
    return Item("vector_unary", "layer", {"dst": dst, "src": src, "function": "neg"})


def whole(buffer: str, rows: int, cols: int) -> Access:
    return Access(buffer, 0, rows, cols, cols, 1)


def moves(items: list[Item | Repeat]) -> list[str]:
    return [item.mnemonic for item in walk(tuple(items))]


def test_rows_come_and_go_a_few_at_a_time() -> None:
    items = [
        unary(whole("t", 8, 16), whole("x", 8, 16)),
        unary(whole("y", 8, 16), whole("t", 8, 16)),
    ]
    found = moved(items, scratch(8, 16, most_bytes=4 * 16 * 3))
    assert moves(found[0]) == ["vector_unary", "store"] * 3 + ["load", "vector_unary"] * 3
    assert [place.size_bytes // 64 for place in found[1]] == [3, 3, 2] * 2


def test_what_nobody_reads_is_not_stored() -> None:
    items = [
        unary(whole("t", 2, 16), whole("x", 2, 16)),
        unary(whole("t", 2, 16), whole("t", 2, 16)),
    ]
    found = moved(items, scratch(2, 16))
    assert moves(found[0]) == ["vector_unary", "store", "load", "vector_unary"]


def test_a_round_of_a_loop_reads_one_row_and_writes_the_next() -> None:
    row = Access("t", 0, 1, 16, 0, 1, {3: 16})
    following = Access("t", 16, 1, 16, 0, 1, {3: 16})
    found = moved([Repeat(3, 7, (unary(following, row),))], scratch(8, 16))
    (loop,) = found[0]
    assert isinstance(loop, Repeat)
    load, work, store = loop.body
    assert isinstance(load, Item)
    assert isinstance(work, Item)
    assert isinstance(store, Item)
    assert load.operands["src"] == Access("t#dram", 0, 1, 16, 0, 1, {3: 16})
    assert store.operands["dst"] == Access("t#dram", 16, 1, 16, 0, 1, {3: 16})
    assert work.operands["src"] == load.operands["dst"]
    assert work.operands["dst"] == store.operands["src"]


def test_rounds_of_a_loop_inside_are_rows() -> None:
    """Parts of the channels around, steps inside: of each step the part's channels come and go."""
    parts, steps, channels, part = 4, 3, 16, 4
    window = Access("t", 0, part, 1, 1, 0, {1: part, 2: channels})
    inner = Repeat(2, steps, (unary(whole("x", part, 1), window), unary(window, window)))
    found = moved([Repeat(1, parts, (inner,))], scratch(steps, channels))
    (loop,), (place,) = found
    assert isinstance(loop, Repeat)
    load, rounds, store = loop.body
    assert isinstance(load, Item)
    assert isinstance(rounds, Repeat)
    assert isinstance(store, Item)
    outside = Access("t#dram", 0, steps, part, channels, 1, {1: part})
    assert load.operands["src"] == store.operands["dst"] == outside
    assert load.operands["dst"] == Access(place.name, 0, steps, part, part, 1)
    assert place.size_bytes == 4 * steps * part
    work = rounds.body[0]
    assert isinstance(work, Item)
    assert work.operands["src"] == Access(place.name, 0, part, 1, 1, 0, {2: part})


def test_rows_that_are_written_whole_are_not_loaded() -> None:
    window = Access("t", 0, 1, 4, 0, 1, {1: 4, 2: 16})
    loop = Repeat(1, 4, (Repeat(2, 3, (unary(window, whole("x", 1, 4)),)),))
    found = moved([loop, unary(whole("y", 3, 16), whole("t", 3, 16))], scratch(3, 16))
    assert moves(found[0]) == ["vector_unary", "store", "load", "vector_unary"]


def test_a_row_that_is_too_long_comes_and_goes_in_parts() -> None:
    items = [
        unary(whole("t", 1, 40), whole("x", 1, 40)),
        unary(whole("y", 1, 40), whole("t", 1, 40)),
    ]
    found = moved(items, scratch(1, 40, most_bytes=4 * 16))
    assert moves(found[0]) == ["vector_unary", "store"] * 3 + ["load", "vector_unary"] * 3
    assert [place.size_bytes // 4 for place in found[1]] == [16, 16, 8] * 2
    first = found[0][2]
    assert isinstance(first, Item)
    assert first.operands["src"] == Access("x", 16, 1, 16, 40, 1)


def test_columns_that_follow_each_other_are_rows_of_a_place() -> None:
    """A transposed window: of 3 rows of 16 the columns 4 to 7."""
    turned = Access("t", 4, 4, 3, 1, 16)
    found = moved([unary(whole("x", 4, 3), turned)], scratch(3, 16))
    (load, work), (place,) = found
    assert isinstance(load, Item)
    assert isinstance(work, Item)
    assert load.operands["src"] == Access("t#dram", 4, 3, 4, 16, 1)
    assert work.operands["src"] == Access(place.name, 0, 4, 3, 1, 4)
    assert place.size_bytes == 4 * 3 * 4


def test_a_row_that_is_repeated_comes_once() -> None:
    repeated = Access("t", 16, 5, 16, 0, 1)
    found = moved([unary(whole("x", 5, 16), repeated)], scratch(3, 16))
    (load, work), (place,) = found
    assert isinstance(load, Item)
    assert isinstance(work, Item)
    assert load.operands["src"] == Access("t#dram", 16, 1, 16, 0, 1)
    assert work.operands["src"] == Access(place.name, 0, 5, 16, 0, 1)
    assert place.size_bytes == 4 * 16


def test_what_the_next_frame_reads_is_stored() -> None:
    items = [unary(whole("t", 2, 16), whole("x", 2, 16))]
    for is_carried in (False, True):
        found = moved(items, replace(scratch(2, 16), is_carried=is_carried))
        assert moves(found[0]) == ["vector_unary", "store"][: 1 + is_carried]


def test_windows_that_cannot_be_transferred_stay() -> None:
    """Two windows share elements and move apart."""
    one, other = (Access("t", 0, 1, 16, 0, 1, {3: step}) for step in (16, 8))
    assert in_dram([Repeat(3, 4, (unary(one, other),))], scratch(8, 16)) is None


def part_of_a_region(*items: Item) -> Repeat:
    """A loop that data may end, with items behind the decision."""
    word = Access("word", 0, 1, 1, 1, 1)
    leave = Item("scalar_read", "layer", {"src": word, "to": 1}, leave=Leave(word, 0))
    return Repeat(5, 4, (leave, *items))


def test_what_a_part_of_a_region_makes_for_itself_is_not_there_outside() -> None:
    make = unary(whole("t", 1, 16), whole("x", 1, 16))
    use = unary(whole("y", 1, 16), whole("t", 1, 16))
    found, places = moved([part_of_a_region(make, use, use)], scratch(1, 16))
    assert moves(found) == ["scalar_read", *moves([make]), "store", *["load", "vector_unary"] * 2]
    assert len(places) == 3
    found, _ = moved([part_of_a_region(make)], scratch(1, 16))
    assert moves(found) == ["scalar_read", "vector_unary"]


def test_what_another_part_may_read_is_stored() -> None:
    make = unary(whole("t", 1, 16), whole("x", 1, 16))
    use = unary(whole("y", 1, 16), whole("t", 1, 16))
    found, _ = moved([part_of_a_region(make), use], scratch(1, 16))
    assert moves(found) == ["scalar_read", "vector_unary", "store", "load", "vector_unary"]
    found, _ = moved([part_of_a_region(use, make)], scratch(1, 16))
    assert moves(found) == ["scalar_read", "load", "vector_unary", "vector_unary", "store"]


def test_a_word_that_data_decides_by_stays() -> None:
    assert in_dram([part_of_a_region()], replace(scratch(1, 1), storage=WORD)) is None


WORD = Storage("word", "activation", "i32", 4)


def test_where_room_is_short_each_item_of_a_round_has_places_of_its_own() -> None:
    """A row of each round is made, used twice, and gone with the round."""
    row = Access("t", 0, 1, 16, 0, 1, {3: 16})
    x, y = whole("x", 1, 16), whole("y", 1, 16)
    loop = Repeat(3, 7, (unary(row, x), unary(y, row), unary(y, row)))
    found, places = moved([loop], scratch(7, 16, most_bytes=32))
    assert moves(found) == ["load", *["vector_unary"] * 3, "store"]
    assert [place.round_of for place in places] == [None]
    short = replace(scratch(7, 16, most_bytes=64), in_rounds=True)
    assert moves(moved([loop], short)[0]) == moves(found)
    short = replace(short, most_bytes=63)
    found, places = moved([loop], short)
    assert moves(found) == ["vector_unary", "store", *["load", "vector_unary"] * 2]
    assert [place.round_of for place in places] == [3] * 3
