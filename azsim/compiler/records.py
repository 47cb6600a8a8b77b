"""Records: constants of which a loop uses a piece in each round come in one load a round.

Contract: takes a schedule, and what is to leave activation SRAM; gives a schedule that does the
same work on the same numbers, in which the constants that one loop walks over are one.  In DRAM it
holds, round by round, their pieces side by side: a record.  So a round's constants come in one load
(`azsim.compiler.moving`), which pays once for DRAM's latency and for a row to open.  The constants
stay parts of it in DRAM (`Storage.within`), so that the image can be filled.

Where the loop stores a state meanwhile, a record may have room behind it, so that both are as many
banks apart in every round, or in every second one: `azsim.compiler.dram_layout` then finds places
for them in which they do not close each other's rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from azsim.compiler.movable import Constant, Movable, State
from azsim.compiler.pieces_in_dram import parts_of_round, pieces_of, step_of_loop, writes_to
from azsim.compiler.schedule import (
    Item,
    Repeat,
    Schedule,
    Storage,
    accesses,
    contiguous,
    unused_name,
    users_of,
    window_extents,
)
from azsim.hardware.description import Dram, Hardware
from azsim.ops.lowering import Access
from azsim.ops.steps import ELEMENT_BYTES

__all__ = ["in_records"]

_MOST_ROOM = 2
"""Times its bytes that a record may have in DRAM."""


@dataclass(frozen=True)
class _Walked:
    """A constant of which each round, or each of a pair of rounds, uses a piece of its own."""

    constant: Constant
    at: int
    """Number of the loop in the body."""
    dtype: str
    width: int
    """Elements of a piece."""
    count: int
    """Pieces."""

    @property
    def kind(self) -> tuple[int, str, int]:
        """The same for what can be in a record together."""
        return self.at, self.dtype, self.count


def in_records(
    schedule: Schedule, moved: Sequence[Movable], hardware: Hardware
) -> tuple[Schedule, list[Movable]]:
    """Make one constant of those that a loop walks over.

    Parameters
    ----------
    schedule : Schedule
        In which everything is still in activation SRAM.
    moved : sequence of Movable
        What is to live in DRAM.
    hardware : Hardware

    Returns
    -------
    Schedule
        The same one if no loop walks over two such constants.
    list of Movable
        What is to live in DRAM now, each record in the place of its first constant.
    """
    kinds: dict[tuple[int, str, int], list[_Walked]] = {}
    users = users_of((*schedule.startup, *schedule.body, *schedule.finish))
    for one in moved:
        walked = _walked(schedule, one, users) if isinstance(one, Constant) else None
        if walked is not None:
            kinds.setdefault(walked.kind, []).append(walked)
    result = list(moved)
    for walked in kinds.values():
        if len(walked) > 1:
            states = [one.buffer for one in moved if isinstance(one, State)]
            schedule, record = _record(schedule, walked, states, hardware.dram)
            gone = [one.constant for one in walked]
            result[result.index(gone[0])] = record
            result = [one for one in result if one not in gone]
    return schedule, result


def _walked(
    schedule: Schedule, constant: Constant, users: Mapping[str, Sequence[int]]
) -> _Walked | None:
    """How one loop walks over all of a constant; None where it does not, or is not alone."""
    buffer = constant.buffer
    _load, *numbers = users[buffer]
    at = numbers[0] - len(schedule.startup) if len(numbers) == 1 else -1
    if not 0 <= at < len(schedule.body) or len(users[constant.port]) > 1:
        return None
    loop = schedule.body[at]
    step = step_of_loop(loop, buffer)
    if not isinstance(loop, Repeat) or loop.is_region or not step or writes_to((loop,), buffer):
        return None
    pieces = pieces_of({at: loop}, [at], buffer)
    turns = len(parts_of_round(loop, buffer, pieces[0]))
    width, count = step // turns, loop.count * turns
    dtype = schedule.storages[buffer].dtype
    size_bytes = width * count * ELEMENT_BYTES[dtype]
    places = schedule.storages[buffer], schedule.storages[constant.port]
    is_whole = len(pieces) == 1 and all(place.size_bytes == size_bytes for place in places)
    if not is_whole or not _stays_in_pieces(loop, buffer, width):
        return None
    return _Walked(constant, at, dtype, width, count)


def _stays_in_pieces(loop: Repeat, buffer: str, width: int) -> bool:
    """Whether no window of a loop's first round shows elements of two pieces."""
    extents = [span for item in loop.body for span in window_extents(item, buffer, {})]
    return all(low >= 0 and low // width == (high - 1) // width for low, high in extents)


def _record(
    schedule: Schedule, walked: Sequence[_Walked], states: Iterable[str], dram: Dram
) -> tuple[Schedule, Constant]:
    """A schedule with one constant in the place of several."""
    at, dtype, count = walked[0].kind
    loop = schedule.body[at]
    assert isinstance(loop, Repeat)
    names = ", ".join(one.constant.buffer for one in walked)
    name = unused_name(names, schedule.storages)
    port = unused_name(f"{name}#dram", schedule.storages)
    element = ELEMENT_BYTES[dtype]
    turns = count // loop.count
    stored_bytes = {
        step_of_loop(loop, state) // turns * ELEMENT_BYTES[schedule.storages[state].dtype]
        for state in states
        if writes_to((loop,), state) and step_of_loop(loop, state)
    }
    record_bytes = sum(one.width for one in walked) * element
    width = _step_bytes(record_bytes, stored_bytes, dram) // element
    window = contiguous(name, count * width)
    size_bytes = window.rows * window.cols * element
    layer = walked[0].constant.load.layer
    load = Item("load", layer, {"dst": window, "src": replace(window, buffer=port)})

    storages = dict(schedule.storages)
    gone = {id(one.constant.load) for one in walked}
    first = 0
    for one in walked:
        constant = one.constant
        loop = replace(loop, body=_in_record(loop.body, one, name, first, width, loop.number))
        del storages[constant.buffer]
        storages[constant.port] = replace(
            storages[constant.port],
            within=(port, first * element),
            pieces_bytes=(one.width * element, width * element),
        )
        first += one.width
    storages[name] = Storage(name, "activation", dtype, size_bytes, True)
    storages[port] = Storage(port, "dram", dtype, size_bytes, True)
    body = list(schedule.body)
    body[at] = loop
    startup = (*(item for item in schedule.startup if id(item) not in gone), load)
    schedule = replace(schedule, startup=startup, body=tuple(body), storages=storages)
    return schedule, Constant(name, port, load)


def _step_bytes(record_bytes: int, stored_bytes: Iterable[int], dram: Dram) -> int:
    """Bytes from a record to the next one, if so many of states are stored meanwhile.

    From round to round a record moves past a state by multiples of the greatest common divisor of
    the steps' difference and of all banks: where both have room in that, they need not meet.
    """
    all_banks_bytes = dram.row_bytes * dram.banks
    for step_bytes in range(record_bytes, _MOST_ROOM * record_bytes + 1, dram.burst_bytes):
        rooms_bytes = ((math.gcd(step_bytes - one, all_banks_bytes), one) for one in stored_bytes)
        if all(room_bytes >= record_bytes + one for room_bytes, one in rooms_bytes):
            return step_bytes
    return record_bytes


def _in_record(
    items: Iterable[Item | Repeat],
    walked: _Walked,
    name: str,
    first: int,
    width: int,
    loop: int,
) -> tuple[Item | Repeat, ...]:
    """Items whose windows into a constant are windows into records of `width` elements."""

    def window(access: Access) -> Access:
        if access.buffer != walked.constant.buffer:
            return access
        number, inside = divmod(access.offset, walked.width)
        step = access.advance[loop] // walked.width * width
        return replace(
            access,
            buffer=name,
            offset=number * width + first + inside,
            advance={**access.advance, loop: step},
        )

    result: list[Item | Repeat] = []
    for item in items:
        if isinstance(item, Repeat):
            body = _in_record(item.body, walked, name, first, width, loop)
            result.append(replace(item, body=body))
        else:
            windows = {key: window(access) for key, access in accesses(item)}
            result.append(replace(item, operands={**item.operands, **windows}))
    return tuple(result)
