"""Matrix products and drains, as far as the checkers of accumulators need them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from azsim.codecs import block_bytes, block_num_codes, decode_block
from azsim.errors import CodecError
from azsim.sim.checks._flow import AT_ENTRY, Effect, State, flow
from azsim.sim.checks._subject import Subject
from azsim.sim.checks._windows import Window

__all__ = ["Blocks", "Tile", "drains", "inner_size", "products"]


@dataclass(frozen=True)
class Tile:
    """Accumulators of an instruction.

    Attributes
    ----------
    index : int
    acc : int
        The first one.
    size : int or None
        How many; None where a block that cannot be read says it.
    weight : str
        The tensor as a phrase; empty where no region tells.
    """

    index: int
    acc: int
    size: int | None
    weight: str


def products(subject: Subject) -> Iterator[Tile]:
    """Accumulators that matrix products write, for each choice of their windows."""
    blocks = None
    for index, sources, weights in _operands(subject, "mac_matmul", "src", "src2"):
        op = subject.operation(index)
        for weight in weights:
            for source in sources:
                rows = weight.view.rows
                if weight.view.dtype == "u8":
                    blocks = blocks or Blocks(subject)
                    rows = blocks.rows(index, weight, source.view.cols)
                size = None if rows is None else source.view.rows * rows
                yield Tile(index, op.acc, size, _phrase(weight.region))


def drains(subject: Subject) -> Iterator[Tile]:
    """Accumulators that drains read."""
    for index, targets, _ in _operands(subject, "mac_drain", "dst", "dst"):
        for target in targets:
            op = subject.operation(index)
            yield Tile(index, op.acc, target.view.num_elements, _phrase(target.region))


def _phrase(region: str | None) -> str:
    return f" for '{region}'" if region else ""


def _operands(
    subject: Subject, mnemonic: str, first: str, second: str
) -> Iterator[tuple[int, tuple[Window, ...], tuple[Window, ...]]]:
    for index, operands in subject.windows.items():
        if subject.mnemonic(index) == mnemonic:
            yield index, operands[first], operands[second]


# ------------------------------------------------------------------------------------- blocks


def inner_size(subject: Subject, index: int) -> int:
    """Largest number of products that one accumulator of a matrix product sums up."""
    return max((window.view.cols for window in subject.windows[index]["src"]), default=0)


class Blocks:
    """What lies in weight SRAM at each product: the blocks that were loaded there last."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._reaching: dict[tuple[int, Window], set[int]] = {}
        writers: dict[int, tuple[int, int]] = {}
        readers: dict[int, tuple[Window, ...]] = {}
        self._anywhere: list[tuple[int, int]] = []  # writes of which the place is not known
        for index, operands in subject.windows.items():
            if subject.mnemonic(index) == "mac_matmul":
                readers[index] = tuple(w for w in operands["src2"] if w.view.space == "weight")
            targets = [t for t in operands.get("dst", ()) if t.view.space == "weight"]
            if len(targets) == 1 and targets[0].span_bytes == 0:
                writers[index] = targets[0].extent()
            elif targets:
                unknown = 0, subject.capacity_bytes("weight")
                for target in targets:
                    is_known = target.span_bytes is not None
                    self._anywhere.append(target.extent() if is_known else unknown)
        extents = [*writers.values(), *(w.extent() for found in readers.values() for w in found)]
        ends = sorted({end for extent in extents for end in extent})
        effects = {
            index: [Effect(piece, "set", (0, 0), index) for piece in _pieces(ends, *extent)]
            for index, extent in writers.items()
        }

        def see(index: int, state: State) -> None:
            for window in readers.get(index, ()):
                self._reaching[index, window] = {
                    origin
                    for piece in _pieces(ends, *window.extent())
                    for origin, _ in state.get(piece, {(AT_ENTRY, False): (0, 0)})
                }

        flow(subject.program.instructions, effects, see, readers)

    def _of(self, index: int, weight: Window) -> list[tuple[bytes, bool]] | None:
        """Blocks that may lie in a product's window, and whether the window shows all of each.

        None if something unknown may lie there.
        """
        subject, (start, end) = self._subject, weight.extent()
        if subject.image is None or any(low < end and start < high for low, high in self._anywhere):
            return None
        found = []
        for writer in self._reaching.get((index, weight), ()):
            if writer == AT_ENTRY or subject.mnemonic(writer) != "weight_load":
                return None
            for source in subject.windows[writer]["src"]:
                if source.span_bytes != 0:
                    return None
                low, view = source.view.addr, source.view
                window = subject.image.data[low : low + view.rows * view.cols].tobytes()
                target = subject.windows[writer]["dst"][0]
                found.append((window, target.view == weight.view and weight.span_bytes == 0))
        return found or None

    def rows(self, index: int, weight: Window, columns: int) -> int | None:
        """Rows of the largest block that a product may find; None if one is unknown."""
        blocks = self._of(index, weight)
        try:
            if blocks is None:
                return None
            return max(block_num_codes(window) for window, _ in blocks) // columns
        except CodecError:
            return None

    def row_sums(self, index: int) -> np.ndarray | None:
        """Largest sum of each row's weights in magnitude, over what a product may find.

        Returns
        -------
        ndarray of shape (N,) or (1,), int64, or None
            One number where it is not known which row is which; None where nothing is known of
            DRAM's contents, or where what multiplies is no block.
        """
        inner = inner_size(self._subject, index)
        found: list[np.ndarray] = []
        for weight in self._subject.windows[index]["src2"]:
            blocks = self._of(index, weight) if weight.view.space == "weight" else None
            for window, is_whole in blocks or [(b"", False)]:
                try:
                    codes = decode_block(window[: block_bytes(window)])[0]
                except CodecError:
                    return None
                magnitudes = np.abs(codes.astype(np.int64))
                if is_whole and codes.size and codes.size % inner == 0:
                    found.append(magnitudes.reshape(-1, inner).sum(axis=1))
                else:
                    found.append(np.array([inner * magnitudes.max(initial=0)]))
        if len({len(sums) for sums in found}) > 1:
            return np.array([max(int(sums.max()) for sums in found)])
        return np.maximum.reduce(found) if found else None


def _pieces(ends: Sequence[int], low: int, high: int) -> range:
    return range(bisect_left(ends, low), bisect_left(ends, high))
