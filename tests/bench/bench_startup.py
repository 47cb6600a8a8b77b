"""Wall time and memory of the command line: help, and a warm run of one second of speech.

Run as a script: ``python tests/bench/bench_startup.py [--count N] [--json]``.  Warm: compiled
kernels and fetched files are in the user cache, which one run before the measured ones sees to.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

COMMANDS = {
    "azsim --help": ("--help",),
    "azsim list codecs": ("list", "codecs"),
    "azsim run vad_silero": ("run", "vad_silero", "-o", "{folder}"),
    "azsim run vad_silero_60s": ("run", "vad_silero_60s", "-o", "{folder}"),
}
_KIBI, _MEGA = 1024, 1_000_000


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--count", type=int, default=10, help="measured runs, default 10")
    parser.add_argument("--json", action="store_true", help="machine-readable output")
    arguments = parser.parse_args()
    report = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, words in COMMANDS.items():
            command = [word.format(folder=Path(folder) / "run") for word in words]
            runs = [_measure(command) for _ in range(max(arguments.count, 1) + 1)][1:]
            if failed := [code for _, _, code in runs if code != 0]:
                sys.stderr.write(f"{name}: exit code {failed[0]}\n")
                return 1
            report[name] = {
                "wall_s": _spread([seconds for seconds, _, _ in runs]),
                "peak_memory_mb": _spread([peak for _, peak, _ in runs]),
                "runs": len(runs),
            }
    sys.stdout.write((json.dumps(report, indent=2) if arguments.json else _text(report)) + "\n")
    return 0


def _measure(words: list[str]) -> tuple[float, float, int]:
    """Run a command in a process of its own: wall time (s), peak memory (MB), exit code.

    `os.wait4` gives the memory of this very child; that of `getrusage` is the largest of all
    children so far.
    """
    null = os.open(os.devnull, os.O_WRONLY)
    actions = [(os.POSIX_SPAWN_DUP2, null, 1), (os.POSIX_SPAWN_DUP2, null, 2)]
    command = [sys.executable, "-m", "azsim", *words]
    begin = time.perf_counter()
    child = os.posix_spawn(sys.executable, command, os.environ, file_actions=actions)
    _, status, usage = os.wait4(child, 0)
    seconds = time.perf_counter() - begin
    os.close(null)
    return seconds, usage.ru_maxrss * _KIBI / _MEGA, os.waitstatus_to_exitcode(status)


def _spread(values: list[float]) -> dict[str, float]:
    return {
        "min": round(min(values), 3),
        "median": round(statistics.median(values), 3),
        "max": round(max(values), 3),
    }


def _text(report: dict[str, dict]) -> str:
    lines = [f"{'min / median / max':28} {'wall time (s)':>24} {'peak memory (MB)':>24}"]
    for name, entry in report.items():
        wall = " / ".join(f"{value:.3f}" for value in entry["wall_s"].values())
        peak = " / ".join(f"{value:.0f}" for value in entry["peak_memory_mb"].values())
        lines.append(f"{name:28} {wall:>24} {peak:>24}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
