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
        blocks = Blocks(subject)
        rows = {
            index: limits[index] * sums
            for index in indices
            if (sums := blocks.row_sums(index)) is not None
        }
        bounds = {
            index: min(bound, int(rows[index].max()) if index in rows else bound)
            for index, bound in bounds.items()
        }
        largest = _largest_sums(subject, tiles, bounds)
        for key in {_key(tile) for tile in tiles if largest[tile.index] > _LARGEST}:
            for index, total in _by_row(subject, tiles, key, rows).items():
                largest[index] = min(largest[index], total)
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


def _key(tile: Tile) -> tuple[int, int | None]:
    """Products that add up have the same accumulators."""
    return tile.acc, tile.size


def _by_row(
    subject: Subject,
    tiles: list[Tile],
    key: tuple[int, int | None],
    rows: Mapping[int, np.ndarray],
) -> dict[int, float]:
    """Largest magnitudes after the products of some accumulators, each row of weights by itself.

    The largest sums of tiles that split K may belong to different rows, and then do not add up.
    Where a product of other accumulators has come between, nothing is told.
    """
    acc, size = key
    mine = {tile.index for tile in tiles if _key(tile) == key and tile.index in rows}
    count = max((len(rows[index]) for index in mine), default=0)
    mine = {index for index in mine if len(rows[index]) == count}
    others = {
        tile.index
        for tile in tiles
        if tile.index not in mine
        and tile.acc < acc + (size or 0)
        and acc < tile.acc + (tile.size or 0)
    }
    owner = count  # a register that holds whose sums these are
    effects = {index: [Effect(owner, "set", (0, 0), index)] for index in others}
    for index in mine:
        adds = subject.operation(index).accumulate
        effects[index] = [
            Effect(row, "move" if adds else "set", (int(bound), int(bound)), index)
            for row, bound in enumerate(rows[index])
        ]
        if not adds:
            effects[index].append(Effect(owner, "set", (0, 0), index))
    found: dict[int, float] = {}

    def see(index: int, state: State) -> None:
        if index not in mine:
            return
        before = np.zeros(count)
        if subject.operation(index).accumulate:
            untouched = {(AT_ENTRY, False): (0.0, 0.0)}
            if any(origin in others for origin, _ in state.get(owner, untouched)):
                return
            for row in range(count):
                before[row] = max(high for _, high in state.get(row, untouched).values())
        found[index] = float((before + rows[index]).max())

    flow(subject.program.instructions, effects, see, mine)
    return found


def _sum_by_type(subject: Subject, index: int) -> int:
    """Largest sum of a row's weights in magnitude, if they are as large as their type allows."""
    views = [window.view for window in subject.windows[index]["src2"]]
    largest = max((1 << (min(8, view.element_bits) - 1) for view in views), default=0)
    return inner_size(subject, index) * largest


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
