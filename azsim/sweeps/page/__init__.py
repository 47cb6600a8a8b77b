"""A sweep's page: HTML that holds its data, its charts and the library that draws them."""

from __future__ import annotations

import html
import json
from pathlib import Path

from azsim.errors import InputError
from azsim.sweeps.analysis import Analysis
from azsim.sweeps.page.charts import chart_specs
from azsim.sweeps.page.content import page_data

__all__ = ["page_html"]

_FOLDER = Path(__file__).parent
_SNIPPET = "window.vegaEmbed = vegaEmbed;"


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
    parts = {
        "TITLE": html.escape(f"Sweep {analysis.results.name}"),
        "STYLE": _text("page.css"),
        "SCRIPT": _text("page.js"),
        "LIBRARY": _library(),
        "DATA": _json(page_data(analysis)),
        "CHARTS": _json(chart_specs()),
    }
    text = _text("page.html")
    before, *marked = text.split("{{")
    pieces = [before]
    for piece in marked:
        name, _, after = piece.partition("}}")
        pieces += [parts[name], after]
    return "".join(pieces)


def _text(name: str) -> str:
    return (_FOLDER / name).read_text("utf-8")


def _json(value: object) -> str:
    """JSON that may stand in a script element: nothing in it ends that."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _library() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script."""
    try:
        import vl_convert
    except ImportError:
        raise InputError(
            'the page of a sweep needs vl-convert: pip install "azsim[report]"; '
            "--no-page prints the tables alone"
        ) from None
    return vl_convert.javascript_bundle(_SNIPPET)
