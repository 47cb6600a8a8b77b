"""What of a trace no hardware changes, and what replays of it may share."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

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


def kept(trace: Trace, name: str, key: Hashable, limit: int, make: Callable[[], _T]) -> _T:
    """What was worked out of a trace before, or is now, for the next replay.

    Parameters
    ----------
    trace : Trace
    name : str
        What it is.
    key : hashable
        Values that it depends on, beside the trace.
    limit : int
        How many of that name are kept: those that were asked for last.
    make : callable
        Works it out.
    """
    known: dict[Hashable, Any] = trace.derived.setdefault(name, {})
    found = known.pop(key) if key in known else make()
    known[key] = found
    while len(known) > limit:
        del known[next(iter(known))]
    return found


def outline_of(trace: Trace) -> Outline:
    """Outline of a trace, found once."""
    return kept(trace, "outline", None, 1, lambda: _outline(trace))


def _kind(site: Site) -> int:
    """Engine by number, or what the sequencer does with the instruction."""
    if site.engine in ENGINES:
        return ENGINES.index(site.engine)
    if site.mnemonic in ("fence", "halt"):
        return FENCE
    return SCALAR_WAIT if any(site.waits.values()) else CONTROL


def _outline(trace: Trace) -> Outline:
    kinds = np.array([_kind(site) for site in trace.sites], np.int64)
    kind = kinds[trace.sequence]
    positions = np.flatnonzero(kind >= 0)
    engine = np.ascontiguousarray(kind[positions])
    site = trace.sequence[positions]
    order = np.argsort(site, kind="stable")
    bounds = np.searchsorted(site[order], np.arange(len(trace.sites) + 1))
    groups = [
        (number, order[bounds[number] : bounds[number + 1]])
        for number in np.unique(site).tolist()
        if trace.sites[number].engine in ENGINES
    ]
    waits = np.array(
        [[site.waits.get(engine, 0) for engine in ENGINES] for site in trace.sites], np.int64
    ).reshape(-1, len(ENGINES))[site]
    issued = np.zeros_like(waits)
    for number in range(len(ENGINES)):
        mine = engine == number
        issued[:, number] = np.cumsum(mine) - mine
    targets = np.where(waits > 0, np.maximum(issued - waits + 1, 0), 0)
    paced = np.array([site.paced for site in trace.sites], bool)
    return Outline(
        positions=positions,
        site=site,
        engine=engine,
        control_before=np.diff(positions, prepend=-1) - 1,
        members=np.ascontiguousarray(np.argsort(engine, kind="stable")),
        groups=groups,
        targets=np.ascontiguousarray(targets),
        paced=np.flatnonzero(paced[site]),
    )
