"""The tables of the study accuracy_vs_cost, all from its figures."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping

from azsim.studies._accuracy_vs_cost.plots import COSTS, NAMES, front, rows_in
from azsim.studies._accuracy_vs_cost.rows import TESTS, UNITS, Row
from azsim.studies._accuracy_vs_cost.targets import mean
from azsim.studies._write import Figure, table
from azsim.training.collection import CONTROLS

__all__ = [
    "examples_table",
    "front_table",
    "rate_text",
    "row_name",
    "rows_table",
    "seed_table",
    "unsaid_table",
]

_Figures = Mapping[str, Figure]


def row_name(row: Row) -> str:
    """Return what a row is called in sentences."""
    way = "control" if row.scheme in CONTROLS else row.way
    return f"{NAMES[row.scheme]} ({'as they are' if way == 'post' else way})"


def rate_text(figures: _Figures, start: str, name: str = TESTS[0]) -> str:
    """Return a word error rate; `name` is the set."""
    return f"{figures[f'{start}.{name}.wer'].value:.1f} %"


def rows_table(figures: _Figures, unit: str) -> str:
    """Every scheme of a unit."""
    heads = ("weights", "scheme", "voices %", "±", "more", "engines %", "±", "more",
             "bits", "zeros %", "weights dB", "kB/s", "µs, median", "µs, most")  # fmt: skip
    start = f"{unit}.float.seed0"
    cells = [text for name in TESTS for text in (*_value(figures, f"{start}.{name}"), "")]
    lines = [["float", "host", *cells, *([""] * 6)]]
    for row in rows_in(figures, unit):
        lines.append([*_who(row), *_heard(figures, row), *_cost_cells(figures, row)])
    return table(heads, lines, texts=2)


def _who(row: Row) -> tuple[str, str]:
    if row.scheme in CONTROLS:
        return "control", NAMES[row.scheme]
    return {"post": "as they are", "trained": "trained"}[row.way], NAMES[row.scheme]


def _value(figures: _Figures, start: str) -> tuple[str, str]:
    return f"{figures[f'{start}.wer'].value:.1f}", f"{figures[f'{start}.se'].value:.1f}"


def _heard(figures: _Figures, row: Row) -> list[str]:
    cells: list[str] = []
    for name in TESTS:
        more, error = (figures[f"{row.key}.{name}.{key}"].value for key in ("more", "more_se"))
        cells += [*_value(figures, f"{row.key}.{name}"), f"{more:+.1f} ± {error:.1f}"]
    return cells


def _cost_cells(figures: _Figures, row: Row) -> list[str]:
    def of(key: str) -> float:
        return figures[f"{row.key}.{key}"].value

    return [
        f"{of('bits_per_weight'):.2f}",
        f"{of('zeros'):.0f}",
        f"{of('weight_sqnr'):.1f}",
        f"{of('dram_bytes_per_s') / 1e3:.0f}",
        f"{of('latency_us_p50'):.2f}",
        f"{of('latency_us_max'):.2f}",
    ]


def front_table(figures: _Figures) -> str:
    """The fronts."""
    lines = [
        [
            name,
            label,
            "; ".join(
                f"{row_name(row)} {rate_text(figures, row.key)}"
                for row in front(figures, unit, cost)
            ),
        ]
        for unit, name in UNITS.items()
        for cost, label in COSTS.items()
    ]
    return table(("", "against", "front"), lines, texts=3)


def seed_table(figures: _Figures) -> str:
    """Means over trainings, of what was trained more than once."""
    lines = []
    for unit, name in UNITS.items():
        groups = [("float", "host", f"{unit}.float")]
        groups += [(*_who(row), f"{unit}.{row.way}.{row.scheme}") for row in rows_in(figures, unit)]
        for who, scheme, group in groups:
            count = int(figures[f"{group}.{TESTS[0]}.wer_seeds"].value)
            if count > 1:
                cells = [mean(figures, f"{group}.{test}.wer") for test in TESTS]
                is_float = group.endswith(".float")
                more = "" if is_float else mean(figures, f"{group}.{TESTS[0]}.more", "+")
                lines.append([name, who, scheme, str(count), *cells, more])
    heads = (
        "",
        "weights",
        "scheme",
        "trainings",
        "voices %",
        "engines %",
        "more than float, voices",
    )
    return table(heads, lines, texts=3) if lines else "There is one training of each so far."


def unsaid_table(figures: _Figures) -> str:
    """Noise without speech and unknown words."""
    lines = []
    for unit, name in UNITS.items():
        for row in rows_in(figures, unit):
            if f"{row.key}.noise_only.empty" in figures:
                values = [
                    figures[f"{row.key}.{key}"].value
                    for key in (
                        "noise_only.empty",
                        "out_of_vocabulary.wer",
                        "out_of_vocabulary.known_words",
                    )
                ]
                lines.append([name, *_who(row), *(f"{value:.1f}" for value in values)])
    heads = ("", "weights", "scheme", "noise heard as nothing %", "unknown words: wrong %",
             "known words heard %")  # fmt: skip
    return table(heads, lines, texts=3)


def examples_table(examples: str) -> str:
    """What is heard of sentences with unknown words."""
    heads, *lines = csv.reader(io.StringIO(examples))
    return table(heads, [[text or "(nothing)" for text in line] for line in lines], texts=3)
