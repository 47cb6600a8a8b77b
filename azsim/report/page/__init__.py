"""A run's page: HTML with its figures, charts and tables, made of the files of its folder."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from azsim.report.listing import Cell, Listing
from azsim.report.page.content import Section, sections
from azsim.report.page.document import base_style, filled, script_json
from azsim.report.page.headline import Tile, about, tiles
from azsim.report.units import number, significant

__all__ = ["run_page"]

_FOLDER = Path(__file__).parent
_RIGHT = ' class="number"'
_MOST_DIGITS = 3
_FIGURE = re.compile(r"([+-]?\d[\d,]*(?:\.\d+)?)(?: %)?")
"""A text that is a number, such as ``+1.7 %``."""


def run_page(
    summary: Mapping[str, Any], document: Mapping[str, Any], trace: Mapping[str, Any], library: str
) -> str:
    """Make the page; it needs no network and no other file.

    Parameters
    ----------
    summary, document, trace : mapping
        Content of ``summary.json``, ``run.json`` and ``trace.json``.
    library : str
        Script that draws its charts, see `azsim.report.page.document.drawing_library`.

    Returns
    -------
    str
        HTML.
    """
    name = summary["workload"] if "workload" in summary else summary["program"]
    parts = sections(summary, document, trace)
    charts = [chart for part in parts for chart in part.charts]
    links = "".join(f'<a href="#{part.name}">{html.escape(part.title)}</a>' for part in parts)
    shown = "".join(map(_tile, tiles(summary, document)))
    figures = f'<section id="figures" aria-label="Figures of the run">{shown}</section>'
    return filled(
        _text("run.html"),
        {
            "TITLE": html.escape(f"{name} on {summary['hardware']}"),
            "ABOUT": html.escape(about(summary, document)),
            "STYLE": base_style() + _text("run.css"),
            "BODY": f"<nav>{links}</nav>{figures}" + "".join(map(_section, parts)),
            "LIBRARY": library,
            "CHARTS": script_json({chart.name: chart.spec for chart in charts}),
            "SCRIPT": _text("run.js"),
        },
    )


def _text(name: str) -> str:
    return (_FOLDER / name).read_text("utf-8")


def _tile(tile: Tile) -> str:
    value, label = html.escape(tile.value), html.escape(tile.label)
    return f'<div class="{tile.verdict}"><b>{value}</b><span>{label}</span></div>'


def _section(section: Section) -> str:
    charts = "".join(
        f'{_heading(chart.heading)}<div id="{chart.name}" class="chart"></div>'
        for chart in section.charts
    )
    tables = "".join(map(_table, section.tables))
    notes = "".join(f'<p class="note">{html.escape(note)}</p>' for note in section.notes)
    title = html.escape(section.title)
    return f'<section id="{section.name}"><h2>{title}</h2>{charts}{tables}{notes}</section>\n'


def _heading(text: str) -> str:
    return f"<h3>{html.escape(text)}</h3>" if text else ""


def _table(table: Listing) -> str:
    """A table; numbers stand on the right, and say their value to who sorts."""
    columns = list(zip(*table.rows, strict=True)) or [() for _ in table.columns]
    digits = [_digits(column) for column in columns]
    head = "".join(
        f"<th{_RIGHT if decimals is not None else ''}>{html.escape(column)}</th>"
        for column, decimals in zip(table.columns, digits, strict=True)
    )
    body = "".join(f"<tr>{''.join(map(_cell, row, digits))}</tr>" for row in table.rows)
    note = f'<p class="note">{html.escape(table.note)}</p>' if table.note else ""
    return (
        f'{_heading(table.title)}<div class="wide"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>{note}"
    )


def _value(cell: Cell) -> int | float | None:
    """The number that a cell shows; None of a text."""
    if isinstance(cell, int | float):
        return cell
    figure = _FIGURE.fullmatch(cell or "")
    return float(figure[1].replace(",", "")) if figure else None


def _digits(column: Sequence[Cell]) -> int | None:
    """Digits behind the point of a column's numbers, -1 for significant ones; None of texts."""
    numbers = [value for value in column if isinstance(value, int | float)]
    if not numbers:
        texts = [text for text in column if text]
        return 0 if texts and all(_value(text) is not None for text in texts) else None
    few = range(_MOST_DIGITS + 1)
    return next((d for d in few if all(round(value, d) == value for value in numbers)), -1)


def _cell(value: Cell, decimals: int | None) -> str:
    right = "" if decimals is None else _RIGHT
    if value is None:
        return f"<td{right}></td>"
    if decimals is None:
        return f"<td>{html.escape(str(value))}</td>"
    if isinstance(value, str):
        figure = _value(value)
        sorted_by = "" if figure is None else f' data-value="{figure}"'
        return f"<td{right}{sorted_by}>{html.escape(value)}</td>"
    if isinstance(value, int):
        shown = number(value)
    else:
        shown = significant(value) if decimals < 0 else f"{value:,.{decimals}f}"
    return f'<td{right} data-value="{value}">{shown}</td>'
