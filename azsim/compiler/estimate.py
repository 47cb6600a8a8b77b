"""Estimates of what items take, for the passes that put them in order.

Vector instructions by their own timing rule, products by their tile's windows with some activations
zero (for an array that skips those), as many as there are behind a relu or elsewhere, transfers by
rate and latency as if nothing else used DRAM.
"""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Collection, Iterable, Mapping

import numpy as np

from azsim.compiler.loading import decoder_cycles, load_cycles
from azsim.compiler.schedule import BLOCK_SUFFIX, Item, Storage, accesses, is_weight_product
from azsim.compiler.tile import Plan, Tile, element_width
from azsim.compiler.windows import inner_steps
from azsim.hardware.description import Hardware
from azsim.ir import CompressedGraph
from azsim.isa.spec import instruction_set
from azsim.machine.engines.mac import block_cycles, geometry, matmul_cycles
from azsim.machine.instructions import instructions
from azsim.machine.trace import Site
from azsim.machine.view import ELEMENT_BITS, View
from azsim.ops.lowering import Access, Copy, Matmul, Quantize, Step, Unary
from azsim.ops.steps import writes

__all__ = [
    "Estimator",
    "engine_of",
    "instruction_cycles",
    "transfer_cycles",
    "view_of",
    "weights_behind_relu",
]

_BEHIND_RELU = 0.5
"""Share of activations behind a relu that are not zero."""
_ELSEWHERE = 0.95
"""The same of others: their codes are zero where a number is small beside the largest one."""


def engine_of(item: Item) -> str:
    """Engine that carries an item out."""
    return instruction_set().instructions[item.mnemonic].engine


class Estimator:
    """Cycles of items on a chip.

    Parameters
    ----------
    compressed : CompressedGraph
    plan : Plan
    blocks : mapping of str to bytes
        Compressed block of each tile, by tile name.
    hardware : Hardware
    behind_relu : collection of str
        Weights that multiply what a relu has made, see `weights_behind_relu`.
    """

    def __init__(
        self,
        compressed: CompressedGraph,
        plan: Plan,
        blocks: Mapping[str, bytes],
        hardware: Hardware,
        behind_relu: Collection[str] = (),
    ) -> None:
        self._compressed = compressed
        self._behind_relu = behind_relu
        self._plan = plan
        self._blocks = blocks
        self._hardware = hardware
        self._tiles = {tile.name: tile for tiles in plan.tiles.values() for tile in tiles}
        self._row_cycles: dict[tuple[str, int, int, int, int], int] = {}
        self._loads: dict[str, tuple[int, int]] = {}
        self._densities: dict[str, float] = {}

    def cycles(self, item: Item, storages: Mapping[str, Storage], *, roughly: bool = False) -> int:
        """Cycles of an item whose windows show `storages`.

        Parameters
        ----------
        item : Item
        storages : mapping of str to Storage
        roughly : bool
            Take a product's windows as equally full, and a load as its bytes: a thousand tiles are
            not looked at one by one.
        """
        if item.mnemonic == "mac_matmul" and not is_weight_product(item, storages):
            return self._computed_product(item, storages)
        if item.mnemonic == "mac_matmul":
            return self._rough_product(item) if roughly else self._product(item)
        if item.mnemonic in ("load_gather", "store_scatter"):
            return self._by_number(item, storages)
        if item.mnemonic in ("load", "store", "weight_load"):
            return self._transfer(item, storages, roughly=roughly)
        return instruction_cycles(item, storages, self._hardware)

    def is_decoded_slowly(self, item: Item) -> bool:
        """Whether a load's decoder takes longer than its bytes do, so that DRAM has time left."""
        if item.mnemonic != "weight_load":
            return False
        source = item.operands["src"]
        assert isinstance(source, Access)
        name = source.buffer.removesuffix(BLOCK_SUFFIX)
        return self._of_load(name)[1] > self.bus_cycles(item)

    def bus_cycles(self, item: Item) -> int:
        """Cycles of DRAM for a weight's block, from its first burst on."""
        source = item.operands["src"]
        assert isinstance(source, Access)
        return _dram_cycles(self._hardware, source.rows * source.cols)

    def _tile_of(self, access: Access) -> Tile:
        """Tile that a window into weight SRAM shows, in a slot or not."""
        return self._tiles[access.buffer.partition("@")[0]]

    def _product(self, item: Item) -> int:
        source, window = item.operands["src"], item.operands["src2"]
        assert isinstance(source, Access)
        assert isinstance(window, Access)
        mac = self._hardware.mac
        tile = self._tile_of(window)
        is_read = tile.weight in self._plan.read
        row, col = (0, 0) if is_read else divmod(window.offset, max(1, window.row_stride))
        key = (tile.name, row, window.rows, col, source.cols)
        if key not in self._row_cycles:
            weight = self._compressed.weights[tile.weight]
            shape = geometry(mac, element_width(weight.bits), weight.activation_bits)
            if is_read:
                codes = weight.codes[tile.n0 : tile.n1, tile.k0 : tile.k1]
                shape = geometry(mac, 8, weight.activation_bits)
                prepared = block_cycles(self._blocks[tile.name], codes, shape)
            else:
                n0, k0 = tile.n0 + row, tile.k0 + col
                codes = weight.codes[n0 : n0 + window.rows, k0 : k0 + source.cols]
                codes = np.ascontiguousarray(codes)
                digest = hashlib.blake2b(codes.tobytes(), digest_size=16).hexdigest()
                prepared = matmul_cycles(f"{codes.shape} {digest}", codes, shape)
            share = _BEHIND_RELU if tile.weight in self._behind_relu else _ELSEWHERE
            self._row_cycles[key] = int(prepared.row_cycles(_active(source.cols, share))[0])
        return mac.pipeline_cycles + source.rows * self._row_cycles[key]

    def _computed_product(self, item: Item, storages: Mapping[str, Storage]) -> int:
        """Cycles of a product of computed codes, as if none were zero."""
        source, window = item.operands["src"], item.operands["src2"]
        assert isinstance(source, Access)
        assert isinstance(window, Access)
        activation_bits = ELEMENT_BITS[storages[source.buffer].dtype]
        shape = geometry(self._hardware.mac, 8, activation_bits)
        if shape.is_outer:
            row_cycles = source.cols * -(-window.rows // shape.lanes)
        else:
            steps = -(-source.cols * shape.halves // shape.macs)
            row_cycles = steps * -(-window.rows // shape.lanes)
        return self._hardware.mac.pipeline_cycles + source.rows * row_cycles

    def _rough_product(self, item: Item) -> int:
        source, window = item.operands["src"], item.operands["src2"]
        assert isinstance(source, Access)
        assert isinstance(window, Access)
        weight = self._compressed.weights[self._tile_of(window).weight]
        shape = geometry(self._hardware.mac, element_width(weight.bits), weight.activation_bits)
        per_window = shape.window * self._density(weight.name) * shape.halves / shape.macs
        windows = -(-source.cols // shape.window) * -(-window.rows // shape.lanes)
        row_cycles = math.ceil(windows * max(1.0, per_window))
        return self._hardware.mac.pipeline_cycles + source.rows * row_cycles

    def _density(self, weight: str) -> float:
        if weight not in self._densities:
            codes = self._compressed.weights[weight].codes
            self._densities[weight] = np.count_nonzero(codes) / max(1, codes.size)
        return self._densities[weight]

    def _transfer(self, item: Item, storages: Mapping[str, Storage], *, roughly: bool) -> int:
        if item.mnemonic == "weight_load" and not roughly:
            window = item.operands["src"]
            assert isinstance(window, Access)
            return self._of_load(window.buffer.removesuffix(BLOCK_SUFFIX))[0]
        return transfer_cycles(item, storages, self._hardware)

    def _by_number(self, item: Item, storages: Mapping[str, Storage]) -> int:
        """Cycles of rows from or to a table in DRAM, each of which lies somewhere else."""
        window = item.operands["dst" if item.mnemonic == "load_gather" else "src"]
        dram = self._hardware.dram
        assert isinstance(window, Access)
        row_bytes = window.cols * ELEMENT_BITS[storages[window.buffer].dtype] // 8
        waits = (dram.latency_ns + window.rows * dram.row_miss_ns) * 1e-9 * self._hardware.clock_hz
        return window.rows * _dram_cycles(self._hardware, row_bytes) + math.ceil(waits)

    def _of_load(self, name: str) -> tuple[int, int]:
        """Cycles of a block's load when nothing else uses DRAM, and of its decoder alone."""
        if name not in self._loads:
            tile, block = self._tiles[name], self._blocks[name]
            if tile.weight in self._plan.read:
                latency = self._hardware.dram.latency_ns * 1e-9 * self._hardware.clock_hz
                self._loads[name] = _dram_cycles(self._hardware, len(block)) + math.ceil(latency), 0
            else:
                shape = tile.n1 - tile.n0, tile.k1 - tile.k0
                bits = element_width(self._compressed.weights[tile.weight].bits)
                self._loads[name] = (
                    load_cycles(block, shape, bits, self._hardware),
                    decoder_cycles(block, shape, bits, self._hardware),
                )
        return self._loads[name]


def weights_behind_relu(steps: Iterable[Step]) -> set[str]:
    """Weights that multiply only what a relu has made: what wrote a buffer last tells.

    Parameters
    ----------
    steps : iterable of Step
        Of the whole graph, in their order.
    """
    behind: dict[str, bool] = {}
    found: dict[str, bool] = {}
    for step in inner_steps(steps):
        if isinstance(step, Matmul):
            source = step.codes.buffer
            found[step.weight] = found.get(step.weight, True) and behind.get(source, False)
        match step:
            case Copy() | Quantize():
                is_behind = behind.get(step.src.buffer, False)
            case Unary() | Matmul():
                is_behind = step.function == "relu"
            case _:
                is_behind = False
        for window in writes(step):
            behind[window.buffer] = is_behind
    return {weight for weight, is_behind in found.items() if is_behind}


def instruction_cycles(item: Item, storages: Mapping[str, Storage], hardware: Hardware) -> int:
    """Cycles of an item by its instruction's own timing rule."""
    site = Site(
        index=0,
        mnemonic=item.mnemonic,
        engine=engine_of(item),
        function=str(item.operands.get("function", "none")),
        static="static" in item.operands and item.operands["static"] == 1,
        paced=0,
        accumulate=0,
        waits={},
        views={name: view_of(access, storages[access.buffer]) for name, access in accesses(item)},
    )
    return instructions()[item.mnemonic].cycles(site, hardware)


def transfer_cycles(item: Item, storages: Mapping[str, Storage], hardware: Hardware) -> int:
    """Cycles of a load or store, of bytes that lie together."""
    window = item.operands["dst" if item.mnemonic == "store" else "src"]
    assert isinstance(window, Access)
    bits = ELEMENT_BITS[storages[window.buffer].dtype]
    latency = hardware.dram.latency_ns * 1e-9 * hardware.clock_hz
    return _dram_cycles(hardware, window.rows * window.cols * bits // 8) + math.ceil(latency)


def _dram_cycles(hardware: Hardware, num_bytes: int) -> int:
    """Cycles of bytes that lie together, from the first burst on."""
    dram = hardware.dram
    num_bytes = max(dram.burst_bytes, num_bytes)
    seconds = num_bytes / dram.bytes_per_s + num_bytes / dram.row_bytes * dram.row_miss_ns * 1e-9
    return math.ceil(seconds * hardware.clock_hz)


@functools.cache
def _active(inner: int, share: float) -> np.ndarray:
    """One row of marks of activations that are not zero: a seeded share of them."""
    active = np.random.default_rng(0).random((1, inner)) < share
    return np.ascontiguousarray(active, np.uint8)


def view_of(access: Access, storage: Storage) -> View:
    """View of a window, as if its storage began at address 0."""
    return View(
        storage.space,
        storage.dtype,
        0,
        access.rows,
        access.cols,
        access.row_stride,
        access.col_stride,
    )
