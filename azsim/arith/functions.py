"""The chip's transcendental functions, as numpy and as kernels.

Every step is one IEEE float32 operation in the order written here; nothing is fused.  The
functions are azsim's own design (tables and polynomials that a vector lane can hold); no figure of
the real chip is public.

Errors against the exact value, measured over the whole float32 range in ``tests/test_arith.py``:
``exp`` 1.1 ulp, ``sigmoid`` 3 ulp, ``tanh`` 1.5 ulp, ``log`` 1 ulp, ``erf`` 1.5 ulp,
``softplus`` 2.5 ulp.
"""

from __future__ import annotations

import math

import numpy as np

from azsim.jit import inlined_kernel, kernel

__all__ = [
    "TABLE_FUNCTIONS",
    "erf",
    "exp",
    "exp_scalar",
    "log",
    "sigmoid",
    "sigmoid_scalar",
    "softplus",
    "tanh",
    "tanh_scalar",
    "unary_kernel",
    "unary_line",
]

_F = np.float32

# exp(x) = 2**k * 2**(j/32) * exp(r) with 32 k + j = round(x * 32 / ln 2), |r| <= ln 2 / 64.
_STEPS = 32
_STEPS_PER_UNIT = _F(46.16624130844683)  # 32 / ln 2
_STEP_HIGH = _F(0.021659851)  # ln 2 / 32 with its low mantissa bits zero: n * _STEP_HIGH is exact
_STEP_LOW = _F(np.log(2.0) / 32 - float(_STEP_HIGH))
_EXP_TABLE = np.exp2(np.arange(_STEPS) / _STEPS).astype(np.float32)
_EXP_MAX = _F(88.72283)  # the largest x whose exp is finite
_EXP_MIN = _F(-87.33654)  # the smallest x whose exp is a normal number; below it, 0
_POWER_MIN = -128
_POWERS = np.ldexp(1.0, np.arange(_POWER_MIN, 128)).astype(np.float32)
_HALF, _ONE, _TWO, _ZERO, _SIXTH = _F(0.5), _F(1), _F(2), _F(0), _F(1 / 6)
_NAN, _INFINITY = _F(np.nan), _F(np.inf)
# tanh below 0.625 is an odd polynomial, coefficients of Moshier's Cephes library (tanhf).
_TANH_SMALL = _F(0.625)
_TANH_LARGE = _F(9.1)  # from here on tanh rounds to 1
_T0, _T1, _T2, _T3, _T4 = (
    _F(-5.70498872745e-3),
    _F(2.06390887954e-2),
    _F(-5.37397155531e-2),
    _F(1.33314422036e-1),
    _F(-3.33332819422e-1),
)
# log(1 + f) for 1 + f between sqrt(1/2) and sqrt(2), coefficients of Cephes (logf).
_ROOT_HALF = _F(0.70710678)
_ROOT_TWO_LESS_ONE = _F(0.41421357)
_L0, _L1, _L2, _L3, _L4, _L5, _L6, _L7, _L8 = (
    _F(7.0376836292e-2),
    _F(-1.1514610310e-1),
    _F(1.1676998740e-1),
    _F(-1.2420140846e-1),
    _F(1.4249322787e-1),
    _F(-1.6668057665e-1),
    _F(2.0000714765e-1),
    _F(-2.4999993993e-1),
    _F(3.3333331174e-1),
)
_LN2_HIGH, _LN2_LOW = _F(0.693359375), _F(-2.12194440e-4)  # a whole number times the first is exact
# erf is x + x * P(x * x) below _ERF_SMALL, 1 - exp(t * Q(t) - t) above; minimax polynomials.
_ERF_SMALL = _F(0.927734375)
_ERF_LARGE = _F(4)  # from here on erf rounds to 1
_S0, _S1, _S2, _S3, _S4, _S5 = (
    _F(-5.96761703e-4),
    _F(4.99119423e-3),
    _F(-2.67681349e-2),
    _F(1.12819925e-1),
    _F(-3.76125336e-1),
    _F(1.28379166e-1),
)
_E0, _E1, _E2, _E3, _E4, _E5, _E6 = (
    _F(-1.72853470e-5),
    _F(3.83197126e-4),
    _F(-3.88396438e-3),
    _F(2.42546219e-2),
    _F(-1.06777877e-1),
    _F(-6.34846687e-1),
    _F(-1.28717512e-1),
)

# --------------------------------------------------------------------------- plain definitions


def exp(x: np.ndarray) -> np.ndarray:
    """Exponential function of float32, within 1.1 ulp; results below the normal range are 0."""
    with np.errstate(all="ignore"):
        inside = np.clip(np.where(np.isnan(x), _ZERO, x), _EXP_MIN, _EXP_MAX)
        n = np.rint(inside * _STEPS_PER_UNIT)
        r = (inside - n * _STEP_HIGH) - n * _STEP_LOW
        tail = r + (r * r) * (_HALF + r * _SIXTH)
        n = n.astype(np.int32)
        mantissa = _EXP_TABLE[n & (_STEPS - 1)]
        y = mantissa + mantissa * tail
        k = n >> 5
        first = k >> 1
        y = (y * _POWERS[first - _POWER_MIN]) * _POWERS[k - first - _POWER_MIN]
        y = np.where(x > _EXP_MAX, _F(np.inf), np.where(x < _EXP_MIN, _ZERO, y))
        return np.where(np.isnan(x), x, y).astype(np.float32)


def sigmoid(x: np.ndarray) -> np.ndarray:
    """Logistic function of float32: 1 / (1 + e) or e / (1 + e) with e = exp(-|x|)."""
    e = exp(-np.abs(x))
    return np.where(x < 0, e, _ONE) / (_ONE + e)


def tanh(x: np.ndarray) -> np.ndarray:
    """Hyperbolic tangent of float32: polynomial below 0.625, 1 - 2 / (exp(2|x|) + 1) above."""
    with np.errstate(all="ignore"):
        size = np.abs(x)
        z = x * x
        poly = (((_T0 * z + _T1) * z + _T2) * z + _T3) * z + _T4
        small = (poly * z) * x + x
        large = _ONE - _TWO / (exp(np.minimum(size, _TANH_LARGE) * _TWO) + _ONE)
    return np.where(size < _TANH_SMALL, small, np.where(x < 0, -large, large)).astype(np.float32)


def _log_near_one(f: np.ndarray, k: np.ndarray) -> np.ndarray:
    """``log(1 + f) + k ln 2`` for 1 + f between sqrt(1/2) and sqrt(2) and whole k."""
    z = f * f
    poly = ((((_L0 * f + _L1) * f + _L2) * f + _L3) * f + _L4) * f + _L5
    poly = ((poly * f + _L6) * f + _L7) * f + _L8
    rest = ((poly * f) * z + k * _LN2_LOW) - _HALF * z
    return (f + rest) + k * _LN2_HIGH


def log(x: np.ndarray) -> np.ndarray:
    """Natural logarithm of float32; that of 0 is minus infinity, below 0 it is NaN."""
    with np.errstate(all="ignore"):
        inside = np.where((x > 0) & (x < _INFINITY), x, _ONE)
        mantissa, exponent = np.frexp(inside)
        is_low = mantissa < _ROOT_HALF
        f = np.where(is_low, mantissa + mantissa, mantissa) - _ONE
        y = _log_near_one(f, (exponent - is_low).astype(np.float32))
        y = np.where(x == 0, -_INFINITY, np.where(x == _INFINITY, _INFINITY, y))
        return np.where((x < 0) | np.isnan(x), _NAN, y).astype(np.float32)


def erf(x: np.ndarray) -> np.ndarray:
    """Error function of float32: polynomial below 0.93, 1 - exp(polynomial) above."""
    with np.errstate(all="ignore"):
        size = np.abs(x)
        z = x * x
        poly = ((((_S0 * z + _S1) * z + _S2) * z + _S3) * z + _S4) * z + _S5
        small = poly * x + x
        t = np.minimum(size, _ERF_LARGE)
        poly = (((((_E0 * t + _E1) * t + _E2) * t + _E3) * t + _E4) * t + _E5) * t + _E6
        large = _ONE - exp(poly * t - t)
    return np.where(size < _ERF_SMALL, small, np.where(x < 0, -large, large)).astype(np.float32)


def softplus(x: np.ndarray) -> np.ndarray:
    """``log(1 + exp(x))`` of float32, as ``max(x, 0) + log(1 + e)`` with e = exp(-|x|).

    Above 20 that is x itself.
    """
    with np.errstate(all="ignore"):
        e = exp(-np.abs(x))
        is_low = e < _ROOT_TWO_LESS_ONE
        f = np.where(is_low, e, (e - _ONE) * _HALF)
        y = _log_near_one(f, np.where(is_low, _ZERO, _ONE))
        return np.where(x > 0, x, _ZERO) + y


# ------------------------------------------------------------------------------------- kernels


@kernel
def _power_of_two(k):
    """``2 ** k`` for an int32 k of a normal number."""
    return np.int32((k + np.int32(127)) << np.int32(23)).view(np.float32)


@kernel
def exp_scalar(x):
    """`exp` of one number; without branches, so that a loop over many works on several at once."""
    inside = x if x > _EXP_MIN else _EXP_MIN
    inside = inside if inside < _EXP_MAX else _EXP_MAX
    n = np.rint(inside * _STEPS_PER_UNIT)
    r = (inside - n * _STEP_HIGH) - n * _STEP_LOW
    tail = r + (r * r) * (_HALF + r * _SIXTH)
    whole = np.int32(n)
    mantissa = _EXP_TABLE[np.uint32(whole & np.int32(_STEPS - 1))]
    y = mantissa + mantissa * tail
    k = np.int32(whole >> np.int32(5))
    first = np.int32(k >> np.int32(1))
    y = (y * _power_of_two(first)) * _power_of_two(np.int32(k - first))
    y = y if x >= _EXP_MIN else _ZERO
    y = y if x <= _EXP_MAX else _INFINITY
    return y if x == x else x


@kernel
def sigmoid_scalar(x):
    """`sigmoid` of one number."""
    e = exp_scalar(-abs(x))
    return (e if x < _ZERO else _ONE) / (_ONE + e)


@inlined_kernel
def tanh_scalar(x):
    """`tanh` of one number; without branches, as `exp_scalar`."""
    size = abs(x)
    z = x * x
    poly = (((_T0 * z + _T1) * z + _T2) * z + _T3) * z + _T4
    small = (poly * z) * x + x
    inside = size if size < _TANH_LARGE else _TANH_LARGE
    large = _ONE - _TWO / (exp_scalar(inside * _TWO) + _ONE)
    large = -large if x < _ZERO else large
    y = small if size < _TANH_SMALL else large
    return y if x == x else x


@kernel
def _log_near_one_scalar(f, k):
    z = f * f
    poly = ((((_L0 * f + _L1) * f + _L2) * f + _L3) * f + _L4) * f + _L5
    poly = ((poly * f + _L6) * f + _L7) * f + _L8
    rest = ((poly * f) * z + k * _LN2_LOW) - _HALF * z
    return (f + rest) + k * _LN2_HIGH


@kernel
def _log_scalar(x):
    if np.isnan(x) or x < _ZERO:
        return _NAN
    if x == _ZERO:
        return -_INFINITY
    if x == _INFINITY:
        return x
    mantissa, exponent = math.frexp(x)
    m = _F(mantissa)
    if m < _ROOT_HALF:
        m = m + m
        exponent -= 1
    return _log_near_one_scalar(m - _ONE, _F(exponent))


@kernel
def _erf_scalar(x):
    size = abs(x)
    if size < _ERF_SMALL:
        z = x * x
        poly = ((((_S0 * z + _S1) * z + _S2) * z + _S3) * z + _S4) * z + _S5
        return poly * x + x
    if np.isnan(x):
        return x
    t = min(size, _ERF_LARGE)
    poly = (((((_E0 * t + _E1) * t + _E2) * t + _E3) * t + _E4) * t + _E5) * t + _E6
    large = _ONE - exp_scalar(poly * t - t)
    return -large if x < _ZERO else large


@kernel
def _softplus_scalar(x):
    e = exp_scalar(-abs(x))
    above = x if x > _ZERO else _ZERO
    is_low = e < _ROOT_TWO_LESS_ONE
    f = e if is_low else (e - _ONE) * _HALF
    return above + _log_near_one_scalar(f, _ZERO if is_low else _ONE)


TABLE_FUNCTIONS = {"sigmoid": 2, "tanh": 3, "exp": 4, "log": 8, "erf": 9, "softplus": 10}


@kernel("void(int64, float32[::1])")
def unary_line(function, x):
    """Apply one of `TABLE_FUNCTIONS` (by number) to float32 numbers, in place."""
    count = len(x)
    if function == 2:
        for j in range(count):
            x[j] = sigmoid_scalar(x[j])
    elif function == 3:
        for j in range(count):
            x[j] = tanh_scalar(x[j])
    elif function == 4:
        for j in range(count):
            x[j] = exp_scalar(x[j])
    elif function == 8:
        for j in range(count):
            x[j] = _log_scalar(x[j])
    elif function == 9:
        for j in range(count):
            x[j] = _erf_scalar(x[j])
    else:
        for j in range(count):
            x[j] = _softplus_scalar(x[j])


@kernel("void(int64, float32[:, :], float32[:, :])")
def unary_kernel(function, src, dst):
    """Apply one of `TABLE_FUNCTIONS` (by number) to a float32 matrix of any strides."""
    line = np.empty(src.shape[1], np.float32)
    for i in range(src.shape[0]):
        line[:] = src[i]
        unary_line(function, line)
        dst[i] = line
