"""``azsim sweep``: what it prints where, its exit codes, its error sentences."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

import azsim
from azsim.cli import main
from azsim.sim.result import BOUND_KEYS
from azsim.sweeps.processes import cores

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a sweep that is complete."""
    folder = tmp_path_factory.mktemp("small")
    azsim.sweep("small_clock", folder, jobs=1)
    return folder


def error_of(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert main([str(argument) for argument in arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("azsim: error: ")
    return captured.err.removeprefix("azsim: error: ")[:-1]


@pytest.mark.slow
def test_a_sweep_says_what_it_came_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.chdir(tmp_path)
    assert main(["sweep", "small_clock", "-o", "out", "--jobs", "1", "--explain-reuse"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    lines = captured.out.splitlines()
    assert lines[:2] == ["small_clock: 24 of 24 points", "  24 done, 0 infeasible, 0 failed"]
    assert re.fullmatch(r"  24 in \S+ .*s, \S+ m?s each; 2[34] took their .* point", lines[2])
    assert lines[3:6] == [
        "Best",
        "  latency  1.366e-06 s  point 23",
        "  rate     8e+08 B/s    point 0",
    ]
    assert "Stages" in lines
    assert lines[-1] == "Written to out; azsim sweep report shows what it found"


@pytest.mark.slow
def test_a_sweep_that_goes_on_says_what_was_there(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sweep", "small_clock", "-o", str(small), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["done"], document["resumed"], document["complete"]) == (24, 24, True)
    assert document["best"][0] == {
        "objective": "latency",
        "unit": "s",
        "value": 1.366e-06,
        "number": 23,
    }
    assert document["stages"] == {}


def test_the_readme_line_of_pandas_has_columns_of_axes_and_objectives(small: Path) -> None:
    connection = sqlite3.connect(small / "results.sqlite")
    cursor = connection.execute("select * from results where number = 23")
    names = [column[0] for column in cursor.description]
    row = cursor.fetchone()
    connection.close()
    assert dict(zip(names, row, strict=True)) == {
        "number": 23,
        "rung": 0,
        "state": "done",
        "message": None,
        "clock": 500_000_000,
        "bandwidth": 6_400_000_000,
        "window": 16,
        "latency": 1.366e-06,
        "rate": 6.4e9,
    }


def test_a_point_is_what_run_gives_with_the_same_set(
    small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sets = ["workload.model.m=4", "workload.model.k=64", "workload.model.n=64"]
    sets += ["hardware.clock_hz=500000000", "hardware.dram.bytes_per_s=800000000"]
    words = [word for text in [*sets, "hardware.mac.window=4"] for word in ("--set", text)]
    assert main(["run", "gemm", "-o", str(tmp_path / "run"), "--json", *words]) == 0
    wanted = json.loads(capsys.readouterr().out)
    connection = sqlite3.connect(small / "results.sqlite")
    (text,) = connection.execute("select summary from points where number = 12").fetchone()
    connection.close()
    found = json.loads(text)
    bounds = dict.fromkeys(BOUND_KEYS)  # no objective asks for them
    assert found == {key: wanted[key] for key in found} | bounds
    assert set(wanted) - set(found) == {"layers"}


def test_a_dry_run_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "out"
    assert main(["sweep", "small_clock", "-o", str(folder), "--dry-run", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert not folder.exists()
    assert (document["points"], document["finished"], document["looked_at"]) == (24, 0, 24)
    assert document["different"] == {
        "model": 1,
        "inputs": 1,
        "prepared": 1,
        "program": 1,
        "run": 24,
    }
    assert document["wrong"] == {}
    assert document["jobs"] == cores()
    assert document["estimated_s"] > 0
    assert re.fullmatch(
        r"a first point took \S+ m?s, one that shares its execution \S+ m?s",
        document["estimated_from"],
    )
    assert main(["sweep", "small_clock", "-o", str(folder), "--dry-run"]) == 0
    assert "points    24" in capsys.readouterr().out


def test_a_dry_run_goes_by_points_that_are_there(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sweep", "small_clock", "-o", str(small), "--dry-run", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["finished"] == 24
    assert document["estimated_s"] == 0
    assert document["estimated_from"] == "the mean of 24 points that are there"


def test_report_and_export_read_the_folder(
    small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table, page = tmp_path / "points.csv", tmp_path / "page.html"
    assert main(["sweep", "export", str(small), "--csv", str(table)]) == 0
    assert capsys.readouterr().out == f"Written to {table}\n"
    lines = table.read_text().splitlines()
    assert len(lines) == 25
    assert lines[0].startswith("number,rung,state,clock [Hz],")
    pytest.importorskip("vl_convert")
    assert main(["sweep", "report", str(small), "-o", str(page)]) == 0
    out = capsys.readouterr().out
    assert "24 done" in out
    assert out.endswith(f"\nWritten to {page}\n")
    assert page.stat().st_size > 10_000
    assert main(["sweep", "report", str(small), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "small_clock"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--budget", "soon"], "--budget soon: not a time, allowed: 90s, 30m, 2h, 1h30m"),
        (["--budget", ""], "--budget : not a time, allowed: 90s, 30m, 2h, 1h30m"),
        (["--jobs", "0"], "--jobs 0: out of range, allowed: at least 1"),
        (
            ["--dask", "a", "--slurm", "b"],
            "--dask and --slurm: each says who does the work; give one of them",
        ),
        (
            ["--slurm", "cores"],
            (
                "--slurm cores: 'cores' is no option, allowed: a .yaml file, or "
                "cores=8,memory=32GB,queue=NAME"
            ),
        ),
        (
            ["--lsf", "queue=long"],
            (
                "--lsf queue=long: cores and memory missing, allowed: cores=8,memory=32GB and "
                "other options of dask-jobqueue"
            ),
        ),
    ],
)
def test_options_that_are_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], sentence: str
) -> None:
    assert error_of(capsys, "sweep", "small_clock", "-o", tmp_path, *options) == sentence


@pytest.mark.slow
def test_a_changed_sweep_is_refused_and_restarted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["sweep", "small_clock", "-o", str(tmp_path), "--jobs", "1"]
    assert main(words) == 0
    capsys.readouterr()
    other = [*words, "--set", "hardware.mac.queue_depth=2"]
    sentence = error_of(capsys, *other)
    assert re.fullmatch(
        re.escape(f"{tmp_path}/results.sqlite: holds another sweep than ")
        + r"\S+/small_clock\.yaml: set changed; choose another folder with -o, or --restart, which "
        "sets the file aside as results.1.sqlite",
        sentence,
    )
    assert main([*other, "--restart"]) == 0
    assert (tmp_path / "results.1.sqlite").is_file()


def test_export_without_a_file_is_refused(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert error_of(capsys, "sweep", "export", small) == (
        "nothing to write; give --csv FILE, --parquet FILE or both"
    )


def _is_waiting(driver: int) -> bool:
    """Whether a worker of the driver has begun."""
    children = Path(f"/proc/{driver}/task/{driver}/children")
    return any("spawn_main" in _command(child) for child in children.read_text().split())


def _command(process: str) -> str:
    try:
        return Path(f"/proc/{process}/cmdline").read_text()
    except OSError:
        return ""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs /proc")
def test_ctrl_c_ends_with_what_is_done_and_how_to_go_on(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "azsim", "sweep", "small_clock", "-o", str(tmp_path / "out")]
    process = subprocess.Popen(
        [*words, "--jobs", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    database = tmp_path / "out" / "results.sqlite"
    while not (database.exists() and _is_waiting(process.pid)):
        assert process.poll() is None
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: the workers get it too
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, ""), out
    assert "Stopped, interrupted; the same command goes on from here" in out
    assert main(words[3:]) == 0


@pytest.mark.slow
def test_a_script_without_a_guard_is_told_so(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        f"import azsim\nazsim.sweep('small_clock', {str(tmp_path / 'out')!r}, jobs=1)\n"
    )
    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "azsim.errors.InputError: workers end before they begin: its process ended with exit code "
        "1; a script that calls azsim.sweep needs the line `if __name__ == '__main__':` before it, "
        "as workers import the script"
    )


@pytest.mark.slow
def test_an_objective_that_no_point_has_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    objectives = (
        "{l: {key: latency_s, unit: s}, a: {key: outputs.zz.sqnr_db, unit: dB, goal: maximize}}"
    )
    axes = "{clock: {path: hardware.clock_hz, values: [100_000_000]}}"
    arguments = [f"--set=sweep.objectives={objectives}", f"--set=sweep.axes={axes}"]
    assert main(["sweep", "small_clock", "-o", str(tmp_path / "out"), "--jobs=1", *arguments]) == 0
    assert capsys.readouterr().err == (
        "azsim: note: no point has a figure for the objective a: there is no number "
        "'outputs.zz.sqnr_db' in its summary\n"
    )
