"""What a schedule does, said plainly: item by item, with a number for every element.

Storages that share a slot are the same numbers here, as they are the same bytes on the chip; and
so are those that are parts of another one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from azsim.compiler.schedule import FRAME_LOOP, Item, Repeat, Schedule
from azsim.ops.lowering import Access

__all__ = ["executed", "run_schedule", "work_on"]


def executed(
    items: Sequence[Item | Repeat], at: Mapping[int, int], last: Mapping[int, bool]
) -> Iterator[tuple[Item, Mapping[int, int]]]:
    """Items in the order of execution, each with the rounds of the loops around it.

    What is done once in a region is done in each round here, which gives the same numbers.
    """
    for item in items:
        if isinstance(item, Repeat):
            for number in range(item.count):
                inside = {**last, item.number: number == item.count - 1}
                yield from executed(item.body, {**at, item.number: number}, inside)
        elif item.but_last is None or not last[item.but_last]:
            yield item, at


def elements(access: Access, at: Mapping[int, int]) -> np.ndarray:
    """Numbers of the elements that a window shows."""
    moved = access.offset + sum(step * at.get(loop, 0) for loop, step in access.advance.items())
    rows, cols = np.arange(access.rows)[:, None], np.arange(access.cols)
    return moved + rows * access.row_stride + cols * access.col_stride


def work_on(arrays: Mapping[str, np.ndarray], item: Item, at: Mapping[int, int]) -> None:
    """Carry an item out."""
    if item.mnemonic == "scalar_read":  # which would let data end a loop: it never does here
        return
    windows = {name: (arrays[a.buffer], elements(a, at)) for name, a in item.windows}
    values = {name: array[where] for name, (array, where) in windows.items()}
    target, where = windows["dst"]
    match item.mnemonic, item.operands.get("function", item.operands.get("reduction")):
        case (("load" | "store"), None):
            found = values["src"]
        case "vector_unary", "neg":
            found = -values["src"]
        case "vector_binary", "add":
            found = values["src"] + values["src2"]
        case "vector_binary", "mul":
            found = values["src"] * values["src2"] % 1009
        case "vector_reduce", "sum":
            found = values["src"].sum(axis=1, keepdims=True)
        case _:
            raise AssertionError(item)
    target[where] = found


def run_schedule(schedule: Schedule, dram: Mapping[str, np.ndarray]) -> list[Item]:
    """Carry out a schedule on what lies in DRAM, in place; gives every item as often as it ran."""
    slots: dict[int, np.ndarray] = {}
    arrays = dict(dram)
    for name, storage in schedule.storages.items():
        if storage.space == "activation":
            fresh = np.full(storage.size_bytes // 4, -(10**6))  # what nothing has written
            held = fresh if storage.slot is None else slots.setdefault(storage.slot, fresh)
            arrays[name] = held
    for name, storage in schedule.storages.items():
        if storage.within is not None:
            whole, first_bytes = storage.within
            first = first_bytes // 4
            arrays[name] = arrays[whole][first : first + storage.size_bytes // 4]
    done: list[Item] = []
    frames = Repeat(FRAME_LOOP, schedule.rounds, schedule.body)
    for item, at in executed((*schedule.startup, frames, *schedule.finish), {}, {}):
        work_on(arrays, item, at)
        done.append(item)
    return done
