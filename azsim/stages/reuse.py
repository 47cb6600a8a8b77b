"""Reuse: results of stages by what they read, so that no run of many does a stage twice.

`azsim.pipeline.run` asks for each stage's result by its key (`azsim.stages.keys`).  `Reuse` makes
it, always; a `StageCache` has a look in memory and on disk first.
"""

from __future__ import annotations

import os
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np

from azsim.compiler.allocate import Allocation
from azsim.compiler.schedule import Schedule
from azsim.compiler.tile import Plan
from azsim.isa.program import Program
from azsim.stages.keys import StageKeys, content_key
from azsim.stages.shelf import Shelf

__all__ = ["NO_REUSE", "STAGES", "Reuse", "StageCache", "num_bytes"]

STAGES = {
    "model": "read or build the float graph",
    "inputs": "make its input",
    "codes": "prune and quantize a weight",
    "prepared": "join these to a compressed graph",
    "program": "compile it, prove the program",
    "execution": "run the bits",
    "reference": "evaluate the float model",
    "accuracy": "compare outputs with it",
    "run": "time the run",
}
"""Stages that have a key, in the order of a run, and what they do."""

_Value = TypeVar("_Value")


class Reuse:
    """Makes each result anew."""

    def value(self, stage: str, make: Callable[[], _Value], *detail: object) -> _Value:
        """Return a stage's result.

        Parameters
        ----------
        stage : str
            One of `STAGES`.
        make : callable
            Does the stage.
        *detail
            What the result depends on besides what the stage's key holds.
        """
        return make()


NO_REUSE = Reuse()


class StageCache:
    """Keeps results in memory, and those of slow stages on disk where that is wanted.

    Parameters
    ----------
    memory_bytes : int, optional
        What results in memory may take, arrays counted; the last one of each stage is always
        kept.  A quarter of the machine's memory unless told.
    shelf : Shelf, optional
        Where results lie on disk; none are unless given.

    Attributes
    ----------
    counts : Counter of (str, str)
        How often each stage was ``made``, or found in ``memory`` or on ``disk``.
    shares : bool
        Put what is made on disk, for other processes.
    """

    def __init__(self, memory_bytes: int | None = None, shelf: Shelf | None = None) -> None:
        self._most_bytes = _memory_bytes() // 4 if memory_bytes is None else memory_bytes
        self._shelf = shelf
        self._values: OrderedDict[tuple[str, str], tuple[Any, int]] = OrderedDict()
        self._bytes = 0
        self.counts: Counter[tuple[str, str]] = Counter()
        self.shares = False

    def of(self, keys: StageKeys) -> Reuse:
        """Return what one run, whose keys these are, takes its results from."""
        return _Cached(self, keys)

    def value(self, stage: str, key: str, make: Callable[[], _Value]) -> _Value:
        """Return the result of a stage by its key; `make` does the stage."""
        name = stage, key
        if name in self._values:
            self._values.move_to_end(name)
            self.counts[stage, "memory"] += 1
            return self._values[name][0]
        where, value = self._found_or_made(stage, key, make)
        self.counts[stage, where] += 1
        self._keep(name, value)
        return value

    def _found_or_made(self, stage: str, key: str, make: Callable[[], Any]) -> tuple[str, Any]:
        shelf = self._shelf
        if shelf is None or stage in _NEVER_ON_DISK:
            return "made", make()
        if (found := shelf.load(stage, key)) is not None:
            return "disk", found
        if not (self.shares or stage in _ALWAYS_ON_DISK):
            return "made", make()
        with shelf.making(stage, key):  # another process may be at it
            if (found := shelf.load(stage, key)) is not None:
                return "disk", found
            value = make()
            shelf.save(stage, key, value)
            return "made", value

    def _keep(self, name: tuple[str, str], value: Any) -> None:
        size = num_bytes(value)
        self._values[name] = value, size
        self._bytes += size
        if self._bytes > self._most_bytes:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        last = dict(iter(self._values))  # of each stage the key that was used last
        for entry in list(self._values):
            if self._bytes <= self._most_bytes:
                break
            if last[entry[0]] != entry[1]:
                self._bytes -= self._values.pop(entry)[1]


class _Cached(Reuse):
    """Results of one run's stages, by its keys."""

    def __init__(self, cache: StageCache, keys: StageKeys) -> None:
        self._cache = cache
        self._keys = keys

    def value(self, stage: str, make: Callable[[], _Value], *detail: object) -> _Value:
        key: str = getattr(self._keys, stage)
        if detail:
            key = content_key(key, *detail)
        return self._cache.value(stage, key, make)


_ALWAYS_ON_DISK = ("reference", "run")  # small
_NEVER_ON_DISK = ("model", "inputs", "codes")  # quick to make, and in `prepared`


def _memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


# Thousands of objects with hardly an array among them.
_MANY_SMALL_OBJECTS = (Allocation, Plan, Program, Schedule)


@dataclass
class _Seen:
    ids: set[int]
    kept: list[Any]


def num_bytes(value: Any) -> int:
    """Bytes of the arrays and byte strings in a value, each once; the objects around are not.

    Instructions, schedules and the like, which are objects alone, are not looked at.
    """
    return _num_bytes(value, _Seen(set(), []))


def _num_bytes(value: Any, seen: _Seen) -> int:
    if value is None or isinstance(value, str | int | float) or id(value) in seen.ids:
        return 0
    seen.ids.add(id(value))
    seen.kept.append(value)  # so that no other value gets its id
    if isinstance(value, _MANY_SMALL_OBJECTS):
        return 0
    if isinstance(value, np.ndarray):
        base = value.base
        return _num_bytes(base, seen) if isinstance(base, np.ndarray) else value.nbytes
    if isinstance(value, bytes | bytearray):
        return len(value)
    if isinstance(value, Mapping | MappingProxyType):
        return sum(_num_bytes(inner, seen) for inner in value.values())
    if isinstance(value, list | tuple | set | frozenset):
        return sum(_num_bytes(inner, seen) for inner in value)
    if is_dataclass(value) and not isinstance(value, type):
        return sum(_num_bytes(getattr(value, entry.name), seen) for entry in fields(value))
    return 0
