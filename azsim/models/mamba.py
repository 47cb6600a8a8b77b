"""Mamba: a language model of selective state spaces (S6); mamba-130m unless told otherwise.

Frames are tokens, by number in float32; a chunk of one is the step form, a longer one prefill, with
the same bits.  For a layer, with E = expand * d_model channels, N = d_state and r = dt_rank::

    [u, z] = W_in rms_norm(x)
    u = silu(conv(u) + b)                       # causal, a kernel of d_conv a channel
    [d, B, C] = W_x u;  delta = softplus(W_dt d + b_dt);  A = -exp(A_log)
    y = selective_scan(u, delta, A, B, C, D)    # state (E, N), see `azsim.ops.selective_scan`
    x = x + W_out (y * silu(z))

Then a norm and the head, which is the embedding's matrix.  Tensors are called as in
``transformers``' checkpoints.  A token costs the same however many came before it.

Source: Gu and Dao, 2023; github.com/state-spaces/mamba, ``mamba_simple.py``; the sizes are those of
state-spaces/mamba-130m (129,135,360 parameters).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from pydantic import ConfigDict, Field

from azsim.models._dimensions import STRICT, Count, Dimension
from azsim.models._mixer import (
    causal_convolution,
    embedded_tokens,
    inverse_softplus,
    last_row,
    log_uniform,
    negative_exp,
    project,
    rms_norm,
    tied_head,
)
from azsim.models._model import Model
from azsim.models._network import Network
from azsim.models._weights import WeightSource


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """Dimensions of the model."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT
    d_model: Dimension = 768
    """Width of a token between layers."""
    n_layer: Count = 24
    """How many layers."""
    vocab: Annotated[int, Field(ge=1, le=1 << 24)] = 50_280
    """How many tokens there are."""
    d_state: Annotated[int, Field(ge=1, le=1024)] = 16
    """States a channel, N."""
    d_conv: Annotated[int, Field(ge=2, le=64)] = 4
    """Positions of the convolution's kernel."""
    expand: Annotated[int, Field(ge=1, le=16)] = 2
    """Channels over d_model."""
    dt_rank: Dimension | None = None
    """Width of delta before its projection; d_model / 16, rounded up, unless told."""
    last_logits: bool = False
    """Compute the logits of a chunk's last token alone, as prefill needs no others."""

    @property
    def channels(self) -> int:
        """Channels of the recurrence, E."""
        return self.expand * self.d_model

    @property
    def rank(self) -> int:
        """Width of delta before its projection, r."""
        return self.dt_rank or -(-self.d_model // 16)


_EPSILON = 1e-5
_DELTA_RANGE = 1e-3, 1e-1


def find_conflicts(parameters: Parameters, chunk_frames: int) -> Iterator[tuple[str, str]]:
    """Yield what is wrong across parameters."""
    if parameters.rank > parameters.channels:
        found = f"found {parameters.rank}, allowed: 1 to {parameters.channels}, the channels"
        yield "dt_rank", f"a projection that widens, {found}"


def macs_per_token(parameters: Parameters) -> dict[str, int]:
    """Multiply-accumulates of a token: products, convolutions, recurrences, the head."""
    p = parameters
    d, e, n, r = p.d_model, p.channels, p.d_state, p.rank
    return {
        "linear": p.n_layer * (2 * d * e + e * (r + 2 * n) + r * e + e * d),
        "convolution": p.n_layer * p.d_conv * e,
        "scan": p.n_layer * 3 * e * n,
        "head": d * p.vocab,
    }


def build(parameters: Parameters, chunk_frames: int, weights: WeightSource | None = None) -> Model:
    """Build the graph of `chunk_frames` tokens."""
    net, p = Network("mamba"), parameters
    table = "backbone.embeddings.weight"
    x = embedded_tokens(net, table, chunk_frames, p.vocab, p.d_model)
    for layer in range(p.n_layer):
        with net.scope(f"backbone.layers.{layer}"):
            mixed = _mixer(
                net, p, rms_norm(net, "norm", x, p.d_model, _EPSILON), chunk_frames, layer
            )
            x = net.node("Add", x, mixed, name="residual")
    x = rms_norm(net, "backbone.norm_f", x, p.d_model, _EPSILON)
    if p.last_logits:
        x = last_row(net, x, chunk_frames)
    logits = tied_head(net, table, x)
    macs = {name: chunk_frames * count for name, count in macs_per_token(p).items()}
    if p.last_logits:
        macs["head"] //= chunk_frames
    return net.finish({"logits": logits}, weights, macs=macs)


def _mixer(net: Network, p: Parameters, x: str, steps: int, layer: int) -> str:
    """One layer between its norm and its residual."""
    e, n, r = p.channels, p.d_state, p.rank
    with net.scope("mixer"):
        both = project(net, "in_proj", x, p.d_model, 2 * e)
        u, z = net.node("Split", both, outputs=2, axis=1, num_outputs=2, name="split")
        u = causal_convolution(net, "conv1d", u, steps, e, p.d_conv)
        lengths = net.constant([r, n, n], "x_split.lengths")
        selected = project(net, "x_proj", u, e, r + 2 * n)
        d, b, c = net.node("Split", selected, lengths, outputs=3, axis=1, name="x_split")
        start = inverse_softplus(log_uniform(layer, e, *_DELTA_RANGE))
        delta = project(net, "dt_proj", d, r, e, net.parameter("dt_proj.bias", start))
        delta = net.node("Softplus", delta, name="delta")
        logarithms = np.broadcast_to(np.log(np.arange(1, n + 1)), (e, n))
        a = negative_exp(net, "A_log", logarithms)
        skip = net.parameter("D", np.ones(e))
        state = net.state("state", (e, n))
        y, new = net.node("SelectiveScan", u, delta, a, b, c, skip, state, outputs=2, name="scan")
        net.update(state, new)
        gated = net.node("Mul", y, net.node("Swish", z, name="gate"), name="gated")
        return project(net, "out_proj", gated, e, p.d_model)
