"""Delay lines in DRAM: a frame appends its new rows, and nothing is moved.

A delay line is a state of which each frame drops the oldest elements and adds as many new ones,
such as what a causal convolution has seen.  Where activation SRAM has no room for it, its elements
of all frames lie in DRAM one after another: a frame loads those that it needs, which begin some
elements later than those of the frame before, and stores what is new behind them.  The initial
state is the front of that, what the run leaves is its end.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from azsim.compiler.movable import Movable, State, is_row_major
from azsim.compiler.pieces_in_dram import transfers
from azsim.compiler.schedule import (
    FRAME_LOOP,
    MAX_EXTENT,
    Item,
    Repeat,
    Schedule,
    is_written,
    users_of,
    walk,
    window_extents,
)
from azsim.ops.lowering import Access
from azsim.ops.steps import ELEMENT_BYTES

__all__ = ["DelayLine", "delay_line"]

_MOST_BYTES = 1 << 26
"""Of DRAM for one line; with more frames it is moved."""


@dataclass(frozen=True)
class DelayLine(State):
    """A state that a frame copies to the front of a line, and whose end it becomes.

    Attributes
    ----------
    line : str
        Buffer of a frame that holds the old elements and, behind them, the new ones.
    copied, kept : int
        Numbers of the items that copy from the state and to it.
    num_elements, num_new : int
        That it has, and that a frame adds.
    layer : str
        That works on it.
    """

    line: str
    copied: int
    kept: int
    num_elements: int
    num_new: int
    layer: str

    def traffic_per_byte(self, schedule: Schedule) -> float:
        """It only comes."""
        return Movable.traffic_per_byte(self, schedule)

    def size_bytes(self, dtype: str, frames: int) -> int:
        """Of the elements of all frames."""
        return (self.num_elements + frames * self.num_new) * ELEMENT_BYTES[dtype]

    def loads(self) -> Iterator[Item]:
        """Transfers of what a frame needs of the frames before."""
        moves = {FRAME_LOOP: self.num_new}
        yield from transfers("load", self.port, self.line, 0, self.num_elements, self.layer, moves)

    def store(self) -> Item:
        """Transfer of what is new."""
        moves = {FRAME_LOOP: self.num_new}
        inside = Access(self.line, self.num_elements, 1, self.num_new, self.num_new, 1)
        outside = replace(inside, buffer=self.port, advance=moves)
        # Behind the frame's loads of the line, so that a program of any length can be proved.
        return Item("store", self.layer, {"dst": outside, "src": inside, "wait_load": 1})


def delay_line(state: State, schedule: Schedule) -> DelayLine | None:
    """Find a state's line; None where it is no delay line, or one that cannot lie in DRAM so.

    Parameters
    ----------
    state : State
    schedule : Schedule
    """
    users = users_of(schedule.body)
    touching = users.get(state.buffer, ())
    if schedule.frames == 1 or len(touching) != 2:
        return None
    first, last = (schedule.body[number] for number in touching)
    if not (_is_copy(first) and _is_copy(last)):
        return None
    front, source = _copied(first)
    target, end = _copied(last)
    size = _size(source)
    is_whole = (
        source.buffer == target.buffer == state.buffer
        and source.offset == target.offset == front.offset == 0
        and size == _size(target) == sum(_size(_source(store)) for store in state.stores)
    )
    line = schedule.storages[front.buffer]
    has_place = end.buffer == front.buffer and line.is_of_a_frame and line.within is None
    is_dense = all(is_row_major(window) for window in (front, source, target, end))
    stays = not any(access.advance for access in (front, source, target, end))
    new = end.offset
    if not (is_whole and has_place and is_dense and stays and 0 < new < size):
        return None
    written = {
        span
        for number in users[line.name]
        if number != touching[0]
        for span in window_extents(schedule.body[number], line.name, {}, is_written)
    }
    if new > MAX_EXTENT or any(low < size for low, _ in written):
        return None
    found = DelayLine(
        **vars(state),
        line=line.name,
        copied=touching[0],
        kept=touching[1],
        num_elements=size,
        num_new=new,
        layer=next(walk((first,))).layer,
    )
    return found if found.size_bytes(line.dtype, schedule.frames) <= _MOST_BYTES else None


def _is_copy(item: Item | Repeat) -> bool:
    return isinstance(item, Item) and item.mnemonic == "vector_copy"


def _copied(item: Item | Repeat) -> tuple[Access, Access]:
    """Target and source of a copy."""
    assert isinstance(item, Item)
    target, source = item.operands["dst"], item.operands["src"]
    assert isinstance(target, Access)
    assert isinstance(source, Access)
    return target, source


def _source(store: Item) -> Access:
    source = store.operands["src"]
    assert isinstance(source, Access)
    return source


def _size(window: Access) -> int:
    return window.rows * window.cols
