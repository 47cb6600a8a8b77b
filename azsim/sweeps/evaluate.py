"""Evaluate: the figures of one point, with every stage that another point did taken from it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from azsim.frontend.workload import Workload
from azsim.hardware.description import Hardware
from azsim.hardware.plan import planned_hardware
from azsim.inputs.fetch import cache_directory
from azsim.pipeline import run
from azsim.stages.keys import StageKeys, content_key
from azsim.stages.reuse import StageCache
from azsim.stages.shelf import MOST_BYTES, Shelf

__all__ = ["Evaluation", "evaluate", "group_key", "open_cache", "point_key"]

_TOO_LONG = ("layers",)  # tables that no objective is in


class Point(Protocol):
    """What is evaluated; see `azsim.sweeps.point.Point`."""

    @property
    def workload(self) -> Workload: ...
    @property
    def hardware(self) -> Hardware: ...
    @property
    def preset(self) -> Hardware: ...


@dataclass(frozen=True)
class Evaluation:
    """What is known of a point.

    Attributes
    ----------
    summary : mapping
        ``summary.json`` without ``layers``.
    key : str
        Hash of all that the figures depend on.
    reused : mapping of str to mapping of str to int
        How often each stage was ``made``, or found in ``memory`` or on ``disk``.
    seconds : float
    """

    summary: Mapping[str, Any]
    key: str
    reused: Mapping[str, Mapping[str, int]]
    seconds: float


def open_cache(
    memory_bytes: int | None = None, disk_bytes: int = MOST_BYTES, *, on_disk: bool = True
) -> StageCache:
    """Return a cache for the points of one process; its shelf is the user's."""
    shelf = Shelf(cache_directory() / "stages", disk_bytes) if on_disk else None
    return StageCache(memory_bytes, shelf)


def evaluate(
    point: Point, cache: StageCache, *, share: bool = False, bounded: bool = False
) -> Evaluation:
    """Find the figures of a point.

    Parameters
    ----------
    point : Point
    cache : StageCache
    share : bool
        Other processes have points of the same group: put what is made on disk for them.
    bounded : bool
        Find `azsim.sim.result.BOUND_KEYS` too, which takes longer than all else that a point needs
        that differs in timing alone.

    Raises
    ------
    AzsimError
        As `azsim.pipeline.run`.
    """
    begin, before = time.perf_counter(), cache.counts.copy()
    keys = _keys(point)
    cache.shares = share
    key = content_key(keys.run, bounded)
    summary = cache.value("run", key, lambda: _summary(point, cache, bounded=bounded))
    reused: dict[str, dict[str, int]] = {}
    for (stage, where), count in (cache.counts - before).items():
        reused.setdefault(stage, {})[where] = count
    return Evaluation(summary, keys.run, reused, time.perf_counter() - begin)


def point_key(point: Point) -> str:
    """Hash of all that a point's figures depend on."""
    return _keys(point).run


def group_key(point: Point) -> str:
    """Hash that points share whose bits are the same: they differ in timing alone."""
    return _keys(point).execution


def _keys(point: Point) -> StageKeys:
    planned = planned_hardware(point.hardware, point.preset)
    return StageKeys(point.workload, planned, point.hardware)


def _summary(point: Point, cache: StageCache, *, bounded: bool) -> dict[str, Any]:
    result = run(
        point.workload,
        point.hardware,
        preset=point.preset,
        timeline=False,
        bounded=bounded,
        cache=cache,
    )
    return {key: value for key, value in result.summary.items() if key not in _TOO_LONG}
