"""Progress: how far a sweep is, and what it came to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Best", "Progress", "SweepInterrupted", "SweepResult", "Watch"]


@dataclass(frozen=True)
class Best:
    """The best point of one objective so far.

    Attributes
    ----------
    objective, unit : str
    value : float
    number : int
        Of the point.
    """

    objective: str
    unit: str
    value: float
    number: int


@dataclass(frozen=True)
class Progress:
    """How far a sweep is.

    Attributes
    ----------
    total : int
        Points that the strategy evaluates at most.
    done, infeasible, failed : int
        Points by what came of them, earlier runs' included.
    resumed : int
        Of these, those of earlier runs.
    shared : int
        Points of this run whose bits had been executed for another point.
    seconds : float
        Since this run began.
    points_per_s : float
        Of this run.
    left_s : float, optional
        That the rest may take; None until there is something to tell it from.
    workers : int
    best : tuple of Best
        One an objective that has a value.
    stages : mapping of str to mapping of str to int
        How often each stage was ``made``, or found in ``memory`` or on ``disk``, in this run.
    """

    total: int
    done: int
    infeasible: int
    failed: int
    resumed: int
    shared: int
    seconds: float
    points_per_s: float
    left_s: float | None
    workers: int
    best: tuple[Best, ...]
    stages: Mapping[str, Mapping[str, int]]

    @property
    def finished(self) -> int:
        """Points that are done, infeasible or failed."""
        return self.done + self.infeasible + self.failed


@dataclass(frozen=True)
class SweepResult:
    """What a sweep came to.

    Attributes
    ----------
    name : str
    folder : Path
        Holds ``results.sqlite``.
    progress : Progress
        At the end.
    stopped : str, optional
        Why it ended before the strategy did; None if it is complete.
    """

    name: str
    folder: Path
    progress: Progress
    stopped: str | None = None

    @property
    def is_complete(self) -> bool:
        """Whether all points are finished."""
        return self.stopped is None

    @property
    def best(self) -> Mapping[str, Best]:
        """The best point of each objective, by its name."""
        return {best.objective: best for best in self.progress.best}


class SweepInterrupted(KeyboardInterrupt):
    """Ctrl-C; `result` says what is kept."""

    def __init__(self, result: SweepResult) -> None:
        super().__init__(result.stopped)
        self.result = result


Watch = Callable[[Progress], None]
"""Called a few times a second while a sweep runs."""
