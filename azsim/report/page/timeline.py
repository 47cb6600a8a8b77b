"""What the engines did when, out of a run's ``trace.json``, for charts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["engine_shares", "some_instructions"]

_PARTS = 240
_MOST_INSTRUCTIONS = 300
_NO_ENGINE = "sequencer"  # waits, and does nothing


@dataclass(frozen=True)
class _Events:
    """Events of engines from the first begin on, without the time in which no engine works.

    Attributes
    ----------
    engines : dict of int to str
        By number.
    entries : list of mapping
        As the trace has them.
    engine : ndarray of int
    start, end : ndarray of float
        In cycles.
    """

    engines: Mapping[int, str]
    entries: list[Mapping[str, Any]]
    engine: np.ndarray
    start: np.ndarray
    end: np.ndarray


def _events(trace: Mapping[str, Any]) -> _Events | None:
    """Events of a trace; None where there are none, or where they span waits for input."""
    names = {
        entry["tid"]: entry["args"]["name"]
        for entry in trace["traceEvents"]
        if entry["ph"] == "M" and entry["name"] == "thread_name"
    }
    engines = {number: name for number, name in names.items() if name != _NO_ENGINE}
    entries = [e for e in trace["traceEvents"] if e["ph"] == "X" and e["tid"] in engines]
    if not entries or trace["otherData"]["spans_idle"]:
        return None
    entries.sort(key=lambda entry: entry["ts"])
    cycles = trace["otherData"]["clock_hz"] * 1e-6
    start = np.rint(np.array([entry["ts"] for entry in entries]) * cycles)
    end = start + np.rint(np.array([entry["dur"] for entry in entries]) * cycles)
    before = np.concatenate([[0.0], np.maximum.accumulate(end)[:-1]])
    idle = np.cumsum(np.maximum(0, start - before))
    engine = np.array([entry["tid"] for entry in entries])
    return _Events(engines, entries, engine, start - idle, end - idle)


def engine_shares(trace: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Cut a run into parts of one length, and say how busy each engine is in them.

    Stretches in which no engine works, such as those between two frames of a stream, are left out.

    Parameters
    ----------
    trace : mapping
        Content of ``trace.json``.

    Returns
    -------
    list of dict
        ``engine``, ``from`` and ``to`` in cycles, ``share``; empty for a trace without events, or
        with events that span waits for input.
    """
    events = _events(trace)
    if events is None or not events.end.any():
        return []
    busy = np.array([entry["args"]["busy_cycles"] for entry in events.entries])
    edges = np.linspace(0, events.end.max(), _PARTS + 1)
    found: list[dict[str, Any]] = []
    for number, name in events.engines.items():
        mine = events.engine == number
        done = np.concatenate([[0.0], np.cumsum(busy[mine])])
        # Work that is done by each begin and each end; the first knot is for an engine without any.
        at = np.append(0.0, np.stack([events.start[mine], events.end[mine]], axis=1))
        work = np.append(0.0, np.stack([done[:-1], done[1:]], axis=1))
        shares = np.clip(np.diff(np.interp(edges, at, work)) / np.diff(edges), 0, 1)
        found += [
            {"engine": name, "from": round(low), "to": round(high), "share": round(share, 4)}
            for low, high, share in zip(edges[:-1], edges[1:], shares.tolist(), strict=True)
        ]
    return found


def some_instructions(trace: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Instructions from the middle of a run, or all where there are few.

    Parameters
    ----------
    trace : mapping
        Content of ``trace.json``.

    Returns
    -------
    list of dict
        ``engine``, ``from`` and ``to`` in cycles as `engine_shares` has them, ``instruction`` and
        ``layer``; empty for a trace that holds none of its own.
    """
    events, told = _events(trace), trace["otherData"]
    if events is None or told["shown_events"] != told["recorded_events"]:
        return []
    first = max(0, (len(events.entries) - _MOST_INSTRUCTIONS) // 2)
    return [
        {
            "engine": events.engines[int(events.engine[n])],
            "from": int(events.start[n]),
            "to": int(events.end[n]),
            "instruction": events.entries[n]["name"],
            "layer": events.entries[n]["args"]["layer"],
        }
        for n in range(first, min(first + _MOST_INSTRUCTIONS, len(events.entries)))
    ]
