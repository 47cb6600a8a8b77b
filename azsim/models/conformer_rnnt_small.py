"""Conformer transducer, small: 10,340,096 parameters, a frame every 40 ms.

Source: Gulati et al. 2020 (arXiv 2005.08100), the model S: 16 blocks of 144 columns, 4 heads, a
convolution over 32 frames, a prediction network of one LSTM of 320 cells.  As it has to stream:

- attention looks back over `window` frames, with relative positions as in Transformer-XL, its keys
  and values in a ring;
- the convolution of a block sees the past only, and is followed by layer norm, not batch norm;
- the two convolutions in front, 3 x 3 with strides of 2, see one frame of the past.

What a key's distance adds to its score, ``(q + v) . W_p s[distance]`` with sinusoids s, is a
product with constants: ``W_p s`` is computed as the graph is built, and the chip multiplies by it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from pydantic import ConfigDict, Field

from azsim.models._attention import Attention, Cache, Ring, new_ring, ring_conflicts
from azsim.models._dimensions import STRICT, Count, Dimension, Epsilon, Seconds
from azsim.models._model import Model
from azsim.models._network import Network
from azsim.models._recurrent import Sizes
from azsim.models._transducer import Decoder, decode, decoder_macs, encoder_half
from azsim.models._weights import WeightSource

_REDUCTION = 4
"""Feature frames that become one frame of the encoder."""

_TAPS = 3
"""Frames, and bands, that a convolution in front sees."""


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """Every dimension; defaults are the published model's."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT
    features: Dimension = 80
    """Mel bands of a feature frame."""
    feature_period_s: Seconds = 0.01
    """Time from one feature frame to the next."""
    blocks: Count = 16
    d_model: Dimension = 144
    heads: Count = 4
    feed_forward: Dimension = 576
    """Columns inside the two feed-forward layers of a block."""
    kernel: Annotated[int, Field(ge=2, le=1024)] = 32
    """Frames that a block's convolution sees, the newest among them."""
    window: Dimension = 64
    """Frames that each one attends to, itself among them."""
    cache: Cache = "int8"
    """What the rings of keys and values hold: codes with a scale for each frame and head, or the
    values."""
    cache_length: Annotated[int, Field(ge=0, le=1 << 16)] = 0
    """Frames that a ring holds; 0: as few as window and chunks need."""
    symbols: Annotated[int, Field(ge=2, le=1 << 20)] = 1024
    """Outputs; the last one is the blank."""
    prediction: Dimension = 320
    """Length of a symbol's embedding, and cells of the prediction network's LSTM."""
    joint: Dimension = 320
    """Width of the joint network."""
    max_symbols: Count = 30
    """Symbols that one frame gives at most."""
    symbols_per_frame: Annotated[float, Field(ge=0, le=1e6)] = 1.0
    """Symbols that one frame gives on average.  What stays on the chip is planned with it; symbols
    are not changed."""
    blank_bias: Annotated[float, Field(ge=-1e6, le=1e6)] = 0.0
    """Added to the blank's random bias: more of it, fewer symbols."""
    epsilon: Epsilon = 1e-5
    """Of the norms."""


def find_conflicts(parameters: Parameters, chunk_frames: int) -> Iterator[tuple[str, str]]:
    """Yield what does not fit together."""
    p = parameters
    if p.d_model % p.heads:
        yield "heads", f"found {p.heads}, allowed: a divisor of the {p.d_model} columns"
    if p.d_model % 2:
        yield "d_model", f"found {p.d_model}, allowed: an even number, of sines and cosines"
    yield from ring_conflicts(p.cache_length, p.window, chunk_frames)


def build(parameters: Parameters, chunk_frames: int, weights: WeightSource | None = None) -> Model:
    """Build the graph of `chunk_frames` frames of ``4 * feature_period_s`` each."""
    p = parameters
    decoder = Decoder(
        encoded=p.d_model,
        embedding=p.prediction,
        rows=p.symbols,
        layers=(Sizes.plain(p.prediction, p.prediction),),
        joint=p.joint,
        symbols=p.symbols,
        activation="tanh",
        max_symbols=p.max_symbols,
        symbols_per_frame=p.symbols_per_frame,
        blank_bias=p.blank_bias,
    )
    net = Network("conformer_rnnt_small")
    feature_frames = _REDUCTION * chunk_frames
    features = net.input("features", (feature_frames, p.features), time_axis=0)
    length = p.cache_length or p.window + chunk_frames - 1
    with net.scope("encoder"):
        x = _subsampled(net, p, features, chunk_frames)
        ring = new_ring(net, chunk_frames, p.window, length, with_ages=True)
        for number in range(p.blocks):
            with net.scope(f"blocks.{number}"):
                x = _block(net, p, ring, x)
    half = encoder_half(net, x, decoder)
    outputs = decode(net, half, decoder)
    frame_macs = sum(frame_parts(p, length).values()) + p.d_model * p.joint
    return net.finish(
        {**outputs, "encoded": half},
        weights,
        chunk_period_s=feature_frames * p.feature_period_s,
        features="conformer",
        macs={"chunk": chunk_frames * frame_macs, **decoder_macs(decoder)},
    )


def frame_parts(parameters: Parameters, length: int) -> dict[str, int]:
    """Multiply-accumulates of the encoder for one frame, on the array and for dense shapes.

    The convolution inside a block (kernel * d_model) is the vector engine's, and not counted.
    """
    p = parameters
    wide, narrow = _halved(p.features), _halved(_halved(p.features))
    kernel = _TAPS * _TAPS
    linear = 4 * p.d_model * p.feed_forward + 4 * p.d_model**2 + 3 * p.d_model**2
    attention = (2 * length + p.window) * p.d_model
    return {
        "subsampling": 2 * wide * kernel * p.d_model
        + narrow * kernel * p.d_model**2
        + narrow * p.d_model**2,
        "linear": p.blocks * linear,
        "attention": p.blocks * attention,
    }


def _halved(length: int) -> int:
    """Positions of a convolution of 3 with a stride of 2 and a zero on either side."""
    return (length + 1) // 2


# ------------------------------------------------------------------------------- subsampling


def _subsampled(net: Network, p: Parameters, features: str, chunk_frames: int) -> str:
    """Two convolutions over time and bands, and a linear layer: (chunk_frames, d_model).

    Frame after frame, so that no more of the first one's results lie on the chip than the second
    one needs.
    """
    wide, narrow = _halved(p.features), _halved(_halved(p.features))
    with net.scope("subsampling"):
        before = net.state("features", (1, p.features))
        line = net.node("Concat", before, features, name="line", axis=0)
        net.update(before, _rows(net, line, _REDUCTION * chunk_frames, 1))
        first = net.weight("0.W", (p.d_model, _TAPS, _TAPS), _TAPS * _TAPS)
        first_bias = net.bias("0.b", (p.d_model,), _TAPS * _TAPS)
        fan_in = _TAPS * _TAPS * p.d_model
        taps = [
            net.weight(f"1.W{tap}", (p.d_model, p.d_model, _TAPS), fan_in) for tap in range(_TAPS)
        ]
        second_bias = net.bias("1.b", (p.d_model,), fan_in)
        newest = kept = net.state("bands", (1, p.d_model, wide))
        rows = []
        for frame in range(chunk_frames):
            maps = [newest]
            for position in range(2):
                window = _rows(net, line, _REDUCTION * frame + 2 * position, _TAPS)
                window = net.reshape(window, (1, _TAPS, p.features), "window")
                mapped = net.node(
                    "Conv", window, first, first_bias, name="0", strides=(2,), pads=(1, 1)
                )
                maps.append(net.node("Relu", mapped))
            sums = ""
            for tap, (data, weight) in enumerate(zip(maps, taps, strict=True)):
                operands = [data, weight, *([] if tap else [second_bias])]
                term = net.node("Conv", *operands, name=f"1.{tap}", strides=(2,), pads=(1, 1))
                sums = net.node("Add", sums, term) if sums else term
            newest = maps[-1]
            rows.append(net.reshape(net.node("Relu", sums), (1, p.d_model * narrow), "row"))
        net.update(kept, newest)
        joined = net.node("Concat", *rows, name="rows", axis=0) if chunk_frames > 1 else rows[0]
        return net.linear("out", joined, p.d_model * narrow, p.d_model)


def _rows(net: Network, data: str, first: int, count: int) -> str:
    """Rows from `first` on."""
    start, end, axis = (net.constant([value], "rows") for value in (first, first + count, 0))
    return net.node("Slice", data, start, end, axis)


# ------------------------------------------------------------------------------------- blocks


def _block(net: Network, p: Parameters, ring: Ring, x: str) -> str:
    x = _half_added(net, p, "feed_forward.0", x)
    x = net.node("Add", x, _attention(net, p, ring, _norm(net, p, "attention.norm", x)))
    x = net.node("Add", x, _convolution(net, p, ring.rows, _norm(net, p, "convolution.norm", x)))
    return _norm(net, p, "norm", _half_added(net, p, "feed_forward.1", x))


def _norm(net: Network, p: Parameters, name: str, x: str) -> str:
    gain = net.parameter(f"{name}.gain", np.ones(p.d_model, np.float32))
    shift = net.parameter(f"{name}.shift", np.zeros(p.d_model, np.float32))
    return net.node("LayerNormalization", x, gain, shift, name=name, epsilon=p.epsilon)


def _half_added(net: Network, p: Parameters, name: str, x: str) -> str:
    """``x + FFN(x) / 2``."""
    up = net.linear(f"{name}.up", _norm(net, p, f"{name}.norm", x), p.d_model, p.feed_forward)
    down = net.linear(
        f"{name}.down", net.node("Swish", up, name=f"{name}.swish"), p.feed_forward, p.d_model
    )
    half = net.node("Mul", down, net.constant(0.5, f"{name}.half"), name=f"{name}.halved")
    return net.node("Add", x, half, name=f"{name}.residual")


def _convolution(net: Network, p: Parameters, rows: int, x: str) -> str:
    """Pointwise, gated, depthwise over the past, norm, Swish, pointwise."""
    with net.scope("convolution"):
        both = net.linear("in", x, p.d_model, 2 * p.d_model)
        sizes = net.constant([p.d_model, p.d_model], "sizes")
        value, gate = net.node("Split", both, sizes, outputs=2, name="parts", axis=1)
        gated = net.node("Mul", value, net.node("Sigmoid", gate))
        columns = net.node("Transpose", net.reshape(gated, (1, rows, p.d_model)), perm=(0, 2, 1))
        past = net.state("past", (1, p.d_model, p.kernel - 1))
        convolved, present = net.node(
            "CausalConvWithState",
            columns,
            net.weight("depthwise.W", (p.d_model, 1, p.kernel), p.kernel),
            net.bias("depthwise.b", (p.d_model,), p.kernel),
            past,
            outputs=2,
            name="depthwise",
        )
        net.update(past, present)
        lines = net.node("Transpose", convolved, perm=(0, 2, 1))
        normed = _norm(net, p, "inner_norm", net.reshape(lines, (rows, p.d_model)))
        return net.linear("out", net.node("Swish", normed), p.d_model, p.d_model)


def _attention(net: Network, p: Parameters, ring: Ring, x: str) -> str:
    """Scores ``((q + u) . k + (q + v) . r[distance]) / sqrt(head_size)``."""
    head_size = p.d_model // p.heads
    attention = Attention(p.heads, p.heads, head_size, p.cache)
    with net.scope("attention"):
        qkv = net.linear("qkv", x, p.d_model, 3 * p.d_model)
        sizes = net.constant([p.d_model] * 3, "sizes")
        queries, keys, values = net.node("Split", qkv, sizes, outputs=3, name="parts", axis=1)
        biases = [net.bias(name, (p.d_model,), p.d_model) for name in ("u", "v")]
        by_content, by_distance = (net.node("Add", queries, bias) for bias in biases)
        added = _by_distance(net, p, ring, by_distance)
        attended = attention.attend(net, ring, by_content, keys, values, added)
        return net.linear("out", attended, p.d_model, p.d_model)


def _by_distance(net: Network, p: Parameters, ring: Ring, queries: str) -> str:
    """Scores of distances, put where the ring has the keys: (heads, 1, rows, length)."""
    head_size = p.d_model // p.heads
    scaled = net.node("Mul", queries, net.constant(head_size**-0.5, "scale"), name="scaled")
    sizes = net.constant([head_size] * p.heads, "heads")
    split = net.node("Split", scaled, sizes, outputs=p.heads, name="heads", axis=1)
    heads = [split] if isinstance(split, str) else split
    table = net.node(
        "MatMul",
        net.constant(_sinusoids(p.window, p.d_model), "sinusoids"),
        net.weight("positions.W", (p.d_model, p.d_model), p.d_model),
        name="distances",
    )
    scores = []
    for number, head in enumerate(heads):
        first, last = (number * head_size, (number + 1) * head_size)
        span = [net.constant([value], "span") for value in (first, last, 1)]
        own = net.node("Slice", table, *span)
        own = net.node("Transpose", own, name=f"positions.{number}", perm=(1, 0))
        product = net.node("MatMul", head, own, name=f"distance.{number}")
        scores.append(net.reshape(product, (1, ring.rows, p.window), "score"))
    joined = net.node("Concat", *scores, name="by_distance", axis=0)
    rows = []
    for row in range(ring.rows):
        of_row = net.node("Gather", joined, net.constant(row, "row"), axis=1)
        ages = net.node("Gather", ring.ages, net.constant(row, "row"), axis=0)
        placed = net.node("Gather", of_row, ages, name="placed", axis=1)
        rows.append(net.reshape(placed, (p.heads, 1, 1, ring.length), "placed_row"))
    return net.node("Concat", *rows, name="placed_rows", axis=2) if len(rows) > 1 else rows[0]


def _sinusoids(count: int, columns: int) -> np.ndarray:
    """Sines of all rates, then cosines, of distances from 0 on: (count, columns)."""
    rates = 10_000.0 ** (-np.arange(0, columns, 2) / columns)
    angles = np.arange(count)[:, None] * rates
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1).astype(np.float32)
