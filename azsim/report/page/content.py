"""What the page of a run shows, out of the files of its folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from azsim.report.comparison import flat
from azsim.report.explain import explanation_from, explanation_tables
from azsim.report.figures import EXACT_AND_MODELLED, FIGURES, is_exact, look_up, meaning
from azsim.report.kernel import blocks_table
from azsim.report.listing import Cell, Listing, listing
from azsim.report.page.charts import (
    bars_and_ticks,
    instructions,
    memory_map,
    occupancy,
    stacked,
)
from azsim.report.page.headline import BOUND_NAMES, bound_by, least_cycles
from azsim.report.page.timeline import read_events
from azsim.report.units import (
    byte_count,
    counted,
    duration,
    number,
    percent,
    significant,
)

__all__ = ["Chart", "Section", "sections"]

_MOST_LAYERS = 30
_MOST_REGIONS = 1_500
_SET_UP = (
    "workload",
    "program",
    "hardware",
    "planned_with",
    "files_sha256",
    "front_end",
    "versions",
)

_Document = Mapping[str, Any]


@dataclass(frozen=True)
class Chart:
    """A chart.

    Attributes
    ----------
    name : str
        No other chart of the page has it.
    heading : str
        What stands above it, if anything.
    spec : mapping
        Vega-Lite.
    """

    name: str
    heading: str
    spec: _Document


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes
    ----------
    name, title : str
    charts : tuple of Chart
    tables : tuple of Listing
    notes : tuple of str
    """

    name: str
    title: str
    charts: tuple[Chart, ...] = ()
    tables: tuple[Listing, ...] = ()
    notes: tuple[str, ...] = ()


def sections(summary: _Document, document: _Document, trace: _Document) -> list[Section]:
    """Everything below the large figures.

    Parameters
    ----------
    summary, document, trace : mapping
        Content of ``summary.json``, ``run.json`` and ``trace.json``.

    Returns
    -------
    list of Section
        Those that the run has something for.
    """
    found = [
        _bounds(summary),
        _engines(summary, trace),
        _layers(summary),
        _memory(summary, document),
        _weights(document),
        _blocks(summary),
        _outputs(summary, document) if "workload" in summary else _program_outputs(summary),
        _explanation(document),
        _figures(summary),
        _set_up(document),
    ]
    return [section for section in found if section is not None]


def _bounds(summary: _Document) -> Section | None:
    if "engine_bound_cycles" not in summary:
        return None
    needed = {**summary["engine_bound_cycles"], "path": summary["critical_path_cycles"]}
    rows = [
        {"name": BOUND_NAMES.get(name, name), "bar": least, "tick": summary["cycles"]}
        for name, least in needed.items()
    ]
    chart = bars_and_ticks(rows, "least that is needed", "the run", "cycles")
    note = (
        "Bars: cycles that the work needs at least, from the compressed graph and the chip and not "
        "from the program; where the array skips zero activations, its own time in this run. "
        "Marks: the run."
    )
    return Section("bounds", "Lower bounds", (Chart("bounds-chart", "", chart),), notes=(note,))


def _engines(summary: _Document, trace: _Document) -> Section:
    cycles = summary["cycles"]
    rows: list[dict[str, Any]] = []
    for engine, busy in summary["engine_busy_cycles"].items():
        parts = {"busy": busy, **summary["stall_cycles"].get(engine, {})}
        rows += [
            {
                "name": engine,
                "part": part.replace("_", " "),
                "cycles": count,
                "share": count / cycles if cycles else 0.0,
            }
            for part, count in parts.items()
            if count
        ]
    charts = [Chart("engines-chart", "", stacked(rows, "the run's cycles"))]
    events = read_events(trace)
    if events and (shares := events.engine_shares()):
        charts.append(Chart("occupancy-chart", "Over the run", occupancy(shares)))
    if events and (shown := events.some_instructions()):
        is_part = len(shown) < trace["otherData"]["shown_events"]
        heading = f"{counted(len(shown), 'instruction')}{' from the middle' if is_part else ''}"
        charts.append(Chart("instructions-chart", heading, instructions(shown)))
    notes = ["Busy and the reasons why an engine stands still add up to the run's cycles."]
    told = trace["otherData"]
    if told["recorded_events"]:
        is_whole = told["shown_events"] == told["recorded_events"]
        what = (
            "Every instruction is" if is_whole else f"The instructions ({told['aggregation']}) are"
        )
        notes.append(f"{what} in trace.json, which https://ui.perfetto.dev opens.")
    return Section("engines", "Engines", tuple(charts), notes=tuple(notes))


def _layers(summary: _Document) -> Section | None:
    layers = summary["layers"]
    if not layers:
        return None
    largest = sorted(layers, key=lambda layer: -layer["cycles"])[:_MOST_LAYERS]
    shown = [layer for layer in layers if layer in largest]
    bars = [
        {"name": layer["name"], "bar": layer["cycles"], "tick": least_cycles(layer) or None}
        for layer in shown
    ]
    has_bounds = any(map(least_cycles, layers))
    columns = (
        *("layer", "cycles", "share, %"),
        *(("needed at least", "by") if has_bounds else ()),
        *("busiest", "DRAM, B", "MACs", "executed, %"),
    )

    def row(layer: _Document) -> tuple[Cell, ...]:
        bound = (least_cycles(layer) or None, bound_by(layer) if least_cycles(layer) else "")
        return (
            layer["name"],
            layer["cycles"],
            _hundredths(layer["cycles"], summary["cycles"]),
            *(bound if has_bounds else ()),
            layer["busiest"],
            layer["dram_read_bytes"] + layer["dram_write_bytes"],
            layer["macs"],
            _hundredths(layer["macs_executed"], layer["macs"]),
        )

    few = f"The {_MOST_LAYERS} longest of {len(layers)} layers are drawn. "
    note = (
        "A layer's cycles run from the end of the layer before to its own, and add up to the run's"
    )
    if has_bounds:
        note += "; it takes less than its bound (the mark) where its work ran before that"
    return Section(
        "layers",
        "Layers",
        (Chart("layers-chart", "", bars_and_ticks(bars, "cycles", "needed at least", "cycles")),),
        (listing("", columns, map(row, layers)),),
        ((few if len(layers) > _MOST_LAYERS else "") + f"{note}.",),
    )


def _hundredths(part: float | None, whole: float) -> float | None:
    return round(100 * part / whole, 1) if whole and part is not None else None


def _memory(summary: _Document, document: _Document) -> Section | None:
    if "sram_map" not in document:
        return None
    charts: list[Chart] = []
    notes: list[str] = ["Every region of the program, for the instructions for which it is kept."]
    for memory, capacity_bytes in document["sram_capacity_bytes"].items():
        regions = [entry for entry in document["sram_map"] if entry["memory"] == memory]
        largest = sorted(regions, key=lambda entry: -entry["size_bytes"])[:_MOST_REGIONS]
        if len(largest) < len(regions):
            notes.append(f"{memory}: the {_MOST_REGIONS:,} largest of {len(regions):,} are drawn.")
        rows = [
            {
                **{key: entry[key] for key in ("name", "size_bytes", "start_bytes")},
                "first_instruction": entry["first_instruction"],
                "last": entry["last_instruction"] + 1,
                "end": entry["start_bytes"] + entry["size_bytes"],
                "live": f"{entry['first_instruction']} to {entry['last_instruction']}",
                "layer": entry["name"].split("#")[0].split("[")[0],
            }
            for entry in largest
        ]
        peak = summary["sram_peak_bytes"].get(memory, 0)
        heading = (
            f"{memory} SRAM: {byte_count(peak)} of {byte_count(capacity_bytes)} used, "
            f"{percent(peak, capacity_bytes)}"
        )
        chart = memory_map(rows, capacity_bytes)
        charts.append(Chart(f"memory-chart-{len(charts)}", heading, chart))
    return Section("memory", "SRAM", tuple(charts), notes=tuple(notes))


def _weights(document: _Document) -> Section | None:
    weights = document.get("weights")
    if not weights:
        return None
    columns = (
        *("tensor", "codec", "bits", "weights", "zeros, %", "blocks, B", "scales, B"),
        *("bits a weight", "tiles", "pinned"),
    )

    def row(weight: _Document) -> tuple[Cell, ...]:
        count = weight["weights"]
        stored = weight["encoded_bytes"] + weight["scale_bytes"]
        return (
            weight["name"],
            weight["codec"],
            weight["bits"],
            count,
            _hundredths(weight["zeros"], count),
            weight["encoded_bytes"],
            weight["scale_bytes"],
            round(8 * stored / count, 3) if count else None,
            weight["tiles"],
            weight["pinned_tiles"],
        )

    note = (
        "Bits a weight: with scales. Pinned: tiles that stay in weight SRAM; the others stream in "
        "for each use."
    )
    return Section(
        "weights",
        "Weights",
        tables=(listing("", columns, map(row, weights)),),
        notes=(note,),
    )


def _blocks(summary: _Document) -> Section | None:
    """Weights that a program written by hand declares."""
    blocks = summary.get("blocks")
    if not blocks:
        return None
    return Section("blocks", "Weights", tables=(blocks_table(blocks),))


def _program_outputs(summary: _Document) -> Section:
    columns = ("output", "type", "shape", "SHA-256, begin")
    rows = [
        (name, entry["dtype"], " x ".join(map(str, entry["shape"])), entry["sha256"][:16])
        for name, entry in summary["outputs"].items()
    ]
    notes = tuple(f"Race: {sentence}" for sentence in summary["races"] or ())
    return Section("outputs", "Outputs", tables=(listing("", columns, rows),), notes=notes)


def _outputs(summary: _Document, document: _Document) -> Section:
    def row(name: str, check: _Document) -> tuple[Cell, ...]:
        sqnr, share, error = (check[key] for key in ("sqnr_db", "equal_share", "max_abs_error"))
        return (
            name,
            None if sqnr is None else round(sqnr, 1),
            error,
            _hundredths(share, 1),
            check["sha256"][:16],
        )

    columns = ("output", "SQNR, dB", "largest error", "equal choices, %", "SHA-256, begin")
    outputs = summary["outputs"]
    tables = [listing("", columns, [row(name, check) for name, check in outputs.items()])]
    if decisions := summary["decisions"]:
        columns = (
            *("decision", "frames", "as the float model, %", "as labelled, %"),
            "float model's as labelled, %",
        )
        keys = ("agreement", "accuracy", "float_accuracy")
        rows = [
            (name, check["frames"], *(_hundredths(check[key], 1) for key in keys))
            for name, check in decisions.items()
        ]
        tables.append(listing("Decisions", columns, rows))
    note = (
        "Compared with the uncompressed float model; the largest error is in the output's unit. "
        "No SQNR: no error, no signal, or choices, of which the share that is equal counts."
    )
    notes = [note]
    comparison = document.get("comparison")
    if comparison is not None:
        compared = counted(len(comparison["compared"]), "tensor")
        found = "all equal" if comparison["bit_exact"] else comparison["first_difference"]
        notes.append(f"Compared with the reference evaluator as stored bytes: {compared}, {found}.")
    return Section("outputs", "Outputs", tables=tuple(tables), notes=tuple(notes))


def _explanation(document: _Document) -> Section | None:
    found = document.get("explanation")
    if found is None:
        return None
    tables = explanation_tables(explanation_from(found))
    return Section("explanation", "Why, and what would help", tables=tuple(tables))


def _figures(summary: _Document) -> Section:
    found = ((key, look_up(summary, key.split("."))) for key in FIGURES)
    values = {key: value for key, value in found if value is not None}
    columns = ("figure", "value", "unit", "what it is", "")
    rows = [
        (
            key,
            _shown(value, FIGURES[key]),
            "" if FIGURES[key] in ("1", "s") else FIGURES[key],  # a time says its own
            meaning(key),
            "exact" if is_exact(key) else "modelled",
        )
        for key, value in values.items()
    ]
    return Section(
        "figures-all",
        "All figures",
        tables=(listing("", columns, rows),),
        notes=(
            EXACT_AND_MODELLED,
            "Figures that this run has not (null in summary.json) are left out.",
        ),
    )


def _shown(value: float, unit: str) -> str:
    if unit == "s":
        return duration(value)
    return number(value) if isinstance(value, int) else significant(value)


def _set_up(document: _Document) -> Section:
    rows = [
        (key, str(value))
        for part in _SET_UP
        for key, value in flat(document.get(part), part)
        if value not in (None, "")
    ]
    notes = [f"{note}." for note in document.get("notes", ())]
    notes.append(
        "The chip's figures are assumptions but where its source says otherwise; run.json has all."
    )
    table = listing("", ("what", "value"), rows)
    return Section("set-up", "What was run", tables=(table,), notes=tuple(notes))
