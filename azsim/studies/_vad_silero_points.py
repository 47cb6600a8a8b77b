"""What the study vad_silero runs: every scheme by its key."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "ALONE",
    "ALONE_CHANGES",
    "BITS",
    "CHIPS",
    "CHIP_CODEC",
    "CODECS",
    "GRID",
    "MATRICES",
    "MIXED",
    "OTHERS",
    "SPARSITIES",
    "Scheme",
    "codecs_of",
    "grid_key",
    "percent",
    "scheme",
]

BITS = (8, 6, 5, 4, 3, 2)
SPARSITIES = (0.0, 0.25, 0.5, 0.75)
CHIPS = ("az1", "az1_lite", "az2", "dense_npu")
CODECS = {
    "raw": "raw",
    "bitmap": "bitmap",
    "bitmap+palette": "{name: bitmap, palette: true}",
    "zero_run": "zero_run",
}
"""What an override says, by the name in the tables."""

MATRICES = {
    "stft.forward_basis_buffer": "short-time Fourier transform",
    "encoder.0.weight": "convolution 1",
    "encoder.1.weight": "convolution 2",
    "encoder.2.weight": "convolution 3",
    "encoder.3.weight": "convolution 4",
    "onnx::LSTM_209": "LSTM, input half",
    "onnx::LSTM_210": "LSTM, recurrent half",
    "output.weight": "output",
}


@dataclass(frozen=True)
class Scheme:
    """One way to compress the model.

    Attributes
    ----------
    key : str
        In the names of figures.
    label : str
        In tables.
    overrides : tuple of str
        Of the workload.
    """

    key: str
    label: str
    overrides: tuple[str, ...]


def scheme(bits: int, sparsity: float, activation_bits: int = 16, scope: str = "tensor") -> Scheme:
    """Return the scheme that treats every matrix alike, scales per channel."""
    words = [f"w{bits}", f"s{round(100 * sparsity)}", f"a{activation_bits}"]
    return Scheme(
        key="_".join(words + (["global"] if scope == "global" else [])),
        label=f"weights {bits} bit, activations {activation_bits} bit, "
        f"{round(100 * sparsity)} % pruned" + (" (one pool)" if scope == "global" else ""),
        overrides=(
            f"compression.default.weights={{bits: {bits}, scale: per_channel}}",
            f"compression.default.activations={{bits: {activation_bits}, scale: dynamic}}",
            f"compression.default.prune={{sparsity: {sparsity}, scope: {scope}}}",
        ),
    )


def codecs_of(chip: str) -> tuple[str, ...]:
    """Codecs to run on a chip: dense_npu decodes none, so its image always holds raw."""
    return ("raw",) if chip == "dense_npu" else tuple(CODECS)


CHIP_CODEC = {chip: "bitmap" if "bitmap" in codecs_of(chip) else "raw" for chip in CHIPS}
"""The codec of the tables that show one."""


def grid_key(bits: int, sparsity: float) -> str:
    """Return the part of a figure's name that says weight bits and sparsity."""
    return f"w{bits}_s{round(100 * sparsity)}"


def percent(share: float) -> str:
    """Return a share as text."""
    return f"{round(100 * share)} %"


def _grouped(bits: int, group_size: int, sparsity: float) -> Scheme:
    plain = scheme(bits, sparsity)
    weights = f"{{bits: {bits}, scale: per_group, group_size: {group_size}}}"
    return Scheme(
        key=f"w{bits}_s{round(100 * sparsity)}_a16_group{group_size}",
        label=f"weights {bits} bit with a scale per {group_size} weights, "
        f"{round(100 * sparsity)} % pruned",
        overrides=(f"compression.default.weights={weights}", *plain.overrides[1:]),
    )


def _with_rule(key: str, label: str, match: str, change: str) -> Scheme:
    rule = f'compression.rules=[{{match: "{match}", {change}}}]'
    return Scheme(key, label, (*scheme(8, 0.0).overrides, rule))


def _per_tensor(bits: int) -> Scheme:
    plain = scheme(bits, 0.0)
    return Scheme(
        key=f"w{bits}_s0_a16_per_tensor",
        label=f"weights {bits} bit with one scale per tensor, 0 % pruned",
        overrides=(
            f"compression.default.weights={{bits: {bits}, scale: per_tensor}}",
            *plain.overrides[1:],
        ),
    )


GRID = {(bits, sparsity): scheme(bits, sparsity) for bits in BITS for sparsity in SPARSITIES}

OTHERS = (
    scheme(8, 0.0, activation_bits=8),
    scheme(8, 0.5, activation_bits=8),
    *(scheme(8, sparsity, scope="global") for sparsity in (0.25, 0.5)),
    _per_tensor(8),
    *(_grouped(4, size, 0.0) for size in (16, 32, 64)),
    _grouped(4, 32, 0.25),
    _grouped(4, 32, 0.5),
    _grouped(3, 32, 0.0),
)

MIXED = (
    _with_rule(
        "mixed_convolutions50",
        "8 bit; the four convolutions 50 % pruned, the rest 0 %",
        "encoder.*",
        "prune: {sparsity: 0.5}",
    ),
    _with_rule(
        "mixed_lstm4",
        "8 bit, the LSTM 4 bit with a scale per 32 weights, 0 % pruned",
        "onnx::LSTM_*",
        "weights: {bits: 4, scale: per_group, group_size: 32}",
    ),
)

ALONE_CHANGES = {
    "prune50": "prune: {sparsity: 0.5}",
    "w4": "weights: {bits: 4}",
    "a8": "activations: {bits: 8}",
    "per_tensor": "weights: {scale: per_tensor}",
}

ALONE = {
    (matrix, change): _with_rule(f"alone_{change}.{matrix}", "", matrix, text)
    for matrix in MATRICES
    for change, text in ALONE_CHANGES.items()
}
