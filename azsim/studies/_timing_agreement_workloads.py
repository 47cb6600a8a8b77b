"""Whole workloads for the study timing_agreement: the fast clock against the stepped machine."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from azsim.studies._write import Figure

__all__ = [
    "CHIPS",
    "CODECS",
    "HELD_PERCENT",
    "PROMISED_PERCENT",
    "WORKLOAD",
    "Layer",
    "broken_runs",
    "layers_from_csv",
    "layers_to_csv",
    "run_key",
    "run_workloads",
    "variants",
    "workload_figures",
    "worst_layer",
]

WORKLOAD = "vad_silero"
CHIPS = ("az1", "az1_lite", "az2", "dense_npu")
CODECS = ("raw", "bitmap", "zero_run", "lane_tans")
PROMISED_PERCENT = 2.0
"""What the project promises of whole runs, in percent of the stepped cycles."""
HELD_PERCENT = 0.5
"""What azsim's tests hold them to."""
_DIGITS = 3

_Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Layer:
    """Cycles of one layer of one run, both ways.

    Attributes
    ----------
    chip, dataflow, codec, layer : str
    fast_cycles, stepped_cycles : int
        From the retirement of the layer before to its own; a run's layers add up to its cycles.
    """

    chip: str
    dataflow: str
    codec: str
    layer: str
    fast_cycles: int
    stepped_cycles: int

    @property
    def run(self) -> tuple[str, str, str]:
        return self.chip, self.dataflow, self.codec

    @property
    def difference_cycles(self) -> int:
        return self.fast_cycles - self.stepped_cycles


_COLUMNS = tuple(Layer.__dataclass_fields__)


def layers_to_csv(layers: Sequence[Layer]) -> str:
    """Return a table with a line for each layer."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_COLUMNS)
    writer.writerows([getattr(layer, name) for name in _COLUMNS] for layer in layers)
    return out.getvalue()


def layers_from_csv(text: str) -> list[Layer]:
    """Read what `layers_to_csv` wrote."""
    return [
        Layer(chip, dataflow, codec, layer, int(fast), int(stepped))
        for chip, dataflow, codec, layer, fast, stepped in [*csv.reader(io.StringIO(text))][1:]
    ]


def variants(chip: str) -> Mapping[str, tuple[str, ...]]:
    """Dataflows that each codec is timed with: the other dataflow with one codec.

    A chip without decoder holds raw weights, whatever is asked for.
    """
    if chip == "dense_npu":
        return {"raw": ("inner", "outer")}
    return {codec: ("inner", "outer") if codec == "bitmap" else ("inner",) for codec in CODECS}


def run_workloads(
    progress: _Progress | None, chips: Sequence[str] = CHIPS
) -> tuple[list[Layer], Mapping[str, str]]:
    """Execute the workload on every chip with every codec, and time each trace in both ways.

    Returns
    -------
    layers : list of Layer
    files : mapping of str to str
        sha256 of every file that was read.
    """
    points = [(chip, codec) for chip in chips for codec in variants(chip)]
    layers: list[Layer] = []
    files: Mapping[str, str] = {}
    for done, (chip, codec) in enumerate(points, 1):
        found, files = _run(chip, codec)
        layers += found
        if progress is not None:
            progress("whole workloads", done, len(points))
    return layers, files


def _run(chip: str, codec: str) -> tuple[list[Layer], Mapping[str, str]]:
    """One program on one chip; its dataflow is no part of the program."""
    from azsim.compiler.compile import compile_graph
    from azsim.frontend.workload import load_workload
    from azsim.hardware import load_hardware
    from azsim.pipeline import prepare
    from azsim.sim.exact import replay_exact
    from azsim.sim.execute import execute, write_inputs
    from azsim.sim.statistics import measure
    from azsim.sim.timing import replay

    loaded = load_workload(WORKLOAD, [f"compression.default.codec={codec}"])
    given = load_hardware(chip)
    prepared = prepare(loaded)
    compiled = compile_graph(
        prepared.compressed, given, prepared.stream, prepared.state, loaded.name
    )
    program = compiled.program
    inputs = {**prepared.frames, **prepared.initial_state}
    trace = execute(program, write_inputs(program, compiled.image, inputs), given).trace
    layers = []
    for dataflow in variants(chip)[codec]:
        hardware = replace(given, mac=replace(given.mac, dataflow=dataflow))
        fast, stepped = (
            measure(trace, model(trace, program, hardware), program, hardware).layers
            for model in (replay, replay_exact)
        )
        for quick, slow in zip(fast, stepped, strict=True):
            layer = Layer(chip, dataflow, codec, quick.name, quick.cycles, slow.cycles)
            layers.append(layer)
    return layers, prepared.files


# ------------------------------------------------------------------------------------- figures


def run_key(chip: str, dataflow: str, codec: str) -> str:
    """Start of the names of a run's figures."""
    return f"workload.{chip}.{dataflow}.{codec}"


def worst_layer(layers: Sequence[Layer], run: tuple[str, str, str]) -> Layer:
    """Return the layer of a run that is off by most cycles."""
    return max(
        (layer for layer in layers if layer.run == run),
        key=lambda layer: abs(layer.difference_cycles),
    )


def workload_figures(layers: Sequence[Layer]) -> dict[str, Figure]:
    """Cycles of each run, how far they are apart, and the same of its worst layer."""
    figures: dict[str, Figure] = {}
    for run in dict.fromkeys(layer.run for layer in layers):
        own = [layer for layer in layers if layer.run == run]
        fast = sum(layer.fast_cycles for layer in own)
        stepped = sum(layer.stepped_cycles for layer in own)
        worst, start = worst_layer(layers, run), run_key(*run)
        share = round(100 * (fast - stepped) / stepped, _DIGITS)
        figures |= {
            f"{start}.fast_cycles": Figure(fast, "cycles"),
            f"{start}.stepped_cycles": Figure(stepped, "cycles"),
            f"{start}.difference": Figure(share, "% of stepped cycles"),
            f"{start}.worst_layer_difference": Figure(worst.difference_cycles, "cycles"),
        }
    return figures


def broken_runs(figures: Mapping[str, Figure]) -> list[str]:
    """Say which runs are further apart than is promised."""
    return [
        f"{name.removeprefix('workload.').removesuffix('.difference')}: {figure.value:+g} %, "
        f"promised {PROMISED_PERCENT:g} %"
        for name, figure in figures.items()
        if name.startswith("workload.")
        and name.endswith(".difference")
        and abs(figure.value) > PROMISED_PERCENT
    ]
