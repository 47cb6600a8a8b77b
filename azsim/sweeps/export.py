"""A sweep's results as CSV and Parquet, with units."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from azsim.errors import InputError
from azsim.report.figures import unit_of
from azsim.sweeps.analysis import Analysis
from azsim.sweeps.results import read_summaries

__all__ = ["Column", "axis_unit", "csv_text", "export_columns", "parquet_bytes"]

_UNITS = {
    "_bytes_per_s": "B/s",
    "_bytes": "B",
    "_cycles": "cycles",
    "_hz": "Hz",
    "_ns": "ns",
    "_s": "s",
}


@dataclass(frozen=True)
class Column:
    """One column of an exported table.

    Attributes
    ----------
    name, unit : str
        The unit is ``1`` for a plain number, empty where none is known.
    kind : str
        ``point``, ``axis``, ``objective`` or ``figure`` (of ``summary.json``).
    source : str
        What an axis sets, or the key of a figure.
    values : sequence
        One a point; None where there is none.
    """

    name: str
    unit: str
    kind: str
    source: str
    values: Sequence[Any]

    @property
    def header(self) -> str:
        """``latency [s]``."""
        return self.name if self.unit in ("", "1") else f"{self.name} [{self.unit}]"


def export_columns(analysis: Analysis, *, every_figure: bool = False) -> list[Column]:
    """Make the table's columns: the points, their axes, their objectives, their place.

    Parameters
    ----------
    analysis : Analysis
    every_figure : bool
        Also every number of ``summary.json``, under its dotted key.
    """
    results = analysis.results
    knee = analysis.knee
    columns = [
        Column("number", "", "point", "", results.number.tolist()),
        Column("rung", "", "point", "", results.rung.tolist()),
        Column("state", "", "point", "", results.state.tolist()),
    ]
    columns += [
        Column(name, axis_unit(path), "axis", path, results.values(name))
        for name, path in results.axes.items()
    ]
    for place, objective in enumerate(results.objectives):
        figures = [None if value != value else value for value in results.figures[:, place]]
        columns.append(Column(objective.name, objective.unit, "objective", objective.key, figures))
    columns += [
        Column("rank", "", "point", "", [None if r < 0 else r for r in analysis.rank.tolist()]),
        Column("on_front", "", "point", "", [rank == 0 for rank in analysis.rank.tolist()]),
        Column("is_knee", "", "point", "", [row == knee for row in range(len(results))]),
        Column("seconds", "s", "point", "", [entry["seconds"] for entry in results.records]),
    ]
    for name in ("tries", "worker", "finished", "key"):
        columns.append(Column(name, "", "point", "", [entry[name] for entry in results.records]))
    columns.append(Column("message", "", "point", "", results.messages))
    if every_figure:
        summaries = [_numbers(summary) for summary in read_summaries(results)]
        taken = {column.name.lower() for column in columns}
        keys = dict.fromkeys(key for numbers in summaries for key in numbers)
        for key in keys:
            name = f"summary.{key}" if key.lower() in taken else key  # an objective is called so
            figures = [numbers.get(key) for numbers in summaries]
            columns.append(Column(name, unit_of(key) or "", "figure", key, figures))
    return columns


def csv_text(columns: Sequence[Column]) -> str:
    """Return CSV; the first line has names with units: ``latency [s]``.

    Lists and mappings are written as JSON, what there is not as an empty field.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([column.header for column in columns])
    for row in zip(*(column.values for column in columns), strict=True):
        writer.writerow([_plain(value) for value in row])
    return text.getvalue()


def parquet_bytes(columns: Sequence[Column], metadata: Mapping[str, str]) -> bytes:
    """Return a Parquet file.

    Parameters
    ----------
    columns : sequence of Column
        Each column's field has ``unit``, ``kind`` and ``source`` as metadata.  A column whose
        values are of several types, such as numbers and names, is one of texts.
    metadata : mapping of str to str
        Of the whole table.

    Raises
    ------
    InputError
        If pyarrow is not installed.
    """
    try:
        import pyarrow as arrow
        from pyarrow import parquet
    except ImportError:
        raise InputError(
            'writing Parquet needs the pyarrow package: pip install "azsim[parquet]"'
        ) from None
    fields, arrays = [], []
    for column in columns:
        array = arrow.array(_one_type(column.values))
        about = {"unit": column.unit, "kind": column.kind, "source": column.source}
        fields.append(arrow.field(column.name, array.type, metadata=about))
        arrays.append(array)
    table = arrow.table(arrays, schema=arrow.schema(fields, metadata=dict(metadata)))
    sink = arrow.BufferOutputStream()
    parquet.write_table(table, sink)
    return sink.getvalue().to_pybytes()


def axis_unit(target: str) -> str:
    """Unit of what an axis sets, where the key's name ends with it: ``hardware.clock_hz``."""
    key = f"_{target.rpartition('.')[2]}"
    return next((unit for ending, unit in _UNITS.items() if key.endswith(ending)), "")


def _numbers(value: Any, key: str = "") -> dict[str, float | int | bool]:
    """Every number of a document, under its dotted key."""
    if isinstance(value, Mapping):
        found = {}
        for name, entry in value.items():
            found |= _numbers(entry, f"{key}.{name}" if key else name)
        return found
    return {key: value} if isinstance(value, bool | int | float) else {}


def _plain(value: Any) -> Any:
    if isinstance(value, bool):
        return json.dumps(value)
    return json.dumps(value, sort_keys=True) if isinstance(value, list | Mapping) else value


def _one_type(values: Sequence[Any]) -> Sequence[Any]:
    """Values as they are, where they are of one type; else numbers as float64, or all as text."""
    kinds = {type(value) for value in values if value is not None}
    if len(kinds) <= 1 and not kinds & {list, dict}:
        return values
    if kinds <= {int, float}:
        return [None if value is None else float(value) for value in values]
    texts = (_plain(value) for value in values)
    return [None if text is None else str(text) for text in texts]
