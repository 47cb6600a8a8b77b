"""Every design of the space, the last axis changing first."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from pydantic import ConfigDict

from azsim.sweeps.space import Sweep, Trial, count, designs

__all__ = ["OPTIONS", "points", "size", "start"]

_BATCH = 100_000


@dataclass(frozen=True)
class Options:
    """A grid has nothing to say."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)


OPTIONS = Options


def points(sweep: Sweep) -> Iterator[Trial]:
    """Yield every design as a trial, in the order of the grid."""
    for number, design in enumerate(designs(sweep.axes, sweep.constraints)):
        yield Trial(number, design)


def size(sweep: Sweep) -> int:
    """Return the number of designs."""
    return count(sweep.axes, sweep.constraints)


class Grid:
    """All points, in large batches, as none depends on another."""

    def __init__(self, sweep: Sweep) -> None:
        self._points = points(sweep)

    def ask(self) -> list[Trial]:
        return list(itertools.islice(self._points, _BATCH))

    def tell(self, trial: Trial, figures: Mapping[str, float | None] | None) -> None:
        pass


def start(sweep: Sweep) -> Grid:
    """Begin a grid."""
    return Grid(sweep)
