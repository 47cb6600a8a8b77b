"""The study of timing: its promises, how figures come from cases, what it says without tools."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from azsim.cli import main
from azsim.errors import InputError
from azsim.studies import timing_agreement
from azsim.studies._timing_agreement_plots import plots
from azsim.studies._timing_agreement_rows import (
    ENGINES,
    PROMISES,
    Case,
    broken,
    case_figures,
    cases_from_csv,
    cases_to_csv,
    point_figures,
    read_case,
)
from azsim.studies._timing_agreement_text import readme
from azsim.studies._timing_agreement_workloads import (
    CHIPS,
    Layer,
    broken_runs,
    layers_from_csv,
    layers_to_csv,
    run_key,
    variants,
    workload_figures,
)
from azsim.studies._write import Figure
from rtl.harness import missing_tools, require_rtl

REPORT = Path(__file__).parents[1] / "reports" / "timing_agreement"


@pytest.fixture(scope="module")
def figures() -> dict[str, Figure]:
    entries = json.loads((REPORT / "data.json").read_text(encoding="utf-8"))["figures"]
    return {key: Figure(entry["value"], entry["unit"]) for key, entry in entries.items()}


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    return cases_from_csv((REPORT / "cases.csv").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def layers() -> list[Layer]:
    return layers_from_csv((REPORT / "layers.csv").read_text(encoding="utf-8"))


def value(figures: Mapping[str, Figure], name: str) -> float:
    return figures[name].value


# ---------------------------------------------------------------------------------- promises


def test_what_is_promised_holds(figures: dict[str, Figure]) -> None:
    assert broken_runs(figures) == []
    assert broken(figures) == []
    assert "Everything that is promised of it holds" in (REPORT / "README.md").read_text("utf-8")


@pytest.mark.parametrize("engine", list(ENGINES))
def test_verilog_and_cycle_stepped_model_agree_on_every_case(
    engine: str, figures: dict[str, Figure]
) -> None:
    assert value(figures, f"{engine}.equal") == value(figures, f"{engine}.cases")
    assert value(figures, f"{engine}.cases") >= 150
    assert value(figures, f"{engine}.long") >= 80


@pytest.mark.parametrize("engine", list(ENGINES))
def test_the_fast_model_is_within_the_bounds_of_the_project(
    engine: str, figures: dict[str, Figure]
) -> None:
    mean, worst = (2.0, 5.0) if engine == "joined" else (1.0, 3.0)
    assert (PROMISES[engine].mean, PROMISES[engine].worst) == (mean, worst)
    assert value(figures, f"{engine}.mean_error") <= mean
    assert value(figures, f"{engine}.worst_error") <= worst
    if engine not in ("joined", "lane_tans"):
        short = [value(figures, f"{engine}.short_{end}") for end in ("low", "high")]
        assert max(map(abs, short)) <= 3


def test_loads_that_the_fifo_limits_and_small_tiles_are_there(cases: list[Case]) -> None:
    joined = [case for case in cases if case.engine == "joined"]
    fifos = {int(case.x) for case in joined if case.sweep == "fifo_bursts"}
    assert {1, 2, 4} < fifos
    small = [case for case in joined if case.sweep == "tiles" and case.series == "8 x 16"]
    assert min(case.rtl_cycles for case in small) < 200
    assert max(case.rtl_cycles for case in small) > 2000


def test_whole_runs_are_within_two_percent(figures: dict[str, Figure], layers: list[Layer]) -> None:
    runs = {layer.run for layer in layers}
    assert runs == {
        (chip, dataflow, codec)
        for chip in CHIPS
        for codec, dataflows in variants(chip).items()
        for dataflow in dataflows
    }
    for run in runs:
        assert abs(value(figures, f"{run_key(*run)}.difference")) <= 2
        own = [layer for layer in layers if layer.run == run]
        for kind in ("fast_cycles", "stepped_cycles"):
            total = sum(getattr(layer, kind) for layer in own)
            assert total == value(figures, f"{run_key(*run)}.{kind}")


# ---------------------------------------------------------------------- figures and their cases


def test_the_report_is_that_of_its_cases(
    cases: list[Case], layers: list[Layer], figures: dict[str, Figure]
) -> None:
    assert {**case_figures(cases), **workload_figures(layers)} == figures
    files = json.loads((REPORT / "data.json").read_text(encoding="utf-8"))["inputs_sha256"]
    inputs = {name: digest for name, digest in files.items() if not name.endswith(".v")}
    made = {
        "README.md": readme(figures, cases, layers, inputs),
        "cases.csv": cases_to_csv(cases),
        "layers.csv": layers_to_csv(layers),
        **plots(figures, cases, layers),
    }
    for name, text in made.items():
        assert (REPORT / name).read_text(encoding="utf-8") == text, name


@pytest.mark.parametrize("engine", list(ENGINES))
def test_a_planted_error_of_the_fast_model_is_found(
    engine: str, cases: list[Case], layers: list[Layer]
) -> None:
    at = next(
        i for i, case in enumerate(cases)
        if case.engine == engine and case.fast_cycles is not None and case.rtl_cycles >= 1000
    )  # fmt: skip
    fast = round(cases[at].rtl_cycles * 1.06)
    planted = [*cases[:at], replace(cases[at], fast_cycles=fast), *cases[at + 1 :]]
    found = {**case_figures(planted), **workload_figures(layers)}
    error = 100 * (fast / cases[at].rtl_cycles - 1)
    assert value(found, f"{engine}.worst_error") == round(error, 3)
    most = PROMISES[engine].worst
    sentence = f"{ENGINES[engine]}: worst error {round(error, 3):g} %, promised {most:g} %"
    assert set(broken(found)) - set(broken(case_figures(cases))) == {sentence}
    text = readme(found, planted, layers, {})
    (answer,) = (line for line in text.splitlines() if "**Not everything" in line)
    assert sentence in answer
    assert f"| {round(error, 3):.3f} % |" in text


def test_a_planted_difference_of_a_cycle_is_found(cases: list[Case], layers: list[Layer]) -> None:
    for other in (
        replace(cases[0], stepped_cycles=cases[0].rtl_cycles + 1),
        replace(cases[0], same_results=False),
    ):
        found = {**case_figures([other, *cases[1:]]), **workload_figures(layers)}
        assert set(broken(found)) - set(broken(case_figures(cases))) == {
            "MAC array `inner`: 1 cases differ between RTL and cycle-stepped model"
        }
        text = readme(found, cases, layers, {})
        assert f"**only {len(cases) - 1:,} of {len(cases):,}**" in text


def test_a_planted_error_of_a_whole_run_is_found(layers: list[Layer]) -> None:
    first = layers[0]
    total = sum(layer.stepped_cycles for layer in layers if layer.run == first.run)
    planted = replace(first, fast_cycles=first.fast_cycles + total // 10)
    found = workload_figures([planted, *layers[1:]])
    key = run_key(*first.run)
    assert value(found, f"{key}.worst_layer_difference") == planted.difference_cycles
    share = value(found, f"{key}.difference")
    assert broken_runs(found) == [f"{'.'.join(first.run)}: {share:+g} %, promised 2 %"]


def test_a_planted_error_of_a_short_case_is_found(cases: list[Case]) -> None:
    at = next(
        i
        for i, case in enumerate(cases)
        if (case.engine, case.sweep, case.x) == ("bitmap", "size", "16")
    )
    off = cases[at].rtl_cycles + 4
    found = case_figures([*cases[:at], replace(cases[at], fast_cycles=off), *cases[at + 1 :]])
    assert "decoder `bitmap`: 4 cycles off on a short case, promised 3" in broken(found)


def test_figures_by_hand() -> None:
    start = read_case(
        {
            "engine": "dram", "sweep": "latency", "x": 40, "series": "8 outstanding", "seed": 0,
            "burst_cycles": 2.5, "rtl_cycles": 2000, "stepped_cycles": 2000, "fast_cycles": 1990,
            "same_results": True,
        }
    )  # fmt: skip
    others = [
        replace(start, rtl_cycles=1000, stepped_cycles=1000, fast_cycles=1010),
        replace(start, rtl_cycles=100, stepped_cycles=101, fast_cycles=98),
        replace(start, sweep="stalls", fast_cycles=None),
    ]
    found = case_figures([start, *others])
    assert start.parameters == {"burst_cycles": "2.5"}
    wanted = {
        "cases": 4, "equal": 3, "stalled": 1, "long": 2, "short": 1, "mean_error": 0.75,
        "median_error": 0.75, "p90_error": 0.95, "worst_error": 1.0, "bias": 0.25,
        "short_equal": 0, "short_low": -2, "short_high": -2,
    }  # fmt: skip
    assert {name: value(found, f"dram.{name}") for name in wanted} == wanted
    point = point_figures([start, others[0]])
    assert {key: figure.value for key, figure in point.items()} == {
        "dram.latency.8_outstanding.40.rtl_cycles": 1500,
        "dram.latency.8_outstanding.40.fast_cycles": 1500,
        "dram.latency.8_outstanding.40.error": 1.0,
    }


# --------------------------------------------------------------------------------- measuring


@pytest.mark.slow
def test_a_small_run_of_the_measuring_script(cases: list[Case]) -> None:
    require_rtl()
    told: list[tuple[str, int, int]] = []
    arguments = ("--engine", "dram", "--sweep", "channels", "--seeds", "1")
    found = timing_agreement.measure_cases(arguments, lambda *step: told.append(step))
    assert [(case.sweep, case.x, case.seed) for case in found] == [
        ("channels", x, 0) for x in ("1", "2", "3")
    ]
    assert all(case.is_equal for case in found)
    assert told == [("Verilog", done, 3) for done in (1, 2, 3)]
    assert all(case in cases for case in found), "the report is stale"


@pytest.mark.slow
def test_a_script_that_fails_says_why() -> None:
    require_rtl()
    with pytest.raises(InputError) as caught:
        timing_agreement.measure_cases(("--engine", "none"), None)
    start = "tests/rtl/measure.py failed: measure.py: error: argument --engine: invalid choice"
    assert str(caught.value).startswith(start)


def test_missing_tools_are_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert missing_tools() == ["verilator", "g++"]
    assert main(["study", "timing_agreement", "-o", str(tmp_path / "new")]) == 2
    assert capsys.readouterr().err == (
        "azsim: error: timing_agreement compares with Verilog, which needs verilator and g++, not "
        "found here; apt install verilator g++\n"
    )
    assert not (tmp_path / "new").exists()


def test_without_a_source_tree_the_study_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing_agreement, "checkout_root", lambda: None)
    with pytest.raises(InputError) as caught:
        timing_agreement.sample()
    assert str(caught.value) == (
        "timing_agreement measures the Verilog of azsim's source tree (tests/rtl), which this "
        "installation does not have; run it in a checkout: python -m azsim study timing_agreement"
    )
