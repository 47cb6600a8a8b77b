"""Blocks that lie compressed in weight SRAM, and the array that takes them entry by entry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from azsim.codecs import (
    HEADER_BYTES,
    block_column_bits,
    block_column_entries,
    codec_is_read_by_column,
    codec_most_lanes,
    codec_names,
    encode_block,
)
from azsim.compiler.bounds import engine_bounds
from azsim.compiler.compile import necessary_steps
from azsim.compiler.parameters import place_parameters
from azsim.compiler.residence import BlockSizes
from azsim.compiler.stored import used_codec
from azsim.errors import CodecError, CompileError, MachineError
from azsim.evaluate import evaluate_stream
from azsim.hardware.description import Hardware
from azsim.ir import CodecChoice, CompressedGraph
from azsim.isa.program import Stream
from azsim.machine.engines import mac
from azsim.machine.engines.exact_read import READ_OFFSET, read_cycles
from azsim.machine.engines.mac import MatmulCycles, geometry, peak_macs_per_cycle
from azsim.sim.execute import execute, write_inputs
from azsim.sim.flatten import FlatTrace
from azsim.sim.races import check_races
from azsim.sim.statistics import measure
from azsim.sim.timing import replay
from compiled import (
    MIXED_STATE,
    Ran,
    chip,
    execute_graph,
    frames_for,
    graph_of,
    mixed_graph,
    node,
    pruned,
    with_codec,
)
from graphs import compress

pytestmark = pytest.mark.kernels

NO_STALL = np.zeros(1, np.uint8)


def reader(**changes: int | float | str | tuple[str, ...]) -> Hardware:
    """A chip that decodes at read."""
    values: dict[str, int | float | str | tuple[str, ...]] = {
        "decoder__at": "read", "mac__dataflow": "outer", "mac__zero_skip": "both",
        "mac__macs_per_lane": 1, "mac__window": 1, "mac__lanes": 8,
    }  # fmt: skip
    return chip(**{**values, **changes})


# ---------------------------------------------------------------------------- entries of a block


def entries_by_hand(codes: np.ndarray, lanes: int, index_bits: int) -> list[list[int]]:
    """Entries of each lane and column, straight from what the format says."""
    counts = []
    for lane in range(min(lanes, len(codes))):
        counts.append([])
        for column in range(codes.shape[1]):
            run = entries = 0
            for code in codes[lane::lanes, column]:
                run += 1
                if code:
                    entries += -(-run // (1 << index_bits))  # the last one holds the code
                    run = 0
            counts[-1].append(entries)
    return counts


@st.composite
def matrices(draw: st.DrawFn) -> np.ndarray:
    rng = np.random.default_rng(draw(st.integers(0, 1 << 32)))
    rows, columns = draw(st.integers(1, 150)), draw(st.integers(1, 40))
    share = rng.random(columns) * draw(st.sampled_from([0.02, 0.2, 1.0]))
    values = rng.integers(1, 5, (rows, columns)) * draw(st.sampled_from([1, 25]))
    return np.where(rng.random((rows, columns)) < share, values, 0).astype(np.int8)


@given(codes=matrices(), lanes=st.integers(1, 70), index_bits=st.integers(3, 6))
def test_entries_of_columns_and_lanes(codes: np.ndarray, lanes: int, index_bits: int) -> None:
    block = encode_block(
        "csc", codes, 8, columns=codes.shape[1], lanes=lanes, index_bits=index_bits, palette=True
    )
    assert block_column_entries(block).tolist() == entries_by_hand(codes, lanes, index_bits)
    once, of_columns = block_column_bits(block)
    assert -(-(once + int(of_columns.sum())) // 8) == len(block)


@given(codes=matrices(), data=st.data())
def test_no_part_of_a_block_is_larger_than_said(codes: np.ndarray, data: st.DataObject) -> None:
    columns = codes.shape[1]
    weight = compressed_of(codes).weights["w"]
    choice = CodecChoice("csc", {"lanes": 8, "palette": True})
    sizes = BlockSizes(weight, choice)
    low = data.draw(st.integers(0, columns - 1))
    high = data.draw(st.integers(low + 1, columns))
    part = np.ascontiguousarray(codes[:, low:high])
    block = encode_block("csc", part, 8, columns=high - low, lanes=8, palette=True)
    assert len(block) <= sizes.num_bytes(0, len(codes), low, high)
    most = data.draw(st.integers(HEADER_BYTES, 2 * len(block)))
    parts = sizes.cut(0, len(codes), low, high, most)
    if parts is None:
        assert max(sizes.num_bytes(0, len(codes), k, k + 1) for k in range(low, high)) > most
    else:
        assert [k for k, _ in parts] == [low, *(k for _, k in parts[:-1])]
        assert parts[-1][1] == high
        assert all(sizes.num_bytes(0, len(codes), *bounds) <= most for bounds in parts)


def test_only_codecs_with_columns_and_lanes_can_be_read() -> None:
    assert [name for name in codec_names() if codec_is_read_by_column(name)] == ["csc"]
    with pytest.raises(CodecError, match=r"^codec raw: its entries cannot be read by column"):
        block_column_entries(encode_block("raw", np.ones(4, np.int8), 8))


# ------------------------------------------------------------------ the clock, against the stepped


@st.composite
def jobs(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, int]:
    """Entries (lanes, K) with empty columns and a few long ones, marks (rows, K), queue depth."""
    rng = np.random.default_rng(draw(st.integers(0, 1 << 32)))
    lanes, inner = draw(st.integers(1, 9)), draw(st.integers(1, 120))
    mean = rng.random((lanes, -(-inner // 9))).repeat(9, axis=1)[:, :inner]
    entries = rng.poisson(mean * draw(st.sampled_from([0.3, 2.0, 6.0]))).astype(np.int64)
    entries[:, rng.random(inner) < 0.1] = 0
    share = draw(st.sampled_from([0.0, 0.1, 0.5, 1.0]))
    active = (rng.random((draw(st.integers(1, 4)), inner)) < share).astype(np.uint8)
    return entries, active, draw(st.sampled_from([1, 2, 3, 8, 64]))


def fast_cycles(entries: np.ndarray, active: np.ndarray, depth: int, activation_bits: int) -> int:
    lanes, inner = entries.shape
    array = reader(mac__lanes=lanes, mac__queue_depth=depth).mac
    shape = geometry(array, 8, activation_bits)
    prepared = MatmulCycles(np.ones((lanes, inner), np.int8), shape, entries)
    return int(prepared.row_cycles(active).sum())


@pytest.mark.slow
@given(job=jobs(), activation_bits=st.sampled_from([8, 16]))
def test_the_clock_is_the_stepped_array_s(
    job: tuple[np.ndarray, np.ndarray, int], activation_bits: int
) -> None:
    entries, active, depth = job
    stepped = read_cycles(entries, active, activation_bits // 8, depth, NO_STALL) - READ_OFFSET
    assert fast_cycles(entries, active, depth, activation_bits) == stepped


def test_what_is_not_there_costs_what_it_has_to() -> None:
    entries = np.zeros((4, 10), np.int64)
    row = np.ones((1, 10), np.uint8)
    assert fast_cycles(entries, row, 8, 8) == 10  # every column is looked at
    assert fast_cycles(entries, row, 8, 16) == 10  # whatever an entry would take
    assert fast_cycles(entries, 0 * row, 8, 8) == 1  # and a row without activations once
    entries[2, 3] = 50
    assert fast_cycles(entries, row, 64, 8) == 59
    assert fast_cycles(entries, row, 1, 8) == 59
    assert fast_cycles(entries, row, 1, 16) == 109


def test_a_stalled_memory_only_delays() -> None:
    rng = np.random.default_rng(3)
    entries = rng.poisson(1.5, (6, 80)).astype(np.int64)
    active = (rng.random((3, 80)) < 0.5).astype(np.uint8)
    free = read_cycles(entries, active, 1, 4, NO_STALL)
    assert read_cycles(entries, active, 1, 4, np.array([0, 1, 1], np.uint8)) > free


@pytest.mark.parametrize(
    "planted",
    [
        lambda entries, depth: (entries, depth - 1),
        lambda entries, depth: (entries, depth + 1),
        lambda entries, depth: (np.minimum(entries, 2), depth),  # padding entries dropped
    ],
    ids=["queue shorter", "queue longer", "no padding"],
)
def test_a_planted_error_shows(
    planted: Callable[[np.ndarray, int], tuple[np.ndarray, int]],
) -> None:
    rng = np.random.default_rng(5)
    entries = rng.poisson(1.5, (8, 400)).astype(np.int64)
    active = np.ones((1, 400), np.uint8)
    right = read_cycles(entries, active, 1, 4, NO_STALL) - READ_OFFSET
    assert fast_cycles(entries, active, 4, 8) == right
    wrong_entries, depth = planted(entries, 4)
    assert fast_cycles(wrong_entries, active, depth, 8) != right


def test_products_are_those_of_non_zero_codes() -> None:
    rng = np.random.default_rng(6)
    codes = np.where(rng.random((90, 30)) < 0.05, 3, 0).astype(np.int8)
    marks = (rng.random((5, 30)) < 0.5).astype(np.uint8)
    entries = block_column_entries(encode_block("csc", codes, 8, columns=30, lanes=4))
    for skip in ("both", "weights"):
        prepared = MatmulCycles(
            codes, geometry(reader(mac__lanes=4, mac__zero_skip=skip).mac, 8, 8), entries
        )
        counted = (codes != 0) & (marks[:, None, :] != 0)
        assert prepared.nonzero_products(marks).tolist() == counted.sum(axis=(1, 2)).tolist()
        if skip == "weights":
            assert set(prepared.executed_products(marks)) == {np.count_nonzero(codes)}
    assert peak_macs_per_cycle(reader(mac__macs_per_lane=4, mac__window=4).mac, 8, 8) == 32
    for macs, peak in ((1, 4), (2, 8), (4, 8)):
        array = reader(mac__macs_per_lane=macs, mac__window=4).mac
        assert peak_macs_per_cycle(array, 8, 16, at_read=True) == peak


# ------------------------------------------------------------------------------- whole programs


def compressed_of(codes: np.ndarray, rows: int = 1) -> CompressedGraph:
    """A graph of one product whose weight has these codes."""
    inner = codes.shape[1]
    floats = np.random.default_rng(0).standard_normal(codes.shape).astype(np.float32)
    graph = graph_of({"x": (rows, inner)}, {"w": floats}, [node("Gemm", ["x", "w"], "y", transB=1)],
                     ("y",))  # fmt: skip
    compressed = compress(graph)
    weights = {"w": replace(compressed.weights["w"], codes=codes)}
    return with_codec(CompressedGraph(graph, weights), "csc", palette=True)


def sparse_codes(outputs: int, inner: int, density: float, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    values = rng.choice([-90, -40, -7, 7, 40, 90], (outputs, inner))
    return np.where(rng.random((outputs, inner)) < density, values, 0).astype(np.int8)


def run_and_compare(compressed: CompressedGraph, hardware: Hardware, frames: int = 1) -> Ran:
    inputs = frames_for(compressed.graph, frames)
    ran = execute_graph(compressed, hardware, inputs)
    wanted, _ = evaluate_stream(compressed.graph, inputs, {}, {}, compressed)
    for name, array in ran.execution.outputs.items():
        assert array.tobytes() == wanted[name].tobytes()
    return ran


CHIPS = {
    "all pinned": reader(),
    "streamed": reader(weight_sram__bytes=6000),
    "mostly pinned": reader(weight_sram__bytes=12_000),
    "few accumulators": reader(mac__accumulators=64, weight_sram__bytes=9000, mac__lanes=3),
    "more lanes than rows": reader(mac__lanes=1000, mac__queue_depth=1),
    "dense activations": reader(mac__zero_skip="weights"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CHIPS)
@pytest.mark.parametrize("rows", [1, 70])
def test_the_bits_are_the_evaluator_s(name: str, rows: int) -> None:
    hardware = CHIPS[name]
    compressed = compressed_of(sparse_codes(300, 200, 0.2), rows)
    ran = run_and_compare(compressed, hardware, frames=2)
    plan, program = ran.compiled.plan, ran.compiled.program
    assert plan.read == {"w"}
    assert ran.compiled.allocation.peak_bytes["weight"] <= hardware.weight_sram.bytes
    assert bool(plan.slot_bytes) == (name in ("streamed", "mostly pinned", "few accumulators"))
    timing = replay(ran.execution.trace, program, hardware)
    statistics = measure(ran.execution.trace, timing, program, hardware)
    assert statistics.macs == 2 * rows * 300 * 200
    lowering = necessary_steps(ran.compiled.compressed, hardware)
    size = 4 * place_parameters(lowering).values.size
    ideal = {"": statistics.ideal_mac_cycles}
    bounds, _ = engine_bounds(lowering, hardware, Stream(2, None, False), {}, size, ideal)
    assert statistics.cycles >= max(
        bounds.dram_cycles, bounds.decoder_cycles, bounds.mac_cycles, bounds.critical_path_cycles
    )


def test_the_budget_counts_compressed_bytes() -> None:
    codes = sparse_codes(512, 512, 0.05)
    ran = run_and_compare(compressed_of(codes), reader(weight_sram__bytes=40_000))
    (block,) = [weight.encoded_bytes for weight in ran.compiled.weights]
    assert ran.compiled.plan.slot_bytes == 0
    assert block <= ran.compiled.allocation.peak_bytes["weight"] < 40_000 < codes.size // 6


def test_time_of_a_product_and_of_a_load() -> None:
    codes = sparse_codes(64, 100, 0.3)
    hardware = reader()
    ran = run_and_compare(compressed_of(codes), hardware)
    trace = ran.execution.trace
    timing = replay(trace, ran.compiled.program, hardware)
    work = {trace.sites[s].mnemonic: w for s, w in zip(timing.site, timing.work, strict=True)}
    (block,) = [weight.encoded_bytes for weight in ran.compiled.weights]
    (copying,) = FlatTrace(trace, hardware).cycles[timing.engine == 0]
    assert copying == -(-block // hardware.weight_sram.write_bytes_per_cycle)
    assert work["weight_load"] == 0  # no decoder has a part in it
    entries = np.array(entries_by_hand(codes, 8, 4))
    active = np.unpackbits(trace.masks)[None, :100]
    stepped = read_cycles(entries, np.ascontiguousarray(active), 1, 8, NO_STALL) - READ_OFFSET
    assert work["mac_matmul"] == stepped + hardware.mac.pipeline_cycles


@pytest.mark.slow
def test_a_bit_of_everything_with_state() -> None:
    graph = mixed_graph()
    compressed = pruned(with_codec(compress(graph), "csc"), 0.7)
    initial = {name: np.zeros(graph.inputs[name].shape, np.float32) for name in MIXED_STATE}
    frames = frames_for(graph, 4, state=tuple(MIXED_STATE))
    wanted, _ = evaluate_stream(graph, frames, MIXED_STATE, initial, compressed)
    for hardware in (reader(), reader(weight_sram__bytes=1500, mac__lanes=5)):
        ran = execute_graph(compressed, hardware, frames, MIXED_STATE, initial)
        assert len(ran.compiled.plan.read) == len(compressed.weights)
        for name in ("probability", "y"):
            assert ran.execution.outputs[name].tobytes() == wanted[name].tobytes()


def test_what_cannot_be_read_lies_dense() -> None:
    compressed = compressed_of(sparse_codes(100, 100, 0.2))
    for codec, stored in (("bitmap", "raw"), ("auto", "csc"), ("raw", "raw"), ("csc", "csc")):
        ran = run_and_compare(with_codec(compressed, codec), reader())
        assert [weight.codec for weight in ran.compiled.weights] == [stored]
        assert bool(ran.compiled.plan.read) == (stored == "csc")
    only_raw = reader(decoder__codecs=("raw",))
    assert used_codec(CodecChoice("csc"), only_raw) == CodecChoice("raw")
    chosen = used_codec(CodecChoice("csc", {"lanes": 2, "index_bits": 5}), reader())
    assert dict(chosen.parameters) == {"lanes": 8, "index_bits": 5}


def test_codecs_with_lanes_get_those_of_the_chip() -> None:
    four = chip(decoder__lanes=4)
    for name in ("csc", "lane_tans"):
        assert dict(used_codec(CodecChoice(name), four).parameters) == {"lanes": 4}
        kept = CodecChoice(name, {"lanes": 2})
        assert used_codec(kept, four) == kept
    assert used_codec(CodecChoice("bitmap"), four) == CodecChoice("bitmap")
    wide = chip(decoder__lanes=256)
    assert used_codec(CodecChoice("lane_tans"), wide).parameters["lanes"] == 64
    for name, lanes in (("csc", 256), ("lane_tans", 64)):
        assert codec_most_lanes(name) == (4096 if name == "csc" else lanes)
        codes = compressed_of(sparse_codes(300, 64, 0.2))
        ran = run_and_compare(with_codec(codes, name), wide, frames=8)
        (block,) = ran.compiled.plan.tiles["w"]
        assert block.n1 == 300
    of_chip, of_few = (
        execute_graph(with_codec(codes, "csc", **parameters), wide, frames_for(codes.graph, 1))
        for parameters in ({}, {"lanes": 4})
    )
    loads = [
        replay(ran.execution.trace, ran.compiled.program, wide).work.max()
        for ran in (of_chip, of_few)
    ]
    assert loads[0] < loads[1]


def test_too_small_a_memory_says_what_is_needed() -> None:
    compressed = compressed_of(sparse_codes(300, 200, 0.2))
    with pytest.raises(CompileError, match=r"at least (\d+) bytes are needed") as caught:
        execute_graph(compressed, reader(weight_sram__bytes=192), frames_for(compressed.graph, 1))
    least = int(str(caught.value).split("at least ")[1].split()[0])
    run_and_compare(compressed, reader(weight_sram__bytes=least))
    with pytest.raises(CompileError):
        run_and_compare(compressed, reader(weight_sram__bytes=least - 64))


def test_a_flipped_bit_shows() -> None:
    compressed = compressed_of(sparse_codes(60, 60, 0.3))
    ran = run_and_compare(compressed, reader())
    compiled = ran.compiled
    image = write_inputs(compiled.program, compiled.image, frames_for(compressed.graph, 1))
    (block,) = [name for name in compiled.allocation.addresses if name.endswith("#block")]
    image.data[compiled.allocation.addresses[block] + 40] ^= 1
    with pytest.raises(CodecError, match=r"block at weight SRAM 0x[0-9a-f]+: block: checksum"):
        execute(compiled.program, image, reader())


def test_a_program_for_another_chip_is_refused() -> None:
    ran = run_and_compare(compressed_of(sparse_codes(60, 60, 0.3)), reader())
    program, image = ran.compiled.program, ran.compiled.image
    with pytest.raises(MachineError, match=r"the decoder decodes at fill$"):
        execute(program, image, chip())
    dense = execute_graph(
        ran.compiled.compressed, chip(), frames_for(ran.compiled.compressed.graph, 1)
    ).compiled
    with pytest.raises(
        MachineError, match=r"dense in weight SRAM, but the decoder decodes at read$"
    ):
        execute(dense.program, dense.image, reader())
    with pytest.raises(CodecError, match=r"its rows are dealt out to 8 lanes, the array has 16$"):
        execute(program, image, reader(mac__lanes=16))
    with pytest.raises(CodecError, match=r"it is coded with 'csc', the decoder knows raw$"):
        execute(program, image, reader(decoder__codecs=("raw",)))
    with pytest.raises(MachineError, match="dealt out to 8 lanes, for an array of 16 lanes"):
        replay(ran.execution.trace, program, reader(mac__lanes=16))
    assert replay(ran.execution.trace, program, reader(mac__queue_depth=1)).end_cycles > 0


def test_an_array_that_forgot_the_padding_would_show(monkeypatch: pytest.MonkeyPatch) -> None:
    codes = np.zeros((128, 20), np.int8)
    codes[120] = 5  # after 15 rows of each lane that hold nothing
    ran = run_and_compare(compressed_of(codes), reader(mac__lanes=4))
    right = replay(ran.execution.trace, ran.compiled.program, reader(mac__lanes=4))
    monkeypatch.setattr(mac, "block_column_entries", lambda block: np.minimum(
        1, block_column_entries(block)))  # fmt: skip
    mac._prepared_block.cache_clear()
    ran.execution.trace.derived.clear()
    ran.execution.trace.path.derived.clear()
    wrong = replay(ran.execution.trace, ran.compiled.program, reader(mac__lanes=4))
    mac._prepared_block.cache_clear()
    assert wrong.work.sum() == right.work.sum() - 20


@pytest.mark.parametrize("name", CHIPS)
def test_programs_have_no_race(name: str) -> None:
    ran = run_and_compare(compressed_of(sparse_codes(300, 200, 0.2), 3), CHIPS[name], frames=2)
    assert check_races(ran.compiled.program, ran.execution.trace) == []
