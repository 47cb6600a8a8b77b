"""Matrix products and drains, as far as the checkers of accumulators need them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from azsim.codecs import block_bytes, block_num_codes, decode_block
from azsim.errors import CodecError
from azsim.sim.checks._flow import AT_ENTRY, Effect, State, flow
from azsim.sim.checks._subject import Subject, Window

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

    def _of(self, index: int, weight: Window) -> list[bytes] | None:
        """Blocks that may lie in a product's window; None if something unknown may."""
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
                found.append(subject.image.data[low : low + view.rows * view.cols].tobytes())
        return found or None

    def rows(self, index: int, weight: Window, columns: int) -> int | None:
        """Rows of the largest block that a product may find; None if one is unknown."""
        blocks = self._of(index, weight)
        try:
            return None if blocks is None else max(map(block_num_codes, blocks)) // columns
        except CodecError:
            return None

    def codes(self, index: int) -> list[np.ndarray] | None:
        """Codes of every block that a product's weights can come from.

        Returns
        -------
        list of ndarray of shape (N, K), int8, or None
            None where DRAM's contents are not known, or what multiplies is no block.
        """
        found = []
        for weight in self._subject.windows[index]["src2"]:
            if weight.view.space != "weight":
                return None
            columns = weight.view.cols
            if weight.view.dtype == "u8":
                columns = inner_size(self._subject, index)
            for window in self._of(index, weight) or [b""]:
                try:
                    codes = decode_block(window[: block_bytes(window)])[0]
                except CodecError:
                    return None
                if codes.size % columns:
                    return None
                found.append(codes.reshape(-1, columns))
        return found or None


def _pieces(ends: Sequence[int], low: int, high: int) -> range:
    return range(bisect_left(ends, low), bisect_left(ends, high))
