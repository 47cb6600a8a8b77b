"""A program's run as tables: what it cost, its blocks, and what it gave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from azsim.report.listing import Listing, listing
from azsim.report.units import (
    byte_count,
    counted,
    duration,
    frequency,
    number,
    percent,
    rate,
)
from azsim.sim.kernel_result import KernelResult

__all__ = ["blocks_table", "kernel_tables"]

_SHOWN_VALUES = 8


def kernel_tables(result: KernelResult) -> list[Listing]:
    """Tables of a program's run, for the terminal."""
    stats = result.statistics
    words = (
        f"{counted(result.instructions, 'word')}, {number(result.executed_instructions)} executed"
    )
    cycles = counted(stats.cycles, "cycle")
    if result.fast_cycles is not None:
        cycles += f", cycle by cycle; fast model: {number(result.fast_cycles)}"
    rows = [
        ("cycles", cycles, duration(stats.cycles / result.clock_hz)),
        ("idle", counted(stats.idle_cycles, "cycle"), "waiting for input"),
        ("program", words, ""),
        ("DRAM read", byte_count(stats.dram_read_bytes), "whole bursts"),
        ("DRAM written", byte_count(stats.dram_write_bytes), "whole bursts"),
        ("DRAM asked for", byte_count(stats.dram_useful_bytes), "read and written"),
        ("DRAM rate", rate(stats.dram_bytes_per_s), "read and written, per busy time"),
        ("MACs", number(stats.macs), "products of the dense shapes"),
        (
            "executed",
            number(stats.macs_executed),
            f"{percent(stats.macs_executed, stats.macs)}; the others have a zero factor",
        ),
        ("utilization", percent(stats.mac_utilization), "executed over cycles x the array's peak"),
        ("races", _races(result), "in this run"),
    ]
    if stats.frame_latency_s is not None:
        frame = {name: duration(seconds) for name, seconds in stats.frame_latency_s.items()}
        rows.insert(2, ("frame latency", f"p50 {frame['p50']}", f"max {frame['max']}"))
    if stats.deadline_misses is not None:
        misses = counted(stats.deadline_misses, "frame")
        rows.insert(3, ("deadline misses", misses, "slower than the time between frames"))
    title = f"{result.name} on {result.hardware} at {frequency(result.clock_hz)}"
    tables = [listing(title, ("figure", "value", "remark"), rows)]
    if stats.layers:
        columns = ("layer", "cycles", "DRAM B", "MACs", "executed")
        layers = [
            (
                layer.name,
                layer.cycles,
                layer.dram_read_bytes + layer.dram_write_bytes,
                layer.macs,
                layer.macs_executed,
            )
            for layer in stats.layers
        ]
        tables.append(listing("Layers", columns, layers))
    if result.blocks:
        tables.append(blocks_table([asdict(block) for block in result.blocks]))
    outputs = [
        (name, array.dtype.name, "x".join(map(str, array.shape)) or "scalar", _values(array))
        for name, array in result.outputs.items()
    ]
    note = "; ".join(result.notes)
    return [*tables, listing("Outputs", ("name", "type", "shape", "values"), outputs, note)]


def blocks_table(blocks: Sequence[Mapping[str, Any]]) -> Listing:
    """Return the table of a program's blocks, out of ``summary.json``'s entries.

    Parameters
    ----------
    blocks : sequence of mapping
    """
    columns = ("name", "codec", "bits", "codes", "zeros", "bytes", "bits per code")
    keys = ("name", "codec", "bits", "codes", "zeros", "encoded_bytes")
    rows = [
        (*(block[key] for key in keys), round(8 * block["encoded_bytes"] / block["codes"], 2))
        for block in blocks
    ]
    return listing("Blocks", columns, rows)


def _races(result: KernelResult) -> str:
    if result.races is None:
        return "not looked for"
    return str(len(result.races)) if result.races else "none"


def _values(array: np.ndarray) -> str:
    """The first values of an array, in its order."""
    flat = array.reshape(-1)
    shown = " ".join(f"{value:.4g}" for value in flat[:_SHOWN_VALUES].tolist())
    return f"{shown} ..." if flat.size > _SHOWN_VALUES else shown
