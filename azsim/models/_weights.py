"""Where a builder's tensors come from: seeded random numbers, or arrays of a file.

Random weights are Student's t with 6 degrees of freedom, scaled to a standard deviation of
``gain / sqrt(fan_in)``, so that activations keep their size from layer to layer (the gain is 1 but
where a builder says why not), and clipped at 12 standard deviations.  Trained weights have more
outliers than normal numbers, and outliers set the scales, hence how small most codes are and how
few bits a codec needs.  The excess kurtosis is 3 here (a little less with the clip), as of
Laplace's distribution; it is 0 of normal numbers, and 1.9 and 3.0 in the two matrices of Silero
VAD's LSTM, whose largest weights are 7 and 11 standard deviations.

A value of t is ``z / sqrt((e1 + e2 + e3) / 3)`` with a normal z and three exponential numbers, in
float32.  Each tensor has a stream of its own, ``default_rng([seed, *SHA-256 of its name])``, so
that it depends on no other tensor.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from azsim.errors import InputError
from azsim.ir import TensorType

__all__ = ["ArrayWeights", "RandomWeights", "Tensor", "WeightSource", "student_t"]

_DEGREES = 6
_LARGEST = 12.0  # standard deviations
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Tensor:
    """A trained tensor as a builder declares it.

    Attributes
    ----------
    shape : tuple of int
    fan_in : int
        How many products one output adds up; sets the size of random weights.
    gain : float
        Standard deviation of random weights, times ``sqrt(fan_in)``.
    offset : ndarray or None
        Added to random weights.
    values : ndarray or None
        What it is where no file says otherwise, instead of random numbers.
    is_matrix : bool
        Counts as weights of a matrix, a kernel or an embedding.
    """

    shape: tuple[int, ...]
    fan_in: int = 1
    gain: float = 1.0
    offset: np.ndarray | None = None
    values: np.ndarray | None = None
    is_matrix: bool = False

    @property
    def num_elements(self) -> int:
        """Product of the shape."""
        return math.prod(self.shape)


class WeightSource(Protocol):
    """Makes the arrays of a model."""

    def arrays(
        self, tensors: Mapping[str, Tensor], needed: Iterable[str]
    ) -> Mapping[str, np.ndarray]:
        """Arrays of the tensors that are needed, float32, out of all that the model has."""
        ...


def student_t(generator: np.random.Generator, size: int) -> np.ndarray:
    """Draw numbers of Student's t with 6 degrees of freedom: mean 0, variance 1, clipped.

    Parameters
    ----------
    generator : Generator
    size : int

    Returns
    -------
    ndarray of shape (size,), float32
    """
    numbers = np.empty(size, np.float32)
    to_unit = np.float32(math.sqrt((_DEGREES - 2) / _DEGREES) * math.sqrt(_DEGREES / 2))
    for start in range(0, size, _BLOCK):
        block = numbers[start : start + _BLOCK]
        generator.standard_normal(dtype=np.float32, out=block)
        gamma = np.zeros(len(block), np.float32)
        for _ in range(_DEGREES // 2):
            gamma += generator.standard_exponential(len(block), np.float32)
        np.maximum(gamma, np.float32(1e-6), out=gamma)
        block *= to_unit
        block /= np.sqrt(gamma)
        np.clip(block, -_LARGEST, _LARGEST, out=block)
    return numbers


@dataclass(frozen=True)
class RandomWeights:
    """Seeded random weights, as the module says."""

    seed: int = 0

    def arrays(
        self, tensors: Mapping[str, Tensor], needed: Iterable[str]
    ) -> Mapping[str, np.ndarray]:
        """Make each tensor from the seed and its name."""
        return {name: self._array(name, tensors[name]) for name in needed}

    def _array(self, name: str, tensor: Tensor) -> np.ndarray:
        if tensor.values is not None:
            return np.asarray(tensor.values, np.float32)
        digest = hashlib.sha256(name.encode()).digest()
        words = np.frombuffer(digest, "<u4").tolist()
        generator = np.random.default_rng([self.seed, *words])
        array = student_t(generator, tensor.num_elements)
        array *= np.float32(tensor.gain / math.sqrt(tensor.fan_in))
        array = array.reshape(tensor.shape)
        if tensor.offset is not None:
            array += tensor.offset.astype(np.float32)
        return array


@dataclass(frozen=True)
class ArrayWeights:
    """Weights that are there already, such as those of a file.

    Attributes
    ----------
    found : mapping of str to ndarray
    where : str
        What errors name.
    """

    found: Mapping[str, np.ndarray]
    where: str

    def arrays(
        self, tensors: Mapping[str, Tensor], needed: Iterable[str]
    ) -> Mapping[str, np.ndarray]:
        """Take every tensor of the model, and nothing else, as float32.

        Raises
        ------
        InputError
            With each tensor that is missing, that the model does not have, or that has another
            shape, a type that is no float, or numbers that are not finite.
        """
        problems = []
        for name, tensor in tensors.items():
            if name not in self.found:
                wanted = TensorType("float32", tensor.shape)
                problems.append(f"{self.where}: tensor {name!r} is missing, allowed: {wanted}")
            elif sentence := _misfit(self.found[name], tensor):
                problems.append(f"{self.where}: tensor {name!r}: {sentence}")
        problems += [
            f"{self.where}: tensor {name!r} is none of the model's"
            for name in self.found
            if name not in tensors
        ]
        if problems:
            raise InputError("\n".join(problems))
        return {name: np.asarray(self.found[name], np.float32) for name in needed}


def _misfit(array: np.ndarray, tensor: Tensor) -> str:
    found = TensorType(str(array.dtype), array.shape)
    if array.shape != tensor.shape:
        return f"wrong shape, found {found}, allowed: {TensorType('float32', tensor.shape)}"
    if array.dtype.kind != "f":
        return f"wrong type, found {found}, allowed: numbers with a fraction"
    if not np.isfinite(array).all():
        return "holds numbers that are not finite"
    if np.abs(array).max() > np.finfo(np.float32).max:
        return "holds numbers too large for float32"
    return ""
