"""What a sweep's page shows, as plain values for its script."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from azsim.report.figures import EXACT_AND_MODELLED, meaning
from azsim.sweeps.analysis import Analysis
from azsim.sweeps.export import axis_unit
from azsim.sweeps.objectives import is_modelled
from azsim.sweeps.results import Results
from azsim.sweeps.sensitivity import Effect

__all__ = ["MOST_POINTS", "page_data"]

MOST_POINTS = 12_000
"""Points that a page draws; the front is always among them."""

_SEED = 0
_DIGITS = 7
_LOG_RATIO = 20.0
_MOST_MESSAGES = 50
_MOST_LETTERS = 600


def page_data(analysis: Analysis) -> dict[str, Any]:
    """Collect what the page shows.

    Parameters
    ----------
    analysis : Analysis

    Returns
    -------
    dict
        Plain values; points by column, the columns of axes and objectives named ``a0``, ``o0``, …
    """
    results = analysis.results
    rows = _drawn(analysis)
    place = {int(row): position for position, row in enumerate(rows)}
    kinds = np.where(analysis.rank == 0, 2, np.where(results.feasible, 1, 0))
    knees = [
        {"objectives": list(knee.objectives), "point": place[knee.point]} for knee in analysis.knees
    ]
    return {
        "name": results.name,
        "about": _about(results),
        "counts": dict(analysis.counts),
        "drawn": {
            "points": len(rows),
            "of": int(results.measured.sum()),
            "shorter": int((~results.last_rung).sum()),
            "incomplete": int(results.incomplete.sum()),
        },
        "axes": [_axis(results, name) for name in results.axes],
        "objectives": _objectives(analysis),
        "points": {
            "number": results.number[rows].tolist(),
            "kind": kinds[rows].tolist(),
            **{
                f"a{n}": [_plain(results.designs[row].get(name)) for row in rows.tolist()]
                for n, name in enumerate(results.axes)
            },
            **{
                f"o{n}": [_rounded(value) for value in results.figures[rows, n].tolist()]
                for n in range(len(results.objectives))
            },
        },
        "front": [place[row] for row in analysis.front.tolist()],
        "knees": knees,
        "best": {name: place[row] for name, row in analysis.best.items()},
        "hypervolume": {
            "value": _rounded(analysis.hypervolume),
            "share": _rounded(analysis.hypervolume_share),
            "unit": " · ".join(o.unit for o in results.objectives if o.unit not in ("", "1")),
        },
        "effects": [_effect(effect) for effect in analysis.effects],
        "troubles": [
            {
                "state": trouble.state,
                "message": trouble.message[:_MOST_LETTERS],
                "points": trouble.points,
                "number": trouble.number,
            }
            for trouble in analysis.troubles[:_MOST_MESSAGES]
        ],
        "more_troubles": max(0, len(analysis.troubles) - _MOST_MESSAGES),
        "exact": EXACT_AND_MODELLED,
    }


def _drawn(analysis: Analysis) -> np.ndarray:
    """Rows that the page draws: the front, what is best, and of the others as many as fit."""
    results = analysis.results
    measured = np.flatnonzero(results.measured)
    needed = {*analysis.front.tolist(), *analysis.best.values()}
    needed |= {knee.point for knee in analysis.knees}
    others = np.array([row for row in measured.tolist() if row not in needed], np.int64)
    room = max(0, MOST_POINTS - len(needed))
    if len(others) > room:
        others = np.random.default_rng(_SEED).choice(others, room, replace=False)
    return np.sort(np.concatenate([others, np.array(sorted(needed), np.int64)]))


def _about(results: Results) -> dict[str, str]:
    """What was swept, and with what."""
    said = results.definition
    found = {
        "workload": str(said.get("workload") or ""),
        "hardware": str(said.get("hardware") or "the workload's own"),
        "strategy": _strategy(said.get("strategy")),
        "set": " ".join(map(str, said.get("set") or ())),
        "constraints": "; ".join(map(str, said.get("constraints") or ())),
        "started": results.meta.get("created", ""),
        "versions": _versions(results.meta.get("versions", "{}")),
    }
    return {key: text for key, text in found.items() if text}


def _strategy(said: Any) -> str:
    """``nsga2: population 50, seed 0``."""
    if not isinstance(said, Mapping):
        return str(said or "")
    texts = []
    for name, options in said.items():
        given = options.items() if isinstance(options, Mapping) else ()
        values = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in given)
        texts.append(f"{name}: {values}" if values else str(name))
    return "; ".join(texts)


def _versions(text: str) -> str:
    try:
        versions = json.loads(text)
    except ValueError:
        return ""
    is_mapping = isinstance(versions, dict)
    return (
        ", ".join(f"{name} {version}" for name, version in versions.items()) if is_mapping else ""
    )


def _axis(results: Results, name: str) -> dict[str, Any]:
    values = [value for value in results.values(name) if value is not None]
    is_number = bool(values) and all(type(value) in (int, float) for value in values)
    said = results.definition.get("axes", {}).get(name, {}).get("values", ())
    there = set(map(_plain, values))
    levels = {level: None for level in [*map(_plain, said), *map(_plain, values)] if level in there}
    return {
        "name": name,
        "target": results.axes[name],
        "unit": axis_unit(results.axes[name]),
        "number": is_number,
        "log": is_number and _spreads(np.array(values, np.float64)),
        "levels": sorted(levels) if is_number else list(levels),
        "always": len(values) == len(results),
    }


def _objectives(analysis: Analysis) -> list[dict[str, Any]]:
    results = analysis.results
    return [
        {
            "name": objective.name,
            "key": objective.key,
            "goal": objective.goal,
            "unit": "" if objective.unit == "1" else objective.unit,
            "meaning": meaning(objective.key),
            "modelled": is_modelled(objective.key),
            "reference": _rounded(float(analysis.reference[place])),
            "log": _spreads(results.figures[results.measured, place]),
        }
        for place, objective in enumerate(results.objectives)
    ]


def _spreads(values: np.ndarray) -> bool:
    """Whether numbers are shown best on a logarithmic scale."""
    values = values[~np.isnan(values)]
    return bool(len(values) and values.min() > 0 and values.max() > _LOG_RATIO * values.min())


def _effect(effect: Effect) -> dict[str, Any]:
    return {
        "axis": effect.axis,
        "objective": effect.objective,
        "share": effect.share and _rounded(effect.share),
        "low": effect.low,
        "high": effect.high,
        "change": None if effect.change is None else _rounded(effect.change),
        "points": effect.points,
        "estimator": effect.estimator,
    }


def _plain(value: Any) -> Any:
    """A value that the script can compare: a number, a text, or None."""
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
        return value
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _rounded(value: float) -> float | None:
    """Seven digits, which is more than a picture shows; None for what is no number."""
    return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else None
