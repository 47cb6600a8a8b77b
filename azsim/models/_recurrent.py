"""Recurrent layers as builders write them: weights by name, states carried from chunk to chunk."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from azsim.models._network import Network

_GAIN = 2.5
"""Of random weights and biases.  Five LSTMs in a row still pass on what they hear at this size, and
forget what is long past; at 1 the fifth one hardly changes, above 3 they are chaotic.  The trained
LSTM of Silero VAD has 4.4 and 6.2."""

__all__ = ["Sizes", "lstm", "lstm_macs", "lstm_step", "states_of"]


class Sizes(NamedTuple):
    """Shape of one layer.

    Attributes
    ----------
    inputs : int
    cells : int
    units : int
        Length of the state that the recurrence and the next layer see; `cells` without a
        projection.
    is_projected : bool
    norm : str
        Layer norm of the gates' sums (``all`` or ``each``, with gain and shift) and of the cell
        (without): see `azsim.ops.projection_lstm`.  ``none`` for neither.
    """

    inputs: int
    cells: int
    units: int
    is_projected: bool = False
    norm: str = "none"

    @staticmethod
    def plain(inputs: int, cells: int) -> Sizes:
        """Layer without projection and norm."""
        return Sizes(inputs, cells, cells)


def states_of(sizes: Sizes) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Name and shape of each state of a layer."""
    first = "r" if sizes.is_projected else "h"
    return (first, (1, 1, sizes.units)), ("c", (1, 1, sizes.cells))


def lstm(net: Network, name: str, data: str, sizes: Sizes, steps: int) -> str:
    """Run a layer over (steps, inputs); gives (steps, units).

    Its tensors are those of `lstm_step`, its states ``name.h`` (``name.r`` with a projection) and
    ``name.c``.
    """
    states = [net.state(f"{name}.{key}", shape) for key, shape in states_of(sizes)]
    results, *after = lstm_step(net, name, data, states, sizes, steps)
    for state, tensor in zip(states, after, strict=True):
        net.update(state, tensor)
    return results


def lstm_step(
    net: Network, name: str, data: str, states: list[str], sizes: Sizes, steps: int = 1
) -> tuple[str, str, str]:
    """Run a layer from given states; gives the results (steps, units) and both new states.

    Its tensors are ``name.W``, ``name.R`` and ``name.B``, and ``name.P`` with a projection.  A
    plain layer has two biases, as in PyTorch and ONNX; one with a projection or norm has one.
    """
    gates, fan_in = 4 * sizes.cells, sizes.inputs + sizes.units
    is_plain = not sizes.is_projected and sizes.norm == "none"
    weight = net.weight(f"{name}.W", (1, gates, sizes.inputs), fan_in, _GAIN)
    recurrent = net.weight(f"{name}.R", (1, gates, sizes.units), fan_in, _GAIN)
    bias = net.bias(f"{name}.B", (1, gates * (1 + is_plain)), fan_in, _GAIN)
    x = net.reshape(data, (steps, 1, sizes.inputs), f"{name}.rows")
    if is_plain:
        y, *after = net.node(
            "LSTM",
            *(x, weight, recurrent, bias, "", *states),
            outputs=3,
            name=name,
            hidden_size=sizes.cells,
        )
    else:
        projection = ""
        if sizes.is_projected:
            shape = (1, sizes.units, sizes.cells)
            projection = net.weight(f"{name}.P", shape, sizes.cells)
        operands = [x, weight, recurrent, projection, bias, *states]
        if sizes.norm != "none":
            operands.append(net.parameter(f"{name}.gate_gain", np.ones(gates, np.float32)))
            operands.append(net.parameter(f"{name}.gate_shift", np.zeros(gates, np.float32)))
        y, *after = net.node(
            "ProjectionLSTM",
            *operands,
            outputs=3,
            name=name,
            hidden_size=sizes.cells,
            gate_norm=sizes.norm,
            cell_norm=int(sizes.norm != "none"),
        )
    return net.reshape(y, (steps, sizes.units), f"{name}.results"), after[0], after[1]


def lstm_macs(sizes: Sizes) -> int:
    """Multiply-accumulates of one step; as many as the layer has matrix weights."""
    projection = sizes.units * sizes.cells if sizes.is_projected else 0
    return 4 * sizes.cells * (sizes.inputs + sizes.units) + projection
