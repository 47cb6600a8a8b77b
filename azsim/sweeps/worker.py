"""Worker: evaluates the points of a task, and turns whatever happens into outcomes."""

from __future__ import annotations

import functools
import hashlib
import math
import os
import socket
import threading
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from azsim.errors import AzsimError, CompileError
from azsim.sweeps.outcome import Outcome, State

if TYPE_CHECKING:
    from azsim.stages.reuse import StageCache
    from azsim.sweeps.space import Sweep, Trial
    from azsim.sweeps.tasks import Task

__all__ = [
    "Evaluator",
    "Found",
    "SweepEvaluator",
    "code_sha256",
    "run_point",
    "run_task",
    "worker_name",
]


@dataclass(frozen=True)
class Found:
    """What an evaluator finds of a point.

    Attributes
    ----------
    figures : mapping of str to float or None
        By objective.
    summary : mapping
    key : str
        Hash of all that these depend on.
    reused : mapping of str to mapping of str to int
        How often each stage was ``made``, or found in ``memory`` or on ``disk``.
    broken : tuple of str
        Constraints over figures that the point breaks.
    """

    figures: Mapping[str, float | None]
    summary: Mapping[str, Any] = field(default_factory=dict)
    key: str = ""
    reused: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    broken: tuple[str, ...] = ()


class Evaluator(Protocol):
    """Finds the figures of trials; travels to the workers by pickle."""

    @property
    def code(self) -> str:
        """Hash of the code that the driver runs."""
        ...

    def prepare(self) -> None:
        """Import and open what the first point needs."""
        ...

    def group(self, trial: Trial) -> str:
        """Return a key that trials share whose slow stages are the same."""
        ...

    def find(self, trial: Trial, *, share: bool) -> Found:
        """Evaluate a trial; `share`: leave on disk what others of its group need."""
        ...


@dataclass(frozen=True)
class SweepEvaluator:
    """Evaluates points of a sweep by running them.

    Attributes
    ----------
    sweep : Sweep
    code : str
    memory_bytes : int, optional
        That a process may keep of results of stages; a part of the machine's memory by default.
    """

    sweep: Sweep
    code: str
    memory_bytes: int | None = None
    _groups: dict[str, str] = field(default_factory=dict, init=False, compare=False, repr=False)

    def __reduce__(self) -> tuple[Any, ...]:
        return SweepEvaluator, (self.sweep, self.code, self.memory_bytes)

    def prepare(self) -> None:  # noqa: D102
        _cache(self.memory_bytes)

    def group(self, trial: Trial) -> str:
        """Return the key of a point's execution; looked up where designs differ in timing alone."""
        from azsim.sweeps.evaluate import group_key
        from azsim.sweeps.point import point_of
        from azsim.sweeps.space import key_of

        rest = {k: v for k, v in trial.design.items() if k not in self._timing_axes}
        name = f"{trial.rung} {key_of(rest)}"
        if name not in self._groups:
            self._groups[name] = group_key(point_of(self.sweep, trial))
        return self._groups[name]

    @functools.cached_property
    def _timing_axes(self) -> frozenset[str]:
        """Axes that no program depends on, whatever the chip."""
        from azsim.hardware.description import structural_keys

        keys = (*structural_keys(), "mac")  # the array's, where it reads blocks
        return frozenset(
            axis.name
            for axis in self.sweep.axes
            if axis.kind == "path"
            and axis.target.startswith("hardware.")
            and not any(_overlap(axis.target.removeprefix("hardware."), key) for key in keys)
        )

    def find(self, trial: Trial, *, share: bool) -> Found:  # noqa: D102
        from azsim.sweeps.evaluate import evaluate
        from azsim.sweeps.objectives import feasible, figures_of, names_bounds
        from azsim.sweeps.point import point_of

        sweep = self.sweep
        found = evaluate(
            point_of(sweep, trial),
            _cache(self.memory_bytes),
            share=share,
            bounded=names_bounds(sweep),
        )
        broken = tuple(
            rule.text
            for rule in sweep.figure_constraints
            if not feasible(replace(sweep, figure_constraints=(rule,)), found.summary, trial.design)
        )
        figures = figures_of(sweep, trial.design, found.summary)
        return Found(figures, found.summary, found.key, found.reused, broken)


def _overlap(key: str, other: str) -> bool:
    """Whether one of two dotted keys is the other, or holds it."""
    return f"{key}.".startswith(f"{other}.") or f"{other}.".startswith(f"{key}.")


@functools.cache
def _cache(memory_bytes: int | None) -> StageCache:
    """Results of stages, one cache a process."""
    from azsim.sweeps.evaluate import open_cache

    return open_cache(memory_bytes)


@functools.cache
def code_sha256() -> str:
    """Hash of all code that decides the figures of a point, libraries included."""
    from azsim.code_version import code_version

    digest = hashlib.sha256(code_version("azsim.pipeline").encode())
    for name in ("evaluate", "expressions", "objectives", "point", "space"):
        digest.update(Path(__file__).with_name(f"{name}.py").read_bytes())
    return digest.hexdigest()


def run_point(evaluator: Evaluator, trial: Trial, *, share: bool) -> Outcome:
    """Evaluate a trial; whatever is wrong with it becomes its message."""
    begin = time.perf_counter()
    state: State = "failed"
    message = trace = None
    found = Found({})
    try:
        found = evaluator.find(trial, share=share)
        state = "infeasible" if found.broken else "done"
        if found.broken:
            message = f"breaks {'; '.join(found.broken)}"
    except CompileError as error:
        state, message = "infeasible", str(error)
    except AzsimError as error:
        message = str(error)
    except Exception as error:
        message = traceback.format_exception_only(error)[-1].strip()
        trace = traceback.format_exc()
    return Outcome(
        trial,
        state,
        {name: _finite(value) for name, value in found.figures.items()},
        found.summary or None,
        found.key or None,
        message,
        trace,
        found.reused,
        time.perf_counter() - begin,
        worker_name(),
    )


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)


_ONE_AT_A_TIME = threading.Lock()


def run_task(evaluator: Evaluator, task: Task) -> list[Outcome]:
    """Evaluate the points of a task, in their order; threads of a process take turns."""
    with _ONE_AT_A_TIME:
        return [run_point(evaluator, trial, share=task.share) for trial in task.trials]


def worker_name() -> str:
    """Host and process."""
    return f"{socket.gethostname()}:{os.getpid()}"
