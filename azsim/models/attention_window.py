"""Layers of causal attention over a sliding window, with a ring of keys and values.

Each layer is ``x + W_o attend(RMSNorm(x))``, and with `feed_forward` also ``x + W_2 (swish(W_1 h) *
W_3 h)`` of the next norm h.  Groups of query heads share keys and values; queries and keys are
turned by their positions (rotary embedding).  A frame is a token; a chunk of several is a prefill,
with the same bits as one token after another if `cache_length` is the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from pydantic import ConfigDict, Field

from azsim.models._attention import Attention, Cache, Ring, new_ring, ring_conflicts, rotary_tables
from azsim.models._dimensions import STRICT, Count, Dimension, Epsilon
from azsim.models._model import Model
from azsim.models._network import Network
from azsim.models._weights import WeightSource


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """Dimensions; those of an edge layer are the defaults."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT
    d_model: Dimension = 256
    """Columns of a token."""
    layers: Count = 4
    heads: Count = 4
    """Query heads."""
    kv_heads: Count = 2
    """Heads of keys and values; each serves heads / kv_heads query heads."""
    head_size: Dimension = 64
    window: Dimension = 64
    """Tokens that each one attends to, itself among them."""
    cache: Cache = "int8"
    """What the ring holds: codes with a scale for each token and head, or the values."""
    cache_length: Annotated[int, Field(ge=0, le=1 << 16)] = 0
    """Tokens that the ring holds; 0: as few as window and chunks need."""
    feed_forward: Annotated[int, Field(ge=0, le=1 << 20)] = 0
    """Columns of the gated layer behind attention; 0: there is none."""
    rotary_base: Annotated[float, Field(gt=1)] = 10_000.0
    max_positions: Annotated[int, Field(ge=1, le=1 << 16)] = 4096
    """Most tokens of a stream: rows of the tables of cosines and sines."""
    epsilon: Epsilon = 1e-5
    """Of the norms."""


def find_conflicts(parameters: Parameters, chunk_frames: int) -> Iterator[tuple[str, str]]:
    """Yield what does not fit together."""
    p = parameters
    if p.heads % p.kv_heads:
        yield "kv_heads", f"found {p.kv_heads}, allowed: a divisor of the {p.heads} heads"
    if p.head_size % 2:
        yield "head_size", f"found {p.head_size}, allowed: an even number, as pairs are turned"
    yield from ring_conflicts(p.cache_length, p.window, chunk_frames)
    if chunk_frames > p.max_positions:
        yield (
            "max_positions",
            f"found {p.max_positions}, allowed: at least the {chunk_frames} tokens of a chunk",
        )


def build(parameters: Parameters, chunk_frames: int, weights: WeightSource | None = None) -> Model:
    """Build the graph of `chunk_frames` tokens."""
    p = parameters
    net = Network("attention_window")
    x = net.input("x", (chunk_frames, p.d_model), time_axis=0)
    length = p.cache_length or p.window + chunk_frames - 1
    ring = new_ring(net, chunk_frames, p.window, length)
    positions = net.reshape(ring.positions, (1, chunk_frames), "positions")
    tables = rotary_tables(net, p.max_positions, p.head_size, p.rotary_base)
    attention = Attention(p.heads, p.kv_heads, p.head_size, p.cache)
    for number in range(p.layers):
        with net.scope(f"layers.{number}"):
            x = _attention(net, p, attention, ring, (*tables, positions), x)
            if p.feed_forward:
                x = _feed_forward(net, p, x)
    attended = p.d_model * (2 * p.heads + 2 * p.kv_heads) * p.head_size + attention.macs(length)
    per_layer = attended + 3 * p.d_model * p.feed_forward
    return net.finish(
        {"y": x},
        weights,
        max_chunks=p.max_positions // chunk_frames,
        macs={"chunk": chunk_frames * p.layers * per_layer},
    )


def _norm(net: Network, p: Parameters, name: str, x: str) -> str:
    gain = net.parameter(f"{name}.gain", np.ones(p.d_model, np.float32))
    return net.node("RMSNormalization", x, gain, name=name, epsilon=p.epsilon)


def _attention(
    net: Network,
    p: Parameters,
    attention: Attention,
    ring: Ring,
    rotary: tuple[str, str, str],
    x: str,
) -> str:
    turned = (p.heads + p.kv_heads) * p.head_size
    joined = turned + attention.kv_size
    qkv = net.linear("qkv", _norm(net, p, "norm", x), p.d_model, joined, bias=False)
    sizes = net.constant([turned, attention.kv_size], "sizes")
    heads, values = net.node("Split", qkv, sizes, outputs=2, name="parts", axis=1)
    heads = net.reshape(heads, (1, ring.rows, turned), "heads")
    heads = net.node(
        "RotaryEmbedding", heads, *rotary, name="rotary", num_heads=p.heads + p.kv_heads
    )
    sizes = net.constant([p.heads * p.head_size, attention.kv_size], "turned_sizes")
    queries, keys = net.node("Split", heads, sizes, outputs=2, name="turned", axis=2)
    attended = attention.attend(net, ring, queries, keys, values)
    out = net.linear("out", attended, p.heads * p.head_size, p.d_model, bias=False)
    return net.node("Add", x, out, name="residual")


def _feed_forward(net: Network, p: Parameters, x: str) -> str:
    h = _norm(net, p, "feed_forward.norm", x)
    gate = net.linear("feed_forward.gate", h, p.d_model, p.feed_forward, bias=False)
    up = net.linear("feed_forward.up", h, p.d_model, p.feed_forward, bias=False)
    gated = net.node("Mul", net.node("Swish", gate, name="feed_forward.swish"), up)
    down = net.linear("feed_forward.down", gated, p.feed_forward, p.d_model, bias=False)
    return net.node("Add", x, down, name="feed_forward.residual")
