"""What a sweep came to, in a few lines; `azsim.sweeps.tables` has what it found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from azsim.report.listing import Listing, listing
from azsim.report.units import counted
from azsim.sweeps.progress import Progress, SweepResult

if TYPE_CHECKING:
    from azsim.sweeps.space import Sweep

__all__ = [
    "best_rows",
    "missing_figures",
    "progress_line",
    "result_document",
    "result_lines",
    "reuse_table",
    "time_text",
]

_PLACES = ("made", "memory", "disk")


def result_lines(result: SweepResult) -> list[str]:
    """Points by what came of them, and the best of each objective."""
    progress = result.progress
    resumed = f", {progress.resumed:,} of them before" if progress.resumed else ""
    new = progress.finished - progress.resumed
    lines = [
        f"{result.name}: {progress.finished:,} of {counted(progress.total, 'point')}{resumed}",
        f"  {progress.done:,} done, {progress.infeasible:,} infeasible, {progress.failed:,} failed",
    ]
    if new:
        per_point = time_text(progress.seconds / new)
        lines.append(
            f"  {new:,} in {time_text(progress.seconds)}, {per_point} each; "
            f"{progress.shared:,} took their execution from another point"
        )
    if progress.best:
        lines.append("Best so far" if not result.is_complete else "Best")
        rows = best_rows(progress)
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            lines.append(f"  {'  '.join(cells)}".rstrip())
    return lines


def missing_figures(sweep: Sweep, result: SweepResult) -> list[str]:
    """Return a sentence for each objective that no point has a figure of."""
    if not result.progress.done:
        return []
    return [
        f"no point has a figure for the objective {objective.name}: there is no number "
        f"{objective.key!r} in its summary"
        for objective in sweep.objectives
        if objective.name not in result.best
    ]


def progress_line(progress: Progress) -> str:
    """Counts, rate and time left."""
    parts = [f"{progress.done:,} done"]
    if progress.infeasible:
        parts.append(f"{progress.infeasible:,} infeasible")
    parts += [f"{progress.failed:,} failed", f"{progress.shared:,} shared"]
    if progress.points_per_s:
        parts.append(f"{progress.points_per_s:.3g} points/s")
    if progress.left_s is not None:
        parts.append(f"{time_text(progress.left_s)} left")
    if not progress.workers and progress.finished < progress.total:
        parts.append("no worker there")
    return ", ".join(parts)


def best_rows(progress: Progress) -> list[tuple[str, str, str]]:
    """Objective, its best figure, and whose it is."""
    return [
        (
            best.objective,
            f"{best.value:.4g}{'' if best.unit in ('', '1') else f' {best.unit}'}",
            f"point {best.number:,}",
        )
        for best in progress.best
    ]


def result_document(result: SweepResult) -> dict[str, Any]:
    """All of it, for JSON."""
    progress = asdict(result.progress)
    stages = progress.pop("stages")
    best = progress.pop("best")
    return {
        "name": result.name,
        "folder": str(result.folder),
        "complete": result.is_complete,
        "stopped": result.stopped,
        **progress,
        "best": best,
        "stages": stages,
    }


def reuse_table(stages: Mapping[str, Mapping[str, int]]) -> Listing:
    """What was computed and what was shared, a stage a row."""
    from azsim.stages.reuse import STAGES

    known = [stage for stage in STAGES if stage in stages]
    rows = [
        (
            stage,
            *(stages[stage].get(place, 0) for place in _PLACES),
            STAGES.get(stage, ""),
        )
        for stage in [*known, *(stage for stage in stages if stage not in STAGES)]
    ]
    return listing(
        "Stages",
        ("stage", "made", "from memory", "from disk", "what it is"),
        rows,
        "a stage whose result is not asked for, as a later one was found, is in no column",
    )


def time_text(seconds: float) -> str:
    """``1 h 5 min``, ``2 min 3 s``, ``4.2 s``, ``17 ms``."""
    if seconds < 1:
        return f"{1000 * seconds:.3g} ms"
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60:,} h {minutes % 60} min"
