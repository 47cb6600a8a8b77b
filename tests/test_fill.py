"""The order in which weights and all else come before a paced stream begins."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from azsim.compiler.compile import compile_graph
from azsim.compiler.fill import fill
from azsim.compiler.schedule import Item, Schedule
from azsim.frontend.workload import load_workload
from azsim.hardware import load_hardware
from azsim.hardware.description import Hardware
from azsim.ir import CompressedGraph
from azsim.isa.program import Stream
from azsim.pipeline import run
from compiled import AZ1, chip, graph_of, node
from graphs import compress

SLOW = chip(decoder__lanes=1, dram__bytes_per_s=12_800_000_000)
"""Its decoder takes longer for a block than DRAM does."""


def two_products() -> CompressedGraph:
    """A product of large weights, and one of small ones behind it."""
    rng = np.random.default_rng(0)
    shapes = {"w1": (64, 96), "b1": (64,), "w2": (4, 64), "b2": (4,), "c": (64,)}
    initializers = {name: rng.standard_normal(s).astype(np.float32) for name, s in shapes.items()}
    nodes = [
        node("Gemm", ["x", "w1", "b1"], "y", transB=1),
        node("Mul", ["y", "c"], "z"),
        node("Gemm", ["z", "w2", "b2"], "out", transB=1),
    ]
    return compress(graph_of({"x": (1, 96)}, initializers, nodes, ["out"]))


def merged_and_filled(
    hardware: Hardware, *, period_s: float | None = 1e-3
) -> tuple[Schedule, Schedule]:
    """Schedules of both products, before and behind the pass."""
    made: dict[str, Any] = {}
    stream = Stream(9, period_s, period_s is not None)
    compile_graph(two_products(), hardware, stream, {}, "g", made.__setitem__)
    return made["merge"], made["fill"]


def startup_of(schedule: Schedule) -> list[tuple[str, str, bool]]:
    """Instruction, what it loads and whether it waits for loads, of each item at the start."""
    items = [item for item in schedule.startup if isinstance(item, Item)]
    targets = [next(iter(item.windows))[1].buffer for item in items]
    return [
        (item.mnemonic, target.partition("[")[0], bool(item.operands.get("wait_load")))
        for item, target in zip(items, targets, strict=True)
    ]


def test_weights_come_beside_what_needs_no_decoder() -> None:
    merged, filled = merged_and_filled(SLOW)
    before, after = startup_of(merged), startup_of(filled)
    weights = [one for one in before if one[0] == "weight_load"]
    assert [one[2] for one in weights] == [True, False]
    assert sorted(one[:2] for one in after) == sorted(one[:2] for one in before)
    assert not any(is_waiting for _, _, is_waiting in after)
    assert (merged.body, merged.finish) == (filled.body, filled.finish)


def test_blocks_that_take_dram_least_come_first() -> None:
    _, filled = merged_and_filled(SLOW)
    assert [name for kind, name, _ in startup_of(filled) if kind == "weight_load"] == ["w2", "w1"]


@pytest.mark.parametrize(
    ("hardware", "period_s"),
    [(AZ1, 1e-3), (SLOW, None), (SLOW, 2e-6)],
    ids=["DRAM binds", "not paced", "the first frame arrives before"],
)
def test_what_gains_nothing_stays(hardware: Hardware, period_s: float | None) -> None:
    merged, filled = merged_and_filled(hardware, period_s=period_s)
    assert filled is merged


def test_weights_alone_stay() -> None:
    merged, filled = merged_and_filled(SLOW)
    assert filled is not merged
    # Nothing to put beside the weights.
    weights = tuple(
        item for item in merged.startup if isinstance(item, Item) and item.mnemonic != "load"
    )
    alone = replace(merged, startup=weights)
    estimator: Any = None
    assert fill(alone, estimator, SLOW, 1e-3) is alone


@pytest.mark.parametrize("name", ["az1", "az2"])
def test_a_recogniser_is_filled_nearly_as_fast_as_its_decoder_allows(name: str) -> None:
    """Before this pass, it took 24 % longer on az2."""
    workload = load_workload("speech_commands_word_w4_s75", ["input.first=1"])
    result = run(workload, load_hardware(name), timeline=False, checked=False)
    least = result.bounds.decoder_cycles
    assert least <= result.statistics.startup_cycles <= 1.05 * least
