"""Budgets: the limits that a workload's `expect` sets, and an earlier run as a baseline."""

from __future__ import annotations

import json
import math

from azsim.errors import InputError
from azsim.frontend.workload import Workload
from azsim.sim.result import RunResult

__all__ = ["check_expectations"]


def check_expectations(workload: Workload, result: RunResult) -> list[str]:
    """Return a sentence for each budget of the workload's `expect` that the run breaks."""
    expect = workload.expect
    if expect is None or expect.hardware not in (None, result.hardware):
        return []
    summary = dict(result.summary)
    ratios = [c.sqnr_db for c in result.output_checks.values() if c.sqnr_db is not None]
    summary["output_sqnr_db"] = min(ratios, default=math.inf)
    summary["output_max_abs_error"] = max(
        (
            check.max_abs_error
            for check in result.output_checks.values()
            if check.max_abs_error is not None
        ),
        default=0.0,
    )
    summary["decision_agreement"] = min(
        (check.agreement for check in result.decisions.values()), default=None
    )
    broken = []
    for key, bound in expect.bounds().items():
        value = summary[key]
        if not isinstance(value, int | float):
            broken.append(f"{key} is not known for this run, and a limit is set for it")
        elif bound.min is not None and value < bound.min:
            broken.append(f"{key} is {value:,}, expected at least {bound.min:,}")
        elif bound.max is not None and value > bound.max:
            broken.append(f"{key} is {value:,}, expected at most {bound.max:,}")
    if expect.baseline is not None:
        broken += _against_baseline(workload, expect.baseline, result)
    return broken


def _against_baseline(workload: Workload, baseline: str, result: RunResult) -> list[str]:
    """Compare cycles, traffic and output bits with an earlier summary."""
    path = workload.folder / baseline
    try:
        before = json.loads(path.read_text())
        keys = ("cycles", "dram_read_bytes", "dram_write_bytes")
        old = {key: int(before[key]) for key in keys}
        bits = {name: entry["sha256"] for name, entry in before["outputs"].items()}
    except OSError as error:
        raise InputError(f"$.expect.baseline: {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"$.expect.baseline: {path}: not a summary.json of azsim") from error
    broken = [
        f"{key} is {result.summary[key]:,}, the baseline has {value:,}"
        for key, value in old.items()
        if int(str(result.summary[key])) > value
    ]
    broken += [
        f"output '{name}' has other bits than the baseline"
        for name, check in result.output_checks.items()
        if bits.get(name) != check.sha256
    ]
    return broken
