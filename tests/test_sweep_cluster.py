"""Sweeps on Dask workers: the same results, workers lost on the way, and other code refused."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from azsim.errors import InputError
from azsim.sweeps import cluster as clusters
from azsim.sweeps.cluster import Cluster, DaskCrew, batch_options
from azsim.sweeps.crew import Lost
from azsim.sweeps.progress import Progress
from azsim.sweeps.run import run_sweep
from azsim.sweeps.space import Trial
from azsim.sweeps.sweep_file import load_sweep
from azsim.sweeps.tasks import Task
from azsim.sweeps.worker import code_sha256
from sweep_workers import StandIn, make_sweep
from test_sweep_run import expected, patient, points

__all__ = ["patient"]

dask = pytest.importorskip("dask")
distributed = pytest.importorskip("distributed")

# What Dask says at the end of a worker that was killed is no fault of the sweep.
pytestmark = pytest.mark.filterwarnings("ignore")


ANY_PORT = {"scheduler_options": {"dashboard_address": ":0"}}


@pytest.fixture(scope="module")
def scheduler() -> Iterator[Any]:
    """A scheduler on this machine with two workers, each a process with one thread."""
    # Dask's local cluster gives workers up that are away for a quarter of a minute.
    patient = dask.config.set({"distributed.deploy.lost-worker-timeout": "1 hour"})
    with (
        patient,
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as local,
    ):
        yield local


@pytest.fixture
def stand_in(tmp_path: Path) -> StandIn:
    return StandIn(code=code_sha256(), folder=str(tmp_path))


def worker_ids(local: Any) -> list[int]:
    """Processes of the workers that are at work: a nanny gives up one that dies as it starts."""
    there = set(local.scheduler.workers)
    return [
        nanny.pid
        for nanny in list(local.workers.values())
        if nanny.pid and nanny.worker_address in there
    ]


@pytest.mark.slow
def test_dask_workers_find_the_same(scheduler: Any, tmp_path: Path, stand_in: StandIn) -> None:
    sweep = make_sweep(tmp_path / "file")
    told: list[Progress] = []
    result = run_sweep(
        sweep,
        tmp_path / "out",
        cluster=Cluster("dask", scheduler.scheduler_address),
        evaluator=replace(stand_in, fails=(3,), has_a_bug=(4,)),
        progress=told.append,
    )
    assert result.is_complete
    assert (result.progress.done, result.progress.failed) == (38, 2)
    assert sorted(stand_in.begun()) == list(range(40))
    found = points(tmp_path / "out")
    assert found[3]["message"] == "point 3: out of bounds"
    assert found[:3] + found[5:] == expected(sweep)[:3] + expected(sweep)[5:]
    assert max(entry.workers for entry in told) == 2


@pytest.mark.slow
def test_one_process_two_processes_and_dask_agree(
    scheduler: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Real points; the sweep that is ended half-way goes on with other workers."""
    sweep = load_sweep("small_clock")
    run_sweep(sweep, tmp_path / "one", jobs=1)
    run_sweep(sweep, tmp_path / "two", jobs=2)
    over_dask = Cluster("dask", scheduler.scheduler_address)
    run_sweep(sweep, tmp_path / "dask", cluster=over_dask)

    def stop(progress: Progress) -> None:
        if progress.done >= 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_sweep(sweep, tmp_path / "resumed", jobs=1, progress=stop)
    run_sweep(sweep, tmp_path / "resumed", cluster=over_dask)
    wanted = points(tmp_path / "one")
    assert len(wanted) == 24
    assert all(row["state"] == "done" for row in wanted)
    for other in ("two", "dask", "resumed"):
        assert points(tmp_path / other) == wanted


@contextlib.contextmanager
def killing(local: Any, kills: int, seed: int) -> Iterator[list[int]]:
    choose = random.Random(seed)
    killed: list[int] = []
    over = threading.Event()

    def kill() -> None:
        while len(killed) < kills and not over.wait(choose.uniform(0.3, 1.5)):
            if ids := worker_ids(local):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(victim := choose.choice(ids), signal.SIGKILL)
                    killed.append(victim)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield killed
    finally:
        over.set()
        thread.join()


@pytest.mark.slow
@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("kills", [20])
def test_dask_workers_killed_at_random_moments_lose_nothing(
    scheduler: Any, tmp_path: Path, kills: int
) -> None:
    sweep = make_sweep(tmp_path / "file", tens=40 * kills // 5)
    stand_in = StandIn(code=code_sha256(), seconds=0.05)
    with killing(scheduler, kills, seed=kills) as killed:
        result = run_sweep(
            sweep,
            tmp_path / "out",
            cluster=Cluster("dask", scheduler.scheduler_address),
            evaluator=stand_in,
        )
    assert len(killed) == kills
    assert result.is_complete
    assert points(tmp_path / "out") == expected(sweep)


@pytest.mark.slow
def test_a_point_that_ends_dask_workers_is_given_up(
    scheduler: Any, tmp_path: Path, stand_in: StandIn
) -> None:
    sweep = make_sweep(tmp_path / "file", tens=2)
    result = run_sweep(
        sweep,
        tmp_path / "out",
        cluster=Cluster("dask", scheduler.scheduler_address),
        evaluator=replace(stand_in, ends_worker=(6,)),
    )
    assert result.is_complete
    assert stand_in.begun().count(6) == 3
    rows = points(tmp_path / "out")
    assert str(rows[6]["message"]).startswith(
        "its worker ended 3 times; the last time Dask worker tcp://"
    )
    assert rows[:6] + rows[7:] == expected(sweep)[:6] + expected(sweep)[7:]


@pytest.fixture
def crew(scheduler: Any, stand_in: StandIn) -> Iterator[DaskCrew]:
    crew = Cluster("dask", scheduler.scheduler_address).open(stand_in)
    yield crew
    crew.close()


def an_idle_worker(crew: DaskCrew) -> str:
    """The name of a worker, which takes its time to start anew after a test before."""
    return within(60, lambda: crew.size and crew.present and crew.idle())[0]


def within(seconds: float, look: Callable[[], Any]) -> Any:
    """What `look` gives as soon as that is something."""
    end = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.01)
    return found


def end_worker(local: Any, name: str) -> None:
    """Kill a worker, and wait until the scheduler knows."""
    (pid,) = [n.pid for n in local.workers.values() if n.worker_address == name]
    os.kill(pid, signal.SIGKILL)
    within(20, lambda: name not in local.scheduler.workers)


def one_task(number: int = 0) -> Task:
    return Task((Trial(number, {"tens": 1, "clock": 2}),), "one")


def test_a_worker_that_was_gone_when_it_got_a_task_blames_nobody(
    scheduler: Any, crew: DaskCrew, stand_in: StandIn
) -> None:
    worker = an_idle_worker(crew)
    end_worker(scheduler, worker)
    assert worker in crew.idle()  # it looks once a second
    crew.give(worker, task := one_task())
    (lost,) = within(20, lambda: crew.events(0.05))
    left = f"Dask worker {worker} left"
    assert lost == Lost(worker, task, unfinished=task.trials, blamed=(), reason=left)
    assert stand_in.begun() == []


def test_a_worker_that_is_found_gone_when_workers_are_counted_is_told_of(
    scheduler: Any, crew: DaskCrew
) -> None:
    worker = an_idle_worker(crew)
    end_worker(scheduler, worker)
    crew.give(worker, task := one_task())
    within(20, lambda: crew.size and worker not in crew.idle() and not crew.is_busy)
    (lost,) = crew.events(0)
    assert isinstance(lost, Lost)
    assert (lost.worker, lost.unfinished) == (worker, task.trials)


def test_a_worker_that_ends_with_its_results_blames_nobody(
    scheduler: Any, crew: DaskCrew, stand_in: StandIn
) -> None:
    worker = an_idle_worker(crew)
    crew.give(worker, task := one_task())
    within(20, crew._done.qsize)
    end_worker(scheduler, worker)
    (lost,) = within(20, lambda: crew.events(0.05))
    assert (lost.worker, lost.unfinished, lost.blamed) == (worker, task.trials, ())
    assert stand_in.begun() == [0]


@pytest.mark.slow
def test_a_worker_that_ends_at_a_point_blames_it(
    scheduler: Any, tmp_path: Path, stand_in: StandIn
) -> None:
    deadly = replace(stand_in, ends_worker=(7,))
    crew = Cluster("dask", scheduler.scheduler_address).open(deadly)
    crew.give(an_idle_worker(crew), task := one_task(7))
    (lost,) = within(20, lambda: crew.events(0.05))
    crew.close()
    assert lost.blamed == task.trials
    assert stand_in.begun() == [7]


def test_workers_with_other_code_are_an_error(
    scheduler: Any, tmp_path: Path, stand_in: StandIn
) -> None:
    with pytest.raises(InputError) as caught:
        run_sweep(
            make_sweep(tmp_path / "file"),
            tmp_path / "out",
            cluster=Cluster("dask", scheduler.scheduler_address),
            evaluator=replace(stand_in, code="0123456789abcdef"),
        )
    sentence = str(caught.value)
    assert sentence.startswith("Dask worker tcp://")
    assert sentence.endswith(
        f": runs other code ({code_sha256()[:12]}) than the driver (0123456789ab); install the "
        "same versions of azsim, Python, numpy and numba on both and start the worker again"
    )
    assert stand_in.begun() == []


def test_an_address_where_nobody_answers(
    tmp_path: Path, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clusters, "_CONNECT_S", 0.5)
    with pytest.raises(InputError) as caught:
        run_sweep(
            make_sweep(tmp_path / "file"),
            tmp_path / "out",
            cluster=Cluster("dask", "tcp://127.0.0.1:9"),
            evaluator=stand_in,
        )
    sentence = str(caught.value)
    assert sentence.startswith("--dask tcp://127.0.0.1:9: no scheduler answers, ")
    assert sentence.endswith(
        "; allowed: an address like tcp://host:8786, as dask-scheduler prints it"
    )


@pytest.mark.slow
def test_a_scheduler_that_goes_away(
    tmp_path: Path, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clusters, "_CONNECT_S", 3)
    sweep = make_sweep(tmp_path / "file")
    local = distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=True, dashboard_address=None
    )

    def close(progress: Progress) -> None:
        if progress.done >= 5 and local.status.name == "running":
            local.close()

    quick = dask.config.set({"distributed.comm.timeouts.connect": "2s"})
    with quick, local, pytest.raises(InputError, match=r"run the same command again$"):
        run_sweep(
            sweep,
            tmp_path / "out",
            cluster=Cluster("dask", local.scheduler_address),
            evaluator=replace(stand_in, seconds=0.05),
            progress=close,
        )
    kept = points(tmp_path / "out")
    assert 5 <= len(kept) < 40
    assert run_sweep(sweep, tmp_path / "out", jobs=1, evaluator=stand_in).is_complete
    assert points(tmp_path / "out") == expected(sweep)


# --------------------------------------------------------------------------- batch systems


def test_options_of_a_batch_system_come_from_words_or_a_file(tmp_path: Path) -> None:
    wanted = {"cores": 8, "memory": "32GB", "walltime": "02:00:00", "processes": 8, **ANY_PORT}
    assert batch_options("slurm", "cores=8,memory=32GB, walltime=02:00:00") == wanted
    path = tmp_path / "jobs.yaml"
    path.write_text("cores: 4\nmemory: 16GB\nprocesses: 2\njob_extra_directives: [--exclusive]\n")
    assert batch_options("lsf", str(path)) == {
        "cores": 4,
        "memory": "16GB",
        "processes": 2,
        "job_extra_directives": ["--exclusive"],
        **ANY_PORT,
    }
    path.write_text("- cores\n")
    with pytest.raises(InputError) as caught:
        batch_options("slurm", str(path))
    assert str(caught.value) == f"{path}: not a mapping, allowed: options of dask-jobqueue"


@pytest.mark.parametrize(
    ("kind", "word"), [("slurm", "#SBATCH --mem=4G"), ("lsf", "#BSUB -M 4000")]
)
def test_the_job_of_a_batch_system_runs_one_process_a_core(kind: str, word: str) -> None:
    pytest.importorskip("dask_jobqueue")
    options = batch_options(kind, "cores=2,memory=4GB,queue=short")
    jobs = clusters._batch_cluster(kind, options)
    try:
        script = jobs.job_script()
    finally:
        jobs.close()
    assert "--nthreads 1 " in script
    assert "--nworkers 2 " in script
    assert word in script


def test_an_option_that_dask_jobqueue_does_not_know() -> None:
    pytest.importorskip("dask_jobqueue")
    with pytest.raises(InputError, match=r"^--slurm: "):
        clusters._batch_cluster("slurm", batch_options("slurm", "cores=1,memory=1GB,colour=red"))


@pytest.mark.slow
def test_jobs_of_a_batch_system_do_the_work(
    tmp_path: Path, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """dask-jobqueue's own stand-in for a batch system: each job is a process of this machine."""
    local = pytest.importorskip("dask_jobqueue.local")
    monkeypatch.setattr("dask_jobqueue.SLURMCluster", local.LocalCluster)
    cluster = Cluster("slurm", "cores=1,memory=1GB")
    sweep = make_sweep(tmp_path / "file")
    with pytest.raises(InputError, match=r"cannot run azsim, No module named 'sweep_workers'$"):
        run_sweep(sweep, tmp_path / "out", cluster=cluster, evaluator=stand_in)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    result = run_sweep(
        sweep,
        tmp_path / "out",
        cluster=cluster,
        evaluator=stand_in,
    )
    assert result.is_complete
    assert points(tmp_path / "out") == expected(sweep)
