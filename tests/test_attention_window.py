"""The builder attention_window: streaming, caches, chips, counts and errors."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from azsim import pipeline
from azsim.compiler import ways
from azsim.errors import ConfigError
from azsim.evaluate import evaluate_stream
from azsim.frontend.workload import load_workload
from azsim.hardware import load_hardware, preset_names
from azsim.hardware.description import Hardware
from azsim.ir import CompressedGraph
from azsim.models import Model
from azsim.models._attention import Cache
from azsim.models.attention_window import Parameters, build
from azsim.ops.build import computed_products
from azsim.sim.races import check_races
from azsim.sim.timing import replay
from azsim.stages.prove import prove
from compiled import Ran, chip, execute_graph
from graphs import compress

pytestmark = pytest.mark.kernels

F = np.float32
SMALL = Parameters(
    d_model=16,
    layers=2,
    heads=4,
    kv_heads=2,
    head_size=4,
    window=5,
    cache_length=12,
    max_positions=48,
)
TOKENS = 24


def tokens(count: int, d_model: int = SMALL.d_model, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, d_model)).astype(F)


def in_chunks(x: np.ndarray, chunk: int) -> dict[str, np.ndarray]:
    return {"x": x.reshape(-1, chunk, x.shape[1])}


def compressed_model(model: Model, bits: int = 8) -> CompressedGraph:
    products = dict.fromkeys(computed_products(model.graph), bits)
    return replace(compress(model.graph), products=products)


def evaluated(p: Parameters, chunk: int, x: np.ndarray, bits: int = 8) -> np.ndarray:
    """Outputs of all tokens by the evaluator."""
    model = build(p, chunk)
    compressed = compressed_model(model, bits)
    found, _ = evaluate_stream(
        model.graph, in_chunks(x, chunk), model.state, model.initial_state, compressed
    )
    return found["y"].reshape(x.shape)


def run_on(p: Parameters, chunk: int, x: np.ndarray, hardware: Hardware, bits: int = 8) -> Ran:
    model = build(p, chunk)
    return execute_graph(
        compressed_model(model, bits),
        hardware,
        in_chunks(x, chunk),
        model.state,
        model.initial_state,
        taps=True,
    )


# --------------------------------------------------------------------------------- the same bits


@pytest.mark.slow
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("chunk", [1, 4])
@pytest.mark.parametrize("cache", ["int8", "float32"])
@pytest.mark.parametrize("hardware", preset_names())
def test_the_chip_has_the_evaluators_bits(
    hardware: str, cache: Cache, chunk: int, bits: int
) -> None:
    p = replace(SMALL, cache=cache)
    preset = load_hardware(hardware)
    model = build(p, chunk)
    x = tokens(8)
    ran = run_on(p, chunk, x, preset, bits)
    expected, final = evaluate_stream(
        model.graph,
        in_chunks(x, chunk),
        model.state,
        model.initial_state,
        compressed_model(model, bits),
    )
    outputs = ran.execution.outputs
    assert outputs["y"].tobytes() == expected["y"].tobytes()
    for source, target in model.state.items():
        assert outputs[target].dtype == model.initial_state[source].dtype
        assert outputs[target].tobytes() == final[source].tobytes(), source
    for name, kept in ran.execution.tapped.items():
        found = np.stack(kept)
        assert found.tobytes() == expected[name].astype(found.dtype).tobytes(), name
    assert check_races(ran.compiled.program, ran.execution.trace) == []
    prove(ran.compiled, preset)


@pytest.mark.parametrize("cache", ["int8", "float32"])
@pytest.mark.parametrize("chunk", [2, 3, 4, 8])
def test_a_prefill_has_the_bits_of_its_steps(chunk: int, cache: Cache) -> None:
    p, x = replace(SMALL, cache=cache), tokens(TOKENS)
    steps = evaluated(p, 1, x)
    assert evaluated(p, chunk, x).tobytes() == steps.tobytes()


@pytest.mark.slow
@settings(max_examples=12)
@given(
    kv_heads=st.integers(1, 3),
    group=st.sampled_from([1, 2, 4]),
    head_size=st.sampled_from([2, 4, 6]),
    window=st.integers(1, 9),
    chunk=st.integers(1, 4),
    spare=st.integers(0, 3),
    feed_forward=st.sampled_from([0, 9]),
    cache=st.sampled_from(["int8", "float32"]),
    hardware=st.sampled_from(preset_names()),
)
def test_any_dimensions_stream_with_the_evaluators_bits(
    kv_heads: int,
    group: int,
    head_size: int,
    window: int,
    chunk: int,
    spare: int,
    feed_forward: int,
    cache: Cache,
    hardware: str,
) -> None:
    p = Parameters(
        d_model=12,
        layers=1,
        heads=kv_heads * group,
        kv_heads=kv_heads,
        head_size=head_size,
        window=window,
        cache_length=window + chunk - 1 + spare,
        feed_forward=feed_forward,
        cache=cache,
        max_positions=16,
    )
    x = tokens(3 * chunk, 12)
    found = run_on(p, chunk, x, load_hardware(hardware)).execution.outputs["y"]
    assert found.tobytes() == evaluated(p, chunk, x).tobytes()
    assert found.tobytes() == evaluated(p, 1, x).tobytes()


@pytest.mark.slow
def test_a_prefill_has_the_bits_of_its_steps_on_the_chip() -> None:
    x = tokens(8)
    found = [run_on(SMALL, chunk, x, load_hardware("az1")).execution.outputs for chunk in (1, 8)]
    assert found[0]["y"].tobytes() == found[1]["y"].tobytes()
    for name in found[0]:
        assert name == "y" or found[0][name].tobytes() == found[1][name].tobytes(), name


@pytest.mark.parametrize("chunk", [1, 4])
def test_both_caches_give_the_same_bits(chunk: int) -> None:
    x = tokens(TOKENS)
    kinds: tuple[Cache, ...] = ("int8", "float32")
    codes, values = (evaluated(replace(SMALL, cache=kind), chunk, x) for kind in kinds)
    assert codes.tobytes() == values.tobytes()


@pytest.mark.slow
def test_rings_that_activation_sram_has_no_room_for_are_streamed() -> None:
    p = replace(SMALL, window=40, cache_length=0)
    x = tokens(6)
    roomy, narrow = load_hardware("az1"), chip(activation_sram__bytes=4096)
    kept, streamed = (run_on(p, 1, x, hardware) for hardware in (roomy, narrow))
    assert not kept.compiled.schedule.spilled
    assert streamed.compiled.schedule.spilled
    mnemonics = [instruction.mnemonic for instruction in streamed.compiled.program.instructions]
    assert "store_scatter" in mnemonics  # the new rows, and not the whole ring
    sizes = [
        site.views["src"].rows
        for site in streamed.execution.trace.sites
        if site.mnemonic == "store_scatter"
    ]
    assert set(sizes) == {1}
    for name, array in kept.execution.outputs.items():
        assert array.tobytes() == streamed.execution.outputs[name].tobytes(), name
    assert check_races(streamed.compiled.program, streamed.execution.trace) == []
    prove(streamed.compiled, narrow)


@pytest.mark.slow
@pytest.mark.parametrize("bits", [8, 16])
def test_rows_that_come_from_dram_one_by_one_have_scales_of_their_own(bits: int) -> None:
    """Each row's largest magnitude is kept apart; registers serve codes and floats in turn."""
    p = Parameters(
        d_model=8, layers=2, heads=8, kv_heads=2, head_size=10, window=1, feed_forward=9,
        max_positions=64,
    )  # fmt: skip
    x, narrow = tokens(12, 8), chip(activation_sram__bytes=3584)
    ran = run_on(p, 3, x, narrow, bits)
    assert any(name.endswith("joined#dram") for name in ran.compiled.schedule.storages)
    found = ran.execution.outputs["y"]
    assert found.tobytes() == evaluated(p, 3, x, bits).tobytes()
    assert check_races(ran.compiled.program, ran.execution.trace) == []
    prove(ran.compiled, narrow)


# --------------------------------------------------------------------------------- what it means


def test_a_token_depends_on_its_window_and_on_nothing_later() -> None:
    p = replace(SMALL, layers=1)
    x = tokens(TOKENS)
    changed = x.copy()
    changed[6] += 1
    first, second = (evaluated(p, 1, array) for array in (x, changed))
    differs = (first != second).any(axis=1)
    assert differs.nonzero()[0].tolist() == list(range(6, 6 + p.window))


def test_wider_codes_are_nearer_to_the_float_model() -> None:
    model, x = build(SMALL, 1), tokens(TOKENS)
    floats, _ = evaluate_stream(
        model.graph, in_chunks(x, 1), model.state, model.initial_state, None, ["y"]
    )
    exact = floats["y"].reshape(x.shape)
    narrow, wide = (np.abs(evaluated(SMALL, 1, x, bits) - exact).mean() for bits in (8, 16))
    assert wide < narrow < 0.02 * np.abs(exact).max()


@pytest.mark.slow
@pytest.mark.parametrize("hardware", ["az1", "dense_npu"])
def test_a_token_costs_the_same_however_long_the_sequence_is(
    hardware: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ways, "_WORTH_INSTRUCTIONS", math.inf)  # as in a long sequence
    # A refresh is due after so much time, and a row is open or not by where inputs lie.
    off = [f"dram.{key}=0" for key in ("refresh_interval_ns", "refresh_ns", "row_miss_ns")]
    preset = load_hardware(hardware, off)
    cycles = {}
    for count in (16, 32, 48):
        ran = run_on(SMALL, 1, tokens(count), preset)
        cycles[count] = replay(ran.execution.trace, ran.compiled.program, preset).cycles
    assert cycles[32] - cycles[16] == cycles[48] - cycles[32]


@pytest.mark.parametrize("chunk", [1, 6])
@pytest.mark.parametrize("feed_forward", [0, 24])
def test_counts_are_those_of_the_closed_forms(chunk: int, feed_forward: int) -> None:
    p = replace(SMALL, feed_forward=feed_forward)
    model = build(p, chunk)
    heads, keys, size = p.heads, p.kv_heads, p.head_size
    projections = p.d_model * (heads + 2 * keys) * size + heads * size * p.d_model
    matrices = p.layers * (projections + 3 * p.d_model * feed_forward)
    assert model.num_matrix_weights == matrices
    norms = 2 if feed_forward else 1
    assert model.num_parameters == matrices + p.layers * norms * p.d_model
    attended = p.layers * 2 * p.cache_length * heads * size
    assert model.macs["chunk"] == chunk * (matrices + attended)


def test_the_ring_is_as_short_as_it_can_be_unless_told() -> None:
    model = build(replace(SMALL, cache_length=0), 3)
    assert model.initial_state["layers.0.keys.cache"].shape == (1, 5 + 3 - 1, 8)
    assert model.initial_state["layers.0.keys.cache"].dtype == np.int8
    assert model.initial_state["layers.0.keys.scales"].shape == (1, 5 + 3 - 1, 2)


# ------------------------------------------------------------------------------------- workloads


@pytest.mark.slow
def test_the_small_workload_runs_and_is_verified() -> None:
    workload = load_workload("attention_window_small")
    result = pipeline.run(workload, verify=True)
    assert result.comparison is not None
    assert result.comparison.bit_exact
    model = pipeline.load_model(workload)
    assert result.statistics.macs == 24 * model.macs["chunk"]
    assert result.output_checks["y"].sqnr_db is not None


def test_widths_of_products_are_the_schemes_by_their_nodes() -> None:
    rules = 'workload.compression.rules=[{match: "layers.1.sums", activations: {bits: 16}}]'
    prepared = pipeline.prepare(load_workload("attention_window_small", [rules.partition(".")[2]]))
    assert prepared.compressed.products == {
        "layers.0.scores": 8,
        "layers.0.sums": 8,
        "layers.1.scores": 8,
        "layers.1.sums": 16,
    }


def problems(folder: Path, model: str, rest: str = "") -> list[str]:
    path = folder / "bad.yaml"
    path.write_text(f"name: bad\ninput: {{random: {{seed: 1, frames: 3}}}}\nmodel: {model}\n{rest}")
    with pytest.raises(ConfigError) as caught:
        pipeline.prepare(load_workload(path))
    return [line.partition(": ")[2] for line in str(caught.value).splitlines()]


@pytest.mark.parametrize(
    ("parameters", "rest", "sentences"),
    [
        (
            "heads: 4, kv_heads: 3",
            "",
            ["$.model.kv_heads: found 3, allowed: a divisor of the 4 heads"],
        ),
        (
            "head_size: 7",
            "",
            ["$.model.head_size: found 7, allowed: an even number, as pairs are turned"],
        ),
        (
            "window: 64, cache_length: 63",
            "",
            [
                (
                    "$.model.cache_length: found 63, allowed: at least 64 for a window of 64 and "
                    "chunks of 1, or 0"
                )
            ],
        ),
        (
            "window: 8, cache_length: 10",
            "stream: {chunk_frames: 4}\n",
            [
                (
                    "$.model.cache_length: found 10, allowed: at least 11 for a window of 8 and "
                    "chunks of 4, or 0"
                )
            ],
        ),
        (
            "d_model: 16, layers: 1, max_positions: 2",
            "",
            [
                "$.input: too long for the model, found 3 frames in chunks of 1, allowed: 2",
            ],
        ),
        (
            "window: 2, max_positions: 3",
            "stream: {chunk_frames: 4}\n",
            ["$.model.max_positions: found 3, allowed: at least the 4 tokens of a chunk"],
        ),
        (
            "epsilon: 1.0e+60",
            "",
            ["$.model.epsilon: out of range, found 1e+60, allowed: a number from 1e-12 to 1"],
        ),
        (
            "cache: int4",
            "",
            [
                (
                    "$.model.cache: not one of the choices, found the string 'int4', "
                    "did you mean 'int8'? allowed: 'int8' or 'float32'"
                ),
            ],
        ),
        (
            "heads: 0",
            "",
            ["$.model.heads: out of range, found 0, allowed: an integer from 1 to 1024"],
        ),
    ],
)
def test_what_does_not_fit_is_said(
    tmp_path: Path, parameters: str, rest: str, sentences: list[str]
) -> None:
    assert problems(tmp_path, f"{{builder: attention_window, {parameters}}}", rest) == sentences
