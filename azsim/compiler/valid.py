"""What every pass promises, checked after it: cheap enough to be done in each compilation.

A value that breaks its contract is the compiler's fault, not the user's: the error names the pass,
and what is wrong with its value.  Whether the finished program is sound, bytes, races and waits, is
for checkers that read the program alone.
"""

from __future__ import annotations

import bisect
import heapq
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from azsim.arith import code_limit
from azsim.compiler.allocate import Allocation
from azsim.compiler.fold import Folded
from azsim.compiler.parameters import Parameters
from azsim.compiler.schedule import Item, Schedule, accesses, walk
from azsim.compiler.tile import Plan, matmuls
from azsim.compiler.windows import all_windows
from azsim.compression.scheme import AUTO
from azsim.errors import CompileError
from azsim.hardware.description import Hardware
from azsim.ir import CompressedGraph, CompressedWeight
from azsim.isa.program import DramImage, Program
from azsim.isa.spec import instruction_set
from azsim.ops.lowering import Access, Leave, Loop, Lowering, Matmul, Product, Step, Vector
from azsim.ops.steps import windows, writes, written_operands

__all__ = ["check_pass"]

_INT32_MAX = (1 << 31) - 1

_Earlier = Mapping[str, Any]


def check_pass(name: str, value: Any, earlier: _Earlier, hardware: Hardware) -> None:
    """Check a pass's value.

    Parameters
    ----------
    name : str
        Of the pass; one without a check is taken as it is.
    value : object
        What it made.
    earlier : mapping of str to object
        What the passes before it made, by their names.
    hardware : Hardware

    Raises
    ------
    CompileError
        With everything that is wrong, each line ``after PASS: ...``.
    """
    check = _CHECKS.get(name)
    problems = [] if check is None else list(check(value, earlier, hardware))
    if problems:
        raise CompileError("\n".join(f"after {name}: {problem}" for problem in problems))


# ------------------------------------------------------------------------------- the graph


def _graph(folded: Folded, earlier: _Earlier, hardware: Hardware) -> Iterator[str]:
    graph = folded.compressed.graph
    known = set(graph.inputs) | set(graph.initializers)
    for node in graph.nodes:
        inputs = [name for name in node.inputs if name]
        for name in inputs:
            if name not in known:
                yield f"node {node.name} reads {name} before it is made"
        if inputs and all(name in graph.initializers for name in inputs):
            yield f"node {node.name} has constants only"
        known |= set(filter(None, node.outputs))
    for name in graph.outputs:
        if name not in known:
            yield f"output {name} is made by nothing"
    for name in known - set(graph.types):
        yield f"{name} has no type"
    for weight in folded.compressed.weights.values():
        yield from _sums(weight)


def _sums(weight: CompressedWeight) -> Iterator[str]:
    """Segments of K whose sums an int32 accumulator might not hold."""
    largest = code_limit(weight.activation_bits)
    for low, high in itertools.pairwise(weight.segments):
        if (high - low) * 127 * largest <= _INT32_MAX:
            continue
        sums = np.abs(weight.codes[:, low:high]).sum(axis=1, dtype=np.int64) * largest
        if sums.max() > _INT32_MAX:
            yield (
                f"weight {weight.name}: sums over columns {low} to {high - 1} may reach "
                f"{sums.max()}, beyond int32"
            )


def _weights(compressed: CompressedGraph, earlier: _Earlier, hardware: Hardware) -> Iterator[str]:
    for name, weight in compressed.weights.items():
        if weight.codec.name == AUTO:
            yield f"weight {name} has no codec yet"


# -------------------------------------------------------------------------------- the steps


def _steps(lowering: Lowering, earlier: _Earlier, hardware: Hardware) -> Iterator[str]:
    graph = lowering.compressed.graph
    for name in graph.outputs:
        if name not in lowering.views:
            yield f"output {name} has no place"
    written = {name for name, buffer in lowering.buffers.items() if buffer.constant is not None}
    written |= {lowering.views[name].buffer for name in graph.inputs if name in lowering.views}
    for layer, step in lowering.steps:
        for problem in _step(step, lowering, {}, written):
            yield f"layer {layer}: {problem}"


def _arranged(lowering: Lowering, earlier: _Earlier, hardware: Hardware) -> Iterator[str]:
    yield from _steps(lowering, earlier, hardware)
    before = earlier["fold"].compressed.weights
    for name, weight in lowering.compressed.weights.items():
        if weight is not before[name] and _rows(weight) != _rows(before[name]):
            yield f"weight {name} has other rows, or scales, than the graph's"


def _rows(weight: CompressedWeight) -> list[tuple[bytes, bytes]]:
    """Rows of codes with their scales, in an order of their own."""
    return sorted(
        (row.tobytes(), scale.tobytes())
        for row, scale in zip(weight.codes, np.ascontiguousarray(weight.scales.T), strict=True)
    )


def _step(
    step: Step, lowering: Lowering, loops: Mapping[int, int], written: set[str]
) -> Iterator[str]:
    if isinstance(step, Loop):
        yield from _leaves(step)
        for inner in step.body:
            yield from _step(inner, lowering, {**loops, step.number: step.count}, written)
            if isinstance(inner, Leave):
                written = set(written)  # what comes behind it may never be written
        return
    if isinstance(step, Leave) and not loops:
        yield "Leave stands in no loop"
    written_here = written_operands(step)
    title = step.mnemonic if isinstance(step, Vector) else type(step).__name__
    for name, access in windows(step).items():
        buffer = lowering.buffers.get(access.buffer)
        if buffer is None:
            yield f"{title}.{name} is in {access.buffer}, which there is not"
            continue
        low, high = _extent(access, loops)
        if low < 0 or high > buffer.num_elements:
            yield (
                f"{title}.{name} takes elements {low} to {high - 1} of "
                f"{access.buffer}, which has {buffer.num_elements}"
            )
        if name not in written_here and access.buffer not in written:
            yield f"{title}.{name} reads {access.buffer} before it is written"
    written |= {access.buffer for access in writes(step)}
    if isinstance(step, Matmul):
        yield from _product(step, lowering)
    if isinstance(step, Product):
        yield from _computed_product(step)


def _leaves(loop: Loop) -> Iterator[str]:
    """What would be wrong of a loop that data may end."""
    count = sum(isinstance(step, Leave) for step in loop.body)
    if count > 1:
        yield f"loop {loop.number} may be left in {count} places; one is allowed"
    moving = (window for window in all_windows(loop) if window.advance.get(loop.number))
    if count and (window := next(moving, None)):
        yield f"{window.buffer} moves with loop {loop.number}, which may be left"


def _product(step: Matmul, lowering: Lowering) -> Iterator[str]:
    outputs, inner = lowering.compressed.weights[step.weight].codes.shape
    rows = step.codes.rows
    if step.codes.cols != inner or step.dst.shape != (rows, outputs):
        yield (
            f"{step.weight} of {outputs} x {inner} takes codes of {rows} x {step.codes.cols} "
            f"to {step.dst.rows} x {step.dst.cols}"
        )
    if step.scale.rows not in (1, rows):
        yield f"{step.weight} has {step.scale.rows} scales for {rows} rows"
    if step.bias is not None and step.bias.cols != outputs:
        yield f"{step.weight} has a bias of {step.bias.cols} for {outputs} outputs"


def _computed_product(step: Product) -> Iterator[str]:
    (rows, inner), (outputs, other) = step.codes.shape, step.other.shape
    if inner != other or step.dst.shape != (rows, outputs):
        yield (
            f"product of {rows} x {inner} and {outputs} x {other} codes "
            f"goes to {step.dst.rows} x {step.dst.cols}"
        )
    if step.scale.rows not in (1, rows) or step.other_scale.shape != (1, outputs):
        yield (
            f"product of {rows} rows and {outputs} outputs has {step.scale.rows} and "
            f"{step.other_scale.rows} x {step.other_scale.cols} scales"
        )


def _extent(access: Access, loops: Mapping[int, int]) -> tuple[int, int]:
    """First element and the one after the last that a window reaches in all rounds."""
    steps = [
        (access.rows - 1) * access.row_stride,
        (access.cols - 1) * access.col_stride,
        *((loops.get(loop, 1) - 1) * step for loop, step in access.advance.items()),
    ]
    low = access.offset + sum(step for step in steps if step < 0)
    return low, access.offset + sum(step for step in steps if step > 0) + 1


# ------------------------------------------------------------------------- what lies where


def _parameters(parameters: Parameters, earlier: _Earlier, hardware: Hardware) -> Iterator[str]:
    for name, offset in parameters.offset_of.items():
        if not 0 <= offset < parameters.values.size:
            yield f"{name} begins at {offset} of {parameters.values.size} values"


def _plan(plan: Plan, earlier: _Earlier, hardware: Hardware) -> Iterator[str]:
    weights = earlier["fold"].compressed.weights
    steps = [step for _, step in earlier["narrow"].steps]
    for name in {step.weight for step in matmuls(steps)} - set(plan.tiles):
        yield f"weight {name} is used and not cut"
    names: set[str] = set()
    for name, tiles in plan.tiles.items():
        names |= {tile.name for tile in tiles}
        times = np.zeros(weights[name].codes.shape, np.uint8)
        for tile in tiles:
            times[tile.n0 : tile.n1, tile.k0 : tile.k1] += 1
            low, high = weights[name].segments[tile.segment : tile.segment + 2]
            if not low <= tile.k0 < tile.k1 <= high:
                yield f"tile {tile.name} leaves its segment, columns {low} to {high - 1}"
            if plan.m_tile[name] * (tile.n1 - tile.n0) > hardware.mac.accumulators:
                yield (
                    f"tile {tile.name} and {plan.m_tile[name]} rows need more than "
                    f"{hardware.mac.accumulators} accumulators"
                )
        if (times != 1).any():
            row, col = map(int, np.argwhere(times != 1)[0])
            yield f"weight {name}: row {row}, column {col} is in {times[row, col]} tiles"
    for name in sorted(plan.pinned - names):
        yield f"{name} is pinned and no tile"


def _blocks(blocks: Mapping[str, bytes], earlier: _Earlier, hardware: Hardware) -> Iterator[str]:
    wanted = {tile.name for tiles in earlier["residency"].tiles.values() for tile in tiles}
    for name in sorted(wanted ^ set(blocks)):
        yield f"{name} has no block" if name in wanted else f"{name} has a block and is no tile"


def _schedule(schedule: Schedule, earlier: _Earlier, hardware: Hardware) -> Iterator[str]:
    yield from _accumulators(schedule)
    yield from _once(schedule)
    table = instruction_set().instructions
    held: dict[tuple[str, int | None], str] = {}
    for item in walk(schedule.startup + schedule.body + schedule.finish):
        if item.mnemonic not in table:
            yield f"layer {item.layer}: no instruction {item.mnemonic}"
            continue
        for name in set(item.operands) - set(table[item.mnemonic].operands):
            yield f"layer {item.layer}: {item.mnemonic} has no operand {name}"
        for name, access in accesses(item):
            storage = schedule.storages.get(access.buffer)
            if storage is None:
                yield f"layer {item.layer}: {item.mnemonic} uses {access.buffer}, which is nowhere"
                continue
            if item.but_last is not None:
                continue  # for the next round; this walk sees the last one
            slot = storage.space, storage.slot
            if storage.slot is not None and item.mnemonic in ("load", "weight_load"):
                held[slot] = access.buffer
            elif storage.slot is not None and held.get(slot) != access.buffer:
                yield (
                    f"layer {item.layer}: {item.mnemonic} reads {name} {access.buffer} in slot "
                    f"{storage.slot}, which holds {held.get(slot, 'nothing')}"
                )


def _once(schedule: Schedule) -> Iterator[str]:
    """What is done once and stands in no region, where nothing would let it be done again."""
    for top in (*schedule.startup, *schedule.body, *schedule.finish):
        if isinstance(top, Item) or not top.is_region:
            for item in walk((top,)):
                if item.once:
                    yield f"layer {item.layer}: {item.mnemonic} is done once, and in no region"


def _accumulators(schedule: Schedule) -> Iterator[str]:
    """Sums that are added to, or drained, where another layer's or frame's product stands."""
    owners: dict[int, tuple[str, int]] = {}  # by the first accumulator of a product
    for item in walk(schedule.startup + schedule.body + schedule.finish):
        if item.mnemonic not in ("mac_matmul", "mac_drain"):
            continue
        mine, number = (item.layer, item.frame), item.operands.get("acc", 0)
        assert isinstance(number, int)
        if item.mnemonic == "mac_matmul" and not item.operands.get("accumulate"):
            owners[number] = mine
            continue
        before = [start for start in owners if start <= number]
        found = owners[max(before)] if before else None
        if found != mine:
            whose = "nobody" if found is None else f"layer {found[0]}, frame {found[1]}"
            yield f"layer {item.layer}: {item.mnemonic} of frame {item.frame} finds sums of {whose}"


def _allocation(allocation: Allocation, earlier: _Earlier, hardware: Hardware) -> Iterator[str]:
    schedule = [value for value in earlier.values() if isinstance(value, Schedule)][-1]
    yield from _parts(allocation, schedule)
    room = {"weight": hardware.weight_sram.bytes, "activation": hardware.activation_sram.bytes}
    for space in room:
        alone: list[_Placed] = []
        slots: dict[int, list[_Placed]] = {}
        for name, storage in schedule.storages.items():
            if storage.space != space or storage.whole not in allocation.live:
                continue
            start = allocation.addresses[name]
            end = start + storage.size_bytes
            if storage.within is not None:
                continue  # see `_parts`
            if end > room[space]:
                yield f"{name} ends at byte {end} of {space} SRAM's {room[space]}"
            mine = alone if storage.slot is None else slots.setdefault(storage.slot, [])
            mine.append(_Placed(*allocation.live[name], start, end, name))
        # Those that take turns in a slot are one.
        alone += [_together(tiles) for tiles in slots.values()]
        for one, other in _clashes(alone):
            yield f"{one} and {other} share bytes of {space} SRAM while both live"


def _parts(allocation: Allocation, schedule: Schedule) -> Iterator[str]:
    """What is wrong with storages whose bytes are some of another one's."""
    parts: dict[str, list[tuple[int, int, str]]] = {}
    for name, storage in schedule.storages.items():
        if storage.within is None or storage.whole not in allocation.live:
            continue
        whole, first_bytes = storage.within
        if allocation.addresses[name] != allocation.addresses[whole] + first_bytes:
            yield f"{name} is not at byte {first_bytes} of {whole}"
        if storage.space != "dram":  # where those of other frames lie between
            end = first_bytes + storage.size_bytes
            parts.setdefault(whole, []).append((first_bytes, end, name))
    for whole, mine in parts.items():
        mine.sort()
        for (_, end, one), (start, _, other) in itertools.pairwise(mine):
            if start < end:
                yield f"{one} and {other} share bytes of {whole}"
        (_, end, last), size_bytes = mine[-1], schedule.storages[whole].size_bytes
        if end > size_bytes:
            yield f"{last} ends at byte {end} of {whole}'s {size_bytes}"


class _Placed(NamedTuple):
    """A storage's life, in items, and its bytes from `start` to before `end`."""

    first: int
    last: int
    start: int
    end: int
    name: str


def _together(tiles: Sequence[_Placed]) -> _Placed:
    first, last, start, end, names = zip(*tiles, strict=True)
    return _Placed(min(first), max(last), min(start), max(end), names[0])


def _clashes(placed: Iterable[_Placed]) -> Iterator[tuple[str, str]]:
    """Names of storages with a byte in common while both live."""
    living: list[_Placed] = []  # by address
    ends: list[tuple[int, _Placed]] = []
    for one in sorted(placed):
        while ends and ends[0][0] < one.first:
            living.remove(heapq.heappop(ends)[1])
        at = bisect.bisect_left(living, one.start, key=lambda other: other.start)
        for other in living[max(0, at - 1) : at + 1]:
            if other.start < one.end and one.start < other.end:
                yield other.name, one.name
        living.insert(at, one)
        heapq.heappush(ends, (one.last, one))


# -------------------------------------------------------------------------------- the program


def _program(program: Program, earlier: _Earlier, hardware: Hardware) -> Iterator[str]:
    if len(program.layer_of) != len(program.instructions):
        yield f"{len(program.layer_of)} layers for {len(program.instructions)} instructions"
    depth = 0
    for index, instruction in enumerate(program.instructions):
        depth += (instruction.mnemonic == "loop") - (instruction.mnemonic == "end_loop")
        if depth < 0:
            yield f"instruction {index} ends a loop that never began"
            return
    if depth:
        yield f"{depth} loops never end"
    if not program.instructions or program.instructions[-1].mnemonic != "halt":
        yield "the last instruction is no halt"


def _image(image: DramImage, earlier: _Earlier, hardware: Hardware) -> Iterator[str]:
    needed = earlier["allocate"].peak_bytes["dram"]
    if image.data.size < needed:
        yield f"{image.data.size} bytes, {needed} are needed"


_CHECKS: Mapping[str, Callable[[Any, _Earlier, Hardware], Iterator[str]]] = MappingProxyType(
    {
        "fold": _graph,
        "lower": _steps,
        "fuse": _steps,
        "narrow": _steps,
        "trim": _steps,
        "arrange": _arranged,
        "parameters": _parameters,
        "residency": _plan,
        "select": _weights,
        "encode": _blocks,
        "peel": _steps,
        "order": _schedule,
        "spill": _schedule,
        "beside": _schedule,
        "join": _schedule,
        "prefetch": _schedule,
        "unroll": _schedule,
        "together": _schedule,
        "overlap": _schedule,
        "merge": _schedule,
        "fill": _schedule,
        "allocate": _allocation,
        "synchronize": _program,
        "image": _image,
    }
)
