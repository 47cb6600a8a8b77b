"""What a frame takes by where its tensors live: an estimate for `azsim.compiler.spill`.

Transfers go on beside the vector engine, but what a loop loads or stores in a place waits until its
round is done with that place, and work on it waits for the transfer.  Streamed weights come over
the same DRAM.  The array's work is left out, as it is the same wherever tensors live.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from azsim.compiler.estimate import engine_of, instruction_cycles, transfer_cycles
from azsim.compiler.schedule import FRAME_LOOP, Item, Repeat, Schedule, Storage
from azsim.hardware.description import Hardware
from azsim.ops.lowering import Access

__all__ = ["frame_cycles"]

_ROUNDS = 4
"""After which a loop's rounds take as long as one another."""


def frame_cycles(schedule: Schedule, hardware: Hardware) -> float:
    """Cycles of a frame, for comparing schedules whose weights' loads are not placed yet."""
    estimate = _Estimate(schedule.storages, schedule.loads, hardware)
    in_order = estimate.of_round(schedule.body)
    return max(in_order, estimate.transfers(schedule.body) + estimate.weights(schedule.body))


@dataclass(frozen=True)
class _Estimate:
    """Cycles of items, all rounds of loops together."""

    storages: Mapping[str, Storage]
    loads: Mapping[str, Item]
    hardware: Hardware

    def vector(self, items: Iterable[Item | Repeat]) -> float:
        """Cycles of the vector engine."""
        return sum(
            item.mean_rounds * self.vector(item.body)
            if isinstance(item, Repeat)
            else instruction_cycles(item, self.storages, self.hardware)
            for item in items
            if isinstance(item, Repeat) or engine_of(item) == "vector"
        )

    def transfers(self, items: Iterable[Item | Repeat], rounds: float = 1.0) -> float:
        """Cycles of loads and stores; the last of a loop's rounds may leave some out."""
        total = 0.0
        for item in items:
            if isinstance(item, Repeat):
                total += rounds * self.transfers(item.body, item.mean_rounds)
            elif item.mnemonic in ("load", "store"):
                times = rounds - 1 if _is_left_out(item) else rounds
                total += times * transfer_cycles(item, self.storages, self.hardware)
        return total

    def weights(self, items: Iterable[Item | Repeat]) -> float:
        """Cycles of the loads of streamed tiles, one for each product."""
        total = 0.0
        for item in items:
            if isinstance(item, Repeat):
                total += item.mean_rounds * self.weights(item.body)
                continue
            window = item.operands.get("src2")
            if isinstance(window, Access) and window.buffer in self.loads:
                load = self.loads[window.buffer]
                total += transfer_cycles(load, self.storages, self.hardware)
        return total

    def of_round(self, body: Iterable[Item | Repeat]) -> float:
        """Cycles of a round among others: vector work and transfers, each in order.

        A transfer waits for the last use of its place, and the next use for the transfer.  A loop
        with transfers takes both engines for all of its rounds.
        """
        vector_end = transfers_end = before = 0.0
        used: dict[str, float] = {}
        there: dict[str, float] = {}
        cycles = [
            (self.vector([item]), self.transfers([item], 1.0 + _is_left_out(item)), item)
            for item in body
        ]
        rounds = {
            id(item): item.mean_rounds * self.of_round(item.body)
            for vector, moved, item in cycles
            if vector and moved and isinstance(item, Repeat)
        }
        for _ in range(_ROUNDS):
            before = max(vector_end, transfers_end)
            for vector, moved, item in cycles:
                buffers = item.buffers
                if id(item) in rounds:
                    begin = max([vector_end, *(there.get(name, 0.0) for name in buffers)])
                    vector_end = begin + rounds[id(item)]
                    transfers_end = max(transfers_end, begin) + moved
                    transfers_end = max(transfers_end, vector_end)
                    used |= dict.fromkeys(buffers, vector_end)
                    there |= dict.fromkeys(buffers, transfers_end)
                elif moved:
                    begin = max([transfers_end, *(used.get(name, 0.0) for name in buffers)])
                    transfers_end = begin + moved
                    there |= dict.fromkeys(buffers, transfers_end)
                else:
                    begin = max([vector_end, *(there.get(name, 0.0) for name in buffers)])
                    vector_end = begin + vector
                    used |= dict.fromkeys(buffers, vector_end)
        return max(vector_end, transfers_end) - before


def _is_left_out(item: Item | Repeat) -> bool:
    """Whether a loop's last round leaves it out; of frames, of which there are many, none is it."""
    return isinstance(item, Item) and item.but_last not in (None, FRAME_LOOP)
