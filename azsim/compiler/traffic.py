"""Traffic: the weight bytes that a run will read from DRAM, told before it runs.

Contract: takes the schedule and its addresses, gives the bytes that the weight channel reads, in
whole bursts and asked for; a run reads exactly as many.  Where data decides how often something is
loaded (`azsim.compiler.regions`) it is an estimate.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from azsim.compiler.allocate import Allocation
from azsim.compiler.schedule import FRAME_LOOP, Item, Repeat, Schedule, accesses
from azsim.hardware.description import Hardware

__all__ = ["WeightTraffic", "weight_traffic"]


@dataclass(frozen=True)
class WeightTraffic:
    """Weight bytes that are read from DRAM, in whole bursts.

    Attributes
    ----------
    startup_bytes : int
        Before the first frame: what is pinned, and the first tiles that are streamed.
    frame_bytes : int
        In each frame that another one follows.
    total_bytes : int
        In the whole run.
    useful_bytes : int
        Of the whole run, without the rest of the bursts.
    """

    startup_bytes: int
    frame_bytes: int
    total_bytes: int
    useful_bytes: int


def weight_traffic(schedule: Schedule, allocation: Allocation, hardware: Hardware) -> WeightTraffic:
    """Count the bytes of every weight load as often as it comes."""
    burst_bytes = hardware.dram.burst_bytes

    def counted(items: Sequence[tuple[Item, float]]) -> tuple[float, float]:
        bursts = useful = 0.0
        for item, times in items:
            source = dict(accesses(item))["src"]
            size = source.rows * source.cols
            first = allocation.addresses[source.buffer] + source.offset
            bursts += ((first + size - 1) // burst_bytes - first // burst_bytes + 1) * times
            useful += size * times
        return bursts * burst_bytes, useful

    rounds = schedule.rounds
    startup = counted(list(_loads(schedule.startup, 1)))
    body = counted(list(_loads(schedule.body, 1)))
    last = counted([entry for entry in _loads(schedule.body, 1) if entry[0].but_last != FRAME_LOOP])
    finish = counted(list(_loads(schedule.finish, 1)))
    total, useful = (
        first + per_round * (rounds - 1) + at_last + after
        for first, per_round, at_last, after in zip(startup, body, last, finish, strict=True)
    )
    return WeightTraffic(*map(round, (startup[0], body[0] / schedule.per_round, total, useful)))


def _loads(
    items: Sequence[Item | Repeat], times: float, count: int = 1
) -> Iterator[tuple[Item, float]]:
    """Weight loads, and how often each is carried out; those of the frame loop as in its middle."""
    for item in items:
        if isinstance(item, Repeat):
            yield from _loads(item.body, times * item.mean_rounds, item.count)
        elif item.leave is not None:
            times *= item.leave.stays
        elif item.mnemonic == "weight_load":
            is_left_out = item.but_last not in (None, FRAME_LOOP)
            yield item, times - (times // count if is_left_out else 0)
