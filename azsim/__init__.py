"""Simulator of an AZ-style neural edge processor that runs the compressed bits of real models.

>>> import azsim
>>> workload = azsim.load_workload("vad_silero")  # doctest: +SKIP
>>> result = azsim.run(workload, azsim.load_hardware("az2"))  # doctest: +SKIP
>>> result.statistics.cycles  # doctest: +SKIP
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from azsim import errors
    from azsim.frontend.workload import Workload, load_workload
    from azsim.hardware import Hardware, load_hardware
    from azsim.pipeline import run, run_kernel
    from azsim.sim.kernel_result import KernelResult
    from azsim.sim.result import Comparison, RunResult
    from azsim.sweeps.cluster import Cluster
    from azsim.sweeps.progress import SweepResult, Watch

__all__ = [
    "KernelResult",
    "RunResult",
    "errors",
    "load_hardware",
    "load_workload",
    "run",
    "run_kernel",
    "sweep",
    "verify",
]

# Imported when first asked for, so that `import azsim` and `azsim --help` are quick.
_HOMES = {
    "KernelResult": "azsim.sim.kernel_result",
    "RunResult": "azsim.sim.result",
    "load_hardware": "azsim.hardware",
    "load_workload": "azsim.frontend.workload",
    "run": "azsim.pipeline",
    "run_kernel": "azsim.pipeline",
}


def verify(
    workload: Workload | str | Path, hardware: Hardware | str | Path | None = None
) -> Comparison:
    """Run a workload and compare it, bit for bit, with the reference evaluator.

    Parameters
    ----------
    workload : Workload, str or path
    hardware : Hardware, str or path, optional
        Both as for `run`; the workload's own chip by default.

    Returns
    -------
    Comparison
        With the first tensor that differs, and those that exist on one side only.

    Raises
    ------
    AzsimError
        As `run`.
    """
    from azsim.pipeline import run

    comparison = run(workload, hardware, verify=True, timeline=False).comparison
    assert comparison is not None
    return comparison


def sweep(
    file_or_name: str | Path,
    folder: str | Path | None = None,
    *,
    overrides: Iterable[str] = (),
    jobs: int | None = None,
    cluster: Cluster | None = None,
    budget_s: float | None = None,
    restart: bool = False,
    progress: Watch | None = None,
) -> SweepResult:
    """Evaluate the points of a sweep; those that its folder has are not done again.

    Workers are processes that import the script that calls this: there it belongs behind
    ``if __name__ == "__main__":``.

    Parameters
    ----------
    file_or_name : str or path
        A sweep file, or the name of a sweep that travels with azsim.
    folder : str or path, optional
        Of ``results.sqlite``; ``reports/runs/sweeps/NAME`` by default, outside of a checkout
        ``azsim-runs/sweeps/NAME``.
    overrides : iterable of str
        Such as ``workload.input.random.frames=4``, for all points.
    jobs : int, optional
        Worker processes; one per core by default.
    cluster : Cluster, optional
        Dask workers, which do the work instead.
    budget_s : float, optional
        Seconds after which no point is begun.
    restart : bool
        Set results that are there aside, under another name, and begin anew.
    progress : callable, optional
        Called with a `Progress` a few times a second.

    Raises
    ------
    AzsimError
        If the sweep file is wrong, or the folder is another sweep's or cannot be written.
    SweepInterrupted
        At Ctrl-C; a `KeyboardInterrupt` whose ``result`` says what is kept.
    """
    from pathlib import Path

    from azsim.resources import default_directory
    from azsim.sweeps.run import run_sweep
    from azsim.sweeps.sweep_file import load_sweep

    wanted = load_sweep(file_or_name, overrides)
    return run_sweep(
        wanted,
        Path(folder or default_directory("runs", f"sweeps/{wanted.name}")),
        jobs=jobs,
        cluster=cluster,
        budget_s=budget_s,
        restart=restart,
        progress=progress,
    )


def __getattr__(name: str) -> Any:
    if name == "errors":
        return importlib.import_module("azsim.errors")
    if name not in _HOMES:
        raise AttributeError(f"module 'azsim' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
