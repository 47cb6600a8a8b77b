"""What a checker says."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["Finding", "Verdict", "verdict"]


@dataclass(frozen=True)
class Finding:
    """Something that is wrong, or that cannot be told.

    Attributes
    ----------
    index : int
        The guilty instruction.
    sentence : str
        Begins with the instruction and its layer, and names the tensors.
    others : tuple of int
        Instructions that have a part in it.
    """

    index: int
    sentence: str
    others: tuple[int, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """What a checker found.

    Attributes
    ----------
    check : str
        Its name.
    looked_at : str
        What was looked at, with numbers.
    findings : tuple of Finding
        What is wrong, in program order.
    unproved : tuple of Finding
        What may be right but cannot be told from the program alone.
    """

    check: str
    looked_at: str
    findings: tuple[Finding, ...] = ()
    unproved: tuple[Finding, ...] = ()


def verdict(
    check: str, looked_at: str, findings: Iterable[Finding], unproved: Iterable[Finding]
) -> Verdict:
    """A `Verdict` with each finding once, in program order."""
    return Verdict(check, looked_at, _in_order(findings), _in_order(unproved))


def _in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    return tuple(sorted(dict.fromkeys(findings), key=lambda one: (one.index, one.others)))
