"""The store of a sweep: committed at once, one writer, and one clear sentence for what is wrong."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from azsim.errors import InputError
from azsim.sweeps import sqlite_file
from azsim.sweeps.open_store import open_store
from azsim.sweeps.outcome import Outcome
from azsim.sweeps.space import Sweep, Trial
from azsim.sweeps.sqlite_file import StoreError
from azsim.sweeps.store import Store
from azsim.sweeps.strategies import start
from sweep_workers import figures_of, make_sweep

CODE, VERSIONS = "a1b2", {"python": "3.11.7"}


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    return make_sweep(tmp_path / "file")


def outcomes(sweep: Sweep) -> list[Outcome]:
    return [
        Outcome(trial, "done", figures_of(trial.design), {"cycles": 7}, "k", seconds=0.5)
        for trial in start(sweep).ask()
    ]


def opened(folder: Path, sweep: Sweep, *, code: str = CODE, restart: bool = False) -> Store:
    return open_store(folder, sweep, code, VERSIONS, restart=restart)


def refusal(folder: Path, sweep: Sweep, *, code: str = CODE) -> str:
    with pytest.raises(InputError) as caught:
        opened(folder, sweep, code=code)
    return str(caught.value)


def numbers(path: Path) -> list[int]:
    connection = sqlite3.connect(path)
    try:
        return [number for (number,) in connection.execute("select number from points order by 1")]
    finally:
        connection.close()


# ------------------------------------------------------------------------------- contents


def test_what_is_added_is_there_for_others_at_once(tmp_path: Path, sweep: Sweep) -> None:
    found = outcomes(sweep)
    with opened(tmp_path, sweep) as store:
        assert store.add(found[:3]) == found[:3]
        assert numbers(store.path) == [0, 1, 2]
        assert store.add(found[2:4]) == found[3:4]
        assert numbers(store.path) == [0, 1, 2, 3]
    assert sorted(path.name for path in tmp_path.glob("results*")) == [
        "results.lock",
        "results.sqlite",
    ]


def test_a_point_comes_back_as_it_was(tmp_path: Path, sweep: Sweep) -> None:
    trial = Trial(17, {"tens": 3, "clock": 200_000_000}, 1)
    with opened(tmp_path, sweep) as store:
        store.add([Outcome(trial, "done", {"latency": 0.1 + 0.2, "work": None}, {}, "k")])
        before = store.points[17]
    with opened(tmp_path, sweep) as store:
        assert store.points == {17: before}
        assert before.figures == {"latency": 0.1 + 0.2, "work": None}
        assert (before.state, before.design, before.rung) == ("done", trial.design, 1)


def test_the_view_has_a_column_an_axis_and_one_an_objective(tmp_path: Path, sweep: Sweep) -> None:
    with opened(tmp_path, sweep) as store:
        store.add(outcomes(sweep)[5:6])
    connection = sqlite3.connect(tmp_path / "results.sqlite")
    connection.row_factory = sqlite3.Row
    (row,) = connection.execute("select * from results")
    connection.close()
    assert dict(row) == {
        "number": 5,
        "rung": 0,
        "state": "done",
        "message": None,
        "tens": 1,
        "clock": 400_000_000,
        "latency": 2000 / 3 / 4e8,
        "work": 2000 / 3,
    }


def test_meta_says_what_made_the_file(tmp_path: Path, sweep: Sweep) -> None:
    opened(tmp_path, sweep).close()
    connection = sqlite3.connect(tmp_path / "results.sqlite")
    meta = dict(connection.execute("select key, value from meta"))
    connection.close()
    assert json.loads(meta["definition"]) == json.loads(json.dumps(sweep.definition))
    assert json.loads(meta["axes"]) == [
        {"name": "tens", "kind": "path", "target": "workload.input.random.seed"},
        {"name": "clock", "kind": "path", "target": "hardware.clock_hz"},
    ]
    assert json.loads(meta["objectives"])[0] == {
        "name": "latency",
        "key": "latency_s",
        "goal": "minimize",
        "unit": "s",
    }
    assert json.loads(meta["versions"]) == VERSIONS
    assert (meta["name"], meta["code_sha256"], meta["schema_version"]) == ("products", CODE, "1")


def test_no_file_is_made_whose_tables_are_not(tmp_path: Path, sweep: Sweep) -> None:
    """A process that was ended between the making of the file and of its tables."""
    (tmp_path / "results.sqlite").touch()
    with opened(tmp_path, sweep) as store:
        store.add(outcomes(sweep)[:1])
    assert numbers(tmp_path / "results.sqlite") == [0]


# ------------------------------------------------------------------------------- refusals


def test_another_sweep_is_refused_with_what_changed(tmp_path: Path, sweep: Sweep) -> None:
    opened(tmp_path, sweep).close()
    other = make_sweep(
        tmp_path / "file", 11, "strategy: {grid: {}}\nset: [hardware.mac.window=4]\n"
    )
    assert refusal(tmp_path, other) == (
        f"{tmp_path}/results.sqlite: holds another sweep than {other.path}: axes.tens.values, "
        "set changed; choose another folder with -o, or --restart, which sets the file aside as "
        "results.1.sqlite"
    )


def test_other_code_is_refused_with_its_versions(tmp_path: Path, sweep: Sweep) -> None:
    opened(tmp_path, sweep).close()
    way_out = (
        "choose another folder with -o, or --restart, which sets the file aside as results.1.sqlite"
    )
    assert refusal(tmp_path, sweep, code="other") == (
        f"{tmp_path}/results.sqlite: was written by other code: azsim's sources changed; {way_out}"
    )
    with pytest.raises(StoreError) as caught:
        open_store(tmp_path, sweep, "other", {"python": "3.14.0", "numpy": "2"})
    assert str(caught.value) == (
        f"{tmp_path}/results.sqlite: was written by other code: numpy None is 2 now, python 3.11.7 "
        f"is 3.14.0 now; {way_out}"
    )


def test_restart_sets_the_file_aside_and_deletes_nothing(tmp_path: Path, sweep: Sweep) -> None:
    for most in (3, 2):
        with opened(tmp_path, sweep, restart=True) as store:
            assert not store.points
            store.add(outcomes(sweep)[:most])
    opened(tmp_path, sweep, code="new", restart=True).close()
    found = {path.name: numbers(path) for path in sorted(tmp_path.glob("results*.sqlite"))}
    assert found == {
        "results.1.sqlite": [0, 1, 2],
        "results.2.sqlite": [0, 1],
        "results.sqlite": [],
    }


@pytest.mark.slow
def test_restart_takes_the_log_of_a_killed_sweep_along(tmp_path: Path, sweep: Sweep) -> None:
    script = f"""
        import os, sys
        sys.path[:0] = {sys.path!r}
        from pathlib import Path
        from test_sweep_store import opened, outcomes, make_sweep
        sweep = make_sweep(Path({str(tmp_path / "file")!r}))
        opened(Path({str(tmp_path)!r}), sweep).add(outcomes(sweep)[:9])
        os.kill(os.getpid(), 9)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=False)
    assert done.returncode == -9
    assert (tmp_path / "results.sqlite-wal").stat().st_size
    opened(tmp_path, sweep, restart=True).close()
    assert numbers(tmp_path / "results.1.sqlite") == list(range(9))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"points of my own\n" * 100, "is no SQLite file that can be read"),
        (None, "holds no sweep of azsim that can go on"),
    ],
)
def test_a_file_that_is_something_else_is_left_alone(
    tmp_path: Path, sweep: Sweep, content: bytes | None, sentence: str
) -> None:
    path = tmp_path / "results.sqlite"
    if content is None:
        connection = sqlite3.connect(path)
        connection.execute("create table mine (x)")
        connection.close()
    else:
        path.write_bytes(content)
    before = path.read_bytes()
    assert refusal(tmp_path, sweep) == (
        f"{path}: {sentence}; choose another folder with -o, or --restart, which sets the file "
        "aside as results.1.sqlite"
    )
    assert path.read_bytes() == before
    opened(tmp_path, sweep, restart=True).close()
    assert (tmp_path / "results.1.sqlite").read_bytes() == before
    assert numbers(path) == []


def test_a_schema_of_another_azsim_is_refused(tmp_path: Path, sweep: Sweep) -> None:
    opened(tmp_path, sweep).close()
    connection = sqlite3.connect(tmp_path / "results.sqlite")
    with connection:
        connection.execute("update meta set value = '2' where key = 'schema_version'")
    connection.close()
    assert refusal(tmp_path, sweep) == (
        f"{tmp_path}/results.sqlite: was written by another azsim, schema 2, allowed: 1; choose "
        "another folder with -o, or --restart, which sets the file aside as results.1.sqlite"
    )


def test_a_second_sweep_in_the_folder_is_refused(tmp_path: Path, sweep: Sweep) -> None:
    with opened(tmp_path, sweep):
        sentence = refusal(tmp_path, sweep)
        assert sentence == (
            f"{tmp_path}: process {os.getpid()} on {os.uname().nodename} writes there now; wait "
            "for it or end it, or choose another folder with -o"
        )
        assert numbers(tmp_path / "results.sqlite") == []
    opened(tmp_path, sweep).close()


def test_a_file_that_another_program_holds_locked_is_not_written(
    tmp_path: Path, sweep: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_file, "WAIT_S", 0.05)
    found = outcomes(sweep)
    store = opened(tmp_path, sweep)
    store.add(found[:2])
    other = sqlite3.connect(store.path, isolation_level=None)
    other.execute("begin immediate")
    with pytest.raises(StoreError) as caught:
        store.add(found[2:])
    assert str(caught.value) == (
        f"{store.path}: cannot be written, another program holds it locked; 2 points are kept; "
        "mend that and run the same command again"
    )
    store.close()
    assert refusal(tmp_path, sweep) == (
        f"{store.path}: cannot be written, another program holds it locked; mend that and run it "
        "again"
    )
    other.close()
    with opened(tmp_path, sweep) as store:
        store.add(found)
    assert numbers(store.path) == list(range(40))


# ------------------------------------------------------------------- full and read-only


def test_a_file_in_the_place_of_the_folder(tmp_path: Path, sweep: Sweep) -> None:
    folder = tmp_path / "out"
    folder.write_text("mine")
    assert refusal(folder, sweep) == f"{folder}: is not a folder; choose another name"
    assert refusal(folder / "inner", sweep) == (
        f"{folder}/inner: cannot be written, Not a directory; choose another folder"
    )


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs a folder that nobody can write")
def test_a_folder_that_cannot_be_written(sweep: Sweep) -> None:
    folder = Path("/proc/self/sweep")
    assert refusal(folder, sweep) == (
        f"{folder}: cannot be written, No such file or directory; choose another folder"
    )


def test_a_file_that_is_read_only(
    tmp_path: Path, sweep: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may write anything, so that SQLite is told not to."""
    found = outcomes(sweep)
    store = opened(tmp_path, sweep)
    store.add(found[:2])
    store._connection.execute("pragma query_only = on")
    with pytest.raises(StoreError) as caught:
        store.add(found[2:])
    assert str(caught.value) == (
        f"{store.path}: cannot be written, it is read-only; 2 points are kept; mend that and run "
        "the same command again"
    )
    store.close()
    with opened(tmp_path, sweep) as store:
        store.add(found)
    assert numbers(store.path) == list(range(40))


def test_a_full_disk_keeps_what_was_committed(tmp_path: Path, sweep: Sweep) -> None:
    """SQLite's limit of pages stands for the disk; a real one: `test_a_full_file_system`."""
    found = outcomes(sweep)
    store = opened(tmp_path, sweep)
    store.add(found[:4])
    (pages,) = store._connection.execute("pragma page_count").fetchone()
    store._connection.execute(f"pragma max_page_count = {pages}")
    large = [Outcome(o.trial, "done", o.figures, {"text": "x" * 20_000}) for o in found]
    with pytest.raises(StoreError) as caught:
        store.add(large)
    assert str(caught.value) == (
        f"{store.path}: cannot be written, database or disk is full; 4 points are kept; mend that "
        "and run the same command again"
    )
    assert sorted(store.points) == [0, 1, 2, 3]
    store.close()
    assert numbers(store.path) == [0, 1, 2, 3]
    with opened(tmp_path, sweep) as store:
        store.add(large)
    assert numbers(store.path) == list(range(40))


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mounts a small file system in memory, where the user may do that."""
    places: list[Path] = []

    def mount(options: str) -> Path:
        place = tmp_path / "mounted"
        place.mkdir(exist_ok=True)
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)],
            capture_output=True,
            check=False,
        )
        if done.returncode:
            pytest.skip("file systems cannot be mounted here")
        places.append(place)
        return place

    try:
        yield mount
    finally:
        for place in places:
            subprocess.run(["umount", "-l", str(place)], check=False)


def test_a_full_file_system(mounted: Callable[[str], Path], sweep: Sweep) -> None:
    place = mounted("size=400k")
    found = outcomes(sweep)
    large = [Outcome(o.trial, "done", o.figures, {"text": "x" * 30_000}) for o in found]
    store = opened(place / "out", sweep)
    with pytest.raises(StoreError) as caught:
        [store.add([outcome]) for outcome in large]
    kept = len(store.points)
    assert kept >= 1
    sentence = str(caught.value)
    assert sentence.startswith(f"{store.path}: cannot be written, ")
    assert sentence.endswith(f"; {kept} points are kept; mend that and run the same command again")
    store.close()
    assert numbers(store.path) == list(range(kept))
    subprocess.run(["mount", "-o", "remount,size=8m", str(place)], check=True)
    with opened(place / "out", sweep) as store:
        assert len(store.points) == kept
        store.add(large)
    assert numbers(store.path) == list(range(40))


def test_a_disk_without_room_for_the_first_page(
    mounted: Callable[[str], Path], sweep: Sweep
) -> None:
    place = mounted("size=64k")
    (place / "mine").write_bytes(b"x" * 60_000)
    sentence = refusal(place, sweep)
    assert sentence.startswith(f"{place}")
    assert "cannot be written, " in sentence
    (place / "mine").unlink()
    subprocess.run(["mount", "-o", "remount,size=8m", str(place)], check=True)
    with opened(place, sweep) as store:
        store.add(outcomes(sweep))
    assert numbers(store.path) == list(range(40))


def test_a_read_only_file_system(mounted: Callable[[str], Path], sweep: Sweep) -> None:
    place = mounted("size=4m")
    with opened(place, sweep) as store:
        store.add(outcomes(sweep)[:5])
    subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
    for folder in (place, place / "new"):
        assert refusal(folder, sweep) == (
            f"{folder}: cannot be written, Read-only file system; choose another folder"
        )
    subprocess.run(["mount", "-o", "remount,rw", str(place)], check=True)
    assert numbers(place / "results.sqlite") == list(range(5))
