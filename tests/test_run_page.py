"""Pages of runs: what they hold, that a browser draws them, and what is said where none can be."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from azsim.cli import main
from azsim.errors import InputError
from azsim.report import files
from azsim.report.explain import explanation_document, explanation_from
from azsim.report.page import run_page
from azsim.report.page.content import sections
from azsim.report.page.timeline import read_events
from azsim.report.timeline import trace_document
from azsim.sim.explanation import Explanation, LayerLimit, TensorPlace, Variant, WeightRoom
from azsim.sim.result import OutputCheck, RunResult
from browser import drawn
from run_results import layer, small_result, small_timeline

ROOT = Path(__file__).parents[1]
NASTY = "</script><script>alert('&')</script>"
EXPLANATION = Explanation(
    cycles=1_000,
    room=WeightRoom(4_096, 64, 1_024, 1_024, 0, 1_984, 2_112),
    tensors=(TensorPlace("fc", 2, 1, 0, 1_024, 0, 1_024, 3, 320, 640, 1.5, 0, NASTY, "so wide"),),
    layers=(LayerLimit("fc", 820, "mac", 512, {"wait_load": 40}, "mac.lanes", 410),),
    variants=(Variant("mac.lanes", 128.0, 2.0, 600, 590, {"fc": 410}),),
)


@pytest.fixture(autouse=True)
def _packages() -> None:
    pytest.importorskip("vl_convert")


def documents(result: RunResult) -> tuple[Any, Any, Any]:
    """Content of ``summary.json``, ``run.json`` and ``trace.json``, as read from files."""
    made = (result.summary, files.run_document(result), trace_document(result))
    summary, document, trace = (json.loads(json.dumps(entry)) for entry in made)
    return summary, document, trace


def shares_of(trace: Any) -> list[dict[str, Any]]:
    events = read_events(trace)
    return [] if events is None else events.engine_shares()


def instructions_of(trace: Any) -> list[dict[str, Any]]:
    events = read_events(trace)
    return [] if events is None else events.some_instructions()


def page_of(result: RunResult) -> str:
    return run_page(*documents(result), library="draw()")


def test_a_run_has_a_page_that_needs_nothing_else(tmp_path: Path) -> None:
    files.write_run(small_result(), tmp_path / "run")
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert "report.html" in names
    assert set(json.loads((tmp_path / "run" / "run.json").read_text())["files"]) == names
    text = (tmp_path / "run" / "report.html").read_text("utf-8")
    outside = re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)
    assert not re.search(r"\bsrc=|href=\"[^#]|url\(|@import", outside)
    assert "<title>small on az1</title>" in outside


def test_every_figure_is_shown_with_what_it_is_and_whether_it_is_exact() -> None:
    text = page_of(small_result())
    assert (
        "<tr><td>cycles</td><td>1,000</td><td>cycles</td><td>core cycles of the whole run, waiting "
        "for input not counted</td><td>modelled</td></tr>"
    ) in text
    assert "<td>macs_executed</td><td>65,536</td><td>MAC</td>" in text
    assert "Exact: outputs" in text
    assert "2 tensors ask for zero_run, which this chip cannot decode; its image holds raw." in text


def test_names_cannot_end_a_script_or_become_markup() -> None:
    result = small_result(workload=NASTY, explanation=EXPLANATION)
    statistics = dataclasses.replace(result.statistics, layers=(layer(NASTY, 1_000, mac=600),))
    text = page_of(dataclasses.replace(result, statistics=statistics))
    assert NASTY not in text
    assert "&lt;/script&gt;&lt;script&gt;alert(&#x27;&amp;&#x27;)" in text


@pytest.mark.slow
def test_charts_are_valid(tmp_path: Path) -> None:
    alt = pytest.importorskip("altair")
    charts = [chart for part in sections(*documents(small_result())) for chart in part.charts]
    assert [chart.name for chart in charts] == [
        "bounds-chart",
        "engines-chart",
        "occupancy-chart",
        "instructions-chart",
        "layers-chart",
        "memory-chart-0",
        "memory-chart-1",
    ]
    for chart in charts:
        alt.Chart.from_dict(chart.spec, validate=True)
        assert chart.spec["data"]["values"]


def test_parts_of_an_engine_add_up_to_the_run() -> None:
    _, engines, *_ = sections(*documents(small_result()))
    rows = engines.charts[0].spec["data"]["values"]
    for name in ("weight", "mac", "sequencer"):
        assert sum(row["cycles"] for row in rows if row["name"] == name) == 1_000
        assert sum(row["share"] for row in rows if row["name"] == name) == pytest.approx(1)


def test_busy_shares_keep_the_work_and_leave_out_what_nobody_works_in() -> None:
    result = small_result(events=small_timeline(frames=3))
    shares = shares_of(trace_document(result))
    # 90 cycles of weights, then 130 of each frame's 150; in all others no engine works.
    assert max(row["to"] for row in shares) == 90 + 3 * 130
    length = 480 / 240
    for engine, busy in {"weight": 90, "load": 60, "mac": 300, "store": 30, "vector": 0}.items():
        mine = [row["share"] for row in shares if row["engine"] == engine]
        assert len(mine) == 240
        assert sum(mine) * length == pytest.approx(busy, abs=0.5)


def test_instructions_are_from_the_middle_and_each_is_as_long_as_it_was() -> None:
    few = instructions_of(trace_document(small_result(events=small_timeline(frames=3))))
    assert len(few) == 2 + 3 * 6
    assert few[2] == {
        "engine": "load",
        "from": 90,
        "to": 110,
        "instruction": "load",
        "layer": "(input)",
    }
    many = instructions_of(trace_document(small_result(events=small_timeline(frames=501))))
    assert len(many) == 300
    middle = 90 + 501 * 130 / 2
    assert many[0]["from"] < middle < many[-1]["to"]
    lengths = {"load": 20, "mac": 25, "store": 10}
    assert all(row["to"] - row["from"] == lengths[row["engine"]] for row in many)


def test_events_that_span_waits_tell_nothing_over_time() -> None:
    result = small_result(events=small_timeline(frames=40))
    summary, document, _ = documents(result)
    trace: Any = trace_document(result, max_events=20)
    assert trace["otherData"]["spans_idle"]
    assert read_events(trace) is None
    _, engines, *_ = sections(summary, document, trace)
    assert engines.notes[1] == (
        "The instructions (9 consecutive stretches of one engine are one event) are in trace.json, "
        "which https://ui.perfetto.dev opens."
    )


def test_a_run_without_events_has_no_chart_over_time() -> None:
    _, engines, *_ = sections(*documents(small_result(events=None)))
    assert [chart.name for chart in engines.charts] == ["engines-chart"]


def test_an_explanation_is_shown_as_it_was() -> None:
    document = json.loads(json.dumps(explanation_document(EXPLANATION)))
    assert explanation_from(document) == EXPLANATION
    text = page_of(small_result(explanation=EXPLANATION))
    assert "What would help" in text
    assert "What would help" not in page_of(small_result())


def test_numbers_keep_their_digits() -> None:
    result = small_result()
    statistics = dataclasses.replace(result.statistics, real_time_factor=0.00015812)
    checks = {"a": OutputCheck("ab", 31.25, 3e-6), "b": OutputCheck("cd", None, 2.84)}
    text = page_of(dataclasses.replace(result, statistics=statistics, output_checks=checks))
    assert "<td>real_time_factor</td><td>0.0001581</td><td></td>" in text
    assert '<td class="number" data-value="31.2">31.2</td>' in text
    assert '<td class="number" data-value="3e-06">3e-06</td>' in text
    assert '<td class="number" data-value="2.84">2.84</td>' in text
    assert "<td>frame_latency_s.max</td><td>1.2 µs</td><td></td>" in text


def test_texts_that_are_numbers_are_sorted_as_such() -> None:
    """The explanation's columns of per cents are; a column with a word in it is one of texts."""
    text = page_of(small_result(explanation=EXPLANATION))
    found = re.findall(r'<td class="number" data-value="([^"]*)">([+-][\d.]+ %)</td>', text)
    assert found
    assert all(float(value) == float(shown.split()[0]) for value, shown in found)
    assert "<td>mac</td>" in text
    assert '<td class="number">' not in text.replace('<td class="number"></td>', "")


def test_what_is_no_number_is_empty_on_both_pages(tmp_path: Path) -> None:
    checks = {"a": OutputCheck("ab", None, float("nan"))}
    files.write_run(small_result(output_checks=checks), tmp_path / "run")
    before = (tmp_path / "run" / "report.html").read_bytes()
    assert files.write_page(tmp_path / "run").read_bytes() == before


def test_a_page_that_cannot_be_drawn_costs_no_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(snippet: str) -> str:
        raise RuntimeError("no engine")

    monkeypatch.setattr("vl_convert.javascript_bundle", fail)
    monkeypatch.setattr("azsim.report.page.document.cache_directory", lambda: tmp_path / "cache")
    files.write_run(small_result(), tmp_path / "run")
    assert not (tmp_path / "run" / "report.html").exists()
    with pytest.raises(InputError, match=r"needs vl-convert \S+, which fails: no engine"):
        files.write_page(tmp_path / "run")


# ----------------------------------------------------------------------------- the command


def test_report_makes_the_very_page_that_the_run_had(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    files.write_run(small_result(explanation=EXPLANATION), folder)
    before = (folder / "report.html").read_bytes()
    (folder / "report.html").unlink()
    assert main(["report", str(folder)]) == 0
    assert capsys.readouterr().out.startswith("Written to ")
    assert (folder / "report.html").read_bytes() == before


def test_a_folder_with_a_page_made_later_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "vl_convert", None)
        files.write_run(small_result(), folder)
    assert not (folder / "report.html").exists()
    files.write_page(folder)
    files.write_run(small_result(), folder)
    assert (folder / "report.html").exists()


def test_a_page_that_somebody_else_made_is_kept(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(sys.modules, "vl_convert", None)
        files.write_run(small_result(), folder)
    (folder / "report.html").write_text("<h1>mine</h1>")
    with pytest.raises(InputError, match=r"it holds report\.html, which azsim did not write"):
        files.write_run(small_result(), folder)
    assert (folder / "report.html").read_text() == "<h1>mine</h1>"


def test_a_program_has_a_page_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "kernel"
    kernel = ROOT / "isa" / "examples" / "sparse_matvec"
    arguments = [f"{kernel}.azs", "--data", f"{kernel}.npz", "-o", str(folder)]
    assert main(["run", *arguments]) == 0
    capsys.readouterr()
    before = (folder / "report.html").read_bytes()
    text = before.decode()
    summary = json.loads((folder / "summary.json").read_text())
    assert f"<b>{summary['cycles']:,}</b>" in text
    assert "<b>0</b><span>races: pairs of accesses that no wait orders</span>" in text
    assert f"<td>{summary['blocks'][0]['name']}</td>" in text
    assert main(["report", str(folder)]) == 0
    assert (folder / "report.html").read_bytes() == before


def test_report_says_what_is_wrong_with_a_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def error(folder: Path) -> str:
        assert main(["report", str(folder)]) == 2
        return capsys.readouterr().err.removeprefix("azsim: error: ").rstrip("\n")

    missing = tmp_path / "missing"
    assert error(missing) == (
        f"{missing}: no such folder; a page is made of a folder that azsim run wrote"
    )
    empty = tmp_path / "empty"
    empty.mkdir()
    assert error(empty) == f"{empty / 'summary.json'}: No such file or directory"
    sweep = tmp_path / "sweep"
    sweep.mkdir()
    (sweep / "results.sqlite").touch()
    assert error(sweep) == (
        f"{sweep}: is a sweep's folder; azsim sweep report {sweep} makes its page"
    )
    run = tmp_path / "run"
    files.write_run(small_result(), run)
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    assert error(run) == 'the page of a run needs vl-convert: pip install "azsim[report]"'
    monkeypatch.undo()
    assert error(run / "summary.json") == (
        f"{run / 'summary.json'}: is not a folder; a page is made of a folder that azsim run wrote"
    )
    trace = (run / "trace.json").read_bytes()
    (run / "trace.json").unlink()
    assert error(run) == f"{run / 'trace.json'}: No such file or directory"
    (run / "trace.json").write_bytes(trace)
    (run / "run.json").write_text("{}")
    before = (run / "report.html").read_bytes()
    assert error(run) == (
        f"{run}: summary.json, run.json, trace.json are not as this version of azsim writes them; "
        "run the workload again"
    )
    assert (run / "report.html").read_bytes() == before


def test_without_the_extra_a_run_has_no_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    files.write_run(small_result(), tmp_path / "run")
    assert not (tmp_path / "run" / "report.html").exists()
    with pytest.raises(InputError, match=r"needs vl-convert"):
        files.write_page(tmp_path / "run")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium")
def test_a_browser_without_network_draws_the_page(tmp_path: Path) -> None:
    files.write_run(small_result(explanation=EXPLANATION), tmp_path / "run")
    text = (tmp_path / "run" / "report.html").read_text("utf-8")
    assert len(re.findall(r'<svg[^>]*class="marks"', drawn(text, tmp_path))) == 7
