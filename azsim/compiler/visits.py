"""Visits: the products with weights in program order, and what surrounds them.

Contract: takes the lowered steps of one frame, gives its products with how often each comes, the
vector work before it, and whether a fence stands before it.  Where data decides what comes next
(`azsim.compiler.regions`) a load cannot hide behind what is before a fence, so that what streams
there costs time as well as traffic: `azsim.compiler.residency` weighs both.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from azsim.compiler.step_cycles import vector_cycles
from azsim.hardware.description import Hardware
from azsim.ops.lowering import Leave, Loop, Lowering, Matmul, Step
from azsim.ops.steps import is_region

__all__ = ["Visit", "weight_visits"]

_SHOWN_ROUNDS = 2


@dataclass(frozen=True)
class Visit:
    """A product with a weight, in program order.

    Attributes
    ----------
    weight : str
    loop : int
        Number of the outermost operator's loop around it, -1 for none.
    times : float
        How often it comes in a frame, on average where data decides that.  Products in a loop of
        many rounds are there for each of two rounds, and come half as often as the loop has rounds.
    vector_cycles : float
        Work of the vector engine between the product before and this one, in a whole frame; what
        follows a frame's last product is before the next one's first.
    is_fenced : bool
        Whether every engine is idle at a point between the product before and this one.
    is_in_region : bool
        Whether it comes between such points, where no load can be ahead of it for long.
    """

    weight: str
    loop: int
    times: float
    vector_cycles: float = 0.0
    is_fenced: bool = False
    is_in_region: bool = False


@dataclass
class _Gap:
    """What has come since the last product."""

    vector_cycles: float = 0.0
    is_fenced: bool = False


def weight_visits(lowering: Lowering, hardware: Hardware) -> tuple[Visit, ...]:
    """Visits of a frame."""
    gap = _Gap()

    def visit(
        steps: Sequence[Step], loop: int, times: float, *, is_in_region: bool = False
    ) -> Iterator[Visit]:
        for step in steps:
            if isinstance(step, Matmul):
                yield Visit(
                    step.weight, loop, times, gap.vector_cycles, gap.is_fenced, is_in_region
                )
                gap.vector_cycles, gap.is_fenced = 0.0, False
            elif isinstance(step, Leave):
                times *= step.stays
                gap.is_fenced = True
            elif isinstance(step, Loop):
                number = step.number if loop < 0 else loop
                rounds = min(step.count, _SHOWN_ROUNDS)
                share = times * step.mean_rounds / rounds
                is_inside = is_in_region or is_region(step)
                gap.is_fenced |= is_region(step)
                for _ in range(rounds):
                    yield from visit(step.body, number, share, is_in_region=is_inside)
                    gap.is_fenced |= is_region(step)
            else:
                gap.vector_cycles += vector_cycles(step, lowering, hardware) * times

    found = list(visit([step for _, step in lowering.steps], -1, 1.0))
    if found:
        first = found[0]
        found[0] = replace(
            first,
            vector_cycles=first.vector_cycles + gap.vector_cycles,
            is_fenced=first.is_fenced or gap.is_fenced,
        )
    return tuple(found)
