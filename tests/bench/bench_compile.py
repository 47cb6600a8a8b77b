"""Compile time of MLPerf's recurrent transducer (45.3 million weights), cold and cached.

Run as a script: ``python tests/bench/bench_compile.py [--codec NAME] [--hardware NAME]``.  Kernels
are compiled before, with a small model; the cache of blocks is an empty folder of its own.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from azsim.frontend.workload import Workload, load_workload
from azsim.hardware import load_hardware
from azsim.hardware.description import Hardware
from azsim.inputs import fetch
from azsim.pipeline import compile_workload
from azsim.stages.model import load_graph
from azsim.stages.prepare import prepare
from transducer import Sizes, transducer_workload, write_workload


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--codec", default="bitmap")
    parser.add_argument("--hardware", default="az1")
    arguments = parser.parse_args()
    compression = {
        "default": {
            "weights": {"bits": 8, "scale": "per_channel"},
            "prune": {"method": "magnitude", "sparsity": 0.5},
            "codec": arguments.codec,
        }
    }
    chip = load_hardware(arguments.hardware)
    # The small one comes first and compiles all kernels.
    for sizes in (Sizes(features=80, encoder=512, prediction=64, joint=64, symbols=64), Sizes()):
        with tempfile.TemporaryDirectory() as name:
            contents = transducer_workload(sizes, frames=100, compression=compression)
            workload = load_workload(write_workload(Path(name), contents))
            os.environ["AZSIM_CACHE_DIR"] = str(Path(name) / "cache")
            fetch.cache_directory.cache_clear()
            seconds = [_seconds(workload, chip) for _ in range(2)]
            compiled = compile_workload(workload, chip)
            count = sum(weight.weights for weight in compiled.weights)
            size = len(compiled.program.instructions)
            sys.stdout.write(f"{count:,} weights, {size:,} instructions\n")
            for state, (model, prepared, everything) in zip(
                ("cold", "cached"), seconds, strict=True
            ):
                sys.stdout.write(
                    f"{state:8} model {model:.2f} s, compression {prepared - model:.2f} s, "
                    f"compilation {everything - prepared:.2f} s, all {everything:.2f} s\n"
                )
    return 0


def _seconds(workload: Workload, chip: Hardware) -> tuple[float, float, float]:
    """Seconds to read the model, to do that and compress it, and to do both and compile."""
    found = []
    for step in (
        lambda: load_graph(workload),
        lambda: prepare(workload),
        lambda: compile_workload(workload, chip),
    ):
        begin = time.perf_counter()
        step()
        found.append(time.perf_counter() - begin)
    return found[0], found[1], found[2]


if __name__ == "__main__":
    raise SystemExit(main())
