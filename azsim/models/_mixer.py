"""What models of state-space layers share: tokens in, logits out, projections, convolutions."""

from __future__ import annotations

import numpy as np

from azsim.models._network import Network

__all__ = [
    "causal_convolution",
    "embedded_tokens",
    "inverse_softplus",
    "last_row",
    "log_uniform",
    "negative_exp",
    "project",
    "rms_norm",
    "tied_head",
]

_INT32 = 6  # ONNX's number of the type


def embedded_tokens(net: Network, name: str, steps: int, vocab: int, width: int) -> str:
    """Rows of a table (vocab, width), float32 in DRAM, for `steps` numbers of tokens.

    The numbers arrive as float32, which holds all below 2**24, in the input ``tokens`` (steps,).
    """
    tokens = net.input("tokens", (steps,), time_axis=0, below=vocab)
    numbers = net.node("Cast", tokens, to=_INT32, name="token_numbers")
    table = net.weight(name, (vocab, width), width)
    return net.node("Gather", table, numbers, axis=0, name="embed")


def tied_head(net: Network, table: str, rows: str) -> str:
    """Logits (steps, vocab): rows times the embedding's table, which is stored a second time.

    The chip looks rows up in a float32 table and multiplies by the compressed matrix, so that DRAM
    holds the numbers in both forms; as parameters they count once.
    """
    matrix = net.derived("lm_head.weight", lambda array: array, table)
    return net.node("Gemm", rows, matrix, transB=1, name="lm_head")


def last_row(net: Network, rows: str, steps: int) -> str:
    """Last of (steps, width), as (1, width)."""
    bounds = (net.constant([value], "last.bound") for value in (steps - 1, steps, 0))
    return net.node("Slice", rows, *bounds, name="last")


def project(
    net: Network, name: str, rows: str, num_inputs: int, num_outputs: int, bias: str = ""
) -> str:
    """``rows W^T + bias`` with W called ``name.weight``, as PyTorch calls it."""
    weight = net.weight(f"{name}.weight", (num_outputs, num_inputs), num_inputs)
    operands = (rows, weight, bias) if bias else (rows, weight)
    return net.node("Gemm", *operands, transB=1, name=name)


def rms_norm(net: Network, name: str, rows: str, width: int, epsilon: float) -> str:
    """Rows over their root mean square, times a gain that starts at 1."""
    gain = net.parameter(f"{name}.weight", np.ones(width))
    return net.node("RMSNormalization", rows, gain, axis=-1, epsilon=epsilon, name=name)


def causal_convolution(
    net: Network, name: str, rows: str, steps: int, channels: int, kernel: int
) -> str:
    """SiLU of a causal depthwise convolution over (steps, channels), with its state carried."""
    data = net.node("Transpose", rows, perm=(1, 0), name=f"{name}.channels")
    data = net.reshape(data, (1, channels, steps), f"{name}.batch")
    weight = net.weight(f"{name}.weight", (channels, 1, kernel), kernel)
    bias = net.bias(f"{name}.bias", (channels,), kernel)
    past = net.state(f"{name}.state", (1, channels, kernel - 1))
    result, present = net.node(
        "CausalConvWithState", data, weight, bias, past, outputs=2, name=name, activation="silu"
    )
    net.update(past, present)
    result = net.reshape(result, (channels, steps), f"{name}.channels")
    return net.node("Transpose", result, perm=(1, 0), name=f"{name}.rows")


def log_uniform(layer: int, size: int, least: float, most: float) -> np.ndarray:
    """Draw numbers whose logarithms are uniform, from a generator of the layer's number."""
    uniform = np.random.default_rng(layer).random(size)
    return np.exp(uniform * np.log(most / least)) * least


def negative_exp(net: Network, name: str, values: np.ndarray) -> str:
    """A = -exp(values), negative whatever is trained; the parameter is called `name`."""
    return net.derived(
        "A", lambda array: -np.exp(array.astype(np.float64)), net.parameter(name, values)
    )


def inverse_softplus(values: np.ndarray) -> np.ndarray:
    """Numbers x with ``log(1 + exp(x)) = values``."""
    return values + np.log(-np.expm1(-values))
