"""The answer of the study sweep_search in words, a table and a plot, all from its figures."""

from __future__ import annotations

import math
from collections.abc import Mapping

from azsim.studies._svg import Axis, Line, Panel, chart
from azsim.studies._write import Figure, table
from azsim.studies.sweep_search import EVALUATIONS, SEEDS, STEPS, STRATEGIES, WANTED

__all__ = ["enough", "plots", "readme"]

_Figures = Mapping[str, Figure]
_NAMES = {
    "random": "random",
    "latin_hypercube": "latin hypercube",
    "nsga2_plain": "NSGA-II, sampler alone",
    "nsga2": "NSGA-II with steps from the front",
    "tpe": "TPE with steps from the front",
}
_QUESTION = "How few evaluations does a search need for the front of 20,000 chips?"


def readme(figures: _Figures) -> str:
    """Return the study's ``README.md``."""
    parts = [
        f"# {_QUESTION}",
        _flow("""
            Made by `azsim study sweep_search -o reports/sweep_search`, and not edited by hand.
            Every number below is in [data.json](data.json).
        """),
        "## Answer",
        _answer(figures),
        "## How much of the front, how soon",
        _flow(_MEASURE_TEXT),
        _share_table(figures, "strict"),
        "![Share of the front against evaluations](search.svg)",
        _flow("And with the reference point behind the worst of all points:"),
        _share_table(figures, "share"),
        "## What was run, and what is assumed",
        _items(*_RUN_TEXTS),
    ]
    return "\n\n".join(parts) + "\n"


def plots(figures: _Figures) -> dict[str, str]:
    """Return the plot by file name."""
    evaluations = Axis("evaluations", *_ticks(range(0, EVALUATIONS + 1, 200)))
    share = Axis("hypervolume of the front found (%)", *_ticks(range(70, 101, 5)))
    lines = tuple(
        Line(label, tuple((step, _mean(figures, name, "strict", step), "") for step in STEPS))
        for name, label in _NAMES.items()
    )
    front = [
        (figures[f"front.{i}.latency"].value, figures[f"front.{i}.cost"].value, "")
        for i in range(int(figures["space.front"].value))
    ]
    latencies, costs = [p[0] for p in front], [p[1] for p in front]
    left, right = 10 * int(min(latencies) // 10), 10 * (int(max(latencies) // 10) + 1)
    x_ticks = tuple(t for t in (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0))
    inside = [t for t in x_ticks if max(left, 1) / 3 <= t <= right * 2]
    x = Axis("frame latency, p99 (us)", tuple(inside), tuple(f"{t:g}" for t in inside), True)
    y_range = range(2 * int(min(costs) // 2), 2 * int(max(costs) // 2) + 3, 2)
    y = Axis("cost (doublings, against az1)", *_ticks(y_range))
    panels = [
        Panel("mean of three seeds", evaluations, share, lines),
        Panel("the front of all chips", x, y, (Line("the front", tuple(front), "points"),)),
    ]
    return {"search.svg": chart(_QUESTION, panels)}


def enough(figures: _Figures, name: str, seed: int, key: str) -> int | None:
    """Return the evaluations, in steps of 100, after which 98 % are found; None if never."""
    for step in STEPS:
        if figures[f"{name}.seed_{seed}.{key}_at_{step}"].value >= WANTED:
            return step
    return None


def _answer(figures: _Figures) -> str:
    points, front = (int(figures[f"space.{key}"].value) for key in ("points", "front"))
    found = {name: _shares(figures, name, "strict", EVALUATIONS) for name in _NAMES}
    slowest = {name: _latest(figures, name, "strict") for name in ("nsga2", "tpe")}
    repeats = [figures[f"nsga2.seed_{seed}.repeats"].value for seed in SEEDS]
    return _items(
        f"""
            NSGA-II finds {_span(found["nsga2"])} of the front's hypervolume with {EVALUATIONS:,} of
            {points:,} evaluations ({100 * EVALUATIONS / points:.0f} %), by seed; {WANTED:.0f} %
            take {slowest["nsga2"]} evaluations on the slowest of three. TPE finds
            {_span(found["tpe"])}; {WANTED:.0f} % take {slowest["tpe"]}.
        """,
        f"""
            NSGA-II's sampler alone finds {_span(found["nsga2_plain"])}: here the steps from the
            front, half of each batch, help some seeds and cost others.
        """,
        f"""
            Designs at random find {_span(found["random"])}: the front is {front} of {points:,}
            points.
        """,
        f"""
            NSGA-II proposes {min(repeats):.0f} to {max(repeats):.0f} designs again that it has seen
            in {EVALUATIONS:,} evaluations. They are answered from what is known and cost none.
        """,
    )


def _span(shares: list[float]) -> str:
    return f"{_text(min(shares))} to {_text(max(shares))} %"


def _text(share: float) -> str:
    """Write a share so that only the whole of something is 100 %."""
    return f"{math.floor(100 * share + 1e-6) / 100:.2f}"


def _latest(figures: _Figures, name: str, key: str) -> str:
    found = [enough(figures, name, seed, key) for seed in SEEDS]
    return "more than there are" if None in found else f"{max(step or 0 for step in found)}"


def _shares(figures: _Figures, name: str, key: str, step: int) -> list[float]:
    return [float(figures[f"{name}.seed_{seed}.{key}_at_{step}"].value) for seed in SEEDS]


def _mean(figures: _Figures, name: str, key: str, step: int) -> float:
    return sum(_shares(figures, name, key, step)) / len(SEEDS)


def _share_table(figures: _Figures, key: str) -> str:
    shown = (100, 200, 400, 600, 800, 1_000)
    rows = []
    for name, label in _NAMES.items():
        least = (min(_shares(figures, name, key, step)) for step in shown)
        found = [enough(figures, name, seed, key) for seed in SEEDS]
        until = "-" if None in found else str(max(step or 0 for step in found))
        rows.append((label, *map(_text, least), until))
    heads = ("strategy", *(f"{step:,}" for step in shown), f"until {WANTED:.0f} %")
    return table(heads, rows)


_MEASURE_TEXT = f"""
    Hypervolume that the points found dominate, in per cent of that of the exhaustive front, after
    so many evaluations: the worst of three seeds. The reference point lies 1 % of the range behind
    the worst of the front, so that points far from the front count nothing. The last column says
    after how many evaluations, counted in hundreds, all seeds have {WANTED:.0f} %.
"""
_SAID = ", ".join(f"`{text.replace(': SEED', ': 0, 1, 2')}`" for text in STRATEGIES.values())
_RUN_TEXTS = (
    """
        The sweep `search`: one LSTM of 64 cells with random weights, four frames; clock, DRAM rate
        and latency, window and queue of the array. Every point is the same run of the bits,
        replayed.
    """,
    """
        Objectives: 99th percentile of the frame latency, and a cost. Assumption: each doubling of
        clock, DRAM rate, window and queue, and each halving of the DRAM latency, costs the same.
        It is a stand-in, so that there is something to trade; nothing about a real chip's cost is
        known here.
    """,
    f"""
        Each chip was evaluated once; the strategies were then told those figures. What they ask
        for depends on what they are told alone, so that `azsim sweep` asks for the same points.
        {_SAID}.
    """,
    """
        Assumption: the samplers are those of the Optuna that is installed; another version may ask
        for other points, which moves the figures of NSGA-II and TPE.
    """,
)


def _flow(text: str) -> str:
    """Join the lines of a paragraph."""
    return " ".join(text.split())


def _items(*texts: str) -> str:
    return "\n".join(f"- {_flow(text)}" for text in texts)


def _ticks(values: range) -> tuple[tuple[float, ...], tuple[str, ...]]:
    return tuple(map(float, values)), tuple(map(str, values))
