"""Streaming RNN-T of He et al. 2019 (arXiv 1811.06621): 120.6 million parameters.

Eight LSTMs of 2,048 cells with a projection to 640 and layer norm, two frames joined behind the
second; a prediction network of two such LSTMs on an embedding of 128; a joint network of 640 with
tanh.  A frame is one 60 ms step, two feature frames of 30 ms.

The dimensions are published; features of 320, the embedding of 128 and tanh are our assumption,
and give the published 117 and 120 million parameters.  So is the form of layer norm: gain and shift
on the gates' sums, which are one row, and none on the cell.  The split of the joint network is as
in `rnnt_mlperf`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import ConfigDict, Field

from azsim.models._dimensions import STRICT, Count, Dimension, Seconds
from azsim.models._model import Model
from azsim.models._network import Network
from azsim.models._recurrent import Sizes, lstm, lstm_macs
from azsim.models._transducer import Decoder, decode, decoder_macs, encoder_half
from azsim.models._weights import WeightSource


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """Every dimension; defaults are the published model's, with word pieces."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT
    features: Dimension = 320
    """Length of a feature frame: 80 mel bands of four windows."""
    feature_period_s: Seconds = 0.03
    """Time from one feature frame to the next."""
    cells: Dimension = 2048
    """Cells of every LSTM."""
    units: Dimension = 640
    """Units that each LSTM's state is projected to."""
    layers: Count = 8
    """The encoder's LSTMs."""
    reduce_after: Annotated[int, Field(ge=0, le=1024)] = 2
    """How many of them work at the rate of the features."""
    reduction: Count = 2
    """Feature frames that are joined to one frame behind these."""
    layer_norm: bool = True
    """Normalise the gates' sums and the cell of every LSTM."""
    symbols: Annotated[int, Field(ge=2, le=1 << 20)] = 4096
    """Outputs: word pieces, or 76 graphemes; the last one is the blank."""
    embedding: Dimension = 128
    """Length of a symbol's embedding."""
    prediction_layers: Count = 2
    joint: Dimension = 640
    """Width of the joint network."""
    max_symbols: Count = 30
    """Symbols that one frame gives at most; our assumption."""
    symbols_per_frame: Annotated[float, Field(ge=0, le=1e6)] = 1.0
    """Symbols that one frame gives on average.  What stays on the chip is planned with it; symbols
    are not changed."""
    blank_bias: Annotated[float, Field(ge=-1e6, le=1e6)] = 0.0
    """Added to the blank's random bias: more of it, fewer symbols."""


def find_conflicts(parameters: Parameters, chunk_frames: int) -> Iterator[tuple[str, str]]:
    """Yield what is wrong across parameters."""
    if parameters.reduce_after > parameters.layers:
        found = f"found {parameters.reduce_after}, allowed: 0 to {parameters.layers}"
        yield "reduce_after", f"the encoder has fewer layers, {found}"


def build(parameters: Parameters, chunk_frames: int, weights: WeightSource | None = None) -> Model:
    """Build the graph of `chunk_frames` frames of ``reduction * feature_period_s`` each."""
    p = parameters

    def layer(inputs: int) -> Sizes:
        return Sizes(inputs, p.cells, p.units, True, "all" if p.layer_norm else "none")

    prediction = [layer(p.units if n else p.embedding) for n in range(p.prediction_layers)]
    net = Network("rnnt_google")
    steps = chunk_frames * p.reduction
    data, width = net.input("features", (steps, p.features), time_axis=0), p.features
    macs = 0
    with net.scope("encoder"):
        for number in range(p.layers + 1):
            if number == p.reduce_after:
                steps, width = chunk_frames, p.reduction * width
                data = net.reshape(data, (steps, width), "reduce")
            if number < p.layers:
                sizes = layer(width)
                data, width = lstm(net, str(number), data, sizes, steps), p.units
                macs += steps * lstm_macs(sizes)
    decoder = Decoder(
        encoded=width,
        embedding=p.embedding,
        rows=p.symbols,
        layers=tuple(prediction),
        joint=p.joint,
        symbols=p.symbols,
        activation="tanh",
        max_symbols=p.max_symbols,
        symbols_per_frame=p.symbols_per_frame,
        blank_bias=p.blank_bias,
    )
    half = encoder_half(net, data, decoder)
    outputs = decode(net, half, decoder)
    return net.finish(
        {**outputs, "encoded": half},
        weights,
        chunk_period_s=chunk_frames * p.reduction * p.feature_period_s,
        features="google",
        macs={
            "chunk": macs + chunk_frames * decoder.encoded * p.joint,
            **decoder_macs(decoder),
        },
    )
