"""The plots of the study accuracy_vs_cost, and its fronts, all from its figures."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from azsim.studies._accuracy_vs_cost.rows import POST, TRAINED, UNITS, Row
from azsim.studies._svg import Axis, Line, Panel, chart
from azsim.studies._write import Figure
from azsim.sweeps.pareto import nondominated

__all__ = ["COSTS", "NAMES", "front", "plots", "rows_in"]

_Figures = Mapping[str, Figure]

NAMES = {
    "w8": "8 bits",
    "control": "8 bits",
    "control_2400": "8 bits, 2,400 steps",
    "control_4000": "8 bits, 4,000 steps",
    "control_slow": "8 bits, slowly",
    "w4": "4 bits",
    "w3": "3 bits",
    "w3_regularised": "3 bits, pulled",
    "w2": "2 bits",
    "palette16": "4 bits, palette",
    "palette8": "palette of 8",
    "s50": "50 % zeros",
    "s75": "75 % zeros",
    "s90": "90 % zeros",
    "n1m4": "1 of 4 kept",
    "balanced75": "75 %, lanes alike",
    "w4_s75": "4 bits, 75 %",
    "w4_s75_student": "4 bits, 75 %, teacher",
}
"""Of schemes, in tables and plots."""
_UNPLOTTED = ("control_2400", "control_4000", "control_slow")  # where `control` is
COSTS = {
    "bits_per_weight": "stored bits per weight",
    "dram_bytes_per_s": "DRAM bytes per second",
    "latency_us_p50": "latency of a frame",
}
"""Of a model, on az1."""
_WAYS = {"post": "compressed as they are", "trained": "trained for the scheme"}
_SET = "unseen_voices"
_ERRORS = (2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0)
"""Percent; added words may be many more than those that were said."""


def rows_in(figures: _Figures, unit: str) -> list[Row]:
    """Rows of seed 0 that the figures have, those that were not trained first."""
    every = [Row(unit, "post", name) for name in POST]
    every += [Row(unit, "trained", name) for name in TRAINED]
    return [row for row in every if f"{row.key}.{_SET}.wer" in figures]


def front(figures: _Figures, unit: str, cost: str) -> list[Row]:
    """Rows that no other one of the unit beats in wrong words and in a cost, cheapest first."""
    some = rows_in(figures, unit)
    points = np.array(
        [[figures[f"{row.key}.{key}"].value for key in (f"{_SET}.wer", cost)] for row in some]
    )
    chosen = nondominated(points, ("minimize", "minimize"))
    order = np.lexsort((points[:, 0], points[:, 1]))
    return [some[i] for i in order if chosen[i]]


def plots(figures: _Figures) -> dict[str, str]:
    """Return the plots by file name."""
    bits = Axis("stored bits per weight", *_ticks(range(0, 13, 2)))
    sqnr = Axis("weights against the float ones (dB)", *_ticks(range(0, 51, 10)))
    return {
        "bits.svg": _plot(figures, "Wrong words against stored bits", "bits_per_weight", bits),
        "latency.svg": _plot(
            figures,
            "Wrong words against the time of a frame on az1",
            "latency_us_p50",
            _axis_of(figures, "latency_us_p50", "latency of a frame, median (µs)", 1.0),
        ),
        "dram.svg": _plot(
            figures,
            "Wrong words against DRAM traffic of az1",
            "dram_bytes_per_s",
            _axis_of(figures, "dram_bytes_per_s", "kB a second of audio", 1e3),
            1e-3,
        ),
        "sqnr.svg": _plot(
            figures,
            "Wrong words against how near the weights are to the float ones",
            "weight_sqnr",
            sqnr,
            fronts=False,
        ),
    }


def _ticks(values: range) -> tuple[tuple[float, ...], tuple[str, ...]]:
    return tuple(map(float, values)), tuple(map(str, values))


def _axis_of(figures: _Figures, name: str, label: str, scale: float) -> Axis:
    """An axis from 0 to a round number above everything that there is."""
    most = max(figure.value for key, figure in figures.items() if key.endswith(f".{name}")) / scale
    step = next(
        s * 10**power for power in range(-2, 9) for s in (1, 2, 5) if s * 10**power * 6 >= most
    )
    count = int(np.ceil(most / step))
    ticks = tuple(float(step * number) for number in range(count + 1))
    return Axis(label, ticks, tuple(f"{tick:g}" for tick in ticks))


def _axis_of_errors(figures: _Figures) -> Axis:
    """An axis whose end is above every model's errors."""
    rows = [row for unit in UNITS for row in rows_in(figures, unit)]
    most = max(figures[f"{row.key}.{_SET}.wer"].value for row in rows)
    over = sum(tick < 1.2 * most for tick in _ERRORS) + 1  # room for its name
    ticks = _ERRORS[: max(over, _ERRORS.index(100.0) + 1)]
    return Axis("wrong words (%)", ticks, tuple(f"{tick:g}" for tick in ticks), log=True)


def _plot(
    figures: _Figures, title: str, cost: str, axis: Axis, scale: float = 1.0, *, fronts: bool = True
) -> str:
    def place(row: Row) -> tuple[float, float]:
        return (
            scale * figures[f"{row.key}.{cost}"].value,
            figures[f"{row.key}.{_SET}.wer"].value,
        )

    panels = []
    for unit, name in UNITS.items():
        lines = []
        best = front(figures, unit, cost) if fronts else []
        if best:
            lines.append(Line("front", tuple((*place(row), "") for row in best), "dashed"))
        for way, label in _WAYS.items():
            every = [row for row in rows_in(figures, unit) if row.way == way]
            some = [row for row in every if row.scheme not in _UNPLOTTED]
            points = tuple((*place(row), _short(row)) for row in some)
            spread = tuple(figures[f"{row.key}.{_SET}.se"].value for row in some)
            lines.append(Line(label, points, "points", "free", spread))
        level = figures[f"{unit}.float.seed0.{_SET}.wer"].value
        ends = (axis.ticks[0], axis.ticks[-1])
        lines.append(Line("float", tuple((x, level, "") for x in ends)))
        panels.append(Panel(f"{name}, unseen voices", axis, _axis_of_errors(figures), tuple(lines)))
    return chart(title, panels, width=1000)


def _short(row: Row) -> str:
    return {
        "control": "control",
        "w3_regularised": "w3r",
        "balanced75": "b75",
        "palette16": "p16",
        "palette8": "p8",
        "w4_s75": "w4s75",
        "w4_s75_student": "student",
    }.get(row.scheme, row.scheme)
