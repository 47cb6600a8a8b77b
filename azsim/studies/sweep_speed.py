"""How much cheaper than a cold run is a point of a sweep?

The sweeps `clock_and_dram`, 10,000 points that differ in timing alone, on the largest workload, and
`codec_and_sparsity`, 1,000 points that are encoded, compiled and run anew, as a whole.
"""  # noqa: D400 - a study starts with its question

from __future__ import annotations

import functools
import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from azsim.errors import InputError
from azsim.studies._svg import Axis, bars
from azsim.studies._write import Figure, Progress, figures_text, table, write_study

__all__ = ["SWEEPS", "plots", "readme", "run", "sample"]

# What computes is imported where it is used: the list of studies is quick, what they run is not.

NAME = "sweep_speed"
SWEEPS: Mapping[str, int] = {"clock_and_dram": 100, "codec_and_sparsity": 5}
"""How many times less a point has to take than a cold run."""
_COLD_RUNS = 5


def run(directory: Path, progress: Callable[[str, int, int], None] | None = None) -> None:
    """Make the study anew: ``README.md``, ``data.json`` and a plot in `directory`.

    Takes about half an hour, all cores of it; what else the machine does is in the figures.

    Parameters
    ----------
    directory : Path
        Made if it is missing.
    progress : callable, optional
        ``progress(stage, done, total)``.

    Raises
    ------
    InputError
        If the directory cannot be written, or a point fails.
    """
    steps = Progress(progress, len(SWEEPS))
    figures: dict[str, Figure] = {}
    for name in SWEEPS:
        figures |= _figures(_measured(name))
        steps.step(f"measure {name}")
    files = {
        "README.md": readme(figures),
        "data.json": figures_text(NAME, figures, {}),
        **plots(figures),
    }
    write_study(directory, files)


def sample() -> Mapping[str, Figure]:
    """Count points and groups anew: of the figures, those that are no times."""
    from azsim.studies._sweep_speed_measure import count

    found = {}
    for name in SWEEPS:
        points, groups = count(name)
        found[f"{name}.points"] = Figure(points, "points")
        found[f"{name}.groups"] = Figure(groups, "groups")
    return found


def _measured(name: str) -> dict[str, Any]:
    """Measure in a process of its own, whose kernels and results lie in a folder of their own."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cost.json"
        command = [sys.executable, "-m", "azsim.studies._sweep_speed_measure", name]
        command += ["--share", "1", "--cold", str(_COLD_RUNS), "--json", str(path)]
        done = subprocess.run(command, capture_output=True, text=True)
        if not path.is_file():
            raise InputError(f"{name} could not be measured: {done.stderr.strip()[-500:]}")
        (cost,) = json.loads(path.read_text("utf-8"))
    return cost


def _figures(cost: Mapping[str, Any]) -> dict[str, Figure]:
    name = cost["sweep"]
    return {
        f"{name}.points": Figure(cost["points"], "points"),
        f"{name}.run": Figure(cost["sampled"], "points"),
        f"{name}.groups": Figure(cost["groups"], "groups"),
        f"{name}.workers": Figure(cost["workers"], "processes"),
        f"{name}.cold": Figure(round(cost["cold_s"], 2), "s"),
        f"{name}.sweep": Figure(round(cost["sweep_s"], 1), "s"),
        f"{name}.point": Figure(round(cost["point_s"], 5), "s"),
        f"{name}.ratio": Figure(round(cost["cold_s"] / cost["point_s"], 1), "1"),
    }


def readme(figures: Mapping[str, Figure]) -> str:
    """Return the study's ``README.md``."""
    value = functools.partial(_value, figures)
    heads = (
        *("sweep", "points", "groups", "points run", "whole sweep (s)", "a point (ms)"),
        *("cold run (s)", "times less", "wanted"),
    )
    rows = [
        (
            f"`{name}`",
            f"{value(name, 'points'):,}",
            f"{value(name, 'groups'):,}",
            f"{value(name, 'run'):,}",
            f"{value(name, 'sweep'):,.0f}",
            f"{1000 * value(name, 'point'):.1f}",
            f"{value(name, 'cold'):.2f}",
            f"{value(name, 'ratio'):.0f}",
            str(wanted),
        )
        for name, wanted in SWEEPS.items()
    ]
    timing, codecs = SWEEPS
    workers = int(max(value(name, "workers") for name in SWEEPS))
    return f"""# How much cheaper than a cold run is a point of a sweep?

Made by `azsim study sweep_speed -o reports/sweep_speed`, and not edited by hand. Every number below
is in [data.json](data.json).

## Answer

A point that differs in timing alone takes {value(timing, "ratio"):.0f} times less than a cold run
of it, one that is encoded, compiled and run anew {value(codecs, "ratio"):.0f} times less.

{table(heads, rows)}

![Points for the time of one cold run](points.svg)

*A point* is the wall-clock time of the whole sweep over its points, with the start of {workers}
worker processes, their imports and every commit. *Cold run* is the mean of {_COLD_RUNS} of the same
points as `azsim run --no-cache`, each in a process of its own. *Groups* are points with the same
bits: `{timing}` has one, whose trace each point replays; each point of `{codecs}` is encoded,
compiled, proved and run on its own, and shares the model, its input, the float reference and, with
the same bits and zeros, the codes. Kernels were compiled before; no result of a stage was there.

## What was run, and what is assumed

- `{timing}`: Mamba of 130 million parameters, the workload of the tree with the most weights, on
  four tokens; `{codecs}`: the speech detector `vad_silero` on one second.
- Times are those of the machine that made the study, and of what else it did meanwhile. Assumption:
  the ratio of two times of one machine, taken one after the other, says something of others.
- `python tests/bench/bench_sweep.py` measures a hundredth of the points on yours, and fails below
  what is wanted; so does the project's CI.
"""


def plots(figures: Mapping[str, Figure]) -> dict[str, str]:
    """Return the plot by file name."""
    ratios = {name: _value(figures, name, "ratio") for name in SWEEPS}
    step = 10 ** math.floor(math.log10(max(ratios.values())))
    ticks = tuple(step * i for i in range(math.ceil(max(ratios.values()) / step) + 1))
    axis = Axis("points for the time of one cold run", ticks, tuple(f"{t:g}" for t in ticks))
    rows = [
        (name, (ratio,), f"{ratio:.0f}, at least {SWEEPS[name]} wanted")
        for name, ratio in ratios.items()
    ]
    return {"points.svg": bars("Points for the time of one cold run", axis, ("points",), rows)}


def _value(figures: Mapping[str, Figure], name: str, key: str) -> float:
    return figures[f"{name}.{key}"].value
