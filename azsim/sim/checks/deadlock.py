"""Each wait names completions that happen, and the program comes to its end.

A wait names instructions that were dispatched before the one that waits, the sequencer dispatches
in program order, and an engine works in that order.  So the oldest instruction that is not complete
waits for nothing: all that it could wait for is older, and so complete; its engine has nothing
before it; and it is dispatched, as its queue is empty and holds one at least.  It completes, and
then the next.  That holds for queues of any length, so that what is left to look at is whether
waits name anything at all, and whether loops end.
"""

from __future__ import annotations

from azsim.machine.engines.clock import ENGINES
from azsim.sim.checks._subject import Subject
from azsim.sim.checks._verdict import Finding, Verdict, verdict

__all__ = ["ASSUMES", "check"]

ASSUMES = ("frames arrive, DRAM answers, and a queue holds at least one instruction",)


def check(subject: Subject) -> Verdict:
    """Look for waits that can name nothing, and for ways back whose end depends on data."""
    instructions = subject.program.instructions
    around = subject.around
    first: dict[str, int] = dict.fromkeys(ENGINES, len(instructions))
    for index in range(len(instructions) - 1, -1, -1):
        if subject.engine_of[index] in first:
            first[subject.engine_of[index]] = index
    # Where control can come from: the last instruction from which a way leads back here or before.
    back = [(index, _target(subject, index)) for index in subject.branches]
    back += [
        (index, around[index][-1])
        for index, entry in enumerate(instructions)
        if entry.mnemonic == "end_loop" and _count(subject, around[index][-1]) > 1
    ]
    findings: list[Finding] = []
    waits = 0
    for index, instruction in enumerate(instructions):
        for engine in ENGINES:
            if not instruction.operands.get(f"wait_{engine}"):
                continue
            waits += 1
            reach = _reach(index, back)
            if first[engine] >= (reach + 1 if reach > index else index):
                findings.append(
                    subject.find(
                        index,
                        f"wait_{engine} names nothing, as nothing is dispatched to the {engine} "
                        "engine before",
                    )
                )
    unproved = [
        subject.find(index, f"goes back to instruction {target}, and its end depends on data")
        for index, target in back
        if instructions[index].mnemonic == "branch" and target <= index
    ]
    return verdict("deadlock", f"waits: {waits}", findings, unproved)


def _reach(index: int, back: list[tuple[int, int]]) -> int:
    """The last instruction that may have run before one, by the ways back."""
    reach = index
    while True:
        further = max((end for end, begin in back if begin <= reach <= end), default=reach)
        if further <= reach:
            return reach
        reach = further


def _target(subject: Subject, index: int) -> int:
    return int(subject.program.instructions[index].operands.get("target", 0))


def _count(subject: Subject, loop: int) -> int:
    return int(subject.program.instructions[loop].operands.get("count", 1))
