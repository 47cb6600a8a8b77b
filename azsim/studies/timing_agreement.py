"""How far are azsim's cycles from those of Verilog and of models stepped cycle by cycle?

Each engine alone and the engines joined, over zeros, bits, shapes, queue depths, windows and DRAM
settings: Verilog against the cycle-stepped model against the fast model that every run uses; and
whole workloads, fast against cycle-stepped.
"""  # noqa: D400 - a study starts with its question

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from azsim.errors import InputError
from azsim.resources import checkout_root
from azsim.studies._write import Figure, figures_text, write_study

if TYPE_CHECKING:
    from azsim.studies._timing_agreement_rows import Case

__all__ = ["run", "sample"]

# What computes is imported where it is used: the list of studies is quick, what they run is not.

NAME = "timing_agreement"
_TOOLS = ("verilator", "g++")
_SAMPLE = ("shape", "size", "channels", "rows")  # sweeps with one design for each engine

_Progress = Callable[[str, int, int], None]


def run(directory: Path, progress: _Progress | None = None) -> None:
    """Make the study anew: text, ``data.json``, tables of all cases and layers, and plots.

    Parameters
    ----------
    directory : Path
        Made if it is missing.
    progress : callable, optional
        ``progress(stage, done, total)``.

    Raises
    ------
    InputError
        If azsim does not run from a source tree, a tool is missing, the Verilog cannot be
        measured, or the directory cannot be written.
    FetchError
        If model or recording of the workload cannot be had.
    """
    from azsim.studies._timing_agreement_plots import plots
    from azsim.studies._timing_agreement_rows import case_figures, cases_to_csv
    from azsim.studies._timing_agreement_text import readme
    from azsim.studies._timing_agreement_workloads import (
        layers_to_csv,
        run_workloads,
        workload_figures,
    )

    cases = measure_cases((), progress)
    layers, inputs = run_workloads(progress)
    figures = {**case_figures(cases), **workload_figures(layers)}
    files = {**inputs, **_verilog_files(_rtl_folder())}
    write_study(
        directory,
        {
            "README.md": readme(figures, cases, layers, inputs),
            "data.json": figures_text(NAME, figures, files),
            "cases.csv": cases_to_csv(cases),
            "layers.csv": layers_to_csv(layers),
            **plots(figures, cases, layers),
        },
    )


def sample() -> Mapping[str, Figure]:
    """Compute a few of the figures anew, for a test to compare with the committed ones."""
    from azsim.studies._timing_agreement_rows import point_figures
    from azsim.studies._timing_agreement_workloads import run_workloads, workload_figures

    sweeps = [part for name in _SAMPLE for part in ("--sweep", name)]
    figures = point_figures(measure_cases(sweeps, None))
    layers, _ = run_workloads(None, ("dense_npu",))
    return figures | workload_figures(layers)


def _rtl_folder() -> Path:
    """Return the folder of the Verilog."""
    root = checkout_root()
    folder = None if root is None else root / "tests" / "rtl"
    if folder is None or not (folder / "measure.py").is_file():
        raise InputError(
            f"{NAME} measures the Verilog of azsim's source tree (tests/rtl), which this "
            f"installation does not have; run it in a checkout: python -m azsim study {NAME}"
        )
    return folder


def _check_tools() -> None:
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if missing:
        raise InputError(
            f"{NAME} compares with Verilog, which needs {' and '.join(missing)}, not found here; "
            f"apt install {' '.join(missing)}"
        )


def _verilog_files(folder: Path) -> dict[str, str]:
    """Return the sha256 of every Verilog file."""
    return {
        f"tests/rtl/{path.name}": hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.glob("*.v"))
    }


def measure_cases(arguments: Sequence[str], progress: _Progress | None) -> list[Case]:
    """Run ``tests/rtl/measure.py`` and return its cases.

    Parameters
    ----------
    arguments : sequence of str
        Of the script: which engines and sweeps, how many seeds.
    progress : callable or None

    Raises
    ------
    InputError
        See `run`.
    """
    from azsim.studies._timing_agreement_rows import read_case

    folder = _rtl_folder()
    _check_tools()
    cases = []
    for entry in _lines(folder, arguments):
        if "progress" in entry:
            if progress is not None:
                progress(*entry["progress"])
        else:
            cases.append(read_case(entry))
    return cases


def _lines(folder: Path, arguments: Sequence[str]) -> Iterator[dict]:
    """Yield the objects that the script prints, as they come."""
    root = folder.parents[1]
    given = os.environ.get("PYTHONPATH", "")
    path = os.pathsep.join(filter(None, [str(root), str(folder.parent), given]))
    with tempfile.TemporaryFile("w+", encoding="utf-8") as complaints:
        with subprocess.Popen(
            [sys.executable, "-m", "rtl.measure", *arguments],
            stdout=subprocess.PIPE,
            stderr=complaints,
            text=True,
            env={**os.environ, "PYTHONPATH": path},
        ) as script:
            assert script.stdout is not None
            try:
                yield from map(json.loads, script.stdout)
            except BaseException:  # who reads has stopped, or the line is none
                script.kill()
                raise
        if script.returncode:
            complaints.seek(0)
            last = complaints.read().strip().splitlines()[-1:]
            why = last[0] if last else f"exit code {script.returncode}"
            raise InputError(f"tests/rtl/measure.py failed: {why}")
