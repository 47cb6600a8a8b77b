"""A run's timeline in the trace format of Chrome and Perfetto: one track an engine.

Times are simulated microseconds, waiting for input included.  A run of many events is aggregated:
first, neighbours on one engine that belong to one layer and follow each other closely become one
event; if that does not do, so many neighbours on one engine become one that the number of events
stays in bounds.  The trace's ``otherData`` says which of it was done.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from azsim.sim.result import Measured, Timeline

__all__ = ["MAX_EVENTS", "trace_document"]

MAX_EVENTS = 200_000
_FORMAT = "https://ui.perfetto.dev opens this file"
_PROCESS = 1
_APART_CYCLES = 1_000  # the same layer again after such a gap is another frame's


@dataclass(frozen=True)
class _Events:
    """Arrays of one length, ordered by track and start; times in cycles."""

    track: np.ndarray
    mnemonic: np.ndarray
    layer: np.ndarray
    start: np.ndarray
    end: np.ndarray
    busy: np.ndarray
    dram_bytes: np.ndarray
    merged: np.ndarray


def trace_document(result: Measured, max_events: int = MAX_EVENTS) -> dict[str, object]:
    """Return the content of ``trace.json``.

    Parameters
    ----------
    result : Measured
        One without events gives a trace without events.
    max_events : int
        Above so many events they are aggregated.

    Returns
    -------
    dict
        Of plain values.
    """
    timeline = result.events
    events = _ordered(timeline) if timeline else None
    tracks = timeline.engines if timeline else ()
    if events is not None and len(events.track) and events.track[-1] == len(tracks):
        tracks = (*tracks, "sequencer")
    recorded = 0 if events is None else len(events.start)
    aggregation, spans_idle = "none", False
    if events is not None and recorded > max_events:
        events = _merge(events, _by_layer(events))
        aggregation = (
            f"consecutive events of one engine and layer, less than {_APART_CYCLES:,} cycles "
            "apart, are one event"
        )
        if len(events.start) > max_events:
            size = -(-len(events.start) // max(1, max_events - len(tracks)))
            events = _merge(events, _by_count(events, size))
            aggregation = f"{size} consecutive stretches of one engine are one event"
            spans_idle = True
    shown = [] if events is None or timeline is None else list(_complete(events, timeline, result))
    return {
        "displayTimeUnit": "ns",
        "otherData": {
            "made_by": "azsim",
            "viewer": _FORMAT,
            "workload": result.name,
            "hardware": result.hardware,
            "clock_hz": result.clock_hz,
            "time": "simulated microseconds, waiting for input included",
            "recorded_events": recorded,
            "shown_events": len(shown),
            "aggregation": aggregation,
            "spans_idle": spans_idle,  # whether an event may hold long waits for input
        },
        "traceEvents": [*_names(tracks, result), *shown],
    }


def _names(tracks: tuple[str, ...], result: Measured) -> Iterator[dict[str, object]]:
    name = f"{result.name} on {result.hardware}"
    yield {"ph": "M", "pid": _PROCESS, "tid": 0, "name": "process_name", "args": {"name": name}}
    for number, track in enumerate(tracks, 1):
        common = {"ph": "M", "pid": _PROCESS, "tid": number}
        yield {**common, "name": "thread_name", "args": {"name": track}}
        yield {**common, "name": "thread_sort_index", "args": {"sort_index": number}}


def _ordered(timeline: Timeline) -> _Events:
    track = np.minimum(np.asarray(timeline.engine), len(timeline.engines)).astype(np.int64)
    start, end = np.asarray(timeline.start), np.asarray(timeline.end)
    order = np.lexsort((np.arange(len(start)), start, track))
    return _Events(
        track[order],
        np.asarray(timeline.mnemonic_of)[order].astype(np.int64),
        np.asarray(timeline.layer_of)[order].astype(np.int64),
        start[order].astype(np.int64),
        end[order].astype(np.int64),
        (end - start)[order].astype(np.int64),
        np.asarray(timeline.dram_bytes)[order].astype(np.int64),
        np.ones(len(start), np.int64),
    )


def _by_layer(events: _Events) -> np.ndarray:
    """First positions of runs of close events that share track and layer."""
    changes = (np.diff(events.track) != 0) | (np.diff(events.layer) != 0)
    changes |= events.start[1:] - events.end[:-1] >= _APART_CYCLES
    return np.concatenate([[0], np.flatnonzero(changes) + 1])


def _by_count(events: _Events, size: int) -> np.ndarray:
    """First positions of runs of `size` events of one track."""
    track_starts = np.searchsorted(events.track, events.track)
    return np.flatnonzero((np.arange(len(events.track)) - track_starts) % size == 0)


def _merge(events: _Events, first: np.ndarray) -> _Events:
    """One event for each run; -2 stands for more than one mnemonic or layer."""

    def common(values: np.ndarray) -> np.ndarray:
        low, high = np.minimum.reduceat(values, first), np.maximum.reduceat(values, first)
        return np.where(low == high, low, -2)

    return _Events(
        events.track[first],
        common(events.mnemonic),
        common(events.layer),
        events.start[first],
        np.maximum.reduceat(events.end, first),
        np.add.reduceat(events.busy, first),
        np.add.reduceat(events.dram_bytes, first),
        np.add.reduceat(events.merged, first),
    )


def _complete(events: _Events, timeline: Timeline, result: Measured) -> Iterator[dict[str, object]]:
    """Complete events ("X"); cycles are exact, microseconds are rounded to a picosecond."""
    microseconds = 1e6 / result.clock_hz
    start = np.round(events.start * microseconds, 6).tolist()
    duration = np.round((events.end - events.start) * microseconds, 6).tolist()
    rows = zip(
        events.track.tolist(),
        events.mnemonic.tolist(),
        events.layer.tolist(),
        events.busy.tolist(),
        events.dram_bytes.tolist(),
        events.merged.tolist(),
        start,
        duration,
        strict=True,
    )
    for track, mnemonic, layer, busy, dram_bytes, merged, ts, dur in rows:
        layer_name = _name(timeline.layer, layer, "several layers")
        name = _name(timeline.mnemonic, mnemonic, layer_name)
        arguments: dict[str, object] = {"layer": layer_name, "busy_cycles": busy}
        if dram_bytes:
            arguments["dram_bytes"] = dram_bytes  # whole bursts, as in the summary
        if merged > 1:
            arguments["instructions"] = merged
        yield {
            "ph": "X",
            "pid": _PROCESS,
            "tid": track + 1,
            "name": name,
            "ts": ts,
            "dur": dur,
            "args": arguments,
        }


def _name(names: tuple[str, ...], number: int, several: str) -> str:
    if number >= 0:
        return names[number]
    return "" if number == -1 else several
