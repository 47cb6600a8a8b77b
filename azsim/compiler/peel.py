"""Peel: the first round of a loop over time multiplies the state before the input.

Contract: takes lowered steps, gives steps that leave the same bits in every buffer.  An LSTM layer
of several steps multiplies W by the inputs of all of them, then adds R times the state step by
step.  The first step's state is there before a paced frame comes, its input is not: R comes first
there, and W x is added to it, with bias and functions.  A sum of two floats has the same bits in
either order.

So the first round stands in front of its loop.  Only in short loops, where W and R stay in weight
SRAM: it is used in two places then.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from azsim.compiler.tile import Plan
from azsim.compiler.windows import all_windows
from azsim.ops.lowering import Access, Loop, Lowering, Matmul, Step, moved
from azsim.ops.steps import is_region, moved_windows, writes

__all__ = ["peel"]

_MOST_ROUNDS = 4
"""Of a loop whose first round is taken out of it."""


def peel(lowering: Lowering, plan: Plan) -> Lowering:
    """Peel the loops of a lowering, which is changed and returned.

    Parameters
    ----------
    lowering : Lowering
        Of a graph whose frames are waited for.
    plan : Plan
    """
    steps = lowering.steps
    at = 0
    while at < len(steps):
        layer, loop = steps[at]
        found = _found(steps, at, lowering, plan) if isinstance(loop, Loop) else None
        if found is not None:
            assert isinstance(loop, Loop)
            product, number = found
            peeled = [(layer, step) for step in _peeled(loop, number, _product(steps, product))]
            steps[product : at + 1] = [*steps[product + 1 : at], *peeled]
            at = product + len(peeled) - 1
        at += 1
    return lowering


def _product(steps: Sequence[tuple[str, Step]], at: int) -> Matmul:
    step = steps[at][1]
    assert isinstance(step, Matmul)
    return step


def _found(
    steps: Sequence[tuple[str, Step]], at: int, lowering: Lowering, plan: Plan
) -> tuple[int, int] | None:
    """Number of a product of all rounds' inputs, and of the loop's own that is added to it."""
    loop = steps[at][1]
    assert isinstance(loop, Loop)
    if is_region(loop) or not 2 <= loop.count <= _MOST_ROUNDS:
        return None
    for number, added in enumerate(loop.body):
        if not isinstance(added, Matmul) or not added.accumulate or added.code_scale:
            continue
        for before in range(at - 1, -1, -1):
            product = steps[before][1]
            between = [step for _, step in steps[before + 1 : at]]
            if isinstance(product, Matmul) and _is_sum(product, added, loop):
                stays = all(_stays(name, lowering, plan) for name in (product.weight, added.weight))
                is_free = _lets_pass(product, (*between, *loop.body[:number]))
                return (before, number) if stays and is_free else None
    return None


def _is_sum(product: Matmul, added: Matmul, loop: Loop) -> bool:
    """Whether each round adds a product to a row of the other."""
    rows, row = product.dst, added.dst
    is_plain = not product.accumulate and product.bias is None and product.code_scale is None
    is_plain = is_plain and product.function == "none" and not product.functions
    first = replace(rows, rows=1, row_stride=row.row_stride)
    return (
        is_plain
        and rows.rows == product.codes.rows == loop.count
        and replace(row, advance={}) == first
        and row.advance == {loop.number: rows.row_stride}
    )


def _stays(weight: str, lowering: Lowering, plan: Plan) -> bool:
    """Whether a weight stays in weight SRAM, and its product is one term."""
    tiles = plan.tiles[weight]
    has_one = len(lowering.compressed.weights[weight].segments) == 2
    return has_one and all(tile.name in plan.pinned for tile in tiles)


def _lets_pass(product: Matmul, steps: Iterable[Step]) -> bool:
    """Whether a product can come behind steps."""
    for step in steps:
        if is_region(step) or any(w.buffer == product.dst.buffer for w in all_windows(step)):
            return False
        if {window.buffer for window in writes(step)} & {
            product.codes.buffer,
            product.scale.buffer,
        }:
            return False
    return True


def _peeled(loop: Loop, number: int, product: Matmul) -> Iterator[Step]:
    """What takes the place of a loop and of the product of all its inputs."""
    first = [_in_round(step, loop.number, 0, is_still=True) for step in loop.body]
    added = first[number]
    assert isinstance(added, Matmul)
    yield from first[:number]
    plain = {"bias": None, "accumulate": False, "function": "none", "functions": ()}
    yield replace(added, **plain)
    yield replace(
        added,
        weight=product.weight,
        codes=_rows(product.codes, 0, 1),
        scale=_rows(product.scale, 0, 1),
    )
    yield replace(
        product,
        dst=_rows(product.dst, 1, loop.count - 1),
        codes=_rows(product.codes, 1, loop.count - 1),
        scale=_rows(product.scale, 1, loop.count - 1),
    )
    yield from first[number + 1 :]
    is_last = loop.count == 2
    later = [_in_round(step, loop.number, 1, is_still=is_last) for step in loop.body]
    yield from later if is_last else [replace(loop, count=loop.count - 1, body=tuple(later))]


def _rows(access: Access, first: int, count: int) -> Access:
    """Rows of a window; a scale of one row is that of all."""
    if access.rows == 1:
        return access
    return moved(access, offset=access.offset + first * access.row_stride, rows=count)


def _in_round(step: Step, number: int, ahead: int, *, is_still: bool) -> Step:
    """A step of a loop's body some rounds later; `is_still` where the loop is no more."""
    if isinstance(step, Loop):
        body = (_in_round(inner, number, ahead, is_still=is_still) for inner in step.body)
        return replace(step, body=tuple(body))

    def later(access: Access) -> Access:
        offset = access.offset + ahead * access.advance.get(number, 0)
        moves = {n: by for n, by in access.advance.items() if n != number or not is_still}
        return replace(access, offset=offset, advance=moves)

    return moved_windows(step, later)
