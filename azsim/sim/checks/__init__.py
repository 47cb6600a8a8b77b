"""The checkers: what can be proved of a program from its instructions alone, one file each.

A module of this package is named as its check and defines

``check(subject)``
    Look at a `Subject` and give a `Verdict`: findings, what cannot be told, what was looked at.
``ASSUMES``
    Sentences on which the proof rests.

The first line of its docstring says what it proves.  None of them executes the program, and none
uses the compiler's own reasoning: `azsim.sim.checks._flow` tells where views can stand from the
instructions, and instructions' footprints tell what they touch.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType

from azsim.collector import no_collection
from azsim.folder import load_folder
from azsim.hardware.description import Hardware
from azsim.isa.program import DramImage, Program
from azsim.sim.checks._subject import Subject
from azsim.sim.checks._verdict import Finding, Verdict

__all__ = ["Finding", "Verdict", "check_program", "checkers"]

_FIRST = "control_flow"


def checkers() -> Mapping[str, ModuleType]:
    """Every checker's module by name."""
    return load_folder("azsim.sim.checks", ("ASSUMES", "check"))


def check_program(
    program: Program,
    hardware: Hardware,
    image: DramImage | None = None,
) -> tuple[Verdict, ...]:
    """Check a program on a chip.

    Parameters
    ----------
    program : Program
    hardware : Hardware
        For the sizes of its memories.
    image : DramImage, optional
        Tells how large DRAM is and what weights its blocks hold; without it DRAM is as large as
        regions and ports reach, and weights are as large as their type allows.

    Returns
    -------
    tuple of Verdict
        One a checker.  Where control can go astray that is all there is to say, and the others
        are left out.
    """
    table = checkers()
    with no_collection():
        subject = Subject(program, hardware, image)
        verdicts = [table[_FIRST].check(subject)]
        if not verdicts[0].findings:
            others = [checker for name, checker in table.items() if name != _FIRST]
            verdicts += [_looked_at_twice(checker, subject) for checker in others]
    return tuple(verdicts)


def _looked_at_twice(checker: ModuleType, subject: Subject) -> Verdict:
    """Look again where branches were taken to go both ways, if they can be decided."""
    verdict = checker.check(subject)
    if (verdict.findings or verdict.unproved) and subject.branches and subject.rounds is not None:
        return checker.check(subject.without_branches)
    return verdict
