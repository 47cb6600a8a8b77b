"""Processes: a crew of worker processes on this machine, one per core.

Each has a pipe of its own, on which it says each outcome when it has it: when a worker ends,
however that is, what it said before is kept, the point that it was at is known, and another worker
takes its place.  A worker whose driver is gone ends too.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING, Any

from azsim.errors import InputError
from azsim.sweeps.crew import Finished, Lost
from azsim.sweeps.outcome import Outcome
from azsim.sweeps.worker import Evaluator, run_point

if TYPE_CHECKING:
    from azsim.sweeps.space import Trial
    from azsim.sweeps.tasks import Task

__all__ = ["ProcessCrew", "cores", "one_thread"]

_READY, _TASK_ENDS = "ready", "task ends"
_FINISH = None
_MOST_FALSE_STARTS = 30
"""In a row; one that is killed before it is ready counts for 1, one that ends by itself for 10."""
_THREAD_KEYS = (
    "NUMBA_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
)
_END_S = 5.0


def cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@dataclass
class _Member:
    """A worker process as the driver sees it."""

    name: str
    process: BaseProcess
    pipe: Connection
    is_ready: bool = False
    is_told_to_finish: bool = False
    has_its_task: bool = False
    task: Task | None = None
    unfinished: list[Trial] = field(default_factory=list)


class ProcessCrew:
    """Worker processes on this machine.

    Parameters
    ----------
    evaluator : Evaluator
    jobs : int, optional
        How many; one per core by default.

    Raises
    ------
    InputError
        If this process is itself being started as a worker.
    """

    task_s = 0.5

    def __init__(self, evaluator: Evaluator, jobs: int | None = None) -> None:
        if multiprocessing.parent_process() is not None and _is_starting():
            raise InputError(_UNGUARDED)
        self._evaluator = evaluator
        self._jobs = jobs or cores()
        self._context = multiprocessing.get_context("spawn")
        self._false_starts = 0
        self._started = 0
        self._is_finishing = False
        self._members: dict[str, _Member] = {}
        try:
            for _ in range(self._jobs):
                self._start()
        except BaseException:
            self.close()
            raise

    @property
    def size(self) -> int:  # noqa: D102
        return self._jobs

    @property
    def present(self) -> int:  # noqa: D102
        return sum(member.is_ready for member in list(self._members.values()))

    @property
    def is_busy(self) -> bool:  # noqa: D102
        return any(member.task is not None for member in list(self._members.values()))

    @property
    def process_ids(self) -> list[int]:
        """Of the workers."""
        return [member.process.pid or 0 for member in list(self._members.values())]

    def idle(self) -> list[str]:  # noqa: D102
        if self._is_finishing:
            return []
        return [m.name for m in self._members.values() if m.is_ready and m.task is None]

    def give(self, worker: str, task: Task) -> None:  # noqa: D102
        member = self._members[worker]
        member.task, member.unfinished = task, list(task.trials)
        try:
            member.pipe.send(task)
            member.has_its_task = True
        except OSError:  # it ended before: `events` finds that out
            member.has_its_task = False

    def finish_soon(self) -> None:  # noqa: D102
        self._is_finishing = True
        for member in self._members.values():
            if not member.is_told_to_finish:
                member.is_told_to_finish = True
                with contextlib.suppress(OSError):
                    member.pipe.send(_FINISH)

    def events(self, timeout_s: float) -> Sequence[Finished | Lost]:  # noqa: D102
        pipes = {member.pipe: member for member in self._members.values()}
        happened: list[Finished | Lost] = []
        for pipe in wait(list(pipes), timeout_s):
            assert isinstance(pipe, Connection)
            happened += self._heard(pipes[pipe])
        return happened

    def close(self) -> None:  # noqa: D102
        for member in self._members.values():
            with contextlib.suppress(OSError):
                member.pipe.close()
            if member.task is not None or not member.is_ready:
                member.process.kill()
        for member in self._members.values():
            member.process.join(_END_S)
            if member.process.is_alive():
                member.process.kill()
                member.process.join()
        self._members.clear()

    def _start(self) -> None:
        self._started += 1
        name = f"worker {self._started}"
        ours, theirs = self._context.Pipe()
        process = self._context.Process(
            target=_work, args=(theirs, self._evaluator), name=f"azsim {name}", daemon=True
        )
        with one_thread(), _no_interrupts():
            process.start()
        theirs.close()  # the worker's end alone stays open: when it ends, ours says so
        self._members[name] = _Member(name, process, ours)

    def _heard(self, member: _Member) -> Iterator[Finished | Lost]:
        """Yield what a worker said since; all that is in its pipe, at once."""
        outcomes: list[Outcome] = []
        is_last = False
        try:
            while member.pipe.poll():
                message: Any = member.pipe.recv()
                if message == _READY:
                    member.is_ready, self._false_starts = True, 0
                elif message == _TASK_ENDS:
                    is_last, member.task, member.unfinished = True, None, []
                else:
                    outcomes.append(message)
                    member.unfinished = [
                        trial for trial in member.unfinished if trial.number != message.trial.number
                    ]
        except (EOFError, OSError):
            if outcomes:
                yield Finished(member.name, tuple(outcomes), is_last)
            yield from self._ended(member)
            return
        if outcomes or is_last:
            yield Finished(member.name, tuple(outcomes), is_last)

    def _ended(self, member: _Member) -> Iterator[Lost]:
        member.pipe.close()
        member.process.join(_END_S)
        del self._members[member.name]
        reason = _how_it_ended(member.process.exitcode)
        if not member.is_ready and not member.is_told_to_finish:
            was_killed = (member.process.exitcode or 0) < 0
            self._false_starts += 1 if was_killed else 10
            if self._false_starts >= _MOST_FALSE_STARTS:
                raise InputError(f"workers end before they begin: {reason}; {_GUARD}")
        if not self._is_finishing:
            self._start()
        if member.task is not None:
            unfinished = tuple(member.unfinished)
            blamed = unfinished[: 1 if member.has_its_task else 0]
            yield Lost(member.name, member.task, unfinished, blamed, reason)


_GUARD = (
    "a script that calls azsim.sweep needs the line `if __name__ == '__main__':` before it, as "
    "workers import the script"
)
_UNGUARDED = f"a sweep was begun while a worker of it was starting; {_GUARD}"


def _is_starting() -> bool:
    """Whether this process imports the driver's script, as a worker does before it works."""
    return getattr(multiprocessing.current_process(), "_inheriting", False)


def _how_it_ended(code: int | None) -> str:
    if code is None:
        return "it does not answer"
    if code >= 0:
        return f"its process ended with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    hint = ", as the system does when memory runs out" if name == "SIGKILL" else ""
    return f"its process was ended by {name}{hint}"


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Start processes whose libraries use one thread; they read these variables when they start.

    The order of a float reference's sums may depend on threads, and the figures of a point must not
    depend on how many workers there are.  Workers of Dask are started so as well.
    """
    wanted = {key: "1" for key in _THREAD_KEYS if key not in os.environ}
    with _environment(wanted):
        yield


@contextlib.contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    os.environ.update(values)
    try:
        yield
    finally:
        for key in values:
            os.environ.pop(key, None)


@contextlib.contextmanager
def _no_interrupts() -> Iterator[None]:
    """Start a process that Ctrl-C does not reach: the driver ends it when it wants to."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# ------------------------------------------------------------------------- in the worker


def _work(pipe: Connection, evaluator: Evaluator) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_the_driver, daemon=True).start()
    evaluator.prepare()
    with contextlib.suppress(EOFError, OSError):  # the driver is gone, and nobody listens
        pipe.send(_READY)
        while (task := pipe.recv()) is not _FINISH:
            for trial in task.trials:
                if pipe.poll():  # told to finish
                    break
                pipe.send(run_point(evaluator, trial, share=task.share))
            pipe.send(_TASK_ENDS)


def _end_with_the_driver() -> None:
    driver = multiprocessing.parent_process()
    if driver is not None:
        wait([driver.sentinel])
        os._exit(1)
