"""Fronts, hypervolumes and knees against their definitions."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from azsim.sweeps.pareto import (
    bends,
    crowding,
    hypervolume,
    hypervolume_share,
    knee,
    nondominated,
    ranks,
    reference_point,
)

MIN, MAX = "minimize", "maximize"


def dominates(left: np.ndarray, right: np.ndarray) -> bool:
    return bool((left <= right).all() and (left < right).any())


def plain_front(losses: np.ndarray) -> list[bool]:
    """The definition, point against point."""
    return [
        not np.isnan(point).any() and not any(dominates(other, point) for other in losses)
        for point in losses
    ]


def plain_volume(gains: np.ndarray) -> float:
    """Inclusion and exclusion over all subsets of boxes."""
    return sum(
        (-1) ** (size + 1) * float(gains[list(chosen)].min(axis=0).prod())
        for size in range(1, len(gains) + 1)
        for chosen in itertools.combinations(range(len(gains)), size)
    )


def whole_numbers(most_points: int, most_objectives: int) -> st.SearchStrategy[np.ndarray]:
    """Points with few different figures, so that ties and equal points are common."""
    return st.integers(1, most_objectives).flatmap(
        lambda k: st.lists(
            st.lists(st.integers(0, 5), min_size=k, max_size=k), min_size=1, max_size=most_points
        ).map(lambda rows: np.array(rows, np.float64))
    )


@given(whole_numbers(20, 4))
@settings(deadline=None, max_examples=200)
def test_a_front_is_what_its_definition_says(losses: np.ndarray) -> None:
    goals = [MIN] * losses.shape[1]
    assert nondominated(losses, goals).tolist() == plain_front(losses)


def test_goals_turn_an_objective_round_and_missing_figures_are_on_no_front() -> None:
    figures = np.array([[1, 5], [2, 9], [3, 7], [np.nan, 99], [0.5, 5], [2, 9]])
    found = nondominated(figures, [MIN, MAX])
    assert found.tolist() == [False, True, False, False, True, True]
    assert ranks(figures, [MIN, MAX]).tolist() == [1, 0, 1, -1, 0, 0]
    assert nondominated(np.zeros((0, 2)), [MIN, MIN]).shape == (0,)


@given(whole_numbers(15, 3))
@settings(deadline=None)
def test_a_rank_counts_the_longest_chain_of_points_that_dominate(losses: np.ndarray) -> None:
    found = ranks(losses, [MIN] * losses.shape[1])
    for point, rank in zip(losses, found, strict=True):
        above = [found[i] for i, other in enumerate(losses) if dominates(other, point)]
        assert rank == (max(above) + 1 if above else 0)


def test_crowding_is_the_distance_of_the_neighbours() -> None:
    figures = np.array([[0, 10], [4, 2], [1, 6], [10, 0]], np.float64)
    found = crowding(figures)
    assert found[[0, 3]].tolist() == [np.inf, np.inf]
    assert found[1] == pytest.approx((10 - 1) / 10 + (6 - 0) / 10)
    assert found[2] == pytest.approx((4 - 0) / 10 + (10 - 2) / 10)
    assert crowding(np.zeros((0, 2))).shape == (0,)


@given(whole_numbers(9, 5))
@settings(deadline=None, max_examples=150)
def test_a_hypervolume_is_that_of_inclusion_and_exclusion(gains: np.ndarray) -> None:
    k = gains.shape[1]
    # Figures above 4 are behind the reference and count nothing.
    found = hypervolume(gains, [MIN] * k, np.full(k, 4.0))
    inside = 4.0 - gains[(gains < 4).all(axis=1)]
    assert found == plain_volume(inside)


@pytest.mark.parametrize("k", [2, 3, 4, 5, 6])
def test_a_hypervolume_is_that_of_optuna(k: int) -> None:
    compute = pytest.importorskip("optuna._hypervolume").compute_hypervolume
    rng = np.random.default_rng(k)
    points = np.abs(rng.normal(size=(60, k)))
    points = 1 - points / np.linalg.norm(points, axis=1, keepdims=True)  # a front, all of it
    reference = np.full(k, 1.1)
    goals = [MIN] * k
    assert nondominated(points, goals).all()
    wanted = compute(points, reference)
    assert hypervolume(points, goals, reference) == pytest.approx(wanted, rel=1e-12)
    signs = np.where(np.arange(k) % 2, -1.0, 1.0)
    turned = [MAX if sign < 0 else MIN for sign in signs]
    assert hypervolume(points * signs, turned, reference * signs) == pytest.approx(wanted, rel=1e-9)


def test_a_hypervolume_is_the_share_of_random_points_that_are_dominated() -> None:
    rng = np.random.default_rng(1)
    gains = rng.random((30, 4))
    probes = rng.random((200_000, 4))
    dominated = np.zeros(len(probes), bool)
    for corner in gains:
        dominated |= (probes <= corner).all(axis=1)
    found = hypervolume(gains, [MAX] * 4, np.zeros(4))
    assert found == pytest.approx(dominated.mean(), abs=4 * 0.5 / np.sqrt(len(probes)))


def test_dominated_points_change_no_hypervolume_and_the_share_is_of_the_ideal_box() -> None:
    figures = np.array([[1, 4], [2, 2], [4, 1], [4, 4], [3, 3]], np.float64)
    reference = np.array([5.0, 5.0])
    goals = [MIN, MIN]
    whole = hypervolume(figures, goals, reference)
    assert whole == hypervolume(figures[:3], goals, reference) == 11.0
    assert hypervolume_share(figures, goals, reference) == whole / 16
    assert hypervolume_share(figures[:1], goals, reference) == 1.0
    assert hypervolume(figures, goals, np.array([1.0, 1.0])) == 0.0
    assert hypervolume_share(figures, goals, np.array([1.0, 1.0])) == 0.0


def test_the_reference_lies_one_percent_behind_the_worst_point() -> None:
    figures = np.array([[1, 10], [3, 30], [2, np.nan]])
    found = reference_point(figures, [MIN, MAX])
    assert found == pytest.approx([3 + 0.02, 10 - 0.2])
    assert reference_point(np.array([[5.0, 0.0]]), [MIN, MIN]) == pytest.approx([5.05, 1.0])
    assert np.isnan(reference_point(np.zeros((0, 2)), [MIN, MIN])).all()
    front = figures[nondominated(figures, [MIN, MAX])]
    for point in front:  # a point that is worst in something counts too
        assert hypervolume(point[None], [MIN, MAX], found) > 0


def test_the_knee_of_a_hyperbola_is_where_its_slope_is_the_chords() -> None:
    x = np.linspace(1, 10, 91)
    figures = np.stack([x, 10 / x], axis=1)
    found = knee(figures, [MIN, MIN])
    # On axes scaled by the same 9 the chord's slope is -1: 10 / x**2 = 1.
    assert found == int(np.argmin(np.abs(x - np.sqrt(10))))
    turned = figures * [1e-6, -1e6]
    assert knee(turned, [MIN, MAX]) == found
    distance = bends(figures, [MIN, MIN])
    assert distance[[0, -1]] == pytest.approx([0, 0])
    assert distance.argmax() == found


def test_the_knee_in_three_dimensions_is_the_corner_of_a_cube() -> None:
    figures = np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0], [0.2, 0.2, 0.2], [0.7, 0.1, 0.5]])
    assert knee(figures, [MIN] * 3) == 3
    # The plane is x + y + z = 2.
    assert bends(figures, [MIN] * 3)[3] == pytest.approx((2 - 0.6) / np.sqrt(3))


def test_extremes_that_span_no_plane_have_one_of_equal_slopes_through_their_centre() -> None:
    # The second point is best in two objectives: (0, 1, 1), (1, 0, 0), (1, 0, 0).
    figures = np.array([[0, 1, 1], [1, 0, 0], [0.1, 0.2, 0.3], [0.5, 0.4, 0.5]])
    assert knee(figures, [MIN] * 3) == 2
    distance = bends(figures, [MIN] * 3)
    assert distance == pytest.approx((4 / 3 - figures.sum(axis=1)) / np.sqrt(3))


def test_a_point_that_is_best_in_much_and_worst_in_the_rest_is_no_knee() -> None:
    figures = np.array([[1, 0, 0, 0], [0, 1, 1, 1], [0.3, 0.3, 0.3, 0.4], [0.5, 0.2, 0.3, 0.4]])
    assert bends(figures, [MIN] * 4).argmax() == 0
    assert knee(figures, [MIN] * 4) == 2


@pytest.mark.parametrize(
    "figures",
    [
        pytest.param([[0, 1], [1, 0]], id="two points"),
        pytest.param([[0, 1], [1, 0], [0, 1]], id="two different points"),
        pytest.param([[0, 2], [1, 1], [2, 0]], id="a straight line"),
        pytest.param([[0, 3], [2.5, 2.5], [3, 0]], id="bent outwards"),
        pytest.param([[1, 1], [2, 2], [3, 3]], id="one point that is best in everything"),
    ],
)
def test_a_front_that_does_not_bend_has_no_knee(figures: list[list[float]]) -> None:
    assert knee(np.array(figures, np.float64), [MIN, MIN]) is None
