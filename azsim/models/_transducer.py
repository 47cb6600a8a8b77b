"""What recurrent transducers share: the prediction network, the joint network, their counts.

The joint network adds up two halves, ``activation(W_e f[t] + W_p g[u] + b)``, before its output
layer: the encoder's half, with the bias, is computed once a frame, the other one once a symbol.
"""

from __future__ import annotations

from dataclasses import dataclass

from azsim.models._network import Network
from azsim.models._recurrent import Sizes, lstm_macs, lstm_step, states_of

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
    """

    encoded: int
    embedding: int
    rows: int
    layers: tuple[Sizes, ...]
    joint: int
    symbols: int
    activation: str


def encoder_half(net: Network, data: str, decoder: Decoder) -> str:
    """``W_e f + b`` for every frame of (frames, encoded)."""
    return net.linear("joint.encoder", data, decoder.encoded, decoder.joint)


def decode(net: Network, decoder: Decoder) -> None:
    """Declare what decoding needs: the prediction network and the output layer."""
    net.weight("prediction.embedding", (decoder.rows, decoder.embedding), 1)
    _prediction(net.inner("prediction"), decoder)
    net.weight("joint.output.W", (decoder.symbols, decoder.joint), decoder.joint)
    net.bias("joint.output.b", (decoder.symbols,), decoder.joint)


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
