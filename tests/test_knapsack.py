"""The choice of what stays: against every choice there is, and against an exact solver."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.optimize import Bounds, LinearConstraint, milp

from azsim.compiler.knapsack import KEPT, KEPT_IN_PHASE, Things, choose_kept, fits, saved


def _things(seed: int, count: int, phases: int, frames: int) -> tuple[Things, int, float]:
    """Random tiles as residency sees them, the room, and the traffic if nothing stays."""
    rng = np.random.default_rng(seed)
    size = 64 * rng.integers(1, 40, count)
    block = size * rng.uniform(0.2, 1.1, count)
    phase = rng.integers(-1, phases, count)
    rounds = np.where(phase >= 0, rng.integers(2, 20, count), rng.integers(1, 3, count))
    saves = block * (rounds * frames - 1)
    in_phase = np.where(phase >= 0, block * (rounds - 1) * frames, 0.0)
    room = int(size.sum() * rng.uniform(0.1, 0.9))
    return Things(size, saves, in_phase, phase), room, float((block * rounds * frames).sum())


def _best_of_all(things: Things, room: int) -> float:
    count = things.size.size
    options = [(0, 1, 2) if phase >= 0 else (0, 2) for phase in things.phase]
    choices = (np.array(choice) for choice in itertools.product(*options))
    assert count <= 8
    return max(saved(things, choice) for choice in choices if fits(things, choice, room))


def _exact(things: Things, room: int) -> float:
    """Most that can be saved: keep for good (first half) or in the phase (second half)."""
    count = things.size.size
    eye = np.eye(count)
    rows = [np.hstack([eye, eye])]
    limits = [np.ones(count)]
    for phase in {-1, *things.phase.tolist()}:
        own = (things.phase == phase) & (phase >= 0)
        rows.append(np.hstack([things.size, np.where(own, things.size, 0)])[None])
        limits.append(np.array([room]))
    most = np.concatenate([np.ones(count), (things.phase >= 0).astype(float)])
    found = milp(
        -np.concatenate([things.saves, things.saves_in_phase]),
        constraints=LinearConstraint(
            np.vstack(rows),
            -np.inf,
            np.concatenate(limits),  # pyright: ignore[reportArgumentType]
        ),
        integrality=np.ones(2 * count),
        bounds=Bounds(np.zeros(2 * count), most),  # pyright: ignore[reportArgumentType]
        options={"mip_rel_gap": 1e-6},
    )
    assert found.success
    return -float(found.fun)


@pytest.mark.parametrize("phases", [0, 1, 2])
@pytest.mark.parametrize("seed", range(15))
def test_few_things_are_chosen_as_well_as_can_be(seed: int, phases: int) -> None:
    for frames in (1, 7):
        things, room, _ = _things(seed, 3 + seed % 6, phases, frames)
        choice = choose_kept(things, room)
        assert fits(things, choice, room)
        assert saved(things, choice) == pytest.approx(_best_of_all(things, room), rel=1e-9)


@pytest.mark.parametrize("phases", [0, 1, 3])
@pytest.mark.parametrize("seed", range(12))
def test_traffic_is_within_two_percent_of_an_exact_solver(seed: int, phases: int) -> None:
    for frames in (1, 50):
        things, room, streamed = _things(100 + seed, 20 + 5 * seed, phases, frames)
        choice = choose_kept(things, room)
        assert fits(things, choice, room)
        best = streamed - _exact(things, room)
        assert streamed - saved(things, choice) <= 1.02 * best


def test_many_things_are_taken_by_what_they_save_per_byte() -> None:
    things, room, streamed = _things(0, 3_000, 0, 10)
    assert things.size.size * room // 64 > 1 << 22  # more than a table is made for
    choice = choose_kept(things, room)
    assert fits(things, choice, room)
    order = np.argsort(-things.saves / things.size)
    before = np.cumsum(things.size[order]) - things.size[order]
    share = np.clip((room - before) / things.size[order], 0, 1)
    best = streamed - float((share * things.saves[order]).sum())  # the last one in part
    assert streamed - saved(things, choice) <= 1.002 * best


def test_a_quick_look_keeps_what_the_prices_leave_open() -> None:
    """Tiles of one size that save the same: no price tells them apart."""
    count, phases = 30, 3
    size = np.full(count, 3840)
    saves = np.full(count, 150_000.0)
    things = Things(size, saves, saves, np.arange(count) % phases)
    choice = choose_kept(things, 4 * 3840 + 100, 50_000)
    assert saved(things, choice) == 4 * phases * 150_000.0


def test_what_belongs_to_one_phase_shares_its_room_with_other_phases() -> None:
    size, phase = np.array([64, 64, 64]), np.array([0, 1, -1])
    things = Things(size, np.array([100.0, 100, 30]), np.array([90.0, 90, 0]), phase)
    assert choose_kept(things, 64).tolist() == [KEPT_IN_PHASE, KEPT_IN_PHASE, 0]
    assert choose_kept(things, 128).tolist() == [KEPT, KEPT_IN_PHASE, 0] or saved(
        things, choose_kept(things, 128)
    ) == pytest.approx(210)


def test_nothing_is_kept_where_there_is_no_room() -> None:
    things = Things(np.array([64]), np.array([1.0]), np.array([0.0]), np.array([-1]))
    assert choose_kept(things, 0).tolist() == [0]
    assert choose_kept(things, 63).tolist() == [0]
