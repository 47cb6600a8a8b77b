"""S4D: layers of diagonal, time-invariant state spaces, for frames of features.

For a layer with d_model channels and N = d_state (complex states in N / 2 conjugate pairs)::

    v = layer_norm(x)
    s = Abar s + Bbar v;  y = 2 Re(C s) + D v        # every channel alone, see `DiagonalScan`
    [p, q] = W gelu(y) + b
    x = x + p * sigmoid(q)

between a projection of the features and one to the outputs.  With A = -exp(log_A_real) + i A_imag
and dt = exp(log_dt), `discretization` is ``zoh``: Abar = exp(dt A), Bbar = (Abar - 1) / A, or
``bilinear``: Abar = (1 + dt A / 2) / (1 - dt A / 2), Bbar = dt / (1 - dt A / 2).  Both are
constants, computed in float64.  A starts as S4D-Lin, -1/2 + i pi n.

Source: Gu, Gupta, Goel, Ré, 2022; github.com/state-spaces/s4, ``models/s4/s4d.py``, whose names of
tensors are used.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import ConfigDict, Field

from azsim.models._dimensions import STRICT, Count, Dimension, Seconds
from azsim.models._mixer import log_uniform, project
from azsim.models._model import Model
from azsim.models._network import Network
from azsim.models._weights import WeightSource


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """Dimensions of the model."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT
    d_input: Dimension = 80
    """Features of a frame."""
    d_output: Dimension = 36
    """Outputs of a frame."""
    d_model: Dimension = 128
    """Channels between layers."""
    n_layer: Count = 4
    """How many layers."""
    d_state: Annotated[int, Field(ge=2, le=1024, multiple_of=2)] = 64
    """N: real numbers of a channel's state."""
    discretization: Literal["zoh", "bilinear"] = "zoh"
    """How A and B become those of a step."""
    frame_s: Seconds | None = 0.01
    """Time from one frame to the next."""


_EPSILON = 1e-5
_DELTA_RANGE = 1e-3, 1e-1


def macs_per_frame(parameters: Parameters) -> dict[str, int]:
    """Multiply-accumulates of a frame; those of a recurrence are real ones, 8 a conjugate pair."""
    p = parameters
    linear = p.d_input * p.d_model + p.d_model * p.d_output
    return {
        "linear": linear + p.n_layer * 2 * p.d_model**2,
        "scan": p.n_layer * 8 * p.d_model * (p.d_state // 2),
    }


def build(parameters: Parameters, chunk_frames: int, weights: WeightSource | None = None) -> Model:
    """Build the graph of `chunk_frames` frames."""
    net, p = Network("s4d"), parameters
    features = net.input("features", (chunk_frames, p.d_input), time_axis=0)
    bias = net.bias("encoder.bias", (p.d_model,), p.d_input)
    x = project(net, "encoder", features, p.d_input, p.d_model, bias)
    for layer in range(p.n_layer):
        with net.scope(f"layers.{layer}"):
            x = net.node("Add", x, _layer(net, p, x, layer), name="residual")
    bias = net.bias("decoder.bias", (p.d_output,), p.d_model)
    y = project(net, "decoder", x, p.d_model, p.d_output, bias)
    macs = {name: chunk_frames * count for name, count in macs_per_frame(p).items()}
    period_s = None if p.frame_s is None else chunk_frames * p.frame_s
    return net.finish({"outputs": y}, weights, chunk_period_s=period_s, macs=macs)


def _layer(net: Network, p: Parameters, x: str, layer: int) -> str:
    d = p.d_model
    gain, offset = net.parameter("norm.weight", np.ones(d)), net.parameter("norm.bias", np.zeros(d))
    v = net.node("LayerNormalization", x, gain, offset, axis=-1, epsilon=_EPSILON, name="norm")
    a, b, c = _discrete(net, p, layer)
    past = net.state("state", (d, p.d_state))
    skip = net.parameter("D", np.ones(d))
    y, present = net.node("DiagonalScan", v, a, b, c, skip, past, outputs=2, name="scan")
    net.update(past, present)
    y = net.node("Gelu", y, name="gelu")
    both = project(net, "output_linear", y, d, 2 * d, net.bias("output_linear.bias", (2 * d,), d))
    left, right = net.node("Split", both, outputs=2, axis=1, num_outputs=2, name="split")
    return net.node("Mul", left, net.node("Sigmoid", right, name="sigmoid"), name="glu")


def _discrete(net: Network, p: Parameters, layer: int) -> Iterator[str]:
    """A, B and C of a step, as rows of real and of imaginary parts (d_model, N)."""
    d, pairs = p.d_model, p.d_state // 2
    with net.scope("kernel"):
        log_dt = net.parameter("log_dt", np.log(log_uniform(layer, d, *_DELTA_RANGE)))
        c = net.bias("C", (d, pairs, 2), 2)
        real = net.parameter("log_A_real", np.full((d, pairs), np.log(0.5)))
        imaginary = net.parameter("A_imag", np.tile(np.pi * np.arange(pairs), (d, 1)))

        def matrices(
            log_dt: np.ndarray, real: np.ndarray, imag: np.ndarray
        ) -> tuple[np.ndarray, np.ndarray]:
            return discretized(log_dt, real, imag, p.discretization)

        yield net.derived("A", lambda *found: _row(matrices(*found)[0]), log_dt, real, imaginary)
        yield net.derived("B", lambda *found: _row(matrices(*found)[1]), log_dt, real, imaginary)
        yield net.derived("2C", lambda c: _row(2 * (c[..., 0] - 1j * c[..., 1])), c)


def discretized(
    log_dt: np.ndarray, log_real: np.ndarray, imaginary: np.ndarray, method: str
) -> tuple[np.ndarray, np.ndarray]:
    """Complex Abar and Bbar (d_model, N / 2) of one step, in float64.

    Parameters
    ----------
    log_dt : ndarray of shape (d_model,)
    log_real, imaginary : ndarray of shape (d_model, N / 2)
        A is ``-exp(log_real) + 1j * imaginary``.
    method : str
        ``zoh`` or ``bilinear``.
    """
    a = -np.exp(log_real.astype(np.float64)) + 1j * imaginary
    dt = np.exp(log_dt.astype(np.float64))[:, None]
    if method == "zoh":
        step = np.exp(dt * a)
        return step, (step - 1) / a
    half = dt * a / 2
    return (1 + half) / (1 - half), dt / (1 - half)


def _row(values: np.ndarray) -> np.ndarray:
    return np.concatenate([np.real(values), np.imag(values)], axis=1)
