"""The driver of sweeps: resume, retry, the same results however often it was ended and how."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from azsim.errors import InputError
from azsim.sweeps import processes, tasks
from azsim.sweeps.crew import Lost
from azsim.sweeps.open_store import open_store
from azsim.sweeps.outcome import Outcome
from azsim.sweeps.processes import ProcessCrew
from azsim.sweeps.progress import Progress, SweepInterrupted, SweepResult, Watch
from azsim.sweeps.run import run_sweep
from azsim.sweeps.space import Sweep, Trial
from azsim.sweeps.sqlite_file import StoreError
from azsim.sweeps.store import Store
from azsim.sweeps.strategies import start, strategy_names
from azsim.sweeps.tasks import Task, TaskQueue
from sweep_workers import StandIn, figures_of, make_sweep

ROOT = Path(__file__).parent.parent
PER_RUN = ("tries", "seconds", "worker", "finished", "reused")


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    return make_sweep(tmp_path / "file")


def points(folder: Path) -> list[dict[str, object]]:
    """Rows of the store, without what differs from run to run."""
    connection = sqlite3.connect(folder / "results.sqlite")
    connection.row_factory = sqlite3.Row
    try:
        rows = [dict(row) for row in connection.execute("select * from points order by number")]
    finally:
        connection.close()
    return [{key: row[key] for key in row if key not in PER_RUN} for row in rows]


def column(folder: Path, name: str) -> list[object]:
    connection = sqlite3.connect(folder / "results.sqlite")
    try:
        return [v for (v,) in connection.execute(f"select {name} from points order by number")]
    finally:
        connection.close()


def expected(sweep: Sweep) -> list[dict[str, object]]:
    """What the stand-in finds, stated anew."""
    return [
        {
            "number": trial.number,
            "rung": 0,
            "state": "done",
            "design": json.dumps(dict(trial.design)),
            "figures": json.dumps(figures_of(trial.design)),
            "key": f"key {trial.number}",
            "summary": json.dumps({"cycles": trial.number}),
            "message": None,
            "traceback": None,
        }
        for trial in start(sweep).ask()
    ]


# --------------------------------------------------------------------------------- a sweep


@pytest.mark.parametrize("jobs", [1, 2])
def test_all_points_are_evaluated_once(tmp_path: Path, sweep: Sweep, jobs: int) -> None:
    stand_in = StandIn(folder=str(tmp_path))
    result = run_sweep(sweep, tmp_path / "out", jobs=jobs, evaluator=stand_in)
    assert points(tmp_path / "out") == expected(sweep)
    assert sorted(stand_in.begun()) == list(range(40))
    assert result.is_complete
    progress = result.progress
    assert (progress.total, progress.done, progress.failed, progress.shared) == (40, 40, 0, 40)
    assert progress.stages == {"execution": {"memory": 40}, "run": {"made": 40}}
    latency, work = progress.best
    assert (latency.number, latency.value, latency.unit) == (3, 1000 / 3 / 8e8, "s")
    assert (work.number, work.value) == (36, 10_000 / 3)  # of equal ones the first
    assert 1 <= len(set(column(tmp_path / "out", "worker"))) <= jobs


def test_a_sweep_that_is_complete_starts_no_worker(
    tmp_path: Path, sweep: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_sweep(sweep, tmp_path, jobs=1, evaluator=StandIn())
    monkeypatch.setattr(processes.ProcessCrew, "__init__", lambda *_: pytest.fail("a worker"))
    result = run_sweep(sweep, tmp_path, evaluator=StandIn())
    assert result.is_complete
    assert (result.progress.done, result.progress.resumed) == (40, 40)
    assert result.best["latency"].number == 3


def test_only_what_is_missing_is_evaluated(tmp_path: Path, sweep: Sweep) -> None:
    stand_in = StandIn(folder=str(tmp_path))
    run_sweep(sweep, tmp_path / "whole", jobs=1, evaluator=StandIn())
    trials = start(sweep).ask()
    with open_store(tmp_path / "out", sweep, stand_in.code, {}) as store:
        store.add(
            Outcome(t, "done", figures_of(t.design), {"cycles": t.number}, f"key {t.number}")
            for t in trials[5:25]
        )
    result = run_sweep(sweep, tmp_path / "out", jobs=2, evaluator=stand_in)
    assert sorted(stand_in.begun()) == [*range(5), *range(25, 40)]
    assert result.progress.resumed == 20
    assert points(tmp_path / "out") == points(tmp_path / "whole")


def test_points_that_fail_say_why_and_stop_nothing(tmp_path: Path, sweep: Sweep) -> None:
    stand_in = StandIn(fails=(3,), does_not_fit=(7, 8), has_a_bug=(11,))
    result = run_sweep(sweep, tmp_path, jobs=2, evaluator=stand_in)
    assert result.is_complete
    progress = result.progress
    assert (progress.done, progress.infeasible, progress.failed) == (36, 2, 2)
    found = {row["number"]: row for row in points(tmp_path)}
    assert (found[3]["state"], found[3]["message"]) == ("failed", "point 3: out of bounds")
    assert found[3]["traceback"] is None
    assert (found[8]["state"], found[8]["message"]) == ("infeasible", "point 8: does not fit")
    assert found[11]["message"] == "ZeroDivisionError: bug at 11"
    trace = str(found[11]["traceback"])
    assert trace.startswith("Traceback (most recent call last):\n")
    assert "sweep_workers.py" in trace


def test_a_strategy_that_asks_for_another_design_is_refused(tmp_path: Path, sweep: Sweep) -> None:
    with open_store(tmp_path, sweep, StandIn().code, {}) as store:
        store.add([Outcome(Trial(1, {"tens": 5, "clock": 1}), "done", {"latency": 1.0})])
    with pytest.raises(InputError) as caught:
        run_sweep(sweep, tmp_path, jobs=1, evaluator=StandIn())
    assert str(caught.value) == (
        f"{tmp_path}/results.sqlite: point 1 is {{'tens': 5, 'clock': 1}} there, and the strategy "
        "grid asks for {'tens': 0, 'clock': 400000000} now, as another version of it would; "
        "choose another folder with -o, or --restart"
    )


def test_jobs_below_one_are_refused(tmp_path: Path, sweep: Sweep) -> None:
    with pytest.raises(InputError, match=r"^--jobs 0: out of range, allowed: at least 1$"):
        run_sweep(sweep, tmp_path, jobs=0)
    assert not (tmp_path / "results.sqlite").exists()


def test_progress_grows_to_the_whole(tmp_path: Path, sweep: Sweep) -> None:
    told: list[Progress] = []
    stand_in = StandIn(seconds=0.02, fails=(0,))
    result = run_sweep(sweep, tmp_path, jobs=2, evaluator=stand_in, progress=told.append)
    finished = [entry.finished for entry in told]
    assert finished == sorted(finished)
    assert (finished[0], finished[-1]) == (0, 40)
    assert told[0].left_s is None
    assert told[-1].left_s == 0.0
    assert told[-1].points_per_s > 0
    assert told[0].workers == 0
    assert 1 <= max(entry.workers for entry in told) <= 2
    assert told[-1].best == result.progress.best


@pytest.mark.slow
def test_a_disk_that_is_full_ends_the_sweep_and_the_command_goes_on(
    tmp_path: Path, sweep: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    full: list[int] = []

    def fill(progress: Progress) -> None:
        if progress.done >= 5:
            full.append(progress.done)

    add = Store.add

    def add_unless_full(store: Store, outcomes: Iterable[Outcome]) -> list[Outcome]:
        if full:
            (pages,) = store._connection.execute("pragma page_count").fetchone()
            store._connection.execute(f"pragma max_page_count = {pages}")
        return add(store, outcomes)

    monkeypatch.setattr(Store, "add", add_unless_full)
    stand_in = StandIn(seconds=0.05, summary_bytes=3000)
    with pytest.raises(StoreError) as caught:
        run_sweep(sweep, tmp_path, jobs=2, evaluator=stand_in, progress=fill)
    kept = points(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}/results.sqlite: cannot be written, database or disk is full; {len(kept)} "
        "points are kept; mend that and run the same command again"
    )
    assert 5 <= len(kept) < 40
    monkeypatch.undo()
    assert run_sweep(sweep, tmp_path, jobs=2, evaluator=stand_in).is_complete
    assert len(points(tmp_path)) == 40
    assert [row for row in kept if row not in points(tmp_path)] == []


# ----------------------------------------------------------------------------- time and Ctrl-C


def test_no_point_is_begun_after_the_budget(
    tmp_path: Path, sweep: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in = StandIn(seconds=0.05, folder=str(tmp_path))
    later = time.monotonic() + 3600
    told: list[Progress] = []

    def tell(progress: Progress) -> None:
        told.append(progress)
        if progress.done >= 5:
            monkeypatch.setattr(time, "monotonic", lambda: later)

    result = run_sweep(
        sweep, tmp_path / "out", jobs=2, evaluator=stand_in, budget_s=1800, progress=tell
    )
    monkeypatch.undo()
    assert result.stopped == "the time is over"
    assert 5 <= result.progress.done < 40
    assert len(stand_in.begun()) == result.progress.done  # those under way were finished
    assert all(entry.left_s is None or entry.left_s <= 1800 for entry in told)
    again = run_sweep(sweep, tmp_path / "out", jobs=2, evaluator=replace(stand_in, seconds=0.0))
    assert again.is_complete
    assert sorted(stand_in.begun()) == list(range(40))
    assert points(tmp_path / "out") == expected(sweep)


def test_ctrl_c_keeps_what_is_done(tmp_path: Path, sweep: Sweep) -> None:
    def interrupt(progress: Progress) -> None:
        if progress.done >= 5:
            raise KeyboardInterrupt

    stand_in = StandIn(seconds=0.02)
    with pytest.raises(SweepInterrupted) as caught:
        run_sweep(sweep, tmp_path, jobs=2, evaluator=stand_in, progress=_once(interrupt))
    result: SweepResult = caught.value.result
    assert result.stopped == "interrupted"
    assert 5 <= result.progress.done < 40
    assert len(points(tmp_path)) == result.progress.done
    assert run_sweep(sweep, tmp_path, jobs=2, evaluator=StandIn()).is_complete
    assert points(tmp_path) == expected(sweep)


def _once(watch: Watch) -> Watch:
    raised: list[Progress] = []

    def told(progress: Progress) -> None:
        if not raised:
            try:
                watch(progress)
            except KeyboardInterrupt:
                raised.append(progress)
                raise

    return told


# ----------------------------------------------------------------------------------- kill -9


def test_a_point_that_ends_its_worker_is_tried_three_times(tmp_path: Path, sweep: Sweep) -> None:
    stand_in = StandIn(folder=str(tmp_path), ends_worker=(6,), ends_once=(9, 30))
    result = run_sweep(sweep, tmp_path / "out", jobs=2, evaluator=stand_in)
    assert result.is_complete
    begun = stand_in.begun()
    assert [begun.count(number) for number in (6, 9, 30)] == [3, 2, 2]
    assert sorted(set(begun)) == list(range(40))
    rows = points(tmp_path / "out")
    assert rows[6]["state"] == "failed"
    assert rows[6]["message"] == (
        "its worker ended 3 times; the last time its process was ended by SIGKILL, as the system "
        "does when memory runs out"
    )
    assert [row for row in rows if row["number"] != 6] == [
        row for row in expected(sweep) if row["number"] != 6
    ]
    tries = column(tmp_path / "out", "tries")
    assert [tries[number] for number in (5, 6, 9, 30)] == [1, 3, 2, 2]


def test_workers_that_never_begin_are_an_error(tmp_path: Path, sweep: Sweep) -> None:
    with pytest.raises(InputError) as caught:
        run_sweep(sweep, tmp_path, jobs=1, evaluator=_Unprepared())
    assert str(caught.value) == (
        "workers end before they begin: its process ended with exit code 5; a script that calls "
        "azsim.sweep needs the line `if __name__ == '__main__':` before it, as workers import the "
        "script"
    )
    assert run_sweep(sweep, tmp_path, jobs=1, evaluator=StandIn()).is_complete


class _Unprepared(StandIn):
    def __reduce__(self) -> tuple[object, ...]:
        return os._exit, (5,)


@contextlib.contextmanager
def killing_workers(crews: list[ProcessCrew], kills: int, seed: int) -> Iterator[list[int]]:
    """Kill workers at random moments: while one works, and now and then while one starts."""
    choose = random.Random(seed)
    killed: list[int] = []
    over = threading.Event()

    def kill() -> None:
        while len(killed) < kills and not over.wait(choose.uniform(0.05, 0.5)):
            if choose.random() < 0.8 and not any(crew.is_busy for crew in crews):
                continue
            ids = [number for crew in crews for number in list(crew.process_ids) if number]
            if ids:
                victim = choose.choice(ids)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(victim, signal.SIGKILL)
                    killed.append(victim)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield killed
    finally:
        over.set()
        thread.join()


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No point is given up: one of many random kills meets a point for the third time."""
    monkeypatch.setattr(tasks, "MOST_TRIES", 1000)


@pytest.mark.slow
@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("kills", [20])
def test_workers_killed_at_random_moments_lose_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kills: int
) -> None:
    sweep = make_sweep(tmp_path / "file", tens=30 * kills // 5)
    crews: list[ProcessCrew] = []
    begin = ProcessCrew.__init__
    monkeypatch.setattr(
        ProcessCrew, "__init__", lambda self, *rest: (crews.append(self), begin(self, *rest))[1]
    )
    with killing_workers(crews, kills, seed=kills) as killed:
        result = run_sweep(sweep, tmp_path / "out", jobs=2, evaluator=StandIn(seconds=0.03))
    assert len(killed) == kills
    assert result.is_complete
    assert points(tmp_path / "out") == expected(sweep)


def test_a_worker_that_was_gone_when_it_got_a_task_blames_nobody(tmp_path: Path) -> None:
    crew = ProcessCrew(StandIn(folder=str(tmp_path)), jobs=1)
    try:
        while not crew.idle():
            crew.events(1)
        (member,) = crew._members.values()
        os.kill(crew.process_ids[0], signal.SIGKILL)
        member.process.join()
        task = Task((Trial(0, {"tens": 1, "clock": 2}),), "one")
        crew.give(member.name, task)
        (lost,) = crew.events(10)
    finally:
        crew.close()
    assert isinstance(lost, Lost)
    assert (lost.task, lost.unfinished, lost.blamed) == (task, task.trials, ())
    assert StandIn(folder=str(tmp_path)).begun() == []


DRIVER = """\
import sys
from pathlib import Path
sys.path[:0] = {path!r}
from sweep_workers import StandIn, make_sweep
from azsim.sweeps.run import run_sweep

if __name__ == "__main__":
    folder = Path({folder!r})
    stand_in = StandIn(seconds=0.02, folder=str(folder))
    told = (folder / "told.txt").open("a")

    def tell(progress):
        told.write(f"{{progress.finished}}\\n")
        told.flush()

    run_sweep(make_sweep(folder / "file", {tens}), folder / "out", jobs=2, evaluator=stand_in,
              progress=tell)
"""


@pytest.mark.slow
@pytest.mark.parametrize("kills", [20])
def test_a_driver_killed_at_random_moments_loses_nothing(tmp_path: Path, kills: int) -> None:
    choose = random.Random(kills)
    tens = 60 * kills // 5
    sweep = make_sweep(tmp_path / "file", tens)
    script = tmp_path / "driver.py"
    script.write_text(DRIVER.format(path=sys.path, folder=str(tmp_path), tens=tens))
    known: list[dict[str, object]] = []
    for kill in range(kills):
        before = _last_number(tmp_path / "told.txt")
        process = subprocess.Popen([sys.executable, str(script)])
        if kill % 3:  # while it works, and now and then while it starts
            _wait_until(functools.partial(_has_grown, tmp_path / "told.txt", before))
        time.sleep(choose.uniform(0.0, 0.3))
        acknowledged = _last_number(tmp_path / "told.txt")
        process.kill()
        process.wait()
        if (tmp_path / "out" / "results.sqlite").exists():
            found = points(tmp_path / "out")
            assert [row for row in known if row not in found] == []
            assert len(found) >= acknowledged
            known = found
    assert len(known) > 0
    subprocess.run([sys.executable, str(script)], check=True)
    assert points(tmp_path / "out") == expected(sweep)


def _has_grown(path: Path, before: int) -> bool:
    return _last_number(path) > before


def _last_number(path: Path) -> int:
    return int(path.read_text().split()[-1]) if path.exists() and path.read_text() else 0


@pytest.mark.slow
def test_workers_end_with_their_driver(tmp_path: Path) -> None:
    script = tmp_path / "driver.py"
    script.write_text(DRIVER.format(path=sys.path, folder=str(tmp_path), tens=1000))
    process = subprocess.Popen([sys.executable, str(script)])
    stand_in = StandIn(folder=str(tmp_path))
    _wait_until(lambda: len(stand_in.begun()) > 5)
    process.kill()
    process.wait()
    time.sleep(0.3)
    begun = len(stand_in.begun())
    time.sleep(0.3)
    assert len(stand_in.begun()) == begun < 4000


def _wait_until(is_so: Callable[[], bool], most_s: float = 30.0) -> None:
    end = time.monotonic() + most_s
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.05)


# ------------------------------------------------------------------------------------- tasks


def trials(count: int) -> list[Trial]:
    return [Trial(number, {"x": number}) for number in range(count)]


def test_a_worker_stays_with_its_group() -> None:
    queue = TaskQueue(trials(40), lambda trial: str(trial.number % 4), workers=2)
    given: dict[str, list[str]] = {"a": [], "b": []}
    seen: list[int] = []
    while queue:
        for worker, groups in given.items():
            task = queue.take(worker, 3)
            if task:
                groups.append(task.group)
                seen += [trial.number for trial in task.trials]
    assert sorted(seen) == list(range(40))
    firsts = [list(dict.fromkeys(groups))[:2] for groups in given.values()]
    assert firsts == [["0", "2"], ["1", "3"]]


def test_a_group_that_many_work_on_is_shared_from_the_start() -> None:
    queue = TaskQueue(trials(100), lambda trial: str(trial.number >= 90), workers=2)
    first, other = queue.take("a", 10), queue.take("b", 10)
    assert first
    assert other
    assert (first.group, first.share, len(first.trials)) == ("False", True, 10)
    assert (other.group, other.share) == ("True", False)
    later = queue.take("b", 10)
    assert later
    assert (later.group, later.share) == ("False", True)


def test_tasks_get_small_at_the_end() -> None:
    queue = TaskQueue(trials(100), lambda trial: "one", workers=2)
    sizes = []
    while task := queue.take("a", 1000):
        sizes.append(len(task.trials))
    assert sizes[0] == 13
    assert sizes[-1] == 1
    assert sum(sizes) == 100


def test_what_a_lost_worker_had_comes_back() -> None:
    queue = TaskQueue(trials(4), lambda trial: "one", workers=1)
    task = queue.take("a", 4)
    assert task
    assert task == Task((Trial(0, {"x": 0}),), "one", False)
    for tries in (1, 2):
        assert queue.tries(task.trials[0]) == tries
        assert queue.put_back("a", task, task.trials, task.trials) == []
        assert len(queue) == 4
        assert queue.take("b", 1) == task
    assert queue.put_back("b", task, task.trials, task.trials) == list(task.trials)
    assert len(queue) == 3


def test_a_point_that_was_blamed_once_stays_alone() -> None:
    queue = TaskQueue(trials(4), lambda trial: "one", workers=1)
    task = queue.take("a", 1)
    assert task
    assert queue.put_back("a", task, task.trials, task.trials) == []
    for _ in range(10):  # given to workers that were gone already
        assert queue.take("b", 4) == task
        assert queue.put_back("b", task, task.trials, ()) == []
    assert queue.tries(task.trials[0]) == 2
    assert len(queue) == 4


def test_points_after_the_one_to_blame_are_not_blamed() -> None:
    queue = TaskQueue(trials(32), lambda trial: "one", workers=1)
    task = queue.take("a", 8)
    assert task
    assert len(task.trials) == 8
    assert queue.put_back("a", task, task.trials[2:], task.trials[2:3]) == []
    alone, rest = queue.take("b", 8), queue.take("b", 8)
    assert alone
    assert [trial.number for trial in alone.trials] == [2]
    assert rest
    assert [trial.number for trial in rest.trials] == list(range(3, 11))
    assert queue.tries(Trial(3, {})) == 1


# -------------------------------------------------------------------------------- strategies

STRATEGIES = {
    "random": "{random: {points: 25, seed: 3}}",
    "latin_hypercube": "{latin_hypercube: {points: 25, seed: 3}}",
    "successive": (
        "{successive: {rungs: [{set: [hardware.mac.window=4], keep: 0.3}, "
        "{set: [hardware.mac.window=8]}]}}"
    ),
    "nsga2": "{nsga2: {evaluations: 30, population: 10, seed: 3}}",
    "tpe": "{tpe: {evaluations: 24, seed: 3}}",
}


def test_every_strategy_is_tried() -> None:
    assert {"grid", *STRATEGIES} == set(strategy_names())


@pytest.mark.slow
@pytest.mark.parametrize("name", STRATEGIES)
def test_a_strategy_that_is_ended_and_resumed_asks_the_same(tmp_path: Path, name: str) -> None:
    """Failed points included: what a strategy is told of them is the same again."""
    sweep = make_sweep(tmp_path / "file", more=f"strategy: {STRATEGIES[name]}\n")
    stand_in = StandIn(fails=(4,), does_not_fit=(11, 12), seconds=0.03)
    whole = run_sweep(sweep, tmp_path / "whole", jobs=1, evaluator=replace(stand_in, seconds=0.0))
    assert whole.is_complete
    wanted = points(tmp_path / "whole")
    assert [row["number"] for row in wanted] == list(range(len(wanted)))
    assert whole.progress.total == len(wanted) >= 24

    def stop(progress: Progress) -> None:
        if progress.finished >= 14:
            raise KeyboardInterrupt

    with pytest.raises(SweepInterrupted):
        run_sweep(sweep, tmp_path / "out", jobs=1, evaluator=stand_in, progress=_once(stop))
    assert len(points(tmp_path / "out")) < len(wanted)
    assert run_sweep(sweep, tmp_path / "out", jobs=1, evaluator=stand_in).is_complete
    assert points(tmp_path / "out") == wanted
