"""Row arithmetic: kernels against the plain definitions bit for bit, and both against float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from azsim import arith

pytestmark = pytest.mark.kernels

F = np.float32
SHAPES = st.tuples(st.integers(1, 5), st.integers(1, 40))
ANY = hnp.arrays(F, SHAPES, elements=st.floats(width=32))
FINITE = hnp.arrays(F, SHAPES, elements=st.floats(-100, 100, width=32))
REDUCTIONS = ("sum", "mean", "max", "min")


def same(found: np.ndarray, wanted: np.ndarray) -> bool:
    """Equal as bits, any NaN being one."""
    assert found.dtype == wanted.dtype
    if found.dtype == F:
        nan = np.isnan(found)
        words = found.view(np.uint32), np.ascontiguousarray(wanted).view(np.uint32)
        return bool((nan == np.isnan(wanted)).all() and (words[0] == words[1])[~nan].all())
    return np.array_equal(found, wanted)


@given(ANY)
def test_reductions(x: np.ndarray) -> None:
    assert tuple(arith.REDUCE_FUNCTIONS) == REDUCTIONS
    for number, name in enumerate(REDUCTIONS):
        out = np.empty(len(x), F)
        arith.reduce_kernel(number, x, out)
        with np.errstate(all="ignore"):
            assert same(out, arith.REDUCE_FUNCTIONS[name](x)), name


@given(ANY)
def test_positions_of_largest_and_smallest(x: np.ndarray) -> None:
    for name, function in arith.ARG_FUNCTIONS.items():
        out = np.empty(len(x), np.int32)
        arith.arg_kernel(name == "max", x, out)
        assert same(out, function(x))
    if not np.isnan(x).any():
        assert (arith.ARG_FUNCTIONS["max"](x) == x.argmax(axis=1)).all()
        assert (arith.ARG_FUNCTIONS["min"](x) == x.argmin(axis=1)).all()


@given(ANY)
def test_softmax_kernel(x: np.ndarray) -> None:
    out = np.empty_like(x)
    arith.softmax_kernel(x, out)
    assert same(out, arith.softmax(x))


@given(FINITE)
def test_softmax_is_near_the_exact_one(x: np.ndarray) -> None:
    wide = np.exp(x.astype(np.float64) - x.max(axis=1, keepdims=True))
    wide /= wide.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(arith.softmax(x), wide, rtol=3e-6, atol=1e-30)


@given(FINITE, st.integers(0, 2**32 - 1), st.booleans())
def test_norms(x: np.ndarray, seed: int, use_bias: bool) -> None:
    rng = np.random.default_rng(seed)
    scale, bias = rng.standard_normal((2, x.shape[1])).astype(F)
    eps = F(1e-5)
    for name, function in arith.NORM_FUNCTIONS.items():
        out = np.empty_like(x)
        is_layer = name == "layer_norm"
        arith.norm_kernel(is_layer, x, scale, bias, use_bias, eps, out)
        plain = function(x, scale, bias if use_bias else None, float(eps))
        assert same(out, plain)
        wide = x.astype(np.float64)
        wide = wide - wide.mean(axis=1, keepdims=True) if is_layer else wide
        root = np.sqrt((wide**2).mean(axis=1, keepdims=True) + float(eps))
        wanted = wide / root * scale + (bias if use_bias else 0)
        # What the subtraction of the mean loses is relative to the largest magnitude.
        loss = np.abs(x).max() / root.min() * 1e-6
        np.testing.assert_allclose(out, wanted, rtol=1e-5, atol=1e-5 + 3 * loss)


@given(ANY, st.integers(0, 2**32 - 1))
def test_recurrences(x: np.ndarray, seed: int) -> None:
    rng = np.random.default_rng(seed)
    a = rng.uniform(-1, 1, x.shape).astype(F)
    initial = rng.standard_normal(x.shape[1]).astype(F)
    out = np.empty_like(x)
    arith.scan_kernel(a, x, initial, out)
    assert same(out, arith.scan(a, x, initial))
    arith.cumulative_sum_kernel(x, out)
    assert same(out, arith.cumulative_sum(x))


def test_a_scan_goes_on_where_another_ended() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.standard_normal((2, 9, 4)).astype(F)
    whole = arith.scan(a, b, np.zeros(4, F))
    first = arith.scan(a[:5], b[:5], np.zeros(4, F))
    assert same(np.concatenate([first, arith.scan(a[5:], b[5:], first[-1])]), whole)


@given(ANY, st.data())
def test_top_k(x: np.ndarray, data: st.DataObject) -> None:
    k = data.draw(st.integers(1, x.shape[1]))
    values, indices = np.empty((len(x), k), F), np.empty((len(x), k), np.int32)
    arith.top_k_kernel(x, values, indices)
    plain = arith.top_k(x, k)
    assert same(indices, plain[1])
    assert same(values, plain[0])
    assert all(len(set(row)) == k for row in indices.tolist())
    if not np.isnan(x).any():
        assert (-np.sort(-x, axis=1)[:, :k] == values).all()


@given(hnp.arrays(np.int32, SHAPES), st.integers(1, 2**31))
def test_hashes(x: np.ndarray, buckets: int) -> None:
    out = np.empty(len(x), np.int32)
    arith.hash_kernel(x, buckets, out)
    assert same(out, arith.hash_rows(x, buckets))
    assert (out.view(np.uint32).astype(np.int64) < buckets).all()


def test_a_hash_by_hand() -> None:
    """FNV-1a of one word and MurmurHash3's finalizer, with Python's integers."""
    state = ((2166136261 ^ 7) * 16777619) % 2**32
    state = ((state ^ state >> 16) * 0x85EBCA6B) % 2**32
    state = ((state ^ state >> 13) * 0xC2B2AE35) % 2**32
    state ^= state >> 16
    assert arith.hash_rows(np.array([[7]], np.int32), 1000)[0] == state % 1000


def test_hashes_spread_evenly() -> None:
    words = np.arange(20_000, dtype=np.int32).reshape(-1, 2)
    counts = np.bincount(arith.hash_rows(words, 16), minlength=16)
    assert abs(counts - 625).max() < 5 * math.sqrt(625)


@pytest.mark.parametrize(
    ("number", "wanted"),
    [
        (0.5, 0),
        (1.5, 2),
        (-2.5, -2),
        (math.nan, 0),
        (math.inf, 2**31 - 1),
        (-math.inf, -(2**31)),
        (3e9, 2**31 - 1),
        (2147483520.0, 2147483520),
    ],
)
def test_conversion_to_integers(number: float, wanted: int) -> None:
    assert arith.to_integer(np.array([[number]], F))[0, 0] == wanted


def test_conversion_to_floats_rounds_half_to_even() -> None:
    assert arith.to_float(np.array([2**24 + 1, 2**24 + 3], np.int32)).tolist() == [2**24, 2**24 + 4]


def test_the_order_of_a_sum_is_a_tree() -> None:
    one, tiny = F(1), F(2**-24)
    row = np.array([[one, tiny, tiny, tiny, tiny]], F)
    pairs = (row[0, 0] + row[0, 1]) + (row[0, 2] + row[0, 3])
    assert arith.tree_sum(row)[0] == pairs + row[0, 4]
    assert arith.tree_sum(np.zeros((2, 0), F)).tolist() == [0, 0]
