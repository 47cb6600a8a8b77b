"""What does EIE's machine take for its nine layers, and what do padding and imbalance cost?

The paper's layers, random at their densities, on the preset `eie`: simulated time, what it would be
with every lane busy, with and without padding entries, and how deep the activation queues have to
be; beside the paper's own times.
"""  # noqa: D400 - a study starts with its question

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from azsim.studies._eie_layers_paper import LAYERS
from azsim.studies._write import Figure, Progress, figures_text, write_study

if TYPE_CHECKING:
    import numpy as np

    from azsim.compiler.compile import Compiled
    from azsim.hardware.description import Hardware
    from azsim.machine.trace import Trace
    from azsim.stages.prepare import Prepared

__all__ = ["DEPTHS", "run", "sample"]

# What computes is imported where it is used: the list of studies is quick, what they run is not.

NAME = "eie_layers"
_LARGE, _SMALL = "eie_layers", "eie_layers_small"
_CHIP = "eie"
# All nine layers at once; each fits the chip's own SRAM alone, which the figures show.
_ROOM = "weight_sram.bytes=33554432"
DEPTHS = (1, 2, 4, 8, 16, 32, 64)
_DIGITS = 2


@dataclass(frozen=True)
class _Ran:
    prepared: Prepared
    compiled: Compiled
    hardware: Hardware
    trace: Trace
    outputs: Mapping[str, np.ndarray]


def run(directory: Path, progress: Callable[[str, int, int], None] | None = None) -> None:
    """Make the study anew: ``README.md``, ``data.json`` and a plot in `directory`.

    Takes up to 4 GB of memory.

    Parameters
    ----------
    directory : Path
        Made if it is missing.
    progress : callable, optional
        ``progress(stage, done, total)``.

    Raises
    ------
    InputError
        If the directory cannot be written.
    """
    from azsim.studies._eie_layers_text import plots, readme

    steps = Progress(progress, 2 * (2 + len(DEPTHS)))
    figures = _figures(_SMALL, "small.", steps) | _figures(_LARGE, "", steps)
    files = {
        "README.md": readme(figures),
        "data.json": figures_text(NAME, figures, {}),
        **plots(figures),
    }
    write_study(directory, files)


def sample() -> Mapping[str, Figure]:
    """Compute a few of the figures anew, for a test to compare with the committed ones."""
    return _figures(_SMALL, "small.", Progress(None, 0))


def _figures(workload: str, start: str, steps: Progress) -> dict[str, Figure]:
    ran = _run(workload)
    steps.step("execute")
    figures = {f"{start}outputs.different": Figure(_different_outputs(ran), "values")}
    steps.step("compare")
    figures |= _work(ran, start)
    for depth in DEPTHS:
        for layer, cycles in _product_cycles(ran, depth).items():
            entries = figures[f"{start}{layer}.entry_cycles"].value
            key = f"{start}{layer}.queue_{depth}"
            figures[f"{key}.cycles"] = Figure(cycles, "cycles")
            figures[f"{key}.balance"] = Figure(round(100 * entries / cycles, _DIGITS), "%")
        steps.step("time")
    own = ran.hardware.mac.queue_depth
    for layer in LAYERS:
        cycles = figures[f"{start}{layer}.queue_{own}.cycles"].value
        time = round(cycles / ran.hardware.clock_hz * 1e6, _DIGITS)
        figures[f"{start}{layer}.time"] = Figure(time, "us")
    return figures


def _run(workload: str) -> _Ran:
    from azsim.compiler.compile import compile_graph
    from azsim.frontend.workload import load_workload
    from azsim.hardware import load_hardware
    from azsim.pipeline import prepare
    from azsim.sim.execute import execute, write_inputs

    hardware = load_hardware(_CHIP, (_ROOM,))
    prepared = prepare(load_workload(workload))
    compiled = compile_graph(prepared.compressed, hardware, prepared.stream, {}, workload)
    image = write_inputs(compiled.program, compiled.image, dict(prepared.frames))
    execution = execute(compiled.program, image, hardware)
    return _Ran(prepared, compiled, hardware, execution.trace, execution.outputs)


def _different_outputs(ran: _Ran) -> int:
    """Values of the outputs that are not, bit for bit, those of the reference evaluator."""
    import numpy as np

    from azsim.evaluate import evaluate_stream

    compressed = ran.prepared.compressed
    wanted, _ = evaluate_stream(
        compressed.graph, ran.prepared.frames, {}, {}, compressed, list(ran.outputs)
    )
    return sum(
        int(np.count_nonzero(array.view(np.uint32) != wanted[name].view(np.uint32)))
        for name, array in ran.outputs.items()
    )


def _work(ran: _Ran, start: str) -> dict[str, Figure]:
    """What each layer has to do: from the codes, the blocks and the activations alone."""
    import numpy as np

    from azsim import arith
    from azsim.codecs import block_column_entries
    from azsim.compiler.encode import encode_tiles

    weights, lanes = ran.prepared.compressed.weights, ran.hardware.mac.lanes
    blocks = encode_tiles(ran.prepared.compressed, ran.compiled.plan, ran.hardware)
    figures: dict[str, Figure] = {}
    for layer in LAYERS:
        weight = weights[layer]
        inputs = ran.prepared.frames[f"{layer}_in"].reshape(1, -1)
        codes, _ = arith.quantize_rows(inputs, weight.activation_bits, weight.activation_scale)
        active = codes[0] != 0
        of_columns = np.count_nonzero(weight.codes, axis=0)
        tiles = [blocks[tile.name] for tile in ran.compiled.plan.tiles[layer]]
        counts = [block_column_entries(block)[:, active] for block in tiles]
        products = int(of_columns[active].sum())
        entries = sum(int(count.sum()) for count in counts)
        slots = sum(count.size for count in counts)
        empty = sum(int(np.count_nonzero(count == 0)) for count in counts)
        outputs, width = weight.codes.shape
        values = {
            "inputs": (width, "activations"),
            "outputs": (outputs, "activations"),
            "weight_density": (round(100 * of_columns.sum() / weight.codes.size, 3), "%"),
            "activation_density": (round(100 * active.mean(), 3), "%"),
            "block_bytes": (sum(map(len, tiles)), "bytes"),
            "tiles": (len(tiles), "tiles"),
            "products": (products, "products"),
            "entries": (entries, "entries"),
            "empty_columns": (round(100 * empty / slots, _DIGITS), "% of columns and lanes"),
            "ideal_cycles": (round(products / lanes, 1), "cycles"),
            "entry_cycles": (round(entries / lanes, 1), "cycles"),
        }
        figures |= {f"{start}{layer}.{key}": Figure(*value) for key, value in values.items()}
    return figures


def _product_cycles(ran: _Ran, depth: int) -> dict[str, int]:
    """Cycles of each layer's matrix products at a queue depth, the pipeline's included."""
    from azsim.sim.flatten import FlatTrace

    mac = replace(ran.hardware.mac, queue_depth=depth)
    flat = FlatTrace(ran.trace, replace(ran.hardware, mac=mac))
    program = ran.compiled.program
    cycles = dict.fromkeys(LAYERS, 0)
    for number, work in zip(flat.site, flat.cycles, strict=True):
        site = ran.trace.sites[number]
        if site.mnemonic == "mac_matmul":
            cycles[program.layers[program.layer_of[site.index]]] += int(work)
    return cycles
