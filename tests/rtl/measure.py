"""Cycles of Verilog, cycle-stepped model and fast model, case by case, as lines of JSON.

::

    PYTHONPATH=tests python -m rtl.measure [--engine NAME ...] [--sweep NAME ...] [--seeds N]

Each line is an object: ``{"progress": [stage, done, total]}``, or a case with its engine, its place
in a sweep, all its parameters, and ``rtl_cycles``, ``stepped_cycles``, ``fast_cycles`` (null where
the case holds stalls that the fast model does not know), ``same_results``.  The study
timing_agreement makes its tables from these lines.
"""

from __future__ import annotations

import argparse
import functools
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from rtl.decoder_sweeps import decoder_points
from rtl.dram_sweeps import dram_points
from rtl.harness import Design, missing_tools
from rtl.mac_sweeps import mac_points
from rtl.pipeline_sweeps import joined_points
from rtl.point import Point
from rtl.tans_sweeps import tans_points

__all__ = ["ENGINES", "main"]

ENGINES: dict[str, Callable[[int], Iterator[Point]]] = {
    "mac_inner": functools.partial(mac_points, "inner"),
    "mac_outer": functools.partial(mac_points, "outer"),
    "bitmap": functools.partial(decoder_points, "bitmap"),
    "zero_run": functools.partial(decoder_points, "zero_run"),
    "lane_tans": tans_points,
    "dram": dram_points,
    "joined": joined_points,
}


def _say(**line: object) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def _key(design: Design) -> str:
    return repr((design.top, sorted(design.parameters.items())))


def _start_builds(pool: ThreadPoolExecutor, points: Sequence[Point]) -> dict[str, Future[Path]]:
    """Compile every design that the points need and that no earlier run or test has left."""
    builds: dict[str, Future[Path]] = {}
    for point in points:
        key = _key(point.design)
        if key not in builds:
            if not builds:
                point.design.library()  # verilator's own runtime comes with it, once
            builds[key] = pool.submit(point.design.library)
    return builds


def _row(point: Point) -> dict[str, object]:
    found = point.measure()
    return {
        "engine": point.engine,
        "sweep": point.sweep,
        "x": point.x,
        "series": point.series,
        "seed": point.seed,
        **point.parameters,
        "rtl_cycles": found.rtl,
        "stepped_cycles": found.stepped,
        "fast_cycles": found.fast,
        "same_results": found.same_results,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is asked for; 2 where tools are missing."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--engine", action="append", choices=list(ENGINES), help="all by default")
    parser.add_argument("--sweep", action="append", help="all by default")
    parser.add_argument("--seeds", type=int, default=3, help="cases of each kind")
    given = parser.parse_args(arguments)
    if missing := missing_tools():
        sys.stderr.write(f"{' and '.join(missing)} not found\n")
        return 2
    points = [
        point
        for engine in given.engine or ENGINES
        for point in ENGINES[engine](given.seeds)
        if given.sweep is None or point.sweep in given.sweep
    ]
    with ThreadPoolExecutor(2) as pool:
        builds = _start_builds(pool, points)
        for done, point in enumerate(points, 1):
            builds[_key(point.design)].result()
            _say(**_row(point))
            _say(progress=["Verilog", done, len(points)])
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
