"""Two accesses that meet: whether they have bytes in common, and what to say of them."""

from __future__ import annotations

from dataclasses import dataclass

from azsim.machine.view import share_bytes
from azsim.sim.checks._subject import Subject
from azsim.sim.checks._verdict import Finding
from azsim.sim.checks._windows import Access

__all__ = ["Pair", "finding_of", "meeting"]


@dataclass(frozen=True)
class Pair:
    """Two instructions whose accesses meet and that nothing orders."""

    late: int
    early: int
    access: Access  # of the late one
    other: Access

    @property
    def moves(self) -> bool:
        """Whether one of them has a window of which only the hull over all rounds is known."""
        return not (self.access.views and self.other.views)


def finding_of(subject: Subject, pair: Pair, why: str = "") -> Finding:
    access, other = pair.access, pair.other
    low, high = max(access.span.low, other.span.low), min(access.span.high, other.span.high)
    if not why:
        why = "and may share bytes in some round" if pair.moves else "and no wait orders the two"
    of_tensor = f" of '{access.region}'" if access.region else ""
    as_other = f" as '{other.region}'" if other.region and other.region != access.region else ""
    return subject.find(
        pair.late,
        f"{'writes' if access.span.is_write else 'reads'} {access.span.space} bytes "
        f"[{low:#x}, {high:#x}){of_tensor} that {subject.name(pair.early)} "
        f"{'writes' if other.span.is_write else 'reads'}{as_other}, {why}",
        pair.early,
    )


def meeting(subject: Subject, late: int, early: int) -> Pair | None:
    """The first accesses of two instructions that meet."""
    for access in subject.accesses.get(late, ()):
        for other in subject.accesses.get(early, ()):
            if _meet(access, other):
                return Pair(late, early, access, other)
    return None


def _meet(left: Access, right: Access) -> bool:
    a, b = left.span, right.span
    if a.space != b.space or not (a.is_write or b.is_write):
        return False
    if a.low >= b.high or b.low >= a.high:
        return False
    if not (left.views and right.views):
        return True
    return share_bytes(left.views[0], right.views[0])
