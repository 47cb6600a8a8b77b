"""Carried: what every frame needs in activation SRAM, and the least of it that comes and goes.

Constants and state are used in each frame.  Between two frames activation SRAM holds no more of
them than its size: what is beyond has to be loaded again, and if it is state that every frame
computes anew, it had to be stored before.  As with weights, frames are taken one after another.

Nothing here is read from emitted instructions.  Steps that data may leave out count for nothing; so
do biases, which weight SRAM may hold.  A state that is moved, or of which a part stays as it was,
such as a delay line or a ring, is not computed anew: a pointer could move in its place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from azsim.compiler.regions import certain
from azsim.ops.lowering import Access, Copy, Fill, Loop, Lowering, Matmul, Step, Vector
from azsim.ops.steps import ELEMENT_BYTES, reads, writes

__all__ = ["Carried", "carried"]


_MOVES = ("load_gather", "vector_copy", "vector_fill", "vector_gather", "vector_scatter")


@dataclass(frozen=True)
class Carried:
    """Bytes that every frame needs.

    Attributes
    ----------
    constants : int
        Read in every frame.
    kept : int
        State of which a frame may leave a part as it is, such as a ring.
    renewed : int
        State that every frame computes anew.
    kept_states : set of str
        Graph inputs of those of `kept`.
    """

    constants: int
    kept: int
    renewed: int
    kept_states: frozenset[str] = frozenset()

    def frame_bytes(self, room_bytes: int) -> int:
        """The least traffic from one frame to the next, if `room_bytes` may stay on the chip."""
        beyond = max(0, self.constants + self.kept + self.renewed - room_bytes)
        # What only comes is left out first; the rest comes and goes.
        return beyond + max(0, beyond - self.constants - self.kept)


def carried(lowering: Lowering, state: Mapping[str, str]) -> Carried:
    """Find what every frame of a graph needs.

    Parameters
    ----------
    lowering : Lowering
        Steps of one frame.
    state : mapping of str to str
        Carried tensors, graph input to graph output.
    """
    steps = list(_flat(certain(step for _, step in lowering.steps), {}))
    computing = [(step, loops) for step, loops in steps if not isinstance(step, Copy)]
    worked_on = {window.buffer for step, _ in computing for window in reads(step)}
    reading = [
        (step, loops)
        for step, loops in steps
        if not isinstance(step, Copy) or step.dst.buffer in worked_on
    ]
    read = _touched(lowering, reading, reads)
    made = _touched(lowering, [one for one in computing if _computes(one[0])], writes)
    found = {"constants": 0, "kept": 0, "renewed": 0}
    kept: set[str] = set()
    biases = {step.bias.buffer for step, _ in steps if isinstance(step, Matmul) and step.bias}
    for name, buffer in lowering.buffers.items():
        if buffer.constant is not None and buffer.space == "activation" and name not in biases:
            found["constants"] += _num_bytes(lowering, name, read.get(name))
    for source, target in state.items():
        old, new = lowering.views[source], lowering.views[target]
        size = int(np.prod(new.shape, dtype=np.int64))
        result = made.get(new.buffer, np.zeros(0, bool))[new.offset : new.offset + size]
        is_renewed = new.is_contiguous and len(result) == size and result.all()
        kind = "renewed" if is_renewed else "kept"
        kept |= set() if is_renewed else {source}
        found[kind] += _num_bytes(lowering, old.buffer, read.pop(old.buffer, None))
    return Carried(**found, kept_states=frozenset(kept))


def _computes(step: Step) -> bool:
    """Whether all that a step writes is new, and not moved, left as it was or known before."""
    return not isinstance(step, Copy | Fill) and not (
        isinstance(step, Vector) and step.mnemonic in _MOVES
    )


def _num_bytes(lowering: Lowering, buffer: str, is_read: np.ndarray | None) -> int:
    count = 0 if is_read is None else int(np.count_nonzero(is_read))
    return count * ELEMENT_BYTES[lowering.buffers[buffer].dtype]


def _flat(
    steps: Iterable[Step], loops: Mapping[int, int]
) -> Iterator[tuple[Step, Mapping[int, int]]]:
    """Steps with the rounds of the loops around them, by number."""
    for step in steps:
        if isinstance(step, Loop):
            yield from _flat(step.body, {**loops, step.number: step.count})
        else:
            yield step, loops


def _touched(
    lowering: Lowering,
    steps: Sequence[tuple[Step, Mapping[int, int]]],
    windows: Callable[[Step], Iterable[Access]],
) -> dict[str, np.ndarray]:
    """Which elements of each buffer the windows of steps show, in all rounds."""
    found: dict[str, np.ndarray] = {}
    for step, loops in steps:
        for window in windows(step):
            buffer = lowering.buffers[window.buffer]
            shown = found.setdefault(window.buffer, np.zeros(buffer.num_elements, bool))
            moves = [(loops[loop], by) for loop, by in window.advance.items() if loop in loops]
            moves += [(window.rows, window.row_stride), (window.cols, window.col_stride)]
            counts, strides = zip(*moves, strict=True)
            np.lib.stride_tricks.as_strided(shown[window.offset :], counts, strides)[...] = True
    return found
