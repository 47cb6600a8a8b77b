"""RNN-T builders: counts of the published models, closed forms, streaming, bits on the chip."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from azsim import pipeline
from azsim.errors import ConfigError
from azsim.evaluate import evaluate_stream
from azsim.frontend.workload import load_workload
from azsim.models import Model, builder
from azsim.models._weights import Tensor
from azsim.ops.build import weight_matrices
from azsim.sim.checks import check_program
from azsim.sim.races import check_races
from compiled import chip, execute_graph
from graphs import compress

SMALL = {
    "rnnt_mlperf": {
        "features": 24,
        "hidden": 24,
        "prediction": 12,
        "joint": 32,
        "symbols": 17,
        "max_symbols": 3,
        "blank_bias": 1.0,
    },
    "rnnt_google": {
        "features": 24,
        "cells": 16,
        "units": 12,
        "layers": 4,
        "symbols": 17,
        "embedding": 8,
        "joint": 32,
        "max_symbols": 3,
        "blank_bias": 2.0,
    },
    "lstm_cell": {"inputs": 24, "hidden": 16},
}


class Zeros:
    """Weights that take no memory until they are read."""

    def arrays(
        self, tensors: Mapping[str, Tensor], needed: Iterable[str]
    ) -> Mapping[str, np.ndarray]:
        return {name: np.zeros(tensors[name].shape, np.float32) for name in needed}


def build(name: str, chunk_frames: int = 1, weights: Any = None, **parameters: Any) -> Model:
    module = builder(name)
    return module.build(module.Parameters(**parameters), chunk_frames, weights)


def state_size(model: Model, part: str) -> int:
    return sum(array.size for name, array in model.initial_state.items() if name.startswith(part))


# -------------------------------------------------------------------------------------- counts


def test_rnnt_mlperf_has_the_published_size() -> None:
    model = build("rnnt_mlperf", weights=Zeros())
    assert model.num_parameters == 45_323_037
    assert model.num_matrix_weights == 45_276_416
    assert model.macs == {
        "chunk": 2 * 13_565_952 + 29_360_128 + 524_288,
        "symbol": 1_638_400 + 163_840,
        "evaluation": 14_848,
    }
    assert model.chunk_period_s == pytest.approx(0.06)
    assert model.graph.inputs["features"].shape == (2, 240)
    assert state_size(model, "encoder") == 10_240
    assert state_size(model, "prediction") == 1_280
    multiplied = sum(matrix.size for matrix in weight_matrices(model.graph).values())
    assert multiplied == 45_276_416 - 28 * 320  # all but the embedding, which is looked up


@pytest.mark.parametrize(
    ("parameters", "count"),
    [
        ({"layer_norm": False}, 120_443_520),
        ({}, 120_607_360),
        ({"layer_norm": False, "symbols": 76}, 117_352_140),
    ],
)
def test_rnnt_google_has_the_published_size(parameters: dict[str, Any], count: int) -> None:
    model = build("rnnt_google", weights=Zeros(), **parameters)
    assert model.num_parameters == count
    if "symbols" not in parameters:
        assert model.num_matrix_weights == 120_356_864
    assert model.macs["chunk"] == 2 * 20_971_520 + 76_021_760 + 640 * 640
    assert model.macs["symbol"] == 19_398_656 + 640 * 640
    assert model.macs["evaluation"] + 2 * 640 * 640 == 3_440_640 or "symbols" in parameters
    assert state_size(model, "encoder") + state_size(model, "prediction") == 26_880
    multiplied = sum(matrix.size for matrix in weight_matrices(model.graph).values())
    embedding = parameters.get("symbols", 4096) * 128
    assert multiplied == model.num_matrix_weights - embedding


def test_names_of_tensors_stay() -> None:
    names = build("rnnt_mlperf", **SMALL["rnnt_mlperf"]).graph.initializers
    assert [name for name in names if not name.endswith(".shape")][:6] == [
        f"encoder.pre.{layer}.{part}" for layer in (0, 1) for part in "WRB"
    ]
    assert {"encoder.post.2.R", "joint.encoder.W", "joint.encoder.b"} <= set(names)
    names = build("rnnt_google", **SMALL["rnnt_google"]).graph.initializers
    parts = ("W", "R", "P", "B", "gate_gain", "gate_shift")
    assert {f"encoder.3.{part}" for part in parts} <= set(names)


# ----------------------------------------------------------------------------------- streaming


def stream(model: Model, data: np.ndarray) -> dict[str, np.ndarray]:
    """Run the compressed model chunk by chunk; gives its results and its last state."""
    ((name, axis),) = model.time_axis.items()
    assert axis == 0
    frames = {name: data.reshape(-1, *model.graph.inputs[name].shape)}
    compressed = compress(model.graph, 6)
    outputs = [output for output in model.graph.outputs if output not in model.state.values()]
    found, final = evaluate_stream(
        model.graph, frames, model.state, model.initial_state, compressed, outputs
    )
    joined = {
        key: array.reshape(-1, *array.shape[2:]) for key, array in found.items() if key in outputs
    }
    return joined | final


@pytest.mark.parametrize("name", SMALL)
def test_chunks_give_the_bits_of_one_shot(name: str) -> None:
    per_frame = 1 if name == "lstm_cell" else 2
    data = np.random.default_rng(5).standard_normal((12 * per_frame, 24)).astype(np.float32)
    whole = stream(build(name, 12, **SMALL[name]), data)
    for chunk_frames in (1, 3, 4):
        found = stream(build(name, chunk_frames, **SMALL[name]), data)
        assert found.keys() == whole.keys()
        assert name == "lstm_cell" or 0 < whole["counts"].sum() < 3 * len(whole["counts"])
        for tensor, array in found.items():
            assert array.tobytes() == whole[tensor].tobytes(), tensor


# ------------------------------------------------------------------------------------ the chip


def workload_file(folder: Path, name: str, frames: int = 12, **parameters: Any) -> Path:
    keys = {"builder": name, **SMALL[name], **parameters}
    text = ", ".join(f"{key}: {str(value).lower()}" for key, value in keys.items())
    path = folder / "small.yaml"
    path.write_text(f"name: small\nmodel: {{{text}}}\ninput: {{random: {{frames: {frames}}}}}\n")
    return path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("preset", "codec", "bits", "chunk_frames"),
    [
        ("az1", "bitmap", 8, 1),
        ("az1", "lane_tans", 4, 3),
        ("az1_lite", "zero_run", 5, 1),
        ("az2", "bitmap", 8, 3),
        ("dense_npu", "raw", 8, 1),
    ],
)
@pytest.mark.parametrize("name", SMALL)
def test_every_preset_is_bit_exact(
    tmp_path: Path, name: str, preset: str, codec: str, bits: int, chunk_frames: int
) -> None:
    path = workload_file(tmp_path, name)
    workload = load_workload(
        path,
        [
            f"stream.chunk_frames={chunk_frames}",
            f"compression.default.weights.bits={bits}",
            f"compression.default.codec={codec}",
            "compression.default.prune.sparsity=0.5",
        ],
    )
    found = pipeline.run(workload, preset, verify=True, timeline=False)
    assert found.comparison is not None
    assert found.comparison.first_difference is None
    assert found.comparison.bit_exact
    model = pipeline.load_model(workload)
    macs = model.macs["chunk"] * (12 if name == "lstm_cell" else 6) // chunk_frames
    if name != "lstm_cell":
        counts = found.outputs["counts"]
        symbols = int(counts.sum())
        assert 0 < symbols < 3 * counts.size
        evaluations = counts.size + symbols - int((counts == 3).sum())
        macs += (1 + symbols) * model.macs["symbol"] + evaluations * model.macs["evaluation"]
    assert found.statistics.macs == macs


def test_norms_and_projections_run_bit_exact(tmp_path: Path) -> None:
    for parameters in ({"projection": 8}, {"layer_norm": True}, {"projection": 8, "layer_norm": 1}):
        parameters["layer_norm"] = bool(parameters.get("layer_norm"))
        path = workload_file(tmp_path, "lstm_cell", **parameters)
        found = pipeline.run(load_workload(path), verify=True, timeline=False)
        assert found.comparison is not None
        assert found.comparison.bit_exact


def test_a_frame_comes_every_60_ms(tmp_path: Path) -> None:
    path = workload_file(tmp_path, "rnnt_mlperf")
    workload = load_workload(path, ["stream.arrival=paced", "stream.chunk_frames=2"])
    assert pipeline.prepare(workload).stream.period_s == pytest.approx(0.12)
    workload = load_workload(path, ["stream.arrival=paced", "input.period_s=0.02"])
    assert pipeline.prepare(workload).stream.period_s == pytest.approx(0.04)


# -------------------------------------------------------------------------------------- errors


def test_impossible_dimensions_are_all_named(tmp_path: Path) -> None:
    path = workload_file(tmp_path, "rnnt_google", reduce_after=5, units=0, symbols=1)
    with pytest.raises(ConfigError) as caught:
        load_workload(path)
    problems = [line.partition("$")[2] for line in caught.value.problems]
    assert problems == [
        ".model.units: out of range, found 0, allowed: an integer from 1 to 1048576",
        ".model.symbols: out of range, found 1, allowed: an integer from 2 to 1048576",
        ".model.reduce_after: the encoder has fewer layers, found 5, allowed: 0 to 4",
    ]


LITTLE = {
    "one frame": ({"layers": 2, "reduce_after": 0, "symbols": 33}, 1, 1536),
    "steps in a loop": ({"cells": 64, "units": 20, "layers": 2, "reduce_after": 1}, 1, 3840),
    "two frames": ({"cells": 32, "reduce_after": 2, "embedding": 5}, 2, 2304),
    "three of a kind": ({"cells": 24, "reduce_after": 1, "reduction": 3}, 1, 1792),
}
"""Other parameters, frames of a chunk, and bytes of activation SRAM."""


@pytest.mark.slow
@pytest.mark.parametrize("name", LITTLE)
def test_no_bit_of_a_normed_transducer_depends_on_the_room_for_its_states(name: str) -> None:
    """What the decoding loop and the loops over steps use comes part by part, round by round."""
    changes, chunk, room_bytes = LITTLE[name]
    model = build("rnnt_google", chunk, **{**SMALL["rnnt_google"], **changes})
    graph, state = compress(model.graph), dict(model.state)
    rng = np.random.default_rng(3)
    shape = model.graph.inputs["features"].shape
    frames = {"features": rng.standard_normal((3, *shape)).astype(np.float32)}
    found = []
    for hardware in (
        chip(mac__accumulators=64, mac__lanes=4),
        chip(activation_sram__bytes=room_bytes, mac__accumulators=64, mac__lanes=4),
    ):
        ran = execute_graph(graph, hardware, frames, state, dict(model.initial_state))
        assert ran.compiled.allocation.peak_bytes["activation"] <= hardware.activation_sram.bytes
        for verdict in check_program(ran.compiled.program, hardware, ran.compiled.image):
            assert (verdict.findings, verdict.unproved) == ((), ())
        assert not check_races(ran.compiled.program, ran.execution.trace)
        found.append(ran)
    wide, little = (ran.execution.outputs for ran in found)
    assert {name: array.tobytes() for name, array in wide.items()} == {
        name: array.tobytes() for name, array in little.items()
    }
    wide, little = (ran.compiled.schedule.storages.values() for ran in found)
    assert not any(storage.is_shared for storage in wide)
    assert any(storage.round_of is not None for storage in little)
