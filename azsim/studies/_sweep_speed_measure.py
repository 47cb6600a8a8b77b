"""Cost of a sweep's points against cold runs of the same points; a program of its own.

A cold run is ``azsim run`` of a point in a process of its own, without any result of an earlier one
(``--no-cache``).  Kernels are compiled before, for both; results of stages lie in a new folder.

What points share (kernels, the model, a trace, an array's geometry) is made by a few of them,
however many there are, so the mean of a sample says too much of the whole.  That is told from a
sample as its median for each point, and once what all points of the sample took beyond it.  Nothing
is told where all points are run.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import mean, median

from azsim.studies.sweep_speed import SWEEPS
from azsim.sweeps.point import overrides_of
from azsim.sweeps.processes import cores
from azsim.sweeps.run import run_sweep
from azsim.sweeps.space import Sweep, Trial, designs
from azsim.sweeps.strategies import start
from azsim.sweeps.strategies.random import Options
from azsim.sweeps.sweep_file import load_sweep
from azsim.sweeps.worker import SweepEvaluator, code_sha256

__all__ = ["Cost", "count", "main", "measure"]


@dataclass(frozen=True)
class Cost:
    """What one sweep's points take.

    Attributes
    ----------
    sweep : str
    points, sampled : int
        Of the whole, and run.
    groups : int
        Of points with the same bits, in the whole.
    workers : int
    cold_s : float
        Mean of the cold runs.
    sweep_s : float
        Wall-clock time of the sample, workers' start included.
    point_s : float
        Mean of a point of the whole; see the module.
    wanted : int
    """

    sweep: str
    points: int
    sampled: int
    groups: int
    workers: int
    cold_s: float
    sweep_s: float
    point_s: float
    wanted: int

    @property
    def ratio(self) -> float:
        """Cold run over point."""
        return self.cold_s / self.point_s


def measure(
    name: str,
    folder: Path,
    share: float = 0.01,
    cold_runs: int = 3,
    jobs: int | None = None,
    overrides: Sequence[str] = (),
) -> Cost:
    """Run a share of a sweep's points, and some of them cold."""
    sweep = load_sweep(name, overrides)
    points, groups = _count(sweep)
    sample = replace(sweep, strategy="random", options=Options(round(share * points)))
    trials = start(sample).ask()
    _cold_s(sweep, trials[0])  # compiles kernels
    cold = [_cold_s(sweep, trial) for trial in trials[:: len(trials) // cold_runs][:cold_runs]]
    begin = time.perf_counter()
    run_sweep(sample, folder, jobs=jobs)
    seconds = time.perf_counter() - begin
    with closing(sqlite3.connect(folder / "results.sqlite")) as store:
        rows = list(store.execute("select seconds, state from points"))
    assert {state for _, state in rows} == {"done"}
    workers = jobs or cores()
    # What points share makes a few of them slow, and is counted once.
    typical = median(taken for taken, _ in rows)
    total = typical * points + sum(taken - typical for taken, _ in rows)
    whole = len(rows) == points
    point_s = seconds / points if whole else total / workers / points
    wanted = SWEEPS[name]
    return Cost(name, points, len(rows), groups, workers, mean(cold), seconds, point_s, wanted)


def count(name: str) -> tuple[int, int]:
    """Return how many points and groups a sweep has."""
    return _count(load_sweep(name))


def _count(sweep: Sweep) -> tuple[int, int]:
    evaluator = SweepEvaluator(sweep, code_sha256())
    trials = [Trial(0, design) for design in designs(sweep.axes, sweep.constraints)]
    return len(trials), len({evaluator.group(trial) for trial in trials})


def _cold_s(sweep: Sweep, trial: Trial) -> float:
    """Seconds of ``azsim run`` of one point."""
    command = [sys.executable, "-m", "azsim", "run", str(sweep.workload), "--no-cache"]
    command += [part for text in overrides_of(sweep, trial) for part in ("--set", text)]
    with tempfile.TemporaryDirectory() as name:
        begin = time.perf_counter()
        subprocess.run([*command, "-o", f"{name}/run"], check=True, capture_output=True)
        return time.perf_counter() - begin


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("sweeps", nargs="*", default=list(SWEEPS), metavar="SWEEP")
    parser.add_argument("--share", type=float, default=0.01, help="of the points, drawn evenly")
    parser.add_argument("--cold", type=int, default=3, help="cold runs")
    parser.add_argument("--jobs", type=int)
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    parser.add_argument("--json", type=Path, help="file for the figures")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as cache:
        os.environ["AZSIM_CACHE_DIR"] = cache
        found = []
        for name in arguments.sweeps:
            folder = Path(cache) / "sweeps" / name
            given = arguments.share, arguments.cold, arguments.jobs, arguments.overrides
            found.append(measure(name, folder, *given))
            sys.stdout.write(_told(found[-1]))
            sys.stdout.flush()
    if arguments.json is not None:
        arguments.json.write_text(json.dumps([asdict(cost) for cost in found]), "utf-8")
    return 0 if all(cost.ratio >= cost.wanted for cost in found) else 1


def _told(cost: Cost) -> str:
    return (
        f"{cost.sweep}: {cost.sampled:,} of {cost.points:,} points in {cost.groups:,} groups, "
        f"{cost.sweep_s:.1f} s\n"
        f"  cold run {cost.cold_s:.2f} s, point {cost.point_s:.4f} s, "
        f"{cost.ratio:.1f} times less (at least {cost.wanted} wanted)\n"
    )


if __name__ == "__main__":
    raise SystemExit(main())
