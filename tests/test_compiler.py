from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from azsim.codecs import codec_names, encode_block
from azsim.compiler import ways
from azsim.compiler.allocate import allocate
from azsim.compiler.compile import Compiled, compile_graph
from azsim.compiler.parameters import place_parameters
from azsim.compiler.residency import plan_weights
from azsim.compiler.schedule import Storage
from azsim.compiler.stored import estimated_bits, used_codec
from azsim.compression.quantize import split_segments
from azsim.errors import CompileError, InputError
from azsim.evaluate import evaluate_stream
from azsim.hardware.description import Hardware
from azsim.ir import CodecChoice, CompressedGraph, CompressedWeight, Graph
from azsim.isa.program import Stream
from azsim.ops.build import lower_graph, weight_matrices
from azsim.ops.steps import writes
from azsim.sim.races import check_races
from compiled import (
    AZ1,
    MIXED_STATE,
    VARIANTS,
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
from graphs import compress, held, random_graph

F = np.float32


def _same(found: np.ndarray, expected: np.ndarray) -> bool:
    """Equal bits; one NaN is as good as another."""
    number = ~np.isnan(expected)
    return (
        found.shape == expected.shape
        and bool((np.isnan(found) == ~number).all())
        and found[number].tobytes() == expected[number].tobytes()
    )


def _check(
    compressed: CompressedGraph, hardware: Hardware, frames: Mapping[str, np.ndarray],
    state: Mapping[str, str] | None = None, initial: Mapping[str, np.ndarray] | None = None,
) -> Ran:  # fmt: skip
    """Compile, execute, compare every tensor and the carried state with the evaluator."""
    state, initial = state or {}, initial or {}
    ran = execute_graph(compressed, hardware, frames, state, initial, taps=True)
    tensors, final = evaluate_stream(
        compressed.graph, dict(frames), dict(state), dict(initial), compressed
    )
    for name, seen in ran.execution.tapped.items():
        assert _same(np.stack(seen), held(tensors[name])), name
    source_of = {target: source for source, target in state.items()}
    for name, found in ran.execution.outputs.items():
        if name in source_of:
            assert _same(found.reshape(-1), final[source_of[name]].reshape(-1)), name
        else:
            assert _same(found, held(tensors[name])), name
    missing = set(tensors) - set(ran.execution.tapped) - set(ran.compiled.fused)
    assert missing <= _without_place(ran.compiled, compressed.graph, state)
    assert check_races(ran.compiled.program, ran.execution.trace) == []
    return ran


def _without_place(compiled: Compiled, graph: Graph, state: Mapping[str, str]) -> set[str]:
    """Tensors that no frame leaves: constants, windows of carried state, inputs written over."""
    lowering = lower_graph(CompressedGraph(graph, compiled.compressed.weights))
    views = lowering.views
    written = {access.buffer for _, step in lowering.steps for access in writes(step)}
    carried = {views[name].buffer for name in state}
    constants = set(graph.initializers)
    return {
        name for name, view in views.items() if view.buffer in carried | constants
    } | constants | {name for name in graph.inputs if views[name].buffer in written}  # fmt: skip


# --------------------------------------------------------------------- bits, on any hardware


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("bits", [8, 4, 2])
def test_a_stream_with_state_is_bit_exact(variant: str, bits: int) -> None:
    graph = mixed_graph()
    initial = {name: np.full(graph.inputs[name].shape, F(0.25)) for name in MIXED_STATE}
    frames = frames_for(graph, 4, 1, list(MIXED_STATE))
    compressed = pruned(compress(graph, bits, 16 if bits == 4 else 8), 0.4)
    _check(compressed, VARIANTS[variant], frames, MIXED_STATE, initial)


@pytest.mark.slow
@settings(max_examples=40)
@given(
    seed=st.integers(0, 1 << 32),
    bits=st.sampled_from([2, 3, 4, 8]),
    activation_bits=st.sampled_from([8, 16]),
    segment=st.sampled_from([None, 3]),
    variant=st.sampled_from(list(VARIANTS)),
    count=st.integers(1, 3),
)
def test_random_graphs_are_bit_exact(
    seed: int, bits: int, activation_bits: int, segment: int | None, variant: str, count: int
) -> None:
    graph = random_graph(seed)
    frames = {
        name: np.abs(array) + F(0.1) for name, array in frames_for(graph, count, seed).items()
    }
    compressed = compress(graph, bits, activation_bits, segment)
    try:
        tensors, _ = evaluate_stream(graph, frames, {}, {}, compressed)
    except InputError:  # a value to be quantized is not finite
        return
    assert tensors
    _check(compressed, VARIANTS[variant], frames)


def _gemm(rows: int, inner: int, outputs: int, seed: int = 0, bias: bool = True) -> Graph:
    rng = np.random.default_rng(seed)
    weights = {"w": rng.standard_normal((outputs, inner)).astype(F)}
    if bias:
        weights["b"] = rng.standard_normal(outputs).astype(F)
    gemm = node("Gemm", ["x", *weights], "y", transB=1)
    return graph_of({"x": (rows, inner)}, weights, [gemm], ("y",))


@pytest.mark.slow
@settings(max_examples=30)
@given(
    shape=st.tuples(st.integers(1, 70), st.integers(1, 300), st.integers(1, 40)),
    weight_bytes=st.sampled_from([448, 1000, 2048, 1 << 19]),
    accumulators=st.sampled_from([64, 200]),
    bits=st.sampled_from([2, 4, 8]),
    segment=st.sampled_from([None, None, 50]),
    codec=st.sampled_from(["raw", "bitmap", "zero_run"]),
    seed=st.integers(0, 99),
)
def test_tiled_products_are_bit_exact(
    shape: tuple[int, int, int], weight_bytes: int, accumulators: int, bits: int,
    segment: int | None, codec: str, seed: int,
) -> None:  # fmt: skip
    graph = _gemm(*shape, seed)
    compressed = with_codec(pruned(compress(graph, bits, 8, segment), 0.5, seed), codec)
    hardware = chip(weight_sram__bytes=weight_bytes, mac__accumulators=accumulators, mac__lanes=5)
    try:
        ran = _check(compressed, hardware, frames_for(graph, 2, seed))
    except CompileError as error:
        assert "too small" in str(error)  # noqa: PT017 - the sentence has a test of its own
        return
    _covers_once(compressed.weights["w"], ran.compiled.plan.tiles["w"])
    assert ran.compiled.allocation.peak_bytes["weight"] <= weight_bytes


def _covers_once(weight: CompressedWeight, tiles) -> None:
    seen = np.zeros(weight.codes.shape, int)
    for tile in tiles:
        seen[tile.n0 : tile.n1, tile.k0 : tile.k1] += 1
        low, high = weight.segments[tile.segment : tile.segment + 2]
        assert low <= tile.k0 < tile.k1 <= high
    assert (seen == 1).all()


def test_k_is_split_and_rows_are_looped_where_they_have_to_be() -> None:
    graph = _gemm(70, 300, 9)
    ran = _check(
        compress(graph), chip(weight_sram__bytes=512, mac__accumulators=64), frames_for(graph, 5)
    )
    plan = ran.compiled.plan
    assert len({tile.k0 for tile in plan.tiles["w"]}) > 1
    assert plan.m_tile["w"] < 70
    assert any(entry.mnemonic == "loop" for entry in ran.compiled.program.instructions[5:])
    accumulating = [
        entry for entry in ran.compiled.program.instructions
        if entry.mnemonic == "mac_matmul" and entry.operands.get("accumulate")
    ]  # fmt: skip
    assert accumulating
    assert not plan.pinned or plan.slot_bytes


@pytest.mark.slow
@pytest.mark.parametrize("codec", codec_names())
def test_codecs_change_no_bit(codec: str) -> None:
    graph = mixed_graph()
    compressed = compress(graph, 4)
    # Two of four weights are zero in every group, which every codec can hold.
    weights = {}
    for name, weight in compressed.weights.items():
        codes = weight.codes.copy()
        codes.reshape(-1)[0::4] = 0
        codes.reshape(-1)[3::4] = 0
        weights[name] = replace(weight, codes=codes)
    compressed = CompressedGraph(graph, weights)
    hardware = chip(decoder__codecs=codec_names())
    initial = {name: np.zeros(graph.inputs[name].shape, F) for name in MIXED_STATE}
    frames = frames_for(graph, 2, 1, list(MIXED_STATE))
    ran = _check(with_codec(compressed, codec), hardware, frames, MIXED_STATE, initial)
    plain = execute_graph(with_codec(compressed, "raw"), hardware, frames, MIXED_STATE, initial)
    for name, array in plain.execution.outputs.items():
        assert ran.execution.outputs[name].tobytes() == array.tobytes()


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("density", [0.0, 0.1, 0.5, 1.0])
def test_plans_know_what_blocks_take(bits: int, density: float) -> None:
    rng = np.random.default_rng(bits)
    limit = 2 ** (bits - 1) - 1
    values = rng.choice(np.setdiff1d(np.arange(-limit, limit + 1), [0]), min(5, 2 * limit), False)
    codes = rng.choice(values, (128, 256)) * (rng.random((128, 256)) < density)
    codes = codes.astype(np.int8)
    codecs = ("raw", "palette", "bitmap")
    choices = [CodecChoice("raw", {"palette": True}), CodecChoice("bitmap", {"palette": True})]
    for choice in (*map(CodecChoice, codecs), *choices):
        weight = CompressedWeight(
            "w", codes, np.ones((1, 128), F), (0, 256), bits, "per_channel", 8, None, choice
        )
        for hardware in (chip(decoder__codecs=codecs), chip(decoder__codecs=("raw",))):
            stored = used_codec(choice, hardware)
            block = encode_block(stored.name, codes, bits, columns=256, **stored.parameters)
            wanted = 8 * len(block) / codes.size
            header_and_table = 8 * 24 / codes.size
            assert estimated_bits(weight, hardware) == pytest.approx(wanted, abs=header_and_table)


@pytest.mark.parametrize("columns", [65_536, 65_537, 140_001])
def test_windows_that_no_view_holds_are_named(columns: int) -> None:
    graph = graph_of(
        {"x": (1, columns), "z": (columns, 2)},
        {"w": np.ones((3, columns), F), "v": np.ones((1, 2), F)},
        [
            node("Gemm", ("x", "w"), "y", transB=1),
            node("Add", ("z", "v"), "s"),
        ],
        ("y", "s"),
    )
    hardware = chip(activation_sram__bytes=1 << 26)
    if columns <= 65_536:
        _check(compress(graph), hardware, frames_for(graph, 1))
        return
    with pytest.raises(CompileError) as caught:  # 4 bits, so that int32 holds the sums
        execute_graph(compress(graph, 4), hardware, frames_for(graph, 1))
    most = "at a time; the machine's views have at most 65,536 rows and 65,536 columns"
    assert sorted(str(caught.value).splitlines()) == [
        f"tensor 'x' is used 1 x {columns:,} elements {most}",
    ]


def test_an_open_codec_is_taken_for_the_best_simple_one() -> None:
    codes = np.tile(np.array([0, 0, 0, 90], np.int8), (4, 16))
    weight = CompressedWeight(
        "w", codes, np.ones((1, 4), F), (0, 64), 8, "per_channel", 8, None, CodecChoice("auto")
    )
    assert estimated_bits(weight, AZ1) == 1.0
    assert estimated_bits(weight, chip(decoder__codecs=("raw",))) == 8.0


@pytest.mark.slow
def test_five_chips_give_the_same_bits() -> None:
    graph = mixed_graph(5, seed=3)
    initial = {name: np.zeros(graph.inputs[name].shape, F) for name in MIXED_STATE}
    frames = frames_for(graph, 6, 2, list(MIXED_STATE))
    seen = set()
    for hardware in VARIANTS.values():
        outputs = execute_graph(
            compress(graph), hardware, frames, MIXED_STATE, initial
        ).execution.outputs
        seen.add(tuple(outputs[name].tobytes() for name in sorted(outputs)))
    assert len(VARIANTS) == 5
    assert len(seen) == 1


def test_static_activation_scales() -> None:
    graph = mixed_graph()
    initial = {name: np.zeros(graph.inputs[name].shape, F) for name in MIXED_STATE}
    frames = frames_for(graph, 3, 4, list(MIXED_STATE))
    ran = _check(compress(graph, 8, 8, None, 0.0625), AZ1, frames, MIXED_STATE, initial)
    quantizers = [i for i in ran.compiled.program.instructions if i.mnemonic == "vector_quantize"]
    assert quantizers
    assert all(entry.operands.get("static") for entry in quantizers)


@pytest.mark.slow
def test_groups_of_several_segments_drain_in_order() -> None:
    graph = mixed_graph()
    initial = {name: np.zeros(graph.inputs[name].shape, F) for name in MIXED_STATE}
    frames = frames_for(graph, 3, 5, list(MIXED_STATE))
    compressed = compress(graph, 8, 8, 2)
    assert all(len(weight.segments) > 3 for weight in compressed.weights.values())
    for variant in ("az1", "few accumulators", "tiny weight SRAM"):
        _check(compressed, VARIANTS[variant], frames, MIXED_STATE, initial)


def test_sixteen_bit_activations_split_k_before_int32_overflows() -> None:
    # 600 products of 127 * 32767 are beyond 2**31: the compressed graph splits K, and the result
    # is that of the split on both sides.
    graph = _gemm(2, 700, 3)
    (matrix,) = weight_matrices(graph).values()
    codes = np.where(matrix > 0, 127, -127).astype(np.int8)
    codes[0] = 127
    scales, segments = split_segments(codes, np.full((1, 3), F(0.01)), (0, 700), 16)
    assert segments == (0, 512, 700)
    weight = CompressedWeight(
        "w", codes, scales, segments, 8, "per_channel", 16, None,
        compress(graph).weights["w"].codec,
    )  # fmt: skip
    frames = {"x": np.full((1, 2, 700), F(3.0))}
    for hardware in (AZ1, chip(weight_sram__bytes=512)):
        _check(CompressedGraph(graph, {"w": weight}), hardware, frames)


# ----------------------------------------------------------------------------------- state


def test_results_may_be_windows_of_the_old_state() -> None:
    # A delay line: this frame's input becomes a, and the old a becomes b.
    graph = graph_of(
        {"x": (1, 3), "a": (1, 3), "b": (1, 3)},
        {},
        [node("Neg", ["x"], "an"), node("Identity", ["a"], "bn"), node("Add", ["a", "b"], "y")],
        ("y", "an", "bn"),
    )
    initial = {"a": np.full((1, 3), F(1)), "b": np.full((1, 3), F(2))}
    frames = frames_for(graph, 5, 0, ["a", "b"])
    ran = _check(compress(graph), AZ1, frames, {"a": "an", "b": "bn"}, initial)
    x = frames["x"]
    assert (ran.execution.outputs["bn"][0] == -x[3]).all()
    # Two states that change places, and one that stays.
    graph = graph_of(
        {"x": (1, 3), "a": (1, 3), "b": (1, 3), "c": (1, 3)},
        {},
        [
            node("Identity", ["b"], "an"), node("Identity", ["a"], "bn"),
            node("Identity", ["c"], "cn"), node("Sub", ["a", "x"], "y"),
            node("Add", ["y", "c"], "z"),
        ],
        ("z", "an", "bn", "cn"),
    )  # fmt: skip
    initial["c"] = np.full((1, 3), F(5))
    state = {"a": "an", "b": "bn", "c": "cn"}
    for count in (1, 2, 5):
        _check(compress(graph), AZ1, frames_for(graph, count, 0, list(state)), state, initial)


def test_a_result_may_have_another_shape_than_its_state() -> None:
    graph = graph_of(
        {"x": (2, 3), "a": (3, 2)},
        {"s": np.array([2, 3], np.int64)},
        [
            node("Reshape", ["a", "s"], "r"),
            node("Add", ["x", "r"], "an"),
            node("Relu", ["an"], "y"),
        ],
        ("y", "an"),
    )
    initial = {"a": np.arange(6, dtype=F).reshape(3, 2)}
    _check(compress(graph), AZ1, frames_for(graph, 3, 0, ["a"]), {"a": "an"}, initial)


def test_a_pad_of_minus_zero_keeps_its_sign() -> None:
    graph = graph_of(
        {"x": (2, 3)},
        {"p": np.array([0, 1, 0, 1], np.int64), "v": np.array(-0.0, F)},
        [node("Pad", ["x", "p", "v"], "y", mode="constant")],
        ("y",),
    )
    ran = _check(compress(graph), AZ1, frames_for(graph, 1))
    assert np.signbit(ran.execution.outputs["y"][0][:, 0]).all()


@pytest.mark.slow
def test_two_layers_may_share_a_weight() -> None:
    rng = np.random.default_rng(0)
    graph = graph_of(
        {"x": (3, 40)},
        {"w": rng.standard_normal((40, 40)).astype(F)},
        [
            node("MatMul", ["x", "w"], "t"),
            node("Tanh", ["t"], "u"),
            node("MatMul", ["u", "w"], "y"),
        ],
        ("y",),
    )
    for hardware in (AZ1, chip(weight_sram__bytes=1024)):
        _check(compress(graph), hardware, frames_for(graph, 3))


# ------------------------------------------------------------------------- what passes promise


def _compiled(graph: Graph, hardware: Hardware, frames: int, state: Mapping[str, str]) -> Compiled:
    return compile_graph(compress(graph), hardware, Stream(frames, None, False), state, "g")


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2, 3, 4, 7, 8])
@pytest.mark.parametrize("variant", ["az1", "tiny weight SRAM"])
def test_every_tensor_is_seen_in_every_frame(
    variant: str, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a round of the frame loop computes several of them, and some are left over."""
    monkeypatch.setattr(ways, "_WORTH_LATENCY", math.inf)
    graph = mixed_graph()
    initial = {name: np.full(graph.inputs[name].shape, 0.25, np.float32) for name in MIXED_STATE}
    frames = frames_for(graph, count, state=tuple(MIXED_STATE))
    ran = _check(compress(graph), VARIANTS[variant], frames, MIXED_STATE, initial)
    assert {len(seen) for seen in ran.execution.tapped.values()} == {count}
    assert ran.compiled.schedule.per_round == (4 if count >= 4 else min(count, 2))


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_program_size_does_not_grow_with_frames(variant: str) -> None:
    graph = mixed_graph()
    few, many = (
        _compiled(graph, VARIANTS[variant], frames, MIXED_STATE).program for frames in (100, 10_000)
    )
    assert len(few.instructions) == len(many.instructions)
    per_round = few.stream.together
    rounds = 100 // per_round, 10_000 // per_round
    # Only the loop's count, what counts its rounds and addresses in DRAM differ.
    for left, right in zip(few.instructions, many.instructions, strict=True):
        assert left.mnemonic == right.mnemonic
        if left.mnemonic == "loop" and left.operands != right.operands:
            assert (left.operands["count"], right.operands["count"]) == rounds
        elif left.mnemonic == "scalar" and left.operands != right.operands:
            counters = left.operands["number"], right.operands["number"]
            assert counters == (rounds[0] - 1, rounds[1] - 1)
        elif left.mnemonic == "view" and left.operands != right.operands:
            assert left.operands.get("space", "dram") == "dram"
        else:
            assert left.operands == right.operands


def _together(compiled: Compiled) -> Iterator[tuple[Storage, Storage]]:
    """Pairs of storages of one memory whose live ranges meet."""
    live = compiled.allocation.live
    storages = [entry for name, entry in compiled.schedule.storages.items() if name in live]
    for left, right in itertools.combinations(storages, 2):
        (a, b), (c, d) = live[left.name], live[right.name]
        if left.space == right.space and a <= d and c <= b:
            yield left, right


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_storages_that_live_together_lie_apart(variant: str) -> None:
    compiled = _compiled(mixed_graph(), VARIANTS[variant], 3, MIXED_STATE)
    addresses = compiled.allocation.addresses
    checked = 0
    for left, right in _together(compiled):
        low, high = sorted((left, right), key=lambda entry: addresses[entry.name])
        if left.slot is not None and left.slot == right.slot:
            continue  # tiles of one slot follow one another
        assert addresses[low.name] + low.size_bytes <= addresses[high.name], (left, right)
        checked += 1
    assert checked > 20
    hardware = VARIANTS[variant]
    assert compiled.allocation.peak_bytes["weight"] <= hardware.weight_sram.bytes
    assert compiled.allocation.peak_bytes["activation"] <= hardware.activation_sram.bytes


@pytest.mark.slow
@given(seed=st.integers(0, 1 << 32))
def test_random_storages_that_live_together_lie_apart(seed: int) -> None:
    compiled = _compiled(random_graph(seed), AZ1, 2, {})
    addresses = compiled.allocation.addresses
    for left, right in _together(compiled):
        low, high = sorted((left, right), key=lambda entry: addresses[entry.name])
        assert addresses[low.name] + low.size_bytes <= addresses[high.name]


@pytest.mark.slow
def test_regions_say_where_views_may_point() -> None:
    program = _compiled(mixed_graph(), AZ1, 3, MIXED_STATE).program
    names = {region.name for region in program.regions}
    views = [n for n, entry in enumerate(program.instructions) if entry.mnemonic == "view"]
    assert sorted(program.region_of_view) == views
    assert set(program.region_of_view.values()) <= names


# -------------------------------------------------------------------------- too little memory


def _sentence(graph: Graph, hardware: Hardware) -> str:
    with pytest.raises(CompileError) as error:
        compile_graph(compress(graph), hardware, Stream(1, None, False), {}, "g")
    return str(error.value)


def test_too_small_a_weight_memory_says_how_much_is_needed() -> None:
    graph = _gemm(2, 100, 3)
    # 3 scales and 3 biases take 24 bytes, in a unit of 64; a tile of one row and 64 columns 64.
    assert _sentence(graph, chip(weight_sram__bytes=128)) == (
        "weight SRAM of 128 bytes is too small for any tiling: scales and biases take 24 bytes and "
        "two slots of the smallest tile 128; at least 192 bytes are needed"
    )
    for size in (192, 193, 255, 256, 300, 1000):
        _check(compress(graph), chip(weight_sram__bytes=size), frames_for(graph, 1))


@pytest.mark.parametrize("size", [960, 1000, 1023, 1024, 1040])
def test_a_memory_that_is_no_multiple_of_the_unit_is_used_without_its_rest(size: int) -> None:
    graph = _gemm(2, 60, 16)
    compressed = compress(graph)
    plan = plan_weights(
        lower_graph(compressed), chip(weight_sram__bytes=size),
        4 * place_parameters(lower_graph(compressed)).values.size, Stream(1, None, False),
    )  # fmt: skip
    assert plan.tiles["w"]
    ran = _check(compressed, chip(weight_sram__bytes=size), frames_for(graph, 1))
    assert ran.compiled.allocation.peak_bytes["weight"] <= size


def test_too_small_an_activation_memory_names_the_largest_tensor() -> None:
    graph = graph_of({"x": (1, 256)}, {}, [node("Softmax", ["x"], "y")], ("y",))
    assert _sentence(graph, chip(activation_sram__bytes=2047)) == (
        "activation SRAM of 2047 bytes is too small: 2048 bytes are needed; the largest tensor is "
        "'y' with 1024 bytes"
    )
    _check(compress(graph), chip(activation_sram__bytes=2048), frames_for(graph, 1))


def test_elementwise_work_needs_no_memory_for_all_that_it_reads() -> None:
    graph = graph_of({"x": (4, 64)}, {}, [node("Relu", ["x"], "y")], ("y",))
    frames = frames_for(graph, 1)
    ran = execute_graph(compress(graph), chip(activation_sram__bytes=1280), frames)
    assert ran.execution.outputs["y"].tobytes() == np.maximum(frames["x"], 0).tobytes()


@pytest.mark.parametrize("shape", [(1, 70_000), (70_000, 2), (2, 65_544), (3, 40_000)])
def test_elementwise_work_on_more_than_a_view_shows(shape: tuple[int, int]) -> None:
    graph = graph_of({"x": shape}, {}, [node("Add", ["x", "x"], "y")], ("y",))
    frames = frames_for(graph, 1)
    ran = execute_graph(compress(graph), chip(activation_sram__bytes=1 << 20), frames)
    assert ran.execution.outputs["y"].tobytes() == (2 * frames["x"]).tobytes()


@pytest.mark.slow
def test_many_views_are_set_group_by_group() -> None:
    # More windows than view registers: they are set anew inside the frame loop.
    count = 150
    nodes = [
        node(("Neg", "Abs")[n % 2], ["x" if n == 0 else f"t{n - 1}"], f"t{n}") for n in range(count)
    ]
    nodes += [node("Add", [f"t{n}", f"t{n + 75}"], f"u{n}") for n in range(75)]
    outputs = (*tuple(f"u{n}" for n in range(75)), f"t{count - 1}")
    graph = graph_of({"x": (2, 3)}, {}, nodes, outputs)
    ran = _check(compress(graph), AZ1, frames_for(graph, 5))
    instructions = ran.compiled.program.instructions
    loop = next(n for n, entry in enumerate(instructions) if entry.mnemonic == "loop")
    assert any(entry.mnemonic == "view" for entry in instructions[loop:])


@pytest.mark.slow
def test_a_loop_of_more_views_than_there_are_sets_them_in_its_body() -> None:
    """Two steps of an LSTM whose recurrent matrix is streamed in hundreds of tiles."""
    rng = np.random.default_rng(0)
    hidden = 128
    floats = {
        name: (0.1 * rng.standard_normal(shape)).astype(np.float32)
        for name, shape in {
            "w": (1, 4 * hidden, 8),
            "r": (1, 4 * hidden, hidden),
            "b": (1, 8 * hidden),
        }.items()
    }
    lstm = node("LSTM", ["x", *floats], ["y", "h", "c"], hidden_size=hidden)
    graph = graph_of({"x": (2, 1, 8)}, floats, [lstm], ["y"])
    hardware = chip(weight_sram__bytes=8_192, mac__lanes=1, mac__accumulators=8)
    ran = _check(compress(graph), hardware, frames_for(graph, 2))
    instructions = ran.compiled.program.instructions
    loops = [n for n, entry in enumerate(instructions) if entry.mnemonic == "loop"]
    ends = [n for n, entry in enumerate(instructions) if entry.mnemonic == "end_loop"]
    inner = instructions[loops[1] : ends[0]]
    assert sum(entry.mnemonic == "view" for entry in inner) > 256
    assert "branch" in {entry.mnemonic for entry in inner}


def test_allocation_is_a_function_of_the_schedule() -> None:
    compiled = _compiled(mixed_graph(), AZ1, 3, MIXED_STATE)
    again = allocate(compiled.schedule, AZ1)
    assert again.addresses == compiled.allocation.addresses
