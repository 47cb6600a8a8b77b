"""The plots of the study timing_agreement, all from its cases and figures."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from azsim.studies._svg import Axis, Line, Panel, chart
from azsim.studies._timing_agreement_rows import Case, point_key
from azsim.studies._timing_agreement_workloads import CHIPS, CODECS, Layer, run_key
from azsim.studies._write import Figure

__all__ = ["plots"]

_Figures = Mapping[str, Figure]

_RTL = "Verilog"
_LABELS = {
    "mac_inner": "MAC array",
    "mac_outer": "MAC array",
    "bitmap": "bitmap",
    "zero_run": "zero_run",
    "lane_tans": "lane_tans",
    "dram": "DRAM and DMA",
    "joined": "joined",
}
_ZEROS = tuple(f"{zeros} % zeros" for zeros in (50, 75, 90))
_JOINED_CODECS = ("bitmap", "zero_run")


def plots(figures: _Figures, cases: Sequence[Case], layers: Sequence[Layer]) -> dict[str, str]:
    """Return the plots by file name."""
    return {
        "error.svg": _error_plot(cases),
        "zeros.svg": _zeros_plot(figures, cases),
        "queue.svg": _mac_plot(figures, cases, "queue_depth", "queue depth (windows)"),
        "window.svg": _mac_plot(figures, cases, "window", "window (weights)"),
        "dram.svg": _dram_plot(figures, cases),
        "fifo.svg": _fifo_plot(figures, cases),
        "joined.svg": _joined_plot(figures, cases),
        "workloads.svg": _workloads_plot(figures, layers),
    }


def _axis(label: str, ticks: Iterable[float], *, log: bool = False) -> Axis:
    values = tuple(float(tick) for tick in ticks)
    return Axis(label, values, tuple(f"{value:,g}" for value in values), log)


def _xs(cases: Sequence[Case], engine: str, sweep: str, series: str) -> list[str]:
    """Values of a sweep, in the order of its cases."""
    wanted = (engine, sweep, series)
    found = (case.x for case in cases if (case.engine, case.sweep, case.series) == wanted)
    return list(dict.fromkeys(found))


def _line(
    figures: _Figures, cases: Sequence[Case], place: tuple[str, str, str], figure: str,
    label: str, style: str = "solid", unit: float = 1,
) -> Line:  # fmt: skip
    """One figure over a sweep; `place` is engine, sweep and series."""
    engine, sweep, series = place
    points = tuple(
        (float(x), figures[f"{point_key(engine, sweep, series, x)}.{figure}"].value / unit, "")
        for x in _xs(cases, engine, sweep, series)
    )
    return Line(label, points, style)


def _both(
    figures: _Figures, cases: Sequence[Case], place: tuple[str, str, str], label: str
) -> list[Line]:
    """Lines of the fast model with the Verilog's points as rings around them."""
    return [
        _line(figures, cases, place, "rtl_cycles", label, "rings", 1000),
        _line(figures, cases, place, "fast_cycles", label, unit=1000),
    ]


def _error_plot(cases: Sequence[Case]) -> str:
    """Error of each case against its length."""

    def panel(title: str, engines: Sequence[str]) -> Panel:
        lines = []
        for label in dict.fromkeys(_LABELS[engine] for engine in engines):
            # A plot of this size shows no more digits, and many cases lie on one point.
            points = {
                (float(f"{case.rtl_cycles:.2g}"), round(error, 2), "")
                for case in cases
                if case.engine in engines
                and _LABELS[case.engine] == label
                and case.fast_cycles is not None
                and case.rtl_cycles >= 100
                for error in [100 * (case.fast_cycles - case.rtl_cycles) / case.rtl_cycles]
            }
            if points:
                lines.append(Line(label, tuple(sorted(points)), "points"))
        cycles = _axis("cycles of the Verilog", (100, 1000, 10_000, 100_000), log=True)
        return Panel(title, cycles, _error_axis(lines), tuple(lines))

    return chart(
        "Error of the fast model, case by case",
        [
            panel("Engines", ("mac_inner", "mac_outer", "bitmap", "zero_run", "lane_tans")),
            panel("DRAM, and the engines joined", ("dram", "joined")),
        ],
    )


def _zeros_plot(figures: _Figures, cases: Sequence[Case]) -> str:
    """Worst error over the share of zero weights."""
    zeros = _axis("zero weights (%)", (0, 20, 40, 60, 80, 100))

    def worst(engine: str, label: str, wanted: str = "") -> list[Line]:
        """Line of the largest error among the series that begin with `wanted`."""
        found: dict[str, float] = {}
        for case in cases:
            if (case.engine, case.sweep) == (engine, "zeros") and case.series.startswith(wanted):
                key = point_key(engine, "zeros", case.series, case.x)
                error = figures[f"{key}.error"].value
                found[case.x] = max(found.get(case.x, 0.0), error, key=abs)
        points = tuple((float(x), error, "") for x, error in found.items())
        return [Line(label, points)] if points else []

    engines = [
        line
        for engine in ("mac_inner", "bitmap", "zero_run", "lane_tans")
        for line in worst(engine, _LABELS[engine])
    ]
    joined = [line for codec in _JOINED_CODECS for line in worst("joined", codec, codec)]
    error = _error_axis([*engines, *joined])
    return chart(
        "Error over zeros, each point the worst of its cases",
        [Panel("Engines", zeros, error, tuple(engines)),
         Panel("Joined pipeline, by decoder", zeros, error, tuple(joined))],
    )  # fmt: skip


def _mac_plot(figures: _Figures, cases: Sequence[Case], sweep: str, label: str) -> str:
    axis = {
        "queue_depth": _axis(label, (1, 2, 4, 8, 16), log=True),
        "window": _axis(label, (4, 8, 16, 32), log=True),
    }[sweep]
    panels = []
    for engine, title in (("mac_inner", "inner"), ("mac_outer", "outer")):
        lines = [
            line
            for zeros in _ZEROS
            for line in _both(figures, cases, (engine, sweep, zeros), zeros)
        ]
        panels.append(Panel(f"Dataflow {title}", axis, _cycles_axis(lines), tuple(lines)))
    return chart(f"MAC array: lines are the fast model, rings are {_RTL}", panels)


def _cycles_axis(lines: Sequence[Line]) -> Axis:
    """From 0 to the first round number above all points."""
    most = max(y for line in lines for _, y, _ in line.points)
    step = next(
        unit * 10.0**power for power in range(-2, 5) for unit in (1, 2, 5)
        if 5 * unit * 10.0**power >= most
    )  # fmt: skip
    count = math.ceil(most / step)
    return _axis("thousand cycles", (round(step * tick, 2) for tick in range(count + 1)))


def _error_axis(lines: Sequence[Line], label: str = "fast model - Verilog (%)") -> Axis:
    """As far below 0 as above it, and no further than is needed."""
    most = max(abs(y) for line in lines for _, y, _ in line.points)
    step = next(step for step in (0.1, 0.25, 0.5, 1, 2, 5, 10, 20, 50) if 3 * step >= most)
    count = max(1, math.ceil(most / step))
    return _axis(label, (step * tick for tick in range(-count, count + 1)))


def _dram_plot(figures: _Figures, cases: Sequence[Case]) -> str:
    latency = [
        line
        for series in (f"{count} outstanding" for count in (1, 2, 4, 8))
        for line in _both(figures, cases, ("dram", "latency", series), series)
    ]
    refresh = [
        _line(figures, cases, ("dram", "refresh_interval", series), "error", f"refresh {series}")
        for series in ("45 cycles", "90 cycles")
    ]
    return chart(
        f"DRAM and DMA: lines are the fast model, rings are {_RTL}",
        [
            Panel(
                "Latency and requests under way",
                _axis("latency (cycles)", (0, 40, 80, 120, 160)),
                _cycles_axis(latency),
                tuple(latency),
            ),
            Panel(
                "Worst error by refresh",
                _axis("cycles between refreshes", (250, 500, 1000, 2000, 4000), log=True),
                _error_axis(refresh),
                tuple(refresh),
            ),
        ],
    )


def _fifo_plot(figures: _Figures, cases: Sequence[Case]) -> str:
    fifo = _axis("bursts in the FIFO", (1, 2, 4, 8, 16), log=True)

    def panel(engine: str, title: str) -> Panel:
        names = dict.fromkeys(
            case.series for case in cases if (case.engine, case.sweep) == (engine, "fifo_bursts")
        )
        lines = [
            line
            for name in names
            for line in _both(figures, cases, (engine, "fifo_bursts", name), name)
        ]
        return Panel(title, fifo, _cycles_axis(lines), tuple(lines))

    return chart(
        f"Loads that the FIFO limits: lines are the fast model, rings are {_RTL}",
        [
            panel("dram", "DRAM and a consumer of even pace"),
            panel("joined", "Joined pipeline"),
        ],
    )


def _joined_plot(figures: _Figures, cases: Sequence[Case]) -> str:
    def lines(sweep: str) -> tuple[Line, ...]:
        names = dict.fromkeys(
            case.series for case in cases if (case.engine, case.sweep) == ("joined", sweep)
        )
        return tuple(
            _line(figures, cases, ("joined", sweep, name), "error", _joined_label(sweep, name))
            for name in names
        )

    rates, tiles = lines("burst_time"), lines("tiles")
    error = _error_axis([*rates, *tiles])
    return chart(
        "Joined pipeline: error, each point the worst of its cases",
        [
            Panel("DRAM's rate", _axis("cycles a burst", (2, 4, 8, 16, 32), log=True), error,
                  rates),
            Panel("Number of tiles", _axis("tiles", (1, 2, 4, 8, 16, 32), log=True), error, tiles),
        ],
    )  # fmt: skip


def _joined_label(sweep: str, name: str) -> str:
    return f"{name} of activations" if sweep == "burst_time" else f"tiles {name}"


def _workloads_plot(figures: _Figures, layers: Sequence[Layer]) -> str:
    """Difference of each run; chips lie side by side."""
    texts = ("", *(f"inner, {codec}" for codec in CODECS), "outer", "")
    runs = Axis("dataflow and codec", tuple(map(float, range(len(texts)))), texts)
    lines = []
    for number, chip in enumerate(CHIPS):
        shift = 0.1 * (number - (len(CHIPS) - 1) / 2)
        points = []
        for run in dict.fromkeys(layer.run for layer in layers if layer.chip == chip):
            place = 1 + (CODECS.index(run[2]) if run[1] == "inner" else len(CODECS))
            points.append((place + shift, figures[f"{run_key(*run)}.difference"].value, ""))
        lines.append(Line(chip, tuple(points), "points"))
    panel = Panel(
        "Outer: codec bitmap; dense_npu: raw", runs,
        _error_axis(lines, "fast - cycle-stepped (%)"), tuple(lines),
    )  # fmt: skip
    return chart("Whole workloads: the fast model against the machine stepped", [panel])
