"""What is measured for the study timing_agreement: a case, its place in a sweep, its cycles."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rtl.harness import Design

__all__ = ["FIRST_RANDOM_SEED", "Measured", "Point", "zeros_of"]

FIRST_RANDOM_SEED = 1000
"""First seed of the random cases: tests use those below."""


@dataclass(frozen=True)
class Measured:
    """Cycles of one case.

    Attributes
    ----------
    rtl, stepped : int
        Of the Verilog and of the cycle-stepped model.
    fast : int or None
        Of the model that every run uses; None where the case holds stalls that it does not know.
    same_results : bool
        Whether the Verilog's results are those of numpy; for DRAM, which has none, whether each
        transfer ends in the same cycle as in the cycle-stepped model.
    """

    rtl: int
    stepped: int
    fast: int | None
    same_results: bool


@dataclass(frozen=True)
class Point:
    """A case before it is measured.

    Attributes
    ----------
    engine, sweep : str
    x : float or str
        Value of what the sweep varies.
    series : str
        What else tells this case from others of the sweep; empty if nothing does.
    seed : int
    parameters : mapping of str to int, float or str
        All that the case is made of, cycles and counts.
    design : Design
    measure : callable
    """

    engine: str
    sweep: str
    x: float | str
    series: str
    seed: int
    parameters: Mapping[str, float | str]
    design: Design
    measure: Callable[[], Measured]


def zeros_of(zeros: int, size: int) -> float:
    """Share of zeros, to three digits."""
    return round(zeros / max(1, size), 3)
