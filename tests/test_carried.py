"""What constants and state bring from DRAM at least: exact on small cases, never above a run."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from azsim.compiler.carried import Carried, carried
from azsim.compiler.compile import necessary_steps
from azsim.ir import Node
from azsim.models import builder
from azsim.ops.build import build_graph
from azsim.ops.lowering import Lowering
from azsim.pipeline import run
from compiled import AZ1, chip
from graphs import compress, type_of

HIDDEN = 24


@pytest.mark.parametrize("sizes", list(itertools.product(range(3), repeat=3)))
@pytest.mark.parametrize("room", range(7))
def test_the_least_traffic_is_that_of_the_best_choice(sizes: tuple[int, ...], room: int) -> None:
    """Of every set of bytes that may stay between frames; the rest comes, and goes if it is new."""
    costs = [cost for cost, count in zip((1, 1, 2), sizes, strict=True) for _ in range(count)]
    least = min(
        sum(cost for cost, stays in zip(costs, kept, strict=True) if not stays)
        for kept in itertools.product((False, True), repeat=len(costs))
        if sum(kept) <= room
    )
    constants, kept, renewed = sizes
    assert Carried(constants, kept, renewed).frame_bytes(room) == least


def steps_of(name: str, **parameters: object) -> tuple[Lowering, dict[str, str]]:
    module = builder(name)
    model = module.build(module.Parameters(**parameters), 1, None)
    return necessary_steps(compress(model.graph), AZ1), dict(model.state)


def test_a_recurrent_cell_renews_its_state() -> None:
    lowering, state = steps_of("lstm_cell", inputs=8, hidden=HIDDEN)
    assert carried(lowering, state) == Carried(0, 0, 2 * 4 * HIDDEN)


def test_a_ring_is_kept_and_constants_are_counted_as_they_are_read() -> None:
    """A token's row is scattered into each ring; all rows are read."""
    heads, width, layers, window = 2, 8, 2, 5
    sizes = {"d_model": 16, "heads": heads, "kv_heads": heads, "head_size": width}
    lowering, state = steps_of(
        "attention_window", layers=layers, window=window, cache="int8", **sizes
    )
    found = carried(lowering, state)
    rings = layers * 2 * window * heads * (width + 4)  # codes, and a scale for each head
    assert found.kept >= rings
    assert found.renewed <= 16  # positions
    read = carried(lowering, {})
    assert read.constants == found.constants > 0


def test_what_only_some_data_reads_is_not_needed_in_every_frame() -> None:
    sizes = {"features": 8, "cells": 16, "units": 12, "layers": 1, "reduce_after": 0}
    lowering, state = steps_of(
        "rnnt_google", symbols=9, embedding=4, joint=8, layer_norm=True, **sizes
    )
    found = carried(lowering, state)
    # The encoder's gain and shift, not the prediction network's; its r and c, the half g.
    assert found.constants <= 2 * 4 * 4 * 16 + 4 * 16
    assert found.kept + found.renewed <= 4 * (12 + 16 + 8 + 1)


def test_a_delay_line_is_moved_and_not_renewed() -> None:
    nodes = [
        Node("behind", "Slice", ("old", "one", "end", "axis"), ("kept",), {}),
        Node("both", "Concat", ("kept", "x"), ("new",), {"axis": 0}),
        Node("neg", "Neg", ("new",), ("y",), {}),
    ]
    constants = {
        "one": np.array([1], np.int64),
        "end": np.array([4], np.int64),
        "axis": np.array([0], np.int64),
    }
    inputs = {"x": type_of(1, 16), "old": type_of(4, 16)}
    graph = compress(build_graph("line", inputs, constants, nodes, ["y", "new"], "test"))
    found = carried(necessary_steps(graph, AZ1), {"old": "new"})
    assert (found.constants, found.renewed) == (0, 0)
    assert 4 * 3 * 16 <= found.kept <= 4 * 4 * 16


@pytest.mark.slow
@pytest.mark.parametrize(
    ("workload", "room_kib"),
    [
        *itertools.product(["ssm_mamba_xs", "speech_conformer_tiny"], [128, 64, 32]),
        ("ssm_s4d", 128),
    ],
)
def test_no_run_moves_less_however_small_the_room(workload: str, room_kib: int) -> None:
    hardware = chip(activation_sram__bytes=room_kib * 1024)
    result = run(workload, hardware, timeline=False, checked=False)
    assert result.bounds is not None
    assert result.bounds.by_engine["dram"] <= result.statistics.cycles
