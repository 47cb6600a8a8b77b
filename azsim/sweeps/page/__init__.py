"""A sweep's page: HTML that holds its data, its charts and the library that draws them."""

from __future__ import annotations

import html
from pathlib import Path

from azsim.report.page.document import base_style, drawing_library, filled, script_json
from azsim.sweeps.analysis import Analysis
from azsim.sweeps.page.charts import chart_specs
from azsim.sweeps.page.content import page_data

__all__ = ["page_html"]

_FOLDER = Path(__file__).parent


def page_html(analysis: Analysis) -> str:
    """Make the page; it needs no network and no other file.

    Parameters
    ----------
    analysis : Analysis

    Returns
    -------
    str
        HTML.

    Raises
    ------
    InputError
        If the packages that draw charts are not installed.
    """
    library = drawing_library("the page of a sweep", "--no-page prints the tables alone")
    parts = {
        "TITLE": html.escape(f"Sweep {analysis.results.name}"),
        "STYLE": base_style() + _text("page.css"),
        "SCRIPT": _text("page.js"),
        "LIBRARY": library,
        "DATA": script_json(page_data(analysis)),
        "CHARTS": script_json(chart_specs()),
    }
    return filled(_text("page.html"), parts)


def _text(name: str) -> str:
    return (_FOLDER / name).read_text("utf-8")
