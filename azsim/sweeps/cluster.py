"""Cluster: a crew of Dask workers, on machines that run already or on a batch system.

Each worker runs azsim's own code from its own installation; what is sent is the sweep and trials,
what comes back are outcomes.  The driver alone writes.  A worker whose code is not the driver's is
an error: its figures could be others.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import pickle
import queue
import time
import uuid
from asyncio import CancelledError
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from azsim.errors import InputError
from azsim.sweeps.crew import Finished, Lost
from azsim.sweeps.outcome import Outcome
from azsim.sweeps.tasks import Task
from azsim.sweeps.worker import Evaluator, SweepEvaluator, code_sha256, run_task

__all__ = ["Cluster", "DaskCrew", "batch_options"]

_LOOK_S = 1.0
_CONNECT_S = 30
_GATHER_S = 10
"""That a result, which is small, may take; if its worker left, Dask would wait for ever."""
_BROKEN = (ImportError, AttributeError, TypeError, pickle.UnpicklingError)
_BATCH_SYSTEMS = {"slurm": "SLURMCluster", "lsf": "LSFCluster"}


@dataclass(frozen=True)
class Cluster:
    """Where Dask workers are, or are to be started.

    Attributes
    ----------
    kind : str
        ``dask``: a scheduler that runs already; ``slurm``, ``lsf``: jobs of a batch system.
    where : str
        Address of the scheduler; or a YAML file, or ``key=value,...``, with the options of
        dask-jobqueue's cluster.
    """

    kind: Literal["dask", "slurm", "lsf"]
    where: str

    def open(self, evaluator: Evaluator, jobs: int | None = None) -> DaskCrew:
        """Connect to the scheduler, or begin jobs.

        Parameters
        ----------
        evaluator : Evaluator
        jobs : int, optional
            Workers to ask a batch system for; by default those of one job.

        Raises
        ------
        InputError
            If Dask is missing, nobody answers, or the options are wrong.
        """
        distributed = _distributed()
        if self.kind == "dask":
            return DaskCrew(evaluator, _connected(distributed, self.where), self.where)
        options = batch_options(self.kind, self.where)
        cluster = _batch_cluster(self.kind, options)
        workers = jobs or int(options["processes"])
        cluster.scale(workers)
        client = distributed.Client(cluster)
        return DaskCrew(evaluator, client, f"--{self.kind}", workers, cluster)


def _distributed() -> Any:
    try:
        import distributed
    except ImportError:
        raise InputError(_missing("dask")) from None
    return distributed


def _missing(package: str) -> str:
    return f"many machines need {package}, which is not installed; pip install 'azsim[dask]'"


def _connected(distributed: Any, address: str) -> Any:
    try:
        return distributed.Client(address, timeout=_CONNECT_S)
    except (OSError, ValueError, TimeoutError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        example = "tcp://host:8786, as dask-scheduler prints it"
        raise InputError(
            f"--dask {address}: no scheduler answers, {reason}; allowed: an address like {example}"
        ) from None


def batch_options(kind: str, text: str) -> dict[str, Any]:
    """Read the options of a batch system.

    Parameters
    ----------
    kind : str
        ``slurm`` or ``lsf``.
    text : str
        A YAML file, or ``key=value,key=value``.

    Returns
    -------
    dict of str to value
        As dask-jobqueue takes them; with ``processes``, one per core unless told.

    Raises
    ------
    InputError
        If the text is neither, or lacks what every job needs.
    """
    options = _file_options(text) if Path(text).suffix in (".yaml", ".yml") else _pairs(kind, text)
    missing = [key for key in ("cores", "memory") if key not in options]
    if missing:
        raise InputError(
            f"--{kind} {text}: {' and '.join(missing)} missing, "
            "allowed: cores=8,memory=32GB and other options of dask-jobqueue"
        )
    options.setdefault("processes", options["cores"])  # a point keeps one core busy
    options.setdefault("scheduler_options", {"dashboard_address": ":0"})  # any free port
    return options


def _file_options(path: str) -> dict[str, Any]:
    from azsim.config import read_document

    data = read_document(path).data
    if not isinstance(data, Mapping):
        raise InputError(f"{path}: not a mapping, allowed: options of dask-jobqueue")
    return dict(data)


def _pairs(kind: str, text: str) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for pair in text.split(","):
        key, equals, value = pair.partition("=")
        if not equals or not key.strip().isidentifier():
            raise InputError(
                f"--{kind} {text}: {pair!r} is no option, "
                "allowed: a .yaml file, or cores=8,memory=32GB,queue=NAME"
            )
        options[key.strip()] = int(value) if value.strip().isdecimal() else value.strip()
    return options


def _batch_cluster(kind: str, options: Mapping[str, Any]) -> Any:
    try:
        import dask_jobqueue
    except ImportError:
        raise InputError(_missing("dask-jobqueue")) from None
    try:
        return getattr(dask_jobqueue, _BATCH_SYSTEMS[kind])(**options)
    except (TypeError, ValueError, RuntimeError, OSError) as error:
        raise InputError(f"--{kind}: {error}") from None


# ---------------------------------------------------------------------------------- crew


@dataclass
class _Given:
    """A task under way."""

    task: Task
    future: Any
    number: int


@dataclass
class DaskCrew:
    """Workers of a Dask scheduler, each with one task at a time.

    The driver says which worker gets which task, as it knows which points share what.

    Attributes
    ----------
    evaluator : Evaluator
    client : distributed.Client
    name : str
        Of the scheduler, for messages.
    wanted : int
        Workers that were asked for, as long as there are fewer.
    cluster : object, optional
        Jobs that end with the sweep.
    """

    evaluator: Evaluator
    client: Any
    name: str
    wanted: int = 0
    cluster: Any = None
    task_s: float = 2.0
    _given: dict[str, _Given] = field(default_factory=dict)
    _checked: set[str] = field(default_factory=set)
    _done: queue.SimpleQueue[tuple[str, int]] = field(default_factory=queue.SimpleQueue)
    _numbers: itertools.count[int] = field(default_factory=itertools.count)
    _lost: list[Lost] = field(default_factory=list)
    _looked: float = -_LOOK_S
    _is_finishing: bool = False

    def __post_init__(self) -> None:
        self._pickled = pickle.dumps(self.evaluator)
        self._key = uuid.uuid4().hex  # other drivers may use the scheduler too

    @property
    def size(self) -> int:  # noqa: D102
        self._look()
        return max(len(self._checked), self.wanted, 1)

    @property
    def present(self) -> int:  # noqa: D102
        return len(self._checked)

    @property
    def is_busy(self) -> bool:  # noqa: D102
        return bool(self._given)

    def idle(self) -> list[str]:  # noqa: D102
        if self._is_finishing:
            return []
        return sorted(self._checked - self._given.keys())

    def give(self, worker: str, task: Task) -> None:  # noqa: D102
        number = next(self._numbers)
        key = f"azsim-{self._key}-{number}"
        future = self.client.submit(
            _run,
            self._pickled,
            task,
            workers=[worker],
            pure=False,
            key=key,
        )
        self._given[worker] = _Given(task, future, number)
        future.add_done_callback(lambda _: self._done.put((worker, number)))

    def finish_soon(self) -> None:  # noqa: D102
        self._is_finishing = True

    def events(self, timeout_s: float) -> Sequence[Finished | Lost]:  # noqa: D102
        happened: list[Finished | Lost] = []
        wait_s = timeout_s
        with contextlib.suppress(queue.Empty):
            while True:
                worker, number = self._done.get(timeout=wait_s) if wait_s else self._done.get(False)
                wait_s = 0.0
                given = self._given.get(worker)
                if given is not None and given.number == number:
                    happened.append(self._result(worker, self._given.pop(worker)))
        self._look()
        lost, self._lost = self._lost, []
        return [*happened, *lost]

    def close(self) -> None:  # noqa: D102
        for given in self._given.values():
            self._cancel(given)
        self._given.clear()
        with contextlib.suppress(Exception):  # whatever a broken connection makes of its end
            self.client.close(timeout=5)
        if self.cluster is not None:
            with contextlib.suppress(Exception):
                self.cluster.close()

    def _result(self, worker: str, given: _Given) -> Finished | Lost:
        trials = given.task.trials
        if given.future.status == "finished":
            try:
                outcomes: list[Outcome] = given.future.result(timeout=_GATHER_S)
            except (Exception, CancelledError):  # it left with them
                return self._left(worker, given)
            return Finished(worker, tuple(outcomes), True)
        if given.future.status == "lost":  # it was done too
            return self._left(worker, given)
        error = given.future.exception() if given.future.status == "error" else None
        if isinstance(error, _BROKEN):  # a point never raises: `run_task` has what it says
            raise InputError(f"Dask worker {worker}: cannot run azsim, {error}")
        reason = f"{type(error).__name__}: {error}" if error else f"task {given.future.status}"
        return Lost(worker, given.task, trials, trials, f"Dask worker {worker}: {reason}")

    def _look(self) -> None:
        """See which workers came and went; `events` tells who went with a task."""
        now = time.monotonic()
        if now - self._looked < _LOOK_S:
            return
        self._looked = now
        try:
            there = set(self.client.nthreads())
        except Exception as error:
            raise InputError(
                f"{self.name}: the Dask scheduler does not answer, {type(error).__name__}; what is "
                "done is kept, run the same command again"
            ) from None
        self._checked &= there
        self._check(sorted(there - self._checked))
        gone = [worker for worker in self._given if worker not in there]
        self._lost += [self._left(worker, self._given.pop(worker)) for worker in gone]

    def _left(self, worker: str, given: _Given) -> Lost:
        """A worker is gone; its task is to blame if it was at work on it, and only then."""
        blamed = given.task.trials if self._was_at_work(given) else ()
        self._cancel(given)
        return Lost(worker, given.task, given.task.trials, blamed, f"Dask worker {worker} left")

    def _was_at_work(self, given: _Given) -> bool:
        """Whether a worker ended, unexpectedly, while it had the task and was not done with it.

        A worker may have been gone before the task came to the scheduler, as who is there is asked
        once in `_LOOK_S`.  A scheduler that does not say is taken to mean yes: so no point is tried
        for ever.
        """
        key = given.future.key

        def is_suspicious(dask_scheduler: Any) -> bool:  # a closure: it is sent as code
            task = dask_scheduler.tasks.get(key)
            return task is not None and task.suspicious > 0

        try:
            return bool(self.client.run_on_scheduler(is_suspicious))
        except Exception:
            return True

    def _cancel(self, given: _Given) -> None:
        with contextlib.suppress(Exception):
            given.future.cancel()

    def _check(self, workers: list[str]) -> None:
        """Compare the code of new workers with the driver's."""
        if not workers:
            return
        try:
            found = self.client.run(_code_of_worker, workers=workers, on_error="return")
        except Exception as error:  # they left again, or cannot even say what is wrong
            found = dict.fromkeys(workers, error)
        for worker, code in found.items():
            if isinstance(code, _BROKEN):
                raise InputError(
                    f"Dask worker {worker}: cannot import azsim, {code}; install the driver's "
                    "version there"
                )
            if isinstance(code, str) and code != self.evaluator.code:
                raise InputError(
                    f"Dask worker {worker}: runs other code ({code[:12]}) than the driver "
                    f"({self.evaluator.code[:12]}); install the same versions of azsim, Python, "
                    "numpy and numba on both and start the worker again"
                )
            if isinstance(code, str):
                self._checked.add(worker)


# ------------------------------------------------------------------------- in the worker


def _code_of_worker() -> str:
    return code_sha256()


def _run(pickled: bytes, task: Task) -> list[Outcome]:
    return run_task(_evaluator(pickled), task)


@functools.lru_cache(maxsize=4)
def _evaluator(pickled: bytes) -> Evaluator:
    evaluator: Evaluator = pickle.loads(pickled)
    if isinstance(evaluator, SweepEvaluator):
        return replace(evaluator, memory_bytes=_memory_bytes())
    return evaluator


def _memory_bytes() -> int | None:
    """A third of what Dask lets this process have, as it ends those that take more."""
    limit = _distributed().get_worker().memory_manager.memory_limit
    return limit // 3 if limit else None
