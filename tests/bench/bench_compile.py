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

from azsim.frontend.workload import load_workload
from azsim.hardware import load_hardware
from azsim.inputs import fetch
from azsim.pipeline import compile_workload
from azsim.stages.prepare import load_graph, prepare
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
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        small = Sizes(features=80, encoder=512, prediction=64, joint=64, symbols=64)
        for sizes in (small, Sizes()):
            contents = transducer_workload(sizes, frames=100, compression=compression)
            workload = load_workload(write_workload(folder, contents))
            os.environ["AZSIM_CACHE_DIR"] = str(folder / f"cache{sizes.encoder}")
            fetch.cache_directory.cache_clear()
            seconds = []
            for _ in range(2):
                begin = time.perf_counter()
                load_graph(workload)
                read = time.perf_counter()
                prepare(workload)
                prepared = time.perf_counter()
                compiled = compile_workload(workload, chip)
                both = time.perf_counter() - prepared
                seconds.append((read - begin, prepared - read - (read - begin), both))
    count = sum(weight.weights for weight in compiled.weights)
    sys.stdout.write(f"{count:,} weights, {len(compiled.program.instructions):,} instructions\n")
    for name, (model, compress, both) in zip(("cold", "cached"), seconds, strict=True):
        sys.stdout.write(
            f"{name:8} model {model:.2f} s, compression {max(0, compress):.2f} s, "
            f"compilation {both - model - max(0, compress):.2f} s, all {both:.2f} s\n"
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
