"""Mamba-2: a language model of state spaces with one decay a head (SSD); mamba2-130m by default.

Frames are tokens, by number in float32.  For a layer with E = expand * d_model = H * P channels in
H heads, G groups of heads and N = d_state::

    [z, x', B, C, d] = W_in rms_norm(x)
    [x', B, C] = silu(conv([x', B, C]) + b)           # causal, a kernel of d_conv a channel
    dt = softplus(d + dt_bias);  A = -exp(A_log)      # one a head
    S_h = exp(dt_h A_h) S_h + B (dt_h x'_h)^T         # state (N, P) a head
    y_h = S_h^T C + D_h x'_h
    x = x + W_out rms_norm(y * silu(z))               # every group's channels alone

Then a norm and the head, which is the embedding's matrix.  Tensors are called as in
``transformers``' checkpoints.

`form` says how a chunk is computed.  ``step``: one token after the other, on the vector engine, in
float32 (`azsim.ops.linear_attention`).  ``chunked``: by matrix products over `chunk_length` tokens
at a time, whose factors are quantized like all factors of the MAC array; without compression it is
the same function, with its sums in another order.

Source: Dao and Gu, 2024; github.com/state-spaces/mamba, ``mamba2_simple.py``, ``ssd_minimal.py``;
the sizes are those of state-spaces/mamba2-130m (128,989,632 parameters).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import ConfigDict, Field

from azsim.models._dimensions import STRICT, Count, Dimension
from azsim.models._dual import chunked_scan
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
    """Dimensions of the model, and how a chunk is computed."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT
    d_model: Dimension = 768
    """Width of a token between layers."""
    n_layer: Count = 24
    """How many layers."""
    vocab: Annotated[int, Field(ge=1, le=1 << 24)] = 50_288
    """How many tokens there are."""
    d_state: Annotated[int, Field(ge=1, le=1024)] = 128
    """States a channel, N."""
    head_dim: Annotated[int, Field(ge=1, le=4096)] = 64
    """Channels of a head, P."""
    n_groups: Count = 1
    """Groups of heads that share B and C, G."""
    d_conv: Annotated[int, Field(ge=2, le=64)] = 4
    """Positions of the convolution's kernel."""
    expand: Annotated[int, Field(ge=1, le=16)] = 2
    """Channels over d_model."""
    form: Literal["step", "chunked"] = "step"
    """How a chunk is computed."""
    chunk_length: Dimension | None = None
    """Tokens at a time in the chunked form; all of stream.chunk_frames unless told."""
    last_logits: bool = False
    """Compute the logits of a chunk's last token alone, as prefill needs no others."""

    @property
    def channels(self) -> int:
        """Channels of the recurrence, E."""
        return self.expand * self.d_model

    @property
    def heads(self) -> int:
        """Heads, H."""
        return self.channels // self.head_dim

    @property
    def convolved(self) -> int:
        """Channels of the convolution: x', B and C."""
        return self.channels + 2 * self.n_groups * self.d_state


_EPSILON = 1e-5
_DELTA_RANGE = 1e-3, 1e-1
_DECAY_RANGE = 1, 16


def find_conflicts(parameters: Parameters, chunk_frames: int) -> Iterator[tuple[str, str]]:
    """Yield what is wrong across parameters."""
    p = parameters
    if p.channels % p.head_dim:
        found = f"found {p.head_dim}, allowed: a divisor of {p.channels}, the channels"
        yield "head_dim", f"heads of unequal size, {found}"
    elif p.heads % p.n_groups:
        found = f"found {p.n_groups}, allowed: a divisor of {p.heads}, the heads"
        yield "n_groups", f"groups of unequal size, {found}"
    if p.chunk_length is not None and p.form != "chunked":
        yield "chunk_length", "only for the chunked form, found form: step"
    elif p.chunk_length is not None and chunk_frames % p.chunk_length:
        found = f"found {p.chunk_length}, allowed: a divisor of {chunk_frames}, stream.chunk_frames"
        yield "chunk_length", f"chunks of unequal length, {found}"


def macs_per_token(parameters: Parameters) -> dict[str, int]:
    """Multiply-accumulates of a token in the step form; the chunked one has others for `scan`."""
    p = parameters
    inputs = 2 * p.channels + 2 * p.n_groups * p.d_state + p.heads
    return {
        "linear": p.n_layer * (inputs * p.d_model + p.channels * p.d_model),
        "convolution": p.n_layer * p.d_conv * p.convolved,
        "scan": p.n_layer * 3 * p.channels * p.d_state,
        "head": p.d_model * p.vocab,
    }


def build(parameters: Parameters, chunk_frames: int, weights: WeightSource | None = None) -> Model:
    """Build the graph of `chunk_frames` tokens."""
    net, p = Network("mamba2"), parameters
    table = "backbone.embeddings.weight"
    x = embedded_tokens(net, table, chunk_frames, p.vocab, p.d_model)
    for layer in range(p.n_layer):
        with net.scope(f"backbone.layers.{layer}"):
            normed = rms_norm(net, "norm", x, p.d_model, _EPSILON)
            x = net.node("Add", x, _mixer(net, p, normed, chunk_frames, layer), name="residual")
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
    shared = p.n_groups * p.d_state
    with net.scope("mixer"):
        lengths = net.constant([p.channels, p.convolved, p.heads], "split.lengths")
        both = project(net, "in_proj", x, p.d_model, p.channels + p.convolved + p.heads)
        z, mixed, d = net.node("Split", both, lengths, outputs=3, axis=1, name="split")
        mixed = causal_convolution(net, "conv1d", mixed, steps, p.convolved, p.d_conv)
        lengths = net.constant([p.channels, shared, shared], "conv_split.lengths")
        u, b, c = net.node("Split", mixed, lengths, outputs=3, axis=1, name="conv_split")
        start = inverse_softplus(log_uniform(layer, p.heads, *_DELTA_RANGE))
        d = net.node("Add", d, net.parameter("dt_bias", start), name="delta_sum")
        delta = net.node("Softplus", d, name="delta")
        rates = np.random.default_rng(layer).uniform(*_DECAY_RANGE, p.heads)
        a = negative_exp(net, "A_log", np.log(rates))
        decay = net.node("Mul", delta, a, name="decay")
        by_head = net.reshape(u, (steps, p.heads, p.head_dim), "heads")
        widths = net.reshape(delta, (steps, p.heads, 1), "delta_heads")
        values = net.node("Mul", by_head, widths, name="values")
        scan = chunked_scan if p.form == "chunked" else _step_scan
        y = scan(net, p, steps, c, b, values, decay)
        skip = net.reshape(net.parameter("D", np.ones(p.heads)), (p.heads, 1), "skip_column")
        y = net.node("Add", y, net.node("Mul", by_head, skip, name="skip"), name="skipped")
        y = net.reshape(y, (steps, p.channels), "channels")
        gated = net.node("Mul", y, net.node("Swish", z, name="gate"), name="gated")
        gated = _grouped_norm(net, p, steps, gated)
        return project(net, "out_proj", gated, p.channels, p.d_model)


def _grouped_norm(net: Network, p: Parameters, steps: int, rows: str) -> str:
    """Channels of a group over their root mean square, times a gain."""
    if p.n_groups == 1:
        return rms_norm(net, "norm", rows, p.channels, _EPSILON)
    width = p.channels // p.n_groups
    gain = net.parameter("norm.weight", np.ones(p.channels))
    rows = net.reshape(rows, (steps * p.n_groups, width), "norm.groups")
    ones = net.constant(np.ones(width, np.float32), "norm.ones")
    options = {"axis": -1, "epsilon": _EPSILON}
    rows = net.node("RMSNormalization", rows, ones, name="norm", **options)
    rows = net.reshape(rows, (steps, p.channels), "norm.channels")
    return net.node("Mul", rows, gain, name="norm.scaled")


def _step_scan(
    net: Network, p: Parameters, steps: int, c: str, b: str, values: str, decay: str
) -> str:
    """Token after token: (steps, H, P) from C, B (steps, G N), values and decays."""
    past = net.state("state", (1, p.heads, p.d_state, p.head_dim))
    operands = [
        net.reshape(_for_every_head(net, p, steps, c, "queries"), (1, steps, -1), "query"),
        net.reshape(_for_every_head(net, p, steps, b, "keys"), (1, steps, -1), "key"),
        net.reshape(values, (1, steps, p.channels), "value"),
        past,
        net.reshape(decay, (1, steps, p.heads), "decays"),
    ]
    heads = {"q_num_heads": p.heads, "kv_num_heads": p.heads}
    y, present = net.node(
        "LinearAttention",
        *operands,
        outputs=2,
        name="scan",
        update_rule="gated",
        scale=1.0,
        **heads,
    )
    net.update(past, present)
    return net.reshape(y, (steps, p.heads, p.head_dim), "scanned")


def _for_every_head(net: Network, p: Parameters, steps: int, rows: str, name: str) -> str:
    """(steps, G, H / G, N) from (steps, G N)."""
    each = p.heads // p.n_groups
    grouped = net.reshape(rows, (steps, p.n_groups, 1, p.d_state), f"{name}.group")
    shape = net.constant([steps, p.n_groups, each, p.d_state], f"{name}.shape")
    return net.node("Expand", grouped, shape, name=name)
