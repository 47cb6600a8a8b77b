"""What activation SRAM may do without: state, constants, outputs and large intermediate tensors.

Each says where it lives in DRAM, and what keeping it on the chip saves; `azsim.compiler.spill`
chooses among them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from azsim.compiler.schedule import Item, Repeat, Schedule, users_of, walk
from azsim.compiler.scratch import Scratch, in_dram
from azsim.ops.lowering import Access
from azsim.ops.steps import ELEMENT_BYTES

__all__ = [
    "LARGE_SHARE",
    "Constant",
    "Movable",
    "Output",
    "Spread",
    "State",
    "constants",
    "is_row_major",
    "large_scratch",
    "outputs",
]

_TRANSFER_BYTES = 320
"""What a transfer costs beside its bytes: about az1's latency of DRAM and a burst."""
LARGE_SHARE = 16
"""Part of activation SRAM from which on an intermediate tensor is large."""
_SMALL_SHARE = 64
"""The same where the large ones are not enough."""


@dataclass(frozen=True)
class Movable:
    """What may live in DRAM.

    Attributes
    ----------
    buffer : str
        Its place on the chip.
    port : str
        Its storage in DRAM.
    """

    buffer: str
    port: str

    def traffic_per_byte(self, schedule: Schedule) -> float:
        """What keeping it on the chip saves in a frame, in bytes' time per byte."""
        return 1 + self._more(schedule)

    def _more(self, schedule: Schedule) -> float:
        """What a transfer costs beside its bytes, per byte."""
        return _TRANSFER_BYTES / schedule.storages[self.buffer].size_bytes


@dataclass(frozen=True)
class Constant(Movable):
    """A constant, and the item that loads it at the start."""

    load: Item


@dataclass(frozen=True)
class Output(Movable):
    """An output, and the number of the item that stores it."""

    number: int
    store: Item

    def traffic_per_byte(self, schedule: Schedule) -> float:
        """It is stored in any case, if not in pieces."""
        return self._more(schedule)


@dataclass(frozen=True)
class State(Movable):
    """A state, and the items that load it at the start and save it at the end."""

    load: Item
    source: str
    target: str
    stores: tuple[Item, ...]

    def traffic_per_byte(self, schedule: Schedule) -> float:
        """It comes and goes."""
        return 2 * super().traffic_per_byte(schedule)

    @classmethod
    def of(cls, schedule: Schedule, source: str, target: str) -> State | None:
        """Find a state's items; None where it shares a buffer, or is not saved from it."""
        port = f"input {source}"
        loads = [item for item in walk(schedule.startup) if port in item.buffers]
        stores = [item for item in walk(schedule.finish) if f"output {target}" in item.buffers]
        if len(loads) != 1 or len(stores) != 1:
            return None
        window, saved = loads[0].operands["dst"], stores[0].operands["src"]
        assert isinstance(window, Access)
        assert isinstance(saved, Access)
        if window.offset or saved.buffer != window.buffer:
            return None
        return cls(window.buffer, port, loads[0], source, target, tuple(stores))


@dataclass(frozen=True)
class Spread(Movable):
    """An intermediate tensor, and how often its bytes would come or go in a frame."""

    scratch: Scratch
    times: float

    def traffic_per_byte(self, schedule: Schedule) -> float:
        """As often as work uses it."""
        return self.times * super().traffic_per_byte(schedule)


def large_scratch(
    schedule: Schedule, taken: Collection[str], room_bytes: int, *, in_rounds: bool = False
) -> Iterator[Spread]:
    """Large tensors that live within a frame, if all that uses them can be transferred.

    With `in_rounds` smaller ones too, and inside the rounds of loops.
    """
    users = users_of(schedule.body)
    share = _SMALL_SHARE if in_rounds else LARGE_SHARE
    for name, storage in schedule.storages.items():
        if storage.space != "activation" or storage.persistent or name in taken:
            continue
        if storage.size_bytes * share < room_bytes:
            continue
        port = f"{name}#dram"
        scratch = Scratch(storage, port, room_bytes // LARGE_SHARE, in_rounds=in_rounds)
        found = in_dram([schedule.body[number] for number in users.get(name, ())], scratch)
        if found is not None:
            moved = sum(place.size_bytes for place in found[1])
            yield Spread(name, port, scratch, max(2.0, moved / storage.size_bytes))


def constants(schedule: Schedule) -> Iterator[Movable]:
    """Constants in activation SRAM, which the program's start loads."""
    for item in walk(schedule.startup):
        target, source = item.operands.get("dst"), item.operands.get("src")
        if item.mnemonic != "load" or not isinstance(target, Access):
            continue
        assert isinstance(source, Access)
        is_constant = source.buffer == f"{target.buffer}#dram"
        if is_constant and schedule.storages[target.buffer].space == "activation":
            yield Constant(target.buffer, source.buffer, item)


def outputs(schedule: Schedule, taken: Collection[str]) -> Iterator[Output]:
    """Outputs that are stored as they lie, from a buffer that holds nothing else.

    Of several that are stored from one buffer the first.
    """
    taken = set(taken)
    for number, item in enumerate(schedule.body):
        if isinstance(item, Repeat) or item.mnemonic != "store":
            continue
        source, target = item.operands["src"], item.operands["dst"]
        assert isinstance(source, Access)
        assert isinstance(target, Access)
        storage = schedule.storages[source.buffer]
        size_bytes = source.rows * source.cols * ELEMENT_BYTES[storage.dtype]
        is_whole = source.offset == 0 and is_row_major(source) and is_row_major(target)
        if is_whole and size_bytes == storage.size_bytes and source.buffer not in taken:
            taken.add(source.buffer)
            yield Output(source.buffer, target.buffer, number, item)


def is_row_major(window: Access) -> bool:
    """Whether a window's elements follow one another."""
    return (window.cols == 1 or window.col_stride == 1) and (
        window.rows == 1 or window.row_stride == window.cols
    )
