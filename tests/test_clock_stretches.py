"""The clock goes by stretches of bursts; the same rules applied burst by burst give the same."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import pytest

import plain_clock
from azsim.machine.engines.clock import run_clock
from azsim.sim import timing as timing_module
from azsim.sim.timing import Timing, replay
from compiled import (
    MIXED_STATE,
    Ran,
    chip,
    execute_graph,
    frames_for,
    mixed_graph,
    pruned,
    with_codec,
)
from graphs import compress

pytestmark = pytest.mark.kernels

WEIGHT, LOAD, STORE, FENCE = 0, 1, 2, 5
SMALL = {"weight_sram__bytes": 2048, "mac__lanes": 8, "dram__burst_bytes": 32}


def _blocks(rng: np.random.Generator, count: int, burst_cycles: float) -> np.ndarray:
    """What a decoder as fast as the bus, slower or faster, might make of a block's bursts."""
    pace = burst_cycles * rng.choice([0.2, 0.7, 1.0, 1.4, 3.0])
    left = np.cumsum(rng.integers(0, 2 * int(pace) + 2, count))
    by_end = np.clip(left - rng.integers(0, 3 * int(pace) + 3, count), 0, None)
    slack = np.clip(by_end - rng.integers(0, 3 * int(pace) + 3, count), 0, None)
    hold = rng.integers(0, rng.choice([1, 5, 30]) + 1, count)
    ordered = (np.sort(column) for column in (left, by_end, slack))
    return np.stack([*ordered, hold], axis=1).astype(np.int64)


def _dram(rng: np.random.Generator, ticks: int) -> np.ndarray:
    every = int(rng.choice([0, 97, 400, 2000]))
    return np.array(
        [
            rng.integers(1, 12),  # burst
            rng.integers(0, 40),  # latency
            rng.choice([1, 2, 8, 40]),  # outstanding
            rng.choice([1, 2, 8, 40]),  # FIFO
            rng.choice([1, 3, 8, 32]),  # bursts a row
            rng.integers(0, 20),  # row miss
            every * ticks,
            rng.integers(0, 60) if every else 0,  # refresh
            rng.choice([1, 2, 8]),  # banks
        ],
        np.int64,
    )


def _instructions(rng: np.random.Generator, ticks: int, dram: np.ndarray, weights: float) -> tuple:
    """Arguments of `run_clock`: loads of a few blocks again and again, and other work."""
    count = int(rng.integers(5, 60))
    others = (1 - weights) / 5
    engine = rng.choice(6, count, p=[weights, *5 * [others]]).astype(np.int64)
    num_blocks = int(rng.integers(1, 5))
    sizes = rng.integers(1, 150, num_blocks)
    begins = np.concatenate([[0], np.cumsum(sizes)])
    blocks = np.concatenate([_blocks(rng, int(n), dram[0] / ticks) for n in sizes])
    which = rng.integers(0, num_blocks, count)
    places = rng.integers(0, 1000, num_blocks)
    first, bursts, at = (np.zeros(count, np.int64) for _ in range(3))
    loads = engine == WEIGHT
    # A block lies where it lies, but for some that have a twin elsewhere.
    moved = rng.integers(0, 3, count) * (rng.random(count) < 0.1)
    first[loads] = (places[which] + moved)[loads]
    bursts[loads], at[loads] = sizes[which][loads], begins[which][loads]
    transfers = (engine == LOAD) | (engine == STORE)
    first[transfers] = rng.integers(0, 1000, transfers.sum())
    bursts[transfers] = rng.integers(1, 60, transfers.sum())
    targets = np.zeros((count, 5), np.int64)
    issued = np.zeros(6, np.int64)
    for i in range(count):
        wait = rng.integers(1, 4, 5) * (rng.random(5) < 0.15)
        if engine[i] != FENCE:
            targets[i] = np.where(wait > 0, np.maximum(issued[:5] - wait + 1, 0), 0)
        issued[engine[i]] += 1
    return (
        engine,
        rng.integers(0, 3, count),
        rng.integers(0, 200, count) * ((engine == 3) | (engine == 4)),
        blocks,
        at,
        targets,
        first,
        bursts,
        np.zeros((0, 2), np.int64),
        np.full(count, -1, np.int64),
        rng.integers(0, 3000, count) * ticks * ((engine == LOAD) & (rng.random(count) < 0.2)),
        np.argsort(engine, kind="stable"),
        ticks,
        int(rng.integers(1, 4)),
        int(rng.choice([1, 3, 16])),
        dram,
    )


def _times(model, arguments: tuple) -> list[np.ndarray]:
    written = [np.full(len(arguments[0]), -1, np.int64) for _ in range(3)] + [np.zeros(3, np.int64)]
    model(*arguments, *written)
    return written


@pytest.mark.slow
@pytest.mark.parametrize("weights", [1.0, 0.9, 0.4])
def test_random_blocks_take_as_long(weights: float) -> None:
    rng = np.random.default_rng(int(weights * 10))
    for _ in range(1500):
        ticks = int(rng.choice([1, 1, 2, 3, 7, 1000]))
        dram = _dram(rng, ticks)
        if rng.random() < 0.5:  # times that are fractions of a cycle, else about a cycle a tick
            dram[[0, 1, 5, 7]] *= ticks
        arguments = _instructions(rng, ticks, dram, weights)
        expected = _times(plain_clock.run_clock, arguments)
        for mine, theirs in zip(_times(run_clock, arguments), expected, strict=True):
            assert mine.tolist() == theirs.tolist(), arguments
        assert expected[2].min() >= 0


@functools.cache
def _streamed() -> Ran:
    """Weights that do not fit the chip, so that each frame streams them."""
    graph = mixed_graph(5, seed=3)
    initial = {name: np.zeros(graph.inputs[name].shape, np.float32) for name in MIXED_STATE}
    frames = frames_for(graph, 4, 1, list(MIXED_STATE))
    compressed = with_codec(pruned(compress(graph, 8, 8), 0.5), "bitmap")
    return execute_graph(compressed, chip(**SMALL), frames, MIXED_STATE, initial)


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"dram__bytes_per_s": 100_000_000},
        {"dram__bytes_per_s": 1_234_567_891, "clock_hz": 333_333_337},
        {"dram__bytes_per_s": 100_000_000_000, "dram__latency_ns": 0, "decoder__lanes": 1},
        {"decoder__fifo_bursts": 1},
        {"dram__outstanding_bursts": 1, "dram__refresh_interval_ns": 300},
        {"dram__row_bytes": 64, "dram__banks": 3},
        {"dram__burst_bytes": 8, "dram__outstanding_bursts": 64, "decoder__fifo_bursts": 64},
    ],
)
def test_a_program_takes_as_long(changes: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    hardware = chip(**{**SMALL, **changes})
    ran = _streamed()
    timing = replay(ran.execution.trace, ran.compiled.program, hardware)
    monkeypatch.setattr(timing_module, "run_clock", plain_clock.run_clock)
    expected = replay(ran.execution.trace, ran.compiled.program, hardware)
    for field in dataclasses.fields(Timing):
        mine, theirs = getattr(timing, field.name), getattr(expected, field.name)
        if isinstance(theirs, np.ndarray | int):
            assert np.array_equal(mine, theirs), field.name
