"""Random arrays with a given share of non-zero elements, for workloads of a published density.

A quantizer may round a small number to zero and so change the density.  No number here is that
small: weights are whole sevenths of the largest, up to seven of them, which symmetric codes of 4
bits and more and palettes with at least 15 entries keep apart from zero; activations are at least
a quarter of the largest, which codes of 8 bits keep.
"""

from __future__ import annotations

import math

import numpy as np

__all__ = ["WEIGHT_LEVELS", "sparse_activations", "sparse_weights"]

WEIGHT_LEVELS = 7
"""Magnitudes that a non-zero weight may have: 1 to 7 sevenths of the scale."""

_CHUNK_ELEMENTS = 1 << 20  # part of what a seed means: another size gives other numbers


def sparse_weights(
    shape: tuple[int, ...], density: float, seed: int, scale: float = 1.0
) -> np.ndarray:
    """Weights of which each is non-zero with the same probability, independently.

    Parameters
    ----------
    shape : tuple of int
    density : float
        The probability, above 0 and at most 1; the share found differs by chance.
    seed : int
    scale : float
        Largest magnitude.

    Returns
    -------
    ndarray of `shape`, float32
        Non-zero elements are ``±scale * level / 7``, level 1 to 7 and sign equally likely.
    """
    generator = np.random.default_rng(seed)
    weights = np.zeros(math.prod(shape), np.float32)
    levels = np.arange(-WEIGHT_LEVELS, WEIGHT_LEVELS + 1, dtype=np.float32)
    values = levels[levels != 0] * np.float32(scale / WEIGHT_LEVELS)
    for start in range(0, weights.size, _CHUNK_ELEMENTS):
        part = weights[start : start + _CHUNK_ELEMENTS]
        places = np.flatnonzero(generator.random(part.size, np.float32) < np.float32(density))
        part[places] = values[generator.integers(0, values.size, places.size, np.int8)]
    return weights.reshape(shape)


def sparse_activations(
    shape: tuple[int, ...], density: float, generator: np.random.Generator, scale: float = 1.0
) -> np.ndarray:
    """Activations as after a rectifier: a share is positive, exactly, and the others are zero.

    Parameters
    ----------
    shape : tuple of int
    density : float
        ``round(density * elements)`` elements of the whole array are not zero.
    generator : Generator
    scale : float
        Largest magnitude.

    Returns
    -------
    ndarray of `shape`, float32
        Non-zero elements lie between a quarter of the scale and the scale.
    """
    size = math.prod(shape)
    count = round(density * size)
    activations = np.zeros(size, np.float32)
    places = generator.permutation(size)[:count]
    activations[places] = generator.uniform(0.25, 1.0, count) * scale
    return activations.reshape(shape)
