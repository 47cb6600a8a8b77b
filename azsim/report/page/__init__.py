"""A run's page: HTML with its figures, charts and tables, made of the files of its folder."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from azsim.report.listing import Cell, Listing
from azsim.report.page.content import Section, Tile, about, sections, tiles
from azsim.report.page.document import base_style, filled, script_json
from azsim.report.units import number

__all__ = ["run_page"]

_FOLDER = Path(__file__).parent
_RIGHT = ' class="number"'


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
    parts = sections(summary, document, trace)
    links = "".join(f'<a href="#{part.name}">{html.escape(part.title)}</a>' for part in parts)
    shown = "".join(map(_tile, tiles(summary, document)))
    figures = f'<section id="figures" aria-label="Figures of the run">{shown}</section>'
    return filled(
        _text("run.html"),
        {
            "TITLE": html.escape(f"{summary['workload']} on {summary['hardware']}"),
            "ABOUT": html.escape(about(summary, document)),
            "STYLE": base_style() + _text("run.css"),
            "BODY": f"<nav>{links}</nav>{figures}" + "".join(map(_section, parts)),
            "LIBRARY": library,
            "CHARTS": script_json(
                {name: chart for part in parts for name, (_, chart) in part.charts.items()}
            ),
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
        f'{_heading(heading)}<div id="{name}" class="chart"></div>'
        for name, (heading, _) in section.charts.items()
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


def _digits(column: Sequence[Cell]) -> int | None:
    """Digits behind the point that a column of numbers needs; None if it is one of texts."""
    numbers = [value for value in column if isinstance(value, int | float)]
    parts = [f"{value:.6g}".partition(".")[2] for value in numbers if isinstance(value, float)]
    return max(map(len, parts), default=0) if numbers else None


def _cell(value: Cell, decimals: int | None) -> str:
    right = "" if decimals is None else _RIGHT
    if value is None:
        return f"<td{right}></td>"
    if isinstance(value, str):
        return f"<td{right}>{html.escape(value)}</td>"
    shown = number(value) if isinstance(value, int) else f"{value:,.{decimals}f}"
    return f'<td{right} data-value="{value}">{shown}</td>'
