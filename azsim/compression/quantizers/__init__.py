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

from types import ModuleType

from azsim.folder import folder_names, load_folder

__all__ = ["quantizer", "quantizer_names"]

_REQUIRED = ("PARAMETERS", "BITS", "IS_PALETTE", "quantize")


def quantizer_names() -> tuple[str, ...]:
    """Names of all quantizers, sorted; imports none of them."""
    return folder_names(__name__)


def quantizer(name: str) -> ModuleType:
    """Return a quantizer's module, by one of `quantizer_names`."""
    return load_folder(__name__, _REQUIRED)[name]
