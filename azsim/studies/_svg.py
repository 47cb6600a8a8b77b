"""Line charts and bars as SVG text, written by hand so that a study needs no plotting library.

The text depends on the data alone: coordinates have one decimal, so that a plot remade on another
machine is the same file.  Colours are those of Okabe and Ito, told apart with any colour vision;
each line also has a marker of its own.  The background is white in light and dark viewers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

__all__ = ["Axis", "Line", "Panel", "bars", "chart"]

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#AA4499", "#B8860B", "#444444")
_LEFT, _RIGHT, _TOP, _BOTTOM = 62.0, 18.0, 30.0, 50.0
_PLOT_HEIGHT = 250.0
_MARGIN = 10.0
_ROW = 22.0
_FONT = "font-family=\"'DejaVu Sans', 'Segoe UI', Helvetica, Arial, sans-serif\""
_BESIDE = {"above": (6, -6, "start"), "below": (6, 15, "start"), "left": (-6, 14, "end")}
_CHARACTER = 6.9  # mean width at 12 px


@dataclass(frozen=True)
class Axis:
    """One axis; it spans its first to its last tick.

    Attributes
    ----------
    label : str
        With its unit.
    ticks : tuple of float
        From left to right, or from below.
    texts : tuple of str
        One for each tick.
    log : bool
        Logarithmic; ticks are positive.
    """

    label: str
    ticks: tuple[float, ...]
    texts: tuple[str, ...]
    log: bool = False

    def place(self, value: float) -> float:
        """Where a value lies: 0 at the first tick, 1 at the last; not beyond them."""
        scale: Callable[[float], float] = math.log10 if self.log else float
        low, high = scale(self.ticks[0]), scale(self.ticks[-1])
        position = (scale(value) - low) / (high - low)
        return min(max(position, 0.0), 1.0)


@dataclass(frozen=True)
class Line:
    """One line, or points alone.

    Attributes
    ----------
    label : str
        Lines of one label share colour, marker and legend.
    points : tuple of (x, y, text)
        The text is written beside the point; empty for none.
    style : str
        ``solid``, ``dashed`` (with hollow markers, to be seen where it covers another line),
        ``points`` or ``rings`` (around the points of another line).
    beside : str
        Where texts stand: ``above`` right of the points, ``below`` right or ``left`` below, or
        ``free``, where they cover neither a marker nor each other as far as that can be.
    spread : tuple of float
        Of each point, how far it may lie above and below: a bar; none for none.
    """

    label: str
    points: tuple[tuple[float, float, str], ...]
    style: str = "solid"
    beside: str = "above"
    spread: tuple[float, ...] = ()


@dataclass(frozen=True)
class Panel:
    """One coordinate system with its lines."""

    title: str
    x: Axis
    y: Axis
    lines: tuple[Line, ...]


def chart(title: str, panels: Sequence[Panel], width: int = 860) -> str:
    """Draw panels side by side, one legend for all of them.

    Parameters
    ----------
    title : str
        What the plot shows; also read by screen readers.
    panels : sequence of Panel
    width : int
        Of the drawing, in pixels.

    Returns
    -------
    str
        A whole SVG document.
    """
    labels = list(dict.fromkeys(line.label for panel in panels for line in panel.lines))
    assert len(labels) <= len(_COLOURS)
    style = {line.label: line.style for panel in panels for line in panel.lines}
    legend, legend_rows = _legend(labels, style, width)
    top = _MARGIN + 24 + _ROW * legend_rows
    height = top + _TOP + _PLOT_HEIGHT + _BOTTOM
    panel_width = (width - 2 * _MARGIN) / len(panels)
    body = legend
    for number, panel in enumerate(panels):
        body.append(f'<g transform="translate({_MARGIN + number * panel_width:.1f} {top:.1f})">')
        body += _panel(panel, panel_width, labels)
        body.append("</g>")
    return _document(title, body, width, height)


def bars(
    title: str,
    axis: Axis,
    parts: Sequence[str],
    rows: Sequence[tuple[str, Sequence[float], str]],
    width: int = 860,
) -> str:
    """Draw one bar below another, each made of parts that lie end to end.

    Parameters
    ----------
    title : str
        What the plot shows; also read by screen readers.
    axis : Axis
        From left to right; not logarithmic.
    parts : sequence of str
        What the parts of every bar are, for the legend.
    rows : sequence of (str, sequence of float, str)
        Name, one length for each part, and the text behind the bar.
    width : int
        Of the drawing, in pixels.

    Returns
    -------
    str
        A whole SVG document.
    """
    assert len(parts) <= len(_COLOURS)
    body: list[str] = []
    x, line = _MARGIN + 6, 0
    for number, part in enumerate(parts):
        entry = 34 + _CHARACTER * len(part)
        if x + entry > width - _MARGIN and x > _MARGIN + 6:
            x, line = _MARGIN + 6, line + 1
        y = _MARGIN + 28 + _ROW * line
        body.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="14" height="12" fill="{_COLOURS[number]}"/>'
        )
        body.append(f'<text x="{x + 20:.1f}" y="{y + 10.5:.1f}">{escape(part)}</text>')
        x += entry
    left = _MARGIN + 20 + _CHARACTER * max(len(name) for name, _, _ in rows)
    inner = width - left - 60
    top = _MARGIN + 34 + _ROW * (line + 1)
    bottom = top + (_ROW + 8) * len(rows)
    for tick, text in zip(axis.ticks, axis.texts, strict=True):
        at = left + axis.place(tick) * inner
        body.append(_grid(at, top, at, bottom))
        body.append(f'<text x="{at:.1f}" y="{bottom + 17:.1f}" text-anchor="middle">{text}</text>')
    body.append(
        f'<text x="{left + inner / 2:.1f}" y="{bottom + 38:.1f}" text-anchor="middle">'
        f"{escape(axis.label)}</text>"
    )
    for row, (name, lengths, text) in enumerate(rows):
        y = top + 6 + (_ROW + 8) * row
        body.append(
            f'<text x="{left - 8:.1f}" y="{y + 14:.1f}" text-anchor="end">{escape(name)}</text>'
        )
        done = 0.0
        for number, length in enumerate(lengths):
            begin, end = (left + axis.place(value) * inner for value in (done, done + length))
            done += length
            if length:
                body.append(
                    f'<rect x="{begin:.1f}" y="{y:.1f}" width="{end - begin:.1f}" height="20" '
                    f'fill="{_COLOURS[number]}"><title>{escape(parts[number])}: {length:.3f}'
                    "</title></rect>"
                )
        at = left + axis.place(done) * inner + 6
        body.append(f'<text x="{at:.1f}" y="{y + 14:.1f}">{escape(text)}</text>')
    return _document(title, body, width, bottom + _BOTTOM)


def _document(title: str, body: Sequence[str], width: int, height: float) -> str:
    """Put a title and a white background around what was drawn."""
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height:g}" '
        f'viewBox="0 0 {width} {height:g}" role="img" {_FONT} font-size="12" fill="#222222">'
    )
    name = f"<title>{escape(title)}</title>"
    background = f'<rect width="{width}" height="{height:g}" fill="#ffffff"/>'
    heading = (
        f'<text x="{_MARGIN + 6:g}" y="{_MARGIN + 14:g}" font-size="15" font-weight="bold">'
        f"{escape(title)}</text>"
    )
    return "\n".join([head, name, background, heading, *body, "</svg>", ""])


def _legend(labels: Sequence[str], style: dict[str, str], width: int) -> tuple[list[str], int]:
    """Draw the legend's entries from left to right; also say how many rows it took."""
    parts: list[str] = []
    x, row = _MARGIN + 6, 0
    for number, label in enumerate(labels):
        entry = 44 + _CHARACTER * len(label)
        if x + entry > width - _MARGIN and x > _MARGIN + 6:
            x, row = _MARGIN + 6, row + 1
        y = _MARGIN + 34 + _ROW * row
        if style[label] in ("solid", "dashed"):
            parts.append(_stroke([(x, y), (x + 26, y)], number, style[label]))
        parts.append(_marker(x + 13, y, number, style[label], ""))
        parts.append(f'<text x="{x + 32:.1f}" y="{y + 4:.1f}">{escape(label)}</text>')
        x += entry
    return parts, row + 1


def _panel(panel: Panel, width: float, labels: Sequence[str]) -> list[str]:
    inner = width - _LEFT - _RIGHT

    def across(value: float) -> float:
        return _LEFT + panel.x.place(value) * inner

    def down(value: float) -> float:
        return _TOP + (1 - panel.y.place(value)) * _PLOT_HEIGHT

    bottom = _TOP + _PLOT_HEIGHT
    parts = [
        f'<text x="{_LEFT:.1f}" y="{_TOP - 10:.1f}" font-weight="bold">{escape(panel.title)}</text>'
    ]
    for tick, text in zip(panel.y.ticks, panel.y.texts, strict=True):
        y = down(tick)
        parts.append(_grid(_LEFT, y, _LEFT + inner, y))
        parts.append(f'<text x="{_LEFT - 7:.1f}" y="{y + 4:.1f}" text-anchor="end">{text}</text>')
    for tick, text in zip(panel.x.ticks, panel.x.texts, strict=True):
        x = across(tick)
        parts.append(_grid(x, _TOP, x, bottom))
        parts.append(f'<text x="{x:.1f}" y="{bottom + 17:.1f}" text-anchor="middle">{text}</text>')
    parts.append(
        f'<path d="M{_LEFT:.1f} {_TOP:.1f}V{bottom:.1f}H{_LEFT + inner:.1f}" fill="none" '
        'stroke="#444444" stroke-width="1"/>'
    )
    parts.append(
        f'<text x="{_LEFT + inner / 2:.1f}" y="{bottom + 38:.1f}" text-anchor="middle">'
        f"{escape(panel.x.label)}</text>"
    )
    middle = _TOP + _PLOT_HEIGHT / 2
    parts.append(
        f'<text transform="translate(14 {middle:.1f}) rotate(-90)" text-anchor="middle">'
        f"{escape(panel.y.label)}</text>"
    )
    taken = [
        (across(x) - 5, down(y) - 5, across(x) + 5, down(y) + 5)
        for line in panel.lines
        for x, y, _ in line.points
    ]
    for line in panel.lines:
        number = labels.index(line.label)
        places = [(across(x), down(y)) for x, y, _ in line.points]
        for (x, y, _), spread in zip(line.points, line.spread, strict=False):
            parts.append(_bar(across(x), down(y - spread), down(y + spread), number))
        if line.style in ("solid", "dashed"):
            parts.append(_stroke(places, number, line.style))
        for (x, y), (_, value, text) in zip(places, line.points, strict=True):
            parts.append(_marker(x, y, number, line.style, f"{line.label}: {value:g}"))
            if text:
                free = line.beside == "free"
                along, lower, anchor = _free(x, y, text, taken) if free else _BESIDE[line.beside]
                parts.append(
                    f'<text x="{x + along:.1f}" y="{y + lower:.1f}" text-anchor="{anchor}" '
                    f'font-size="11" fill="{_COLOURS[number]}">{escape(text)}</text>'
                )
    return parts


_Box = tuple[float, float, float, float]
"""Left, upper, right and lower end."""


def _free(x: float, y: float, text: str, taken: list[_Box]) -> tuple[float, float, str]:
    """Choose a place beside a point that is not taken, the nearest first, and take it."""
    width = _CHARACTER * 11 / 12 * len(text)
    places = [
        (along, lower, anchor)
        for row in range(6)
        for lower in (-6 - 11 * row, 15 + 11 * row)
        for along, anchor in ((6, "start"), (-6, "end"))
    ]
    boxes = []
    for along, lower, anchor in places:
        left = x + along - (width if anchor == "end" else 0)
        boxes.append((left, y + lower - 8, left + width, y + lower + 1))
    covered = [sum(_overlap(box, other) for other in taken) for box in boxes]
    best = covered.index(min(covered))
    taken.append(boxes[best])
    return places[best]


def _overlap(one: _Box, other: _Box) -> float:
    """Area that two boxes share."""
    across = min(one[2], other[2]) - max(one[0], other[0])
    down = min(one[3], other[3]) - max(one[1], other[1])
    return max(across, 0.0) * max(down, 0.0)


def _bar(x: float, lower: float, upper: float, number: int) -> str:
    return (
        f'<path d="M{x:.1f} {lower:.1f}V{upper:.1f}" stroke="{_COLOURS[number]}" stroke-width="1"/>'
    )


def _grid(x0: float, y0: float, x1: float, y1: float) -> str:
    return f'<path d="M{x0:.1f} {y0:.1f}L{x1:.1f} {y1:.1f}" stroke="#e2e2e2" stroke-width="1"/>'


def _stroke(places: Sequence[tuple[float, float]], number: int, style: str) -> str:
    path = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
    dashes = ' stroke-dasharray="5 4"' if style == "dashed" else ""
    return (
        f'<path d="M{path}" fill="none" stroke="{_COLOURS[number]}" stroke-width="2" '
        f'stroke-linejoin="round"{dashes}/>'
    )


def _marker(x: float, y: float, number: int, style: str, note: str) -> str:
    """Draw a line's own marker; `note` shows when pointed at."""
    shapes = (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.2"',
        f'<rect x="{x - 3.8:.1f}" y="{y - 3.8:.1f}" width="7.6" height="7.6"',
        f'<path d="M{x:.1f} {y - 5:.1f}l5 8.6h-10z"',
        f'<path d="M{x:.1f} {y - 5.4:.1f}l5.4 5.4l-5.4 5.4l-5.4 -5.4z"',
        f'<path d="M{x:.1f} {y + 5:.1f}l5 -8.6h-10z"',
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.6"',
    )
    own = _COLOURS[number]
    if style == "rings":
        shapes = (f'<circle cx="{x:.1f}" cy="{y:.1f}" r="7"',) * len(shapes)
    colour = (
        f' fill="none" stroke="{own}" stroke-width="1.6"'
        if style in ("dashed", "rings")
        else f' fill="{own}" stroke="#ffffff" stroke-width="1"'
    )
    start = shapes[number] + colour
    tag = shapes[number][1:].split(" ", 1)[0]
    return f"{start}><title>{escape(note)}</title></{tag}>" if note else f"{start}/>"
