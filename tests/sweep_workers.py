"""Evaluators that stand in for a simulation: quick, and as unruly as a test wants them."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from azsim.errors import CompileError, MachineError
from azsim.sweeps.space import Sweep, Trial
from azsim.sweeps.worker import Found

SWEEP = """\
name: products
workload: {workload}
axes:
  tens: {{path: workload.input.random.seed, range: {{from: 0, to: {most}, step: 1}}}}
  clock: {{path: hardware.clock_hz, values: [200000000, 400000000, 600000000, 800000000]}}
objectives:
  latency: {{key: latency_s, goal: minimize, unit: s}}
  work: {{key: macs, goal: maximize, unit: MAC}}
"""
WORKLOAD = """\
name: tiny
model:
  graph:
    inputs: {x: {shape: [1, 16]}}
    initializers:
      w: {shape: [16, 8], random: {seed: 1, scale: 0.3}}
    nodes:
      - {op: MatMul, inputs: [x, w], outputs: [y]}
    outputs: [y]
input: {random: {seed: 0}}
"""


def make_sweep(folder: Path, tens: int = 10, more: str = "") -> Sweep:
    """A sweep of four times as many points as `tens`."""
    from azsim.sweeps.sweep_file import load_sweep  # not in the workers, which start faster so

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tiny.yaml").write_text(WORKLOAD)
    path = folder / "products.yaml"
    path.write_text(SWEEP.format(workload="tiny.yaml", most=tens - 1) + more)
    return load_sweep(path)


@dataclass(frozen=True)
class StandIn:
    """Figures from the design alone.

    Attributes
    ----------
    seconds : float
        That a point takes.
    summary_bytes : int
        Of text in the summary.
    folder : str
        Where it notes each point that it begins, if any.
    ends_worker : tuple of int
        Points that end their worker whenever they are tried.
    ends_once : tuple of int
        Points that end their worker the first time.
    fails, does_not_fit, has_a_bug : tuple of int
        Points with errors.
    """

    code: str = "code of a test"
    seconds: float = 0.0
    summary_bytes: int = 0
    folder: str = ""
    ends_worker: tuple[int, ...] = ()
    ends_once: tuple[int, ...] = ()
    fails: tuple[int, ...] = ()
    does_not_fit: tuple[int, ...] = ()
    has_a_bug: tuple[int, ...] = ()

    def prepare(self) -> None:
        """Nothing to import."""

    def group(self, trial: Trial) -> str:
        """Designs that differ in clock alone."""
        if trial.number in self.fails:
            raise MachineError("no group")
        return str(trial.design["tens"])

    def find(self, trial: Trial, *, share: bool) -> Found:
        """Compute figures, or misbehave."""
        number = trial.number
        if self.folder:
            with (Path(self.folder) / "begun.txt").open("a") as file:
                file.write(f"{number}\n")
        if number in self.ends_worker or (number in self.ends_once and self._is_first(number)):
            os.kill(os.getpid(), signal.SIGKILL)
        if number in self.fails:
            raise MachineError(f"point {number}: out of bounds")
        if number in self.does_not_fit:
            raise CompileError(f"point {number}: does not fit")
        if number in self.has_a_bug:
            raise ZeroDivisionError(f"bug at {number}")
        time.sleep(self.seconds)
        summary: dict[str, Any] = {"cycles": number}
        if self.summary_bytes:
            summary["text"] = "x" * self.summary_bytes
        return Found(figures_of(trial.design), summary, f"key {number}", _REUSED)

    def _is_first(self, number: int) -> bool:
        return self.begun().count(number) == 1

    def begun(self) -> list[int]:
        """Numbers of the points that were begun, in that order."""
        path = Path(self.folder) / "begun.txt"
        return [int(line) for line in path.read_text().split()] if path.exists() else []


_REUSED = {"execution": {"memory": 1}, "run": {"made": 1}}


def figures_of(design: Any) -> dict[str, float]:
    """Figures of a design."""
    work = 1000.0 * (design["tens"] + 1) / 3
    return {"latency": work / design["clock"], "work": work}
