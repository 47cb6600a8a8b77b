"""Charts of a run as Vega-Lite, with their data.

Names in brackets, such as ``[accent]``, are colours of the page's style, which its script puts in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["bars_and_ticks", "instructions", "memory_map", "occupancy", "stacked"]

_SCHEMA = "https://vega.github.io/schema/vega-lite/v5.json"
_BAR_PX = 22
_TRACKS = ("weight", "load", "store", "mac", "vector")
_BUSY = "busy"
_IDLE = "no work"
_COLOURS = {
    _BUSY: "[accent]",
    "input": "#8172b3",
    "wait weight": "#009e73",
    "wait load": "#e69f00",
    "wait store": "#937860",
    "wait mac": "#cc79a7",
    "wait vector": "#d55e00",
    "wait dram": "#f0e442",
    _IDLE: "[line]",
}
"""Of what an engine does, the same on every page."""


def bars_and_ticks(
    rows: Sequence[Mapping[str, Any]], bar: str, tick: str, unit: str
) -> dict[str, Any]:
    """Horizontal bars with a mark on each, such as what was taken and what was needed.

    Parameters
    ----------
    rows : sequence of mapping
        With ``name``, ``bar`` and ``tick``; ``tick`` may be None.
    bar, tick : str
        What they are.
    unit : str
    """
    y = {
        "field": "name",
        "type": "nominal",
        "sort": None,
        "title": None,
        "axis": {"labelLimit": 260},
    }
    tooltip = [
        {"field": "name", "type": "nominal", "title": " "},
        {"field": "bar", "type": "quantitative", "format": ",", "title": bar},
        {"field": "tick", "type": "quantitative", "format": ",", "title": tick},
    ]
    title = bar if bar == unit else f"{bar}, {unit}"
    x = {"field": "bar", "type": "quantitative", "title": title}
    marks = {
        "mark": {"type": "tick", "thickness": 4, "size": _BAR_PX, "stroke": "[panel]"},
        "encoding": {
            "x": {"field": "tick", "type": "quantitative"},
            "color": {"value": "[chosen]"},
            "tooltip": tooltip,
        },
    }
    bars = {
        "mark": {"type": "bar"},
        "encoding": {"x": x, "color": {"value": "[accent]"}, "tooltip": tooltip},
    }
    return _chart(rows, encoding={"y": y}, layer=[bars, marks], height={"step": _BAR_PX})


def stacked(rows: Sequence[Mapping[str, Any]], whole: str) -> dict[str, Any]:
    """Horizontal bars cut into parts of a whole, busy time first and no work last.

    Parameters
    ----------
    rows : sequence of mapping
        With ``name``, ``part``, ``cycles`` and ``share``.
    whole : str
        What the shares are of.
    """
    order = list(_COLOURS)
    found = {row["part"] for row in rows}
    shown = {part: colour for part, colour in _COLOURS.items() if part in found}
    return _chart(
        [{**row, "place": order.index(row["part"])} for row in rows],
        mark={"type": "bar"},
        encoding={
            "y": {"field": "name", "type": "nominal", "sort": None, "title": None},
            "x": {
                "field": "share",
                "type": "quantitative",
                "title": f"share of {whole}",
                "axis": {"format": "%"},
                "scale": {"domain": [0, 1]},
            },
            "color": {
                "field": "part",
                "type": "nominal",
                "title": None,
                "sort": None,
                "scale": {"domain": list(shown), "range": list(shown.values())},
                "legend": {"orient": "top"},
            },
            "order": {"field": "place", "type": "quantitative"},
            "tooltip": [
                {"field": "name", "type": "nominal", "title": "engine"},
                {"field": "part", "type": "nominal", "title": "what"},
                {"field": "cycles", "type": "quantitative", "format": ",", "title": "cycles"},
                {"field": "share", "type": "quantitative", "format": ".1%", "title": "share"},
            ],
        },
        height={"step": _BAR_PX},
    )


def occupancy(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Engines over time, as dark as they are busy.

    Parameters
    ----------
    rows : sequence of mapping
        With ``engine``, ``from`` and ``to`` in cycles, and ``share``.
    """
    return _chart(
        rows,
        mark={"type": "rect"},
        encoding={
            **_engines_over_time(),
            "color": {
                "field": "share",
                "type": "quantitative",
                "title": "busy",
                "scale": {"domain": [0, 1], "range": ["[page]", "[accent]"], "interpolate": "rgb"},
                "legend": {"format": "%", "orient": "top", "gradientLength": 160},
            },
            "tooltip": [
                {"field": "engine", "type": "nominal", "title": "engine"},
                {"field": "from", "type": "quantitative", "format": ",", "title": "busy time from"},
                {"field": "to", "type": "quantitative", "format": ",", "title": "to"},
                {"field": "share", "type": "quantitative", "format": ".1%", "title": "busy"},
            ],
        },
        height={"step": _BAR_PX + 4},
    )


def instructions(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Instructions of each engine over time, coloured by layer.

    Parameters
    ----------
    rows : sequence of mapping
        With ``engine``, ``from`` and ``to`` in cycles, ``instruction`` and ``layer``.
    """
    return _chart(
        [{**row, "cycles": row["to"] - row["from"]} for row in rows],
        mark={"type": "rect", "stroke": "[panel]", "strokeWidth": 0.3},
        encoding={
            **_engines_over_time(),
            "color": _by_layer(),
            "tooltip": [
                {"field": "instruction", "type": "nominal", "title": "instruction"},
                {"field": "layer", "type": "nominal", "title": "layer"},
                {"field": "from", "type": "quantitative", "format": ",", "title": "busy time from"},
                {"field": "cycles", "type": "quantitative", "format": ",", "title": "cycles"},
            ],
        },
        height={"step": _BAR_PX + 4},
    )


def _engines_over_time() -> dict[str, Any]:
    return {
        "x": {
            "field": "from",
            "type": "quantitative",
            "title": "busy time, cycles: those in which no engine works are left out",
            "scale": {"nice": False, "zero": False},
        },
        "x2": {"field": "to"},
        "y": {"field": "engine", "type": "nominal", "sort": list(_TRACKS), "title": None},
    }


def _by_layer() -> dict[str, Any]:
    scale = {"scheme": "tableau20"}
    return {"field": "layer", "type": "nominal", "legend": None, "scale": scale}


def memory_map(rows: Sequence[Mapping[str, Any]], capacity_bytes: int) -> dict[str, Any]:
    """What lies where in a memory, and for which of the program's instructions.

    Parameters
    ----------
    rows : sequence of mapping
        As in ``run.json``, with ``end`` and ``last`` behind the last byte and instruction.
    capacity_bytes : int
    """
    return _chart(
        rows,
        mark={"type": "rect", "stroke": "[panel]", "strokeWidth": 0.3, "opacity": 0.85},
        encoding={
            "x": {
                "field": "first_instruction",
                "type": "quantitative",
                "title": "instruction of the program",
                "scale": {"nice": False},
            },
            "x2": {"field": "last"},
            "y": {
                "field": "start_bytes",
                "type": "quantitative",
                "title": "address, bytes",
                "scale": {"domain": [0, capacity_bytes], "nice": False},
            },
            "y2": {"field": "end"},
            "color": _by_layer(),
            "tooltip": [
                {"field": "name", "type": "nominal", "title": "region"},
                {"field": "size_bytes", "type": "quantitative", "format": ",", "title": "bytes"},
                {"field": "start_bytes", "type": "quantitative", "format": ",", "title": "address"},
                {"field": "live", "type": "nominal", "title": "instructions"},
            ],
        },
        height=260,
    )


def _chart(rows: Sequence[Mapping[str, Any]], **parts: Any) -> dict[str, Any]:
    return {"$schema": _SCHEMA, "width": "container", "data": {"values": list(rows)}, **parts}
