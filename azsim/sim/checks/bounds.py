"""Every access of every round of every loop stays in one live region of its memory."""

from __future__ import annotations

import math

from azsim.errors import MachineError
from azsim.isa.program import Region
from azsim.machine.view import Range
from azsim.sim.checks._subject import Subject
from azsim.sim.checks._verdict import Finding, Verdict, verdict
from azsim.sim.checks._windows import Window

__all__ = ["ASSUMES", "check"]

ASSUMES = (
    "row numbers of gather and scatter are rows of their view (the machine stops otherwise)",
)


def check(subject: Subject) -> Verdict:
    """Look at every operand of every instruction that can be reached."""
    found = _Bounds(subject)
    count = 0
    for index, operands in sorted(subject.windows.items()):
        for name in dict.fromkeys(subject.unset.get(index, ())):
            register = getattr(subject.operation(index), name)
            found.report(index, f"{name} is v{register}, which nothing has set", certain=True)
        if index in subject.illegal:
            sentence, certain = subject.illegal[index]
            found.report(index, sentence, certain=certain)
        for name, windows in operands.items():
            for window in windows:
                count += 1
                found.window(index, name, window)
    looked_at = f"windows: {count}, regions: {len(subject.program.regions)}"
    return verdict("bounds", looked_at, found.findings, found.unproved)


class _Bounds:
    def __init__(self, subject: Subject) -> None:
        self.findings: list[Finding] = []
        self.unproved: list[Finding] = []
        self._subject = subject
        self._spaces = {region.space for region in subject.program.regions}
        self._steps: dict[int, int] = {}  # greatest common divisor of what moves a register
        for instruction in subject.program.instructions:
            if instruction.mnemonic in ("view_step", "view_at"):
                register = int(instruction.operands.get("view", 0))
                step = int(instruction.operands.get("step", 0))
                self._steps[register] = math.gcd(self._steps.get(register, 0), step)

    def report(self, index: int, sentence: str, *, certain: bool) -> None:
        """Note a sentence; one that need not come true is no finding."""
        finding = self._subject.find(index, sentence)
        (self.findings if certain else self.unproved).append(finding)

    def window(self, index: int, name: str, window: Window) -> None:
        """Look at one operand."""
        subject, view = self._subject, window.view
        try:
            low, high = window.extent()
        except MachineError:
            return  # the footprint has said it
        of_tensor = f" of '{window.region}'" if window.region else ""
        if window.span_bytes is None:
            self.report(
                index,
                f"{name} (v{window.register}{of_tensor}) is placed by a number that is not known "
                "before the program runs",
                certain=False,
            )
            return
        # Where data decides what comes next, the ends of what a loop moves may not be reached.
        certain = not window.span_bytes or not subject.branches
        where = f"{name} reaches {view.space} bytes [{low:#x}, {high:#x}){of_tensor}"
        size = max(1, view.element_bits // 8)
        moves = self._steps.get(window.register, 0) if window.span_bytes else 0
        if moves % size:
            moves = subject.steps.get((window.register, window.origin), 0)
        if view.addr % size or moves % size:
            self.report(index, f"{where}, which are not aligned to {size} bytes", certain=certain)
        capacity = subject.capacity_bytes(view.space)
        if low < 0 or high > capacity:
            self.report(index, f"{where}, the memory has {capacity} bytes", certain=certain)
            return
        sentence = self._outside(index, Range(view.space, low, high, is_write=False), window.region)
        if sentence:
            self.report(index, f"{where}, {sentence}", certain=certain)

    def _outside(self, index: int, span: Range, name: str | None) -> str:
        """What is wrong with bytes as to regions, or nothing."""
        at = self._subject.where[index]
        if name is not None:
            region = self._subject.regions.get(name)
            if region is None:
                return "and no region has that name"
            if region.space != span.space:
                return f"which is a region of {region.space}"
            if not _holds(region, span):
                return f"outside that region {_bytes_of(region)}"
            if not region.first <= at <= region.last:
                return f"which lives from instruction {region.first} to {region.last}"
            return ""
        if span.space not in self._spaces:
            return ""
        for region in self._subject.program.regions:
            if (
                region.space == span.space
                and region.first <= at <= region.last
                and _holds(region, span)
            ):
                return ""
        return "which lie in no live region"


def _holds(region: Region, span: Range) -> bool:
    end = region.start_bytes + region.size_bytes
    return region.start_bytes <= span.low and span.high <= end


def _bytes_of(region: Region) -> str:
    return f"[{region.start_bytes:#x}, {region.start_bytes + region.size_bytes:#x})"
