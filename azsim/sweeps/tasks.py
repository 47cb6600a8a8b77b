"""Tasks: which worker is given which points, so that what they share is made once.

Points of one group differ in timing alone: whoever ran one of them holds the trace of all.  So a
worker gets points of one group one after the other, then begins a group that nobody works on; only
when none is left does it help with another worker's group, whose trace then comes from disk.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from azsim.sweeps.space import Trial

__all__ = ["MOST_TRIES", "Task", "TaskQueue"]

MOST_TRIES = 3
"""How often a point is begun whose worker ends before it."""

_LARGEST_TASK = 256
_TASKS_PER_WORKER = 4
"""At least so many while there are points enough, so that workers are done at about one time."""


@dataclass(frozen=True)
class Task:
    """Points that a worker evaluates one after the other.

    Attributes
    ----------
    trials : tuple of Trial
        All of one group.
    group : str
    share : bool
        Other workers may get points of this group: what they need is put on disk.
    """

    trials: tuple[Trial, ...]
    group: str = ""
    share: bool = False


class TaskQueue:
    """Points of a batch that are still to be given to a worker.

    Parameters
    ----------
    trials : iterable of Trial
    group_of : callable
        Key of a trial's group.
    workers : int
        How many there will be.
    """

    def __init__(
        self, trials: Iterable[Trial], group_of: Callable[[Trial], str], workers: int
    ) -> None:
        self._groups: dict[str, deque[Trial]] = {}
        for trial in trials:
            self._groups.setdefault(group_of(trial), deque()).append(trial)
        self._workers = max(workers, 1)
        self._waiting = sum(map(len, self._groups.values()))
        # A group larger than a worker's part will be helped with.
        self._shared = {
            group
            for group, waiting in self._groups.items()
            if len(waiting) > 1 and len(waiting) * self._workers > self._waiting
        }
        self._group_of_worker: dict[str, str] = {}
        self._retries: deque[Task] = deque()
        self._tries: Counter[int] = Counter()

    def __len__(self) -> int:
        """Points that no worker has."""
        return self._waiting + len(self._retries)

    @property
    def groups(self) -> int:
        """Groups of which points are waiting."""
        return len(self._groups)

    def take(self, worker: str, most: int) -> Task | None:
        """Return the next task of a worker, None when nothing is left.

        Parameters
        ----------
        worker : str
        most : int
            Points that take about as long as a task should.
        """
        if self._retries:
            return self._retries.popleft()
        group = self._next_group(worker)
        if group is None:
            return None
        self._group_of_worker[worker] = group
        waiting = self._groups[group]
        part = math.ceil(self._waiting / (self._workers * _TASKS_PER_WORKER))
        size = max(1, min(most, part, _LARGEST_TASK, len(waiting)))
        self._waiting -= size
        trials = tuple(waiting.popleft() for _ in range(size))
        if not waiting:
            del self._groups[group]
        return Task(trials, group, group in self._shared)

    def _next_group(self, worker: str) -> str | None:
        own = self._group_of_worker.pop(worker, None)
        if own in self._groups:
            return own
        taken = set(self._group_of_worker.values())
        free = next((group for group in self._groups if group not in taken), None)
        if free is not None or not self._groups:
            return free
        largest = max(self._groups, key=lambda group: len(self._groups[group]))
        self._shared.add(largest)
        return largest

    def tries(self, trial: Trial) -> int:
        """How often a point was begun, the present time included."""
        return self._tries[trial.number] + 1

    def put_back(
        self, worker: str, task: Task, trials: Iterable[Trial], blamed: Iterable[Trial]
    ) -> list[Trial]:
        """Take back the points of a worker that ended.

        Parameters
        ----------
        worker : str
        task : Task
            The one that it had.
        trials : iterable of Trial
            Those of the task that it did not finish.
        blamed : iterable of Trial
            Of these, those at which it may have ended; once a point was blamed, it is tried alone.

        Returns
        -------
        list of Trial
            Points that were begun for the last time.
        """
        self._group_of_worker.pop(worker, None)
        numbers = {trial.number for trial in blamed}
        given_up, innocent = [], []
        for trial in trials:
            self._tries[trial.number] += trial.number in numbers
            tries = self._tries[trial.number]
            if tries >= MOST_TRIES:
                given_up.append(trial)
            elif tries:
                self._retries.append(Task((trial,), task.group, task.share))
            else:
                innocent.append(trial)
        if innocent:
            self._groups.setdefault(task.group, deque()).extendleft(reversed(innocent))
            self._waiting += len(innocent)
        return given_up
