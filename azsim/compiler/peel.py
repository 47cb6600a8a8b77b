"""Peel: the first round of a loop over time multiplies the state before the input.

Contract: takes lowered steps, gives steps that leave the same bits in every buffer.  An LSTM layer
of several steps multiplies W by the inputs of all of them, then adds R times the state step by
step.  The first step's state is there before a paced frame comes, its input is not: R comes first
there, and W x is added to it, with bias and functions.  A sum of two floats has the same bits in
either order.

So the first round stands in front of its loop.  Only in short loops, where W and R stay in weight
SRAM: they are used in two places then.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from azsim.compiler.critical_path import placed
from azsim.compiler.tile import Plan
from azsim.compiler.windows import all_windows
from azsim.ops.lowering import Access, Loop, Lowering, Matmul, Step, moved
from azsim.ops.steps import is_region, moved_windows, writes

__all__ = ["peel"]

_MOST_ROUNDS = 4
"""Of a loop whose first round is taken out of it."""

_Steps = Sequence[tuple[str, Step]]


def peel(lowering: Lowering, plan: Plan | None = None) -> Lowering:
    """Peel the loops of a lowering.

    Parameters
    ----------
    lowering : Lowering
        Of a graph whose frames are waited for; it stays as it is.
    plan : Plan, optional
        Without one, as if all weights stayed.
    """
    steps = list(lowering.steps)
    at = 0
    while at < len(steps):
        layer, loop = steps[at]
        found = _found(steps, at, lowering, plan) if isinstance(loop, Loop) else None
        if found is not None:
            assert isinstance(loop, Loop)
            product, number = found
            peeled = list(_peeled(layer, loop, number, steps[product]))
            steps[product : at + 1] = [*steps[product + 1 : at], *peeled]
            at = product + len(peeled) - 1
        at += 1
    if len(steps) == len(lowering.steps):
        return lowering
    result = copy.copy(lowering)
    result.steps = steps
    return result


def _found(steps: _Steps, at: int, lowering: Lowering, plan: Plan | None) -> tuple[int, int] | None:
    """Number of a product of all rounds' inputs, and of the loop's own that is added to it."""
    loop = steps[at][1]
    assert isinstance(loop, Loop)
    is_straight = not any(isinstance(step, Loop) for step in loop.body) and not is_region(loop)
    holds = plan is not None and loop.number in plan.held.values()  # tiles, from its begin on
    if not is_straight or holds or not 2 <= loop.count <= _MOST_ROUNDS:
        return None
    for number, added in enumerate(loop.body):
        if not isinstance(added, Matmul) or not added.accumulate:
            continue
        for before in range(at - 1, -1, -1):
            product = steps[before][1]
            between = [step for _, step in steps[before + 1 : at]]
            if isinstance(product, Matmul) and _is_sum(product, added, loop):
                weights = product.weight, added.weight
                stays = all(_stays(name, lowering, plan) for name in weights)
                is_free = _lets_pass(product, (*between, *loop.body[:number]))
                return (before, number) if stays and is_free else None
    return None


def _is_sum(product: Matmul, added: Matmul, loop: Loop) -> bool:
    """Whether each round adds a product to a row of the other."""
    rows, row = product.dst, added.dst
    is_plain = not product.accumulate and product.bias is None and product.function == "none"
    is_plain = is_plain and not product.functions
    first = replace(rows, rows=1, row_stride=row.row_stride)
    return (
        is_plain
        and product.code_scale is None
        and added.code_scale is None
        and rows.rows == product.codes.rows == loop.count
        and replace(row, advance={}) == first
        and row.advance == {loop.number: rows.row_stride}
    )


def _stays(weight: str, lowering: Lowering, plan: Plan | None) -> bool:
    """Whether a weight stays in weight SRAM, and its product is one term."""
    has_one = len(lowering.compressed.weights[weight].segments) == 2
    return has_one and (
        plan is None or all(tile.name in plan.pinned for tile in plan.tiles[weight])
    )


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


def _peeled(
    layer: str, loop: Loop, number: int, inputs: tuple[str, Step]
) -> Iterator[tuple[str, Step]]:
    """What takes the place of a loop and of the product of all its inputs, with their layers."""
    of_inputs, product = inputs
    assert isinstance(product, Matmul)
    first = [placed(step, {loop.number: 0}) for step in loop.body]
    added = first[number]
    assert isinstance(added, Matmul)
    plain = replace(added, bias=None, accumulate=False, function="none", functions=())
    own = {"codes": product.codes, "scale": product.scale}
    later = {"dst": product.dst, **own}
    yield from ((layer, step) for step in (*first[:number], plain))
    yield (
        of_inputs,
        replace(added, weight=product.weight, **{key: _rows(w, 0, 1) for key, w in own.items()}),
    )
    rest = {key: _rows(window, 1, loop.count - 1) for key, window in later.items()}
    yield of_inputs, replace(product, **rest)
    yield from ((layer, step) for step in first[number + 1 :])
    if loop.count == 2:
        yield from ((layer, placed(step, {loop.number: 1})) for step in loop.body)
    else:
        body = tuple(_one_later(step, loop.number) for step in loop.body)
        yield layer, replace(loop, count=loop.count - 1, body=body)


def _rows(access: Access, first: int, count: int) -> Access:
    """Rows of a window; a scale of one row is that of all."""
    if access.rows == 1:
        return access
    return moved(access, offset=access.offset + first * access.row_stride, rows=count)


def _one_later(step: Step, number: int) -> Step:
    """A step of a loop's body whose first round is the second one of before."""

    def later(access: Access) -> Access:
        return replace(access, offset=access.offset + access.advance.get(number, 0))

    return moved_windows(step, later)
