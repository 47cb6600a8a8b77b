"""Overlap: the order of a frame's work in which the engines wait least for one another.

Contract: takes a schedule, gives one with the same work in which every item still comes after
those that it depends on.  Loops stay where they are; what stands between two of them is

- cut into pieces where that shortens the frame: the first rows of a product begin when their
  codes are there, its last outputs are small so that what depends on all of them waits little,
  element-wise work follows the pieces of what it reads,
- put in the order in which a model of the engines starts it: whatever can start first, of several
  what has the longest way to the frame's end.

The model knows engines and dependences, not queues; cycles come from `azsim.compiler.estimate`, so
that another chip gets another order.  Transfers of two channels at once would take DRAM from each
other, and open each other's rows anew where they share a bank, so that loads and stores wait for
the transfer before them, unless the decoder holds that one up.
"""

from __future__ import annotations

import bisect
import collections
import heapq
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from azsim.compiler.estimate import Estimator, engine_of, view_of
from azsim.compiler.pieces import (
    ELEMENTWISE,
    Cut,
    buffer_bounds,
    cut_elementwise,
    cut_product,
    cut_quantize,
    local_bounds,
    product_bounds,
)
from azsim.compiler.schedule import Item, Repeat, Schedule, Storage, accesses, walk
from azsim.hardware.description import Hardware
from azsim.machine.view import ELEMENT_BITS
from azsim.ops.lowering import Access

__all__ = ["overlap"]

_MAX_SEARCHED = 400  # items; longer programs are put in order as they are, by rough estimates
_MAX_WORK = 20_000  # pieces that a search may put in order, those of all tries together
_SUM_STEP = 32  # a multiple of any array's window, in whole bytes
_LEAST_GAIN = 2  # cycles that a cut has to save
_CHANNELS = ("weight", "load", "store")
_PEAK_WRITERS = ("load", "mac_drain", "vector_unary", "vector_copy")


@dataclass
class Piece:
    """Items that one engine carries out one after another.

    Attributes
    ----------
    items : list of Item
    unit : int
        What it is a piece of.
    engine : str
    fills_dram : bool
        Whether it keeps DRAM busy, so that no other such piece runs beside it.
    before : dict of int to int
        Pieces that have to be over, and the item of this one before which they have to.
    behind : int or None
        Piece that has to have begun: the load that waits for the frame, with the sequencer.
    """

    items: list[Item]
    unit: int
    engine: str
    fills_dram: bool
    before: dict[int, int] = field(default_factory=dict)
    behind: int | None = None

    def needs(self, number: int, item: int) -> None:
        """Note that a piece has to be over before an item."""
        self.before[number] = min(item, self.before.get(number, item))


def overlap(
    schedule: Schedule, estimator: Estimator, hardware: Hardware, *, by_layer: bool = False
) -> Schedule:
    """Cut and reorder the body of the frame loop; with a single frame, all that there is.

    With `by_layer` no item leaves its layer, so that less is alive at a time.
    """
    if schedule.frames > 1:
        before = sum(1 for _ in walk(schedule.startup))
        body, storages, held = _overlapped(
            schedule.body, schedule, before, estimator, hardware, by_layer
        )
        return replace(schedule, body=body, storages=storages, held=held)
    whole = schedule.startup + schedule.body + schedule.finish
    body, storages, held = _overlapped(whole, schedule, 0, estimator, hardware, by_layer)
    return replace(schedule, startup=(), body=body, finish=(), storages=storages, held=held)


def _overlapped(
    items: tuple[Item | Repeat, ...],
    schedule: Schedule,
    before: int,
    estimator: Estimator,
    hardware: Hardware,
    by_layer: bool,
) -> tuple[tuple[Item | Repeat, ...], dict[str, Storage], dict[str, int]]:
    """Items in order, all storages, and until which item of the program each is held."""
    storages = dict(schedule.storages)
    result: list[Item | Repeat] = []
    held: dict[str, int] = {}
    work = _MAX_WORK
    is_long = sum(1 for _ in walk(items)) > _MAX_SEARCHED
    for layer, group in itertools.groupby(items, lambda item: _stretch_of(item, by_layer)):
        ordered = list(group)
        if layer is not None:
            stretch = _Stretch([i for i in ordered if isinstance(i, Item)], storages, is_long)
            ordered, until, work = stretch.best(estimator, hardware, work)
            for name, at in until.items():
                held[name] = before + at
        result += ordered
        before += sum(1 for _ in walk(tuple(ordered)))
    return tuple(result), storages, held


def _stretch_of(item: Item | Repeat, by_layer: bool) -> str | None:
    """Name of the stretch that an item belongs to; None for a loop."""
    if isinstance(item, Repeat):
        return None
    return item.layer if by_layer else ""


@dataclass(frozen=True)
class _Tried:
    """Pieces and when the model of the engines starts them."""

    pieces: list[Piece]
    storages: dict[str, Storage]
    cycles: list[int]
    starts: dict[int, int]
    """By piece, in the order of the program."""

    @property
    def end(self) -> int:
        return max(start + self.cycles[number] for number, start in self.starts.items())

    def waits(self, unit: int, *, after: bool) -> bool:
        """Whether the array stands still before a unit's first piece, or after its last one."""
        array = [number for number in self.starts if self.pieces[number].engine == "mac"]
        mine = [at for at, number in enumerate(array) if self.pieces[number].unit == unit]
        at = mine[-1] + 1 if after else mine[0]
        if at == len(array):
            return True
        free = 0 if at == 0 else self.starts[array[at - 1]] + self.cycles[array[at - 1]]
        return self.starts[array[at]] >= free + _LEAST_GAIN

    def items(self) -> list[Item]:
        """Items in order; loads and stores wait for the transfer before, weights for none."""
        result: list[Item] = []
        channel = None
        for number in self.starts:
            piece = self.pieces[number]
            if piece.fills_dram:
                item, mine = piece.items[0], engine_of(piece.items[0])
                if mine != "weight" and channel not in (None, mine):
                    item = replace(item, operands={**item.operands, f"wait_{channel}": 1})
                result.append(item)
                channel = mine
            else:
                result += piece.items
        return result

    def held(self) -> dict[str, int]:
        """Last item that begins before the last user of each storage has ended.

        Another storage in the same place would make it wait.
        """
        ends: dict[str, int] = {}
        begins: list[int] = []
        for number, start in self.starts.items():
            for item in self.pieces[number].items:
                begins.append(start)
                for _, access in accesses(item):
                    end = start + self.cycles[number]
                    ends[access.buffer] = max(ends.get(access.buffer, 0), end)
        return {name: bisect.bisect_left(begins, end) - 1 for name, end in ends.items()}


class _Stretch:
    """Items without a loop among them."""

    def __init__(self, items: Sequence[Item], storages: dict[str, Storage], is_long: bool) -> None:
        self.units, self._is_fixed = _units(items)
        self._quantizers = _quantizers(self.units)
        self._is_long = is_long
        self.storages = storages

    def best(
        self, estimator: Estimator, hardware: Hardware, work: int
    ) -> tuple[list[Item], dict[str, int], int]:
        """Items of the best cuts, in order, and until which of them each storage is held.

        The last value is what is left of the work that a search may be.
        """
        cuts: dict[int, Cut] = {}
        best = self._tried(cuts, estimator)
        for _, unit, of_end in itertools.product(range(2), range(len(self.units)), (False, True)):
            if (
                self._is_long
                or work < 0
                or not self._is_cuttable(unit)
                or not best.waits(unit, after=of_end)
            ):
                continue
            known = cuts.get(unit, Cut())
            options = self._ends(unit, hardware) if of_end else self._begins(unit)
            for changes in options:
                cut = replace(known, **changes)
                work -= len(best.pieces)
                if work < 0 or ((cut.outputs or cut.tail) and cut.tail < cut.head):
                    continue
                found = self._tried(cuts | {unit: cut}, estimator)
                if found.end <= best.end - _LEAST_GAIN:
                    cuts, best = cuts | {unit: cut}, found
        self.storages.update(best.storages)
        return best.items(), best.held(), work

    def _tried(self, cuts: Mapping[int, Cut], estimator: Estimator) -> _Tried:
        expansion = _Expansion(self.storages, None if self._is_long else estimator, self._is_fixed)
        ahead = {
            self._quantizers[number]: (self.units[number][0], cut)
            for number, cut in cuts.items()
            if cut.ahead and number in self._quantizers
        }
        for number, unit in enumerate(self.units):
            expansion.add(unit, cuts.get(number, Cut()), ahead.get(number))
        storages = collections.ChainMap(expansion.storages, self.storages)
        cycles = [
            [estimator.cycles(item, storages, roughly=self._is_long) for item in piece.items]
            for piece in expansion.pieces
        ]
        takes = list(map(sum, cycles))
        found = _Tried(
            expansion.pieces, expansion.storages, takes, list_schedule(expansion.pieces, cycles)
        )
        if cuts:
            return found
        as_it_was = replace(found, starts=program_order(expansion.pieces, cycles))
        return as_it_was if as_it_was.end < found.end else found

    def _is_cuttable(self, number: int) -> bool:
        unit = self.units[number]
        return len(unit) == 2 and unit[0].mnemonic == "mac_matmul"

    def _begins(self, number: int) -> Iterator[dict[str, object]]:
        """Changes of a cut that let a product begin earlier."""
        target = self.units[number][1].operands["dst"]
        assert isinstance(target, Access)
        for head in (0, 1) if target.rows > 1 else (0,):
            for inner in self._sums(self.units[number][0]):
                for ahead in (False, True):
                    if ahead or not (head or inner):
                        yield {"head": head, "tail": head, "ahead": ahead, "inner": inner}

    def _ends(self, number: int, hardware: Hardware) -> Iterator[dict[str, object]]:
        """Changes of a cut that leave little to do behind a product's last piece."""
        target = self.units[number][1].operands["dst"]
        assert isinstance(target, Access)
        lanes, (rows, cols) = hardware.mac.lanes, target.shape
        is_block = self._is_block(self.units[number][0])  # which has all outputs or none
        passes = [] if is_block else list(range(0, cols, lanes))[1:]
        by_output = [
            (),
            tuple(passes[-1:]),
            tuple(passes[-2:]),
            tuple(passes[len(passes) // 2 :][:1]),
        ]
        quarters = tuple(quarter * cols // 4 for quarter in (1, 2, 3))
        if passes and quarters[0] >= lanes and all(quarter % lanes == 0 for quarter in quarters):
            by_output += [quarters, tuple(passes)]
        for outputs in dict.fromkeys(by_output):
            yield {"outputs": outputs}
            if rows > 2:
                yield {"outputs": outputs, "tail": rows - 1}

    def _is_block(self, product: Item) -> bool:
        """Whether the array reads a compressed block as it is, always the whole of it."""
        weights = product.operands["src2"]
        assert isinstance(weights, Access)
        return self.storages[weights.buffer].dtype == "u8"

    def _sums(self, product: Item) -> list[int]:
        """Where the sum of a product may be cut: at whole windows, about its thirds."""
        source = product.operands["src"]
        assert isinstance(source, Access)
        if self._is_block(product):
            return [0]
        cuts = {source.cols * share // 6 // _SUM_STEP * _SUM_STEP for share in (2, 3, 4)}
        return sorted({0} | cuts)


def _units(items: Sequence[Item]) -> tuple[list[tuple[Item, ...]], bool]:
    """Products with their drains, and every other item alone.

    The second value tells that the array keeps its order: where loads stand between the products of
    one sum, as its tiles do not fit at once, another sum must not come between them.
    """
    units: list[tuple[Item, ...]] = []
    is_fixed = False
    group: list[Item] = []  # from a product to its drain
    for item in items:
        if not group and item.mnemonic != "mac_matmul":
            is_fixed |= item.mnemonic == "mac_drain"  # of sums that a loop before has made
            units.append((item,))
            continue
        group.append(item)
        if item.mnemonic != "mac_drain":
            continue
        of_array = [inner for inner in group if engine_of(inner) == "mac"]
        others = [(inner,) for inner in group if engine_of(inner) != "mac"]
        if len(of_array) == 2 or not others:
            units += [tuple(of_array), *others]
        else:
            is_fixed = True
            units += [(inner,) for inner in group]
        group = []
    # What is left over is drained behind a loop, or in another layer's stretch.
    return units + [(inner,) for inner in group], is_fixed or bool(group)


def _quantizers(units: Sequence[tuple[Item, ...]]) -> dict[int, int]:
    """For each product, the unit that quantizes what it multiplies."""
    last: dict[str, int] = {}
    found: dict[int, int] = {}
    for number, unit in enumerate(units):
        source, target = unit[0].operands.get("src"), unit[0].operands.get("dst")
        if unit[0].mnemonic == "vector_quantize" and isinstance(target, Access):
            last[target.buffer] = number
        is_product = unit[0].mnemonic == "mac_matmul"
        if is_product and isinstance(source, Access) and source.buffer in last:
            found[number] = last[source.buffer]
    return found


class _Expansion:
    """Units cut into pieces, with what each piece depends on."""

    def __init__(
        self, storages: Mapping[str, Storage], estimator: Estimator | None, is_fixed: bool
    ) -> None:
        self.pieces: list[Piece] = []
        self._unit = -1
        self._estimator = estimator
        self._is_fixed = is_fixed
        self._last_of_array: int | None = None
        self._arrival: int | None = None
        self.storages: dict[str, Storage] = {}
        self._known = storages
        self._writers: dict[str, np.ndarray] = {}
        self._readers: dict[str, list[tuple[int, int, int]]] = {}
        self._bounds: dict[str, set[int]] = {}

    def add(self, unit: tuple[Item, ...], cut: Cut, ahead: tuple[Item, Cut] | None = None) -> None:
        """Add a unit's pieces.

        Parameters
        ----------
        unit : tuple of Item
        cut : Cut
            Of a product.
        ahead : (Item, Cut), optional
            Of a quantization: the product that begins with some of its codes.
        """
        self._unit += 1
        first = unit[0]
        if len(unit) == 2 and first.mnemonic == "mac_matmul":
            drain = unit[1]
            target = drain.operands["dst"]
            assert isinstance(target, Access)
            for piece in cut_product(first, drain, cut):
                self._put(piece)
            self._bounds.setdefault(target.buffer, set()).update(product_bounds(target, cut))
        elif first.mnemonic in ELEMENTWISE:
            for item in self._following(first):
                self._put([item])
        elif first.mnemonic == "vector_quantize":
            known = self._with_peaks(first)
            for item in [known] if ahead is None else self._codes_first(known, *ahead):
                self._put([item])
        else:
            self._put(list(unit))

    # ---- cutting

    def _following(self, item: Item) -> list[Item]:
        """Pieces of element-wise work that follow the pieces of what it reads."""
        target = item.operands["dst"]
        assert isinstance(target, Access)
        cuts: set[int] = set()
        for name, access in accesses(item):
            if name != "dst" and access.shape == target.shape:
                cuts |= local_bounds(access, self._bounds.get(access.buffer, ()))
        if not cuts:
            return [item]
        self._bounds.setdefault(target.buffer, set()).update(buffer_bounds(target, cuts))
        return cut_elementwise(item, cuts)

    def _codes_first(self, item: Item, product: Item, cut: Cut) -> list[Item]:
        """Cut a quantization so that the codes that a product begins with come first."""
        codes, target = product.operands["src"], item.operands["dst"]
        scale = item.operands["scale"]
        assert isinstance(codes, Access)
        assert isinstance(target, Access)
        assert isinstance(scale, Access)
        if not (item.operands.get("static") or item.operands.get("use_peak") or scale.rows > 1):
            return [item]  # a search for the scale is over all of it
        length, step = (target.rows, target.row_stride) if target.rows > 1 else (target.cols, 1)
        first, last = 0, length
        for cols in (cut.inner, codes.cols):  # a first part may see padding only
            begins = replace(codes, rows=cut.head or codes.rows, cols=cols or codes.cols)
            low, high = _extent(begins, self._storage(codes.buffer))
            first = max(0, (low - target.offset) // step)
            last = min(length, -(-(high - target.offset) // step))
            if first < last:
                break
        is_part = first < last and (first, last) != (0, length)
        return cut_quantize(item, (first, last)) if is_part else [item]

    def _with_peaks(self, item: Item) -> Item:
        """Let the writers of what is quantized find its largest magnitude, if all can."""
        source, scale = item.operands["src"], item.operands["scale"]
        assert isinstance(source, Access)
        assert isinstance(scale, Access)
        if item.operands.get("static") or scale.rows != 1 or source.buffer not in self._writers:
            return item
        if view_of(source, self._storage(source.buffer)).shows_twice:
            return item  # counting would not tell that it shows all that a writer wrote
        numbers, counts = np.unique(self._elements(source), return_counts=True)
        if numbers[0] < 0:
            return item
        writers: list[tuple[int, Item]] = []
        for number, count in zip(numbers.tolist(), counts.tolist(), strict=True):
            writer = self.pieces[number].items[-1]
            target = writer.operands["dst"]
            assert isinstance(target, Access)
            if (
                writer.mnemonic not in _PEAK_WRITERS
                or target.rows * target.cols != count
                or "peak" in writer.operands
            ):
                return item
            writers.append((number, writer))
        writers = [entry for entry in writers if not self._is_repeated(entry, writers)]
        name = f"{scale.buffer}#peak"
        self.storages[name] = Storage(name, "activation", "f32", 4 * len(writers))
        for index, (number, writer) in enumerate(writers):
            peak = Access(name, index, 1, 1, 1, 1)
            written = replace(writer, operands={**writer.operands, "peak": peak, "use_peak": 1})
            self.pieces[number].items[-1] = written
            self._window(peak)[:] = number
        peaks = Access(name, 0, len(writers), 1, 1, 1)
        return replace(item, operands={**item.operands, "peak": peaks, "use_peak": 1})

    def _is_repeated(self, writer: tuple[int, Item], writers: Sequence[tuple[int, Item]]) -> bool:
        """Whether a copy repeats what another of the writers wrote, as at a reflected edge."""
        number, item = writer
        source = item.operands["src"]
        assert isinstance(source, Access)
        origin = np.unique(self._elements(source)).tolist()
        if item.mnemonic != "vector_copy" or len(origin) != 1:
            return False
        # What was written behind the copy is not what it copied.
        return origin[0] < number and origin[0] in {other for other, _ in writers}

    # ---- dependences

    def _storage(self, buffer: str) -> Storage:
        return self.storages[buffer] if buffer in self.storages else self._known[buffer]

    def _place(self, buffer: str) -> str:
        """What stands for a buffer: tiles that share a slot are one."""
        slot = self._storage(buffer).slot
        return buffer if slot is None else f"(slot {slot})"

    def _window(self, access: Access) -> np.ndarray:
        """Writers of a window's elements, in place (of the whole buffer outside the SRAM)."""
        storage, place = self._storage(access.buffer), self._place(access.buffer)
        if storage.space != "activation":
            return self._writers.setdefault(place, np.full((1, 1), -1, np.int32))
        if place not in self._writers:
            size = -(-storage.size_bytes * 8 // ELEMENT_BITS[storage.dtype])
            self._writers[place] = np.full(size, -1, np.int32)
        marks = self._writers[place]
        if access.advance:
            return marks.reshape(1, -1)
        if access.rows == 1 and access.col_stride == 1:
            return marks[access.offset : access.offset + access.cols]
        step = marks.itemsize
        strides = (step * access.row_stride, step * access.col_stride)
        return np.ndarray(access.shape, marks.dtype, marks, step * access.offset, strides)

    def _elements(self, access: Access) -> np.ndarray:
        return np.ascontiguousarray(self._window(access)).reshape(-1)

    def _fills_dram(self, item: Item) -> bool:
        """Transfers do, but for those whose decoder leaves DRAM time for others."""
        is_transfer = engine_of(item) in _CHANNELS
        slow = self._estimator is not None and self._estimator.is_decoded_slowly(item)
        return is_transfer and not slow

    def _put(self, items: list[Item]) -> None:
        """Append a piece with its dependences."""
        number = len(self.pieces)
        piece = Piece(items, self._unit, engine_of(items[0]), self._fills_dram(items[0]))
        self.pieces.append(piece)
        if piece.engine == "mac" and self._is_fixed:
            if self._last_of_array is not None:
                piece.needs(self._last_of_array, 0)
            self._last_of_array = number
        if piece.engine != "weight":  # weights do not wait for a frame
            piece.behind = self._arrival
        if any(item.operands.get("paced") for item in items):
            self._arrival = number
        for at, item in enumerate(items):
            for name, access in accesses(item):
                if self._storage(access.buffer).space == "dram":
                    continue
                for writer in _distinct(self._window(access)):
                    if 0 <= writer != number:
                        piece.needs(writer, at)
                place = self._place(access.buffer)
                low, high = _extent(access, self._storage(access.buffer))
                readers = self._readers.setdefault(place, [])
                if _writes(item, name):
                    for reader, first, last in readers:
                        if reader != number and first < high and low < last:
                            piece.needs(reader, at)
                    self._window(access)[:] = number
                else:
                    readers.append((number, low, high))


def _distinct(marks: np.ndarray) -> list[int]:
    least, most = int(marks.min()), int(marks.max())
    return [least] if least == most else np.unique(marks).tolist()


def _writes(item: Item, name: str) -> bool:
    if name == "scale":
        return item.mnemonic == "vector_quantize" and not item.operands.get("static")
    if name == "peak":
        return item.mnemonic != "vector_quantize"
    return name == "dst"


def _extent(access: Access, storage: Storage) -> tuple[int, int]:
    if storage.space != "activation" or access.advance:
        return 0, 1 << 62
    corners = [
        access.offset + row * access.row_stride + col * access.col_stride
        for row in (0, access.rows - 1)
        for col in (0, access.cols - 1)
    ]
    return min(corners), max(corners) + 1


def list_schedule(pieces: Sequence[Piece], cycles: Sequence[Sequence[int]]) -> dict[int, int]:
    """When each piece begins, in that order, with engines that do one piece at a time.

    Of the pieces that can begin at the earliest moment, the one with the longest way to the end
    goes first.

    Parameters
    ----------
    pieces : sequence of Piece
    cycles : sequence of sequence of int
        Of each piece's items.
    """
    takes = [sum(items) for items in cycles]
    after: list[list[tuple[int, int]]] = [[] for _ in pieces]  # piece, cycles that it can do before
    missing = [0] * len(pieces)
    for number in range(len(pieces)):
        leads = _leads(pieces[number], cycles[number], takes)
        missing[number] = len(leads)
        for other, lead in leads.items():
            after[other].append((number, lead))
    way = list(takes)
    for number in range(len(pieces) - 1, -1, -1):
        way[number] += max([0, *(way[other] - lead for other, lead in after[number])])
    ready_at = [0] * len(pieces)
    queues = {piece.engine: _Queue() for piece in pieces}
    for number, count in enumerate(missing):
        if not count:
            queues[pieces[number].engine].add(0, -way[number], number)
    starts: dict[int, int] = {}
    dram_is_free = 0
    while len(starts) < len(pieces):
        heads = [head for queue in queues.values() if (head := queue.head()) is not None]
        at, _, number = min(
            (max(at, dram_is_free) if pieces[number].fills_dram else at, key, number)
            for at, key, number in heads
        )
        piece = pieces[number]
        queues[piece.engine].take(at + takes[number])
        if piece.fills_dram:
            dram_is_free = at + takes[number]
        starts[number] = at
        for other, lead in after[number]:
            ready_at[other] = max(ready_at[other], at, at + takes[number] - lead)
            missing[other] -= 1
            if not missing[other]:
                queues[pieces[other].engine].add(ready_at[other], -way[other], other)
    return starts


def program_order(pieces: Sequence[Piece], cycles: Sequence[Sequence[int]]) -> dict[int, int]:
    """When each piece begins if every engine keeps the order of the pieces; the earliest first.

    Parameters and the value are those of `list_schedule`.
    """
    takes = [sum(items) for items in cycles]
    free_at: dict[str, int] = {}
    dram_is_free = 0
    starts: list[int] = []
    for number, piece in enumerate(pieces):
        at = max(free_at.get(piece.engine, 0), dram_is_free if piece.fills_dram else 0)
        for other, lead in _leads(piece, cycles[number], takes).items():
            at = max(at, starts[other], starts[other] + takes[other] - lead)
        starts.append(at)
        free_at[piece.engine] = at + takes[number]
        if piece.fills_dram:
            dram_is_free = at + takes[number]
    return {number: starts[number] for number in sorted(range(len(pieces)), key=starts.__getitem__)}


def _leads(piece: Piece, cycles: Sequence[int], takes: Sequence[int]) -> dict[int, int]:
    """Cycles that a piece can do before each of those that it depends on is over."""
    leads = {} if piece.behind is None else {piece.behind: takes[piece.behind]}
    return leads | {other: sum(cycles[:item]) for other, item in piece.before.items()}


class _Queue:
    """Pieces of an engine that nothing has to come before any more."""

    def __init__(self) -> None:
        self._free_at = 0
        self._later: list[tuple[int, int, int]] = []  # ready, key, number
        self._ready: list[tuple[int, int]] = []  # key, number; ready when the engine is free

    def add(self, ready_at: int, key: int, number: int) -> None:
        if ready_at <= self._free_at:
            heapq.heappush(self._ready, (key, number))
        else:
            heapq.heappush(self._later, (ready_at, key, number))

    def head(self) -> tuple[int, int, int] | None:
        """When the next piece can begin, its key and number."""
        if self._ready:
            return self._free_at, *self._ready[0]
        return self._later[0] if self._later else None

    def take(self, end: int) -> None:
        """Take the head, which ends at `end`."""
        if self._ready:
            heapq.heappop(self._ready)
        else:
            heapq.heappop(self._later)
        self._free_at = end
        while self._later and self._later[0][0] <= end:
            heapq.heappush(self._ready, heapq.heappop(self._later)[1:])
