"""Results for the terminal: functions from values to rich renderables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from azsim.report.figures import EXACT_AND_MODELLED
from azsim.report.tables import plain_grid, spaced
from azsim.report.units import (
    byte_count,
    compact,
    counted,
    decibels,
    duration,
    frequency,
    number,
    percent,
    rate,
    times,
)
from azsim.report.words import words
from azsim.sim.result import (
    Bounds,
    Comparison,
    DecisionCheck,
    FrontEndFigures,
    Measured,
    RunResult,
)
from azsim.sim.statistics import LayerStatistics

__all__ = [
    "engines",
    "exact_timing",
    "layers",
    "legend",
    "run_report",
    "sram_map",
    "summary",
    "verification",
    "weights",
]

_MAP_ROWS = 16
_BAR_CELLS = 40
_BUSY_SHOWN = 2
_MOST_STATES = 2


def run_report(result: RunResult) -> list[RenderableType]:
    """Everything that a run prints."""
    return [
        summary(result),
        *words(result.words),
        layers(result),
        engines(result),
        weights(result),
        sram_map(result),
        legend(result.notes),
    ]


# ------------------------------------------------------------------------------------ a run


def summary(result: RunResult) -> RenderableType:
    """Figures of the whole run: what, how much, and what it means."""
    sections = {
        "Time": _time_rows(result),
        "Lower bounds": _bound_rows(result),
        "Memory": _memory_rows(result),
        "Arithmetic": _arithmetic_rows(result),
        "Outputs": _output_rows(result),
    }
    grid = Table(
        box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False, title_justify="left"
    )
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_column(overflow="fold", style="dim")
    for number_of, (title, rows) in enumerate(sections.items()):
        if number_of:
            grid.add_row()
        grid.add_row(Text(title, "bold"))
        for name, figure, remark in rows:
            shown = figure if isinstance(figure, Text) else Text(figure)
            grid.add_row(Text(f"  {name}"), shown, Text(remark))
    head = f"{result.workload} on {result.hardware} at {frequency(result.clock_hz)}"
    return Group(Text(head, "bold"), Text(), grid)


_Row = tuple[str, str | Text, str]


def _time_rows(result: RunResult) -> list[_Row]:
    stats = result.statistics
    busy = duration(stats.cycles / result.clock_hz)
    rows: list[_Row] = [
        ("cycles", counted(stats.cycles, "cycle"), f"{busy}; waiting for input not counted"),
        ("timing model", result.timing_model, _models(result)),
        (
            "startup",
            counted(stats.startup_cycles, "cycle"),
            f"{percent(stats.startup_cycles, stats.cycles)} of the cycles, to fill the chip's SRAM",
        ),
        ("idle", counted(stats.idle_cycles, "cycle"), "waiting for input"),
        ("latency", duration(stats.latency_s), "from the start to the end, waiting included"),
    ]
    if stats.frame_latency_s is not None:
        frame = {name: duration(seconds) for name, seconds in stats.frame_latency_s.items()}
        others = ", ".join(f"{name} {frame[name]}" for name in ("p95", "p99", "max"))
        if stats.chunks_together > 1:
            what = "frames" if stats.chunk_frames == 1 else "chunks"
            others += f"; that of {stats.chunks_together} {what} computed together"
        rows.append(("frame latency", f"p50 {frame['p50']}", others))
    if stats.chunk_latency_s is not None and stats.chunk_frames > 1:
        worst = duration(stats.chunk_latency_s["max"])
        together = f"{stats.chunk_frames} frames at a time, from the arrival of the last"
        p50 = duration(stats.chunk_latency_s["p50"])
        rows.append(("chunk latency", f"p50 {p50}", f"max {worst}; {together}"))
    if stats.real_time_factor is not None:
        factor = stats.real_time_factor
        remark = "busy time per time of input"
        if factor:
            pace = f"{times(1 / factor)} faster" if factor < 1 else f"{times(factor)} slower"
            remark += f": {pace} than real time"
        rows.append(("real-time factor", f"{factor:.4g}", remark))
    if stats.deadline_misses is not None:
        style = "red" if stats.deadline_misses else ""
        what = "frame" if stats.chunk_frames == 1 else "chunk"
        misses = Text(counted(stats.deadline_misses, what), style)
        rows.append(("deadline misses", misses, f"slower than the time between {what}s"))
    if result.front_end is not None:
        rows.append(_front_end_row(result.front_end))
    return rows


def _front_end_row(front_end: FrontEndFigures) -> _Row:
    """What the host did before the chip began."""
    seconds = duration(front_end.seconds)
    frames = f"{counted(front_end.frames, 'frame')} of {number(front_end.width)}"
    features = f"{front_end.features} features, {frames}"
    return "front end", seconds, f"on the {front_end.where}, in no figure above: {features}"


def _models(result: RunResult) -> str:
    """How far the two timing models are apart, or what the fast one is."""
    if result.fast_cycles is None:
        return "event by event; --exact-timing steps every cycle"
    cycles = result.statistics.cycles
    difference = 100 * (result.fast_cycles - cycles) / cycles if cycles else 0.0
    return f"fast model: {counted(result.fast_cycles, 'cycle')}, {difference:+.3f} %"


def exact_timing(result: RunResult) -> list[RenderableType]:
    """Both models' cycles, if the run was stepped."""
    if result.fast_cycles is None:
        return []
    cycles = counted(result.statistics.cycles, "cycle")
    return [Text(f"cycle by cycle: {cycles}; {_models(result)}", "bold")]


def _bound_rows(result: RunResult) -> list[_Row]:
    stats, bounds = result.statistics, result.bounds
    bound, path = bounds.bound_cycles, bounds.critical_path_cycles

    def distance(cycles: int) -> str:
        larger = cycles and cycles == max(bound, path)
        return f"; the run takes {times(stats.cycles / cycles)} that" if larger else ""

    return [
        ("bound", counted(bound, "cycle"), f"by {bounds.bound_by}{distance(bound)}"),
        (
            "ideal MAC",
            counted(stats.ideal_mac_cycles, "cycle"),
            "products of two non-zero factors at the array's peak",
        ),
        (
            "critical path",
            counted(path, "cycle"),
            f"dependent work with one of each engine{distance(path)}",
        ),
    ]


def _memory_rows(result: RunResult) -> list[_Row]:
    stats, figures = result.statistics, result.summary
    dense, packed = figures["weight_bytes_dense"], figures["weight_bytes_compressed"]
    assert isinstance(dense, int)
    assert isinstance(packed, int)
    ratio = _size_ratio(dense, packed)
    rows: list[_Row] = [
        ("DRAM read", byte_count(stats.dram_read_bytes), "whole bursts"),
        ("DRAM written", byte_count(stats.dram_write_bytes), "whole bursts"),
        (
            "DRAM asked for",
            byte_count(stats.dram_useful_bytes),
            "read and written, before rounding to bursts",
        ),
        ("DRAM rate", rate(stats.dram_bytes_per_s), "read and written, per busy time"),
        ("weights, dense", byte_count(dense), "at the scheme's bits"),
        (
            "weights, compressed",
            byte_count(packed),
            f"{ratio}{figures['bits_per_weight']:.2f} bits per weight with scales and headers",
        ),
    ]
    if stats.weight_reuse is not None:
        reuse = f"{stats.weight_reuse:,.1f} MACs per byte"
        rows.append(("weight reuse", reuse, "of weights read from DRAM"))
    for memory, peak in result.sram_peak_bytes.items():
        capacity = result.sram_capacity_bytes[memory]
        remark = f"{percent(peak, capacity)} of {byte_count(capacity)}"
        rows.append((f"{memory} SRAM, peak", byte_count(peak), remark))
    return rows


def _size_ratio(dense_bytes: int, packed_bytes: int) -> str:
    """By how much compressed weights differ from dense ones; nothing where there are none."""
    if not dense_bytes or not packed_bytes:
        return ""
    if dense_bytes < packed_bytes:
        return f"{times(packed_bytes / dense_bytes)} larger, "
    return f"{times(dense_bytes / packed_bytes)} smaller, "


def _arithmetic_rows(result: RunResult) -> list[_Row]:
    stats = result.statistics
    return [
        ("MACs", number(stats.macs), "products of the dense shapes"),
        ("executed", number(stats.macs_executed), percent(stats.macs_executed, stats.macs)),
        (
            "skipped",
            number(stats.macs_skipped),
            f"{percent(stats.macs_skipped, stats.macs)}: a factor is zero",
        ),
        ("utilization", percent(stats.mac_utilization), "executed over cycles x the array's peak"),
    ]


def _output_rows(result: RunResult) -> list[_Row]:
    rows: list[_Row] = [("bit exact", *_verdict(result.comparison))]
    states = [name for name in result.carried if name in result.output_checks]
    shown = [name for name in result.output_checks if name not in states]
    if len(states) <= _MOST_STATES:
        shown += states
    for name in shown:
        check = result.output_checks[name]
        if check.equal_share is not None:
            remark = f"{percent(check.equal_share)} of the numbers, with the float model"
            rows.append((_short(name), "agreement", remark))
            continue
        if check.sqnr_db is None:
            figure = "no error" if check.max_abs_error == 0 else "no signal"
        else:
            figure = f"SQNR {decibels(check.sqnr_db)}"
        remark = f"largest error {check.max_abs_error:.3g}, against the float model"
        rows.append((_short(name), figure, remark))
    rows += [_decision_row(name, check) for name, check in result.decisions.items()]
    if len(states) > _MOST_STATES:
        rows.append(("carried state", counted(len(states), "tensor"), _worst(result, states)))
    return rows


def _decision_row(name: str, check: DecisionCheck) -> _Row:
    """How often the chip decides as the float model does, and how often each is right."""
    of = f"of {counted(check.frames, 'decision')} are the float model's"
    if check.accuracy is not None and check.float_accuracy is not None:
        of += f"; {percent(check.accuracy)} are the labels', {percent(check.float_accuracy)} by it"
    return _short(name), f"agreement {percent(check.agreement)}", of


def _worst(result: RunResult, states: Sequence[str]) -> str:
    """The state that is furthest from the float model's."""
    ratios = {
        name: ratio for name in states if (ratio := result.output_checks[name].sqnr_db) is not None
    }
    if not ratios:
        return "no error in any; summary.json has each"
    name = min(ratios, key=ratios.__getitem__)
    return f"worst SQNR {decibels(ratios[name])}: {name}; summary.json has each"


def _verdict(comparison: Comparison | None) -> tuple[Text, str]:
    if comparison is None:
        return Text("not checked"), "--verify compares with the reference evaluator"
    if comparison.bit_exact:
        compared = (
            f"equal to the reference evaluator: {counted(len(comparison.compared), 'tensor')}"
        )
        return Text("yes", "green"), compared
    return Text("no", "red"), comparison.first_difference or ""


def _short(name: str, length: int = 20) -> str:
    return name if len(name) <= length else f"…{name[1 - length :]}"


def _bound(cycles: int, bounds: Bounds) -> str:
    """The engine whose bound is the largest, or the chain if that is longer, and the distance."""
    bound = max(bounds.bound_cycles, bounds.critical_path_cycles)
    if not bound:
        return ""
    name = bounds.bound_by if bound == bounds.bound_cycles else "path"
    return f"{name} {cycles / bound:.2f} x" if cycles >= bound else f"{name}, overlap"


def layers(result: RunResult) -> RenderableType:
    """One row a layer: cycles, traffic, products, what bounds it and how far it is from that."""
    stats = result.statistics
    grid = plain_grid("Layers")
    grid.add_column("layer", overflow="fold", ratio=3, min_width=10)
    for name in ("cycles", "share %", "DRAM B", "MACs", "exec. %", "util. %"):
        grid.add_column(name, justify="right", no_wrap=True)
    grid.add_column("busy, cycles", overflow="fold", ratio=3, min_width=10)
    grid.add_column("bound by", no_wrap=True)
    for layer in stats.layers:
        grid.add_row(
            Text(layer.name),
            number(layer.cycles),
            _hundredths(layer.cycles, stats.cycles),
            compact(layer.dram_read_bytes + layer.dram_write_bytes),
            compact(layer.macs) if layer.macs else "",
            _hundredths(layer.macs_executed, layer.macs),
            _hundredths(_utilization(layer), bool(layer.macs)),
            _busy(layer.busy_cycles),
            _bound(layer.cycles, result.bounds_of(layer.name)),
        )
    grid.add_section()
    grid.add_row(
        "all",
        number(stats.cycles),
        _hundredths(1, 1),
        compact(stats.dram_read_bytes + stats.dram_write_bytes),
        compact(stats.macs),
        _hundredths(stats.macs_executed, stats.macs),
        _hundredths(stats.mac_utilization, bool(stats.macs)),
        "",
        "",
    )
    return spaced(grid, "busy: the two busiest; overlap: work ran before the layer before was over")


def _hundredths(part: float, whole: float) -> str:
    return f"{100 * part / whole:.1f}" if whole else ""


def _busy(cycles_of: Mapping[str, int]) -> str:
    """The busiest engines; together they may be more than the layer's cycles."""
    ordered = sorted(cycles_of.items(), key=lambda item: -item[1])
    shown = [entry for entry in ordered if entry[1]][:_BUSY_SHOWN]
    # Without a space between a figure and its prefix, where lines would break.
    return ", ".join(f"{name} {compact(busy).replace(' ', '')}" for name, busy in shown)


def _utilization(layer: LayerStatistics) -> float:
    """Of the layer's cycles, or of those of the array where they ran behind the layer before."""
    return (
        layer.mac_utilization * layer.cycles / max(1, layer.cycles, layer.busy_cycles.get("mac", 0))
    )


def engines(result: Measured) -> RenderableType:
    """Busy cycles of every engine, and why it stood still otherwise."""
    stats = result.statistics
    grid = plain_grid("Engines")
    grid.add_column("engine")
    grid.add_column("busy, cycles", justify="right", no_wrap=True)
    grid.add_column("busy %", justify="right", no_wrap=True)
    grid.add_column("stalled, cycles by reason", overflow="fold")
    for name, busy in stats.engine_busy_cycles.items():
        reasons = [
            f"{reason.replace('_', ' ')} {number(n)} ({_hundredths(n, stats.cycles)}%)"
            for reason, n in stats.stall_cycles.get(name, {}).items()
            if n
        ]
        grid.add_row(name, number(busy), _hundredths(busy, stats.cycles), ", ".join(reasons))
    return spaced(grid)


def weights(result: RunResult) -> RenderableType:
    """One row a weight matrix: how it is stored, and how much of it stays on the chip."""
    grid = plain_grid("Weights")
    grid.add_column("tensor", overflow="fold", min_width=12)
    grid.add_column("codec", overflow="fold")
    for name in ("bits", "weights", "zeros %", "blocks, B", "scales, B", "bits/w.", "pinned"):
        grid.add_column(name, justify="right")
    for weight in result.weights:
        stored = weight.encoded_bytes + weight.scale_bytes
        grid.add_row(
            Text(weight.name),
            weight.codec,
            str(weight.bits),
            number(weight.weights),
            _hundredths(weight.zeros, weight.weights),
            number(weight.encoded_bytes),
            number(weight.scale_bytes),
            f"{8 * stored / weight.weights:.2f}" if weight.weights else "",
            f"{weight.pinned_tiles} of {weight.tiles}",
        )
    return spaced(grid, "pinned: tiles that stay in weight SRAM; the others stream in for each use")


def sram_map(result: RunResult) -> RenderableType:
    """What lies where in the chip's memories, and from which to which instruction."""
    grid = plain_grid("")
    grid.add_column("memory", no_wrap=True)
    grid.add_column("address", justify="right", no_wrap=True)
    grid.add_column("bytes", justify="right", no_wrap=True)
    grid.add_column("region", overflow="fold", min_width=12)
    grid.add_column("instructions", justify="right", no_wrap=True)
    bars: list[RenderableType] = []
    for memory, capacity in result.sram_capacity_bytes.items():
        peak = result.sram_peak_bytes.get(memory, 0)
        filled = min(_BAR_CELLS, round(_BAR_CELLS * peak / capacity)) if capacity else 0
        bar = "█" * filled + "░" * (_BAR_CELLS - filled)
        bars.append(Text(f"{memory:<11}{bar} {percent(peak, capacity)} of {number(capacity)} B"))
        entries = [entry for entry in result.sram_map if entry[0] == memory]
        largest = sorted(entries, key=lambda entry: -entry[3])[:_MAP_ROWS]
        grid.add_section()
        for _, name, start, size, first, last in sorted(
            largest, key=lambda entry: (entry[2], entry[4])
        ):
            live = f"{first} to {last}"
            grid.add_row(memory, f"{start:#x}", number(size), Text(name), live)
        if rest := len(entries) - len(largest):
            grid.add_row(memory, "", "", f"and {rest} smaller, see run.json", "")
    return Group(Text(), Text("SRAM map", "bold"), *bars, spaced(grid))


def legend(notes: Iterable[str] = ()) -> RenderableType:
    """Notes of the run, and what is exact and what is modelled."""
    return Group(
        Text(), *(Text(f"Note: {note}.") for note in notes), Text(EXACT_AND_MODELLED, "dim")
    )


def verification(comparison: Comparison) -> RenderableType:
    """What was compared with the reference evaluator, and what could not be."""
    tensors = ", ".join(comparison.compared)
    parts = [
        Text(f"Compared as stored bytes, {counted(len(comparison.compared), 'tensor')}:", "bold"),
        Padding(Text(tensors), (0, 0, 0, 2)),
        Text(f"Only in the graph, {counted(len(comparison.fused), 'tensor')}:", "bold"),
        *(Padding(Text(f"{name}: {why}"), (0, 0, 0, 2)) for name, why in comparison.fused.items()),
    ]
    if comparison.bit_exact:
        parts.append(Text("bit exact: yes", "bold green"))
    else:
        parts.append(Text(f"bit exact: no; {comparison.first_difference}", "bold red"))
    return Group(*parts)
