"""Results that are stored behind a decision: one transfer for all of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from azsim.compiler.allocate import fits
from azsim.compiler.join import join
from azsim.compiler.schedule import FRAME_LOOP, Item, Repeat, Schedule, Storage, walk
from azsim.evaluate import evaluate_stream
from azsim.isa import assembly
from azsim.isa.program import Port
from azsim.ops.lowering import Access, Leave
from azsim.sim.checks import check_program
from azsim.sim.execute import execute, read_port
from azsim.sim.races import check_races
from compiled import AZ1, chip, execute_graph
from decoding import STATE, transducer
from graphs import compress
from plain_schedule import run_schedule

SIZES = {"a": 6, "b": 2, "c": 1}


def frame(frames: int, *between: Item) -> Schedule:
    """Three results, with a region behind the first of them and their stores behind the region."""
    whole = {name: Access(name, 0, 1, size, size, 1) for name, size in SIZES.items()}

    def of_frame(name: str, size: int) -> Access:
        return Access(name, 0, 1, size, size, 1, {FRAME_LOOP: size} if frames > 1 else {})

    results = {name: of_frame(f"output {name}", size) for name, size in SIZES.items()}
    given = of_frame("input x", 6)

    def neg(dst: Access, src: Access) -> Item:
        return Item("vector_unary", "", {"dst": dst, "src": src, "function": "neg"})

    word = Access("b", 0, 1, 1, 1, 1)
    asked = Item("scalar_read", "", {"src": word, "to": 1}, leave=Leave(word, 1))
    first, two = Access("a", 0, 1, 1, 1, 1), Access("a", 1, 1, 2, 2, 1)
    stores = [
        Item("store", "(output)", {"dst": results[name], "src": whole[name]}) for name in SIZES
    ]
    body = (
        Item("load", "", {"dst": whole["a"], "src": given, "paced": 1}),
        neg(whole["b"], two),
        Repeat(1, 1, (asked, neg(whole["c"], first)), 1.0),
        stores[0],
        *between,
        *stores[1:],
    )
    storages = {name: Storage(name, "activation", "i32", 4 * size) for name, size in SIZES.items()}
    storages |= {
        f"output {name}": Storage(f"output {name}", "dram", "i32", 4 * size * frames, True)
        for name, size in SIZES.items()
    }
    storages["input x"] = Storage("input x", "dram", "i32", 24 * frames, True)
    return Schedule((), body, (), frames, storages)


def stores_of(schedule: Schedule) -> list[Item]:
    return [item for item in walk(schedule.body) if item.mnemonic == "store"]


def results_of(schedule: Schedule, given: np.ndarray) -> dict[str, list[int]]:
    """Results of all frames, wherever they lie."""
    dram = {
        name: np.zeros(storage.size_bytes // 4, np.int64)
        for name, storage in schedule.storages.items()
        if storage.space == "dram" and storage.within is None
    }
    dram["input x"] = given
    run_schedule(schedule, dram)
    found = {}
    for name, size in SIZES.items():
        storage = schedule.storages[f"output {name}"]
        whole, first_bytes = storage.within or (storage.name, 0)
        step = len(dram[whole]) // schedule.frames
        first = first_bytes // 4
        found[name] = [
            int(n)
            for number in range(schedule.frames)
            for n in dram[whole][number * step + first :][:size]
        ]
    return found


@pytest.mark.parametrize("frames", [1, 2, 5])
def test_stores_behind_a_decision_become_one(frames: int) -> None:
    plain = frame(frames)
    joined = join(plain, AZ1)
    assert len(stores_of(plain)) == 3
    (store,) = stores_of(joined)
    source, target = store.operands["src"], store.operands["dst"]
    assert isinstance(source, Access)
    assert isinstance(target, Access)
    assert (source.buffer, source.shape) == ("a, b, c", (1, 9))
    assert target.buffer == "output a, b, c"
    # Each frame begins with a burst.
    assert target.advance == ({FRAME_LOOP: 16} if frames > 1 else {})
    given = np.random.default_rng(frames).integers(1, 100, 6 * frames)
    assert results_of(joined, given) == results_of(plain, given)
    assert any(any(values) for values in results_of(plain, given).values())


def test_a_result_that_something_writes_before_the_last_store_is_stored_on_its_own() -> None:
    again = Item("vector_fill", "", {"dst": Access("a", 0, 1, 6, 6, 1), "value": 0.0})
    stores = stores_of(join(frame(3, again), AZ1))
    assert [store.operands["src"].buffer for store in stores] == ["a", "b, c"]  # type: ignore[union-attr]


def test_what_has_no_region_before_it_is_left_alone() -> None:
    plain = frame(3)
    straight = tuple(item for item in plain.body if isinstance(item, Item))
    plain = replace(plain, body=straight)
    assert join(plain, AZ1) is plain


def test_where_there_is_no_room_results_stay_apart() -> None:
    """Side by side all of them live from the first to the last."""
    plain = frame(3)
    scratch, late = (Access(name, 0, 1, 64, 64, 1) for name in ("scratch", "c"))
    fill = Item("vector_fill", "", {"dst": scratch, "value": 0.0})
    store = {"dst": replace(late, buffer="output c", advance={FRAME_LOOP: 64}), "src": late}
    first, second, region, *stores = plain.body
    assert isinstance(region, Repeat)
    body = (
        first,
        fill,
        second,
        replace(region, body=region.body[:1]),  # which has nothing to do with the last result
        *stores[:2],
        replace(fill, operands={"dst": late, "value": 0.0}),
        Item("store", "(output)", store),
    )
    storages = {
        **plain.storages,
        "c": replace(plain.storages["c"], size_bytes=256),
        "output c": replace(plain.storages["output c"], size_bytes=768),
        "scratch": Storage("scratch", "activation", "i32", 256),
    }
    plain = replace(plain, body=body, storages=storages)
    assert len(stores_of(join(plain, chip(activation_sram__bytes=640)))) == 1
    assert fits(plain, chip(activation_sram__bytes=384))
    assert join(plain, chip(activation_sram__bytes=384)) is plain


@pytest.mark.parametrize("chunk", [1, 3])
@pytest.mark.parametrize("period_s", [None, 0.5])
def test_a_decoder_stores_a_record_a_frame(chunk: int, period_s: float | None) -> None:
    model = transducer(3, frames=chunk, features=8)
    graph = compress(model.graph)
    chunks = 4
    name = next(name for name in model.graph.inputs if name not in STATE)
    rng = np.random.default_rng(chunk)
    shape = (chunks, *model.graph.inputs[name].shape)
    frames = {name: rng.standard_normal(shape).astype(np.float32)}
    state = model.zero_state()
    ran = execute_graph(graph, AZ1, frames, STATE, state, period_s=period_s)
    wanted, _ = evaluate_stream(graph.graph, frames, STATE, state, graph)
    program = ran.compiled.program
    ports = {port.name: port for port in program.outputs}
    assert ports["symbols"].step_bytes == ports["counts"].step_bytes == 64
    assert ports["counts"].addr - ports["symbols"].addr == ports["symbols"].frame_bytes
    for tensor in ("symbols", "counts"):
        np.testing.assert_array_equal(ran.execution.outputs[tensor], wanted[tensor])
    in_frames = [
        program.layers[layer]
        for layer, instruction in zip(program.layer_of, program.instructions, strict=True)
        if instruction.mnemonic == "store" and program.layers[layer] == "(output)"
    ]
    assert len(in_frames) == 1
    assert not check_races(program, ran.execution.trace)
    verdicts = check_program(program, AZ1, ran.compiled.image)
    assert not [finding for verdict in verdicts for finding in verdict.findings]
    text = assembly.format(program)
    assert "step=64" in text
    assert assembly.parse(text) == program
    again = execute(assembly.parse(text), ran.compiled.image, AZ1)
    assert again.outputs.keys() == ran.execution.outputs.keys()


def test_a_port_shows_its_frames_and_nothing_between_them() -> None:
    port = Port("y", 8, (2,), 3, "i32", 20)
    memory = np.arange(64, dtype=np.uint8)
    assert (port.frame_bytes, port.num_bytes, port.end) == (8, 24, 56)
    shown = port.of(memory)
    assert shown[:, 0].tolist() == [8, 28, 48]
    shown[...] = 0
    assert np.flatnonzero(memory == 0).tolist() == [
        0,
        *range(8, 16),
        *range(28, 36),
        *range(48, 56),
    ]
    assert read_port(memory, port).shape == (3, 2)
    assert Port("y", 8, (2,), 3, "i32").end == 32
    assert Port("y", 8, (0,), 3, "i32").of(memory).shape == (3, 0)


def test_where_products_come_behind_a_decision_results_go_meanwhile() -> None:
    codes, weight = Access("codes", 0, 1, 4, 4, 1), Access("w", 0, 1, 4, 4, 1)
    product = Item("mac_matmul", "", {"src": codes, "src2": weight})
    plain = frame(3, product)
    assert join(plain, AZ1) is plain
