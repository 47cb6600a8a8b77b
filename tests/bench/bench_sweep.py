"""Cost of a sweep's points against cold runs: the study `sweep_speed` on 1 % of the points.

Run as a script: ``python tests/bench/bench_sweep.py [--share 0.01] [--cold 3] [SWEEP ...]``; it
fails where a point costs more than the study promises.
"""

from __future__ import annotations

from azsim.studies._sweep_speed_measure import main

if __name__ == "__main__":
    raise SystemExit(main())
