"""The page's charts as Vega-Lite, without data: the page's script puts that in.

A name in brackets, such as ``[x]``, stands for a title that the reader chooses.
"""

from __future__ import annotations

from typing import Any

from azsim.errors import InputError

__all__ = ["chart_specs"]

_FRONT, _DONE, _INFEASIBLE = "on the front", "dominated", "infeasible"
_CHOSEN = "chosen"
_PADDING_PX = 12  # so that nothing lies on a chart's edge


def chart_specs() -> dict[str, dict[str, Any]]:
    """Make the charts.

    Returns
    -------
    dict of str to mapping
        ``front``, ``parallel`` and ``slice``, each a Vega-Lite specification whose data sets the
        script fills.

    Raises
    ------
    InputError
        If Altair is not installed.
    """
    try:
        import altair as alt
    except ImportError:
        raise InputError(
            'the page of a sweep needs Altair: pip install "azsim[report]"; '
            "--no-page prints the tables alone"
        ) from None
    charts = {"front": _front(alt), "parallel": _parallel(alt), "slice": _slice(alt)}
    return {name: chart.to_dict(validate=True) for name, chart in charts.items()}


def _front(alt: Any) -> Any:
    """Two objectives; what no other point dominates stands out, and its staircase."""
    x = alt.X("x:Q", title="[x]", scale=alt.Scale(zero=False, padding=_PADDING_PX))
    y = alt.Y("y:Q", title="[y]", scale=alt.Scale(zero=False, padding=_PADDING_PX))
    brush = alt.selection_interval(name="brush")
    legend = alt.Legend(orient="top", direction="horizontal", gradientLength=240, offset=4)
    colour = alt.Color("c:N", title="[colour]", scale=alt.Scale(scheme="viridis"), legend=legend)
    behind = (
        alt.Chart(alt.NamedData("behind"))
        .mark_circle(size=22, opacity=0.45)
        .encode(x=x, y=y, color=colour)
        .add_params(brush)
    )
    stairs = (
        alt.Chart(alt.NamedData("stairs"))
        .mark_line(interpolate="step-after", strokeWidth=1.5, opacity=0.7, clip=True)
        .encode(x=x, y=y, order="order:Q", color=alt.value("[accent]"))
    )
    front = (
        alt.Chart(alt.NamedData("front"))
        .mark_circle(size=70, opacity=1, strokeWidth=1.2)
        .encode(x=x, y=y, color=colour, stroke=alt.value("[accent]"))
    )
    knees = (
        alt.Chart(alt.NamedData("knees"))
        .mark_point(shape="diamond", size=260, strokeWidth=2, filled=False)
        .encode(x=x, y=y, color=alt.value("[strong]"))
    )
    names = (
        alt.Chart(alt.NamedData("knees"))
        .mark_text(align="left", dx=12, dy=-10, fontWeight="bold")
        .encode(x=x, y=y, text="label:N", color=alt.value("[strong]"))
    )
    chosen = (
        alt.Chart(alt.NamedData(_CHOSEN))
        .mark_point(shape="circle", size=330, strokeWidth=2.5, filled=False)
        .encode(x=x, y=y, color=alt.value("[chosen]"))
    )
    return alt.layer(behind, stairs, front, knees, names, chosen).properties(
        width="container", height=430
    )


def _parallel(alt: Any) -> Any:
    """A line a point over all axes and objectives; of objectives the better end is on top."""
    dimensions = alt.X(
        "d:N",
        title=None,
        sort=None,
        scale=alt.Scale(domain=["[dimensions]"], type="point", padding=0.6),
        axis=alt.Axis(
            orient="top", labelAngle=0, labelLimit=110, ticks=False, domain=False, grid=True
        ),
    )
    height = alt.Y("v:Q", title=None, axis=None, scale=alt.Scale(domain=[-0.06, 1.06]))
    kinds = alt.Scale(
        domain=[_INFEASIBLE, _DONE, _FRONT, _CHOSEN],
        range=["[infeasible]", "[muted]", "[accent]", "[chosen]"],
    )
    lines = (
        alt.Chart(alt.NamedData("lines"))
        .mark_line(interpolate="monotone")
        .encode(
            x=dimensions,
            y=height,
            detail="i:Q",
            order=alt.Order("o:Q"),
            color=alt.Color("kind:N", scale=kinds, title=None, legend=alt.Legend(orient="bottom")),
            opacity=alt.Opacity("weight:Q", scale=None),
            strokeWidth=alt.StrokeWidth("width:Q", scale=None),
            tooltip=alt.Tooltip("i:Q"),  # asks the script, which knows the whole point
        )
    )
    labels = alt.Chart(alt.NamedData("labels")).encode(x=dimensions, y=height, text="label:N")
    style = {"align": "left", "dx": 6, "fontSize": 11}
    halo = labels.mark_text(stroke="[panel]", strokeWidth=4, opacity=0.85, **style)
    text = labels.mark_text(**style).encode(color=alt.value("[text]"))
    return alt.layer(lines, halo, text).properties(width="container", height=360)


def _slice(alt: Any) -> Any:
    """One objective over one axis: the chosen design with that axis changed, and all designs."""
    x = alt.X("x:Q", title="[x]", sort=None, scale=alt.Scale(zero=False, padding=_PADDING_PX))
    y = alt.Y("y:Q", title="[y]", scale=alt.Scale(zero=False, padding=_PADDING_PX))
    every = alt.Chart(alt.NamedData("every"))
    low = alt.Y("low:Q", title="[y]", scale=alt.Scale(zero=False, padding=_PADDING_PX))
    span = every.mark_rule(strokeWidth=7, opacity=0.25).encode(
        x=x, y=low, y2="high:Q", color=alt.value("[muted]")
    )
    mean = every.mark_tick(orient="horizontal", thickness=2, size=14, opacity=0.9).encode(
        x=x, y=alt.Y("mean:Q"), color=alt.value("[muted]")
    )
    one = alt.Chart(alt.NamedData("one"))
    tip = alt.Tooltip("i:Q")
    line = one.mark_line(strokeWidth=2).encode(x=x, y=y, color=alt.value("[accent]"))
    dots = one.mark_circle(size=60, opacity=1).encode(
        x=x, y=y, color=alt.value("[accent]"), tooltip=tip
    )
    chosen = (
        alt.Chart(alt.NamedData(_CHOSEN))
        .mark_point(shape="circle", size=260, strokeWidth=2.5, filled=False)
        .encode(x=x, y=y, color=alt.value("[chosen]"))
    )
    return alt.layer(span, mean, line, dots, chosen).properties(width="container", height=210)
