"""Every figure of a run, defined once: from a trace and its timing to numbers with units.

Cycles here never count waiting for input: `Timing.without_idle` has taken it out, so that per
engine busy and stall cycles add up to `cycles`, and so do the layers' cycles.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from azsim.hardware.description import Hardware
from azsim.isa.program import WAKE, Program, Stream
from azsim.jit import kernel
from azsim.machine.engines.clock import ENGINES
from azsim.machine.engines.mac import peak_macs_per_cycle
from azsim.machine.trace import Trace
from azsim.sim.outline import grouped, kept, outline_of
from azsim.sim.site_facts import ACTIVATION_BITS, AT_READ, INDEX, ROWS, WEIGHT_BITS
from azsim.sim.stalls import STALL_REASONS, engine_sums
from azsim.sim.sums import sums_by_layer, sums_by_part
from azsim.sim.timing import Timing

__all__ = ["Chunks", "LayerStatistics", "Statistics", "measure"]

_FENCE = 5
_WEIGHT, _STORE = 0, 2
_PARTS = 7  # engines, fences and the halt, and control instructions that wait


@dataclass(frozen=True)
class LayerStatistics:
    """One layer of the compressed graph, summed over all frames.

    Attributes
    ----------
    name : str
        Node name; names in parentheses are what surrounds the graph (startup, input, ...).
    cycles : int
        From the retirement of the layer before to its own.
    dram_read_bytes, dram_write_bytes : int
        Whole bursts.
    macs, macs_executed, macs_skipped : int
        Products of the dense shapes; carried out; left out because a factor is zero.
    mac_utilization : float
        Executed over (cycles x peak at the layer's width); 0 without products.
    busy_cycles : mapping of str to int
        Occupancy of each engine by this layer's instructions; `decoder` is its own cycles for the
        weight loads, input always ready (left out with `decoder.at: read`, which has none), `dram`
        the bus time of all transfers.
    ideal_mac_cycles : float
        Products of two non-zero factors over the peak.
    busiest : str
        The engine with the most work in this layer: dram, decoder, mac or vector.
    """

    name: str
    cycles: int
    dram_read_bytes: int
    dram_write_bytes: int
    macs: int
    macs_executed: int
    macs_skipped: int
    mac_utilization: float
    busy_cycles: Mapping[str, int]
    ideal_mac_cycles: float
    busiest: str


@dataclass(frozen=True)
class Chunks:
    """How the frames of a stream lie in chunks, each of which is a frame of the program.

    Attributes
    ----------
    frames : int
        Of the input; zeros that fill up the last chunk are none.
    chunk_frames : int
        Frames of a whole chunk.
    utterance_frames : tuple of int
        Frames of each utterance, of which there are several; the last chunk of each may be filled
        up.  Empty: there is one.
    """

    frames: int
    chunk_frames: int = 1
    utterance_frames: tuple[int, ...] = ()

    def is_frame(self) -> np.ndarray:
        """Whether each place of each chunk holds a frame of the input; (chunks x places,) bool."""
        whole = []
        for frames in self.utterance_frames or (self.frames,):
            places = -(-frames // self.chunk_frames) * self.chunk_frames
            whole.append(np.arange(places) < frames)
        return np.concatenate(whole)


@dataclass(frozen=True)
class Statistics:
    """A run in numbers; keys as in ``summary.json``."""

    cycles: int
    startup_cycles: int
    idle_cycles: int
    latency_s: float
    frame_latency_s: Mapping[str, float] | None
    real_time_factor: float | None
    deadline_misses: int | None
    dram_read_bytes: int
    dram_write_bytes: int
    dram_useful_bytes: int
    dram_bytes_per_s: float
    dram_row_misses: int
    macs: int
    macs_executed: int
    macs_skipped: int
    mac_utilization: float
    ideal_mac_cycles: int
    engine_busy_cycles: Mapping[str, int]
    stall_cycles: Mapping[str, Mapping[str, int]]
    layers: tuple[LayerStatistics, ...]
    weight_read_bytes: int = 0
    weight_reuse: float | None = None
    frames: int = 1
    chunk_frames: int = 1
    chunks_together: int = 1
    chunk_latency_s: Mapping[str, float] | None = None


def measure(
    trace: Trace,
    timing: Timing,
    program: Program,
    hardware: Hardware,
    chunks: Chunks | None = None,
) -> Statistics:
    """Compute every figure of a run.

    Parameters
    ----------
    trace : Trace
    timing : Timing
    program : Program
    hardware : Hardware
    chunks : Chunks, optional
        Frames that the program's own frame stands for; without it, that is one frame.
    """
    cycles = timing.cycles
    derived = trace.path.derived
    places = kept(derived, "places", program.layer_of, 1, lambda: _places(trace, program))
    parts = _by_part(timing, places)
    traffic = parts.bursts.sum(axis=0) * hardware.dram.burst_bytes
    reads, writes = int(traffic.sum() - traffic[_STORE]), int(traffic[_STORE])
    products = timing.products
    macs, executed = int(products.macs.sum()), int(products.executed.sum())
    peaks = kept(
        derived,
        "peaks",
        (program.layer_of, hardware.mac),
        2,
        lambda: _peaks(trace, program, hardware),
    )
    frames = _frames(trace, timing, program, places.layer_of)
    seconds = cycles / hardware.clock_hz
    period = program.stream.period_s
    chunks = chunks or Chunks(program.stream.frames)
    frame_period = None if period is None else period / chunks.chunk_frames
    latency = _chunk_latency(frames, timing, program.stream, hardware)
    weight_reads = int(traffic[_WEIGHT])
    weight_macs = kept(derived, "weight_macs", None, 1, lambda: _weight_macs(trace, timing))
    busy, stalls = _engines(trace, timing, hardware, cycles)
    layers = _layers(program, timing, places, parts, peaks, hardware)
    best = peaks.max(initial=0)
    startup = [layer.cycles for layer in layers if layer.name == "(startup)"]
    return Statistics(
        cycles=cycles,
        startup_cycles=sum(startup),
        idle_cycles=timing.end_cycles - cycles,
        latency_s=timing.end_cycles / hardware.clock_hz,
        frames=chunks.frames,
        chunk_frames=chunks.chunk_frames,
        chunks_together=program.stream.together,
        frame_latency_s=None
        if latency is None
        else _distribution(_frame_latency(latency, program.stream, chunks)),
        chunk_latency_s=None if latency is None else _distribution(latency),
        real_time_factor=None if frame_period is None else seconds / (chunks.frames * frame_period),
        deadline_misses=None
        if latency is None or period is None or not program.stream.paced
        else int((latency > period).sum()),
        dram_read_bytes=reads,
        dram_write_bytes=writes,
        dram_useful_bytes=int(timing.useful_bytes.sum()),
        weight_read_bytes=weight_reads,
        weight_reuse=weight_macs / weight_reads if weight_reads else None,
        dram_bytes_per_s=(reads + writes) / seconds if seconds else 0.0,
        dram_row_misses=timing.row_misses,
        macs=macs,
        macs_executed=executed,
        macs_skipped=macs - executed,
        mac_utilization=executed / (cycles * best) if cycles and best else 0.0,
        ideal_mac_cycles=int(np.ceil(products.ideal_cycles.sum())),
        engine_busy_cycles=busy,
        stall_cycles=stalls,
        layers=layers,
    )


@dataclass(frozen=True)
class _Places:
    """Where each instruction of a trace stands; nobody writes the arrays.

    Attributes
    ----------
    layer_of : ndarray of int64
        Layer; -1 for fences and the halt.
    layer : ndarray of int64
        The same, but fences and the halt belong to what they follow.
    part : ndarray of int64
        ``layer * _PARTS + engine``.
    order, bounds : ndarray of int
        Instructions by layer, and where each layer's begin; a program without layers has one.
    """

    layer_of: np.ndarray
    layer: np.ndarray
    part: np.ndarray
    order: np.ndarray
    bounds: np.ndarray


class _Parts(NamedTuple):
    """Bursts, cycles from start to end, and work, of each layer's parts: (layers, _PARTS) int64."""

    bursts: np.ndarray
    busy: np.ndarray
    work: np.ndarray


def _by_part(timing: Timing, places: _Places) -> _Parts:
    count = _PARTS * (len(places.bounds) - 1)
    columns = map(np.ascontiguousarray, (timing.bursts, timing.start, timing.end, timing.work))
    return _Parts(*sums_by_part(places.part, count, *columns).reshape(3, -1, _PARTS))


def _places(trace: Trace, program: Program) -> _Places:
    outline = outline_of(trace)
    layer_of = np.array(program.layer_of or [-1] * len(program.instructions), np.int64)
    of_site = layer_of[outline.facts[:, INDEX]]
    layer_of, layer, part = _place(outline.site, of_site, outline.engine)
    order, bounds = grouped(layer.astype(np.int32), max(1, len(program.layers)))
    return _Places(layer_of, layer, part, order, bounds)


@kernel("UniTuple(int64[::1], 3)(int32[::1], int64[::1], int64[::1])")
def _place(site, of_site, engine):
    """Layer, layer with what follows it, and part, of each instruction; see `_Places`."""
    layer_of, layer = np.empty(len(site), np.int64), np.empty(len(site), np.int64)
    part, last = np.empty(len(site), np.int64), np.int64(0)
    for i in range(len(site)):
        layer_of[i] = of_site[site[i]]
        last = layer_of[i] if layer_of[i] >= 0 else last
        layer[i], part[i] = last, last * _PARTS + engine[i]
    return layer_of, layer, part


def _peaks(trace: Trace, program: Program, hardware: Hardware) -> np.ndarray:
    """Peak products per cycle of each layer, at its best precision; 0 if it multiplies nothing."""
    facts = outline_of(trace).facts
    products = facts[facts[:, ROWS] > 0]
    layer_of = program.layer_of or [-1] * len(program.instructions)
    peaks = np.zeros(max(1, len(program.layers)))
    for index, weights, codes, is_read in products[
        :, [INDEX, WEIGHT_BITS, ACTIVATION_BITS, AT_READ]
    ].tolist():
        layer = max(0, layer_of[index])
        peak = peak_macs_per_cycle(hardware.mac, weights, codes, at_read=bool(is_read))
        peaks[layer] = max(peaks[layer], peak)
    return peaks


def _frames(
    trace: Trace, timing: Timing, program: Program, layer_of: np.ndarray
) -> list[tuple[int, int]]:
    """Instruction ranges of the chunks: from each paced load to the one before the next.

    What makes the chip ready for another utterance is in none.
    """
    first = outline_of(trace).paced
    state = program.layers.index("(state)") if "(state)" in program.layers else -2
    wake = program.layers.index(WAKE) if WAKE in program.layers else -2
    waking = np.flatnonzero(layer_of == wake)
    ranges = []
    for number, begin in enumerate(first):
        stop = first[number + 1] if number + 1 < len(first) else len(timing.site)
        if len(waking) and (next_wake := np.searchsorted(waking, begin)) < len(waking):
            stop = min(stop, waking[next_wake])
            while stop > begin + 1 and timing.engine[stop - 1] >= _FENCE:
                stop -= 1
        elif number + 1 == len(first):
            # What follows the last frame's results is not part of its latency.
            while stop > begin + 1 and (
                timing.engine[stop - 1] >= _FENCE
                or (layer_of[stop - 1] == state and timing.engine[stop - 1] == _STORE)
            ):
                stop -= 1
        ranges.append((int(begin), int(stop)))
    return ranges


def _chunk_latency(
    frames: list[tuple[int, int]], timing: Timing, stream: Stream, hardware: Hardware
) -> np.ndarray | None:
    """Seconds from a chunk's arrival (or the start of its load) to its last retirement.

    Those of chunks that begin together are alike.
    """
    if not frames:
        return None
    # Loads of weights that nothing in the frame waits for are the next one's.
    weight = timing.engine == _WEIGHT
    ends = np.array([timing.end[a:b][~weight[a:b]].max() for a, b in frames])
    begins = np.array([timing.arrival[a] or timing.start[a] for a, _ in frames])
    latency = (ends - begins) / hardware.clock_hz
    if stream.together == 1:
        return latency
    together = np.full(latency.size, stream.together)
    together[-1] += stream.frames - together.sum()
    return np.repeat(latency, together)


def _frame_latency(latency: np.ndarray, stream: Stream, chunks: Chunks) -> np.ndarray:
    """Seconds from each frame's own arrival: that of its chunk, and what it waited for the rest."""
    period_s = stream.period_s if stream.paced and stream.period_s is not None else 0.0
    later = np.arange(chunks.chunk_frames)[::-1]  # frames of the chunk that come after it
    rest = later * (period_s / chunks.chunk_frames)
    return (latency[:, None] + rest).reshape(-1)[chunks.is_frame()]


def _distribution(seconds: np.ndarray) -> dict[str, float]:
    """What is told of latencies."""
    return {
        "p50": float(np.percentile(seconds, 50)),
        "p95": float(np.percentile(seconds, 95)),
        "p99": float(np.percentile(seconds, 99)),
        "max": float(seconds.max()),
    }


def _weight_macs(trace: Trace, timing: Timing) -> int:
    """Products with weights, not with what was computed."""
    outline = outline_of(trace)
    has_tile = trace.tile_of[outline.positions] >= 0
    return int(timing.products.macs[has_tile].sum())


def _engines(
    trace: Trace,
    timing: Timing,
    hardware: Hardware,
    cycles: int,
) -> tuple[dict[str, int], dict[str, dict[str, int]]]:
    busy: dict[str, int] = {}
    decoding = 0
    stalls: dict[str, dict[str, int]] = {}
    for sums in engine_sums(trace, timing):
        busy[sums.engine] = sums.busy
        reasons = dict(zip(STALL_REASONS, sums.waiting, strict=False))
        reasons["no_work"] = sums.undispatched + cycles - sums.end
        stalls[sums.engine] = {
            reason: n for reason, n in reasons.items() if n or reason == "no_work"
        }
        if sums.engine == "weight":
            decoding = sums.working
    if hardware.decoder.at != "read":  # else there is none between DRAM and weight SRAM
        busy["decoder"] = decoding
        stalls["decoder"] = {
            "wait_dram": busy["weight"] - decoding,
            "no_work": cycles - busy["weight"],
        }
    issue = min(cycles, timing.issued_instructions * hardware.sequencer.issue_cycles)
    busy["sequencer"] = issue
    stalls["sequencer"] = {"no_work": cycles - issue}
    return busy, stalls


def _layers(
    program: Program,
    timing: Timing,
    places: _Places,
    parts: _Parts,
    peaks: np.ndarray,
    hardware: Hardware,
) -> tuple[LayerStatistics, ...]:
    """Per-layer figures; retirement is the running maximum of ends in program order."""
    end = np.ascontiguousarray(timing.without_idle(timing.end))
    products = timing.products
    spent, macs, executed = sums_by_layer(
        places.layer, len(peaks), end, products.macs, products.executed
    )
    moved, busy = parts.bursts * hardware.dram.burst_bytes, parts.busy
    decoding = parts.work[:, _WEIGHT]
    bus = timing.bursts * hardware.dram.burst_bytes * hardware.clock_hz / hardware.dram.bytes_per_s
    bus, ideal = bus[places.order], timing.products.ideal_cycles[places.order]
    result = []
    for number, name in enumerate(program.layers):
        mine = slice(places.bounds[number], places.bounds[number + 1])
        cycles, best = int(spent[number]), float(peaks[number])
        by_engine = {engine: int(busy[number, code]) for code, engine in enumerate(ENGINES)}
        if hardware.decoder.at != "read":
            by_engine["decoder"] = int(decoding[number])
        by_engine["dram"] = int(np.ceil(bus[mine].sum()))
        candidates = [name for name in ("dram", "decoder", "mac", "vector") if name in by_engine]
        result.append(
            LayerStatistics(
                name=name,
                cycles=cycles,
                dram_read_bytes=int(moved[number].sum() - moved[number, _STORE]),
                dram_write_bytes=int(moved[number, _STORE]),
                macs=int(macs[number]),
                macs_executed=int(executed[number]),
                macs_skipped=int(macs[number] - executed[number]),
                mac_utilization=int(executed[number]) / (cycles * best) if cycles and best else 0.0,
                busy_cycles=by_engine,
                ideal_mac_cycles=float(ideal[mine].sum()),
                busiest=max(candidates, key=lambda engine: by_engine[engine]),
            )
        )
    return tuple(result)
