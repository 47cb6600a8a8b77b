"""Rounds of a loop over something in DRAM: finer ones, and two at a time in places of their own.

A round works on what was loaded for it.  With one place for that, the next load waits until the
round is done with it; with two, which take turns, it comes while the other is worked on.  As a loop
does the same in every round, taking turns means that its body has two rounds (`in_pairs`).  Finer
rounds (`finer`) need smaller places, and more instructions.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import replace

from azsim.compiler.schedule import Item, Repeat, Storage, accesses, is_written, walk
from azsim.ops.lowering import Access
from azsim.ops.steps import ELEMENT_BYTES

__all__ = ["finer", "fresh_numbers", "in_pairs", "with_last_apart", "written_out"]

_BY_ROW = ("vector_unary", "vector_binary", "vector_multiply_add", "vector_reduce")
"""What makes a row of its result out of the same row of each operand."""


def fresh_numbers(items: Iterable[Item | Repeat | None]) -> Iterator[int]:
    """Numbers that no loop among items has."""
    loops = (item for item in items if isinstance(item, Repeat))
    return itertools.count(1 + max((n for loop in loops for n in _numbers(loop)), default=0))


def _numbers(loop: Repeat) -> Iterator[int]:
    """Numbers of a loop and of those in it."""
    yield loop.number
    for item in loop.body:
        if isinstance(item, Repeat):
            yield from _numbers(item)


def in_pairs(loop: Repeat, fresh: Iterator[int]) -> Repeat | None:
    """The same rounds, two in a body; None for an odd number of them.

    Loops of the second one get numbers out of `fresh`.
    """
    if loop.count % 2 or loop.count < 4:
        return None
    body = [_with_windows(item, lambda access: _placed(access, loop, 0, 2)) for item in loop.body]
    return replace(loop, count=loop.count // 2, body=(*body, *_round(loop, 1, 2, fresh)))


def with_last_apart(loop: Repeat, fresh: Iterator[int]) -> tuple[Item | Repeat, ...]:
    """A loop without its last round, and that round, which leaves out what it need not do.

    So that a wait in the other rounds counts on what the last one leaves out.
    """
    if loop.count <= 2:
        return written_out(loop, fresh)
    last = replace(loop, body=tuple(item for item in loop.body if not _is_left_out(item)))
    others = replace(loop, count=loop.count - 1, body=tuple(map(_always, loop.body)))
    return (others, *_round(last, loop.count - 1, 0, fresh))


def written_out(loop: Repeat, fresh: Iterator[int]) -> tuple[Item | Repeat, ...]:
    """Every round of a loop, one behind the other."""
    body = tuple(map(_always, loop.body))
    others = replace(loop, body=body)
    last = replace(loop, body=tuple(item for item in loop.body if not _is_left_out(item)))
    rounds = [_round(others, number, 0, fresh) for number in range(loop.count - 1)]
    return (*itertools.chain(*rounds), *_round(last, loop.count - 1, 0, fresh))


def _is_left_out(item: Item | Repeat) -> bool:
    return isinstance(item, Item) and item.but_last is not None


def _always(item: Item | Repeat) -> Item | Repeat:
    return replace(item, but_last=None) if isinstance(item, Item) else item


def _round(
    loop: Repeat, number: int, times: int, fresh: Iterator[int]
) -> tuple[Item | Repeat, ...]:
    """One round of a loop, or of one that moves `times` as far; its loops get other numbers."""
    items = tuple(
        _with_windows(item, lambda access: _placed(access, loop, number, times))
        for item in loop.body
    )
    number_of = {inner: next(fresh) for inner in _numbers(loop) if inner != loop.number}
    return tuple(_renumbered(item, number_of) for item in items)


def _placed(access: Access, loop: Repeat, number: int, times: int) -> Access:
    """Window in a round of a loop, which moves `times` as far from round to round."""
    step = _step(access, loop)
    if not step:
        return access
    advance = {other: one for other, one in access.advance.items() if other != loop.number}
    if times:
        advance[loop.number] = times * step
    return replace(access, offset=access.offset + number * step, advance=advance)


def _renumbered(item: Item | Repeat, number_of: Mapping[int, int]) -> Item | Repeat:
    """An item whose loops have other numbers."""

    def window(access: Access) -> Access:
        if not access.advance.keys() & number_of.keys():
            return access
        advance = {number_of.get(number, number): one for number, one in access.advance.items()}
        return replace(access, advance=advance)

    if not isinstance(item, Repeat):
        return _with_windows(item, window)
    body = tuple(_renumbered(inner, number_of) for inner in item.body)
    return replace(item, number=number_of[item.number], body=body)


def _with_windows(item: Item | Repeat, window: Callable[[Access], Access]) -> Item | Repeat:
    """An item with other windows."""
    if isinstance(item, Repeat):
        return replace(item, body=tuple(_with_windows(inner, window) for inner in item.body))
    windows = {name: window(access) for name, access in accesses(item)}
    return replace(item, operands={**item.operands, **windows})


def finer(
    loop: Repeat, parts: int, storages: Mapping[str, Storage], outside: Set[str]
) -> tuple[Repeat, dict[str, Storage]] | None:
    """The same work in `parts` times as many rounds, and the buffers that get smaller with them.

    None where a round is not made of rows each of which is worked on alone: every item makes a row
    of its result from the same row of each operand, all of them work on as many rows, and what
    stays in place from round to round is written first in each, and used by nothing else.

    Parameters
    ----------
    loop : Repeat
    parts : int
    storages : mapping of str to Storage
    outside : set of str
        Buffers that something beside this loop uses.
    """
    if parts == 1:
        return loop, {}
    items = list(walk(loop.body))
    rows = max((access.rows for item in items for _, access in accesses(item)), default=1)
    if rows % parts or loop.rounds is not None:
        return None
    if not all(_is_by_row(item, rows) for item in items):
        return None
    smaller: dict[str, Storage] = {}
    for buffer, windows in _windows(items).items():
        first = windows[0][0]
        if all(_step(access, loop) == rows * access.row_stride for access, _ in windows):
            if any(is_write for _, is_write in windows) and not _share_rows(windows):
                return None
            continue
        of_round = not first.advance and first.offset < first.row_stride and buffer not in outside
        if not (of_round and _share_rows(windows) and _is_written_first(windows)):
            return None
        height = rows // parts * first.row_stride
        old = storages[buffer]
        smaller[buffer] = replace(old, size_bytes=height * ELEMENT_BYTES[old.dtype])

    def narrow(access: Access) -> Access:
        step = _step(access, loop)
        advance = {**access.advance, **({loop.number: step // parts} if step else {})}
        return replace(access, rows=rows // parts, advance=advance)

    body = tuple(_with_windows(item, narrow) for item in loop.body)
    return replace(loop, count=loop.count * parts, body=body), smaller


def _is_by_row(item: Item, rows: int) -> bool:
    is_plain = item.mnemonic in _BY_ROW and item.but_last is None
    return is_plain and all(access.rows == rows for _, access in accesses(item))


def _step(access: Access, loop: Repeat) -> int:
    return access.advance.get(loop.number, 0)


def _windows(items: Iterable[Item]) -> dict[str, list[tuple[Access, bool]]]:
    """Windows into each buffer and whether they are written, in order, an item's results last."""
    found: dict[str, list[tuple[Access, bool]]] = {}
    for item in items:
        shown = [(access, is_written(item, name)) for name, access in accesses(item)]
        for access, is_write in sorted(shown, key=lambda window: window[1]):
            found.setdefault(access.buffer, []).append((access, is_write))
    return found


def _share_rows(windows: Sequence[tuple[Access, bool]]) -> bool:
    """Whether windows into a buffer show parts of the same rows, each row in one place."""
    first = windows[0][0]
    stride = first.row_stride
    return stride > 0 and all(
        access.row_stride == stride
        and access.advance == first.advance
        and access.offset // stride == first.offset // stride
        and 0 <= (access.cols - 1) * access.col_stride < stride - access.offset % stride
        for access, _ in windows
    )


def _is_written_first(windows: Sequence[tuple[Access, bool]]) -> bool:
    """Whether a round writes what it reads of a buffer, columns of the same rows."""
    written: set[int] = set()
    for access, is_write in windows:
        shown = {access.offset + col * access.col_stride for col in range(access.cols)}
        if is_write:
            written |= shown
        elif not shown <= written:
            return False
    return True
