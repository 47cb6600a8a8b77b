"""Outcome: what came of one point, as a worker says it and the store keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from azsim.sweeps.space import Trial

__all__ = ["Outcome", "State"]

State = Literal["done", "infeasible", "failed"]


@dataclass(frozen=True)
class Outcome:
    """What came of one point.

    Attributes
    ----------
    trial : Trial
    state : str
        ``done``; ``infeasible``: it breaks a constraint, or its program does not fit its chip;
        ``failed``: there are no figures, and `message` says why.
    figures : mapping of str to float or None
        By objective.
    summary : mapping, optional
        ``summary.json`` of the run without its layers.
    key : str, optional
        Hash of all that the figures depend on.
    message : str, optional
        Why a point is not done.
    traceback : str, optional
        Of a bug.
    reused : mapping of str to mapping of str to int
        How often each stage was ``made``, or found in ``memory`` or on ``disk``.
    seconds : float
        That the point took.
    worker : str
        Host and process.
    tries : int
        How often the point was begun.
    """

    trial: Trial
    state: State
    figures: Mapping[str, float | None] = field(default_factory=dict)
    summary: Mapping[str, Any] | None = None
    key: str | None = None
    message: str | None = None
    traceback: str | None = None
    reused: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    seconds: float = 0.0
    worker: str = ""
    tries: int = 1

    @property
    def told(self) -> Mapping[str, float | None] | None:
        """What a strategy is told: figures, or None where the point is none to go on from."""
        return self.figures if self.state == "done" else None
