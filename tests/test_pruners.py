"""Pruners: exact counts, exact shapes of zeros, and what is kept."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from azsim.compression.prune import prune
from azsim.compression.pruners import pruner, pruner_names
from azsim.compression.quantize import quantize
from azsim.compression.spec import ResolvedRule

SETTINGS = {
    "balanced": {"sparsity": 0.5, "lanes": 8},
    "block": {"sparsity": 0.5},
    "magnitude": {"sparsity": 0.5},
    "n_m": {"n": 2, "m": 4},
    "rate_distortion": {"sparsity": 0.5},
}


def weights(rows: int, columns: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, columns)).astype(np.float32)


def pruned(matrix: np.ndarray, method: str, **settings) -> np.ndarray:
    before = matrix.copy()
    rule = ResolvedRule(prune_method=method, **settings)
    (result,) = prune({"w": matrix}, {"w": rule}).values()
    np.testing.assert_array_equal(matrix, before)
    assert result.dtype == np.float32
    assert result.shape == matrix.shape
    np.testing.assert_array_equal(result[result != 0], matrix[result != 0])
    return result


def test_the_table() -> None:
    assert pruner_names() == tuple(SETTINGS)
    for name, settings in SETTINGS.items():
        assert set(settings) <= set(pruner(name).PARAMETERS)
        assert set(pruner(name).REQUIRED) <= set(settings)


@pytest.mark.parametrize("method", SETTINGS)
def test_half_goes_and_twice_is_the_same(method: str) -> None:
    matrix = weights(64, 96)
    first = pruned(matrix, method, **SETTINGS[method])
    assert np.count_nonzero(first == 0) == matrix.size // 2
    assert pruned(matrix.copy(), method, **SETTINGS[method]).tobytes() == first.tobytes()
    again = pruned(first, method, **SETTINGS[method])
    assert np.count_nonzero(again == 0) == matrix.size // 2


@pytest.mark.parametrize("method", SETTINGS)
def test_no_sparsity_prunes_nothing(method: str) -> None:
    matrix = weights(5, 7)
    settings = {"n": 4, "m": 4} if method == "n_m" else {"lanes": 2} if method == "balanced" else {}
    np.testing.assert_array_equal(pruned(matrix, method, **settings), matrix)


@given(
    rows=st.integers(1, 9),
    columns=st.integers(1, 30),
    m=st.integers(2, 9),
    data=st.data(),
)
def test_n_of_each_m_stay(rows: int, columns: int, m: int, data: st.DataObject) -> None:
    n = data.draw(st.integers(1, m))
    # Few values, so that there are many ties.
    matrix = np.random.default_rng(rows).integers(-2, 3, (rows, columns)).astype(np.float32)
    result = pruned(matrix, "n_m", n=n, m=m)
    for row in range(rows):
        for start in range(0, columns, m):
            before, after = matrix[row, start : start + m], result[row, start : start + m]
            order = sorted(range(len(before)), key=lambda i: (abs(before[i]), i))
            expected = before.copy()
            expected[order[: max(0, len(before) - n)]] = 0
            np.testing.assert_array_equal(after, expected)


def test_blocks_of_least_energy_go() -> None:
    matrix = weights(8, 64)
    result = pruned(matrix, "block", sparsity=0.75)
    energies = (matrix.astype(np.float64) ** 2).reshape(8, 4, 16).sum(axis=2)
    gone = (result.reshape(8, 4, 16) == 0).all(axis=2)
    assert np.count_nonzero(gone) == 24
    assert energies[gone].max() < energies[~gone].min()
    assert np.count_nonzero(result) == 8 * 16


def test_blocks_at_the_edges_count_by_their_mean() -> None:
    matrix = np.ones((3, 5), np.float32)
    matrix[:2, :4] = 0.5
    result = pruned(matrix, "block", sparsity=0.25, block=(2, 4))
    expected = matrix.copy()
    expected[:2, :4] = 0
    np.testing.assert_array_equal(result, expected)


@given(
    rows=st.integers(1, 40),
    columns=st.integers(1, 20),
    lanes=st.integers(1, 48),
    sparsity=st.floats(0.001, 0.999),
    has_ties=st.booleans(),
)
def test_lanes_that_have_room_differ_by_one_at_most(
    rows: int, columns: int, lanes: int, sparsity: float, has_ties: bool
) -> None:
    matrix = weights(rows, columns)
    matrix[matrix == 0] = 1
    if has_ties:
        matrix = np.where(matrix < 0, np.float32(-1), np.float32(1))
    result = pruned(matrix, "balanced", sparsity=sparsity, lanes=lanes)
    used = min(lanes, rows)
    counts = [np.count_nonzero(result[lane::used]) for lane in range(used)]
    assert sum(counts) == round((1 - sparsity) * matrix.size)
    sizes = [matrix[lane::used].size for lane in range(used)]
    with_room = [count for count, size in zip(counts, sizes, strict=True) if count < size]
    assert not with_room or max(counts) - min(with_room) <= 1
    for lane in range(used):
        mine, left = np.abs(matrix[lane::used]), result[lane::used] != 0
        if left.any() and not left.all():
            assert mine[~left].max() <= mine[left].min()


@pytest.mark.parametrize(("rows", "lanes"), [(64, 16), (48, 16), (8, 8), (5, 16), (50, 16)])
@pytest.mark.parametrize("sparsity", [0.3, 0.5, 0.9])
def test_the_one_more_goes_where_the_next_weight_is_largest(
    rows: int, lanes: int, sparsity: float
) -> None:
    matrix = weights(rows, 41)
    result = pruned(matrix, "balanced", sparsity=sparsity, lanes=lanes)
    used = min(lanes, rows)
    counts = np.array([np.count_nonzero(result[lane::used]) for lane in range(used)])
    assert counts.sum() == round((1 - sparsity) * matrix.size)
    ordered = [np.sort(np.abs(matrix[lane::used]).reshape(-1))[::-1] for lane in range(used)]
    following = np.array([values[counts.min()] for values in ordered])
    more = counts > counts.min()
    if more.any():
        assert following[more].min() > following[~more].max()


def test_a_lane_that_is_full_leaves_the_rest_to_the_others() -> None:
    matrix = weights(5, 10)
    result = pruned(matrix, "balanced", sparsity=0.1, lanes=4)
    assert [np.count_nonzero(result[lane::4]) for lane in range(4)] == [15, 10, 10, 10]


def test_a_lane_of_zeros_takes_none_from_the_others() -> None:
    matrix = weights(8, 10)
    matrix[1::4] = 0
    result = pruned(matrix, "balanced", sparsity=0.5, lanes=4)
    assert [np.count_nonzero(result[lane::4]) for lane in range(4)] == [10, 0, 10, 10]


@pytest.mark.parametrize("sparsity", [0.1, 0.5, 0.77])
def test_rate_distortion_reaches_the_share_exactly(sparsity: float) -> None:
    matrix = weights(37, 53)
    result = pruned(matrix, "rate_distortion", sparsity=sparsity, weight_bits=4)
    assert np.count_nonzero(result == 0) == round(sparsity * matrix.size)


def test_rate_distortion_takes_first_what_becomes_zero_anyhow() -> None:
    matrix = weights(16, 64)
    rule = ResolvedRule(weight_bits=3)
    zeros = quantize(matrix, rule).codes == 0
    result = pruned(
        matrix, "rate_distortion", sparsity=np.count_nonzero(zeros) / matrix.size, weight_bits=3
    )
    np.testing.assert_array_equal(result == 0, zeros)


def test_rate_distortion_spends_bits_where_activations_are() -> None:
    matrix = weights(32, 64, 1)
    power = np.geomspace(0.01, 100, 64)
    rules = {
        "plain": ResolvedRule(prune_method="rate_distortion", sparsity=0.6),
        "power": ResolvedRule(prune_method="rate_distortion", sparsity=0.6),
        "size": ResolvedRule(prune_method="magnitude", sparsity=0.6),
    }
    results = prune(dict.fromkeys(rules, matrix), rules, {"power": power})

    def output_error(name: str) -> float:
        return float((((matrix - results[name]).astype(np.float64) ** 2) * power).sum())

    assert output_error("power") < 0.5 * output_error("size")
    assert output_error("power") < 0.5 * output_error("plain")


@pytest.mark.parametrize("target", [0.5, 1.5, 3.0])
def test_rate_distortion_reaches_bits(target: float) -> None:
    matrix = weights(64, 128, 2)
    result = pruned(matrix, "rate_distortion", target_bits=target, weight_bits=6)
    levels = np.bincount(
        np.abs(quantize(matrix, ResolvedRule(weight_bits=6)).codes)[result != 0], minlength=32
    ).astype(float)
    levels[0] = matrix.size - levels[1:].sum()
    share = levels[levels > 0] / matrix.size
    bits = -(share * np.log2(share)).sum() + levels[1:].sum() / matrix.size
    assert target - 0.1 < bits <= target


def test_pools_share_one_threshold() -> None:
    small, large = weights(8, 8) / 10, weights(8, 8)
    for method in ("magnitude", "rate_distortion"):
        rule = ResolvedRule(prune_method=method, sparsity=0.5, prune_scope="global")
        both = prune({"small": small, "large": large}, {"small": rule, "large": rule})
        zeros = {name: np.count_nonzero(matrix == 0) for name, matrix in both.items()}
        assert sum(zeros.values()) == 64
        assert zeros["small"] > zeros["large"]


def test_each_method_gets_its_own_matrices() -> None:
    matrix = weights(4, 8)
    rules = {
        "a": ResolvedRule(prune_method="n_m", n=1, m=4),
        "b": ResolvedRule(sparsity=0.25),
        "c": ResolvedRule(prune_method="block", sparsity=0.5, block=(1, 4)),
    }
    result = prune(dict.fromkeys(rules, matrix), rules)
    assert list(result) == ["a", "b", "c"]
    assert [int(np.count_nonzero(m == 0)) for m in result.values()] == [24, 8, 16]
