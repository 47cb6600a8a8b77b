from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import special

from azsim import arith
from azsim.arith import functions

pytestmark = pytest.mark.kernels

F = np.float32
TINY = np.finfo(F).smallest_subnormal
EDGES = np.array(
    [0.0, -0.0, TINY, -TINY, 1e-40, np.finfo(F).tiny, 0.5, -0.5, 1, -1, 1.5, 2.5, 126.5, 127, 88.7,
     88.72283, 88.8, -87.3, -87.33654, -87.4, -103.9, -104, 0.625, -0.625, 9.1, -9.1, 1e-8, 3e38,
     -3e38, np.finfo(F).max, np.inf, -np.inf, np.nan],
    F,
)  # fmt: skip
FINITE_EDGES = [float(x) for x in EDGES if np.isfinite(x)]
ULP_BOUNDS = {
    "exp": 1.1, "sigmoid": 3.0, "tanh": 1.5, "log": 1.0, "erf": 1.5, "softplus": 2.5
}  # fmt: skip
MP = {
    "exp": mpmath.exp,
    "sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)),
    "tanh": mpmath.tanh,
    "log": lambda x: mpmath.log(x) if x > 0 else mpmath.nan,
    "erf": mpmath.erf,
    "softplus": lambda x: mpmath.log1p(mpmath.exp(x)),
}


def floats(*, finite: bool) -> st.SearchStrategy[float]:
    """Any float32, its edges often."""
    edges = st.sampled_from(FINITE_EDGES) if finite else st.sampled_from(EDGES.tolist())
    return edges | st.floats(width=32, allow_nan=not finite, allow_infinity=not finite)


def matrices(*, finite: bool, max_side: int = 6) -> st.SearchStrategy[np.ndarray]:
    shapes = hnp.array_shapes(min_dims=2, max_dims=2, max_side=max_side)
    return hnp.arrays(F, shapes, elements=floats(finite=finite))


def every_exponent(count: int, seed: int = 0) -> np.ndarray:
    """Bit patterns spread over the whole of float32, both signs, NaN left out."""
    rng = np.random.default_rng(seed)
    step = (1 << 32) // count
    bits = np.arange(count, dtype=np.uint64) * step + rng.integers(0, step, count, dtype=np.uint64)
    values = bits.astype(np.uint32).view(F)
    return np.concatenate([values[~np.isnan(values)], EDGES[~np.isnan(EDGES)]])


def same(found: np.ndarray, expected: np.ndarray) -> bool:
    """Equal bits; one NaN is as good as another."""
    number = ~np.isnan(expected)
    return (
        found.dtype == expected.dtype
        and found.shape == expected.shape
        and bool((np.isnan(found) == ~number).all())
        and found[number].tobytes() == expected[number].tobytes()
    )


# ------------------------------------------------------------------------- table functions


@pytest.mark.parametrize("name", arith.TABLE_FUNCTIONS)
def test_kernels_of_functions_have_the_bits_of_their_definitions(name: str) -> None:
    x = np.concatenate([every_exponent(400_000), [F(np.nan)]]).reshape(1, -1)
    found = np.empty_like(x)
    arith.unary_kernel(arith.TABLE_FUNCTIONS[name], x, found)
    assert same(found, np.asarray(arith.UNARY_FUNCTIONS[name](x)))


@pytest.mark.parametrize("name", arith.TABLE_FUNCTIONS)
@given(x=matrices(finite=False))
def test_kernels_of_functions_take_any_strides(name: str, x: np.ndarray) -> None:
    found = np.full((x.shape[1], 2 * x.shape[0]), F(7))
    arith.unary_kernel(arith.TABLE_FUNCTIONS[name], x[::-1], found[:, ::2].T)
    assert same(np.ascontiguousarray(found[:, ::2].T), arith.UNARY_FUNCTIONS[name](x[::-1]))
    assert (found[:, 1::2] == 7).all()


def _error_ulp(name: str, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Distance to the exact value in units of the last place; float64 is exact enough here."""
    wide = x.astype(np.float64)
    with np.errstate(all="ignore"):
        small = np.exp(-np.abs(wide))
        exact = {
            "exp": np.exp(wide),
            "sigmoid": np.where(wide < 0, small, 1.0) / (1 + small),
            "tanh": np.tanh(wide),
            "log": np.log(wide),
            "erf": special.erf(wide),
            "softplus": np.maximum(wide, 0) + np.log1p(small),
        }[name]
        size = np.abs(exact)
        normal = (size >= np.finfo(F).tiny) & (size <= np.finfo(F).max)
        unit = np.spacing(size.astype(F)).astype(np.float64)
        return np.where(normal, np.abs(y.astype(np.float64) - exact) / unit, 0.0)


@pytest.mark.parametrize(("name", "bound"), ULP_BOUNDS.items())
def test_functions_keep_the_bounds_that_the_module_states(name: str, bound: float) -> None:
    near = np.random.default_rng(1).uniform(-105, 105, 600_000).astype(F)
    x = np.concatenate([every_exponent(600_000, 2), near, near / 32])
    y = arith.UNARY_FUNCTIONS[name](x)
    assert np.asarray(_error_ulp(name, x, y)).max() <= bound
    assert f"``{name}`` {bound:g}" in " ".join(str(functions.__doc__).split()).replace(" ulp", "")


@pytest.mark.parametrize("name", ULP_BOUNDS)
def test_the_measure_of_error_agrees_with_mpmath(name: str) -> None:
    x = every_exponent(2000, 3)
    x = x[np.isfinite(x) & (np.abs(x) < 120)]
    y = arith.UNARY_FUNCTIONS[name](x)
    with mpmath.workprec(120):
        for value, result, measured in zip(x, y, _error_ulp(name, x, y), strict=True):
            exact = MP[name](mpmath.mpf(float(value)))
            if np.finfo(F).tiny <= abs(exact) <= np.finfo(F).max:
                unit = float(np.spacing(F(float(abs(exact)))))
                error = float(abs(mpmath.mpf(float(result)) - exact)) / unit
                assert error <= ULP_BOUNDS[name]
                assert error == pytest.approx(measured, abs=1e-3)


def test_functions_at_their_edges() -> None:
    def of(name: str, *values: float) -> list[float]:
        return np.asarray(arith.UNARY_FUNCTIONS[name](np.array(values, F))).tolist()

    assert of("exp", 0.0, -0.0, np.inf, -np.inf, 89, -88) == [1, 1, np.inf, 0, np.inf, 0]
    assert np.isfinite(of("exp", 88.72283)[0])
    assert of("exp", -87.33654)[0] >= float(np.finfo(F).tiny)
    assert of("sigmoid", 0.0, np.inf, -np.inf, 200, -200) == [0.5, 1, 0, 1, 0]
    assert of("tanh", 0.0, np.inf, -np.inf, 9.1, -50, float(TINY)) == [0, 1, -1, 1, -1, float(TINY)]
    assert of("tanh", -0.0) == [0]  # the polynomial loses the sign of zero
    assert of("log", 0.0, -0.0, 1, np.inf, float(TINY)) == [
        -np.inf,
        -np.inf,
        0,
        np.inf,
        F(-103.27893),
    ]
    assert np.isnan(of("log", -1, -np.inf, -float(TINY))).all()
    assert of("erf", 0.0, np.inf, -np.inf, 4, -50, float(TINY)) == [0, 1, -1, 1, -1, float(TINY)]
    assert of("softplus", np.inf, -np.inf, 20.5, 1e30, -88) == [np.inf, 0, 20.5, F(1e30), 0]
    assert of("softplus", 0.0) == [F(np.log(2))]
    assert np.isnan([of(name, np.nan)[0] for name in (*arith.TABLE_FUNCTIONS, "relu")]).all()
    assert of("relu", -0.0, -1, 3, np.inf, -np.inf) == [0, 0, 3, np.inf, 0]
    assert not np.signbit(of("relu", -0.0)).any()


# -------------------------------------------------------------------------------- quantize


@given(x=matrices(finite=True), bits=st.sampled_from([8, 16]), per_row=st.booleans())
def test_quantize_kernel_has_the_bits_of_its_definition(
    x: np.ndarray, bits: int, per_row: bool
) -> None:
    limit = arith.code_limit(bits)
    dtype = np.dtype(f"int{bits}")
    codes = np.zeros(x.shape, dtype)
    rows = x if per_row else x.reshape(1, -1)
    scales = np.empty(len(rows), F)
    assert arith.quantize_kernel(x, codes, scales, False, limit)
    expected, expected_scales = arith.quantize_rows(rows, bits)
    assert codes.tobytes() == expected.astype(dtype).tobytes()
    assert scales.tobytes() == expected_scales.tobytes()
    assert np.abs(expected).max() <= limit


@given(
    x=matrices(finite=True),
    bits=st.sampled_from([8, 16]),
    scale=st.floats(2**-126, 2**100, width=32),
)
def test_quantize_kernel_reads_a_static_scale(x: np.ndarray, bits: int, scale: float) -> None:
    dtype = np.dtype(f"int{bits}")
    codes, scales = np.zeros(x.shape, dtype), np.array([scale], F)
    assert arith.quantize_kernel(x, codes, scales, True, arith.code_limit(bits))
    expected, _ = arith.quantize_rows(x, bits, scale)
    assert codes.tobytes() == expected.astype(dtype).tobytes()
    assert scales[0] == F(scale)


def test_quantize_rounds_ties_to_even_and_clips() -> None:
    x = np.array([[0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 126.5, 200, -200, -0.0]], F)
    codes, scales = arith.quantize_rows(x, 8, 1.0)
    assert codes.tolist() == [[0, 2, 2, 0, -2, -2, 126, 127, -127, 0]]
    assert scales.tolist() == [1.0]


def test_a_row_of_zeros_has_scale_one() -> None:
    x = np.array([[0, -0.0, 0], [1, 2, -127], [float(TINY)] * 3], F)
    codes, scales = arith.quantize_rows(x, 8)
    assert codes.tolist() == [[0, 0, 0], [1, 2, -127], [0, 0, 0]]
    assert scales.tolist() == [1, 1, 1]  # a quotient that underflows counts as zero


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_cannot_be_quantized(bad: float) -> None:
    x = np.array([[1, 2], [3, bad]], F)
    with pytest.raises(FloatingPointError, match=r"^a value to be quantized is not finite$"):
        arith.quantize_rows(x, 8)
    for static in (False, True):
        assert not arith.quantize_kernel(x, np.zeros((2, 2), np.int8), np.ones(1, F), static, 127)


@given(x=matrices(finite=False))
def test_peak_kernel_has_the_bits_of_its_definition(x: np.ndarray) -> None:
    wanted = max((abs(v) for v in x.reshape(-1).tolist() if v == v), default=0.0)
    for found in (arith.peak(x), arith.peak_kernel(x), arith.peak_kernel(x.T[::-1])):
        assert F(found).tobytes() == F(wanted).tobytes()


@given(x=matrices(finite=True), bits=st.sampled_from([8, 16]), cuts=st.sets(st.integers(1, 5)))
def test_the_peaks_of_parts_give_the_scale_of_the_whole(
    x: np.ndarray, bits: int, cuts: set[int]
) -> None:
    codes, scales = arith.quantize_rows(x.reshape(1, -1), bits)
    parts = [part for part in np.split(x, sorted(cuts)) if part.size]
    peaks = np.array([[arith.peak(part)] for part in parts], F)
    scale = arith.peak_scale(peaks, bits)
    found = np.zeros(1, F)
    assert arith.peak_scale_kernel(peaks, found, arith.code_limit(bits))
    assert F(scale).tobytes() == found.tobytes() == scales.tobytes()
    again, _ = arith.quantize_rows(x.reshape(1, -1), bits, float(scale))
    assert (again == codes).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_peaks_have_to_be_finite(bad: float) -> None:
    peaks, scales = np.array([[1], [bad], [2]], F), np.zeros(1, F)
    assert not arith.peak_scale_kernel(peaks, scales, 127)
    assert scales[0] == 0
    with pytest.raises(FloatingPointError, match=r"^a peak is not finite$"):
        arith.peak_scale(peaks, 8)


# -------------------------------------------------------------------------- matmul and drain


@given(data=st.data(), bits=st.sampled_from([8, 16]), accumulate=st.booleans())
def test_matmul_kernel_multiplies_exactly(data: st.DataObject, bits: int, accumulate: bool) -> None:
    rows, inner, outputs = (data.draw(st.integers(1, high)) for high in (4, 40, 6))
    limit = arith.code_limit(bits)
    codes = data.draw(hnp.arrays(f"int{bits}", (rows, inner), elements=st.integers(-limit, limit)))
    weights = data.draw(hnp.arrays(np.int8, (outputs, inner), elements=st.integers(-127, 127)))
    before = data.draw(
        hnp.arrays(np.int32, rows * outputs, elements=st.integers(-(1 << 30), 1 << 30))
    )
    acc = before.copy()
    arith.matmul_kernel(codes, weights, acc, accumulate)
    exact = arith.multiply_codes(codes, weights).reshape(-1) + (before if accumulate else 0)
    plain = codes.astype(np.int64) @ weights.astype(np.int64).T
    assert (arith.multiply_codes(codes, weights) == plain).all()
    assert acc.tolist() == exact.tolist()


@pytest.mark.parametrize("start", [(1 << 31) - 2, -(1 << 31) + 1, (1 << 31) - 1])
@pytest.mark.parametrize("code", [1, -1, 32767, -32767])
def test_accumulators_wrap_at_32_bits(start: int, code: int) -> None:
    acc = np.array([start], np.int32)
    codes, weights = np.full((1, 3), code, np.int16), np.full((1, 3), 127, np.int8)
    arith.matmul_kernel(codes, weights, acc, True)
    total = start + 3 * code * 127
    assert acc[0] == (total + (1 << 31)) % (1 << 32) - (1 << 31)


def test_a_sum_wraps_inside_one_product() -> None:
    inner = 600  # 600 * 32767 * 127 is beyond 2**31
    codes, weights = np.full((1, inner), 32767, np.int16), np.full((1, inner), 127, np.int8)
    acc = np.zeros(1, np.int32)
    arith.matmul_kernel(codes, weights, acc, False)
    total = inner * 32767 * 127
    assert total > 1 << 31
    assert acc[0] == (total + (1 << 31)) % (1 << 32) - (1 << 31)


@given(
    acc=hnp.arrays(np.int32, (3, 2), elements=st.integers(-(1 << 31) + 1, (1 << 31) - 1)),
    floats_given=hnp.arrays(F, 3 + 2 + 2 + 6, elements=floats(finite=True)),
    accumulate=st.booleans(),
    use_bias=st.booleans(),
    function=st.sampled_from(list(arith.DRAIN_FUNCTIONS)),
    one_scale=st.booleans(),
)
def test_drain_kernel_has_the_bits_of_its_definition(
    acc: np.ndarray,
    floats_given: np.ndarray,
    accumulate: bool,
    use_bias: bool,
    function: str,
    one_scale: bool,
) -> None:
    row_scales, scales, bias, before = np.split(floats_given, [3, 5, 7])
    row_scales = row_scales[:1] if one_scale else row_scales
    found = before.reshape(3, 2).copy()
    arith.drain_kernel(
        acc.reshape(-1).copy(), row_scales, scales, bias, found, accumulate, use_bias,
        arith.DRAIN_FUNCTIONS[function],
    )  # fmt: skip
    with np.errstate(all="ignore"):
        expected = arith.drain(acc, np.broadcast_to(row_scales, 3), scales)
        if accumulate:
            expected = before.reshape(3, 2) + expected
        if use_bias:
            expected = expected + bias
        if function != "none":
            expected = arith.UNARY_FUNCTIONS[function](expected)
    assert same(found, expected)


def test_drain_refuses_what_int32_does_not_hold() -> None:
    with pytest.raises(OverflowError, match=r"^an accumulator does not fit int32$"):
        arith.drain(np.array([[1 << 31]]), np.ones(1, F), np.ones(1, F))


# ------------------------------------------------------------------------------- every host


def digests() -> dict[str, str]:
    """Hashes of what every kernel makes of fixed inputs."""
    rng = np.random.default_rng(0)
    x = np.concatenate([every_exponent(50_000), rng.normal(size=5000).astype(F)]).reshape(1, -1)
    made: dict[str, np.ndarray] = {}
    for name, number in arith.TABLE_FUNCTIONS.items():
        made[name] = np.empty_like(x)
        arith.unary_kernel(number, x, made[name])
    finite = rng.normal(size=(7, 301)).astype(F) * np.exp2(rng.integers(-30, 30, (7, 1))).astype(F)
    for bits in (8, 16):
        codes, scales = np.empty(finite.shape, f"int{bits}"), np.empty(7, F)
        arith.quantize_kernel(finite, codes, scales, False, arith.code_limit(bits))
        weights = rng.integers(-127, 128, (33, 301)).astype(np.int8)
        acc = np.empty(7 * 33, np.int32)
        arith.matmul_kernel(codes, weights, acc, False)
        drained = rng.normal(size=(7, 33)).astype(F)
        bias = rng.normal(size=33).astype(F)
        arith.drain_kernel(acc, scales, np.abs(bias) + F(0.1), bias, drained, True, True, 0)
        made |= {f"codes{bits}": codes, f"scales{bits}": scales, f"acc{bits}": acc}
        made[f"drained{bits}"] = drained
    return {name: hashlib.sha256(array.tobytes()).hexdigest() for name, array in made.items()}


def _elsewhere(cache: Path, **settings_given: str) -> dict[str, str]:
    code = "import json, test_arith; print(json.dumps(test_arith.digests()))"
    here = Path(__file__).parent
    paths = os.pathsep.join([str(here), str(here.parent)])
    environment = {
        **os.environ, "AZSIM_CACHE_DIR": str(cache), "PYTHONPATH": paths, **settings_given
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


@pytest.mark.slow
def test_a_generic_processor_gives_the_same_bits(tmp_path: Path) -> None:
    generic = _elsewhere(tmp_path, NUMBA_CPU_NAME="generic", NUMBA_CPU_FEATURES="")
    assert generic == digests()


def test_settings_of_the_compiler_have_caches_of_their_own(tmp_path: Path) -> None:
    code = "from azsim import jit; print(jit._cache_directory().name)"
    names = set()
    inherited = {key: text for key, text in os.environ.items() if not key.startswith("NUMBA_")}
    for given_settings in ({}, {"NUMBA_BOUNDSCHECK": "1"}, {"NUMBA_CPU_NAME": "generic"}):
        environment = {**inherited, "AZSIM_CACHE_DIR": str(tmp_path), **given_settings}
        environment["PYTHONPATH"] = str(Path(__file__).parent.parent)
        names.add(
            subprocess.run(
                [sys.executable, "-c", code],
                env=environment, capture_output=True, text=True, check=True,
            ).stdout.strip()
        )  # fmt: skip
    assert len(names) == 3
    assert len({name.split("-")[0] for name in names}) == 1


@pytest.mark.slow
def test_copies_of_the_package_share_their_compiled_kernels(tmp_path: Path) -> None:
    """Kernels of this package are cached by module, others by the path of their file."""
    package = Path(arith.__file__).parent.parent
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(package, elsewhere / "azsim", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "own.py").write_text(
        "import numba\n\n\n@numba.njit(cache=True)\ndef own(number):\n    return number + 1\n"
    )
    code = (
        "from azsim.arith import rows; import own; own.own(1); kernel = rows.sum_lines; "
        "print(sum(kernel.stats.cache_hits.values()), kernel.stats.cache_path, "
        "own.own.stats.cache_path)"
    )
    found = []
    for place in (package.parent, elsewhere):
        environment = {
            **os.environ,
            "AZSIM_CACHE_DIR": str(tmp_path / "cache"),
            "PYTHONPATH": os.pathsep.join([str(place), str(tmp_path)]),
        }
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=environment, capture_output=True, text=True, check=True,
        )  # fmt: skip
        found.append(done.stdout.split())
    (first_hits, first, first_own), (second_hits, second, second_own) = found
    assert (first_hits, second_hits) == ("0", "1")
    assert first == second
    assert Path(first).name == "arith"
    assert first_own == second_own
    assert Path(first_own).name.startswith(tmp_path.name)
