"""What the cycle-stepped machine has to do, from a trace: rows of figures for each instruction.

Nothing here has a time.  Shapes, operations and blocks are looked at again, apart from what the
fast model makes of them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from azsim.arith import TABLE_FUNCTIONS
from azsim.codecs import block_column_entries, block_lane_steps
from azsim.hardware.description import Hardware, VectorEngine
from azsim.isa.program import Program
from azsim.machine.engines.exact_array import ArrayShape, Matrices
from azsim.machine.engines.exact_chip import Work
from azsim.machine.engines.exact_lanes import Blocks
from azsim.machine.engines.exact_sequencer import Instructions
from azsim.machine.engines.exact_transfer import Transfers
from azsim.machine.engines.exact_vector import Passes
from azsim.machine.trace import Site, Trace
from azsim.sim.flatten import FlatTrace

__all__ = ["all_work", "array_shape", "most_products", "vector_passes"]

_CONTROL, _FENCE = -1, 5
_WIDTH_GAIN = {8: 1, 4: 2, 2: 4}
_ROWS, _OUTPUTS, _INNER, _HALVES, _WINDOW = 1, 2, 3, 5, 6  # columns of `Matrices.of`


def all_work(flat: FlatTrace, program: Program, hardware: Hardware) -> Work:
    """Everything that a trace asks of a chip."""
    return Work(
        _instructions(flat, program),
        _transfers(flat, hardware),
        _blocks(flat.trace, hardware.decoder.lanes),
        _matrices(flat, hardware),
        _passes(flat, hardware),
    )


def _instructions(flat: FlatTrace, program: Program) -> Instructions:
    stream = np.full(len(flat.trace.sequence), _CONTROL, np.int64)
    stream[flat.positions] = flat.engine
    base = np.searchsorted(np.sort(flat.engine), np.arange(_FENCE + 1))
    members = np.argsort(flat.engine, kind="stable")
    return Instructions(
        stream,
        np.ascontiguousarray(members, np.int64),
        np.ascontiguousarray(base, np.int64),
        flat.targets(),
        flat.arrivals(program),
    )


def _rows(
    flat: FlatTrace, size: int, figures: Callable[[Site], tuple[int, ...] | None]
) -> np.ndarray:
    """A row of `size` figures for each instruction, those of its site; zeros where it has none."""
    rows = [figures(site) or (0,) * size for site in flat.trace.sites]
    return np.array(rows, np.int64).reshape(len(rows), size)[flat.site]


def _transfers(flat: FlatTrace, hardware: Hardware) -> Transfers:
    port_bits = 8 * hardware.weight_sram.write_bytes_per_cycle

    def figures(site: Site) -> tuple[int, ...] | None:
        if site.mnemonic != "weight_load":
            return None
        block_bits, dst = 8 * site.views["src"].num_bytes, site.views["dst"]
        row_bits = -(-dst.cols * dst.element_bits // 8) * 8
        return block_bits, max(1, port_bits * dst.cols // row_bits), port_bits

    sizes = _rows(flat, 3, figures)
    offset_bits = flat.trace.payload[flat.positions] % hardware.dram.burst_bytes * 8
    block = flat.trace.tile_of[flat.positions]
    listed_at, listed = _listed(flat, hardware.dram.burst_bytes)
    columns = flat.first_burst, flat.num_bursts, block, offset_bits, *sizes.T, listed_at
    return Transfers(np.stack(columns, axis=1).astype(np.int64), listed)


def _listed(flat: FlatTrace, burst_bytes: int) -> tuple[np.ndarray, np.ndarray]:
    """Where the bursts of strided and gathered transfers begin (others: -1), and all of these."""
    trace = flat.trace
    at = np.full(len(flat.site), -1, np.int64)
    listed: list[int] = []
    for number, position in enumerate(flat.positions.tolist()):
        site, payload = trace.sites[flat.site[number]], int(trace.payload[position])
        if site.mnemonic not in ("load", "store", "load_gather", "store_scatter"):
            continue
        view = site.views["dst" if site.mnemonic.startswith("store") else "src"]
        size = view.element_bits // 8
        if "indices" in site.views:
            count = site.views["indices"].rows
            rows = trace.gathered[payload : payload + count].tolist()
        elif view.rows == 1 or view.row_stride == view.cols:
            continue
        else:
            rows = [payload + row * view.row_stride * size for row in range(view.rows)]
        at[number] = len(listed)
        for low in rows:
            listed += range(low // burst_bytes, (low + view.cols * size - 1) // burst_bytes + 1)
        assert len(listed) - at[number] == flat.num_bursts[number]
    return at, np.array(listed, np.int64)


def _blocks(trace: Trace, lanes: int) -> Blocks:
    loads = [number for number, site in enumerate(trace.sites) if site.mnemonic == "weight_load"]
    loaded = set(trace.tile_of[np.isin(trace.sequence, loads)].tolist()) - {-1}
    heads = np.zeros(len(trace.tiles), np.int64)
    windows = np.zeros(len(trace.tiles), np.int64)
    first = np.zeros((len(trace.tiles), lanes + 1), np.int64)
    bits: list[np.ndarray] = [np.zeros(0, np.int64)]
    codes: list[np.ndarray] = [np.zeros(0, np.int64)]
    begin = 0
    for number in sorted(loaded):
        steps = block_lane_steps(trace.tiles[number].encoded, lanes)
        heads[number] = steps.head_bits
        windows[number] = steps.window_bits
        first[number] = begin + steps.first
        bits.append(steps.bits)
        codes.append(steps.codes)
        begin += len(steps.bits)
    return Blocks(
        heads,
        windows,
        first,
        np.concatenate(bits, dtype=np.int64),
        np.concatenate(codes, dtype=np.int64),
    )


def array_shape(hardware: Hardware) -> ArrayShape:
    """Sizes of the MAC array."""
    mac = hardware.mac
    return ArrayShape(
        mac.lanes,
        mac.queue_depth,
        mac.zero_skip in ("weights", "both"),
        mac.zero_skip in ("activations", "both"),
        mac.dataflow == "outer",
        mac.drain_lanes,
        mac.pipeline_cycles,
    )


def _matrices(flat: FlatTrace, hardware: Hardware) -> Matrices:
    mac, trace = hardware.mac, flat.trace

    def figures(site: Site) -> tuple[int, ...] | None:
        if site.mnemonic == "mac_drain":
            return site.views["dst"].num_elements, 0, 0, 0, 0, 0, 0
        if site.mnemonic != "mac_matmul":
            return None
        source, weights = site.views["src"], site.views["src2"]
        gain, halves = _WIDTH_GAIN[weights.element_bits], source.element_bits // 8
        window = max(1, mac.window * gain // halves)
        inner = source.cols
        return 0, source.rows, weights.rows, inner, mac.macs_per_lane * gain, halves, window

    rows = _rows(flat, 7, figures)
    is_product = rows[:, _ROWS] > 0
    tile = np.where(is_product, trace.tile_of[flat.positions], -1)
    begins, masks = _weight_masks(trace, set(tile.tolist()))
    blocks, entries = _entries(flat, tile)
    is_of_two = is_product & (tile < 0)
    row_bytes = -(-rows[:, _INNER] // 8)
    mask_at = np.zeros(len(rows), np.int64)
    mask_at[is_product] = trace.mask_at
    after_source = mask_at + rows[:, _ROWS] * row_bytes
    rest = np.zeros((len(rows), 5), np.int64)
    rest[:, 0] = np.where(is_of_two, len(masks) + after_source, begins[tile])
    if is_of_two.any():
        masks = np.concatenate([masks, trace.masks])
    rest[:, 1] = mask_at
    rest[:, 2] = -1
    rest[:, 4] = _rows(flat, 1, lambda site: _drain_cycles(site, hardware))[:, 0]
    for number, (where, begin, lanes) in blocks.items():
        halves = rows[where, _HALVES]
        rows[where, _OUTPUTS] = lanes
        rest[where, 2] = begin
        rest[where, 3] = -(-halves // mac.macs_per_lane)
        assert (tile[where] == number).all()
    return Matrices(np.concatenate([rows, rest], axis=1), masks, trace.masks, entries)


def _drain_cycles(site: Site, hardware: Hardware) -> tuple[int] | None:
    """Cycles of each group of a drain: a table and a divider in a row, the slower one counts."""
    if site.mnemonic != "mac_drain":
        return None
    vector = hardware.vector
    cycles = {"sigmoid": vector.table_cycles, "tanh": vector.table_cycles}.get(site.function, 1)
    is_float = site.views["dst"].dtype == "f32"
    return (cycles if is_float else max(cycles, vector.divide_cycles),)


def _weight_masks(trace: Trace, used: set[int]) -> tuple[np.ndarray, np.ndarray]:
    """Byte at which each tile begins, and the bits of the non-zero codes of those that are used."""
    masks = [np.zeros(0, np.uint8)]
    begins = np.zeros(len(trace.tiles) + 1, np.int64)
    for number, tile in enumerate(trace.tiles):
        if number in used:
            masks.append(np.packbits(tile.codes != 0, axis=1).reshape(-1))
            begins[number + 1 :] += len(masks[-1])
    return begins, np.concatenate(masks)


def _entries(
    flat: FlatTrace, tile: np.ndarray
) -> tuple[dict[int, tuple[np.ndarray, int, int]], np.ndarray]:
    """Blocks that the array reads: by tile the instructions, where its entries begin, its lanes."""
    is_read = np.array(
        [
            site.mnemonic == "mac_matmul" and site.views["src2"].dtype == "u8"
            for site in flat.trace.sites
        ],
        bool,
    )[flat.site]
    found: dict[int, tuple[np.ndarray, int, int]] = {}
    entries = [np.zeros(0, np.int64)]
    begin = 0
    for number in np.unique(tile[is_read]).tolist():
        of_block = block_column_entries(flat.trace.tiles[number].encoded)
        found[number] = np.flatnonzero(is_read & (tile == number)), begin, len(of_block)
        entries.append(of_block.reshape(-1))
        begin += of_block.size
    return found, np.concatenate(entries, dtype=np.int64)


def most_products(matrices: Matrices, shape: ArrayShape) -> tuple[int, int]:
    """Products of the largest sum (`outer`: of the largest tile); positions of the longest row."""
    outputs, inner = matrices.of[:, _OUTPUTS], matrices.of[:, _INNER]
    window = np.maximum(1, matrices.of[:, _WINDOW])
    if shape.is_outer:
        rows_of_lane = -(-outputs // shape.lanes)
        windows = inner * -(-rows_of_lane // window)
    else:
        windows = -(-inner // window)
    return int(windows.max(initial=0)) * shape.lanes, int(inner.max(initial=0))


def _passes(flat: FlatTrace, hardware: Hardware) -> Passes:
    rows, shapes = [], []
    for site in flat.trace.sites:
        if site.engine != "vector":
            rows.append((0, 0, 0))
            continue
        is_chained, passes = vector_passes(site, hardware.vector)
        rows.append((is_chained, len(shapes), len(passes)))
        shapes += passes
    of = np.array(rows, np.int64).reshape(len(rows), 3)[flat.site]
    return Passes(of, np.array(shapes, np.int64).reshape(len(shapes), 3))


def vector_passes(site: Site, vector: VectorEngine) -> tuple[bool, list[tuple[int, int, int]]]:
    """What the vector engine does for an instruction.

    Returns
    -------
    is_chained : bool
        Whether each row needs the one before.
    passes : list of (int, int, int)
        For each pass its rows, the elements of a row (where rows do not matter, all elements are
        one row), and the cycles that a group of elements takes in the lanes.
    """
    if "peak" in site.views and site.mnemonic == "vector_quantize":
        num_peaks, elements = (site.views[name].num_elements for name in ("peak", "dst"))
        return False, [(1, num_peaks, 1), (1, elements, vector.divide_cycles)]
    shape, is_chained, passes = _equal_passes(site, vector)
    return is_chained, [(*shape, cycles) for cycles in passes]


def _equal_passes(site: Site, vector: VectorEngine) -> tuple[tuple[int, int], bool, list[int]]:
    """Passes of one shape: rows and elements, whether rows are chained, a group's cycles."""
    dst = site.views["dst"]
    divide, table = vector.divide_cycles, vector.table_cycles
    flat = 1, dst.num_elements
    match site.mnemonic:
        case "vector_unary" | "vector_binary":
            slow = {"div": divide, "sqrt": divide, **dict.fromkeys(TABLE_FUNCTIONS, table)}
            return flat, False, [slow.get(site.function, 1)]
        case "vector_copy" | "vector_fill" | "vector_compare" | "vector_convert" | "vector_select":
            return flat, False, [1]
        case "vector_multiply_add":
            return flat, False, [1]
        case "vector_quantize":  # the largest magnitude of a dynamic scale is looked for first
            return flat, False, [divide] if site.static else [1, divide]
        case "vector_scan" | "vector_cumulative_sum":
            return (dst.rows, dst.cols), True, [1]
        case "vector_gather":
            return (dst.rows, dst.cols), False, [1]
    src = site.views["src"]
    rows = src.rows, src.cols
    match site.mnemonic:
        case "vector_reduce" | "vector_arg" | "vector_hash" | "vector_scatter":
            return rows, False, [1]
        case "vector_top_k":
            return rows, False, [1] * dst.cols
        case "vector_softmax":
            return rows, False, [1, table, divide]
        case "vector_norm":  # mean and mean of squares of a layer norm, mean of squares of others
            return rows, False, [1, 1, divide] if site.function == "layer_norm" else [1, divide]
    raise ValueError(f"the cycle-stepped vector engine does not know {site.mnemonic}")
