"""Products and drains stay within the chip's accumulators."""

from __future__ import annotations

from azsim.sim.checks._products import drains, products
from azsim.sim.checks._subject import Subject
from azsim.sim.checks._verdict import Finding, Verdict, verdict

__all__ = ["ASSUMES", "check"]

ASSUMES = ()


def check(subject: Subject) -> Verdict:
    """Compare the last accumulator of each tile with how many there are."""
    limit = subject.hardware.mac.accumulators
    findings: list[Finding] = []
    unproved: list[Finding] = []
    used = 0
    for tile in sorted((*products(subject), *drains(subject)), key=lambda tile: tile.index):
        if tile.size is None:
            unproved.append(
                subject.find(
                    tile.index, f"how many rows the block of{tile.weight} has is not known here"
                )
            )
            continue
        used = max(used, tile.acc + tile.size)
        if tile.acc + tile.size > limit:
            findings.append(
                subject.find(
                    tile.index,
                    f"accumulators {tile.acc} to {tile.acc + tile.size - 1}{tile.weight}, "
                    f"there are {limit}",
                )
            )
    return verdict("accumulators", f"accumulators: {used} used of {limit}", findings, unproved)
