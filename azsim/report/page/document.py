"""HTML documents that need neither a network nor another file: template, style, data, library."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
from collections.abc import Mapping
from pathlib import Path

from azsim.errors import InputError
from azsim.files import write_cached
from azsim.inputs.fetch import cache_directory

__all__ = ["base_style", "drawing_library", "filled", "script_json"]

_SNIPPET = "window.vegaEmbed = vegaEmbed;"


def filled(template: str, parts: Mapping[str, str]) -> str:
    """Put texts in the place of ``{{NAME}}``; what they hold is not looked at again.

    Parameters
    ----------
    template : str
    parts : mapping of str to str
        By name.
    """
    before, *marked = template.split("{{")
    pieces = [before]
    for piece in marked:
        name, _, after = piece.partition("}}")
        pieces += [parts[name], after]
    return "".join(pieces)


def script_json(value: object) -> str:
    """JSON that may stand in a script element: nothing in it ends that."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def base_style() -> str:
    """Return the style that all pages have."""
    return (Path(__file__).parent / "base.css").read_text("utf-8")


def drawing_library(of: str, otherwise: str = "") -> str:
    """Vega, Vega-Lite and Vega-Embed as one script; it takes a second to make, and is kept.

    Parameters
    ----------
    of : str
        What needs it, for the error.
    otherwise : str
        What to do without it.

    Returns
    -------
    str
        JavaScript that defines ``vegaEmbed``.

    Raises
    ------
    InputError
        If the package that holds it is not installed, or fails.
    """
    try:
        import vl_convert

        version = importlib.metadata.version("vl-convert-python")
    except ImportError:
        rest = f"; {otherwise}" if otherwise else ""
        message = f'{of} needs vl-convert: pip install "azsim[report]"{rest}'
        raise InputError(message) from None
    kept = cache_directory() / "pages" / f"vega-{version}.js"
    with contextlib.suppress(OSError, ValueError):
        return kept.read_text("utf-8")
    try:
        script = vl_convert.javascript_bundle(_SNIPPET)
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(f"{of} needs vl-convert {version}, which fails: {error}") from error
    with contextlib.suppress(OSError):
        write_cached(kept, script.encode())
    return script
