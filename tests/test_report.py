"""Reports: terminal text, a run's folder, timelines."""

from __future__ import annotations

import csv
import dataclasses
import importlib.util
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest

from azsim.errors import InputError
from azsim.report import files, tables, text, timeline, units
from azsim.report.json_text import json_text
from azsim.report.listing import listing
from azsim.sim.result import (
    Bounds,
    Comparison,
    WeightFigures,
)
from run_results import ENGINES, layer, small_result, small_timeline

GOLDEN = Path(__file__).parent / "golden" / "test_report"


# ------------------------------------------------------------------------------- units


@pytest.mark.parametrize(
    ("shown", "wanted"),
    [
        (units.number(1_234_567), "1,234,567"),
        (units.compact(0), "0"),
        (units.compact(999), "999"),
        (units.compact(999.6), "1 k"),
        (units.compact(23_859_200), "23.9 M"),
        (units.compact(1e20), "100,000 P"),
        (units.byte_count(0), "0 B"),
        (units.byte_count(1_023), "1,023 B"),
        (units.byte_count(277_760), "277,760 B (271.2 KiB)"),
        (units.duration(0), "0 s"),
        (units.duration(15.668e-6), "15.67 µs"),
        (units.duration(0.99999), "1 s"),
        (units.duration(2e-10), "0.2 ns"),
        (units.duration(12_345.6), "12,346 s"),
        (units.rate(480_633_103.8), "481 MB/s"),
        (units.rate(12), "12 B/s"),
        (units.frequency(500_000_000), "500 MHz"),
        (units.percent(1, 8), "12.5 %"),
        (units.percent(1, 0), "-"),
        (units.times(1.5832), "1.58 x"),
        (units.decibels(-0.25), "-0.2 dB"),
    ],
)
def test_numbers_with_units(shown: str, wanted: str) -> None:
    assert shown == wanted


# -------------------------------------------------------------------------------- text


@pytest.mark.parametrize("width", [80, 100])
def test_terminal_text(width: int, update_golden: bool) -> None:
    result = small_result()
    assert result.comparison is not None
    shown = tables.render([*text.run_report(result), text.verification(result.comparison)], width)
    path = GOLDEN / f"run_{width}.txt"
    if update_golden:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(shown, "utf-8")
    assert path.is_file(), f"{path.name} is missing; write it with --update-golden"
    assert shown == path.read_text("utf-8")
    assert max(map(len, shown.splitlines())) <= width
    assert "\x1b" not in shown
    assert not re.search(r" $", shown, re.MULTILINE)


def test_a_layer_that_ran_behind_another_has_no_share_above_the_whole() -> None:
    result = small_result()
    first, second, _, last = result.statistics.layers
    hidden = dataclasses.replace(
        layer("/fc/Gemm", 100, macs=131_072, mac=600, vector=100), mac_utilization=2.56
    )
    statistics = dataclasses.replace(result.statistics, layers=(first, second, hidden, last))
    bounds = {"/fc/Gemm": Bounds(0, 0, 512, 80, 60)}
    shown = tables.render(
        [text.layers(dataclasses.replace(result, statistics=statistics, layer_bounds=bounds))], 120
    )
    (line,) = (line for line in shown.splitlines() if line.startswith("/fc/Gemm"))
    assert line.split()[-7:] == ["42.7", "mac", "600,", "vector", "100", "mac,", "overlap"]
    assert line.split()[:3] == ["/fc/Gemm", "100", "10.0"]


@pytest.mark.parametrize("width", [40, 60, 200])
def test_text_breaks_at_no_width(width: int) -> None:
    shown = tables.render(text.run_report(small_result()), width)
    assert max(map(len, shown.splitlines())) <= width


def test_a_terminal_gets_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[" in tables.render([text.summary(small_result())], 100, color=True)


def test_summary_says_what_was_not_checked_and_what_differs() -> None:
    unchecked = tables.render([text.summary(small_result(comparison=None))], 100)
    assert re.search(
        r"bit exact +not checked +--verify compares with the reference evaluator", unchecked
    )
    sentence = "tensor 'y' differs in 1 of 2 values"
    differing = Comparison(False, ("x", "y"), {}, sentence)
    shown = tables.render([text.summary(small_result(comparison=differing))], 100)
    assert re.search(rf"bit exact +no +{re.escape(sentence)}", shown)
    assert tables.render([text.verification(differing)], 100).endswith(
        f"bit exact: no; {sentence}\n"
    )


@pytest.mark.parametrize(
    ("encoded_bytes", "wanted"), [(1_000, "1.02 x smaller, "), (1_044, "1.02 x larger, ")]
)
def test_weights_that_grew_are_called_larger(encoded_bytes: int, wanted: str) -> None:
    weight = WeightFigures("fc.weight", "bitmap", 8, 1_024, 512, encoded_bytes, 0, 1, 1)
    shown = tables.render([text.summary(small_result(weights=(weight,)))], 200)
    assert re.search(rf"weights, compressed +[\d,]+ B .*{wanted}\d", shown)


def test_traffic_that_was_asked_for_is_that_of_both_directions() -> None:
    shown = tables.render([text.summary(small_result())], 100)
    assert re.search(
        r"DRAM asked for +1,500 B \(1\.465 KiB\) +read and written, before rounding", shown
    )


def test_runs_without_work_have_a_report() -> None:
    result = small_result()
    statistics = dataclasses.replace(
        result.statistics,
        cycles=0,
        macs=0,
        macs_executed=0,
        macs_skipped=0,
        frame_latency_s=None,
        real_time_factor=None,
        deadline_misses=None,
        layers=(),
    )
    empty = small_result(
        statistics=statistics, weights=(), sram_map=(), known_bounds=Bounds(0, 0, 0, 0, 0), notes=()
    )
    shown = tables.render(text.run_report(empty), 100)
    assert "frame latency" not in shown
    assert "real-time factor" not in shown


def test_listing_as_table_and_as_records() -> None:
    table = listing("Things", ("name", "size B"), [("a[1]", 12_345), ("b", None)], "two things")
    assert tables.render([tables.table(table)], 60).splitlines() == [
        "Things",
        "name size B",
        "───────────",
        "a[1] 12,345",
        "b",
        "two things",
    ]
    assert table.records() == [{"name": "a[1]", "size_B": 12_345}, {"name": "b", "size_B": None}]


# ------------------------------------------------------------------------------- files


def strict(path: Path) -> dict:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{path.name} holds {constant}")

    return json.loads(path.read_text("utf-8"), parse_constant=refuse)


def test_run_folder(tmp_path: Path) -> None:
    result = small_result()
    folder = tmp_path / "runs" / "small"
    files.write_run(result, folder)
    names = ["layers.csv", "outputs.npz", "run.json", "summary.json", "trace.json"]
    names += ["report.html"] if importlib.util.find_spec("vl_convert") else []
    assert {path.name for path in folder.iterdir()} == set(names)
    assert [path.name for path in folder.parent.iterdir()] == ["small"]
    assert strict(folder / "summary.json") == json.loads(json.dumps(result.summary))
    run = strict(folder / "run.json")
    assert set(run["files"]) == set(names)
    assert run["made_by"] == "azsim"
    assert run["versions"] == {"numpy": "2"}
    assert run["weights"][0]["codec"] == "bitmap"
    assert run["sram_map"][1]["name"] == "(parameters)"
    assert run["comparison"]["fused"] == {"z": "Relu is applied as fc is drained"}
    with np.load(folder / "outputs.npz", allow_pickle=False) as outputs:
        assert set(outputs.files) == set(result.outputs)
        for name, array in result.outputs.items():
            assert outputs[name].dtype == np.float32
            assert outputs[name].shape == np.shape(array)
            assert np.array_equal(outputs[name], array)


def test_layers_csv_adds_up() -> None:
    result = small_result()
    rows = list(csv.DictReader(io.StringIO(files.layers_csv(result))))
    assert [row["name"] for row in rows] == [entry.name for entry in result.statistics.layers]
    assert sum(int(row["cycles"]) for row in rows) == result.statistics.cycles
    assert rows[2]["busy_mac_cycles"] == "600"
    assert rows[2]["busiest"] == rows[2]["bound_by"] == "mac"
    assert (rows[2]["bound_cycles"], rows[2]["bound_vector_cycles"]) == ("512", "80")
    assert rows[2]["critical_path_cycles"] == "820"
    assert (rows[3]["bound_cycles"], rows[3]["bound_by"]) == ("0", "")


def test_numbers_that_json_has_not_become_null() -> None:
    value = {
        "a": float("nan"),
        "b": [np.float32(1.5), np.int64(2)],
        3: float("inf"),
        "p": Path("x"),
    }
    assert json.loads(json_text(value)) == {"a": None, "b": [1.5, 2], "3": None, "p": "x"}


def test_an_earlier_run_is_replaced_as_a_whole(tmp_path: Path) -> None:
    folder = tmp_path / "small"
    files.write_run(small_result(workload="before"), folder)
    files.write_run(small_result(), folder)
    assert strict(folder / "summary.json")["workload"] == "small"
    assert [path.name for path in tmp_path.iterdir()] == ["small"]


def test_a_link_to_a_run_stays_a_link(tmp_path: Path) -> None:
    files.write_run(small_result(workload="before"), tmp_path / "real")
    (tmp_path / "link").symlink_to("real")
    files.write_run(small_result(), tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert strict(tmp_path / "real" / "summary.json")["workload"] == "small"


def test_a_failure_leaves_the_earlier_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "small"
    files.write_run(small_result(workload="before"), folder)
    write = files.write_file

    def full_disk(path: Path, data: bytes) -> None:
        if path.name == "trace.json":
            raise InputError(f"{path.name}: cannot be written, No space left on device")
        write(path, data)

    monkeypatch.setattr(files, "write_file", full_disk)
    with pytest.raises(InputError, match="No space left on device"):
        files.write_run(small_result(), folder)
    assert strict(folder / "summary.json")["workload"] == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["small"]


def refused(folder: Path) -> str:
    with pytest.raises(InputError) as caught:
        files.check_writable(folder)
    return str(caught.value)


def test_folders_that_azsim_did_not_make_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "thesis"
    folder.mkdir()
    files.check_writable(folder)  # empty: nothing is lost
    (folder / "chapter.tex").write_text("text")
    start, end = f"{folder}: will not be replaced, ", "; choose another folder"
    assert refused(folder) == f"{start}it has no run.json of azsim{end}"
    for other in ("{}", "[", '{"made_by": "azsim"}', '{"made_by": "me", "files": []}'):
        (folder / "run.json").write_text(other)
        assert refused(folder) == f"{start}its run.json is not azsim's{end}"
    run = tmp_path / "run"
    files.write_run(small_result(), run)
    files.check_writable(run)
    (run / "notes.txt").write_text("mine")
    assert refused(run) == (
        f"{run}: will not be replaced, it holds notes.txt, which azsim did not write{end}"
    )
    (run / "notes.txt").unlink()
    monkeypatch.chdir(run)
    assert refused(run) == (
        f"{run}: cannot be replaced, it is the current folder, above it, or a mount point; "
        "choose a folder inside it"
    )


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    assert refused(file) == f"{file}: is not a folder; choose another name"
    below = file / "a" / "b"
    assert refused(below) == f"{below}: cannot be written, {file} is not a folder"
    assert refused(tmp_path / ("n" * 300) / "a").endswith("cannot be written, File name too long")
    with pytest.raises(InputError, match=f"{below}: cannot be written, there is no folder"):
        files.check_file_writable(below)
    with pytest.raises(InputError, match=f"{tmp_path}: cannot be written, it is a folder"):
        files.check_file_writable(tmp_path)
    with pytest.raises(InputError, match="cannot be written, Is a directory"):
        files.write_file(tmp_path, b"")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_studies_replace_studies_only(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    for round_ in ("first", "second"):
        with files.replaced_folder(folder, files.foreign_to_study) as temporary:
            (temporary / "README.md").write_text(round_)
            (temporary / "data.json").write_text('{"study": "x"}')
    assert (folder / "README.md").read_text() == "second"

    def refused() -> str:
        with (
            pytest.raises(InputError) as caught,
            files.replaced_folder(folder, files.foreign_to_study),
        ):
            pass
        return str(caught.value).partition("replaced, ")[2]

    for content in ("{}", "[]", "a,b"):
        (folder / "data.json").write_text(content)
        assert refused() == "its data.json is no study's; choose another folder"
    (folder / "data.json").unlink()
    assert refused() == "it has no README.md and data.json of a study; choose another folder"


# ---------------------------------------------------------------------------- timeline


def check_trace(document: dict) -> list[dict]:
    """Check a trace against what the format's description asks; return its complete events."""
    document = json.loads(json.dumps(document, allow_nan=False))
    assert document["displayTimeUnit"] in ("ms", "ns")
    named, complete = set(), []
    for event in document["traceEvents"]:
        assert event["ph"] in ("M", "X")
        assert isinstance(event["pid"], int)
        assert isinstance(event["tid"], int)
        assert isinstance(event["name"], str)
        assert event["name"]
        assert isinstance(event["args"], dict)
        if event["ph"] == "M":
            assert event["name"] in ("process_name", "thread_name", "thread_sort_index")
            named.add(event["tid"])
        else:
            assert event["tid"] in named
            assert event["ts"] >= 0
            assert event["dur"] >= 0
            assert isinstance(event["args"]["layer"], str)
            complete.append(event)
    assert document["otherData"]["shown_events"] == len(complete)
    return complete


def test_timeline_has_one_track_an_engine() -> None:
    document = timeline.trace_document(small_result())
    events = check_trace(document)
    tracks = {
        event["tid"]: event["args"]["name"]
        for event in document["traceEvents"]  # pyright: ignore[reportGeneralTypeIssues]
        if event["name"] == "thread_name"
    }
    assert tuple(tracks.values()) == ENGINES
    assert len(events) == 2 + 3 * 6
    first = next(event for event in events if tracks[event["tid"]] == "mac")
    assert first == {
        "ph": "X",
        "pid": 1,
        "tid": 4,
        "name": "mac_matmul",
        "ts": 10.04,  # cycle 5,020 at 500 MHz
        "dur": 0.05,
        "args": {"layer": "/fc/Gemm", "busy_cycles": 25},
    }
    load = next(event for event in events if tracks[event["tid"]] == "load")
    assert load["args"] == {"layer": "(input)", "busy_cycles": 20, "dram_bytes": 64}


def test_timeline_of_too_many_events_is_aggregated() -> None:
    result = small_result()
    document = timeline.trace_document(result, max_events=12)
    events = check_trace(document)
    # One event for startup, and three for each frame, as frames lie apart.
    assert len(events) == 1 + 3 * 3
    assert sum(event["args"].get("instructions", 1) for event in events) == 2 + 3 * 6
    product = next(event for event in events if event["tid"] == 4)
    assert product["name"] == "mac_matmul"  # all four are
    assert product["args"] == {"layer": "/fc/Gemm", "busy_cycles": 100, "instructions": 4}
    assert product["dur"] == pytest.approx(115 / 500)
    said = document["otherData"]
    assert isinstance(said, dict)
    assert said["recorded_events"] == 20
    assert said["aggregation"] == (
        "consecutive events of one engine and layer, less than 1,000 cycles apart, are one event"
    )


def test_timeline_stays_in_bounds() -> None:
    result = small_result(events=small_timeline(frames=500))
    document = timeline.trace_document(result, max_events=100)
    events = check_trace(document)
    assert len(events) <= 100
    assert sum(event["args"].get("instructions", 1) for event in events) == 2 + 500 * 6
    said = document["otherData"]
    assert isinstance(said, dict)
    assert sum(event["args"].get("dram_bytes", 0) for event in events) == (2 + 500 * 2) * 64
    assert said["aggregation"] == "16 consecutive stretches of one engine are one event"


def test_fences_and_runs_without_events() -> None:
    events = small_timeline()
    engine = events.engine.copy()
    engine[-1] = len(ENGINES)
    document = timeline.trace_document(
        small_result(events=dataclasses.replace(events, engine=engine))
    )
    assert check_trace(document)[-1]["tid"] == len(ENGINES) + 1
    assert check_trace(timeline.trace_document(small_result(events=None))) == []
