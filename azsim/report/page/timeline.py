"""How busy every engine is over a run, out of its ``trace.json``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["engine_shares"]

_PARTS = 240
_NO_ENGINE = "sequencer"  # waits, and does nothing


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
    if trace["otherData"]["spans_idle"]:
        return []
    names = {
        entry["tid"]: entry["args"]["name"]
        for entry in trace["traceEvents"]
        if entry["ph"] == "M" and entry["name"] == "thread_name"
    }
    events = [
        (entry["tid"], entry["ts"], entry["dur"], entry["args"]["busy_cycles"])
        for entry in trace["traceEvents"]
        if entry["ph"] == "X" and names[entry["tid"]] != _NO_ENGINE
    ]
    if not events:
        return []
    track, start, length, busy = np.array(sorted(events, key=lambda event: event[1])).T
    cycles = trace["otherData"]["clock_hz"] * 1e-6
    start, length = np.rint(start * cycles), np.rint(length * cycles)
    before = np.concatenate([[0.0], np.maximum.accumulate(start + length)[:-1]])
    start -= np.cumsum(np.maximum(0, start - before))  # what no engine works in
    edges = np.linspace(0, (start + length).max(), _PARTS + 1)
    found: list[dict[str, Any]] = []
    for number, name in names.items():
        if name == _NO_ENGINE or not edges[-1]:
            continue
        mine = track == number
        done = np.concatenate([[0.0], np.cumsum(busy[mine])])
        # Work that is done by each begin and each end; the first knot is for an engine without any.
        at = np.append(0.0, np.stack([start[mine], start[mine] + length[mine]], axis=1))
        work = np.append(0.0, np.stack([done[:-1], done[1:]], axis=1))
        shares = np.clip(np.diff(np.interp(edges, at, work)) / np.diff(edges), 0, 1)
        found += [
            {"engine": name, "from": round(low), "to": round(high), "share": round(share, 4)}
            for low, high, share in zip(edges[:-1], edges[1:], shares.tolist(), strict=True)
        ]
    return found
