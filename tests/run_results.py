"""A small result of a run, made by hand."""

from __future__ import annotations

import dataclasses

import numpy as np

from azsim.sim.result import (
    Bounds,
    Comparison,
    OutputCheck,
    RunResult,
    Timeline,
    WeightFigures,
)
from azsim.sim.statistics import LayerStatistics, Statistics

ENGINES = ("weight", "load", "store", "mac", "vector")


def layer(name: str, cycles: int, *, macs: int = 0, read: int = 0, **busy: int) -> LayerStatistics:
    return LayerStatistics(
        name=name,
        cycles=cycles,
        dram_read_bytes=read,
        dram_write_bytes=0,
        macs=macs,
        macs_executed=macs // 2,
        macs_skipped=macs - macs // 2,
        mac_utilization=macs / 2 / (256 * cycles) if macs else 0.0,
        busy_cycles={**dict.fromkeys((*ENGINES, "decoder", "dram"), 0), **busy},
        ideal_mac_cycles=macs / 512,
        busiest=max(busy, key=lambda engine: busy[engine]) if busy else "dram",
    )


def small_timeline(frames: int = 3) -> Timeline:
    """Two weight loads, then in each frame a load, four products of one layer, a store."""
    rows = [(0, 0, 0, 0, 40), (0, 0, 0, 40, 90)]
    for frame in range(frames):
        at = 5_000 * (frame + 1)
        rows.append((1, 1, 1, at, at + 20))
        rows += [(3, 2, 2, at + 20 + 30 * i, at + 45 + 30 * i) for i in range(4)]
        rows.append((2, 3, 3, at + 140, at + 150))
    engine, mnemonic, layer_of, start, end = (
        np.array(column) for column in zip(*rows, strict=True)
    )
    return Timeline(
        engine=engine,
        engines=ENGINES,
        mnemonic=("weight_load", "load", "mac_matmul", "store"),
        layer=("(startup)", "(input)", "/fc/Gemm", "(output)"),
        mnemonic_of=mnemonic,
        layer_of=layer_of,
        start=start,
        end=end,
        dram_bytes=np.isin(engine, (0, 1, 2)) * 64,
    )


def small_result(**changes: object) -> RunResult:
    statistics = Statistics(
        cycles=1_000,
        startup_cycles=90,
        idle_cycles=15_000,
        latency_s=32e-6,
        frame_latency_s={"p50": 300e-9, "p95": 310e-9, "p99": 320e-9, "max": 1.2e-6},
        real_time_factor=0.02,
        deadline_misses=1,
        dram_read_bytes=1_536,
        dram_write_bytes=64,
        dram_useful_bytes=1_500,
        dram_bytes_per_s=800e6,
        dram_row_misses=2,
        macs=131_072,
        macs_executed=65_536,
        macs_skipped=65_536,
        mac_utilization=0.256,
        ideal_mac_cycles=256,
        engine_busy_cycles={"weight": 90, "mac": 600, "decoder": 30, "sequencer": 40},
        stall_cycles={
            "weight": {"no_work": 910},
            "mac": {"input": 100, "wait_load": 250, "no_work": 50},
            "decoder": {"wait_dram": 60, "no_work": 910},
            "sequencer": {"no_work": 960},
        },
        layers=(
            layer("(startup)", 90, read=1_024, weight=90, dram=80, decoder=30),
            layer("(input)", 60, read=512, load=60, dram=50),
            layer("/a/rather/long/name/of/a/layer/fc/Gemm", 820, macs=131_072, mac=600, vector=100),
            layer("[bold]not markup[/bold]", 30),
        ),
    )
    result = RunResult(
        workload="small",
        hardware="az1",
        clock_hz=500_000_000,
        statistics=statistics,
        known_bounds=Bounds(300, 100, 512, 80, 200),
        layer_bounds={
            "(startup)": Bounds(72, 25, 0, 0, 0),
            "(input)": Bounds(40, 0, 0, 0, 0),
            "/a/rather/long/name/of/a/layer/fc/Gemm": Bounds(0, 0, 512, 80, 820),
        },
        weights=(
            WeightFigures("fc.weight", "bitmap", 4, 2_048, 1_024, 640, 64, 2, 1),
            WeightFigures("head[0]", "raw", 8, 128, 0, 144, 4, 1, 1),
        ),
        sram_peak_bytes={"weight": 2_048, "activation": 512},
        sram_capacity_bytes={"weight": 4_096, "activation": 2_048},
        sram_map=(
            ("weight", "fc.weight[0:32,0:64]", 64, 1_024, 0, 9),
            ("weight", "(parameters)", 0, 64, 0, 9),
            *(("activation", f"t{i}", 16 * i, 16, i, i + 1) for i in range(20)),
        ),
        outputs={
            "/out/probability": np.linspace(0, 1, 6, dtype=np.float32).reshape(3, 2),
            "file": np.array(2.5, np.float32),
        },
        output_checks={
            "/out/probability": OutputCheck("ab" * 32, 31.25, 0.0125),
            "file": OutputCheck("cd" * 32, None, 0.0),
        },
        comparison=Comparison(True, ("x", "y"), {"z": "Relu is applied as fc is drained"}, None),
        provenance={"workload": {"name": "small"}, "versions": {"numpy": "2"}},
        notes=("2 tensors ask for zero_run, which this chip cannot decode; its image holds raw",),
        events=small_timeline(),
    )
    return dataclasses.replace(result, **changes)
