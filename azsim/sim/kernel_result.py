"""What a run of one program gives, written by hand or compiled before."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

import numpy as np

from azsim.sim.result import Timeline
from azsim.sim.statistics import Statistics

__all__ = ["BlockFigures", "KernelResult"]


@dataclass(frozen=True)
class BlockFigures:
    """One block of weights that a program's text declares.

    Attributes
    ----------
    name, codec : str
    bits, codes, zeros : int
    encoded_bytes : int
    """

    name: str
    codec: str
    bits: int
    codes: int
    zeros: int
    encoded_bytes: int


@dataclass(frozen=True)
class KernelResult:
    """One program, written by hand or compiled before, on one chip.

    Attributes
    ----------
    name, hardware : str
    clock_hz : int
    statistics : Statistics
        Layers are those that the program names.
    outputs : mapping of str to ndarray
        By port, in the type that it declares; the first axis is the frame where there are frames.
    races : tuple of str, or None
        Pairs of accesses that no wait orders: the outputs of another chip may differ.  None after
        a run too long to look for them.
    blocks : tuple of BlockFigures
    instructions, executed_instructions : int
        Words of the program, and how many were executed.
    provenance : mapping
        Hashes, versions: what ``run.json`` holds.
    notes : tuple of str
    events : Timeline or None
    fast_cycles : int or None
        As for `RunResult`.
    """

    name: str
    hardware: str
    clock_hz: int
    statistics: Statistics
    outputs: Mapping[str, np.ndarray]
    races: tuple[str, ...] | None
    blocks: tuple[BlockFigures, ...]
    instructions: int
    executed_instructions: int
    provenance: Mapping[str, object]
    notes: tuple[str, ...] = ()
    events: Timeline | None = field(default=None, repr=False)
    fast_cycles: int | None = None

    @property
    def summary(self) -> dict[str, object]:
        """The content of ``summary.json``."""
        stats = self.statistics
        return {
            "schema_version": 1,
            "program": self.name,
            "hardware": self.hardware,
            "timing_model": "fast" if self.fast_cycles is None else "cycle-stepped",
            "fast_cycles": self.fast_cycles,
            "cycles": stats.cycles,
            "idle_cycles": stats.idle_cycles,
            "latency_s": stats.latency_s,
            "frame_latency_s": dict(stats.frame_latency_s) if stats.frame_latency_s else None,
            "real_time_factor": stats.real_time_factor,
            "deadline_misses": stats.deadline_misses,
            "dram_read_bytes": stats.dram_read_bytes,
            "dram_write_bytes": stats.dram_write_bytes,
            "dram_useful_bytes": stats.dram_useful_bytes,
            "dram_bytes_per_s": stats.dram_bytes_per_s,
            "macs": stats.macs,
            "macs_executed": stats.macs_executed,
            "macs_skipped": stats.macs_skipped,
            "mac_utilization": stats.mac_utilization,
            "ideal_mac_cycles": stats.ideal_mac_cycles,
            "instructions": self.instructions,
            "executed_instructions": self.executed_instructions,
            "engine_busy_cycles": dict(stats.engine_busy_cycles),
            "stall_cycles": {name: dict(reasons) for name, reasons in stats.stall_cycles.items()},
            "blocks": [asdict(block) for block in self.blocks],
            "layers": [asdict(layer) for layer in stats.layers],
            "outputs": {
                name: {
                    "dtype": array.dtype.name,
                    "shape": list(array.shape),
                    "sha256": hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest(),
                }
                for name, array in self.outputs.items()
            },
            "races": None if self.races is None else list(self.races),
        }
