"""Peak memory of ``azsim run --verify`` of the largest workloads, each in a process of its own.

Run as a script: ``python tests/bench/bench_memory.py [--json]``; it fails above 2 GB.  What is
measured stands in ``README.md`` beside this file.  Where kernels have still to be compiled they
take memory too: run it again.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile

_KIBI, _MEGA = 1024, 1_000_000
_MOST_MEMORY_MB = 2_000
_CHUNKED = ("model.form=chunked", "model.last_logits=true", "stream.chunk_frames=16")
RUNS = {
    "rnnt_mlperf": ("speech_rnnt_mlperf",),
    "rnnt_google, 4 frames": ("speech_rnnt_google", "input.random.frames=4"),
    "mamba-130m": ("ssm_mamba_130m",),
    "mamba2-130m": ("ssm_mamba2_130m",),
    "mamba2-130m, chunked form": ("ssm_mamba2_130m", *_CHUNKED),
}
"""Workloads by title, each with what is set in it."""


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="machine-readable output")
    arguments = parser.parse_args()
    peaks_mb = {}
    for title, (workload, *overrides) in RUNS.items():
        peaks_mb[title] = _peak_mb(workload, overrides)
        if not arguments.json:
            sys.stdout.write(f"{title:28} {peaks_mb[title]:6,} MB\n")
            sys.stdout.flush()
    if arguments.json:
        sys.stdout.write(json.dumps(peaks_mb, indent=2) + "\n")
    return int(max(peaks_mb.values()) > _MOST_MEMORY_MB)


def _peak_mb(workload: str, overrides: list[str]) -> int:
    """Most memory that a run with its comparison had, in a new process."""
    sets = [part for each in overrides for part in ("--set", f"workload.{each}")]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "azsim", "run", workload, *sets]
        process = subprocess.Popen(
            [*command, "--verify", "--json", "-o", folder], stdout=subprocess.DEVNULL
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{workload}: the run failed with {process.returncode}")
    return round(usage.ru_maxrss * _KIBI / _MEGA)


if __name__ == "__main__":
    sys.exit(main())
