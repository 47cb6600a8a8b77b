"""What of a trace no hardware changes, and what replays of it may share."""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from azsim.jit import kernel
from azsim.machine.engines.clock import ENGINES
from azsim.machine.trace import Trace
from azsim.sim.site_facts import KIND, PACED, SCALAR_WAIT, WAITS, site_facts

__all__ = ["Outline", "grouped", "kept", "outline_of"]

_T = TypeVar("_T")


@dataclass(frozen=True)
class Outline:
    """Engine instructions, fences and the halt, in program order; nobody writes the arrays.

    Attributes
    ----------
    facts : ndarray of int64
        Of the sites, see `azsim.sim.site_facts`.
    positions, site, engine, control_before : ndarray
        See `azsim.sim.flatten.FlatTrace`.
    members : ndarray of int64
        Instruction numbers grouped by engine, each group in program order.
    targets : ndarray of shape (n, 5), int64
        Completions of each engine that each instruction waits for, 0 for none.
    paced : ndarray of int
        Numbers of the paced loads.
    """

    facts: np.ndarray
    positions: np.ndarray
    site: np.ndarray
    engine: np.ndarray
    control_before: np.ndarray
    members: np.ndarray
    targets: np.ndarray
    paced: np.ndarray

    @functools.cached_property
    def _by_site(self) -> tuple[np.ndarray, np.ndarray]:
        return grouped(self.site, len(self.facts))

    def of_site(self, number: int) -> np.ndarray:
        """Numbers of a site's instructions, in program order."""
        order, bounds = self._by_site
        return order[bounds[number] : bounds[number + 1]]


def kept(
    derived: dict[object, Any], name: str, key: Hashable, limit: int, make: Callable[[], _T]
) -> _T:
    """What was worked out of a trace or a path before, or is now, for the next replay.

    Parameters
    ----------
    derived : dict
        Of the trace; of the path where the zero masks make no difference.
    name : str
        What it is.
    key : hashable
        Values that it depends on, beside the trace.
    limit : int
        How many of that name are kept: those that were asked for last.
    make : callable
        Works it out.
    """
    known: dict[Hashable, Any] = derived.setdefault(name, {})
    found = known.pop(key) if key in known else make()
    known[key] = found
    while len(known) > limit:
        del known[next(iter(known))]
    return found


def outline_of(trace: Trace) -> Outline:
    """Outline of a trace, found once."""
    return kept(trace.path.derived, "outline", None, 1, lambda: _outline(trace))


def _outline(trace: Trace) -> Outline:
    facts = site_facts(trace.sites)
    kind_of, waits_of = (np.ascontiguousarray(facts[:, part]) for part in (KIND, WAITS))
    counts = np.bincount(trace.sequence, minlength=len(kind_of))
    count = int(counts[kind_of >= 0].sum())
    positions, engine, control_before = (np.empty(count, np.int64) for _ in range(3))
    site, targets = np.empty(count, np.int32), np.empty((count, len(ENGINES)), np.int64)
    _read(
        trace.sequence, kind_of, waits_of, positions, site, engine, control_before, targets
    )  # fmt: skip
    members, _ = grouped(engine.astype(np.int32), SCALAR_WAIT + 1)
    paced = np.flatnonzero(np.ascontiguousarray(facts[:, PACED])[site])
    return Outline(facts, positions, site, engine, control_before, members, targets, paced)


@kernel(
    "void(int32[::1], int64[::1], int64[:, ::1], int64[::1], int32[::1], int64[::1], int64[::1],"
    " int64[:, ::1])"
)
def _read(sequence, kind_of, waits_of, positions, site, engine, control_before, targets):
    """Fill what `Outline` has of each instruction, of kinds and waits by site."""
    engines = waits_of.shape[1]
    issued = np.zeros(engines, np.int64)
    i, last = 0, -1
    for at in range(len(sequence)):
        number = sequence[at]
        kind = kind_of[number]
        if kind < 0:
            continue
        positions[i], site[i], engine[i] = at, number, kind
        control_before[i] = at - last - 1
        last = at
        for other in range(engines):
            waits = waits_of[number, other]
            targets[i, other] = max(issued[other] - waits + 1, 0) if waits > 0 else 0
        if kind < engines:
            issued[kind] += 1
        i += 1


@kernel("UniTuple(int64[::1], 2)(int32[::1], int64)")
def grouped(numbers, count):
    """Where each number from 0 to count - 1 stands, in order, and where its places begin."""
    bounds = np.zeros(count + 1, np.int64)
    for number in numbers:
        bounds[number + 1] += 1
    for number in range(count):
        bounds[number + 1] += bounds[number]
    follows, places = bounds.copy(), np.empty(len(numbers), np.int64)
    for at in range(len(numbers)):
        places[follows[numbers[at]]] = at
        follows[numbers[at]] += 1
    return places, bounds
