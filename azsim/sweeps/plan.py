"""Plan: how many points a sweep has, what they share, and how long they may take."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from azsim.errors import AzsimError
from azsim.report.listing import Listing, listing
from azsim.sweeps.processes import cores
from azsim.sweeps.space import Sweep, Trial
from azsim.sweeps.sqlite_file import FILE_NAME
from azsim.sweeps.strategies import size_of, start
from azsim.sweeps.summary import time_text
from azsim.sweeps.worker import Evaluator, SweepEvaluator, code_sha256, run_point

__all__ = ["Plan", "plan_document", "plan_sweep", "plan_tables"]

_MOST_LOOKED_AT = 2000
_STAGES = ("model", "inputs", "prepared", "program", "run")


@dataclass(frozen=True)
class Plan:
    """What a sweep will do.

    Attributes
    ----------
    name : str
    strategy : str
    points : int
        That the strategy evaluates at most.
    finished : int
        That the folder has already.
    looked_at : int
        Points whose keys were compared: those that the strategy asks for first, or an even
        selection of them.
    different : mapping of str to int
        Of these, how many have different results of a stage.
    wrong : mapping of int to str
        Of these, points that cannot be run, and why.
    jobs : int
    seconds : float
        That the rest may take.
    basis : str
        What `seconds` was told from.
    """

    name: str
    strategy: str
    points: int
    finished: int
    looked_at: int
    different: Mapping[str, int]
    wrong: Mapping[int, str]
    jobs: int
    seconds: float
    basis: str


def plan_sweep(sweep: Sweep, folder: Path, *, jobs: int | None = None) -> Plan:
    """Find out what a sweep will do; two or three points are run to time them.

    Parameters
    ----------
    sweep : Sweep
    folder : Path
        Where its results are, if it has some.
    jobs : int, optional
        Worker processes; one per core by default.

    Raises
    ------
    AzsimError
        If none of the points can be run.
    """
    asked = start(sweep).ask()
    stride = max(1, -(-len(asked) // _MOST_LOOKED_AT))
    looked_at = asked[::stride]
    keys, wrong = _stage_keys(sweep, looked_at)
    different = {stage: len({found[stage] for found in keys.values()}) for stage in _STAGES}
    points = size_of(sweep)
    finished, mean_s = _earlier(folder / FILE_NAME)
    workers = jobs or cores()
    left = max(points - finished, 0)
    if mean_s is not None:
        seconds, basis = left * mean_s, f"the mean of {finished:,} points that are there"
    else:
        groups = different["program"] * points // max(len(looked_at), 1)
        evaluator = SweepEvaluator(sweep, code_sha256())
        runnable = [trial for trial in looked_at if trial.number not in wrong]
        seconds, basis = _timed(evaluator, runnable, keys, groups, left)
    return Plan(
        sweep.name,
        sweep.strategy,
        points,
        finished,
        len(looked_at),
        different,
        wrong,
        workers,
        seconds / workers,
        basis,
    )


def _stage_keys(
    sweep: Sweep, trials: Sequence[Trial]
) -> tuple[dict[int, dict[str, str]], dict[int, str]]:
    from azsim.hardware.plan import planned_hardware
    from azsim.stages.keys import StageKeys
    from azsim.sweeps.point import point_of

    keys: dict[int, dict[str, str]] = {}
    wrong: dict[int, str] = {}
    for trial in trials:
        try:
            point = point_of(sweep, trial)
            planned = planned_hardware(point.hardware, point.preset)
            found = StageKeys(point.workload, planned, point.hardware)
            keys[trial.number] = {stage: getattr(found, stage) for stage in _STAGES}
        except (AzsimError, OSError) as error:
            wrong[trial.number] = str(error)
    if trials and not keys:
        raise AzsimError(next(iter(wrong.values())))
    return keys, wrong


def _earlier(path: Path) -> tuple[int, float | None]:
    """Points in a folder, and the mean time of one."""
    if not path.is_file():
        return 0, None
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        try:
            row = connection.execute("select count(*), avg(seconds) from points").fetchone()
        finally:
            connection.close()
    except sqlite3.Error:
        return 0, None
    return row


def _timed(
    evaluator: Evaluator,
    trials: Sequence[Trial],
    keys: Mapping[int, Mapping[str, str]],
    groups: int,
    points: int,
) -> tuple[float, str]:
    """Time a point, another one of its group, and the first of another group."""
    first = trials[0]
    own = keys[first.number]["program"]
    alike = next((t for t in trials[1:] if keys[t.number]["program"] == own), None)
    other = next((t for t in reversed(trials) if keys[t.number]["program"] != own), None)
    cold_s = _seconds(evaluator, first)
    alike_s = cold_s if alike is None else _seconds(evaluator, alike)
    other_s = cold_s if other is None else _seconds(evaluator, other)
    groups = max(groups, 1)
    seconds = cold_s + (groups - 1) * other_s + max(points - groups, 0) * alike_s
    said = [f"a first point took {time_text(cold_s)}"]
    if alike is not None:
        said.append(f"one that shares its execution {time_text(alike_s)}")
    if other is not None:
        said.append(f"one that does not {time_text(other_s)}")
    return seconds, ", ".join(said)


def _seconds(evaluator: Evaluator, trial: Trial) -> float:
    begin = time.perf_counter()
    run_point(evaluator, trial, share=False)
    return time.perf_counter() - begin


def plan_document(plan: Plan) -> dict[str, Any]:
    """All of it, for JSON."""
    return {
        "name": plan.name,
        "strategy": plan.strategy,
        "points": plan.points,
        "finished": plan.finished,
        "looked_at": plan.looked_at,
        "different": dict(plan.different),
        "wrong": {str(number): sentence for number, sentence in plan.wrong.items()},
        "jobs": plan.jobs,
        "estimated_s": plan.seconds,
        "estimated_from": plan.basis,
    }


def plan_tables(plan: Plan) -> list[Listing]:
    """Make the tables of a plan."""
    from azsim.stages.reuse import STAGES

    rows = [
        ("strategy", plan.strategy, ""),
        ("points", f"{plan.points:,}", "at most" if plan.looked_at < plan.points else ""),
        ("finished", f"{plan.finished:,}", "in the folder already"),
        ("processes", f"{plan.jobs:,}", ""),
        ("time", f"about {time_text(plan.seconds)}", plan.basis),
    ]
    shared = [(stage, count, STAGES.get(stage, "")) for stage, count in plan.different.items()]
    note = f"of {plan.looked_at:,} points that were looked at; equal results are made once"
    tables = [
        listing(f"Sweep {plan.name}", ("what", "how many", ""), rows),
        listing("What is different", ("stage", "results", "what it does"), shared, note),
    ]
    if plan.wrong:
        tables.append(listing("Points that cannot be run", ("point", "why"), plan.wrong.items()))
    return tables
