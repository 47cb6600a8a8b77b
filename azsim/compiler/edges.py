"""Edges of the program: what surrounds the graph's steps, in front of them and behind.

At the start what stays is loaded; in each frame inputs are loaded and outputs stored, and results
become the next frame's state, or the initial state does, where an utterance ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from azsim.compiler.parameters import PARAMETERS, Parameters
from azsim.compiler.schedule import (
    DATA_SCALAR,
    FRAME_LOOP,
    Item,
    Repeat,
    Storage,
    contiguous,
)
from azsim.compiler.storages import Storages, c_strides
from azsim.compiler.tile import Plan
from azsim.isa.program import WAKE
from azsim.ops.lowering import Access, Copy, Leave, Lowering, Step, TensorView, rows_of
from azsim.ops.steps import ELEMENT_BYTES, MAX_EXTENT

__all__ = ["INPUT", "OUTPUT", "STARTUP", "STATE", "Edges"]

STARTUP, INPUT, OUTPUT, STATE = "(startup)", "(input)", "(output)", "(state)"


@dataclass
class Edges:
    """Makes the items that surround those of the steps.

    Attributes
    ----------
    lowering, plan, parameters
        From the passes before.
    storages : Storages
        Gets what the items need besides.
    items_of : callable
        Items of a step, for a layer.
    loop_numbers : iterator of int
        Numbers that no loop has so far.
    """

    lowering: Lowering
    plan: Plan
    parameters: Parameters
    storages: Storages
    items_of: Callable[[Step, str], list[Item | Repeat]]
    loop_numbers: Iterator[int]

    def startup(self, state: Mapping[str, str], frames: int) -> list[Item | Repeat]:
        """Load what stays: parameters, constants, initial state, pinned tiles."""
        items: list[Item | Repeat] = []
        if self.parameters.values.size:
            window = contiguous(PARAMETERS, self.parameters.values.size)
            source = replace(window, buffer=f"{PARAMETERS}#dram")
            items.append(Item("load", STARTUP, {"dst": window, "src": source}))
        for buffer in self.lowering.buffers.values():
            is_loaded = buffer.constant is not None and buffer.space == "activation"
            if is_loaded and buffer.name not in self.storages.bias_buffers:
                self.storages.round_up(buffer.name, buffer.num_elements)
                window = contiguous(buffer.name, buffer.num_elements)
                source = self.storages.add_dram(
                    buffer.name,
                    buffer.dtype,
                    window.rows * window.cols * ELEMENT_BYTES[buffer.dtype],
                )
                operands = {"dst": window, "src": replace(window, buffer=source)}
                items.append(Item("load", STARTUP, operands))
        for name in state:
            items.append(self.port_load(name, STARTUP, {}, 1, paced=False))
        pinned = [tile for tile in self.storages.tiles() if tile.name in self.plan.pinned]
        weights = [self.storages.load_tile(tile, STARTUP) for tile in pinned]
        if items and weights and frames > 1:  # a single frame's work is put in order as a whole
            # Two channels that take turns open each other's rows anew for every burst.
            weights[0] = replace(weights[0], operands={**weights[0].operands, "wait_load": 1})
        items += weights
        return items

    def wake(
        self, state: Mapping[str, str], frames: int, utterances: int
    ) -> tuple[Item, Item | Repeat]:
        """Load the initial state once more behind the last frame of an utterance.

        A word of the input `WAKE` comes with each frame and says whether it is such a one.  Gives
        the load of that word, and what comes at the end of the frame.
        """
        self.storages.by_name[WAKE] = Storage(WAKE, "activation", "i32", ELEMENT_BYTES["i32"])
        source = self.storages.add_dram(
            WAKE, "i32", frames * ELEMENT_BYTES["i32"], named=f"input {WAKE}"
        )
        word = contiguous(WAKE, 1)
        flag = {"dst": word, "src": contiguous(source, 1, {FRAME_LOOP: 1})}
        leave = Leave(word, 0, stays=utterances / frames)
        asked = Item("scalar_read", WAKE, {"src": word, "to": DATA_SCALAR}, leave=leave)
        loads = [self.port_load(name, WAKE, {}, 1, paced=False) for name in state]
        around, inside = next(self.loop_numbers), next(self.loop_numbers)
        woken = Repeat(inside, 1, (asked, *loads), 1.0)
        # Around it a region in which both ways end with one fence, as those of operators have.
        return Item("load", INPUT, flag), Repeat(around, 1, (woken,))

    def port_load(
        self, tensor: str, layer: str, advance: Mapping[int, int], frames: int, *, paced: bool
    ) -> Item:
        """Item that loads an input, or the initial state, from where the program finds it."""
        view = self.lowering.views[tensor]
        size = int(np.prod(view.shape, dtype=np.int64))
        if view.offset == 0:
            self.storages.round_up(view.buffer, size)
        window = replace(contiguous(view.buffer, size), offset=view.offset)
        dtype = self.storages.by_name[view.buffer].dtype
        num_bytes = max(frames * size, window.rows * window.cols) * ELEMENT_BYTES[dtype]
        source = self.storages.add_dram(tensor, dtype, num_bytes, named=f"input {tensor}")
        operands = {
            "dst": window,
            "src": replace(window, buffer=source, offset=0, advance=advance),
            "paced": int(paced),
        }
        return Item("load", layer, operands)

    def port_store(
        self, tensor: str, source: TensorView, layer: str, advance: Mapping[int, int], frames: int
    ) -> list[Item | Repeat]:
        """Items that store a tensor; through a contiguous copy if it is strided."""
        size = int(np.prod(source.shape, dtype=np.int64))
        dtype = self.storages.by_name[source.buffer].dtype
        items: list[Item | Repeat] = []
        window = rows_of(source)
        if window is None or (window.col_stride != 1 and window.cols > 1):
            target = self.storages.add_packed(f"{tensor}#packed", source.shape, dtype)
            items += self._copy(target, source, layer)
            window = rows_of(target)
            assert window is not None
        num_bytes = max(1, frames * size) * ELEMENT_BYTES[dtype]
        target = self.storages.add_dram(tensor, dtype, num_bytes, named=f"output {tensor}")
        is_dense = window.rows == 1 or window.row_stride == window.cols
        if is_dense and max(window.shape) > MAX_EXTENT:
            for first, rows, cols in _whole_rows(size):
                inside = Access(window.buffer, window.offset + first, rows, cols, cols, 1)
                outside = replace(inside, buffer=target, offset=first, advance=advance)
                items.append(Item("store", layer, {"dst": outside, "src": inside}))
            return items
        destination = replace(
            window, buffer=target, offset=0, row_stride=window.cols, col_stride=1, advance=advance
        )
        return [*items, Item("store", layer, {"dst": destination, "src": window})]

    def carry(self, state: Mapping[str, str]) -> Iterator[tuple[set[str], list[Item | Repeat]]]:
        """Items that make this frame's results the next frame's state.

        A result may be a window of the old state (a delay line): it is put aside first.

        Yields
        ------
        set of str
            Buffers behind whose last use the items may stand; none for those behind the frame.
        list of Item or Repeat
        """
        views = self.lowering.views
        pairs = [(views[source], views[target]) for source, target in state.items()]
        carried = {old.buffer for old, _ in pairs}
        kept = [(old, new) for old, new in pairs if not _stays(old, new)]
        put_aside: dict[str, TensorView] = {}
        for old, new in kept:
            if new.buffer in carried:
                name, dtype = f"{new.buffer}#aside", self.storages.by_name[new.buffer].dtype
                place = put_aside[old.buffer] = self.storages.add_packed(name, new.shape, dtype)
                yield set(), self._copy(place, new, STATE)
        windows = {new.buffer for _, new in kept}
        for old, new in kept:
            place = TensorView(old.buffer, old.offset, new.shape, c_strides(new.shape))
            is_early = new.buffer not in carried and old.buffer not in windows
            source = put_aside.get(old.buffer, new)
            yield {old.buffer, new.buffer} if is_early else set(), self._copy(place, source, STATE)

    def _copy(self, target: TensorView, source: TensorView, layer: str) -> list[Item | Repeat]:
        before = len(self.lowering.steps)
        self.lowering.elementwise(Copy, target, source)
        steps = [step for _, step in self.lowering.steps[before:]]
        del self.lowering.steps[before:]
        return [item for step in steps for item in self.items_of(step, layer)]


def _stays(old: TensorView, new: TensorView) -> bool:
    """Whether a result is where the next frame looks for it."""
    is_there = (old.buffer, old.offset) == (new.buffer, new.offset)
    return is_there and (new.is_contiguous or old == new)


def _whole_rows(size: int) -> Iterator[tuple[int, int, int]]:
    """First element, rows and columns of windows that show neighbours, as long as they may be."""
    rows, left = divmod(size, MAX_EXTENT)
    if rows:
        yield 0, rows, MAX_EXTENT
    if left:
        yield rows * MAX_EXTENT, 1, left
