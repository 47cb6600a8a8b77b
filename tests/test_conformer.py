"""The builder conformer_rnnt_small: its size, streaming, bits on the chip, errors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from azsim import pipeline
from azsim.errors import ConfigError
from azsim.evaluate import evaluate_stream
from azsim.frontend.workload import load_workload
from azsim.models import Model
from azsim.models.conformer_rnnt_small import Parameters, build, frame_parts
from azsim.ops.build import computed_products
from graphs import compress

F = np.float32
SMALL = {
    "features": 12, "blocks": 2, "d_model": 16, "heads": 2, "feed_forward": 24, "kernel": 5,
    "window": 6, "symbols": 17, "prediction": 10, "joint": 32,
    "max_symbols": 3, "blank_bias": 2.0,
}  # fmt: skip
OUTPUTS = ("encoded", "symbols", "counts")


def model_of(chunk_frames: int = 1, **parameters: Any) -> Model:
    return build(Parameters(**{**SMALL, **parameters}), chunk_frames)


@pytest.mark.slow
def test_the_conformer_has_the_published_size() -> None:
    model = build(Parameters(), 1)
    assert model.num_parameters == 10_340_096  # 10.3 M published
    assert model.num_matrix_weights == 10_262_032
    assert frame_parts(Parameters(), 64) == {
        "subsampling": 2 * 40 * 9 * 144 + 20 * 9 * 144**2 + 20 * 144 * 144,
        # 502,272 a block, without the positions' projection and the depthwise convolution
        "linear": 16 * (502_272 - 144 * 144 - 32 * 144),
        "attention": 16 * 3 * 64 * 144,
    }
    assert model.macs == {
        "chunk": sum(frame_parts(Parameters(), 64).values()) + 144 * 320,
        "symbol": 819_200 + 102_400,
        "evaluation": 327_680,
    }
    assert model.chunk_period_s == pytest.approx(0.04)
    assert model.graph.inputs["features"].shape == (4, 80)
    size = {name: array.size for name, array in model.initial_state.items()}
    assert sum(n for name, n in size.items() if name.endswith(("keys.cache", "values.cache"))) == (
        16 * 2 * 64 * 144
    )
    assert sum(n for name, n in size.items() if name.endswith("past")) == 16 * 31 * 144


def streamed(model: Model, data: np.ndarray, bits: int = 6) -> dict[str, np.ndarray]:
    """Results and last state of the compressed model, chunk by chunk."""
    frames = {"features": data.reshape(-1, *model.graph.inputs["features"].shape)}
    products = dict.fromkeys(computed_products(model.graph), 8)
    compressed = replace(compress(model.graph, bits), products=products)
    found, final = evaluate_stream(
        model.graph, frames, model.state, model.initial_state, compressed, list(OUTPUTS)
    )
    return {name: found[name].reshape(-1, *found[name].shape[2:]) for name in OUTPUTS} | final


@pytest.mark.parametrize("cache", ["int8", "float32"])
def test_chunks_give_the_bits_of_one_shot(cache: str) -> None:
    data = np.random.default_rng(5).standard_normal((4 * 12, 12)).astype(F)
    whole = streamed(model_of(12, cache=cache, cache_length=20), data)
    assert 0 < whole["counts"].sum() < 3 * 12
    for chunk_frames in (1, 3, 4):
        found = streamed(model_of(chunk_frames, cache=cache, cache_length=20), data)
        assert found.keys() == whole.keys()
        for tensor, array in found.items():
            assert array.tobytes() == whole[tensor].tobytes(), tensor


def test_a_frame_sees_no_future_and_no_further_than_its_window() -> None:
    model = model_of(blocks=1)
    data = np.random.default_rng(6).standard_normal((4 * 20, 12)).astype(F)
    other = data.copy()
    other[4 * 10 :] = 0
    assert np.array_equal(
        streamed(model, data)["encoded"][:10], streamed(model, other)["encoded"][:10]
    )
    other = data.copy()
    other[: 4 * 4] = (
        0  # what is left of it: 1 frame by subsampling, 5 by attention, 4 by the kernel
    )
    first = 4 + 1 + 5 + 4
    found, wanted = (streamed(model, array)["encoded"] for array in (other, data))
    assert np.array_equal(found[first:], wanted[first:])
    assert not np.array_equal(found[first - 1], wanted[first - 1])


def workload_file(folder: Path, **parameters: Any) -> Path:
    keys = {"builder": "conformer_rnnt_small", **SMALL, **parameters}
    text = ", ".join(f"{key}: {value}" for key, value in keys.items())
    path = folder / "small.yaml"
    path.write_text(f"name: small\nmodel: {{{text}}}\ninput: {{random: {{frames: 48}}}}\n")
    return path


@pytest.mark.slow
@pytest.mark.kernels
@pytest.mark.parametrize(
    ("preset", "codec", "bits", "chunk_frames"),
    [
        ("az1", "bitmap", 8, 1),
        ("az1", "lane_tans", 4, 3),
        ("az1_lite", "zero_run", 5, 1),
        ("az2", "bitmap", 8, 4),
        ("dense_npu", "raw", 8, 1),
    ],
)
def test_every_preset_is_bit_exact(
    tmp_path: Path, preset: str, codec: str, bits: int, chunk_frames: int
) -> None:
    changes = [
        f"stream.chunk_frames={chunk_frames}",
        f"compression.default.weights.bits={bits}",
        f"compression.default.codec={codec}",
        "compression.default.prune.sparsity=0.5",
    ]
    workload = load_workload(workload_file(tmp_path), changes)
    found = pipeline.run(workload, preset, verify=True, timeline=False)
    assert found.comparison is not None
    assert found.comparison.first_difference is None
    assert found.comparison.bit_exact
    model, counts = pipeline.load_model(workload), found.outputs["counts"]
    symbols = int(counts.sum())
    evaluations = counts.size + symbols - int((counts == 3).sum())
    macs = model.macs["chunk"] * 12 // chunk_frames
    macs += (1 + symbols) * model.macs["symbol"] + evaluations * model.macs["evaluation"]
    assert found.statistics.macs == macs


def test_impossible_dimensions_are_all_named(tmp_path: Path) -> None:
    path = workload_file(tmp_path, heads=3, cache_length=4, kernel=1)
    with pytest.raises(ConfigError) as caught:
        load_workload(path)
    problems = [line.partition("$")[2] for line in caught.value.problems]
    assert sorted(problems) == sorted(
        [
            ".model.kernel: out of range, found 1, allowed: an integer from 2 to 1024",
            ".model.heads: found 3, allowed: a divisor of the 16 columns",
            (
                ".model.cache_length: found 4, allowed: "
                "at least 6 for a window of 6 and chunks of 1, or 0"
            ),
        ]
    )
