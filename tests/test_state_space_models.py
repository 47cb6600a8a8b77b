"""Builders of state-space models: counts, closed forms, streaming, bits on the chip."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from azsim import pipeline
from azsim.compiler import ways
from azsim.errors import ConfigError
from azsim.evaluate import evaluate_stream
from azsim.frontend.workload import load_workload
from azsim.hardware import load_hardware
from azsim.models import Model, builder
from azsim.models._weights import RandomWeights, Tensor
from azsim.models.s4d import discretized
from azsim.ops.build import lower_graph
from azsim.ops.lowering import Loop, Step, Unary
from azsim.sim.timing import replay
from compiled import AZ1, chip, execute_graph
from graphs import compress

F = np.float32
MAMBA = {"d_model": 16, "n_layer": 2, "vocab": 40, "d_state": 8}
MAMBA2 = {"d_model": 16, "n_layer": 2, "vocab": 40, "d_state": 8, "head_dim": 8}
S4D = {"d_input": 6, "d_output": 5, "d_model": 8, "n_layer": 2, "d_state": 8}
SMALL = {"mamba": MAMBA, "mamba2": MAMBA2, "s4d": S4D}
EDGES = {
    "xs": {"d_model": 64, "n_layer": 4, "vocab": 256},
    "s": {"d_model": 128, "n_layer": 4, "vocab": 512},
    "m": {"d_model": 256, "n_layer": 8, "vocab": 1024},
}


class Zeros:
    """Weights that take no memory until they are read."""

    def arrays(
        self, tensors: Mapping[str, Tensor], needed: Iterable[str]
    ) -> Mapping[str, np.ndarray]:
        return {name: np.zeros(tensors[name].shape, F) for name in needed}


class Remembered:
    """Random weights that can be looked at."""

    def __init__(self) -> None:
        self.found: Mapping[str, np.ndarray] = {}

    def arrays(
        self, tensors: Mapping[str, Tensor], needed: Iterable[str]
    ) -> Mapping[str, np.ndarray]:
        self.found = RandomWeights(3).arrays(tensors, needed)
        return self.found


def build(name: str, chunk_frames: int = 1, weights: Any = None, **parameters: Any) -> Model:
    module = builder(name)
    found = module.Parameters(**parameters)
    assert list(getattr(module, "find_conflicts", lambda *_: ())(found, chunk_frames)) == []
    return module.build(found, chunk_frames, weights)


def frames(model: Model, chunks: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Random tokens below 40, or random features."""
    rng = np.random.default_rng(seed)
    ((name, kind),) = (
        (name, kind) for name, kind in model.graph.inputs.items() if name not in model.state
    )
    shape = (chunks, *kind.shape)
    if name == "tokens":
        return {name: rng.integers(40, size=shape).astype(F)}
    return {name: rng.standard_normal(shape).astype(F)}


def run(model: Model, given: Mapping[str, np.ndarray]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """First output, chunks joined, and the final state."""
    output = model.graph.outputs[0]
    kind = model.graph.inputs[next(iter(given))]
    shaped = {name: array.reshape(-1, *kind.shape) for name, array in given.items()}
    found, final = evaluate_stream(
        model.graph, shaped, model.state, model.initial_state, keep=[output]
    )
    return found[output].reshape(-1, found[output].shape[-1]), final


# -------------------------------------------------------------------------------------- counts


def state_sizes(model: Model, kind: str) -> set[int]:
    return {array.size for name, array in model.initial_state.items() if name.endswith(kind)}


def test_mamba_130m_has_the_published_size() -> None:
    model = build("mamba", weights=Zeros())
    assert model.num_parameters == 129_135_360
    assert model.num_matrix_weights == 128_415_744
    assert model.macs == {
        "linear": 24 * 3_735_552,
        "convolution": 24 * 6_144,
        "scan": 24 * 73_728,
        "head": 38_615_040,
    }
    assert model.macs["linear"] + model.macs["convolution"] + model.macs["scan"] == 91_570_176
    assert state_sizes(model, "mixer.state") == {24_576}  # as many exponentials a token and layer
    assert state_sizes(model, "conv1d.state") == {1536 * 3}
    assert len(model.state) == 48


def test_mamba2_130m_has_the_published_size() -> None:
    model = build("mamba2", weights=Zeros())
    assert model.num_parameters == 128_989_632
    assert model.num_matrix_weights == 128_888_832
    assert model.macs == {
        "linear": 24 * 3_753_984,
        "convolution": 24 * 7_168,
        "scan": 24 * 589_824,
        "head": 50_288 * 768,
    }
    assert state_sizes(model, "mixer.state") == {196_608}
    assert state_sizes(model, "conv1d.state") == {1792 * 3}


@pytest.mark.parametrize(
    ("size", "parameters", "weights", "linear", "convolution", "scan", "all_layers", "head"),
    [
        ("xs", 147_264, None, 29_696, 512, 6_144, 145_408, 16_384),
        ("s", 532_096, 512_000, 110_592, 1_024, 12_288, 495_616, 65_536),
        ("m", 3_766_528, 3_686_400, 425_984, 2_048, 24_576, 3_620_864, 262_144),
    ],
)
def test_edge_sizes_are_those_of_the_closed_forms(
    size: str, parameters: int, weights: int | None, linear: int, convolution: int, scan: int,
    all_layers: int, head: int,
) -> None:  # fmt: skip
    model, layers = build("mamba", weights=Zeros(), **EDGES[size]), EDGES[size]["n_layer"]
    assert model.num_parameters == parameters
    if weights is not None:
        assert model.num_matrix_weights == weights
    per_layer = {"linear": linear, "convolution": convolution, "scan": scan}
    assert model.macs == {**{n: layers * macs for n, macs in per_layer.items()}, "head": head}
    assert layers * sum(per_layer.values()) == all_layers


def exponentials(steps: Iterable[Step], times: int = 1) -> int:
    """Elements that exp is taken of."""
    total = 0
    for step in steps:
        if isinstance(step, Loop):
            total += exponentials(step.body, times * step.count)
        elif isinstance(step, Unary) and step.function == "exp":
            total += times * step.dst.rows * step.dst.cols
    return total


@pytest.mark.parametrize("steps", [1, 3])
def test_a_token_takes_as_many_exponentials_as_the_closed_form_says(steps: int) -> None:
    for name, sizes, expected in (
        ("mamba", EDGES["xs"], 4 * 128 * 16),
        ("mamba", EDGES["s"], 4 * 256 * 16),
        ("mamba2", MAMBA2, 2 * 4),  # heads
        ("s4d", S4D, 0),
    ):
        model = build(name, steps, **sizes)
        lowering = lower_graph(compress(model.graph))
        assert exponentials(step for _, step in lowering.steps) == steps * expected


def test_counts_grow_with_the_chunk_but_for_logits_that_nobody_wants() -> None:
    once, four = build("mamba", **MAMBA), build("mamba", 4, **MAMBA)
    assert four.macs == {name: 4 * macs for name, macs in once.macs.items()}
    last = build("mamba", 4, last_logits=True, **MAMBA)
    assert last.macs == {**four.macs, "head": once.macs["head"]}
    assert last.num_parameters == once.num_parameters


# ----------------------------------------------------------------------------------- streaming


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("chunk", [2, 3, 6])
def test_prefill_is_as_many_steps_bit_for_bit(name: str, chunk: int) -> None:
    model = build(name, **SMALL[name])
    given = frames(model, 6)
    compressed = compress(model.graph)
    long = build(name, chunk, **SMALL[name])
    results = []
    for one in (model, long):
        shaped = {n: a.reshape(-1, *one.graph.inputs[n].shape) for n, a in given.items()}
        output = one.graph.outputs[0]
        found, final = evaluate_stream(
            one.graph, shaped, one.state, one.initial_state, compress(one.graph), [output]
        )
        results.append((found[output].reshape(-1, found[output].shape[-1]), final))
    assert compressed.weights.keys() == compress(long.graph).weights.keys()
    assert results[0][0].tobytes() == results[1][0].tobytes()
    for state, array in results[0][1].items():
        assert array.tobytes() == results[1][1][state].tobytes(), state


def test_logits_of_the_last_token_are_those_of_all_tokens() -> None:
    for name in ("mamba", "mamba2"):
        every, last = (build(name, 4, last_logits=flag, **SMALL[name]) for flag in (False, True))
        given = frames(every, 2)
        found = run(every, given)[0].reshape(2, 4, -1)[:, -1:]
        np.testing.assert_allclose(run(last, given)[0].reshape(found.shape), found, atol=1e-5)


@pytest.mark.parametrize("groups", [1, 2])
def test_chunk_lengths_of_the_dual_form_agree(groups: int) -> None:
    sizes = MAMBA2 | {"n_groups": groups}
    step = build("mamba2", **sizes)
    given = frames(step, 256)
    expected, final = run(step, given)
    for length in (1, 16, 64, 256):
        chunk = max(length, 16)
        model = build("mamba2", chunk, form="chunked", chunk_length=length, **sizes)
        found, state = run(model, given)
        assert abs(found - expected).max() <= 1e-5 * abs(expected).max()
        for name, array in final.items():
            difference = abs(array.reshape(-1) - state[name].reshape(-1)).max()
            assert difference <= 1e-5 * abs(array).max()


@pytest.mark.parametrize("method", ["zoh", "bilinear"])
def test_s4d_is_its_convolution(method: str) -> None:
    sizes = S4D | {"n_layer": 1, "discretization": method}
    weights = Remembered()
    model = build("s4d", weights=weights, **sizes)
    length = 80
    given = frames(model, length)
    scan = next(node for node in model.graph.nodes if node.op == "DiagonalScan")
    found, _ = evaluate_stream(
        model.graph, given, model.state, model.initial_state,
        keep=[scan.inputs[0], scan.outputs[0]],
    )  # fmt: skip
    u, y = (found[name][:, 0].astype(np.float64) for name in (scan.inputs[0], scan.outputs[0]))
    kernel_of = {
        name: weights.found[f"layers.0.kernel.{name}"].astype(np.float64)
        for name in ("log_dt", "log_A_real", "A_imag", "C")
    }
    a, b = discretized(kernel_of["log_dt"], kernel_of["log_A_real"], kernel_of["A_imag"], method)
    twice_c = 2 * (kernel_of["C"][..., 0] + 1j * kernel_of["C"][..., 1])
    powers = a[None] ** np.arange(length)[:, None, None]
    kernel = (twice_c * b * powers).sum(axis=2).real  # (length, channels)
    expected = np.array(
        [sum(kernel[lag] * u[t - lag] for lag in range(t + 1)) for t in range(length)]
    )
    expected += model.graph.initializers[scan.inputs[4]] * u
    assert abs(y - expected).max() <= 1e-5 * abs(expected).max()


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_a_token_costs_the_same_however_many_came_before(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ways, "_WORTH_INSTRUCTIONS", math.inf)  # as in a long sequence
    model = build(name, **SMALL[name])
    compressed = compress(model.graph)

    def cost(count: int) -> np.ndarray:
        """Cycles of work, bytes, cycles until the end."""
        ran = execute_graph(
            compressed, AZ1, frames(model, count), model.state, dict(model.initial_state)
        )
        timing = replay(ran.execution.trace, ran.compiled.program, AZ1)
        return np.array([timing.work.sum(), timing.useful_bytes.sum(), timing.end_cycles])

    start, middle, end = (cost(count) for count in (25, 45, 65))
    early, late = middle - start, end - middle
    assert early[:2].tolist() == late[:2].tolist()
    assert abs(late[2] - early[2]) <= 0.05 * early[2]  # refreshes of DRAM fall otherwise


# --------------------------------------------------------------------------- bits on the chip

CHIPS = {
    "az1": AZ1,
    "little SRAM": chip(activation_sram__bytes=6144, weight_sram__bytes=8192),
}


@pytest.mark.slow
@pytest.mark.parametrize("variant", CHIPS)
@pytest.mark.parametrize("chunk", [1, 2])
@pytest.mark.parametrize("name", SMALL)
def test_the_chip_has_the_evaluator_s_bits(name: str, chunk: int, variant: str) -> None:
    model = build(name, chunk, **SMALL[name])
    _check_bits(model, variant)


@pytest.mark.slow
@pytest.mark.parametrize("length", [1, 2, 4])
def test_the_chunked_form_has_the_evaluator_s_bits(length: int) -> None:
    model = build("mamba2", 4, form="chunked", chunk_length=length, n_groups=2, **MAMBA2)
    _check_bits(model, "az1")


@pytest.mark.slow
@pytest.mark.parametrize("chunk", [8, 16])
def test_prefill_at_full_width_has_the_evaluator_s_bits(chunk: int) -> None:
    """az1 holds few of a chunk's tensors: 1,536 channels of 8 tokens take 49 kB each."""
    _check_bits(build("mamba", chunk, n_layer=1, vocab=64, last_logits=True), "az1")


@pytest.mark.slow
def test_the_chunked_form_at_full_width_has_the_evaluator_s_bits() -> None:
    """A state of 24 heads x 128 x 64 comes and goes head by head, where each product uses it."""
    model = build("mamba2", 16, n_layer=1, vocab=64, last_logits=True, form="chunked")
    _check_bits(model, "az1")


def _check_bits(model: Model, variant: str) -> None:
    given = frames(model, 3)
    compressed = compress(model.graph, 4, 8)
    initial = dict(model.initial_state)
    ran = execute_graph(compressed, CHIPS[variant], given, model.state, initial)
    found, final = evaluate_stream(model.graph, given, model.state, initial, compressed)
    assert ran.execution.outputs.keys() == {*model.graph.outputs}
    for source, target in model.state.items():
        stored = ran.execution.outputs[target].reshape(-1)
        assert stored.tobytes() == final[source].reshape(-1).tobytes(), target
    output = model.graph.outputs[0]
    assert ran.execution.outputs[output].tobytes() == found[output].tobytes()


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["az1", "az2", "dense_npu"])
@pytest.mark.parametrize("name", ["mamba_xs", "mamba2_small", "s4d"])
def test_small_workloads_are_bit_exact_on_presets(name: str, preset: str) -> None:
    workload = load_workload(f"ssm_{name}", ["input.random.frames=16"])
    found = pipeline.run(workload, preset, verify=True, timeline=False)
    assert found.comparison is not None
    assert found.comparison.bit_exact
    if name == "mamba_xs":
        assert found.statistics.macs == 16 * (4 * 29_696 + 16_384)
        assert sum(weight.weights for weight in found.weights) == 4 * 29_696 + 16_384


@pytest.mark.slow
@pytest.mark.parametrize("activation_bytes", [8_000, 8_192, 8_700, 9_000])
def test_a_state_that_just_fits_leaves_room_for_what_is_made_of_it(activation_bytes: int) -> None:
    """Each layer's state has 8,192 bytes: with little more than that it comes in parts as well."""
    workload = load_workload("ssm_mamba_xs", ["input.random.frames=3"])
    found = pipeline.run(
        workload,
        load_hardware("az1", [f"activation_sram.bytes={activation_bytes}"]),
        verify=True,
        timeline=False,
    )
    assert found.comparison is not None
    assert found.comparison.bit_exact


# -------------------------------------------------------------------------------------- errors

HEAD = "name: small\ninput: {random: {below: 9}}\n"


def problems(folder: Path, model: str, rest: str = "") -> list[str]:
    path = folder / "small.yaml"
    path.write_text(f"{HEAD}model: {model}\n{rest}")
    with pytest.raises(ConfigError) as caught:
        load_workload(path)
    return [line.partition("$.model.")[2] for line in caught.value.problems]


def test_impossible_dimensions_are_said(tmp_path: Path) -> None:
    assert problems(tmp_path, "{builder: mamba, d_model: 4, dt_rank: 9}") == [
        "dt_rank: a projection that widens, found 9, allowed: 1 to 8, the channels"
    ]
    assert problems(tmp_path, "{builder: mamba2, d_model: 16, head_dim: 5}") == [
        "head_dim: heads of unequal size, found 5, allowed: a divisor of 32, the channels"
    ]
    assert problems(tmp_path, "{builder: mamba2, d_model: 16, head_dim: 8, n_groups: 3}") == [
        "n_groups: groups of unequal size, found 3, allowed: a divisor of 4, the heads"
    ]
    assert problems(tmp_path, "{builder: mamba2, chunk_length: 4}") == [
        "chunk_length: only for the chunked form, found form: step"
    ]
    text = "{builder: mamba2, form: chunked, chunk_length: 4}"
    (found,) = problems(tmp_path, text, "stream: {chunk_frames: 6}")
    place, _, sentence = found.partition(": ")
    assert place == "chunk_length"
    allowed = "a divisor of 6, stream.chunk_frames"
    assert sentence == f"chunks of unequal length, found 4, allowed: {allowed}"
    assert problems(tmp_path, "{builder: s4d, d_state: 7}") == [
        "d_state: wrong number, found 7, allowed: a multiple of 2 from 2 to 1024"
    ]


def test_tokens_that_the_model_does_not_have_are_told(tmp_path: Path) -> None:
    model = "{builder: mamba, d_model: 4, n_layer: 1, vocab: 5}"
    path = tmp_path / "w.yaml"
    for values in ([1, 5, 9], [0, -1, 2], [0, 2.5, 1]):
        np.savez(tmp_path / "t.npz", tokens=np.array(values, np.float32))
        path.write_text(f"name: small\nmodel: {model}\ninput: {{npz: t.npz}}\n")
        with pytest.raises(ConfigError) as caught:
            pipeline.prepare(load_workload(path))
        assert str(caught.value) == (
            f"{path}:3:8: $.input: no token of the model at 'tokens'[1], found {values[1]:g}, "
            "allowed: whole numbers from 0 to 4"
        )
