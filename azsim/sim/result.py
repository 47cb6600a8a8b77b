"""What a run gives: every figure, the outputs, and enough to trace where they come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Protocol

import numpy as np

from azsim.sim.explanation import Explanation
from azsim.sim.statistics import Statistics
from azsim.sim.words import WordCheck

__all__ = [
    "BOUND_KEYS",
    "Bounds",
    "Comparison",
    "DecisionCheck",
    "FrontEndFigures",
    "Measured",
    "OutputCheck",
    "RunResult",
    "Timeline",
    "WeightFigures",
]


class Measured(Protocol):
    """What every run has that was timed and measured, of a workload or of a program by hand."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def hardware(self) -> str: ...  # noqa: D102
    @property
    def clock_hz(self) -> int: ...  # noqa: D102
    @property
    def statistics(self) -> Statistics: ...  # noqa: D102
    @property
    def events(self) -> Timeline | None: ...  # noqa: D102


@dataclass(frozen=True)
class Bounds:
    """Lower bounds on a run's cycles, from the compressed graph and the chip alone.

    Attributes
    ----------
    dram_cycles, decoder_cycles, mac_cycles, vector_cycles : int
    critical_path_cycles : int
        Longest chain of dependent work with one of each engine.
    chain_cycles : int
        The same with as many engines as anybody wants, each step at its smallest tile.
    """

    dram_cycles: int
    decoder_cycles: int
    mac_cycles: int
    vector_cycles: int
    critical_path_cycles: int
    chain_cycles: int = 0

    @property
    def bound_cycles(self) -> int:
        """The largest of the engines' bounds."""
        return max(self.by_engine.values())

    @property
    def by_engine(self) -> dict[str, int]:
        """Bound of each engine."""
        return {
            "dram": self.dram_cycles,
            "decoder": self.decoder_cycles,
            "mac": self.mac_cycles,
            "vector": self.vector_cycles,
        }

    @property
    def bound_by(self) -> str:
        """The engine whose bound is the largest; none where there is no work."""
        engines = self.by_engine
        return max(engines, key=lambda engine: engines[engine]) if self.bound_cycles else ""


_BOUND_KEYS = {
    "bound_cycles": "bound_cycles",
    "bound_by": "bound_by",
    "critical_path_cycles": "critical_path_cycles",
    "chain_cycles": "chain_cycles",
    "engine_bound_cycles": "by_engine",
}
BOUND_KEYS = tuple(_BOUND_KEYS)
"""Keys of `RunResult.summary` that are null in a run whose bounds were not asked for."""


def _bounds_document(bounds: Bounds | None) -> dict[str, object]:
    """What files say of bounds."""
    return {key: bounds and getattr(bounds, name) for key, name in _BOUND_KEYS.items()}


@dataclass(frozen=True)
class OutputCheck:
    """One output against the float model.

    Attributes
    ----------
    sha256 : str
        Over C-order little-endian data: float32, or codes.
    sqnr_db : float or None
        10 log10(signal power / error power); None if there is no error.
    max_abs_error : float or None
    equal_share : float or None
        Share of numbers that are the float model's, of an output of choices, such as symbols: only
        that, as a distance between choices means nothing.
    """

    sha256: str
    sqnr_db: float | None
    max_abs_error: float | None
    equal_share: float | None = None


@dataclass(frozen=True)
class DecisionCheck:
    """One decision against the float model's, and both against labels.

    Attributes
    ----------
    agreement : float
        Share of frames in which the decision is that of the float model.
    frames : int
        Decisions that were compared: one a frame, or several where an output has more.
    accuracy : float or None
        Share of frames in which the decision is the label; None without labels.
    float_accuracy : float or None
        The same of the float model's decisions.
    """

    agreement: float
    frames: int
    accuracy: float | None = None
    float_accuracy: float | None = None


@dataclass(frozen=True)
class Comparison:
    """Simulator against the reference evaluator, as stored bytes.

    Attributes
    ----------
    bit_exact : bool
    compared : tuple of str
        Tensors that exist on both sides, outputs and carried state included.
    fused : mapping of str to str
        Tensors that exist only in the graph, and why.
    first_difference : str or None
        Sentence that names the first tensor that differs.
    """

    bit_exact: bool
    compared: tuple[str, ...]
    fused: Mapping[str, str]
    first_difference: str | None


@dataclass(frozen=True)
class WeightFigures:
    """One weight matrix in the image.

    Attributes
    ----------
    name, codec : str
    bits, weights, zeros : int
    encoded_bytes, scale_bytes : int
    tiles, pinned_tiles : int
    """

    name: str
    codec: str
    bits: int
    weights: int
    zeros: int
    encoded_bytes: int
    scale_bytes: int
    tiles: int
    pinned_tiles: int


@dataclass(frozen=True)
class FrontEndFigures:
    """Features that were computed outside the chip, and are in none of its cycles.

    Attributes
    ----------
    where : str
        ``host``.
    features : str
        Name of the front end.
    frames, width : int
    period_s : float
    lookahead_s : float
        Audio that a frame needs from after its own time, which no latency here holds.
    seconds : float
        How long it took there.
    """

    where: str
    features: str
    frames: int
    width: int
    period_s: float
    lookahead_s: float
    seconds: float


@dataclass(frozen=True)
class RunResult:
    """One workload on one chip.

    Attributes
    ----------
    workload, hardware : str
    statistics : Statistics
    known_bounds : Bounds or None
        Lower bounds, if they were asked for.
    layer_bounds : mapping of str to Bounds
        The same work by layer, frame after frame; a layer whose loads run behind an earlier one may
        take less.
    weights : tuple of WeightFigures
    sram_peak_bytes, sram_capacity_bytes : mapping of str to int
    sram_map : tuple of (space, name, start, size, first instruction, last instruction)
    outputs : mapping of str to ndarray
    output_checks : mapping of str to OutputCheck
    decisions : mapping of str to DecisionCheck
        What the workload takes its outputs for.
    comparison : Comparison or None
        None unless the evaluator ran.
    carried : tuple of str
        Outputs that are the state that the last frame leaves.
    provenance : mapping
        Inputs' hashes, versions, seed: what ``run.json`` holds.
    notes : tuple of str
        What a reader should know: substitutions, assumptions.
    events : tuple of (engine, name, layer, start, duration, in wall-clock cycles)
        For the timeline.
    fast_cycles : int or None
        `Statistics.cycles` as the fast model has them, if the cycle-stepped one timed the run.
    explanation : Explanation or None
        Why it takes so long and what would help, if that was asked for.
    front_end : FrontEndFigures or None
        None where the model takes what the input file holds.
    words : WordCheck or None
        None where the workload has no section ``transcript``, or nothing was checked.
    """

    workload: str
    hardware: str
    clock_hz: int
    statistics: Statistics
    known_bounds: Bounds | None
    layer_bounds: Mapping[str, Bounds]
    weights: tuple[WeightFigures, ...]
    sram_peak_bytes: Mapping[str, int]
    sram_capacity_bytes: Mapping[str, int]
    sram_map: tuple[tuple[str, str, int, int, int, int], ...]
    outputs: Mapping[str, np.ndarray]
    output_checks: Mapping[str, OutputCheck]
    comparison: Comparison | None
    provenance: Mapping[str, object]
    notes: tuple[str, ...] = ()
    events: Timeline | None = field(default=None, repr=False)
    fast_cycles: int | None = None
    explanation: Explanation | None = field(default=None, repr=False)
    weight_read_bytes_planned: int | None = None
    carried: tuple[str, ...] = ()
    front_end: FrontEndFigures | None = None
    decisions: Mapping[str, DecisionCheck] = field(default_factory=dict)
    words: WordCheck | None = None

    @property
    def name(self) -> str:
        """What was run."""
        return self.workload

    @property
    def bounds(self) -> Bounds:
        """Lower bounds.

        Raises
        ------
        ValueError
            If they were not asked for.
        """
        if self.known_bounds is None:
            raise ValueError(f"{self.workload}: the run's bounds were not asked for")
        return self.known_bounds

    @property
    def timing_model(self) -> str:
        """Which model timed the run: ``fast`` or ``cycle-stepped``."""
        return "fast" if self.fast_cycles is None else "cycle-stepped"

    def bounds_of(self, layer: str) -> Bounds:
        """Lower bounds of a layer, or of what surrounds the graph; zeros without work."""
        return self.layer_bounds.get(layer, Bounds(0, 0, 0, 0, 0))

    def _front_end_document(self) -> dict[str, object] | None:
        """All but the host's own time, which no two runs share."""
        if self.front_end is None:
            return None
        document = asdict(self.front_end)
        del document["seconds"]
        return document

    @property
    def summary(self) -> dict[str, object]:
        """The content of ``summary.json``."""
        stats = self.statistics
        dense = sum(-(-w.weights * w.bits // 8) for w in self.weights)
        compressed = sum(w.encoded_bytes + w.scale_bytes for w in self.weights)
        count = sum(w.weights for w in self.weights)
        return {
            "schema_version": 1,
            "workload": self.workload,
            "hardware": self.hardware,
            "timing_model": self.timing_model,
            "fast_cycles": self.fast_cycles,
            "cycles": stats.cycles,
            "startup_cycles": stats.startup_cycles,
            "idle_cycles": stats.idle_cycles,
            "latency_s": stats.latency_s,
            "frames": stats.frames,
            "chunk_frames": stats.chunk_frames,
            "chunks_together": stats.chunks_together,
            "frame_latency_s": dict(stats.frame_latency_s) if stats.frame_latency_s else None,
            "chunk_latency_s": dict(stats.chunk_latency_s) if stats.chunk_latency_s else None,
            "real_time_factor": stats.real_time_factor,
            "deadline_misses": stats.deadline_misses,
            "front_end": self._front_end_document(),
            "dram_read_bytes": stats.dram_read_bytes,
            "dram_write_bytes": stats.dram_write_bytes,
            "dram_useful_bytes": stats.dram_useful_bytes,
            "dram_bytes_per_s": stats.dram_bytes_per_s,
            "weight_read_bytes": stats.weight_read_bytes,
            "weight_read_bytes_planned": self.weight_read_bytes_planned,
            "weight_reuse": stats.weight_reuse,
            "weight_bytes_dense": dense,
            "weight_bytes_compressed": compressed,
            "bits_per_weight": 8 * compressed / count if count else 0.0,
            "macs": stats.macs,
            "macs_executed": stats.macs_executed,
            "macs_skipped": stats.macs_skipped,
            "mac_utilization": stats.mac_utilization,
            "sram_peak_bytes": dict(self.sram_peak_bytes),
            "engine_busy_cycles": dict(stats.engine_busy_cycles),
            "stall_cycles": {name: dict(reasons) for name, reasons in stats.stall_cycles.items()},
            "ideal_mac_cycles": stats.ideal_mac_cycles,
            **_bounds_document(self.known_bounds),
            "layers": [
                {
                    "name": layer.name,
                    "cycles": layer.cycles,
                    "dram_read_bytes": layer.dram_read_bytes,
                    "dram_write_bytes": layer.dram_write_bytes,
                    "macs": layer.macs,
                    "macs_executed": layer.macs_executed,
                    "macs_skipped": layer.macs_skipped,
                    "mac_utilization": layer.mac_utilization,
                    "ideal_mac_cycles": layer.ideal_mac_cycles,
                    "busy_cycles": dict(layer.busy_cycles),
                    "busiest": layer.busiest,
                    **_bounds_document(self.known_bounds and self.bounds_of(layer.name)),
                }
                for layer in stats.layers
            ],
            "outputs": {
                name: {
                    "sha256": check.sha256,
                    "sqnr_db": check.sqnr_db,
                    "max_abs_error": check.max_abs_error,
                    "equal_share": check.equal_share,
                }
                for name, check in self.output_checks.items()
            },
            "decisions": {name: asdict(check) for name, check in self.decisions.items()},
            "word_error_rate": self.words and self.words.rate,
            "float_word_error_rate": self.words and self.words.float_rate,
            "words": self.words and self.words.document(),
            "bit_exact": None if self.comparison is None else self.comparison.bit_exact,
        }


@dataclass(frozen=True)
class Timeline:
    """Engine instructions for a timeline; arrays of one length, cycles of wall-clock time.

    Attributes
    ----------
    engine : ndarray of int
        Index into `engines`; values beyond it are fences.
    engines : tuple of str
    mnemonic, layer : tuple of str
        Names; `mnemonic_of` and `layer_of` index them.
    mnemonic_of, layer_of : ndarray of int
    start, end : ndarray of int64
    dram_bytes : ndarray of int64
        Whole bursts of the instruction's transfer, 0 where it does none; they add up to the run's.
    """

    engine: np.ndarray
    engines: tuple[str, ...]
    mnemonic: tuple[str, ...]
    layer: tuple[str, ...]
    mnemonic_of: np.ndarray
    layer_of: np.ndarray
    start: np.ndarray
    end: np.ndarray
    dram_bytes: np.ndarray
