"""Run: asks a strategy for points, has workers evaluate them, and keeps every outcome at once.

A sweep that goes on asks its strategy the same questions and answers them from the store, so that
it does not matter how often it was ended, or how.
"""

from __future__ import annotations

import contextlib
import os
import platform
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from azsim.errors import InputError
from azsim.sweeps.crew import Crew, Finished, Lost
from azsim.sweeps.open_store import open_store
from azsim.sweeps.outcome import Outcome
from azsim.sweeps.progress import Best, Progress, SweepInterrupted, SweepResult, Watch
from azsim.sweeps.store import Store
from azsim.sweeps.tasks import MOST_TRIES, TaskQueue
from azsim.sweeps.worker import Evaluator, SweepEvaluator, code_sha256, worker_name

if TYPE_CHECKING:
    from azsim.sweeps.cluster import Cluster
    from azsim.sweeps.space import Sweep, Trial

__all__ = ["run_sweep"]

_TICK_S = 0.2
_LATEST = 0.05
"""Weight of the latest point in the mean time of one."""


def run_sweep(
    sweep: Sweep,
    folder: Path,
    *,
    jobs: int | None = None,
    cluster: Cluster | None = None,
    budget_s: float | None = None,
    restart: bool = False,
    progress: Watch | None = None,
    evaluator: Evaluator | None = None,
) -> SweepResult:
    """Evaluate the points of a sweep that are not in its folder yet.

    Parameters
    ----------
    sweep : Sweep
    folder : Path
        Where ``results.sqlite`` is, or is made.
    jobs : int, optional
        Worker processes, one per core by default; with a batch system, workers to ask for.
    cluster : Cluster, optional
        Dask workers do the work instead.
    budget_s : float, optional
        After so long no further point is begun.
    restart : bool
        Set results that are there aside and begin anew.
    progress : callable, optional
        Called with a `Progress` a few times a second.
    evaluator : Evaluator, optional
        What finds the figures of a trial; by default a run of it.

    Raises
    ------
    InputError
        If the folder cannot be written or holds other results, or no worker can work.
    SweepInterrupted
        At Ctrl-C; what is done is kept.
    """
    begin = time.monotonic()
    if jobs is not None and jobs < 1:
        raise InputError(f"--jobs {jobs}: out of range, allowed: at least 1")
    if evaluator is None:
        evaluator = SweepEvaluator(sweep, code_sha256(), _memory_bytes(jobs, cluster))

    def hire() -> Crew:
        if cluster is not None:
            return cluster.open(evaluator, jobs)
        from azsim.sweeps.processes import ProcessCrew

        return ProcessCrew(evaluator, jobs)

    with open_store(folder, sweep, evaluator.code, _versions(), restart=restart) as store:
        driver = _Driver(sweep, store, evaluator, hire, progress, begin, budget_s)
        stopped = driver.run()
        result = SweepResult(sweep.name, folder, driver.progress(), stopped)
    if stopped == _INTERRUPTED:
        raise SweepInterrupted(result)
    return result


_INTERRUPTED, _OVER_BUDGET = "interrupted", "the time is over"


class _OutOfTimeError(Exception):
    """No further point is begun."""


@dataclass
class _Driver:
    sweep: Sweep
    store: Store
    evaluator: Evaluator
    hire: Callable[[], Crew]
    watch: Watch | None
    begin: float
    budget_s: float | None
    crew: Crew | None = None
    point_s: float | None = None
    stages: dict[str, Counter[str]] = field(default_factory=dict)
    shared: int = 0
    last_told: float = 0.0

    def __post_init__(self) -> None:
        from azsim.sweeps.strategies import size_of, start

        self.strategy = start(self.sweep)
        self.total = size_of(self.sweep)
        self.resumed = len(self.store.points)
        self.states = Counter(point.state for point in self.store.points.values())
        self.best: dict[str, Best] = {}
        for number, point in sorted(self.store.points.items()):
            if point.state == "done":
                self._compare(number, point.figures)

    def run(self) -> str | None:
        """Finish all points; return why not, if so."""
        stopped = None
        try:
            self._tell(always=True)
            self._finish_all()
        except KeyboardInterrupt:
            stopped = _INTERRUPTED
        except _OutOfTimeError:
            stopped = _OVER_BUDGET
        finally:
            if self.crew is not None:
                self.crew.close()
        self._tell(always=True)
        return stopped

    def _finish_all(self) -> None:
        while batch := self.strategy.ask():
            self._finish(batch)
            for trial in sorted(batch, key=lambda trial: trial.number):
                point = self.store.points[trial.number]
                self.strategy.tell(trial, point.figures if point.state == "done" else None)

    # ------------------------------------------------------------------------------- a batch

    def _finish(self, batch: Iterable[Trial]) -> None:
        waiting = [trial for trial in batch if not self._is_known(trial)]
        if not waiting:
            return
        self._check_budget()
        if self.crew is None:
            self.crew = self.hire()
        queue = TaskQueue(waiting, self._group, self.crew.size)
        left = {trial.number for trial in waiting}
        while left:
            self._give(self.crew, queue)
            left -= self._hear(self.crew, queue)
            if self._is_over_budget():
                self._end_gently(self.crew, queue)
                if left - self.store.points.keys():
                    raise _OutOfTimeError
                return

    def _group(self, trial: Trial) -> str:
        try:
            return self.evaluator.group(trial)
        except Exception:  # what is wrong with the point, its worker will say
            return f"point {trial.number}"

    def _is_known(self, trial: Trial) -> bool:
        point = self.store.points.get(trial.number)
        if point is None:
            return False
        if dict(point.design) != _as_stored(trial.design) or point.rung != trial.rung:
            raise InputError(
                f"{self.store.path}: point {trial.number} is {dict(point.design)} there, and the "
                f"strategy {self.sweep.strategy} asks for {dict(trial.design)} now, as another "
                "version of it would; choose another folder with -o, or --restart"
            )
        return True

    def _give(self, crew: Crew, queue: TaskQueue) -> None:
        for worker in crew.idle():
            most = 1 if self.point_s is None else int(crew.task_s / max(self.point_s, 1e-6))
            task = queue.take(worker, most)
            if task is None:
                return
            crew.give(worker, task)

    def _hear(self, crew: Crew, queue: TaskQueue) -> set[int]:
        """Wait for outcomes, commit them, and return the numbers of the points."""
        outcomes: list[Outcome] = []
        for event in crew.events(_TICK_S):
            if isinstance(event, Finished):
                outcomes += [replace(o, tries=queue.tries(o.trial)) for o in event.outcomes]
            else:
                outcomes += _given_up(event, queue)
        for outcome in self.store.add(outcomes):
            self._count(outcome)
        self._tell()
        return {outcome.trial.number for outcome in outcomes}

    def _end_gently(self, crew: Crew, queue: TaskQueue) -> None:
        crew.finish_soon()
        while crew.is_busy:
            self._hear(crew, queue)

    def _is_over_budget(self) -> bool:
        return self.budget_s is not None and time.monotonic() - self.begin >= self.budget_s

    def _check_budget(self) -> None:
        if self._is_over_budget():
            raise _OutOfTimeError

    # ------------------------------------------------------------------------------ progress

    def _count(self, outcome: Outcome) -> None:
        self.states[outcome.state] += 1
        for stage, counts in outcome.reused.items():
            self.stages.setdefault(stage, Counter()).update(counts)
        if outcome.reused and not outcome.reused.get("execution", {}).get("made"):
            self.shared += 1
        if outcome.state == "done":
            self._compare(outcome.trial.number, outcome.figures)
        before = outcome.seconds if self.point_s is None else self.point_s
        self.point_s = before + _LATEST * (outcome.seconds - before)

    def _compare(self, number: int, figures: Mapping[str, float | None]) -> None:
        if self.store.points[number].rung < len(self.sweep.rungs) - 1:
            return  # figures of shorter input compare with no other
        for objective in self.sweep.objectives:
            value = figures.get(objective.name)
            if value is None:
                continue
            best = self.best.get(objective.name)
            sign = 1 if objective.goal == "minimize" else -1
            if best is None or (sign * value, number) < (sign * best.value, best.number):
                self.best[objective.name] = Best(objective.name, objective.unit, value, number)

    def _tell(self, *, always: bool = False) -> None:
        now = time.monotonic()
        if self.watch is not None and (always or now - self.last_told >= _TICK_S):
            self.last_told = now
            self.watch(self.progress())

    def progress(self) -> Progress:
        """Say how far the sweep is."""
        seconds = time.monotonic() - self.begin
        finished = sum(self.states.values())
        new = finished - self.resumed
        rate = new / seconds if seconds > 0 else 0.0
        left_s = max(self.total - finished, 0) / rate if rate else None
        if left_s is not None and self.budget_s is not None:
            left_s = min(left_s, max(self.budget_s - seconds, 0.0))
        return Progress(
            total=max(self.total, finished),
            done=self.states["done"],
            infeasible=self.states["infeasible"],
            failed=self.states["failed"],
            resumed=self.resumed,
            shared=self.shared,
            seconds=seconds,
            points_per_s=rate,
            left_s=left_s,
            workers=0 if self.crew is None else self.crew.present,
            best=tuple(
                self.best[objective.name]
                for objective in self.sweep.objectives
                if objective.name in self.best
            ),
            stages={stage: dict(counts) for stage, counts in self.stages.items()},
        )


def _given_up(event: Lost, queue: TaskQueue) -> list[Outcome]:
    """Put the points of a worker that ended back; return those that have had their tries."""
    given_up = queue.put_back(event.worker, event.task, event.unfinished, event.blamed)
    message = f"its worker ended {MOST_TRIES} times; the last time {event.reason}"
    return [
        Outcome(trial, "failed", message=message, tries=MOST_TRIES, worker=worker_name())
        for trial in given_up
    ]


def _as_stored(design: Mapping[str, Any]) -> dict[str, Any]:
    import json

    return json.loads(json.dumps(dict(design)))


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in ("azsim", "numpy", "numba", "onnx", "optuna"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found


def _memory_bytes(jobs: int | None, cluster: Cluster | None) -> int | None:
    """Bytes that each process may keep: half of the machine's memory, shared by all."""
    if cluster is not None:
        return None
    from azsim.sweeps.processes import cores

    with contextlib.suppress(OSError, ValueError, AttributeError):
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        return total // 2 // (jobs or cores())
    return None
