"""Quantizers, one file each: from float weights to codes and scales.

A quantizer is one module of this package that defines

``PARAMETERS``
    tuple of str, keys of ``weights:`` that it takes beside `quantizer`.
``BITS``
    (least, most) that `bits` may be.
``IS_PALETTE``
    bool, whether its codes are the values of a palette.
``quantize(matrix, rule) -> Quantized``
    Of a finite float32 matrix of shape (N, K), N and K at least 1, and its `ResolvedRule`; a real
    zero becomes code 0.
"""

from __future__ import annotations

import functools
import pkgutil
from types import ModuleType

from azsim.folder import load_folder

__all__ = ["quantizer", "quantizer_names"]

_REQUIRED = ("PARAMETERS", "BITS", "IS_PALETTE", "quantize")


@functools.cache
def quantizer_names() -> tuple[str, ...]:
    """Names of all quantizers, sorted; imports none of them."""
    return tuple(sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name[0] != "_"))


def quantizer(name: str) -> ModuleType:
    """Return a quantizer's module, by one of `quantizer_names`."""
    return load_folder(__name__, _REQUIRED)[name]
