"""Control stays in the program, and from everywhere a way leads to a halt."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from azsim.isa.control_flow import check_control_flow
from azsim.isa.program import Instruction
from azsim.sim.checks._subject import Subject
from azsim.sim.checks._verdict import Finding, Verdict

__all__ = ["ASSUMES", "check"]

ASSUMES = ()


def check(subject: Subject) -> Verdict:
    """Loops are closed, branches stay out of other loops, and control comes to a halt."""
    instructions = subject.program.instructions
    findings = []
    for index, _, sentence in check_control_flow(instructions):
        if not instructions:
            findings.append(Finding(0, sentence))
            continue
        mnemonic = instructions[index].mnemonic
        findings.append(subject.find(index, sentence.removeprefix(f"{mnemonic}: ")))
    if not findings and subject.branches:
        findings += [subject.find(index, sentence) for index, sentence in _astray(instructions)]
    loops = sum(entry.mnemonic == "loop" for entry in instructions)
    branches = sum(entry.mnemonic == "branch" for entry in instructions)
    return Verdict(
        "control_flow",
        f"instructions: {len(instructions)}, loops: {loops}, branches: {branches}",
        tuple(findings),
    )


def _astray(instructions: Sequence[Instruction]) -> Iterator[tuple[int, str]]:
    """Where control runs out of the program, or goes round for ever whatever the data is."""
    ways = [tuple(_next(instructions, index)) for index in range(len(instructions))]
    back: dict[int, list[int]] = {}
    for index, targets in enumerate(ways):
        for target in targets:
            back.setdefault(target, []).append(index)
    reached = _reached([0], dict(enumerate(ways)))
    halts = [index for index, entry in enumerate(instructions) if entry.mnemonic == "halt"]
    ends = _reached([*halts, len(instructions)], back)
    for index in sorted(back.get(len(instructions), ())):
        if index in reached:
            yield index, "control runs out of the program here, without halt"
    endless = sorted(reached - ends)
    if endless:
        yield endless[0], "no way leads from here to a halt"


def _next(instructions: Sequence[Instruction], index: int) -> Iterator[int]:
    """Where control can go on; loops are known to be closed and to end."""
    entry = instructions[index]
    if entry.mnemonic == "halt":
        return
    if entry.mnemonic == "branch":
        yield int(entry.operands.get("target", 0))
        is_jump = entry.operands.get("left", 0) == entry.operands.get("right", 0)
        always = ("equal", "less_equal", "greater_equal")
        if is_jump and entry.operands.get("condition", "equal") in always:
            return
    yield index + 1


def _reached(begins: Sequence[int], ways: Mapping[int, Sequence[int]]) -> set[int]:
    found = set(begins)
    waiting = list(begins)
    while waiting:
        for target in ways.get(waiting.pop(), ()):
            if target not in found:
                found.add(target)
                waiting.append(target)
    return found
