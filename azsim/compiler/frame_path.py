"""Least cycles of a frame with one of each engine, in whatever order its work is done.

What a step can have done at the earliest follows from three rules:

- A step begins with the first of what it reads, a product with the first code that is no padding:
  that padding is multiplied by itself before, with a piece of the sum for it, is left out.  A
  dynamic scale is known when all that it serves is there, be it a row or all of them.
- Its last result comes no sooner than the last of what it reads has gone through.
- An engine does one thing at a time.  If a step needs all of the work of others, and one engine
  does that from some cycle on, then their cycles add up, and after the last of them comes at least
  the shortest way from any of them to the step.  For a whole frame, the dynamic scales of which
  each needs the one before are work, too: only others can be found along with one of them.

Which elements a step needs is followed through every buffer, element by element.  Of another step
it needs all of the work only if it needs all of the elements, directly or by others: of a product's
outputs those that are read last may be computed last.

It is what a compiler can be held to.  A step costs as much as one instruction that does it.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from azsim.compiler.critical_path import (
    MAX_CHAIN_STEPS,
    flat_steps,
    group_cycles,
    least_cycles,
    placed,
    transfer_cycles,
    unrolled,
)
from azsim.compiler.one_engine import least_end
from azsim.compiler.regions import Decision, executed_steps
from azsim.compiler.step_cycles import (
    may_be_transfer,
    product_cycles,
    scale_cycles,
    vector_cycles,
)
from azsim.compiler.windows import elements
from azsim.hardware.description import Hardware
from azsim.ops.lowering import (
    Access,
    Binary,
    Copy,
    Fill,
    Leave,
    Loop,
    Lowering,
    Matmul,
    Product,
    Quantize,
    Step,
    Unary,
    Vector,
    chip_dtype,
)
from azsim.ops.steps import ELEMENT_BYTES, reads, writes

__all__ = ["frame_path"]

_ENGINES = {"mac": 1, "vector": 2}
"""Engines that do one thing at a time; what comes from elsewhere is 0."""
_MOST_WAYS = 2_000
"""Nodes that are known beyond a dynamic scale; of more, only when the scale can be known."""


class _Ways(NamedTuple):
    """Nodes by number, each once, and cycles from each of them."""

    numbers: np.ndarray
    cycles: np.ndarray

    def further(self, cycles: float) -> _Ways:
        """The same from somewhere behind."""
        return _Ways(self.numbers, self.cycles + cycles)


_NO_WAYS = _Ways(np.zeros(0, np.int64), np.zeros(0))


@dataclass(frozen=True)
class _Node:
    """What a step can have done at the earliest, and what that takes.

    Attributes
    ----------
    engine : str or None
        None for what comes from outside.
    begin, first, last : float
        Cycle in which it begins, in which its first result is there, and all of them.
    work : float
        Of its engine.
    num_elements : int
        That it writes.
    by_element : float
        Cycles that each element takes at least, groups of lanes being full; 0 if unknown.
    at_once : int
        Elements that may be there with the first one; at least those of a group of lanes may.
    is_padding : bool
        Whether it writes a number that is known before the frame.
    needs : _Ways
        Other nodes of which it needs all, and the shortest way from any of their results to one of
        its own.
    parts : dict of int to (ndarray of bool, float)
        Products of which it needs some elements, by their place in the buffer, and likewise.
    final : ndarray of int64 or None
        Results, by their place in the buffer, all of which are there only when the step is over.
    some_scales, all_scales : tuple of int
        Quantizations with dynamic scales, each of which needs the one before.  Some result of the
        step needs the last of the first ones, every result that of the second ones.
    """

    engine: str | None
    begin: float
    first: float
    last: float
    work: float = 0.0
    num_elements: int = 0
    by_element: float = 0.0
    at_once: int = 0
    is_padding: bool = False
    needs: _Ways = field(default_factory=lambda: _NO_WAYS)
    parts: Mapping[int, tuple[np.ndarray, float]] = field(default_factory=dict)
    final: np.ndarray | None = None
    some_scales: tuple[int, ...] = ()
    all_scales: tuple[int, ...] = ()


@dataclass
class _Needed:
    """What a step needs, up to what it reads."""

    found: list[_Ways] = field(default_factory=list)
    parts: dict[int, tuple[np.ndarray, float]] = field(default_factory=dict)
    some_scales: tuple[int, ...] = ()
    all_scales: tuple[int, ...] = ()

    def all_of(self, number: int, node: _Node, way: float = 0.0) -> None:
        """Add a node, and what that needs."""
        self.found += [_Ways(np.array([number]), np.array([way])), node.needs.further(way)]
        for other, (mask, further) in node.parts.items():
            self.some_of(other, mask, way + further)

    def ways(self) -> _Ways:
        """Every node of which it needs all, by the shortest way."""
        if len(self.found) > 1:
            numbers, cycles = map(np.concatenate, zip(*self.found, strict=True))
            order = np.lexsort((cycles, numbers))
            numbers, first = np.unique(numbers[order], return_index=True)
            self.found = [_Ways(numbers, cycles[order][first])]
        return self.found[0] if self.found else _NO_WAYS

    def scales_of(self, written: Sequence[tuple[int, ...]]) -> None:
        """Add scales that every element of a window needs, from those of its writers."""
        common = functools.reduce(_common, written)
        self.all_scales = max(self.all_scales, common, key=len)
        self.some_scales = max(self.some_scales, *written, key=len)

    def some_of(self, number: int, mask: np.ndarray, way: float = 0.0) -> None:
        """Add some elements of a product."""
        known, shortest = self.parts.get(number, (False, math.inf))
        self.parts[number] = mask | known, min(way, shortest)


class _Frame:
    """One frame with one of each engine.

    Parameters
    ----------
    lowering : Lowering
    hardware : Hardware
    array_cycles : callable
        ``array_cycles(step)``: the array's own time for a product, without its drain.
    states : set of str
        Buffers of carried states.
    """

    def __init__(
        self,
        lowering: Lowering,
        hardware: Hardware,
        array_cycles: Callable[[Matmul | Product], float],
        states: Set[str] = frozenset(),
    ) -> None:
        self._lowering = lowering
        self._hardware = hardware
        self._array_cycles = array_cycles
        self._states = states
        self._nodes: list[_Node] = []
        self._begin = np.zeros(64)  # of nodes, and more room
        self._work = np.zeros(64)
        self._engine = np.zeros(64, np.int8)
        self.decided = 0.0
        """Cycle in which the last word is there that a `Leave` read."""
        self._writers: dict[str, np.ndarray] = {}
        """By buffer, the node that wrote each element; -1 for none."""

    def write(self, access: Access, node: _Node) -> None:
        """Something is written."""
        self._append(node)
        _shown(self._writers_of(access.buffer), access)[...] = len(self._nodes) - 1

    def run(self, steps: Iterable[Step]) -> None:
        """Take steps in order."""
        for step in steps:
            begin, ready, needed = self._read(list(reads(step)))
            ready = max(ready, self._after(needed.ways()))
            if isinstance(step, Leave):
                self.decided = max(self.decided, ready)
                continue
            node = self._node(step, begin, ready, needed)
            main, *others = sorted(writes(step), key=lambda access: -access.rows * access.cols)
            self.write(main, replace(node, num_elements=main.rows * main.cols))
            for access in others:  # a scale is known before the codes
                beside = _Node(node.engine, node.begin, node.begin, node.begin)
                beside = replace(beside, all_scales=node.all_scales, some_scales=node.some_scales)
                self.write(access, replace(beside, num_elements=access.rows * access.cols))

    def known(self, accesses: Iterable[Access]) -> float:
        """When windows are complete, whatever else is still to be done."""
        _, ready, needed = self._read(list(accesses))
        return max(ready, self._after(needed.ways()))

    def end(self, accesses: Iterable[Access]) -> float:
        """When windows are complete and engines have done all that began.

        Dynamic scales of which each needs the one before are found one after another.
        """
        every = _Ways(np.arange(len(self._nodes)), np.zeros(len(self._nodes)))
        scales = max((node.some_scales for node in self._nodes), key=len, default=())
        return max(self.known(accesses), self._after(every, scales))

    def _append(self, node: _Node) -> None:
        number = len(self._nodes)
        self._nodes.append(node)
        if number == len(self._begin):
            self._begin, self._work, self._engine = (
                np.append(old, np.zeros_like(old))
                for old in (self._begin, self._work, self._engine)
            )
        self._begin[number], self._work[number] = node.begin, node.work
        self._engine[number] = _ENGINES.get(node.engine or "", 0)

    def _writers_of(self, buffer: str) -> np.ndarray:
        if buffer not in self._writers:
            size = self._lowering.buffers[buffer].num_elements
            self._writers[buffer] = np.full(size, -1, np.int32)
        return self._writers[buffer]

    def _read(self, accesses: Sequence[Access]) -> tuple[float, float, _Needed]:
        """When the first of windows is there, and all of it, and what that needs."""
        begin = ready = 0.0
        needed = _Needed()
        for access in accesses:
            writers = self._writers_of(access.buffer)
            mask = np.zeros(writers.size, bool)  # rows of a window may have elements in common
            _shown(mask, access)[...] = True
            numbers, counts = np.unique(writers[mask], return_counts=True)
            known = list(zip(numbers.tolist(), counts.tolist(), strict=True))
            needed.scales_of([self._nodes[n].all_scales if n >= 0 else () for n, _ in known])
            firsts = [self._nodes[number].first if number >= 0 else 0.0 for number, _ in known]
            begin = max(begin, min(firsts))
            for number, count in known:
                if number < 0:
                    continue
                node = self._nodes[number]
                is_final = node.final is not None and bool(
                    (mask[node.final] & (writers[node.final] == number)).all()
                )
                if count == node.num_elements or is_final:
                    needed.some_scales = max(needed.some_scales, node.some_scales, key=len)
                    ready = max(ready, node.last)
                    needed.all_of(number, node)
                    continue
                at_once = max(self._hardware.vector.lanes, node.at_once)
                further = (count - at_once) * node.by_element
                ready = max(ready, node.first + max(0.0, further))
                if node.engine in _ENGINES:
                    needed.some_of(number, mask & (writers == number))
        while whole := [
            number
            for number, (mask, _) in needed.parts.items()
            if np.count_nonzero(mask) == self._nodes[number].num_elements
        ]:
            last = max(whole)  # which may need more of the others
            _, way = needed.parts.pop(last)
            needed.all_of(last, self._nodes[last], way)
        return begin, ready, needed

    def _after(self, ways: _Ways, scales: Sequence[int] = ()) -> float:
        """When engines have done all work of nodes, and the shortest ways from them are gone.

        Work of some quantizations includes the search for the scale, before it.
        """
        found = 0.0
        begins, engines = self._begin[ways.numbers], self._engine[ways.numbers]
        search = np.isin(ways.numbers, scales) * (self._hardware.vector.pipeline_cycles + 1)
        begins, works = begins - search, self._work[ways.numbers] + search
        for engine in _ENGINES.values():
            of_engine = np.flatnonzero(engines == engine)
            if not len(of_engine):
                continue
            mine = begins[of_engine], works[of_engine], ways.cycles[of_engine]
            found = max(found, least_end(*mine))
        return found

    def _node(self, step: Step, begin: float, ready: float, needed: _Needed) -> _Node:
        """Node of a step."""
        if may_be_transfer(step, self._lowering, self._states):
            beside = _Node(None, begin, begin, ready, needs=needed.ways(), parts=needed.parts)
            return replace(beside, some_scales=needed.some_scales)
        vector, mac = self._hardware.vector, self._hardware.mac
        by_element, some_scales = 0.0, needed.some_scales
        search = float(scale_cycles(step, self._hardware))
        all_scales = needed.all_scales if _reads_for_each(step) else ()
        if isinstance(step, Vector) and step.mnemonic == "load_gather":
            once = transfer_cycles(self._hardware)
            dram, size = self._hardware.dram, step.dst.rows * step.dst.cols
            size *= ELEMENT_BYTES[self._lowering.buffers[step.dst.buffer].dtype]
            rest = max(0, size - dram.burst_bytes) / dram.bytes_per_s * self._hardware.clock_hz
            return _Node("load", ready, ready + once, ready + once + rest)
        if isinstance(step, Matmul | Product):
            begin = max(begin, self._first_code(step.codes))
            work = product_cycles(step, self._array_cycles(step), self._hardware)
            least = least_cycles(step, self._lowering.compressed, self._hardware)
            through, first = 2.0 * mac.pipeline_cycles + 2, begin + least
            engine = "mac"
            if step.dst.rows == 1:  # each output needs all codes
                _, _, codes = self._read([step.codes])
                all_scales = max(all_scales, codes.some_scales, key=len)
        else:
            assert not isinstance(step, Loop)
            engine = "vector"
            each = group_cycles(step, self._hardware)
            work = float(vector_cycles(step, self._lowering, self._hardware))
            through = float(vector.pipeline_cycles + each)
            if isinstance(step, Unary | Binary | Copy | Fill | Quantize) or _is_multiply_add(step):
                by_element = each / vector.lanes
            if isinstance(step, Quantize) and not step.static:
                if step.scale.rows == 1:  # all share it, the last to come too
                    begin = ready
                    if len(needed.ways().numbers) > _MOST_WAYS:
                        needed = _Needed()  # all that is behind is in its begin
                    all_scales = some_scales
                else:  # some row has to be there
                    begin = max(begin, min(self._read([row])[1] for row in _rows(step.src)))
                number = len(self._nodes)
                some_scales, all_scales = (*some_scales, number), (*all_scales, number)
                begin += search
                ready += search
            first = begin + through
        own = _Node(engine, begin, first, max(ready + through, begin + work), work)
        needs = needed.ways().further(search + through)
        parts = {
            other: (mask, way + search + through) for other, (mask, way) in needed.parts.items()
        }
        number = len(self._nodes)
        self._append(own)
        with_own = _Ways(np.append(needs.numbers, number), np.append(needs.cycles, 0.0))
        last = max(own.last, self._after(with_own))
        self._nodes.pop()
        return replace(
            own,
            last=last,
            by_element=by_element,
            is_padding=isinstance(step, Fill),
            needs=needs,
            parts=parts,
            final=_final(step),
            some_scales=some_scales,
            all_scales=all_scales,
        )

    def _first_code(self, access: Access) -> float:
        """When the first code that is no padding is there."""
        numbers = np.unique(_shown(self._writers_of(access.buffer), access)).tolist()
        nodes = [self._nodes[number] for number in numbers if number >= 0]
        return min((node.first for node in nodes if not node.is_padding), default=0.0)


def _common(one: tuple[int, ...], other: tuple[int, ...]) -> tuple[int, ...]:
    """What both begin with."""
    pairs = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))
    return tuple(first for first, _ in pairs)


def _reads_for_each(step: Step) -> bool:
    """Whether each result of a step needs something of each window that the step reads."""
    if isinstance(step, Vector):
        return step.mnemonic in (
            *("vector_gather", "vector_multiply_add", "vector_norm", "vector_softmax"),
        )
    return isinstance(step, Binary | Copy | Matmul | Product | Quantize | Unary)


def _is_multiply_add(step: Step) -> bool:
    return isinstance(step, Vector) and step.mnemonic == "vector_multiply_add"


def _rows(window: Access) -> Iterator[Access]:
    for row in range(window.rows):
        yield replace(window, offset=window.offset + row * window.row_stride, rows=1)


def _final(step: Step) -> np.ndarray | None:
    """Where the last row of a sum down the rows stands, which needs all rows before."""
    if not isinstance(step, Vector) or step.mnemonic != "vector_cumulative_sum":
        return None
    window = step.operands["dst"]
    return elements(window)[-1] if isinstance(window, Access) else None


def _shown(array: np.ndarray, access: Access) -> np.ndarray:
    """What a window shows of an array with an entry for each element of its buffer."""
    size = array.itemsize
    strides = (size * access.row_stride, size * access.col_stride)
    return np.ndarray(access.shape, array.dtype, array, size * access.offset, strides)


def frame_path(
    lowering: Lowering,
    hardware: Hardware,
    state: Mapping[str, str],
    array_cycles: Callable[[Matmul | Product], float],
    decided: Sequence[Decision] | None = None,
) -> int:
    """Least cycles of a frame from its arrival to its last result, whatever the order of its work.

    Weights and state are there.  Of what data decides, the work that ran counts, and without
    decisions what surely runs.  0 above 200,000 steps.

    Parameters
    ----------
    lowering : Lowering
    hardware : Hardware
    state : mapping of str to str
        Carried tensors, graph input to graph output.
    array_cycles : callable
        The array's own time for a product.
    decided : sequence of Decision, optional
        Of the frame.
    """
    steps = [step for _, step in lowering.steps]
    if sum(times for _, times in flat_steps(steps, 1)) > MAX_CHAIN_STEPS:
        return 0
    graph = lowering.compressed.graph
    states = {lowering.views[name].buffer for name in state if name in lowering.views}
    frame = _Frame(lowering, hardware, array_cycles, states)
    for access, node in _arriving(lowering, hardware, state):
        frame.write(access, node)
    if decided is None:
        frame.run(unrolled(steps, {}))
    else:
        frame.run(placed(step, rounds) for step, rounds in executed_steps(steps, decided))
    results = [name for name in graph.outputs if name not in state.values()]
    # Of what no result needs, some may be done while they are stored.
    stored = frame.known([_whole(lowering, name) for name in results])
    carried = frame.end([_whole(lowering, name) for name in state.values()])
    once = transfer_cycles(hardware)
    return math.floor(max(stored + once if results else 0.0, carried, frame.decided))


def _arriving(
    lowering: Lowering, hardware: Hardware, state: Mapping[str, str]
) -> Iterator[tuple[Access, _Node]]:
    """Inputs of a frame, and when they are there."""
    graph, dram = lowering.compressed.graph, hardware.dram
    inputs = [name for name in graph.inputs if name not in state and name in lowering.views]
    sizes = {
        name: kind.num_elements * ELEMENT_BYTES[chip_dtype(kind.dtype)]
        for name, kind in graph.inputs.items()
        if name in inputs
    }
    once = transfer_cycles(hardware)
    rest = max(0, sum(sizes.values()) - dram.burst_bytes) / dram.bytes_per_s * hardware.clock_hz
    # Frames lie one after another: of the rows that hold one, only the first was touched before.
    rows = -(-sum(sizes.values()) // dram.row_bytes)
    rest += max(0, rows - 1) * math.floor(dram.row_miss_ns * 1e-9 * hardware.clock_hz)
    for name in inputs:
        # Alone, an input could come first; the last one to come ends the transfer of all.
        own = max(0, sizes[name] - dram.burst_bytes) / dram.bytes_per_s * hardware.clock_hz
        last = once + (rest if len(inputs) == 1 else own)
        access = _whole(lowering, name)
        size = ELEMENT_BYTES[chip_dtype(graph.inputs[name].dtype)]
        yield (
            access,
            _Node(
                None,
                0.0,
                once,
                last,
                num_elements=access.rows * access.cols,
                by_element=size * hardware.clock_hz / dram.bytes_per_s,
                at_once=dram.burst_bytes // size,
            ),
        )


def _whole(lowering: Lowering, name: str) -> Access:
    """Window from a tensor's first element to its last."""
    view = lowering.views[name]
    spans = [(length - 1) * step for length, step in zip(view.shape, view.strides, strict=True)]
    low = sum(span for span in spans if span < 0)
    size = 1 + sum(abs(span) for span in spans)
    return Access(view.buffer, view.offset + low, 1, size, 0, 1)
