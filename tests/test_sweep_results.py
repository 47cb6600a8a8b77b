"""Reading a sweep's file, what is found in it, and its export."""

from __future__ import annotations

import csv
import io
import json
import os
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from azsim.errors import InputError
from azsim.sweeps.analysis import analyse
from azsim.sweeps.checks import _RESERVED
from azsim.sweeps.export import axis_unit, csv_text, export_columns, parquet_bytes
from azsim.sweeps.results import read_results
from sweep_files import AXES, GRID, grid_designs, model, point, write_results


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A grid of 18 points; one is infeasible, and two failed."""
    points = [point(number, design) for number, design in enumerate(grid_designs())]
    nothing = {"summary": None, "figures": "{}"}
    points[-1] |= {"state": "failed", **nothing, "message": "does not fit"}
    points[-2] |= {"state": "failed", **nothing, "message": "does not fit"}
    points[-3] |= {"state": "infeasible", "message": "breaks latency <= 1 ms"}
    return write_results(tmp_path / "sweep", points)


def test_a_folder_and_its_file_are_read_alike(folder: Path) -> None:
    results = read_results(folder)
    assert results.name == "small"
    assert len(results) == 18
    assert results.axes == AXES
    assert [objective.name for objective in results.objectives] == [
        "latency",
        "accuracy",
        "traffic",
    ]
    assert results.goals == ("minimize", "maximize", "minimize")
    design = results.designs[4]
    assert design == grid_designs()[4]
    expected = model(design)
    assert results.figures[4].tolist() == [
        expected["frame_latency_s"]["p99"],
        expected["outputs"]["y"]["sqnr_db"],
        expected["dram_read_bytes"],
    ]
    assert np.isnan(results.figures[-1]).all()
    assert results.values("lanes")[:4] == [8, 16, 32, 8]
    assert results.feasible.sum() == 15
    assert results.measured.sum() == 16
    assert results.messages[-1] == "does not fit"
    assert results.records[0]["seconds"] == 0.25
    again = read_results(folder / "results.sqlite")
    assert np.array_equal(again.figures, results.figures, equal_nan=True)


def test_a_sweep_that_is_running_can_be_read(folder: Path) -> None:
    writer = sqlite3.connect(folder / "results.sqlite", isolation_level=None)
    row = point(18, {"codec": "raw", "clock": 1e8, "lanes": 4})
    marks = ", ".join("?" * len(row))
    insert = f"insert into points ({', '.join(row)}) values ({marks})"
    writer.execute(insert, [*row.values()])  # stays in the log until this connection is closed
    writer.execute("begin immediate")
    writer.execute(
        insert.replace("insert", "insert or replace"), [*(row | {"number": 19}).values()]
    )
    assert len(read_results(folder)) == 19
    writer.execute("commit")
    assert len(read_results(folder)) == 20
    writer.close()


def test_reading_leaves_the_file_as_it_is(folder: Path) -> None:
    path = folder / "results.sqlite"
    before = path.read_bytes()
    read_results(folder)
    assert path.read_bytes() == before


def test_a_folder_where_nothing_may_be_written_can_be_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert len(read_results(folder)) == 18


def test_what_is_no_sweep_is_refused_in_a_sentence(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(InputError) as found:
        read_results(empty)
    assert str(found.value) == (
        f"{empty}: holds no results.sqlite; azsim sweep FILE -o {empty} makes one"
    )
    with pytest.raises(InputError) as found:
        read_results(tmp_path / "none")
    assert str(found.value) == (
        f"{tmp_path}/none: no such file or folder; give the folder of a sweep"
    )
    text = tmp_path / "text.sqlite"
    text.write_text("name: sweep\n" * 100)
    with pytest.raises(InputError) as found:
        read_results(text)
    assert str(found.value) == f"{text}: holds no sweep of azsim: file is not a database"
    other = tmp_path / "other.sqlite"
    sqlite3.connect(other).executescript("create table meta(key, value)").close()
    with pytest.raises(InputError) as found:
        read_results(other)
    assert str(found.value) == f"{other}: holds no sweep of azsim: no such table: points"


def test_the_analysis_of_a_grid(folder: Path) -> None:
    results = read_results(folder)
    found = analyse(results)
    assert found.counts == {"done": 15, "infeasible": 1, "failed": 2}
    assert [(t.state, t.message, t.points, t.number) for t in found.troubles] == [
        ("failed", "does not fit", 2, 16),
        ("infeasible", "breaks latency <= 1 ms", 1, 15),
    ]
    # A slower clock only costs latency: the front has the fastest clock of each codec and lanes.
    designs = [results.designs[row] for row in found.front]
    fast = max(GRID["clock"])
    assert all(design["clock"] == fast or design["codec"] == "lane_tans" for design in designs)
    assert results.figures[found.front, 0].tolist() == sorted(results.figures[found.front, 0])
    assert found.best["accuracy"] in found.front
    assert results.figures[found.best["latency"], 0] == results.figures[:15, 0].min()
    assert found.rank[15:].tolist() == [-1, -1, -1]
    assert 0 < found.hypervolume_share < 1
    assert found.hypervolume > 0
    shares = {(e.objective, e.axis): e.share for e in found.effects}
    assert shares["accuracy", "lanes"] == pytest.approx(1.0)
    assert shares["traffic", "codec"] == pytest.approx(1.0)
    assert shares["traffic", "lanes"] == pytest.approx(0.0, abs=0.1)
    assert next(knee.objectives for knee in found.knees) == ("latency", "accuracy", "traffic")
    assert found.knee == found.knees[0].point


def test_points_on_shorter_input_are_on_no_front(tmp_path: Path) -> None:
    designs = grid_designs()[:6]
    points = [point(number, design) for number, design in enumerate(designs)]
    points += [point(6 + n, design, rung=1) for n, design in enumerate(designs[:2])]
    results = read_results(write_results(tmp_path, points))
    found = analyse(results)
    assert set(found.front) <= {6, 7}
    assert {effect.points for effect in found.effects} == {2}


def test_a_sweep_without_points_is_analysed_all_the_same(tmp_path: Path) -> None:
    found = analyse(read_results(write_results(tmp_path, [])))
    assert (len(found.front), found.hypervolume, found.best, found.knees) == (0, 0.0, {}, ())
    assert {effect.share for effect in found.effects} == {None}


def test_csv_has_units_in_its_header_and_every_point(folder: Path) -> None:
    found = analyse(read_results(folder))
    rows = list(csv.reader(io.StringIO(csv_text(export_columns(found)))))
    assert ",".join(rows[0]) == (
        "number,rung,state,codec,clock [Hz],lanes,latency [s],accuracy [dB],traffic [B],rank,"
        "on_front,is_knee,seconds [s],tries,worker,finished,key,message"
    )
    assert len(rows) == 19
    assert rows[1][:9] == [
        "0",
        "0",
        "done",
        "bitmap",
        "200000000.0",
        "8",
        repr((1e6 / 8 + 5e3) / 200e6),
        "39.0",
        "100000.0",
    ]
    assert rows[18][2:3] + rows[18][6:12] == ["failed", "", "", "", "", "false", "false"]
    assert rows[18][-1] == "does not fit"


def test_every_figure_of_the_summaries_can_be_exported(folder: Path) -> None:
    columns = export_columns(analyse(read_results(folder)), every_figure=True)
    by_name = {column.header: column.values for column in columns}
    assert by_name["cycles [cycles]"][0] == 130_000
    assert by_name["frame_latency_s.p99 [s]"][0] == 130_000 / 200e6
    assert by_name["outputs.y.sqnr_db [dB]"][17] is None
    assert "outputs.y.sha256" not in by_name


def test_an_objective_that_is_called_like_its_figure_is_exported_beside_it(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    objectives = {"cycles": {"key": "cycles", "goal": "minimize", "unit": "cycles"}}
    row = point(0, {"lanes": 8}, summary={"cycles": 5}, figures='{"cycles": 5.0}')
    folder = write_results(tmp_path, [row], {"lanes": "hardware.mac.lanes"}, objectives)
    columns = export_columns(analyse(read_results(folder)), every_figure=True)
    table = parquet.read_table(io.BytesIO(parquet_bytes(columns, {})))
    assert table.column("cycles").to_pylist() == [5.0]
    assert table.column("summary.cycles").to_pylist() == [5]


def test_a_sweep_may_call_nothing_like_a_column_of_every_export(folder: Path) -> None:
    columns = export_columns(analyse(read_results(folder)))
    assert {column.name for column in columns if column.kind == "point"} == set(_RESERVED)


def test_a_parquet_file_knows_its_units(folder: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    columns = export_columns(analyse(read_results(folder)))
    table = parquet.read_table(io.BytesIO(parquet_bytes(columns, {"sweep": "small"})))
    assert table.num_rows == 18
    assert table.schema.metadata[b"sweep"] == b"small"
    assert table.field("latency").metadata == {
        b"unit": b"s",
        b"kind": b"objective",
        b"source": b"frame_latency_s.p99",
    }
    assert table.field("clock").metadata[b"unit"] == b"Hz"
    assert str(table.field("latency").type) == "double"
    assert str(table.field("on_front").type) == "bool"
    assert table.column("latency").to_pylist()[0] == columns[6].values[0]
    assert table.column("latency").to_pylist()[-1] is None


def test_an_axis_of_names_and_numbers_is_a_column_of_texts(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    axes = {"a": "x"}
    values = [8, "all", [1, 2], True, None]
    designs = [{"a": value} if value is not None else {} for value in values]
    points = [point(n, d, summary={}) for n, d in enumerate(designs)]
    columns = export_columns(analyse(read_results(write_results(tmp_path, points, axes))))
    table = parquet.read_table(io.BytesIO(parquet_bytes(columns, {})))
    assert table.column("a").to_pylist() == ["8", "all", "[1, 2]", "true", None]
    rows = list(csv.reader(io.StringIO(csv_text(columns))))
    assert [row[3] for row in rows[1:]] == ["8", "all", "[1, 2]", "true", ""]


def test_without_pyarrow_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(InputError) as found:
        parquet_bytes([], {})
    assert str(found.value) == (
        'writing Parquet needs the pyarrow package: pip install "azsim[parquet]"'
    )


def test_pandas_reads_the_view_in_one_line(folder: Path) -> None:
    pandas = pytest.importorskip("pandas")
    connection = sqlite3.connect(folder / "results.sqlite")
    frame = pandas.read_sql("select * from results", connection)
    connection.close()
    assert list(frame.columns)[4:] == [*AXES, "latency", "accuracy", "traffic"]
    assert len(frame) == 18
    assert frame["latency"].min() == analyse(read_results(folder)).results.figures[:16, 0].min()


def test_a_definition_is_json(folder: Path) -> None:
    results = read_results(folder)
    assert results.definition["workload"] == "vad_silero"
    assert json.loads(results.meta["versions"]) == {"azsim": "0.1.0"}


@pytest.mark.parametrize(
    ("target", "unit"),
    [
        ("hardware.dram.bytes_per_s", "B/s"),
        ("hardware.weight_sram.bytes", "B"),
        ("hardware.weight_sram.write_bytes_per_cycle", ""),
        ("hardware.clock_hz", "Hz"),
        ("hardware.dram.latency_ns", "ns"),
        ("hardware.vector.divide_cycles", "cycles"),
        ("workload.stream.chunk_frames", ""),
        ("hardware", ""),
    ],
)
def test_the_unit_of_an_axis_is_that_of_its_key(target: str, unit: str) -> None:
    assert axis_unit(target) == unit
