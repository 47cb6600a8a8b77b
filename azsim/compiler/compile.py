"""The compiler in one readable function: its passes in order.

Each pass is a function from values to values in a file of its name, whose docstring states its
contract; `azsim.compiler.valid` checks what it promises, and `observe` sees what it made.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from azsim.collector import no_collection
from azsim.compiler.allocate import Allocation
from azsim.compiler.arrange import arrange
from azsim.compiler.emit import Emitted, emit
from azsim.compiler.encode import encode_tiles
from azsim.compiler.estimate import Estimator, weights_behind_relu
from azsim.compiler.fold import fold
from azsim.compiler.fuse import fuse
from azsim.compiler.image import build_image
from azsim.compiler.lower import lower
from azsim.compiler.narrow import narrow
from azsim.compiler.order import order
from azsim.compiler.parameters import parameter_room_bytes, place_parameters
from azsim.compiler.peel import peel
from azsim.compiler.residency import choose_residents
from azsim.compiler.schedule import Schedule, check_windows
from azsim.compiler.select import select_codecs
from azsim.compiler.stored import used_codec
from azsim.compiler.synchronize import synchronize
from azsim.compiler.tile import Cuts, Plan, cut_tiles
from azsim.compiler.traffic import WeightTraffic, weight_traffic
from azsim.compiler.trim import trim
from azsim.compiler.valid import check_pass
from azsim.compiler.visits import weight_visits
from azsim.compiler.ways import Way, best_way
from azsim.errors import CompileError
from azsim.hardware.description import Hardware
from azsim.ir import CompressedGraph
from azsim.isa.encode import decode_words, encode_program
from azsim.isa.program import WAKE, DramImage, Port, Program, Stream, Tap
from azsim.ops.lowering import Lowering, chip_dtype
from azsim.ops.steps import ELEMENT_BYTES, writes

__all__ = ["PASSES", "Compiled", "Observe", "WeightStorage", "compile_graph", "necessary_steps"]

PASSES = (
    "fold",
    "lower",
    "fuse",
    "narrow",
    "trim",
    "arrange",
    "parameters",
    "tile",
    "residency",
    "select",
    "encode",
    "peel",
    "order",
    "spill",
    "beside",
    "join",
    "prefetch",
    "unroll",
    "together",
    "overlap",
    "merge",
    "fill",
    "allocate",
    "emit",
    "synchronize",
    "image",
)
"""Names of the passes in the order in which `compile_graph` calls them, each a file beside this."""

_SMALLER = (2, 4)
"""How many times smaller tiles are tried where those of the best plan do not do."""
_WORTH_OTHER_TILES = 0.9
"""Part of the array's work on a frame that is left where another plan is worth to be tried."""

Observe = Callable[[str, object], None]
"""Called after each pass with its name and its value, which is not to be changed."""

_Value = TypeVar("_Value")


@dataclass(frozen=True)
class WeightStorage:
    """How one weight matrix is stored.

    Attributes
    ----------
    name : str
    codec : str
        Codec in the image.
    bits : int
        Of a weight as the scheme counts it: of a code, or of an index into a palette.
    weights : int
        Number of weights.
    zeros : int
        Codes that are zero.
    encoded_bytes : int
        Blocks with their headers.
    scale_bytes : int
    tiles, pinned_tiles : int
    """

    name: str
    codec: str
    bits: int
    weights: int
    zeros: int
    encoded_bytes: int
    scale_bytes: int
    tiles: int
    pinned_tiles: int


@dataclass(frozen=True)
class Compiled:
    """A program with its image, and what the passes decided.

    Attributes
    ----------
    program : Program
    image : DramImage
        Inputs still zero.
    weights : tuple of WeightStorage
    fused : mapping of str to str
        Tensors that exist only in the graph, and why.
    plan : Plan
    schedule : Schedule
    allocation : Allocation
    compressed : CompressedGraph
        With the codecs that were selected for this chip.
    weight_traffic : WeightTraffic
        What the run will read from DRAM.
    leaves : mapping of int to int
        Branches that end loops by data, see `azsim.compiler.regions`.
    """

    program: Program
    image: DramImage
    weights: tuple[WeightStorage, ...]
    fused: Mapping[str, str]
    plan: Plan
    schedule: Schedule
    allocation: Allocation
    compressed: CompressedGraph
    weight_traffic: WeightTraffic
    leaves: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True)
class _CarriedOut:
    """A plan, and what the passes from there to the places in SRAM made of it."""

    plan: Plan
    compressed: CompressedGraph
    blocks: Mapping[str, bytes]
    lowering: Lowering
    way: Way

    @property
    def frames_per_weight_load(self) -> int:
        """Frames of a round for which a weight that is streamed is loaded once."""
        together = self.way.together
        return together.per_round if together.shares_loads and self.plan.slot_bytes else 1


def _first_that_fits(
    cuts: Cuts,
    choose: Callable[[Cuts], Plan],
    carried_out: Callable[[Plan, dict[str, object]], _CarriedOut],
    notes: dict[str, object],
) -> _CarriedOut:
    """Carry out the best plan, or one with smaller tiles.

    Those make less at a time, so that activation SRAM may have room for it.
    """
    plan = choose(cuts)
    try:
        return carried_out(plan, notes)
    except CompileError:
        for share in _SMALLER:
            few = tuple(cut for cut in cuts.cuts if 0 < share * cut.slot_bytes <= plan.slot_bytes)
            others: dict[str, object] = {}
            with contextlib.suppress(CompileError):
                if few:
                    found = carried_out(choose(replace(cuts, cuts=few)), others)
                    notes.clear()
                    notes.update(others)
                    return found
        raise


@no_collection()
def compile_graph(
    compressed: CompressedGraph,
    hardware: Hardware,
    stream: Stream,
    state: Mapping[str, str],
    name: str,
    observe: Observe | None = None,
    utterances: int = 1,
) -> Compiled:
    """Compile a compressed graph for a chip.

    Parameters
    ----------
    compressed : CompressedGraph
    hardware : Hardware
    stream : Stream
        How many frames there are and how they arrive; the graph computes one frame.
    state : mapping of str to str
        Carried tensors: graph input to graph output.
    name : str
        The program's name.
    observe : callable, optional
        ``observe(pass, value)``.
    utterances : int
        Parts of the stream, each of which begins with the initial state.  How long each is, the
        input `azsim.isa.program.WAKE` says: 1 with the last frame of each, else 0.

    Raises
    ------
    CompileError
        If the graph does not fit the hardware.
    UnsupportedError
        If an operator cannot be lowered.
    """
    made: dict[str, object] = {}

    def after(name: str, value: _Value) -> _Value:
        check_pass(name, value, made, hardware)
        made[name] = value
        if observe is not None:
            observe(name, value)
        return value

    folded = after("fold", fold(compressed))
    lowering = after("lower", lower(folded.compressed, state))
    lowering = after("fuse", fuse(lowering, hardware))
    lowering = after("narrow", narrow(lowering))
    lowering = after("trim", trim(lowering))
    lowering = after("arrange", arrange(lowering, hardware))
    placed = place_parameters(lowering, parameter_room_bytes(lowering, hardware))
    parameters = after("parameters", placed)
    cuts = after("tile", cut_tiles(lowering, hardware, 4 * parameters.values.size))
    visits = weight_visits(lowering, hardware)
    behind_relu = weights_behind_relu(step for _, step in lowering.steps)

    def carried_out(plan: Plan, notes: dict[str, object]) -> _CarriedOut:
        notes["residency"] = plan
        notes["select"] = compressed = select_codecs(lowering.compressed, plan, hardware)
        notes["encode"] = blocks = encode_tiles(compressed, plan, hardware)
        own = lowering.copy()  # to which storages are added
        notes["peel"] = peeled = peel(own, plan) if stream.paced else own
        accumulators = hardware.mac.accumulators
        notes["order"] = schedule = order(
            peeled, plan, parameters, blocks, stream.frames, state, accumulators, utterances
        )
        check_windows(schedule)
        estimator = Estimator(compressed, plan, blocks, hardware, behind_relu)
        way = best_way(schedule, state, estimator, hardware, stream, utterances)
        notes.update(way.made)
        return _CarriedOut(plan, compressed, blocks, peeled, way)

    notes: dict[str, object] = {}
    try:
        best = _first_that_fits(
            cuts, lambda cuts: choose_residents(cuts, visits, hardware, stream), carried_out, notes
        )
        if (per_load := best.frames_per_weight_load) > 1:
            # What is loaded less often than was thought may come in larger tiles.
            lanes, others = hardware.mac.lanes, dict[str, object]()
            with contextlib.suppress(CompileError):
                plan = choose_residents(cuts, visits, hardware, stream, per_load)
                least = _WORTH_OTHER_TILES * best.plan.num_columns(lanes)
                other = carried_out(plan, others) if plan.num_columns(lanes) <= least else best
                if other.way.fitted.cycles < best.way.fitted.cycles:
                    best, notes = other, others
    finally:  # what was made before an error is of interest, too
        for pass_name, made_by_it in notes.items():
            after(pass_name, made_by_it)
    plan, compressed, blocks, fitted = best.plan, best.compressed, best.blocks, best.way.fitted
    schedule, allocation = fitted.schedule, fitted.allocation
    emitted = after("emit", emit(schedule, allocation))
    program = after(
        "synchronize",
        synchronize(_program(name, best.lowering, emitted, allocation, stream, state, schedule)),
    )
    # What runs is what the words say.
    program = replace(program, instructions=decode_words(encode_program(program)))
    filled = build_image(best.lowering, plan, parameters, blocks, allocation, schedule.storages)
    image = after("image", filled)
    return Compiled(
        program,
        image,
        tuple(_storage(name, compressed, plan, blocks, hardware) for name in plan.tiles),
        {**folded.gone, **best.lowering.fused},
        plan,
        schedule,
        allocation,
        _with_codecs(folded.compressed, compressed),
        weight_traffic(schedule, allocation, hardware),
        emitted.leaves,
    )


def _with_codecs(graph: CompressedGraph, chosen: CompressedGraph) -> CompressedGraph:
    """Weights as the graph has them, with the codecs of the ones that the chip holds."""
    weights = {
        name: replace(weight, codec=chosen.weights[name].codec)
        for name, weight in graph.weights.items()
    }
    return replace(graph, weights=weights)


def necessary_steps(compressed: CompressedGraph, hardware: Hardware) -> Lowering:
    """Lower and rewrite steps as `compile_graph` does, for bounds on the work that is left."""
    return arrange(trim(narrow(fuse(lower(compressed), hardware))), hardware)


def _program(
    name: str,
    lowering: Lowering,
    emitted: Emitted,
    allocation: Allocation,
    stream: Stream,
    state: Mapping[str, str],
    schedule: Schedule,
) -> Program:
    """Instructions with their regions, ports and taps; no waits yet."""
    graph = lowering.compressed.graph
    in_dram = {
        target: f"input {source}"
        for source, target in schedule.spilled.items()
        if f"output {target}" not in allocation.addresses
    }
    inputs = [
        Port(
            tensor,
            allocation.addresses[f"input {tensor}"],
            kind.shape,
            1 if tensor in state else stream.frames,
            chip_dtype(kind.dtype),
            axes=_axes(lowering, tensor, state),
        )
        for tensor, kind in graph.inputs.items()
        if f"input {tensor}" in allocation.addresses
    ]
    if f"input {WAKE}" in allocation.addresses:
        addr = allocation.addresses[f"input {WAKE}"]
        inputs.append(Port(WAKE, addr, (1,), stream.frames, "i32"))
    return Program(
        name=name,
        instructions=emitted.instructions,
        layers=emitted.layers,
        layer_of=emitted.layer_of,
        region_of_view=emitted.region_of_view,
        regions=emitted.regions,
        taps=_taps(lowering, emitted.last_write, schedule.copies, allocation, state),
        inputs=tuple(inputs),
        outputs=tuple(
            Port(
                tensor,
                allocation.addresses[place],
                graph.types[tensor].shape,
                1 if tensor in state.values() else stream.frames,
                chip_dtype(graph.types[tensor].dtype),
                0 if tensor in state.values() else _step_bytes(schedule, place),
                _axes(lowering, tensor, state),
            )
            for tensor in graph.outputs
            for place in (in_dram.get(tensor, f"output {tensor}"),)
        ),
        stream=replace(stream, together=schedule.per_round),
    )


def _axes(lowering: Lowering, tensor: str, state: Mapping[str, str]) -> tuple[int, ...]:
    """Axes of a state as they lie in memory where that is not their order, else none."""
    sources = {target: source for source, target in state.items()}
    view = lowering.views.get(sources.get(tensor, tensor))
    if view is None or view.is_contiguous or (tensor not in state and tensor not in sources):
        return ()
    return tuple(sorted(range(len(view.shape)), key=lambda axis: -view.strides[axis]))


def _step_bytes(schedule: Schedule, place: str) -> int:
    """From a frame to the next one where results of several kinds lie in turns, else 0."""
    storage = schedule.storages[place]
    if storage.within is None or schedule.frames == 1:
        return 0
    return schedule.storages[storage.whole].size_bytes // schedule.frames


def _taps(
    lowering: Lowering,
    last_write: Mapping[tuple[str, int], int],
    copies: Mapping[tuple[str, int], str],
    allocation: Allocation,
    state: Mapping[str, str],
) -> tuple[Tap, ...]:
    """Where each tensor is complete; carried inputs are seen as the outputs they come from."""
    taps = []
    inputs = lowering.compressed.graph.inputs
    written = {access.buffer for _, step in lowering.steps for access in writes(step)}
    carried = {lowering.views[name].buffer for name in state}  # holds the next frame's at the end
    frames = range(1 + max((frame for _, frame in last_write), default=0))
    for (tensor, view), frame in itertools.product(lowering.views.items(), frames):
        # A further frame of a round may work in a buffer of its own.
        name = copies.get((view.buffer, frame), view.buffer)
        buffer = lowering.buffers[view.buffer]
        is_constant = buffer.constant is not None
        if (name, frame) not in last_write or view.buffer in carried or is_constant:
            continue
        if tensor in lowering.fused:
            continue
        if tensor in inputs and view.buffer in written:
            continue  # written over in place
        size = ELEMENT_BYTES[buffer.dtype]
        taps.append(
            Tap(
                last_write[name, frame],
                tensor,
                allocation.addresses[name] + size * view.offset,
                view.shape,
                tuple(size * step for step in view.strides),
                buffer.dtype,
                frame,
            )
        )
    return tuple(sorted(taps, key=lambda tap: tap.index))


def _storage(
    name: str,
    compressed: CompressedGraph,
    plan: Plan,
    blocks: Mapping[str, bytes],
    hardware: Hardware,
) -> WeightStorage:
    weight = compressed.weights[name]
    tiles = plan.tiles[name]
    return WeightStorage(
        name=name,
        codec=used_codec(weight.codec, hardware).name,
        bits=weight.scheme_bits,
        weights=weight.codes.size,
        zeros=int((weight.codes == 0).sum()),
        encoded_bytes=sum(len(blocks[tile.name]) for tile in tiles),
        scale_bytes=4 * weight.num_scales,
        tiles=len(tiles),
        pinned_tiles=sum(tile.name in plan.pinned for tile in tiles),
    )
