"""Control stays in the program, and a way leads to a halt."""

from __future__ import annotations

from azsim.isa.control_flow import check_control_flow
from azsim.sim.checks._subject import Subject
from azsim.sim.checks._verdict import Finding, Verdict

__all__ = ["ASSUMES", "check"]

ASSUMES = ()


def check(subject: Subject) -> Verdict:
    """Loops are closed, branches stay out of other loops, and there is a halt."""
    instructions = subject.program.instructions
    findings = []
    for index, _, sentence in check_control_flow(instructions):
        if not instructions:
            findings.append(Finding(0, sentence))
            continue
        mnemonic = instructions[index].mnemonic
        findings.append(subject.find(index, sentence.removeprefix(f"{mnemonic}: ")))
    loops = sum(entry.mnemonic == "loop" for entry in instructions)
    branches = sum(entry.mnemonic == "branch" for entry in instructions)
    return Verdict(
        "control_flow",
        f"instructions: {len(instructions)}, loops: {loops}, branches: {branches}",
        tuple(findings),
    )
