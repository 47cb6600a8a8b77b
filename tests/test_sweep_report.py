"""A sweep's tables for the terminal, and its page."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from azsim.errors import InputError
from azsim.report.figures import FIGURES, meaning
from azsim.report.tables import render, table
from azsim.sweeps.analysis import Analysis, analyse
from azsim.sweeps.objectives import is_modelled
from azsim.sweeps.page import page_html
from azsim.sweeps.page.content import page_data
from azsim.sweeps.results import read_results
from azsim.sweeps.tables import analysis_document, analysis_tables
from browser import drawn
from sweep_files import AXES, GRID, grid_designs, model, point, write_results

NASTY = "no room: </script><script>alert(1)</script> & 'so on'"


@pytest.fixture
def analysis(tmp_path: Path) -> Analysis:
    """A grid of 18 points; two failed with messages that differ in a number."""
    points = [point(number, design) for number, design in enumerate(grid_designs())]
    for number in (16, 17):
        message = f"{NASTY}, {number} B"
        points[number] |= {"state": "failed", "summary": None, "figures": "{}", "message": message}
    return analyse(read_results(write_results(tmp_path, points)))


def test_the_terminal_shows_front_best_effects_and_what_failed(analysis: Analysis) -> None:
    text = render([table(entry) for entry in analysis_tables(analysis)], 150)
    lines = text.splitlines()
    assert "points      18: 16 done, 0 infeasible, 2 failed" in lines
    names = next(place for place, line in enumerate(lines) if line.startswith("point "))
    assert lines[names - 1].split() == ["latency", "accuracy", "traffic", "clock"]
    assert lines[names].split() == ["point", "[µs]", "[dB]", "[kB]", "codec", "[MHz]", "lanes"]
    marked = next(line for line in lines if line.endswith("best latency"))
    assert marked.split()[0] == str(analysis.results.number[analysis.best["latency"]])
    assert any(line.startswith("lanes") and "100.0 %, -3 dB: 8 to 32" in line for line in lines)
    assert any(line.startswith("failed") and NASTY in line for line in lines)
    (failed,) = analysis_tables(analysis)[4].rows
    assert failed[:3] == ("failed", 2, 16)


def test_a_long_front_shows_its_ends_its_knees_and_as_many_others_as_asked(tmp_path: Path) -> None:
    axes = {"codec": ["bitmap"], "clock": [1e8], "lanes": list(range(1, 101))}
    points = [point(n, design) for n, design in enumerate(grid_designs(axes))]
    found = analyse(read_results(write_results(tmp_path, points)))
    front = analysis_tables(found, 10)[1]
    assert len(found.front) == 100
    assert len(front.rows) == 10
    shown = [row[0] for row in front.rows]
    assert {found.knee, *found.best.values()} <= {*shown}  # in this grid a row is a number
    assert front.note.endswith("; 10 of 100, the most different ones")
    assert found.knee is not None
    assert [row[0] for row in front.rows if "knee" in str(row[-1]).split("; ")] == [found.knee]
    latency = [row[1] for row in front.rows]
    assert latency == sorted(latency, key=float)  # type: ignore[arg-type]


def test_points_that_lack_a_figure_are_counted(tmp_path: Path) -> None:
    points = [point(number, design) for number, design in enumerate(grid_designs())]
    for number in (3, 4):
        figures = json.loads(points[number]["figures"]) | {"accuracy": None}
        points[number]["figures"] = json.dumps(figures)
    found = analyse(read_results(write_results(tmp_path, points)))
    text = render([table(entry) for entry in analysis_tables(found)], 150)
    assert "without a figure 2 done, on no front: 2 lack accuracy" in text.splitlines()
    assert analysis_document(found)["without_figure"] == 2
    data = page_data(found)
    assert data["drawn"] == {"points": 18, "of": 18, "shorter": 0, "incomplete": 2}
    assert [data["points"]["kind"][place] for place in (3, 4)] == [0, 0]
    assert data["points"]["o1"][3] is None


def test_the_document_holds_front_knees_and_hypervolume(analysis: Analysis) -> None:
    document = json.loads(json.dumps(analysis_document(analysis)))
    assert document["points"] == {"done": 16, "infeasible": 0, "failed": 2}
    assert [entry["number"] for entry in document["front"]] == [
        int(analysis.results.number[row]) for row in analysis.front
    ]
    first = document["front"][0]
    assert first["figures"]["latency"] == model(first["design"])["frame_latency_s"]["p99"]
    assert document["hypervolume"] == analysis.hypervolume
    assert document["reference"].keys() == {"latency", "accuracy", "traffic"}


def test_the_pages_data_are_the_points(analysis: Analysis) -> None:
    data = page_data(analysis)
    json.dumps(data, allow_nan=False)
    points = data["points"]
    assert points["number"] == list(range(16))
    assert points["a0"] == [design["codec"] for design in grid_designs()[:16]]
    assert points["o1"][3] == model(grid_designs()[3])["outputs"]["y"]["sqnr_db"]
    assert [points["kind"][place] for place in data["front"]] == [2] * len(data["front"])
    assert data["objectives"][0]["modelled"] is True
    assert data["objectives"][1]["modelled"] is False
    assert data["axes"][1] == {
        "name": "clock",
        "target": AXES["clock"],
        "unit": "Hz",
        "number": True,
        "log": False,
        "levels": [200e6, 400e6, 800e6],
        "always": True,
    }
    assert data["drawn"] == {"points": 16, "of": 16, "shorter": 0, "incomplete": 0}


def test_of_very_many_points_the_front_and_a_sample_are_drawn(
    analysis: Analysis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("azsim.sweeps.page.content.MOST_POINTS", 12)
    data = page_data(analysis)
    assert data["drawn"] == {"points": 12, "of": 16, "shorter": 0, "incomplete": 0}
    numbers = {data["points"]["number"][place] for place in data["front"]}
    assert numbers == {int(analysis.results.number[row]) for row in analysis.front}


def test_the_page_is_whole_and_nothing_in_the_data_ends_its_script(analysis: Analysis) -> None:
    pytest.importorskip("altair")
    pytest.importorskip("vl_convert")
    text = page_html(analysis)
    assert len(text) < 15e6
    outside = re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)
    assert not re.search(r"\b(?:src|href)=|url\(|@import", outside)
    assert NASTY not in text
    data = re.search(r'<script id="data" type="application/json">(.*?)</script>', text, re.DOTALL)
    assert data is not None
    found = json.loads(data[1])
    assert found == json.loads(json.dumps(page_data(analysis)))
    assert found["troubles"][0]["message"] == f"{NASTY}, 16 B"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium")
@pytest.mark.parametrize("points", ["grid", "one objective", "none"])
def test_a_browser_without_network_draws_the_page(tmp_path: Path, points: str) -> None:
    pytest.importorskip("altair")
    pytest.importorskip("vl_convert")
    axes = GRID | {"clock": [20e6, 200e6, 2e9]}  # so far apart that axes are logarithmic
    rows = [point(number, design) for number, design in enumerate(grid_designs(axes))]
    given: dict[str, Any] = {}
    if points == "one objective":
        given["objectives"] = {"latency": {"key": "latency_s", "goal": "minimize", "unit": "s"}}
    folder = write_results(tmp_path / "sweep", [] if points == "none" else rows, **given)
    text = page_html(analyse(read_results(folder)))
    charts = drawn(text, tmp_path).count("<canvas")
    assert charts == {"grid": 5, "one objective": 3, "none": 5}[points]


@pytest.mark.parametrize("package", ["altair", "vl_convert"])
def test_without_its_packages_the_page_says_what_to_install(
    analysis: Analysis, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    for name in ("altair", "vl_convert"):
        pytest.importorskip(name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError) as found:
        page_html(analysis)
    called = {"altair": "Altair", "vl_convert": "vl-convert"}[package]
    assert str(found.value) == (
        f'the page of a sweep needs {called}: pip install "azsim[report]"; '
        "--no-page prints the tables alone"
    )


def test_every_figure_that_can_be_an_objective_has_a_meaning() -> None:
    assert [key for key in FIGURES if not meaning(key)] == []
    for key in ("outputs.a.b.sqnr_db", "outputs.y.equal_share", "decisions.speech.agreement"):
        assert meaning(key)
    assert meaning("cycles / frames") == ""


@pytest.mark.parametrize(
    ("key", "modelled"),
    [
        ("cycles", True),
        ("frame_latency_s.p99", True),
        ("mac_utilization", True),
        ("dram_read_bytes", False),
        ("dram_bytes_per_s", True),
        ("sram_peak_bytes.weight", False),
        ("outputs.y.sqnr_db", False),
        ("dram_read_bytes / frames", False),
        ("dram_read_bytes / latency_s", True),
    ],
)
def test_what_follows_from_cycles_is_modelled(key: str, modelled: bool) -> None:
    assert is_modelled(key) is modelled
