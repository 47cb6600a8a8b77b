"""Random arrays of a density, and what is left of it after quantization."""

from __future__ import annotations

import numpy as np
import pytest

from azsim import arith
from azsim.compiler.compile import compile_graph
from azsim.compression.quantize import quantize
from azsim.compression.spec import ResolvedRule
from azsim.frontend.workload import load_workload
from azsim.frontend.workload_file import GraphModel
from azsim.hardware import load_hardware
from azsim.inputs.patterns import WEIGHT_LEVELS, sparse_activations, sparse_weights
from azsim.inputs.spec import RandomInput
from azsim.ir import CodecChoice
from azsim.pipeline import prepare, run


def test_weights_are_non_zero_at_about_their_density() -> None:
    weights = sparse_weights((3000, 700), 0.09, 1, 0.5)
    assert weights.dtype == np.float32
    share = np.count_nonzero(weights) / weights.size
    assert share == pytest.approx(0.09, abs=4 * (0.09 * 0.91 / weights.size) ** 0.5)
    values = np.unique(weights)
    assert values.size == 2 * WEIGHT_LEVELS + 1
    assert values[-1] == 0.5
    np.testing.assert_allclose(values, 0.5 * np.arange(-7, 8) / 7, rtol=1e-6)
    columns = np.count_nonzero(weights, axis=0) / 3000  # no part of the matrix is favoured
    assert columns.std() == pytest.approx((0.09 * 0.91 / 3000) ** 0.5, rel=0.15)


def test_a_seed_gives_the_same_numbers() -> None:
    first = sparse_weights((1500, 900), 0.2, 7)
    np.testing.assert_array_equal(first, sparse_weights((1500, 900), 0.2, 7))
    assert (first != sparse_weights((1500, 900), 0.2, 8)).any()
    assert np.count_nonzero(sparse_weights((40, 30), 1.0, 0)) == 1200


def rule(**changes: object) -> ResolvedRule:
    values: dict[str, object] = {"quantizer": "uniform", "weight_bits": 8, **changes}
    return ResolvedRule(codec=CodecChoice("raw"), **values)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    "changes",
    [
        {"weight_bits": 8},
        {"weight_bits": 4, "weight_scale": "per_tensor"},
        {"weight_bits": 4},
        {"quantizer": "kmeans", "weight_bits": 4, "palette": 16, "weight_scale": "per_tensor"},
    ],
)
def test_codes_are_non_zero_where_weights_are(changes: dict[str, object]) -> None:
    weights = sparse_weights((300, 400), 0.1, 2, 0.3)
    codes = quantize(weights, rule(**changes)).codes
    np.testing.assert_array_equal(codes != 0, weights != 0)


@pytest.mark.parametrize("density", [0.0004, 0.351, 1.0])
def test_activations_have_their_density_exactly(density: float) -> None:
    found = sparse_activations((10, 921), density, np.random.default_rng(0), 3.0)
    assert np.count_nonzero(found) == round(density * 9210)
    assert found.min() >= 0
    for bits in (8, 16):
        codes, _ = arith.quantize_rows(found, bits, None)
        np.testing.assert_array_equal(codes != 0, found != 0)


# --------------------------------------------------------------------------- EIE's nine layers

PAPER = {  # inputs, outputs, densities of weights and activations, in per cent
    "alex_6": (9216, 4096, 9, 35.1),
    "alex_7": (4096, 4096, 9, 35.3),
    "alex_8": (4096, 1000, 25, 37.5),
    "vgg_6": (25088, 4096, 4, 18.3),
    "vgg_7": (4096, 4096, 4, 37.5),
    "vgg_8": (4096, 1000, 23, 41.1),
    "nt_we": (4096, 600, 10, 100),
    "nt_wd": (600, 8791, 11, 100),
    "nt_lstm": (1201, 2400, 10, 100),
}


@pytest.mark.parametrize(("name", "divisor"), [("eie_layers", 1), ("eie_layers_small", 16)])
def test_the_workload_is_the_paper_s_table(name: str, divisor: int) -> None:
    workload = load_workload(name)
    assert isinstance(workload.model, GraphModel)
    assert isinstance(workload.input, RandomInput)
    graph, densities = workload.model.graph, workload.input.random.activation_density
    assert isinstance(densities, dict)
    assert list(graph["initializers"]) == list(PAPER)
    for layer, (inputs, outputs, weights, activations) in PAPER.items():
        entry = graph["initializers"][layer]
        assert entry["shape"] == [outputs // divisor, inputs // divisor]
        assert graph["inputs"][f"{layer}_in"]["shape"] == [1, inputs // divisor]
        assert round(100 * entry["random"]["weight_density"], 6) == weights
        assert round(100 * densities[f"{layer}_in"], 6) == activations
    seeds = {entry["random"]["seed"] for entry in graph["initializers"].values()}
    assert len(seeds) == len(PAPER)


@pytest.mark.kernels
def test_the_small_layers_run_on_eie() -> None:
    result = run("eie_layers_small", verify=True, timeline=False)
    assert result.comparison is not None
    assert result.comparison.bit_exact
    assert result.hardware == "eie"
    assert {weight.codec for weight in result.weights} == {"csc"}
    by_name = {layer.name: layer for layer in result.statistics.layers}
    for layer, (inputs, outputs, weights, activations) in PAPER.items():
        macs = (inputs // 16) * (outputs // 16)
        assert by_name[layer].macs == macs
        share = by_name[layer].macs_executed / macs
        assert share == pytest.approx(weights * activations * 1e-4, rel=0.15)


@pytest.mark.kernels
def test_the_small_layers_are_stored_as_eie_stores_them() -> None:
    workload, chip = load_workload("eie_layers_small"), load_hardware("eie")
    prepared = prepare(workload)
    compiled = compile_graph(prepared.compressed, chip, prepared.stream, {}, workload.name)
    assert compiled.plan.read == set(PAPER)
    for weight in prepared.compressed.weights.values():
        assert weight.palette_bits == 4
        assert np.unique(weight.codes).size == 2 * WEIGHT_LEVELS + 1
