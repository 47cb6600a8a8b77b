"""Quantizers: what each promises, against the definition, and through the whole machine."""

from __future__ import annotations

import hashlib
import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from azsim.compression.compress import compress, dense_bytes, dequantize, entropy_bits
from azsim.compression.prune import prune
from azsim.compression.quantize import quantize
from azsim.compression.quantizers import quantizer, quantizer_names
from azsim.compression.quantizers._palette import Moments, palette_error
from azsim.compression.quantizers.kmeans import best_palette
from azsim.compression.quantizers.mu_law import spaced_palette
from azsim.compression.spec import ResolvedRule, WeightScale
from azsim.frontend.workload import load_workload
from azsim.inputs.fetch import fetch
from azsim.pipeline import run

NAMES = quantizer_names()
SCALES: tuple[WeightScale, ...] = ("per_tensor", "per_channel", "per_group")


def rule_of(name: str, bits: int, scale: WeightScale = "per_channel", **more) -> ResolvedRule:
    low, high = quantizer(name).BITS
    group = 16 if scale == "per_group" else None
    return ResolvedRule(
        quantizer=name,
        weight_bits=min(max(bits, low), high),
        weight_scale=scale,
        group_size=group,
        **more,
    )


def weights(seed: int = 0, rows: int = 48, columns: int = 100) -> np.ndarray:
    rng = np.random.default_rng(seed)
    matrix = rng.laplace(size=(rows, columns)) * rng.uniform(0.5, 2, (rows, 1))
    return matrix.astype(np.float32)


def squared_error(matrix: np.ndarray, rule: ResolvedRule) -> float:
    restored = dequantize(compress({"w": matrix}, {"w": rule})["w"])
    return float(((matrix.astype(np.float64) - restored) ** 2).sum())


def test_the_table() -> None:
    assert NAMES == (
        "asymmetric",
        "entropy_uniform",
        "interval256",
        "kmeans",
        "lloyd_max",
        "mu_law",
        "power_of_two",
        "uniform",
        "uniform_mse",
    )


@pytest.mark.slow
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", NAMES)
@given(
    matrix=npst.arrays(
        np.float32,
        npst.array_shapes(min_dims=2, max_dims=2, max_side=40),
        elements=st.one_of(
            st.just(0.0), st.floats(-(2.0**60), 2.0**60, width=32, allow_subnormal=True)
        ),
    ),
    bits=st.integers(2, 8),
)
def test_zero_is_code_zero_and_codes_are_in_range(
    name: str, scale: WeightScale, matrix: np.ndarray, bits: int
) -> None:
    rule = rule_of(name, bits, scale)
    before = matrix.copy()
    found = quantize(matrix, rule)
    np.testing.assert_array_equal(matrix, before)
    assert found.codes.dtype == np.int8
    assert found.codes.shape == matrix.shape
    assert found.scales.dtype == np.float32
    assert found.scales.shape == (len(found.segments) - 1, len(matrix))
    assert (found.scales > 0).all()
    assert np.isfinite(found.scales).all()
    assert not found.codes[matrix == 0].any()
    assert 2 <= found.bits <= 8
    limit = 2 ** (found.bits - 1) - 1
    assert np.abs(found.codes.astype(int)).max() <= limit
    assert (found.palette_bits is not None) == quantizer(name).IS_PALETTE
    if found.palette_bits is not None:
        assert found.palette_bits == rule.weight_bits
        assert len(np.unique(found.codes)) <= 2**rule.weight_bits
    if found.scale_kind == "per_tensor":
        assert len(np.unique(found.scales)) == 1
    # A sign is never turned round.
    assert (np.sign(found.codes) * np.sign(matrix) >= 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_the_same_weights_give_the_same_codes(name: str) -> None:
    matrix = weights(5)
    first, second = (quantize(matrix.copy(), rule_of(name, 4)) for _ in range(2))
    assert first.codes.tobytes() == second.codes.tobytes()
    assert first.scales.tobytes() == second.scales.tobytes()
    by_column = quantize(np.asfortranarray(matrix), rule_of(name, 4))
    assert by_column.codes.tobytes() == first.codes.tobytes()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("bits", [3, 4, 5])
@pytest.mark.parametrize("scale", SCALES)
def test_better_quantizers_are_not_worse_than_uniform(
    scale: WeightScale, bits: int, seed: int
) -> None:
    matrix = weights(seed)
    error = {
        name: squared_error(matrix, rule_of(name, bits, scale))
        for name in ("uniform", "uniform_mse", "kmeans", "lloyd_max", "mu_law")
    }
    assert error["uniform_mse"] <= error["uniform"]
    assert error["kmeans"] <= error["lloyd_max"] <= error["uniform"]
    assert error["kmeans"] <= error["mu_law"]


def test_mse_takes_the_best_of_33_factors_for_each_row() -> None:
    matrix = weights(1)
    found = quantize(matrix, rule_of("uniform_mse", 3))
    largest = np.abs(matrix).max(axis=1, keepdims=True)
    errors = []
    for factor in np.linspace(0.2, 1, 33).astype(np.float32):
        scale = factor * largest / np.float32(3)
        code = np.clip(np.rint(matrix / scale), -3, 3)
        errors.append(((matrix - code * scale).astype(np.float64) ** 2).sum(axis=1))
    got = ((matrix - found.codes * found.scales[0][:, None]).astype(np.float64) ** 2).sum(axis=1)
    np.testing.assert_allclose(got, np.min(errors, axis=0), rtol=1e-6)


def test_asymmetric_reaches_both_ends_and_runs_at_its_own_width() -> None:
    matrix = np.array([[-1, 0, 2, 3.5], [-2, 0, 1, 7]], np.float32)
    found = quantize(matrix, rule_of("asymmetric", 3))
    assert found.codes.tolist() == [[-1, 0, 3, 5], [-1, 0, 1, 5]]
    np.testing.assert_array_equal(found.scales, np.array([[3.5, 7]], np.float32) / 5)
    assert (found.bits, found.palette_bits) == (4, 3)
    one_sided = quantize(np.abs(matrix), rule_of("asymmetric", 4))
    assert one_sided.codes.max() == 15
    assert one_sided.bits == 5


def test_small_weights_fall_out_of_256_intervals() -> None:
    matrix = np.array([[128, 1.99, -1.99, 0.99, -0.99, 127.5]], np.float32)
    found = quantize(matrix, rule_of("interval256", 8))
    assert found.codes.tolist() == [[127, 1, -1, 0, 0, 127]]
    assert found.scales[0, 0] == pytest.approx((255.5 * 127 + 2 * 1.99) / (2 * 127**2 + 2))


def test_powers_of_two() -> None:
    matrix = np.array([[64, -33, 20, 2.9, 0.4, 0.6]], np.float32)
    assert quantize(matrix, rule_of("power_of_two", 4)).codes.tolist() == [[64, -32, 16, 2, 0, 1]]
    assert quantize(matrix, rule_of("power_of_two", 2)).codes.tolist() == [[64, -64, 0, 0, 0, 0]]


def test_mu_law_spacing() -> None:
    assert spaced_palette(16, 255.0).tolist() == [
        -127, -57, -26, -11, -5, -2, -1, 0, 1, 3, 7, 15, 31, 63, 127,
    ]  # fmt: skip
    assert spaced_palette(15, 0.001).tolist() == [round(127 * k / 7) for k in range(-7, 8)]
    given_mu = rule_of("mu_law", 4, mu=255.0)
    values = set(np.unique(quantize(weights(), given_mu).codes).tolist())
    assert values <= set(spaced_palette(16, 255.0).tolist())


@pytest.mark.parametrize("entries", [2, 3, 4, 5])
def test_kmeans_is_the_optimum(entries: int) -> None:
    rng = np.random.default_rng(entries)
    # Few places, so that every palette can be tried.
    x = np.concatenate((rng.integers(-9, 10, 40) * 2.0, [0.5, -127.0, 127.0]))
    moments = Moments(
        *(np.bincount(np.floor(2 * x).astype(int) + 254, x**power, 509) for power in (0, 1, 2))
    )
    found = palette_error(moments, best_palette(moments, entries))
    places = [-127, *range(-18, 19, 2), 127]
    best = min(
        palette_error(moments, np.array(sorted({0, *chosen})))
        for chosen in itertools.combinations(places, entries - 1)
    )
    assert found <= best * (1 + 1e-12)


def test_palettes_count_at_their_index_width() -> None:
    matrix = weights()
    weight = compress({"w": matrix}, {"w": rule_of("kmeans", 4, palette=9)})["w"]
    assert len(np.unique(weight.codes)) == 9
    assert (weight.bits, weight.palette_bits, weight.scheme_bits) == (8, 4, 4)
    assert dense_bytes(weight) == matrix.size // 2


def test_entropy_uniform_reaches_its_target_with_one_step() -> None:
    matrix = weights(2)
    energy = float((matrix.astype(np.float64) ** 2).sum())
    for ratio in (10.0, 20.0):
        rule = rule_of("entropy_uniform", 8, sqnr_db=ratio)
        assert quantize(matrix, rule).scale_kind == "per_tensor"
        found = 10 * np.log10(energy / squared_error(matrix, rule))
        assert ratio <= found < ratio + 0.3
    reference = rule_of("uniform_mse", 4)
    ours = rule_of("entropy_uniform", 4)
    assert squared_error(matrix, ours) <= squared_error(matrix, reference)


def test_entropy_uniform_has_a_dead_zone() -> None:
    matrix = weights(3)
    rms = float(np.sqrt((matrix.astype(np.float64) ** 2).mean()))
    rule = rule_of("entropy_uniform", 8, step=0.5, dead_zone=0.75)
    found = quantize(matrix, rule)
    quotient = np.abs(matrix) / np.float32(0.5 * rms)
    assert not found.codes[quotient < 0.749].any()
    assert found.codes[quotient > 0.751].all()
    assert found.scales.max() < 0.5 * rms * 1.001


def test_entropy_uniform_gives_rows_their_own_step_where_they_differ() -> None:
    matrix = weights(4) * np.geomspace(1, 1000, 48, dtype=np.float32)[:, None]
    found = quantize(matrix, rule_of("entropy_uniform", 4))
    assert found.scale_kind == "per_channel"
    assert (np.abs(found.codes).max(axis=1) > 0).all()
    # Nor can one step and 8 bits be as fine as 8 bits for each row.
    found = quantize(weights(4), rule_of("entropy_uniform", 8))
    assert found.scale_kind == "per_channel"


# ------------------------------------------------------------------------------ real weights

SAFETENSORS = "pypi:silero-vad==6.2.3#silero_vad/data/silero_vad_16k.safetensors"
RECIPES = {
    "b8.s0": ({}, "uniform", 8, "bcaa61b5d77c9159"),
    "b8.s50": ({"sparsity": 0.5}, "uniform", 8, "125629c8e89269d7"),
    "b8.s75": ({"sparsity": 0.75}, "uniform", 8, "6de45330bbaf3657"),
    "b8.2of4": ({"prune_method": "n_m", "n": 2, "m": 4}, "uniform", 8, "69edf2c48fd5e311"),
    "b4.s0": ({}, "uniform_mse", 4, "e52116f976af6fad"),
    "b4.s50": ({"sparsity": 0.5}, "uniform_mse", 4, "6daca946f2eb56d2"),
    "b4.s75": ({"sparsity": 0.75}, "uniform_mse", 4, "c3160cd2d52bdd7e"),
    "b4.2of4": ({"prune_method": "n_m", "n": 2, "m": 4}, "uniform_mse", 4, "3a5b593eb5dd3f33"),
    "b4.blk16s75": (
        {"prune_method": "block", "sparsity": 0.75},
        "uniform_mse",
        4,
        "f7252d68558ac5f2",
    ),
}


def lstm() -> np.ndarray:
    """Weights of the LSTM, input and recurrent side by side, as the reference codes have them."""
    sha256 = "c59271c284ae9c8335d795d60e0bfdb71aaaceec578d9bd9ffc1b8153c319ea1"
    data = fetch(SAFETENSORS, Path(), sha256).read_bytes()
    size = int.from_bytes(data[:8], "little")
    entries = json.loads(data[8 : 8 + size])
    parts = []
    for name in ("lstm_cell.weight_ih", "lstm_cell.weight_hh"):
        first, last = (8 + size + offset for offset in entries[name]["data_offsets"])
        parts.append(np.frombuffer(data[first:last], "<f4").reshape(entries[name]["shape"]))
    return np.concatenate(parts, axis=1)


@pytest.mark.fetch
@pytest.mark.parametrize("name", RECIPES)
def test_the_reference_codes_of_a_real_model(name: str) -> None:
    settings, method, bits, digest = RECIPES[name]
    rule = ResolvedRule(quantizer=method, weight_bits=bits, **settings)
    (pruned,) = prune({"w": lstm()}, {"w": rule}).values()
    codes = quantize(pruned, rule).codes
    assert codes.shape == (512, 256)
    assert hashlib.sha256(codes.tobytes()).hexdigest()[:16] == digest


@pytest.mark.fetch
def test_entropy_uniform_takes_fewer_bits_at_the_same_error() -> None:
    matrix = lstm()
    per_row, one_step = rule_of("uniform_mse", 4), rule_of("entropy_uniform", 4)
    assert squared_error(matrix, one_step) <= squared_error(matrix, per_row)
    before, after = (entropy_bits(quantize(matrix, rule).codes) for rule in (per_row, one_step))
    assert before == pytest.approx(3.198, abs=1e-3)
    assert after < 3.006


@pytest.mark.fetch
@pytest.mark.parametrize("name", NAMES)
def test_the_simulator_and_the_evaluator_agree_bit_for_bit(name: str) -> None:
    low, high = quantizer(name).BITS
    bits = min(max(4, low), high)
    section = f"compression.default.weights={{quantizer: {name}, bits: {bits}}}"
    result = run(load_workload("vad_silero", [section]), verify=True, timeline=False)
    assert result.comparison is not None
    assert result.comparison.bit_exact, result.comparison.first_difference
    if quantizer(name).IS_PALETTE:
        # Dense bytes count indices, and the codec's palette step stores them.
        assert result.summary["weight_bytes_dense"] == 308_224 // 2
        assert float(str(result.summary["bits_per_weight"])) < 3.3
