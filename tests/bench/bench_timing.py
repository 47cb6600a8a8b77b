"""What the two timing models cost on one minute of speech, and what a change of the clock costs.

Run as a script: ``python tests/bench/bench_timing.py [--rounds N] [--json]``.  What is measured
stands in ``README.md`` beside this file.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from azsim.compiler.compile import compile_graph
from azsim.frontend.workload import load_workload
from azsim.hardware import load_hardware
from azsim.pipeline import prepare, run
from azsim.sim.exact import replay_exact
from azsim.sim.execute import execute, write_inputs
from azsim.sim.timing import replay

WORKLOAD, HARDWARE = "vad_silero_60s", "az1"
CHANGES = {
    "dram": "dram.bytes_per_s=1600000000",
    "clock": "clock_hz=250000000",
    "latency": "dram.latency_ns=160",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="rounds, default 5")
    parser.add_argument("--json", action="store_true", help="machine-readable output")
    arguments = parser.parse_args()
    report = _measure(max(arguments.rounds, 1))
    sys.stdout.write((json.dumps(report, indent=2) if arguments.json else _text(report)) + "\n")


def _seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def _measure(rounds: int) -> dict[str, object]:
    """Everything, after one round that compiles kernels and fills caches."""
    workload, chip = load_workload(WORKLOAD), load_hardware(HARDWARE)
    prepared = prepare(workload)
    compiled = compile_graph(
        prepared.compressed, chip, prepared.stream, prepared.state, workload.name
    )
    program = compiled.program
    inputs = {**prepared.frames, **prepared.initial_state}

    trace = execute(program, write_inputs(program, compiled.image, inputs), chip).trace

    def under(change: str) -> Callable[[], object]:
        other = load_hardware(HARDWARE, [change])
        return lambda: replay(trace, program, other)

    work: dict[str, Callable[[], object]] = {
        "run": lambda: run(workload, chip, timeline=False),
        "fast_first": lambda: replay(replace(trace, path=replace(trace.path)), program, chip),
        "fast": lambda: replay(trace, program, chip),
        "cycle_stepped": lambda: replay_exact(trace, program, chip),
        **{name: under(change) for name, change in CHANGES.items()},
    }
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for number in range(rounds + 1):
        for name, what in work.items():
            spent = _seconds(what)
            if number:
                seconds[name].append(spent)
    fast, stepped = replay(trace, program, chip), replay_exact(trace, program, chip)

    def ratio(above: str, below: str) -> list[float]:
        return [a / b for a, b in zip(seconds[above], seconds[below], strict=True)]

    ratios = {
        "cycle_stepped / fast_first": ratio("cycle_stepped", "fast_first"),
        "cycle_stepped / fast": ratio("cycle_stepped", "fast"),
        **{f"{name} / run": ratio(name, "run") for name in CHANGES},
    }
    return {
        "workload": WORKLOAD,
        "hardware": HARDWARE,
        "rounds": rounds,
        "cycles": {"fast": fast.cycles, "cycle_stepped": stepped.cycles},
        "seconds": {name: _spread(values) for name, values in seconds.items()},
        "ratios": {name: _spread(values) for name, values in ratios.items()},
    }


def _spread(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def _text(report: Mapping[str, object]) -> str:
    cycles, seconds, ratios = (report[name] for name in ("cycles", "seconds", "ratios"))
    assert isinstance(cycles, dict)
    assert isinstance(seconds, dict)
    assert isinstance(ratios, dict)
    difference = 100 * (cycles["fast"] - cycles["cycle_stepped"]) / cycles["cycle_stepped"]
    what = f"{report['workload']} on {report['hardware']}"
    counts = f"fast {cycles['fast']:,}, cycle-stepped {cycles['cycle_stepped']:,}"
    lines = [
        f"{what}; median of {report['rounds']} rounds (min..max)",
        f"cycles: {counts} ({difference:+.3f} %)",
        "",
    ]
    for title, rows in (("seconds", seconds), ("ratios, of the same round", ratios)):
        lines.append(title)
        for name, spread in rows.items():
            low, middle, high = (f"{spread[key]:.4g}" for key in ("min", "median", "max"))
            lines.append(f"  {name:32} {middle:>10} ({low}..{high})")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
