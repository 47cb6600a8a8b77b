"""No int32 accumulator can overflow, whatever the activations are."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from azsim.arith import code_limit
from azsim.sim.checks._flow import AT_ENTRY, Effect, State, flow
from azsim.sim.checks._products import Blocks, Tile, inner_size, products
from azsim.sim.checks._subject import Subject
from azsim.sim.checks._verdict import Finding, Verdict, verdict

__all__ = ["ASSUMES", "check"]

ASSUMES = (
    (
        "products read codes where codes were written: at most 127 or 32767 in magnitude, or any "
        "number of the type if something else than quantization writes codes"
    ),
    "accumulators that nothing has set hold 0",
)

_LARGEST = 2**31 - 1
_QUANTIZES = ("vector_quantize", "mac_drain")
_MOVES_CODES = ("vector_copy", "vector_gather", "vector_scatter")


def check(subject: Subject) -> Verdict:
    """Add up, for each accumulator, the largest magnitude of each product that goes there.

    Weights are first taken to be as large as their type allows; where that is too much, the blocks
    in the DRAM image say how large they are.
    """
    every = list(products(subject))
    tiles = [tile for tile in every if tile.size is not None]
    indices = sorted({tile.index for tile in tiles})
    unproved = [
        subject.find(tile.index, f"how many rows the block of{tile.weight} has is not known here")
        for tile in every
        if tile.size is None
    ]
    foreign = _foreign_types(subject)
    limits = {index: _activation_limit(subject, index, foreign) for index in indices}
    bounds = {index: limits[index] * _sum_by_type(subject, index) for index in indices}
    largest = _largest_sums(subject, tiles, bounds)
    if max(largest.values(), default=0) > _LARGEST:
        known = Blocks(subject)
        sums = {index: _sum_by_blocks(subject, index, known) for index in indices}
        bounds = {index: min(bounds[index], limits[index] * sums[index]) for index in indices}
        largest = _largest_sums(subject, tiles, bounds)
    findings: list[Finding] = []
    weights = {tile.index: tile.weight for tile in tiles}
    for index, total in sorted(largest.items()):
        if total == float("inf"):
            sentence = f"adds to accumulators{weights[index]} as often as data wants"
            unproved.append(subject.find(index, sentence))
        elif total > _LARGEST:
            findings.append(
                subject.find(
                    index,
                    f"an accumulator{weights[index]} can reach {int(total)} in magnitude, an int32 "
                    f"holds {_LARGEST}",
                )
            )
    reached = max((total for total in largest.values() if total <= _LARGEST), default=0)
    return verdict(
        "overflow",
        f"products: {len(indices)}, sums of at most {int(reached)} in magnitude",
        findings,
        unproved,
    )


def _largest_sums(
    subject: Subject, tiles: list[Tile], bounds: Mapping[int, int]
) -> dict[int, float]:
    """Largest magnitude of an accumulator after each product, over all rounds."""
    ends = sorted({end for tile in tiles for end in (tile.acc, tile.acc + (tile.size or 0))})
    piece_of = {end: number for number, end in enumerate(ends)}
    pieces: dict[int, set[int]] = {}
    effects: dict[int, list[Effect]] = {}
    for tile in tiles:
        found = range(piece_of[tile.acc], piece_of[tile.acc + (tile.size or 0)])
        pieces.setdefault(tile.index, set()).update(found)
    for index, touched in pieces.items():
        bound = (bounds[index], bounds[index])
        adds = subject.operation(index).accumulate
        kind = "move" if adds else "set"
        effects[index] = [Effect(piece, kind, bound, index) for piece in touched]
    largest: dict[int, float] = {}

    def see(index: int, state: State) -> None:
        if index not in pieces:
            return
        before = 0.0
        if subject.operation(index).accumulate:
            untouched = {(AT_ENTRY, False): (0.0, 0.0)}
            before = max(
                interval[1]
                for piece in pieces[index]
                for interval in state.get(piece, untouched).values()
            )
        largest[index] = before + bounds[index]

    flow(subject.program.instructions, effects, see, pieces)
    return largest


def _sum_by_type(subject: Subject, index: int) -> int:
    """Largest sum of a row's weights in magnitude, if they are as large as their type allows."""
    views = [window.view for window in subject.windows[index]["src2"]]
    largest = max((1 << (min(8, view.element_bits) - 1) for view in views), default=0)
    return inner_size(subject, index) * largest


def _sum_by_blocks(subject: Subject, index: int, known: Blocks) -> int:
    """The same, with the weights that lie in DRAM."""
    blocks = known.codes(index)
    if blocks is None:
        return _sum_by_type(subject, index)
    inner = inner_size(subject, index)
    largest = 0
    for codes in blocks:
        magnitudes = np.abs(codes.astype(np.int64))
        of_rows = int(magnitudes.sum(axis=1).max(initial=0))
        largest = max(largest, min(of_rows, inner * int(magnitudes.max(initial=0))))
    return largest


def _foreign_types(subject: Subject) -> frozenset[str]:
    """Types of activation SRAM that something else than quantization writes."""
    return frozenset(
        window.view.dtype
        for index, operands in subject.windows.items()
        if subject.mnemonic(index) not in (*_QUANTIZES, *_MOVES_CODES)
        for window in operands.get("dst", ())
        if window.view.space == "activation"
    )


def _activation_limit(subject: Subject, index: int, foreign: frozenset[str]) -> int:
    """Largest magnitude of an activation code of a product."""
    return max(
        (
            code_limit(window.view.element_bits) + (window.view.dtype in foreign)
            for window in subject.windows[index]["src"]
        ),
        default=0,
    )
