"""Lower bounds on a run's cycles: necessary work over peak rates, from the graph and the chip.

Nothing here is read from emitted instructions.  What is necessary, with the matrices cut into tiles
as the plan cuts them:

- DRAM: inputs, outputs, constants and scales once; compressed tiles once if they can stay on the
  chip, else each time that another weight was used in between; of constants and state what is
  beyond the size of activation SRAM, in each frame (`azsim.compiler.carried`).  Frames that a round
  of the program computes together may need both once for all of them.  Rows are opened:
  each of them once, and what is read again opens all but those that banks may still hold.
  Refreshes, but for one in each stretch between two waits for input.  What can stay of weights is
  bounded by filling weight SRAM with the tiles that save the most per byte, the last one in part.
- decoder: the clock's own time for the loads of those same blocks, one after another and each as if
  the chip did nothing else: its bytes, its lanes, its writes, whichever takes longest when; or its
  time on the bus with the rows that it surely opens, where that is longer.
- MAC array: its own time for the tiles with inputs ready, and the drains, one for each function
  that a product's results pass, each through its pipeline.  Where the array skips zero activations
  that is a matter of the data, and the run's zero masks are taken.
- vector engine: its own time for every step, as if one instruction did it
  (`azsim.compiler.step_cycles`).
- critical path: the longest chain of dependent work with one of each engine
  (`azsim.compiler.frame_path`), of both orders of products that `azsim.compiler.peel` knows the
  shorter one.  Where every frame is over before the next one
  arrives, frames cannot overlap: weight SRAM has to be filled, all weights of the first frame
  decoded, or that frame worked at, whichever takes longest, and then each other frame takes its
  own path.
- chain: the longest chain of dependent steps with any number of each engine, and every step at its
  smallest tile: one group of lanes through the pipeline, one window sequence of one output.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, fields

import numpy as np

from azsim.compiler.carried import Carried, carried
from azsim.compiler.critical_path import (
    MAX_CHAIN_STEPS,
    critical_path,
    flat_steps,
    layer_paths,
    transfer_cycles,
)
from azsim.compiler.edges import INPUT, OUTPUT, STARTUP, STATE
from azsim.compiler.encode import encode_tiles
from azsim.compiler.frame_path import frame_path
from azsim.compiler.loading import load_cycles
from azsim.compiler.peel import peel
from azsim.compiler.regions import (
    Decision,
    Passed,
    certain,
    counted,
    executed_steps,
    uncertain_weights,
)
from azsim.compiler.residence import encode_codes
from azsim.compiler.residency import plan_weights
from azsim.compiler.step_cycles import may_be_transfer, product_cycles, vector_cycles
from azsim.compiler.stored import used_codec
from azsim.compiler.tile import Plan, element_width, packed_bytes
from azsim.hardware.description import Hardware
from azsim.ir import CompressedGraph, TensorType
from azsim.isa.program import Stream
from azsim.machine.engines.mac import MatmulCycles, block_cycles, geometry
from azsim.ops.lowering import (
    Loop,
    Lowering,
    Matmul,
    Product,
    Step,
    Vector,
    chip_dtype,
)
from azsim.ops.steps import ELEMENT_BYTES, writes
from azsim.ops.steps import reads as windows_read

__all__ = ["EngineBounds", "engine_bounds", "weights_of_frame"]


@dataclass(frozen=True)
class EngineBounds:
    """Lower bounds in cycles for a whole run; see the module."""

    dram_cycles: int
    decoder_cycles: int
    mac_cycles: int
    vector_cycles: int
    critical_path_cycles: int
    chain_cycles: int


@dataclass
class _Work:
    """Necessary work of a layer, or of what surrounds the graph."""

    dram_bytes: float = 0.0
    distinct_bytes: float = 0.0
    passes: int = 1
    decoder_cycles: float = 0.0
    mac_cycles: float = 0.0
    vector_cycles: float = 0.0

    def add_bytes(self, num_bytes: float, *, times: int = 1) -> None:
        """Add traffic that passes the same bytes several times."""
        self.dram_bytes += num_bytes
        self.distinct_bytes += num_bytes / times
        if num_bytes:
            self.passes = max(self.passes, times)

    def add_again(self, num_bytes: float, *, times: int) -> None:
        """Add traffic of bytes that were counted before; they pass so many times in all."""
        self.dram_bytes += num_bytes
        if num_bytes:
            self.passes = max(self.passes, times)

    def bounds(
        self, hardware: Hardware, path: int, chain: int, *, stretches: int | None = None
    ) -> EngineBounds:
        """Work over peak rates; in so many stretches at most, between which input is waited for.

        Without a number of stretches refreshes do not count.
        """
        return EngineBounds(
            math.floor(_dram_cycles(self, hardware, stretches)),
            math.floor(self.decoder_cycles),
            math.floor(self.mac_cycles),
            math.floor(self.vector_cycles),
            path,
            chain,
        )


def _whole(parts: Collection[_Work]) -> _Work:
    """Work of all layers."""
    sums = {
        field.name: math.fsum(getattr(part, field.name) for part in parts)
        for field in fields(_Work)
        if field.name != "passes"
    }
    return _Work(**sums, passes=max(part.passes for part in parts))


_ROWS_HELD = 2
"""Rows of each bank that a pass over DRAM may find open: one from the pass before, and one that
lies in two blocks."""


def _dram_cycles(work: _Work, hardware: Hardware, stretches: int | None) -> float:
    """Least cycles of DRAM for bytes; refreshes count where no pause can take them.

    No burst goes before a refresh that is due.  So a stretch whose last burst begins at `t` has at
    least `t / every - 1` refreshes before that; summed up over all stretches::

        cycles >= work + takes * ((cycles - stretches * last burst) / every - stretches)
    """
    dram, clock_hz = hardware.dram, hardware.clock_hz
    again = (work.dram_bytes - work.distinct_bytes) // dram.row_bytes
    again -= (work.passes - 1) * _ROWS_HELD * dram.banks
    rows = work.distinct_bytes // dram.row_bytes + max(0, again)
    cycles = work.dram_bytes * clock_hz / dram.bytes_per_s + rows * _row_miss_cycles(hardware)
    if stretches is not None and dram.refresh_interval_ns:
        every, takes = (ns * 1e-9 * clock_hz for ns in (dram.refresh_interval_ns, dram.refresh_ns))
        last = dram.burst_bytes * clock_hz / dram.bytes_per_s + _row_miss_cycles(hardware)
        less = stretches * takes * (1 + last / every)
        cycles = max(cycles, (cycles - less) / (1 - takes / every))
    return cycles


def _row_miss_cycles(hardware: Hardware) -> float:
    return hardware.dram.row_miss_ns * 1e-9 * hardware.clock_hz


def engine_bounds(
    lowering: Lowering,
    hardware: Hardware,
    stream: Stream,
    state: Mapping[str, str],
    parameter_bytes: int,
    measured_array_cycles: Mapping[str, float],
    *,
    frames_are_apart: bool = False,
    passed: Mapping[int, Passed] | None = None,
    decided: Sequence[tuple[Decision, ...]] = (),
) -> tuple[EngineBounds, dict[str, EngineBounds]]:
    """Bounds of a run of `stream.frames` frames.

    Parameters
    ----------
    lowering : Lowering
        Steps of one frame, before tiling.
    hardware : Hardware
    stream : Stream
        `together` tells how many frames are at work at the same time.
    state : mapping of str to str
    parameter_bytes : int
        Scales and biases.
    measured_array_cycles : mapping of str to float
        By weight, the array's own time for its tiles in the whole run; the MAC bound where zero
        activations are skipped, as that time is a matter of the data.
    frames_are_apart : bool
        Whether every frame was over before the next one arrived.
    passed : mapping of int to Passed, optional
        What data decided in the run, see `azsim.compiler.regions`.
    decided : sequence of tuple of Decision
        The same frame by frame.

    Returns
    -------
    run : EngineBounds
    layers : dict of str to EngineBounds
        The same work by layer.  Weights that can stay on the chip are work of ``(startup)``.  A
        layer's loads may run while an earlier one computes, so that a layer may take less than its
        own bound; the run may not.
    """
    work: dict[str, _Work] = {}

    def of(layer: str) -> _Work:
        return work.setdefault(layer, _Work())

    plan = plan_weights(lowering, hardware, parameter_bytes, stream)
    lowering = counted(lowering, passed or {}, stream.frames)
    of(STARTUP).add_bytes(parameter_bytes)
    every_frame = carried(lowering, state)
    states = {lowering.views[name].buffer for name in state if name in lowering.views}
    _add_state(of, every_frame, hardware, stream)
    # A state of which a frame stores what is new need not be stored as a whole at the end.
    stays = not every_frame.frame_bytes(hardware.activation_sram.bytes)
    unstored = set[str]() if stays else {state[name] for name in every_frame.kept_states}
    _add_ports(of, lowering, stream, state, unstored)
    rounds = -(-stream.frames // stream.together)
    reads = _weight_reads(lowering, plan, hardware, parameter_bytes, rounds, passed or {})
    _add_weights(of, reads, hardware, parameter_bytes)
    array_cycles = _array_cycles(lowering, plan, hardware, stream.frames, measured_array_cycles)
    for layer, outer in lowering.steps:
        for step, times in flat_steps([outer], stream.frames):
            if not may_be_transfer(step, lowering, states):
                of(layer).vector_cycles += vector_cycles(step, lowering, hardware) * times
            if isinstance(step, Vector) and step.mnemonic == "load_gather":
                size = (
                    step.dst.rows
                    * step.dst.cols
                    * ELEMENT_BYTES[lowering.buffers[step.dst.buffer].dtype]
                )
                of(layer).add_bytes(size * times)
            if isinstance(step, Matmul | Product):
                own = product_cycles(step, array_cycles(step), hardware)
                of(layer).mac_cycles += own * times
    whole = _whole(work.values())
    # The order of two products is left to the program.
    peeled = peel(lowering) if stream.paced else lowering
    orders = [lowering] if peeled is lowering else [lowering, peeled]
    every = [layer_paths(order, hardware, stream.frames) for order in orders]
    of_layers = {layer: min(paths[layer] for paths in every) for layer in every[0]}
    once = transfer_cycles(hardware)
    of_layers |= {STARTUP: once, STATE: once}
    of_layers |= dict.fromkeys((INPUT, OUTPUT), once * stream.frames)
    longest = chain = min(critical_path(order, hardware, stream, state) for order in orders)
    if frames_are_apart or stream.frames == 1:
        first, *others = decided or [None] * stream.frames
        paths = {
            one: min(frame_path(order, hardware, state, array_cycles, one) for order in orders)
            for one in {first, *others}
        }
        fill = of(STARTUP).bounds(hardware, 0, 0, stretches=1).dram_cycles
        used = weights_of_frame(lowering, first)
        loaded = math.fsum(read.cycles for read in reads if read.weight in used)
        fill = max(fill, math.floor(loaded))
        longest = max(longest, max(fill, paths[first]) + sum(map(paths.__getitem__, others)))
    stretches = 1 + (stream.frames if stream.paced else 0)
    return whole.bounds(hardware, longest, chain, stretches=stretches), {
        layer: part.bounds(hardware, of_layers.get(layer, 0), of_layers.get(layer, 0))
        for layer, part in work.items()
        if part != _Work()
    }


def _array_cycles(
    lowering: Lowering,
    plan: Plan,
    hardware: Hardware,
    frames: int,
    measured: Mapping[str, float],
) -> Callable[[Matmul | Product], float]:
    """How long the array takes for one run of a product, its inputs ready."""
    of_weight = _weight_cycles(lowering, plan, hardware, frames, measured)

    def cycles(step: Matmul | Product) -> float:
        if isinstance(step, Matmul):
            return of_weight(step)
        return _computed_cycles(step, lowering.buffers[step.codes.buffer].dtype, hardware)

    return cycles


def _computed_cycles(step: Product, dtype: str, hardware: Hardware) -> float:
    """The least that the array takes for computed codes; where it skips zeros, all may be some."""
    shape = geometry(hardware.mac, 8, 16 if dtype == "i16" else 8)
    (rows, outputs), inner = step.dst.shape, step.codes.cols
    if shape.is_outer:
        columns = 0 if shape.skip_activations else inner
        return float(rows * columns)
    skips = hardware.mac.zero_skip != "none"
    at_a_time = shape.window if skips else shape.macs / shape.halves
    return rows * -(-outputs // shape.lanes) * math.ceil(inner / at_a_time)


def _weight_cycles(
    lowering: Lowering,
    plan: Plan,
    hardware: Hardware,
    frames: int,
    measured: Mapping[str, float],
) -> Callable[[Matmul], float]:
    """`_array_cycles` of products with weights."""
    if hardware.mac.zero_skip not in ("activations", "both"):
        row_cycles = functools.cache(
            lambda weight: _row_cycles(weight, plan, lowering.compressed, hardware)
        )
        return lambda step: float(step.codes.rows * row_cycles(step.weight))
    rows: dict[str, float] = {}
    for step, times in flat_steps([step for _, step in lowering.steps], frames):
        if isinstance(step, Matmul):
            rows[step.weight] = rows.get(step.weight, 0) + step.codes.rows * times
    return lambda step: measured.get(step.weight, 0.0) * step.codes.rows / (rows[step.weight] or 1)


def _add_ports(
    of: Callable[[str], _Work],
    lowering: Lowering,
    stream: Stream,
    state: Mapping[str, str],
    unstored: Set[str],
) -> None:
    """Bytes of inputs that anything reads, of outputs, and of carried state."""
    graph, views = lowering.compressed.graph, lowering.views
    used = {access.buffer for _, step in lowering.steps for access in windows_read(step)}
    made = {access.buffer for _, step in lowering.steps for access in writes(step)}
    used |= {views[name].buffer for name in graph.outputs if name in views} - made
    for name, kind in graph.inputs.items():
        if name not in views or views[name].buffer not in used:
            continue
        is_state = name in state
        size = _num_bytes(kind) * (1 if is_state else stream.frames)
        of(STARTUP if is_state else INPUT).add_bytes(size)
    for name in graph.outputs:
        is_state = name in state.values()
        if name in unstored:
            continue
        size = _num_bytes(graph.types[name]) * (1 if is_state else stream.frames)
        of(STATE if is_state else OUTPUT).add_bytes(size)


def _add_state(
    of: Callable[[str], _Work], found: Carried, hardware: Hardware, stream: Stream
) -> None:
    """Bytes of constants, once, and of them and of state what no choice can keep on the chip."""
    of(STARTUP).add_bytes(found.constants)
    others = -(-stream.frames // stream.together) - 1
    again = found.frame_bytes(hardware.activation_sram.bytes) * others
    of(STATE).add_bytes(again, times=max(1, others))


def _num_bytes(kind: TensorType) -> int:
    """Bytes of a tensor as the chip holds it."""
    return kind.num_elements * ELEMENT_BYTES[chip_dtype(kind.dtype)]


def _runs(steps: Sequence[Step], times: int, large: Set[str]) -> list[tuple[str, int]]:
    """Weights in order of use and how often each has to be there anew; neighbours are one.

    But not those of a weight that is `large`, as its end takes the place of its beginning.
    """
    runs: list[tuple[str, int]] = []
    for step in steps:
        if isinstance(step, Matmul):
            more = [(step.weight, 1)]
        else:
            more = _runs(step.body, step.count, large) if isinstance(step, Loop) else []
        if runs and more and runs[-1][0] == more[0][0] and runs[-1][0] not in large:
            runs[-1] = (runs[-1][0], runs[-1][1] + more[0][1] - 1)
            more = more[1:]
        runs += more
    if len(runs) == 1 and runs[0][1] == 1 and runs[0][0] not in large:
        return runs
    repeated = [(name, count * times) for name, count in runs]
    if len(runs) > 1 and runs[0][0] == runs[-1][0] and runs[0][0] not in large:
        repeated[-1] = (repeated[-1][0], repeated[-1][1] - times + 1)
    return repeated


def _weight_uses(
    lowering: Lowering, plan: Plan, room: float, frames: int, passed: Mapping[int, Passed]
) -> dict[str, int]:
    """How often each weight has to be there anew; what data made run, once in each such frame."""
    uses: dict[str, int] = {}
    large = {name for name in plan.tiles if _held_bytes(name, lowering, plan) > room}
    for name, times in _runs(certain(step for _, step in lowering.steps), frames, large):
        uses[name] = uses.get(name, 0) + times
    used = {name: times for name, times in uncertain_weights(lowering, passed).items() if times}
    return {**used, **uses}


@dataclass(frozen=True)
class _Read:
    """A compressed tile, and how often it is read unless it stays on the chip.

    Attributes
    ----------
    weight : str
        The matrix that it is a part of.
    layer : str
        The first that uses it.
    block_bytes, held_bytes : int
        In DRAM, and in weight SRAM.
    cycles : float
        Of its load alone, DRAM's rows open.
    bus_cycles : float
        From its load's beginning until the bus has brought it and the rows that it surely opens.
    times : int
        Of the whole run; of what one loop alone uses, once a frame.
    loop : int
        That alone uses it.
    more : int
        Times that the loop's other rounds read it, unless it stays for the loop.
    """

    weight: str
    layer: str
    block_bytes: int
    held_bytes: int
    cycles: float
    bus_cycles: float
    times: int
    loop: int
    more: int


def weights_of_frame(lowering: Lowering, decided: Sequence[Decision] | None) -> set[str]:
    """Weights that a frame multiplies by: surely, or, if it is not long, by what data decided."""
    steps = [step for _, step in lowering.steps]
    is_long = sum(times for _, times in flat_steps(steps, 1)) > MAX_CHAIN_STEPS
    if decided is None or is_long:
        ran = (step for step, _ in flat_steps(certain(steps), 1))
    else:
        ran = (step for step, _ in executed_steps(steps, decided))
    return {step.weight for step in ran if isinstance(step, Matmul)}


def _weight_reads(
    lowering: Lowering,
    plan: Plan,
    hardware: Hardware,
    parameter_bytes: int,
    frames: int,
    passed: Mapping[int, Passed],
) -> list[_Read]:
    """Tiles of all weights that are used, and how often each has to be there anew."""
    room = float(hardware.weight_sram.bytes - parameter_bytes)
    uses = _weight_uses(lowering, plan, room, frames, passed)
    return list(_reads(lowering, plan, hardware, uses, frames))


def _add_weights(
    of: Callable[[str], _Work], every: Sequence[_Read], hardware: Hardware, parameter_bytes: int
) -> None:
    """Bytes and decoder cycles of the weight reads that no choice of pinned tiles can avoid."""
    room = float(hardware.weight_sram.bytes - parameter_bytes)
    for read, kept, streamed, again in _least_reads(every, lambda read: read.block_bytes, room):
        of(STARTUP).add_bytes(kept)
        of(read.layer).add_bytes(streamed, times=read.times)
        of(read.layer).add_again(again, times=read.times + read.more)
    passes = max((read.times + read.more for read in every), default=1)
    held = (passes - 1) * _ROWS_HELD * hardware.dram.banks * _row_miss_cycles(hardware)
    best: list[tuple[_Read, float, float]] = []
    share, most = 0.0, -1.0
    for cost, less in (
        (lambda read: read.cycles, 0.0),
        (lambda read: max(read.cycles, read.bus_cycles), held),
    ):
        found = [
            (read, kept, streamed + again)
            for read, kept, streamed, again in _least_reads(every, cost, room)
        ]
        total = math.fsum(kept + streamed for _, kept, streamed in found)
        if total - less > most:
            best, most = found, total - less
            share = 1 - less / total if total else 1.0
    for read, kept, streamed in best:
        of(STARTUP).decoder_cycles += kept * share
        of(read.layer).decoder_cycles += streamed * share


def _reads(
    lowering: Lowering, plan: Plan, hardware: Hardware, uses: Mapping[str, int], frames: int
) -> Iterator[_Read]:
    layer_of: dict[str, str] = {}
    for layer, outer in lowering.steps:
        for step, _ in flat_steps([outer], 1):
            if isinstance(step, Matmul):
                layer_of.setdefault(step.weight, layer)
    blocks = encode_tiles(lowering.compressed, plan, hardware)
    loop_of = _only_loops(lowering)
    for name, all_times in uses.items():
        times = min(all_times, frames) if name in loop_of else all_times
        width = element_width(lowering.compressed.weights[name].bits)
        for tile in plan.tiles[name]:
            block = blocks[tile.name]
            shape = (tile.n1 - tile.n0, tile.k1 - tile.k0)
            if name in plan.read:
                held = len(block)
                port = held / hardware.weight_sram.write_bytes_per_cycle
                cycles = max(port, held * hardware.clock_hz / hardware.dram.bytes_per_s)
            else:
                held = packed_bytes(*shape, width)
                cycles = load_cycles(block, shape, width, hardware, at_best=True)
            yield _Read(
                name,
                layer_of[name],
                len(block),
                held,
                cycles,
                _bus_cycles(len(block), hardware),
                times,
                loop_of.get(name, -1),
                all_times - times,
            )


def _bus_cycles(block_bytes: int, hardware: Hardware) -> float:
    """Until the bus has brought a block; of its rows the first and the last may be open."""
    dram = hardware.dram
    rows = max(0, -(-block_bytes // dram.row_bytes) - 2)
    seconds = dram.latency_ns * 1e-9 + block_bytes / dram.bytes_per_s
    return seconds * hardware.clock_hz + rows * _row_miss_cycles(hardware)


def _least_reads(
    reads: Sequence[_Read], cost: Callable[[_Read], float], room: float
) -> Iterator[tuple[_Read, float, float, float]]:
    """Costs of reads that add up to the least: of those that stay, stream, and stream in a loop."""
    whole = _least([(cost(read), read.held_bytes, read.times) for read in reads], room)
    again = dict.fromkeys(range(len(reads)), 0.0)
    for loop in {read.loop for read in reads if read.more}:
        within = [n for n, read in enumerate(reads) if read.more and read.loop == loop]
        rounds = [(cost(reads[n]), reads[n].held_bytes, reads[n].more + 1) for n in within]
        for n, (_, streamed) in zip(within, _least(rounds, room), strict=True):
            again[n] = streamed * reads[n].more / (reads[n].more + 1)
    for number, (kept, streamed) in enumerate(whole):
        yield reads[number], kept, streamed, again[number]


def _held_bytes(name: str, lowering: Lowering, plan: Plan) -> int:
    """Bytes of a weight in weight SRAM; what is read as blocks counts as none."""
    if name in plan.read:
        return 0
    width = element_width(lowering.compressed.weights[name].bits)
    return sum(packed_bytes(t.n1 - t.n0, t.k1 - t.k0, width) for t in plan.tiles[name])


def _only_loops(lowering: Lowering) -> dict[str, int]:
    """Number of the outermost loop of each weight that nothing outside it uses."""
    found: dict[str, set[int]] = {}
    for _, outer in lowering.steps:
        number = outer.number if isinstance(outer, Loop) else -1
        for step, _ in flat_steps([outer], 1):
            if isinstance(step, Matmul):
                found.setdefault(step.weight, set()).add(number)
    return {
        name: min(where) for name, where in found.items() if len(where) == 1 and -1 not in where
    }


def _least(reads: list[tuple[float, int, int]], room: float) -> list[tuple[float, float]]:
    """Costs of reads (cost, bytes in SRAM, times) that add up to the least total.

    What fits is read once (the first figure), the rest each time (the second).
    """
    found = [(0.0, 0.0)] * len(reads)
    saved = [-cost * (times - 1) / held for cost, held, times in reads]
    for number in sorted(range(len(reads)), key=saved.__getitem__):
        cost, held, times = reads[number]
        kept = min(1.0, max(0.0, room / held))
        room -= kept * held
        found[number] = cost * kept, cost * (1 - kept) * times
    return found


def _row_cycles(
    weight_name: str, plan: Plan, compressed: CompressedGraph, hardware: Hardware
) -> int:
    """The array's time for one row of activations, none of them skipped; in tiles, or all at once.

    Tiles of fewer rows than there are lanes take longer, and no other plan need have them.
    """
    weight = compressed.weights[weight_name]
    shape = geometry(hardware.mac, element_width(weight.bits), weight.activation_bits)
    if weight_name in plan.read:
        shape = geometry(hardware.mac, 8, weight.activation_bits)
        codec = used_codec(weight.codec, hardware)
        parts = [weight.codes[t.n0 : t.n1, t.k0 : t.k1] for t in plan.tiles[weight_name]]
        blocks = [(encode_codes(codec, codes, weight.bits), codes) for codes in parts]
        return sum(block_cycles(block, codes, shape).static_row_cycles for block, codes in blocks)

    def cycles(codes: np.ndarray) -> int:
        return MatmulCycles(np.ascontiguousarray(codes), shape).static_row_cycles

    return min(
        sum(cycles(weight.codes[t.n0 : t.n1, t.k0 : t.k1]) for t in plan.tiles[weight_name]),
        sum(cycles(weight.codes[:, low:high]) for low, high in itertools.pairwise(weight.segments)),
    )
