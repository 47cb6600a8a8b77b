"""Two runs side by side: what differs, and when the light is red."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from azsim import cli

Change = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "before"
    assert cli.main(["run", "speech_rnnt_small", "-o", str(path)]) == 0
    return path


def changed(folder: Path, path: Path, change: Change) -> Path:
    """A copy of a run's summary with something else in it."""
    summary = json.loads((folder / "summary.json").read_text())
    change(summary)
    path.mkdir()
    (path / "summary.json").write_text(json.dumps(summary))
    return path


def said(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    capsys.readouterr()
    code = cli.main(["compare", *map(str, words)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.slow
def test_a_run_equals_itself(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, printed, failures = said(capsys, folder, folder / "summary.json")
    assert (code, failures) == (0, "")
    assert printed.splitlines()[0] == f"before: speech_rnnt_small on az1, {folder}"
    assert "Outputs with other bits: none; the same bits: 19 outputs" in printed


@pytest.mark.slow
def test_another_scheme_and_chip_are_told(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sets = ["workload.compression.default.weights.bits=4", "hardware.mac.lanes=32"]
    options = [word for text in sets for word in ("--set", text)]
    assert cli.main(["run", "speech_rnnt_small", "-o", str(tmp_path / "after"), *options]) == 0
    code, printed, failures = said(capsys, folder, tmp_path / "after", "--json")
    found = json.loads(printed)
    assert found["set_up"]["hardware.mac.lanes"] == {"before": 64, "after": 32}
    assert found["set_up"]["workload.overrides"] == {"before": "", "after": sets[0]}
    for key in ("cycles", "dram_read_bytes", "stall_cycles.mac.no_work"):
        assert found["figures"][key]["before"] != found["figures"][key]["after"]
    before, after = (
        json.loads((path / "summary.json").read_text()) for path in (folder, tmp_path / "after")
    )
    assert found["figures"]["cycles"] == {"before": before["cycles"], "after": after["cycles"]}
    for layer in ("encoder.pre.0", "(startup)"):
        one, other = (
            next(entry["cycles"] for entry in summary["layers"] if entry["name"] == layer)
            for summary in (before, after)
        )
        assert found["layers"][layer] == {"before": one, "after": other}
    assert code == 1
    assert failures == (
        "azsim: check failed: outputs 'symbols', 'counts', 'encoded' and 15 more have other bits\n"
    )
    _, printed, _ = said(capsys, folder, tmp_path / "after")
    assert "better" in printed
    more = re.search(r"of engines and chunks (\d+) differ as well: --json", printed)
    assert more is not None
    assert 20 < int(more[1]) < len(found["figures"])


def _add(key: str, amount: float) -> Change:
    def change(summary: dict[str, Any]) -> None:
        *path, last = key.split(".")
        for step in path:
            summary = summary[step]
        summary[last] += amount

    return change


@pytest.mark.slow
@pytest.mark.parametrize(
    ("key", "amount", "sentence"),
    [
        ("cycles", 1, "cycles is {after:,}, it was {before:,} (+0.0002 %)"),
        ("dram_write_bytes", 64, "dram_write_bytes is "),
        ("sram_peak_bytes.weight", 64, "sram_peak_bytes.weight is "),
        ("frame_latency_s.max", 1e-9, "frame_latency_s.max is "),
        ("deadline_misses", 1, "deadline_misses is 1, it was 0"),
    ],
)
def test_a_cost_that_grows_is_a_failure(
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    key: str,
    amount: float,
    sentence: str,
) -> None:
    cycles = json.loads((folder / "summary.json").read_text())["cycles"]
    sentence = sentence.format(before=cycles, after=cycles + 1)
    worse = changed(folder, tmp_path / "worse", _add(key, amount))
    code, printed, failures = said(capsys, folder, worse)
    assert code == 1
    assert failures.startswith(f"azsim: check failed: {sentence}")
    assert failures.count("\n") == 1
    assert "worse" in printed
    assert "Set otherwise: none; not known, as there is no run.json beside" in printed
    code, printed, failures = said(capsys, worse, folder)  # and the other way round
    assert (code, failures) == (0, "")
    assert "better" in printed


def test_a_tolerance_is_for_costs_alone(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cycles = json.loads((folder / "summary.json").read_text())["cycles"]
    worse = changed(folder, tmp_path / "worse", _add("cycles", cycles // 100))
    assert said(capsys, folder, worse, "--tolerance", "1")[0] == 0
    assert said(capsys, folder, worse, "--tolerance", "0.9")[0] == 1

    def flip(summary: dict[str, Any]) -> None:
        summary["outputs"]["encoded"]["sha256"] = "0" * 64
        del summary["outputs"]["counts"]
        summary["outputs"]["more"] = {"sha256": "1" * 64}

    code, _, failures = said(
        capsys, folder, changed(folder, tmp_path / "bits", flip), "--tolerance", "100"
    )
    assert code == 1
    assert failures.splitlines() == [
        "azsim: check failed: output 'counts' is gone",
        "azsim: check failed: output 'encoded' has other bits",
        "azsim: check failed: output 'more' is new",
    ]


def test_what_is_cheap_and_of_no_cost_does_not_fail(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = changed(folder, tmp_path / "other", _add("startup_cycles", 10))
    code, printed, failures = said(capsys, folder, other)
    assert (code, failures) == (0, "")
    assert "startup_cycles" in printed


def test_wrong_paths_and_files_are_told_at_once(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = tmp_path / "summary.json"
    for text, sentence in (
        ("{", f"{wrong}: not a summary.json of azsim"),
        ("[1]", f"{wrong}: not a summary.json of azsim"),
        ('{"schema_version": 1}', f"{wrong}: not a summary.json of azsim"),
        (
            '{"schema_version": 1, "cycles": 1, "outputs": {"y": 1}, "layers": []}',
            f"{wrong}: not a summary.json of azsim",
        ),
        (
            '{"schema_version": 1, "cycles": 1, "outputs": {}, "layers": [{"name": "x"}]}',
            f"{wrong}: not a summary.json of azsim",
        ),
        ("{}", f"{wrong}: schema_version is not known, found None, allowed: 1"),
    ):
        wrong.write_text(text)
        code, printed, failures = said(capsys, wrong, folder)
        assert (code, printed, failures) == (2, "", f"azsim: error: {sentence}\n")
    missing = tmp_path / "no"
    code, _, failures = said(capsys, missing, wrong)
    assert code == 2
    assert failures.splitlines() == [
        f"azsim: error: {missing}: No such file or directory",
        f"{wrong}: schema_version is not known, found None, allowed: 1",
    ]
    code, _, failures = said(capsys, folder, folder, "--tolerance", "-1")
    assert (code, failures) == (
        2,
        "azsim: error: --tolerance -1: out of range, allowed: 0 to 1000 percent\n",
    )
