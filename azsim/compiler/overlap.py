"""Overlap: the order of a frame's work in which the engines wait least for one another.

Contract: takes a schedule, gives one with the same work in which every item still comes after
those that it depends on.  Loops stay where they are, and so does what may leave one
(`azsim.compiler.regions`); what stands between two of them, also inside a region, is

- cut into pieces where that shortens the frame: the first rows of a product begin when their
  codes are there, its last outputs are small so that what depends on all of them waits little,
  element-wise work follows the pieces of what it reads,
- put in the order in which a model of the engines starts it: whatever can start first, of several
  what has the longest way to the frame's end.

Where activation SRAM has no room for all of that, only so many steps are under way at a time: one
begins when the others before it have, but for a few.

The model knows engines and dependences, not queues; cycles come from `azsim.compiler.estimate`, so
that another chip gets another order.  Transfers of two channels at once would take DRAM from each
other, and open each other's rows anew where they share a bank, so that loads and stores wait for
the transfer before them, unless the decoder holds that one up.
"""

from __future__ import annotations

import bisect
import collections
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from azsim.compiler.estimate import Estimator, engine_of
from azsim.compiler.expansion import Expansion, Parts
from azsim.compiler.list_schedule import Piece, list_schedule, program_order
from azsim.compiler.parameters import PARAMETERS
from azsim.compiler.pieces import Cut, is_cuttable, product_target
from azsim.compiler.schedule import (
    Item,
    Repeat,
    Schedule,
    Storage,
    accesses,
    walk,
)
from azsim.hardware.description import Hardware
from azsim.ops.lowering import Access

__all__ = ["overlap"]

_MAX_SEARCHED = 600  # items; longer programs are put in order as they are, by rough estimates
_MAX_WORK = 40_000  # pieces that a search may put in order, those of all tries together
_SUM_STEP = 32  # a multiple of any array's window, in whole bytes
_FEW_ROWS = 4  # of a product, each of which may stand for a step of its own
_MOST_ROWS_APART = 8  # of a product, each of which may be a piece
_LEAST_GAIN = 2  # cycles that a cut has to save


def overlap(
    schedule: Schedule,
    estimator: Estimator,
    hardware: Hardware,
    *,
    ahead: int | None = None,
    searches: bool = True,
) -> Schedule:
    """Cut and reorder the body of the frame loop; with a single round, all that there is.

    A last round that stands apart is put in order with what follows it.

    Parameters
    ----------
    schedule : Schedule
    estimator : Estimator
    hardware : Hardware
    ahead : int, optional
        How many steps of the program may be under way at a time, so that less is alive; a product
        with its drains is one, and so is any other item.
    searches : bool
        Whether to look for cuts, which takes most of the time.

    Returns
    -------
    Schedule
        With the storages of peaks, and with `held`: what another storage in the same place would
        make wait.
    """
    if schedule.rounds > 1:
        before = sum(1 for _ in walk(schedule.startup))
        body, storages, held = _overlapped(
            schedule.body, schedule, before, estimator, hardware, ahead, searches
        )
        found = replace(schedule, body=body, storages=storages, held=held)
        if not schedule.last_apart:
            return found
        before += sum(1 for _ in walk(body))
        finish, storages, more = _overlapped(
            schedule.finish, found, before, estimator, hardware, ahead, searches
        )
        return replace(found, finish=finish, storages=storages, held={**more, **held})
    # Drains of one product need the same scales: no chain of single items tells how many wait.
    drained = [i.layer for i in walk(schedule.body) if i.mnemonic == "mac_drain"]
    is_cut = len(set(drained)) < len(drained)
    first = tuple(item for item in schedule.startup if is_cut and PARAMETERS in item.buffers)
    rest = tuple(item for item in schedule.startup if item not in first)
    whole = rest + schedule.body + schedule.finish
    body, storages, held = _overlapped(
        whole, schedule, len(first), estimator, hardware, ahead, searches
    )
    body = (*first, *_weights_behind_loads(body))
    return replace(schedule, startup=(), body=body, finish=(), storages=storages, held=held)


def _weights_behind_loads(items: Iterable[Item | Repeat]) -> Iterator[Item | Repeat]:
    """Weights that wait for the load before them, which in a single round waits for nothing."""
    channel = None
    for item in items:
        if isinstance(item, Item) and item.mnemonic in ("load", "store", "weight_load"):
            if item.mnemonic == "weight_load" and channel == "load":
                item = replace(item, operands={**item.operands, "wait_load": 1})
            channel = item.mnemonic
        yield item


def _overlapped(
    items: tuple[Item | Repeat, ...],
    schedule: Schedule,
    before: int,
    estimator: Estimator,
    hardware: Hardware,
    ahead: int | None,
    searches: bool,
) -> tuple[tuple[Item | Repeat, ...], dict[str, Storage], dict[str, int]]:
    """Items in order, all storages, and until which item of the program each is held."""
    is_long = sum(1 for _ in walk(items)) > _MAX_SEARCHED
    overlapped = _Overlap(dict(schedule.storages), before, estimator, hardware, ahead, is_long)
    overlapped.work = _MAX_WORK if searches else 0
    ordered = tuple(overlapped.items(items))
    return ordered, overlapped.storages, overlapped.held


@dataclass
class _Overlap:
    """Stretches of a program that are put in order one after another.

    Attributes
    ----------
    storages : dict of str to Storage
        Gets those of the peaks.
    before : int
        Items of the program in front of the next stretch.
    held : dict of str to int
        Until which item of the program each storage is held.
    work : int
        What is left of the work that searches may be.
    """

    storages: dict[str, Storage]
    before: int
    estimator: Estimator
    hardware: Hardware
    ahead: int | None
    is_long: bool
    held: dict[str, int] = field(default_factory=dict)
    work: int = _MAX_WORK

    def items(self, items: Iterable[Item | Repeat]) -> Iterator[Item | Repeat]:
        """Items of stretches in order; loops, and what may leave one, stay between them."""
        for is_stretch, group in itertools.groupby(items, _is_of_stretch):
            if not is_stretch:
                yield from map(self._between, group)
                continue
            single = [item for item in group if isinstance(item, Item)]
            stretch = _Stretch(single, self.storages, self.is_long, self.ahead)
            ordered, until, self.work = stretch.best(self.estimator, self.hardware, self.work)
            for name, at in until.items():
                self.held[name] = self.before + at
            self.before += len(ordered)
            yield from ordered

    def _between(self, item: Item | Repeat) -> Item | Repeat:
        """A loop or an item that may leave one; the parts of a region are stretches."""
        if isinstance(item, Repeat) and item.is_region:
            return replace(item, body=tuple(self.items(item.body)))
        self.before += sum(1 for _ in walk((item,)))
        return item


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

    def waits_after(self, unit: int) -> bool:
        """Whether the array stands still after a unit's last piece.

        Or after the one that follows that, as what waits may need the first of them as well.
        """
        array = [number for number in self.starts if self.pieces[number].engine == "mac"]
        last = max(at for at, number in enumerate(array) if self.pieces[number].unit == unit)
        return any(self._stands_still(array, last + ahead) for ahead in (1, 2))

    def _stands_still(self, array: Sequence[int], at: int) -> bool:
        """Whether the array waits before one of its pieces, or has done the last one."""
        if at >= len(array):
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

    def __init__(
        self,
        items: Sequence[Item],
        storages: dict[str, Storage],
        is_long: bool,
        ahead: int | None,
    ) -> None:
        self.units, self._is_fixed = _units(items)
        self._quantizers = _quantizers(self.units)
        self._is_long = is_long
        self._ahead = ahead
        self.storages = storages
        self._parts = Parts()
        self._cycles: dict[int, int] = {}  # of items, which live as long as the parts
        # Units that are expanded, those of their cuts that matter, and what they became.
        self._begun: tuple[int, list[tuple[int, Cut]], Expansion] | None = None
        self._begins_of: dict[str, set[int]] = {}
        for _, access in itertools.chain.from_iterable(map(accesses, items)):
            self._begins_of.setdefault(access.buffer, set()).add(access.offset)

    def best(
        self, estimator: Estimator, hardware: Hardware, work: int
    ) -> tuple[list[Item], dict[str, int], int]:
        """Items of the best cuts, in order, and until which of them each storage is held.

        The last value is what is left of the work that a search may be.
        """
        cuts: dict[int, Cut] = {}
        best = self._tried(cuts, estimator)
        products = [
            number
            for number, unit in enumerate(() if self._is_long else self.units)
            if is_cuttable(unit, self.storages)
        ]
        for _, unit, kind in itertools.product(range(2), products, ("rows", "begin", "end")):
            if work < 0 or (kind == "end" and not best.waits_after(unit)):
                continue
            known = cuts.get(unit, Cut())
            if known.each:
                continue  # nothing else of it is cut
            for changes in self._changes(unit, kind, hardware):
                cut = replace(known, **changes)
                if cut == known or ((cut.outputs or cut.tail) and cut.tail < cut.head):
                    continue
                work -= len(best.pieces)
                if work < 0:
                    break
                found = self._tried(cuts | {unit: cut}, estimator, self._first_of(unit))
                if found.end <= best.end - _LEAST_GAIN:
                    cuts, best = cuts | {unit: cut}, found
        self.storages.update(best.storages)
        return best.items(), best.held(), work

    def _tried(self, cuts: Mapping[int, Cut], estimator: Estimator, same: int = 0) -> _Tried:
        """Pieces in an order.

        The next try is quick if its cuts change no unit before `same`, and right in any case.
        """
        expansion = self._expanded(cuts, estimator, same)
        storages = collections.ChainMap(expansion.storages, self.storages)

        def item_cycles(item: Item) -> int:
            known = self._cycles.get(id(item))
            if known is None:
                known = estimator.cycles(item, storages, roughly=self._is_long)
                self._cycles[id(item)] = known
            return known

        cycles = [[item_cycles(item) for item in piece.items] for piece in expansion.pieces]
        takes = list(map(sum, cycles))
        found = _Tried(
            expansion.pieces,
            expansion.storages,
            takes,
            list_schedule(expansion.pieces, cycles, self._ahead),
        )
        if cuts or self._ahead is not None:
            return found
        as_it_was = replace(found, starts=program_order(expansion.pieces, cycles))
        return as_it_was if as_it_was.end < found.end else found

    def _expanded(self, cuts: Mapping[int, Cut], estimator: Estimator, same: int) -> Expansion:
        """All units in pieces; those before `same` are kept for the next try."""
        ahead = {
            self._quantizers[number]: (self.units[number][0], cut)
            for number, cut in cuts.items()
            if (cut.ahead or cut.each) and number in self._quantizers
        }

        def cuts_before(unit: int) -> list[tuple[int, Cut]]:
            # In their order: of products that share a quantizer the last one decides.
            return [(number, cut) for number, cut in cuts.items() if self._first_of(number) < unit]

        def add(expansion: Expansion, numbers: range) -> None:
            for number in numbers:
                expansion.add(self.units[number], cuts.get(number, Cut()), ahead.get(number))

        begun, self._begun = self._begun, None
        if begun is None or begun[0] > same or begun[1] != cuts_before(begun[0]):
            estimated = None if self._is_long else estimator
            begun = 0, [], Expansion(self.storages, estimated, self._is_fixed, self._parts)
        first, _, expansion = begun
        add(expansion, range(first, same))
        self._begun = same, cuts_before(same), expansion
        expansion = expansion.copy()
        add(expansion, range(same, len(self.units)))
        return expansion

    def _first_of(self, number: int) -> int:
        """The first unit that a product's cut changes."""
        return min(number, self._quantizers.get(number, number))

    def _changes(self, number: int, kind: str, hardware: Hardware) -> Iterator[dict[str, object]]:
        """What may be changed of a product's cut."""
        if kind == "begin":
            return self._begins(number)
        return self._ends(number, hardware) if kind == "end" else self._rows(number)

    def _rows(self, number: int) -> Iterator[dict[str, object]]:
        """Changes of a cut that let other work of the array come between rows, if they are few."""
        target = product_target(self.units[number][1:])
        if 1 < target.rows <= _FEW_ROWS:
            yield {"head": 1, "tail": 1}
        if 2 < target.rows <= _MOST_ROWS_APART:
            yield vars(Cut(each=True))

    def _begins(self, number: int) -> Iterator[dict[str, object]]:
        """Changes of a cut that let a product begin earlier."""
        target = product_target(self.units[number][1:])
        for head in (0, 1) if target.rows > 1 else (0,):
            for inner in self._sums(self.units[number][0]):
                for ahead in (False, True):
                    if ahead or not (head or inner):
                        yield {"head": head, "tail": head, "ahead": ahead, "inner": inner}

    def _ends(self, number: int, hardware: Hardware) -> Iterator[dict[str, object]]:
        """Changes of a cut that leave little to do behind a product's last piece."""
        target = product_target(self.units[number][1:])
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
        if not is_block:
            apart = self._read_apart(target)
            by_output += [apart[-1:], apart]
        for outputs in dict.fromkeys(by_output):
            yield {"outputs": outputs}
            if rows > 2:
                yield {"outputs": outputs, "tail": rows - 1}

    def _read_apart(self, target: Access) -> tuple[int, ...]:
        """Outputs of a product of one row at which what others read of them begins."""
        if target.rows > 1 or target.col_stride != 1 or target.advance:
            return ()
        begins = {first - target.offset for first in self._begins_of[target.buffer]}
        return tuple(sorted(begin for begin in begins if 0 < begin < target.cols))

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


def _is_of_stretch(item: Item | Repeat) -> bool:
    """Whether an item may change places with its neighbours."""
    return isinstance(item, Item) and item.leave is None


def _units(items: Sequence[Item]) -> tuple[list[tuple[Item, ...]], bool]:
    """Products with their drains, and every other item alone.

    The second value tells that the array keeps its order: where loads stand between the products of
    one sum, as its tiles do not fit at once, another sum must not come between them, unless it has
    accumulators of its own.
    """
    units: list[tuple[Item, ...]] = []
    is_fixed = False
    group: list[Item] = []  # from a product to its last drain
    for item, following in itertools.zip_longest(items, items[1:]):
        if not group and item.mnemonic != "mac_matmul":
            is_fixed |= item.mnemonic == "mac_drain"  # of sums that a loop before has made
            units.append((item,))
            continue
        group.append(item)
        if item.mnemonic != "mac_drain" or (
            following is not None
            and following.mnemonic == "mac_drain"
            and following.frame == item.frame
        ):
            continue
        of_array = [inner for inner in group if engine_of(inner) == "mac"]
        rest = [inner for inner in group if engine_of(inner) != "mac"]
        ahead = [(inner,) for inner in rest if inner.mnemonic == "load"]  # what the drain reads
        others = [(inner,) for inner in rest if inner.mnemonic != "load"]
        products = [inner for inner in of_array if inner.mnemonic == "mac_matmul"]
        # Others are between sums of several frames.
        is_whole = {inner.frame for inner in of_array} == {products[0].frame}
        is_whole &= not any(inner.operands.get("acc") for inner in products)
        is_whole &= not _is_needed_before(group)
        if is_whole and (not rest or len(products) == 1):
            units += [*ahead, tuple(of_array), *others]
        else:
            is_fixed = True
            units += [(inner,) for inner in group]
        group = []
    # What is left over is drained behind a loop, or in another layer's stretch.
    return units + [(inner,) for inner in group], is_fixed or bool(group)


def _is_needed_before(group: Sequence[Item]) -> bool:
    """Whether a load between a product and its drain takes the place of what was used before."""
    used: set[str] = set()
    for item in group:
        if item.mnemonic == "load" and dict(item.windows)["dst"].buffer in used:
            return True
        used |= set(item.buffers)
    return False


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
