"""Main effects of axes on objectives, against closed forms."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from azsim.sweeps.sensitivity import axis_effects, find_levels


def grid(*axes: list) -> list[list]:
    """Columns of the full grid."""
    return [list(column) for column in zip(*itertools.product(*axes), strict=True)]


def test_a_sum_on_a_grid_splits_its_variance_by_the_axes() -> None:
    a, b, c = grid([0, 1, 2, 3], [10, 20], ["x", "y", "z"])
    figures = np.array([[3.0 * left + right] for left, right in zip(a, b, strict=True)])
    effects = axis_effects({"a": a, "b": b, "c": c}, figures, ["sum"])
    assert [effect.axis for effect in effects] == ["b", "a", "c"]
    by_axis = {effect.axis: effect for effect in effects}
    of_a, of_b = np.var([0, 3, 6, 9]), np.var([10, 20])
    assert by_axis["a"].share == pytest.approx(of_a / (of_a + of_b), rel=1e-12)
    assert by_axis["b"].share == pytest.approx(of_b / (of_a + of_b), rel=1e-12)
    assert by_axis["c"].share == pytest.approx(0.0, abs=1e-12)
    assert by_axis["a"].change == pytest.approx(9.0)
    assert (by_axis["a"].low, by_axis["a"].high) == ("0", "3")
    assert by_axis["c"].change == pytest.approx(0.0)
    assert {effect.estimator for effect in effects} == {"grid"}
    assert {effect.points for effect in effects} == {24}


def test_a_product_of_signs_is_interaction_alone() -> None:
    a, b = grid([-1, 1], [-1, 1])
    figures = np.array([[x * y] for x, y in zip(a, b, strict=True)], np.float64)
    effects = axis_effects({"a": a, "b": b}, figures, ["product"])
    assert [effect.share for effect in effects] == [0.0, 0.0]


def test_the_share_on_a_grid_is_the_sobol_index_of_ishigamis_function() -> None:
    # x3 alone moves nothing on average, and yet interacts with x1.
    middles = [float(-np.pi + (2 * n + 1) * np.pi / 12) for n in range(12)]
    columns = grid(middles, middles, middles)
    x1, x2, x3 = (np.array(column) for column in columns)
    figures = (np.sin(x1) + 7 * np.sin(x2) ** 2 + 0.1 * x3**4 * np.sin(x1))[:, None]
    effects = axis_effects(dict(zip(["x1", "x2", "x3"], columns, strict=True)), figures, ["y"])
    shares = {effect.axis: effect.share for effect in effects}
    # The closed form for the continuous function: 0.3139, 0.4424, 0; 12 levels come near.
    assert shares["x1"] == pytest.approx(0.3139, abs=0.02)
    assert shares["x2"] == pytest.approx(0.4424, abs=0.02)
    assert shares["x3"] == pytest.approx(0.0, abs=1e-12)


def test_a_random_sample_is_binned_and_noise_has_no_share() -> None:
    rng = np.random.default_rng(0)
    a, noise = rng.random(2000), rng.random(2000)
    figures = (10 * a)[:, None]
    axes = {"a": a.tolist(), "noise": noise.tolist()}
    found = {effect.axis: effect for effect in axis_effects(axes, figures, ["y"])}
    assert found["a"].estimator == "sample"
    assert found["a"].levels == 8
    assert found["a"].share == pytest.approx(1 - 1 / 64, abs=0.005)  # the rest is within bins
    assert found["noise"].share == pytest.approx(0.0, abs=0.01)
    assert found["a"].change == pytest.approx(10 * 7 / 8, abs=0.3)
    assert found["a"].low.startswith("0.00")
    assert " to 0.12" in found["a"].low


def test_a_grid_with_a_hole_is_a_sample() -> None:
    a, b = grid([1, 2, 3], [1, 2, 3])
    figures = np.array([[float(value)] for value in a])
    figures[4] = np.nan
    found = axis_effects({"a": a, "b": b}, figures, ["y"])
    assert {effect.estimator for effect in found} == {"sample"}
    assert {effect.points for effect in found} == {8}
    assert found[0].share == pytest.approx(1.0)


def test_names_compare_the_level_with_the_lowest_mean_and_that_with_the_highest() -> None:
    axes = {"codec": ["raw", "tans", "bitmap", "raw", "tans", "bitmap"]}
    figures = np.array([[9, 1, 5, 9, 1, 5]], np.float64).T
    (effect,) = axis_effects(axes, figures, ["size"])
    assert (effect.low, effect.high, effect.change) == ("tans", "raw", 8.0)
    assert effect.share == pytest.approx(1.0)


def test_an_axis_that_is_not_there_everywhere_is_judged_where_it_is() -> None:
    bits = [3, 4, 3, 4, 8, 8]
    palette = [16, 16, 8, 8, None, None]
    figures = np.array([[4.0], [4.0], [2.0], [2.0], [90.0], [90.0]])
    found = axis_effects({"bits": bits, "palette": palette}, figures, ["y"])
    effect = next(effect for effect in found if effect.axis == "palette")
    assert (effect.low, effect.high, effect.change) == ("8", "16", 2.0)
    assert (effect.share, effect.points, effect.estimator) == (1.0, 4, "sample")


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([True, False, True], ("true", "false")),
        ([[1, 2], [1, 2], {"b": 1, "a": 2}], ("[1, 2]", '{"a": 2, "b": 1}')),
        ([2.5e8, 5e8, 10], ("10", "2.5e+08", "5e+08")),
        (["b", "a"], ("b", "a")),
        ([], ()),
    ],
)
def test_levels_of_any_values(values: list, labels: tuple[str, ...]) -> None:
    assert find_levels(values).labels == labels


@pytest.mark.parametrize(
    ("values", "figures", "why"),
    [
        ([1, 1, 1], [1, 2, 3], "one level"),
        ([1, 2, 3], [0.1 + 0.2, 0.3, 0.3], "nothing varies but rounding"),
        ([1, 2, 4], [np.nan, 5, np.nan], "one point"),
        ([1, 2], [np.nan, np.nan], "no point"),
    ],
)
def test_without_variance_there_is_no_share(values: list, figures: list, why: str) -> None:
    (effect,) = axis_effects({"a": values}, np.array(figures, np.float64)[:, None], ["y"])
    assert effect.share is None, why
