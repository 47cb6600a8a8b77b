"""RNN-T of MLPerf Inference: 45,323,037 parameters, a character every 60 ms step or none.

Source: mlcommons/inference, retired_benchmarks/speech_recognition/rnnt (rnnt.toml,
model_separable_rnnt.py).  Two LSTMs at the rate of the features (30 ms), pairs of their outputs
stacked, three LSTMs at half that rate; a prediction network of an embedding and two LSTMs; a joint
network of both with relu.  A frame is one 60 ms step, two feature frames.

The joint network's first layer is split: the encoder's half is computed once a frame.
"""

from __future__ import annotations

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
    """Every dimension; defaults are the published model's."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT
    features: Dimension = 240
    """Length of a feature frame: 80 mel bands of three windows."""
    feature_period_s: Seconds = 0.03
    """Time from one feature frame to the next."""
    hidden: Dimension = 1024
    """Cells of each of the encoder's LSTMs."""
    pre_layers: Count = 2
    """LSTMs at the rate of the features."""
    stack: Count = 2
    """Feature frames that are joined to one frame behind the pre-layers."""
    post_layers: Count = 3
    """LSTMs at the rate of the frames."""
    symbols: Annotated[int, Field(ge=2, le=1 << 20)] = 29
    """Outputs; the last one is the blank, which needs no embedding."""
    prediction: Dimension = 320
    """Length of a symbol's embedding, and cells of each of the prediction network's LSTMs."""
    prediction_layers: Count = 2
    joint: Dimension = 512
    """Width of the joint network."""
    max_symbols: Count = 30
    """Symbols that one frame gives at most."""
    symbols_per_frame: Annotated[float, Field(ge=0, le=1e6)] = 1.0
    """Symbols that one frame gives on average.  What stays on the chip is planned with it; symbols
    are not changed."""
    blank_bias: Annotated[float, Field(ge=-1e6, le=1e6)] = 0.0
    """Added to the blank's random bias: more of it, fewer symbols."""


def build(parameters: Parameters, chunk_frames: int, weights: WeightSource | None = None) -> Model:
    """Build the graph of `chunk_frames` frames of ``stack * feature_period_s`` each."""
    p = parameters
    pre = [Sizes.plain(p.hidden if n else p.features, p.hidden) for n in range(p.pre_layers)]
    stacked = p.stack * p.hidden
    post = [Sizes.plain(p.hidden if n else stacked, p.hidden) for n in range(p.post_layers)]
    decoder = Decoder(
        encoded=p.hidden,
        embedding=p.prediction,
        rows=p.symbols - 1,
        layers=(Sizes.plain(p.prediction, p.prediction),) * p.prediction_layers,
        joint=p.joint,
        symbols=p.symbols,
        activation="relu",
        max_symbols=p.max_symbols,
        symbols_per_frame=p.symbols_per_frame,
        blank_bias=p.blank_bias,
    )
    net = Network("rnnt_mlperf")
    feature_frames = chunk_frames * p.stack
    data = net.input("features", (feature_frames, p.features), time_axis=0)
    with net.scope("encoder"):
        for number, sizes in enumerate(pre):
            data = lstm(net, f"pre.{number}", data, sizes, feature_frames)
        data = net.reshape(data, (chunk_frames, stacked), "stack")
        for number, sizes in enumerate(post):
            data = lstm(net, f"post.{number}", data, sizes, chunk_frames)
    half = encoder_half(net, data, decoder)
    outputs = decode(net, half, decoder)
    frame_macs = p.stack * sum(map(lstm_macs, pre)) + sum(map(lstm_macs, post))
    return net.finish(
        {**outputs, "encoded": half},
        weights,
        chunk_period_s=feature_frames * p.feature_period_s,
        features="mlperf" if p.features == Parameters.features else "",
        macs={"chunk": chunk_frames * (frame_macs + p.hidden * p.joint), **decoder_macs(decoder)},
    )
