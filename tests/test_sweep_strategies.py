"""Strategies: what they ask for, that it depends on nothing else, and how well they search."""

# ruff: noqa: E501

from __future__ import annotations

import itertools
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from azsim.errors import ConfigError, InputError
from azsim.sweeps.pareto import hypervolume, nondominated, reference_point
from azsim.sweeps.point import point_of
from azsim.sweeps.space import Design, Sweep, Trial, key_of
from azsim.sweeps.strategies import size_of, start, strategies
from azsim.sweeps.strategies.grid import points
from azsim.sweeps.sweep_file import load_sweep

Figures = Mapping[str, float | None] | None

_SPACE = """name: s
workload: lstm_cell
axes:
  lanes: {path: hardware.mac.lanes, values: [16, 32, 64]}
  per_lane: {path: hardware.mac.macs_per_lane, values: [2, 4, 8]}
  skip: {path: hardware.mac.zero_skip, values: [none, weights]}
  window: {path: hardware.mac.window, values: [8, 16, 32], when: skip == 'weights'}
  clock: {path: hardware.clock_hz, log_range: {from: 100_000_000, to: 800_000_000, count: 8}}
constraints: [lanes * per_lane <= 256]
objectives:
  latency: {key: latency_s, unit: s}
  speed: {key: clock, goal: maximize}
"""
_ALL = {
    "grid": "{}",
    "random": "{points: 60, seed: 3}",
    "latin_hypercube": "{points: 60, seed: 3}",
    "nsga2": "{evaluations: 60, population: 10, seed: 3}",
    "tpe": "{evaluations: 60, batch: 10, startup: 20, seed: 3}",
    "successive": "{points: 60, seed: 3, rungs: [{set: [workload.input.random.frames=2], "
    "keep: 0.25}, {set: [workload.input.random.frames=3], keep: 0.5}, {}]}",
}


def sweep_of(folder: Path, strategy: str, options: str = "", text: str = _SPACE) -> Sweep:
    path = folder / f"{strategy}.yaml"
    path.write_text(f"{text}strategy: {{{strategy}: {options or _ALL[strategy]}}}\n", "utf-8")
    return load_sweep(path)


def figures_of(trial: Trial) -> Figures:
    """Stand in for a run; every seventh point fails, some have no figure."""
    design = trial.design
    if hash_of(design) % 7 == 0:
        return None
    size = design["lanes"] * design["per_lane"] * design.get("window", 4)
    latency = None if hash_of(design) % 11 == 0 else 1e12 / design["clock"] / size
    return {"latency": latency, "speed": float(design["clock"]) - size}


def hash_of(design: Design) -> int:
    return sum(key_of(design).encode())


def driven(sweep: Sweep, evaluate: Callable[[Trial], Figures] = figures_of) -> list[list[Trial]]:
    """Batches of a strategy that is told what `evaluate` says."""
    strategy, batches = start(sweep), []
    while batch := strategy.ask():
        batches.append(batch)
        for trial in batch:
            strategy.tell(trial, evaluate(trial))
    assert strategy.ask() == []
    return batches


def test_every_strategy_is_tried_here() -> None:
    assert set(_ALL) == set(strategies())


@pytest.mark.parametrize("name", _ALL)
def test_what_is_asked_for(tmp_path: Path, name: str) -> None:
    sweep = sweep_of(tmp_path, name)
    batches = driven(sweep)
    trials = list(itertools.chain(*batches))
    grid = {key_of(trial.design) for trial in points(sweep)}
    # Of the space, numbered in order, no design twice on a rung, no more than was said.
    assert {key_of(trial.design) for trial in trials} <= grid
    assert [trial.number for trial in trials] == list(range(len(trials)))
    assert max(Counter((t.rung, key_of(t.design)) for t in trials).values()) == 1
    assert 0 < len(trials) <= size_of(sweep)
    # The same when asked again, as a sweep that is resumed does.
    assert driven(sweep) == batches


@pytest.mark.parametrize("name", ["random", "latin_hypercube", "nsga2", "tpe"])
def test_another_seed_is_another_sample_and_a_large_one_is_all(tmp_path: Path, name: str) -> None:
    text = _SPACE.replace("count: 8", "count: 2")

    def asked(options: str) -> list[str]:
        batches = driven(sweep_of(tmp_path, name, options, text))
        return [key_of(trial.design) for trial in itertools.chain(*batches)]

    number = "points" if name in ("random", "latin_hypercube") else "evaluations"
    assert asked(f"{{{number}: 30, seed: 1}}") != asked(f"{{{number}: 30, seed: 2}}")
    every = [key_of(trial.design) for trial in points(sweep_of(tmp_path, "grid", "{}", text))]
    assert sorted(asked(f"{{{number}: 100}}")) == sorted(every)


def test_a_large_space_is_drawn_from_without_a_list_of_it(tmp_path: Path) -> None:
    more = "  latency_ns: {path: hardware.dram.latency_ns, range: {from: 0, to: 99, step: 1}}\n"
    text = _SPACE.replace("count: 8}}\n", "count: 100}}\n" + more)
    found = driven(sweep_of(tmp_path, "random", "{points: 300}", text))
    assert [len(batch) for batch in found] == [300]
    assert len({key_of(trial.design) for trial in found[0]}) == 300


def test_a_hypercube_meets_every_value_equally_often(tmp_path: Path) -> None:
    text = _SPACE.replace("constraints: [lanes * per_lane <= 256]\n", "")
    text = text.replace(", when: skip == 'weights'", "")
    sweep = sweep_of(tmp_path, "latin_hypercube", "{points: 24}", text)
    (batch,) = driven(sweep)
    for axis in sweep.axes:
        counts = Counter(trial.design[axis.name] for trial in batch)
        assert set(counts.values()) == {24 // len(axis.values)}


def test_the_best_of_a_rung_go_on(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, "successive")
    first, second, third = driven(sweep)
    assert [len(first), len(second), len(third)] == [60, 15, 8]
    assert size_of(sweep) == 83
    goals = [objective.goal for objective in sweep.objectives]
    told = [(trial, figures_of(trial)) for trial in first]
    whole = {t.number: list(f.values()) for t, f in told if f and None not in f.values()}
    rows = np.array(list(whole.values()), float)
    front = np.array(list(whole))[nondominated(rows, goals)]
    kept = [key_of(trial.design) for trial in second]
    for trial in first:
        if trial.number in front:
            assert key_of(trial.design) in kept  # 15 places are enough for all of it
        if trial.number not in whole:
            assert key_of(trial.design) not in kept
    frames = [point_of(sweep, batch[0]).workload.input for batch in (first, second, third)]
    assert [spec.random.frames for spec in frames] == [2, 3, 16]  # pyright: ignore[reportAttributeAccessIssue]


def test_rungs_are_checked(tmp_path: Path) -> None:
    options = (
        "{rungs: [{set: [hardware.clock_hz=1, frames=3]}, "
        "{set: [workload.input.random.framez=3], keep: 0.5}]}"
    )
    with pytest.raises(ConfigError) as caught:
        sweep_of(tmp_path, "successive", options)
    place = f"{tmp_path}/successive.yaml:13"
    assert [one.partition(", did")[0] for one in caught.value.problems] == [
        (
            f"{place}:33: $.strategy.successive.rungs[0].keep: missing key; the share that goes on to "
            "the next rung"
        ),
        (
            f"{place}:40: $.strategy.successive.rungs[0].set[0]: hardware.clock_hz: out of range, "
            "found 1, allowed: an integer from 1000 to 100000000000"
        ),
        (
            f"{place}:40: $.strategy.successive.rungs[0].set[0]: overwrites the axis 'clock', found "
            "'hardware.clock_hz=1'"
        ),
        (
            f"{place}:61: $.strategy.successive.rungs[0].set[1]: not an override, found 'frames=3', "
            "allowed: workload.PATH=VALUE, hardware.PATH=VALUE, scheme.PATH=VALUE"
        ),
        (
            f"{place}:80: $.strategy.successive.rungs[1].set[0]: workload.input.random.framez: unknown "
            "key 'framez'"
        ),
        (
            f"{place}:119: $.strategy.successive.rungs[1].keep: nothing comes after the last rung, "
            "found 0.5"
        ),
    ]


def test_options_are_checked(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        sweep_of(tmp_path, "nsga2", "{evaluations: 0, popultion: 3}")
    assert [one.partition(": $.")[2] for one in caught.value.problems] == [
        "strategy.nsga2.evaluations: out of range, found 0, allowed: an integer from 1 to 1000000",
        (
            "strategy.nsga2.popultion: unknown key 'popultion', did you mean 'population'? allowed: "
            "'evaluations', 'population', 'neighbours', 'seed'"
        ),
    ]


@pytest.mark.parametrize("name", ["nsga2", "tpe"])
def test_a_missing_package_is_named(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(InputError) as caught:
        start(sweep_of(tmp_path, name))
    assert str(caught.value) == (
        "this strategy needs the package optuna; pip install 'azsim[search]'"
    )


# ------------------------------------------------------------------------------ search quality

_LARGE = """name: s
workload: gemm
axes:
  x: {path: hardware.clock_hz, range: {from: 1000, to: 20000, count: 20}}
  a: {path: hardware.dram.latency_ns, range: {from: 0, to: 9, count: 10}}
  b: {path: hardware.mac.queue_depth, range: {from: 1, to: 10, count: 10}}
  c: {path: hardware.vector.lanes, range: {from: 1, to: 10, count: 10}}
objectives:
  first: {key: x}
  second: {key: latency_s, unit: s}
"""
_SHARE = 0.98
_MOST = 1_000  # 5 % of the space


def hard(trial: Trial) -> Figures:
    """ZDT2-like: a concave front of 20 of 20,000 designs, and a ripple around it.

    Source: E. Zitzler, K. Deb and L. Thiele, "Comparison of multiobjective evolutionary
    algorithms", Evolutionary Computation 8(2), 2000.
    """
    design = trial.design
    x = (design["x"] - 1000) / 19_000
    away = abs(design["a"] - 3) + abs(design["b"] - 8) + abs(design["c"] - 5)
    ripple = 1.5 if (design["a"] + design["b"] + design["c"]) % 2 else 0
    g = 1 + 0.3 * (away + ripple)
    return {"first": x, "second": g * (1 - (x / g) ** 2)}


@pytest.fixture(scope="module")
def exhaustive(tmp_path_factory: pytest.TempPathFactory) -> tuple[np.ndarray, float]:
    """Reference point and hypervolume of all 20,000 points."""
    sweep = sweep_of(tmp_path_factory.mktemp("all"), "grid", "{}", _LARGE)
    rows = _rows(list(points(sweep)))
    assert rows.shape == (20_000, 2)
    # Behind the worst of the front, not of all points: this leaves no credit for being far away.
    reference = reference_point(rows[nondominated(rows, _goals(2))], _goals(2))
    return reference, hypervolume(rows, _goals(2), reference)


def _goals(count: int) -> list[str]:
    return ["minimize"] * count


def _rows(trials: list[Trial]) -> np.ndarray:
    return np.array([list((hard(trial) or {}).values()) for trial in trials], float)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_nsga2_finds_the_front_with_a_twentieth_of_the_evaluations(
    tmp_path: Path, exhaustive: tuple[np.ndarray, float], seed: int
) -> None:
    reference, whole = exhaustive
    sweep = sweep_of(tmp_path, "nsga2", f"{{evaluations: {_MOST}, seed: {seed}}}", _LARGE)
    strategy, trials, share = start(sweep), [], 0.0
    while share < _SHARE and (batch := strategy.ask()):
        for trial in batch:
            strategy.tell(trial, hard(trial))
        trials += batch
        share = hypervolume(_rows(trials), _goals(2), reference) / whole
    assert share >= _SHARE
    assert len(trials) <= _MOST
    # Random designs of that number are far from it.
    other = sweep_of(tmp_path, "random", f"{{points: {_MOST}, seed: {seed}}}", _LARGE)
    drawn = list(itertools.chain(*driven(other, hard)))
    assert hypervolume(_rows(drawn), _goals(2), reference) / whole < 0.6
