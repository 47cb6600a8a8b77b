"""What the passes hand to one another: items in program order over placed buffers."""

from __future__ import annotations

import functools
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from azsim.errors import CompileError
from azsim.isa.spec import instruction_set
from azsim.ops.lowering import Access, Leave
from azsim.ops.steps import ELEMENT_BYTES, MAX_EXTENT

__all__ = [
    "BLOCK_SUFFIX",
    "DATA_SCALAR",
    "FRAME_LOOP",
    "MAX_EXTENT",
    "Item",
    "Repeat",
    "Schedule",
    "Storage",
    "accesses",
    "check_windows",
    "contiguous",
    "extent",
    "in_whole",
    "is_weight_product",
    "is_written",
    "of_rounds",
    "only_in_a_part",
    "part",
    "parts_of",
    "rewritten_parts",
    "rows_and_cols",
    "shows_all",
    "unused_name",
    "users_of",
    "walk",
    "window_extents",
]

BLOCK_SUFFIX = "#block"
"""After a tile's name: its compressed block in DRAM."""
DATA_SCALAR = 1
"""Scalar register that takes the number by which data decides."""
FRAME_LOOP = 0
"""Number of the loop over frames in `Access.advance`; operators' loops count from 1."""


@dataclass(frozen=True)
class Storage:
    """A buffer in some memory.

    Attributes
    ----------
    name : str
    space : str
        ``dram``, ``weight`` or ``activation``.
    dtype : str
    size_bytes : int
    persistent : bool
        Lives from the program's start to its end.
    slot : int or None
        Streaming slot that the buffer shares with others: 0 or 1 in weight SRAM, any number in
        activation SRAM.
    is_shared : bool
        In DRAM, and loaded as well as stored in a frame.
    round_of : int or None
        Number of a loop, in each round of which it is written anew before anything reads it, and
        outside of which nothing uses it.
    within : (str, int) or None
        Storage of whose bytes these are some, and the first of them; elements of both have as many
        bytes.
    pieces_bytes : (int, int) or None
        Where it does not lie within the other as a whole: bytes of each of its pieces, and from
        where one begins to where the next one does.
    """

    name: str
    space: str
    dtype: str
    size_bytes: int
    persistent: bool = False
    slot: int | None = None
    is_shared: bool = False
    round_of: int | None = None
    within: tuple[str, int] | None = None
    pieces_bytes: tuple[int, int] | None = None

    @property
    def is_of_a_frame(self) -> bool:
        """Whether it is in activation SRAM, has a place of its own and outlives no frame."""
        return self.space == "activation" and not self.persistent and self.slot is None

    @property
    def whole(self) -> str:
        """Name of the storage that has the bytes."""
        return self.name if self.within is None else self.within[0]


@dataclass(frozen=True)
class Item:
    """An instruction whose operands are still windows into named buffers.

    `but_last` is the number of the loop right around it in whose last round it is left out.
    With `leave` it is a ``scalar_read``, and its number may end the loop right around it.
    With `once` it is in a region, and the first to come to it is the only one to carry it out.
    `frame` is the frame of a round that it works for, from 0; frames that are left over behind the
    rounds come after those, see `Schedule.per_round`.
    """

    mnemonic: str
    layer: str
    operands: Mapping[str, Access | int | float | str] = field(default_factory=dict)
    but_last: int | None = None
    leave: Leave | None = None
    once: bool = False
    frame: int = 0

    @functools.cached_property
    def buffers(self) -> frozenset[str]:
        """Names of the buffers that it touches."""
        return frozenset(access.buffer for _, access in self.windows)

    @functools.cached_property
    def windows(self) -> tuple[tuple[str, Access], ...]:
        """Operands that are windows, by name."""
        pairs = self.operands.items()
        return tuple((name, value) for name, value in pairs if isinstance(value, Access))


@dataclass(frozen=True)
class Repeat:
    """A hardware loop; `rounds` is how many it begins, on average, where data may end it before."""

    number: int
    count: int
    body: tuple[Item | Repeat, ...]
    rounds: float | None = None

    @functools.cached_property
    def buffers(self) -> frozenset[str]:
        """Names of the buffers that its items touch."""
        return frozenset().union(*(item.buffers for item in self.body))

    @property
    def mean_rounds(self) -> float:
        """How many rounds it begins, on average."""
        return self.count if self.rounds is None else self.rounds

    @property
    def is_region(self) -> bool:
        """Whether data decides what comes next in it, see `azsim.compiler.regions`."""
        return any(item.leave is not None for item in walk(self.body))


@dataclass(frozen=True)
class Schedule:
    """The whole program before addresses: once, for each round of the frame loop, once.

    `body` runs `rounds` times and computes `per_round` of the `frames` each time.  The others stand
    in `finish`: those of the last round with `last_apart`, so that what follows a frame may begin
    before the last one is over, and those that are left over.  `copies` names what takes a buffer's
    part in a further frame of a round, or in one in `finish`.  With `shares_loads` what comes from
    DRAM in each round is for all of its frames.  `loads` has, by name, the item that loads each
    tile that does not stay, until `azsim.compiler.prefetch` has put it where it is needed.  `held`
    tells until which item (in program order, loop bodies once) a storage is in use although no
    later one touches it: engines work at the same time.  `spilled` has the states that live in
    DRAM, graph input to graph output.
    """

    startup: tuple[Item | Repeat, ...]
    body: tuple[Item | Repeat, ...]
    finish: tuple[Item | Repeat, ...]
    frames: int
    storages: Mapping[str, Storage]
    loads: Mapping[str, Item] = field(default_factory=dict)
    held: Mapping[str, int] = field(default_factory=dict)
    spilled: Mapping[str, str] = field(default_factory=dict)
    per_round: int = 1
    copies: Mapping[tuple[str, int], str] = field(default_factory=dict)
    shares_loads: bool = False
    last_apart: bool = False

    @property
    def rounds(self) -> int:
        """How often `body` runs."""
        return self.frames // self.per_round - self.last_apart

    @property
    def left_over(self) -> int:
        """Frames that make no whole round."""
        return self.frames % self.per_round


def parts_of(region: Repeat) -> Iterator[tuple[Item | Repeat, ...]]:
    """Parts of a region, see `azsim.compiler.regions`; an item that may leave a loop is a part."""
    part: list[Item | Repeat] = []
    for item in region.body:
        is_region = isinstance(item, Repeat) and item.is_region
        if is_region or (isinstance(item, Item) and item.leave is not None):
            yield tuple(part)
            part = []
            if isinstance(item, Repeat):
                yield from parts_of(item)
            else:
                yield (item,)
        else:
            part.append(item)
    yield tuple(part)


def rewritten_parts(
    region: Repeat,
    rewrite: Callable[[tuple[Item | Repeat, ...], Mapping[int, int]], Iterable[Item | Repeat]],
    around: Mapping[int, int] | None = None,
) -> Repeat:
    """A region with other items in its parts; those that may leave a loop stay.

    `rewrite` gets the items of a part, and the rounds of the region's loops around it, by number.
    """
    loops = {**(around or {}), region.number: region.count}
    result: list[Item | Repeat] = []
    part: list[Item | Repeat] = []
    for item in region.body:
        is_region = isinstance(item, Repeat) and item.is_region
        if not is_region and not (isinstance(item, Item) and item.leave is not None):
            part.append(item)
            continue
        result += rewrite(tuple(part), loops)
        part = []
        result.append(rewritten_parts(item, rewrite, loops) if isinstance(item, Repeat) else item)
    result += rewrite(tuple(part), loops)
    return replace(region, body=tuple(result))


def only_in_a_part(region: Repeat) -> set[str]:
    """Buffers of a region that one part alone touches, and writes first."""
    found: dict[str, bool] = {}
    for part in parts_of(region):
        inside: set[str] = set()
        for item in walk(part):
            named = list(accesses(item))
            for name, access in named:
                if access.buffer in inside:
                    continue
                inside.add(access.buffer)
                begins = is_written(item, name) and not any(
                    other.buffer == access.buffer and not is_written(item, key)
                    for key, other in named
                )
                found[access.buffer] = begins and access.buffer not in found
    return {buffer for buffer, is_local in found.items() if is_local}


def of_rounds(loop: Repeat, storages: Mapping[str, Storage]) -> set[str]:
    """Buffers that live in a round of a loop, or of one in it."""
    numbers = {loop.number, *_numbers_inside(loop)}
    return {name for name in loop.buffers if storages[name].round_of in numbers}


def _numbers_inside(loop: Repeat) -> Iterator[int]:
    for item in loop.body:
        if isinstance(item, Repeat):
            yield item.number
            yield from _numbers_inside(item)


def rows_and_cols(size: int) -> tuple[int, int]:
    """Shape of a contiguous window of at least `size` elements."""
    rows = -(-size // MAX_EXTENT)
    return rows, -(-size // rows)


def contiguous(buffer: str, size: int, advance: Mapping[int, int] | None = None) -> Access:
    """Window over the first `size` elements of a buffer (a few more if size is above 65,536)."""
    rows, cols = rows_and_cols(size)
    return Access(buffer, 0, rows, cols, cols, 1, advance or {})


def shows_all(access: Access, storage: Storage, frames: int = 1) -> bool:
    """Whether a window shows all of a storage of four-byte elements, or a frame's part of it."""
    size = access.rows * access.cols
    is_dense = (access.col_stride == 1 or access.cols == 1) and (
        access.rows == 1 or access.row_stride == access.cols
    )
    moves = {FRAME_LOOP: size} if frames > 1 else {}
    return (
        ELEMENT_BYTES[storage.dtype] == 4
        and storage.size_bytes == frames * size * 4
        and is_dense
        and access.offset == 0
        and access.advance == moves
    )


def in_whole(access: Access, storage: Storage) -> Access:
    """The same window, into the storage of which its own may be a part."""
    if storage.within is None:
        return access
    name, first_bytes = storage.within
    offset = access.offset + first_bytes // ELEMENT_BYTES[storage.dtype]
    return replace(access, buffer=name, offset=offset)


def part(access: Access, row: int, rows: int, col: int, cols: int) -> Access:
    """Window of a window."""
    return replace(
        access,
        offset=access.offset + row * access.row_stride + col * access.col_stride,
        rows=rows,
        cols=cols,
    )


def walk(items: tuple[Item | Repeat, ...]) -> Iterator[Item]:
    """Every item in program order, loop bodies once."""
    for item in items:
        if isinstance(item, Repeat):
            yield from walk(item.body)
        else:
            yield item


def unused_name(name: str, taken: Container[str]) -> str:
    """A name that nothing else has, as a tensor may have any."""
    while name in taken:
        name += "~"
    return name


def users_of(items: Sequence[Item | Repeat]) -> dict[str, list[int]]:
    """By buffer, the numbers of the items that touch it."""
    found: dict[str, list[int]] = {}
    for number, item in enumerate(items):
        for buffer in sorted(item.buffers):
            found.setdefault(buffer, []).append(number)
    return found


def check_windows(schedule: Schedule) -> None:
    """Check that the machine's views can hold every window.

    Raises
    ------
    CompileError
        Naming each tensor with a window that has too many rows or columns.
    """
    found: dict[str, Access] = {}
    for item in walk(schedule.startup + schedule.body + schedule.finish):
        for _, access in accesses(item):
            if max(access.rows, access.cols) <= MAX_EXTENT:
                continue
            name, _, kind = access.buffer.partition("#")
            name = name.removeprefix("input ").removeprefix("output ")
            # Codes and scales are of a tensor that is named itself; a repeated row is not too long.
            is_repeated = access.cols <= MAX_EXTENT and access.row_stride == 0
            if not kind.startswith(("codes", "scale")) and not is_repeated:
                found.setdefault(name, access)
    if found:
        limit = f"{MAX_EXTENT:,}"
        raise CompileError(
            "\n".join(
                f"tensor '{name}' is used {access.rows:,} x {access.cols:,} elements at a time; "
                f"the machine's views have at most {limit} rows and {limit} columns"
                for name, access in found.items()
            )
        )


def accesses(item: Item) -> tuple[tuple[str, Access], ...]:
    """Operands of an item that are windows."""
    return item.windows


def is_written(item: Item, name: str) -> bool:
    """Whether an operand of an item is written."""
    if item.mnemonic == "vector_quantize" and name in ("scale", "peak"):
        return name == "scale" and not item.operands.get("static")
    return name in instruction_set().instructions[item.mnemonic].writes


def is_weight_product(item: Item, storages: Mapping[str, Storage]) -> bool:
    """Whether an item multiplies by a weight, and not by what was computed."""
    if item.mnemonic != "mac_matmul":
        return False
    window = item.operands["src2"]
    assert isinstance(window, Access)
    return storages[window.buffer].space == "weight"


def extent(access: Access, loops: Mapping[int, int]) -> tuple[int, int]:
    """First element and one past the last that a window reaches in all rounds of loops."""
    steps = [
        (access.rows - 1) * access.row_stride,
        (access.cols - 1) * access.col_stride,
        *((loops.get(loop, 1) - 1) * step for loop, step in access.advance.items()),
    ]
    low = access.offset + sum(step for step in steps if step < 0)
    return low, access.offset + sum(step for step in steps if step > 0) + 1


def window_extents(
    item: Item | Repeat,
    buffer: str,
    loops: Mapping[int, int],
    is_wanted: Callable[[Item, str], bool] | None = None,
) -> Iterator[tuple[int, int]]:
    """`extent` of each window of an item into a buffer, or of those wanted by item and operand."""
    if buffer not in item.buffers:
        return
    if isinstance(item, Repeat):
        for inner in item.body:
            yield from window_extents(inner, buffer, {**loops, item.number: item.count}, is_wanted)
        return
    for name, access in accesses(item):
        if access.buffer == buffer and (is_wanted is None or is_wanted(item, name)):
            yield extent(access, loops)
