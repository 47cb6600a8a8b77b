"""The compiled loops of quantizers against the same in plain numpy."""

from __future__ import annotations

import numpy as np
import pytest

from azsim.compression.quantize import quantize
from azsim.compression.quantizers._loops import clipped_errors, code_errors, dead_zone_codes
from azsim.compression.spec import ResolvedRule

pytestmark = pytest.mark.kernels

SHAPES = [(1, 1), (3, 255), (2, 256), (5, 257), (4, 1000)]
F = np.float32


def part_of(shape: tuple[int, int]) -> np.ndarray:
    rng = np.random.default_rng(shape[1])
    part = rng.laplace(0, 1, shape).astype(F)
    part[rng.random(shape) < 0.2] = 0
    part[0, 0] = 0.25  # half of a step of 0.5, for the rounding of ties
    return part


@pytest.mark.parametrize("shape", SHAPES)
def test_dead_zone_codes(shape: tuple[int, int]) -> None:
    part = part_of(shape)
    steps = np.linspace(0.01, 0.5, shape[0]).astype(F)
    codes = np.full(shape, 99, np.int8)
    products, squares = np.full(shape[0], -1.0), np.full(shape[0], -1.0)
    dead_zone_codes(part, steps, F(0.75), F(127), codes, products, squares)
    quotient = part / steps[:, None]
    wanted = np.clip(np.rint(np.abs(quotient)), 1, 127) * np.sign(quotient)
    wanted[np.abs(quotient) < F(0.75)] = 0
    np.testing.assert_array_equal(codes, wanted)
    wide = quotient.astype(np.float64)
    np.testing.assert_allclose(products, (wide * wanted).sum(axis=1), rtol=1e-13)
    np.testing.assert_array_equal(squares, (wanted.astype(np.int64) ** 2).sum(axis=1))


@pytest.mark.parametrize("shape", SHAPES)
def test_code_errors(shape: tuple[int, int]) -> None:
    part = part_of(shape)
    scales = np.linspace(0.1, 0.5, shape[0]).astype(F)
    codes = np.rint(part / F(0.3)).astype(np.int8)
    errors = np.full(shape[0], -1.0)
    code_errors(part, codes, scales, errors)
    difference = part - codes.astype(F) * scales[:, None]
    wanted = (difference.astype(np.float64) ** 2).sum(axis=1)
    np.testing.assert_allclose(errors, wanted, rtol=1e-13)


@pytest.mark.parametrize("shape", SHAPES)
def test_clipped_errors(shape: tuple[int, int]) -> None:
    part = part_of(shape)
    scales = np.linspace(0.05, 0.5, 3 * shape[0]).reshape(3, -1).astype(F)
    errors = np.full(scales.shape, -1.0)
    clipped_errors(part, scales, F(7), errors)
    codes = np.clip(np.rint(part / scales[:, :, None]), F(-7), F(7))
    wanted = ((part - codes * scales[:, :, None]) ** 2).astype(np.float64).sum(axis=2)
    np.testing.assert_allclose(errors, wanted, rtol=1e-13)


@pytest.mark.slow
@pytest.mark.parametrize("quantizer", ["entropy_uniform", "uniform_mse"])
def test_memory_order_and_locks_change_nothing(quantizer: str) -> None:
    rule = ResolvedRule(quantizer=quantizer, weight_bits=4)
    matrix = part_of((40, 300))
    locked = matrix.copy()
    locked.flags.writeable = False
    wanted = quantize(matrix, rule)
    for other in (locked, np.asfortranarray(matrix), matrix.repeat(2, axis=1)[:, ::2]):
        found = quantize(other, rule)
        np.testing.assert_array_equal(found.codes, wanted.codes)
        np.testing.assert_array_equal(found.scales, wanted.scales)
