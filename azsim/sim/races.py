"""Race check: are conflicting accesses ordered by waits, whatever the speed of the engines.

The compiler's waits are derived from the program; this module looks at them from the other end.
It walks an execution's trace with a vector clock for each instruction: how many instructions of
each engine it knows to be complete when it starts.  It knows what its wait fields name, what
those instructions knew, its engine's previous instruction and what that one knew, and everything
ahead of the last fence.  The order of dispatch and the depth of queues prove nothing.

For each byte the last reader and the last writer of each engine are kept.  An engine's
instructions complete in order, so an access is ordered after all conflicting ones of another
engine if it is ordered after the last.  Bytes are those that a view really shows, row by row,
not the stretch from its first to its last.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np

from azsim.isa.program import Instruction, Program
from azsim.isa.spec import instruction_set
from azsim.machine.engines.clock import ENGINES
from azsim.machine.operation import Operation
from azsim.machine.trace import Trace
from azsim.machine.view import View

__all__ = ["check_races"]

_Bytes = slice | np.ndarray


def check_races(program: Program, trace: Trace) -> list[str]:
    """Find conflicting accesses of different engines that no wait orders.

    Parameters
    ----------
    program : Program
    trace : Trace
        Of an execution of this program.

    Returns
    -------
    list of str
        A sentence for each pair of instructions, in the order in which the second one of a pair
        was met; empty for a program without races.
    """
    walk = _Walk(program)
    for number, payload in zip(trace.sequence, trace.payload, strict=True):
        walk.step(trace.sites[number].index, trace.sites[number].engine, int(payload))
    return walk.sentences


class _Walk:
    """State of the walk: views, clocks, and who touched which byte last."""

    def __init__(self, program: Program) -> None:
        self.sentences: list[str] = []
        self._program = program
        self._views: dict[int, View] = {}
        self._regions: dict[int, str | None] = {}
        self._clocks: list[list[list[int]]] = [[] for _ in ENGINES]
        self._index_of: list[list[int]] = [[] for _ in ENGINES]
        self._fenced = [0] * len(ENGINES)
        self._last: dict[tuple[str, int, bool], np.ndarray] = {}
        self._found: set[tuple[int, int]] = set()

    def step(self, index: int, engine: str, payload: int) -> None:
        """Execute one instruction as far as order and addresses go."""
        instruction = self._program.instructions[index]
        number = int(instruction.operands.get("view", 0))
        if engine in ENGINES:
            self._engine_step(index, instruction, ENGINES.index(engine))
            return
        match instruction.mnemonic:
            case "fence":
                self._fenced = [len(clocks) for clocks in self._clocks]
            case "scalar_read" | "scalar_write":
                # The sequencer holds, so whatever it issues later knows what it has waited for.
                self._fenced = self._known(instruction)
                for view, writes in _accesses(instruction):
                    self._check(index, view, writes, None, self._fenced)
            case "view":
                window = Operation(index, "view", instruction.operands).window
                assert window is not None
                self._views[number] = window
                self._regions[number] = self._program.region_of_view.get(index)
            case "view_step":
                step_bytes = int(instruction.operands.get("step", 0))
                self._views[number] = self._views[number].stepped(step_bytes)
            case "view_at":
                self._views[number] = self._views[number]._replace(addr=payload)

    def _engine_step(self, index: int, instruction: Instruction, engine: int) -> None:
        known = self._known(instruction, engine)
        accesses = list(_accesses(instruction))
        for number, writes in accesses:
            self._check(index, number, writes, engine, known)
        self._clocks[engine].append(known)
        self._index_of[engine].append(index)
        for number, writes in accesses:
            view = self._views[number]
            self._marks(view, engine, writes)[_touched(view)] = len(self._clocks[engine])

    def _known(self, instruction: Instruction, engine: int | None = None) -> list[int]:
        """How many instructions of each engine are known to be complete at the start."""
        known = list(self._fenced)

        def learn(other: int, count: int) -> None:
            if count > 0:
                for number, more in enumerate(self._clocks[other][count - 1]):
                    known[number] = max(known[number], more)
                known[other] = max(known[other], count)

        if engine is not None:
            learn(engine, len(self._clocks[engine]))
        for other, name in enumerate(ENGINES):
            wait = int(instruction.operands.get(f"wait_{name}", 0))
            if wait:
                learn(other, len(self._clocks[other]) - wait + 1)
        return known

    def _marks(self, view: View, engine: int, writes: bool) -> np.ndarray:
        """Number of the engine's last access (from 1) to each byte of a view's memory."""
        key = (view.space, engine, writes)
        _, high = view.extent()
        marks = self._last.get(key)
        if marks is None or len(marks) < high:
            grown = np.zeros(high + high // 2, np.int32)
            if marks is not None:
                grown[: len(marks)] = marks
            marks = self._last[key] = grown
        return marks

    def _check(
        self, index: int, number: int, writes: bool, engine: int | None, known: list[int]
    ) -> None:
        view = self._views[number]
        touched = _touched(view)
        for other in range(len(ENGINES)):
            if other == engine:
                continue
            for other_writes in (True, False):
                if (writes or other_writes) and (view.space, other, other_writes) in self._last:
                    marks = self._marks(view, other, other_writes)[touched]
                    if marks.max() > known[other]:
                        for count in np.unique(marks[marks > known[other]]):
                            earlier = self._index_of[other][count - 1]
                            self._report(index, number, writes, earlier, other_writes)

    def _report(
        self, index: int, number: int, writes: bool, earlier: int, other_writes: bool
    ) -> None:
        if (index, earlier) in self._found:
            return
        self._found.add((index, earlier))
        view = self._views[number]
        low, high = view.extent()
        region = self._regions[number]
        self.sentences.append(
            f"{self._name(index)} {'writes' if writes else 'reads'} {view.space} bytes "
            f"[{low:#x}, {high:#x}){f' of region {region!r}' if region else ''} that "
            f"{self._name(earlier)} {'writes' if other_writes else 'reads'}, "
            "and no wait orders the two"
        )

    def _name(self, index: int) -> str:
        program = self._program
        layer = program.layer_of[index] if program.layer_of else -1
        of_layer = f", layer '{program.layers[layer]}'" if layer >= 0 else ""
        return f"instruction {index} ({program.instructions[index].mnemonic}{of_layer})"


def _accesses(instruction: Instruction) -> Iterator[tuple[int, bool]]:
    """View registers that an engine instruction uses, and whether it writes them."""
    operands = instruction.operands
    computes_scale = instruction.mnemonic == "vector_quantize" and not operands.get("static")
    views, written = _views(instruction.mnemonic)
    for name, flag in views:
        number = int(operands.get(name, 0))
        if flag and not operands.get(flag):
            continue
        if name in written:
            if name == "dst" and operands.get("accumulate"):
                yield number, False
            yield number, True
        elif name == "scale" and computes_scale:
            yield number, True
        else:
            yield number, False


@functools.cache
def _views(mnemonic: str) -> tuple[tuple[tuple[str, str | None], ...], tuple[str, ...]]:
    """Operands that are views, each with its flag, those that are read first; and the written."""
    spec = instruction_set().instructions[mnemonic]
    views = [(name, field.when) for name, field in spec.operands.items() if field.unit == "view"]
    return tuple(sorted(views, key=lambda view: view[0] in spec.writes)), spec.writes


def _touched(view: View) -> _Bytes:
    """Bytes that a view shows."""
    shape = (view.rows, view.cols, view.row_stride, view.col_stride, view.element_bits)
    offsets = _offsets(*shape)
    if isinstance(offsets, slice):
        return slice(view.addr + offsets.start, view.addr + offsets.stop)
    return offsets + view.addr


@functools.lru_cache(maxsize=4096)
def _offsets(rows: int, cols: int, row_stride: int, col_stride: int, bits: int) -> _Bytes:
    """Bytes of a view relative to its address; a slice where they follow one another."""
    row_bytes = -(-cols * bits // 8)
    pitch = row_stride * bits // 8
    if (cols == 1 or col_stride == 1) and (rows == 1 or pitch == row_bytes):
        return slice(0, rows * row_bytes)
    down = np.arange(rows, dtype=np.int64) * pitch
    if bits < 8 or col_stride == 1:
        across = np.arange(row_bytes, dtype=np.int64)
    else:
        size = bits // 8
        elements = np.arange(cols, dtype=np.int64) * (col_stride * size)
        across = (elements[:, None] + np.arange(size)).reshape(-1)
    return np.unique(down[:, None] + across)
