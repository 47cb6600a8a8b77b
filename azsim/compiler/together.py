"""Together: several frames in a round of the frame loop, so that one's work fills another's gaps.

Contract: takes a schedule whose frames need not wait for their arrival, gives one that does the
same with so many frames in a round, one behind the other, and frames that are left over, fewer than
a round has, behind the loop, where they stay in program order.  Where something in a frame repeats,
a round would have more than 1,200 items, weights come again within a frame, or activation SRAM has
no room for all, the schedule stays as it is.

A further frame works in buffers of its own, but for what outlives a frame, so that its work can
begin while that of the first one goes on.  Where weights, constants or states come from DRAM in
each frame, the frames of a round share them, if they can (`azsim.compiler.shared_loads`): then they
stand not one behind the other but beside one another, and a round may be longer.  Without room for
buffers of its own for each, they take turns in what none of them keeps while others go on.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import replace

from azsim.compiler.allocate import fits
from azsim.compiler.schedule import (
    FRAME_LOOP,
    Item,
    Repeat,
    Schedule,
    accesses,
    walk,
)
from azsim.compiler.shared_loads import beside
from azsim.hardware.description import Hardware
from azsim.ops.lowering import Access

__all__ = ["may_share_loads", "together"]

_MOST_ITEMS = 1_200
"""Of a round; of longer frames each one's own work fills its gaps."""
_LEAST_ROUNDS = 3
"""Of which the last one may stand behind the loop."""
_MOST_FRAMES = 4
"""Of a round; more leave no gaps to be filled."""
_MOST_SHARING = 16_000
"""Items of a round whose frames share loads, and gain however long they are, and many."""


def together(
    schedule: Schedule,
    hardware: Hardware,
    per_round: int,
    *,
    may_share: bool = True,
    last_apart: bool = False,
) -> Schedule:
    """Put several frames into a round, side by side if they share loads, or one behind the other.

    Parameters
    ----------
    schedule : Schedule
        With one frame in a round.
    hardware : Hardware
    per_round : int
        How many.
    may_share : bool
        Whether frames may share loads.
    last_apart : bool
        Whether the last of three or more rounds stands behind the loop.
    """
    items = _straight(schedule)
    if schedule.frames < per_round or not items or _loads_again(schedule):
        return schedule
    accumulators = hardware.mac.accumulators
    may_share &= per_round > 1
    tries: list[tuple[bool, bool]] = []
    if may_share and per_round * len(items) <= _MOST_SHARING:
        tries += [(True, False), (True, True)]
    if per_round * len(items) <= _MOST_ITEMS and per_round <= _MOST_FRAMES:
        tries.append((False, False))
    found: Schedule | None = None
    for shares, in_turns in tries:
        if in_turns and found is None:
            continue  # where nothing can be shared
        found = _in_rounds(
            schedule,
            items,
            per_round,
            accumulators,
            shares=shares,
            in_turns=in_turns,
            last_apart=last_apart,
        )
        if found is not None and fits(found, hardware):
            return found
    return schedule


def may_share_loads(schedule: Schedule) -> bool:
    """Whether frames are of a kind and a length that lets them share what comes from DRAM."""
    return 0 < 2 * len(_straight(schedule)) <= _MOST_SHARING and schedule.frames >= 4


def _straight(schedule: Schedule) -> list[Item]:
    """Items of a body in which nothing repeats; none of another one."""
    items = [item for item in schedule.body if isinstance(item, Item) and item.leave is None]
    return items if len(items) == len(schedule.body) else []


def _loads_again(schedule: Schedule) -> bool:
    """Whether weights that a frame holds for a while make place for others of the same frame."""
    used = (schedule.storages[name] for name in _touched(schedule.body))
    return any(
        storage.space == "weight" and not storage.persistent and storage.slot is None
        for storage in used
    )


def _in_rounds(
    schedule: Schedule,
    items: Sequence[Item],
    per_round: int,
    accumulators: int,
    *,
    shares: bool,
    in_turns: bool,
    last_apart: bool,
) -> Schedule | None:
    """Several frames a round; items are those of one.

    With `in_turns` frames that share have one place for what none of them keeps while others go on.
    None if they share nothing but should, or if there is no last round of several.
    """
    rounds, left = divmod(schedule.frames, per_round)
    if last_apart and rounds < _LEAST_ROUNDS:
        return None
    is_loop = rounds > 1
    common = _brought_alike(items) if shares else set[str]()
    behind = left + per_round * last_apart
    copies = dict(_copies(schedule, per_round - 1 + behind, common))
    storages = {
        name: replace(schedule.storages[buffer], name=name) for (buffer, _), name in copies.items()
    }
    storages = {**schedule.storages, **storages}
    turns: dict[str, str] = {}
    always = [replace(item, but_last=None) for item in items]
    at_last = [item for item in items if item.but_last is None]

    def round_of(first: int, begin: int, times: int, last: Sequence[Item]) -> list[Item] | None:
        """Items of a round, the first of whose frames has a number and is some frames later."""
        of_frames = [
            [
                _of_frame(item, first + frame, begin + frame, times, copies, is_first=not frame)
                for item in (last if frame == per_round - 1 else always)
            ]
            for frame in range(per_round)
        ]
        if not shares:
            return list(itertools.chain.from_iterable(of_frames))
        own = {copies.get((name, first), name) for name, _ in copies}
        before = walk(schedule.startup)
        if not is_loop:
            return None
        found = beside(of_frames, before, storages, own, accumulators, is_late=in_turns)
        if found is None or not in_turns:
            return found and found[0]
        turns.update(_turns(found[1], copies, first, per_round))
        return [_with_buffers(item, turns) for item in found[0]]

    last_of_round = always if behind else items if is_loop else at_last
    body = round_of(0, 0, per_round if is_loop else 0, last_of_round)
    last = round_of(per_round, (rounds - 1) * per_round, 0, items) if last_apart else []
    if body is None or last is None:
        return None
    last = [replace(item, but_last=None) for item in last if left or item.but_last is None]
    rest = [
        _of_frame(item, per_round + at, schedule.frames - behind + at, 0, copies, is_first=False)
        for at in range(behind - left, behind)
        for item in (at_last if at == behind - 1 else always)
    ]
    return replace(
        schedule,
        startup=schedule.startup if is_loop else tuple(map(_without_waits, schedule.startup)),
        body=tuple(body),
        finish=(*last, *rest, *schedule.finish),
        storages=storages,
        per_round=per_round,
        copies={of: turns.get(name, name) for of, name in copies.items()},
        shares_loads=shares,
        last_apart=last_apart,
    )


def _brought_alike(items: Sequence[Item]) -> set[str]:
    """Buffers to which every frame loads the same, if nothing is changed there."""
    return {
        windows["dst"].buffer
        for item in items
        if item.mnemonic == "load" and not (windows := dict(item.windows))["src"].advance
    }


def _copies(
    schedule: Schedule, frames: int, common: Set[str]
) -> Iterator[tuple[tuple[str, int], str]]:
    """Names for what takes a buffer's part in further frames, those aside that are `common`."""
    around = _touched(schedule.startup + schedule.finish)
    inside = _touched(schedule.body)
    for name, storage in schedule.storages.items():
        if name in inside and name not in (around | common) and storage.is_of_a_frame:
            for frame in range(1, 1 + frames):
                copy = f"{name}~{frame}"
                while copy in schedule.storages:  # a tensor may have any name
                    copy += "~"
                yield (name, frame), copy


def _turns(
    passing: Set[str], copies: Mapping[tuple[str, int], str], first: int, per_round: int
) -> dict[str, str]:
    """By buffers of a round's further frames, those of the first one, which has a number."""
    return {
        copies[buffer, first + frame]: name
        for buffer in {buffer for buffer, _ in copies}
        if (name := copies.get((buffer, first), buffer)) in passing
        for frame in range(1, per_round)
    }


def _with_buffers(item: Item, names: Mapping[str, str]) -> Item:
    """An item that works in other buffers."""
    if not item.buffers & names.keys():
        return item
    windows = {
        name: replace(access, buffer=names.get(access.buffer, access.buffer))
        for name, access in accesses(item)
    }
    return replace(item, operands={**item.operands, **windows})


def _touched(items: Iterable[Item | Repeat]) -> set[str]:
    return {name for item in walk(tuple(items)) for name in item.buffers}


def _without_waits(item: Item | Repeat) -> Item | Repeat:
    """What comes before a single round is put in order together with it."""
    if isinstance(item, Repeat):
        return item
    operands = {name: value for name, value in item.operands.items() if name[:5] != "wait_"}
    return replace(item, operands=operands)


def _of_frame(
    item: Item,
    frame: int,
    begin: int,
    times: int,
    copies: Mapping[tuple[str, int], str],
    *,
    is_first: bool,
) -> Item:
    """An item `begin` frames later, which moves `times` as far from round to round."""

    def window(access: Access) -> Access:
        step = access.advance.get(FRAME_LOOP, 0)
        advance = {FRAME_LOOP: times * step} if times and step else {}
        buffer = copies.get((access.buffer, frame), access.buffer)
        return replace(access, buffer=buffer, offset=access.offset + begin * step, advance=advance)

    windows = {name: window(access) for name, access in accesses(item)}
    # A round is counted by the load that waits for what it works on.
    paced = {} if is_first or not item.operands.get("paced") else {"paced": 0}
    return replace(item, operands={**item.operands, **windows, **paced}, frame=frame)
