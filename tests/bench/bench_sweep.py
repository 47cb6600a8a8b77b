"""Cost of a sweep's points against cold runs of the same points.

Run as a script: ``python tests/bench/bench_sweep.py [--share 0.01] [--cold 3] [SWEEP ...]``.

The two sweeps of the issue are run on a share of their points, drawn evenly: `clock_and_dram`,
10,000 points that differ in timing alone, and `codec_and_sparsity`, 1,000 that differ in what is
encoded.  A cold run is ``azsim run`` of one of these points in a process of its own, without any
result of an earlier one (``--no-cache``); kernels are compiled before, for both.

What all points of a group share is made once however many points there are, so a sample's mean
says too much of it.  The mean of the whole is told from the sample: points that only timed their
run, and the others, as many as the whole has groups.  With ``--share 1`` nothing is told.
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
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean

from azsim.sweeps.point import overrides_of
from azsim.sweeps.run import run_sweep
from azsim.sweeps.space import Sweep, Trial, designs
from azsim.sweeps.strategies import start
from azsim.sweeps.strategies.random import Options
from azsim.sweeps.sweep_file import load_sweep
from azsim.sweeps.worker import SweepEvaluator, code_sha256

SWEEPS = {"clock_and_dram": 100, "codec_and_sparsity": 5}
"""How many times less a point may take than a cold run."""


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
    evaluator = SweepEvaluator(sweep, code_sha256())
    everything = [Trial(0, design) for design in designs(sweep.axes, sweep.constraints)]
    groups = {evaluator.group(trial) for trial in everything}
    sample = replace(sweep, strategy="random", options=Options(round(share * len(everything))))
    trials = start(sample).ask()
    _cold_s(sweep, trials[0])  # compiles kernels
    cold = [_cold_s(sweep, trial) for trial in trials[:: len(trials) // cold_runs][:cold_runs]]
    begin = time.perf_counter()
    result = run_sweep(sample, folder, jobs=jobs)
    seconds = time.perf_counter() - begin
    with closing(sqlite3.connect(folder / "results.sqlite")) as store:
        rows = list(store.execute("select seconds, reused, state from points"))
    assert {state for _, _, state in rows} == {"done"}
    timed = [taken for taken, reused, _ in rows if _made(reused) == {"run"}]
    others = [taken for taken, reused, _ in rows if _made(reused) != {"run"}]
    total = len(groups) * mean(others) + (len(everything) - len(groups)) * mean(timed or [0])
    point_s = total / result.progress.workers / len(everything)
    if len(rows) == len(everything):
        point_s = seconds / len(rows)
    return Cost(
        name, len(everything), len(rows), len(groups), mean(cold), seconds, point_s, SWEEPS[name]
    )


def _made(reused: str) -> set[str]:
    """Stages that a point made, of the column that says what it reused."""
    return {stage for stage, counts in json.loads(reused).items() if "made" in counts}


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
    parser.add_argument("--share", type=float, default=0.01)
    parser.add_argument("--cold", type=int, default=3)
    parser.add_argument("--jobs", type=int)
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    arguments = parser.parse_args()
    os.environ["AZSIM_CACHE_DIR"] = tempfile.mkdtemp(prefix="azsim-bench-")
    found = []
    for name in arguments.sweeps:
        with tempfile.TemporaryDirectory() as folder:
            cost = measure(
                name,
                Path(folder),
                arguments.share,
                arguments.cold,
                arguments.jobs,
                arguments.overrides,
            )
        found.append(cost)
        sys.stdout.write(
            f"{name}: {cost.sampled:,} of {cost.points:,} points in {cost.groups:,} groups, "
            f"{cost.sweep_s:.1f} s\n"
            f"  cold run {cost.cold_s:.2f} s, point {cost.point_s:.3f} s, "
            f"{cost.ratio:.0f} times less (at least {cost.wanted} wanted)\n"
        )
        sys.stdout.flush()
    return 0 if all(cost.ratio >= cost.wanted for cost in found) else 1


if __name__ == "__main__":
    raise SystemExit(main())
