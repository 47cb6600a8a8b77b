"""What the engines did when, out of a run's ``trace.json``, for charts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Events", "read_events"]

_PARTS = 240
_MOST_INSTRUCTIONS = 300
_NO_ENGINE = "sequencer"  # waits, and does nothing


@dataclass(frozen=True)
class Events:
    """Events of engines from the first begin on, without the time in which no engine works.

    So the waits between two frames of a stream are left out.

    Attributes
    ----------
    engines : dict of int to str
        By number.
    entries : list of mapping
        As the trace has them, in the order of their begins.
    engine : ndarray of int
    start, end : ndarray of float
        In cycles.
    are_instructions : bool
        Whether none of them stands for several.
    """

    engines: Mapping[int, str]
    entries: list[Mapping[str, Any]]
    engine: np.ndarray
    start: np.ndarray
    end: np.ndarray
    are_instructions: bool

    def engine_shares(self) -> list[dict[str, Any]]:
        """Cut the run into parts of one length, and say how busy each engine is in them.

        Returns
        -------
        list of dict
            ``engine``, ``from`` and ``to`` in cycles, ``share``; empty for a run of no cycles.
        """
        if not self.end.any():
            return []
        busy = np.array([entry["args"]["busy_cycles"] for entry in self.entries])
        edges = np.linspace(0, self.end.max(), _PARTS + 1)
        found: list[dict[str, Any]] = []
        for number, name in self.engines.items():
            mine = self.engine == number
            done = np.concatenate([[0.0], np.cumsum(busy[mine])])
            # Work done by each begin and end; the first knot is for an engine without any.
            at = np.append(0.0, np.stack([self.start[mine], self.end[mine]], axis=1))
            work = np.append(0.0, np.stack([done[:-1], done[1:]], axis=1))
            shares = np.clip(np.diff(np.interp(edges, at, work)) / np.diff(edges), 0, 1)
            found += [
                {"engine": name, "from": round(low), "to": round(high), "share": round(share, 4)}
                for low, high, share in zip(edges[:-1], edges[1:], shares.tolist(), strict=True)
            ]
        return found

    def some_instructions(self) -> list[dict[str, Any]]:
        """Take instructions from the middle of the run, or all where there are few.

        Returns
        -------
        list of dict
            ``engine``, ``from`` and ``to`` in cycles, ``instruction`` and ``layer``; empty where
            events stand for several.
        """
        if not self.are_instructions:
            return []
        first = max(0, (len(self.entries) - _MOST_INSTRUCTIONS) // 2)
        return [
            {
                "engine": self.engines[int(self.engine[n])],
                "from": int(self.start[n]),
                "to": int(self.end[n]),
                "instruction": self.entries[n]["name"],
                "layer": self.entries[n]["args"]["layer"],
            }
            for n in range(first, min(first + _MOST_INSTRUCTIONS, len(self.entries)))
        ]


def read_events(trace: Mapping[str, Any]) -> Events | None:
    """Read a trace.

    Parameters
    ----------
    trace : mapping
        Content of ``trace.json``.

    Returns
    -------
    Events or None
        None where there are no events, or where they span waits for input.
    """
    told = trace["otherData"]
    names = {
        entry["tid"]: entry["args"]["name"]
        for entry in trace["traceEvents"]
        if entry["ph"] == "M" and entry["name"] == "thread_name"
    }
    engines = {number: name for number, name in names.items() if name != _NO_ENGINE}
    entries = [e for e in trace["traceEvents"] if e["ph"] == "X" and e["tid"] in engines]
    if not entries or told["spans_idle"]:
        return None
    entries.sort(key=lambda entry: entry["ts"])
    cycles = told["clock_hz"] * 1e-6
    start = np.rint(np.array([entry["ts"] for entry in entries]) * cycles)
    end = start + np.rint(np.array([entry["dur"] for entry in entries]) * cycles)
    before = np.concatenate([[0.0], np.maximum.accumulate(end)[:-1]])
    idle = np.cumsum(np.maximum(0, start - before))
    engine = np.array([entry["tid"] for entry in entries])
    is_whole = told["shown_events"] == told["recorded_events"]
    return Events(engines, entries, engine, start - idle, end - idle, is_whole)
