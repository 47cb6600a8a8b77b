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
    from pathlib import Path

    from azsim import errors
    from azsim.frontend.workload import Workload, load_workload
    from azsim.hardware import Hardware, load_hardware
    from azsim.pipeline import run, run_kernel
    from azsim.sim.kernel_result import KernelResult
    from azsim.sim.result import Comparison, RunResult

__all__ = [
    "KernelResult",
    "RunResult",
    "errors",
    "load_hardware",
    "load_workload",
    "run",
    "run_kernel",
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
