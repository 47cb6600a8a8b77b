"""Cases of the study timing_agreement, and the figures that come from them.

A case is one job of one engine: its parameters, and how many cycles Verilog, cycle-stepped model
and fast model take.  Errors of the fast model are those against Verilog; on cases of fewer than
1,000 cycles they are counted in cycles, as a share of little says little.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from azsim.studies._write import Figure

__all__ = [
    "ENGINES",
    "PROMISES",
    "Case",
    "Promise",
    "broken",
    "case_figures",
    "cases_from_csv",
    "cases_to_csv",
    "point_figures",
    "point_key",
    "read_case",
]

ENGINES: Mapping[str, str] = MappingProxyType(
    {
        "mac_inner": "MAC array `inner`",
        "mac_outer": "MAC array `outer`",
        "bitmap": "decoder `bitmap`",
        "zero_run": "decoder `zero_run`",
        "lane_tans": "decoder `lane_tans`",
        "dram": "DRAM and DMA",
        "joined": "joined pipeline",
    }
)
"""Every engine by its name in the text."""

LONG_CYCLES = 1000
NO_POINTS = ("random", "stalls")  # sweeps without an axis, and those that the fast model leaves out
_DIGITS = 3


@dataclass(frozen=True)
class Promise:
    """What is promised of the fast model on an engine.

    Attributes
    ----------
    mean, worst : float
        Percent of the Verilog's cycles, on cases of 1,000 cycles or more.
    cycles : int or None
        On shorter ones; None where nothing is promised.
    """

    mean: float
    worst: float
    cycles: int | None


PROMISES: Mapping[str, Promise] = MappingProxyType(
    {name: Promise(1.0, 3.0, 3) for name in ENGINES if name != "joined"}
    | {"joined": Promise(2.0, 5.0, None)}
)


@dataclass(frozen=True)
class Case:
    """One measured case.

    Attributes
    ----------
    engine, sweep, x, series : str
        Which parameter is varied, its value, and what else tells this case from others.
    seed : int
    rtl_cycles, stepped_cycles : int
    fast_cycles : int or None
        None where the case holds stalls, which the fast model does not know.
    same_results : bool
        Whether the Verilog's results are right, bit for bit.
    parameters : mapping of str to str
        All of them.
    """

    engine: str
    sweep: str
    x: str
    series: str
    seed: int
    rtl_cycles: int
    stepped_cycles: int
    fast_cycles: int | None
    same_results: bool
    parameters: Mapping[str, str]

    @property
    def is_equal(self) -> bool:
        """Verilog and cycle-stepped model agree, and the results are right."""
        return self.same_results and self.rtl_cycles == self.stepped_cycles


_COLUMNS = tuple(name for name in Case.__dataclass_fields__ if name != "parameters")


def _text(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def read_case(entry: Mapping[str, object]) -> Case:
    """Take a case from a line of ``tests/rtl/measure.py``, or of the table."""

    def count(name: str) -> int:
        return int(str(entry[name]))

    fast = entry["fast_cycles"]
    return Case(
        engine=str(entry["engine"]),
        sweep=str(entry["sweep"]),
        x=_text(entry["x"]),
        series=str(entry["series"]),
        seed=count("seed"),
        rtl_cycles=count("rtl_cycles"),
        stepped_cycles=count("stepped_cycles"),
        fast_cycles=None if fast is None or fast == "" else int(str(fast)),
        same_results=str(entry["same_results"]) in ("True", "1"),
        parameters={
            name: _text(value)
            for name, value in entry.items()
            if name not in _COLUMNS and value not in ("", None)
        },
    )


def cases_to_csv(cases: Sequence[Case]) -> str:
    """Return a table with a column for every parameter of any engine."""
    names = list(dict.fromkeys(name for case in cases for name in case.parameters))
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*_COLUMNS, *names])
    for case in cases:
        fast = "" if case.fast_cycles is None else case.fast_cycles
        own = [getattr(case, name) for name in _COLUMNS[:-2]]
        rest = [case.parameters.get(name, "") for name in names]
        writer.writerow([*own, fast, int(case.same_results), *rest])
    return out.getvalue()


def cases_from_csv(text: str) -> list[Case]:
    """Read what `cases_to_csv` wrote."""
    return [read_case(row) for row in csv.DictReader(io.StringIO(text))]


# ------------------------------------------------------------------------------------- figures


def _percent(cases: Iterable[Case]) -> np.ndarray:
    """Errors of the cases of 1,000 cycles or more, in percent."""
    return np.array(
        [
            100 * (case.fast_cycles - case.rtl_cycles) / case.rtl_cycles
            for case in cases
            if case.fast_cycles is not None and case.rtl_cycles >= LONG_CYCLES
        ]
    )


def _cycles(cases: Iterable[Case]) -> np.ndarray:
    """Errors of the shorter cases, in cycles."""
    return np.array(
        [
            case.fast_cycles - case.rtl_cycles
            for case in cases
            if case.fast_cycles is not None and case.rtl_cycles < LONG_CYCLES
        ],
        np.int64,
    )


def _share(value: float) -> Figure:
    return Figure(round(float(value), _DIGITS), "% of RTL cycles")


def _error_figures(start: str, cases: Sequence[Case]) -> dict[str, Figure]:
    long, short = _percent(cases), _cycles(cases)
    figures = {
        f"{start}.cases": Figure(len(cases), "cases"),
        f"{start}.equal": Figure(sum(case.is_equal for case in cases), "cases"),
        f"{start}.stalled": Figure(sum(case.fast_cycles is None for case in cases), "cases"),
        f"{start}.long": Figure(len(long), "cases"),
        f"{start}.short": Figure(len(short), "cases"),
    }
    if long.size:
        size = np.abs(long)
        figures |= {
            f"{start}.mean_error": _share(size.mean()),
            f"{start}.median_error": _share(np.median(size)),
            f"{start}.p90_error": _share(np.quantile(size, 0.9)),
            f"{start}.worst_error": _share(size.max()),
            f"{start}.bias": _share(long.mean()),
        }
    if short.size:
        figures |= {
            f"{start}.short_equal": Figure(int(np.count_nonzero(short == 0)), "cases"),
            f"{start}.short_low": Figure(int(short.min()), "cycles"),
            f"{start}.short_high": Figure(int(short.max()), "cycles"),
        }
    return figures


def case_figures(cases: Sequence[Case]) -> dict[str, Figure]:
    """Figures of every engine, of each of its sweeps, and of the points of the sweeps."""
    figures: dict[str, Figure] = {}
    for engine in ENGINES:
        own = [case for case in cases if case.engine == engine]
        if not own:
            continue
        figures |= _error_figures(engine, own)
        for sweep in dict.fromkeys(case.sweep for case in own):
            part = [case for case in own if case.sweep == sweep]
            figures |= _error_figures(f"{engine}.{sweep}", part)
    return figures | point_figures(cases)


def point_key(engine: str, sweep: str, series: str, x: str) -> str:
    """Start of the names of a point's figures."""
    name = re.sub(r"\W+", "_", series).strip("_")
    return ".".join(part for part in (engine, sweep, name, x.replace(".", "p")) if part)


def point_figures(cases: Sequence[Case]) -> dict[str, Figure]:
    """Figures of each point of a sweep: means over its seeds, and the worst error."""
    points: dict[str, list[Case]] = {}
    for case in cases:
        if case.sweep not in NO_POINTS:
            key = point_key(case.engine, case.sweep, case.series, case.x)
            points.setdefault(key, []).append(case)
    figures: dict[str, Figure] = {}
    for key, found in points.items():
        rtl = np.array([case.rtl_cycles for case in found], float)
        fast = np.array([case.fast_cycles for case in found], float)
        error = 100 * (fast - rtl) / rtl
        figures |= {
            f"{key}.rtl_cycles": Figure(round(float(rtl.mean()), 1), "cycles"),
            f"{key}.fast_cycles": Figure(round(float(fast.mean()), 1), "cycles"),
            f"{key}.error": _share(error[np.argmax(np.abs(error))]),
        }
    return figures


def broken(figures: Mapping[str, Figure]) -> list[str]:
    """Say which promises the figures break; nothing where all hold."""
    found = []
    for engine, promise in PROMISES.items():
        if f"{engine}.cases" not in figures:
            continue

        def value(name: str, engine: str = engine) -> float:
            return figures[f"{engine}.{name}"].value

        name = ENGINES[engine]
        if different := int(value("cases") - value("equal")):
            found.append(f"{name}: {different} cases differ between RTL and cycle-stepped model")
        if f"{engine}.mean_error" not in figures:
            found.append(f"{name}: no case of {LONG_CYCLES:,} cycles or more")
        else:
            for kind, most in (("mean", promise.mean), ("worst", promise.worst)):
                error = value(f"{kind}_error")
                if error > most:
                    found.append(f"{name}: {kind} error {error:g} %, promised {most:g} %")
        if promise.cycles is not None and f"{engine}.short_low" in figures:
            worst = max(abs(value("short_low")), abs(value("short_high")))
            if worst > promise.cycles:
                found.append(
                    f"{name}: {worst:g} cycles off on a short case, promised {promise.cycles}"
                )
    return found
