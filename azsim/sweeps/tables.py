"""What a sweep found, as tables for the terminal and as a document."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from azsim.report.listing import Cell, Listing, listing
from azsim.report.units import counted, percent
from azsim.sweeps.analysis import Analysis
from azsim.sweeps.export import axis_unit
from azsim.sweeps.pareto import crowding
from azsim.sweeps.sensitivity import Effect

__all__ = ["analysis_document", "analysis_tables"]

_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "µ"))
_SMALLEST = (1e-9, "n")
_PREFIXED = frozenset({"s", "B", "B/s", "Hz", "MAC"})
_MOST_ROWS = 20
_MOST_MESSAGES = 10
_MOST_LETTERS = 200


def analysis_tables(analysis: Analysis, most_rows: int = _MOST_ROWS) -> list[Listing]:
    """Make the tables of a sweep: front, best, effects, what went wrong.

    Parameters
    ----------
    analysis : Analysis
    most_rows : int
        Of a longer front the points that are most alone are shown, and always knees and extremes.
    """
    tables = [_overview(analysis), _front(analysis, most_rows), _best(analysis), _effects(analysis)]
    if analysis.troubles:
        tables.append(_troubles(analysis))
    return tables


def analysis_document(analysis: Analysis) -> dict[str, Any]:
    """What was found, for JSON: figures in their units, designs by axis."""
    results = analysis.results
    names = [objective.name for objective in results.objectives]

    def point(row: int) -> dict[str, Any]:
        return {
            "number": int(results.number[row]),
            "design": dict(results.designs[row]),
            "figures": dict(zip(names, results.figures[row].tolist(), strict=True)),
        }

    return {
        "name": results.name,
        "points": dict(analysis.counts),
        "without_figure": int(results.incomplete.sum()),
        "objectives": [asdict(objective) for objective in results.objectives],
        "front": [point(row) for row in analysis.front.tolist()],
        "knees": [
            {"objectives": list(knee.objectives), "point": point(knee.point)}
            for knee in analysis.knees
        ],
        "best": {name: point(row) for name, row in analysis.best.items()},
        "hypervolume": analysis.hypervolume,
        "hypervolume_share": analysis.hypervolume_share,
        "reference": dict(zip(names, analysis.reference.tolist(), strict=True)),
        "effects": [asdict(effect) for effect in analysis.effects],
        "troubles": [asdict(trouble) for trouble in analysis.troubles],
    }


def _overview(analysis: Analysis) -> Listing:
    results = analysis.results
    counts = analysis.counts
    states = ", ".join(f"{number:,} {state}" for state, number in counts.items())
    shorter = int((~results.last_rung).sum())
    reference = ", ".join(
        f"{objective.name} {_quantity(value, objective.unit)}"
        for objective, value in zip(results.objectives, analysis.reference.tolist(), strict=True)
    )
    rows = [("points", f"{sum(counts.values()):,}: {states}")]
    if shorter:
        rows.append(("on shorter input", f"{shorter:,}, on no front"))
    if incomplete := int(results.incomplete.sum()):
        rows.append(("without a figure", f"{incomplete:,} done, on no front: {_lacking(analysis)}"))
    rows += [
        ("front", counted(len(analysis.front), "point")),
        (
            "hypervolume",
            f"{percent(analysis.hypervolume_share)} of the box from the reference to the best"
            if len(analysis.front)
            else "-",
        ),
        ("reference", f"{reference}: 1 % behind the worst" if len(analysis.front) else "-"),
    ]
    return listing(f"Sweep {results.name}", ("", ""), rows)


def _lacking(analysis: Analysis) -> str:
    """How many points lack which objective."""
    results = analysis.results
    missing = np.isnan(results.figures[results.incomplete]).sum(axis=0).tolist()
    named = zip(results.objectives, missing, strict=True)
    return ", ".join(f"{number:,} lack {objective.name}" for objective, number in named if number)


def _front(analysis: Analysis, most_rows: int) -> Listing:
    rows = _shown(analysis, most_rows)
    columns, cells = _point_columns(analysis, rows)
    marks = [_marks(analysis, row) for row in rows]
    whole = len(analysis.front)
    note = "points that no feasible point beats in every objective"
    if len(rows) < whole:
        note += f"; {len(rows)} of {whole}, the most different ones"
    return listing(
        "Front",
        [*columns, ""],
        [(*row, mark) for row, mark in zip(cells, marks, strict=True)],
        note,
    )


def _shown(analysis: Analysis, most: int) -> list[int]:
    """Rows of the front to be shown, in its order."""
    front = analysis.front
    if len(front) <= most:
        return front.tolist()
    marked = {knee.point for knee in analysis.knees} | set(analysis.best.values())
    distance = crowding(analysis.results.figures[front])
    distance[[row in marked for row in front.tolist()]] = np.inf
    kept = np.sort(np.argsort(-distance, kind="stable")[:most])
    return front[kept].tolist()


def _marks(analysis: Analysis, row: int) -> str:
    whole = len(analysis.results.objectives)
    marks = [
        "knee" if len(knee.objectives) == whole else f"knee of {', '.join(knee.objectives)}"
        for knee in analysis.knees
        if knee.point == row
    ]
    marks += [f"best {name}" for name, best in analysis.best.items() if best == row]
    return "; ".join(marks)


def _best(analysis: Analysis) -> Listing:
    columns, cells = _point_columns(analysis, list(analysis.best.values()))
    rows = [(name, *row) for name, row in zip(analysis.best, cells, strict=True)]
    return listing("Best of each objective", ["objective", *columns], rows)


def _point_columns(
    analysis: Analysis, rows: Sequence[int]
) -> tuple[list[str], list[tuple[Cell, ...]]]:
    """Names and cells of point, objectives and axes, each column in one unit."""
    results = analysis.results
    columns = [_column("point", "", [int(results.number[row]) for row in rows])]
    for place, objective in enumerate(results.objectives):
        figures = results.figures[list(rows), place].tolist()
        columns.append(_column(objective.name, objective.unit, figures))
    for name, target in results.axes.items():
        values = [results.designs[row].get(name) for row in rows]
        columns.append(_column(name, axis_unit(target), values))
    cells = [cells for _, cells in columns]
    return [name for name, _ in columns], list(zip(*cells, strict=True))


def _column(name: str, unit: str, values: Sequence[Any]) -> tuple[str, list[Cell]]:
    """A column's header with its unit, and its cells."""
    there = [value for value in values if value is not None]
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in there):
        return name, [None if value is None else _text(value) for value in values]
    size, prefix = _prefix([float(value) for value in there], unit)
    unit = "" if unit == "1" else unit
    cells = [None if value is None else _rounded(value / size) for value in values]
    return f"{name}\n[{prefix}{unit}]" if unit and unit != name else name, cells


def _prefix(values: Sequence[float], unit: str) -> tuple[float, str]:
    """The prefix with which the middle one of some figures has one to three digits."""
    sizes = sorted(abs(value) for value in values if value and math.isfinite(value))
    if unit not in _PREFIXED or not sizes:
        return 1.0, ""
    middle = sizes[len(sizes) // 2]
    return next(((s, p) for s, p in _PREFIXES if middle >= 0.99995 * s), _SMALLEST)


def _rounded(value: float) -> Cell:
    """A whole number, or four digits."""
    if isinstance(value, int) or (float(value).is_integer() and abs(value) < 1e15):
        return int(value)
    return round(value) if abs(value) >= 1e4 else float(value)


def _quantity(value: float, unit: str) -> str:
    """``21.3 µs``."""
    size, prefix = _prefix([value], unit)
    unit = "" if unit == "1" else unit
    return f"{value / size:.4g} {prefix}{unit}".rstrip()


def _text(value: Any) -> str:
    return value if isinstance(value, str) else str(value)


def _effects(analysis: Analysis) -> Listing:
    objectives = analysis.results.objectives
    found = {(effect.axis, effect.objective): effect for effect in analysis.effects}
    axes = sorted(
        analysis.results.axes,
        key=lambda axis: -max((found[axis, o.name].share or 0.0 for o in objectives), default=0.0),
    )
    rows = [
        (
            axis,
            *(
                _effect(found[axis, o.name], o.unit, axis_unit(analysis.results.axes[axis]))
                for o in objectives
            ),
        )
        for axis in axes
    ]
    is_grid = all(effect.estimator == "grid" for effect in analysis.effects)
    note = "share of the variance that the axis explains alone, and what the mean does from the "
    note += "lowest to the highest level; "
    note += "exact over the grid" if is_grid else "an estimate, as the sample is no full grid"
    return listing("Sensitivity", ["axis", *(o.name for o in objectives)], rows, note)


def _effect(effect: Effect, unit: str, axis_unit: str) -> str:
    if effect.share is None or effect.change is None:
        return "-"
    sign = "+" if effect.change > 0 else ""
    change = f"{sign}{_quantity(effect.change, unit)}"
    low, high = (_level(label, axis_unit) for label in (effect.low, effect.high))
    return f"{percent(effect.share)}, {change}: {low} to {high}"


def _level(label: str, unit: str) -> str:
    """A level as people read it, where it is a number and not a range of them."""
    try:
        return _quantity(float(label), unit)
    except ValueError:
        return label


def _troubles(analysis: Analysis) -> Listing:
    shown = analysis.troubles[:_MOST_MESSAGES]
    rows = [(t.state, t.points, t.number, t.message[:_MOST_LETTERS]) for t in shown]
    note = "messages that differ in numbers alone count together; the first is shown"
    more = len(analysis.troubles) - len(shown)
    note += f"; and {counted(more, 'other message')}" if more else ""
    return listing("Failed and infeasible", ["state", "points", "first", "message"], rows, note)
