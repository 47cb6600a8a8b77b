"""Fill: in which order that comes which stays, before the first frame of a stream does.

Contract: takes a schedule, gives one in which the same loads are at its start, in another order.
Where all of it comes before the first frame arrives, all that counts is when the last of it is
there.  Weights come through the decoder, one after another; where that takes longer for a block
than DRAM does, DRAM has time for parameters, constants and states.  So blocks that need DRAM least
come first, and what needs no decoder comes beside them: weights no longer wait for it.  Where the
bursts of both would rather open each other's rows anew, or where the first frame arrives before, so
that weights are best there in the order of their use, everything stays as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from azsim.compiler.estimate import Estimator
from azsim.compiler.schedule import Item, Schedule
from azsim.hardware.description import Hardware

__all__ = ["fill"]


def fill(
    schedule: Schedule, estimator: Estimator, hardware: Hardware, period_s: float | None
) -> Schedule:
    """Put the loads at the start of a paced stream in order.

    Parameters
    ----------
    schedule : Schedule
        The same one comes back if that takes no less.
    estimator : Estimator
    hardware : Hardware
    period_s : float or None
        Between frames, and from the program's begin to the first one.
    """
    startup = [item for item in schedule.startup if isinstance(item, Item)]
    weights = [item for item in startup if item.mnemonic == "weight_load"]
    loads = [item for item in startup if item.mnemonic == "load"]
    if not weights or not loads or len(weights) + len(loads) < len(schedule.startup):
        return schedule
    cycles = [estimator.cycles(item, schedule.storages) for item in weights]
    bus = [estimator.bus_cycles(item) for item in weights]
    of_loads = sum(estimator.cycles(item, schedule.storages) for item in loads)
    order = sorted(range(len(weights)), key=lambda number: bus[number] / cycles[number])
    beside = _beside(of_loads, [(cycles[number], bus[number]) for number in order], hardware)
    one_by_one = of_loads + sum(cycles)
    if beside >= one_by_one or period_s is None or one_by_one > period_s * hardware.clock_hz:
        return schedule
    ordered = [_without_wait(weights[number]) for number in order]
    return replace(schedule, startup=(*loads, *ordered))


def _beside(
    load_cycles: float, weights: Sequence[tuple[float, float]], hardware: Hardware
) -> float:
    """Cycles of loads and weights that begin at the same time; of weights, those of the bus too.

    DRAM's channels take turns.  Of the bursts of a weight some find that the other one has closed
    their row, if both are in the same bank, and then so does the next burst of that.
    """
    dram = hardware.dram
    burst_cycles = dram.burst_bytes / dram.bytes_per_s * hardware.clock_hz
    miss_cycles = dram.row_miss_ns * 1e-9 * hardware.clock_hz
    again = 2 * miss_cycles / dram.banks / burst_cycles  # of a burst's cycles
    now, left = 0.0, load_cycles
    for alone, bus in weights:
        if left <= 0:
            now += alone
            continue
        own = max(alone, bus * (2 + again))
        took = own - bus * (1 + again)  # what is left of DRAM meanwhile
        if took <= left:
            left -= took
            now += own
        else:
            part = left / took
            now += part * own + (1 - part) * alone
            left = 0.0
    return now + max(0.0, left)


def _without_wait(item: Item) -> Item:
    operands = {name: value for name, value in item.operands.items() if name != "wait_load"}
    return replace(item, operands=operands)
