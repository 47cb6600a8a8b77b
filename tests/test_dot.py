"""Products of bytes by the host's own instruction are what the plain kernel gives."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import llvmlite.binding
import numpy as np
import pytest

from azsim import arith
from azsim.arith.dot import HAS_BYTE_DOT, multiply_bytes

pytestmark = pytest.mark.kernels
needs_byte_dot = pytest.mark.skipif(not HAS_BYTE_DOT, reason="this host has no such instruction")


def _both(codes: np.ndarray, weights: np.ndarray, *, accumulate: bool, seed: int = 0) -> list[int]:
    rng = np.random.default_rng(seed)
    before = rng.integers(-(1 << 31), 1 << 31, len(codes) * len(weights)).astype(np.int32)
    found, wanted = before.copy(), before.copy()
    multiply_bytes(codes, weights, found, accumulate)
    arith.matmul_kernel(codes, weights, wanted, accumulate)
    assert found.tolist() == wanted.tolist()
    return found.tolist()


@needs_byte_dot
@pytest.mark.parametrize("inner", [1, 2, 7, 48, 63, 64, 65, 127, 128, 129, 240, 1000])
def test_products_of_bytes_of_every_length(inner: int) -> None:
    rng = np.random.default_rng(inner)
    for rows, outputs in ((1, 1), (1, 5), (3, 4)):
        # What lies around must not count.
        room = rng.integers(-128, 128, (2, 1000 * 8), np.int8)
        codes = room[0, 3 : 3 + rows * inner].reshape(rows, inner)
        weights = room[1, 5 : 5 + outputs * inner].reshape(outputs, inner)
        for accumulate in (False, True):
            _both(codes, weights, accumulate=accumulate)


@needs_byte_dot
@pytest.mark.parametrize("code", [-128, -127, 127])
@pytest.mark.parametrize("weight", [-128, -127, 127])
def test_products_of_the_largest_bytes(code: int, weight: int) -> None:
    inner = 200
    codes, weights = np.full((1, inner), code, np.int8), np.full((2, inner), weight, np.int8)
    assert _both(codes, weights, accumulate=False) == [inner * code * weight] * 2
    _both(codes, weights, accumulate=True)


@needs_byte_dot
def test_sums_of_bytes_wrap_at_32_bits() -> None:
    inner = 150_000  # 150,000 * 128 * 128 is beyond 2**31
    codes, weights = np.full((1, inner), -128, np.int8), np.full((1, inner), -128, np.int8)
    assert _both(codes, weights, accumulate=False) == [inner * 128 * 128 - (1 << 32)]


def test_a_processor_has_what_kernels_are_compiled_for() -> None:
    code = "import json; from azsim.jit import has_feature; print(json.dumps({}))"
    names = ("avx2", "avx512f", "avx512vnni")
    asked = code.format("[has_feature(name) for name in " + repr(names) + "]")

    def told(**settings: str) -> list[bool]:
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent), **settings}
        command = [sys.executable, "-c", asked]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return json.loads(done.stdout)

    host = llvmlite.binding.get_host_cpu_features()
    assert told(NUMBA_CPU_NAME="generic", NUMBA_CPU_FEATURES="") == [False] * 3
    assert told() == [host.get(name, False) for name in names]
