"""The code matrices of the study codec_study: trained, synthetic, and those of reference."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from azsim.compression.compress import compress
from azsim.compression.scheme import ResolvedRule
from azsim.errors import InputError
from azsim.frontend.workload import load_workload
from azsim.frontend.workload_inputs import onnx_path
from azsim.inputs.fetch import fetch
from azsim.inputs.tensors import read_safetensors
from azsim.ops.build import weight_matrices
from azsim.stages.model import load_graph
from azsim.survey.tensors import CodeMatrix

__all__ = [
    "BITS",
    "DISTRIBUTIONS",
    "LEAST_WEIGHTS",
    "REFERENCE",
    "SCHEMES",
    "SHARES",
    "STRUCTURES",
    "Published",
    "Wanted",
    "read_files",
    "reference_sets",
    "silero_sets",
    "silero_tensors",
    "synthetic_sets",
]

LEAST_WEIGHTS = 4096
BITS = (8, 6, 4, 3, 2)
SHARES = (0.0, 0.5, 0.75)

SCHEMES: Mapping[str, tuple[str, ResolvedRule]] = {
    "b8": ("8 bit", ResolvedRule(weight_bits=8)),
    "b4": ("4 bit", ResolvedRule(weight_bits=4)),
    "b4c": ("4 bit, clipped", ResolvedRule(weight_bits=4, quantizer="uniform_mse")),
}
"""How trained tensors are quantized, by key: text and rule."""

STRUCTURES: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "s0": ("0 %", {}),
    "s50": ("50 %", {"sparsity": 0.5}),
    "s75": ("75 %", {"sparsity": 0.75}),
    "s90": ("90 %", {"sparsity": 0.9}),
    "2of4": ("2:4", {"prune_method": "n_m", "n": 2, "m": 4}),
    "blk16s75": ("75 %, 1x16", {"prune_method": "block", "sparsity": 0.75, "block": (1, 16)}),
}
"""What synthetic weights are pruned to, by key: text and keys of a rule."""

DISTRIBUTIONS: Mapping[str, tuple[str, Callable[..., np.ndarray]]] = {
    "laplace": ("Laplace", lambda rng, shape: rng.laplace(size=shape)),
    "gauss": ("Gauss", lambda rng, shape: rng.normal(size=shape)),
    "student": ("Student-t, 4 degrees", lambda rng, shape: rng.standard_t(4, size=shape)),
}
_SYNTHETIC_SHAPE = 512, 512

Wanted = Callable[[str], bool]
"""Whether a set of that name is asked for."""


@dataclass(frozen=True)
class Published:
    """What was published of a reference matrix.

    Attributes
    ----------
    source, bits, structure : str, int, str
        Recipe.
    prototype_bits : float
        Bits per weight of the prototype of `lane_tans`.
    sha256 : str
        First 16 digits, of the codes in C order.
    """

    source: str
    bits: int
    structure: str
    prototype_bits: float
    sha256: str


REFERENCE: Mapping[str, Published] = {
    "silero.lstm.b8.s0": Published("lstm", 8, "s0", 7.005, "bcaa61b5d77c9159"),
    "silero.lstm.b8.s50": Published("lstm", 8, "s50", 4.484, "125629c8e89269d7"),
    "silero.lstm.b8.s75": Published("lstm", 8, "s75", 2.568, "6de45330bbaf3657"),
    "silero.lstm.b4.s0": Published("lstm", 4, "s0", 3.165, "e52116f976af6fad"),
    "silero.lstm.b4.s50": Published("lstm", 4, "s50", 2.556, "6daca946f2eb56d2"),
    "silero.lstm.b4.s75": Published("lstm", 4, "s75", 1.565, "c3160cd2d52bdd7e"),
    "silero.lstm.b4.2of4": Published("lstm", 4, "2of4", 2.289, "3a5b593eb5dd3f33"),
    "silero.lstm.b8.2of4": Published("lstm", 8, "2of4", 4.289, "69edf2c48fd5e311"),
    "silero.lstm.b4.blk16s75": Published("lstm", 4, "blk16s75", 0.909, "f7252d68558ac5f2"),
    "lap.b8.s75": Published("laplace", 8, "s75", 2.500, "d35a50accd753faf"),
    "lap.b4.s90": Published("laplace", 4, "s90", 0.769, "e8dca738122c7e1b"),
    "lap.b2.s90": Published("laplace", 2, "s90", 0.586, "82c20418e8eed966"),
    "lap.b4.blk16s75": Published("laplace", 4, "blk16s75", 0.822, "1906498600f6d2fc"),
    "lap.b4.2of4": Published("laplace", 4, "2of4", 2.259, "3b8fa64ec33ebfe7"),
}
"""The matrices that published figures are of, by name."""

_SAFETENSORS = "pypi:silero-vad==6.2.3#silero_vad/data/silero_vad_16k.safetensors"
_SAFETENSORS_SHA256 = "c59271c284ae9c8335d795d60e0bfdb71aaaceec578d9bd9ffc1b8153c319ea1"
_LAPLACE_SEED, _LAPLACE_SHAPE = 2026, (1024, 1024)
_CLIP_FACTORS = np.linspace(0.2, 1.0, 33)


def silero_tensors() -> dict[str, np.ndarray]:
    """Weight matrices of Silero VAD with at least `LEAST_WEIGHTS` weights, float32."""
    matrices = weight_matrices(load_graph(load_workload("vad_silero")))
    return {name: array for name, array in matrices.items() if array.size >= LEAST_WEIGHTS}


def silero_sets(wanted: Wanted) -> Iterator[CodeMatrix]:
    """Yield every large tensor of Silero VAD under every scheme and share of zeros.

    The name is ``silero.TENSOR.SCHEME.sPERCENT``; only wanted ones are made.
    """
    for name, matrix in silero_tensors().items():
        for key, (_, rule) in SCHEMES.items():
            for share in SHARES:
                changed = ResolvedRule(
                    weight_bits=rule.weight_bits, quantizer=rule.quantizer, sparsity=share
                )
                full_name = f"silero.{name}.{key}.s{round(100 * share)}"
                if wanted(full_name):
                    yield _compressed(full_name, matrix, changed)


def synthetic_sets(wanted: Wanted) -> Iterator[CodeMatrix]:
    """Yield seeded weights under every width and structure: ``DISTRIBUTION.bBITS.STRUCTURE``."""
    for seed, (distribution, (_, draw)) in enumerate(DISTRIBUTIONS.items()):
        matrix = draw(np.random.default_rng(seed), _SYNTHETIC_SHAPE).astype(np.float32)
        for bits in BITS:
            method = "uniform" if bits == 8 else "uniform_mse"
            for structure, (_, settings) in STRUCTURES.items():
                rule = ResolvedRule(weight_bits=bits, quantizer=method, **settings)
                name = f"{distribution}.b{bits}.{structure}"
                if wanted(name):
                    yield _compressed(name, matrix, rule)


def _compressed(name: str, matrix: np.ndarray, rule: ResolvedRule) -> CodeMatrix:
    (weight,) = compress({name: matrix}, {name: rule}).values()
    return CodeMatrix(name, weight.codes, weight.bits)


def read_files() -> dict[str, str]:
    """Return the sha256 of the files that the study reads."""
    path = onnx_path(load_workload("vad_silero"))
    assert path is not None
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest(),
        _SAFETENSORS.rpartition("/")[2]: _SAFETENSORS_SHA256,
    }


# ----------------------------------------------------------------------------- reference


def reference_sets(wanted: Wanted) -> Iterator[CodeMatrix]:
    """Yield the matrices of `REFERENCE`, made anew by their recipe and checked.

    The recipe is written out in float64 here, apart from the compression stage: weights up to
    the quantile of the magnitudes become zero (2:4: the two largest of four stay; 1x16: blocks
    by energy); then 8 bits from the largest magnitude of each row, or fewer bits with the clip of
    least squared error out of 33 factors; rounding to even.

    Raises
    ------
    InputError
        If codes have another hash than the published ones.
    """
    sources = {
        "lstm": _lstm(),
        "laplace": np.random.default_rng(_LAPLACE_SEED).laplace(size=_LAPLACE_SHAPE),
    }
    for name, published in REFERENCE.items():
        if not wanted(name):
            continue
        pruned = _pruned(sources[published.source], published.structure)
        codes = _rounded(pruned, published.bits)
        found = hashlib.sha256(codes.tobytes()).hexdigest()[:16]
        if found != published.sha256:
            raise InputError(
                f"{name}: codes have the sha256 {found}..., expected {published.sha256}..."
            )
        yield CodeMatrix(name, codes, published.bits)


def _lstm() -> np.ndarray:
    """Input and recurrent weights side by side: (512, 256) float64."""
    tensors = read_safetensors(fetch(_SAFETENSORS, Path(), _SAFETENSORS_SHA256))
    parts = [tensors["lstm_cell.weight_ih"], tensors["lstm_cell.weight_hh"]]
    return np.concatenate(parts, axis=1).astype(np.float64)


def _pruned(matrix: np.ndarray, structure: str) -> np.ndarray:
    settings = STRUCTURES[structure][1]
    method, share = settings.get("prune_method"), settings.get("sparsity", 0.0)
    if method == "n_m":
        groups = np.abs(matrix).reshape(len(matrix), -1, settings["m"])
        order = np.argsort(-groups, axis=2, kind="stable")
        place = np.argsort(order, axis=2, kind="stable").reshape(matrix.shape)
        return np.where(place < settings["n"], matrix, 0.0)
    if method == "block":
        width = settings["block"][1]
        energy = (matrix**2).reshape(len(matrix), -1, width).sum(axis=2)
        goes = np.repeat(energy <= np.quantile(energy, share), width, axis=1)
        return np.where(goes, 0.0, matrix)
    goes = np.abs(matrix) <= np.quantile(np.abs(matrix), share) if share else matrix == 0
    return np.where(goes, 0.0, matrix)


def _rounded(matrix: np.ndarray, bits: int) -> np.ndarray:
    limit = 2 ** (bits - 1) - 1
    largest = np.abs(matrix).max(axis=1, keepdims=True)
    largest[largest == 0] = 1
    if bits == 8:
        return np.rint(matrix / (largest / limit)).astype(np.int8)
    codes, least = np.zeros(matrix.shape, np.int8), np.full(len(matrix), np.inf)
    for factor in _CLIP_FACTORS:
        step = largest * factor / limit
        rounded = np.clip(np.rint(matrix / step), -limit, limit)
        error = ((rounded * step - matrix) ** 2).sum(axis=1)
        better = error < least
        codes[better], least[better] = rounded[better], error[better]
    return codes
