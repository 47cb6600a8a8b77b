"""What recurrent transducers share: the prediction network, the joint network, their counts.

The joint network adds up two halves, ``activation(W_e f[t] + W_p g[u] + b)``, before its output
layer: the encoder's half, with the bias, is computed once a frame, the other one once a symbol.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from azsim.models._network import Network
from azsim.models._recurrent import Sizes, lstm_macs, lstm_step, states_of
from azsim.ops._subgraph import captured

_ENCODER_GAIN = 8.0
"""Of random weights: what is heard decides more than what was said before, else a random model
falls silent for good, or says the same for ever."""

__all__ = ["Decoder", "decode", "decoder_macs", "encoder_half"]


@dataclass(frozen=True)
class Decoder:
    """Sizes of all that comes behind the encoder.

    Attributes
    ----------
    encoded : int
        Length of the encoder's results.
    embedding : int
        Length of a symbol's embedding.
    rows : int
        Rows of the embedding.
    layers : tuple of Sizes
        The prediction network.
    joint : int
        Length of both halves.
    symbols : int
        Outputs, the blank among them; it is the last one.
    activation : str
        ``relu`` or ``tanh``.
    max_symbols : int
        That a frame gives at most.
    symbols_per_frame : float
        That it gives on average, for the plan of what stays on the chip.
    blank_bias : float
        Added to the blank's random bias: more of it, fewer symbols.
    """

    encoded: int
    embedding: int
    rows: int
    layers: tuple[Sizes, ...]
    joint: int
    symbols: int
    activation: str
    max_symbols: int
    symbols_per_frame: float
    blank_bias: float


def encoder_half(net: Network, data: str, decoder: Decoder) -> str:
    """``W_e f + b`` for every frame of (frames, encoded)."""
    sizes = decoder.encoded, decoder.joint
    return net.linear("joint.encoder", data, *sizes, gain=_ENCODER_GAIN)


def decode(net: Network, half: str, decoder: Decoder) -> dict[str, str]:
    """Decode greedily from the encoder's half (frames, joint); gives symbols and their counts.

    The prediction network's tensors are called ``prediction.embedding``, ``prediction.0.W`` and so
    on, the joint network's ``joint.prediction.W``, ``joint.output.W`` and ``joint.output.b``.
    """
    width, joint = decoder.embedding, decoder.joint
    embedding = net.weight("prediction.embedding", (decoder.rows, width), 1)
    inner = net.inner("prediction")
    predict = inner.graph(_prediction(inner, decoder))
    weight = net.weight("joint.output.W", (decoder.symbols, joint), joint)
    offset = np.zeros(decoder.symbols)
    offset[-1] = decoder.blank_bias
    bias = net.bias("joint.output.b", (decoder.symbols,), joint, offset=offset)
    states = [net.state("decoder.started", (1, 1)), net.state("decoder.g", (1, joint))]
    for number, sizes in enumerate(decoder.layers):
        shapes = states_of(sizes)
        states += [net.state(f"prediction.{number}.{key}", shape) for key, shape in shapes]
    symbols, counts, *after = net.node(
        "TransducerGreedy",
        *(half, embedding, weight, bias, *states, *captured(predict)),
        outputs=2 + len(states),
        name="decoder",
        predict=predict,
        activation=decoder.activation,
        max_symbols=decoder.max_symbols,
        symbols_per_frame=decoder.symbols_per_frame,
    )
    for state, tensor in zip(states, after, strict=True):
        net.update(state, tensor)
    return {"symbols": symbols, "counts": counts}


def _prediction(net: Network, decoder: Decoder) -> list[str]:
    """From a symbol's embedding and states to the joint network's half and new states."""
    data, after = net.input("prediction.embedded", (1, decoder.embedding)), []
    for number, sizes in enumerate(decoder.layers):
        name = f"prediction.{number}"
        before = [net.input(f"{name}.{key}.before", shape) for key, shape in states_of(sizes)]
        data, *states = lstm_step(net, name, data, before, sizes)
        after += states
    units = decoder.layers[-1].units
    return [net.linear("joint.prediction", data, units, decoder.joint, bias=False), *after]


def decoder_macs(decoder: Decoder) -> dict[str, int]:
    """Multiply-accumulates a symbol, and each time that the output layer is asked."""
    symbol = sum(map(lstm_macs, decoder.layers)) + decoder.layers[-1].units * decoder.joint
    return {"symbol": symbol, "evaluation": decoder.joint * decoder.symbols}
