"""Crew: what the driver asks of those that do the work, processes or machines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from azsim.sweeps.outcome import Outcome

if TYPE_CHECKING:
    from azsim.sweeps.space import Trial
    from azsim.sweeps.tasks import Task

__all__ = ["Crew", "Finished", "Lost"]


@dataclass(frozen=True)
class Finished:
    """A worker says what it found; `is_last`: of all points of its task."""

    worker: str
    outcomes: tuple[Outcome, ...]
    is_last: bool


@dataclass(frozen=True)
class Lost:
    """A worker ended before its task.

    Attributes
    ----------
    worker : str
    task : Task
    unfinished : tuple of Trial
        Points of which nothing was heard.
    blamed : tuple of Trial
        Of these, those at which it may have ended.
    reason : str
    """

    worker: str
    task: Task
    unfinished: tuple[Trial, ...]
    blamed: tuple[Trial, ...]
    reason: str


class Crew(Protocol):
    """Workers that are given tasks."""

    task_s: float
    """A task should take about so long: long enough to be worth a message."""

    @property
    def size(self) -> int:
        """How many workers there are, or will be."""
        ...

    @property
    def present(self) -> int:
        """How many workers there are now."""
        ...

    def idle(self) -> Sequence[str]:
        """Return the names of workers that wait for a task."""
        ...

    def give(self, worker: str, task: Task) -> None:
        """Let an idle worker begin a task."""
        ...

    def events(self, timeout_s: float) -> Sequence[Finished | Lost]:
        """Wait until something happens, at most so long, and return all that did.

        Raises
        ------
        InputError
            If no worker can work.
        """
        ...

    def finish_soon(self) -> None:
        """Let workers end their tasks after the points that they are at; none is given after."""
        ...

    @property
    def is_busy(self) -> bool:
        """Whether any worker has a task."""
        ...

    def close(self) -> None:
        """End the workers at once."""
        ...
