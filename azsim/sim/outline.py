"""What of a trace no hardware changes, and what replays of it may share."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from azsim.jit import kernel
from azsim.machine.engines.clock import ENGINES
from azsim.machine.trace import Site, Trace

__all__ = ["CONTROL", "FENCE", "SCALAR_WAIT", "Outline", "kept", "outline_of"]

CONTROL, FENCE, SCALAR_WAIT = -1, 5, 6
_T = TypeVar("_T")


@dataclass(frozen=True)
class Outline:
    """Engine instructions, fences and the halt, in program order; nobody writes the arrays.

    Attributes
    ----------
    positions, site, engine, control_before : ndarray
        See `azsim.sim.flatten.FlatTrace`.
    members : ndarray of int64
        Instruction numbers grouped by engine, each group in program order.
    groups : list of (int, ndarray)
        Sites of engines, with the numbers of their instructions.
    targets : ndarray of shape (n, 5), int64
        Completions of each engine that each instruction waits for, 0 for none.
    paced : ndarray of int
        Numbers of the paced loads.
    """

    positions: np.ndarray
    site: np.ndarray
    engine: np.ndarray
    control_before: np.ndarray
    members: np.ndarray
    groups: list[tuple[int, np.ndarray]]
    targets: np.ndarray
    paced: np.ndarray


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


def _kind(site: Site) -> int:
    """Engine by number, or what the sequencer does with the instruction."""
    if site.engine in ENGINES:
        return ENGINES.index(site.engine)
    if site.mnemonic in ("fence", "halt"):
        return FENCE
    return SCALAR_WAIT if any(site.waits.values()) else CONTROL


def _outline(trace: Trace) -> Outline:
    kind_of = np.array([_kind(site) for site in trace.sites], np.int64)
    waits_of = np.zeros((len(trace.sites), len(ENGINES)), np.int64)
    for number, site in enumerate(trace.sites):
        for engine, wait in site.waits.items():
            waits_of[number, ENGINES.index(engine)] = wait
    counts = np.bincount(trace.sequence, minlength=len(kind_of))
    count = int(counts[kind_of >= 0].sum())
    positions, engine, control_before = (np.empty(count, np.int64) for _ in range(3))
    site, targets = np.empty(count, np.int32), np.empty((count, len(ENGINES)), np.int64)
    _read(
        trace.sequence, kind_of, waits_of, positions, site, engine, control_before, targets
    )  # fmt: skip
    order, bounds = _grouped(site, len(kind_of))
    members, _ = _grouped(engine.astype(np.int32), SCALAR_WAIT + 1)
    paced = np.array([site.paced for site in trace.sites], bool)
    return Outline(
        positions=positions,
        site=site,
        engine=engine,
        control_before=control_before,
        members=members,
        groups=[
            (number, order[bounds[number] : bounds[number + 1]])
            for number, one in enumerate(trace.sites)
            if one.engine in ENGINES and counts[number]
        ],
        targets=targets,
        paced=np.flatnonzero(paced[site]),
    )


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
def _grouped(numbers, count):
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
