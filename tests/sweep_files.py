"""Small files of sweep results, made from arrays."""

from __future__ import annotations

import itertools
import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from azsim.sweeps.objectives import figure

SCHEMA = """
create table meta(key text primary key, value text);
create table points(
    number integer primary key, rung integer,
    state text check (state in ('done', 'infeasible', 'failed')),
    design text, figures text, key text, summary text, message text, traceback text, reused text,
    tries integer, seconds real, worker text, finished text
);
"""
AXES = {
    "codec": "workload.compression.default.codec",
    "clock": "hardware.clock_hz",
    "lanes": "hardware.mac.lanes",
}
OBJECTIVES = {
    "latency": {"key": "frame_latency_s.p99", "goal": "minimize", "unit": "s"},
    "accuracy": {"key": "outputs.y.sqnr_db", "goal": "maximize", "unit": "dB"},
    "traffic": {"key": "dram_read_bytes", "goal": "minimize", "unit": "B"},
}
GRID = {"codec": ["bitmap", "lane_tans"], "clock": [200e6, 400e6, 800e6], "lanes": [8, 16, 32]}


def model(design: Mapping[str, Any]) -> dict[str, Any]:
    """A summary that follows from a design by closed forms."""
    tans = design["codec"] == "lane_tans"
    cycles = 1e6 / design["lanes"] + (2e4 if tans else 5e3)
    return {
        "cycles": int(cycles),
        "frame_latency_s": {"p99": cycles / design["clock"]},
        "outputs": {"y": {"sqnr_db": 40.0 - design["lanes"] / 8, "sha256": "ab"}},
        "dram_read_bytes": 60_000 if tans else 100_000,
        "bit_exact": None,
    }


def grid_designs(axes: Mapping[str, Sequence[Any]] = GRID) -> list[dict[str, Any]]:
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


def point(number: int, design: Mapping[str, Any], **columns: Any) -> dict[str, Any]:
    """A row of `points`; `summary` may be a mapping or None."""
    summary = columns.pop("summary") if "summary" in columns else model(design)
    figures = {name: figure(summary or {}, entry["key"]) for name, entry in OBJECTIVES.items()}
    row = {
        "number": number,
        "rung": 0,
        "state": "done",
        "design": json.dumps(design),
        "figures": json.dumps(figures),
        "key": f"{number:064x}",
        "summary": None if summary is None else json.dumps(summary),
        "message": None,
        "traceback": None,
        "reused": json.dumps({"prepare": "memory"}),
        "tries": 1,
        "seconds": 0.25,
        "worker": "0",
        "finished": "2026-11-20T23:00:00+00:00",
    }
    return row | columns


def write_results(
    folder: Path,
    points: Sequence[Mapping[str, Any]],
    axes: Mapping[str, str] = AXES,
    objectives: Mapping[str, Any] = OBJECTIVES,
    change: Callable[[sqlite3.Connection], None] | None = None,
) -> Path:
    """Write a folder as a sweep leaves it."""
    folder.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(folder / "results.sqlite")
    connection.execute("pragma journal_mode = wal")
    connection.executescript(SCHEMA)
    definition = {"name": "small", "workload": "vad_silero", "strategy": {"grid": {}}}
    meta = {
        "schema_version": "1",
        "name": "small",
        "definition": json.dumps(definition),
        "axes": json.dumps([{"name": n, "kind": "path", "target": t} for n, t in axes.items()]),
        "objectives": json.dumps([{"name": name, **rest} for name, rest in objectives.items()]),
        "versions": json.dumps({"azsim": "0.1.0"}),
        "created": "2026-11-20T22:55:00+00:00",
    }
    connection.executemany("insert into meta values (?, ?)", meta.items())
    columns = [f'json_extract(design, \'$."{name}"\') as "{name}"' for name in axes]
    columns += [f'json_extract(figures, \'$."{name}"\') as "{name}"' for name in objectives]
    connection.execute(
        f"create view results as select number, rung, state, message, {', '.join(columns)} "
        "from points"
    )
    for row in points:
        marks = ", ".join("?" * len(row))
        connection.execute(
            f"insert into points ({', '.join(row)}) values ({marks})", [*row.values()]
        )
    connection.commit()
    if change is not None:
        change(connection)
    connection.close()
    return folder
